"""Best-of-n as a rival of every algorithm: what it gains, and at what KL, from one pool of scored completions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.judgements import Prompt
from tastemaker.errors import UsageError
from tastemaker.maths.overoptimisation import BEST_OF, Fitted, best_of_kl, expected_best, fitted
from tastemaker.maths.statistics import Floats

if TYPE_CHECKING:  # a frontier of runs alone is read without torch
    from tastemaker.gpt.policy import Policy
    from tastemaker.gpt.sampling import Sampling

NS = (1, 2, 4, 8, 16, 32, 64)
_TIMES = 16
"""Completions of all prompts together, as a multiple of the largest n, where nothing else is asked for."""


def powers_of_two(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … and `most` at their end. Raises UsageError for fewer than 1."""
    if most < 1:
        raise UsageError(f"best of {most}: ask for 1 or more.")
    return tuple(sorted({most, *(2**power for power in range(most.bit_length()))}))


@dataclass(frozen=True, eq=False)
class BestOfCurve:
    """What the best of n is worth, for several n in rising order, 1 among them [M].

    series: by name, the expected score of the best by score, and its held-out score and gold where they were measured
    [M]. completions: of each prompt, that the estimates rest on.
    """

    ns: tuple[int, ...]
    series: Mapping[str, Floats]
    prompts: int
    completions: int

    @property
    def kl(self) -> Floats:
        """KL from the policy that wrote, ln n − (n − 1)/n, nats [M]."""
        return np.array([best_of_kl(n) for n in self.ns])

    @property
    def fits(self) -> dict[str, Fitted | None]:
        """A curve d(α − βd) of each series' gains over n = 1."""
        return {
            name: fitted(BEST_OF, self.kl, values - values[0])
            for name, values in self.series.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the points, JSON-ready."""
        columns = {
            "n": self.ns,
            "kl": self.kl.tolist(),
            **{k: v.tolist() for k, v in self.series.items()},
        }
        points = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        return {"prompts": self.prompts, "completions": self.completions, "points": points}


def best_of_curve(
    policy: "Policy",
    reward: Any,
    prompts: Prompt | Sequence[Prompt] = "",
    *,
    gold: Any = None,
    held_out: Any = None,
    ns: Sequence[int] = NS,
    completions: int | None = None,
    sampling: "Sampling | None" = None,
    seed: int = 0,
) -> BestOfCurve:
    """Measure what the best of n by a reward is worth, for every n, from one pool of completions of each prompt.

    reward, gold, held_out: as `steer` takes them. completions: of each prompt; left out, 16 times the largest n of all
    prompts together, and never fewer than that n of one. Every estimate is without bias: the mean over all choices of n
    among the pool. Raises UsageError for an n below 1 or above the completions, RewardError for a reward that fails.
    """
    from tastemaker.gpt.policy import as_prompts
    from tastemaker.rl.text.rewards import checked, reward_of

    found, wanted = as_prompts(prompts), tuple(sorted({1, *ns}))
    if not found:
        raise UsageError(
            "no prompts: give some texts to continue, or leave them out to begin texts."
        )
    each = completions or max(wanted[-1], -(-_TIMES * wanted[-1] // len(found)))
    if wanted[0] < 1 or wanted[-1] > each:
        raise UsageError(
            f"best of {wanted[0]} to {wanted[-1]} among {each} completions: n must be 1 to that many."
        )
    measures = {"score": reward, "held_out": held_out, "gold": gold}
    rewards = {name: reward_of(spec) for name, spec in measures.items() if spec is not None}
    written = policy.complete(found, samples=each, sampling=sampling, seed=seed)
    scores = {
        name: np.reshape(checked(r, written), (len(found), each)) for name, r in rewards.items()
    }
    series = {
        name: np.array([_mean_best(scores["score"], s, n) for n in wanted])
        for name, s in scores.items()
    }
    return BestOfCurve(wanted, series, len(found), each)


def _mean_best(by: Floats, values: Floats, n: int) -> float:
    """Return the mean over prompts of what the best of n is worth. by, values: [prompts, completions]."""
    return float(np.mean([expected_best(p, v, n) for p, v in zip(by, values, strict=True)]))
