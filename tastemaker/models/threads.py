"""The processor's threads: one alone for small sums, or all side by side, each with a pass of its own.

Within a pass threads wait for each other at every operation, and what is small does not divide well: two passes of half
the rows, one thread each, take three quarters of the time that one pass takes with two threads.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

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


def side_by_side(calls: Sequence[Callable[[], T]], threads: int) -> Iterator[T]:
    """Call functions, so many at once, one thread each; yield what they return, in order.

    With one thread, or one call, they are called here, one after the other, with all that torch has. What a thread has
    set for itself (autocast, whether gradients are wanted) the functions must set themselves.
    """
    if threads == 1 or len(calls) == 1:
        yield from (call() for call in calls)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # of the library under all threads, and of those that begin meanwhile
    try:
        for start in range(0, len(calls), threads):
            yield from _pool(threads).map(lambda call: call(), calls[start : start + threads])
    finally:
        torch.set_num_threads(before)


def like_parts(sizes: Tensor, most: int, threads: int) -> list[Tensor]:
    """Cut rows into parts of about equal sums, at most about `most`: row numbers, the larger rows first.

    sizes: of the rows, int64 [n]. Rows are dealt out to the threads in turn, so that the parts which are computed at
    the same time hold rows alike. Where all is one part, the rows stand in their order.
    """
    each = max(1, math.ceil(int(sizes.sum()) / (threads * most)))
    if each * threads == 1:
        return [torch.arange(len(sizes))]
    order = torch.argsort(sizes, descending=True, stable=True)
    dealt = [_cut(order[start::threads], sizes, each) for start in range(threads)]
    return [part for together in itertools.zip_longest(*dealt) for part in together if part is not None]


def _cut(rows: Tensor, sizes: Tensor, parts: int) -> list[Tensor]:
    """Cut rows, in their order, into parts of about equal sums; a row is where its middle is. None is empty."""
    own = sizes[rows]
    ends = own.cumsum(0)
    number = (2 * ends - own) * parts // (2 * ends[-1:])
    return list(torch.split(rows, torch.unique_consecutive(number, return_counts=True)[1].tolist()))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "side-by-side")
