"""Several functions at once, one thread each: order, threads, and what is left behind."""

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.fast import like_parts, one_thread, side_by_side

pytestmark = pytest.mark.usefixtures("two_threads")


def test_two_run_at_once_and_come_back_in_order() -> None:
    """Each waits for the other, so one after the other they would never end."""
    both = threading.Barrier(2, timeout=20)

    def call(number: int) -> tuple[int, int]:
        both.wait()
        return number, torch.get_num_threads()

    results = list(side_by_side([lambda k=k: call(k) for k in range(4)], 2))  # type: ignore[misc]
    assert results == [(k, 1) for k in range(4)]
    assert torch.get_num_threads() == 2


def test_one_alone_has_all_threads() -> None:
    assert list(side_by_side([torch.get_num_threads], 2)) == [2]
    here = threading.get_ident()
    assert list(side_by_side([threading.get_ident] * 3, 1)) == [here] * 3, (
        "with one thread there is no other"
    )


def test_an_error_comes_through_and_the_threads_come_back() -> None:
    def fails() -> None:
        raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        list(side_by_side([lambda: None, fails], 2))
    assert torch.get_num_threads() == 2
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.integers(1, 400),
    st.integers(1, 4),
)
def test_parts_hold_every_row_once_and_about_as_much_as_is_allowed(
    sizes: list[int], most: int, threads: int
) -> None:
    parts = like_parts(torch.tensor(sizes), most, threads)
    sums = [sum(sizes[row] for row in part) for part in parts]
    assert sorted(row for part in parts for row in part.tolist()) == list(
        range(len(sizes))
    )
    assert all(map(len, parts))
    assert max(sums) <= most + 2 * max(sizes)
    if sum(sizes) <= most:
        assert len(parts) == min(threads, len(sizes))
        assert max(sums) - min(sums) <= max(sizes)


def test_parts_by_hand() -> None:
    """Two threads: the larger rows are dealt out in turn; one alone keeps the order, or sorts what
    it has to cut.
    """
    sizes = torch.tensor([1, 4, 2, 3, 5, 6])
    assert [part.tolist() for part in like_parts(sizes, 100, 2)] == [
        [5, 1, 2],
        [4, 3, 0],
    ]
    assert [part.tolist() for part in like_parts(sizes, 21, 1)] == [[0, 1, 2, 3, 4, 5]]
    assert [part.tolist() for part in like_parts(sizes, 20, 1)] == [
        [5, 4],
        [1, 3, 2, 0],
    ]
    assert [part.tolist() for part in like_parts(sizes, 6, 2)] == [
        [5],
        [4],
        [1, 2],
        [3, 0],
    ]
