"""What the lead sees: progress, agreement, each judge, and the items that judges disagree on.

Counts are of the whole store. Other figures are of the last 10,000 judgements, which the page says,
and are computed again once the store has changed. An undefined figure says why: a key of `whys` in
`words.yaml`.
"""

import json
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import select

from tastemaker.data.judgements import Grade, Label, Ranking, Rating
from tastemaker.data.store import Judge, Store
from tastemaker.data.store import schema as s
from tastemaker.data.store.counting import Counts
from tastemaker.data.store.items import MOST_ANSWERS
from tastemaker.data.store.records import answered
from tastemaker.doctor.catalogue import Ints
from tastemaker.doctor.catalogue import Verdicts as VerdictTable
from tastemaker.doctor.judges import (
    Level,
    krippendorff_alpha,
    one_each,
    pairwise_agreement,
)
from tastemaker.rank.verdicts import (
    Sample,
    Share,
    agreeing,
    group_numbers,
    sample_of,
    verdicts,
)

_GROUPS = 20
_NORMAL = 1.96
FEWEST = 10
"""Items that two judges judged, for an interval of alpha."""
_LEVELS: Mapping[str, Level] = {
    "label": Label.level,
    "grade": Grade.level,
    "rating": Rating.level,
    "comparison": Ranking.level,
    "ranking": Ranking.level,
}


@dataclass(frozen=True)
class KindAgreement:
    """The agreement of judges on one kind of judgement.

    why: the reason if no figure is defined. alpha_why: the reason if alpha or its interval is not.
    alpha: Krippendorff's. interval: of alpha, from a jackknife over 20 groups of items, because the
    pairs of one ranking are not independent; None for too few items. share: of pairs of verdicts
    that agree, with the interval from `low` to `high`.
    """

    why: str = ""
    alpha_why: str = ""
    alpha: float = math.nan
    interval: tuple[float, float] | None = None
    share: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pairs: int = 0


@dataclass(frozen=True)
class Leniency:
    """How far grades lie above those of others, on n shared items. interval: from 3 items."""

    mean: float
    n: int
    interval: tuple[float, float] | None = None


def agreement_of(sample: Sample) -> dict[str, KindAgreement]:
    """Return the agreement of judges on each kind."""
    if not sample.rows:
        return {"all": KindAgreement("no_judgement")}
    figures = {}
    for kind, table in sample.tables.items():
        figures[kind] = _agreement(table, sample.item, _LEVELS[kind])
    return figures


def _agreement(table: VerdictTable, item: Ints, level: Level) -> KindAgreement:
    rows = one_each(table)
    values, units = table.value[rows], table.unit[rows]
    pairwise = pairwise_agreement(values, units)
    if not pairwise.units:
        return KindAgreement("no_shared")
    alpha = krippendorff_alpha(values, units, level)
    is_shared = np.bincount(units)[units] > 1
    items = item[table.row[rows]]
    interval, why = None, ""
    if math.isnan(alpha):
        why = "all_equal"
    elif len(np.unique(items[is_shared])) < FEWEST:
        why = "few_items"
    else:
        # verdicts that nobody shares change nothing, and take half of the time
        interval = _interval(
            alpha, values[is_shared], units[is_shared], items[is_shared], level
        )
    return KindAgreement(
        alpha_why=why,
        alpha=alpha,
        interval=interval,
        share=pairwise.share,
        low=max(0.0, pairwise.low),
        high=pairwise.high,
        pairs=pairwise.pairs,
    )


def _interval(
    alpha: float, values: Any, units: Any, items: Any, level: Level
) -> tuple[float, float]:
    """Return the 95 % interval of alpha, by a jackknife over groups of items."""
    shared, place = np.unique(items, return_inverse=True)
    groups = min(_GROUPS, len(shared))
    without = []
    for group in range(groups):
        stays = place % groups != group
        part = krippendorff_alpha(values[stays], units[stays], level)
        if not math.isnan(part):
            without.append(part)
    deviations = np.asarray(without) - np.mean(without)
    share = (len(without) - 1) / len(without)
    error = math.sqrt(share * float((deviations**2).sum()))
    return alpha - _NORMAL * error, min(1.0, alpha + _NORMAL * error)


