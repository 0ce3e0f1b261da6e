"""Checks of length: preference for longer texts, truncation, empty and very long texts."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example, Judgement, Prompt, joined
from tastemaker.data.splitting import first_turn
from tastemaker.doctor.catalogue import (
    NOBODY,
    Catalogue,
    Problem,
    Severity,
    Verdicts,
    catalogue_of,
    excerpt,
)
from tastemaker.maths.statistics import spearman, wilson_interval
from tastemaker.near_copies import copy_groups, have_copy, sketches

_FEWEST = 20  # pairs or texts; no verdict on fewer
_STRONG_BIAS = 0.6  # share of pairs that the longer (or the shorter) text wins
_STRONG_CORRELATION = 0.3
_WEAK_CORRELATION = 0.1
_CERTAIN = 3.0  # standard errors
# characters, and times the median; a very long text exceeds both
_LONG = (
    20_000,
    10,
)
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
        return f"the {side} text wins more often than chance, so a model may learn length"

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


def _independence(
    catalogue: Catalogue, pairs: Verdicts
) -> NDArray[np.float64]:
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
    at = (
        np.quantile(length, QUANTILES)
        if len(length)
        else np.zeros(len(QUANTILES))
    )
    quantiles = {
        f"{q:g}": float(value) for q, value in zip(QUANTILES, at, strict=True)
    }
    return Lengths(unit, len(length), quantiles, limit, cut)


def length_problems(
    catalogue: Catalogue, bias: LengthBias | None, lengths: Lengths
) -> Iterator[Problem]:
    """Yield the problems of length."""
    if (
        bias is not None
        and bias.pairs >= _FEWEST
        and not bias.low <= 0.5 <= bias.high
    ):
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
    median = (
        float(np.median(catalogue.lengths)) if len(catalogue.lengths) else 0.0
    )
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
            name,
            what,
            len(rows),
            severity,
            advice,
            catalogue.places(rows),
            examples,
        )


_SHOWN = 3
_BEFORE, _AFTER = 30, 30  # characters around the first difference of two texts


def relatives(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield near-copies of texts, and prompts that begin with the same turn as another one."""
    texts = catalogue.texts
    copies: list[int] = []
    examples: list[str] = []
    for group in copy_groups(sketches(texts)):
        first, *others = group
        forms = {folded(texts[first])}
        for number in others:
            form = folded(texts[number])
            if form in forms:  # `copies` reports it
                continue
            forms.add(form)
            copies.append(number)
            if len(examples) < _SHOWN:
                examples.append(_difference(texts[first], texts[number]))
    if copies:
        yield Problem(
            "near_copies",
            "near-copies: texts that differ from another one in a few characters",
            len(copies),
            "warning",
            "Remove a copy where it stands twice by mistake. tastemaker.split and fit never put "
            "one copy into training and another into the test; your own split must not either.",
            catalogue.places(_rows_of(catalogue, copies)),
            examples,
        )
    by_turn: dict[str, list[int]] = {}
    for number, prompt in _prompts(catalogue).items():
        by_turn.setdefault(first_turn(prompt), []).append(number)
    by_turn.pop("", None)
    shared = [numbers for numbers in by_turn.values() if len(numbers) > 1]
    if shared:
        later = [number for numbers in shared for number in numbers[1:]]
        rows = np.flatnonzero(np.isin(catalogue.prompt, later)).tolist()
        yield Problem(
            "shared_beginnings",
            "shared beginnings: prompts that begin with the same turn of the user as another one",
            len(later),
            "note",
            "tastemaker.split and fit keep such conversations on one side; "
            "a split of your own must too.",
            catalogue.places(rows),
            [
                excerpt(catalogue.prompts[numbers[0]])
                for numbers in shared[:_SHOWN]
            ],
        )


def related_leaks(
    catalogue: Catalogue, test: Sequence[Judgement]
) -> Iterator[Problem]:
    """Yield texts and prompts of the test judgements that are related to ones of the catalogue.

    Equal texts and prompts are left to `copies.leaks`.
    """
    other = catalogue_of(test)
    equal = {text.strip() for text in catalogue.texts}
    numbers = [
        n for n, text in enumerate(other.texts) if text.strip() not in equal
    ]
    of_test = sketches([other.texts[number] for number in numbers])
    is_copy = have_copy(of_test, sketches(catalogue.texts))
    crossing = [
        n for n, is_one in zip(numbers, is_copy, strict=True) if is_one
    ]
    if crossing:
        yield Problem(
            "leaked_near_copies",
            "leakage between splits: texts of the test data are near-copies of training texts",
            len(crossing),
            "error",
            "Split the data with tastemaker.split, or remove these texts from the test data.",
            other.places(_rows_of(other, crossing)),
            [excerpt(other.texts[number]) for number in crossing[:_SHOWN]],
        )
    prompts = set(catalogue.prompts)
    turns = {first_turn(prompt) for prompt in _prompts(catalogue).values()} - {
        ""
    }
    crossing = []
    for number, prompt in _prompts(other).items():
        if (
            first_turn(prompt) in turns
            and other.prompts[number] not in prompts
        ):
            crossing.append(number)
    if crossing:
        yield Problem(
            "leaked_beginnings",
            "leakage between splits: conversations of the test data begin as training ones do",
            len(crossing),
            "warning",
            "Split the data with tastemaker.split, or remove these texts from the test data.",
            other.places(
                np.flatnonzero(np.isin(other.prompt, crossing)).tolist()
            ),
            [excerpt(other.prompts[number]) for number in crossing[:_SHOWN]],
        )


def folded(text: str) -> str:
    """Return a text in lower case, each run of white space as one space."""
    return " ".join(text.casefold().split())


def _difference(first: str, second: str) -> str:
    """Return two texts around the first character in which they differ."""
    first, second = " ".join(first.split()), " ".join(second.split())
    same = takewhile(
        lambda pair: pair[0] == pair[1], zip(first, second, strict=False)
    )
    place = sum(1 for _ in same)
    start = max(0, place - _BEFORE)
    sides = [excerpt(text[start : place + _AFTER]) for text in (first, second)]
    before = "…" if start else ""
    return " | ".join(before + side for side in sides)


def _rows_of(catalogue: Catalogue, texts: Sequence[int]) -> list[int]:
    """Return the first judgement about each text under each prompt."""
    chosen = set(texts)
    return [
        row for (_, text), row in catalogue.items.items() if text in chosen
    ]


def _prompts(catalogue: Catalogue) -> dict[int, Prompt]:
    """Return the prompts by number, in order."""
    numbers, rows = np.unique(catalogue.prompt, return_index=True)
    prompts = {}
    for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
        prompt = catalogue.judgements[row].prompt
        if number != NOBODY and prompt is not None:
            prompts[number] = prompt
    return prompts
