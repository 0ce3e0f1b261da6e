"""Split judgements by text and prompt, never by row: no held-out text is in the training set.

Neither is a near-copy of it, nor another conversation with the same beginning. Conversations with
the same first turn of the user are mostly one dialogue at several lengths. Two texts with the same
first 128 characters are one text and its continuation, or two ends of it.

Texts made from a template can all be near-copies of each other, and one greeting can begin every
conversation. So what would connect more than a tenth of the judgements is not related by it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.formats.pairs import ASSISTANT, HUMAN
from tastemaker.data.judgements import (
    Judgement,
    Prompt,
    fingerprint,
    fingerprints,
    lot,
    plain,
)
from tastemaker.data.source_names import told_apart
from tastemaker.errors import DataError, UsageError
from tastemaker.near_copies import Sketches, copy_groups, sketches

# A connected group with a larger share of the judgements is divided by its texts.
_LARGEST_GROUP = 0.5
# The same where texts alone connect it, such as a pool from which each comparison draws two.
_LARGEST_WITHOUT_PROMPT = 0.1
_SMALL = 20  # judgements: so few stay together, up to the half
_SHARE_OF_A_FIT = 0.1

_MOST_RELATED = 0.1  # share of the judgements
_FEW_RELATED = 4  # judgements; so few may always belong together
_BEGINNING = 128  # characters


# --- near-copies and shared beginnings ---


@dataclass(frozen=True, eq=False)
class Related:
    """The relatives among the texts and prompts of judgements.

    names: by the fingerprint of a text or of a `prompt_key`, the smallest fingerprint of its group.
    A text or prompt without relatives is not a key.
    near_copies, beginnings: how many texts and prompts were joined to a group as near-copies, and
    how many by a shared beginning. common: how many were not joined because `most_related`
    was exceeded.
    """

    names: Mapping[int, int] = field(default_factory=dict)
    near_copies: int = 0
    beginnings: int = 0
    common: int = 0
    texts: Sequence[str] = field(default=(), repr=False)
    sketches: Sketches = field(
        default_factory=lambda: sketches([]), repr=False
    )

    def name(self, fingerprint: int) -> int:
        """Return the name of the group of a text or prompt, by its fingerprint."""
        return self.names.get(fingerprint, fingerprint)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.texts)}

    def sketches_of(self, texts: Iterable[str]) -> Sketches:
        """Return the sketches of some of the texts, each once, in the order of all texts."""
        rows = {self._rows[text.strip()] for text in texts}
        return self.sketches[sorted(rows)]

    def __str__(self) -> str:
        """Return a line such as "12 near-copies kept on one side"; "" for no relatives."""
        return relatives_line(self.near_copies, self.beginnings)


def relatives_line(near_copies: int, beginnings: int) -> str:
    """Return a line such as "12 near-copies kept on one side"; "" if both are 0."""
    parts = []
    if near_copies:
        parts.append(f"{near_copies:,} near-copies")
    if beginnings:
        parts.append(
            f"{beginnings:,} texts or prompts with a shared beginning"
        )
    return f"{' and '.join(parts)} kept on one side" if parts else ""


def prompt_key(prompt: Prompt) -> str:
    """Return the name under which a prompt stands beside texts, equal for equal prompts."""
    return "prompt\0" + plain(prompt)


def first_turn(prompt: Prompt) -> str:
    """Return the first turn of the user; "" for a prompt that is no conversation."""
    if isinstance(prompt, str):
        before, human, after = ("\n\n" + prompt.lstrip()).partition(HUMAN)
        if before or not human:
            return ""
        return after.partition(ASSISTANT)[0].strip()
    for turn in prompt:
        if turn.role == "user":
            return turn.content.strip()
    return ""


def beginning(text: str) -> str:
    """Return the first 128 characters; "" for a shorter text."""
    text = text.strip()
    return text[:_BEGINNING] if len(text) >= _BEGINNING else ""


def without_system_turns(prompt: Prompt) -> str:
    """Return a prompt as text, without the turns before the first turn of the user."""
    if isinstance(prompt, str):
        return prompt
    roles = [turn.role for turn in prompt]
    start = roles.index("user") if "user" in roles else 0
    return plain(prompt[start:])


def most_related(judgements: int) -> float:
    """Return how many of the judgements relatives may connect."""
    return max(_FEW_RELATED, _MOST_RELATED * judgements)


def related(judgements: Sequence[Judgement]) -> Related:
    """Return which texts and prompts of the judgements are related."""
    nodes = _Nodes(judgements)
    limit = most_related(len(judgements))
    text_prints = sorted(nodes.texts)
    texts = [nodes.texts[one] for one in text_prints]
    text_sketches = sketches(texts)
    prompt_prints = sorted(nodes.prompts)
    prompts = [nodes.prompts[one] for one in prompt_prints]
    prompt_sketches = sketches(
        [without_system_turns(prompt) for prompt in prompts]
    )

    copies = []
    for prints, of_kind in (
        (text_prints, text_sketches),
        (prompt_prints, prompt_sketches),
    ):
        for numbers in copy_groups(of_kind):
            copies.append([prints[number] for number in numbers])
    beginnings: dict[tuple[str, str], list[int]] = {}
    for one, text in zip(text_prints, texts, strict=True):
        beginnings.setdefault(("text", beginning(text)), []).append(one)
    for one, prompt in zip(prompt_prints, prompts, strict=True):
        turn = first_turn(prompt)
        key = ("turn", turn) if turn else ("prompt", beginning(plain(prompt)))
        beginnings.setdefault(key, []).append(one)
    shared = [
        prints
        for key, prints in beginnings.items()
        if key[1] and len(prints) > 1
    ]

    union = Union()
    common = 0
    joined = []
    for groups in (copies, shared):
        before = union.merges
        for group in groups:
            if nodes.judged(group) <= limit:
                union.join(group)
            else:
                common += len(group) - 1
        joined.append(union.merges - before)
    return Related(
        union.names(), joined[0], joined[1], common, texts, text_sketches
    )


class _Nodes:
    """The texts and prompts of judgements, by fingerprint."""

    def __init__(self, judgements: Sequence[Judgement]) -> None:
        self.texts: dict[int, str] = {}
        self.prompts: dict[int, Prompt] = {}
        self.rows: dict[int, list[int]] = {}
        prints: dict[str, int] = {}
        for row, judgement in enumerate(judgements):
            for text in judgement.texts:
                if text not in prints:
                    prints[text] = fingerprint(text)
                    self.texts[prints[text]] = text.strip()
                self.rows.setdefault(prints[text], []).append(row)
            if judgement.prompt is not None:
                key = prompt_key(judgement.prompt)
                if key not in prints:
                    prints[key] = fingerprint(key)
                    self.prompts[prints[key]] = judgement.prompt
                self.rows.setdefault(prints[key], []).append(row)

    def judged(self, group: Sequence[int]) -> int:
        """Return how many judgements are about some texts or prompts."""
        rows = set[int]()
        for one in group:
            rows.update(self.rows[one])
        return len(rows)


class Union:
    """Groups of fingerprints, each named by its smallest one. merges: how many were joined."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}
        self.merges = 0

    def root(self, at: int) -> int:
        """Return the name of a fingerprint's group."""
        while self.parent.setdefault(at, at) != at:
            self.parent[at] = at = self.parent[self.parent[at]]
        return at

    def join(self, group: Sequence[int]) -> None:
        """Make one group of some fingerprints and all of their groups."""
        for other in group[1:]:
            low, high = sorted((self.root(group[0]), self.root(other)))
            if low != high:
                self.parent[high] = low
                self.merges += 1

    def names(self) -> dict[int, int]:
        """Return the name of the group of each fingerprint."""
        return {one: self.root(one) for one in self.parent}


