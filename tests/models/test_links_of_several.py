"""Links of comparisons and rankings: starts, targets and predictions by hand, aids, refusals."""

import json
import math
from collections.abc import Sequence
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tastemaker.data import Comparison, Ranking
from tastemaker.errors import DataError
from tastemaker.kinds import (
    ComparisonLink,
    LabelLink,
    Likelihood,
    RankingLink,
    links_from,
    why_no_order,
)

COMPARISONS = [
    Comparison("a", "b"),
    Comparison("c", "b", 2.0),
    Comparison("a", "c", tie=True),
]
RANKINGS = [Ranking([["a", "b"], "c"], rest=["d"]), Ranking(["x", "y"])]
slopes = st.floats(0.05, 4)
NO_TIES = Likelihood(ties=False)


def scores(*values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def test_comparisons_start_at_the_share_of_ties() -> None:
    # one in three is a tie: ν/(2 + ν) = 1/3, so ν = 1, and equal scores mean a tie with probability
    # 1/3
    link = ComparisonLink.from_judgements(COMPARISONS)
    assert link.as_dict() == pytest.approx({"slope": 1.0, "log_ties": 0.0})
    tie = link.log_likelihood(
        scores([0, 0]), link.targets([Comparison("a", "b", tie=True)])
    )
    assert tie.exp().item() == pytest.approx(1 / 3)
    assert ComparisonLink.from_judgements(COMPARISONS[:2]).as_dict() == {
        "slope": 1.0,
        "log_ties": None,
    }


def test_rankings_start_at_the_shares_of_tiers() -> None:
    # of equal scores the likeliest choice of one, two … texts should be as frequent as such tiers
    # are: here, tiers
    # of one 2, of two 2, of lists of 3; half-way through a list of 3 there are 2 texts: 2 single
    # ones and 1 pair
    link = RankingLink.from_judgements(
        [Ranking([["a", "b"], "c"]), Ranking(["x", ["y", "z"]])]
    )
    assert link.as_dict()["log_ties"] == pytest.approx([math.log(2)])
    chances = [
        link.log_likelihood(torch.zeros(1, 2), link.targets([ranking])).exp().item()
        for ranking in (Ranking([["a", "b"]]), Ranking(["a", "b"]), Ranking(["b", "a"]))
    ]
    assert chances == pytest.approx([1 / 2, 1 / 4, 1 / 4])
    assert RankingLink.from_judgements([Ranking(["x", "y"])]).as_dict() == {
        "slope": 1.0,
        "log_ties": [],
        "by": "plackett-luce",
    }
    assert (
        len(
            RankingLink.from_judgements([Ranking([["a", "b", "c", "d"], "e"])]).log_ties
        )
        == 3
    )


def test_rankings_by_pairs_start_even() -> None:
    by_pairs = Likelihood(ranking="pairs")
    assert RankingLink.from_judgements(RANKINGS, by_pairs).as_dict() == {
        "slope": 1.0,
        "log_ties": [0.0],
        "by": "pairs",
    }
    assert (
        RankingLink.from_judgements(RANKINGS[1:], by_pairs).as_dict()["log_ties"] == []
    )


def test_targets() -> None:
    assert ComparisonLink().targets(COMPARISONS).tolist() == [[0, 0], [2, 0], [0, 1]]
    assert ComparisonLink().targets([]).shape == (0, 2)
    assert RankingLink().targets(RANKINGS).tolist() == [
        [2, 0, 0, 1, 2],
        [2, 0, 1, -1, -1],
    ]
    assert RankingLink().targets([]).shape == (0, 1)


def test_a_win_chance_by_hand() -> None:
    # slope 2 and a difference of ln(3)/2: σ(ln 3) = 3/4. With ν = 1 at d = ln 4: 4/7 and half of
    # the tie's 2/7
    assert ComparisonLink(2.0).predict(
        scores([math.log(3) / 2, 0])
    ).item() == pytest.approx(3 / 4)
    predicted = ComparisonLink(1.0, 0.0).predict(
        scores([math.log(4), 0], [0, math.log(4)], [1, 1])
    )
    assert predicted.tolist() == pytest.approx([5 / 7, 2 / 7, 1 / 2])


def test_the_chance_to_be_best_by_hand() -> None:
    # slope 1 and scores ln 3, 0, 0: 3/5, 1/5, 1/5; where there is no text, none
    predicted = RankingLink().predict(
        scores([math.log(3), 0, 0], [math.log(3), 0, -math.inf])
    )
    assert predicted.tolist()[0] == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    assert predicted.tolist()[1] == pytest.approx([3 / 4, 1 / 4, 0])


def test_likelihoods_by_hand() -> None:
    # slope 2: the scores 1, ½, 0 are 2, 1, 0: Plackett–Luce −0.7209, the mean over pairs −0.2512
    # (worked out in
    # tests/maths/test_comparisons.py)
    targets = RankingLink().targets([Ranking(["a", "b", "c"])])
    assert RankingLink(2.0).log_likelihood(
        scores([1, 0.5, 0]), targets
    ).item() == pytest.approx(-0.7209, abs=5e-5)
    pairs = RankingLink(2.0, by="pairs").log_likelihood(scores([1, 0.5, 0]), targets)
    assert pairs.item() == pytest.approx(-0.2512, abs=5e-5)
    link = ComparisonLink(2.0)
    log_likelihood = link.log_likelihood(
        scores([0.5, 0], [0, 0.5]), link.targets([Comparison("a", "b")] * 2)
    )
    assert log_likelihood.tolist() == pytest.approx(
        [-math.log1p(math.exp(-1)), -math.log1p(math.exp(1))]
    )


def test_ties_say_nothing_to_a_link_that_learned_none() -> None:
    link, s = ComparisonLink(), scores([3, -1], [3, -1]).requires_grad_()
    log_likelihood = link.log_likelihood(
        s, link.targets([Comparison("a", "b", tie=True), Comparison("a", "b")])
    )
    assert log_likelihood[0].item() == 0
    assert log_likelihood[1].item() < 0
    (gradient,) = torch.autograd.grad(log_likelihood.sum(), s)
    assert gradient[0].tolist() == [0, 0]


def test_tiers_larger_than_any_that_was_learned() -> None:
    # ln δ₂ = −1, ln δ₃ = −1.5: the next are −2, −2.5; with nothing learned −3, −6, −9. One tier of
    # K equal texts is one
    # of C(K, d) sets of each size d: ln δ_K − ln Σ C(K, d) δ_d
    for link, ties in (
        (RankingLink(1.0, [-1.0, -1.5]), [0, -1, -1.5, -2, -2.5]),
        (RankingLink(), [0, -3, -6, -9]),
    ):
        size = len(ties)
        log_likelihood = link.log_likelihood(
            torch.zeros(1, size), torch.tensor([[1, *[0] * size]])
        )
        every = sum(
            math.comb(size, d) * math.exp(ties[d - 1]) for d in range(1, size + 1)
        )
        assert log_likelihood.item() == pytest.approx(
            ties[-1] - math.log(every), abs=1e-6
        )
    # what was learned may be chosen, whether or not it was: of two, one by one, or both
    log_likelihood = RankingLink(1.0, [-1.0]).log_likelihood(
        torch.zeros(1, 2), torch.tensor([[2, 0, 1]])
    )
    assert log_likelihood.item() == pytest.approx(-math.log(2 + math.exp(-1)), abs=1e-6)
    log_likelihood = RankingLink().log_likelihood(
        torch.zeros(1, 3), torch.tensor([[2, 0, 0, 1]])
    )
    # 3 single texts and 3 pairs of e⁻³: ln[e⁻³/(3 + 3e⁻³)]; the last is certain
    assert log_likelihood.item() == pytest.approx(
        -3 - math.log(3 + 3 * math.exp(-3)), abs=1e-6
    )
    everything = RankingLink().log_likelihood(
        torch.randn(1, 9), torch.tensor([[1, *[0] * 9]])
    )
    assert everything.isfinite().all()


def test_a_rest_of_several_texts_is_no_tie() -> None:
    # nobody ever tied, so only single texts can be chosen: one of three equal ones, ln ⅓, however
    # large the rest is
    link = RankingLink()
    log_likelihood = link.log_likelihood(
        torch.zeros(1, 3), link.targets([Ranking(["a"], rest=["b", "c"])])
    )
    assert log_likelihood.item() == pytest.approx(-math.log(3), abs=1e-6)


TIERS = st.lists(st.integers(1, 3), min_size=2, max_size=3)


@settings(max_examples=25)
@given(
    st.lists(TIERS, min_size=2, max_size=4),
    st.lists(st.floats(-3, 1), max_size=2),
    st.randoms(),
)
def test_a_ranking_is_as_likely_in_any_company(
    sizes: list[list[int]], ties: list[float], luck: Random
) -> None:
    rankings = [
        Ranking([[f"{tier} {k}" for k in range(size)] for tier, size in enumerate(row)])
        for row in sizes
    ]
    s = torch.tensor([[luck.uniform(-3, 3) for _ in range(9)] for _ in rankings])
    for by in ("plackett-luce", "pairs"):
        link = RankingLink(1.3, ties, by)
        together = link.log_likelihood(
            s[:, : max(len(j.texts) for j in rankings)], link.targets(rankings)
        )
        alone = [
            link.log_likelihood(s[i : i + 1, : len(j.texts)], link.targets([j]))
            for i, j in enumerate(rankings)
        ]
        torch.testing.assert_close(together, torch.cat(alone))
        (gradient,) = torch.autograd.grad(together.sum(), link.slope)
        assert gradient.isfinite()


@settings(max_examples=25)
@given(slopes, st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 5))
def test_rescaling_keeps_likelihoods_and_predictions(
    slope: float, ties: float, offset: float, scale: float
) -> None:
    s = torch.tensor([[1.0, 0.3, -2, 0.5], [0, 2, 1, -1]])
    for link in (ComparisonLink(slope, ties), ComparisonLink(slope)):
        other, targets = link.rescaled(offset, scale), link.targets(COMPARISONS[::2])
        pairs, moved = s[:, :2], (s[:, :2] - offset) / scale
        close = {"rtol": 1e-3, "atol": 1e-3}
        torch.testing.assert_close(
            other.log_likelihood(moved, targets),
            link.log_likelihood(pairs, targets),
            **close,
        )
        torch.testing.assert_close(other.predict(moved), link.predict(pairs), **close)
    for by in ("plackett-luce", "pairs"):
        ranked = RankingLink(slope, [ties], by)
        other, targets, moved = (
            ranked.rescaled(offset, scale),
            ranked.targets(RANKINGS),
            (s - offset) / scale,
        )
        assert other.by == by
        torch.testing.assert_close(
            other.log_likelihood(moved, targets),
            ranked.log_likelihood(s, targets),
            **close,
        )
        torch.testing.assert_close(other.predict(moved), ranked.predict(s), **close)


