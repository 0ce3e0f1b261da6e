"""How the logits of several classes become one score, and what that score means.

A published classifier has names for its classes. Two classes, or three with a neutral one, give the
log-odds of positive against negative. Ordered classes, such as stars, give the expected number.
Classes whose names do not say what is better are refused.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tastemaker.errors import ModelError

_POSITIVE = {"positive", "pos", "good", "favorable", "favourable", "label_1"}
_NEGATIVE = {
    "negative",
    "neg",
    "bad",
    "unfavorable",
    "unfavourable",
    "label_0",
}
_NEUTRAL = {"neutral", "neu", "mixed"}
_LEVELS = {
    "very negative": 1.0,
    "negative": 2.0,
    "neutral": 3.0,
    "positive": 4.0,
    "very positive": 5.0,
}
_UNNAMED = re.compile(r"label_\d+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

Links = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Readout:
    """A score as a function of logits [n, classes].

    positive, negative: the score is the difference of these two logits, less the offset, over the
    scale. values: the score is their mean, weighted by the softmax of the logits. One of the two is
    given.
    """

    positive: int = 0
    negative: int = 0
    values: tuple[float, ...] = ()
    offset: float = 0.0
    scale: float = 1.0

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the scores [n, 1], float32."""
        logits = logits.float()
        if not self.values:
            difference = logits[:, self.positive] - logits[:, self.negative]
            return ((difference - self.offset) / self.scale)[:, None]
        values = torch.tensor(self.values, device=logits.device)
        return (logits.softmax(1) * values).sum(1, keepdim=True)

    def rescaled(self, offset: float, scale: float) -> "Readout":
        """Return the readout of (s − offset)/scale."""
        if self.values:
            values = tuple((value - offset) / scale for value in self.values)
            return replace(self, values=values)
        moved = self.offset + self.scale * offset
        return replace(self, offset=moved, scale=self.scale * scale)

    def as_dict(self) -> dict[str, Any]:
        """Return what the contract holds."""
        if self.values:
            return {
                "function": "sum(values * softmax(logits))",
                "values": list(self.values),
            }
        values: dict[str, Any] = {
            "function": "logits[positive] - logits[negative]",
            "positive": self.positive,
            "negative": self.negative,
        }
        if (self.offset, self.scale) != (0.0, 1.0):
            values["function"] = f"({values['function']} - offset) / scale"
            values |= {"offset": self.offset, "scale": self.scale}
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Readout | None":
        """Return what `as_dict` wrote; None for nothing, where the one logit is the score."""
        if not values:
            return None
        if "values" in values:
            return Readout(values=tuple(map(float, values["values"])))
        return Readout(
            int(values["positive"]),
            int(values["negative"]),
            offset=float(values.get("offset", 0.0)),
            scale=float(values.get("scale", 1.0)),
        )


def readout_of(labels: Mapping[int, str], source: str) -> Readout:
    """Return the readout of a classifier with several classes.

    labels: the names of the classes, 0 to k − 1. Raises ModelError where they do not say which of
    them is better.
    """
    names = [
        str(labels[number]).strip().lower().replace("-", " ")
        for number in range(len(labels))
    ]
    values = _values(names)
    if values is not None:
        return Readout(values=values)
    positive = [i for i, name in enumerate(names) if name in _POSITIVE]
    negative = [i for i, name in enumerate(names) if name in _NEGATIVE]
    others = [name for name in names if name in _NEUTRAL]
    is_named = len(positive) == len(negative) == 1
    has_default_names = any(map(_UNNAMED.fullmatch, names))
    if len(names) == 2 and is_named:
        return Readout(positive[0], negative[0])
    if len(names) == 3 and is_named and others and not has_default_names:
        return Readout(positive[0], negative[0])
    raise ModelError(
        f"{source}: its {len(names)} classes are called "
        f"{', '.join(repr(str(name)) for name in labels.values())}, which does not say what is "
        "better. Name them in config.json's id2label: negative and positive, with neutral between, "
        "or numbers such as '1 star'."
    )


def _values(names: Sequence[str]) -> tuple[float, ...] | None:
    """Return the numbers that ordered classes stand for; None where they are not ordered."""
    if set(names) == set(_LEVELS):
        return tuple(_LEVELS[name] for name in names)
    if any(map(_UNNAMED.fullmatch, names)) or len(names) < 3:
        return None
    values = []
    for name in names:
        numbers = _NUMBER.findall(name)
        if len(numbers) != 1:
            return None
        values.append(float(numbers[0]))
    return tuple(values) if len(set(values)) == len(values) else None


_PAIRED: Links = {
    "comparison": {"slope": 1.0, "log_ties": None},
    "ranking": {"slope": 1.0, "log_ties": [], "by": "plackett-luce"},
}


def identity_links(readout: Readout | None, *, is_probability: bool) -> Links:
    """Return links that take the score as it is: a log-odds, or the expected number of stars.

    is_probability: the sigmoid of the one logit is a probability.
    """
    if readout is not None and readout.values:
        return {**_star_links(readout.values), **_PAIRED}
    if readout is not None or is_probability:
        return {"label": {"slope": 1.0, "intercept": 0.0}, **_PAIRED}
    return dict(_PAIRED)


def _star_links(values: Sequence[float]) -> Links:
    """Return the links of an expected number: grades where the numbers are whole, and ratings."""
    rating = {
        "centre": 0.0,
        "spread": 1.0,
        "slope": 1.0,
        "intercept": 0.0,
        "log_sd": 0.0,
        "tails": "normal",
    }
    ordered = sorted(values)
    steps = {after - before for before, after in itertools.pairwise(ordered)}
    if steps != {1.0}:
        return {"rating": rating}
    slope = 2.0  # a grade one away from the expected one is then about a third as likely
    thresholds = [slope * (value + 0.5) for value in ordered[:-1]]
    grade = {
        "lowest": int(ordered[0]),
        "highest": int(ordered[-1]),
        "slope": slope,
        "thresholds": thresholds,
    }
    return {"grade": grade, "rating": rating}