# --- the split ---


def split(
    judgements: Sequence[Judgement],
    *,
    held_out: float = 0.1,
    seed: int = 0,
    relatives: Related | None = None,
) -> tuple[list[Judgement], list[Judgement]]:
    """Return (train, held out), each in the order given.

    Judgements that share a text or a prompt are one group and stay on one side. So are those of
    near-copies and of conversations with the same beginning, unless that would make a group larger
    by a tenth of the judgements. Which groups are held out is drawn by the seed, whatever the order
    of the rows.

    held_out: the share of the groups, between 0 and 1, or how many of them (an int).
    relatives: the near-copies and shared beginnings among the judgements; None: they are searched
    for. `Related()` stands for none.

    Comparisons and rankings may connect so many judgements that one side would hold nearly all of
    them (a tournament, or a pool of texts that are judged again and again). Then the texts of that
    group are drawn one by one, and each judgement about a drawn text is held out. No drawn text is
    in the training set, but texts that it was compared with may be. A share then also ends the
    drawing once that share of the judgements is held out.

    Raises UsageError for an invalid share or number, and DataError for an empty side.
    """
    (judgements,) = told_apart(judgements)
    groups, has_divided = _groups_to_draw(judgements, relatives)
    order = _order(groups, seed)
    count = _count(held_out, len(order))
    limits_judgements = has_divided and isinstance(held_out, float)
    most = held_out * len(judgements) if limits_judgements else None
    return _sides(
        judgements,
        groups,
        _first(order, count, groups, most),
        len(order),
        held_out,
    )


