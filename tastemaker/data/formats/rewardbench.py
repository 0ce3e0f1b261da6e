"""RewardBench 2: for every prompt, completions that are right and completions that are wrong."""

from collections.abc import Iterator
from typing import NamedTuple

from tastemaker.data.formats.base import Format, list_of
from tastemaker.data.judgements import Judgement, Prompt, Ranking
from tastemaker.data.metadata import Metadata
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import completion_from, is_messages, is_missing, prompt_from, text_of
from tastemaker.errors import DataError


class Item(NamedTuple):
    """One row: all completions in `chosen` are right and all in `rejected` wrong; subset "" and id "": not said."""

    prompt: Prompt
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str
    id: str


def items(table: Table) -> Iterator[Item]:
    """Yield the rows of a table as items. Raises DataError, naming the row, at the first that is none."""
    for number, row in table.rows():
        yield item_of(row, table.place(number))


def item_of(row: Row, where: str) -> Item:
    """Return a row as an item. Raises DataError, naming `where`, for a row that is none."""
    prompt = prompt_from(row.get("prompt"), where, "prompt")
    if prompt is None:
        raise DataError(f"{where}: no text in column 'prompt'. Fill it in or remove the row.")
    chosen, rejected = (_completions(row, name, where) for name in ("chosen", "rejected"))
    subset = "" if is_missing(row.get("subset")) else text_of(row["subset"], where, "subset")
    name = "" if is_missing(row.get("id")) else str(row["id"])
    return Item(prompt, chosen, rejected, subset, name)


def _completions(row: Row, column: str, where: str) -> tuple[str, ...]:
    texts = tuple(
        completion_from(text, where, column) for text in list_of(row.get(column), where, column)
    )
    if not texts:
        raise DataError(
            f"{where}: no completion in column {column!r}. Fill it in or remove the row."
        )
    return texts


def is_item(row: Row) -> bool:
    """Return whether a row that has the columns holds lists of completions there, not the turns of dialogues."""
    sides = row["chosen"], row["rejected"]
    return all(isinstance(side, list) for side in sides) and not any(map(is_messages, sides))


def _rewardbench(row: Row, metadata: Metadata) -> list[Judgement]:
    item = item_of(row, metadata["where"])
    of: Metadata = {**metadata, "source": item.subset or metadata["source"]}
    return [Ranking((item.chosen,), item.rejected, prompt=item.prompt, **of)]


REWARDBENCH = Format(
    "rewardbench",
    ("prompt", "chosen", "rejected"),
    _rewardbench,
    (Ranking,),
    ("subset", "id"),
    looks=is_item,
)
