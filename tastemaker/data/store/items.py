"""Items: what is judged. A prompt with 2 to 9 answers, or one text.

They are read from any source of judgements (the verdicts are left out), and from tables that nobody
has judged yet: a list of answers in a column, or columns of answers whose names end in a number.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

from tastemaker.data.chats import completion_from
from tastemaker.data.judgements import (
    MOST_RANKED,
    Example,
    Judgement,
    Message,
    Prompt,
    plain,
)
from tastemaker.data.prompts import PromptColumns, prompt_columns
from tastemaker.data.read_as import ReadAs
from tastemaker.data.reading import open_source, read, read_examples
from tastemaker.data.roles import (
    TOGETHER,
    Columns,
    described_source,
    plain_name,
)
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import is_missing
from tastemaker.errors import DataError, UsageError

MOST_ANSWERS = 9
"""Answers of one item: as many as there are digits on the keyboard."""
MOST_CHARACTERS = 2_000_000
"""Characters of one item, prompt included."""
ASKS = ("rank", "label", "grade", "rate")
"""What is asked of an item: an order of its answers; of one text yes or no, a step, a number."""

_LISTS = {
    "answers",
    "responses",
    "completions",
    "candidates",
    "outputs",
    "texts",
}
_ANSWER = re.compile(
    r"(?:response|answer|completion|output|reply|candidate|option|model|text)"
    r"(?:_?text)?_?([a-i]|\d+)"
)
_HEAD = 100


@dataclass(frozen=True)
class Item:
    """A prompt and what is judged: several texts to be ranked, or one.

    ask: one of `ASKS`. source: the name of the file it came from. expected: the answer of an item
    for calibration, as it is saved: {"tiers": [[0], [1]]} or {"value": 5}. writers: who wrote each
    of the texts, such as the names of policies; () where unknown. Judges never see it.
    is_closed: never shown; it holds judgements that were made elsewhere, of any number of texts.
    """

    texts: tuple[str, ...]
    prompt: Prompt | None = None
    ask: str = "rank"
    source: str = ""
    expected: dict[str, Any] | None = None
    writers: tuple[str, ...] = ()
    is_closed: bool = False

    def __post_init__(self) -> None:
        count = len(self.texts)
        if self.ask not in ASKS:
            raise UsageError(f"ask {self.ask!r}: choose {', '.join(ASKS)}.")
        most = MOST_RANKED if self.is_closed else MOST_ANSWERS
        if self.ask == "rank" and not 2 <= count <= most:
            raise DataError(
                f"an item of {count} answers; 2 to {most} can be ranked."
            )
        if self.ask != "rank" and count != 1:
            raise DataError(
                f"an item of {count} texts to {self.ask}; it takes one."
            )
        if len(set(self.texts)) < count or not all(map(str.strip, self.texts)):
            raise DataError(
                "an item with an empty text, or a text that comes twice."
            )
        if self.writers and len(self.writers) != count:
            raise UsageError(
                f"{len(self.writers)} writers of {count} texts: name one of each."
            )
        length = sum(map(len, self.texts)) + len(plain(self.prompt or ""))
        if length > MOST_CHARACTERS:
            raise DataError(
                f"an item of {length:,} characters; at most {MOST_CHARACTERS:,} can be shown."
            )

    @property
    def digest(self) -> str:
        """The identity: equal for equal question, prompt and set of texts."""
        content = json.dumps(
            [self.ask, prompt_cell(self.prompt), sorted(self.texts)]
        )
        return blake2b(
            content.encode("utf-8", "replace"), digest_size=20
        ).hexdigest()


def prompt_cell(prompt: Prompt | None) -> Any:
    """Return a prompt as JSON holds it."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    return [list(turn) for turn in prompt]


def prompt_of(cell: Any) -> Prompt | None:
    """Return the prompt of what `prompt_cell` returned."""
    if cell is None or isinstance(cell, str):
        return cell
    return tuple(Message(*turn) for turn in cell)


