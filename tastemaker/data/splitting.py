"""Held-out by text and prompt, never by row: what the model is tested on, it has not seen in any form."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Judgement, fingerprint, fingerprints, lot, plain
from tastemaker.errors import DataError, UsageError

_LARGEST_GROUP = (
    0.5  # of the judgements; beyond it, being connected says too little to keep together
)
_LARGEST_WITHOUT_PROMPT = (
    0.1  # where texts alone connect a group, such as a pool from which each comparison draws two
)
_SMALL = 20  # judgements, few enough to stay together in any case up to the half
_SHARE_OF_A_FIT = 0.1


def split(
    judgements: Sequence[Judgement], *, held_out: float = 0.1, seed: int = 0
) -> tuple[list[Judgement], list[Judgement]]:
    """Return (train, held out), each in the order given.

    Judgements that share a text, or a prompt, are one group and stay on one side. held_out: the share of the groups,
    between 0 and 1, or how many of them (an int). Which ones is drawn by the seed, whatever the order of the rows.
    Where comparisons or rankings connect so many judgements that one side would hold nearly all (a tournament, or a
    pool of texts that are judged again and again), that group's texts themselves are drawn, and every judgement about a
    drawn text is held out: no drawn text is ever trained on, but what it was compared with may be. A share then also
    ends the drawing when that share of the judgements is held out.
    Raises UsageError for a share or number that cannot be, and DataError where one side would be empty.
    """
    groups, are_parted = _groups_to_draw(judgements)
    order = _order(groups, seed)
    most = held_out * len(judgements) if are_parted and isinstance(held_out, float) else None
    train, measured = _sides(
        judgements, groups, _first(order, _count(held_out, len(order)), groups, most)
    )
    if not (train and measured):
        raise DataError(
            f"{len(order)} different texts or prompts and {held_out:g} of them held out: one side would be empty. "
            f"Add judgements or change held_out."
        )
    return train, measured


def split_for_a_fit(
    judgements: Sequence[Judgement], *, most: int, seed: int = 0
) -> tuple[list[Judgement], list[Judgement]]:
    """Return (train, held out) as `split` does: at most so many groups held out, and no more than a fifth of them.

    Where texts are drawn one by one, the drawing ends at about a tenth of the judgements. Raises DataError where one
    side would be empty.
    """
    groups, are_parted = _groups_to_draw(judgements)
    order = _order(groups, seed)
    count = max(1, min(most, len(order) // 5))
    limit = _SHARE_OF_A_FIT * len(judgements) if are_parted else None
    train, measured = _sides(judgements, groups, _first(order, count, groups, limit))
    if not (train and measured):
        raise DataError(
            f"{len(order)} different texts or prompts and {count} of them held out: one side would be empty. "
            f"Add judgements, or give held-out ones."
        )
    return train, measured


def overlap(train: NDArray[np.uint64], texts: Iterable[str]) -> NDArray[np.bool_]:
    """Return, for each of n texts, whether its fingerprint is among those of the training texts; bool [n]."""
    return np.isin(fingerprints(texts), train)


def _groups_to_draw(judgements: Sequence[Judgement]) -> tuple[list[set[int]], bool]:
    """Return for each judgement the groups it belongs to, its texts' own where its group is parted, and if any is."""
    names = _groups(judgements)
    apart = _to_be_parted(judgements, names)
    return [
        {fingerprint(text) for text in j.texts} if name in apart else {name}
        for j, name in zip(judgements, names, strict=True)
    ], bool(apart)


def _order(groups: Sequence[set[int]], seed: int) -> list[int]:
    """Return all groups in the order in which the seed draws them."""
    return sorted(set().union(*groups), key=lambda group: lot(seed, "split", str(group)))


def _first(
    order: Sequence[int], count: int, groups: Sequence[set[int]], most: float | None
) -> set[int]:
    """Return the first groups of the order, so many, or fewer once `most` judgements belong to them."""
    if most is None:
        return set(order[:count])
    belonging: dict[int, list[int]] = {}
    for number, found in enumerate(groups):
        for group in found:
            belonging.setdefault(group, []).append(number)
    chosen, held = set[int](), set[int]()
    for group in order[:count]:
        if len(held) >= most:
            break
        chosen.add(group)
        held.update(belonging[group])
    return chosen


def _sides(
    judgements: Sequence[Judgement], groups: Sequence[set[int]], chosen: set[int]
) -> tuple[list[Judgement], list[Judgement]]:
    """Return the judgements that belong to no chosen group, and those that belong to one."""
    train = [j for j, found in zip(judgements, groups, strict=True) if not found & chosen]
    measured = [j for j, found in zip(judgements, groups, strict=True) if found & chosen]
    return train, measured


def _to_be_parted(judgements: Sequence[Judgement], groups: Sequence[int]) -> set[int]:
    """Return the groups that comparisons or rankings have made too large to stay on one side."""
    compared = {
        group
        for judgement, group in zip(judgements, groups, strict=True)
        if len(judgement.texts) > 1
    }
    prompted = {
        group
        for judgement, group in zip(judgements, groups, strict=True)
        if judgement.prompt is not None
    }
    most = _LARGEST_GROUP * len(judgements)
    without_prompt = min(most, max(_SMALL, _LARGEST_WITHOUT_PROMPT * len(judgements)))
    sizes = Counter(groups)
    return {
        group
        for group in compared
        if sizes[group] > (most if group in prompted else without_prompt)
    }


def _count(held_out: float, groups: int) -> int:
    if (
        isinstance(held_out, bool)
        or held_out < 0
        or (isinstance(held_out, float) and not 0 < held_out < 1)
    ):
        raise UsageError(
            f"held_out {held_out}: give a share between 0 and 1, or a whole number of texts or prompts."
        )
    return held_out if isinstance(held_out, int) else round(held_out * groups)


def _groups(judgements: Sequence[Judgement]) -> list[int]:
    """Return the group of every judgement, named by the smallest fingerprint in it: no row order in the name.

    Texts and prompts are the nodes, every judgement an edge between all of its own, and a group is a connected
    component: a text under two prompts makes one group of both.
    """
    names: dict[str, int] = {}
    parent: dict[int, int] = {}

    def node(key: str, fingerprinted: str) -> int:
        if key not in names:
            names[key] = fingerprint(fingerprinted)
            parent.setdefault(names[key], names[key])
        return names[key]

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    def nodes(judgement: Judgement) -> Iterator[int]:
        for text in judgement.texts:
            yield node(text, text)
        if judgement.prompt is not None:
            key = "prompt\0" + plain(judgement.prompt)
            yield node(key, key)

    first = []
    for judgement in judgements:
        start, *others = nodes(judgement)
        first.append(start)
        for other in others:
            low, high = sorted((root(start), root(other)))
            parent[high] = low
    return [root(at) for at in first]
