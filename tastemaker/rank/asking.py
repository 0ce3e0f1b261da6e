"""What to ask next: a model of the judgements so far, and the items that would teach it most.

The features of a text are its words, hashed into 512 signed columns, of length 1. The model is a
logistic regression on differences of features, with a normal prior (the Laplace approximation of
its posterior has the precision A = λI + Σ p(1 − p) Δφ Δφᵀ).

- `optimal`: D-optimal design. Items are picked one after another; each picks the largest growth of
  log det A, so that a batch does not ask the same thing twice.
- `disagreement`: the items that draws from the posterior order in the most different ways.

15 % of the views stay random (`data/store/choosing.py`), because a model that chooses its own data
cannot be measured on it.
"""

import json
import re
import threading
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from sqlalchemy import select, update

from tastemaker.data.judgements import Judgement
from tastemaker.data.store import Store
from tastemaker.data.store import schema as s
from tastemaker.data.store.choosing import RANDOM_SHARE
from tastemaker.data.store.records import answered
from tastemaker.maths.statistics import Floats, wilson_interval
from tastemaker.rank.verdicts import verdicts

WIDTH = 512
_READ = 20_000  # characters of a text
_PRIOR = 1.0
_STEPS = 8  # of Newton's method
_MOST_ANSWERS = 4000
_MOST_PAIRS = 30_000
"""Pairs that a model is fitted to; each takes 4 KB."""
POOL = 800
"""Open items, drawn again each time, among which the next ones are picked."""
BATCH = 40
_MEMBERS = 16
_TESTED = 5
"""Every fifth judgement of the random arm measures and is never fitted to."""


_WORD = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff]+|\w|[^\w\s]")
"""A word, a mark, or one character of Chinese or Japanese."""


@lru_cache(1 << 16)
def _column(word: str) -> tuple[int, float]:
    """Return the column of a word, and its sign."""
    number = zlib.crc32(word.encode("utf-8", "replace"))
    return number % WIDTH, 1.0 if number >> 31 else -1.0


def features(texts: Sequence[str]) -> Floats:
    """Return the hashed words of texts, float64 [n, WIDTH], each row of length 1."""
    table = np.zeros((len(texts), WIDTH))
    for row, text in enumerate(texts):
        for word in _WORD.findall(text.lower()[:_READ]):
            column, sign = _column(word)
            table[row, column] += sign
    table = np.sign(table) * np.sqrt(np.abs(table))
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.maximum(length, 1e-12))


class Model:
    """A logistic regression on differences, and its posterior."""

    def __init__(self, differences: Floats, won: Floats) -> None:
        """Fit. differences: [n, width]; won: 1 for the first text, 0 for the second, ½ a tie."""
        width = differences.shape[1]
        self.weights = np.zeros(width)
        for _ in range(_STEPS):
            chance = 1 / (1 + np.exp(-differences @ self.weights))
            slope = differences.T @ (won - chance) - _PRIOR * self.weights
            self.precision = _PRIOR * np.eye(width)
            weighted = differences * (chance * (1 - chance))[:, None]
            self.precision += differences.T @ weighted
            self.weights = self.weights + np.linalg.solve(
                self.precision, slope
            )

    def accuracy(self, differences: Floats, won: Floats) -> tuple[int, int]:
        """Return how many pairs with a winner are ordered right, and how many there are."""
        has_winner = won != 0.5
        right = (differences @ self.weights > 0) == (won > 0.5)
        return int(right[has_winner].sum()), int(has_winner.sum())


def optimal(
    model: Model, items: Sequence[Floats], batch: int = BATCH
) -> list[int]:
    """Return the numbers of the items to ask, the most telling first. items: features [k, width].

    An item tells √(p(1 − p)) Δφ of each text to the item's mean. After each pick A grows by it, and
    the gains of all others are brought up to date.
    """
    rows, owner = _directions(model, items)
    covariance = np.linalg.inv(model.precision)
    gains = np.einsum("ij,ij->i", rows @ covariance, rows)
    picked: list[int] = []
    for _ in range(min(batch, len(items))):
        growth = np.bincount(owner, np.log1p(np.maximum(gains, 0)), len(items))
        growth[picked] = -1.0
        best = int(growth.argmax())
        picked.append(best)
        for row in np.flatnonzero(owner == best):
            step = covariance @ rows[row] / np.sqrt(1 + max(gains[row], 0.0))
            covariance -= np.outer(step, step)
            gains -= (rows @ step) ** 2
    return picked


