"""The catalogue: judgements as tables of numbers, which all checks read; and what they yield.

Texts, prompts and judges are numbered in the order of their fingerprints or names, not of the
rows, so that shuffled rows have the same figures. Texts that differ only in white space around
them are one text.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tastemaker import readable
from tastemaker.data.judgements import Judgement, fingerprint, plain

Severity = Literal["error", "warning", "note"]
"""error: spoils a fit or its evaluation. warning: look at it before training. note: information."""

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a data set.

    name: a short fixed name for programs. what: the problem in one sentence.
    count: of the rows, texts, pairs or judges that `what` names.
    where: the first few places (`file:row`). advice: what to try.
    examples: a few texts or messages, one a line.
    """

    name: str
    what: str
    count: int
    severity: Severity
    advice: str
    where: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the problem for JSON."""
        return asdict(self)


def ranked(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems, worst first: by severity, then by count."""

    def key(problem: Problem) -> tuple[int, int, str]:
        return (
            _SEVERITIES.index(problem.severity),
            -problem.count,
            problem.name,
        )

    return sorted(problems, key=key)


def excerpt(text: str) -> str:
    """Return the beginning of a text as one line that is safe in a terminal."""
    return readable.excerpt(
        text, _SHOWN_CHARACTERS, replaced=readable.INVISIBLE
    )


Ints = NDArray[np.intp]

NOBODY = -1
"""The number of a missing prompt or judge."""

_SHOWN_PLACES = 10
# pairs of a ranking that are further apart are not looked at
_NEAR = 20


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on texts or pairs, one a row [n].

    row: the judgement. prompt: its prompt. judge: its judge.
    first, second: the text, or the pair with first < second; second is −1 for one text.
    value: the label 0 or 1, the grade, the rating; for pairs 1 if `first` is better, −1 if
    `second` is, 0 for a tie.
    """

    row: Ints
    prompt: Ints
    first: Ints
    second: Ints
    judge: Ints
    value: NDArray[np.float64]

    @cached_property
    def unit(self) -> Ints:
        """A number for each verdict [n], equal for equal prompt and texts."""
        return numbered(self.prompt, self.first, self.second)

    @property
    def is_of_pairs(self) -> bool:
        """Whether the verdicts are on pairs, not on single texts."""
        return bool((self.second >= 0).all())

    def __len__(self) -> int:
        return len(self.row)


def joined(parts: Sequence[Verdicts]) -> Verdicts:
    """Return several tables as one."""
    columns = []
    for name in ("row", "prompt", "first", "second", "judge", "value"):
        values = [getattr(part, name) for part in parts]
        columns.append(np.concatenate(values))
    return Verdicts(*columns)


def numbered(*columns: Ints) -> Ints:
    """Return a number for every row [n] of the columns: equal for equal rows, sorted, from 0."""
    order = np.lexsort(columns[::-1])
    is_new = np.zeros(len(order), dtype=bool)
    for column in columns:
        in_order = column[order]
        is_new[1:] |= in_order[1:] != in_order[:-1]
    number = np.empty(len(order), dtype=np.intp)
    number[order] = np.cumsum(is_new)
    return number


@dataclass(frozen=True)
class Catalogue:
    """n judgements with the numbers of their T texts, P prompts and J judges.

    texts, prompts, judges: by number. Of equal texts, the first one is listed.
    texts_of: the texts of each judgement, in the order of `Judgement.texts`.
    prompt, judge: the numbers of each judgement's prompt and judge [n], −1 for none.
    """

    judgements: Sequence[Judgement]
    texts: list[str]
    prompts: list[str]
    judges: list[str]
    texts_of: list[tuple[int, ...]]
    prompt: Ints
    judge: Ints

    @cached_property
    def lengths(self) -> Ints:
        """The characters of each text [T], without white space around it."""
        return np.array(
            [len(text.strip()) for text in self.texts], dtype=np.intp
        )

    @cached_property
    def kinds(self) -> dict[str, int]:
        """The number of judgements of each kind."""
        counts = Counter(judgement.kind for judgement in self.judgements)
        return dict(sorted(counts.items()))

    @cached_property
    def items(self) -> dict[tuple[int, int], int]:
        """By (prompt, text), the first judgement about it."""
        first: dict[tuple[int, int], int] = {}
        prompts = self.prompt.tolist()
        for row, texts in enumerate(self.texts_of):
            for text in texts:
                first.setdefault((prompts[row], text), row)
        return first

    @cached_property
    def verdicts(self) -> dict[str, Verdicts]:
        """The verdicts by kind. A ranking gives all its pairs of different texts.

        Of a long ranking, only the pairs near each other count.
        """
        rows: dict[str, list[int]] = {}
        for row, judgement in enumerate(self.judgements):
            rows.setdefault(judgement.kind, []).append(row)
        tables = {}
        for kind in sorted(rows):
            tables[kind] = self._verdicts(np.array(rows[kind], dtype=np.intp))
        return tables

    @cached_property
    def pairs(self) -> Verdicts | None:
        """The verdicts on pairs, of all kinds that compare texts."""
        tables = []
        for kind, table in self.verdicts.items():
            if self.example_of[kind].ranks:
                tables.append(table)
        return joined(tables) if tables else None

    @cached_property
    def example_of(self) -> dict[str, Judgement]:
        """A judgement of each kind, to read the properties of the kind from."""
        return {judgement.kind: judgement for judgement in self.judgements}

    def place(self, row: int) -> str:
        """Return the place of a judgement in its file."""
        return self.judgements[row].where or f"judgement {row + 1}"

    def places(self, rows: Iterable[int]) -> list[str]:
        """Return the first few places of judgements, each once, in order."""
        places: dict[str, None] = {}
        for row in sorted(rows):
            places[self.place(row)] = None
            if len(places) == _SHOWN_PLACES:
                break
        return list(places)

    def _verdicts(self, rows: Ints) -> Verdicts:
        """Return the verdicts of some judgements, all of one kind."""
        if self.judgements[rows[0]].ranks:
            return self._pairs(rows)
        values, texts = [], []
        for row in rows.tolist():
            values.append(self.judgements[row].value)
            texts.append(self.texts_of[row][0])
        return Verdicts(
            rows,
            self.prompt[rows],
            first=np.array(texts, dtype=np.intp),
            second=np.full(len(rows), -1),
            judge=self.judge[rows],
            value=np.array(values),
        )

    def _pairs(self, rows: Ints) -> Verdicts:
        """Return the verdicts on pairs: each pair of a judgement whose order is known."""
        better, worse, tied = [], [], []
        for row in rows.tolist():
            texts = np.array(self.texts_of[row], dtype=np.intp)
            upper, lower, is_tie = _pairs_of(self.judgements[row], texts)
            better.append(upper)
            worse.append(lower)
            tied.append(is_tie)
        row = np.repeat(rows, [len(upper) for upper in better])
        upper, lower = np.concatenate(better), np.concatenate(worse)
        value = np.where(upper < lower, 1.0, -1.0)
        value[np.concatenate(tied)] = 0.0
        is_pair = upper != lower
        row, upper, lower = row[is_pair], upper[is_pair], lower[is_pair]
        return Verdicts(
            row,
            self.prompt[row],
            first=np.minimum(upper, lower),
            second=np.maximum(upper, lower),
            judge=self.judge[row],
            value=value[is_pair],
        )


def _pairs_of(
    judgement: Judgement, texts: Ints
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return the pairs that a judgement puts in order: better, worse, and whether they tie.

    `texts` stand in the order of their ranks or in any other.
    """
    rank = np.array(judgement.ranks)
    order = np.argsort(rank, kind="stable")
    texts, rank = texts[order], rank[order]
    upper, lower = _near_pairs(len(texts))
    is_tie = rank[upper] == rank[lower]
    has_order = ~is_tie | (rank[upper] != judgement.unordered_rank)
    return texts[upper[has_order]], texts[lower[has_order]], is_tie[has_order]


