"""Ensembles: the mean of members apart or of heads on one network, and how far they disagree."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tastemaker as tm
from tastemaker.playground import judgements
from tastemaker.reward import Ensemble, FitTask
from tastemaker.scores import Scores, with_beta

TINY = tm.Tiny(vocabulary=400, max_length=48)
QUICK = tm.Training(epochs=1, lr=1e-3, evaluations=2)
TEXTS = [
    "The acting was brilliant.",
    "The story was dull.",
    "qwerty",
    "The ending was not good.",
]


def fitted(out: Path | None, **settings: Any) -> tm.RewardModel:
    backbone = settings.pop("backbone", TINY)
    training = None if backbone == "linear" else QUICK
    return tm.fit(
        judgements(70, kind="comparison", seed=1),
        backbone=backbone,
        training=training,
        out=out,
        **settings,
    )


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ensemble of two networks."""
    folder = tmp_path_factory.mktemp("apart") / "taste"
    fitted(folder, members=2)
    return folder


def test_uncertainty_and_caution_by_hand() -> None:
    # members 1, 3 and 5: mean 3, standard deviation 2; 0 and 0 and 3: mean 1, deviation √3
    members = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 3.0]])
    scores = Scores(members.mean(0), np.zeros(2, dtype=bool), members)
    assert scores.uncertainty is not None
    assert scores.uncertainty.tolist() == pytest.approx([2, 3**0.5])
    assert scores.cautious(0).values.tolist() == [3, 1]
    assert scores.cautious(0.5).values.tolist() == pytest.approx([2, 1 - 0.5 * 3**0.5])
    assert scores.cautious("minimum").values.tolist() == [1, 0]
    assert Scores.cat([scores, scores]).members is not None
    assert Scores.cat([scores, scores]).uncertainty.tolist() == pytest.approx(
        [2, 3**0.5] * 2
    )  # type: ignore[union-attr]


def test_the_pessimistic_score_by_hand() -> None:
    # members 0 and ln 3, β = 1: −ln (1/2 · 1 + 1/2 · 1/3) = ln 3/2
    # the same halved, β = 1/2: half of that; equal members have no doubt
    members = np.array([[0.0, 0.0, 2.0], [math.log(3), math.log(3) / 2, 2.0]])
    scores = Scores(members.mean(0), np.zeros(3, dtype=bool), members)
    at_one = scores.cautious("pessimistic=1").values
    assert at_one[[0, 2]].tolist() == pytest.approx([math.log(1.5), 2])
    at_half = scores.cautious("pessimistic=0.5").values
    assert at_half[1] == pytest.approx(math.log(1.5) / 2)


def test_the_pessimistic_score_lies_between_the_minimum_and_the_mean() -> None:
    members = np.random.default_rng(0).normal(size=(5, 40)) * 3
    scores = Scores(members.mean(0), np.zeros(40, dtype=bool), members)
    at = {
        beta: scores.cautious(f"pessimistic={beta}").values
        for beta in (1e-300, 1e-3, 1.0, 1e3, 1e9)
    }
    np.testing.assert_allclose(at[1e-300], members.min(0))
    np.testing.assert_allclose(
        at[1e-3], members.min(0), atol=1e-3 * math.log(5) + 1e-12
    )
    np.testing.assert_allclose(at[1e9], members.mean(0), atol=1e-6)
    assert (at[1e-3] < at[1.0]).all()
    assert (at[1.0] < at[1e3]).all()
    # for a large β: mean − variance / 2β
    expected = members.mean(0) - members.var(0) / 2e3
    np.testing.assert_allclose(at[1e3], expected, atol=1e-4)


def test_beta_is_the_price_of_kl_unless_given() -> None:
    assert with_beta("pessimistic", 0.25) == "pessimistic=0.25"
    assert with_beta("pessimistic", 0.0) == "minimum"
    assert with_beta("pessimistic=2", 0.25) == "pessimistic=2"
    assert with_beta(1.0, 0.25) == 1.0
    members = Scores(np.zeros(1), np.zeros(1, dtype=bool), np.zeros((2, 1)))
    for wrong in ("pessimistic", "pessimistic=0", "pessimistic=nan", "brave=1"):
        with pytest.raises(tm.UsageError, match=r"pessimistic=0\.1"):
            members.cautious(wrong)


def test_a_single_model_has_no_doubts_to_ask_for() -> None:
    scores = Scores(np.zeros(1), np.zeros(1, dtype=bool))
    assert scores.uncertainty is None
    assert scores.cautious(0.0) is scores
    with pytest.raises(tm.UsageError, match="--members 5"):
        scores.cautious(1.0)
    members = Scores(np.zeros(1), np.zeros(1, dtype=bool), np.zeros((2, 1)))
    with pytest.raises(tm.UsageError, match="finite"):
        members.cautious(float("nan"))


