"""Cross-fitting: careless and reversed judges are told by their answers, and the scales of kinds
are learned on unseen texts.
"""

import math
import random
from functools import cache, partial

import pytest
import torch

from tastemaker.data import Grade, Judgement, Label, Rating
from tastemaker.errors import DataError
from tastemaker.kinds import GradeLink, LabelLink, Likelihood, RatingLink
from tastemaker.playground import CAREFUL_JUDGES, Judge, judgements, troubled
from tastemaker.reward import (
    CrossFit,
    JudgeEstimates,
    ObservationModel,
    cross_fit,
    cross_fitted_scores,
    divide,
    fitted_to_scores,
    independent_scores,
    relative_scales,
)

CROWD = troubled(n=6, careless=1 / 3, reversed=1 / 6, seed=1)


def estimated(kind: str, seed: int, n: int = 600) -> JudgeEstimates:
    crowd = judgements(n, kind=kind, judges=CROWD, seed=seed)
    judges = cross_fit(divide(crowd, None, Likelihood(), 0)).judges
    assert judges is not None
    return judges


@cache
def of_crowd(kind: str, seed: int) -> JudgeEstimates:
    return estimated(kind, seed)


def by_character(judges: JudgeEstimates) -> tuple[list[dict], list[dict], list[dict]]:
    """What was found of the careful, the careless and the reversed."""
    rows = judges.as_dict()
    careless = [rows[judge.name] for judge in CROWD if judge.carelessness]
    turned = [rows[judge.name] for judge in CROWD if judge.reversed]
    careful = [
        rows[judge.name]
        for judge in CROWD
        if not judge.carelessness and not judge.reversed
    ]
    assert (len(careful), len(careless), len(turned)) == (3, 2, 1)
    return careful, careless, turned


@pytest.mark.parametrize(("kind", "seed"), [("label", 0), ("label", 1), ("mixed", 0)])
def test_who_is_careless_or_reversed_is_found(kind: str, seed: int) -> None:
    careful, careless, turned = by_character(of_crowd(kind, seed))
    # with 90 judgements a careless judge may look middling, but may be careless too
    for row in careless:
        assert row["interval"][0] < 0.1
    for row in turned:
        assert row["reliability"] < -0.15
        assert row["interval"][1] < 0
    for row in careful:
        assert (
            row["reliability"] > max(other["reliability"] for other in careless) + 0.1
        )
        assert row["interval"][0] > 0


def test_comparisons_alone_put_judges_in_order() -> None:
    # 600 comparisons say less than 600 labels: the careless are not found as low, but stand between
    # the others
    careful, careless, turned = by_character(of_crowd("comparison", 0))
    lowest = min(row["reliability"] for row in careful)
    assert all(
        turned[0]["reliability"] < row["reliability"] < lowest for row in careless
    )
    assert turned[0]["reliability"] < 0


def test_intervals_hold_the_estimate() -> None:
    rows = of_crowd("mixed", 0).as_dict()
    # of 600, a tenth or so held out
    assert sum(row["judgements"] for row in rows.values()) > 450
    for row in rows.values():
        low, high = row["interval"]
        assert low <= row["reliability"] <= high
        assert 0 < high - low < 2


def test_more_judgements_narrow_the_interval() -> None:
    def width(judges: JudgeEstimates) -> float:
        return float((judges.high - judges.low).mean())

    assert width(estimated("label", 0, n=1200)) < width(estimated("label", 0, n=300))


def test_a_repeat_finds_the_same_numbers() -> None:
    once, again = of_crowd("label", 0), estimated("label", 0)
    assert once.names == again.names == tuple(sorted(judge.name for judge in CROWD))
    for name in ("discrimination", "leniency", "reliability", "low", "high"):
        assert torch.equal(getattr(once, name), getattr(again, name))
    assert torch.equal(once.judgements, again.judgements)
    assert once.summary() == again.summary()


def labels(*counts: tuple[str | None, int]) -> list[Judgement]:
    """Labels by judges: as many of each as said, half of them positive."""
    return [
        Label(f"{judge} {i}", i % 2 == 0, judge=judge)
        for judge, count in counts
        for i in range(count)
    ]


def judges_of(judgements: list[Judgement], likelihood: Likelihood) -> tuple[str, ...]:
    """The judges whose reliability would be learned; measured on other judgements, so that all of
    `said` teaches.
    """
    return divide(
        judgements, [Label("x", True), Label("y", False)], likelihood, 0
    ).train.judges


