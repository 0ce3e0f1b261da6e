"""How judges differ: how closely each follows the score, and how lenient each one is.

The model is that of item response theory. The typical judge answers by the link of the kind. Judge
j answers as the typical judge would answer a text of score

    neutral + discrimination_j · (score − neutral) + leniency_j / slope

where `neutral` is the score at which the link leans neither way and `slope` is that of the first
link, so that a leniency is a log-odds. Leniency has no meaning where texts are compared. There,
position_j / slope is added to the text that was shown first, less to those shown later, and ties
may be wider (`comparison_effects.py`).

Discriminations come from a population of three groups whose shares are learned: attentive judges,
Normal(1, spread²); careless ones near 0; reversed ones, Normal(−1, spread²). Leniencies are
Normal(0, leniency_sd²). Shares and spreads are learned from all judges (empirical Bayes), so a
judge of few judgements is pulled to what is common.

`reliability` is how much a judge's answers tell about the score, relative to the typical judge:
the discrimination, times the root of the share of Fisher information that leniency leaves.
Somebody who answers "yes" to every text tells nothing, whatever the discrimination may be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from tastemaker.kinds.base import Link
from tastemaker.reward.comparison_effects import ComparisonEffects
from tastemaker.reward.corpus import Evidence

JudgeModel = Literal["none", "leniency", "full"]
"""What differs between judges: nothing, the leniency, or leniency and discrimination."""

_REASONS: dict[JudgeModel, str] = {
    "none": "judges are believed alike: to tell them apart did not predict held-out judgements "
    "better",
    "leniency": "judges differ in leniency and are believed alike otherwise: this predicted "
    "held-out judgements best",
    "full": "judges differ in reliability, and in leniency where single texts are judged: this "
    "predicted held-out judgements best",
}

_FEW = 4  # judgements; a judge of fewer is mostly what is common among judges
_PULL = 4.0  # judgements that the mean of all judges is worth


class Effects(NamedTuple):
    """How judges differ, [judges + 1] each; the last entry is for judgements that name nobody."""

    discrimination: Tensor
    leniency: Tensor
    position: Tensor
    tie_width: Tensor

    @staticmethod
    def of(
        discrimination: Tensor,
        leniency: Tensor,
        comparing: ComparisonEffects | None = None,
    ) -> "Effects":
        """Return the effects of named judges [judges]; nobody in particular is typical."""
        one, zero = discrimination.new_ones(1), leniency.new_zeros(1)
        padded = torch.cat([discrimination, one]), torch.cat([leniency, zero])
        if comparing is None:
            neither = torch.zeros_like(padded[0])
            return Effects(*padded, neither, neither)
        return Effects(*padded, comparing.position, comparing.tie_width)


def log_likelihood_by_judges(
    link: Link,
    judged: Tensor,
    evidence: Evidence,
    effects: Effects,
    unit: Tensor,
) -> Tensor:
    """Return the log-likelihood of judgements [m], each judge seeing the scores in their own way.

    judged: the scores of the judged texts, [m] or [m, K]. unit: the slope of the first link.
    """
    judge, neutral = evidence.judge, link.neutral()
    discrimination = effects.discrimination[judge]
    if judged.ndim == 1:
        leniency = effects.leniency[judge] / unit
        read = neutral + discrimination * (judged - neutral) + leniency
        return link.log_likelihood(read, evidence.targets)
    bias = effects.position[judge][:, None] * evidence.order
    read = (
        neutral
        + discrimination[:, None] * (judged - neutral)
        + bias / link.slope
    )
    width = effects.tie_width[judge]
    if link.has_ties and bool((width != 0).any()):
        return link.log_likelihood_with_ties(read, evidence.targets, width)
    return link.log_likelihood(read, evidence.targets)


class JudgeEffects(nn.Module):
    """How each judge differs, by number: part of what is learned beside a score."""

    discrimination: Tensor
    unseen_leniency: Tensor
    position: Tensor
    tie_width: Tensor

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        # estimated on unseen texts: a fit that learned them would trust all judges
        self.register_buffer("discrimination", torch.ones(len(names)))
        # one number a judge cannot explain texts, so the final fit may learn it
        self.leniency = nn.Parameter(
            torch.zeros(len(names)), requires_grad=False
        )
        self.register_buffer("unseen_leniency", torch.zeros(len(names)))
        self.register_buffer("position", torch.zeros(len(names) + 1))
        self.register_buffer("tie_width", torch.zeros(len(names) + 1))
        self.leniency_sd = 0.0

    def effects(self) -> Effects:
        """Return all effects, with those of nobody in particular."""
        named = Effects.of(self.discrimination, self.leniency)
        return named._replace(position=self.position, tie_width=self.tie_width)

    def put(self, comparing: ComparisonEffects) -> None:
        """Set the position biases and tie widths."""
        self.position.copy_(comparing.position)
        self.tie_width.copy_(comparing.tie_width)

    def fair(self, leaning: Tensor, judge: Tensor) -> Tensor:
        """Return how much judgements favour their texts, as the typical judge would have answered.

        leaning: [m] or [m, K], 0 … 1. judge: [m]. A judge's mean is moved to everybody's mean where
        judges differ in leniency, and a careless judge's leaning is drawn towards ½.
        """
        is_named = judge >= 0
        number = judge.clamp(min=0)
        discrimination = self.effects().discrimination[judge]
        if leaning.ndim == 2:
            fair = 0.5 + discrimination[:, None].double() * (leaning - 0.5)
            return fair.clamp(0.0, 1.0)
        if self.leniency_sd > 0:
            everybody = leaning.mean()
            counts = torch.bincount(
                number[is_named], minlength=len(self.names)
            )
            sums = torch.zeros(len(self.names), dtype=leaning.dtype)
            sums.index_add_(0, number[is_named], leaning[is_named] - everybody)
            excess = sums / (counts + _PULL)
            leaning = leaning - torch.where(is_named, excess[number], 0.0)
        fair = 0.5 + discrimination.double() * (leaning - 0.5)
        return fair.clamp(0.0, 1.0)

    def log_prior(self) -> Tensor:
        """Return the log-density of the leniencies, less its constant; 0 where they are fixed."""
        if not self.leniency.requires_grad or self.leniency_sd <= 0:
            return self.leniency.sum() * 0
        return -0.5 * ((self.leniency / self.leniency_sd) ** 2).sum()


@dataclass(frozen=True)
class JudgeEstimates:
    """What unseen texts say about the judges. All tensors are [judges].

    model: what was found to differ between judges. discrimination, leniency: posterior means.
    reliability, low, high: median and ends of the 95 % interval of the posterior.
    varies: whether a judge gave different answers. gains: by model, the mean gain of the
    log-likelihood of a held-out judgement over no differences, and its standard error.
    """

    names: tuple[str, ...]
    model: JudgeModel
    discrimination: Tensor
    leniency: Tensor
    reliability: Tensor
    low: Tensor
    high: Tensor
    judgements: Tensor
    varies: Tensor
    spread: float
    leniency_sd: float
    gains: Mapping[JudgeModel, tuple[float, float]]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return by name: reliability, its 95 % interval, leniency, and number of judgements."""
        rows = {}
        for number, name in enumerate(self.names):
            interval = [float(self.low[number]), float(self.high[number])]
            rows[name] = {
                "reliability": float(self.reliability[number]),
                "interval": interval,
                "leniency": float(self.leniency[number]),
                "judgements": int(self.judgements[number]),
            }
        return rows

    def summary(self) -> dict[str, Any]:
        """Return which model of judges the fit uses, why, and what could not be learned."""
        gains = {}
        for model, (gain, error) in self.gains.items():
            if model != "none":
                gains[model] = {"gain": gain, "standard_error": error}
        constant_judges, few = [], 0
        rows = zip(
            self.names,
            self.varies.tolist(),
            self.judgements.tolist(),
            strict=True,
        )
        for name, varies, count in rows:
            if count < _FEW:
                few += 1
            elif not varies:
                constant_judges.append(name)
        return {
            "model": self.model,
            "reason": _REASONS[self.model],
            "gain_per_judgement": gains,
            "spread": self.spread,
            "leniency_sd": self.leniency_sd,
            "always_the_same_answer": constant_judges,
            "fewer_than_four_judgements": few,
        }

    def put_into(self, effects: JudgeEffects) -> None:
        """Set the judges of an observation model."""
        effects.discrimination.copy_(self.discrimination)
        effects.unseen_leniency.copy_(self.leniency)
        effects.leniency.data.copy_(self.leniency)
        effects.leniency_sd = self.leniency_sd
        effects.leniency.requires_grad_(self.leniency_sd > 0)


