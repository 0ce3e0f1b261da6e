"""Likelihoods of comparisons and rankings: exact values, enumeration, differences, invariances."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations, product
from types import ModuleType

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

NONE = torch.zeros(1, dtype=torch.float64)
"""ln δ₁ alone: no ties."""


@pytest.fixture(scope="module")
def comparisons(checked: Callable[[str], ModuleType]) -> ModuleType:
    """`tastemaker.maths.likelihoods` with every shape and type checked."""
    return checked("tastemaker.maths.likelihoods")


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def by_enumeration(
    scores: Sequence[float], tier: Sequence[int], stages: int, log_ties: Sequence[float]
) -> float:
    """ln P(ranking), every set that could have been chosen written out: 2^K of them, straight from
    the definition.
    """

    def strength(chosen: Sequence[int]) -> float:
        return math.exp(
            log_ties[len(chosen) - 1] + sum(scores[i] for i in chosen) / len(chosen)
        )

    remaining = [i for i in range(len(tier)) if tier[i] >= 0]
    total = 0.0
    for stage in range(stages):
        chosen = [i for i in remaining if tier[i] == stage]
        sizes = range(1, min(len(log_ties), len(remaining)) + 1)
        every = math.fsum(
            strength(some) for size in sizes for some in combinations(remaining, size)
        )
        total += math.log(strength(chosen) / every)
        remaining = [i for i in remaining if i not in chosen]
    return total


def weak_orders(texts: int) -> Iterator[tuple[int, ...]]:
    """Every way to put texts into tiers 0 … t without gaps."""
    for tier in product(range(texts), repeat=texts):
        if set(tier) == set(range(max(tier) + 1)):
            yield tier


def one(
    function: Callable[..., Tensor],
    scores: Sequence[float],
    tier: Sequence[int],
    stages: int,
    ties: Tensor,
) -> float:
    """The log-likelihood of one ranking."""
    return function(
        doubles(*scores)[None], torch.tensor([tier]), torch.tensor([stages]), ties
    ).item()


@st.composite
def rankings(
    draw: st.DrawFn, most: int = 6
) -> tuple[list[float], list[int], int, list[float]]:
    """Scores, tiers (some texts absent, some the rest), how many tiers, and ln δ as far as needed
    or further.
    """
    tiers = list(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    while sum(tiers) > most:
        tiers.pop()
    rest = draw(st.integers(0, max(0, most - sum(tiers))))
    absent = draw(st.integers(0, 2))
    ordered = [
        *(number for number, size in enumerate(tiers) for _ in range(size)),
        *[len(tiers)] * rest,
        *[-1] * absent,
    ]
    tier = draw(st.permutations(ordered))
    scores = draw(st.lists(st.floats(-5, 5), min_size=len(tier), max_size=len(tier)))
    more = draw(st.integers(0, 2))
    log_ties = [
        0.0,
        *draw(
            st.lists(
                st.floats(-4, 2),
                min_size=max(tiers) - 1 + more,
                max_size=max(tiers) - 1 + more,
            )
        ),
    ]
    return scores, list(tier), len(tiers), log_ties


def test_shapes_are_checked(comparisons: ModuleType) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        comparisons.comparison_log_likelihood(doubles(0, 0), torch.tensor([True]))
    with pytest.raises(jaxtyping.TypeCheckError):
        comparisons.plackett_luce_log_likelihood(
            doubles(0)[None], torch.tensor([[0, 1]]), torch.tensor([2]), NONE
        )


def test_exact_values_of_three_scores(comparisons: ModuleType) -> None:
    # scores 2, 1, 0 in that order: −ln e²/(e² + e + 1) − ln e/(e + 1) = 0.7209; the mean of ln(1 +
    # e^−d) over the
    # pairs' differences d = 1, 1, 2 is (0.31326 + 0.31326 + 0.12693)/3 = 0.2512
    listwise = one(
        comparisons.plackett_luce_log_likelihood, (2, 1, 0), (0, 1, 2), 3, NONE
    )
    e = math.e
    assert listwise == pytest.approx(
        math.log(e**2 / (e**2 + e + 1)) + math.log(e / (e + 1)), abs=1e-12
    )
    assert listwise == pytest.approx(-0.7209, abs=5e-5)
    pairs = comparisons.pairs_log_likelihood(
        doubles(2, 1, 0)[None], torch.tensor([[0, 1, 2]]), torch.tensor([3])
    )
    assert pairs.item() == pytest.approx(-0.2512, abs=5e-5)


def test_a_comparison_by_hand(comparisons: ModuleType) -> None:
    # without ties σ(ln 3) = 3/4. With ν = 1 and π₁, π₂ = 4, 1 (d = ln 4): √ is 2, so 4/7, 1/7 and a
    # tie 2/7
    log_likelihood = comparisons.comparison_log_likelihood(
        doubles(math.log(3)), torch.tensor([False])
    )
    assert log_likelihood.exp().item() == pytest.approx(3 / 4)
    d, is_tie = (
        math.log(4) * doubles(1, -1, 1, -1),
        torch.tensor([False, False, True, True]),
    )
    log_likelihood = comparisons.comparison_log_likelihood(d, is_tie, double(0.0)).exp()
    torch.testing.assert_close(log_likelihood, doubles(4 / 7, 1 / 7, 2 / 7, 2 / 7))


def test_a_tied_ranking_by_hand(comparisons: ModuleType) -> None:
    # equal scores and δ = 1: of three texts, 3 single ones and 3 pairs may be chosen. The first two
    # tie: 1/6; the last
    # is then certain. All three tied, with δ₃ = 1 as well: 1/7
    function = comparisons.plackett_luce_log_likelihood
    assert math.exp(
        one(function, (0, 0, 0), (0, 0, 1), 2, doubles(0, 0))
    ) == pytest.approx(1 / 6)
    assert math.exp(
        one(function, (0, 0, 0), (0, 0, 0), 1, doubles(0, 0, 0))
    ) == pytest.approx(1 / 7)
    # the best of four, no ties: a quarter; the others are not ordered
    assert math.exp(
        one(function, (1, 1, 1, 1), (1, 0, 1, 1), 1, NONE)
    ) == pytest.approx(1 / 4)


@settings(max_examples=60)
@given(drawn=rankings())
def test_plackett_luce_is_what_enumeration_says(
    comparisons: ModuleType, drawn: tuple[list[float], list[int], int, list[float]]
) -> None:
    scores, tier, stages, log_ties = drawn
    log_likelihood = one(
        comparisons.plackett_luce_log_likelihood,
        scores,
        tier,
        stages,
        doubles(*log_ties),
    )
    assert log_likelihood == pytest.approx(
        by_enumeration(scores, tier, stages, log_ties), abs=1e-9
    )


@settings(max_examples=30)
@given(
    scores=st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    ties=st.lists(st.floats(-4, 3), min_size=0, max_size=2),
)
def test_all_rankings_of_three_sum_to_one(
    comparisons: ModuleType, scores: list[float], ties: list[float]
) -> None:
    every = [
        tier
        for tier in weak_orders(3)
        if max(tier.count(t) for t in tier) <= 1 + len(ties)
    ]
    assert len(every) == {0: 6, 1: 12, 2: 13}[len(ties)]
    log_likelihood = comparisons.plackett_luce_log_likelihood(
        doubles(*scores).expand(len(every), 3),
        torch.tensor(every),
        torch.tensor([max(tier) + 1 for tier in every]),
        doubles(0, *ties),
    )
    assert log_likelihood.exp().sum().item() == pytest.approx(1, abs=1e-9)


@given(first=st.floats(-20, 20), second=st.floats(-20, 20), log_ties=st.floats(-5, 3))
def test_two_texts_are_davidsons(
    comparisons: ModuleType, first: float, second: float, log_ties: float
) -> None:
    scores, tier, stages = (
        doubles(first, second).expand(3, 2),
        [[0, 1], [1, 0], [0, 0]],
        torch.tensor([2, 2, 1]),
    )
    ranked = comparisons.plackett_luce_log_likelihood(
        scores, torch.tensor(tier), stages, doubles(0, log_ties)
    )
    d = first - second
    compared = comparisons.comparison_log_likelihood(
        doubles(d, -d, d), torch.tensor([False, False, True]), double(log_ties)
    )
    torch.testing.assert_close(ranked, compared, rtol=1e-9, atol=1e-9)
    assert compared.exp().sum().item() == pytest.approx(1, abs=1e-9)


@given(scores=st.lists(st.floats(-5, 5), min_size=2, max_size=7))
def test_without_ties_it_is_a_softmax_after_another(
    comparisons: ModuleType, scores: list[float]
) -> None:
    s = doubles(*scores)
    classic = sum((s[i] - s[i:].logsumexp(0)).item() for i in range(len(s)))
    log_likelihood = one(
        comparisons.plackett_luce_log_likelihood, scores, range(len(s)), len(s), NONE
    )
    assert log_likelihood == pytest.approx(classic, abs=1e-9)


@pytest.mark.parametrize("by", ["plackett_luce", "pairs"])
@settings(max_examples=30)
@given(
    drawn=rankings(),
    shift=st.floats(-50, 50),
    order=st.randoms(use_true_random=False),
    pad=st.integers(0, 3),
)
def test_shift_order_and_padding_change_nothing(
    comparisons: ModuleType,
    by: str,
    drawn: tuple[list[float], list[int], int, list[float]],
    shift: float,
    order: object,
    pad: int,
) -> None:
    scores, tier, stages, log_ties = drawn
    function = getattr(comparisons, f"{by}_log_likelihood")
    ties = doubles(*log_ties) if by == "plackett_luce" else double(log_ties[-1])
    before = one(function, scores, tier, stages, ties)
    assert one(
        function, [s + shift for s in scores], tier, stages, ties
    ) == pytest.approx(before, abs=1e-9)
    places = list(range(len(tier)))
    order.shuffle(places)  # type: ignore[attr-defined]
    moved = one(
        function, [scores[i] for i in places], [tier[i] for i in places], stages, ties
    )
    assert moved == pytest.approx(before, abs=1e-9)
    padded = one(
        function,
        [*[7.0] * pad, *scores, *[9.0] * pad],
        [*[-1] * pad, *tier, *[-1] * pad],
        stages,
        ties,
    )
    assert padded == pytest.approx(before, abs=1e-9)


def test_rankings_of_unlike_lengths_in_one_call(comparisons: ModuleType) -> None:
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()
    tier, stages = (
        torch.tensor([[0, 1, -1, -1], [0, 0, 1, 2], [1, 1, 0, -1]]),
        torch.tensor([2, 2, 1]),
    )
    for name, ties in (("plackett_luce", doubles(0, -1)), ("pairs", double(-1))):
        function = getattr(comparisons, f"{name}_log_likelihood")
        alone = [
            function(scores[i : i + 1], tier[i : i + 1], stages[i : i + 1], ties)
            for i in range(3)
        ]
        torch.testing.assert_close(
            function(scores, tier, stages, ties), torch.cat(alone)
        )


def test_every_ranking_may_have_sizes_of_its_own(comparisons: ModuleType) -> None:
    # the first may tie two texts, the second nothing, as if it had been alone with ln δ₁
    scores = torch.randn(2, 3, generator=torch.Generator().manual_seed(5)).double()
    tier, stages = torch.tensor([[0, 0, 1], [0, 1, 2]]), torch.tensor([2, 3])
    log_ties = doubles(0, -1, 0, -math.inf).reshape(2, 2).requires_grad_()
    log_likelihood = comparisons.plackett_luce_log_likelihood(
        scores, tier, stages, log_ties
    )
    first = one(
        comparisons.plackett_luce_log_likelihood,
        scores[0].tolist(),
        (0, 0, 1),
        2,
        doubles(0, -1),
    )
    second = one(
        comparisons.plackett_luce_log_likelihood, scores[1].tolist(), (0, 1, 2), 3, NONE
    )
    assert log_likelihood.tolist() == pytest.approx([first, second], abs=1e-12)
    (gradient,) = torch.autograd.grad(log_likelihood.sum(), log_ties)
    assert gradient.isfinite().all()
    assert gradient[1, 1].item() == 0


def test_pairs_by_hand(comparisons: ModuleType) -> None:
    # tiers {a, b} > {c} > rest {d, e}, all scores 0: 2 pairs with c, 4 with the rest, 2 of c and
    # the rest: each ln ½.
    # The tie of a and b counts only where ties are known: with ν = 1 all nine pairs are ln ⅓. d and
    # e are no pair
    scores, tier, stages = (
        torch.zeros(1, 5).double(),
        torch.tensor([[0, 0, 1, 2, 2]]),
        torch.tensor([2]),
    )
    assert comparisons.pairs_log_likelihood(
        scores, tier, stages
    ).item() == pytest.approx(-math.log(2))
    with_ties = comparisons.pairs_log_likelihood(scores, tier, stages, double(0.0))
    assert with_ties.item() == pytest.approx(-math.log(3))


def test_two_texts_of_the_rest_are_no_pair(comparisons: ModuleType) -> None:
    # the best of three: two pairs of difference 1, whatever the two others are to each other
    for log_ties in (None, double(5.0)):
        scores = doubles(1, 0, 0)[None].requires_grad_()
        tier, stages = torch.tensor([[0, 1, 1]]), torch.tensor([1])
        log_likelihood = comparisons.pairs_log_likelihood(
            scores, tier, stages, log_ties
        )
        decided = comparisons.comparison_log_likelihood(
            doubles(1), torch.tensor([False]), log_ties
        )
        assert log_likelihood.item() == pytest.approx(decided.item())


def test_ties_count_only_where_they_are_known(comparisons: ModuleType) -> None:
    scores, tier, stages = (
        doubles(3, -1)[None],
        torch.tensor([[0, 0]]),
        torch.tensor([1]),
    )
    assert (
        comparisons.pairs_log_likelihood(scores, tier, stages).item() == 0
    )  # no pair at all, and no 0/0
    tie = comparisons.comparison_log_likelihood(
        doubles(4), torch.tensor([True]), double(-1)
    )
    torch.testing.assert_close(
        comparisons.pairs_log_likelihood(scores, tier, stages, double(-1)), tie
    )


def test_comparison_gradient(comparisons: ModuleType) -> None:
    d, is_tie = (
        doubles(-3, -0.5, 0.0, 0.7, 4).requires_grad_(),
        torch.tensor([False, True, True, False, True]),
    )
    log_ties = double(-0.8).requires_grad_()
    assert gradcheck(
        lambda x: comparisons.comparison_log_likelihood(x, is_tie & False), d
    )
    assert gradcheck(
        lambda x, t: comparisons.comparison_log_likelihood(x, is_tie, t), (d, log_ties)
    )


RANKED = (
    torch.tensor(
        [[0, 1, 2, 3, 4], [2, 1, 0, 1, -1], [1, 0, 0, 0, 1], [0, 0, -1, 1, -1]]
    ),
    torch.tensor(
        [5, 3, 1, 2]
    ),  # full, with a tie in the middle, the best three as one, and two tied above the last
)


def test_plackett_luce_gradient(comparisons: ModuleType) -> None:
    scores = torch.randn(
        4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).requires_grad_()
    log_ties = doubles(0, -0.7, -1.9).requires_grad_()
    assert gradcheck(
        lambda s, t: comparisons.plackett_luce_log_likelihood(s, *RANKED, t),
        (scores, log_ties),
    )


def test_pairs_gradient(comparisons: ModuleType) -> None:
    scores = torch.randn(
        4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    ).requires_grad_()
    log_ties = double(-0.7).requires_grad_()
    assert gradcheck(lambda s: comparisons.pairs_log_likelihood(s, *RANKED), scores)
    assert gradcheck(
        lambda s, t: comparisons.pairs_log_likelihood(s, *RANKED, t), (scores, log_ties)
    )


def test_absent_texts_get_no_gradient(comparisons: ModuleType) -> None:
    tier, stages = torch.tensor([[0, 1, -1]]), torch.tensor([2])
    for name, ties in (("plackett_luce", doubles(0, -1)), ("pairs", double(-1))):
        scores = doubles(0.5, -0.5, 100.0)[None].requires_grad_()
        getattr(comparisons, f"{name}_log_likelihood")(
            scores, tier, stages, ties
        ).sum().backward()
        assert scores.grad is not None
        assert scores.grad[0, 2].item() == 0
        assert scores.grad[0, 0].item() == pytest.approx(-scores.grad[0, 1].item())
        assert scores.grad[0, 0].item() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_tie", [-30.0, 0.0, 30.0])
def test_far_scores_stay_finite(
    comparisons: ModuleType, dtype: torch.dtype, log_tie: float
) -> None:
    far = list(permutations((-1e4, 0.0, 1e4, 1e4)))
    tier = [(0, 1, 2, 3), (0, 0, 1, 1), (0, 1, 1, 1), (0, 0, 0, -1)]
    scores = torch.tensor(
        [s for s in far for _ in tier], dtype=dtype, requires_grad=True
    )
    tiers = torch.tensor(tier * len(far))
    stages = torch.tensor([4, 2, 1, 1] * len(far))
    log_ties = torch.tensor([0.0, log_tie, log_tie], dtype=dtype, requires_grad=True)
    listwise = comparisons.plackett_luce_log_likelihood(scores, tiers, stages, log_ties)
    pairs = comparisons.pairs_log_likelihood(scores, tiers, stages, log_ties[1])
    decided = comparisons.comparison_log_likelihood(
        scores[:, 0] - scores[:, 1], tiers[:, 1] == 0, log_ties[1]
    )
    plain = comparisons.comparison_log_likelihood(
        scores[:, 0] - scores[:, 1], tiers[:, 1] == 0
    )
    for log_likelihood in (listwise, pairs, decided, plain):
        assert log_likelihood.isfinite().all()
        assert (log_likelihood <= 1e-3).all()
        for gradient in torch.autograd.grad(
            log_likelihood.sum(),
            (scores, log_ties),
            retain_graph=True,
            allow_unused=True,
        ):
            assert gradient is None or gradient.isfinite().all()


def test_sixty_texts_in_float32(comparisons: ModuleType) -> None:
    scores = torch.randn(2, 60, generator=torch.Generator().manual_seed(3)) * 3
    tier = torch.stack(
        [
            torch.randperm(60, generator=torch.Generator().manual_seed(4)),
            torch.arange(60) // 5,
        ]
    )
    arguments = (tier, torch.tensor([60, 12]))
    log_ties = torch.tensor([0.0, -1, -2, -3, -4])
    log_likelihood = comparisons.plackett_luce_log_likelihood(
        scores, *arguments, log_ties
    )
    exact = comparisons.plackett_luce_log_likelihood(
        scores.double(), *arguments, log_ties.double()
    )
    torch.testing.assert_close(log_likelihood.double(), exact, rtol=1e-5, atol=1e-3)


def test_no_judgements(comparisons: ModuleType) -> None:
    none, nothing = torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)
    stages = torch.zeros(0, dtype=torch.long)
    assert comparisons.comparison_log_likelihood(
        torch.zeros(0), torch.zeros(0, dtype=torch.bool)
    ).shape == (0,)
    assert comparisons.plackett_luce_log_likelihood(
        none, nothing, stages, torch.zeros(2)
    ).shape == (0,)
    assert comparisons.pairs_log_likelihood(none, nothing, stages).shape == (0,)
