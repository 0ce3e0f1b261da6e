"""What reading made of a source: the format, the role of each column, and what was left out."""

from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tastemaker.data.judgements import Judgement
from tastemaker.data.prompts import RECOGNISED as PROMPTS
from tastemaker.data.roles import TOGETHER, plain_name, written_by_score
from tastemaker.data.values import (
    LABEL_PAIRS,
    is_missing,
    parse_number,
    show,
    word_count,
    word_of,
)
from tastemaker.errors import DataError
from tastemaker.readable import notebook_html

Head: TypeAlias = "Sequence[dict[str, Any]]"
"""The first rows of a table."""

_JUDGE_WORDS = (
    "annotator annotators judge labeler labeller rater reviewer worker "
    "evaluator assessor"
)
_JUDGES = frozenset(_JUDGE_WORDS.split())
_VALUE_WORDS = (
    "score scores rating ratings grade stars label sentiment class confidence "
    "probability prob helpful helpfulness quality overall vote votes "
    "preference winner"
)
_VALUES = frozenset(_VALUE_WORDS.split())
_VERDICT_WORDS = (
    "verdict decision result outcome good bad correct accepted approved liked "
    "positive safe toxic"
)
_VERDICTS = _VALUES | frozenset(_VERDICT_WORDS.split())
"""Words in the name of a column of yes or no that may judge."""
_GOOD_IN_CHINESE = ("正面", "积极", "好评", "推荐")
_WEIGHTS = frozenset(("weight", "weights"))
_OF_FORMATS = ("prompt", "judge", "weight")
"""Roles of columns that can be named in every format."""
_PROSE = 4
"""Words on average: a column of more is text that somebody wrote."""
_MOST_NOTES = 6


