"""The loop that trains a GPT: its loss, what it does not depend on, and resuming."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nano import NANO, drawn, films, nano, uniform

from tastemaker.data import Example
from tastemaker.errors import TrainingError, UsageError
from tastemaker.gpt import (
    SIZES,
    Policy,
    Pretraining,
    PretrainTask,
    TokenFile,
    held_out_loss,
    make_gpt,
    make_tokenizer,
    tokenized,
)
from tastemaker.playground import reviews
from tastemaker.train import Run, train

Corpora = tuple[TokenFile, TokenFile]
QUICK = Pretraining(epochs=2, held_out=0.2, warmup=0.1)


class Killed(BaseException):
    """What ends a run from outside."""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """Short reviews, and some that are longer than the context."""
    texts = films(120) + [
        f"{a} {b}" for a, b in zip(films(40), films(40)[::-1], strict=True)
    ]
    folder: Path = tmp_path_factory.mktemp("corpus") / "pieces"
    return tokenized(
        map(Example, texts), nano().reader, folder, context=32, held_out=0.2, seed=0
    )


def silent(line: str) -> None:
    """Say nothing."""


def task_of(
    policy: Policy, corpora: Corpora, training: Pretraining = QUICK, **settings: Any
) -> PretrainTask:
    """Return the task of a policy; lr, batch_tokens, muon and grow_at replace those of its size."""
    of_size = {
        name: settings.pop(name) for name in list(settings) if hasattr(NANO, name)
    }
    usual: dict[str, Any] = {"seed": 0, "run": Run(None, {}), "say": silent}
    usual |= {"device": torch.device("cpu"), "precision": torch.float32}
    return PretrainTask(
        policy, corpora, training, replace(NANO, **of_size), **usual | settings
    )


def trained(
    policy: Policy, corpora: Corpora, training: Pretraining = QUICK, **settings: Any
) -> PretrainTask:
    """Train a policy to the end; return the task."""
    task = task_of(policy, corpora, training, **settings)
    train(task, task.run, seed=task.seed)
    return task


def short_and_long(corpora: Corpora) -> list[int]:
    """The numbers of the first and last six pieces: the long texts stand last."""
    return [*range(6), *range(len(corpora[0]) - 6, len(corpora[0]))]


def weights(policy: Policy) -> bytes:
    return b"".join(t.numpy().tobytes() for t in policy.module.state_dict().values())


def metrics(folder: Path) -> list[dict[str, float]]:
    """What a run logged, without what the clock says."""
    rows = [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows]


def test_no_text_sees_another(corpora: Corpora) -> None:
    """Texts cost together what they cost alone, whatever stands beside them."""
    loop = task_of(drawn(nano()), corpora)
    pieces = [corpora[0].piece(number) for number in short_and_long(corpora)]
    assert len({len(ids) for ids, _ in pieces}) > 1
    alone = [float(loop.loss([piece])[0].detach()) for piece in pieces]
    together, texts = loop.loss(pieces)
    assert float(together.detach()) == pytest.approx(sum(alone), rel=1e-5)
    assert len(texts.ids) == sum(len(ids) for ids, _ in pieces), "no place is padding"
    first, second = (float(loop.loss(x)[0].detach()) for x in (pieces[:5], pieces[5:]))
    assert first + second == pytest.approx(sum(alone), rel=1e-5)


def test_a_step_read_in_parts_is_the_same_step(
    corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    for at_once in (10**6, 64, 1):
        monkeypatch.setattr(PretrainTask, "at_once_cpu", at_once)
        states.append(task_of(drawn(nano()), corpora).step_on(short_and_long(corpora)))
    for name in ("loss", "gradient_norm", "tokens"):
        assert [f[name] for f in states] == pytest.approx(
            [states[0][name]] * 3, rel=1e-4
        )
    assert states[0]["padding"] > states[2]["padding"] == 0, (
        "a text alone has no padding"
    )


def test_a_step_follows_the_mean_over_its_tokens(corpora: Corpora) -> None:
    """Adam hides how large a gradient is; the clip and the log do not."""
    numbers, loop = short_and_long(corpora), task_of(drawn(nano()), corpora)
    cost, _ = loop.loss([corpora[0].piece(number) for number in numbers])
    gradients = torch.autograd.grad(cost / loop.count_tokens(numbers), loop.weights)
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    assert task_of(drawn(nano()), corpora).step_on(numbers)[
        "gradient_norm"
    ] == pytest.approx(norm, rel=1e-4)


def test_threads_share_a_step_and_it_stays_the_same_step(corpora: Corpora) -> None:
    """Two threads with half of the tokens each have the sums of one, and the same bits again."""
    before, metrics, states = torch.get_num_threads(), [], []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            policy = drawn(nano())
            loop = task_of(policy, corpora)
            parts = [
                [len(ids) for ids, _ in part]
                for part in loop.parts(short_and_long(corpora))
            ]
            assert len(parts) == threads
            assert all(
                part == sorted(part, reverse=True) and part[0] > part[-1]
                for part in parts
            )
            metrics.append(loop.step_on(short_and_long(corpora)))
            states.append(weights(policy))
    finally:
        torch.set_num_threads(before)
    for name in ("loss", "gradient_norm", "tokens"):
        assert [f[name] for f in metrics] == pytest.approx(
            [metrics[0][name]] * 3, rel=1e-4
        )
    assert states[1] == states[2]


def test_the_parts_of_a_step_hold_its_pieces_once_and_alike(
    corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PretrainTask, "at_once_cpu", 96)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    loop, numbers = task_of(nano(), corpora), short_and_long(corpora)
    parts = [[len(ids) for ids, _ in part] for part in loop.parts(numbers)]
    lengths = sorted((len(corpora[0].piece(n)[0]) for n in numbers), reverse=True)
    assert [length for part in parts for length in part] == lengths
    assert len(parts) == round(sum(lengths) / 96)
    assert all(abs(sum(part) - 96) < 48 for part in parts)


def test_padding_is_what_no_token_fills(corpora: Corpora) -> None:
    """All texts are short, so attention reads them as one group; another architecture reads them so
    as a whole.
    """
    numbers = short_and_long(corpora)
    lengths = corpora[0].lengths(np.array(numbers))
    assert task_of(nano(), corpora).step_on(numbers)["padding"] == pytest.approx(
        1 - lengths.sum() / (12 * lengths.max())
    )


def test_the_prompt_is_not_learned(tmp_path: Path) -> None:
    """All logits are equal: every token that is learned costs ln V, and nothing else costs."""
    policy = uniform(nano())
    answers = [
        Example(text, f"What of number {k}?") for k, text in enumerate(films(40))
    ]
    chats = tokenized(
        answers, policy.reader, tmp_path / "p", context=32, held_out=0.5, seed=0
    )
    loop = task_of(policy, chats)
    pieces = [chats[0].piece(number) for number in range(len(chats[0]))]
    learned = sum(
        len(ids)
        for ids in policy.reader.completions([e.text for e in answers], ended=True)
    )
    assert sum(side.counts.tokens for side in chats) == learned
    tokens = chats[0].counts.tokens
    assert float(loop.loss(pieces)[0].detach()) == pytest.approx(
        tokens * math.log(len(policy.tokenizer)), rel=1e-5
    )
    step = loop.step_on(list(range(len(pieces))))
    assert (step["loss"], step["tokens"]) == (
        pytest.approx(math.log(len(policy.tokenizer)), rel=1e-5),
        tokens,
    )


def test_a_token_behind_the_text_changes_nothing_before_it(corpora: Corpora) -> None:
    """What stands behind the last learned token, padding or more text, is seen by nobody."""
    loop = task_of(drawn(nano()), corpora)
    ids, before = corpora[0].piece(0)
    longer = np.concatenate([ids, ids[1:4]])
    short, long = (float(loop.loss([(i, before)])[0].detach()) for i in (ids, longer))
    last = loop.loss([(longer, len(ids))])[0]
    assert long - float(last.detach()) == pytest.approx(short, rel=1e-4)


def test_the_learning_rate_warms_up_and_falls_to_nothing(
    corpora: Corpora, tmp_path: Path
) -> None:
    training = Pretraining(epochs=1, warmup=0.2, held_out=0.2, evaluations=1)
    trained(
        nano(),
        corpora,
        training,
        run=Run(tmp_path / "run", {}),
        lr=1e-3,
        batch_tokens=96,
    )
    rows = metrics(tmp_path / "run")
    rates, tokens = (
        np.array([row[name] for row in rows]) for name in ("learning_rate", "tokens")
    )
    total = corpora[0].counts.tokens
    assert tokens.sum() == total
    warm = 0.2 * total
    is_warming = tokens.cumsum() < warm
    assert rates[is_warming] == pytest.approx(1e-3 * tokens.cumsum()[is_warming] / warm)
    assert 0.9e-3 < rates.max() <= 1e-3
    later = np.flatnonzero(~is_warming)[1:-1]
    slopes = (rates[later] - rates[later + 1]) / tokens[later]
    assert slopes == pytest.approx(np.full(len(later), 1e-3 / (total - warm)))
    assert rates[-1] == pytest.approx(1e-3 * tokens[-1] / (total - warm)), (
        "a step more would have none"
    )


def test_muon_steps_along_the_matrices_at_a_multiple_of_the_rate(
    corpora: Corpora,
) -> None:
    """Twice the multiple, twice the step of the matrices between the layers; nothing else is moved
    by it.
    """
    moved: list[dict[str, torch.Tensor]] = []
    for muon in (2.0, 4.0, 0.0):
        policy = drawn(nano())
        before = {
            name: weight.detach().clone()
            for name, weight in policy.module.named_parameters()
        }
        training = Pretraining(epochs=1, weight_decay=0.0, warmup=0.0, held_out=0.2)
        task_of(policy, corpora, training, muon=muon).step_on(short_and_long(corpora))
        moved.append(
            {
                name: weight.detach() - before[name]
                for name, weight in policy.module.named_parameters()
            }
        )
    for name, step in moved[0].items():
        is_matrix = ".layers." in name and step.ndim == 2
        torch.testing.assert_close(
            moved[1][name], step * (2 if is_matrix else 1), rtol=0, atol=1e-6, msg=name
        )
        assert is_matrix != torch.allclose(moved[2][name], step, rtol=0, atol=1e-6), (
            name
        )


def test_parts_of_an_epoch_and_several(corpora: Corpora) -> None:
    total = corpora[0].counts.tokens
    for epochs in (0.3, 1.5):
        task = trained(
            nano(), corpora, Pretraining(epochs=epochs, held_out=0.2, evaluations=1)
        )
        assert epochs * total <= task.tokens < epochs * total + 256
        assert task.epoch == int(epochs)


def test_it_learns_and_says_how_it_goes(corpora: Corpora, tmp_path: Path) -> None:
    printed: list[str] = []
    run = Run(tmp_path / "run", {})
    trained(
        nano(),
        corpora,
        Pretraining(epochs=3, held_out=0.2),
        run=run,
        say=printed.append,
    )
    rows = metrics(tmp_path / "run")
    measured = [row for row in rows if "held_out_loss" in row]
    assert len(measured) == 3, "four times, the last one when the run is done"
    assert measured[-1]["held_out_loss"] < measured[0]["held_out_loss"] < math.log(320)
    assert [row["held_out_perplexity"] for row in measured] == [
        math.exp(row["held_out_loss"]) for row in measured
    ]
    assert np.mean([row["loss"] for row in rows[-5:]]) < 0.8 * np.mean(
        [row["loss"] for row in rows[:5]]
    )
    assert len([line for line in printed if "held-out perplexity" in line]) == 3
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 3


def test_a_network_grows_when_its_share_of_the_tokens_is_read(
    corpora: Corpora, tmp_path: Path
) -> None:
    """Two of three layers learn until 0.6 of the tokens are read; the third then begins as it was
    made.
    """
    policy = nano(layers=3)
    third = policy.module.gpt_neox.layers[2].state_dict()
    made = {name: weight.clone() for name, weight in third.items()}
    loop = task_of(
        policy, corpora, grow_at=0.6, muon=2.0, run=Run(tmp_path / "run", {})
    )
    states, step = [], loop.step_on

    def watched(numbers: list[int]) -> dict[str, float]:
        read = loop.tokens / loop.total
        states.append(
            (
                read,
                all(torch.equal(made[name], weight) for name, weight in third.items()),
            )
        )
        return step(numbers)

    loop.step_on = watched  # type: ignore[method-assign]
    train(loop, loop.run, seed=0)
    rows = metrics(tmp_path / "run")
    assert [row["layers"] for row in rows] == [
        2 if read < 0.6 else 3 for read, _ in states
    ]
    late = [is_made for read, is_made in states if read >= 0.6]
    assert all(is_made for read, is_made in states if read < 0.6)
    assert late == [True] + [False] * (len(late) - 1)
    assert 3 < len(late) < len(rows) - 3


def test_a_layer_that_joins_changes_nothing_yet(corpora: Corpora) -> None:
    policy = nano(layers=2)
    numbers = short_and_long(corpora)
    pieces = [corpora[0].piece(number) for number in numbers]
    loop = task_of(policy, corpora, grow_at=0.9, muon=2.0)
    for _ in range(5):
        loop.step_on(numbers)
    first, whole = (loop.loss(pieces, layers)[0] for layers in (1, 2))
    assert torch.equal(first, whole)
    loop.grow_at = 0.0
    loop.step_on(numbers)
    first, whole = (loop.loss(pieces, layers)[0] for layers in (1, 2))
    assert not torch.equal(first, whole)


def test_a_network_that_does_not_grow_learns_with_all_of_its_layers(
    corpora: Corpora,
) -> None:
    grown = []
    for grow_at in (0.0, 1e-9):
        policy = nano(layers=2)
        loop = task_of(policy, corpora, grow_at=grow_at)
        layers = [loop.step_on(short_and_long(corpora))["layers"] for _ in range(2)]
        grown.append(layers)
    assert grown == [[2, 2], [1, 2]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_that_grows_knows_as_much_in_the_end(
    tmp_path: Path, seed: int
) -> None:
    """Reviews of the playground, read once by a network of four layers of 64: held-out losses
    within 0.03.
    """
    texts, size = list(reviews(1500, seed=seed)), replace(SIZES["tiny"], width=64)
    tokenizer = make_tokenizer(texts, vocabulary=1024, context=size.context)
    policies = [
        Policy(make_gpt(size, tokenizer, seed=seed), tokenizer) for _ in range(2)
    ]
    folder, sides = (
        tmp_path / "pieces",
        {"context": size.context, "held_out": 0.2, "seed": seed},
    )
    corpora = tokenized(map(Example, texts), policies[0].reader, folder, **sides)
    losses = []
    for policy, grow_at in zip(policies, (0.0, 0.5), strict=True):
        settings = {
            "lr": size.lr,
            "batch_tokens": size.batch_tokens,
            "muon": size.muon,
            "seed": seed,
            "grow_at": grow_at,
        }
        trained(policy, corpora, Pretraining(evaluations=1), **settings)
        losses.append(held_out_loss(policy, corpora[1], seed=0).mean())
    assert losses[0] < 3, "it has learned"
    assert losses[1] < losses[0] + 0.03


@pytest.mark.parametrize(
    ("damage", "muon", "grow_at", "layers"),
    [
        (False, 0.0, 0.0, 1),
        (True, 0.0, 0.0, 1),
        (False, 4.0, 0.0, 1),
        (False, 4.0, 0.7, 2),
        (False, 0.0, 0.8, 2),
    ],
)
def test_a_run_that_was_broken_off_ends_in_the_same_bits(
    corpora: Corpora,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: bool,
    muon: float,
    grow_at: float,
    layers: int,
) -> None:
    settings: dict[str, Any] = {"muon": muon, "grow_at": grow_at}
    whole = nano(layers=layers)
    trained(whole, corpora, run=Run(tmp_path / "whole", {}), **settings)
    torn = nano(layers=layers)
    with monkeypatch.context() as patch:
        patch.setattr(PretrainTask, "checkpoint_seconds", 0.0)
        with pytest.raises(Killed):
            trained(
                torn,
                corpora,
                say=_killing_at(3),
                run=Run(tmp_path / "torn", {}),
                **settings,
            )
    left = sorted((tmp_path / "torn").glob("checkpoint-*"))
    assert len(left) == 2
    if damage:
        tensors = left[-1] / "tensors.safetensors"
        tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
    again = nano(seed=5, layers=layers)
    trained(again, corpora, run=Run(tmp_path / "torn", {}, resume=True), **settings)
    assert weights(again) == weights(whole) != weights(torn)
    assert metrics(tmp_path / "torn") == metrics(tmp_path / "whole")


def _killing_at(evaluation: int) -> Callable[[str], None]:
    printed: list[str] = []

    def say(line: str) -> None:
        printed.append(line)
        if sum("held-out perplexity" in before for before in printed) == evaluation:
            raise Killed

    return say


def test_a_loss_that_is_not_finite_stops_the_run(corpora: Corpora) -> None:
    wild = Pretraining(epochs=20, warmup=0.0, held_out=0.2, evaluations=1)
    message = r"step \d+.*\bloss\b.*--lr .*\de\+0[3-6]"
    with pytest.raises(TrainingError, match=message):
        trained(nano(), corpora, wild, lr=1e6)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("epochs", value) for value in (0, -1, math.nan, math.inf)),
        *(("lr", value) for value in (0, -1e-3, math.nan)),
        *(("clip", value) for value in (0.0, math.inf)),
        ("batch_tokens", 0),
        ("evaluations", 0),
        ("context", 7),
        ("vocabulary", 0),
        *(
            (name, value)
            for name in ("warmup", "held_out", "grow_at")
            for value in (-0.1, 1.0, math.nan)
        ),
        *(("weight_decay", value) for value in (-0.1, math.nan, math.inf)),
    ],
)
def test_settings_are_checked(setting: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"^{setting} {value}: [^\n]*$"):
        Pretraining(**{setting: value})  # type: ignore[arg-type]
