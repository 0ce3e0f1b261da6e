"""Several functions at once, one thread each: order, threads, and what is left behind."""

import threading
from collections.abc import Iterator

import pytest
import torch

from tastemaker.models.threads import one_thread, side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """torch has two threads while a test runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_two_run_at_once_and_come_back_in_order() -> None:
    """Each waits for the other, so one after the other they would never end."""
    both = threading.Barrier(2, timeout=20)

    def call(number: int) -> tuple[int, int]:
        both.wait()
        return number, torch.get_num_threads()

    found = list(side_by_side([lambda k=k: call(k) for k in range(4)]))  # type: ignore[misc]
    assert found == [(k, 1) for k in range(4)]
    assert torch.get_num_threads() == 2


def test_one_alone_has_all_threads() -> None:
    assert list(side_by_side([torch.get_num_threads])) == [2]
    torch.set_num_threads(1)
    here = threading.get_ident()
    assert list(side_by_side([threading.get_ident] * 3)) == [here] * 3, "with one thread there is no other"


def test_an_error_comes_through_and_the_threads_come_back() -> None:
    def fails() -> None:
        raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        list(side_by_side([lambda: None, fails]))
    assert torch.get_num_threads() == 2
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
