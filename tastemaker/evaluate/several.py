"""What is measured of judgements about several texts, comparisons and rankings: how well scores order what people did.

A comparison is a list of two, so both share their figures. All are about pairs or lists that people ordered; what they
found equally good is counted and left out. Equal scores earn half of a pair.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tastemaker.evaluate.measures import Judged, Part, Predictions, Yardstick
from tastemaker.kinds.registry import Link
from tastemaker.maths.ranks import (
    agreement,
    agreement_by_distance,
    is_ordered,
    kendall_by_list,
    ndcg_by_list,
    top_one_by_list,
)
from tastemaker.maths.statistics import Floats, Statistic, ece, mean_of_defined, ratio_of, value_of

_QUARTERS = 4
_FEW_MARGINS = 8  # up to so many distinct margins get a part each
_MOST_NAMES = 20  # judges or sources that get a part each; all others share one
_FURTHEST = 8  # tiers apart; the last part holds all beyond


class OfSeveralTexts(Yardstick):
    """What comparisons and rankings have in common: orders of texts, and the length of those that win."""

    against_constant = "accuracy"
    constant_title = "coin"
    constant_in_words = "tossing a coin"
    of_one_text = False

    def orders(self, judged: Judged, scores: Floats) -> dict[str, Statistic]:
        """Return the figures that depend on the order of the scores [m, K] alone."""
        return {"accuracy": ratio_of(*agreement(scores, -judged.said))}

    def statistics(self, judged: Judged, made: Predictions) -> dict[str, Statistic]:
        """Return the figures of the order, the log-loss, and how often the longer text scores higher."""
        return {
            **self.orders(judged, made.scores),
            "log_loss": mean_of_defined(made.loss),
            "prefers_longer": ratio_of(*agreement(made.scores, _lengths(judged))),
        }

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the figures of a coin: of equal scores, whose ties count as the mean of all orders."""
        nothing = self.orders(judged, np.zeros_like(judged.said))
        return {name: value_of(statistic, len(judged)) for name, statistic in nothing.items()}

    def longer(self, judged: Judged) -> dict[str, Statistic]:
        """Return the figures of always preferring the longer text; equal lengths are ties."""
        return self.orders(judged, judged.lengths)

    def people(self, judged: Judged) -> dict[str, Statistic]:
        """Return how often people preferred the longer of two texts of unlike length, ties half."""
        return {"people_prefer_longer": ratio_of(*agreement(-judged.said, _lengths(judged)))}

    def parts(self, judged: Judged, made: Predictions) -> dict[str, list[Part]]:
        """Return accuracy by where the judgements come from and by who judged; nothing where all are alike."""
        ours, theirs = agreement(made.scores, -judged.said), agreement(judged.lengths, -judged.said)

        def part(name: str, where: NDArray[np.bool_]) -> Part:
            statistics = {
                "accuracy": ratio_of(ours[0] * where, ours[1] * where),
                "longer_baseline": ratio_of(theirs[0] * where, theirs[1] * where),
            }
            return Part(name, int((ours[1] * where).sum()), statistics)

        tables = {
            **self.own_parts(judged),
            "by_source": _by_name(judged, _source),
            "by_judge": _by_name(judged, _judge),
        }
        return {table: [part(*row) for row in rows] for table, rows in tables.items()}

    def own_parts(self, judged: Judged) -> dict[str, list[tuple[str, NDArray[np.bool_]]]]:
        """Return further tables: the name of each part, and True [m] for the judgements in it."""
        return {}


