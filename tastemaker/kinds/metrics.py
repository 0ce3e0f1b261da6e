"""What an evaluation measures of a kind of judgement, and the parts that kinds share.

Kinds about one text derive from `MetricsOfOneText`, kinds that compare texts from
`MetricsOfSeveralTexts`. Of compared texts, what people found equally good is counted and left out;
equal scores earn half of a pair.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    agreement,
    kendall,
    mean_of,
    mean_of_defined,
    pearson_of,
    ratio_of,
    spearman_of,
    weighted_median,
    weighted_value,
)

if TYPE_CHECKING:
    from tastemaker.kinds.base import Link

Mask = NDArray[np.bool_]
NamedMask = tuple[str, Mask]
"""The name of a part of the judgements, and True [m] for those in it."""

# judges or sources that get a part each; all others share one
_MOST_NAMES = 20


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """m judgements of one kind. Arrays are [m], or [m, K] for judgements about up to K texts.

    answers: the value of each; or the rank of each text, 0 the best, NaN for no text.
    text: which of the evaluation's examples; 0 where there is none. lengths: their characters.
    weights: [m]; a judgement of weight 2 counts as two.
    """

    judgements: Sequence[Any]
    answers: Floats
    text: NDArray[np.intp]
    lengths: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.judgements)

    def only(self, is_chosen: Mask) -> "Judged":
        """Return the judgements where `is_chosen` [m] is True."""
        pairs = zip(self.judgements, is_chosen, strict=True)
        chosen = [judgement for judgement, keep in pairs if keep]
        return Judged(
            chosen,
            self.answers[is_chosen],
            self.text[is_chosen],
            self.lengths[is_chosen],
            self.weights[is_chosen],
        )


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """What one model predicts of m judgements.

    scores: those of the judgements' texts, [m] or [m, K].
    predicted: [m], the mean judgement: P(positive), the expected grade or rating, the credit of the
        chosen text, P(best) of a list's top-scored text.
    loss: [m], −ln P(judgement | scores) in nats; NaN where the model cannot tell.
    """

    scores: Floats
    predicted: Floats
    loss: Floats

    def only(self, is_chosen: Mask) -> "Predictions":
        """Return those of the judgements where `is_chosen` [m] is True."""
        return Predictions(
            self.scores[is_chosen],
            self.predicted[is_chosen],
            self.loss[is_chosen],
        )


@dataclass(frozen=True, eq=False)
class Part:
    """A named part of the judgements: how much is in it (`n`), and figures of it."""

    name: str
    n: int
    statistics: Mapping[str, Statistic]


def amount(value: float) -> str:
    """Return a number in the judges' unit, with about three digits: "0.930", "12.4", "1,250"."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


DrawnAs = Literal["label", "number", "pair", "list"]
"""How a report draws a kind."""


class KindMetrics(ABC):
    """What is measured of one kind of judgement.

    headline: the figure that verdicts and slices quote. against_constant: the figure by which the
    model is compared with the best constant; constant_title and constant_in_words name that.
    drawn_as: which panels and mistakes a report shows. has_base_rate: whether probabilities have a
    base rate that may be wrong; those of favourites have none.
    """

    headline: ClassVar[str]
    against_constant: ClassVar[str]
    constant_title: ClassVar[str] = "constant"
    constant_in_words: ClassVar[str]
    of_one_text: ClassVar[bool]
    drawn_as: ClassVar[DrawnAs]
    has_base_rate: ClassVar[bool] = False

    @abstractmethod
    def answers(self, judgements: Sequence[Any]) -> Floats:
        """Return the answers of people, [m] or [m, K]."""

    def predictions(
        self, link: "Link", judged: Judged, scores: Floats
    ) -> Predictions:
        """Return what the link predicts from scores [m] or [m, K], in float64."""
        s = torch.from_numpy(scores)
        with torch.no_grad():
            loss = -link.log_likelihood(s, link.targets(judged.judgements))
            return Predictions(scores, link.predict(s).numpy(), loss.numpy())

    @abstractmethod
    def statistics(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, Statistic]:
        """Return the figures that have an interval."""

    def points(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, float]:
        """Return the figures without an interval."""
        return {}

    def chances(
        self, judged: Judged, predictions: Predictions
    ) -> tuple[Floats, Floats] | None:
        """Return probabilities [m] and what came true [m], 1, 0 or ½; None for other kinds."""
        return None

    @abstractmethod
    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the figures of the best constant score, known in hindsight."""

    @abstractmethod
    def of_constant(self, judged: Judged) -> Statistic:
        """Return the constant's figure that the model is compared with (`against_constant`)."""

    def longer(self, judged: Judged) -> dict[str, Statistic]:
        """Return the figures of a score that is the text's length; nothing where it is no rival."""
        return {}

    def people(self, judged: Judged) -> dict[str, Statistic]:
        """Return figures of the judges, in which no model has a part."""
        return {}

    def counts(self, judged: Judged) -> dict[str, int]:
        """Return what was counted besides the judgements themselves."""
        return {}

    def parts(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, list[Part]]:
        """Return tables, by name, of figures over parts of the judgements.

        A part's accuracy is that of some of the pairs that count in the model's accuracy.
        """
        return {}