@dataclass
class Layout:
    """How a table is read, filled in while it is: what `ReadAs` reports.

    roles: role → column, or columns with + between them. details: more about a role, such as its
    scale. names: all columns, in order. head: the first rows. notes: what a reader should know.
    by_names: what follows from the names of a row's columns alone, by these.
    left_out: role → why its column was left out. unlabelled: rows without a judgement, by column.
    rows_left_out: how many, by reason. original_names: a column's name here → in the table.
    """

    format: str = "table"
    roles: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    head: Head = ()
    notes: list[str] = field(default_factory=list)
    by_names: dict[tuple[str, ...], Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unlabelled: Counter[str] = field(default_factory=Counter)
    rows_left_out: Counter[str] = field(default_factory=Counter)
    original_names: Mapping[str, str] = field(default_factory=dict)

    def roles_in_table(self) -> dict[str, str]:
        """Return the roles, with the names that the columns have in the table."""
        names = self.original_names
        roles = {}
        for role, columns in self.roles.items():
            parts = columns.split(TOGETHER)
            roles[role] = TOGETHER.join(
                names.get(part, part) for part in parts
            )
        return roles


class _WatchedRow(dict[str, Any]):
    """A row that notes which of its columns are looked at."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.looked_at: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.looked_at.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.looked_at.add(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        self.looked_at.update(super().keys())
        return super().__iter__()

    def items(self) -> Any:
        self.looked_at.update(super().keys())
        return super().items()


def columns_looked_at(
    read: Callable[[dict[str, Any]], object],
    rows: Iterable[Mapping[str, Any]],
) -> set[str]:
    """Return the columns that a function looks at when it reads some rows.

    read: may raise DataError, for the rows that it cannot read.
    """
    columns: set[str] = set()
    for row in rows:
        watched = _WatchedRow(row)
        with suppress(DataError):
            read(watched)
        columns |= watched.looked_at
    return columns


@dataclass(frozen=True)
class ReadAs:
    """What a source was read as.

    source: its name. format: "table", or the name of a published format. roles: role → column.
    details: more about a role, such as its scale. unused: columns that nothing was read from.
    judgements: how many. kinds: how many of each kind. notes: what a reader should know.
    cells: the first filled cell of each unused column. left_out: rows that were left out, by
    reason: "no_judgement", such as a comparison of a text with itself, and "unreadable".
    unlabelled: empty cells, and those that mean that nobody judged, by column.
    """

    source: str
    format: str
    roles: dict[str, str]
    details: dict[str, str]
    unused: tuple[str, ...]
    judgements: int
    kinds: dict[str, int]
    notes: tuple[str, ...] = ()
    cells: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    unlabelled: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "source": self.source,
            "format": self.format,
            "roles": dict(self.roles),
            "details": dict(self.details),
            "unused": list(self.unused),
            "judgements": self.judgements,
            "kinds": dict(self.kinds),
            "notes": list(self.notes),
            "left_out": dict(self.left_out),
            "unlabelled": dict(self.unlabelled),
        }

    def lines(self) -> list[str]:
        """Return the source with what it was read as, then the notes."""
        return [f"{self.source} {self}", *self.notes]

    def _repr_html_(self) -> str:
        """Return each role with its column, for a notebook."""
        rows = [["role", "column", "detail"]]
        for role, column in self.roles.items():
            rows.append([role, column, self.details.get(role, "")])
        sentence = f"{self.judgements:,} judgements from {self.source}"
        return notebook_html([sentence, *self.notes], rows)

    def __str__(self) -> str:
        """Return one line: `read as: text=review_text, grade=stars (1–5); not used: date`."""
        parts = []
        for role, column in self.roles.items():
            detail = self.details.get(role)
            more = f" ({detail})" if detail else ""
            parts.append(f"{role}={column}{more}")
        line = f"read as: {', '.join(parts)}"
        if self.format != "table":
            line += f" (format {self.format})"
        if self.unused:
            line += f"; not used: {', '.join(self.unused)}"
        return " ".join(line.split())


def read_as(
    source: str,
    layout: Layout,
    judgements: Iterable[Judgement],
) -> ReadAs:
    """Return what a source was read as, once its judgements are read."""
    kinds = Counter(judgement.kind for judgement in judgements)
    roles = layout.roles_in_table()
    for role in layout.left_out:
        roles.pop(role, None)
    used = set(layout.used)
    for role in layout.left_out:
        used.discard(layout.roles.get(role, ""))
    unused = tuple(name for name in layout.names if name not in used)
    notes = [*layout.notes, *layout.left_out.values()]
    for column, count in layout.unlabelled.items():
        notes.append(
            f"{count:,} rows are not labelled in column {column!r} and were left out."
        )
    noted = " ".join(notes)
    written = set(written_by_score(layout.names))
    unmentioned = []
    for name in unused:
        if repr(name) not in noted and name not in written:
            unmentioned.append(name)
    # the options of a table's text and judgements are not those of a format
    among = () if layout.format == "table" else _OF_FORMATS
    notes += leftovers(unmentioned, layout.head, roles, among)
    return ReadAs(
        source,
        layout.format,
        roles,
        dict(layout.details),
        tuple(layout.original_names.get(name, name) for name in unused),
        sum(kinds.values()),
        dict(kinds),
        tuple(notes[: _MOST_NOTES + len(layout.notes)]),
        {
            layout.original_names.get(name, name): shown_cell(
                name, layout.head
            )
            for name in unused
        },
        {reason: n for reason, n in layout.rows_left_out.items() if n},
        dict(layout.unlabelled),
    )


def texts_read_as(
    source: str,
    layout: Layout,
) -> ReadAs:
    """Return what a source of texts is read as, once its first rows are read."""
    roles = dict(layout.roles)
    unused = [name for name in layout.names if name not in layout.used]
    notes = [*layout.notes]
    notes += leftovers(unused, layout.head, roles, ("text", "prompt"))
    details = dict(layout.details)
    return ReadAs(
        source,
        layout.format,
        roles,
        details,
        tuple(unused),
        judgements=0,
        kinds={},
        notes=tuple(notes[: _MOST_NOTES + len(layout.notes)]),
        cells={name: shown_cell(name, layout.head) for name in unused},
    )


def leftovers(
    unused: Collection[str],
    head: Head,
    roles: Mapping[str, str],
    among: Collection[str] = (),
) -> list[str]:
    """Return a note for each column that is not used but looks as if it should be.

    among: the roles that a verb reads; none: all.
    """
    notes = []
    for name in unused:
        role = likely_role(name, head)
        if role is None or (among and role not in among):
            continue
        if role == "prompt" and "prompt" in roles:
            both = f"{name}+{roles['prompt']}"
            notes.append(
                f"column {name!r} looks like a prompt and is not used; --prompt-column {both} "
                "reads both."
            )
            continue
        looks = "a text" if role == "text" else f"a {role}"
        options = f"--{role}-column {name}"
        if role == "text":
            options = f"--text-column {name} or --prompt-column {name}"
        notes.append(
            f"column {name!r} looks like {looks} and is not used; {options} reads it."
        )
    return notes


def likely_role(
    name: str,
    head: Head,
) -> str | None:
    """Return the role that a column seems to have, by its name and first cells."""
    cells = [row.get(name) for row in head]
    filled = [cell for cell in cells if not is_missing(cell)]
    plain = plain_name(name)
    words = set(plain.split("_"))
    if not filled or "tastemaker" in words:
        return None
    is_number = all(parse_number(cell) is not None for cell in filled)
    is_text = not is_number and all(isinstance(cell, str) for cell in filled)
    looks_like = {
        "judge": bool(words & _JUDGES),
        "weight": bool(words & _WEIGHTS) and is_number,
        "prompt": plain in PROMPTS and is_text,
        "rating": bool(words & _VALUES) and is_number,
        "label": not is_number and _may_label(words, filled),
        "text": is_text and _words_in(filled) > _PROSE,
    }
    return next((role for role, is_it in looks_like.items() if is_it), None)


def _may_label(
    words: Collection[str],
    cells: Sequence[Any],
) -> bool:
    """Return whether cells are yes or no of a text, by the column's name or by the words."""
    values = {word_of(cell) for cell in cells if isinstance(cell, str | bool)}
    if len(values) != 2 or not all(isinstance(c, str | bool) for c in cells):
        return False
    pairs = [pair for pair in LABEL_PAIRS if values == set(pair)]
    is_plain = values & {"good", "pos", "positive", *_GOOD_IN_CHINESE}
    return bool(pairs) and bool(is_plain or _VERDICTS & {*words})


def _words_in(
    cells: Sequence[Any],
) -> float:
    return sum(word_count(str(cell)) for cell in cells) / len(cells)


def shown_cell(
    name: str,
    head: Head,
) -> str:
    """Return the first filled cell of a column as one short line."""
    for row in head:
        cell = row.get(name)
        if not is_missing(cell):
            return show(cell)
    return "nothing"
