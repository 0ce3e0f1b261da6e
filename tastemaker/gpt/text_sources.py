"""The documents that a GPT is trained on, read one after the other from any source.

| source | its documents |
|---|---|
| whatever `read` opens | the texts with their prompts; of texts judged together only the best |
| a table with a column `messages` | the assistant's turns; the prompt is the turns before each |
| .txt .text .md (also .gz) | whole files, paragraphs or lines |
| a folder of such files, and of folders of them | the same, file by file in the order of names |
| `playground`, `playground:zh`, `playground:mixed:20000` | reviews; 40,000 by default |

Memory does not grow with the source, with two exceptions: a split of aclImdb is held in memory, and
the playground remembers the reviews that it has written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, TypeAlias, cast

from tastemaker.data import sources as aclimdb
from tastemaker.data import sources as hub
from tastemaker.data import tables
from tastemaker.data import texts as plain
from tastemaker.data.answers import Answers, answers_plan
from tastemaker.data.chats import completion_from, messages_of, with_chat
from tastemaker.data.columns import RECOGNISED, plan
from tastemaker.data.first_rows import first_plain_rows
from tastemaker.data.formats import table_format
from tastemaker.data.judgements import Example, Message, Prompt
from tastemaker.data.packed import unpacked_name
from tastemaker.data.prompts import PromptColumns
from tastemaker.data.read_as import Layout, ReadAs, texts_read_as
from tastemaker.data.reading import check_no_format, open_source
from tastemaker.data.recognising import Reading, recognise
from tastemaker.data.roles import Columns, column_for, described_source
from tastemaker.data.source_names import distinct_names
from tastemaker.data.tables import Row, Table
from tastemaker.data.texts import Each
from tastemaker.data.values import text_of
from tastemaker.errors import DataError, UsageError
from tastemaker.playground.writing import Language, reviews

ACLIMDB_SPLIT = "train+unsup"
"""The splits of aclImdb that are read by default: all that are not for testing."""

PLAYGROUND_REVIEWS = 40_000
"""How many reviews the playground writes by default."""

_PLAYGROUND = "playground"
_CHATS = ("messages",)
_NOTES = ("readme", "license", "licence")  # beside tables, notes about them
_Skipped: TypeAlias = list[DataError] | None
_Report: TypeAlias = Callable[[str, Layout], None]
"""Takes the name of a source and its layout, once the first rows are read."""


def documents(
    source: str | Path,
    *,
    split: str | None = None,
    columns: Columns | None = None,
    format: str | None = None,
    each: Each = "file",
    skip_bad: list[DataError] | None = None,
    name: str | None = None,
    report: Callable[[ReadAs], None] | None = None,
) -> Iterator[Example]:
    """Return an iterator over the documents of a source, in its order.

    The source is opened at once and read lazily. source: see the table at the top of this file;
    columns may follow a path, as for `read`; a file called playground is that file. split: of a
    source with splits, one or several joined by "+"; by default "train", for aclImdb "train+unsup".
    columns, format: those of `read`, for tables. each: one document of a text file, "file",
    "paragraph" or "line"; a longer one is cut. skip_bad: a list that gets the errors
    of unreadable rows, which are then left out. name: what a table is called in messages. report:
    is called with what the source is read as, when the first text is asked for. Raises DataError,
    one line with file and row or line, when it reaches bad input, and at the end of a source
    without a text; UsageError for an unknown split, format or `each`.
    """
    if each not in plain.EACH:
        raise UsageError(
            f"each {each!r}: one document is a {', a '.join(plain.EACH)}."
        )
    source, columns, settings = described_source(source, columns)
    split, format = (
        settings.get("split", split),
        settings.get("format", format),
    )
    format_of_table = table_format(columns, format)
    before = len(skip_bad or ())

    def report_part(default: str, layout: Layout) -> None:
        if report is not None:
            report(texts_read_as(name or default, layout))

    examples = _without_splits(source, split, format, each)
    if examples is not None:
        examples = _reported(examples, str(source), each, report_part)
    else:
        examples = chain.from_iterable(
            _of_part(part, columns, format_of_table, skip_bad, report_part)
            for part in _named(_parts(source, split, format, columns), name)
        )
    return _never_empty(examples, str(source), skip_bad, before)


def _named(
    parts: Sequence[Table | tuple[Path, str]], name: str | None
) -> list[Table | tuple[Path, str]]:
    """Return the parts of a source, its tables under another name if there is one."""
    named: list[Table | tuple[Path, str]] = []
    for part in parts:
        if name is not None and isinstance(part, Table):
            named.append(replace(part, name=name))
        else:
            named.append(part)
    return named


def _reported(
    examples: Iterator[Example], source: str, each: Each, report: _Report
) -> Iterator[Example]:
    """Report what the playground or text files are read as; then yield their texts."""
    if _is_playground(source):
        report(source, Layout(_PLAYGROUND, {"text": "reviews"}))
    else:
        article = "the" if each == "file" else "each"
        report(
            Path(source).name, Layout("text", {"text": f"{article} {each}"})
        )
    yield from examples


def _never_empty(
    examples: Iterator[Example], name: str, skipped: _Skipped, before: int
) -> Iterator[Example]:
    """Yield the examples. Raises DataError at the end if there was none.

    before: the length of `skipped` when the source was opened.
    """
    has_any = False
    for example in examples:
        has_any = True
        yield example
    if not has_any and skipped is not None and len(skipped) > before:
        raise DataError(
            f"{name}: not one of {len(skipped) - before} rows can be read; {skipped[before]}"
        )
    if not has_any:
        raise DataError(f"{name}: no text in it.")


# --- texts outside tables


def _without_splits(
    source: str | Path, split: str | None, format: str | None, each: Each
) -> Iterator[Example] | None:
    """Return the documents of the playground and of text files; None for any other source."""
    path = Path(source)
    if _is_playground(source):
        texts = _written(str(source))
    elif path.is_dir() and _is_folder_of_texts(path):
        texts = chain.from_iterable(
            plain.documents(file, each)
            for file in plain.files(path)
            if plain.is_plain(file)
        )
    elif plain.is_plain(path) and not path.is_dir():
        if not path.exists():
            raise DataError(f"{path}: no such file.")
        texts = plain.documents(path, each)
    else:
        return None
    if split is not None:
        raise UsageError(
            f"{source}: texts have no splits, so there is no {split!r} among them. "
            "Leave out the split."
        )
    if format is not None:
        raise UsageError(
            f"{source}: texts are no table of the format {format!r}. Leave out the format."
        )
    return map(Example, texts)


def _is_playground(source: str | Path) -> bool:
    name, _, _ = str(source).partition(":")
    return name == _PLAYGROUND and not Path(source).exists()


def _written(name: str) -> Iterator[str]:
    """Yield the playground's reviews that a name such as "playground:zh:500" asks for."""
    language, _, number = (
        name.removeprefix(_PLAYGROUND).removeprefix(":").partition(":")
    )
    if number and not (number.isascii() and number.isdigit() and int(number)):
        raise UsageError(
            f"{name}: {number!r} is no number of reviews. Write it as playground:en:20000."
        )
    # `reviews` says which languages there are
    return iter(
        reviews(
            int(number or PLAYGROUND_REVIEWS),
            language=cast(Language, language or "en"),
        )
    )


