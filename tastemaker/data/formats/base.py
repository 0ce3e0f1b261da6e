"""What a published shape is: the columns it is recognised by, and how a row of it becomes judgements."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Judgement
from tastemaker.data.metadata import Metadata
from tastemaker.data.tables import Row
from tastemaker.data.values import answer_of, show, text_of
from tastemaker.errors import DataError


@dataclass(frozen=True)
class Format:
    """One published shape of a row.

    needs: the columns that every row of it has. optional: further ones that it reads.
    judgements: one row, and what it says besides → its judgements; raises DataError for a row that is not as it should
    be. kinds: the kinds of judgement it gives. looks: a row that has the columns → does it hold there what this shape
    does? (Valid or not: one that looks so and is bad is an error of this shape.)
    """

    name: str
    needs: tuple[str, ...]
    judgements: Callable[[Row, Metadata], list[Judgement]]
    kinds: tuple[type[Judgement], ...]
    optional: tuple[str, ...] = ()
    looks: Callable[[Row], bool] = lambda row: True

    def fits(self, row: Row) -> bool:
        """Return whether a row is recognised as one of this shape."""
        return all(row.get(name) is not None for name in self.needs) and self.looks(row)


def instruction_of(row: Row, where: str) -> str:
    """Return `instruction` with `input` under it, as one text; either may be empty, not both."""
    parts = [answer_of(row.get(name) or "", where, name) for name in ("instruction", "input")]
    return text_of("\n\n".join(part for part in parts if part.strip()), where, "instruction")


def list_of(value: Any, where: str, column: str) -> list[Any]:
    """Return the cell as a list. Raises DataError when it is none."""
    if not isinstance(value, list):
        raise DataError(f"{where}: column {column!r} holds {show(value)} where a list belongs.")
    return value


def records_of(value: Any, where: str, column: str) -> list[dict[str, Any]]:
    """Return the cell as a list of objects; an object of equally long lists is one too, as `datasets` gives them."""
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(cells, list) for cells in value.values())
    ):
        value = [
            dict(zip(value, cells, strict=False)) for cells in zip(*value.values(), strict=False)
        ]
    for number, record in enumerate(list_of(value, where, column), 1):
        if not isinstance(record, dict):
            raise DataError(
                f"{where}: item {number} of column {column!r} is {show(record)} where an object belongs."
            )
    return list(value)


def tiers_of(ranked: Iterable[tuple[float, str]]) -> tuple[tuple[str, ...], ...]:
    """Return texts, each with its rank (lower is better), as tiers; gaps between ranks do not matter."""
    tiers: dict[float, list[str]] = {}
    for rank, text in ranked:
        tiers.setdefault(rank, []).append(text)
    return tuple(tuple(tiers[rank]) for rank in sorted(tiers))
