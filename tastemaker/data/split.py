"""Held-out by text and prompt, never by row: what the model is tested on, it has not seen in any form."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.fingerprints import fingerprint, fingerprints, lot
from tastemaker.data.judgements import Judgement
from tastemaker.errors import DataError, UsageError


def split(
    judgements: Sequence[Judgement], *, held_out: float = 0.1, seed: int = 0
) -> tuple[list[Judgement], list[Judgement]]:
    """Return (train, held out), each in the order given.

    Judgements that share a text, or a prompt, are one group and stay on one side. held_out: the share of the groups,
    between 0 and 1, or how many of them (an int). Which ones is drawn by the seed, whatever the order of the rows.
    Raises UsageError for a share or number that cannot be, and DataError where one side would be empty.
    """
    groups = _groups(judgements)
    drawn = sorted(set(groups), key=lambda group: lot(seed, "split", str(group)))
    count = _count(held_out, len(drawn))
    if not 0 < count < len(drawn):
        raise DataError(
            f"{len(drawn)} different texts or prompts and {held_out:g} of them held out: one side would be empty. "
            f"Add judgements or change held_out."
        )
    chosen = set(drawn[:count])
    train = [j for j, group in zip(judgements, groups, strict=True) if group not in chosen]
    return train, [j for j, group in zip(judgements, groups, strict=True) if group in chosen]


def overlap(train: NDArray[np.uint64], texts: Iterable[str]) -> NDArray[np.bool_]:
    """Return, for each of n texts, whether its fingerprint is among those of the training texts; bool [n]."""
    return np.isin(fingerprints(texts), train)


def _count(held_out: float, groups: int) -> int:
    if isinstance(held_out, bool) or held_out < 0 or (isinstance(held_out, float) and not 0 < held_out < 1):
        raise UsageError(f"held_out {held_out}: give a share between 0 and 1, or a whole number of texts or prompts.")
    return held_out if isinstance(held_out, int) else round(held_out * groups)


def _groups(judgements: Sequence[Judgement]) -> list[int]:
    """Return the group of every judgement, named by the smallest fingerprint in it: no row order in the name.

    Texts and prompts are the nodes, every judgement with a prompt an edge between its two, and a group is a connected
    component: a text under two prompts makes one group of both.
    """
    names: dict[str, int] = {}
    parent: dict[int, int] = {}

    def node(kind: str, text: str) -> int:
        key = kind + text
        if key not in names:
            names[key] = fingerprint(key if kind else text)
            parent.setdefault(names[key], names[key])
        return names[key]

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    nodes = [node("", j.text) for j in judgements]
    for at, judgement in zip(nodes, judgements, strict=True):
        if judgement.prompt is not None:
            low, high = sorted((root(at), root(node("prompt\0", judgement.prompt))))
            parent[high] = low
    return [root(at) for at in nodes]
