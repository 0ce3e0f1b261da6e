"""Checks for repetition and contradiction.

Repetition: repeated judgements, copies of texts, identical pairs, leakage between splits.
Contradiction: opposite judgements by one judge or by several, and cycles of preferences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Judgement
from tastemaker.doctor.catalogue import (
    NOBODY,
    Catalogue,
    Ints,
    Problem,
    Severity,
    Verdicts,
    catalogue_of,
    excerpt,
    numbered,
)
from tastemaker.doctor.texts import folded

_SHOWN_TEXTS = 3
_SMALLEST_CYCLE = 3  # texts; a cycle of two is a contradiction

Bools = NDArray[np.bool_]


# --- repetition -------------------------------------------------------------------------------


def copies(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield the problems of repetition within the data."""
    yield from _repeated_judgements(catalogue)
    identical = []
    for row, judgement in enumerate(catalogue.judgements):
        forms = {folded(text) for text in judgement.texts}
        if len(forms) < len(judgement.texts):
            identical.append(row)
    if identical:
        examples = []
        for row in identical[:_SHOWN_TEXTS]:
            examples.append(excerpt(catalogue.judgements[row].texts[0]))
        yield Problem(
            "identical_pairs",
            "identical pairs: two texts of a judgement differ at most in white space and case",
            len(identical),
            "warning",
            "Remove them: there is nothing to choose between.",
            catalogue.places(identical),
            examples,
        )
    yield from _near_copies(catalogue, identical)


def _repeated_judgements(catalogue: Catalogue) -> Iterator[Problem]:
    keys: set[tuple[Any, ...]] = set()
    rows = []
    for row, judgement in enumerate(catalogue.judgements):
        numbers = int(catalogue.prompt[row]), int(catalogue.judge[row])
        key = (*numbers, *_verdict(judgement, catalogue.texts_of[row]))
        if key in keys:
            rows.append(row)
        keys.add(key)
    if rows:
        yield Problem(
            "duplicate_judgements",
            "duplicate judgements: same judge, same texts, same answer",
            len(rows),
            "warning",
            "Remove the repeats, or they count twice.",
            catalogue.places(rows),
        )


def _verdict(judgement: Judgement, texts: tuple[int, ...]) -> tuple[Any, ...]:
    """Return kind, texts and answer as a tuple that is equal where they are."""
    tiers: dict[int, set[int]] = {}
    for text, rank in zip(texts, judgement.ranks or (0,), strict=True):
        tiers.setdefault(rank, set()).add(text)
    in_order = []
    for rank in sorted(tiers):
        in_order.append((rank, frozenset(tiers[rank])))
    return (
        judgement.kind,
        tuple(in_order),
        judgement.unordered_rank,
        judgement.details,
    )


def _near_copies(
    catalogue: Catalogue, identical: list[int]
) -> Iterator[Problem]:
    """Yield texts that equal another text of the same prompt but for white space and case.

    identical: the rows of identical pairs, whose texts are left out.
    """
    prompts = [folded(prompt) for prompt in catalogue.prompts]
    texts = [folded(text) for text in catalogue.texts]
    reported = set()
    for row in identical:
        prompt_number = int(catalogue.prompt[row])
        for text in catalogue.texts_of[row]:
            reported.add((prompt_number, text))
    groups: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for prompt, text in catalogue.items:
        folded_prompt = prompts[prompt] if prompt >= 0 else ""
        key = (folded_prompt, texts[text])
        groups.setdefault(key, []).append((prompt, text))
    repeated = []
    for items in groups.values():
        if len(items) == 1:
            continue
        new = []
        for item in items:
            if item not in reported:
                row, text = catalogue.items[item], item[1]
                new.append((row, text))
        new.sort()
        is_reported = len(new) < len(items)
        # the first one is the original
        repeated += new if is_reported else new[1:]
    if repeated:
        examples = []
        for _, text in sorted(repeated)[:_SHOWN_TEXTS]:
            examples.append(excerpt(catalogue.texts[text]))
        yield Problem(
            "near_duplicate_texts",
            "duplicate texts: they equal another text but for white space and case",
            len(repeated),
            "warning",
            "Make them one text: a split could put one copy on each side.",
            catalogue.places(row for row, _ in repeated),
            examples,
        )


