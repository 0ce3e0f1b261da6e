"""Links of single texts: starts, predictions, rescaling that keeps likelihoods, and refusals."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data import Grade, Judgement, Label, Rating
from tastemaker.errors import DataError
from tastemaker.kinds import (
    LINKS,
    GradeLink,
    LabelLink,
    Link,
    RatingLink,
    links_from,
    why_no_order,
)

LABELS = [Label("a", True), Label("b", True), Label("c", True), Label("d", False)]
GRADES = [
    Grade("a", 1, 1, 3),
    Grade("b", 2, 1, 3),
    Grade("c", 2, 1, 3),
    Grade("d", 3, 1, 3),
]
RATINGS = [Rating("a", 10.0), Rating("b", 14.0)]

slopes = st.floats(0.05, 4)
middles = st.floats(-4, 4)
SCORES = torch.linspace(-3, 3, 13, dtype=torch.float64)


@st.composite
def links_and_judgements(draw: st.DrawFn) -> tuple[Link, Sequence[Any]]:
    """Any link, with one judgement for each of SCORES."""
    slope, middle, n = draw(slopes), draw(middles), len(SCORES)
    kind = draw(st.sampled_from(list(LINKS)))
    if kind is Label:
        return LabelLink(slope, middle), [Label("", i % 2 == 0) for i in range(n)]
    if kind is Rating:
        link = RatingLink(
            draw(middles), draw(slopes), slope, middle, draw(st.floats(-1, 1))
        )
        return link, [Rating("", float(i)) for i in range(n)]
    steps = draw(st.lists(st.floats(0.05, 3), min_size=0, max_size=8))
    thresholds = middle + torch.tensor([0.0, *steps]).cumsum(0)
    highest = 2 + len(steps)
    return GradeLink(1, highest, slope, thresholds.tolist()), [
        Grade("", 1 + i % highest, 1, highest) for i in range(n)
    ]


def test_every_kind_has_its_link() -> None:
    assert [kind.kind for kind in LINKS] == [
        "label",
        "grade",
        "rating",
        "comparison",
        "ranking",
    ]
    assert all(link.record is kind for kind, link in LINKS.items())


def test_labels_start_at_their_share() -> None:
    # three of four are positive: the intercept is ln(3/1), and a score of 0 means 3/4
    link = LabelLink.from_judgements(LABELS)
    assert link.as_dict() == pytest.approx({"slope": 1.0, "intercept": math.log(3)})
    assert link.predict(torch.zeros(1)).item() == pytest.approx(3 / 4)


def test_grades_start_at_their_shares() -> None:
    # shares 1/4, 2/4, 1/4: P(> 1) = 3/4 = σ(−θ₁), so θ₁ = −ln 3; P(> 2) = 1/4, so θ₂ = ln 3; less a
    # thousandth
    link = GradeLink.from_judgements(GRADES)
    assert link.as_dict()["thresholds"] == pytest.approx(
        [-math.log(3), math.log(3)], abs=2e-3
    )
    assert link.predict(torch.zeros(1)).item() == pytest.approx(2.0, abs=2e-3)


def test_grades_nobody_gave_keep_their_thresholds_apart() -> None:
    # IMDB has no 5 and no 6. With the thousandth spread over ten grades each has a share of 10⁻⁴,
    # in the middle of the
    # scale a width of 10⁻⁴/(½·½) = 4·10⁻⁴ on the logit axis
    link = GradeLink.from_judgements([Grade("", g) for g in (1, 2, 3, 4, 7, 8, 9, 10)])
    gaps = link.thresholds.diff()
    assert gaps[4].item() == pytest.approx(4e-4, rel=1e-2)
    assert gaps.min() > 1e-4


def test_ratings_start_at_their_mean_and_spread() -> None:
    # mean 12; deviations −2 and 2, so a standard deviation of 2; the targets are −1 and 1
    link = RatingLink.from_judgements(RATINGS)
    assert link.as_dict() == {
        "centre": 12.0,
        "spread": 2.0,
        "slope": 1.0,
        "intercept": 0.0,
        "log_sd": 0.0,
        "tails": "normal",
    }
    assert link.targets(RATINGS).tolist() == [-1.0, 1.0]
    assert link.predict(torch.tensor([0.0, 1.0])).tolist() == [12.0, 14.0]


def test_label_likelihood_by_hand() -> None:
    # slope 2, intercept −1: at s = 1/2 the logit is 0, so either label has ln 1/2; at s = (1 + ln
    # 3)/2 it is ln 3
    link = LabelLink(2.0, -1.0)
    scores = torch.tensor([0.5, 0.5, (1 + math.log(3)) / 2])
    log_likelihood = link.log_likelihood(
        scores, link.targets([Label("", True), Label("", False), Label("", True)])
    )
    assert log_likelihood.tolist() == pytest.approx(
        [-math.log(2), -math.log(2), math.log(3 / 4)], abs=1e-6
    )


def test_expected_grade_by_hand() -> None:
    # P(1), P(2), P(3) = 1/10, 4/10, 5/10 at slope·s = ln 3 (see tests/maths/test_evidence.py): 0.1
    # + 0.8 + 1.5 = 2.4
    link = GradeLink(1, 3, 2.0, [-math.log(3), math.log(3)])
    assert link.predict(torch.tensor([math.log(3) / 2])).item() == pytest.approx(
        2.4, abs=1e-6
    )


def test_far_scores_predict_the_ends_of_the_scale() -> None:
    far = torch.tensor([-1e4, 1e4])
    assert GradeLink(-2, 5, 1.0, [0, 1, 2, 3, 4, 5, 6]).predict(far).tolist() == [
        -2.0,
        5.0,
    ]
    assert LabelLink(1.0, 0.0).predict(far).tolist() == [0.0, 1.0]


@settings(deadline=None)
@given(links_and_judgements(), st.floats(-3, 3), st.floats(0.1, 5))
def test_rescaling_keeps_likelihoods_and_predictions(
    drawn: tuple[Link, Sequence[Any]], offset: float, scale: float
) -> None:
    link, judgements = drawn
    other, targets = link.rescaled(offset, scale), link.targets(judgements)
    moved = (SCORES - offset) / scale
    near = {
        "rtol": 1e-3,
        "atol": 1e-3,
    }  # parameters are float32: a slope of 4 at 1e-7, and narrow grades, add up
    torch.testing.assert_close(
        other.log_likelihood(moved, targets),
        link.log_likelihood(SCORES, targets),
        **near,
    )
    torch.testing.assert_close(
        other.predict(moved), link.predict(SCORES), rtol=1e-4, atol=1e-4
    )


@settings(deadline=None)
@given(links_and_judgements())
def test_a_link_survives_json(drawn: tuple[Link, Sequence[Any]]) -> None:
    link, _ = drawn
    again = type(link).from_dict(json.loads(json.dumps(link.as_dict())))
    torch.testing.assert_close(
        again.predict(SCORES), link.predict(SCORES), rtol=1e-6, atol=1e-6
    )
    twice = type(link).from_dict(again.as_dict())
    torch.testing.assert_close(
        twice.predict(SCORES), again.predict(SCORES), rtol=1e-6, atol=1e-6
    )  # no KL


@settings(deadline=None)
@given(links_and_judgements())
def test_predictions_rise_with_the_score(drawn: tuple[Link, Sequence[Any]]) -> None:
    predicted = drawn[0].predict(torch.linspace(-50, 50, 401, dtype=torch.float64))
    assert (predicted.diff() >= -1e-6).all()
    assert predicted[-1] > predicted[0]


@pytest.mark.parametrize("judgements", [LABELS, GRADES, RATINGS])
def test_a_better_parameter_is_found_by_climbing(judgements: Sequence[Any]) -> None:
    """The gradient reaches every parameter, and a small step along it raises the likelihood."""
    link = LINKS[type(judgements[0])].from_judgements(judgements)
    scores, targets = torch.linspace(-1, 2, len(judgements)), link.targets(judgements)
    before = link.log_likelihood(scores, targets).sum()
    before.backward()
    with torch.no_grad():
        for parameter in link.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            parameter.add_(1e-3 * parameter.grad)
    assert link.log_likelihood(scores, targets).sum() > before


def test_thresholds_stay_ordered_whatever_is_learned() -> None:
    link = GradeLink(1, 5, 1.0, [0, 1, 2, 3])
    with torch.no_grad():
        link.raw_gaps.copy_(torch.tensor([-1e4, 1e4, -3.0]))
    assert (link.thresholds.diff() >= 0).all()
    steps = link.targets([Grade("", g, 1, 5) for g in (1, 2, 3, 4, 5)])
    log_likelihood = link.log_likelihood(torch.zeros(5), steps)
    log_likelihood.sum().backward()
    assert log_likelihood.isfinite().all()
    assert link.raw_gaps.grad is not None
    assert link.raw_gaps.grad.isfinite().all()


def test_judgements_that_are_all_alike_are_named_with_their_number() -> None:
    cases: list[tuple[list[Judgement], str]] = [
        ([Label("a", True), Label("b", True)], r"\b2 labels\b.*\bpositive\b"),
        ([Label("a", False)], r"\b1 labels\b.*\bnegative\b"),
        ([Grade("", 7)] * 3, r"\b3 grades\b.*\b7\b"),
        # the spread of three 0.1 in float64 is 1.4e-17
        ([Rating("", 0.1)] * 3, r"\b3 ratings\b.*\b0\.1\b"),
    ]
    for judgements, words in cases:
        (reason,) = why_no_order(judgements).values()
        assert re.search(words, reason)
        links_from(judgements)
    mixed = [*LABELS, Grade("", 7)]
    assert list(why_no_order(mixed)) == [Grade]


def test_unlike_scales_do_not_mix() -> None:
    with pytest.raises(DataError, match=r"\(1, 5\), \(1, 10\)"):
        GradeLink.from_judgements([Grade("", 1, 1, 5), Grade("", 2, 1, 10)])
    link = GradeLink.from_judgements(GRADES)
    with pytest.raises(
        DataError,
        match=r"t\.csv:4: .*\b1 to 10\b.*\b1 to 3\b",
    ):
        link.targets([Grade("", 2, 1, 10, where="t.csv:4")])


@pytest.mark.parametrize("grade", [0, 4])
def test_a_grade_outside_its_scale_is_refused(grade: int) -> None:
    link = GradeLink.from_judgements(GRADES)
    with pytest.raises(DataError, match=rf"t\.csv:4: {grade}\b.*\b1 to 3\b"):
        link.targets([Grade("", grade, 1, 3, where="t.csv:4")])


@pytest.mark.parametrize("rating", [math.nan, math.inf, -math.inf])
def test_a_rating_that_is_no_number_is_refused(rating: float) -> None:
    with pytest.raises(DataError, match=r"t\.csv:4: .*\bfinite\b"):
        RatingLink.from_judgements(
            [Rating("", 1.0), Rating("", rating, where="t.csv:4")]
        )
    with pytest.raises(DataError, match=r"a rating: .*\bfinite\b"):
        RatingLink(0.0, 1.0).targets([Rating("", rating)])


def test_links_come_in_order_with_one_unit_for_the_score() -> None:
    links = links_from([*RATINGS, *GRADES, *LABELS])
    assert list(links) == [Label, Grade, Rating]
    assert [link.slope.requires_grad for link in links.values()] == [False, True, True]
    assert list(links_from(RATINGS)) == [Rating]
    assert links_from([]) == {}
