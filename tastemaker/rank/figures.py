"""What the lead sees: progress, agreement, each judge, and the items that judges disagree on.

All figures are of the last 20,000 judgements. An undefined figure says why it is undefined.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from statistics import median
from typing import Any

from sqlalchemy import func, select

from tastemaker.data.store import Judge, Store
from tastemaker.data.store import schema as s
from tastemaker.data.store.items import MOST_ANSWERS
from tastemaker.data.store.records import answered, judgement_of
from tastemaker.maths.statistics import wilson_interval
from tastemaker.rank.spread import agreement_lines, leniency

LEAD = "lead"
"""The judge who decides the items on which others disagree."""
MOST = 20_000
_SHOWN_ITEMS = 20
_SHOWN_JUDGES = 100
Answer = dict[str, Any]
Verdicts = dict[tuple[int, int], int]


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval (Wilson). why: the reason where there is none."""

    hits: float
    n: int
    why: str = ""

    def __str__(self) -> str:
        if not self.n:
            return self.why
        low, high = wilson_interval(self.hits, self.n)
        share = self.hits / self.n
        return f"{share:.0%} ({max(0.0, low):.0%}–{float(high):.0%}, n = {self.n})"


@dataclass
class _Tally:
    hits: float = 0.0
    n: int = 0

    def add(self, is_hit: float) -> None:
        self.hits += is_hit
        self.n += 1

    def share(self, why: str) -> Share:
        return Share(self.hits, self.n, why)


@dataclass(frozen=True)
class OfJudge:
    """One judge's figures."""

    judge: Judge
    answers: int
    seconds: float | None
    agrees: Share
    lenient: str
    consistent: Share
    correct: Share
    first: Share


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
class Overview:
    """Everything on the lead's page. wins: of pairs with another's answer, by who wrote it.

    first: how often a preferred answer was shown first. queue: the items to decide.
    """

    items: int
    finished: int
    judgements: int
    skips: int
    agreement: dict[str, str]
    judges: list[OfJudge]
    disagreements: list[Disagreement]
    skip_reasons: dict[str, int] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    wins: dict[str, Share] = field(default_factory=dict)
    first: Share = field(default_factory=lambda: Share(0, 0))

    @property
    def queue(self) -> list[int]:
        """The items on which judges disagree, the lead has not decided and the page can show."""
        items = []
        for each in self.disagreements:
            if not each.is_decided and len(each.texts) <= MOST_ANSWERS:
                items.append(each.item)
        return items


def overview(store: Store) -> Overview:
    """Return the figures of a store."""
    scale = tuple(store.setting("scale", [1, 7]))
    rows = answers_of(store, MOST)
    with store.database.reading() as connection:
        items = connection.scalar(select(func.count()).select_from(s.items))
        skipped = select(s.judgements.c.answer).where(
            s.judgements.c.is_skip, s.judgements.c.withdrawn.is_(None)
        )
        reasons: dict[str, int] = defaultdict(int)
        for text in connection.scalars(skipped.limit(MOST)):
            reasons[str(json.loads(text).get("skip"))] += 1
        total = select(func.count()).select_from(s.judgements)
        number = connection.scalar(
            total.where(s.judgements.c.withdrawn.is_(None))
        )
    new = [row for row in rows if row.reason != "repeat"]
    judged = [judgement_of(row, scale) for row in new]
    skips = sum(reasons.values())
    return Overview(
        items=int(items or 0),
        finished=int(items or 0) - store.left(),
        judgements=int(number or 0) - skips,
        skips=skips,
        agreement=agreement_lines(judged, [row.item_id for row in new]),
        judges=_judges(store, rows),
        disagreements=_disagreements(new),
        skip_reasons=dict(reasons),
        curve=store.setting("curve", []),
        wins=_wins(new),
        first=_places(rows).share("undefined: no ordered pair"),
    )


def answers_of(store: Store, most: int) -> list[Any]:
    """Return the last judgements that count, oldest first; repeats are among them."""
    query = answered().add_columns(
        s.views.c.reason,
        s.views.c.item_id,
        s.views.c.judge_id,
        s.items.c.expected,
        s.items.c.writers,
    )
    query = query.order_by(None).order_by(s.judgements.c.id.desc()).limit(most)
    with store.database.reading() as connection:
        return list(connection.execute(query))[::-1]


def verdicts(answer: Answer) -> dict[tuple[int, int], int]:
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
    return _agreeing(verdicts(one), verdicts(other))


def _agreeing(mine: Verdicts, theirs: Verdicts) -> tuple[int, int]:
    shared = mine.keys() & theirs.keys()
    return sum(mine[pair] == theirs[pair] for pair in shared), len(shared)


