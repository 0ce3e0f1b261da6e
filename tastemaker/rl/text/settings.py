"""The settings of steering, and when a run stops by itself.

Limits. A learned reward can be over-optimised: its score still rises while the true quality falls
(Gao et al. 2023). So a run stops by a reward that it was not trained on (if there is one), by its
KL from the reference, or by properties of its text.
"""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tastemaker.adapters import (
    LORA,
    LORA_TARGETS,
    QUANTIZE,
    SAVED_DTYPE,
    Lora,
    Quantize,
)
from tastemaker.fast.processor import TrainingChoice
from tastemaker.settings import (
    LIMIT,
    MAIN,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Check,
    at_least,
    check,
    setting,
    settings_class,
)
from tastemaker.train.gradients import RECOMPUTE, SHARD


@settings_class
@dataclass(frozen=True)
class Steering:
    """How a policy is steered, whatever the algorithm."""

    group: ClassVar[str] = "Steering"

    steps: int = setting(
        150,
        "Rollouts, or batches of judgements, each followed by an update.",
        at_least(1),
        group=MAIN,
    )
    batch: int = setting(
        128, "Completions a rollout, or judged texts a step.", at_least(1)
    )
    clip: float = setting(
        1.0, "Largest gradient norm.", POSITIVE, option="--gradient-clip"
    )
    # 1e-8, the usual value, lets rare tokens take large early steps
    adam_epsilon: float = setting(
        1e-5, "Added to the root of Adam's second moment.", POSITIVE
    )
    decay: bool = setting(
        True, "Lower the learning rate in a line to 0 over the steps."
    )
    critic_factor: float = setting(
        10.0,
        "Learning rate of the value head, as a multiple of --lr.",
        POSITIVE,
    )
    zero_critic: bool = setting(
        True,
        "A new value head begins at 0, otherwise at small random weights.",
    )
    whiten_rewards: bool = setting(
        False,
        "Divide the rewards of tokens by their standard deviation; their mean is kept.",
    )
    dropout: bool = setting(
        False,
        "Drop out what the model's config says while it learns; sampling never does.",
    )
    lora: int = setting(0, LORA, at_least(0))
    lora_targets: str = setting("all", LORA_TARGETS)
    quantize: Quantize = setting("none", QUANTIZE)
    dtype: TrainingChoice = setting("auto", SAVED_DTYPE)
    gradient_checkpointing: bool = setting(False, RECOMPUTE)
    shard: bool = setting(False, SHARD)
    held_out_share: float = setting(
        0.1,
        "Share of the judgements that only measures, split by prompt; about 1,000 at most.",
        Check(lambda value: 0 < value < 1, "a share, between 0 and 1"),
    )
    windows: int = setting(20, "How often the run is judged.", at_least(1))
    measured: int = setting(
        256, "Completions that are measured before and after.", at_least(1)
    )
    at_once: int = setting(
        8192, "Most tokens that are computed at once.", at_least(1)
    )
    ratio_limit: float = setting(
        2.0,
        "Largest weight of a token that --writer wrote: the policy's probability over the "
        "writer's (Yao et al. 2025).",
        POSITIVE,
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def adapters(self) -> Lora:
        """The adapters that are put into the network."""
        return Lora(self.lora, self.lora_targets, self.quantize)


ADVICE = {
    "too far": "the KL from the reference was more than {limit:g} nats a text {times} times, at "
    "last {value:.1f}; what is saved is the best policy within it. To gain more: a smaller --lr, "
    "a larger KL coefficient, or --kl-target",
    "kl": "the KL from the reference is {value:.1f} nats a text, more than {limit:g}: "
    "raise the KL coefficient, or lower --lr",
    "held-out": "the held-out score has fallen from {limit:.2f} to {value:.2f} while the score "
    "rose: the policy is learning to please this reward model only; use more judgements, an "
    "ensemble, or a larger KL coefficient",
    "collapse": "only {value:.0%} of the texts are distinct ({limit:.0%} is the least): "
    "raise the KL coefficient, add entropy, or lower --lr",
    "repetition": "distinct word pairs have fallen to {value:.0%} of what they were "
    "({limit:.0%} is the least): "
    "add a repetition penalty (--reward repetition=-2), or raise the KL coefficient",
    "by heart": "the held-out preference loss has risen from {limit:.3f} to {value:.3f} while it "
    "fell where the policy learns: it learns these judgements by heart; give more of them, fewer "
    "--steps, or a lower --lr",
    "not finite": "a number was not finite ({reason}): lower --lr",
}
"""Why a run stopped by itself, and what to do about it."""


@dataclass(frozen=True)
class Aim:
    """The figures by which the windows of a run are compared.

    learned: the name of the figure that the run improves. held_out: of the same figure on held-out
    data; a window may lack it. sign: 1 where more is better, −1 where less is. advice: the key in
    `ADVICE` for a held-out figure that gets worse while the learned one does not. robust: the name
    of the learned figure without outliers; a window may lack it.
    """

    learned: str
    held_out: str
    sign: float
    advice: str
    robust: str = ""

    def worth(self, window: dict[str, float]) -> float:
        """Return how good a window is.

        That is the held-out figure. Without one, it is the learned figure without outliers: one
        score of a million must not decide which policy is the best.
        """
        learned = window.get(self.robust, window[self.learned])
        return self.sign * window.get(self.held_out, learned)


SCORE_AIM = Aim("score", "held_out", 1.0, "held-out", "winsorised_score")
"""The aim of a policy that learns from a reward: a high score."""
PREFERENCE_AIM = Aim(
    "preference_loss", "held_out_preference_loss", -1.0, "by heart"
)
"""The aim of a policy that learns from judgements: a low loss on them."""


@settings_class
@dataclass(frozen=True)
class Limits:
    """When a run stops by itself."""

    name: ClassVar[str] = "limits"
    group: ClassVar[str] = "Limits"

    kl: float = setting(
        60.0,
        "Most nats of KL a text; beyond it the run goes back to the best policy within it.",
        LIMIT,
        option="--most-kl",
    )
    distinct: float = setting(
        0.3,
        "Least share of a rollout's texts that differ.",
        SHARE,
        option="--least-distinct",
    )
    pairs: float = setting(
        0.1,
        "Least share of the distinct word pairs that the reference writes.",
        SHARE,
        option="--least-pairs",
    )
    held_out: float = setting(
        0.15,
        "How far the held-out score may fall below its best while the score rises, in standard "
        "deviations of the reference's scores; of judgements, by how many nats the held-out loss "
        "may rise.",
        NOT_NEGATIVE,
        option="--most-fall",
    )
    patience: int = setting(
        3,
        "Windows in a row beyond a limit, or returns from beyond --most-kl, that stop the run.",
        at_least(1),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass
class Watch:
    """The windows of a run so far, and whether it is time to stop.

    A window holds the means of the metrics over some steps. spread: the standard deviation of the
    reference's scores. pairs: the reference's share of distinct word pairs. best: the number of the
    best window that was within all limits, -1 before the first. passed: how many of the
    last windows, in a row, were beyond a limit. breaches: steps whose KL was beyond the limit.
    """

    limits: Limits
    aim: Aim = SCORE_AIM
    spread: float = 1.0
    pairs: float = 1.0
    windows: list[dict[str, float]] = field(default_factory=list)
    best: int = -1
    passed: int = 0
    breaches: int = 0

    def begin(self, scores: Sequence[float], pairs: float) -> None:
        """Store the reference's spread of scores (1 if they are equal) and its word pairs."""
        self.spread = (statistics.pstdev(scores) if scores else 0.0) or 1.0
        self.pairs = pairs

    def judge(self, window: dict[str, float]) -> str | None:
        """Add a window; return why to stop, None to go on."""
        reason = self._reason(window)
        is_better = self.is_better(window)
        self.windows.append(window)
        if is_better and reason is None:
            self.best = len(self.windows) - 1
        self.passed = self.passed + 1 if reason else 0
        return reason if self.passed >= self.limits.patience else None

    def breach(self, kl: float) -> str | None:
        """Count a step with a KL beyond the limit; return why to stop, None to go on."""
        self.breaches += 1
        if self.breaches < self.limits.patience:
            return None
        return ADVICE["too far"].format(
            value=kl, limit=self.limits.kl, times=self.breaches
        )

    def is_better(self, window: dict[str, float]) -> bool:
        """Return whether a window is better than the best so far."""
        if self.best < 0:
            return True
        best = self.windows[self.best]
        return self.aim.worth(window) > self.aim.worth(best)

    @property
    def is_best(self) -> bool:
        """Whether the last window is the best so far."""
        return 0 <= self.best == len(self.windows) - 1

    def _reason(self, window: dict[str, float]) -> str | None:
        """Return why a window is beyond a limit; None if it is not."""
        limits = self.limits
        if window["kl"] > limits.kl:
            return _advice("kl", window["kl"], limits.kl)
        if window["distinct"] < limits.distinct:
            return _advice("collapse", window["distinct"], limits.distinct)
        if window["pairs"] < limits.pairs * self.pairs:
            return _advice(
                "repetition", window["pairs"] / self.pairs, limits.pairs
            )
        aim = self.aim
        if self.best < 0 or aim.held_out not in window:
            return None
        best = self.windows[self.best]
        loss = aim.worth(best) - aim.worth(window)
        is_better = aim.sign * (window[aim.learned] - best[aim.learned]) >= 0
        if is_better and loss > limits.held_out * self.spread:
            return _advice(
                aim.advice, window[aim.held_out], best[aim.held_out]
            )
        return None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        names = ("spread", "pairs", "windows", "best", "passed", "breaches")
        return {name: getattr(self, name) for name in names}


def _advice(name: str, value: float, limit: float) -> str:
    return ADVICE[name].format(value=value, limit=limit)


def distinct(texts: Sequence[str]) -> float:
    """Return the share of texts that differ, 0 … 1."""
    return len(set(texts)) / len(texts) if texts else math.nan


def distinct_pairs(texts: Sequence[str]) -> float:
    """Return the share of distinct word pairs in all texts (distinct-2, Li et al. 2016); 0 if none.

    A text without spaces, such as Chinese, counts each character as a word.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words = text.split() if " " in text.strip() else list(text.strip())
        pairs.update(itertools.pairwise(words))
    return len(pairs) / pairs.total() if pairs else 0.0
