"""The judgements of a fit: unique texts, the judgements about them as tensors, and the division.

A corpus holds each text once, so that it is encoded once, however many judgements it has. A
division is two corpora with the same links and judges: one to learn from, one to measure on.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.data.judgements import Example, Judgement, fingerprint
from tastemaker.data.splitting import split, split_for_a_fit
from tastemaker.errors import DataError
from tastemaker.kinds.base import Likelihood, Link
from tastemaker.kinds.registry import links_from

Links = Mapping[type[Judgement], Link]
T = TypeVar("T", int, float)

MOST_HELD_OUT = 1000
_FEWEST_TO_VALIDATE = 20  # texts or prompts
_FEW_VALIDATE = 100  # texts
_LARGEST_UNIT = 64
"""Most texts of a unit. Comparisons that connect more are units of their own."""
_ENOUGH_FOR_AN_EXPERT = 50  # judgements
# judgements on average; with fewer, reliabilities are mostly their prior
_ENOUGH_OF_A_JUDGE = 20


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
    """n unique examples and, by kind, the judgements about them. judges: names by number."""

    examples: list[Example]
    evidence: AllEvidence
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
        of_several = list(self._of_several_texts())
        component = _components(len(self), [texts for _, _, texts in of_several])
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
        units = [Unit(tuple(unit.texts), unit.rows) for unit in growing.values()]
        return sorted(units, key=lambda unit: unit.texts)

    def part(self, units: Sequence[Unit]) -> tuple[list[int], AllEvidence]:
        """Return the texts of some units, each once, and the evidence about them.

        The index of the evidence is a place in the returned texts.
        """
        texts = list(dict.fromkeys(chain.from_iterable(unit.texts for unit in units)))
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
        return Corpus(examples, evidence, self.judges)

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

    def _of_several_texts(self) -> Iterator[tuple[type[Judgement], int, list[int]]]:
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

    def add(self, kind: type[Judgement], row: int, texts: Sequence[int]) -> None:
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


# --- the division into training and held-out judgements ---


@dataclass(frozen=True)
class Division:
    """Three corpora with the same links and judges, and a digest of all judgements.

    train: what is learned from. validation: what chooses the best weights of a network and
    calibrates links; empty where links are calibrated by cross-fitting. held_out: what the
    evaluation of the finished model measures, and nothing else makes use of its judgements.
    """

    train: Corpus
    validation: Corpus
    held_out: Corpus
    train_judgements: Sequence[Judgement]
    validation_judgements: Sequence[Judgement]
    held_out_judgements: Sequence[Judgement]
    likelihood: Likelihood
    digest: str

    def by_source(self) -> "dict[str, Division]":
        """Return a division for each source of judgements, by name; judges are those of all.

        Raises DataError where there are fewer than two, no prompt, or too few judgements of a
        source.
        """
        by_source: dict[str, list[Judgement]] = {}
        for judgement in self.train_judgements:
            by_source.setdefault(judgement.source, []).append(judgement)
        reason = ""
        if len(by_source) < 2:
            reason = "all judgements are of one source"
        elif all(example.prompt is None for example in self.train.examples):
            reason = "no judgement has a prompt"
        if reason:
            raise DataError(
                f"experts: {reason}, so nothing tells their tastes apart. Leave experts out."
            )
        divisions = {}
        for source in sorted(by_source):
            of_source = by_source[source]
            if len(of_source) < _ENOUGH_FOR_AN_EXPERT:
                raise DataError(
                    f"experts: {source or 'the source without a name'} has "
                    f"{len(of_source)} judgements to learn "
                    f"from, and an expert needs {_ENOUGH_FOR_AN_EXPERT}. Put them "
                    "into the file of another source."
                )
            links = links_from(of_source, self.likelihood)
            learned = [j for j in self.held_out_judgements if type(j) in links]
            measured = [j for j in learned if j.source == source] or learned
            train = Corpus.of(of_source, links, self.train.judges)
            held_out = Corpus.of(measured, links, self.train.judges)
            validated = [j for j in self.validation_judgements if type(j) in links]
            validated = [j for j in validated if j.source == source] or validated
            divisions[source] = replace(
                self,
                train=train,
                validation=Corpus.of(validated, links, self.train.judges),
                held_out=held_out,
                train_judgements=of_source,
                validation_judgements=validated,
                held_out_judgements=measured,
            )
        return divisions


def divide(
    judgements: Sequence[Judgement],
    held_out: float | Sequence[Judgement] | None,
    likelihood: Likelihood,
    seed: int,
    *,
    validates: bool = False,
) -> Division:
    """Split by text and prompt, unless the held-out judgements are given, and read all parts with
    the same links.

    validates: whether a part chooses weights and calibrates links: a tenth of the texts, up to a
    fifth of few, at most 1,000. Where fewer than 20 texts or prompts remain, the held-out part does
    that too.

    held_out: the judgements that only measure, or how many as `split` counts them; None: a tenth of
    the texts, at most 1,000. Given ones of a kind that is not learned are left out. Raises
    DataError where chats and plain prompts are mixed, and where judges are to be learned and none
    is named; UsageError for a share that cannot be.
    """
    _check_prompts(judgements)
    train: Sequence[Judgement]
    measured: Sequence[Judgement]
    if held_out is None:
        texts = len({fingerprint(text) for j in judgements for text in j.texts})
        groups = len({j.texts if j.prompt is None else j.prompt for j in judgements})
        most = min(MOST_HELD_OUT, texts // 10, groups // 5)
        train, measured = split_for_a_fit(judgements, most=most, seed=seed)
    elif isinstance(held_out, float | int):
        train, measured = split(judgements, held_out=held_out, seed=seed)
    else:
        train, measured = list(judgements), list(held_out)
    validated: Sequence[Judgement] = []
    if validates:
        train, validated = _validation(train, measured, seed)
    links = links_from(train, likelihood)
    measured = [j for j in measured if type(j) in links]
    validated = [j for j in validated if type(j) in links]
    judges = _judges(train, likelihood)
    corpus = Corpus.of(train, links, judges)
    digest = digest_of_items([*train, None, *validated, None, *measured])
    return Division(
        train=corpus,
        validation=Corpus.of(validated, links, judges),
        held_out=Corpus.of(measured, links, judges),
        train_judgements=train,
        validation_judgements=validated,
        held_out_judgements=measured,
        likelihood=likelihood,
        digest=digest,
    )


def _validation(
    train: Sequence[Judgement], measured: Sequence[Judgement], seed: int
) -> tuple[Sequence[Judgement], Sequence[Judgement]]:
    """Return the training judgements without a validation part, and that part."""
    texts = len({fingerprint(text) for j in train for text in j.texts})
    groups = len({j.texts if j.prompt is None else j.prompt for j in train})
    if groups < _FEWEST_TO_VALIDATE:
        return train, measured
    most = min(MOST_HELD_OUT, max(texts // 10, min(_FEW_VALIDATE, texts // 5)))
    return split_for_a_fit(train, most=most, seed=seed + 1)


def digest_of_items(items: Iterable[Judgement | Example | None]) -> str:
    """Return 32 hex digits that depend on the items and their order. None separates two sides."""
    text = repr([*items]).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _judges(judgements: Sequence[Judgement], likelihood: Likelihood) -> list[str]:
    """Return the judges whose reliability is learned: all named ones, or none.

    They are learned if `likelihood.judges` is set, or by default from enough judgements.
    """
    counts = Counter(j.judge for j in judgements if j.judge is not None)
    if likelihood.judges is None:
        enough = _ENOUGH_OF_A_JUDGE * len(counts)
        is_learned = len(counts) > 1 and counts.total() >= enough
    else:
        is_learned = likelihood.judges
    if is_learned and not counts:
        raise DataError(
            "the reliability of judges was asked for, but no judgement names its judge."
        )
    return sorted(counts) if is_learned else []


def _check_prompts(judgements: Sequence[Judgement]) -> None:
    """Raise DataError for chats beside plain prompts: no template reads both alike."""
    first: dict[bool, Judgement] = {}
    for judgement in judgements:
        if judgement.prompt is not None:
            first.setdefault(isinstance(judgement.prompt, tuple), judgement)
    if len(first) == 2:
        chat, text = first[True], first[False]
        raise chat.wrong(
            f"answers a chat, but {text.where or 'another judgement'} answers a plain text. "
            "Give all prompts as chats (lists of messages with a role and a content) "
            "or all as texts."
        )
