"""Comparisons: one of two texts is better, or they tie. Bradley–Terry, with Davidson's ties."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import Comparison, Judgement
from tastemaker.kinds.base import (
    NO_AIDS,
    Likelihood,
    Link,
    four_digits,
    odds_of_counts,
    scalar,
)
from tastemaker.kinds.metrics import (
    Judged,
    KindMetrics,
    Mask,
    MetricsOfSeveralTexts,
    NamedMask,
    Predictions,
)
from tastemaker.maths.likelihoods import comparison_log_likelihood
from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    Transformed,
    is_ordered,
    mean_of_defined,
)

_QUARTERS = 4
_FEW_MARGINS = 8  # at most this number of distinct margins get a part each


class ComparisonMetrics(MetricsOfSeveralTexts):
    """Comparisons: pairwise accuracy, win probabilities, and the agreement of judges."""

    constant_in_words = "tossing a coin"
    drawn_as = "pair"

    def predictions(
        self, link: Link, judged: Judged, scores: Floats
    ) -> Predictions:
        """Return the predictions; the loss of a tie is NaN for a link that knows no ties."""
        predictions = KindMetrics.predictions(self, link, judged, scores)
        is_unknown = ~is_ordered(judged.answers) & (predictions.loss == 0)
        return replace(
            predictions, loss=np.where(is_unknown, np.nan, predictions.loss)
        )

    def chances(
        self, judged: Judged, predictions: Predictions
    ) -> tuple[Floats, Floats]:
        """Return the favourites' predicted and earned credits."""
        return favourites(judged, predictions)

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return a coin's figures; its log-loss is that of knowing the share of ties."""
        is_decided = is_ordered(judged.answers)
        ties = 1 - float(np.average(is_decided, weights=judged.weights))
        entropy = 0.0
        for share in np.array([1 - ties, ties]):
            if share > 0:
                entropy -= share * np.log(share)
        coin = (1 - ties) * float(np.log(2))
        return {**super().constant(judged), "log_loss": float(entropy) + coin}

    def people(self, judged: Judged) -> dict[str, Statistic]:
        """Add how often two judges agree, and what a perfect score could reach for that.

        Judges are taken to err independently of each other. If a share q of judges prefers one of
        two texts, two of them agree with a chance of ½ + 2 (q − ½)², and a perfect score agrees
        with one of them with a chance of ½ + |q − ½|. Over pairs of any q, the mean of the latter
        is at most the ceiling here, which is reached if all pairs are equally clear.
        """
        agreement = mean_of_defined(agreement_with_others(judged.judgements))
        return {
            **super().people(judged),
            "human_agreement": agreement,
            "human_ceiling": Transformed(agreement, _ceiling),
        }

    def counts(self, judged: Judged) -> dict[str, int]:
        """Return how many are ties, and on how many the agreement of judges rests."""
        rests_on = int(
            (~np.isnan(agreement_with_others(judged.judgements))).sum()
        )
        return {
            "ties": int((~is_ordered(judged.answers)).sum()),
            "human_agreement_n": rests_on,
        }

    def more_parts(self, judged: Judged) -> dict[str, list[NamedMask]]:
        """Return accuracy by margin and by the difference of the lengths."""
        decided = is_ordered(judged.answers)
        margins = np.array(
            [judgement.margin for judgement in judged.judgements],
            dtype=np.float64,
        )
        difference = np.abs(judged.lengths[:, 0] - judged.lengths[:, 1])
        return {
            "by_margin": list(_by_margin(margins, decided)),
            "by_length_difference": list(
                _by_quarter(difference, decided, ",.0f")
            ),
        }