@pytest.mark.parametrize(
    "link",
    [
        ComparisonLink(1.3, -0.4),
        ComparisonLink(0.2),
        RankingLink(1.1, [-0.1, -2.3]),
        RankingLink(),
        RankingLink(2.0, [0.5], "pairs"),
    ],
)
def test_a_link_survives_json(link: ComparisonLink | RankingLink) -> None:
    link.aids = Likelihood(smoothing=0.2)
    again = type(link).from_dict(json.loads(json.dumps(link.as_dict())))
    assert again.as_dict() == link.as_dict()
    assert again.aids.smoothing == 0  # an aid to the fit is no part of what judges do


def test_a_margin_asks_for_a_lead() -> None:
    # one logit for a margin of 1: a lead of 3 over a margin of 2 is a logit of 1, and with a slope
    # of 2 one of 4
    link, targets = (
        ComparisonLink(),
        ComparisonLink().targets([Comparison("a", "b", 2.0)]),
    )
    assert link.log_likelihood(scores([3, 0]), targets).item() == pytest.approx(
        -math.log1p(math.exp(-3))
    )
    link.aids = Likelihood()
    assert link.log_likelihood(scores([3, 0]), targets).item() == pytest.approx(
        -math.log1p(math.exp(-1))
    )
    link.aids = Likelihood(margin=0.5)
    assert link.log_likelihood(scores([3, 0]), targets).item() == pytest.approx(
        -math.log1p(math.exp(-2))
    )
    steep = ComparisonLink(2.0)
    steep.aids = Likelihood(margin=1.0)
    assert steep.log_likelihood(scores([3, 0]), targets).item() == pytest.approx(
        -math.log1p(math.exp(-4))
    )


