"""How judgements are believed: the settings of the likelihoods, checked where they are made.

What a link is: from a score to what people said.

A link holds the few parameters of one kind of judgement's likelihood. They are learned beside the backbone, saved in
the score contract, and turn a score back into a probability, a grade, a rating or a win chance.

| method | takes | returns |
|---|---|---|
| `from_judgements` | the training judgements of its kind, the settings | a link that starts near their statistics |
| `targets` | judgements [m] | tensor [m] or [m, …], what `log_likelihood` wants |
| `log_likelihood` | scores [m] or [m, K], targets | ln P(judgement \\| scores) [m] |
| `predict` | scores [m] or [m, K] | what a judge would say on average |
| `neutral` | | the score at which a judge leans neither way |
| `metrics` | scores, targets | the figure that a training run shows, by name |
| `leaning` | targets | how favourable a judgement is to each of its texts, 0 … 1; NaN where there is no text |
| `rescaled` | offset, scale | the link of the scores (s − offset)/scale: same likelihoods |
| `as_dict`, `from_dict` | | JSON |
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from tastemaker.errors import UsageError
from tastemaker.settings import NOT_NEGATIVE, Check, check, setting

KINDS = ("label", "grade", "rating", "comparison", "ranking")


@dataclass(frozen=True)
class Likelihood:
    """How judgements count as evidence. By default all kinds and judges count alike."""

    group: ClassVar[str] = "Likelihood"

    weights: Mapping[str, float] = setting(
        {},
        "How much the judgements of a kind count: comparison=2. May be repeated.",
        option="--weight",
        shown="1 each",
    )
    judges: bool | None = setting(
        None,
        "Learn how reliable each judge is.",
        shown="where two or more judges are named",
    )
    ties: bool = setting(True, "Whether two texts can be equally good. If not, a tie is an error.")
    ranking: Literal["plackett-luce", "pairs"] = setting(
        "plackett-luce",
        "Likelihood of rankings; pairs: the mean over a ranking's pairs (Ouyang et al. 2022).",
    )
    rating: Literal["normal", "huber"] = setting(
        "normal", "Likelihood of ratings; huber: outliers pull less.", option="--rating-loss"
    )
    # subtracted behind the link's slope, so its unit is log-odds and not the score's
    margin: float = setting(
        1.0,
        "Log-odds that a margin of 1 adds to what the chosen text has to reach "
        "(Touvron et al. 2023).",
        NOT_NEGATIVE,
    )
    smoothing: float = setting(
        0.0,
        "Share of labels and comparisons that are taken for mistakes.",
        Check(lambda value: 0 <= value < 0.5, "at least 0 and below 0.5"),
        option="--label-smoothing",
    )
    centring: float = setting(
        0.0,
        "Pull towards 0 of the mean score of texts judged together (Eisenstein et al. 2023).",
        NOT_NEGATIVE,
    )
    length_control: bool = setting(
        False, "Explain by length what length explains, so that the score does not carry it."
    )

    def __post_init__(self) -> None:
        check(self)
        for kind, weight in self.weights.items():
            if kind not in KINDS:
                raise UsageError(
                    f"a weight for {kind!r}: the kinds of judgements are {', '.join(KINDS)}."
                )
            if not (math.isfinite(weight) and weight >= 0):
                raise UsageError(
                    f"the weight of {kind}s is {weight}; a weight is a finite number of 0 or more."
                )


def scalar(value: float) -> nn.Parameter:
    """Return a number that is learned."""
    return nn.Parameter(torch.tensor(float(value)))


NO_AIDS = Likelihood(margin=0.0)
"""What a link is without: judgements as they are."""


class Link(nn.Module, ABC):
    """The likelihood of one kind of judgement given the scores. See the table at the top of this file.

    aids: what helps the fit and is no part of what judges do (smoothing, margins); never saved, off unless set.
    """

    kind: str
    texts: int = 1  # that a judgement is about; 2: two or more
    slope: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        self.aids = NO_AIDS

    @classmethod
    @abstractmethod
    def from_judgements(cls, judgements: Sequence[Any], likelihood: Likelihood = NO_AIDS) -> Self:
        """Return a link that starts near the judgements' own statistics; DataError when they cannot teach anything."""

    @abstractmethod
    def targets(self, judgements: Sequence[Any]) -> Tensor:
        """Return the judgements as one tensor; DataError when one does not fit what this link learned."""

    @abstractmethod
    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return ln P(judgement | scores), one number a judgement."""

    @abstractmethod
    def predict(self, scores: Tensor) -> Tensor:
        """Return what a judge would say on average of texts with these scores."""

    @abstractmethod
    def neutral(self) -> Tensor:
        """Return the score at which a judge leans neither way: an unreliable judge's answers turn about it."""

    @abstractmethod
    def leaning(self, targets: Tensor) -> Tensor:
        """Return how favourable each judgement is to its texts, 0 (against) to 1 (for), NaN where there is no text."""

    @abstractmethod
    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return how well scores [m] or [m, K] foretell the judgements: one plain figure, by name."""

    @abstractmethod
    def rescaled(self, offset: float, scale: float) -> Self:
        """Return the link that gives (s − offset)/scale the likelihoods that this one gives s."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain numbers."""

    @classmethod
    @abstractmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the link that `as_dict` described, without aids."""
