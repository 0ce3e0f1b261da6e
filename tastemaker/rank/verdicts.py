"""What answers say of each pair of texts: one answer, shares of them, and the last ones as columns.

The lead's figures are computed from columns of numbers. A loop over each pair of each ranking takes
seconds for 20,000 judgements; columns take less than one.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, select

from tastemaker.data.judgements import fingerprint, plain
from tastemaker.data.store import Store
from tastemaker.data.store import schema as s
from tastemaker.data.store.answering import OF_EACH
from tastemaker.data.store.items import prompt_of
from tastemaker.doctor.catalogue import NOBODY, Ints
from tastemaker.doctor.catalogue import Verdicts as VerdictTable
from tastemaker.maths.statistics import wilson_interval

Answer = dict[str, Any]
Verdicts = dict[tuple[int, int], int]


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval (Wilson). why: where there is none, the reason.

    The reason is a key of `whys` in `words.yaml`.
    """

    hits: float
    n: int
    why: str = ""

    def __str__(self) -> str:
        if not self.n:
            return self.why
        low, high = wilson_interval(self.hits, self.n)
        share = self.hits / self.n
        return f"{share:.0%} ({max(0.0, low):.0%}–{float(high):.0%}, n = {self.n})"


def verdicts(answer: Answer) -> Verdicts:
    """Return what an answer says of each pair of texts: 1, −1, 0 for a tie; (0, 0): its value."""
    if "tiers" not in answer:
        return {(0, 0): answer["value"]}
    rank = {}
    for number, tier in enumerate(answer["tiers"]):
        rank.update(dict.fromkeys(tier, number))
    # worse than all tiers, in no known order
    rest = answer.get("rest", ())
    rank.update(dict.fromkeys(rest, len(rank)))
    pairs = {}
    for a, b in combinations(sorted(rank), 2):
        if a in rest and b in rest:
            continue
        pairs[a, b] = (rank[a] < rank[b]) - (rank[a] > rank[b])
    return pairs


def equal_share(one: Answer, other: Answer) -> tuple[int, int]:
    """Return on how many pairs two answers agree, and how many both judge."""
    return agreeing(verdicts(one), verdicts(other))


def agreeing(mine: Verdicts, theirs: Verdicts) -> tuple[int, int]:
    """Return on how many pairs verdicts agree, and how many both have."""
    shared = mine.keys() & theirs.keys()
    return sum(mine[pair] == theirs[pair] for pair in shared), len(shared)


# ---- the last judgements as columns -----------------------------------------


Bools = NDArray[np.bool_]
_BATCH = 900
_ITEMS = 50
"""Items whose judgements are read at once."""
_NEAR = 20
"""Places between two texts of a ranking whose order is compared, at most, as in `doctor`."""
_KINDS = {"label": "label", "grade": "grade", "rate": "rating"}


@lru_cache(1 << 14)
def _verdict_columns(answer: str) -> tuple[NDArray[Any], ...]:
    """Return first and second text, value, and whether they are near, of each verdict [v].

    Many are remembered, so their numbers are as small as they can be: lists of the 1,770 verdicts
    of 60 texts would take nine times the memory.
    """
    saved = json.loads(answer)
    place: dict[int, int] = {}
    for tier in (*saved.get("tiers", [[0]]), saved.get("rest", [])):
        for text in tier:
            place[text] = len(place)
    of_pairs = verdicts(saved)
    pairs = np.array(list(of_pairs), np.int16).reshape(-1, 2)
    is_near = []
    for a, b in of_pairs:
        is_near.append(abs(place[a] - place[b]) <= _NEAR)
    small = np.int8 if "tiers" in saved else np.float64
    value = np.array(list(of_pairs.values()), small)
    first, second = pairs[:, 0].copy(), pairs[:, 1].copy()
    return first, second, value, np.array(is_near, bool)


@lru_cache(1 << 14)
def _places(shown: str) -> list[int] | None:
    """Return at which place each text was shown, None where that is not known."""
    order = json.loads(shown)
    if order is None:
        return None
    places = [0] * len(order)
    for place, text in enumerate(order):
        places[text] = place
    return places


def group_numbers(*columns: NDArray[Any]) -> Ints:
    """Return a number for each row [n] of the columns, equal for equal rows."""
    number: Ints = np.zeros(len(columns[0]), np.intp)
    for column in columns:
        _, each = np.unique(column, return_inverse=True)
        number = number * (int(each.max(initial=0)) + 1) + each
        _, number = np.unique(number, return_inverse=True)
    return number