class ComparisonLink(Link):
    """P(first better) = e^(d/2)/(e^(d/2) + e^(−d/2) + ν) with d = slope · (s₁ − s₂) (Davidson).

    P(tie) has ν above the same sum.

    log_ties: ln ν; None where the judges gave no ties: then P = σ(d).
    """

    record = Comparison
    kind_metrics = ComparisonMetrics()
    is_of_one_text = False

    def __init__(
        self, slope: float = 1.0, log_ties: float | None = None
    ) -> None:
        super().__init__()
        self.slope = scalar(slope)
        self.log_ties = None if log_ties is None else scalar(log_ties)

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Comparison], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the share of ties. Raises DataError for a forbidden tie."""
        check_ties(judgements, likelihood)
        ties = sum(j.tie for j in judgements)
        if not ties:
            return cls(1.0, None)
        odds = odds_of_counts(ties, len(judgements) - ties)
        return cls(1.0, math.log(2 * odds))

    @classmethod
    def why_no_order(cls, judgements: Sequence[Comparison]) -> str:
        """Return a sentence where all comparisons are ties."""
        if not all(j.tie for j in judgements):
            return ""
        return f"all {len(judgements)} comparisons are ties: they do not order texts."

    def targets(self, judgements: Sequence[Comparison]) -> Tensor:
        """Return [m, 2]: the margin, and 1 for a tie."""
        check_ties(judgements, self.aids)
        rows = [[j.margin, float(j.tie)] for j in judgements]
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, 2)

    @property
    def has_ties(self) -> bool:
        return self.log_ties is not None

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """scores: [m, 2], chosen and rejected. A tie counts 0 for a link that learned no ties."""
        return self._log_likelihood(scores, targets, self.log_ties)

    def log_likelihood_with_ties(
        self, scores: Tensor, targets: Tensor, width: Tensor
    ) -> Tensor:
        assert self.log_ties is not None
        return self._log_likelihood(scores, targets, self.log_ties + width)

    def _log_likelihood(
        self, scores: Tensor, targets: Tensor, log_ties: Tensor | None
    ) -> Tensor:
        is_tie = targets[:, 1] > 0
        difference = (
            self.slope * (scores[:, 0] - scores[:, 1])
            - self.aids.margin * targets[:, 0]
        )
        likelihood = comparison_log_likelihood(difference, is_tie, log_ties)
        slips = self.aids.smoothing
        if slips:
            reversed_ = comparison_log_likelihood(
                -difference, is_tie, log_ties
            )
            likelihood = (1 - slips) * likelihood
            likelihood = likelihood + slips * reversed_
        if log_ties is None:
            likelihood = torch.where(is_tie, 0.0, likelihood)
        return likelihood

    def predict(self, scores: Tensor) -> Tensor:
        """Return the expected credit of the first of two texts [m]: P(better) + ½ P(tie)."""
        difference = self.slope * (scores[:, 0] - scores[:, 1])
        if self.log_ties is None:
            return torch.sigmoid(difference)
        logits = [
            0.5 * difference,
            -0.5 * difference,
            self.log_ties.expand_as(difference),
        ]
        better, _, tie = torch.stack(logits).softmax(0)
        credit: Tensor = better + 0.5 * tie
        return credit

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the share of decided comparisons whose chosen text scores higher.

        Equal scores are half right.
        """
        decided = targets[:, 1] == 0
        right = 0.5 + 0.5 * torch.sign(scores[:, 0] - scores[:, 1])[decided]
        return (
            {"comparison_accuracy": float(right.mean())} if len(right) else {}
        )

    def leaning(self, targets: Tensor) -> Tensor:
        """Return [m, 2]: 1 for the chosen text, 0 for the rejected, ½ for both of a tie."""
        half = 0.5 * targets[:, 1].double()
        return torch.stack([1 - half, half], dim=1)

    def rescaled(self, offset: float, scale: float) -> Self:
        return type(self)(
            **{**self.as_dict(), "slope": self.slope.item() * scale}
        )

    def as_dict(self) -> dict[str, Any]:
        log_ties = None if self.log_ties is None else self.log_ties.item()
        return {"slope": self.slope.item(), "log_ties": log_ties}

    def formula(self) -> str:
        slope = four_digits(self.slope.item())
        if self.log_ties is None:
            return f"Comparison: `P(A is better than B) = σ({slope} · (s_A − s_B))`"
        ties = four_digits(math.exp(self.log_ties.item()))
        total = "(e^(d/2) + e^(−d/2) + ν)"
        return (
            f"Comparison: with `d = {slope} · (s_A − s_B)`, `P(A is better than B) = "
            f"e^(d/2) / {total}` and `P(tie) = ν / {total}`, ν = {ties}"
        )


