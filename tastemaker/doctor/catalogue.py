"""Judgements as tables of numbers: who said what of which texts.

Texts, prompts and judges are numbered in an order that is their own (fingerprints, names), not that of the rows, so
that shuffled rows have the same figures. Texts that differ only in white space around them are one text.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Judgement, fingerprint, plain

Ints = NDArray[np.intp]

NOBODY = -1
"""The number of a prompt or a judge that is not named."""

_SHOWN_PLACES = 10
_FULL_RANKING = (
    20  # texts; of a longer ranking, only pairs at most so many places apart are looked at
)


@dataclass(frozen=True)
class Verdicts:
    """What was said, one verdict a row [n].

    row: the judgement. prompt: its prompt's number. first, second: the text or the pair judged (second −1: one text),
    first < second. judge: who. value: the label 0 or 1, the grade, the rating; of pairs 1 where `first` was found
    better, −1 where `second` was, 0 for a tie. unit: a number for what was judged, equal for equal prompt and texts.
    """

    row: Ints
    prompt: Ints
    first: Ints
    second: Ints
    judge: Ints
    value: NDArray[np.float64]

    @cached_property
    def unit(self) -> Ints:
        """Number what was judged."""
        return numbered(self.prompt, self.first, self.second)

    @property
    def is_of_pairs(self) -> bool:
        """Whether pairs were judged, not single texts."""
        return bool((self.second >= 0).all())

    def __len__(self) -> int:
        return len(self.row)


def joined(parts: Sequence[Verdicts]) -> Verdicts:
    """Return several tables as one."""
    names = ("row", "prompt", "first", "second", "judge", "value")
    return Verdicts(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def numbered(*columns: Ints) -> Ints:
    """Return a number for every row [n] of the columns: equal for equal rows, in sorted order from 0."""
    order = np.lexsort(columns[::-1])
    is_new = np.zeros(len(order), dtype=bool)
    for column in columns:
        is_new[1:] |= column[order][1:] != column[order][:-1]
    number = np.empty(len(order), dtype=np.intp)
    number[order] = np.cumsum(is_new)
    return number


@dataclass(frozen=True)
class Catalogue:
    """n judgements and their T texts, P prompts and J judges by number.

    texts: the T texts, each as first met. of: the texts of each judgement, in the order of `Judgement.texts`.
    prompt, judge: of each judgement [n], −1 for none. prompts, judges: what the numbers stand for.
    """

    judgements: Sequence[Judgement]
    texts: list[str]
    prompts: list[str]
    judges: list[str]
    of: list[tuple[int, ...]]
    prompt: Ints
    judge: Ints

    @cached_property
    def lengths(self) -> Ints:
        """Characters of each text [T], white space around it left out."""
        return np.array([len(text.strip()) for text in self.texts], dtype=np.intp)

    @cached_property
    def kinds(self) -> dict[str, int]:
        """How many judgements there are of each kind."""
        return dict(sorted(Counter(judgement.kind for judgement in self.judgements).items()))

    @cached_property
    def items(self) -> dict[tuple[int, int], int]:
        """Every (prompt, text) that was judged → the first judgement about it."""
        found: dict[tuple[int, int], int] = {}
        for row, (prompt, texts) in enumerate(zip(self.prompt.tolist(), self.of, strict=True)):
            for text in texts:
                found.setdefault((prompt, text), row)
        return found

    @cached_property
    def verdicts(self) -> dict[str, Verdicts]:
        """What was said, by kind; rankings as all their pairs (long ones: near pairs), without pairs of one text."""
        rows: dict[str, list[int]] = {}
        for row, judgement in enumerate(self.judgements):
            rows.setdefault(judgement.kind, []).append(row)
        return {kind: self._verdicts(np.array(rows[kind], dtype=np.intp)) for kind in sorted(rows)}

    @cached_property
    def pairs(self) -> Verdicts | None:
        """The verdicts on pairs, of all kinds that compare texts."""
        tables = [table for kind, table in self.verdicts.items() if self.example_of[kind].ranks]
        return joined(tables) if tables else None

    @cached_property
    def example_of(self) -> dict[str, Judgement]:
        """A judgement of each kind: it knows what is true of its kind."""
        return {judgement.kind: judgement for judgement in self.judgements}

    def place(self, row: int) -> str:
        """Return where a judgement stands."""
        return self.judgements[row].where or f"judgement {row + 1}"

    def places(self, rows: Iterable[int]) -> list[str]:
        """Return the first few places of judgements, each once, in their order."""
        places: dict[str, None] = {}
        for row in sorted(rows):
            places[self.place(row)] = None
            if len(places) == _SHOWN_PLACES:
                break
        return list(places)

    def _verdicts(self, rows: Ints) -> Verdicts:
        if self.judgements[rows[0]].ranks:
            return self._pairs(rows)
        value = np.array([self.judgements[row].value for row in rows])
        text = np.array([self.of[row][0] for row in rows], dtype=np.intp)
        return Verdicts(
            rows, self.prompt[rows], text, np.full(len(rows), -1), self.judge[rows], value
        )

    def _pairs(self, rows: Ints) -> Verdicts:
        """Return the verdicts on pairs: each pair of a judgement whose order is known."""
        better, worse, tied, repeats = [], [], [], []
        for row in rows.tolist():
            upper, lower, is_tie = _pairs_of(
                self.judgements[row], np.array(self.of[row], dtype=np.intp)
            )
            better.append(upper)
            worse.append(lower)
            tied.append(is_tie)
            repeats.append(len(upper))
        upper, lower, is_tie = np.concatenate(better), np.concatenate(worse), np.concatenate(tied)
        row = np.repeat(rows, repeats)
        value = np.where(is_tie, 0.0, np.where(upper < lower, 1.0, -1.0))
        first, second = np.minimum(upper, lower), np.maximum(upper, lower)
        held = first != second
        row = row[held]
        return Verdicts(
            row, self.prompt[row], first[held], second[held], self.judge[row], value[held]
        )


def _pairs_of(judgement: Judgement, texts: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return the pairs of texts that a judgement puts in order: better, worse, and whether they tie.

    `texts` stand in the order of their ranks or in any other.
    """
    rank = np.array(judgement.ranks)
    order = np.argsort(rank, kind="stable")
    texts, rank = texts[order], rank[order]
    upper, lower = _near_pairs(len(texts))
    is_tie = rank[upper] == rank[lower]
    is_known = ~is_tie | (rank[upper] != judgement.unordered_rank)
    return texts[upper[is_known]], texts[lower[is_known]], is_tie[is_known]


