"""From rewards to advantages by hand: generalised advantages, returns, and groups."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.maths import (
    gae,
    group_centred,
    group_standardised,
    leave_one_out,
    returns_to_go,
)

REWARDS = torch.tensor([[1.0, 2.0], [4.0, 99.0]])
VALUES = torch.tensor([[0.5, 0.25], [1.0, 99.0]])
AFTER = torch.tensor([3.0, 2.0])
IS_ACTION = torch.tensor([[True, True], [True, False]])
ONE_RIGHT = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])


def test_generalised_advantages_by_hand() -> None:
    """δ₁ = 2 + 0.9·3 − 0.25 = 4.45, δ₀ = 1 + 0.9·0.25 − 0.5 = 0.725, A₀ = 0.725 + 0.9·0.8·4.45; 4 +
    0.9·2 − 1 = 4.8.
    """
    A = gae(REWARDS, VALUES, AFTER, IS_ACTION, gamma=0.9, lam=0.8)
    assert A.tolist() == [pytest.approx([3.929, 4.45]), pytest.approx([4.8, 0])]


def test_the_two_ends_of_lambda() -> None:
    values = VALUES.where(IS_ACTION, torch.zeros(()))
    returns = returns_to_go(REWARDS, IS_ACTION, 0.9, AFTER)
    assert returns.tolist() == [
        pytest.approx([1 + 0.9 * (2 + 0.9 * 3), 4.7]),
        pytest.approx([5.8, 0]),
    ]
    full = gae(REWARDS, VALUES, AFTER, IS_ACTION, gamma=0.9, lam=1.0)
    torch.testing.assert_close(full, returns - values)
    one_step = gae(REWARDS, VALUES, AFTER, IS_ACTION, gamma=0.9, lam=0.0)
    assert one_step.tolist() == [pytest.approx([0.725, 4.45]), pytest.approx([4.8, 0])]


def test_a_reward_counts_for_the_steps_up_to_it() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    every = torch.ones(1, 4, dtype=torch.bool)
    assert returns_to_go(rewards, every, 0.5).tolist() == [[0.25, 0.5, 1, 0]]


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.integers(0, 3))
def test_padding_changes_nothing(anything: float, more: int) -> None:
    def wider(x: torch.Tensor) -> torch.Tensor:
        counted = x.where(IS_ACTION, torch.tensor(anything))
        return torch.cat([counted, torch.full((2, more), anything)], 1)

    places = torch.cat([IS_ACTION, torch.zeros(2, more, dtype=torch.bool)], 1)
    padded = gae(wider(REWARDS), wider(VALUES), AFTER, places, gamma=0.9, lam=0.8)
    expected = gae(REWARDS, VALUES, AFTER, IS_ACTION, gamma=0.9, lam=0.8)
    assert padded[:, :2].tolist() == expected.tolist()
    assert padded[:, 2:].abs().sum() == 0


def test_eight_answers_one_correct() -> None:
    """Mean 1/8, population deviation √(1/8·7/8): (7/8)/0.3307 = 2.646. The others' mean is 0, or
    1/7 = 0.143.
    """
    group = torch.zeros(8, dtype=torch.int64)
    assert group_standardised(ONE_RIGHT, group).tolist() == pytest.approx(
        [2.646] + [-0.378] * 7, abs=5e-4
    )
    assert leave_one_out(ONE_RIGHT, group).tolist() == pytest.approx(
        [1.0] + [-1 / 7] * 7
    )
    assert group_centred(ONE_RIGHT, group).tolist() == pytest.approx(
        [7 / 8] + [-1 / 8] * 7
    )


def test_groups_may_be_of_any_size_name_and_order() -> None:
    scores, groups = (
        torch.tensor([1.0, 10.0, 3.0, 20.0, 5.0]),
        torch.tensor([7, -2, 7, -2, 7]),
    )
    assert group_centred(scores, groups).tolist() == [-2, -5, 0, 5, 2]
    assert leave_one_out(scores, groups).tolist() == [-3, -10, 0, 10, 3], (
        "1 − (3 + 5)/2, 10 − 20"
    )
    high = math.sqrt(1.5)
    assert group_standardised(scores, groups).tolist() == pytest.approx(
        [-high, -1, 0, 1, high]
    )


@pytest.mark.parametrize("level", [0.0, 0.1, -3.3, 1e6])
def test_a_group_of_equal_scores_has_nothing_to_tell(level: float) -> None:
    groups = torch.tensor([0, 0, 0, 1, 1])
    scores = torch.tensor([level, level, level, 1.0, 2.0])
    assert group_standardised(scores, groups).tolist() == [0, 0, 0, -1, 1]


@given(
    st.lists(st.floats(-5, 5).map(lambda x: round(x, 2)), min_size=8, max_size=8),
    st.floats(-100, 100),
    st.permutations(range(8)),
)
def test_sums_shifts_and_order(
    scores: list[float], shift: float, order: list[int]
) -> None:
    """Advantages of a group sum to 0, a constant on all scores changes nothing, nor does the order
    of the rows.
    """
    groups, raw = torch.tensor([0, 1, 0, 1, 0, 1, 0, 0]), torch.tensor(scores).double()
    for advantages in (leave_one_out, group_standardised, group_centred):
        A = advantages(raw, groups)
        for group in (0, 1):
            assert float(A[groups == group].sum()) == pytest.approx(0, abs=1e-9)
        torch.testing.assert_close(
            advantages(raw + shift, groups), A, atol=1e-6, rtol=1e-6
        )
        torch.testing.assert_close(advantages(raw[order], groups[order]), A[order])