@cache
def _near_pairs(k: int) -> tuple[Ints, Ints]:
    upper, step = np.divmod(np.arange(k * _NEAR), _NEAR)
    lower = upper + step + 1
    is_pair = lower < k
    return upper[is_pair], lower[is_pair]


def catalogue_of(judgements: Sequence[Judgement]) -> Catalogue:
    """Return the judgements with their texts, prompts and judges numbered."""
    texts, prompts = _Names(), _Names()
    text_names: list[list[int]] = []
    prompt_names: list[int] = []
    for judgement in judgements:
        text_names.append([texts.name(text) for text in judgement.texts])
        prompt = judgement.prompt
        prompt_names.append(
            NOBODY if prompt is None else prompts.name(plain(prompt))
        )
    text_number = texts.numbers()
    prompt_number = prompts.numbers()
    judges = sorted({j.judge for j in judgements if j.judge is not None})
    judge_number: dict[str | None, int] = {None: NOBODY}
    for number, name in enumerate(judges):
        judge_number[name] = number
    texts_of = []
    for names in text_names:
        texts_of.append(tuple(text_number[name] for name in names))
    prompt_numbers = [prompt_number.get(name, NOBODY) for name in prompt_names]
    judge_numbers = [judge_number[judgement.judge] for judgement in judgements]
    return Catalogue(
        judgements,
        texts=texts.in_order(),
        prompts=prompts.in_order(),
        judges=judges,
        texts_of=texts_of,
        prompt=np.array(prompt_numbers, dtype=np.intp),
        judge=np.array(judge_numbers, dtype=np.intp),
    )


class _Names:
    """Fingerprints of texts, each computed once."""

    def __init__(self) -> None:
        self.prints: dict[str, int] = {}
        self.first: dict[int, str] = {}  # the first text with a fingerprint

    def name(self, text: str) -> int:
        """Return the fingerprint of a text."""
        if text not in self.prints:
            self.prints[text] = fingerprint(text)
            self.first.setdefault(self.prints[text], text)
        return self.prints[text]

    def numbers(self) -> dict[int, int]:
        """Return the number of each fingerprint, in sorted order."""
        return {name: number for number, name in enumerate(sorted(self.first))}

    def in_order(self) -> list[str]:
        """Return the texts in the order of their numbers."""
        return [self.first[name] for name in sorted(self.first)]
