"""The report's figures: each panel has a title that says the finding and a caption that says how to read it.

The evaluation as one HTML page that needs nothing else, one overview picture, and one JSON file.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tastemaker.evaluate.findings import (
    NAMES,
    Evaluation,
    KindFindings,
    measure_rows,
    part_rows,
    shown,
    slice_rows,
)
from tastemaker.plotting import Panel, rendered
from tastemaker.report.drawn_panels import (
    comparison_panels,
    label_panels,
    number_panels,
    ranking_panels,
    slices_panel,
)
from tastemaker.report.mistakes import excerpt_of, mistakes
from tastemaker.report.page import numbers, page, page_figures, write_together
from tastemaker.text_tables import listed


def panels(evaluation: Evaluation) -> list[Panel]:
    """Return the panels of every kind of judgement that was evaluated."""
    return [panel for found in evaluation.kinds for panel in _panels_of(evaluation, found)]


def overview_png(evaluation: Evaluation) -> bytes:
    """Return all the panels, two beside each other, as one PNG file."""
    heads = []
    for found in evaluation.kinds:
        estimate = found.measured.model[found.kind_metrics.headline]
        figure = (
            f"{NAMES[found.kind_metrics.headline]} {shown(found.kind_metrics.headline, estimate)}"
        )
        heads.append(f"{figure} on {found.n:,} {found.kind}s")
    heading = " · ".join(heads)
    return rendered(
        panels(evaluation), columns=2, heading=heading[:1].upper() + heading[1:], form="png"
    )


_PANELS: dict[str, Callable[[KindFindings], Iterator[Panel]]] = {
    "label": label_panels,
    "number": number_panels,
    "pair": comparison_panels,
    "list": ranking_panels,
}


def _panels_of(evaluation: Evaluation, found: KindFindings) -> Iterator[Panel]:
    yield from _PANELS[found.kind_metrics.drawn_as](found)
    singles = [f for f in evaluation.kinds if f.kind_metrics.of_one_text]
    is_first = found is next(
        (f for f in singles if f.kind_metrics.headline == found.kind_metrics.headline), None
    )
    if is_first and len(evaluation.slices) > 1:  # a slice holds each headline figure once
        yield slices_panel(evaluation, found)


_SHOWN_COPIES = 5
_TILES = ("accuracy", "auroc", "ece", "pearson", "spearman", "mae", "kendall_tau", "ndcg", "top1")


def write_report(
    evaluation: Evaluation, folder: Path, *, title: str = "How far to trust this reward model"
) -> None:
    """Write `report.html`, `report.png` and `evaluation.json` into the folder; other files there stay as they are.

    All three are made before the first is written. Raises StorageError for a full disk or an unwritable folder.
    """
    contents: dict[str, str | bytes] = {
        "report.html": html_of(evaluation, title=title),
        "report.png": overview_png(evaluation),
        "evaluation.json": numbers(evaluation.as_dict()),
    }
    write_together(folder, contents)


def html_of(evaluation: Evaluation, *, title: str) -> str:
    """Return the report as one HTML page with its figures inside."""
    copied = np.flatnonzero(evaluation.duplicates.in_training)[:_SHOWN_COPIES]
    return page(
        "report.html.j2",
        title=title,
        judgements=listed(f"{found.n:,} {found.kind}s" for found in evaluation.kinds),
        texts=f"{len(evaluation.examples):,}",
        tiles=list(_tiles(evaluation)),
        verdicts=evaluation.verdicts(),
        measures=[measure_rows(found) for found in evaluation.kinds],
        rivals=list(_rivals(evaluation)),
        parts=[rows for found in evaluation.kinds for rows in part_rows(found)],
        figures=page_figures(panels(evaluation)),
        slices=slice_rows(evaluation),
        mistakes=mistakes(evaluation),
        duplicates=_duplicate_rows(evaluation),
        copies=[excerpt_of(evaluation.examples[i]) for i in copied],
    )


def _tiles(evaluation: Evaluation) -> Iterator[dict[str, str]]:
    """Yield the few figures that stand at the top of the page."""
    for found in evaluation.kinds:
        for name in _TILES:
            if name in found.measured.model and (
                name != "kendall_tau" or not found.kind_metrics.of_one_text
            ):
                value, _, interval = shown(name, found.measured.model[name]).partition(" ")
                heading = (
                    NAMES[name] if len(evaluation.kinds) == 1 else f"{NAMES[name]}, {found.kind}s"
                )
                yield {"name": heading, "value": value, "interval": interval}


def _rivals(evaluation: Evaluation) -> Iterator[str]:
    """Yield what the rivals of the kinds at hand are, a sentence each."""
    titles = {found.kind_metrics.constant_title for found in evaluation.kinds}
    if any(found.linear_predictions is not None for found in evaluation.kinds):
        yield "The linear baseline counts words and was fitted on the same judgements."
    if any(found.measured.longer for found in evaluation.kinds):
        yield "The longer prefers whichever text has more characters."
    if "constant" in titles:
        yield "The constant always says the same, the best such thing, known in hindsight."
    if "coin" in titles:
        yield "The coin orders by chance."


def _duplicate_rows(evaluation: Evaluation) -> list[list[str]]:
    duplicates = evaluation.duplicates
    in_training = "not known" if duplicates.texts is None else f"{duplicates.texts:,}"
    rows = [
        ["exact duplicates", "found"],
        ["evaluated texts that occur in the training data", in_training],
        ["judgements that repeat one inside the evaluated data", f"{duplicates.within:,}"],
    ]
    rows += [
        [f"{NAMES[name]} without the former", shown(name, e)]
        for name, e in duplicates.without.items()
    ]
    return rows