def test_by_default_judges_count_where_they_said_enough() -> None:
    assert judges_of(labels(("bo", 25), ("ann", 15)), Likelihood()) == (
        "ann",
        "bo",
    )  # 20 each on average
    assert judges_of(labels(("bo", 24), ("ann", 15)), Likelihood()) == ()  # not quite
    assert (
        judges_of(labels(("ann", 100)), Likelihood()) == ()
    )  # one judge: compared with whom?
    assert judges_of(labels(("ann", 30), (None, 100)), Likelihood()) == ()
    assert judges_of(labels(("ann", 30), ("bo", 30), (None, 100)), Likelihood()) == (
        "ann",
        "bo",
    )
    assert judges_of(labels((None, 100)), Likelihood()) == ()


def test_judges_are_learned_or_not_as_the_settings_say() -> None:
    few, many = labels(("bo", 2), ("ann", 2)), labels(("bo", 50), ("ann", 50))
    assert judges_of(few, Likelihood(judges=True)) == ("ann", "bo")
    assert judges_of(labels(("ann", 4)), Likelihood(judges=True)) == ("ann",)
    assert judges_of(many, Likelihood(judges=False)) == ()
    assert (
        cross_fit(divide(many, [Label("x", True)], Likelihood(judges=False), 0)).judges
        is None
    )


def test_judges_without_a_name_cannot_be_learned() -> None:
    with pytest.raises(
        DataError,
        match="no judgement names its judge",
    ):
        judges_of(labels((None, 100)), Likelihood(judges=True))


def test_one_careful_judge_is_believed() -> None:
    crowd = judgements(
        200, judges=[CAREFUL_JUDGES[0], Judge("nobody", carelessness=1.0)], seed=3
    )
    judges = cross_fit(divide(crowd, None, Likelihood(judges=True), 0)).judges
    assert judges is not None
    rows = judges.as_dict()
    assert rows["Ada"]["reliability"] > rows["nobody"]["reliability"] + 0.2


def test_an_exact_kind_counts_for_more_than_a_noisy_one() -> None:
    """An exact judge rates; half of the labels are coin flips. Only unseen texts show it."""
    exact = judgements(400, kind="rating", judges=[Judge("a")], seed=5)
    vague = judgements(400, kind="label", judges=[Judge("b", carelessness=0.6)], seed=6)
    division = divide([*exact, *vague], None, Likelihood(judges=False), 0)
    fitted = cross_fit(division)
    assert fitted.judges is None
    assert fitted.scales[Label] == {"slope": 1}
    assert fitted.scales[Rating]["log_sd"] < -0.1
    prepared = fitted.prepared(ObservationModel.untrained(division)).links[Rating]
    assert prepared.slope.item() == pytest.approx(fitted.scales[Rating]["slope"])
    assert prepared.log_sd.item() == pytest.approx(fitted.scales[Rating]["log_sd"])


def test_one_kind_alone_is_taken_as_it_comes() -> None:
    fitted = cross_fit(
        divide(
            judgements(200, kind="rating", seed=5), None, Likelihood(judges=False), 0
        )
    )
    assert fitted == CrossFit({}, None)


def model_of(label: float, rating: float, grade: float = 1.0) -> ObservationModel:
    """Ratings first: what others are measured by is the first kind on a logit scale."""
    grades = GradeLink(1, 3, grade, [-1.0, 1.0])
    links = {
        Rating: RatingLink(0.0, 1.0, rating),
        Label: LabelLink(label, 0.0),
        Grade: grades,
    }
    return ObservationModel(links, Likelihood())


def test_slopes_beside_the_first_logit() -> None:
    kinds: list[type[Judgement]] = [Rating, Label, Grade]
    others = {Label: {"slope": 1.0}, Grade: {"slope": 3.0}}
    scales = relative_scales(model_of(2.0, 1.0, 6.0), kinds)
    assert scales == {
        Rating: {"slope": 0.5, "log_sd": 0.0},
        **others,
    }  # a fresh link's noise is 1
    assert relative_scales(model_of(2.0, 1.0, 6.0), kinds[1:]) == others


def test_kinds_are_at_most_ten_times_unlike() -> None:
    scales = relative_scales(model_of(1.0, 0.01, 50.0), [Rating, Label, Grade])
    slopes = {kind: values["slope"] for kind, values in scales.items()}
    assert slopes == {Rating: 0.1, Label: 1.0, Grade: 10.0}


@pytest.mark.parametrize("label", [0.0, -0.5])
def test_a_kind_that_turns_the_score_around_says_nothing_of_the_others(
    label: float,
) -> None:
    assert relative_scales(model_of(label, 1.0), [Rating, Label, Grade]) == {}


