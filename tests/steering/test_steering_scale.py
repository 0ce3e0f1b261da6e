"""How scores become rewards."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.errors import UsageError
from tastemaker.rl import Scale, Scaling


def test_the_reference_scores_0_with_spread_1() -> None:
    """Of 2, 4, 4, 4, 5, 5, 7, 9 the mean is 5 and the population deviation 2."""
    scale = Scale(Scaling())
    scale.include([2, 4, 4, 4])
    scale.include([5, 5, 7, 9])
    assert (scale.count, scale.mean, scale.deviation, scale.unit) == (8, 5, 2, 2)
    assert scale.applied([5, 9, 0]) == [0, 2, -2.5]
    assert scale.count == 8, "what is scaled later is not seen"


def test_running_sees_first_and_none_leaves() -> None:
    scale = Scale(Scaling("running"))
    assert scale.applied([2.0, 4.0]) == [-1, 1]
    assert scale.applied([6.0, 8.0]) == pytest.approx(
        [1 / math.sqrt(5), 3 / math.sqrt(5)]
    ), "mean 5, variance 5"
    none = Scale(Scaling("none"))
    none.include([2, 4, 9])
    assert none.applied([2.0, 4.0]) == [2, 4]
    assert none.unit == 1


def test_clip() -> None:
    scale = Scale(Scaling(clip=1.5))
    scale.include([-1, 1])
    assert scale.applied([-9, -1.2, 1.4, 9]) == [-1.5, -1.2, 1.4, 1.5]
    assert Scale(Scaling("none", clip=2.0)).applied([3.0]) == [2]


def test_without_spread_or_scores_the_unit_is_1() -> None:
    scale = Scale(Scaling())
    assert scale.applied([3.0]) == [3]
    scale.include([7, 7, 7])
    assert (scale.deviation, scale.applied([8.0])) == (1, [1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(0, 30))
def test_one_by_one_is_all_at_once_and_goes_on_from_its_state(
    scores: list[float], cut: int
) -> None:
    scale = Scale(Scaling())
    scale.include(scores[:cut])
    other = Scale(Scaling(), **scale.state())
    other.include(scores[cut:])
    assert other.mean == pytest.approx(statistics.fmean(scores), abs=1e-6)
    assert math.sqrt(other.squares / other.count) == pytest.approx(
        statistics.pstdev(scores), abs=1e-5
    )


@pytest.mark.parametrize(
    "settings", [{"by": "batch"}, {"clip": 0.0}, {"clip": math.nan}, {"clip": -1.0}]
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"^scaling: (by|clip) "):
        Scaling(**settings)  # type: ignore[arg-type]
