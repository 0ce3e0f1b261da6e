"""The corpus: unique texts, and the judgements about them as tensors.

Each text is encoded once, however many judgements it has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import Example, Judgement
from tastemaker.kinds.base import Link

Links = Mapping[type[Judgement], Link]

_LARGEST_UNIT = 64
"""Most texts of a unit. Comparisons that connect more are units of their own."""


@dataclass(frozen=True)
class Evidence:
    """The m judgements of one kind about the texts of a corpus.

    index: int64 [m], the example of each judgement; [m, K] for judgements about up to K texts, 0
    where a shorter one has none. targets: [m, …], the tensor of the kind's link. weight: [m].
    judge: int64 [m], the number of the judge, −1 for none. size: int64 [m], the number of texts.
    """

    index: Tensor
    targets: Tensor
    weight: Tensor
    judge: Tensor
    size: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device) -> "Evidence":
        """Return the same evidence on a device."""
        return Evidence(
            self.index.to(device),
            self.targets.to(device),
            self.weight.to(device),
            self.judge.to(device),
            self.size.to(device),
        )

    @property
    def is_text(self) -> Tensor:
        """True where a judgement about several texts has one [m, K]."""
        places = torch.arange(self.index.shape[1], device=self.index.device)
        return places < self.size[:, None]

    def rows(self, chosen: Sequence[int], place: Tensor) -> "Evidence":
        """Return some of the judgements, their texts renumbered by `place` [texts]."""
        return Evidence(
            place[self.index[chosen]],
            self.targets[chosen],
            self.weight[chosen],
            self.judge[chosen],
            self.size[chosen],
        )


@dataclass(frozen=True)
class Unit:
    """Texts that must be scored together, and the judgements about them: rows by kind."""

    texts: tuple[int, ...]
    rows: dict[type[Judgement], list[int]]


@dataclass(frozen=True)
class Corpus:
    """n unique examples and, by kind, the judgements about them. judges: names by number."""

    examples: list[Example]
    evidence: dict[type[Judgement], Evidence]
    judges: tuple[str, ...] = ()

    @staticmethod
    def of(
        judgements: Sequence[Judgement], links: Links, judges: Sequence[str] = ()
    ) -> "Corpus":
        """Gather judgements by text. Raises DataError where a judgement does not fit its link."""
        numbers: dict[Example, int] = {}
        for judgement in judgements:
            for example in judgement.examples:
                numbers.setdefault(example, len(numbers))
        names = {name: number for number, name in enumerate(judges)}
        evidence = {}
        for kind, link in links.items():
            of_kind = [j for j in judgements if type(j) is kind]
            index = [[numbers[example] for example in j.examples] for j in of_kind]
            sizes = [len(texts) for texts in index]
            kind_weight = link.aids.weights.get(link.kind, 1.0)
            weights = [j.weight * kind_weight for j in of_kind]
            judge_numbers = [names.get(j.judge or "", -1) for j in of_kind]
            evidence[kind] = Evidence(
                index=_padded(index, link),
                targets=link.targets(of_kind),
                weight=torch.tensor(weights),
                judge=torch.tensor(judge_numbers, dtype=torch.long),
                size=torch.tensor(sizes, dtype=torch.long),
            )
        return Corpus(list(numbers), evidence, tuple(judges))

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def log_lengths(self) -> Tensor:
        """ln(1 + characters) of every text, its prompt not counted [n]."""
        logs = [math.log1p(len(example.text)) for example in self.examples]
        return torch.tensor(logs)

    @cached_property
    def units(self) -> list[Unit]:
        """The units that training steps are made of.

        Each judgement is in one unit, each judged text in at least one. Texts that were compared,
        directly or through others, are one unit, so that each is encoded once.
        """
        together = list(self._together())
        root = _components(len(self), [texts for _, _, texts in together])
        roots = torch.tensor(root, dtype=torch.long)
        sizes = torch.bincount(roots, minlength=len(self)).tolist()
        units: dict[object, dict[type[Judgement], list[int]]] = {}
        texts_of: dict[object, dict[int, None]] = {}
        home: dict[int, object] = {}
        for kind, row, texts in together:
            name: object = root[texts[0]]
            if sizes[root[texts[0]]] > _LARGEST_UNIT:
                name = (kind, row)
            units.setdefault(name, {}).setdefault(kind, []).append(row)
            texts_of.setdefault(name, {}).update(dict.fromkeys(texts))
            for text in texts:
                home.setdefault(text, name)
        for kind, evidence in self.evidence.items():
            if evidence.index.ndim == 1:
                for row, text in enumerate(evidence.index.tolist()):
                    name = home.setdefault(text, root[text])
                    units.setdefault(name, {}).setdefault(kind, []).append(row)
                    texts_of.setdefault(name, {})[text] = None
        unsorted = [Unit(tuple(texts_of[name]), rows) for name, rows in units.items()]
        return sorted(unsorted, key=lambda unit: unit.texts)

    def part(
        self, units: Sequence[Unit]
    ) -> tuple[list[int], dict[type[Judgement], Evidence]]:
        """Return the texts of some units, each once, and the evidence about them.

        The index of the evidence is a place in the returned texts.
        """
        texts = list(dict.fromkeys(chain.from_iterable(unit.texts for unit in units)))
        place = torch.zeros(len(self), dtype=torch.long)
        place[texts] = torch.arange(len(texts))
        rows: dict[type[Judgement], list[int]] = {}
        for unit in units:
            for kind, chosen in unit.rows.items():
                rows.setdefault(kind, []).extend(chosen)
        evidence = {}
        for kind, of_kind in self.evidence.items():
            if kind in rows:
                evidence[kind] = of_kind.rows(rows[kind], place)
        return texts, evidence

    def subset(self, units: Sequence[Unit]) -> "Corpus":
        """Return the corpus of some units alone."""
        texts, part = self.part(units)
        place = torch.zeros(len(self), dtype=torch.long)
        evidence = {}
        for kind, of_kind in self.evidence.items():
            evidence[kind] = part[kind] if kind in part else of_kind.rows([], place)
        return Corpus([self.examples[i] for i in texts], evidence, self.judges)

    def resampled(self, seed: int) -> "Corpus":
        """Return the corpus with unit weights drawn from Exp(1).

        This is one draw of the Bayesian bootstrap (Rubin 1981).
        """
        generator = np.random.Generator(np.random.PCG64([seed, len(self.units)]))
        drawn = generator.exponential(size=len(self.units))
        evidence = {}
        for kind, of_kind in self.evidence.items():
            evidence[kind] = replace(of_kind, weight=of_kind.weight.clone())
        for unit, weight in zip(self.units, drawn.tolist(), strict=True):
            for kind, rows in unit.rows.items():
                evidence[kind].weight[rows] *= weight
        return Corpus(self.examples, evidence, self.judges)

    def _together(self) -> Iterator[tuple[type[Judgement], int, list[int]]]:
        """Yield kind, row and texts of every judgement about several texts."""
        for kind, evidence in self.evidence.items():
            if evidence.index.ndim == 2:
                sizes = evidence.size.tolist()
                for row, texts in enumerate(evidence.index.tolist()):
                    yield kind, row, texts[: sizes[row]]


def _padded(index: list[list[int]], link: Link) -> Tensor:
    """Return [m] for a kind about one text, and [m, K] for the others, 0 where there is no text."""
    if link.is_of_one_text:
        return torch.tensor([texts[0] for texts in index], dtype=torch.long)
    longest = max((len(texts) for texts in index), default=2)
    rows = [texts + [0] * (longest - len(texts)) for texts in index]
    return torch.tensor(rows, dtype=torch.long).reshape(len(index), longest)


def _components(n: int, edges: Sequence[Sequence[int]]) -> list[int]:
    """Return, for each of n nodes, the smallest node that it is connected with."""
    parent = list(range(n))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    for first, *others in edges:
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    return [root(at) for at in range(n)]