def _is_table(path: Path) -> bool:
    return Path(unpacked_name(path)).suffix in tables.SUFFIXES


def _is_folder_of_texts(folder: Path) -> bool:
    """Return whether a folder holds text files. Raises DataError for tables too, or neither."""
    if any(
        map(aclimdb.is_aclimdb, (folder, folder / "aclImdb"))
    ) or hub.is_saved(folder):
        return False
    table = next(filter(_is_table, plain.files(folder)), None)
    texts = (
        file
        for file in plain.files(folder)
        if plain.is_plain(file) and not (table and _is_note(file))
    )
    text = next(texts, None)
    if text and table:
        names = f"the text {text.relative_to(folder)} and the table {table.relative_to(folder)}"
        raise DataError(
            f"{folder}: both texts and tables in it ({names}). Keep them in folders of their own."
        )
    if not text and not table:
        ends = ", ".join((*plain.SUFFIXES, *tables.SUFFIXES))
        raise DataError(
            f"{folder}: no text in it. The texts and tables of a folder end in {ends}."
        )
    return text is not None


def _is_note(path: Path) -> bool:
    return path.name.lower().split(".")[0] in _NOTES


# --- sources that `read` opens


def _parts(
    source: str | Path, split: str | None, format: str | None, columns: Columns
) -> list[Table | tuple[Path, str]]:
    """Open the splits of a source."""
    path = Path(source)
    if path.is_file() and not aclimdb.is_aclimdb(path) and not _is_table(path):
        texts = ", ".join(plain.SUFFIXES)
        ends = ", ".join(tables.SUFFIXES)
        raise DataError(
            f"{path}: what kind of file is this? Texts end in {texts}, tables in {ends}."
        )
    names = split.split("+") if split is not None else [None]
    if "" in names:
        raise UsageError(
            f"split {split!r}: a name is missing. Several are written as train+test."
        )
    parts = [open_source(source, name, columns.header) for name in names]
    first = parts[0]
    if isinstance(first, Table):
        return parts
    folder = first[0]
    check_no_format(folder, format)
    splits = (split or ACLIMDB_SPLIT).split("+")
    for name in splits:  # before the first is read, which takes a while
        if name not in aclimdb.SPLITS:
            raise DataError(
                f"{folder}: no split {name!r}; aclImdb has {', '.join(aclimdb.SPLITS)}."
            )
    return [(folder, name) for name in splits]