@cache
def _near_pairs(k: int) -> tuple[Ints, Ints]:
    upper, lower = np.triu_indices(k, 1)
    near = lower - upper <= _FULL_RANKING
    return upper[near], lower[near]


def catalogue_of(judgements: Sequence[Judgement]) -> Catalogue:
    """Return the judgements with their texts, prompts and judges numbered."""
    texts, prompts = _Names(), _Names()
    of = [tuple(texts.name(text) for text in judgement.texts) for judgement in judgements]
    prompt = [NOBODY if j.prompt is None else prompts.name(plain(j.prompt)) for j in judgements]
    text_number, prompt_number = texts.numbers(), prompts.numbers()
    judges = sorted({j.judge for j in judgements if j.judge is not None})
    judge_number: dict[str | None, int] = {name: number for number, name in enumerate(judges)}
    return Catalogue(
        judgements,
        [texts.spelled[name] for name in text_number],
        [prompts.spelled[name] for name in prompt_number],
        judges,
        [tuple(text_number[name] for name in names) for names in of],
        np.array([prompt_number.get(name, NOBODY) for name in prompt], dtype=np.intp),
        np.array([judge_number.get(j.judge, NOBODY) for j in judgements], dtype=np.intp),
    )


class _Names:
    """Fingerprints of texts, each worked out once."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.spelled: dict[int, str] = {}

    def name(self, text: str) -> int:
        """Return a text's fingerprint."""
        if text not in self.known:
            self.known[text] = fingerprint(text)
            self.spelled.setdefault(self.known[text], text)
        return self.known[text]

    def numbers(self) -> dict[int, int]:
        """Return fingerprint → number, in the order of the fingerprints."""
        return {name: number for number, name in enumerate(sorted(self.spelled))}