def leaks(
    catalogue: Catalogue, test: Sequence[Judgement]
) -> Iterator[Problem]:
    """Yield the texts and prompts of the test judgements that are in the catalogue too."""
    other = catalogue_of(test)
    shared = _shared(catalogue.texts, other.texts)
    if shared:
        leaked = set(shared)
        rows = [
            row
            for row, texts in enumerate(other.texts_of)
            if leaked & set(texts)
        ]
        yield Problem(
            "leaked_texts",
            "leakage between splits: texts of the test data are in the training data too",
            len(shared),
            "error",
            "Split by text and prompt (tastemaker.split), or remove these rows from the test data.",
            other.places(rows),
            [excerpt(other.texts[number]) for number in shared[:_SHOWN_TEXTS]],
        )
    shared = _shared(catalogue.prompts, other.prompts)
    if shared:
        yield Problem(
            "leaked_prompts",
            "leakage between splits: prompts of the test data are in the training data too",
            len(shared),
            "warning",
            "Split by prompt, not by pair (tastemaker.split). "
            "This is harmless if all texts share a few prompts.",
            other.places(
                np.flatnonzero(np.isin(other.prompt, shared)).tolist()
            ),
            [
                excerpt(other.prompts[number])
                for number in shared[:_SHOWN_TEXTS]
            ],
        )


def _shared(names: Sequence[str], others: Sequence[str]) -> list[int]:
    """Return the numbers of the others that are among the names, white space around aside."""
    stripped = {name.strip() for name in names}
    return [
        number
        for number, name in enumerate(others)
        if name.strip() in stripped
    ]


# --- contradiction ----------------------------------------------------------------------------

_OPPOSITE: tuple[tuple[str, str, Severity, str], ...] = (
    (
        "contradictions",
        "contradictions: texts or pairs that the same judge judged in opposite ways",
        "warning",
        "Ask the judge again, or keep the later judgement.",
    ),
    (
        "anonymous_contradictions",
        "contradictions: texts or pairs that anonymous judgements judge in opposite ways",
        "warning",
        "Name the judges, to tell disagreement from mistakes.",
    ),
    (
        "disagreements",
        "disagreement: texts or pairs that different judges judged in opposite ways",
        "note",
        "This is normal; see the agreement between judges.",
    ),
)
"""Opposite judgements by one judge, without a name, and by different judges."""


@dataclass
class _Tally:
    """How many texts or pairs have a problem, and the judgements about them."""

    units: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, table: Verdicts, group: Ints, is_problem: Bools) -> None:
        """Count the groups that have a verdict with the problem."""
        self.units += len(np.unique(group[is_problem]))
        self.rows += table.row[is_problem].tolist()


