"""Text → policy: the same seed gives the same bits, also after a kill, and the policy learns."""

import copy
import json
import math
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import forked
import pytest
from nano import NANO, films, nano

import tastemaker as tm
from tastemaker.data import Example, Message, lot
from tastemaker.gpt import (
    FIGURES,
    SIZES,
    Policy,
    Pretraining,
    PretrainTask,
    Sampling,
    held_out_loss,
    make_gpt,
    tokenized,
)
from tastemaker.gpt import pretraining as module
from tastemaker.playground import reviews

QUICK = {"epochs": 1, "held_out": 0.2, "evaluations": 2}
LIKELIEST = Sampling(top_k=1, max_tokens=16)


class Killed(BaseException):
    """What ends a run from outside."""


@pytest.fixture(autouse=True)
def _nano(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that is trained in a second."""
    monkeypatch.setitem(SIZES, "nano", NANO)


def learn(texts: Any, **settings: Any) -> Policy:
    size = {} if "start" in settings else {"size": "nano"}
    return tm.pretrain(texts, **size | {"training": QUICK} | settings)


def weights(policy: Policy) -> bytes:
    return b"".join(t.numpy().tobytes() for t in policy.module.state_dict().values())


def killing(words: str) -> Callable[[str], None]:
    """Return what ends a run when it says some words."""

    def say(line: str) -> None:
        if words in line:
            raise Killed

    return say


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy that was trained on short reviews."""
    folder: Path = tmp_path_factory.mktemp("saved") / "gpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "nano", NANO)
        learn(films(120), out=folder, seed=3)
    return folder


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(saved: Path) -> None:
    texts = films(120)
    assert (
        weights(learn(texts, seed=3))
        == weights(tm.Policy.load(saved))
        != weights(learn(texts, seed=4))
    )


def test_the_figures_are_those_of_the_policy_that_was_saved(
    saved: Path, tmp_path: Path
) -> None:
    policy, figures = tm.Policy.load(saved), json.loads((saved / FIGURES).read_text())
    assert policy.figures == figures
    texts = [Example(text) for text in films(120)]
    train, held_out = tokenized(
        texts, policy.reader, tmp_path / "p", context=32, held_out=0.2, seed=3
    )
    nats = held_out_loss(policy, held_out, seed=3).mean()
    assert figures["perplexity"] == pytest.approx(math.exp(nats), rel=1e-6)
    size = held_out.counts.bytes / held_out.counts.tokens
    assert figures["byte_perplexity"] == pytest.approx(math.exp(nats / size), rel=1e-6)
    assert figures["corpus"] == {
        name: {
            n: getattr(side.counts, n)
            for n in ("documents", "pieces", "tokens", "bytes")
        }
        for name, side in (("train", train), ("held_out", held_out))
    }
    assert figures["measured_tokens"] == held_out.counts.tokens
    assert (figures["tokens"], figures["parameters"]) == (
        train.counts.tokens,
        policy.parameters,
    )
    assert figures["settings"]["training"]["held_out"] == 0.2
    assert 1 < figures["ngram_perplexity"] < 320


def test_a_folder_that_holds_a_model_is_not_replaced_silently(saved: Path) -> None:
    before = (saved / "model.safetensors").read_bytes()
    with pytest.raises(tm.StorageError, match="--overwrite"):
        learn(films(120), out=saved, seed=3)
    with pytest.raises(tm.UsageError, match=r"\bseed\b.*\b3\b.*\b4\b"):
        learn(films(120), out=saved, seed=4, resume=True)
    with pytest.raises(tm.UsageError, match=r"^--resume.*\bdata\b"):
        learn(films(119), out=saved, seed=3, resume=True)
    again = learn(films(120), out=saved, seed=3, resume=True, say=killing(""))
    assert weights(again) == weights(tm.Policy.load(saved)), (
        "a finished run is opened, not run"
    )
    assert (saved / "model.safetensors").read_bytes() == before
    assert (saved / "run" / "metrics.jsonl").is_file()
    assert not list((saved / "run").glob("checkpoint*"))
    assert not (saved / "run" / "tokens").exists()


def test_a_run_goes_on_only_as_it_began(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        learn(films(120), out=tmp_path / "gpt", say=killing("held-out perplexity"))
    for other in (
        {"seed": 1},
        {"training": QUICK | {"lr": 1e-3}},
        {"training": QUICK | {"context": 16}},
    ):
        with pytest.raises(tm.UsageError, match=next(iter(other))):
            learn(films(120), out=tmp_path / "gpt", resume=True, **other)
    with pytest.raises(tm.StorageError, match="--resume"):
        learn(films(120), out=tmp_path / "gpt")
    assert weights(learn(films(120), out=tmp_path / "gpt", resume=True)) == weights(
        learn(films(120))
    )


def test_a_start_in_memory_is_known_by_its_weights_and_its_tokenizer(
    tmp_path: Path,
) -> None:
    """All three say the same of themselves."""
    start, same, other = nano(seed=0), nano(seed=0), nano(seed=1)
    assert repr(start) == repr(other)
    reads_on = Policy(same.module, copy.deepcopy(same.tokenizer))
    reads_on.tokenizer.add_tokens(["电影"])
    with pytest.raises(Killed):
        learn(
            films(120),
            start=start,
            out=tmp_path / "gpt",
            say=killing("held-out perplexity"),
        )
    for unlike in (other, reads_on):
        with pytest.raises(tm.UsageError, match=r"^--resume.*\bstart\b"):
            learn(films(120), start=unlike, out=tmp_path / "gpt", resume=True)
    assert weights(learn(films(120), start=same, out=tmp_path / "gpt", resume=True))


def test_tokens_that_another_run_left_are_not_taken(tmp_path: Path) -> None:
    """It was killed when the corpus lay there as tokens, and before anything was learned."""
    with pytest.raises(Killed):
        learn(films(120), out=tmp_path / "gpt", say=killing("tokens to learn from"))
    texts = [f"{text} 好看" for text in films(90)]
    policy = learn(texts, out=tmp_path / "gpt")
    assert sum(side["documents"] for side in policy.figures["corpus"].values()) == 90
    assert weights(policy) == weights(learn(texts))
    assert not (tmp_path / "gpt" / "run" / "tokens").exists()


def test_a_tokenizer_is_made_once_and_kept_for_the_run_that_goes_on(
    tmp_path: Path,
) -> None:
    made = []
    for resume in (False, True):
        with pytest.raises(Killed):
            learn(
                films(120),
                out=tmp_path / "gpt",
                say=killing("tokens to learn from"),
                resume=resume,
            )
        [path] = (tmp_path / "gpt").glob("run/tokens/*/tokenizer/tokenizer.json")
        made.append(path.stat().st_mtime_ns)
    assert made[0] == made[1]


def test_a_tokenizer_is_learned_from_a_random_part_of_much_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The texts whose lots come first, as many as fit."""
    monkeypatch.setattr(module, "_TOKENIZER_CHARACTERS", 1000)
    texts = films(300)
    for seed in (0, 1):
        drawn = sorted(texts, key=partial(lot, seed, "tokenizer"))
        lengths = accumulate(map(len, drawn))
        expected = [
            text for text, length in zip(drawn, lengths, strict=True) if length <= 1000
        ]
        assert 30 < len(expected) < 60
        for order in (texts, texts[::-1]):
            assert module._sample([Example(text) for text in order], seed) == (
                expected,
                False,
            )
    long = "A film. " * 200
    assert module._sample([Example(long)], 0) == ([long], False), (
        "one that is too long by itself is all there is"
    )
    sample, chats = module._sample(
        [Example("Fine.", "How was it?"), Example("Grey.")], 0
    )
    assert (sorted(sample), chats) == (["Fine.", "Grey.", "How was it?"], True)


def test_a_vocabulary_that_the_corpus_just_supports_is_made() -> None:
    assert len(learn(films(120), training=QUICK | {"vocabulary": 300}).tokenizer) == 300


@pytest.mark.parametrize(
    ("texts", "training", "words"),
    [
        ([], {}, "no text"),
        (["A film, a film."], {"context": 512}, r"\bcontext of 512\b"),
        (films(20), {"held_out": 0.0}, r"\b20 pieces\b.*--held-out"),
        (
            films(20),
            {"vocabulary": 5000},
            r"\b5,000 tokens\b.*\bcorpus\b.* \d+\..*\d\.$",
        ),
        (["z"], {}, "too little text.*tokenizer"),
    ],
)
def test_a_corpus_that_cannot_teach_is_refused_and_leaves_nothing(
    tmp_path: Path, texts: list[str], training: dict[str, Any], words: str
) -> None:
    with pytest.raises(tm.DataError, match=words):
        learn(texts, out=tmp_path / "gpt", training=QUICK | training)
    assert not (tmp_path / "gpt").exists()


def test_a_corpus_that_cannot_teach_does_not_cost_the_model_that_it_was_to_replace(
    saved: Path, tmp_path: Path
) -> None:
    out = tmp_path / "gpt"
    shutil.copytree(saved, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(tm.DataError, match="no text"):
        learn([], out=out, overwrite=True)
    assert {
        path: path.read_bytes() for path in out.rglob("*") if path.is_file()
    } == before
    policy = learn(films(100), out=out, overwrite=True)
    assert weights(tm.Policy.load(out)) == weights(policy)
    assert [path.name for path in tmp_path.iterdir()] == ["gpt"]


def test_what_cannot_be_asked_is_said(saved: Path) -> None:
    with pytest.raises(tm.UsageError, match=r"\biterator\b.*\bDocuments\b"):
        learn(iter(films(9)))
    with pytest.raises(tm.UsageError, match=r"training.*'epoch'.*\bepochs\b"):
        learn(films(9), training={"epoch": 1})
    with pytest.raises(tm.UsageError, match="'huge'"):
        learn(films(9), size="huge")
    for size in ("nano", "tiny"):
        with pytest.raises(tm.UsageError, match=r"^size and start: "):
            learn(films(9), size=size, start=saved)
    with pytest.raises(tm.UsageError, match=r"\b256 bytes\b"):
        learn(films(60), training=QUICK | {"vocabulary": 200})
    with pytest.raises(tm.UsageError, match=r"\b32 tokens\b"):
        learn(films(60), start=saved, training=QUICK | {"context": 33})
    with pytest.raises(tm.UsageError, match=r"\btokenizer\b"):
        learn(films(60), start=saved, training=QUICK | {"vocabulary": 300})
    with pytest.raises(tm.UsageError, match="grow_at"):
        learn(films(60), start=saved, training=QUICK | {"grow_at": 0.5})
    with pytest.raises(tm.UsageError, match=r"gpt: .*--out"):
        learn(films(60), start=str(saved), out=saved / ".." / "gpt", overwrite=True)
    assert (saved / "model.safetensors").is_file()


def test_a_step_reads_at_least_one_context() -> None:
    training = QUICK | {"context": 16, "evaluations": 1}
    few, one = (
        learn(films(120), training=training | {"batch_tokens": tokens})
        for tokens in (1, 16)
    )
    assert few.figures["steps"] == one.figures["steps"]
    assert weights(few) == weights(one)


def test_a_new_model_grows_as_its_size_says_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SIZES, "nano", replace(NANO, layers=2, grow_at=0.5))
    growths = [
        learn(films(120), training=QUICK | given)
        for given in ({}, {"grow_at": 0.5}, {"grow_at": 0.0})
    ]
    assert weights(growths[0]) == weights(growths[1]) != weights(growths[2])


def test_a_given_model_reads_what_it_can_up_to_a_thousand_tokens() -> None:
    start = nano()
    assert module._context(start, module._CONTINUED, Pretraining()) == 32
    long = Policy(
        make_gpt(replace(NANO, context=2048), start.tokenizer, seed=0), start.tokenizer
    )
    assert module._context(long, module._CONTINUED, Pretraining()) == 1024
    assert module._context(long, module._CONTINUED, Pretraining(context=1500)) == 1500


def test_a_policy_that_n_grams_foresee_as_well_is_not_said_to_be_better() -> None:
    figures = {"perplexity": 4.0, "byte_perplexity": 1.5, "tokens": 9, "seconds": 1.0}
    for theirs, words in (
        (5.0, ", below the 5.00 of n-grams"),
        (4.0, ", NOT below the 4.00"),
        (3.0, ", NOT below"),
    ):
        assert words in module._verdict(figures | {"ngram_perplexity": theirs})


def test_a_run_that_goes_nowhere_saves_nothing(tmp_path: Path) -> None:
    """One step with weights as large as this leaves no number to save."""
    wild = {"epochs": 1e-3, "held_out": 0.2, "lr": 1e30, "warmup": 0.0}
    with pytest.raises(tm.TrainingError, match="--lr"):
        learn(films(120), out=tmp_path / "gpt", training=wild)
    assert not (tmp_path / "gpt" / "config.json").exists()


# --- going on with a given model


def test_a_given_model_learns_another_domain_and_stays_as_it_is(saved: Path) -> None:
    start = tm.Policy.load(saved)
    before = weights(start)
    texts = reviews(80, language="zh")
    unseen = [Example(text) for text in reviews(100, language="zh")[80:]]
    policy = learn(
        texts, start=start, training=QUICK | {"lr": 5e-3, "batch_tokens": 256}
    )
    assert (
        tm.perplexity(policy, unseen).per_token
        < 0.5 * tm.perplexity(start, unseen).per_token
    )
    assert weights(start) == before
    assert all(p.requires_grad for p in policy.module.parameters())
    of_folder = learn(
        texts, start=saved, training=QUICK | {"lr": 5e-3, "batch_tokens": 256}
    )
    assert weights(of_folder) == weights(policy)


def test_a_run_goes_on_only_with_the_prompts_it_began_with(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        learn(ANSWERED, out=tmp_path / "gpt", say=killing("held-out perplexity"))
    others = [Example(e.text, f"{e.prompt} Say!") for e in ANSWERED]
    with pytest.raises(tm.UsageError, match=r"^--resume.*\bdata\b"):
        learn(others, out=tmp_path / "gpt", resume=True)


ANSWERED = [Example("It was fine.", f"How was film {k}?") for k in range(120)]


def test_a_gpt_made_from_chats_answers_them() -> None:
    policy = learn(ANSWERED, training=QUICK | {"epochs": 8})
    assert policy.tokenizer.chat_template
    [answer] = policy.complete(
        ((Message("user", "How was film 777?"),),), sampling=LIKELIEST
    )  # type: ignore[arg-type]
    assert (answer.text, answer.ended) == ("It was fine.", "end")
    sides = policy.figures["corpus"].values()
    learned = len(policy.reader.completions(["It was fine."], ended=True)[0])
    assert sum(side["tokens"] for side in sides) == 120 * learned, (
        "no token of a question is learned"
    )


def test_without_a_chat_template_an_empty_line_stands_between() -> None:
    training = {"epochs": 8, "lr": 5e-3, "batch_tokens": 256}
    policy = learn(
        ANSWERED,
        start=nano([e.text for e in ANSWERED] + films(40)),
        training=QUICK | training,
    )
    [answer] = policy.complete("How was film 777?\n\n", sampling=LIKELIEST)
    assert (answer.text, answer.ended) == ("It was fine.", "end")
    chats = [Example(e.text, (Message("user", str(e.prompt)),)) for e in ANSWERED]
    with pytest.raises(tm.ModelError, match="no chat template"):
        learn(chats, start=nano(), training=QUICK)


# --- killed at any moment

TORN = {"epochs": 2, "held_out": 0.2, "evaluations": 3}


def _pretrain_until(moment: int, source: Path, out: Path) -> None:
    """Pretrain in a process of its own, which dies at a moment; a checkpoint after each step."""
    forked.die_when(partial(MOMENTS[moment], out))
    SIZES["nano"] = NANO
    PretrainTask.checkpoint_seconds = 0.0
    texts = tm.Documents([source], each="line")
    tm.pretrain(texts, size="nano", training=TORN, out=out, resume=True)


def _lines(out: Path) -> int:
    metrics = out / "run" / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.is_file() else 0


MOMENTS: list[Callable[[Path], bool]] = [
    lambda out: any(out.glob("run/tokens/*")),  # the tokenizer is being written
    lambda out: any(out.glob("run/tokens/*/tokenizer")),  # the corpus becomes tokens
    lambda out: _lines(out) >= 9,
    lambda out: any(out.parent.glob(f".{out.name}.*.tmp")),  # the policy is being saved
]


@pytest.mark.slow
def test_killed_and_resumed_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    """A process dies at each moment; go on here, and compare with a run that was whole."""
    source = tmp_path / "films.txt"
    source.write_text("\n".join(films(1500)), encoding="utf-8")
    out = tmp_path / "torn"
    for moment in range(len(MOMENTS)):
        process = forked.start_call(_pretrain_until, moment, source, out)
        assert process.wait(600) == -signal.SIGKILL, process.output()
        assert not (out / "config.json").exists()
    for folder in (out, tmp_path / "whole"):
        texts = tm.Documents([source], each="line")
        learn(texts, training=TORN, out=folder, resume=True)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (
            name
        )
    assert _curve(out) == _curve(tmp_path / "whole")
    assert not [
        p
        for p in out.rglob("*")
        if p.name == "tokens" or p.name.startswith("checkpoint")
    ]


def _curve(out: Path) -> list[dict[str, float]]:
    lines = (out / "run" / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k != "tokens_per_second"}
        for line in lines
    ]
