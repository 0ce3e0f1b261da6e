"""The `linear` backbone: the score is a weighted sum over the word n-grams of a text.

It has no network and no length limit. Rows of features have length 1, so that length alone does not
make a review more extreme. `linear_fits.py` fits the weights.

Each n-gram is named by one 64-bit number. A token is a lower-cased word, a punctuation mark, or one
character of a script without spaces. Its name is 64 bits of its BLAKE2b hash, the same on every
machine; an n-gram's name is a polynomial of its tokens' names. Any two of the 10⁷ n-grams of a
corpus share a name with a probability of about 10¹⁴ / 2⁶⁵ < 10⁻⁵. So the strings are not stored,
and all work after the regular expression is on whole arrays.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tastemaker.data.judgements import TEMPLATE, Example, joined
from tastemaker.data.values import SPACELESS
from tastemaker.errors import ModelError, UsageError
from tastemaker.files import writing_file
from tastemaker.maths.statistics import Floats
from tastemaker.scores import Scores
from tastemaker.settings import (
    POSITIVE,
    Check,
    at_least,
    check,
    setting,
    settings_class,
)

NgramNames = NDArray[np.int64]
Hashes = NDArray[np.uint64]
"""Names while they are computed; `NgramNames` are the same bits."""
TextNumbers = NDArray[np.int32]

_ASCII_TOKEN = re.compile(r"\w+(?:'\w+)*|\.\.\.|[^\w\s]")
# Of a script without spaces, every character is a token.
_TOKEN = re.compile(
    rf"[^\W{SPACELESS}]+(?:'[^\W{SPACELESS}]+)*|[{SPACELESS}]|\.\.\.|[^\w\s]"
)
_LINE_BREAK = re.compile(r"<br\s*/?>")
# added to the names of repeated tokens, and of the ordinals of repeated tokens and n-grams
_REPEATED_TOKEN = np.uint64(0xD1B54A32D192ED03)
_TOKEN_ORDINAL = np.uint64(0x5851F42D4C957F2D)
_NGRAM_ORDINAL = np.uint64(0x14057B7EF767814F)
_MOST_REPETITIONS = 24
# odd, so that multiplying loses nothing; 2⁶⁴/φ spreads the bits
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C17)
_REMEMBERED_TOKENS = 1 << 18
_CHUNK_CHARACTERS = 1 << 20


def tokens(text: str) -> list[str]:
    """Return the lower-cased words, punctuation marks and characters of a text, in order.

    Compatibility forms are unified (`！` is `!`, `…` is `...`); an HTML line break counts as a
    space.
    """
    lowered = _LINE_BREAK.sub(" ", text.lower())
    if lowered.isascii():
        return _ASCII_TOKEN.findall(lowered)
    return _TOKEN.findall(unicodedata.normalize("NFKC", lowered).lower())


class _Names(dict[str, int]):
    """token → its 64-bit name. A cache, emptied when it is full."""

    def __missing__(self, token: str) -> int:
        if len(self) >= _REMEMBERED_TOKENS:
            self.clear()
        digest = blake2b(
            token.encode(errors="replace"), digest_size=8
        ).digest()
        self[token] = int.from_bytes(digest, "little")
        return self[token]


_names = _Names()


@dataclass(frozen=True)
class TokenNames:
    """The tokens of consecutive texts. names: uint64 [tokens]; lengths: int64 [texts], tokens a
    text.
    """

    names: Hashes
    lengths: NgramNames

    @staticmethod
    def of(texts: Iterable[str]) -> "TokenNames":
        """Tokenise texts."""
        by_text = [tokens(text) for text in texts]
        lengths = np.fromiter(map(len, by_text), np.int64, len(by_text))
        names = map(_names.__getitem__, chain.from_iterable(by_text))
        return TokenNames(
            np.fromiter(names, np.uint64, int(lengths.sum())), lengths
        )

    def ngrams(
        self, longest: int, *, repeats: bool = False
    ) -> tuple[NgramNames, TextNumbers]:
        """Return every n-gram's name for n = 1 … longest, and the number of the text it stands in.

        name(t₁ … tₙ) = name(t₁ … tₙ₋₁) · odd + name(tₙ) mod 2⁶⁴. No n-gram reaches from one text
        into the next.

        repeats: also return names of repetitions. Each token that stands earlier in its text too
        has one. So have the first, the second … the 24th repeated token of a text, and the same of
        the longest n-grams. So the cost of repetition is learned from all repetitions together.
        """
        texts = np.arange(len(self.lengths), dtype=np.int32)
        document = np.repeat(texts, self.lengths)  # of each token
        parts = [(self.names, document)]
        ngrams = self.names
        for n in range(2, longest + 1):
            ngrams = ngrams[:-1] * _MULTIPLIER + self.names[n - 1 :]
            starts = document[: len(ngrams)]
            is_inside = starts == document[n - 1 :]
            parts.append((ngrams[is_inside], starts[is_inside]))
        if repeats:
            repeated, of_tokens = _repetitions(*parts[0])
            _, of_ngrams = _repetitions(*parts[-1])
            parts.append((repeated * _MULTIPLIER + _REPEATED_TOKEN, of_tokens))
            parts.append(self._ordinals(of_tokens, _TOKEN_ORDINAL))
            parts.append(self._ordinals(of_ngrams, _NGRAM_ORDINAL))
        names, documents = zip(*parts, strict=True)
        return np.concatenate(names).view(np.int64), np.concatenate(documents)

    def _ordinals(
        self, document: TextNumbers, salt: np.uint64
    ) -> tuple[Hashes, TextNumbers]:
        """Return names of the first, the second … repetition of each text, and the text numbers.

        document: the text of each repetition. salt: added to the names.
        """
        each = np.minimum(
            np.bincount(document, minlength=len(self.lengths)),
            _MOST_REPETITIONS,
        )
        documents = np.repeat(np.arange(len(each), dtype=np.int32), each)
        number = np.arange(len(documents)) - np.repeat(
            np.cumsum(each) - each, each
        )
        return number.astype(np.uint64) * _MULTIPLIER + salt, documents


def repetition_counts() -> NgramNames:
    """Return the names that count the repetitions of a text: of its first, its second … one."""
    ordinals = np.arange(_MOST_REPETITIONS, dtype=np.uint64) * _MULTIPLIER
    names = [ordinals + _TOKEN_ORDINAL, ordinals + _NGRAM_ORDINAL]
    return np.concatenate(names).view(np.int64)


def _repetitions(
    names: Hashes, document: TextNumbers
) -> tuple[Hashes, TextNumbers]:
    """Return the names that stand earlier in their text too, with the numbers of the texts."""
    order = np.lexsort((names, document))
    names, document = names[order], document[order]
    is_same_name = names[1:] == names[:-1]
    is_same_text = document[1:] == document[:-1]
    is_repeated = is_same_name & is_same_text
    return names[1:][is_repeated], document[1:][is_repeated]


def chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut texts into runs of about a million characters, to bound the memory."""
    start, characters = 0, 0
    for end, text in enumerate(texts, start=1):
        characters += len(text) + 1
        if characters >= _CHUNK_CHARACTERS or end == len(texts):
            yield texts[start:end]
            start, characters = end, 0