def check_ties(
    judgements: Sequence[Judgement], likelihood: Likelihood
) -> None:
    """Raise DataError for a tie where the likelihood allows none."""
    if likelihood.ties:
        return
    for judgement in judgements:
        if judgement.has_tie:
            raise judgement.wrong(
                "a tie, but the fit allows no ties. Remove it, or allow ties."
            )


def favourites(
    judged: Judged, predictions: Predictions
) -> tuple[Floats, Floats]:
    """Return two credits of each comparison's favourite [m].

    The predicted one is ½ to 1, the earned one 1, ½ or 0.
    """
    of_first = np.where(is_ordered(judged.answers), 1.0, 0.5)
    predicted = np.maximum(predictions.predicted, 1 - predictions.predicted)
    earned = np.where(predictions.predicted > 0.5, of_first, 1 - of_first)
    return predicted, np.where(predictions.predicted == 0.5, 0.5, earned)


def _ceiling(agreement: Floats) -> Floats:
    """Return the largest accuracy of a perfect score where two judges agree so often."""
    return 0.5 + np.sqrt(np.maximum(agreement - 0.5, 0) / 2)


def agreement_with_others(judgements: Sequence[Any]) -> Floats:
    """Return the share of the others' answers that agree with each comparison's judge [m].

    The others are other judges with a name who compared the same two texts as answers to the same
    prompt. Ties are left out: NaN for a tie, for a judge without a name, and where there are no
    others.
    """
    votes: Counter[Any] = Counter()
    voters: Counter[Any] = Counter()
    keys = []
    for j in judgements:
        first, second = sorted(j.texts)
        vote = 0 if j.tie else 1 if j.chosen == first else -1
        item = (j.prompt, first, second)
        keys.append((item, (item, j.judge), vote))
        if j.judge is None or not vote:
            continue
        for key in keys[-1][:2]:
            votes[key] += vote * j.weight
            voters[key] += j.weight
    shares = np.full(len(keys), np.nan)
    for i, (item, by_judge, vote) in enumerate(keys):
        others = voters[item] - voters[by_judge]
        if vote and voters[by_judge] and others > 1e-9:
            balance = vote * (votes[item] - votes[by_judge])
            shares[i] = 0.5 + 0.5 * balance / others
    return shares


def _by_margin(margins: Floats, decided: Mask) -> Iterator[NamedMask]:
    """Yield a part for each margin, or for each quarter of them; nothing where there are none."""
    has_margin = decided & (margins > 0)
    values = np.unique(margins[has_margin])
    if not len(values):
        return
    has_none = decided & ~has_margin
    if has_none.any():
        yield "not said", has_none
    if len(values) > _FEW_MARGINS:
        yield from _by_quarter(margins, has_margin, ".3g")
        return
    for value in values:
        yield f"{value:g}", has_margin & (margins == value)


def _by_quarter(
    values: Floats, is_counted: Mask, form: str
) -> Iterator[NamedMask]:
    """Yield four parts of about equal size by value, the smallest first; equal values share one."""
    if not is_counted.any():
        return
    edges = np.quantile(
        values[is_counted], np.arange(1, _QUARTERS) / _QUARTERS
    )
    quarter = np.searchsorted(edges, values, side="left")
    for i in np.unique(quarter[is_counted]):
        in_quarter = is_counted & (quarter == i)
        of_quarter = values[in_quarter]
        low = format(float(of_quarter.min()), form)
        high = format(float(of_quarter.max()), form)
        yield low if low == high else f"{low}–{high}", in_quarter
