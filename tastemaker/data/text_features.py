"""Features of how a text is written: what a judge may like about it whatever it says.

A feature is one line of `FEATURES`: a name, and a function of a text. A fit can control for
features by name (`--control length,lists`): the score then does not carry them.
"""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tastemaker.errors import UsageError


def _count(pattern: str) -> Callable[[str], float]:
    """Return the feature ln(1 + how often a pattern occurs); lines are its units for ^ and $."""
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda text: math.log1p(sum(1 for _ in compiled.finditer(text)))


FEATURES: dict[str, Callable[[str], float]] = {
    "length": lambda text: math.log1p(len(text)),
    "lists": _count(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+\S"),
    "headings": _count(r"^[ \t]*#{1,6}[ \t]+\S"),
    "bold": _count(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
    "code": _count(r"^[ \t]*```|`[^`\n]+`"),
    "links": _count(r"https?://"),
    "paragraphs": _count(r"\n[ \t]*\n"),
    "exclamations": _count(r"[!！]"),
    "questions": _count(r"[?？]"),
    "digits": _count(r"\d"),
    "capitals": _count(r"\b[A-Z]{2,}\b"),
    "emoji": _count("[\U0001f300-\U0001faff\u2600-\u27bf]"),
}
"""The features by name. Counts are taken as ln(1 + count)."""


def names_of(control: str) -> tuple[str, ...]:
    """Return the names in a list with commas. Raises UsageError for an unknown or repeated one."""
    names = tuple(name.strip() for name in control.split(",") if name.strip())
    for name in names:
        if name not in FEATURES:
            raise UsageError(
                f"control {name!r}: no such feature. Choose among {', '.join(FEATURES)}."
            )
        if names.count(name) > 1:
            raise UsageError(f"control: {name} stands there twice. Name it once.")
    return names


def features_of(texts: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the features of n texts [n, features]."""
    values = np.zeros((len(texts), len(names)))
    for column, name in enumerate(names):
        feature = FEATURES[name]
        values[:, column] = [feature(text) for text in texts]
    return values