def _directions(
    model: Model, items: Sequence[Floats]
) -> tuple[Floats, np.ndarray[Any, np.dtype[np.intp]]]:
    parts = []
    for item in items:
        score = item @ model.weights
        chance = 1 / (1 + np.exp(score.mean() - score))
        centred = item - item.mean(axis=0)
        parts.append(centred * np.sqrt(chance * (1 - chance))[:, None])
    sizes = [len(part) for part in parts]
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), sizes)


def disagreement(
    model: Model, items: Sequence[Floats], batch: int = BATCH, seed: int = 0
) -> list[int]:
    """Return the numbers of the items on which draws from the posterior disagree most."""
    shape = len(model.weights), _MEMBERS
    draws = np.random.default_rng(seed).standard_normal(shape)
    root = np.linalg.cholesky(model.precision)
    members = model.weights[:, None] + np.linalg.solve(root.T, draws)
    doubt = []
    for item in items:
        scores = item @ members
        above = scores[:, None, :] > scores[None, :, :]
        share = above.mean(axis=2)
        doubt.append((share * (1 - share)).sum() / max(1, len(item) - 1))
    return [int(number) for number in np.argsort(doubt)[::-1][:batch]]


ORDERS: dict[str, Callable[[Model, Sequence[Floats]], list[int]]] = {
    "optimal": optimal,
    "disagreement": disagreement,
}


def most_telling(
    judged: Sequence[Judgement],
    items: Sequence[Sequence[str]],
    count: int,
    *,
    seed: int,
) -> tuple[list[int], list[int]]:
    """Return the numbers of the items to judge: those that teach most, and random ones.

    judged: the comparisons and rankings in it are what the model knows; other judgements are left
    out. items: the texts of each. count: of both together, all items at most.
    """
    draws = np.random.default_rng(seed)
    numbers = draws.permutation(len(items)).tolist()
    count = min(count, len(items))
    share = round(count * RANDOM_SHARE)
    at_random = numbers[:share]
    rest = numbers[share:]
    orders = []
    for judgement in judged:
        if judgement.ranks and judgement.weight > 0:
            orders.append(judgement)
    draws.shuffle(orders)
    model = Model(*_pairs_of(orders[:_MOST_ANSWERS], draws))
    texts = []
    for number in rest:
        texts.append(features(items[number]))
    if not texts:
        return [], at_random
    telling = []
    for place in optimal(model, texts, count - share):
        telling.append(rest[place])
    return telling, at_random