def contradictions(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield opposite judgements, by the same judge and by different ones."""
    tables = []
    for kind, table in catalogue.verdicts.items():
        if not catalogue.example_of[kind].ranks:
            tables.append(table)
    if catalogue.pairs is not None:
        tables.append(catalogue.pairs)
    tallies = named, anonymous, between = _Tally(), _Tally(), _Tally()
    for table in tables:
        if not len(table):
            continue
        group = numbered(table.unit, table.judge)
        is_opposite = _is_opposite(
            table.value, group, is_signed=table.is_of_pairs
        )
        named.add(table, group, is_opposite & (table.judge != NOBODY))
        anonymous.add(table, group, is_opposite & (table.judge == NOBODY))
        side = np.sign(table.value - _middle(catalogue, table))
        differs = _is_opposite(side, table.unit, is_signed=True)
        is_counted = np.isin(table.unit, table.unit[is_opposite])
        between.add(table, table.unit, differs & ~is_counted)
    for (name, sentence, severity, advice), tally in zip(
        _OPPOSITE, tallies, strict=True
    ):
        if tally.units:
            yield Problem(
                name,
                sentence,
                tally.units,
                severity,
                advice,
                catalogue.places(tally.rows),
            )


def _is_opposite(
    value: NDArray[np.float64], group: Ints, *, is_signed: bool
) -> Bools:
    """Return True [n] for verdicts in a group with unequal values.

    is_signed: the group must hold values of both signs.
    """
    highest = np.full(len(value), -np.inf)
    lowest = np.full(len(value), np.inf)
    np.maximum.at(highest, group, value)
    np.minimum.at(lowest, group, value)
    is_opposite = highest > lowest
    if is_signed:
        is_opposite = (highest > 0) & (lowest < 0)
    return np.asarray(is_opposite[group], dtype=bool)


def _middle(catalogue: Catalogue, table: Verdicts) -> NDArray[np.float64]:
    """Return the value [n] that divides low from high; 0 for verdicts on pairs."""
    if table.is_of_pairs:
        return np.zeros(len(table))
    return np.array(
        [catalogue.judgements[row].middle for row in table.row.tolist()]
    )


def cycles(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield cycles (A over B over C over A) within a prompt, of one judge and of all together."""
    count, of_one = _in_cycles(catalogue, catalogue.judge)
    if of_one:
        yield Problem(
            "cycles",
            "cycles: judgements of one judge that form a circle, A over B over C over A "
            f"({_groups(count)})",
            len(of_one),
            "warning",
            "No score can satisfy them all: ask again about the closest texts, or allow ties.",
            catalogue.places(of_one),
        )
    count, of_all = _in_cycles(
        catalogue, np.full_like(catalogue.judge, NOBODY)
    )
    only_together = sorted(set(of_all) - set(of_one))
    if only_together:
        yield Problem(
            "cycles_between_judges",
            f"cycles: judgements of different judges that form a circle ({_groups(count)})",
            len(only_together),
            "note",
            "Judges differ; the fit weighs them against each other.",
            catalogue.places(only_together),
        )


def _groups(number: int) -> str:
    return f"{number:,} group{'s' if number != 1 else ''} of texts"


def _in_cycles(catalogue: Catalogue, judge: Ints) -> tuple[int, list[int]]:
    """Return the number of cyclic groups of texts, and the judgements inside one.

    A group is a strongly connected component of three or more texts. Judgements are in one
    graph if they share prompt and `judge` [n].
    """
    # imported here: labels alone need no scipy
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = _Graph()
    for row, judgement in enumerate(catalogue.judgements):
        if judgement.ranks:
            group = int(catalogue.prompt[row]), int(judge[row])
            graph.add(judgement, catalogue.texts_of[row], group, row)
    if not graph.tails:
        return 0, []
    n = graph.count
    links = (np.ones(len(graph.tails), np.int8), (graph.tails, graph.heads))
    edges = coo_array(links, shape=(n, n))
    _, component = connected_components(
        edges, directed=True, connection="strong"
    )
    nodes = list(graph.nodes.values())
    size = np.bincount(component[nodes], minlength=n)
    is_cycle = size >= _SMALLEST_CYCLE
    inside = []
    for row, tiers in graph.tiers:
        if _is_inside(tiers, component, is_cycle):
            inside.append(row)
    return int(is_cycle.sum()), inside


def _is_inside(
    tiers: list[list[int]], component: Ints, is_cycle: Bools
) -> bool:
    """Return whether two texts that a judgement puts in order are in one cycle."""
    better: set[int] = set()
    for tier in tiers:
        cycles_of_tier = set()
        for node in tier:
            number = int(component[node])
            if is_cycle[number]:
                cycles_of_tier.add(number)
        if better & cycles_of_tier:
            return True
        better |= cycles_of_tier
    return False


class _Graph:
    """Preferences as arrows from better to worse.

    Between two tiers all arrows pass one node, so K texts have about 2K arrows.
    """

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int, int], int] = {}
        self.count = 0
        self.tails: list[int] = []
        self.heads: list[int] = []
        self.tiers: list[tuple[int, list[list[int]]]] = []

    def add(
        self,
        judgement: Judgement,
        texts: tuple[int, ...],
        group: tuple[int, int],
        row: int,
    ) -> None:
        """Add the arrows of one judgement. texts: their numbers."""
        tiers: list[list[int]] = [[] for _ in range(max(judgement.ranks) + 1)]
        for text, rank in zip(texts, judgement.ranks, strict=True):
            key = (*group, text)
            if key not in self.nodes:
                self.nodes[key] = self._new()
            tiers[rank].append(self.nodes[key])
        for upper, lower in pairwise(tiers):
            between = self._new()
            self.tails += upper + [between] * len(lower)
            self.heads += [between] * len(upper) + lower
        self.tiers.append((row, tiers))

    def _new(self) -> int:
        self.count += 1
        return self.count - 1