def test_smoothing_takes_a_share_for_slips() -> None:
    # a tenth: 0.9 ln σ(2) + 0.1 ln σ(−2); a tie is nobody's slip
    link, comparisons = ComparisonLink(), [Comparison("a", "b")]
    link.aids = Likelihood(smoothing=0.1)
    expected = -0.9 * math.log1p(math.exp(-2)) - 0.1 * math.log1p(math.exp(2))
    assert link.log_likelihood(
        scores([2, 0]), link.targets(comparisons)
    ).item() == pytest.approx(expected)
    label = LabelLink()
    label.aids = Likelihood(smoothing=0.1)
    assert label.log_likelihood(
        torch.tensor([2.0]), torch.tensor([True])
    ).item() == pytest.approx(expected)
    tied, plain = ComparisonLink(1.0, 0.5), ComparisonLink(1.0, 0.5)
    tied.aids = Likelihood(smoothing=0.1)
    targets = tied.targets([Comparison("a", "b", tie=True)])
    torch.testing.assert_close(
        tied.log_likelihood(scores([2, 0]), targets),
        plain.log_likelihood(scores([2, 0]), targets),
    )


def test_a_tie_where_there_are_none_is_named() -> None:
    message = r"^t\.csv:4: a tie\b"
    tie = Comparison("a", "b", tie=True, where="t.csv:4")
    with pytest.raises(DataError, match=message):
        ComparisonLink.from_judgements([*COMPARISONS[:2], tie], NO_TIES)
    tied = Ranking(["a", ["b", "c"]], where="t.csv:4")
    with pytest.raises(DataError, match=message):
        RankingLink.from_judgements([Ranking(["x", "y"]), tied], NO_TIES)
    links = links_from(
        [Comparison("a", "b"), Ranking(["a", "b"], rest=["c", "d"])], NO_TIES
    )  # the rest is no tie
    with pytest.raises(DataError, match=message):
        links[Comparison].targets([tie])
    with pytest.raises(DataError, match=message):
        links[Ranking].targets([tied])


