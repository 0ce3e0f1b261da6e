"""A reward model beside the judges: its scores of what has been judged, for the lead alone.

A text is scored once its item has a judgement, never before, so that no page can show a judge what
the model thinks.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tastemaker.data.judgements import Example
from tastemaker.data.store import Store
from tastemaker.data.store.items import prompt_of
from tastemaker.rank.figures import answers_of, shown_prompt
from tastemaker.rank.verdicts import Answer, Share, verdicts
from tastemaker.scores import Scores

LATEST = 50
"""Judgements that are compared with the model."""
_LISTED = 12


class Scorer(Protocol):
    """What a reward model does here."""

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Return the scores of texts."""


@dataclass(frozen=True)
class ScoredText:
    """A text, its place in the judge's answer (a rank from 1, or the value), and its score."""

    text: str
    judged: str
    score: float


@dataclass(frozen=True)
class ScoredAnswer:
    """A judgement beside the model's scores."""

    judge: str
    prompt: str
    texts: Sequence[ScoredText]


@dataclass(frozen=True)
class ScoreAgreement:
    """The model beside the judges. agreement: on ordered pairs, by judge."""

    agreement: dict[str, Share]
    answers: Sequence[ScoredAnswer]


class Referee:
    """Scores what has been judged; a text is scored once."""

    def __init__(self, model: Scorer) -> None:
        self.model = model
        self._scores: dict[int, list[float]] = {}
        self._lock = threading.Lock()

    def compare(self, store: Store) -> ScoreAgreement:
        """Return the latest judgements beside the model's scores."""
        rows = answers_of(store, LATEST)
        with self._lock:
            self._score(rows)
        hits: dict[str, list[int]] = {}
        answers = []
        for row in rows:
            answer = json.loads(row.answer)
            scores = self._scores[row.item_id]
            right, n = _agreement(answer, scores)
            total = hits.setdefault(row.name, [0, 0])
            total[0] += right
            total[1] += n
            answers.append(_beside(row, answer, scores))
        agreement = {}
        for name, (right, n) in sorted(hits.items()):
            agreement[name] = Share(right, n, "no_order")
        return ScoreAgreement(agreement, answers[::-1][:_LISTED])

    def _score(self, rows: Sequence[Any]) -> None:
        examples, of_item = [], []
        new = {row.item_id: row for row in rows}
        for number, row in new.items():
            if number in self._scores:
                continue
            cell = None if row.prompt is None else json.loads(row.prompt)
            for text in json.loads(row.texts):
                examples.append(Example(text, prompt_of(cell)))
                of_item.append(number)
        if not examples:
            return
        values = self.model.score_all(examples).values
        for number, value in zip(of_item, values, strict=True):
            self._scores.setdefault(number, []).append(float(value))


def _agreement(answer: Answer, scores: Sequence[float]) -> tuple[int, int]:
    """Return on how many ordered pairs the model agrees, and how many there are."""
    right = n = 0
    if "tiers" in answer:
        for (a, b), verdict in verdicts(answer).items():
            if verdict:
                n += 1
                right += verdict * (scores[a] - scores[b]) > 0
    return right, n


def _beside(row: Any, answer: Answer, scores: Sequence[float]) -> ScoredAnswer:
    texts = json.loads(row.texts)
    judged = dict.fromkeys(range(len(texts)), "–")
    for rank, tier in enumerate(answer.get("tiers", []), 1):
        judged |= dict.fromkeys(tier, str(rank))
    if "value" in answer:
        judged = {0: str(answer["value"])}
    order = sorted(range(len(texts)), key=lambda n: (judged[n], -scores[n]))
    listed = [ScoredText(texts[n], judged[n], scores[n]) for n in order]
    return ScoredAnswer(row.name, shown_prompt(row.prompt), listed)
