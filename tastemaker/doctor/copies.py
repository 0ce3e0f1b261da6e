"""What is there more than once: repeated judgements, copies of texts, identical pairs, leakage between splits.

Judgements that cannot all be true: contradictions, disagreement between judges, cycles of preferences.
"""

import unicodedata
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
    Verdicts,
    catalogue_of,
    numbered,
)
from tastemaker.doctor.problems import Problem, Severity

_SHOWN_TEXTS = 3
_SHOWN_CHARACTERS = 120


def excerpt(text: str) -> str:
    """Return the beginning of a text as one line without control characters."""
    start = " ".join(text[: 4 * _SHOWN_CHARACTERS].split())
    if len(start) > _SHOWN_CHARACTERS or len(text) > 4 * _SHOWN_CHARACTERS:
        start = start[:_SHOWN_CHARACTERS].rstrip() + " …"
    return "".join("\ufffd" if unicodedata.category(c) in {"Cc", "Cs", "Cf"} else c for c in start)


def copies(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what is repeated within the data."""
    yield from _repeated_judgements(catalogue)
    identical = [
        row for row, judgement in enumerate(catalogue.judgements) if _has_twins(judgement.texts)
    ]
    yield from _identical_pairs(catalogue, identical)
    yield from _near_copies(catalogue, identical)


def _repeated_judgements(catalogue: Catalogue) -> Iterator[Problem]:
    seen: set[tuple[Any, ...]] = set()
    rows = []
    for row, judgement in enumerate(catalogue.judgements):
        key = (
            int(catalogue.prompt[row]),
            int(catalogue.judge[row]),
            *_verdict(judgement, catalogue.of[row]),
        )
        if key in seen:
            rows.append(row)
        seen.add(key)
    if rows:
        yield Problem(
            "duplicate_judgements",
            "duplicate judgements: the same judge says the same of the same texts again",
            len(rows),
            "warning",
            "Remove the repeats, or they count twice.",
            catalogue.places(rows),
        )


def _verdict(judgement: Judgement, texts: tuple[int, ...]) -> tuple[Any, ...]:
    """Return kind, texts and verdict as something that is equal where they are."""
    tiers: dict[int, set[int]] = {}
    for text, rank in zip(texts, judgement.ranks or (0,), strict=True):
        tiers.setdefault(rank, set()).add(text)
    in_order = tuple((rank, frozenset(tiers[rank])) for rank in sorted(tiers))
    return (judgement.kind, in_order, judgement.unordered_rank, judgement.details)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _has_twins(texts: tuple[str, ...]) -> bool:
    return len(texts) > 1 and len({_folded(text) for text in texts}) < len(texts)


def _identical_pairs(catalogue: Catalogue, rows: list[int]) -> Iterator[Problem]:
    if rows:
        yield Problem(
            "identical_pairs",
            "identical pairs: two texts judged against each other differ at most in white space and case",
            len(rows),
            "warning",
            "Remove them: there was nothing to choose between.",
            catalogue.places(rows),
            [excerpt(catalogue.judgements[row].texts[0]) for row in rows[:_SHOWN_TEXTS]],
        )


def _near_copies(catalogue: Catalogue, identical: list[int]) -> Iterator[Problem]:
    """Texts (under their prompts) that are another text but for white space and case; identical pairs are left out."""
    prompts = [_folded(prompt) for prompt in catalogue.prompts]
    texts = [_folded(text) for text in catalogue.texts]
    known = {(int(catalogue.prompt[row]), text) for row in identical for text in catalogue.of[row]}
    alike: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for prompt, text in catalogue.items:
        alike.setdefault((prompts[prompt] if prompt >= 0 else "", texts[text]), []).append(
            (prompt, text)
        )
    repeated = []
    for items in alike.values():
        if len(items) > 1:
            new = sorted((catalogue.items[item], item[1]) for item in items if item not in known)
            repeated += new if len(new) < len(items) else new[1:]
    if repeated:
        yield Problem(
            "near_duplicate_texts",
            "duplicate texts: equal to another text but for white space and case",
            len(repeated),
            "warning",
            "Make them one text: they could end up on both sides of a split.",
            catalogue.places(row for row, _ in repeated),
            [excerpt(catalogue.texts[text]) for _, text in sorted(repeated)[:_SHOWN_TEXTS]],
        )


def leaks(catalogue: Catalogue, test: Sequence[Judgement]) -> Iterator[Problem]:
    """Yield the texts and prompts that the test judgements share with the others. Texts are compared exactly."""
    other = catalogue_of(test)
    texts = {text.strip() for text in catalogue.texts}
    shared = {number for number, text in enumerate(other.texts) if text.strip() in texts}
    if shared:
        rows = [row for row, found in enumerate(other.of) if not shared.isdisjoint(found)]
        yield Problem(
            "leaked_texts",
            "leakage between splits: texts of the test data that are in the training data too",
            len(shared),
            "error",
            "Split by text and prompt (tastemaker.split), or remove them from one side.",
            other.places(rows),
            [excerpt(other.texts[number]) for number in sorted(shared)[:_SHOWN_TEXTS]],
        )
    prompts = {prompt.strip() for prompt in catalogue.prompts}
    asked = {number for number, prompt in enumerate(other.prompts) if prompt.strip() in prompts}
    if asked:
        yield Problem(
            "leaked_prompts",
            "leakage between splits: prompts of the test data that are in the training data too",
            len(asked),
            "warning",
            "Split by prompt, never by pair (tastemaker.split); harmless where all texts share a few prompts.",
            other.places(
                row for row, prompt in enumerate(other.prompt.tolist()) if prompt in asked
            ),
            [excerpt(other.prompts[number]) for number in sorted(asked)[:_SHOWN_TEXTS]],
        )


_BOTH_WAYS: tuple[tuple[str, str, Severity, str], ...] = (
    (
        "contradictions",
        "contradictions: texts or pairs of which the same judge says both one thing and another",
        "warning",
        "Ask the judge again, or keep the later verdict.",
    ),
    (
        "anonymous_contradictions",
        "contradictions: texts or pairs of which anonymous judgements say both one thing and another",
        "warning",
        "Name the judges, so that a disagreement can be told from a mistake.",
    ),
    (
        "disagreements",
        "disagreement: texts or pairs of which different judges say opposite things",
        "note",
        "That is what people do; see the agreement between judges.",
    ),
)
"""What is said both ways by one judge, without a name, and by different judges: name, what, severity, advice."""
_SMALLEST_CYCLE = 3  # of two texts it is a contradiction


@dataclass
class _Tally:
    """How many texts or pairs, and the judgements about them."""

    units: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, table: Verdicts, group: Ints, held: NDArray[np.bool_]) -> None:
        """Count the groups of which a verdict is held."""
        self.units += len(np.unique(group[held]))
        self.rows += table.row[held].tolist()


def contradictions(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what one judge says both ways, and what different judges do."""
    tables = [
        table for kind, table in catalogue.verdicts.items() if not catalogue.example_of[kind].ranks
    ]
    tables += [catalogue.pairs] if catalogue.pairs is not None else []
    named, anonymous, between = _Tally(), _Tally(), _Tally()
    for table in tables:
        if len(table):
            group = numbered(table.unit, table.judge)
            is_both = _is_both_ways(table.value, group, is_signed=table.is_of_pairs)
            named.add(table, group, is_both & (table.judge != NOBODY))
            anonymous.add(table, group, is_both & (table.judge == NOBODY))
            side = np.sign(table.value - _middle(catalogue, table))
            differs = _is_both_ways(side, table.unit, is_signed=True)
            between.add(table, table.unit, differs & ~np.isin(table.unit, table.unit[is_both]))
    for (name, what, severity, advice), tally in zip(
        _BOTH_WAYS, (named, anonymous, between), strict=True
    ):
        if tally.units:
            yield Problem(name, what, tally.units, severity, advice, catalogue.places(tally.rows))


def _is_both_ways(value: NDArray[np.float64], group: Ints, *, is_signed: bool) -> NDArray[np.bool_]:
    """Return which verdicts [n] are in a group with unequal values, or, if `is_signed`, with values of both signs."""
    highest, lowest = np.full(len(value), -np.inf), np.full(len(value), np.inf)
    np.maximum.at(highest, group, value)
    np.minimum.at(lowest, group, value)
    found = (highest > 0) & (lowest < 0) if is_signed else highest > lowest
    return np.asarray(found[group], dtype=bool)


def _middle(catalogue: Catalogue, table: Verdicts) -> NDArray[np.float64]:
    """Return the value [n] that divides low from high; 0 for verdicts on pairs."""
    if table.is_of_pairs:
        return np.zeros(len(table))
    return np.array([catalogue.judgements[row].middle for row in table.row.tolist()])


def cycles(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield cycles (A over B over C over A) within a prompt: in what one judge says, then in what all say together."""
    own, of_one = _in_cycles(catalogue, catalogue.judge)
    if of_one:
        yield Problem(
            "cycles",
            f"cycles: judgements of one judge that go in a circle, A over B over C over A ({_groups(own)})",
            len(of_one),
            "warning",
            "No score can satisfy them all: ask again about the closest texts, or allow ties.",
            catalogue.places(of_one),
        )
    together, of_all = _in_cycles(catalogue, np.full_like(catalogue.judge, NOBODY))
    only_together = sorted(set(of_all) - set(of_one))
    if only_together:
        yield Problem(
            "cycles_between_judges",
            f"cycles: judgements that go in a circle only when judges are taken together ({_groups(together)})",
            len(only_together),
            "note",
            "Judges differ; the fit weighs them against each other.",
            catalogue.places(only_together),
        )


def _groups(number: int) -> str:
    return f"{number:,} group{'s' if number != 1 else ''} of texts"


def _in_cycles(catalogue: Catalogue, judge: Ints) -> tuple[int, list[int]]:
    """Return how many strongly connected components have three texts or more, and the judgements inside one.

    Judgements are in one graph when they share prompt and `judge` [n].
    """
    # scipy is imported here: the doctor of labels alone does without
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = _Graph()
    for row, judgement in enumerate(catalogue.judgements):
        if judgement.ranks:
            graph.add(
                judgement, catalogue.of[row], (int(catalogue.prompt[row]), int(judge[row])), row
            )
    if not graph.tails:
        return 0, []
    n = graph.count
    edges = coo_array(
        (np.ones(len(graph.tails), np.int8), (graph.tails, graph.heads)), shape=(n, n)
    )
    _, component = connected_components(edges, directed=True, connection="strong")
    size = np.bincount(component[list(graph.nodes.values())], minlength=n)
    is_cycle = size >= _SMALLEST_CYCLE
    inside = [row for row, tiers in graph.tiers if _is_inside(tiers, component, is_cycle)]
    return int(is_cycle.sum()), inside


def _is_inside(tiers: list[list[int]], component: Ints, is_cycle: NDArray[np.bool_]) -> bool:
    """Return whether two texts that a judgement puts in order are in one cycle."""
    met: set[int] = set()
    for tier in tiers:
        here = {int(component[node]) for node in tier if is_cycle[component[node]]}
        if met & here:
            return True
        met |= here
    return False


class _Graph:
    """Preferences as arrows from better to worse; between two tiers they pass one node, so K texts have ~2K arrows."""

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
        """Add the arrows of one judgement, whose texts have these numbers."""
        nodes = [self._node((*group, text)) for text in texts]
        tiers: list[list[int]] = [[] for _ in range(max(judgement.ranks) + 1)]
        for node, rank in zip(nodes, judgement.ranks, strict=True):
            tiers[rank].append(node)
        for upper, lower in pairwise(tiers):
            between = self._new()
            self.tails += [*upper, *(between for _ in lower)]
            self.heads += [*(between for _ in upper), *lower]
        self.tiers.append((row, tiers))

    def _node(self, key: tuple[int, int, int]) -> int:
        if key not in self.nodes:
            self.nodes[key] = self._new()
        return self.nodes[key]

    def _new(self) -> int:
        self.count += 1
        return self.count - 1
