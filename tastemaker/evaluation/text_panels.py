"""The report's figures for labels, grades and ratings."""

import math
from collections.abc import Iterator

import numpy as np

from tastemaker.evaluation.drawing import (
    Panel,
    by_tenth,
    draw_errors,
    draw_predictions,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_slices,
    draw_tenths,
)
from tastemaker.evaluation.findings import Evaluation, KindFindings
from tastemaker.evaluation.measures import amount
from tastemaker.evaluation.words import NAMES

# --- labels -----------------------------------------------------------------------------------------------------------


def label_panels(found: KindFindings) -> Iterator[Panel]:
    """Yield the panels of labels: promises kept, the ROC curve where there are both labels, the scores."""
    positive = found.said > 0.5
    model, linear = found.measured.model, found.linear_predictions
    promised = (found.predictions.predicted, found.said)
    linear_promised = None if linear is None else (linear.predicted, found.said)
    yield Panel(
        "reliability",
        f"Its probabilities are off by {100 * model['ece'].value:.1f} points on average",
        "A probability is a promise: of the texts that were given a probability of about 80 %, were 80 % positive? "
        "Dots on the diagonal keep their promise; below it the model claims too much, above it too little. The bars "
        "at the foot show where the texts are; whiskers are 95 % intervals. ECE is the mean distance from the "
        "diagonal, in 15 bins of equal width.",
        lambda axes: draw_reliability(axes, promised, linear_promised, "positive"),
    )
    if 0 < positive.sum() < len(positive):
        yield Panel(
            "roc",
            f"It orders {100 * model['auroc'].value:.1f} of 100 unlike pairs rightly",
            "Each point is a threshold on the score: how many positives it catches against how many negatives it takes "
            "for positive. The nearer to the top left corner the better; the diagonal is guessing. The area under the "
            "curve is the chance that a positive text scores higher than a negative one.",
            lambda axes: draw_roc(axes, found, positive),
        )
    yield Panel(
        "scores",
        f"{model['accuracy'].value:.1%} of the texts lie on their own side",
        "How the scores of positive and negative texts are spread. The less the two hills overlap, the surer the "
        "verdicts; the dashed line is where the probability is one half.",
        lambda axes: draw_scores(axes, found, positive),
    )


# --- grades and ratings -----------------------------------------------------------------------------------------------


def number_panels(found: KindFindings) -> Iterator[Panel]:
    """Yield the panels of grades or ratings: predictions, errors, and tenths."""
    model, word = found.measured.model, found.kind
    yield Panel(
        "predictions",
        f"The predicted {word} is off by {amount(model['mae'].value)} on average",
        f"What the model predicts of the texts that people gave each {word}. A perfect model lies on the dotted line. "
        "A box holds the middle half of the predictions, its bar the median, the whiskers 90 % of them.",
        lambda axes: draw_predictions(axes, found),
    )
    errors = np.abs(found.predictions.predicted - found.said)
    yield Panel(
        "errors",
        f"Half of the predictions are off by less than {amount(float(np.median(errors)))}",
        "How far the predictions lie from what people said, and on which side: right of zero the model was too kind. "
        "The narrower and the more centred on zero, the better.",
        lambda axes: draw_errors(axes, found),
    )
    predicted, given, _ = by_tenth(found.predictions, found.said)
    gap = float(np.abs(predicted - given).max())
    yield Panel(
        "tenths",
        f"No tenth is off by more than {amount(gap)} on average",
        f"The texts in ten equal groups, from the lowest predicted {word} to the highest: the mean prediction of a "
        "group against the mean that people gave it. On the dotted line predictions mean what they say; a flat curve "
        "claims too much difference between texts, a steep one too little.",
        lambda axes: draw_tenths(axes, found),
    )


# --- slices -----------------------------------------------------------------------------------------------------------


def slices_panel(evaluation: Evaluation, found: KindFindings) -> Panel:
    """Return the panel of the headline figure by length of the text."""
    name = found.yardstick.headline
    figures = [s.measures[name] for s in evaluation.slices if not math.isnan(s.measures[name].value)]
    values = [estimate.value for estimate in figures]
    apart = values and max(e.low for e in figures) > min(e.high for e in figures)
    spread = f"{min(values):.3f}–{max(values):.3f}" if values else "undefined"
    verdict = "differs with length" if apart else "is much the same at every length"
    return Panel(
        "slices",
        f"{NAMES[name][:1].upper()}{NAMES[name][1:]} {verdict} ({spread})",
        "The texts in four groups by length, the shortest first, with 95 % intervals; the line is the figure over all "
        "texts. A model that is good on short texts only, or that counts words, shows here.",
        lambda axes: draw_slices(axes, evaluation, found),
    )
