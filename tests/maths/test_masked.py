"""Reductions of padded tensors, worked out by hand; what does not count changes nothing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.maths import (
    masked_deviation,
    masked_mean,
    masked_sum,
    rescale_keeping_mean,
    standardise,
)

VALUES = torch.tensor([[1.0, 2.0, 9.0], [3.0, -7.0, 9.0]])
COUNTED = torch.tensor([[True, True, False], [True, False, False]])


def test_sums_and_means() -> None:
    """1, 2 and 3 count."""
    assert float(masked_sum(VALUES, COUNTED)) == 6
    assert masked_sum(VALUES, COUNTED, 1).tolist() == [3, 3]
    assert masked_sum(VALUES, COUNTED, 0).tolist() == [4, 2, 0]
    assert float(masked_mean(VALUES, COUNTED)) == 2
    assert masked_mean(VALUES, COUNTED, 1).tolist() == [1.5, 3]
    assert masked_mean(VALUES, COUNTED, 0).tolist() == [2, 2, 0], "0 where none counts"
    assert float(masked_mean(VALUES, torch.zeros_like(COUNTED))) == 0


def test_the_deviation_divides_by_the_number_of_values() -> None:
    """(1 + 0 + 1)/3."""
    assert float(masked_deviation(VALUES, COUNTED)) == pytest.approx(math.sqrt(2 / 3))


def test_standardised_and_rescaled() -> None:
    """±1/√(2/3) = ±1.2247 around 0, and around the mean 2."""
    high = math.sqrt(1.5)
    assert standardise(VALUES, COUNTED).tolist() == [
        pytest.approx(row) for row in ([-high, 0, 0], [high, 0, 0])
    ]
    rescaled = rescale_keeping_mean(VALUES, COUNTED)
    assert rescaled.tolist() == [
        pytest.approx(row) for row in ([2 - high, 2, 0], [2 + high, 0, 0])
    ]


def test_equal_values_stand_at_0_and_rescaled_stay() -> None:
    same = torch.full((2, 3), 4.0)
    assert standardise(same, COUNTED).abs().max() == 0
    assert rescale_keeping_mean(same, COUNTED).tolist() == [[4, 4, 0], [4, 0, 0]]


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_what_does_not_count_changes_nothing(anything: float) -> None:
    other = VALUES.where(COUNTED, torch.tensor(anything))
    for dim in (None, 0, 1):
        for reduce in (masked_sum, masked_mean):
            assert (
                reduce(other, COUNTED, dim).tolist()
                == reduce(VALUES, COUNTED, dim).tolist()
            )
    for change in (masked_deviation, standardise, rescale_keeping_mean):
        assert change(other, COUNTED).tolist() == change(VALUES, COUNTED).tolist()


def test_no_gradient_comes_from_what_does_not_count() -> None:
    values = VALUES.clone().requires_grad_()
    masked_mean(values, COUNTED).backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [
        pytest.approx(row) for row in ([1 / 3, 1 / 3, 0], [1 / 3, 0, 0])
    ]
