"""Judgements → reward model with real networks: it learns, is deterministic, and resumes."""

import json
import signal
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

import tastemaker as tm
from tastemaker.cli import main
from tastemaker.kinds import Likelihood, links_from
from tastemaker.reward import Corpus, FitTask, ObservationModel, make_tiny
from tastemaker.train import Run, train

GOOD = ("lovely", "bright", "moving", "clever", "warm")
BAD = ("dull", "clumsy", "grey", "tired", "empty")


def film_judgements(n: int, *, kinds: str = "label grade rating") -> list[Any]:
    """Return judgements of n texts whose share of good words is their worth."""
    draw = np.random.default_rng(0)
    judgements: list[Any] = []
    for number in range(n):
        good = draw.integers(0, 6)
        words = [draw.choice(GOOD) if k < good else draw.choice(BAD) for k in range(5)]
        draw.shuffle(words)
        text = f"A {', '.join(words)} film number {number}."
        judgements += [tm.Label(text, bool(good >= 3))] if "label" in kinds else []
        judgements += [tm.Grade(text, int(good), 0, 5)] if "grade" in kinds else []
        judgements += (
            [tm.Rating(text, 20.0 * good + draw.normal())] if "rating" in kinds else []
        )
    return judgements


TINY = tm.Tiny(vocabulary=400, max_length=32)
QUICK = tm.Training(epochs=2, lr=2e-3, batch_size=16, evaluations=4)


@pytest.mark.parametrize("kinds", ["label", "grade", "rating", "label grade rating"])
def test_every_kind_of_judgement_teaches_the_same_taste(kinds: str) -> None:
    model = tm.fit(
        film_judgements(400, kinds=kinds), backbone=TINY, training=QUICK, seed=1
    )
    good, middle, bad = model.score(
        ["A warm, bright film.", "A warm, dull film.", "A dull, grey film."]
    )
    assert good > middle > bad
    if "label" in kinds:
        assert model.probability("A lovely, warm, clever film.") > 0.8
        assert model.probability("A tired, empty, grey film.") < 0.2
    if kinds != "label":
        assert model.rating("A lovely, warm, clever film.") > model.rating(
            "A tired, empty, grey film."
        )


def test_the_anchor_is_the_mean_and_spread_of_held_out_texts() -> None:
    judgements = film_judgements(120)
    train, held_out = tm.split(judgements, held_out=0.2, seed=0)
    for backbone in ("linear", TINY):
        training = None if backbone == "linear" else QUICK
        model = tm.fit(train, backbone=backbone, held_out=held_out, training=training)
        scores = np.array(model.score(sorted({j.text for j in held_out})))
        assert scores.mean() == pytest.approx(0, abs=1e-3)
        assert scores.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("members", [1, 2])
def test_a_decoder_says_that_zero_is_not_the_mean(tmp_path: Path, members: int) -> None:
    """Its head has no bias that could take the mean off, in transformers as here: the contract and
    the card say so.
    """
    tokenizer = make_tiny(["A warm, bright film."], vocabulary=300).tokenizer
    size = {
        "vocab_size": len(tokenizer),
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 64,
        "num_labels": 1,
    }
    ends = {
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(**size, **ends, pad_token_id=tokenizer.pad_token_id)
        GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    reference = [tm.Example(f"A {word} film.") for word in (*GOOD, *BAD)]
    model = tm.fit(
        film_judgements(60, kinds="label"),
        backbone=str(tmp_path / "base"),
        training={"epochs": 1},
        anchor=reference,
        members=members,
        out=tmp_path / "taste",
    )
    anchor, scores = model.contract.anchor, model.score_all(reference).values
    assert anchor is not None
    assert not anchor.centred
    assert scores.std() == pytest.approx(1, abs=1e-3)
    assert scores.mean() == pytest.approx(anchor.mean / anchor.sd, abs=1e-3)
    assert abs(scores.mean()) > 0.01
    saved = tm.load(tmp_path / "taste")
    assert saved.contract.anchor == anchor
    assert saved.baseline is not None
    assert saved.baseline.contract.anchor is not None
    assert saved.baseline.contract.anchor.centred
    assert "not centred" in (tmp_path / "taste" / "README.md").read_text(
        encoding="utf-8"
    )


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    tmp_path: Path,
) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        tm.fit(
            film_judgements(60),
            backbone=TINY,
            training=QUICK,
            seed=seed,
            out=tmp_path / name,
        )
    one, two, three = ((tmp_path / n / "model.safetensors").read_bytes() for n in "abc")
    assert one == two
    assert one != three


