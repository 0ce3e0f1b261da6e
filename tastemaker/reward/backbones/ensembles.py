"""Models of several backbones: ensembles and experts.

An ensemble has members that were trained separately. Their mean is the score, and their
disagreement is its uncertainty.

Experts are one backbone for each source of judgements, and a router that tells the source from the
words of a prompt. Sources may prefer opposite things: helpful answers are long, harmless ones
refuse. The experts' scores are mixed by the probability of each source (a mixture of experts with a
separately trained gate: Jacobs et al. 1991).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tastemaker.data.judgements import Example, Prompt, plain
from tastemaker.errors import DataError, ModelError
from tastemaker.fast.processor import ScoringChoice
from tastemaker.files import writing_file
from tastemaker.maths.statistics import Floats
from tastemaker.reward.backbones.linear import (
    Linear,
    NgramNames,
    TokenNames,
    chunks,
    counts,
    features,
    inverse_document_frequencies,
    vocabulary,
)
from tastemaker.scores import Scores

_FOLDER = "member-{}"


class Ensemble:
    """Backbones of one kind whose mean is the score. Each is saved in a folder of its own.

    Members that were trained separately differ in scale: call `rescale` on each first.
    """

    kind = "ensemble"

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = list(members)
        first = self.members[0]
        self.max_length = getattr(first, "max_length", None)
        self.cut = getattr(first, "cut", None)
        self.template: str = first.template

    def score(
        self,
        examples: Sequence[Example],
        *,
        precision: ScoringChoice = "float32",
    ) -> Scores:
        """Return the mean scores, and those of each member."""
        by_member = [
            member.score(examples, precision=precision)
            for member in self.members
        ]
        values = np.stack([scores.values for scores in by_member])
        return Scores(values.mean(0), by_member[0].truncated, values)

    def rescale(self, offset: float, scale: float) -> float:
        """Fold s ← (s − offset)/scale into every member; return the offset that was folded."""
        offsets = [member.rescale(offset, scale) for member in self.members]
        return float(np.mean(offsets))

    def save(self, folder: Path) -> None:
        """Write `member-0`, `member-1` …"""
        folders = self.folders(folder)
        for member, member_folder in zip(self.members, folders, strict=True):
            member_folder.mkdir()
            member.save(member_folder)

    def folders(self, folder: Path) -> list[Path]:
        """Return the folder of each member."""
        return [
            folder / _FOLDER.format(number)
            for number in range(len(self.members))
        ]

    @staticmethod
    def load(
        folder: Path, members: int, load_member: Callable[[Path], Any]
    ) -> "Ensemble":
        """Return the ensemble that `save` wrote. Raises ModelError for a missing member."""
        folders = [
            folder / _FOLDER.format(number) for number in range(members)
        ]
        for member_folder in folders:
            if not member_folder.is_dir():
                raise ModelError(
                    f"{member_folder}: this member of the ensemble is missing. "
                    "Copy the folder whole again."
                )
        return Ensemble(
            [load_member(member_folder) for member_folder in folders]
        )

    def describe(self) -> str:
        """Return how many members there are, and of what."""
        return (
            f"{len(self.members)} members, each {self.members[0].describe()}"
        )


ROUTER = "router.safetensors"
READING = Linear(ngrams=2, weighting="tfidf")
"""How a router reads prompts."""
_SURENESS = 10.0  # scikit-learn's C
_MOST_ITERATIONS = 1000


class Router:
    """Tells a prompt's source from its words: a logistic regression. Made by `fit_router`.

    sources: their k names. names: of the word n-grams, int64 [f], ascending. idf: float32 [f].
    weights: float32 [f, k]. intercepts: float32 [k].
    """

    def __init__(
        self,
        sources: Sequence[str],
        names: NgramNames,
        idf: NDArray[np.float32],
        weights: NDArray[np.float32],
        intercepts: NDArray[np.float32],
    ) -> None:
        self.sources, self.names, self.idf = tuple(sources), names, idf
        self.weights, self.intercepts = weights, intercepts

    def shares(self, prompts: Sequence[Prompt | None]) -> Floats:
        """Return the probability of each source for each prompt: float64 [n, k].

        No prompt is read as a prompt without words.
        """
        unique = list(dict.fromkeys(prompts))
        rows = {prompt: row for row, prompt in enumerate(unique)}
        scales = self.idf.astype(np.float64)
        weights = self.weights.astype(np.float64)
        texts = [read_prompt(prompt) for prompt in unique]
        parts = [np.zeros((0, len(self.sources)))]
        for chunk in chunks(texts):
            occurrences = counts(
                TokenNames.of(chunk), READING.ngrams, self.names
            )
            inputs = features(occurrences, READING, scales)
            logits = inputs @ weights + self.intercepts
            raised = np.exp(logits - logits.max(1, keepdims=True))
            parts.append(raised / raised.sum(1, keepdims=True))
        order = [rows[prompt] for prompt in prompts]
        shares: Floats = np.concatenate(parts)[order]
        return shares

    def save(self, path: Path) -> None:
        """Write everything, the sources as JSON in the head."""
        names = ("names", "idf", "weights", "intercepts")
        tensors = {
            name: np.ascontiguousarray(getattr(self, name)) for name in names
        }
        with writing_file(path) as temporary:
            temporary.write_bytes(
                save(tensors, {"sources": json.dumps(self.sources)})
            )

    @staticmethod
    def load(path: Path) -> "Router":
        """Return the router that `save` wrote. Raises ModelError for a missing or damaged file."""
        try:
            with safe_open(path, framework="numpy") as file:
                sources = json.loads((file.metadata() or {})["sources"])
                names = file.keys()  # the file is no dict
                tensors = {name: file.get_tensor(name) for name in names}
            router = Router(sources, **tensors)
            shape = (len(router.names), len(router.sources))
            if (
                router.weights.shape != shape
                or router.idf.shape != shape[:1]
                or router.intercepts.shape != shape[1:]
            ):
                raise ModelError(
                    f"{path}: its parts do not belong together. Fit again, or restore the file."
                )
        except (
            SafetensorError,
            OSError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise ModelError(
                f"{path}: not a router of experts ({error}). Copy the folder whole again."
            ) from error
        return router


def fit_router(prompts: Mapping[str, Sequence[Prompt | None]]) -> Router:
    """Return a router that knows the prompts of each source by name; two sources or more.

    A prompt counts once for each source that it comes from. Raises DataError where no two prompts
    share a word.
    """
    from sklearn.linear_model import LogisticRegression

    sources = list(prompts)
    texts: list[str] = []
    source_numbers: list[int] = []
    for number, source in enumerate(sources):
        for prompt in dict.fromkeys(prompts[source]):
            texts.append(read_prompt(prompt))
            source_numbers.append(number)
    token_chunks = [TokenNames.of(chunk) for chunk in chunks(texts)]
    names = vocabulary(token_chunks, READING.ngrams, READING.min_count)
    blocks = [counts(chunk, READING.ngrams, names) for chunk in token_chunks]
    occurrences = sp.vstack(blocks, format="csr")
    if not len(names):
        raise DataError(
            "experts: no two prompts share a word, so nothing tells the sources "
            "apart. Leave experts out."
        )
    idf = inverse_document_frequencies(occurrences)
    regression = LogisticRegression(C=_SURENESS, max_iter=_MOST_ITERATIONS)
    regression.fit(features(occurrences, READING, idf), source_numbers)
    weights, intercepts = regression.coef_.T, regression.intercept_
    if len(sources) == 2:  # scikit-learn gives the second one's log-odds alone
        weights = np.concatenate([np.zeros_like(weights), weights], axis=-1)
        intercepts = np.concatenate(
            [np.zeros_like(intercepts), intercepts], axis=-1
        )
    return Router(
        sources,
        names,
        idf.astype(np.float32),
        weights.astype(np.float32),
        intercepts.astype(np.float32),
    )


class Experts(Ensemble):
    """A backbone for each source, all of one kind. The router weighs their mean."""

    kind = "experts"

    def __init__(self, members: Sequence[Any], router: Router) -> None:
        super().__init__(members)
        self.router = router

    def score(
        self,
        examples: Sequence[Example],
        *,
        precision: ScoringChoice = "float32",
    ) -> Scores:
        """Return the mixed scores, without those of the experts.

        Experts differ in taste, so their disagreement is not uncertainty.
        """
        scores = super().score(examples, precision=precision)
        assert scores.members is not None
        shares = self.router.shares([example.prompt for example in examples])
        return Scores((scores.members.T * shares).sum(1), scores.truncated)

    def save(self, folder: Path) -> None:
        """Write the members' folders and `router.safetensors`."""
        super().save(folder)
        self.router.save(folder / ROUTER)

    @staticmethod
    def open(folder: Path, load_member: Callable[[Path], Any]) -> "Experts":
        """Return the experts that `save` wrote. Raises ModelError for a missing or damaged part."""
        router = Router.load(folder / ROUTER)
        ensemble = Ensemble.load(folder, len(router.sources), load_member)
        return Experts(ensemble.members, router)

    def describe(self) -> str:
        """Return how many experts there are, of which sources, and of what."""
        return (
            f"{len(self.members)} experts ({', '.join(self.router.sources)}), each "
            f"{self.members[0].describe()}"
        )


def read_prompt(prompt: Prompt | None) -> str:
    """Return what a router reads of a prompt."""
    return "" if prompt is None else plain(prompt)