def _judges(store: Store, rows: list[Any]) -> list[OfJudge]:
    lenient = leniency(rows)
    of_item: dict[int, list[tuple[int, str, Verdicts]]] = defaultdict(list)
    by_judge: dict[int, list[Any]] = defaultdict(list)
    verdicts_of: dict[int, Verdicts] = {}
    for row in rows:
        verdicts_of[row.id] = verdicts(json.loads(row.answer))
        entry = (row.judge_id, row.reason, verdicts_of[row.id])
        of_item[row.item_id].append(entry)
        by_judge[row.judge_id].append(row)
    figures = []
    judges = sorted(store.judges(), key=lambda judge: -len(by_judge[judge.id]))
    for judge in judges[:_SHOWN_JUDGES]:
        agrees, consistent, correct = _Tally(), _Tally(), _Tally()
        mine = by_judge[judge.id]
        for row in mine:
            for other, reason, theirs in of_item[row.item_id]:
                if other != judge.id and "repeat" not in (reason, row.reason):
                    _add(agrees, verdicts_of[row.id], theirs)
                if other == judge.id and row.reason == "repeat" != reason:
                    _add(consistent, verdicts_of[row.id], theirs)
            if row.expected is not None and row.reason == "calibration":
                right = verdicts(json.loads(row.expected))
                _add(correct, verdicts_of[row.id], right)
        seconds = [row.seconds for row in mine if row.seconds is not None]
        figures.append(
            OfJudge(
                judge,
                len(mine),
                median(seconds) if seconds else None,
                agrees.share("no item shared with another judge"),
                lenient.get(judge.id, "no grade of a shared item"),
                consistent.share("no repeated item"),
                correct.share("no calibration item"),
                _places(mine).share("no ordered pair"),
            )
        )
    return figures


def _add(tally: _Tally, one: Verdicts, other: Verdicts) -> None:
    hits, n = _agreeing(one, other)
    tally.hits += hits
    tally.n += n


def _places(rows: Iterable[Any]) -> _Tally:
    """Return how often the better text of an ordered pair was shown before the other."""
    tally = _Tally()
    for row in rows:
        shown = json.loads(row.shown)
        if row.ask == "rank" and shown is not None:
            _add_places(tally, json.loads(row.answer), shown)
    return tally


def _add_places(tally: _Tally, answer: Answer, shown: list[int]) -> None:
    """Count of each ordered pair whether the better text was shown before the other."""
    place = {number: at for at, number in enumerate(shown)}
    for (a, b), verdict in verdicts(answer).items():
        if verdict:
            better, worse = (a, b) if verdict > 0 else (b, a)
            tally.add(place[better] < place[worse])


def shown_prompt(row: Any) -> str:
    """Return the prompt of an item in one text: of a chat, the last turn."""
    prompt = "" if row.prompt is None else json.loads(row.prompt)
    return str(prompt if isinstance(prompt, str) else prompt[-1][1])


def _wins(rows: Iterable[Any]) -> dict[str, Share]:
    """Return how often each writer's answer is better than another writer's; a tie is a half."""
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    for row in rows:
        if row.writers is None:
            continue
        writers = json.loads(row.writers)
        for (a, b), verdict in verdicts(json.loads(row.answer)).items():
            if writers[a] != writers[b]:
                tallies[writers[a]].add((1 + verdict) / 2)
                tallies[writers[b]].add((1 - verdict) / 2)
    return {name: tallies[name].share("") for name in sorted(tallies)}


def _disagreements(rows: Iterable[Any]) -> list[Disagreement]:
    """Return the items with the largest share of verdicts on which two judges differ."""
    of_item: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        of_item[row.item_id].append(row)
    listed = []
    for item, answers in of_item.items():
        tally = _Tally()
        judged = []
        for row in answers:
            judged.append((row.judge_id, verdicts(json.loads(row.answer))))
        for (one, mine), (other, theirs) in combinations(judged, 2):
            if one != other:
                _add(tally, mine, theirs)
        if tally.n and tally.hits < tally.n:
            row = answers[0]
            share = 1 - tally.hits / tally.n
            names = {each.judge_id for each in answers}
            texts = json.loads(row.texts)
            prompt = shown_prompt(row)
            listed.append(
                Disagreement(
                    item,
                    share,
                    len(names),
                    prompt,
                    texts,
                    any(each.name == LEAD for each in answers),
                )
            )
    listed.sort(key=lambda each: -each.share)
    return list(islice(listed, _SHOWN_ITEMS))
