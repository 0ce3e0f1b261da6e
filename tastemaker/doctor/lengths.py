"""Length: does it decide, what would be cut off, which texts hold hardly anything or far too much."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example, joined
from tastemaker.doctor.catalogue import Catalogue
from tastemaker.doctor.copies import excerpt
from tastemaker.doctor.problems import Problem, Severity
from tastemaker.maths.statistics import spearman, wilson_interval

_FEWEST = 20  # pairs or texts, below which nothing is said about length
_STRONG_BIAS = 0.6  # share of pairs that the longer (or the shorter) text wins
_STRONG_CORRELATION = 0.3
_WEAK_CORRELATION = 0.1
_CERTAIN = 3.0  # standard errors
_LONG = (20_000, 10)  # characters, and times the median: a text beyond both is very long
_SHOWN_TEXTS = 3
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class LengthBias:
    """How often the longer text of a pair won. Pairs of equal length and ties are left out.

    low, high: the 95 % interval (Wilson), for which a ranking of K texts counts as K − 1 pairs, and all verdicts on the
    same pair as one: they are not independent.
    """

    pairs: int
    longer_won: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The share of pairs that the longer text won."""
        return self.longer_won / self.pairs

    @property
    def meaning(self) -> str:
        """What the share says, in words."""
        if self.low <= 0.5 <= self.high:
            return "no length bias can be seen"
        side = "longer" if self.share > 0.5 else "shorter"
        return f"the {side} text wins more often than chance: a model can learn length in place of quality"

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "pairs": self.pairs,
            "longer_won": self.longer_won,
            "share": self.share,
            "interval": [self.low, self.high],
            "meaning": self.meaning,
        }


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the texts that were judged are, each with its prompt where tokens are counted.

    unit: tokens or characters. quantiles: length at each of QUANTILES. limit: tokens that will be read; cut: how many
    of the `texts` are longer, both None where no limit was given or nothing counts tokens.
    """

    unit: str
    texts: int
    quantiles: dict[str, float]
    limit: int | None
    cut: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        share = None if self.cut is None else self.cut / self.texts
        return {
            "unit": self.unit,
            "texts": self.texts,
            "quantiles": dict(self.quantiles),
            "max_length": self.limit,
            "cut": self.cut,
            "share_cut": share,
        }


def length_bias(catalogue: Catalogue) -> LengthBias | None:
    """Return how often the longer text won; None where no pair was decided."""
    pairs = catalogue.pairs
    if pairs is None:
        return None
    longer = np.sign(catalogue.lengths[pairs.first] - catalogue.lengths[pairs.second])
    counts = (pairs.value != 0) & (longer != 0)
    n, won = int(counts.sum()), int((counts & (longer == pairs.value)).sum())
    if not n:
        return None
    size = np.array([len(texts) for texts in catalogue.of])
    all_pairs = np.bincount(pairs.row, minlength=len(size))
    weight = (size[pairs.row] - 1) / all_pairs[pairs.row] / np.bincount(pairs.unit)[pairs.unit]
    observations = float(weight[counts].sum())
    low, high = wilson_interval(won / n * observations, observations)
    return LengthBias(n, won, float(low), float(high))


def length_correlations(catalogue: Catalogue) -> dict[str, float]:
    """Return Spearman's correlation of length with what was said, for labels, grades and ratings."""
    found = {}
    for kind, said in catalogue.verdicts.items():
        if not said.is_of_pairs:
            value = spearman(catalogue.lengths[said.first], said.value)
            if not math.isnan(value):
                found[kind] = value
    return found