def _of_part(
    part: Table | tuple[Path, str],
    columns: Columns,
    format: str | None,
    skipped: _Skipped,
    report: _Report,
) -> Iterator[Example]:
    if not isinstance(part, Table):
        folder, split = part
        roles = {"text": "the file"}
        report(f"{folder.name}[{split}]", Layout("aclimdb", roles))
        yield from (review.example() for review in aclimdb.reviews(*part))
        return
    past_bad = skipped is not None
    reading = recognise(part, format, columns, past_bad=past_bad)
    if reading is None:
        yield from _of_rows(part, columns, skipped, report)
        return
    report(part.name, reading.layout)
    yield from _best_of(reading, skipped)


def _best_of(
    reading: Reading | Answers, skipped: _Skipped
) -> Iterator[Example]:
    """Yield the texts of each row that are best by all of its judgements together."""
    judged = reading.judgements(skipped)
    for _, judgements in groupby(
        judged, key=lambda judgement: judgement.where
    ):
        # A text's lead: the judgements that it is best by, less those that it is not.
        lead: dict[Example, int] = {}
        for judgement in judgements:
            best = judgement.best
            for text in judgement.texts:
                example = Example(text, judgement.prompt)
                lead[example] = lead.get(example, 0) + (
                    1 if text in best else -1
                )
        furthest = max(lead.values())
        yield from (
            example for example, led in lead.items() if led == furthest
        )


def _of_rows(
    table: Table, columns: Columns, skipped: _Skipped, report: _Report
) -> Iterator[Example]:
    """Yield the texts of a table with a text column, or of chats."""
    past_bad = skipped is not None
    head = first_plain_rows(table, past_bad)
    names = list(dict.fromkeys(name for row in head for name in row))
    chats = None if columns.text else column_for(_CHATS, names, ())
    if chats is not None and column_for(RECOGNISED["text"], names, ()) is None:
        # A column `prompt` beside chats repeats their first turns: it is read only if named.
        text = chats
        named = columns.name_of("prompt")
        prompts = PromptColumns((named,) if named else ())
        layout = Layout(names=dict.fromkeys(names), head=head)
        layout.roles = {"prompt": named} if named else {}
        layout.roles["text"] = text
        layout.details["text"] = "the assistant's turns"
        layout.used = frozenset(layout.roles.values())
        report(table.name, layout)
    else:
        answers = answers_plan(table, columns, past_bad=past_bad)
        if answers is not None:
            report(table.name, answers.layout)
            yield from _best_of(answers, skipped)
            return
        planned = plan(table, columns, judged=False, past_bad=past_bad)
        text = planned.text
        prompts = planned.prompts
        report(table.name, planned.layout)
    for number, row in table.rows_past(skipped):
        try:
            examples = _of_row(row, text, prompts, table.place(number))
        except DataError as error:
            if skipped is None:
                raise
            skipped.append(error)
        else:
            yield from examples


