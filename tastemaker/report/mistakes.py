"""The mistakes that say most about a model, to be read: the surest ones, each text once, shortened."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example, plain
from tastemaker.evaluate.findings import Evaluation, KindFindings
from tastemaker.kinds.metrics import MetricsOfOneText
from tastemaker.maths.ranks import is_ordered, kendall_by_list

_SHOWN = 5
_CHARACTERS = 320
_READ_THEM = (
    "Read them: is the model wrong, is the judgement, or is the text of a kind that is new to it?"
)


@dataclass(frozen=True)
class Mistakes:
    """A table of mistakes. rows: the cells of each, under the headings; the last one says where it comes from.

    texts: the columns that hold texts.
    """

    title: str
    note: str
    headings: tuple[str, ...]
    texts: frozenset[int]
    rows: Sequence[tuple[str, ...]]


def mistakes(evaluation: Evaluation) -> list[Mistakes]:
    """Return the tables of every kind; none for a direction without a mistake."""
    return [
        group
        for found in evaluation.kinds
        for group in _DRAWN_AS[found.kind_metrics.drawn_as](evaluation, found)
        if group.rows
    ]


def excerpt(text: str, characters: int = _CHARACTERS) -> str:
    """Return the beginning of a text as one line without control characters."""
    start = " ".join(text[: 4 * characters].split())
    if len(start) > characters or len(text) > 4 * characters:
        start = start[:characters].rstrip() + " …"
    return _printable(start)


def excerpt_of(example: Example) -> str:
    """Return the beginning of an example, its prompt before it."""
    return excerpt(
        example.text if example.prompt is None else f"{plain(example.prompt)} → {example.text}"
    )


def _end_of(prompt: Any) -> str:
    """Return the end of a prompt, which the texts answer, as one line; nothing for no prompt."""
    text = "" if prompt is None else plain(prompt)
    end = " ".join(text[-2 * _CHARACTERS :].split())
    return _printable(
        end if len(end) <= _CHARACTERS // 2 else "… " + end[-_CHARACTERS // 2 :].lstrip()
    )


def _printable(text: str) -> str:
    return "".join("\ufffd" if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)


def _of_one_text(evaluation: Evaluation, found: KindFindings) -> Iterator[Mistakes]:
    """Yield the worst mistakes of either direction, the worst first."""
    metrics = found.kind_metrics
    assert isinstance(metrics, MetricsOfOneText)
    predicted, said, scores = found.predictions.predicted, found.answers, found.predictions.scores
    error, is_mistake = predicted - said, metrics.is_mistake(said, predicted)
    for sign, word in ((1, "too high"), (-1, "too low")):
        wrong = np.flatnonzero(is_mistake & (sign * error > 0))
        # scores break the ties of probabilities that are all but certain
        order = wrong[np.lexsort((-sign * scores[wrong], -sign * error[wrong]))]
        rows = [
            (
                metrics.in_words(float(predicted[i])),
                metrics.in_words(float(said[i])),
                f"{scores[i]:+.2f}",
                excerpt_of(evaluation.examples[found.judged.text[i]]),
                found.judged.judgements[i].where,
            )
            for i in _first(order, found.judged.text)
        ]
        title = f"The {len(rows)} {found.kind}s predicted most {word}"
        yield Mistakes(
            title, _READ_THEM, ("predicted", "given", "score", "text", "from"), frozenset({3}), rows
        )


def _of_pairs(evaluation: Evaluation, found: KindFindings) -> Iterator[Mistakes]:
    """Yield the pairs in which the model is surest that people chose the worse text."""
    scores, chances = found.predictions.scores, found.predictions.predicted
    by = scores[:, 0] - scores[:, 1]
    wrong = np.flatnonzero(is_ordered(found.answers) & (by < 0))
    rows = []
    for i in _first(wrong[np.argsort(by[wrong], kind="stable")], found.judged.text):
        judgement = found.judged.judgements[i]
        rows.append(
            (
                f"{chances[i]:.1%}",
                f"{scores[i, 0]:+.2f} / {scores[i, 1]:+.2f}",
                _end_of(judgement.prompt),
                excerpt(judgement.chosen),
                excerpt(judgement.rejected),
                judgement.where,
            )
        )
    headings = ("P(chosen)", "scores", "prompt", "people chose", "and rejected", "from")
    title = f"The {len(rows)} comparisons that it is surest to be the other way round"
    yield Mistakes(title, _READ_THEM, headings, frozenset({2, 3, 4}), rows)


def _of_lists(evaluation: Evaluation, found: KindFindings) -> Iterator[Mistakes]:
    """Yield the lists that the scores order most unlike people."""
    tau = kendall_by_list(found.predictions.scores, found.answers)
    wrong = np.flatnonzero(tau < 0)  # never true of NaN
    rows = []
    for i in _first(wrong[np.argsort(tau[wrong], kind="stable")], found.judged.text):
        judgement = found.judged.judgements[i]
        k = len(judgement.texts)
        top = int(np.argmax(found.predictions.scores[i, :k]))
        rows.append(
            (
                f"{tau[i]:+.2f}",
                f"{judgement.ranks[top] + 1} of {max(judgement.ranks) + 1}",
                _end_of(judgement.prompt),
                excerpt(judgement.texts[0]),
                excerpt(judgement.texts[top]),
                judgement.where,
            )
        )
    headings = ("τ", "its tier", "prompt", "people's best", "scores highest", "from")
    title = f"The {len(rows)} rankings that it orders most unlike people"
    yield Mistakes(title, _READ_THEM, headings, frozenset({2, 3, 4}), rows)


def _first(order: NDArray[np.intp], text: NDArray[np.intp]) -> Sequence[int]:
    """Return the first few judgements of `order` that are about unlike texts."""
    kept: dict[object, int] = {}
    for i in order:
        if len(kept) == _SHOWN:
            break
        kept.setdefault(frozenset(np.atleast_1d(text[i]).tolist()), int(i))
    return list(kept.values())


_DRAWN_AS: dict[str, Callable[[Evaluation, KindFindings], Iterator[Mistakes]]] = {
    "label": _of_one_text,
    "number": _of_one_text,
    "pair": _of_pairs,
    "list": _of_lists,
}
