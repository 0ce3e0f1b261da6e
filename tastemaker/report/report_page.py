"""The parts of a report about an evaluation and about what runs cost; an evaluation's files."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tastemaker.costs import COST_FILE, Cost
from tastemaker.data.judgements import Example, plain
from tastemaker.evaluate.estimates import NAMES, shown
from tastemaker.evaluate.findings import (
    Duplicates,
    Evaluation,
    KindFindings,
    measure_rows,
    part_rows,
    slice_rows,
)
from tastemaker.kinds.metrics import MetricsOfOneText
from tastemaker.maths.statistics import is_ordered, kendall_by_list
from tastemaker.plotting import Panel, panel_figure, rendered
from tastemaker.readable import excerpt, listed, printable
from tastemaker.report.frontier_page import frontier_panels
from tastemaker.report.kind_panels import panels
from tastemaker.report.kl_frontier import Frontier
from tastemaker.report.page import (
    PARTS_FILE,
    Content,
    Part,
    page,
    page_figures,
    write_together,
)
from tastemaker.report.summary import Summary, summary_of_evaluation

_STRONGEST = 8  # parts of an explained text
_SHOWN = 5  # mistakes in a table, and copies
_CHARACTERS = 320  # of a text


def write_report(
    evaluation: Evaluation,
    folder: Path,
    *,
    title: str | None = None,
    explanations: Sequence["Explained"] = (),
    language: str = "en",
    cost: Cost | None = None,
) -> None:
    """Write `report.html`, `report.png`, `evaluation.json` and `report.json` into the folder.

    explanations: of some scores, made by `tm.explain`. language: of the page, en or zh. cost: of
    the evaluation, for `cost.json`. `report.json` is what `report` shows. Other files there stay
    as they are. All are made before the first is written. Raises StorageError for a full disk or
    an unwritable folder.
    """
    part = evaluation_part(evaluation, explanations=explanations)
    parts = [part]
    files: dict[str, Content] = {
        "report.png": overview_png(evaluation),
        "evaluation.json": evaluation.as_dict(),
        PARTS_FILE: part.as_dict(),
    }
    if cost is not None:
        parts.append(cost_part([("evaluate", cost)]))
        files[COST_FILE] = asdict(cost)
    html = page(parts, title=title, language=language)
    write_together(folder, {"report.html": html, **files})


def overview_png(evaluation: Evaluation) -> bytes:
    """Return all panels as one PNG file."""
    parts = []
    for findings in evaluation.kinds:
        name = findings.kind_metrics.headline
        value = shown(name, findings.measured.model[name])
        parts.append(
            f"{NAMES[name]} {value} on {findings.n:,} {findings.kind}s"
        )
    heading = " · ".join(parts)
    heading = heading[:1].upper() + heading[1:]
    return rendered(panels(evaluation), columns=2, heading=heading, form="png")


def figures(shown: Evaluation | Frontier) -> dict[str, Figure]:
    """Return the figures of a report by name, as matplotlib's own objects.

    shown: an evaluation, or the frontier of steered runs.
    """
    if isinstance(shown, Frontier):
        return _drawn(frontier_panels(shown))
    return _drawn(panels(shown))


def _drawn(shown: Iterable[Panel]) -> dict[str, Figure]:
    return {panel.name: panel_figure(panel) for panel in shown}


class Explained(Protocol):
    """A score with the parts of its text, such as `tm.explain` returns."""

    @property
    def score(self) -> float:
        """The score."""
        ...

    def strongest(self, most: int) -> Sequence[Any]:
        """Return the parts (text, effect) with the largest effects."""
        ...


def _explained(explanations: Sequence[Explained]) -> list[list[str]]:
    """Return the table of explained scores, the heading first; empty without any."""
    rows = [["score", "what made it: its strongest parts"]]
    for explanation in explanations:
        parts = []
        for part in explanation.strongest(_STRONGEST):
            parts.append(f"{excerpt(part.text, 80)} {part.effect:+.2f}")
        rows.append([f"{explanation.score:+.2f}", " · ".join(parts)])
    return rows if explanations else []


def html_of(
    evaluation: Evaluation,
    *,
    title: str | None = None,
    explanations: Sequence[Explained] = (),
    language: str = "en",
) -> str:
    """Return the report as one HTML page with its figures inside."""
    part = evaluation_part(evaluation, explanations=explanations)
    return page([part], title=title, language=language)


def evaluation_part(
    evaluation: Evaluation,
    *,
    explanations: Sequence[Explained] = (),
    label: str = "",
) -> Part:
    """Return the part of a report about an evaluation. label: which model or data it is about."""
    kinds = evaluation.kinds
    copied = np.flatnonzero(evaluation.duplicates.in_training)[:_SHOWN]
    tables = [rows for findings in kinds for rows in part_rows(findings)]
    values = {
        "judgements": listed(
            f"{findings.n:,} {findings.kind}s" for findings in kinds
        ),
        "texts": f"{len(evaluation.examples):,}",
        "verdict": evaluation.verdict(),
        "verdicts": evaluation.verdicts(),
        "measures": [measure_rows(findings) for findings in kinds],
        "baselines": list(_baselines(evaluation)),
        "parts": tables,
        "panels": page_figures(panels(evaluation)),
        "slices": slice_rows(evaluation),
        "mistakes": [group.as_dict() for group in _mistakes(evaluation)],
        "explained": _explained(explanations),
        "duplicates": _duplicate_rows(evaluation.duplicates),
        "copies": [_excerpt_of(evaluation.examples[i]) for i in copied],
    }
    summary = summary_of_evaluation(evaluation)
    return Part("evaluation", summary, values, label)


def _baselines(evaluation: Evaluation) -> Iterator[str]:
    """Yield a sentence about each baseline."""
    kinds = evaluation.kinds
    titles = {findings.kind_metrics.constant_title for findings in kinds}
    if any(findings.linear_predictions is not None for findings in kinds):
        yield "The linear baseline counts words; it was fitted on the same judgements."
    if any(findings.measured.longer for findings in kinds):
        yield "The longer text: always prefer the text with more characters."
    if "constant" in titles:
        yield "The constant is the best prediction that is the same for all texts."
    if "coin" in titles:
        yield "The coin orders by chance."


def _duplicate_rows(duplicates: Duplicates) -> list[list[str]]:
    count = "unknown" if duplicates.texts is None else f"{duplicates.texts:,}"
    rows = [
        ["exact duplicates", "count"],
        ["evaluated texts that are in the training data", count],
        [
            "judgements that repeat another evaluated one",
            f"{duplicates.within:,}",
        ],
    ]
    for name, estimate in duplicates.without.items():
        title = f"{NAMES[name]} without texts of the training data"
        rows.append([title, shown(name, estimate)])
    return rows


# --- mistakes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mistakes:
    """A table of mistakes. texts: the columns that hold texts. The last column is the place."""

    title: str
    headings: tuple[str, ...]
    texts: frozenset[int]
    rows: Sequence[tuple[str, ...]]

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "title": self.title,
            "headings": list(self.headings),
            "texts": sorted(self.texts),
            "rows": [list(row) for row in self.rows],
        }


def _mistakes(evaluation: Evaluation) -> list[_Mistakes]:
    """Return the most confident mistakes of each kind, each text once."""
    groups: list[_Mistakes] = []
    for findings in evaluation.kinds:
        groups += _MISTAKES[findings.kind_metrics.drawn_as](
            evaluation, findings
        )
    return [group for group in groups if group.rows]


def _of_one_text(
    evaluation: Evaluation, findings: KindFindings
) -> Iterator[_Mistakes]:
    """Yield the worst mistakes in either direction, the worst first."""
    kind_metrics, judged = findings.kind_metrics, findings.judged
    assert isinstance(kind_metrics, MetricsOfOneText)
    predicted, answers = findings.predictions.predicted, findings.answers
    scores = findings.predictions.scores
    is_mistake = kind_metrics.is_mistake(answers, predicted)
    for sign, word in ((1, "too high"), (-1, "too low")):
        error = sign * (predicted - answers)
        wrong = np.flatnonzero(is_mistake & (error > 0))
        # almost certain probabilities are equal in float64: order those by score
        order = wrong[np.lexsort((-sign * scores[wrong], -error[wrong]))]
        rows = []
        for i in _first(order, judged.text):
            row = (
                kind_metrics.in_words(float(predicted[i])),
                kind_metrics.in_words(float(answers[i])),
                f"{scores[i]:+.2f}",
                _excerpt_of(evaluation.examples[judged.text[i]]),
                judged.judgements[i].where,
            )
            rows.append(row)
        title = f"The {len(rows)} {findings.kind}s predicted most {word}"
        headings = ("predicted", "given", "score", "text", "source")
        yield _Mistakes(title, headings, frozenset({3}), rows)


def _of_pairs(
    evaluation: Evaluation, findings: KindFindings
) -> Iterator[_Mistakes]:
    """Yield the pairs in which the rejected text scores highest above the chosen one."""
    scores, judged = findings.predictions.scores, findings.judged
    difference = scores[:, 0] - scores[:, 1]
    wrong = np.flatnonzero(is_ordered(findings.answers) & (difference < 0))
    order = wrong[np.argsort(difference[wrong], kind="stable")]
    rows = []
    for i in _first(order, judged.text):
        judgement = judged.judgements[i]
        row = (
            f"{findings.predictions.predicted[i]:.1%}",
            f"{scores[i, 0]:+.2f} / {scores[i, 1]:+.2f}",
            _end_of(judgement.prompt),
            excerpt(judgement.chosen, _CHARACTERS),
            excerpt(judgement.rejected, _CHARACTERS),
            judgement.where,
        )
        rows.append(row)
    title = f"The {len(rows)} comparisons with the most confident mistakes"
    headings = (
        "P(chosen)",
        "scores",
        "prompt",
        "chosen by people",
        "rejected",
        "source",
    )
    yield _Mistakes(title, headings, frozenset({2, 3, 4}), rows)


def _of_lists(
    evaluation: Evaluation, findings: KindFindings
) -> Iterator[_Mistakes]:
    """Yield the lists that the scores order least like people."""
    scores, judged = findings.predictions.scores, findings.judged
    tau = kendall_by_list(scores, findings.answers)
    wrong = np.flatnonzero(tau < 0)  # false for NaN
    order = wrong[np.argsort(tau[wrong], kind="stable")]
    rows = []
    for i in _first(order, judged.text):
        judgement = judged.judgements[i]
        texts, ranks = judgement.texts, judgement.ranks
        top = int(np.argmax(scores[i, : len(texts)]))
        row = (
            f"{tau[i]:+.2f}",
            f"{ranks[top] + 1} of {max(ranks) + 1}",
            _end_of(judgement.prompt),
            excerpt(texts[0], _CHARACTERS),
            excerpt(texts[top], _CHARACTERS),
            judgement.where,
        )
        rows.append(row)
    title = f"The {len(rows)} rankings with the lowest Kendall's τ"
    headings = (
        "τ",
        "its tier",
        "prompt",
        "people's best",
        "highest score",
        "source",
    )
    yield _Mistakes(title, headings, frozenset({2, 3, 4}), rows)


_MISTAKES: dict[
    str, Callable[[Evaluation, KindFindings], Iterator[_Mistakes]]
] = {
    "label": _of_one_text,
    "number": _of_one_text,
    "pair": _of_pairs,
    "list": _of_lists,
}


def _first(order: NDArray[np.intp], text: NDArray[np.intp]) -> list[int]:
    """Return the first judgements of `order` that are about different texts."""
    chosen: dict[object, int] = {}
    for i in order:
        if len(chosen) == _SHOWN:
            break
        texts = frozenset(np.atleast_1d(text[i]).tolist())
        chosen.setdefault(texts, int(i))
    return list(chosen.values())


def _excerpt_of(example: Example) -> str:
    """Return the beginning of an example, after its prompt."""
    text = example.text
    if example.prompt is not None:
        text = f"{plain(example.prompt)} → {text}"
    return excerpt(text, _CHARACTERS)


def _end_of(prompt: Any) -> str:
    """Return the end of a prompt, which the texts answer, as one line."""
    if prompt is None:
        return ""
    end = " ".join(plain(prompt)[-2 * _CHARACTERS :].split())
    if len(end) > _CHARACTERS // 2:
        end = "… " + end[-_CHARACTERS // 2 :].lstrip()
    return printable(end)


Costs = Sequence[tuple[str, Cost]]
"""What runs cost, each with its name."""

_SHARES = ["run", "stage", "time", "share"]
_HEADING = [
    "run",
    "time",
    "processor time",
    "most memory",
    "device",
    "processed",
]


def cost_part(costs: Costs) -> Part:
    """Return the part about what some runs cost, or the stages of a loop."""
    rows = []
    for name, cost in costs:
        counts = cost.counts_in_words()
        figures = cost.figures()
        rows.append({"name": name, "cells": figures, "counts": counts})
    repeats: list[dict[str, Any]] = []
    shares = [_SHARES]
    for name, cost in costs:
        command = cost.command or ""
        versions = json.dumps(cost.versions, indent=2)
        repeat = {"command": command, "seed": cost.seed, "versions": versions}
        # the stages of a loop have one command
        same = [each for each in repeats if repeat.items() <= each.items()]
        if same and command:
            same[0]["name"] += f", {name}"
        else:
            repeats.append({"name": name, **repeat})
        if cost.stages:
            shares += [[name, *row] for row in cost.shares()]
    values = {
        "heading": _HEADING,
        "rows": rows,
        "shares": shares,
        "repeats": repeats,
    }
    return Part("cost", Summary("usable"), values)
