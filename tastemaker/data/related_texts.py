"""Texts and prompts that belong on one side of a split though they are not equal.

Near-copies (`near_copies`) do, and so do shared beginnings. Conversations with the same first turn
of the user are mostly one dialogue at several lengths. Two texts with the same first 128 characters
are one text and its continuation, or two ends of it.

Texts made from a template can all be near-copies of each other, and one greeting can begin every
conversation. So what would connect more than a tenth of the judgements is not related by it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tastemaker.data.formats.pairs import ASSISTANT, HUMAN
from tastemaker.data.judgements import Judgement, Prompt, fingerprint, plain
from tastemaker.near_copies import Sketches, copy_groups, sketches

_LARGEST_GROUP = 0.1  # share of the judgements
_SMALL = 4  # judgements; so few may always belong together
_BEGINNING = 128  # characters


@dataclass(frozen=True, eq=False)
class Related:
    """The relatives among the texts and prompts of judgements.

    names: by the fingerprint of a text or of `prompt_key`, the name of its group: the smallest
    fingerprint in it. Those without a relative are not in it.
    near_copies, beginnings: how many texts and prompts have joined another one as its near-copy, or
    by a shared beginning. common: how many would have, but for the limit.
    """

    names: Mapping[int, int] = field(default_factory=dict)
    near_copies: int = 0
    beginnings: int = 0
    common: int = 0
    texts: Sequence[str] = field(default=(), repr=False)
    sketches: Sketches = field(default_factory=lambda: sketches([]), repr=False)

    def name(self, print: int) -> int:
        """Return the name of the group of a text or prompt, by its fingerprint."""
        return self.names.get(print, print)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.texts)}

    def sketches_of(self, texts: Iterable[str]) -> Sketches:
        """Return the sketches of some of the texts, each once, in the order of all texts."""
        rows = {self._rows[text.strip()] for text in texts}
        return self.sketches[sorted(rows)]

    def __str__(self) -> str:
        """Say in one line what is kept on one side; "" for nothing."""
        return in_words(self.near_copies, self.beginnings)


def in_words(near_copies: int, beginnings: int) -> str:
    """Say in one line what is on one side of a split; "" for nothing."""
    parts = []
    if near_copies:
        parts.append(f"{near_copies:,} near-copies")
    if beginnings:
        parts.append(f"{beginnings:,} texts or prompts with a shared beginning")
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


def own_words(prompt: Prompt) -> str:
    """Return what may be a near-copy of a prompt: a chat without what stands before the user."""
    if isinstance(prompt, str):
        return prompt
    roles = [turn.role for turn in prompt]
    start = roles.index("user") if "user" in roles else 0
    return plain(prompt[start:])


def most_related(judgements: int) -> float:
    """Return how many of so many judgements relatives may connect."""
    return max(_SMALL, _LARGEST_GROUP * judgements)


def related(judgements: Sequence[Judgement]) -> Related:
    """Return which texts and prompts of the judgements are related."""
    nodes = _Nodes(judgements)
    limit = most_related(len(judgements))
    text_prints = sorted(nodes.texts)
    texts = [nodes.texts[one] for one in text_prints]
    text_sketches = sketches(texts)
    prompt_prints = sorted(nodes.prompts)
    prompts = [nodes.prompts[one] for one in prompt_prints]
    prompt_sketches = sketches([own_words(prompt) for prompt in prompts])

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
        prints for key, prints in beginnings.items() if key[1] and len(prints) > 1
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
    return Related(union.names(), joined[0], joined[1], common, texts, text_sketches)


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
