"""A limited number of texts, drawn at random without holding the others in memory."""

import heapq
from collections.abc import Iterable
from typing import TypeVar

from tastemaker.data.judgements import (
    Example,
    Judgement,
    examples_of,
    lot,
    plain,
)

_Item = TypeVar("_Item", Judgement, Example)


def limited(
    items: Iterable[_Item],
    limit: int | None,
    seed: int,
) -> list[_Item]:
    """Return the items about the `limit` texts with the smallest lots, in order.

    Only these are kept in memory.
    """
    if limit is None:
        return list(items)
    negated_lots: list[int] = []  # a heap: the largest lot first
    by_lot: dict[int, list[tuple[int, _Item]]] = {}
    for position, item in enumerate(items):
        drawn = lot(seed, "limit", _unit(item))
        if drawn not in by_lot:
            by_lot[drawn] = []
            heapq.heappush(negated_lots, -drawn)
        by_lot[drawn].append((position, item))
        if len(by_lot) > limit:
            del by_lot[-heapq.heappop(negated_lots)]
    numbered = [pair for pairs in by_lot.values() for pair in pairs]
    numbered.sort(key=lambda pair: pair[0])
    return [item for _, item in numbered]


def _unit(
    item: _Item,
) -> str:
    """Return the name of what a limit counts: the texts judged together, and their prompt."""
    examples: tuple[Example, ...] = examples_of(item)
    texts: list[str] = sorted(example.text for example in examples)
    return "\0".join([plain(examples[0].prompt or ""), *texts])
