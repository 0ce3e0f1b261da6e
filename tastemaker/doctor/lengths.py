"""Checks of length: preference for longer texts, truncation, empty and very long texts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example, joined
from tastemaker.doctor.catalogue import (
    Catalogue,
    Problem,
    Severity,
    Verdicts,
    excerpt,
)
from tastemaker.maths.statistics import spearman, wilson_interval

_FEWEST = 20  # pairs or texts; no verdict on fewer
_STRONG_BIAS = 0.6  # share of pairs that the longer (or the shorter) text wins
_STRONG_CORRELATION = 0.3
_WEAK_CORRELATION = 0.1
_CERTAIN = 3.0  # standard errors
_LONG = (20_000, 10)  # characters, and times the median; a very long text exceeds both
_SHOWN_TEXTS = 3
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class LengthBias:
    """How often the longer text of a pair won. Pairs of equal length and ties are left out.

    low, high: the 95 % interval (Wilson). Verdicts that are not independent count once: a
    ranking of K texts as K − 1 pairs, and all verdicts on the same pair as one.
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
        """What the share means, in words."""
        if self.low <= 0.5 <= self.high:
            return "no sign of length bias"
        side = "longer" if self.share > 0.5 else "shorter"
        return (
            f"the {side} text wins more often than chance, so a model may learn length"
        )

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
    """The lengths of the judged texts; tokens are counted with the prompt.

    unit: tokens or characters. quantiles: the length at each of QUANTILES.
    limit: the tokens that a model reads. cut: how many of the `texts` are longer. Both are None
    without a limit or without a tokenizer.
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
    lengths = catalogue.lengths
    longer = np.sign(lengths[pairs.first] - lengths[pairs.second])
    is_decided = (pairs.value != 0) & (longer != 0)
    is_won = is_decided & (longer == pairs.value)
    n, won = int(is_decided.sum()), int(is_won.sum())
    if not n:
        return None
    observations = float(_independence(catalogue, pairs)[is_decided].sum())
    low, high = wilson_interval(won / n * observations, observations)
    return LengthBias(n, won, float(low), float(high))


def _independence(catalogue: Catalogue, pairs: Verdicts) -> NDArray[np.float64]:
    """Return how many independent observations each pair counts for (see `LengthBias`)."""
    size = np.array([len(texts) for texts in catalogue.texts_of])
    all_pairs = np.bincount(pairs.row, minlength=len(size))
    repeats = np.bincount(pairs.unit)
    weight: NDArray[np.float64] = (size[pairs.row] - 1) / all_pairs[pairs.row]
    return weight / repeats[pairs.unit]


def length_correlations(catalogue: Catalogue) -> dict[str, float]:
    """Return Spearman's correlation of length with the judgement, for kinds about one text."""
    correlations = {}
    for kind, table in catalogue.verdicts.items():
        if not table.is_of_pairs:
            value = spearman(catalogue.lengths[table.first], table.value)
            if not math.isnan(value):
                correlations[kind] = value
    return correlations


def lengths_of(
    catalogue: Catalogue,
    max_length: int | None,
    count_tokens: Callable[[str], int] | None,
) -> Lengths:
    """Return the lengths of the judged texts: in tokens if they can be counted."""
    unit, length, limit, cut = "characters", catalogue.lengths, None, None
    if count_tokens is not None:
        unit, limit = "tokens", max_length
        counts = []
        for prompt, text in catalogue.items:
            question = catalogue.prompts[prompt] if prompt >= 0 else None
            example = Example(catalogue.texts[text], question)
            counts.append(count_tokens(joined(example)))
        length = np.array(counts, dtype=np.intp)
        if limit is not None:
            cut = int((length > limit).sum())
    at = np.quantile(length, QUANTILES) if len(length) else np.zeros(len(QUANTILES))
    quantiles = {f"{q:g}": float(value) for q, value in zip(QUANTILES, at, strict=True)}
    return Lengths(unit, len(length), quantiles, limit, cut)


def length_problems(
    catalogue: Catalogue, bias: LengthBias | None, lengths: Lengths
) -> Iterator[Problem]:
    """Yield the problems of length."""
    if bias is not None and bias.pairs >= _FEWEST and not bias.low <= 0.5 <= bias.high:
        side, won = "longer", bias.longer_won
        if bias.share <= 0.5:
            side, won = "shorter", bias.pairs - won
        share = won / bias.pairs
        yield Problem(
            "length_bias",
            f"length bias: the {side} text won {share:.0%} of {bias.pairs:,} pairs without ties",
            won,
            "warning" if share > _STRONG_BIAS else "note",
            'Compare every model with "always the longer text", and fit with --control length.',
        )
    for kind, value in length_correlations(catalogue).items():
        n = len(catalogue.verdicts[kind])
        if n < _FEWEST:
            continue
        noise = _CERTAIN / math.sqrt(n - 1)
        if abs(value) > max(_WEAK_CORRELATION, noise):
            yield Problem(
                f"length_correlation_{kind}",
                f"length bias: the Spearman correlation of {kind}s with length is {value:+.2f}",
                n,
                "warning" if abs(value) > _STRONG_CORRELATION else "note",
                "A model may learn length instead of quality: fit with --control length.",
            )
    if lengths.cut:
        share = lengths.cut / lengths.texts
        yield Problem(
            "truncation",
            f"truncation: {share:.1%} of the texts are longer than {lengths.limit} tokens",
            lengths.cut,
            "warning" if share > 0.05 else "note",
            "Raise --max-length, or choose which side is cut.",
        )
    is_empty = [not any(map(str.isalnum, text)) for text in catalogue.texts]
    yield from _about_texts(
        catalogue,
        np.array(is_empty, dtype=bool),
        "near_empty_texts",
        what="near-empty texts: without a letter or a digit",
        severity="warning",
        advice="Look at them: an answer may have been lost.",
    )
    median = float(np.median(catalogue.lengths)) if len(catalogue.lengths) else 0.0
    longest = int(catalogue.lengths.max(initial=0))
    yield from _about_texts(
        catalogue,
        catalogue.lengths > max(_LONG[0], _LONG[1] * median),
        "very_long_texts",
        what=f"very long texts: over ten times the median length ({median:,.0f} characters), "
        f"up to {longest:,}",
        severity="note",
        advice="Check that each is one text, and how much of it a model will read.",
    )


def _about_texts(
    catalogue: Catalogue,
    is_problem: NDArray[np.bool_],
    name: str,
    *,
    what: str,
    severity: Severity,
    advice: str,
) -> Iterator[Problem]:
    """Yield the problem of some texts [T], if there are any; a text counts once per prompt."""
    rows = []
    for (_, text), row in catalogue.items.items():
        if is_problem[text]:
            rows.append(row)
    if rows:
        examples = []
        for number in np.flatnonzero(is_problem)[:_SHOWN_TEXTS]:
            examples.append(repr(excerpt(catalogue.texts[number])))
        yield Problem(
            name, what, len(rows), severity, advice, catalogue.places(rows), examples
        )