def _of_row(
    row: Row, text: str, prompts: PromptColumns, where: str
) -> list[Example]:
    """Return the texts of a row. text, prompts: its columns."""
    question = prompts.read(row, where) if prompts.names else None
    answer = with_chat(row.get(text))
    if isinstance(answer, list) and not isinstance(question, str):
        turns = messages_of(answer, where, text)
        return _answers(question or (), turns, where, text)
    completion = completion_from(answer, where, text)
    return [Example(text_of(completion, where, text), question)]


def _answers(
    before: tuple[Message, ...],
    turns: tuple[Message, ...],
    where: str,
    column: str,
) -> list[Example]:
    """Return the assistant's turns, each with all turns before it as its prompt."""
    examples = []
    for place, turn in enumerate(turns):
        if turn.role == "assistant":
            prompt: Prompt | None = (*before, *turns[:place]) or None
            text = text_of(
                turn.content, where, f"{column}, message {place + 1}"
            )
            examples.append(Example(text, prompt))
    if not examples:
        raise DataError(
            f"{where}: no turn of an assistant in column {column!r}. Remove the row."
        )
    return examples


@dataclass(frozen=True)
class Documents:
    """The documents of several sources, one source after the other. Can be read repeatedly.

    The settings are those of `documents`. leave_out_bad: rows that cannot be read are left out;
    `bad` holds their errors after each reading. limit: how many documents to read, the first ones.
    read_as: what each source is read as, once it is opened for the first time; say_read_as is
    then called with it.
    """

    sources: Sequence[str | Path]
    split: str | None = None
    columns: Columns | None = None
    format: str | None = None
    each: Each = "file"
    leave_out_bad: bool = False
    limit: int | None = None
    bad: list[DataError] = field(default_factory=list, compare=False)
    read_as: list[ReadAs] = field(default_factory=list, compare=False)
    say_read_as: Callable[[ReadAs], None] | None = field(
        default=None, compare=False
    )

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError(
                "no source of documents was named. Give a file, a folder, a hub name or playground."
            )
        if self.limit is not None and self.limit < 1:
            raise UsageError(
                f"limit {self.limit}: it is a number of documents, 1 or more."
            )

    def __iter__(self) -> Iterator[Example]:
        self.bad.clear()
        return islice(
            chain.from_iterable(self._of(source) for source in self.sources),
            self.limit,
        )

    @cached_property
    def _names(self) -> dict[Any, str]:
        return distinct_names(self.sources)

    def _of(self, source: str | Path) -> Iterator[Example]:
        return documents(
            source,
            split=self.split,
            columns=self.columns,
            format=self.format,
            each=self.each,
            skip_bad=self.bad if self.leave_out_bad else None,
            name=self._names.get(source),
            report=self._report,
        )

    def first_read_as(self) -> list[ReadAs]:
        """Return what the sources are read as; where nothing was read, from their first texts."""
        if not self.read_as:
            for source in self.sources:
                next(self._of(source))
        return self.read_as

    def _report(self, read_as: ReadAs) -> None:
        if read_as in self.read_as:
            return
        self.read_as.append(read_as)
        if self.say_read_as is not None:
            self.say_read_as(read_as)

    def describe(self) -> dict[str, object]:
        """Return the settings, and the sources with their sizes.

        Two readings with the same description are of the same documents.
        """
        description: dict[str, object] = {}
        for each in fields(self):
            if each.compare:
                description[each.name] = getattr(self, each.name)
        if self.columns is not None:
            description["columns"] = asdict(self.columns)
        description["sources"] = [
            [str(s), _size(Path(described_source(s)[0]))] for s in self.sources
        ]
        return description


def _size(path: Path) -> int | None:
    """Return the bytes of a file, or of all files of a folder; None for another source."""
    if path.is_dir():
        files = filter(Path.is_file, path.rglob("*"))
        return sum(file.stat().st_size for file in files)
    return path.stat().st_size if path.is_file() else None
