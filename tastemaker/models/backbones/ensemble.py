"""Several backbones that were learned apart: their mean is the score, their disagreement says how sure it is."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.judgements import Example
from tastemaker.errors import ModelError
from tastemaker.models.precision import ScoringWish
from tastemaker.models.scores import Scores

_FOLDER = "member-{}"


class Ensemble:
    """Members with the contract of a backbone, all of one kind. Each is saved whole, in a folder that any loader opens.

    Members learned apart have their own scales: bring each to one (`rescale`) before it joins.
    """

    kind = "ensemble"

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = list(members)
        first = self.members[0]
        self.max_length, self.cut = getattr(first, "max_length", None), getattr(first, "cut", None)
        self.template: str = first.template

    def score(self, examples: Sequence[Example], *, precision: ScoringWish = "float32") -> Scores:
        """Return the members' mean scores, and theirs."""
        found = [member.score(examples, precision=precision) for member in self.members]
        values = np.stack([scores.values for scores in found])
        return Scores(values.mean(0), found[0].truncated, values)

    def rescale(self, offset: float, scale: float) -> float:
        """Fold s ← (s − offset)/scale into every member; return the offset that was folded."""
        return float(np.mean([member.rescale(offset, scale) for member in self.members]))

    def save(self, folder: Path) -> None:
        """Write `member-0`, `member-1` …"""
        for member, own in zip(self.members, self.folders(folder), strict=True):
            own.mkdir()
            member.save(own)

    def folders(self, folder: Path) -> list[Path]:
        """Return the folder of each member."""
        return [folder / _FOLDER.format(number) for number in range(len(self.members))]

    @staticmethod
    def load(folder: Path, members: int, load_member: Callable[[Path], Any]) -> "Ensemble":
        """Return the ensemble that `save` wrote. Raises ModelError where a member's folder is missing."""
        folders = [folder / _FOLDER.format(number) for number in range(members)]
        for own in folders:
            if not own.is_dir():
                raise ModelError(f"{own}: this member of the ensemble is missing. Copy the folder whole again.")
        return Ensemble([load_member(own) for own in folders])

    def describe(self) -> str:
        """Return how many members there are, and of what."""
        return f"{len(self.members)} members, each {self.members[0].describe()}"