class MetricsOfOneText(KindMetrics):
    """What kinds about one text share: a prediction can be too high or too low."""

    of_one_text = True

    def answers(self, judgements: Sequence[Any]) -> Floats:
        """Return the value of each judgement [m]."""
        return np.array(
            [judgement.value for judgement in judgements], dtype=np.float64
        )

    def is_mistake(self, answers: Floats, predicted: Floats) -> Mask:
        """Return True [m] where the prediction [m] is not the answer [m]."""
        return np.not_equal(predicted, answers)

    def in_words(self, value: float) -> str:
        """Return an answer or a prediction as people read it."""
        return f"{value:,.0f}" if value.is_integer() else amount(value)


class NumberMetrics(MetricsOfOneText):
    """Grades and ratings: the distance of the expected number, and the order."""

    headline = "pearson"
    against_constant = "mae"
    constant_in_words = "always giving the median"
    drawn_as = "number"

    def statistics(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, Statistic]:
        """Return the mean absolute error and two correlations."""
        return {
            "mae": mean_of(np.abs(predictions.predicted - judged.answers)),
            "pearson": pearson_of(predictions.predicted, judged.answers),
            "spearman": spearman_of(predictions.predicted, judged.answers),
        }

    def points(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, float]:
        """Return Kendall's τ."""
        tau = kendall(predictions.predicted, judged.answers, judged.weights)
        return {"kendall_tau": tau}

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the error of the median: no other constant has a smaller absolute error."""
        return {
            "mae": weighted_value(self.of_constant(judged), judged.weights)
        }

    def of_constant(self, judged: Judged) -> Statistic:
        """Return the error of the median."""
        median = weighted_median(judged.answers, judged.weights)
        return mean_of(np.abs(judged.answers - median))


class MetricsOfSeveralTexts(KindMetrics):
    """What kinds that compare texts share: their order, and the length of the better ones.

    The defaults suit a link whose `predict` returns the probability that each text is the best.
    """

    headline = "accuracy"
    against_constant = "accuracy"
    constant_title = "coin"
    constant_in_words = "ordering by chance"
    of_one_text = False
    drawn_as: ClassVar[DrawnAs] = "list"

    def answers(self, judgements: Sequence[Any]) -> Floats:
        """Return the rank of each text, NaN where a judgement has none [m, K]."""
        longest = max(
            (len(judgement.texts) for judgement in judgements), default=2
        )
        ranks = np.full((len(judgements), longest), np.nan)
        for row, judgement in zip(ranks, judgements, strict=True):
            row[: len(judgement.texts)] = judgement.ranks
        return ranks

    def predictions(
        self, link: "Link", judged: Judged, scores: Floats
    ) -> Predictions:
        """Return the predictions: P(best) of the text that scores highest."""
        present = np.where(np.isnan(judged.answers), -np.inf, scores)
        with torch.no_grad():
            loss = -link.log_likelihood(
                torch.from_numpy(scores), link.targets(judged.judgements)
            )
            best = link.predict(torch.from_numpy(present)).numpy()
        return Predictions(scores, best.max(axis=1, initial=0.0), loss.numpy())

    def orders(self, judged: Judged, scores: Floats) -> dict[str, Statistic]:
        """Return the figures that depend on the order of the scores [m, K] alone."""
        return {"accuracy": ratio_of(*agreement(scores, -judged.answers))}

    def statistics(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, Statistic]:
        """Return the order's figures, the log-loss, and the share of longer texts preferred."""
        return {
            **self.orders(judged, predictions.scores),
            "log_loss": mean_of_defined(predictions.loss),
            "prefers_longer": ratio_of(
                *agreement(predictions.scores, _lengths(judged))
            ),
        }

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the figures of equal scores: their ties count as the mean of all orders."""
        orders = self.orders(judged, np.zeros_like(judged.answers))
        return {
            name: weighted_value(statistic, judged.weights)
            for name, statistic in orders.items()
        }

    def of_constant(self, judged: Judged) -> Statistic:
        """Return the accuracy of equal scores: half of the pairs."""
        return self.orders(judged, np.zeros_like(judged.answers))["accuracy"]

    def longer(self, judged: Judged) -> dict[str, Statistic]:
        """Return the figures of always preferring the longer text; equal lengths are ties."""
        return self.orders(judged, judged.lengths)

    def people(self, judged: Judged) -> dict[str, Statistic]:
        """Return how often people preferred the longer of two texts of unlike length, ties half."""
        return {
            "people_prefer_longer": ratio_of(
                *agreement(-judged.answers, _lengths(judged))
            )
        }

    def parts(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, list[Part]]:
        """Return accuracy by source and by judge; nothing where all are alike."""
        right, pairs = agreement(predictions.scores, -judged.answers)
        longer_right, longer_pairs = agreement(judged.lengths, -judged.answers)

        def part(name: str, is_chosen: Mask) -> Part:
            statistics = {
                "accuracy": ratio_of(right * is_chosen, pairs * is_chosen),
                "longer_baseline": ratio_of(
                    longer_right * is_chosen, longer_pairs * is_chosen
                ),
            }
            return Part(name, int((pairs * is_chosen).sum()), statistics)

        named_masks = {
            **self.more_parts(judged),
            "by_source": _by_name(judged, _source),
            "by_judge": _by_name(judged, _judge),
        }
        tables = {}
        for table, masks in named_masks.items():
            tables[table] = [
                part(name, is_chosen) for name, is_chosen in masks
            ]
        return tables

    def more_parts(self, judged: Judged) -> dict[str, list[NamedMask]]:
        """Return further tables of parts, for which accuracy is measured."""
        return {}


def _lengths(judged: Judged) -> Floats:
    """Return the characters of each text, NaN where there is none [m, K]."""
    return np.where(np.isnan(judged.answers), np.nan, judged.lengths)


def _source(judgement: Any) -> str:
    return (
        judgement.source or judgement.where.rpartition(":")[0] or "not known"
    )


def _judge(judgement: Any) -> str:
    return "not named" if judgement.judge is None else str(judgement.judge)


def _by_name(judged: Judged, name_of: Callable[[Any], str]) -> list[NamedMask]:
    """Return a mask for each of the most frequent names, and one for all others.

    Returns [] if all judgements have the same name.
    """
    names = [name_of(judgement) for judgement in judged.judgements]
    counts = sorted(
        Counter(names).items(), key=lambda item: (-item[1], item[0])
    )
    if len(counts) < 2:
        return []
    shown = counts if len(counts) <= _MOST_NAMES + 1 else counts[:_MOST_NAMES]
    numbers = {name: number for number, (name, _) in enumerate(shown)}
    group = np.array([numbers.get(name, -1) for name in names])
    masks = [(name, group == number) for name, number in numbers.items()]
    others = len(counts) - len(shown)
    if others:
        masks.append((f"{others} others", group == -1))
    return masks
