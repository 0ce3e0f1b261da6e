"""The panels of the report, by kind of judgement.

The title of a panel gives the result. The caption explains how to read the figure.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.axes import Axes

from tastemaker.evaluate.estimates import (
    NAMES,
    PARTS,
    SIGNIFICANT,
    Estimate,
    Measures,
)
from tastemaker.evaluate.findings import Evaluation, KindFindings
from tastemaker.kinds.comparison import favourites
from tastemaker.kinds.metrics import amount
from tastemaker.maths.statistics import Floats, kendall_by_list
from tastemaker.plotting import (
    CONSTANT,
    LINEAR,
    MODEL,
    NEGATIVE,
    POSITIVE,
    Panel,
)
from tastemaker.report import drawing
from tastemaker.report.drawing import Bars

LONGER, PEOPLE = NEGATIVE, POSITIVE

_INTERVALS = (
    "Thin lines are 95 % intervals: the true value very likely lies in them."
)
_LIST_MEASURES = ("kendall_tau", "ndcg", "top1", "accuracy")
_CALIBRATION = (
    "On the diagonal the predictions are calibrated. Below it the predicted probability is too "
    "high, above it too low. The bars at the bottom show how many there are. "
)


def panels(evaluation: Evaluation) -> list[Panel]:
    """Return the panels of every kind of judgement that was evaluated."""
    drawn: list[Panel] = []
    headlines = set()
    for findings in evaluation.kinds:
        drawn += _PANELS[findings.kind_metrics.drawn_as](findings)
        kind_metrics = findings.kind_metrics
        if kind_metrics.of_one_text and kind_metrics.headline not in headlines:
            # a slice holds each headline measure once
            headlines.add(kind_metrics.headline)
            if len(evaluation.slices) > 1:
                drawn.append(_slices_panel(evaluation, findings))
    return drawn


def _label_panels(findings: KindFindings) -> Iterator[Panel]:
    """Yield calibration, the ROC curve if there are both labels, and the scores."""
    positive = findings.answers > 0.5
    model, linear = findings.measured.model, findings.linear_predictions
    outcomes = findings.answers, findings.judged.weights
    predicted = (findings.predictions.predicted, *outcomes)
    linear_predicted = (
        None if linear is None else (linear.predicted, *outcomes)
    )
    yield Panel(
        "reliability",
        f"Calibration error (ECE): {_ece_in_points(model)}",
        "Of the texts with a predicted probability of about 80 %, are 80 % positive? "
        f"{_CALIBRATION}{_INTERVALS} ECE is the mean distance from the diagonal, over 15 bins of "
        f"equal width. {_noise(model)}",
        lambda axes: drawing.draw_reliability(
            axes, predicted, linear_predicted, "positive"
        ),
    )
    if 0 < positive.sum() < len(positive):
        yield Panel(
            "roc",
            f"A positive text scores above a negative one in {model['auroc'].value:.1%} of pairs",
            "The ROC curve: each point is a threshold on the score, with the share of positive "
            "texts above it against the share of negative texts above it. The closer to the top "
            "left corner the better; the diagonal is guessing. AUROC is the area under the curve.",
            lambda axes: drawing.draw_roc(axes, findings, positive),
        )
    yield Panel(
        "scores",
        f"Accuracy: {model['accuracy'].value:.1%}",
        "The distribution of the scores of positive and of negative texts. The less they overlap "
        "the better. At the dashed line the predicted probability is one half.",
        lambda axes: drawing.draw_scores(axes, findings, positive),
    )


def _ece_in_points(model: Measures) -> str:
    """Return the calibration error with its interval: "4.1 [1.0, 6.2] points"."""
    error = model["ece"]
    interval = ""
    if error.has_interval:
        interval = f" [{100 * error.low:.1f}, {100 * error.high:.1f}]"
    return f"{100 * error.value:.1f}{interval} points"


def _noise(model: Measures) -> str:
    """Return how large the calibration error of a calibrated model would be."""
    noise = 100 * model["ece_if_calibrated"].value
    return f"A perfectly calibrated model would show {noise:.1f} points here, by chance."


def _number_panels(findings: KindFindings) -> Iterator[Panel]:
    """Yield the predictions of grades or ratings, their errors, and their means by tenth."""
    word = findings.kind
    errors = np.abs(findings.predictions.predicted - findings.answers)
    yield Panel(
        "predictions",
        f"Mean absolute error of the predicted {word}: "
        f"{amount(findings.measured.model['mae'].value)}",
        f"The predicted {word} against the one that people gave. A perfect model lies on the "
        "dotted line. A box holds the middle half of the predictions, its line is the median, and "
        "its whiskers hold 90 % of them.",
        lambda axes: drawing.draw_predictions(axes, findings),
    )
    yield Panel(
        "errors",
        f"Median absolute error: {amount(float(np.median(errors)))}",
        f"The predicted {word} minus the one that people gave: right of zero the prediction is "
        "too high. The narrower and the closer to zero the better.",
        lambda axes: drawing.draw_errors(axes, findings),
    )
    predicted, judged, _ = drawing.by_tenth(
        findings.predictions, findings.answers
    )
    gap = float(np.abs(predicted - judged).max())
    yield Panel(
        "tenths",
        f"Largest mean error of a tenth of the texts: {amount(gap)}",
        f"Ten equal groups of texts, from the lowest predicted {word} to the highest: the mean "
        "prediction against the mean judgement. On the dotted line the predictions are "
        "calibrated. If the curve is flatter than the diagonal, predictions are too extreme; if it "
        "is steeper, they are too cautious.",
        lambda axes: drawing.draw_tenths(axes, findings),
    )


def _slices_panel(evaluation: Evaluation, findings: KindFindings) -> Panel:
    """Return the headline measure by length of the text."""
    name = findings.kind_metrics.headline
    estimates = [part.measures[name] for part in evaluation.slices]
    defined = [
        estimate for estimate in estimates if not math.isnan(estimate.value)
    ]
    values = [estimate.value for estimate in defined]
    title = NAMES[name][:1].upper() + NAMES[name][1:]
    if not values:
        title += " by length: undefined"
    else:
        p_values = [part.p for part in evaluation.slices if name == "accuracy"]
        verb = "by length"
        if any(p <= SIGNIFICANT for p in p_values):
            verb = "differs by length"
        elif p_values:
            verb = "by length: no clear difference"
        title += f" {verb} ({min(values):.3f}–{max(values):.3f})"
    return Panel(
        "slices",
        title,
        "Four groups of texts by length, the shortest first, with 95 % intervals. The dashed line "
        "is the value over all texts. A model that works on short texts only, or that counts "
        "words, shows here.",
        lambda axes: drawing.draw_slices(axes, evaluation, findings),
    )


def _comparison_panels(findings: KindFindings) -> Iterator[Panel]:
    """Yield calibration, baselines, accuracy by part, and the preference for length."""
    weights, linear = findings.judged.weights, None
    model = (*favourites(findings.judged, findings.predictions), weights)
    if findings.linear_predictions is not None:
        credits = favourites(findings.judged, findings.linear_predictions)
        linear = (*credits, weights)
    yield Panel(
        "reliability",
        "Calibration error (ECE) of the win probabilities: "
        f"{_ece_in_points(findings.measured.model)}",
        "Of the pairs whose favourite has a win probability of about 80 %, did 80 % win? "
        f"{_CALIBRATION}A tie counts as half a win. {_INTERVALS} "
        f"{_noise(findings.measured.model)}",
        lambda axes: drawing.draw_reliability(
            axes, model, linear, "favourite wins"
        ),
    )
    bars = _bars(findings, "accuracy")
    if bars:
        yield Panel(
            "baselines",
            _against_longer(findings),
            "How often the text that people chose has the higher score, for the model, for a "
            f"coin, and for always choosing the longer text. {_ceiling(bars)}{_INTERVALS}",
            lambda axes: drawing.draw_bars(axes, bars, "accuracy on pairs"),
        )
    yield from _part_panel(
        findings,
        "by_margin",
        "margin",
        "Pairs by how much better people found the chosen text: clear cases are easier.",
    )
    yield from _part_panel(
        findings,
        "by_length_difference",
        "difference in length",
        "Pairs by their difference in characters, the smallest first. A model that follows the "
        "line of the longer text may be counting words.",
    )
    yield from _length_panel(findings)


def _ranking_panels(findings: KindFindings) -> Iterator[Panel]:
    """Yield the measures of lists, accuracy by distance, and the preference for length."""
    by_list = kendall_by_list(findings.predictions.scores, findings.answers)
    tau = by_list[~np.isnan(by_list)]
    if len(tau):
        yield from _list_panels(findings, tau)
    yield from _part_panel(
        findings,
        "by_distance",
        "distance in the list",
        "Pairs of a list by how many tiers apart people put them. Neighbours are hard to order; "
        "the best against the worst should be easy.",
    )
    yield from _length_panel(findings)


def _list_panels(findings: KindFindings, tau: Floats) -> Iterator[Panel]:
    """Yield τ of each list, and the means over lists beside the baselines."""
    yield Panel(
        "lists",
        f"Kendall's τ is positive for {np.mean(tau > 0):.0%} of the lists",
        "Kendall's τ of each list: 1 if the scores order it as people did, −1 if in the reverse "
        "order, 0 by chance. The dashed line is the mean over lists.",
        lambda axes: drawing.draw_tau(axes, tau),
    )
    columns = {name: _bars(findings, name) for name in _LIST_MEASURES}
    top1 = findings.measured.model["top1"].value
    yield Panel(
        "baselines",
        f"The top-scored text is among people's best in {top1:.0%} of the lists",
        "The model beside its baselines. NDCG: how much of the best is at the top, 1 for a perfect "
        "order. Top-1: how often the highest score is in people's best tier. Accuracy: the share "
        f"of pairs within lists in people's order. {_INTERVALS}",
        lambda axes: drawing.draw_columns(axes, columns),
    )


def _bars(findings: KindFindings, name: str) -> Bars:
    """Return one measure with its colour: of the model, of its baselines and of people."""
    measured = findings.measured
    sources: list[tuple[str, Measures | None, str]] = [
        ("model", measured.model, MODEL),
        ("linear baseline", measured.linear, LINEAR),
        ("longer text", measured.longer, LONGER),
        (findings.kind_metrics.constant_title, measured.constant, CONSTANT),
    ]
    bars: dict[str, tuple[Estimate, str]] = {}
    for title, measures, colour in sources:
        if measures is not None and name in measures:
            bars[title] = (measures[name], colour)
    if name == "accuracy" and "human_ceiling" in measured.people:
        bars["human ceiling"] = (measured.people["human_ceiling"], PEOPLE)
    return {
        title: bar
        for title, bar in bars.items()
        if not math.isnan(bar[0].value)
    }


def _ceiling(bars: Bars) -> str:
    """Return what the human ceiling is, where it is drawn."""
    if "human ceiling" not in bars:
        return ""
    return (
        "The human ceiling is the most that a perfect score could reach, given how often two "
        "judges agree, if they err independently of each other. "
    )


def _against_longer(findings: KindFindings) -> str:
    difference = findings.measured.over_longer["accuracy"]
    if difference.differs:
        word = "better" if difference.value > 0 else "worse"
        points = f"{abs(100 * difference.value):.1f} points"
        return f"The model is {points} {word} than always choosing the longer text"
    return "It is not clearly different from always choosing the longer text"


def _part_panel(
    findings: KindFindings, table: str, title: str, caption: str
) -> Iterator[Panel]:
    """Yield accuracy by part, if there are several parts."""
    parts, values = [], []
    for part in findings.measured.parts[table]:
        accuracy = part.measures["accuracy"].value
        if not math.isnan(accuracy):
            parts.append(part)
            values.append(accuracy)
    if len(parts) < 2:
        return
    yield Panel(
        table,
        f"Accuracy by {title}: {min(values):.0%} to {max(values):.0%}",
        f"{caption} {_INTERVALS}",
        lambda axes: drawing.draw_parts(axes, parts, PARTS[table]),
    )


def _length_panel(findings: KindFindings) -> Iterator[Panel]:
    """Yield how often people and the model prefer the longer text, if lengths differ."""
    measured = findings.measured
    people = measured.people["people_prefer_longer"]
    model = measured.model["prefers_longer"]
    more = 100 * (model.value - people.value)
    if math.isnan(more):
        return
    bars = {"people": (people, PEOPLE), "model": (model, MODEL)}
    if measured.linear is not None:
        bars["linear baseline"] = (measured.linear["prefers_longer"], LINEAR)
    title = "It prefers the longer text as often as people do"
    if abs(more) >= 0.05:
        word = "more" if more > 0 else "less"
        title = f"It prefers the longer text {abs(more):.1f} points {word} often than people"
    label = "share of pairs in which the longer text is preferred"

    def draw(axes: Axes) -> None:
        drawing.draw_bars(axes, bars, label, half=True)

    yield Panel(
        "length",
        title,
        "Pairs of different length: how often people chose the longer text (a tie counts half), "
        f"and how often it scores higher. Far right of people, the score rewards length. "
        f"{_INTERVALS}",
        draw,
    )


_PANELS: dict[str, Callable[[KindFindings], Iterator[Panel]]] = {
    "label": _label_panels,
    "number": _number_panels,
    "pair": _comparison_panels,
    "list": _ranking_panels,
}