def vocabulary(
    chunked: Sequence[TokenNames],
    longest: int,
    min_count: int,
    *,
    repeats: bool = False,
) -> NgramNames:
    """Return the names, ascending, of the n-grams that occur at least `min_count` times."""
    parts = [np.zeros(0, np.int64)]
    for chunk in chunked:
        of_chunk, _ = chunk.ngrams(longest, repeats=repeats)
        parts.append(of_chunk)
    names = np.concatenate(parts)
    names.sort()
    is_new = np.ones(len(names), dtype=bool)
    is_new[1:] = names[1:] != names[:-1]
    first = np.flatnonzero(is_new)
    counts = np.diff(first, append=len(names))
    return names[first[counts >= min_count]]


def counts(
    chunk: TokenNames,
    longest: int,
    ngrams: NgramNames,
    *,
    repeats: bool = False,
) -> sp.csr_matrix:
    """Return how often some n-grams occur in each text: float64 [texts, n-grams].

    longest: tokens of the longest n-gram. ngrams: their names, ascending.
    """
    shape = (len(chunk.lengths), len(ngrams))
    names, document = chunk.ngrams(longest, repeats=repeats)
    if len(ngrams) == 0 or len(names) == 0:
        return sp.csr_matrix(shape, dtype=np.float64)
    # a search for ascending names walks through `ngrams` once: several times faster
    order = np.argsort(names)
    names, document = names[order], document[order]
    column = np.minimum(np.searchsorted(ngrams, names), len(ngrams) - 1)
    is_counted = ngrams[column] == names
    cell = document[is_counted] * np.int64(len(ngrams)) + column[is_counted]
    cell, count = np.unique(cell, return_counts=True)
    row, column = np.divmod(cell, len(ngrams))
    start = np.searchsorted(row, np.arange(len(chunk.lengths) + 1))
    return sp.csr_matrix(
        (count.astype(np.float64), column.astype(np.int32), start), shape=shape
    )