def lengths_of(
    catalogue: Catalogue, max_length: int | None, count_tokens: Callable[[str], int] | None
) -> Lengths:
    """Return how long the judged texts are: in tokens where something counts them, else in characters."""
    if count_tokens is None:
        length = catalogue.lengths
    else:
        length = np.array(
            [count_tokens(joined(_example(catalogue, *item))) for item in catalogue.items],
            dtype=np.intp,
        )
    at = np.quantile(length, QUANTILES) if len(length) else np.full(len(QUANTILES), 0.0)
    quantiles = {f"{q:g}": float(value) for q, value in zip(QUANTILES, at, strict=True)}
    limit = None if count_tokens is None else max_length
    cut = None if limit is None else int((length > limit).sum())
    return Lengths(
        "characters" if count_tokens is None else "tokens",
        len(length),
        quantiles,
        limit,
        cut,
    )


def _example(catalogue: Catalogue, prompt: int, text: int) -> Example:
    return Example(catalogue.texts[text], catalogue.prompts[prompt] if prompt >= 0 else None)


def length_problems(
    catalogue: Catalogue, bias: LengthBias | None, lengths: Lengths
) -> Iterator[Problem]:
    """Yield what length spoils."""
    if bias is not None and bias.pairs >= _FEWEST and not bias.low <= 0.5 <= bias.high:
        side, won = (
            ("longer", bias.longer_won)
            if bias.share > 0.5
            else ("shorter", bias.pairs - bias.longer_won)
        )
        yield Problem(
            "length_bias",
            f"length bias: the {side} text won {won / bias.pairs:.0%} of {bias.pairs:,} decided pairs",
            won,
            "warning" if won / bias.pairs > _STRONG_BIAS else "note",
            'Compare every model with "always the longer", and fit with length control.',
        )
    for kind, value in length_correlations(catalogue).items():
        n = len(catalogue.verdicts[kind])
        if n >= _FEWEST and abs(value) > max(_WEAK_CORRELATION, _CERTAIN / math.sqrt(n - 1)):
            yield Problem(
                f"length_correlation_{kind}",
                f"length bias: Spearman's correlation of {kind}s with the length of the text is {value:+.2f}",
                n,
                "warning" if abs(value) > _STRONG_CORRELATION else "note",
                "A model can learn length in place of quality: fit with length control.",
            )
    if lengths.cut:
        yield Problem(
            "truncation",
            f"truncation: {lengths.cut / lengths.texts:.1%} of the texts are longer than {lengths.limit} tokens",
            lengths.cut,
            "warning" if lengths.cut > 0.05 * lengths.texts else "note",
            "Raise --max-length, or choose the side that is cut off.",
        )
    yield from _odd_lengths(catalogue)


def _odd_lengths(catalogue: Catalogue) -> Iterator[Problem]:
    is_empty = np.array([not any(map(str.isalnum, text)) for text in catalogue.texts], dtype=bool)
    median = float(np.median(catalogue.lengths)) if len(catalogue.lengths) else 0.0
    is_long = catalogue.lengths > max(_LONG[0], _LONG[1] * median)
    if is_empty.any():
        yield _about_texts(
            catalogue,
            is_empty,
            "near_empty_texts",
            what="near-empty texts: without a letter or a digit",
            severity="warning",
            advice="Look at them: an answer may have been lost on the way.",
        )
    if is_long.any():
        longest = int(catalogue.lengths.max())
        yield _about_texts(
            catalogue,
            is_long,
            "very_long_texts",
            what=f"very long texts: over ten times the median length ({median:,.0f} characters), up to {longest:,}",
            severity="note",
            advice="See that they are one text each, and what a model would read of them.",
        )


def _about_texts(
    catalogue: Catalogue,
    held: NDArray[np.bool_],
    name: str,
    *,
    what: str,
    severity: Severity,
    advice: str,
) -> Problem:
    """Return the problem of some texts [T], counted once under each prompt."""
    rows = [row for (_, text), row in catalogue.items.items() if held[text]]
    shown = [repr(excerpt(catalogue.texts[i])) for i in np.flatnonzero(held)[:_SHOWN_TEXTS]]
    return Problem(name, what, len(rows), severity, advice, catalogue.places(rows), shown)
