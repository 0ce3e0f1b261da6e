"""Perplexity by hand: a uniform GPT pays the logarithm of its vocabulary for each token."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from nano import drawn, films, nano, uniform

from tastemaker.data import Example, Message
from tastemaker.errors import DataError, ModelError, TrainingError
from tastemaker.gpt import (
    NGrams,
    Perplexity,
    Policy,
    Shuffled,
    held_out_loss,
    ngram_loss,
    perplexity,
    tokenized,
)
from tastemaker.gpt import language_loss as module

TEXTS = [Example(text) for text in films(30)]


def test_a_uniform_gpt_hesitates_between_all_of_its_vocabulary() -> None:
    policy = uniform(nano())
    measured = perplexity(policy, TEXTS)
    tokens = sum(
        len(ids)
        for ids in policy.reader.completions([e.text for e in TEXTS], ended=True)
    )
    size = sum(len(e.text) for e in TEXTS)
    assert (measured.texts, measured.tokens, measured.bytes) == (30, tokens, size)
    assert measured.per_token == pytest.approx(len(policy.tokenizer), rel=1e-6)
    assert measured.per_byte == pytest.approx(
        len(policy.tokenizer) ** (tokens / size), rel=1e-6
    )
    assert measured.bits_per_byte == pytest.approx(
        math.log2(len(policy.tokenizer)) * tokens / size, rel=1e-6
    )


def test_figures_by_hand() -> None:
    """6 tokens that spell 12 bytes at 6 ln 8 nats: 8 a token, √8 a byte, 3 · 6 / 12 bits a byte."""
    measured = Perplexity(texts=2, tokens=6, bytes=12, nats=6 * math.log(8))
    figures = {"perplexity": 8, "byte_perplexity": 8**0.5, "bits_per_byte": 1.5}
    assert measured.as_dict() == pytest.approx(
        {"texts": 2, "tokens": 6, "bytes": 12, "nats": 6 * math.log(8)} | figures
    )
    assert str(measured).startswith(
        "perplexity 8.00 per token, 2.828 per byte (1.500 bits per byte) on 2 texts"
    )


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (1.5, "Better than guessing: a byte of these texts costs it 1.50 bits"),
        (8.0, "No better than guessing: a byte of these texts costs it 8.00 bits"),
        (11.0, "No better than guessing"),
    ],
)
def test_a_gpt_has_a_verdict(bits: float, words: str) -> None:
    measured = Perplexity(texts=2, tokens=6, bytes=12, nats=12 * bits * math.log(2))
    assert measured.verdict().startswith(words)
    assert "\n" not in measured.verdict()


def test_it_is_the_sum_of_the_log_probabilities_that_the_policy_gives() -> None:
    policy = drawn(nano())
    examples = [*TEXTS[:9], Example("A grey film.", "What was it like?")]
    prompts = ["" if e.prompt is None else f"{e.prompt}\n\n" for e in examples]
    expected = policy.log_probs(prompts, [e.text for e in examples])
    measured = perplexity(policy, examples)
    assert measured.nats == pytest.approx(
        -sum(float(p.sum()) for p in expected), rel=1e-5
    )
    assert measured.tokens == sum(map(len, expected))


def test_the_order_of_the_texts_and_what_stands_beside_them_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = drawn(nano())
    whole = perplexity(policy, TEXTS)
    assert perplexity(policy, TEXTS[::-1]).nats == pytest.approx(whole.nats, rel=1e-6)
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    monkeypatch.setattr(module, "_BATCH_TOKENS", 40)
    assert perplexity(policy, TEXTS).nats == pytest.approx(whole.nats, rel=1e-6)
    parts = [perplexity(policy, [e]) for e in TEXTS]
    assert sum(p.nats for p in parts) == pytest.approx(whole.nats, rel=1e-6)


def test_a_text_longer_than_the_context_is_read_in_pieces() -> None:
    """32 tokens are read at once; the end of each piece begins the next, so a piece alone costs
    what it does here.
    """
    policy = drawn(nano())
    [ids] = policy.reader.completions(["zqxjkvbpyw" * 7], ended=True)
    ids = [*policy.reader.start, *ids]
    assert len(ids) == 72
    pieces = [ids[k : k + 32] for k in (0, 31, 62)]
    alone = policy.log_probs_of(
        [piece[:1] for piece in pieces], [piece[1:] for piece in pieces]
    )
    measured = perplexity(policy, [Example("zqxjkvbpyw" * 7)])
    assert (measured.texts, measured.tokens, measured.bytes) == (1, 71, 70)
    assert measured.nats == pytest.approx(-sum(float(p.sum()) for p in alone), rel=1e-5)


def test_held_out_loss_is_of_the_same_tokens_as_the_n_grams(tmp_path: Path) -> None:
    policy = uniform(nano())
    train, held_out = tokenized(
        TEXTS, policy.reader, tmp_path / "p", context=16, held_out=0.4, seed=0
    )
    ours = held_out_loss(policy, held_out, seed=0)
    assert ours == pytest.approx(
        np.full(held_out.counts.tokens, math.log(len(policy.tokenizer))), rel=1e-6
    )
    theirs = ngram_loss(train, held_out, len(policy.tokenizer), seed=0)
    assert theirs.shape == ours.shape
    pieces = [train.piece(number)[0] for number in range(len(train))]
    starts = [np.arange(len(ids)) == 0 for ids in pieces]
    model = NGrams.fit(
        np.concatenate(pieces),
        np.concatenate(starts),
        vocabulary=len(policy.tokenizer),
        order=5,
    )
    ids, before = held_out.piece(0)
    expected = -model.log_probs(ids, np.arange(len(ids)) == 0)[before:].sum()
    every = [held_out.piece(n) for n in range(len(held_out))]
    total = sum(-model.log_probs(i, np.arange(len(i)) == 0)[b:].sum() for i, b in every)
    assert expected > 0
    assert theirs.sum() == pytest.approx(total)
    assert theirs.mean() < ours.mean()


def test_of_much_held_out_text_a_random_part_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = uniform(nano())
    train, held_out = tokenized(
        TEXTS, policy.reader, tmp_path / "p", context=16, held_out=0.5, seed=0
    )
    monkeypatch.setattr(module, "_MEASURED", 40)
    ours = held_out_loss(policy, held_out, seed=0)
    assert 40 - len(held_out) < len(ours) < 40 + 16
    assert len(ngram_loss(train, held_out, len(policy.tokenizer), seed=0)) == len(ours)


def test_of_much_text_the_n_grams_count_a_random_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = uniform(nano())
    train, held_out = tokenized(
        TEXTS, policy.reader, tmp_path / "p", context=16, held_out=0.5, seed=0
    )
    monkeypatch.setattr(module, "_COUNTED", 40)
    rows: list[np.ndarray] = []
    for number in Shuffled(len(train), seed=7, epoch=0).at(np.arange(len(train))):
        rows += [train.piece(int(number))[0]] if sum(map(len, rows)) < 40 else []
    assert len(rows) < len(train)
    starts = np.concatenate([np.arange(len(ids)) == 0 for ids in rows])
    model = NGrams.fit(
        np.concatenate(rows), starts, vocabulary=len(policy.tokenizer), order=5
    )
    every = [held_out.piece(number) for number in range(len(held_out))]
    expected = sum(
        -model.log_probs(ids, np.arange(len(ids)) == 0)[before:].sum()
        for ids, before in every
    )
    assert ngram_loss(
        train, held_out, len(policy.tokenizer), seed=7
    ).sum() == pytest.approx(expected)


def test_text_without_a_byte_has_no_figure_per_byte() -> None:
    measured = Perplexity(texts=1, tokens=1, bytes=0, nats=1.0)
    assert math.isnan(measured.per_byte)
    assert math.isnan(measured.bits_per_byte)


def test_nothing_to_measure_is_said() -> None:
    with pytest.raises(DataError, match="no text"):
        perplexity(nano(), [])


def test_a_chat_needs_a_chat_template() -> None:
    chat = [Example("Grey.", (Message("user", "How was it?"),))]
    with pytest.raises(ModelError, match="no chat template"):
        perplexity(nano(), chat)
    policy = uniform(nano(chats=True))
    assert perplexity(policy, chat).per_token == pytest.approx(
        len(policy.tokenizer), rel=1e-6
    )


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_ran_away_are_an_error_and_not_a_figure(
    tmp_path: Path, value: float
) -> None:
    policy = _spoilt(value)
    with pytest.raises(ModelError, match=r"\bnats\b"):
        perplexity(policy, TEXTS)
    _, held_out = tokenized(
        TEXTS, policy.reader, tmp_path / "p", context=16, held_out=0.4, seed=0
    )
    with pytest.raises(TrainingError, match=r"held-out loss.*\bnats\b.*--lr"):
        held_out_loss(policy, held_out, seed=0)


def _spoilt(value: float) -> Policy:
    policy = drawn(nano())
    with torch.no_grad():
        policy.module.get_output_embeddings().weight *= value
    return policy
