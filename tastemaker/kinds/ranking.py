"""Rankings: several texts in order. Plackett–Luce with ties and partial orders."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from tastemaker.data.judgements import Ranking
from tastemaker.errors import DataError
from tastemaker.kinds.base import (
    NO_AIDS,
    Likelihood,
    Link,
    four_digits,
    scalar,
)
from tastemaker.kinds.comparison import check_ties
from tastemaker.kinds.metrics import (
    Judged,
    MetricsOfSeveralTexts,
    Part,
    Predictions,
)
from tastemaker.maths.likelihoods import (
    pairs_log_likelihood,
    plackett_luce_log_likelihood,
)
from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    agreement,
    agreement_by_distance,
    is_ordered,
    kendall_by_list,
    mean_of_defined,
    ndcg_by_list,
    ratio_of,
    top_one_by_list,
)

# numbers in one table of a fit; more would take gigabytes
_MOST_PAIRS, _MOST_SETS = 2 * 10**8, 3 * 10**8
_LONG = 100  # texts of a ranking
_MOST_FILLED = 4  # times the pairs that there are
_FURTHEST = 8  # tiers apart; the last part holds all beyond


class RankingMetrics(MetricsOfSeveralTexts):
    """Rankings: Kendall's τ, NDCG and top-1 of each list, and the accuracy of its pairs."""

    headline = "kendall_tau"

    def orders(self, judged: Judged, scores: Floats) -> dict[str, Statistic]:
        """Return τ, NDCG and top-1, means over lists, and the share of pairs in right order."""
        return {
            "kendall_tau": mean_of_defined(
                kendall_by_list(scores, judged.answers)
            ),
            "ndcg": mean_of_defined(ndcg_by_list(scores, judged.answers)),
            "top1": mean_of_defined(top_one_by_list(scores, judged.answers)),
            **super().orders(judged, scores),
        }

    def counts(self, judged: Judged) -> dict[str, int]:
        """Return how many lists people did not order, and how many pairs they did."""
        _, pairs = agreement(judged.answers, judged.answers)
        unordered = ~is_ordered(judged.answers)
        return {
            "unordered_lists": int(unordered.sum()),
            "pairs": int(pairs.sum()),
        }

    def parts(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, list[Part]]:
        """Add accuracy by how many tiers apart two answers are."""
        last = np.nanmax(judged.answers, initial=0.0)
        furthest = int(min(_FURTHEST, max(1.0, last)))
        right, pairs = agreement_by_distance(
            predictions.scores, judged.answers, furthest
        )
        longer_right, longer_pairs = agreement_by_distance(
            judged.lengths, judged.answers, furthest
        )
        by_distance = []
        for column in range(furthest):
            distance = column + 1
            name = f"{distance}"
            if distance == furthest < last:
                name += " or more"
            count = pairs[:, column]
            statistics = {
                "accuracy": ratio_of(right[:, column], count),
                "longer_baseline": ratio_of(
                    longer_right[:, column], longer_pairs[:, column]
                ),
            }
            by_distance.append(Part(name, int(count.sum()), statistics))
        return {
            "by_distance": by_distance,
            **super().parts(judged, predictions),
        }