def item_row(item: Item, wanted: int, lot: float) -> dict[str, Any]:
    """Return the row of a new item. lot: its place in the random order, 0 to 1."""
    # items for calibration have a place of their own in the plan, closed ones have none
    if item.expected is not None or item.is_closed:
        wanted = 0
    prompt = prompt_cell(item.prompt)
    return {
        "digest": item.digest,
        "ask": item.ask,
        "prompt": None
        if prompt is None
        else json.dumps(prompt, ensure_ascii=False),
        "texts": json.dumps(item.texts, ensure_ascii=False),
        "source": item.source,
        "lot": lot,
        "wanted": wanted,
        "judged": 0,
        "expected": None
        if item.expected is None
        else json.dumps(item.expected),
        "writers": json.dumps(item.writers, ensure_ascii=False)
        if item.writers
        else None,
    }


def read_items(
    source: Any,
    *,
    ask: str | None = None,
    columns: Columns | None = None,
    format: str | None = None,
    left_out: list[str] | None = None,
    report: list[ReadAs] | None = None,
) -> list[Item]:
    """Return the items of a source; the arguments are those of `tm.read`.

    ask: what to ask of single texts: label, grade (the default) or rate. Texts that answer the same
    prompt are one item, unless the source compares them pair by pair. left_out: takes the reasons
    of items that cannot be shown. report: takes what the source was read as. Raises DataError where
    nothing is left.
    """
    path, named, others = described_source(source, columns)
    format = others.get("format", format)
    problems: list[str] = [] if left_out is None else left_out
    groups = None
    if format is None:
        groups = _of_columns(path, named, others.get("split"), report)
    name = getattr(path, "name", None) or str(path).rpartition("/")[2]
    try:
        if groups is None:
            groups = _of_judgements(source, columns, format, report)
        items = list(_items(groups, ask, name, problems))
    except DataError as error:
        # the options of other verbs that the error names stand behind the file here
        raise DataError(
            f"{error} Of items, columns are named behind the file: "
            f"{name}:prompt=question,answers=a+b."
        ) from error
    if not items:
        reason = problems[0] if problems else "no rows in it"
        raise DataError(f"{name}: nothing to judge: {reason}")
    return items


def calibration_items(
    source: Any,
    *,
    scale: tuple[int, int] = (1, 7),
    report: list[ReadAs] | None = None,
) -> list[Item]:
    """Return the judgements of a source as items whose answers are known.

    report: a list that takes what the source was read as.
    """
    items: dict[str, Item] = {}
    for judgement in read(source, report=report):
        item = _with_answer(judgement, scale)
        items.setdefault(item.digest, item)
    return list(items.values())


ASK_OF = {"label": "label", "grade": "grade", "rating": "rate"}


def _with_answer(judgement: Judgement, scale: tuple[int, int]) -> Item:
    """Return a judgement as a calibration item. Raises DataError for a grade of another scale."""
    if not judgement.ranks:
        value = judgement.details[0]
        if judgement.scale not in (None, scale):
            raise judgement.wrong(
                f"a grade of the scale {judgement.scale}; the page asks for {scale}."
            )
        ask = ASK_OF[judgement.kind]
        return Item(
            judgement.texts, judgement.prompt, ask, expected={"value": value}
        )
    tiers: dict[int, list[int]] = {}
    for number, rank in enumerate(judgement.ranks):
        if rank != judgement.unordered_rank:
            tiers.setdefault(rank, []).append(number)
    expected = {"tiers": [tiers[rank] for rank in sorted(tiers)]}
    return Item(judgement.texts, judgement.prompt, expected=expected)


_Group = tuple[Prompt | None, Sequence[str]]


def _items(
    groups: Iterable[_Group], ask: str | None, source: str, problems: list[str]
) -> Iterator[Item]:
    for number, (prompt, texts) in enumerate(groups, 1):
        different = list(dict.fromkeys(text for text in texts if text.strip()))
        for part in _parts(different):
            question = "rank" if len(part) > 1 else ask or "grade"
            if question == "rank" and len(part) == 1:
                problems.append(
                    f"item {number} has one answer, so it has no order."
                )
                continue
            try:
                yield Item(tuple(part), prompt, question, source)
            except DataError as error:
                problems.append(f"item {number}: {error}")