WEIGHTS = "linear.safetensors"
FORMAT = 1
_MOST_NGRAMS = 8


@settings_class
@dataclass(frozen=True)
class Linear:
    """How the linear backbone reads text, and how strongly its weights are held back."""

    ngrams: int = setting(
        3,
        "The longest word n-gram.",
        Check(
            lambda value: 1 <= value <= _MOST_NGRAMS,
            f"1 to {_MOST_NGRAMS}; 3 is usual",
        ),
    )
    min_count: int = setting(
        2, "Texts that must hold an n-gram for it to count.", at_least(1)
    )
    weighting: Literal["nb", "tfidf"] = setting(
        "nb",
        "Features: nb, presence times the naive-Bayes log-count ratio (Wang & Manning 2012), "
        "or tfidf, sublinear.",
    )
    # for each judgement that a text has on average: saying everything twice must not change the fit
    strength: float = setting(
        0.04,
        "Precision of the weights' Gaussian prior (scikit-learn's 1/C).",
        POSITIVE,
    )
    smoothing: float = setting(
        1.0, "Added to every count of the log-count ratio.", POSITIVE
    )
    repeats: bool = setting(
        False,
        "Count what a text repeats as features of their own; for a model that will steer.",
    )
    template: str = setting(
        TEMPLATE, "How a prompt and the text that answers it are joined."
    )

    def __post_init__(self) -> None:
        check(self)
        joined(Example("text", "prompt"), self.template)


def log_count_ratios(
    occurrences: sp.csr_matrix, positive: NDArray[np.float64], smoothing: float
) -> NDArray[np.float64]:
    """Return each n-gram's r = ln (p/|p|₁)/(q/|q|₁) (Wang & Manning 2012), from soft classes.

    p = smoothing + Σ over the texts that hold the n-gram of `positive`; q the same of 1 −
    `positive`.
    """
    holds = sp.csr_matrix(
        (
            np.ones_like(occurrences.data),
            occurrences.indices,
            occurrences.indptr,
        ),
        occurrences.shape,
    )
    p, q = smoothing + holds.T @ positive, smoothing + holds.T @ (1 - positive)
    ratios: NDArray[np.float64] = np.log(p / p.sum()) - np.log(q / q.sum())
    return ratios


def inverse_document_frequencies(occurrences: sp.csr_matrix) -> Floats:
    """Return scikit-learn's smoothed idf: ln((1 + texts)/(1 + texts with the n-gram)) + 1."""
    texts_with = np.bincount(
        occurrences.indices, minlength=occurrences.shape[1]
    )
    return np.asarray(
        np.log((1 + occurrences.shape[0]) / (1 + texts_with)) + 1
    )


def features(
    occurrences: sp.csr_matrix, settings: Linear, scales: Floats
) -> sp.csr_matrix:
    """Return n-gram counts [texts, n-grams] as features, which are multiplied with the weights.

    nb: 1 for presence, rows of length 1, times `scales` (the log-count ratios, or 1 once they are
    folded into the weights). tfidf: (1 + ln count) × `scales` (the inverse document frequencies),
    rows of length 1.
    """
    rows = occurrences.copy()
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    scale = scales[rows.indices]
    if settings.weighting == "nb":
        values, after = np.ones_like(rows.data), scale
    else:
        values, after = (1 + np.log(rows.data)) * scale, 1.0
    squares = np.bincount(row, weights=values**2, minlength=rows.shape[0])
    rows.data = values / np.sqrt(squares)[row] * after
    return rows


