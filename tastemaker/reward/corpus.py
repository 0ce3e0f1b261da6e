"""The judgements of a fit: unique texts, and the judgements about them as tensors.

A corpus holds each text once, so that it is encoded once, however many judgements it has.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.data.judgements import Example, Judgement, fingerprint, lot
from tastemaker.data.splitting import prompt_key
from tastemaker.data.texts import features_of
from tastemaker.kinds.base import Link

Links = Mapping[type[Judgement], Link]
T = TypeVar("T", int, float)

_LARGEST_UNIT = 64
"""Most texts of a unit. Comparisons that connect more are units of their own."""


@dataclass(frozen=True)
class Evidence:
    """The m judgements of one kind about the texts of a corpus.

    index: int64 [m], the example of each judgement; [m, K] for judgements about up to K texts, 0
    where a shorter one has none. targets: [m, …], the tensor of the kind's link. weight: [m].
    judge: int64 [m], the number of the judge, −1 for none. size: int64 [m], the number of texts.
    order: float32 as index, from ½ for the text that was shown first to −½ for the last; 0 where
    that is unknown.
    """

    index: Tensor
    targets: Tensor
    weight: Tensor
    judge: Tensor
    size: Tensor
    order: Tensor

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
            self.order.to(device),
        )

    def repeated(self, chosen: Tensor, count: int, judges: int) -> "Evidence":
        """Return copies of some judgements, one after the other, each copy with judges of its own.

        judges: how many there are; judge j of copy c gets the number c · judges + j. All chosen
        judgements have a judge.
        """
        rows = chosen.repeat(count)
        copy = torch.arange(count).repeat_interleave(len(chosen))
        return Evidence(
            self.index[rows],
            self.targets[rows],
            self.weight[rows],
            self.judge[rows] + copy * judges,
            self.size[rows],
            self.order[rows],
        )

    def double(self) -> "Evidence":
        """Return the same evidence in float64."""
        targets = self.targets
        if targets.is_floating_point():
            targets = targets.double()
        return replace(
            self,
            targets=targets,
            weight=self.weight.double(),
            order=self.order.double(),
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
            self.order[chosen],
        )


AllEvidence = dict[type[Judgement], Evidence]
"""The evidence of each kind."""

Rows = dict[type[Judgement], list[int]]
"""Rows of the evidence of each kind."""


@dataclass(frozen=True)
class Unit:
    """Texts that must be scored together, and the judgements about them."""

    texts: tuple[int, ...]
    rows: Rows


@dataclass(frozen=True)
class Corpus:
    """n unique examples and, by kind, the judgements about them.

    judges: names by number. groups: by the fingerprint of a text or of `prompt_key`, the name of
    its group of relatives, such as near-copies.
    """

    examples: list[Example]
    evidence: AllEvidence
    judges: tuple[str, ...] = ()
    groups: Mapping[int, int] = field(default_factory=dict)

    @staticmethod
    def of(
        judgements: Sequence[Judgement],
        links: Links,
        judges: Sequence[str] = (),
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
            kind_weight = link.aids.weights.get(link.kind, 1.0)
            index, sizes, weights, judge_numbers, orders = [], [], [], [], []
            for judgement in of_kind:
                texts = [numbers[example] for example in judgement.examples]
                index.append(texts)
                sizes.append(len(texts))
                orders.append(_order(judgement))
                weights.append(judgement.weight * kind_weight)
                judge_numbers.append(names.get(judgement.judge or "", -1))
            evidence[kind] = Evidence(
                index=torch.from_numpy(_padded(index, link)).long(),
                targets=link.targets(of_kind),
                weight=torch.tensor(weights),
                judge=torch.tensor(judge_numbers, dtype=torch.long),
                size=torch.tensor(sizes, dtype=torch.long),
                order=torch.from_numpy(_padded(orders, link)).float(),
            )
        return Corpus(list(numbers), evidence, tuple(judges))

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def has_order(self) -> bool:
        """Whether it is known of some judgement in which order its texts were shown."""
        return any(bool((e.order != 0).any()) for e in self.evidence.values())

    def features(self, names: Sequence[str]) -> Tensor:
        """Return features of every text by name, those of its prompt not counted [n, features]."""
        texts = [example.text for example in self.examples]
        return torch.from_numpy(features_of(texts, names)).float()

    @cached_property
    def units(self) -> list[Unit]:
        """The units that training steps are made of.

        Each judgement is in one unit, each judged text in at least one. Texts that were compared,
        directly or through others, are one unit, so that each is encoded once.
        """
        of_several = list(self._of_several_texts())
        component = _components(
            len(self), [texts for _, _, texts in of_several]
        )
        sizes = Counter(component)
        growing: dict[object, _GrowingUnit] = defaultdict(_GrowingUnit)
        unit_of: dict[int, object] = {}  # the first unit of each text
        for kind, row, texts in of_several:
            name: object = component[texts[0]]
            if sizes[component[texts[0]]] > _LARGEST_UNIT:
                name = (kind, row)
            growing[name].add(kind, row, texts)
            for text in texts:
                unit_of.setdefault(text, name)
        for kind, evidence in self.evidence.items():
            if evidence.index.ndim == 2:
                continue
            for row, text in enumerate(evidence.index.tolist()):
                name = unit_of.setdefault(text, component[text])
                growing[name].add(kind, row, [text])
        units = [
            Unit(tuple(unit.texts), unit.rows) for unit in growing.values()
        ]
        return sorted(units, key=lambda unit: unit.texts)

    def part(self, units: Sequence[Unit]) -> tuple[list[int], AllEvidence]:
        """Return the texts of some units, each once, and the evidence about them.

        The index of the evidence is a place in the returned texts.
        """
        texts = list(
            dict.fromkeys(chain.from_iterable(unit.texts for unit in units))
        )
        place = torch.zeros(len(self), dtype=torch.long)
        place[texts] = torch.arange(len(texts))
        rows: Rows = {}
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
        examples = [self.examples[text] for text in texts]
        place = torch.zeros(len(self), dtype=torch.long)
        evidence = {}
        for kind, of_kind in self.evidence.items():
            if kind in part:
                evidence[kind] = part[kind]
            else:
                evidence[kind] = of_kind.rows([], place)
        return replace(self, examples=examples, evidence=evidence)

    def folds(self, seed: int, count: int) -> list[list[Unit]]:
        """Return the units of each fold; relatives are in one fold.

        The fold depends on a text, not on the order of rows.
        """
        folds: list[list[Unit]] = [[] for _ in range(count)]
        for unit in self.units:
            name = min(self._fold_name(text) for text in unit.texts)
            folds[lot(seed, "fold", name) % count].append(unit)
        return folds

    def _fold_name(self, text: int) -> str:
        """Return the text, or the name of its group where it has relatives."""
        example = self.examples[text]
        if not self.groups:
            return example.text
        group = self.groups.get(fingerprint(example.text))
        if group is None and example.prompt is not None:
            prompt = prompt_key(example.prompt)
            group = self.groups.get(fingerprint(prompt))
        return example.text if group is None else f"group {group}"

    def resampled(self, seed: int) -> "Corpus":
        """Return the corpus with unit weights drawn from Exp(1).

        This is one draw of the Bayesian bootstrap (Rubin 1981).
        """
        generator = np.random.Generator(
            np.random.PCG64([seed, len(self.units)])
        )
        drawn = generator.exponential(size=len(self.units))
        evidence = {}
        for kind, of_kind in self.evidence.items():
            evidence[kind] = replace(of_kind, weight=of_kind.weight.clone())
        for unit, weight in zip(self.units, drawn.tolist(), strict=True):
            for kind, rows in unit.rows.items():
                evidence[kind].weight[rows] *= weight
        return replace(self, evidence=evidence)

    def _of_several_texts(
        self,
    ) -> Iterator[tuple[type[Judgement], int, list[int]]]:
        """Yield kind, row and texts of every judgement about several texts."""
        for kind, evidence in self.evidence.items():
            if evidence.index.ndim == 1:
                continue
            sizes = evidence.size.tolist()
            for row, texts in enumerate(evidence.index.tolist()):
                yield kind, row, texts[: sizes[row]]


class _GrowingUnit:
    """A unit that judgements are added to. The texts are the keys of a dictionary, in order."""

    def __init__(self) -> None:
        self.texts: dict[int, None] = {}
        self.rows: Rows = {}

    def add(
        self, kind: type[Judgement], row: int, texts: Sequence[int]
    ) -> None:
        """Add one judgement about some texts."""
        self.rows.setdefault(kind, []).append(row)
        for text in texts:
            self.texts[text] = None


def _padded(rows: list[list[T]], link: Link) -> NDArray[Any]:
    """Return [m] for a kind about one text, and [m, K] for the others, 0 where there is no text."""
    if link.is_of_one_text:
        return np.array([row[0] for row in rows])
    longest = max((len(row) for row in rows), default=2)
    padded = np.zeros((len(rows), longest))
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded


def _order(judgement: Judgement) -> list[float]:
    """Return for each text from ½, shown first, to −½, shown last; 0 where that is unknown."""
    places = judgement.places
    if not places:
        return [0.0] * len(judgement.texts)
    last = len(places) - 1
    return [0.5 - place / last for place in places]


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
