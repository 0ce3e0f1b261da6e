"""Links of the judgements about several texts: comparisons and rankings. Only differences of scores matter to them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from tastemaker.data.judgements import Comparison, Ranking
from tastemaker.errors import DataError
from tastemaker.kinds.base import NO_AIDS, Likelihood, Link, scalar
from tastemaker.maths.likelihoods import (
    comparison_log_likelihood,
    pairs_log_likelihood,
    plackett_luce_log_likelihood,
)


class ComparisonLink(Link):
    """P(first better) = e^(d/2)/(e^(d/2) + e^(−d/2) + ν), d = slope · (s₁ − s₂), and P(tie) with ν above (Davidson).

    log_ties: ln ν; None where the judges gave no ties: then P = σ(d).
    """

    kind = "comparison"
    texts = 2

    def __init__(self, slope: float = 1.0, log_ties: float | None = None) -> None:
        super().__init__()
        self.slope = scalar(slope)
        self.log_ties = None if log_ties is None else scalar(log_ties)

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Comparison], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the share of ties. Raises DataError where all are ties, or one is that there cannot be."""
        _check_ties(judgements, likelihood)
        share = sum(j.tie for j in judgements) / len(judgements)
        if share == 1:
            raise DataError(f"all {len(judgements)} comparisons are ties: nothing to learn from.")
        return cls(1.0, math.log(2 * share / (1 - share)) if share else None)

    def targets(self, judgements: Sequence[Comparison]) -> Tensor:
        """Return [m, 2]: the margin, and 1 for a tie."""
        _check_ties(judgements, self.aids)
        return torch.tensor(
            [[j.margin, float(j.tie)] for j in judgements], dtype=torch.float32
        ).reshape(-1, 2)

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """scores: [m, 2], of the chosen and the rejected text. Ties say nothing to a link that learned none."""
        is_tie = targets[:, 1] > 0
        difference = self.slope * (scores[:, 0] - scores[:, 1]) - self.aids.margin * targets[:, 0]
        likelihood = comparison_log_likelihood(difference, is_tie, self.log_ties)
        if slips := self.aids.smoothing:
            likelihood = (1 - slips) * likelihood
            likelihood = likelihood + slips * comparison_log_likelihood(
                -difference, is_tie, self.log_ties
            )
        return torch.where(is_tie, 0.0, likelihood) if self.log_ties is None else likelihood

    def predict(self, scores: Tensor) -> Tensor:
        """Return the credit that the first of two texts earns on average [m]: P(better) + ½ P(tie)."""
        difference = self.slope * (scores[:, 0] - scores[:, 1])
        if self.log_ties is None:
            return torch.sigmoid(difference)
        ways = torch.stack(
            [0.5 * difference, -0.5 * difference, self.log_ties.expand_as(difference)]
        )
        better, _, tie = ways.softmax(0)
        credit: Tensor = better + 0.5 * tie
        return credit

    def neutral(self) -> Tensor:
        return torch.zeros_like(self.slope)

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the share of decided comparisons whose chosen text scores higher; equal scores are half right."""
        decided = targets[:, 1] == 0
        right = 0.5 + 0.5 * torch.sign(scores[:, 0] - scores[:, 1])[decided]
        return {"comparison_accuracy": float(right.mean())} if len(right) else {}

    def leaning(self, targets: Tensor) -> Tensor:
        """Return [m, 2]: 1 for the chosen text, 0 for the rejected, ½ for both of a tie."""
        half = 0.5 * targets[:, 1].double()
        return torch.stack([1 - half, half], dim=1)

    def rescaled(self, offset: float, scale: float) -> Self:
        return type(self)(
            self.slope.item() * scale, None if self.log_ties is None else self.log_ties.item()
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "slope": self.slope.item(),
            "log_ties": None if self.log_ties is None else self.log_ties.item(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


class RankingLink(Link):
    """Plackett–Luce on slope · s, ties as Turner et al. have them; or the mean over pairs, Davidson's ties.

    log_ties: ln δ₂ … ln δ_D for tiers of 2 … D texts; a larger tier takes the last one on along its slope. Sets of up
    to D texts might have been chosen, or of as many as the ranking's own largest tier holds, whatever others hold.
    """

    kind = "ranking"
    texts = 2

    def __init__(
        self, slope: float = 1.0, log_ties: Sequence[float] = (), by: str = "plackett-luce"
    ) -> None:
        super().__init__()
        self.slope = scalar(slope)
        self.log_ties = nn.Parameter(torch.tensor(list(log_ties), dtype=torch.float32))
        self.by = by

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Ranking], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the shares of tiers of 1, 2 … texts. Raises DataError where nothing is better than anything."""
        _check_ties(judgements, likelihood)
        if all(len(j.tiers) == 1 and not j.rest for j in judgements):
            raise DataError(
                f"all {len(judgements)} rankings hold one tier only: nothing to learn from."
            )
        sizes = Counter(len(tier) for j in judgements for tier in j.tiers)
        largest = max(sizes)
        if likelihood.ranking == "pairs":
            return cls(1.0, [0.0] if largest > 1 else [], "pairs")
        typical = sum(len(j.texts) for j in judgements) / len(judgements) / 2 + 0.5
        starts = [
            math.log((sizes[d] + 0.5) / (sizes[1] + 0.5))
            + math.log(typical)
            - _log_sets(typical, d)
            for d in range(2, largest + 1)
        ]
        return cls(1.0, starts)

    def targets(self, judgements: Sequence[Ranking]) -> Tensor:
        """Return [m, K + 1]: the number of tiers, then each text's tier, −1 where a shorter ranking has no text."""
        _check_ties(judgements, self.aids)
        longest = max((len(j.texts) for j in judgements), default=0)
        rows = [[len(j.tiers), *j.ranks, *[-1] * (longest - len(j.texts))] for j in judgements]
        return torch.tensor(rows, dtype=torch.long).reshape(len(judgements), longest + 1)

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """scores: [m, K], any finite number where there is no text."""
        stages, tier, s = targets[:, 0], targets[:, 1:], self.slope * scores
        if self.by == "pairs":
            return pairs_log_likelihood(
                s, tier, stages, self.log_ties[0] if len(self.log_ties) else None
            )
        is_chosen = (tier >= 0) & (tier < stages[:, None])
        same = (tier[:, :, None] == tier[:, None, :]) & is_chosen[:, :, None]
        learned = stages.new_full((len(stages), 1), len(self.log_ties) + 1)
        largest = torch.cat([same.sum(2), learned], dim=1).amax(1)
        return plackett_luce_log_likelihood(s, tier, stages, self._log_ties(largest))

    def predict(self, scores: Tensor) -> Tensor:
        """Return the probability that each text is the best of its list [m, K]; −inf marks where there is no text."""
        shares: Tensor = (self.slope * scores).softmax(1)
        return shares

    def neutral(self) -> Tensor:
        return torch.zeros_like(self.slope)

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the share of ordered pairs, of all rankings, in which the better text scores higher."""
        tier = targets[:, 1:]
        is_better = (tier[:, :, None] < tier[:, None, :]) & (tier[:, :, None] >= 0)
        right = 0.5 + 0.5 * torch.sign(scores[:, :, None] - scores[:, None, :])[is_better]
        return {"ranking_accuracy": float(right.mean())} if len(right) else {}

    def leaning(self, targets: Tensor) -> Tensor:
        """Return [m, K]: 1 for the best tier, 0 for the worst, even steps between."""
        tier = targets[:, 1:].double()
        worst = tier.max(1, keepdim=True).values
        leaning = torch.where(worst > 0, 1 - tier / worst.clamp(min=1), 0.5)
        return torch.where(tier < 0, torch.nan, leaning)

    def rescaled(self, offset: float, scale: float) -> Self:
        return type(self)(self.slope.item() * scale, self.log_ties.tolist(), self.by)

    def as_dict(self) -> dict[str, Any]:
        return {"slope": self.slope.item(), "log_ties": self.log_ties.tolist(), "by": self.by}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)

    def _log_ties(self, largest: Tensor) -> Tensor:
        """Return ln δ₁ … ln δ_D of rankings whose tiers may hold up to `largest` texts [m]: [m, D], −inf beyond."""
        known = torch.cat([self.log_ties.new_zeros(1), self.log_ties])
        most = int(largest.max()) if len(largest) else len(known)
        sizes = torch.arange(1, most + 1, device=known.device)
        step = known[-1] - known[-2] if len(known) > 1 else known.new_tensor(-3.0)
        further = known[-1] + step * (sizes[len(known) :] - len(known))
        return torch.where(sizes <= largest[:, None], torch.cat([known, further]), -math.inf)


def _log_sets(texts: float, size: int) -> float:
    """Return ln of how many sets of `size` there are among so many texts (not whole: an average), at least 0."""
    if size > texts:
        return 0.0
    return math.lgamma(texts + 1) - math.lgamma(size + 1) - math.lgamma(texts - size + 1)


def _check_ties(
    judgements: Sequence[Comparison] | Sequence[Ranking], likelihood: Likelihood
) -> None:
    if likelihood.ties:
        return
    for judgement in judgements:
        is_tie = (
            judgement.tie
            if isinstance(judgement, Comparison)
            else any(len(t) > 1 for t in judgement.tiers)
        )
        if is_tie:
            raise judgement.wrong(
                "a tie, where the fit was told that there are none. Remove it, or allow ties."
            )