def split_for_a_fit(
    judgements: Sequence[Judgement],
    *,
    most: int,
    seed: int = 0,
    relatives: Related | None = None,
) -> tuple[list[Judgement], list[Judgement]]:
    """Return (train, held out) as `split` does, with at most `most` groups held out.

    No more than a fifth of the groups is held out. Where texts are drawn one by one, the drawing
    ends at about a tenth of the judgements. Raises DataError for an empty side.
    """
    groups, has_divided = _groups_to_draw(judgements, relatives)
    order = _order(groups, seed)
    count = max(1, min(most, len(order) // 5))
    limit = _SHARE_OF_A_FIT * len(judgements) if has_divided else None
    return _sides(
        judgements,
        groups,
        _first(order, count, groups, limit),
        len(order),
        count,
    )


def overlap(
    train: NDArray[np.uint64], texts: Iterable[str]
) -> NDArray[np.bool_]:
    """Return for each text whether its fingerprint is among the training texts; bool [n]."""
    return np.isin(fingerprints(texts), train)


def _groups_to_draw(
    judgements: Sequence[Judgement], relatives: Related | None
) -> tuple[list[set[int]], bool]:
    """Return the groups of each judgement, and whether a connected group was divided.

    The groups of a judgement are the one it is connected with, or its texts where that is divided.
    """
    if relatives is None:
        relatives = related(judgements)
    names = _groups(judgements, relatives)
    divided = _groups_to_divide(judgements, names)
    groups = []
    for judgement, name in zip(judgements, names, strict=True):
        if name in divided:
            groups.append(
                {relatives.name(fingerprint(text)) for text in judgement.texts}
            )
        else:
            groups.append({name})
    return groups, bool(divided)


def _order(groups: Sequence[set[int]], seed: int) -> list[int]:
    """Return all groups in the order in which the seed draws them."""
    return sorted(
        set().union(*groups), key=lambda group: lot(seed, "split", str(group))
    )


def _first(
    order: Sequence[int],
    count: int,
    groups: Sequence[set[int]],
    most: float | None,
) -> set[int]:
    """Return the first `count` groups; fewer once `most` judgements belong to them."""
    if most is None:
        return set(order[:count])
    members: dict[int, list[int]] = {}
    for number, of_judgement in enumerate(groups):
        for group in of_judgement:
            members.setdefault(group, []).append(number)
    chosen, held_out = set[int](), set[int]()
    for group in order[:count]:
        if len(held_out) >= most:
            break
        chosen.add(group)
        held_out.update(members[group])
    return chosen


def _sides(
    judgements: Sequence[Judgement],
    groups: Sequence[set[int]],
    chosen: set[int],
    group_count: int,
    requested: float,
) -> tuple[list[Judgement], list[Judgement]]:
    """Return (judgements of no chosen group, those of one). Raises DataError for an empty side."""
    train: list[Judgement] = []
    held_out: list[Judgement] = []
    for judgement, of_judgement in zip(judgements, groups, strict=True):
        side = held_out if of_judgement & chosen else train
        side.append(judgement)
    if not train or not held_out:
        raise DataError(
            f"{group_count} different texts or prompts and {requested:g} of them held out: "
            "one side would be empty. Add judgements or change how many are held out."
        )
    return train, held_out


def _groups_to_divide(
    judgements: Sequence[Judgement], groups: Sequence[int]
) -> set[int]:
    """Return the groups that comparisons or rankings have made too large for one side."""
    compared, prompted = set[int](), set[int]()
    for judgement, group in zip(judgements, groups, strict=True):
        if len(judgement.texts) > 1:
            compared.add(group)
        if judgement.prompt is not None:
            prompted.add(group)
    most = _LARGEST_GROUP * len(judgements)
    most_without_prompt = min(
        most, max(_SMALL, _LARGEST_WITHOUT_PROMPT * len(judgements))
    )
    too_large = set()
    for group, size in Counter(groups).items():
        limit = most if group in prompted else most_without_prompt
        if group in compared and size > limit:
            too_large.add(group)
    return too_large


def _count(held_out: float, groups: int) -> int:
    is_bad_share = isinstance(held_out, float) and not 0 < held_out < 1
    if isinstance(held_out, bool) or held_out < 0 or is_bad_share:
        raise UsageError(
            f"held_out {held_out}: give a share between 0 and 1, "
            "or a whole number of texts or prompts."
        )
    return held_out if isinstance(held_out, int) else round(held_out * groups)


def _groups(judgements: Sequence[Judgement], relatives: Related) -> list[int]:
    """Return the connected group of each judgement, named by the smallest fingerprint in it.

    Texts and prompts are nodes, and each judgement connects all of its own: so a text under two
    prompts makes one group of both. Relatives connect too, where their group does not get too
    large: a group of texts that are alike by a template is no reason to hold out half of the data.
    """
    prints: dict[str, int] = {}
    nodes = []
    for judgement in judgements:
        keys = list(judgement.texts)
        if judgement.prompt is not None:
            keys.append(prompt_key(judgement.prompt))
        for key in keys:
            if key not in prints:
                prints[key] = fingerprint(key)
        nodes.append([prints[key] for key in keys])
    equal = Union()
    for of_judgement in nodes:
        equal.join(of_judgement)
    names = [equal.root(of_judgement[0]) for of_judgement in nodes]
    if not relatives.names:
        return names
    connected = Union()
    for name, of_judgement in zip(names, nodes, strict=True):
        for one in of_judgement:
            if one in relatives.names:
                connected.join([name, relatives.names[one]])
    wider = [connected.root(name) for name in names]
    return _unless_too_large(names, wider)


def _unless_too_large(names: Sequence[int], wider: Sequence[int]) -> list[int]:
    """Return the wider group of each judgement, or its own where the wider one is too large."""
    largest: dict[int, int] = {}
    sizes = Counter(names)
    for name, wide in zip(names, wider, strict=True):
        largest[wide] = max(largest.get(wide, 0), sizes[name])
    wide_sizes = Counter(wider)
    most = most_related(len(names))
    chosen = []
    for name, wide in zip(names, wider, strict=True):
        is_too_large = wide_sizes[wide] - largest[wide] > most
        chosen.append(name if is_too_large else wide)
    return chosen
