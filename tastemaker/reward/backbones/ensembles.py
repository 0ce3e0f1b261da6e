"""Several backbones that were learned apart: their mean is the score, their disagreement says how
sure it is.

A backbone for each source of judgements, and a router that tells from a prompt whose judges would
read its answers.

Sources may want opposite things: the helpful answer is the longer one, the harmless answer says no.
A single score has to learn which prompt is of which sort; here the prompt's words say so first, and
the sources' own backbones are mixed by that (a mixture of experts with a gate learned apart: Jacobs
et al. 1991).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tastemaker.data.judgements import Example, Prompt, plain
from tastemaker.errors import ModelError
from tastemaker.fast.processor import ScoringWish
from tastemaker.files import writing_file
from tastemaker.reward.backbones.linear import (
    Linear,
    TokenNames,
    chunks,
    counts,
    features,
)
from tastemaker.scores import Scores

_FOLDER = "member-{}"


class Ensemble:
    """Members with the contract of a backbone, all of one kind. Each is saved whole, in a folder
    that any loader opens.

    Members learned apart have their own scales: bring each to one (`rescale`) before it joins.
    """

    kind = "ensemble"

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = list(members)
        first = self.members[0]
        self.max_length, self.cut = (
            getattr(first, "max_length", None),
            getattr(first, "cut", None),
        )
        self.template: str = first.template

    def score(
        self, examples: Sequence[Example], *, precision: ScoringWish = "float32"
    ) -> Scores:
        """Return the members' mean scores, and theirs."""
        found = [member.score(examples, precision=precision) for member in self.members]
        values = np.stack([scores.values for scores in found])
        return Scores(values.mean(0), found[0].truncated, values)

    def rescale(self, offset: float, scale: float) -> float:
        """Fold s ← (s − offset)/scale into every member; return the offset that was folded."""
        return float(
            np.mean([member.rescale(offset, scale) for member in self.members])
        )

    def save(self, folder: Path) -> None:
        """Write `member-0`, `member-1` …"""
        for member, own in zip(self.members, self.folders(folder), strict=True):
            own.mkdir()
            member.save(own)

    def folders(self, folder: Path) -> list[Path]:
        """Return the folder of each member."""
        return [folder / _FOLDER.format(number) for number in range(len(self.members))]

    @staticmethod
    def load(
        folder: Path, members: int, load_member: Callable[[Path], Any]
    ) -> "Ensemble":
        """Return the ensemble that `save` wrote. Raises ModelError where a member's folder is
        missing.
        """
        folders = [folder / _FOLDER.format(number) for number in range(members)]
        for own in folders:
            if not own.is_dir():
                raise ModelError(
                    f"{own}: this member of the ensemble is missing. Copy the folder whole again."
                )
        return Ensemble([load_member(own) for own in folders])

    def describe(self) -> str:
        """Return how many members there are, and of what."""
        return f"{len(self.members)} members, each {self.members[0].describe()}"


ROUTER = "router.safetensors"
READING = Linear(ngrams=2, weighting="tfidf")
"""How a router reads prompts."""


class Router:
    """Whose a prompt is, by its words: a logistic regression. Made by `learning/routing.py`.

    sources: their k names. names: of the word n-grams, int64 [f], ascending. idf: float32 [f].
    weights: float32 [f, k]. intercepts: float32 [k].
    """

    def __init__(
        self,
        sources: Sequence[str],
        names: NDArray[np.int64],
        idf: NDArray[np.float32],
        weights: NDArray[np.float32],
        intercepts: NDArray[np.float32],
    ) -> None:
        self.sources, self.names, self.idf = tuple(sources), names, idf
        self.weights, self.intercepts = weights, intercepts

    def shares(self, prompts: Sequence[Prompt | None]) -> NDArray[np.float64]:
        """Return how likely each prompt is of each source: float64 [n, k]; where there is no
        prompt, what is usual.
        """
        unlike = list(dict.fromkeys(prompts))
        rows = {prompt: row for row, prompt in enumerate(unlike)}
        found = [np.zeros((0, len(self.sources)))]
        for chunk in chunks([read_prompt(prompt) for prompt in unlike]):
            rows_of = features(
                counts(TokenNames.of(chunk), READING.ngrams, self.names),
                READING,
                self._scales,
            )
            logits = rows_of @ self.weights.astype(np.float64) + self.intercepts
            raised = np.exp(logits - logits.max(1, keepdims=True))
            found.append(raised / raised.sum(1, keepdims=True))
        shares: NDArray[np.float64] = np.concatenate(found)[
            [rows[prompt] for prompt in prompts]
        ]
        return shares

    @property
    def _scales(self) -> NDArray[np.float64]:
        return self.idf.astype(np.float64)

    def save(self, path: Path) -> None:
        """Write everything, the sources as JSON in the head."""
        names = ("names", "idf", "weights", "intercepts")
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in names}
        with writing_file(path) as temporary:
            temporary.write_bytes(save(tensors, {"sources": json.dumps(self.sources)}))

    @staticmethod
    def load(path: Path) -> "Router":
        """Return the router that `save` wrote. Raises ModelError when the file is missing or
        damaged.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                sources = json.loads((file.metadata() or {})["sources"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
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
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: not a router of experts ({error}). Copy the folder whole again."
            ) from error
        return router


class Experts(Ensemble):
    """A backbone for each source, all of one kind; the score is their mean, weighed by whose the
    prompt is.
    """

    kind = "experts"

    def __init__(self, members: Sequence[Any], router: Router) -> None:
        super().__init__(members)
        self.router = router

    def score(
        self, examples: Sequence[Example], *, precision: ScoringWish = "float32"
    ) -> Scores:
        """Return the mixed scores. The experts' own are not given out: unlike tastes are no doubt
        about one.
        """
        found = super().score(examples, precision=precision)
        assert found.members is not None
        shares = self.router.shares([example.prompt for example in examples])
        return Scores((found.members.T * shares).sum(1), found.truncated)

    def save(self, folder: Path) -> None:
        """Write the members' folders and `router.safetensors`."""
        super().save(folder)
        self.router.save(folder / ROUTER)

    @staticmethod
    def open(folder: Path, load_member: Callable[[Path], Any]) -> "Experts":
        """Return the experts that `save` wrote. Raises ModelError where a part is missing or
        damaged.
        """
        router = Router.load(folder / ROUTER)
        return Experts(
            Ensemble.load(folder, len(router.sources), load_member).members, router
        )

    def describe(self) -> str:
        """Return how many experts there are, of which sources, and of what."""
        return (
            f"{len(self.members)} experts ({', '.join(self.router.sources)}), each "
            f"{self.members[0].describe()}"
        )


def read_prompt(prompt: Prompt | None) -> str:
    """Return what a router reads of a prompt."""
    return "" if prompt is None else plain(prompt)
