"""The settings of the likelihoods, and what a link is.

A link maps a score to the distribution of one kind of judgement. It holds the few parameters of the
kind's likelihood, which are learned beside the backbone and saved in the score contract.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from tastemaker.data.judgements import RECORDS, Judgement
from tastemaker.data.texts import FEATURES, names_of
from tastemaker.errors import UsageError
from tastemaker.kinds.metrics import KindMetrics
from tastemaker.settings import (
    NOT_NEGATIVE,
    Check,
    check,
    setting,
    settings_class,
)


@settings_class
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
    ties: bool = setting(
        True,
        "Whether two texts can be equally good. If not, a tie is an error.",
    )
    ranking: Literal["plackett-luce", "pairs"] = setting(
        "plackett-luce",
        "Likelihood of rankings; pairs: the mean over a ranking's pairs (Ouyang et al. 2022).",
    )
    rating: Literal["normal", "huber"] = setting(
        "normal",
        "Likelihood of ratings; huber: outliers pull less.",
        option="--rating-loss",
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
    control: str = setting(
        "",
        "Features that the score must not carry, such as length,lists: what they explain is "
        f"explained by them. Of {', '.join(FEATURES)}. "
        "Costs accuracy where they are part of what is good.",
        shown="none",
    )

    def __post_init__(self) -> None:
        check(self)
        names_of(self.control)
        # a configuration file may hold anything
        weights: Mapping[str, Any] = self.weights
        for kind, weight in weights.items():
            if kind not in RECORDS:
                raise UsageError(
                    f"a weight for {kind!r}: the kinds of judgements are {', '.join(RECORDS)}."
                )
            if (
                not isinstance(weight, Real)
                or not 0 <= float(weight) < math.inf
            ):
                raise UsageError(
                    f"the weight of {kind}s is {weight}; a weight is a finite number of 0 or more."
                )

    @property
    def controlled(self) -> tuple[str, ...]:
        """The names of the features that the score must not carry."""
        return names_of(self.control)


NO_AIDS = Likelihood(margin=0.0)
"""The judgements as they are: no margins, no smoothing, no centring."""


def odds_of_counts(number: int, others: int) -> float:
    """Return the odds of an answer that was given `number` times and not given `others` times.

    Half a time is added to a count of 0, so that the odds are positive and finite.
    """
    return (number or 0.5) / (others or 0.5)


def scalar(value: float) -> nn.Parameter:
    """Return a number that is learned."""
    return nn.Parameter(torch.tensor(float(value)))


class Link(nn.Module, ABC):
    """The likelihood of one kind of judgement given the scores.

    Scores are [m] where `is_of_one_text`; otherwise [m, K], the texts of a judgement in the order
    of its `texts`, with any finite number where there is no text.

    record: the record of the kind. kind_metrics: what an evaluation measures of it.
    predicts: what `predict` returns, where the model has a method for it.
    is_logit: whether slope · s is a log-odds; a rating has a unit of its own.
    scale_parameters: what sets the scale of the scores. A fit of more weights than texts holds
    them, and takes them from texts that it does not learn from.
    aids: helps for the fit (smoothing, margins); never saved, off unless set.
    """

    record: ClassVar[type[Judgement]]
    kind_metrics: ClassVar[KindMetrics]
    predicts: ClassVar[Literal["probabilities", "ratings"] | None] = None
    is_of_one_text: ClassVar[bool] = True
    is_logit: ClassVar[bool] = True
    scale_parameters: ClassVar[tuple[str, ...]] = ("slope",)
    slope: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        self.aids = NO_AIDS

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return self.record.kind

    @classmethod
    @abstractmethod
    def from_judgements(
        cls, judgements: Sequence[Any], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Return a link that starts near the judgements' statistics.

        Raises DataError for judgements that do not fit together.
        """

    @classmethod
    def why_no_order(cls, judgements: Sequence[Any]) -> str:
        """Return a sentence that says why these judgements cannot order texts; "" if they can."""
        return ""

    @abstractmethod
    def targets(self, judgements: Sequence[Any]) -> Tensor:
        """Return the judgements as one tensor [m] or [m, …], what `log_likelihood` takes.

        Raises DataError for a judgement that does not fit what this link learned.
        """

    @abstractmethod
    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return ln P(judgement | scores) [m]."""

    @property
    def has_ties(self) -> bool:
        """Whether the likelihood knows ties, whose width may differ between judges."""
        return False

    def log_likelihood_with_ties(
        self, scores: Tensor, targets: Tensor, width: Tensor
    ) -> Tensor:
        """Return `log_likelihood` for judges who give more or fewer ties.

        width: [m], added to the logarithm of the parameter of ties. Only where `has_ties`.
        """
        raise NotImplementedError(f"{type(self).__name__} knows no ties.")

    @abstractmethod
    def predict(self, scores: Tensor) -> Tensor:
        """Return the mean judgement of texts with these scores."""

    @abstractmethod
    def leaning(self, targets: Tensor) -> Tensor:
        """Return how much each judgement favours its texts, 0 … 1; NaN for no text."""

    @abstractmethod
    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the figure that a training run shows, by name."""

    @abstractmethod
    def rescaled(self, offset: float, scale: float) -> Self:
        """Return the link that gives (s − offset)/scale the likelihoods that this one gives s."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain numbers, which `from_dict` takes."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the link that `as_dict` described, without aids."""
        return cls(**values)

    def neutral(self) -> Tensor:
        """Return the score at which a judge leans neither way.

        An unreliable judge sees scores closer to it. Where only differences count, it is 0.
        """
        return torch.zeros_like(self.slope)

    def information(self, scores: Tensor) -> Tensor:
        """Return how much a judgement tells about scores [...], up to a factor.

        It is the Fisher information. It is constant unless answers run into an end of a scale.
        """
        return torch.ones_like(scores)

    def formula(self) -> str:
        """Return what a score s means, as a line of Markdown for the model card."""
        return (
            f"{self.kind.capitalize()}: slope {four_digits(self.slope.item())}"
        )


def four_digits(value: float) -> str:
    """Return a number with four digits."""
    return f"{value:.4g}"


def signed(value: float) -> str:
    """Return a number to be added, with its sign: "+ 0.5", "− 0.5"."""
    return f"{'−' if value < 0 else '+'} {four_digits(abs(value))}"
