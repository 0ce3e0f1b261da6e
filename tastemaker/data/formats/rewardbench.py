"""RewardBench 2: for every prompt, completions that are right and completions that are wrong."""

from collections.abc import Iterator
from typing import NamedTuple

from tastemaker.data.formats import Format, list_of, register_format
from tastemaker.data.judgements import Judgement, Prompt, Ranking
from tastemaker.data.tables import Metadata, Row, Table
from tastemaker.data.values import (
    completion_from,
    empty_cell,
    is_messages,
    is_missing,
    prompt_from,
    text_of,
)


class Item(NamedTuple):
    """One row. chosen: right completions; rejected: wrong ones. subset, id: may be ""."""

    prompt: Prompt
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str
    id: str


def items(table: Table) -> Iterator[Item]:
    """Yield the rows of a table as items. Raises DataError at the first bad row."""
    for number, row in table.rows():
        yield _item(row, table.place(number))


def _item(row: Row, where: str) -> Item:
    prompt = prompt_from(row.get("prompt"), where, "prompt")
    if prompt is None:
        raise empty_cell(where, "prompt", "text")
    chosen = _completions(row, "chosen", where)
    rejected = _completions(row, "rejected", where)
    subset = identity = ""
    if not is_missing(row.get("subset")):
        subset = text_of(row["subset"], where, "subset")
    if not is_missing(row.get("id")):
        identity = str(row["id"])
    return Item(prompt, chosen, rejected, subset, identity)


def _completions(row: Row, column: str, where: str) -> tuple[str, ...]:
    cells = list_of(row.get(column), where, column)
    if not cells:
        raise empty_cell(where, column, "completion")
    return tuple(completion_from(cell, where, column) for cell in cells)


def _matches(row: Row) -> bool:
    """Return whether both columns hold lists of completions, not the turns of one dialogue."""
    sides = (row["chosen"], row["rejected"])
    return all(isinstance(side, list) and not is_messages(side) for side in sides)


def _rewardbench(row: Row, metadata: Metadata) -> list[Judgement]:
    item = _item(row, metadata["where"])
    of_subset: Metadata = {**metadata, "source": item.subset or metadata["source"]}
    return [Ranking((item.chosen,), item.rejected, prompt=item.prompt, **of_subset)]


register_format(
    Format(
        "rewardbench",
        ("prompt", "chosen", "rejected"),
        _rewardbench,
        (Ranking,),
        optional=("subset", "id"),
        matches=_matches,
    )
)