@pytest.mark.parametrize(
    "settings",
    [{"backbone": "linear"}, {}, {"shared": True}],
    ids=["linear", "apart", "shared"],
)
def test_the_score_is_the_members_mean_before_and_after_reloading(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = fitted(tmp_path / "taste", members=3, **settings)
    again = tm.load(tmp_path / "taste")
    examples = [tm.Example(text) for text in TEXTS]
    before, after = model.score_all(examples), again.score_all(examples)
    assert before.members is not None
    assert after.members is not None
    assert before.members.shape == (3, len(TEXTS))
    np.testing.assert_allclose(before.values, before.members.mean(0), atol=1e-6)
    np.testing.assert_allclose(after.members, before.members, atol=1e-5)
    assert len({tuple(member.round(6)) for member in before.members}) == 3, (
        "every member has its own opinion"
    )
    assert again.uncertainty(TEXTS) == pytest.approx(
        after.members.std(0, ddof=1).tolist(), abs=1e-4
    )
    assert again.score(TEXTS[0], caution="minimum") == pytest.approx(
        after.members[:, 0].min(), abs=1e-4
    )
    assert again.contract.roundtrip["differences"]
    if settings.get("shared"):
        _opens_in_transformers(tmp_path / "taste", model.score(TEXTS))


def _opens_in_transformers(folder: Path, scores: Sequence[float]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    module = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        theirs = [
            module(**tokenizer(text, return_tensors="pt")).logits.item()
            for text in TEXTS
        ]
    assert theirs == pytest.approx(scores, abs=1e-3)
    assert module.config.num_labels == 1


def test_a_member_is_a_model_of_its_own(apart: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    shutil.copytree(apart, tmp_path / "taste")
    for number in range(2):
        AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "taste" / f"member-{number}"
        )
    (tmp_path / "taste" / "member-1" / "model.safetensors").write_bytes(b"changed")
    with pytest.raises(tm.ModelError, match="member-1"):
        tm.load(tmp_path / "taste")


def test_killed_between_members_it_resumes_to_the_same_bits(
    apart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = FitTask.finish, []

    def killed(self: FitTask) -> Any:
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        finish(self)

    monkeypatch.setattr(FitTask, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "cut", members=2)
    monkeypatch.setattr(FitTask, "finish", finish)
    fitted(tmp_path / "cut", members=2, resume=True)
    for number in range(2):
        name = f"member-{number}/model.safetensors"
        assert (tmp_path / "cut" / name).read_bytes() == (apart / name).read_bytes()
    assert not list((tmp_path / "cut").rglob("checkpoint-*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "members 0"),
        ({"members": 65}, "1 to 64"),
        ({"members": 1, "shared": True}, "one member"),
        ({"members": 3, "shared": True, "backbone": "linear"}, "no network"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(tm.UsageError, match=message):
        fitted(None, **settings)


class Member:
    """Says a number of every text; bfloat16 shows by a hundred more. It has a mean of its own."""

    max_length, cut, template = 7, "right", "{prompt} {text}"

    def __init__(self, says: float, mean: float = 0.0) -> None:
        self.says, self.mean = says, mean
        self.scaled: list[tuple[float, float]] = []

    def score(
        self, examples: Sequence[tm.Example], *, precision: str = "float32"
    ) -> Scores:
        values = np.full(
            len(examples), self.says + (100 if precision == "bfloat16" else 0)
        )
        return Scores(values, np.array([len(example.text) > 3 for example in examples]))

    def rescale(self, offset: float, scale: float) -> float:
        self.scaled.append((offset, scale))
        return offset - self.mean

    def describe(self) -> str:
        return "a table"


def test_the_score_is_the_mean() -> None:
    # 1, 2 and 6: mean 3, median 2
    scored = Ensemble([Member(1.0), Member(2.0), Member(6.0)]).score(
        [tm.Example("a"), tm.Example("long")]
    )
    assert scored.values.tolist() == [3, 3]
    assert scored.members is not None
    assert scored.members.tolist() == [[1, 1], [2, 2], [6, 6]]
    assert scored.truncated.tolist() == [False, True]


def test_members_are_asked_in_the_same_precision() -> None:
    scored = Ensemble([Member(1.0), Member(2.0)]).score(
        [tm.Example("a")], precision="bfloat16"
    )
    assert scored.values.tolist() == [101.5]


def test_every_member_is_rescaled_and_the_offset_is_their_mean() -> None:
    # one folds 2 − 0, the other, which has a mean of 1, folds 2 − 1
    members = [Member(1.0), Member(2.0, mean=1.0)]
    assert Ensemble(members).rescale(2.0, 4.0) == pytest.approx(1.5)
    assert [member.scaled for member in members] == [[(2.0, 4.0)], [(2.0, 4.0)]]


def test_it_reads_as_its_members_do() -> None:
    ensemble = Ensemble([Member(1.0), Member(2.0)])
    assert (ensemble.max_length, ensemble.cut, ensemble.template) == (
        7,
        "right",
        "{prompt} {text}",
    )
    assert ensemble.describe() == "2 members, each a table"
