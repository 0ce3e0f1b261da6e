"""How the verbs read their sources: the options, and what is said of what was read."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import click

from tastemaker.cli import options as o
from tastemaker.settings import scale_of

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Reading:
    """How a verb reads its sources. read_as: takes what each was read as."""

    target: str | None = None
    seed: int = 0
    limit: int | None = None
    split: str | None = None
    format: str | None = None
    text_column: str | None = None
    prompt_column: str | None = None
    system_column: str | None = None
    label_column: str | None = None
    grade_column: str | None = None
    rating_column: str | None = None
    judge_column: str | None = None
    time_column: str | None = None
    weight_column: str | None = None
    positive: str | None = None
    scale: tuple[int, int] | None = None
    order: str | None = None
    answers: str | None = None
    better: str | None = None
    first: str | None = None
    second: str | None = None
    tie: str | None = None
    header: str | None = None
    read_as: list[Any] = field(default_factory=list, compare=False)

    @property
    def columns(self) -> Any:
        """The columns that were named."""
        from tastemaker.data.roles import Columns

        columns = {}
        for each in fields(Columns):
            name = each.name
            value = getattr(self, f"{name}_column", None)
            value = getattr(self, name, value)
            if value is not None:
                columns[name] = value
        return Columns(**columns)

    def judgements(
        self,
        sources: Sequence[str],
        skipped: list[Any] | None = None,
        *,
        among: Sequence[str] = (),
    ) -> list[Any]:
        """Return the judgements of all sources. Rows that cannot be read go to `skipped`.

        among: all sources of the command; two files of one name are told apart by their folders.
        """
        import tastemaker as tm
        from tastemaker.data.source_names import distinct_names

        names = distinct_names(among or sources)
        judgements: list[Any] = []
        for source in sources:
            judgements += tm.read(
                source,
                name=names.get(source),
                target=self.target,  # type: ignore[arg-type]
                limit=self.limit,
                seed=self.seed,
                format=self.format,
                split=self.split,
                columns=self.columns,
                skip_bad=skipped,
                report=self.read_as,
            )
        return judgements

    def judgements_with_notes(
        self,
        sources: Sequence[str],
        skipped: list[Any] | None,
        *,
        json: bool,
        quiet: bool,
    ) -> list[Any]:
        """Return the judgements of all sources; print what they were read as, and bad rows.

        skipped: takes the errors of bad rows; None: the first one is raised.
        """
        judgements = self.judgements(sources, skipped)
        self.say(json=json, quiet=quiet)
        o.note_skipped(skipped or [], quiet=quiet)
        return judgements

    def say(
        self,
        *,
        json: bool,
        quiet: bool,
    ) -> None:
        """Print on stderr what each source was read as; with --json that is in the object."""
        say_one = sayer(self.read_as, json=json, quiet=quiet)
        for each in self.read_as:
            say_one(each)

    def as_list(self) -> list[dict[str, Any]]:
        """Return what each source was read as, for JSON."""
        return as_list(self.read_as)


def sayer(
    sources: Sequence[Any],
    *,
    json: bool,
    quiet: bool,
) -> Callable[[Any], None]:
    """Return a function that prints on stderr what one of some sources was read as."""

    def say_one(each: Any) -> None:
        name = f"{each.source} " if len(sources) > 1 else ""
        o.note(f"{name}{each}", quiet=json or quiet)
        for line in each.notes:
            o.note(f"  note: {line}", quiet=json or quiet)

    return say_one


def collector(
    read_as: list[Any], *, json: bool, quiet: bool
) -> Callable[[Any], None]:
    """Return a function that prints what one source was read as, and adds it to a list."""
    say_one = sayer([], json=json, quiet=quiet)

    def collect(each: Any) -> None:
        read_as.append(each)
        say_one(each)

    return collect


def as_list(read_as: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what each source was read as, for JSON."""
    return [each.as_dict() for each in read_as]


def _column(
    role: str,
    what: str,
) -> Callable[[F], F]:
    return o.option(
        f"--{role}-column",
        help=f"Column of {what}; none: leave it out.",
        shown="recognised",
        panel=o.DATA,
    )