def _task(judgements: list[Any], training: tm.Training) -> FitTask:
    links = links_from(judgements)
    corpus = Corpus.of(judgements, links)
    half = len(judgements) // 2
    network = make_tiny(
        [e.text for e in corpus.examples], vocabulary=400, max_length=32, seed=0
    )
    train = Corpus.of(judgements[:half], links)
    return FitTask(
        network,
        ObservationModel(links, Likelihood(), train),
        train,
        Corpus.of(judgements[half:], links),
        training,
        device=torch.device("cpu"),
        precision=torch.float32,
        seed=0,
    )


def test_the_token_budget_changes_memory_and_nothing_else() -> None:
    judgements = film_judgements(128, kinds="label")
    models = []
    for budget in (32, 100000):
        training = tm.Training(
            epochs=1, batch_size=64, batch_tokens=budget, clip=1e9, evaluations=1
        )
        task = _task(judgements, training)
        metrics = task.step_on(task.units)
        models.append((metrics["loss"], metrics["gradient_norm"]))
    assert models[0] == pytest.approx(models[1], rel=1e-4)


def test_early_stopping_ends_the_run_and_keeps_the_best_weights(tmp_path: Path) -> None:
    """Labels are random: the network memorises its texts and the held-out loss rises."""
    draw = np.random.default_rng(1)
    judgements = [
        tm.Label(f"{draw.choice(GOOD)} {draw.choice(BAD)} {n}", bool(draw.integers(2)))
        for n in range(160)
    ]
    training = tm.Training(
        epochs=40, lr=2e-3, batch_size=16, evaluations=40, patience=4
    )
    task = _task(judgements, training)
    progress = train(task, Run(tmp_path / "run", {}), seed=0)
    rows = [
        json.loads(line)
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    losses = {
        row["step"]: row["held_out_loss"] for row in rows if "held_out_loss" in row
    }
    assert progress.step < task.total
    assert progress.best_step == min(losses, key=losses.__getitem__) < progress.step
    assert task.measure()["held_out_loss"] == pytest.approx(
        losses[progress.best_step], abs=1e-6
    )


def test_a_loss_that_is_not_finite_is_an_error_not_a_number() -> None:
    wild = tm.Training(epochs=3, lr=1e30, warmup=0.0, clip=1e30, batch_size=16)
    with pytest.raises(tm.TrainingError, match=r"step \d+.*--lr"):
        tm.fit(film_judgements(100, kinds="rating"), backbone=TINY, training=wild)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(tm.DataError, match="no judgements"):
        tm.fit([])


def test_a_finished_model_is_not_overwritten_silently(tmp_path: Path) -> None:
    judgements = film_judgements(60, kinds="label")
    tm.fit(judgements, out=tmp_path / "taste")
    before = (tmp_path / "taste" / "tastemaker.json").read_bytes()
    with pytest.raises(tm.StorageError, match="--overwrite"):
        tm.fit(judgements, out=tmp_path / "taste", seed=5)
    assert (tmp_path / "taste" / "tastemaker.json").read_bytes() == before
    again = tm.fit(judgements, out=tmp_path / "taste", resume=True)
    assert again.contract == tm.load(tmp_path / "taste").contract
    tm.fit(judgements, out=tmp_path / "taste", seed=5, overwrite=True)
    assert (tmp_path / "taste" / "tastemaker.json").read_bytes() != before


def test_a_backbone_that_is_not_there_does_not_cost_the_model_that_it_was_to_replace(
    tmp_path: Path,
) -> None:
    judgements = film_judgements(60, kinds="label")
    tm.fit(judgements, out=tmp_path / "taste")
    before = (tmp_path / "taste" / "tastemaker.json").read_bytes()
    with pytest.raises(tm.ModelError):
        tm.fit(
            judgements,
            backbone=str(tmp_path / "nowhere"),
            out=tmp_path / "taste",
            overwrite=True,
        )
    assert (tmp_path / "taste" / "tastemaker.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["taste"]


def test_a_run_is_resumed_with_the_anchor_it_began_with(tmp_path: Path) -> None:
    judgements = film_judgements(60, kinds="label")
    reference = [tm.Example(f"A {word} film.") for word in (*GOOD, *BAD)]
    first = tm.fit(judgements, anchor=reference, out=tmp_path / "taste")
    again = tm.fit(
        judgements, anchor=list(reference), out=tmp_path / "taste", resume=True
    )
    assert again.contract.anchor == first.contract.anchor
    asked = [tm.Example(e.text, prompt="Which film?") for e in reference]
    for other in (reference[:-1], asked, None):
        with pytest.raises(tm.UsageError, match=r"^--resume.*\banchor\b"):
            tm.fit(judgements, anchor=other, out=tmp_path / "taste", resume=True)
    tm.fit(judgements, out=tmp_path / "plain")
    with pytest.raises(
        tm.UsageError,
        match=r"^--resume.*\banchor\b.*\bNone\b.*'",
    ):
        tm.fit(judgements, anchor=reference, out=tmp_path / "plain", resume=True)


def test_a_run_is_resumed_with_the_names_of_labels_it_began_with(
    tmp_path: Path,
) -> None:
    judgements = film_judgements(60, kinds="label")
    tm.fit(judgements, labels={"positive": "good"}, out=tmp_path / "taste")
    with pytest.raises(tm.UsageError, match=r"^--resume.*\blabels\b"):
        tm.fit(
            judgements, labels={"positive": "fine"}, out=tmp_path / "taste", resume=True
        )


def test_an_anchor_holds_texts() -> None:
    with pytest.raises(tm.DataError, match="anchor"):
        tm.fit(film_judgements(60, kinds="label"), anchor=[])


def test_training_settings_are_checked() -> None:
    for wrong in (
        {"epochs": 0},
        {"lr": -1.0},
        {"lr": float("nan")},
        {"batch_size": 0},
        {"warmup": 1.0},
    ):
        with pytest.raises(tm.UsageError, match=next(iter(wrong))):
            tm.Training(**wrong)  # type: ignore[arg-type]
    judgements = film_judgements(60, kinds="label")
    for training, message in (
        ({"lrr": 1}, r"training.*'lrr'.*\blr\b"),
        ({"lr": "fast"}, "training: lr 'fast'"),
        ({"epochs": 1.5}, r"training: epochs 1\.5"),
    ):
        with pytest.raises(tm.UsageError, match=message):
            tm.fit(judgements, backbone=TINY, training=training)
    for settings in ({"epochs": 3}, {"training": {"lr": 1e-3}}):
        with pytest.raises(tm.UsageError, match=r"--(epochs|lr).*'linear'"):
            tm.fit(judgements, **settings)  # type: ignore[arg-type]


def _words(source: Path, out: Path, *more: str) -> list[str]:
    options = {
        "--out": str(out),
        "--backbone": "tiny",
        "--epochs": "2",
        "--max-length": "32",
        "--evaluations": "8",
        "--patience": "8",
        "--batch-size": "8",
        "--dropout": "0.1",
    }
    pairs = [word for option in options.items() for word in option]
    return ["fit", str(source), *pairs, "--quiet", *more]


def _steps(out: Path) -> int:
    metrics = out / "run" / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.is_file() else 0


def _fit_until(steps: int, out: Path, *words: str) -> None:
    """Fit in a process of its own, which dies after some steps."""
    forked.die_when(lambda: _steps(out) >= steps)
    main(list(words))


@pytest.mark.slow
def test_killed_and_resumed_it_ends_in_the_same_bits(run: Any, tmp_path: Path) -> None:
    """A process dies at two places, the second after a resume; go on here, and compare with a run
    that was whole.
    """
    source = tmp_path / "judged.jsonl"
    rows = [
        {"text": j.text, "label": j.positive}
        for j in film_judgements(240, kinds="label")
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, more = tmp_path / "torn", []
    for steps in (5, 40):
        words = _words(source, out, *more)
        process = forked.start_call(_fit_until, steps, out, *words)
        assert process.wait(600) == -signal.SIGKILL, process.output()
        assert _steps(out) == steps
        more = ["--resume"]
    assert run(*_words(source, out, "--resume"))[0] == 0
    assert run(*_words(source, tmp_path / "whole"))[0] == 0
    for name in (
        "model.safetensors",
        "tastemaker.json",
        "tokenizer.json",
        "baseline/tastemaker.json",
    ):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (
            name
        )
    whole, torn = (_curve(tmp_path / n) for n in ("whole", "torn"))
    assert torn == whole
    assert not list((out / "run").glob("*checkpoint*"))


def _curve(out: Path) -> list[dict[str, float]]:
    lines = (out / "run" / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k != "texts_per_second"}
        for line in lines
    ]


def test_few_held_out_texts_do_not_set_the_scale() -> None:
    """Two texts of nearly equal scores would make all other scores huge."""
    words = ("good", "fine", "bad", "poor")
    grades = [
        tm.Grade(f"{words[n % 4]} film number {n}", 5 if n % 4 < 2 else 1, 1, 5)
        for n in range(12)
    ]
    held_out = [
        tm.Grade("good film number 30", 5, 1, 5),
        tm.Grade("good film number 31", 5, 1, 5),
    ]
    model = tm.fit(grades, held_out=held_out)
    scores = model.score([grade.text for grade in grades])
    assert max(abs(score) for score in scores) < 5