class ComparisonYardstick(OfSeveralTexts):
    """Comparisons: pairwise accuracy, win probabilities, and how well judges agree with each other."""

    headline = "accuracy"

    def said(self, judgements: Sequence[Any]) -> Floats:
        """Return the tiers of chosen and rejected, 0 and 1, or 0 and 0 for a tie [m, 2]."""
        return np.array([[0.0, float(not judgement.tie)] for judgement in judgements]).reshape(
            -1, 2
        )

    def predictions(self, link: Link, judged: Judged, scores: Floats) -> Predictions:
        """Return the predictions; NaN is the loss of a tie for a link that gives ties no probability at all."""
        made = super().predictions(link, judged, scores)
        unforeseen = ~is_ordered(judged.said) & (made.loss == 0)
        return Predictions(made.scores, made.predicted, np.where(unforeseen, np.nan, made.loss))

    def points(self, judged: Judged, made: Predictions) -> dict[str, float]:
        """Return the expected calibration error of the win probabilities."""
        return {"ece": ece(*favourites(judged, made))}

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return a coin's figures; its log-loss is that of knowing the share of ties in hindsight."""
        ties = 1 - float(is_ordered(judged.said).mean())
        shares = np.array([1 - ties, ties])
        entropy = -float(sum(share * np.log(share) for share in shares if share > 0))
        return {**super().constant(judged), "log_loss": entropy + (1 - ties) * float(np.log(2))}

    def people(self, judged: Judged) -> dict[str, Statistic]:
        """Add the human ceiling: a judge's agreement with the majority of the others on the same two texts."""
        return {
            **super().people(judged),
            "human_ceiling": mean_of_defined(agreement_with_others(judged.judgements)),
        }

    def counts(self, judged: Judged) -> dict[str, int]:
        """Return how many are ties, and how many the human ceiling rests on."""
        rests_on = int((~np.isnan(agreement_with_others(judged.judgements))).sum())
        return {"ties": int((~is_ordered(judged.said)).sum()), "human_ceiling_n": rests_on}

    def own_parts(self, judged: Judged) -> dict[str, list[tuple[str, NDArray[np.bool_]]]]:
        """Return accuracy by margin and by the difference of the lengths."""
        decided = is_ordered(judged.said)
        margins = np.array([judgement.margin for judgement in judged.judgements], dtype=np.float64)
        difference = np.abs(judged.lengths[:, 0] - judged.lengths[:, 1])
        return {
            "by_margin": list(_by_margin(margins, decided)),
            "by_length_difference": list(
                _by_quarter(difference, decided, lambda edge: f"{edge:,.0f}")
            ),
        }


class RankingYardstick(OfSeveralTexts):
    """Rankings: Kendall's τ, NDCG and top-1 of each list, and the accuracy of the pairs within lists."""

    headline = "kendall_tau"
    constant_in_words = "ordering by chance"

    def said(self, judgements: Sequence[Any]) -> Floats:
        """Return the tier of each text, NaN where a shorter list has none [m, K]."""
        longest = max((len(judgement.texts) for judgement in judgements), default=2)
        tiers = np.full((len(judgements), longest), np.nan)
        for row, judgement in zip(tiers, judgements, strict=True):
            row[: len(judgement.texts)] = judgement.ranks
        return tiers

    def predictions(self, link: Link, judged: Judged, scores: Floats) -> Predictions:
        """Return the predictions: P(best) of the answer that scores highest."""
        s = np.where(np.isnan(judged.said), -np.inf, scores)
        with torch.no_grad():
            loss = -link.log_likelihood(torch.from_numpy(scores), link.targets(judged.judgements))
            best = link.predict(torch.from_numpy(s)).numpy()
        return Predictions(scores, best.max(axis=1, initial=0.0), loss.numpy())

    def orders(self, judged: Judged, scores: Floats) -> dict[str, Statistic]:
        """Return τ, NDCG and top-1, means over lists, and the share of pairs ordered as people did."""
        return {
            "kendall_tau": mean_of_defined(kendall_by_list(scores, judged.said)),
            "ndcg": mean_of_defined(ndcg_by_list(scores, judged.said)),
            "top1": mean_of_defined(top_one_by_list(scores, judged.said)),
            **super().orders(judged, scores),
        }

    def counts(self, judged: Judged) -> dict[str, int]:
        """Return how many lists people did not order, and how many pairs they did."""
        pairs = agreement(judged.said, judged.said)[1]
        return {"unordered_lists": int((~is_ordered(judged.said)).sum()), "pairs": int(pairs.sum())}

    def parts(self, judged: Judged, made: Predictions) -> dict[str, list[Part]]:
        """Add accuracy by how many tiers apart two answers are."""
        last = np.nanmax(judged.said, initial=0.0)
        furthest = int(min(_FURTHEST, max(1.0, last)))
        ours = agreement_by_distance(made.scores, judged.said, furthest)
        theirs = agreement_by_distance(judged.lengths, judged.said, furthest)
        by_distance = []
        for d in range(furthest):
            name = f"{d + 1} or more" if d + 1 == furthest < last else f"{d + 1}"
            statistics = {
                "accuracy": ratio_of(ours[0][:, d], ours[1][:, d]),
                "longer_baseline": ratio_of(theirs[0][:, d], theirs[1][:, d]),
            }
            by_distance.append(Part(name, int(ours[1][:, d].sum()), statistics))
        return {"by_distance": by_distance, **super().parts(judged, made)}


