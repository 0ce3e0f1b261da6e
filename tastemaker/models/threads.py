"""The processor's threads: one alone for small sums, or all side by side, each with a pass of its own.

Within a pass threads wait for each other at every operation, and what is small does not divide well: two passes of half
the rows, one thread each, take three quarters of the time that one pass takes with two threads.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: small networks and sums lose more to a second one than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def side_by_side(calls: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Call functions, as many at once as torch has threads, one thread each; yield what they return, in order.

    What a thread has set for itself (autocast, inference mode) the functions must set themselves.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(calls) == 1:
        yield from (call() for call in calls)
        return
    torch.set_num_threads(1)  # of the library under all threads, and of those that begin meanwhile
    try:
        for start in range(0, len(calls), threads):
            yield from _pool(threads).map(lambda call: call(), calls[start : start + threads])
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "side-by-side")
