"""What an answer says of each pair of texts, and shares of such verdicts with their intervals."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tastemaker.maths.statistics import wilson_interval

Answer = dict[str, Any]
Verdicts = dict[tuple[int, int], int]


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval (Wilson). why: where there is none, the reason.

    The reason is a key of `whys` in `words.yaml`.
    """

    hits: float
    n: int
    why: str = ""

    def __str__(self) -> str:
        if not self.n:
            return self.why
        low, high = wilson_interval(self.hits, self.n)
        share = self.hits / self.n
        return f"{share:.0%} ({max(0.0, low):.0%}–{float(high):.0%}, n = {self.n})"


def verdicts(answer: Answer) -> Verdicts:
    """Return what an answer says of each pair of texts: 1, −1, 0 for a tie; (0, 0): its value."""
    if "tiers" not in answer:
        return {(0, 0): answer["value"]}
    rank = {}
    for number, tier in enumerate(answer["tiers"]):
        rank.update(dict.fromkeys(tier, number))
    # worse than all tiers, in no known order
    rest = answer.get("rest", ())
    rank.update(dict.fromkeys(rest, len(rank)))
    pairs = {}
    for a, b in combinations(sorted(rank), 2):
        if a in rest and b in rest:
            continue
        pairs[a, b] = (rank[a] < rank[b]) - (rank[a] > rank[b])
    return pairs


def equal_share(one: Answer, other: Answer) -> tuple[int, int]:
    """Return on how many pairs two answers agree, and how many both judge."""
    return agreeing(verdicts(one), verdicts(other))


def agreeing(mine: Verdicts, theirs: Verdicts) -> tuple[int, int]:
    """Return on how many pairs verdicts agree, and how many both have."""
    shared = mine.keys() & theirs.keys()
    return sum(mine[pair] == theirs[pair] for pair in shared), len(shared)