def judge_rows(
    judges: JudgeEstimates | None, comparing: ComparisonEffects | None
) -> dict[str, dict[str, Any]]:
    """Return what was learned about each named judge; {} where judges were not told apart."""
    if judges is None:
        return {}
    rows = judges.as_dict()
    if comparing is None:
        return rows
    for number, row in enumerate(rows.values()):
        row["position_bias"] = float(comparing.position[number])
        row["tie_width"] = float(comparing.tie_width[number])
    return rows


def judge_summary(
    judges: JudgeEstimates | None, comparing: ComparisonEffects | None
) -> dict[str, Any]:
    """Return the model of judges, why it was chosen, and the mean position bias."""
    summary = {} if judges is None else judges.summary()
    if comparing is not None and comparing.ordered:
        summary["position_bias"] = comparing.as_dict()
    return summary


# --- scores, corrected for which texts a judge was given ---

# that the mean of all texts is worth, beside the texts of a judge
_PRIOR_TEXTS = 10.0


def expected_scores(
    judged: Tensor,
    pair: Tensor,
    is_text: Tensor | None,
    judge: Tensor,
    judges: int,
) -> Tensor:
    """Return the scores of judged texts, corrected for which texts each judge was given.

    A score is the true one with an error, so on average the truth lies nearer to the mean, by the
    share of the scores' variance that is not error. For a judge who was given only easy texts,
    whose scores vary more, that share is larger. Without this correction such a judge would seem
    more reliable than the others (regression dilution; Fuller 1987, section 1.1).

    judged: the scores of m judgements, [m] or [m, K]. pair: the same from two fits that share no
    judgement, [2, m] or [2, m, K]. is_text: bool [m, K]; None for judgements about one text.
    judge: [m], −1 for nobody. The result is in the unit of the scores, [m] or [m, K].
    """
    mean = _list_means(judged, is_text)
    distance = _distances(judged, is_text)
    squares, numbers = distance**2, torch.ones_like(judged)
    if is_text is not None:
        squares = squares.sum(1)
        numbers = (is_text.sum(1) - 1).clamp(min=1).double()
    share = _true_share(
        _distances(pair[0], is_text), _distances(pair[1], is_text)
    )
    variance = float(squares.sum() / numbers.sum())
    error = (1 - share) * variance
    is_named = judge >= 0
    number = judge.clamp(min=0)

    def by_judge(values: Tensor) -> Tensor:
        sums = torch.zeros(judges, dtype=torch.float64)
        return sums.index_add_(0, judge[is_named], values[is_named])

    count = by_judge(numbers)
    centre = torch.zeros(judges, dtype=torch.float64)
    if is_text is None:
        centre = by_judge(distance) / (count + _PRIOR_TEXTS)
    spread = by_judge(squares) / count.clamp(min=1) - centre**2
    # a judge's spread is itself uncertain: its excess counts by how much of it is not chance
    unlikeness = (0.5 * share) ** 2
    trust = unlikeness / (unlikeness + 2 / count.clamp(min=1))
    true_spread = share * variance + trust * (spread - variance)
    true_spread = true_spread.clamp(min=0.1 * share * variance)
    shares = true_spread / (true_spread + error)
    of_judge = torch.where(is_named, shares[number], share)
    if is_text is not None:
        return mean + (of_judge / share)[:, None] * (judged - mean)
    of_centre = torch.where(is_named, centre[number], 0.0)
    expected = of_centre + of_judge * (distance - of_centre)
    return mean + expected / share


def _list_means(values: Tensor, is_text: Tensor | None) -> Tensor:
    """Return the mean of each list [m, 1]; of judgements about one text, the mean of all."""
    if is_text is None:
        return values.mean()
    means: Tensor = (values * is_text).sum(1) / is_text.sum(1)
    return means[:, None]


def _distances(values: Tensor, is_text: Tensor | None) -> Tensor:
    """Return the distances from these means; 0 where there is no text."""
    distances = values - _list_means(values, is_text)
    return distances if is_text is None else distances * is_text


def _true_share(first: Tensor, second: Tensor) -> float:
    """Return the share of the scores' variance that is not error.

    first, second: distances of two fits to a third of the judgements each. The scores are of two
    thirds (Spearman 1910, Brown 1910).
    """
    lengths = (first**2).sum() * (second**2).sum()
    agreement = (first * second).sum() / lengths.sqrt().clamp(min=1e-12)
    limited = float(agreement.clamp(0.01, 1.0))
    return 2 * limited / (1 + limited)
