"""The judgements of a fit: unique texts, the judgements about them as tensors, and the division.

A corpus holds each text once, so that it is encoded once, however many judgements it has. A
division is two corpora with the same links and judges: one to learn from, one to measure on.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import Example, Judgement, fingerprint
from tastemaker.data.related_texts import Related, related
from tastemaker.data.splitting import split, split_for_a_fit
from tastemaker.data.text_features import features_of
from tastemaker.errors import DataError
from tastemaker.kinds.base import Likelihood, Link
from tastemaker.kinds.registry import links_from
from tastemaker.near_copies import STORED, Sketches

Links = Mapping[type[Judgement], Link]

MOST_HELD_OUT = 1000
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
            index, sizes, weights, judge_numbers = [], [], [], []
            for judgement in of_kind:
                texts = [numbers[example] for example in judgement.examples]
                index.append(texts)
                sizes.append(len(texts))
                weights.append(judgement.weight * kind_weight)
                judge_numbers.append(names.get(judgement.judge or "", -1))
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


def _padded(index: list[list[int]], link: Link) -> Tensor:
    """Return [m] for a kind about one text, and [m, K] for the others, 0 where there is no text."""
    if link.is_of_one_text:
        return torch.tensor([texts[0] for texts in index], dtype=torch.long)
    longest = max((len(texts) for texts in index), default=2)
    rows = []
    for texts in index:
        padding = [0] * (longest - len(texts))
        rows.append(texts + padding)
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


# --- the division into training and held-out judgements ---


@dataclass(frozen=True)
class Division:
    """Two corpora with the same links and judges, and a digest of all judgements.

    relatives: the near-copies and shared beginnings that are on one side; their numbers are 0 where
    the held-out judgements were given.
    """

    train: Corpus
    held_out: Corpus
    train_judgements: Sequence[Judgement]
    held_out_judgements: Sequence[Judgement]
    likelihood: Likelihood
    digest: str
    relatives: Related

    @property
    def training_sketches(self) -> Sketches:
        """The sketches of the training texts, which find their near-copies."""
        texts = {example.text for example in self.train.examples}
        return self.relatives.sketches_of(texts)[:, :STORED]

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
            divisions[source] = replace(
                self,
                train=train,
                held_out=held_out,
                train_judgements=of_source,
                held_out_judgements=measured,
            )
        return divisions


def divide(
    judgements: Sequence[Judgement],
    held_out: float | Sequence[Judgement] | None,
    likelihood: Likelihood,
    seed: int,
) -> Division:
    """Split by text and prompt, unless the held-out judgements are given, and read both sides with
    the same links.

    held_out: the judgements that only measure, or how many as `split` counts them; None: a tenth of
    the texts, at most 1,000. Given ones of a kind that is not learned are left out. Raises
    DataError where chats and plain prompts are mixed, and where judges are to be learned and none
    is named; UsageError for a share that cannot be.
    """
    _check_prompts(judgements)
    relatives = related(judgements)
    if held_out is None:
        texts = len({fingerprint(text) for j in judgements for text in j.texts})
        groups = len({j.texts if j.prompt is None else j.prompt for j in judgements})
        most = min(MOST_HELD_OUT, texts // 10, groups // 5)
        train, measured = split_for_a_fit(
            judgements, most=most, seed=seed, relatives=relatives
        )
    elif isinstance(held_out, float | int):
        train, measured = split(
            judgements, held_out=held_out, seed=seed, relatives=relatives
        )
    else:
        train, measured = list(judgements), list(held_out)
        relatives = replace(relatives, near_copies=0, beginnings=0)
    links = links_from(train, likelihood)
    measured = [j for j in measured if type(j) in links]
    judges = _judges(train, likelihood)
    corpus = Corpus.of(train, links, judges)
    held_out_corpus = Corpus.of(measured, links, judges)
    digest = digest_of_items([*train, None, *measured])
    return Division(
        corpus, held_out_corpus, train, measured, likelihood, digest, relatives
    )


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
