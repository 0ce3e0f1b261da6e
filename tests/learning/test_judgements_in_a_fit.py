"""What each kind of judgement, and each setting of the likelihood, does to a fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tastemaker as tm
from tastemaker.kinds import Likelihood, links_from
from tastemaker.maths import kendall
from tastemaker.playground import gold_score, judgements
from tastemaker.reward import Corpus, FitTask, ObservationModel, make_tiny

GOOD, BAD = (
    ("lovely", "bright", "moving", "clever", "warm"),
    ("dull", "clumsy", "grey", "tired", "empty"),
)


def film(good: int, draw: np.random.Generator, filler: int = 0) -> str:
    words = [*draw.choice(GOOD, good), *draw.choice(BAD, 5 - good), *["and"] * filler]
    return " ".join([*draw.permutation(words), f"film {draw.integers(10**6)}"])


@pytest.mark.parametrize(
    ("kind", "backbone"),
    [("comparison", "linear"), ("ranking", "linear"), ("mixed", "tiny")],
)
def test_every_kind_teaches_the_gold_score(kind: Any, backbone: str) -> None:
    settings: Any = {"backbone": "linear"}
    if backbone == "tiny":
        settings = {
            "backbone": tm.Tiny(vocabulary=600, max_length=64),
            "training": {"epochs": 3, "lr": 2e-3},
        }
    model = tm.fit(judgements(400, kind=kind, seed=3), **settings)
    unseen = [text for j in judgements(200, kind="label", seed=4) for text in j.texts]
    tau = kendall(
        np.array(model.score(unseen)), np.array([gold_score(text) for text in unseen])
    )
    assert tau > (0.35 if backbone == "linear" else 0.15), (
        "a tiny network needs more than 400 judgements"
    )


def task_of(
    judgements: list[tm.Judgement],
    likelihood: Likelihood | None = None,
    **training: Any,
) -> FitTask:
    links = links_from(judgements, likelihood or Likelihood())
    corpus = Corpus.of(judgements, links)
    network = make_tiny(
        [e.text for e in corpus.examples], vocabulary=400, max_length=32, seed=0
    )
    model = ObservationModel(links, likelihood or Likelihood(), corpus)
    settings = tm.Training(**{"epochs": 1, "clip": 1e9, **training})
    where: Any = {
        "device": torch.device("cpu"),
        "precision": torch.float32,
        "seed": 0,
    }
    return FitTask(network, model, corpus, corpus, settings, **where)


def test_a_ranking_of_k_is_k_forward_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    rankings: list[tm.Judgement] = [
        tm.Ranking([film(good, draw) for good in (5, 4, 3, 2, 1)]) for _ in range(12)
    ]
    task = task_of(rankings, batch_size=20, evaluations=1)
    rows: list[int] = []
    forward = task.network.forward_texts
    monkeypatch.setattr(
        task.network,
        "forward_texts",
        lambda ids, most: rows.append(len(ids)) or forward(ids, most),
    )
    for _ in task.steps:
        task.step()
    assert sum(rows) == 12 * 5
    assert len(task.steps) == 3


def test_the_token_budget_changes_memory_and_nothing_else_with_rankings() -> None:
    mixed = judgements(40, kind="mixed", seed=2)
    losses = []
    for budget in (40, 100_000):
        task = task_of(mixed, batch_tokens=budget)
        metrics = task.step_on(task.units)
        losses.append((metrics["loss"], metrics["gradient_norm"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_order_of_the_judgements_changes_no_linear_score() -> None:
    mixed = judgements(36, kind="mixed", seed=2)
    train, held_out = tm.split(mixed, held_out=0.2)
    texts = [text for j in held_out for text in j.texts]
    there = tm.fit(train, held_out=held_out).score(texts)
    back = tm.fit(train[::-1], held_out=held_out).score(texts)
    assert there == pytest.approx(back, abs=2e-2)


def test_a_kind_of_weight_zero_teaches_nothing() -> None:
    draw = np.random.default_rng(1)
    texts = [film(good, draw) for good in [0, 1, 4, 5] * 40]
    judgements: list[tm.Judgement] = [
        tm.Label(text, n % 4 > 1) for n, text in enumerate(texts)
    ]
    lies: list[tm.Judgement] = [
        tm.Rating(text, -float(n % 4)) for n, text in enumerate(texts)
    ]
    held_out = [tm.Label(film(good, draw), good > 2) for good in [0, 1, 4, 5] * 10]
    both = tm.fit(
        [*judgements, *lies],
        held_out=held_out,
        likelihood=tm.Likelihood(weights={"rating": 0.0}),
    )
    assert tm.evaluate(both, held_out).as_dict()["accuracy"] == 1
    alone = tm.fit(lies, held_out=lies)
    assert alone.score(film(5, draw)) < alone.score(film(0, draw))


def test_length_control_takes_the_length_out_of_the_score() -> None:
    """Judges who like long texts as much as good ones: the score keeps the good and leaves the
    long.
    """
    draw = np.random.default_rng(2)
    judgements: list[tm.Judgement] = []
    for _ in range(500):
        pair = [(int(draw.integers(0, 6)), int(draw.integers(0, 30))) for _ in range(2)]
        worth = [good + 0.15 * filler + draw.normal(scale=0.5) for good, filler in pair]
        texts = [film(good, draw, filler) for good, filler in pair]
        best = int(worth[1] > worth[0])
        judgements.append(tm.Comparison(texts[best], texts[1 - best]))
    train, held_out = tm.split(judgements, held_out=0.3)
    plain = tm.evaluate(tm.fit(train, held_out=held_out), held_out).as_dict()
    controlled = tm.fit(
        train, held_out=held_out, likelihood=tm.Likelihood(control="length")
    )
    after = controlled.contract.evaluation
    before = after["control"]["before"]
    assert plain["score_length_correlation"] > 0.4
    assert (
        abs(after["score_length_correlation"])
        < 0.25
        < before["score_length_correlation"]
    )
    assert after["control"]["features"]["length"]["effect"] > 0.1
    assert before["accuracy"] > after["accuracy"] > 0.6


def test_a_feature_by_name_is_taken_out_of_the_score() -> None:
    """Judges who like lists as much as good films, and exclamation marks a little."""
    draw = np.random.default_rng(5)
    judgements: list[tm.Judgement] = []
    for _ in range(400):
        texts, worth = [], []
        for _ in range(2):
            good, items = int(draw.integers(0, 6)), int(draw.integers(0, 4))
            texts.append(
                film(good, draw) + "".join(f"\n- item {i}" for i in range(items))
            )
            worth.append(good + 1.5 * items + draw.normal(scale=0.5))
        best = int(worth[1] > worth[0])
        judgements.append(tm.Comparison(texts[best], texts[1 - best]))
    model = tm.fit(judgements, likelihood=tm.Likelihood(control="lists,exclamations"))
    control = model.contract.evaluation["control"]
    lists = control["features"]["lists"]
    assert lists["correlation_before"] > 0.4
    assert abs(lists["correlation"]) < 0.25
    assert lists["effect"] > 0.1
    assert control["features"]["exclamations"]["effect"] == 0
    assert control["before"]["accuracy"] > model.contract.evaluation["accuracy"]


def test_an_unknown_feature_is_refused() -> None:
    with pytest.raises(
        tm.UsageError, match=r"no such feature\. Choose among length, lists"
    ):
        tm.Likelihood(control="length,colour")
    with pytest.raises(tm.UsageError, match="twice"):
        tm.Likelihood(control="length,length")


@pytest.mark.parametrize("backbone", ["linear", "tiny"])
def test_the_anchor_is_the_reference_texts(backbone: str) -> None:
    draw = np.random.default_rng(3)
    reference = [tm.Example(film(good, draw)) for good in [3, 4, 5] * 10]
    settings: Any = (
        "linear" if backbone == "linear" else tm.Tiny(vocabulary=400, max_length=32)
    )
    training = None if backbone == "linear" else {"epochs": 1}
    model = tm.fit(
        judgements(120, seed=1), backbone=settings, training=training, anchor=reference
    )
    scores = model.score_all(reference).values
    assert scores.mean() == pytest.approx(0, abs=1e-3)
    assert scores.std() == pytest.approx(1, abs=1e-3)
    assert model.contract.anchor is not None
    assert model.contract.anchor.texts == 30


def test_a_tie_where_there_are_none_is_named() -> None:
    judgements = [
        tm.Comparison("a b", "c d"),
        tm.Comparison("e", "f", tie=True, where="votes.csv:7"),
    ]
    with pytest.raises(tm.DataError, match=r"votes\.csv:7: a tie"):
        tm.fit(judgements * 20, likelihood=tm.Likelihood(ties=False))


def test_chats_are_read_through_the_tokenizers_template(tmp_path: Path) -> None:
    network = make_tiny(["user hello assistant fine"], vocabulary=300, max_length=64)
    network.tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    network.save(tmp_path / "base")
    chat = (tm.Message("user", "How was it?"),)
    judgements: list[tm.Judgement] = []
    draw = np.random.default_rng(4)
    for _ in range(60):
        judgements.append(
            tm.Comparison(
                film(4, draw),
                film(1, draw),
                prompt=(*chat, tm.Message("user", str(len(judgements)))),
            )
        )
    model = tm.fit(
        judgements,
        backbone=str(tmp_path / "base"),
        training={"epochs": 1},
        out=tmp_path / "taste",
    )
    assert model.contract.template == "chat"
    again: Any = tm.load(tmp_path / "taste").backbone
    assert again.join(tm.Example("fine", chat)) == "<user>How was it?<assistant>fine"
    assert again.join(tm.Example("fine")) == "fine"
    bare = make_tiny(["hello"], vocabulary=300, max_length=64)
    bare.module.base_model.save_pretrained(tmp_path / "bare")
    bare.tokenizer.save_pretrained(tmp_path / "bare")
    plain = tm.fit(judgements, backbone=str(tmp_path / "bare"), training={"epochs": 1})
    assert plain.contract.template == "{prompt}\n\n{text}"
    with pytest.raises(tm.UsageError, match="no chat template"):
        tm.fit(
            judgements,
            backbone=tm.Encoder(str(tmp_path / "bare"), template="chat"),
            training={"epochs": 1},
        )