class Sample:
    """The last judgements that count: n of them, oldest first, with V verdicts.

    rows: (id, answer, seconds, item_id, judge_id, shown, reason) [n]. items: the item of each.
    judges: the numbers of judges, in the order of `judge` [n]. is_new: no repeat [n].
    """

    def __init__(self, rows: Sequence[Any], items: dict[int, Any]) -> None:
        self.rows, self.items = rows, items
        self.item: Ints = np.array([row.item_id for row in rows], np.intp)
        numbers = np.array([row.judge_id for row in rows], np.intp)
        self.judges, self.judge = np.unique(numbers, return_inverse=True)
        self.is_new: Bools = np.array(
            [row.reason != "repeat" for row in rows], bool
        )
        parts = [_verdict_columns(row.answer) for row in rows]
        sizes = [len(part[0]) for part in parts]
        self.row: Ints = np.repeat(np.arange(len(rows)), sizes)
        columns = []
        for column, kind in enumerate((np.intp, np.intp, np.float64, bool)):
            of_rows = [part[column] for part in parts]
            columns.append(np.concatenate([np.zeros(0, kind), *of_rows]))
        self.first, self.second, self.value, self.is_near = columns

    @cached_property
    def unit(self) -> Ints:
        """What each verdict is about [V]: an item and a pair of its texts."""
        return group_numbers(self.item[self.row], self.first, self.second)

    @cached_property
    def is_first_shown_first(self) -> tuple[Bools, Bools]:
        """Whether the first text of each verdict was shown before the second, and if it is known.

        Single texts are not known to be anywhere.
        """
        places: list[int] = []
        starts = np.full(len(self.rows), -1)
        for number, row in enumerate(self.rows):
            shown = _places(row.shown)
            if shown is not None and self.items[row.item_id].ask == "rank":
                starts[number] = len(places)
                places += shown
        start = starts[self.row]
        place = np.array([*places, 0])
        # texts of rows without an order point anywhere inside
        last = len(places)
        one = place[np.minimum(start + self.first, last)]
        other = place[np.minimum(start + self.second, last)]
        return one < other, start >= 0

    @cached_property
    def kind(self) -> list[str]:
        """The kind of each judgement [n]."""
        kinds = []
        for row in self.rows:
            item = self.items[row.item_id]
            if item.ask != "rank":
                kinds.append(_KINDS[item.ask])
            elif item.count == 2 and '"ranking":' not in row.answer:
                kinds.append("comparison")
            else:
                kinds.append("ranking")
        return kinds

    @cached_property
    def tables(self) -> dict[str, VerdictTable]:
        """The verdicts of each kind, repeats left out, for the measures of agreement."""
        kinds = np.array(self.kind)
        start, texts, prompts = _numbered_texts(self.items)
        prompt = np.array([prompts[number] for number in self.item.tolist()])
        begin = np.array([start[number] for number in self.item.tolist()])
        is_named = np.array([bool(row.name) for row in self.rows], bool)
        judge = np.where(is_named, self.judge, NOBODY)
        columns: dict[str, tuple[NDArray[Any], ...]] = {}
        for kind in sorted(set(kinds[self.is_new].tolist())):
            chosen = (kinds == kind) & self.is_new
            part = np.flatnonzero(chosen[self.row] & self.is_near)
            row = self.row[part]
            one = texts[begin[row] + self.first[part]]
            other = texts[begin[row] + self.second[part]]
            value = self.value[part]
            if kind in ("comparison", "ranking"):
                value = np.where(one < other, value, -value)
                one, other = np.minimum(one, other), np.maximum(one, other)
                differs = one != other
                row, one, other = row[differs], one[differs], other[differs]
                value = value[differs]
            else:
                other = np.full(len(row), -1)
            columns[kind] = row, one, other, value
        for kind, (row, place, value) in self.beside.items():
            one = texts[begin[row] + place]
            beside: tuple[NDArray[Any], ...] = (
                row,
                one,
                np.full(len(row), -1),
                value,
            )
            if kind in columns:
                pairs = zip(columns[kind], beside, strict=True)
                beside = tuple(np.concatenate(pair) for pair in pairs)
            columns[kind] = beside
        tables = {}
        for kind, (row, one, other, value) in columns.items():
            tables[kind] = VerdictTable(
                row=row,
                prompt=prompt[row],
                first=one,
                second=other,
                judge=judge[row],
                value=value,
            )
        return tables

    @cached_property
    def beside(self) -> dict[str, tuple[Ints, Ints, NDArray[np.float64]]]:
        """The row, the place of the text and the value of each grade, and of each label, that was
        given beside a ranking, by kind. Repeats are left out.
        """
        columns = {}
        for name, kind in OF_EACH.items():
            values: list[tuple[int, int, float]] = []
            for number in np.flatnonzero(self.is_new).tolist():
                # most answers have none, and JSON takes long
                if f'"{name}":' not in self.rows[number].answer:
                    continue
                given = json.loads(self.rows[number].answer)[name]
                for place, value in enumerate(given):
                    if value is not None:
                        values.append((number, place, float(value)))
            if values:
                row, place, value = np.array(values).T
                columns[kind] = (
                    row.astype(np.intp),
                    place.astype(np.intp),
                    value,
                )
        return columns