class LinearBackbone:
    """Weights of word n-grams. Made by `fit_linear`.

    names: int64 [f], ascending. weights: float32 [f]. scales: float32 [f], what `features` takes
    when it scores.
    """

    kind = "linear"

    def __init__(
        self,
        settings: Linear,
        names: NgramNames,
        weights: NDArray[np.float32],
        scales: NDArray[np.float32],
        intercept: float = 0.0,
    ) -> None:
        self.settings, self.names = settings, names
        self.weights, self.scales = weights, scales
        self.template = settings.template
        self.intercept = intercept

    @classmethod
    def constant(cls, settings: Linear) -> "LinearBackbone":
        """Return the backbone without n-grams: every text has score 0."""
        no_weights = np.zeros(0, np.float32)
        names = np.zeros(0, np.int64)
        return cls(settings, names, no_weights, no_weights)

    def score(
        self, examples: Sequence[Example], *, precision: str = "float32"
    ) -> Scores:
        """Return the scores of examples, in order. No text is cut.

        precision: accepted like any backbone's; sums are always float64.
        """
        weights = self.weights.astype(np.float64)
        scales = self.scales.astype(np.float64)
        texts = [
            joined(example, self.settings.template) for example in examples
        ]
        values = [np.zeros(0)]
        for chunk in chunks(texts):
            occurrences = counts(
                TokenNames.of(chunk),
                self.settings.ngrams,
                self.names,
                repeats=self.settings.repeats,
            )
            # a row's sum goes through its own columns in order, so that its neighbours cannot
            # change the last bit
            rows = features(occurrences, self.settings, scales)
            values.append(rows @ weights + self.intercept)
        return Scores(np.concatenate(values), np.zeros(len(texts), dtype=bool))

    def rescale(self, offset: float, scale: float) -> float:
        """Fold s ← (s − offset)/scale into weights and intercept; return the offset."""
        self.weights = (self.weights / scale).astype(np.float32)
        self.intercept = (self.intercept - offset) / scale
        return offset

    def save(self, folder: Path) -> None:
        """Write `linear.safetensors`: the tensors, and the settings as JSON in its head."""
        tensors: dict[str, NDArray[Any]] = {
            "names": self.names,
            "weights": self.weights,
            "scales": self.scales,
            "intercept": np.array([self.intercept]),
        }
        # one entry: several have no order
        head = {
            "linear": json.dumps({"format": FORMAT, **asdict(self.settings)})
        }
        with writing_file(Path(folder) / WEIGHTS) as temporary:
            temporary.write_bytes(save(tensors, head))

    @staticmethod
    def load(folder: Path) -> "LinearBackbone":
        """Return the backbone that `save` wrote. Raises ModelError for a broken file."""
        path = Path(folder) / WEIGHTS
        if not path.is_file():
            raise ModelError(
                f"{path}: this file is missing, so the model has no weights. Copy "
                "the folder whole again."
            )
        try:
            with safe_open(path, framework="numpy") as file:
                head = json.loads((file.metadata() or {}).get("linear", "{}"))
                names = file.keys()  # the file is no dict
                tensors = {name: file.get_tensor(name) for name in names}
            file_format = head.pop("format", None)
            if file_format != FORMAT:
                raise ModelError(
                    f"{path}: format {file_format!r} of a linear model; "
                    f"this version reads {FORMAT}."
                )
            settings = Linear(**head)
            intercept = float(tensors["intercept"].item())
            read = LinearBackbone(
                settings,
                tensors["names"],
                tensors["weights"],
                tensors["scales"],
                intercept,
            )
        except (
            SafetensorError,
            OSError,
            KeyError,
            TypeError,
            ValueError,
            UsageError,
        ) as error:
            raise ModelError(
                f"{path}: not the weights of a linear model ({error}). Copy it again."
            ) from error
        read._check(path)
        return read

    def describe(self) -> str:
        """Return one line for people: `linear, word 1–3-grams, 1 203 441 features`."""
        longest = self.settings.ngrams
        grams = "words" if longest == 1 else f"word 1–{longest}-grams"
        number = f"{len(self.names):,}".replace(",", " ")
        return f"{self.kind}, {grams}, {number} features"

    def _check(self, path: Path) -> None:
        """Raise ModelError where the tensors cannot belong together."""
        ascending = self.names.ndim == 1 and bool(
            (self.names[1:] > self.names[:-1]).all()
        )
        like = self.weights.shape == self.names.shape == self.scales.shape
        if not (ascending and like):
            raise ModelError(
                f"{path}: its n-grams are out of order or lack weights. Fit again, "
                "or restore the file."
            )
        if not (
            np.isfinite(self.weights).all()
            and np.isfinite(self.scales).all()
            and math.isfinite(self.intercept)
        ):
            raise ModelError(
                f"{path}: holds weights that are not finite. Fit again, or restore the file."
            )