class RankingLink(Link):
    """Plackett–Luce on slope · s with the ties of Turner et al. (2020), or the mean over pairs.

    log_ties: ln δ₂ … ln δ_D for tiers of 2 … D texts; larger tiers continue along the last step.
    Sets of up to D texts might have been chosen, or of as many as the ranking's largest tier holds.
    """

    record = Ranking
    kind_metrics = RankingMetrics()
    is_of_one_text = False

    def __init__(
        self,
        slope: float = 1.0,
        log_ties: Sequence[float] = (),
        by: str = "plackett-luce",
    ) -> None:
        super().__init__()
        self.slope = scalar(slope)
        self.log_ties = nn.Parameter(
            torch.tensor(list(log_ties), dtype=torch.float32)
        )
        self.by = by

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Ranking], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the shares of tiers of 1, 2 … texts. Raises DataError for a forbidden tie."""
        check_ties(judgements, likelihood)
        _check_size(judgements, by=likelihood.ranking)
        sizes = Counter(len(tier) for j in judgements for tier in j.tiers)
        largest = max(sizes)
        if likelihood.ranking == "pairs":
            return cls(1.0, [0.0] if largest > 1 else [], "pairs")
        typical = (
            sum(len(j.texts) for j in judgements) / len(judgements) / 2 + 0.5
        )
        starts = []
        for size in range(2, largest + 1):
            log_share = math.log((sizes[size] + 0.5) / (sizes[1] + 0.5))
            starts.append(
                log_share + math.log(typical) - _log_sets(typical, size)
            )
        return cls(1.0, starts)

    @classmethod
    def why_no_order(cls, judgements: Sequence[Ranking]) -> str:
        """Return a sentence where all texts of each ranking are tied."""
        if not all(len(j.tiers) == 1 and not j.rest for j in judgements):
            return ""
        return f"all {len(judgements)} rankings have one tier only: they do not order texts."

    def targets(self, judgements: Sequence[Ranking]) -> Tensor:
        """Return [m, K + 1]: the number of tiers, then each text's tier, −1 for no text."""
        check_ties(judgements, self.aids)
        _check_size(judgements, by=self.by)
        longest = max((len(j.texts) for j in judgements), default=0)
        rows = [
            [len(j.tiers), *j.ranks, *[-1] * (longest - len(j.texts))]
            for j in judgements
        ]
        return torch.tensor(rows, dtype=torch.long).reshape(
            len(judgements), longest + 1
        )

    @property
    def has_ties(self) -> bool:
        return len(self.log_ties) > 0

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """scores: [m, K], any finite number where there is no text."""
        return self._log_likelihood(scores, targets, None)

    def log_likelihood_with_ties(
        self, scores: Tensor, targets: Tensor, width: Tensor
    ) -> Tensor:
        return self._log_likelihood(scores, targets, width)

    def _log_likelihood(
        self, scores: Tensor, targets: Tensor, width: Tensor | None
    ) -> Tensor:
        stages, tier = targets[:, 0], targets[:, 1:]  # [m], [m, K]
        s = self.slope * scores
        if self.by == "pairs":
            log_ties = self.log_ties[0] if len(self.log_ties) else None
            if log_ties is not None and width is not None:
                log_ties = (log_ties + width)[:, None]
            return pairs_log_likelihood(s, tier, stages, log_ties)
        is_chosen = (tier >= 0) & (tier < stages[:, None])
        is_same_tier = tier[:, :, None] == tier[:, None, :]
        # of each text's tier
        sizes = (is_same_tier & is_chosen[:, :, None]).sum(2)
        learned = stages.new_full((len(stages), 1), len(self.log_ties) + 1)
        largest = torch.cat([sizes, learned], dim=1).amax(1)
        all_ties = self._log_ties(largest)  # [m, D]
        if width is not None:
            # each further text of a tier is as much likelier as the second
            steps = torch.arange(all_ties.shape[1], device=width.device)
            all_ties = all_ties + width[:, None] * steps
        return plackett_luce_log_likelihood(s, tier, stages, all_ties)

    def predict(self, scores: Tensor) -> Tensor:
        """Return the probability that each text is the best [m, K]; a score of −inf is no text."""
        shares: Tensor = (self.slope * scores).softmax(1)
        return shares

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the share of ordered pairs in which the better text scores higher."""
        tier = targets[:, 1:]
        one, other = tier[:, :, None], tier[:, None, :]
        is_better = (one < other) & (one >= 0)
        differences = scores[:, :, None] - scores[:, None, :]
        right = 0.5 + 0.5 * torch.sign(differences)[is_better]
        return {"ranking_accuracy": float(right.mean())} if len(right) else {}

    def leaning(self, targets: Tensor) -> Tensor:
        """Return [m, K]: 1 for the best tier, 0 for the worst, even steps between."""
        tier = targets[:, 1:].double()
        worst = tier.max(1, keepdim=True).values
        leaning = torch.where(worst > 0, 1 - tier / worst.clamp(min=1), 0.5)
        return torch.where(tier < 0, torch.nan, leaning)

    def rescaled(self, offset: float, scale: float) -> Self:
        return type(self)(
            self.slope.item() * scale, self.log_ties.tolist(), self.by
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "slope": self.slope.item(),
            "log_ties": self.log_ties.tolist(),
            "by": self.by,
        }

    def _log_ties(self, largest: Tensor) -> Tensor:
        """Return ln δ₁ … ln δ_D [m, D] for tiers of up to `largest` texts [m]; −inf beyond."""
        learned = torch.cat([self.log_ties.new_zeros(1), self.log_ties])
        count = len(learned)
        most = int(largest.max()) if len(largest) else count
        sizes = torch.arange(1, most + 1, device=learned.device)
        step = learned.new_tensor(-3.0)
        if count > 1:
            step = learned[-1] - learned[-2]
        further = learned[-1] + step * (sizes[count:] - count)
        all_ties = torch.cat([learned, further])
        return torch.where(sizes <= largest[:, None], all_ties, -math.inf)

    def formula(self) -> str:
        model = (
            "the mean over its pairs"
            if self.by == "pairs"
            else "Plackett–Luce"
        )
        slope = four_digits(self.slope.item())
        chance = "P(the text is the best of a list) = e^(a·s) / Σ e^(a·s)"
        return f"Ranking ({model}): `{chance}`, a = {slope}"


def _check_size(judgements: Sequence[Ranking], *, by: str) -> None:
    """Raise DataError for rankings that would fill the memory.

    All rankings stand in one table. Every row has room for the pairs of the longest ranking. Where
    texts tie, it also has room for all sets of tied texts, up to the size of the largest tie.
    """
    count = len(judgements)
    longest = 0
    largest = 1
    pairs_needed = 0
    where = ""
    for judgement in judgements:
        length = len(judgement.texts)
        pairs_needed += length**2
        if length > longest:
            longest = length
            where = judgement.where
        for tier in judgement.tiers:
            largest = max(largest, len(tier))
    pairs = count * longest**2
    sets = 0
    if largest > 1 and by != "pairs":
        sets = count * longest * largest**2
    advice = ""
    if sets > _MOST_SETS:
        advice = "Divide the large ties, or choose --ranking pairs."
    is_mostly_filling = pairs > _MOST_FILLED * pairs_needed
    if pairs > _MOST_PAIRS and (longest > _LONG or is_mostly_filling):
        advice = "Divide the long rankings, or leave them out."
    if not advice:
        return
    message = (
        f"{count:,} rankings of up to {longest:,} answers, of which up to "
        f"{largest:,} tie, would fill the memory. {advice}"
    )
    if where:
        message = f"{where}: {message}"
    raise DataError(message)


def _log_sets(texts: float, size: int) -> float:
    """Return ln of the number of sets of `size` out of `texts` (an average); at least 0."""
    if size > texts:
        return 0.0
    return (
        math.lgamma(texts + 1)
        - math.lgamma(size + 1)
        - math.lgamma(texts - size + 1)
    )
