"""Judgements → unique texts and the evidence about them: every text is encoded once, whatever was said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tastemaker.data.judgements import Example, Judgement, example_of
from tastemaker.models.links import Link

Links = Mapping[type[Judgement], Link]


@dataclass(frozen=True)
class Evidence:
    """The judgements of one kind about the texts of a corpus.

    index: int64 [m], which example each judgement is about. targets: [m], what the kind's link made of it.
    """

    index: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Evidence":
        """Return the same evidence on a device."""
        return Evidence(self.index.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Corpus:
    """n unique examples and, by kind, everything that was said about them."""

    examples: list[Example]
    evidence: dict[type[Judgement], Evidence]

    @staticmethod
    def of(judgements: Sequence[Judgement], links: Links) -> "Corpus":
        """Gather judgements by text. Raises DataError where a judgement does not fit its link."""
        numbers: dict[Example, int] = {}
        for judgement in judgements:
            numbers.setdefault(example_of(judgement), len(numbers))
        evidence = {}
        for kind, link in links.items():
            found = [j for j in judgements if type(j) is kind]
            index = torch.tensor([numbers[example_of(j)] for j in found], dtype=torch.long)
            evidence[kind] = Evidence(index, link.targets(found))
        return Corpus(list(numbers), evidence)

    def __len__(self) -> int:
        return len(self.examples)

    def about(self, texts: Sequence[int]) -> dict[type[Judgement], Evidence]:
        """Return the evidence about some texts, indexed by their place among `texts`."""
        found = {}
        for kind, rows in self._rows.items():
            pairs = [(place, row) for place, text in enumerate(texts) for row in rows[text]]
            if pairs:
                index = torch.tensor([place for place, _ in pairs], dtype=torch.long)
                found[kind] = Evidence(index, self.evidence[kind].targets[[row for _, row in pairs]])
        return found

    @cached_property
    def _rows(self) -> dict[type[Judgement], list[list[int]]]:
        """By kind and text, the rows of evidence about that text."""
        table = {}
        for kind, evidence in self.evidence.items():
            rows: list[list[int]] = [[] for _ in self.examples]
            for row, text in enumerate(evidence.index.tolist()):
                rows[text].append(row)
            table[kind] = rows
        return table


def log_likelihood(scores: Tensor, evidence: Mapping[type[Judgement], Evidence], links: Links) -> Tensor:
    """Return the summed log-likelihood of all the evidence, given scores [n] of the corpus's texts."""
    parts = [links[kind].log_likelihood(scores[e.index], e.targets).sum() for kind, e in evidence.items()]
    return torch.stack(parts).sum()