def test_scores_are_of_texts_that_the_fit_has_not_seen() -> None:
    # labels by lot, and words enough to know them by heart: a fit that has seen a text knows its
    # label, no other does
    luck = random.Random(4)
    words = [f"w{i}" for i in range(80)]
    labels = [
        Label(" ".join([f"t{i}", *luck.sample(words, 6)]), luck.random() < 0.5)
        for i in range(150)
    ]
    division = divide(labels, [Label("x", True)], Likelihood(), 0)
    scores = cross_fitted_scores(
        division.train,
        partial(ObservationModel.untrained, division),
        CrossFit({}, None),
        0,
    )
    positive = division.train.evidence[Label].targets
    assert scores.shape == (150,)
    assert (
        abs(torch.corrcoef(torch.stack([scores, positive.double()]))[0, 1].item()) < 0.3
    )


def test_independent_scores_come_from_fits_that_share_nothing() -> None:
    # one word tells good from bad, so both fits agree; no fit has seen the text that it scores
    labels: list[Judgement] = [
        Label(f"{'good' if i % 2 else 'bad'} t{i}", i % 2 == 1) for i in range(120)
    ]
    division = divide(labels, [Label("x", True)], Likelihood(), 0)
    fresh = partial(ObservationModel.untrained, division)
    pair = independent_scores(division.train, fresh, CrossFit({}, None), 0)
    assert pair.shape == (2, 120)
    assert (pair != 0).all()
    assert torch.corrcoef(pair)[0, 1].item() > 0.9


def test_a_model_is_fitted_to_scores() -> None:
    # labels of scores ±1, three of four as the score says: logits ±ln 3, so the slope is ln 3
    labels: list[Judgement] = [
        Label(f"t{i:02d}", (i % 2 == 0) ^ (i % 8 < 2)) for i in range(80)
    ]
    division = divide(labels, [Label("x", True)], Likelihood(), 0)
    scores = torch.tensor(
        [1.0 if i % 2 == 0 else -1.0 for i in range(80)], dtype=torch.float64
    )
    fresh = ObservationModel.untrained(division)
    link = fitted_to_scores(division.train, fresh, scores).links[Label]
    assert link.slope.item() == pytest.approx(math.log(3), abs=1e-3)
    assert link.neutral().item() == pytest.approx(0, abs=1e-3)


def test_too_few_units_tell_nothing_of_kinds() -> None:
    def both(n: int) -> list[Judgement]:
        texts = [
            f"a film that is {'good' if i % 2 else 'bad'} number {i}" for i in range(n)
        ]
        return [
            *(Label(t, i % 2 == 1) for i, t in enumerate(texts)),
            *(Rating(t, i % 2) for i, t in enumerate(texts)),
        ]

    few = divide(both(59), [Label("x", True)], Likelihood(judges=False), 0)
    assert cross_fit(few) == CrossFit({}, None)
    enough = divide(both(60), [Label("x", True)], Likelihood(judges=False), 0)
    assert set(cross_fit(enough).scales) == {Label, Rating}


def test_estimates_are_set() -> None:
    judges = JudgeEstimates(
        names=("ann", "bob"),
        model="full",
        discrimination=torch.tensor([0.25, -1.5]),
        leniency=torch.tensor([-0.5, 2.0]),
        reliability=torch.zeros(2),
        low=torch.zeros(2),
        high=torch.zeros(2),
        judgements=torch.tensor([3, 4]),
        varies=torch.tensor([True, True]),
        spread=0.25,
        leniency_sd=0.75,
        gains={},
    )
    labels = [
        Label(f"t{i}", i % 2 == 0, judge=("ann", "bob")[i // 2 % 2]) for i in range(8)
    ]
    labels += [Rating(f"r{i}", float(i)) for i in range(4)]
    division = divide(labels, [Label("x", True)], Likelihood(judges=True), 0)
    scales = {Label: {"slope": 1.0}, Rating: {"slope": 2.5, "log_sd": -0.75}}
    model = CrossFit(scales, judges).prepared(ObservationModel.untrained(division))
    assert model.judges is not None
    assert model.judges.discrimination.tolist() == [0.25, -1.5]
    assert model.judges.leniency.tolist() == [-0.5, 2.0]
    assert model.judges.unseen_leniency.tolist() == [-0.5, 2.0]
    assert model.judges.leniency_sd == 0.75
    assert model.judges.leniency.requires_grad  # the final fit learns leniencies again
    assert not model.judges.discrimination.requires_grad
    assert model.links[Rating].slope.item() == 2.5
    assert model.links[Rating].log_sd.item() == -0.75


def test_every_judgement_of_a_judge_is_counted() -> None:
    labels = [
        Label(f"a film {i}", i % 2 == 0, judge="ann" if i < 30 else "bob")
        for i in range(75)
    ]
    judges = cross_fit(
        divide(labels, [Label("x", True)], Likelihood(judges=True), 0)
    ).judges
    assert judges is not None
    assert {name: row["judgements"] for name, row in judges.as_dict().items()} == {
        "ann": 30,
        "bob": 45,
    }