def _numbered_texts(
    items: dict[int, Any],
) -> tuple[dict[int, int], Ints, dict[int, int]]:
    """Return where the texts of each item begin, the number of each text, each item's prompt.

    Texts are numbered in the order of their fingerprints, as in `doctor`'s catalogue.
    """
    start: dict[int, int] = {}
    prints: list[int] = []
    prompts: dict[int, int] = {}
    number_of: dict[int, int] = {}
    for number, item in items.items():
        start[number] = len(prints)
        prints += [fingerprint(text) for text in item.texts]
        prompts[number] = NOBODY
        if item.prompt is not None:
            words = plain(prompt_of(json.loads(item.prompt)) or "")
            prompts[number] = number_of.setdefault(
                fingerprint(words),
                len(number_of),
            )
    _, texts = np.unique(np.array(prints, np.uint64), return_inverse=True)
    return start, texts, prompts


@dataclass(frozen=True)
class SampledItem:
    """An item. count: of its texts."""

    ask: str
    prompt: str | None
    texts: Sequence[str]
    expected: str | None
    writers: str | None

    @property
    def count(self) -> int:
        """The number of texts."""
        return len(self.texts)


def sample_of(store: Store, most: int) -> Sample:
    """Return the judgements that count of the items judged last, at most `most` of them.

    An item comes with all its judgements, so that judges of the same items are compared. Skips and
    withdrawn answers do not count.
    """
    judgements, views = s.judgements.c, s.views.c
    counts = (judgements.withdrawn.is_(None), judgements.is_skip.is_(False))
    latest = (
        select(views.item_id)
        .join(s.judgements, views.id == judgements.view_id)
        .where(*counts)
        .order_by(judgements.id.desc())
        .limit(most)
    )
    query = (
        select(
            judgements.id,
            judgements.answer,
            judgements.seconds,
            views.item_id,
            views.judge_id,
            views.shown,
            views.reason,
            s.judges.c.name,
        )
        .join(s.views, views.id == judgements.view_id)
        .join(s.judges, s.judges.c.id == views.judge_id)
        .where(*counts)
    )
    rows: list[Row[Any]] = []
    with store.database.reading() as connection:
        judged = list(dict.fromkeys(connection.scalars(latest)))
        for begin in range(0, len(judged), _ITEMS):
            part = query.where(
                views.item_id.in_(judged[begin : begin + _ITEMS])
            )
            rows += connection.execute(part)
            if len(rows) >= most:
                break
        numbers = _of_whole_items(rows, judged, most)
        items = _items(connection, numbers)
    rows = [row for row in rows if row.item_id in items]
    rows.sort(key=lambda row: row.id)
    return Sample(rows, items)


def _of_whole_items(
    rows: Sequence[Row[Any]], judged: Sequence[int], most: int
) -> list[int]:
    """Return the first items of `judged` that have at most `most` rows together, at least one."""
    counts = Counter(row.item_id for row in rows)
    numbers: list[int] = []
    total = 0
    for number in judged:
        total += counts[number]
        if not counts[number] or (numbers and total > most):
            break
        numbers.append(number)
    return numbers


def _items(
    connection: Connection, numbers: Sequence[int]
) -> dict[int, SampledItem]:
    columns = s.items.c
    query = select(
        columns.id,
        columns.ask,
        columns.prompt,
        columns.texts,
        columns.expected,
        columns.writers,
    )
    items = {}
    for begin in range(0, len(numbers), _BATCH):
        part = query.where(columns.id.in_(numbers[begin : begin + _BATCH]))
        for row in connection.execute(part):
            items[row.id] = SampledItem(
                ask=row.ask,
                prompt=row.prompt,
                texts=json.loads(row.texts),
                expected=row.expected,
                writers=row.writers,
            )
    return items
