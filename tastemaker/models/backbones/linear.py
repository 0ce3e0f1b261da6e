"""The `linear` backbone: a text's score is a weighted sum over its word n-grams. No network, no limit on length.

Kept weights are named by their n-gram's 64-bit name (`ngrams.py`); `learning/convex.py` fits them. Rows have length 1,
so that a long review is not surer than a short one only for being long.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tastemaker.data.judgements import Example
from tastemaker.errors import ModelError, UsageError
from tastemaker.files import writing_file
from tastemaker.models.backbones.ngrams import TokenNames, chunks, counts
from tastemaker.models.scores import Scores
from tastemaker.models.template import TEMPLATE, joined

WEIGHTS = "linear.safetensors"
FORMAT = 1
_MOST_NGRAMS = 8


@dataclass(frozen=True)
class Linear:
    """How the linear backbone reads text and how strongly its weights are held back.

    ngrams: the longest word n-gram. min_count: texts that must hold an n-gram for it to count.
    weighting: "nb" is presence times the naive-Bayes log-count ratio (Wang & Manning 2012), "tfidf" sublinear TF-IDF.
    strength: the precision of the weights' Gaussian prior (scikit-learn's 1/C), for each judgement that a text has on
    average: saying everything twice must not make the fit surer. smoothing: added to every count of the log-count
    ratio. repeats: a word that stood in its text before is a feature of its own, and how many words and n-grams did are
    others, so that saying things twice has a price where people dislike it; for a model that will steer. template: how
    a prompt and its answer are joined.
    """

    ngrams: int = 3
    min_count: int = 2
    weighting: Literal["nb", "tfidf"] = "nb"
    strength: float = 0.04
    smoothing: float = 1.0
    repeats: bool = False
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        if not 1 <= self.ngrams <= _MOST_NGRAMS:
            raise UsageError(f"ngrams {self.ngrams}: must be 1 to {_MOST_NGRAMS}; 3 is usual.")
        if self.min_count < 1:
            raise UsageError(f"min_count {self.min_count}: must be at least 1; 2 leaves out what only one text holds.")
        if self.weighting not in ("nb", "tfidf"):
            raise UsageError(f"weighting {self.weighting!r}: must be nb (naive Bayes) or tfidf.")
        for name, value in (("strength", self.strength), ("smoothing", self.smoothing)):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} {value}: must be a finite number above 0.")
        joined(Example("text", "prompt"), self.template)


def features(occurrences: sp.csr_matrix, settings: Linear, scales: NDArray[np.float64]) -> sp.csr_matrix:
    """Return n-gram counts [texts, n-grams] as rows of features; what is multiplied with the weights.

    nb: 1 for presence, rows of length 1, times `scales` (the log-count ratios, or 1 once they are folded into the
    weights). tfidf: (1 + ln count) × `scales` (the inverse document frequencies), rows of length 1.
    """
    rows = occurrences.copy()
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    if settings.weighting == "nb":
        values, after = np.ones_like(rows.data), scales[rows.indices]
    else:
        values, after = (1 + np.log(rows.data)) * scales[rows.indices], 1.0
    squares = np.bincount(row, weights=values**2, minlength=rows.shape[0])
    rows.data = values / np.sqrt(squares)[row] * after
    return rows


class LinearBackbone:
    """Weights of word n-grams. Made by `fit_linear`.

    names: int64 [f], ascending. weights: float32 [f]. scales: float32 [f], what `features` takes when it scores.
    """

    kind = "linear"

    def __init__(
        self,
        settings: Linear,
        names: NDArray[np.int64],
        weights: NDArray[np.float32],
        scales: NDArray[np.float32],
        intercept: float = 0.0,
    ) -> None:
        self.settings, self.names, self.weights, self.scales = settings, names, weights, scales
        self.template = settings.template
        self.intercept = intercept

    def score(self, examples: Sequence[Example], *, precision: str = "float32") -> Scores:
        """Return the scores of examples, in order. Memory does not grow with their number; nothing is ever cut.

        precision: accepted as every backbone's; sums are float64 whatever it says.
        """
        weights, scales = self.weights.astype(np.float64), self.scales.astype(np.float64)
        texts = [joined(example, self.settings.template) for example in examples]
        values = [np.zeros(0)]
        for chunk in chunks(texts):
            occurrences = counts(TokenNames.of(chunk), self.settings.ngrams, self.names, repeats=self.settings.repeats)
            # a row's sum goes through its own columns in order, so that its neighbours cannot change the last bit
            values.append(features(occurrences, self.settings, scales) @ weights + self.intercept)
        return Scores(np.concatenate(values), np.zeros(len(texts), dtype=bool))

    def rescale(self, offset: float, scale: float) -> float:
        """Fold s ← (s − offset)/scale into weights and intercept; return the offset that was folded."""
        self.weights = (self.weights / scale).astype(np.float32)
        self.intercept = (self.intercept - offset) / scale
        return offset

    def save(self, folder: Path) -> None:
        """Write `linear.safetensors`: names, weights, scales, the intercept, and the settings as JSON in its head."""
        tensors: dict[str, NDArray[Any]] = {
            "names": self.names,
            "weights": self.weights,
            "scales": self.scales,
            "intercept": np.array([self.intercept]),
        }
        head = {"linear": json.dumps({"format": FORMAT, **asdict(self.settings)})}  # one entry: several have no order
        with writing_file(Path(folder) / WEIGHTS) as temporary:
            temporary.write_bytes(save(tensors, head))

    @staticmethod
    def load(folder: Path) -> "LinearBackbone":
        """Return the backbone that `save` wrote. Raises ModelError when the file is missing or damaged."""
        path = Path(folder) / WEIGHTS
        if not path.is_file():
            raise ModelError(f"{path}: this file is missing, so the model has no weights. Copy the folder whole again.")
        try:
            with safe_open(path, framework="numpy") as file:
                head = json.loads((file.metadata() or {}).get("linear", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
            if (found := head.pop("format", None)) != FORMAT:
                raise ModelError(f"{path}: format {found!r} of a linear model; this version reads {FORMAT}.")
            settings = Linear(**head)
            intercept = float(tensors["intercept"].item())
            read = LinearBackbone(settings, tensors["names"], tensors["weights"], tensors["scales"], intercept)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, UsageError) as error:
            raise ModelError(f"{path}: not the weights of a linear model ({error}). Copy it again.") from error
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
        ascending = self.names.ndim == 1 and bool((self.names[1:] > self.names[:-1]).all())
        like = self.weights.shape == self.names.shape == self.scales.shape
        if not (ascending and like):
            raise ModelError(f"{path}: its n-grams are out of order or lack weights. Fit again, or restore the file.")
        if not (np.isfinite(self.weights).all() and np.isfinite(self.scales).all() and math.isfinite(self.intercept)):
            raise ModelError(f"{path}: holds weights that are not finite. Fit again, or restore the file.")
