"""The report's figures: each panel has a title that says the finding and a caption that says how to read it."""

from collections.abc import Callable, Iterator

from tastemaker.evaluation.drawing import Panel
from tastemaker.evaluation.findings import Evaluation, KindFindings
from tastemaker.evaluation.order_panels import comparison_panels, ranking_panels
from tastemaker.evaluation.rendering import rendered
from tastemaker.evaluation.text_panels import label_panels, number_panels, slices_panel
from tastemaker.evaluation.words import NAMES, shown


def panels(evaluation: Evaluation) -> list[Panel]:
    """Return the panels of every kind of judgement that was evaluated."""
    return [panel for found in evaluation.kinds for panel in _panels_of(evaluation, found)]


def overview_png(evaluation: Evaluation) -> bytes:
    """Return all the panels, two beside each other, as one PNG file."""
    heads = []
    for found in evaluation.kinds:
        estimate = found.measured.model[found.yardstick.headline]
        figure = f"{NAMES[found.yardstick.headline]} {shown(found.yardstick.headline, estimate)}"
        heads.append(f"{figure} on {found.n:,} {found.kind}s")
    heading = " · ".join(heads)
    return rendered(panels(evaluation), columns=2, heading=heading[:1].upper() + heading[1:], form="png")


_PANELS: dict[str, Callable[[KindFindings], Iterator[Panel]]] = {
    "label": label_panels,
    "grade": number_panels,
    "rating": number_panels,
    "comparison": comparison_panels,
    "ranking": ranking_panels,
}


def _panels_of(evaluation: Evaluation, found: KindFindings) -> Iterator[Panel]:
    yield from _PANELS[found.kind](found)
    singles = [f for f in evaluation.kinds if f.yardstick.of_one_text]
    is_first = found is next((f for f in singles if f.yardstick.headline == found.yardstick.headline), None)
    if is_first and len(evaluation.slices) > 1:  # a slice holds each headline figure once
        yield slices_panel(evaluation, found)