def favourites(judged: Judged, made: Predictions) -> tuple[Floats, Floats]:
    """Return of each comparison the credit promised to the favourite, ½ to 1, and the credit it got: 1, ½ or 0."""
    got = np.where(is_ordered(judged.said), 1.0, 0.5)  # by the first text
    is_first = made.predicted > 0.5
    even = made.predicted == 0.5
    return np.maximum(made.predicted, 1 - made.predicted), np.where(
        even, 0.5, np.where(is_first, got, 1 - got)
    )


def agreement_with_others(judgements: Sequence[Any]) -> Floats:
    """Return the credit [m] of each decided comparison's judge with the majority of the others on the same two texts.

    1 where they are of one mind, 0 where not, ½ where the others are divided; NaN for ties, for judges without a name,
    and where nobody else judged the two texts as answers to the same prompt.
    """
    votes: Counter[Any] = Counter()
    voters: Counter[Any] = Counter()
    keys = []
    for j in judgements:
        first, second = sorted(j.texts)
        vote = 0 if j.tie else 1 if j.chosen == first else -1
        item = (j.prompt, first, second)
        keys.append((item, (item, j.judge), vote))
        for key in keys[-1][:2] if j.judge is not None else ():
            votes[key] += vote
            voters[key] += 1
    credit = np.full(len(keys), np.nan)
    for i, (item, own, vote) in enumerate(keys):
        if vote and voters[own] and voters[item] > voters[own]:
            others = vote * (votes[item] - votes[own])
            credit[i] = 0.5 + 0.5 * np.sign(others)
    return credit


def _lengths(judged: Judged) -> Floats:
    """Return the characters of each text, NaN where there is none [m, K]."""
    return np.where(np.isnan(judged.said), np.nan, judged.lengths)


def _source(judgement: Any) -> str:
    return judgement.source or judgement.where.rpartition(":")[0] or "not known"


def _judge(judgement: Any) -> str:
    return "not named" if judgement.judge is None else str(judgement.judge)


def _by_name(judged: Judged, name_of: Callable[[Any], str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return a part for each of the most frequent names and one for all others; nothing for a single name."""
    names = [name_of(judgement) for judgement in judged.judgements]
    counted = sorted(Counter(names).items(), key=lambda found: (-found[1], found[0]))
    if len(counted) < 2:
        return []
    own = counted if len(counted) <= _MOST_NAMES + 1 else counted[:_MOST_NAMES]
    number = {name: i for i, (name, _) in enumerate(own)}
    group = np.array([number.get(name, -1) for name in names])
    parts = [(name, group == i) for name, i in number.items()]
    rest = len(counted) - len(own)
    return [*parts, (f"{rest} others", group == -1)] if rest else parts


def _by_margin(
    margins: Floats, decided: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield a part for each margin, or for each quarter of them; nothing where nobody said a margin."""
    said = decided & (margins > 0)
    values = np.unique(margins[said])
    if not len(values):
        return
    if (decided & ~said).any():
        yield "not said", decided & ~said
    if len(values) <= _FEW_MARGINS:
        yield from ((f"{value:g}", said & (margins == value)) for value in values)
    else:
        yield from _by_quarter(margins, said, lambda edge: f"{edge:.3g}")


def _by_quarter(
    values: Floats, where: NDArray[np.bool_], shown: Callable[[float], str]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield four parts of about equal size by value, the smallest first; equal values share a part."""
    if not where.any():
        return
    edges = np.quantile(values[where], np.arange(1, _QUARTERS) / _QUARTERS)
    quarter = np.searchsorted(edges, values, side="left")
    for i in np.unique(quarter[where]):
        chosen = where & (quarter == i)
        low, high = shown(float(values[chosen].min())), shown(float(values[chosen].max()))
        yield low if low == high else f"{low}–{high}", chosen