def leniency(sample: Sample) -> dict[int, Leniency]:
    """Return by how much each judge's grades and ratings lie above others', by the judge's number.

    The 95 % interval is that of a mean of differences on shared items. Repeats are left out.
    """
    values: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    rows = sample.row.tolist()
    for row, value in zip(rows, sample.value.tolist(), strict=True):
        judged = sample.rows[row]
        is_graded = sample.items[judged.item_id].ask in ("grade", "rate")
        if is_graded and judged.reason != "repeat":
            values[judged.item_id, 0][judged.judge_id] = value
    nothing: Any = ((), (), ())
    beside = sample.beside.get("grade", nothing)
    for row, text, value in zip(*beside, strict=True):
        judged = sample.rows[row]
        values[judged.item_id, int(text)][judged.judge_id] = float(value)
    by_item: dict[int, dict[int, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for (item, _), judges in values.items():
        total, count = sum(judges.values()), len(judges)
        if count < 2:
            continue
        for judge, value in judges.items():
            others = (total - value) / (count - 1)
            by_item[judge][item].append(value - others)
    figures = {}
    for judge, items in by_item.items():
        # the grades that a judge gives to the texts of one item are not independent
        each = []
        for of_texts in items.values():
            each.append(float(np.mean(of_texts)))
        mean = float(np.mean(each))
        interval = None
        if len(each) > 2:
            error = float(np.std(each, ddof=1)) / math.sqrt(len(each))
            interval = mean - _NORMAL * error, mean + _NORMAL * error
        figures[judge] = Leniency(mean, len(each), interval)
    return figures


# ---- figures -------------------------------------------------------------------------------------


LEAD = "lead"
"""The judge who decides the items on which others disagree."""
MOST = 10_000
_SHOWN_ITEMS = 20
_SHOWN_JUDGES = 100


_NO_ITEM = Share(0, 0, "no_shared_item")
_NO_REPEAT = Share(0, 0, "no_repeat")
_NO_CALIBRATION = Share(0, 0, "no_calibration")
_NO_ORDER = Share(0, 0, "no_order")


@dataclass(frozen=True)
class JudgeFigures:
    """What is known of one judge's answers. seconds: the median of an item."""

    answers: int = 0
    seconds: float | None = None
    agreement: Share = _NO_ITEM
    leniency: Leniency | None = None
    consistency: Share = _NO_REPEAT
    accuracy: Share = _NO_CALIBRATION
    shown_first: Share = _NO_ORDER


@dataclass(frozen=True)
class JudgeLine(JudgeFigures):
    """A line of the table of judges: the figures of one judge, and who it is."""

    judge: Judge = field(kw_only=True)


@dataclass(frozen=True)
class Disagreement:
    """An item whose judges disagree: the share of pairs in a different order, and the texts."""

    item: int
    share: float
    judges: int
    prompt: str
    texts: Sequence[str]
    is_decided: bool = False


@dataclass(frozen=True)
class Statistics:
    """What is computed from a sample of the judgements. judges: by number.

    win_rates: of pairs with another's answer, by who wrote it. shown_first: how often a
    preferred answer was shown first.
    """

    sample: int
    agreement: dict[str, KindAgreement]
    judges: dict[int, JudgeFigures]
    disagreements: list[Disagreement]
    win_rates: dict[str, Share]
    shown_first: Share


@dataclass(frozen=True)
class Overview:
    """Everything on the lead's page. queue: the items to decide."""

    counts: Counts
    statistics: Statistics
    judges: list[JudgeLine]
    skip_reasons: dict[str, int]
    curve: list[dict[str, Any]]

    @property
    def finished(self) -> int:
        """The items that have all their judgements."""
        return self.counts.items - self.counts.left

    @property
    def queue(self) -> list[int]:
        """The items on which judges disagree, the lead has not decided and the page can show."""
        items = []
        for each in self.statistics.disagreements:
            if not each.is_decided and len(each.texts) <= MOST_ANSWERS:
                items.append(each.item)
        return items


class Figures:
    """The figures of a store, which are computed again where the store has changed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._changes = -1
        self._statistics: Statistics | None = None

    def overview(self) -> Overview:
        """Return what the lead sees now."""
        # several pages at once wait for one computation
        with self._lock:
            counts = self.store.counts()
            if self._statistics is None or self._changes != counts.changes:
                self._statistics = statistics_of(sample_of(self.store, MOST))
                self._changes = counts.changes
            statistics = self._statistics
        reasons: Counter[str] = Counter()
        query = select(s.judgements.c.answer).where(
            s.judgements.c.is_skip, s.judgements.c.withdrawn.is_(None)
        )
        query = query.order_by(s.judgements.c.id.desc()).limit(MOST)
        with self.store.database.reading() as connection:
            for text in connection.scalars(query):
                reasons[str(json.loads(text).get("skip"))] += 1
        curve = self.store.setting("curve", [])
        judges = _listed(self.store.judges(), statistics)
        return Overview(counts, statistics, judges, dict(reasons), curve)


def overview(store: Store) -> Overview:
    """Return the figures of a store."""
    return Figures(store).overview()


def answers_of(store: Store, most: int) -> list[Any]:
    """Return the last judgements that count, oldest first, with all that was shown."""
    query = answered().add_columns(s.views.c.item_id)
    query = query.order_by(None).order_by(s.judgements.c.id.desc()).limit(most)
    with store.database.reading() as connection:
        return list(connection.execute(query))[::-1]


def shown_prompt(prompt: str | None) -> str:
    """Return the prompt of an item in one text: of a chat, the last turn."""
    cell = "" if prompt is None else json.loads(prompt)
    return str(cell if isinstance(cell, str) else cell[-1][1])


def statistics_of(sample: Sample) -> Statistics:
    """Return the figures of a sample."""
    shared = _Shared(sample)
    hits, ordered = _shown_first(sample)
    first = int(hits.sum())
    return Statistics(
        sample=len(sample.rows),
        agreement=agreement_of(sample),
        judges=_judges(sample, shared),
        disagreements=_disagreements(sample, shared),
        win_rates=_win_rates(sample),
        shown_first=Share(first, int(ordered.sum()), "no_order"),
    )


class _Shared:
    """Of each verdict [V], how many other judges' verdicts there are of the same pair, and how
    many of these are equal. Repeats count nowhere.
    """

    def __init__(self, sample: Sample) -> None:
        is_new = sample.is_new[sample.row]
        judge = sample.judge[sample.row]
        self.n = _count_equal(is_new, sample.unit) - _count_equal(
            is_new, sample.unit, judge
        )
        self.hits = _count_equal(is_new, sample.unit, sample.value)
        self.hits -= _count_equal(is_new, sample.unit, sample.value, judge)
        self.n[~is_new] = self.hits[~is_new] = 0


def _count_equal(is_counted: Any, *columns: Any) -> Any:
    """Return of how many counted rows [V] the columns are equal to those of each row [V]."""
    group = group_numbers(*columns)
    counted = np.bincount(group, is_counted, int(group.max(initial=0)) + 1)
    return counted[group]


def _judges(sample: Sample, shared: _Shared) -> dict[int, JudgeFigures]:
    judge = sample.judge[sample.row]
    is_new = sample.is_new[sample.row]
    is_repeat = ~is_new
    before = is_repeat * _count_equal(is_new, sample.unit, judge)
    equal = is_repeat * _count_equal(is_new, sample.unit, judge, sample.value)
    agreement = _by_judge(sample, shared.hits, shared.n, "no_shared_item")
    consistency = _by_judge(sample, equal, before, "no_repeat")
    hits, ordered = _shown_first(sample)
    shown_first = _by_judge(sample, hits, ordered, "no_order")
    accuracy = _accuracy(sample)
    leniencies = leniency(sample)
    answers = Counter(row.judge_id for row in sample.rows)
    seconds: dict[int, list[float]] = defaultdict(list)
    for row in sample.rows:
        if row.seconds is not None:
            seconds[row.judge_id].append(row.seconds)
    figures = {}
    for number, count in answers.items():
        times = seconds.get(number)
        figures[number] = JudgeFigures(
            answers=count,
            seconds=median(times) if times else None,
            agreement=agreement[number],
            leniency=leniencies.get(number),
            consistency=consistency[number],
            accuracy=Share(*accuracy[number], "no_calibration"),
            shown_first=shown_first[number],
        )
    return figures


def _by_judge(
    sample: Sample,
    hits: Any,
    n: Any,
    why: str,
) -> dict[int, Share]:
    """Return the sums of verdicts [V] by the number of the judge."""
    judge = sample.judge[sample.row]
    judges = len(sample.judges)
    shares = {}
    sums = zip(
        sample.judges.tolist(),
        np.bincount(judge, hits, judges),
        np.bincount(judge, n, judges),
        strict=True,
    )
    for number, hit, total in sums:
        shares[number] = Share(float(hit), int(total), why)
    return shares


def _accuracy(sample: Sample) -> dict[int, tuple[int, int]]:
    """Return how many verdicts on calibration items are right, and how many there are."""
    totals: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in sample.rows:
        expected = sample.items[row.item_id].expected
        if row.reason == "calibration" and expected is not None:
            right = verdicts(json.loads(expected))
            hits, n = agreeing(verdicts(json.loads(row.answer)), right)
            before = totals[row.judge_id]
            totals[row.judge_id] = before[0] + hits, before[1] + n
    return totals


def _shown_first(sample: Sample) -> tuple[Any, Any]:
    """Return whether the better text of a verdict [V] was shown first, and whether that counts."""
    is_earlier, has_order = sample.is_first_shown_first
    counts = has_order & (sample.value != 0)
    is_first_better = sample.value > 0
    return counts & (is_earlier == is_first_better), counts


def _win_rates(sample: Sample) -> dict[str, Share]:
    """Return how often each writer's answer is better than another writer's; a tie is a half."""
    hits: dict[str, float] = defaultdict(float)
    n: Counter[str] = Counter()
    of_item = {}
    for number, item in sample.items.items():
        if item.writers is not None:
            of_item[number] = json.loads(item.writers)
    if not of_item:
        return {}
    has_writers = np.isin(sample.item, list(of_item)) & sample.is_new
    for at in np.flatnonzero(has_writers[sample.row]).tolist():
        writers = of_item[int(sample.item[sample.row[at]])]
        one, other = writers[sample.first[at]], writers[sample.second[at]]
        if one != other:
            hits[one] += (1 + sample.value[at]) / 2
            hits[other] += (1 - sample.value[at]) / 2
            n.update((one, other))
    return {name: Share(float(hits[name]), n[name]) for name in sorted(n)}


def _disagreements(sample: Sample, shared: _Shared) -> list[Disagreement]:
    """Return the items with the largest share of verdicts on which two judges differ."""
    numbers, first, item = np.unique(
        sample.item, return_index=True, return_inverse=True
    )
    n = np.bincount(item[sample.row], shared.n, len(numbers))
    hits = np.bincount(item[sample.row], shared.hits, len(numbers))
    share = 1 - hits / np.maximum(n, 1)
    differ = np.flatnonzero((n > 0) & (hits < n))
    # of equal shares, the item that was judged first
    order = differ[np.lexsort((first[differ], -share[differ]))]
    listed = []
    for at in order[:_SHOWN_ITEMS].tolist():
        number = int(numbers[at])
        names = {}
        for row in np.flatnonzero((item == at) & sample.is_new).tolist():
            names[sample.rows[row].judge_id] = sample.rows[row].name
        shown = sample.items[number]
        listed.append(
            Disagreement(
                item=number,
                share=float(share[at]),
                judges=len(names),
                prompt=shown_prompt(shown.prompt),
                texts=shown.texts,
                is_decided=LEAD in names.values(),
            )
        )
    return listed


def _listed(
    judges: Sequence[Judge], statistics: Statistics
) -> list[JudgeLine]:
    """Return the judges with their figures, those with most answers first."""
    listed = []
    for judge in judges:
        figures = statistics.judges.get(judge.id, JudgeFigures())
        listed.append(JudgeLine(**vars(figures), judge=judge))
    listed.sort(key=lambda each: -each.judge.judged)
    return listed[:_SHOWN_JUDGES]