def _parts(texts: list[str]) -> Iterator[list[str]]:
    """Divide many answers into equal parts of at most nine."""
    parts = max(1, -(-len(texts) // MOST_ANSWERS))
    for part in range(parts):
        if chosen := texts[part::parts]:
            yield chosen


def _of_columns(
    path: Any,
    columns: Columns,
    split: str | None,
    report: list[ReadAs] | None,
) -> list[_Group] | None:
    """Return the groups of a table with a list of answers or columns of answers; None of others."""
    opened = open_source(path, split, columns.header)
    if not isinstance(opened, Table):
        return None
    head = [row for _, row in islice(opened.rows(), _HEAD)]
    names = list(dict.fromkeys(name for row in head for name in row))
    columns = columns.with_table_spelling(names)
    answers = columns.answers or _answer_columns(names, head)
    lists = [] if answers else _list_columns(names, head)
    if not answers and len(lists) != 1:
        return None
    used = {*answers, *lists}
    prompts = prompt_columns(names, used, head, columns)
    groups: list[_Group] = []
    for number, row in opened.rows():
        where = opened.place(number)
        texts = _texts(row, answers, lists, where)
        groups.append((_prompt(prompts, row, where), texts))
    if report is not None:
        roles = {"prompt": str(prompts)} if prompts.names else {}
        roles |= prompts.roles | {"answers": TOGETHER.join([*answers, *lists])}
        unused = [name for name in names if name not in {*used, *prompts.all}]
        kinds = {"item": len(groups)}
        read_as = ReadAs(
            opened.name, "answers", roles, {}, tuple(unused), 0, kinds
        )
        report.append(read_as)
    return groups


def _prompt(prompts: PromptColumns, row: Row, where: str) -> Prompt | None:
    return prompts.read(row, where) if prompts.names else None


def _texts(
    row: Row, answers: Sequence[str], lists: Sequence[str], where: str
) -> list[str]:
    if lists:
        cells = row.get(lists[0]) or []
        return [_text(cell, where, lists[0]) for cell in cells]
    texts = []
    for name in answers:
        if not is_missing(row.get(name)):
            texts.append(completion_from(row[name], where, name))
    return texts


def _text(cell: Any, where: str, column: str) -> str:
    """Return an answer of a list: a text, a message, or an object with a text."""
    if isinstance(cell, dict) and "role" not in cell:
        for name in ("text", "content", "answer", "response", "completion"):
            if isinstance(cell.get(name), str):
                return str(cell[name])
    return completion_from(cell, where, column)


def _answer_columns(
    names: Sequence[str], head: Sequence[Row]
) -> tuple[str, ...]:
    """Return the columns of texts whose names differ in a letter or number."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain_form = plain_name(name)
        match = _ANSWER.fullmatch(plain_form)
        if match and any(
            isinstance(row.get(name), str | list) for row in head
        ):
            groups.setdefault(plain_form[: match.start(1)], []).append(name)
    several = [group for group in groups.values() if len(group) > 1]
    return tuple(several[0]) if len(several) == 1 else ()


def _list_columns(names: Sequence[str], head: Sequence[Row]) -> list[str]:
    chosen = []
    for name in names:
        cells = [row.get(name) for row in head]
        if plain_name(name) in _LISTS and any(
            isinstance(cell, list) and len(cell) > 1 for cell in cells
        ):
            chosen.append(name)
    return chosen


def _of_judgements(
    source: Any,
    columns: Columns | None,
    format: str | None,
    report: list[ReadAs] | None,
) -> list[_Group]:
    """Return the groups of a source of judgements, or of texts that nobody judged."""
    try:
        judgements = read(
            source, columns=columns, format=format, report=report
        )
    except DataError as problem:
        try:
            examples = read_examples(
                source, columns=columns, format=format, report=report
            )
        except DataError:
            raise problem from None
        return _grouped(examples)
    compared = [each for each in judgements if each.ranks]
    single = [each for each in judgements if not each.ranks]
    groups = {_identity(each): (each.prompt, each.texts) for each in compared}
    return [*groups.values(), *_grouped(each.examples[0] for each in single)]


def _identity(judgement: Judgement) -> tuple[Any, ...]:
    return judgement.prompt, tuple(sorted(judgement.texts))


def _grouped(examples: Iterable[Example]) -> list[_Group]:
    """Return the texts of each prompt together; a text without a prompt stands alone."""
    groups: dict[Any, tuple[Prompt | None, list[str]]] = {}
    for example in examples:
        key = ("prompt", example.prompt)
        if example.prompt is None:
            key = ("text", example.text)
        groups.setdefault(key, (example.prompt, []))[1].append(example.text)
    return list(groups.values())