class Asker:
    """Refits in the background after every `after` answers, and writes what to ask into the store.

    A refit that is still running is not disturbed; the answers that came meanwhile wait for the
    next one.
    """

    def __init__(self, store: Store, ask: str, after: int) -> None:
        self.store, self.ask, self.after = store, ask, after
        self._answers = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def answered(self) -> None:
        """Count an answer, and refit where enough have come."""
        with self._lock:
            self._answers += 1
            is_busy = self._thread is not None and self._thread.is_alive()
            if self.ask == "random" or self._answers < self.after or is_busy:
                return
            self._answers = 0
            self._thread = threading.Thread(target=self.refit, daemon=True)
            self._thread.start()

    def refit(self) -> None:
        """Fit to the judgements so far, and give the most telling open items a priority."""
        rows = self._rows()
        fitted = _pairs([row for row in rows if not _is_test(row)])
        if not len(fitted[1]):
            return
        model = Model(*fitted)
        self._measure(rows, model)
        with self.store.database.reading() as connection:
            query = select(s.items.c.id, s.items.c.texts)
            query = query.where(
                s.items.c.judged < s.items.c.wanted, s.items.c.ask == "rank"
            )
            start = np.random.default_rng(len(rows)).random()
            later = query.where(s.items.c.lot > start).order_by(s.items.c.lot)
            pool = connection.execute(later.limit(POOL)).all()
            if len(pool) < POOL:
                pool = connection.execute(
                    query.order_by(s.items.c.lot).limit(POOL)
                ).all()
        if not pool:
            return
        order = ORDERS[self.ask](model, [_of_item(row) for row in pool])
        with self.store.database.writing() as connection:
            asked = update(s.items).where(s.items.c.priority.is_not(None))
            connection.execute(asked.values(priority=None))
            for place, number in enumerate(order):
                change = update(s.items).where(s.items.c.id == pool[number].id)
                connection.execute(change.values(priority=float(place)))

    def _rows(self) -> list[Any]:
        query = answered().add_columns(s.views.c.arm, s.views.c.reason)
        query = query.where(s.items.c.ask == "rank", s.views.c.reason == "new")
        query = query.order_by(None).order_by(s.judgements.c.id.desc())
        with self.store.database.reading() as connection:
            return list(connection.execute(query.limit(_MOST_ANSWERS)))[::-1]

    def _measure(self, rows: list[Any], model: Model) -> None:
        """Add a point to the lead's curve: both arms, on random judgements that neither fitted."""
        tests = _pairs([row for row in rows if _is_test(row)])
        rest = [
            row for row in rows if row.arm == "random" and not _is_test(row)
        ]
        at_random = _pairs(rest)
        if not len(tests[1]) or not len(at_random[1]):
            return
        point: dict[str, Any] = {
            "answers": len(rows),
            "random_answers": len(rest),
        }
        arms = {"all": model, "random": Model(*at_random)}
        for name, fitted in arms.items():
            right, n = fitted.accuracy(*tests)
            if n:
                low, high = wilson_interval(right, n)
                point[name] = [right / n, float(low), float(high)]
        curve = self.store.setting("curve", [])
        self.store.set("curve", [*curve, point][-200:])


def _is_test(row: Any) -> bool:
    return bool(row.arm == "random" and row.id % _TESTED == 0)


def _of_item(row: Any) -> Floats:
    # the prompt is the same for all answers, so it would only make their differences smaller
    return features(json.loads(row.texts))


def _pairs(rows: Sequence[Any]) -> tuple[Floats, Floats]:
    """Return differences [n, WIDTH] and who won [n] of all pairs of rankings."""
    differences, won = [np.zeros((0, WIDTH))], [np.zeros(0)]
    for row in rows:
        table = _of_item(row)
        pairs = verdicts(json.loads(row.answer))
        first = np.array([a for a, _ in pairs], dtype=np.intp)
        second = np.array([b for _, b in pairs], dtype=np.intp)
        differences.append(table[first] - table[second])
        won.append((np.array(list(pairs.values())) + 1) / 2)
    return np.concatenate(differences), np.concatenate(won)


def _pairs_of(
    judged: Sequence[Any], draws: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return differences [n, WIDTH] and who won [n] of the pairs of comparisons and rankings.

    Pairs whose order nobody gave, as among the answers that lost a best-of-n, are left out. Of more
    than `_MOST_PAIRS` pairs, this number is drawn.
    """
    columns = [np.zeros((4, 0), np.intp)]
    for number, judgement in enumerate(judged):
        ranks = np.array(judgement.ranks)
        first, second = np.triu_indices(len(ranks), 1)
        is_last = ranks == judgement.unordered_rank
        is_ordered = ~(is_last[first] & is_last[second])
        order = np.sign(ranks[second] - ranks[first])
        pairs = np.stack([np.full(len(first), number), first, second, order])
        columns.append(pairs[:, is_ordered])
    table = np.concatenate(columns, axis=1)
    if table.shape[1] > _MOST_PAIRS:
        chosen = draws.choice(table.shape[1], _MOST_PAIRS, replace=False)
        table = table[:, np.sort(chosen)]
    differences = [np.zeros((0, WIDTH))]
    starts = np.searchsorted(table[0], np.arange(len(judged) + 1))
    for number, judgement in enumerate(judged):
        _, first, second, _ = table[:, starts[number] : starts[number + 1]]
        if len(first):
            texts = features(judgement.texts)
            differences.append(texts[first] - texts[second])
    return np.concatenate(differences), (table[3] + 1) / 2
