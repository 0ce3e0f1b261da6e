"""Four texts with scores, and comparisons of them."""

from tastemaker.data import Comparison

SCORES = {"aa": -1.0, "bbbb": 0.0, "cccccc": 0.0, "dddddddd": 1.0}
"""Scores of texts of 2, 4, 6 and 8 characters. With a slope of ln 3, 1 more means 3/4."""
A, B, C, D = SCORES


def compared(*pairs, **common):
    """Return comparisons, each under another prompt."""
    return [
        Comparison(first, second, prompt=f"p{i}", **common)
        for i, (first, second) in enumerate(pairs)
    ]