_reading_options = o.several(
    o.option(
        "--target",
        type=click.Choice(["label", "rating"]),
        help="Which judgements to take; left out: all.",
    ),
    o.seed,
    o.option(
        "--limit",
        type=int,
        help="Number of texts to read, drawn by --seed.",
        panel=o.DATA,
    ),
    o.split,
    o.format,
    o.text_column,
    o.prompt_column,
    _column(
        "system",
        "the system prompt",
    ),
    _column(
        "label",
        "a yes-or-no label",
    ),
    _column(
        "grade",
        "a whole number",
    ),
    _column(
        "rating",
        "any number",
    ),
    _column(
        "judge",
        "who judged",
    ),
    _column(
        "time",
        "when it was judged",
    ),
    _column(
        "weight",
        "how many judgements a row counts for",
    ),
    o.option(
        "--positive",
        help="Label that means positive, where it is not obvious.",
        panel=o.DATA,
    ),
    o.option(
        "--scale",
        type=scale_of,
        metavar="LOWEST,HIGHEST",
        help="Scale of the grades or ratings, such as 1,5.",
        panel=o.DATA,
    ),
    o.option(
        "--order",
        metavar="WORST,...,BEST",
        help="Order of the classes of the label column, such as low,medium,high.",
        panel=o.DATA,
    ),
    o.option(
        "--answers",
        metavar="COLUMN,...",
        help="Columns of the texts that are compared; without --better, best first.",
        panel=o.DATA,
    ),
    o.option(
        "--better",
        metavar="COLUMN,...",
        help="Column that says which of the answers is better; or a column of numbers for each "
        "answer, such as votes_a,votes_b: the larger is better.",
        panel=o.DATA,
    ),
    o.option(
        "--first",
        metavar="VALUE,...",
        help="Values of --better that mean the first answer, where it is not obvious: 2 or A,B or "
        "1..3. Of a scale of numbers: the end that means the first answer, -1 for all below 0.",
        panel=o.DATA,
    ),
    o.option(
        "--second",
        metavar="VALUE,...",
        help="Values of --better that mean the second answer, if they are several words.",
        panel=o.DATA,
    ),
    o.option(
        "--tie",
        metavar="VALUE,...",
        help="Values of --better that mean a tie; the middle of a scale of numbers.",
        panel=o.DATA,
    ),
    o.option(
        "--header",
        metavar="NAME,...",
        help="Names of the columns of a CSV or TSV file without a header.",
        panel=o.DATA,
    ),
)


def reading(function: F) -> F:
    """Give a verb the options about its sources; it gets them as one `Reading`."""

    @functools.wraps(function)
    def call(**options: Any) -> Any:
        values = {}
        for each in fields(Reading):
            if each.name != "read_as":
                values[each.name] = options.pop(each.name)
        return function(**options, reading=Reading(**values))

    return _reading_options(call)  # type: ignore[return-value]


def comparisons(
    sources: tuple[str, ...],
    reading: Reading,
    *,
    chat: bool,
    skip_bad: bool,
    quiet: bool,
) -> list[Any] | None:
    """Return the judgements of all sources, None for no source.

    chat: prompts of text are what a user says. Raises DataError for a source that compares nothing.
    """
    from tastemaker.data.texts import as_chat
    from tastemaker.rl.text.judged import check_compares

    if not sources:
        return None
    judgements: list[Any] = []
    skipped: list[Any] = []
    for source in sources:
        rows = reading.judgements(
            [source], skipped if skip_bad else None, among=sources
        )
        check_compares(rows, source)
        judgements += rows
    o.note_skipped(skipped, quiet=quiet)
    if not chat:
        return judgements
    return [
        replace(one, prompt=as_chat(one.prompt))
        if isinstance(one.prompt, str)
        else one
        for one in judgements
    ]


def as_trained(reading: Reading, contract: Any, source: str) -> Reading:
    """Return how to read as the model's training data was read, where no option differs."""
    from tastemaker.data.reading import has_splits

    grades = contract.links.get("grade")
    scale = (grades["lowest"], grades["highest"]) if grades else None
    split = "test" if has_splits(source) else None
    return replace(
        reading,
        positive=reading.positive or contract.labels.get("positive"),
        scale=reading.scale or scale,
        split=reading.split or split,
    )


def rewardbench_items(source: str, reading: Reading) -> Any:
    """Return RewardBench 2's rows; None for another source, and where a column was named."""
    from tastemaker.evaluate import rewardbench

    if reading.columns.describes_a_table:
        return None
    return rewardbench.rewardbench_items(
        source,
        split=reading.split,
        format=reading.format,
        columns=reading.columns,
        report=reading.read_as,
    )