def test_ties_alone_do_not_order_texts() -> None:
    ties = [Comparison("a", "b", tie=True)] * 2
    assert "2 comparisons are ties" in why_no_order(ties)[Comparison]
    rankings = [Ranking([["a", "b"]])] * 3
    assert "3 rankings have one tier" in why_no_order(rankings)[Ranking]
    # two of three are better
    assert why_no_order([Ranking([["a", "b"]], rest=["c"])]) == {}


def test_leaning() -> None:
    assert ComparisonLink().leaning(ComparisonLink().targets(COMPARISONS)).tolist() == [
        [1, 0],
        [1, 0],
        [0.5, 0.5],
    ]
    targets = RankingLink().targets(
        [Ranking([["a", "b"], "c"], rest=["d"]), Ranking([["x", "y"]])]
    )
    leaning = RankingLink().leaning(targets)
    assert leaning[0].tolist() == [1, 1, 0.5, 0]
    assert leaning[1, :2].tolist() == [0.5, 0.5]
    assert leaning[1, 2:].isnan().all()


def test_equal_scores_are_half_right() -> None:
    # right, wrong, equal; a tie is not counted: 1.5 of 3
    link = ComparisonLink()
    targets = link.targets(
        [Comparison("a", "b")] * 3 + [Comparison("a", "b", tie=True)]
    )
    s = scores([1, 0], [0, 1], [2, 2], [5, 0])
    assert link.metrics(s, targets) == {"comparison_accuracy": 0.5}
    assert link.metrics(s[3:], targets[3:]) == {}
    # a = b > c > d: five ordered pairs; scores 1, 0, 0, 2: a beats c, b and c are equal, d beats
    # all three: 1.5 of 5;
    # and x > y, wrong: 1.5 of 6. The places without a text hold a high score that is none
    ranked = RankingLink()
    targets, s = ranked.targets(RANKINGS), scores([1, 0, 0, 2], [0, 1, 9, 9])
    assert ranked.metrics(s, targets) == pytest.approx({"ranking_accuracy": 1.5 / 6})
    assert ranked.metrics(s[:1], torch.tensor([[1, 0, 0, -1, -1]])) == {}


def test_only_differences_matter() -> None:
    assert (
        ComparisonLink(2.0, 0.3).neutral().item()
        == RankingLink(2.0).neutral().item()
        == 0
    )
    for link, judgements in (
        (ComparisonLink(1.5, 0.2), COMPARISONS),
        (RankingLink(1.5, [0.1]), RANKINGS),
    ):
        targets = link.targets(judgements)
        s = torch.randn(
            len(judgements),
            2 if judgements is COMPARISONS else 4,
            generator=torch.Generator().manual_seed(0),
        )
        torch.testing.assert_close(
            link.log_likelihood(s + 3, targets), link.log_likelihood(s, targets)
        )


@pytest.mark.parametrize("by", ["plackett-luce", "pairs"])
def test_a_better_parameter_is_found_by_climbing(by: str) -> None:
    """The gradient reaches every parameter, and a small step along it raises the likelihood."""
    for link, judgements, width in (
        (ComparisonLink.from_judgements(COMPARISONS), COMPARISONS, 2),
        (RankingLink.from_judgements(RANKINGS, Likelihood(ranking=by)), RANKINGS, 4),
    ):
        s = torch.randn(
            len(judgements), width, generator=torch.Generator().manual_seed(1)
        )
        targets = link.targets(judgements)
        before = link.log_likelihood(s, targets).sum()
        before.backward()
        with torch.no_grad():
            for parameter in link.parameters():
                assert parameter.grad is not None
                assert parameter.grad.abs().sum() > 0
                parameter.add_(1e-3 * parameter.grad)
        assert link.log_likelihood(s, targets).sum() > before
