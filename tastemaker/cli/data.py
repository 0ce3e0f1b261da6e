"""The verbs about data: `fetch`, `inspect`, `split`, `doctor` and `demo`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tastemaker.cli import options as o
from tastemaker.cli import reading as r
from tastemaker.cli.looping import say_plan

FETCH = """Download a data set from its authors' address. A broken download is continued.

Example:

  tastemaker fetch imdb --out data
"""

INSPECT = """Show what a source is read as, with examples, before a model is trained on it.

Examples:

  tastemaker inspect reviews.csv

  tastemaker inspect reviews.csv:text=words,grade=stars --json
"""

SPLIT = """Divide judgements into a training file and a test file that share no text and no prompt.

Example:

  tastemaker split reviews.csv --held-out 0.1 --out parts
"""

DOCTOR = """Look for problems in judgements before a model is trained on them.

Examples:

  tastemaker doctor comparisons.jsonl --report report

  tastemaker doctor train.jsonl --test test.jsonl --backbone minilm --max-length 256 --strict
"""

DEMO = """Run the whole loop on invented film reviews with a known score: 4 to 6 minutes, offline.

Example:

  tastemaker demo --out demo
"""


@o.verb(FETCH)
@click.argument(
    "name",
    help="imdb: the Large Movie Review Dataset (Maas et al. 2011), 80 MiB.",
)
@o.option("--out", type=o.PATH, default=Path(), help="Folder for the archive.")
@o.option("--url", help="Another address of the same archive.")
@o.option(
    "--sha256", help="Digest that it must have, in place of the published one."
)
@o.output
def fetch(
    name: str,
    out: Path,
    url: str | None,
    sha256: str | None,
    json: bool,
    quiet: bool,
) -> None:
    """Download a data set."""
    import tastemaker as tm

    path = tm.fetch(name, out, url=url, sha256=sha256)
    if json:
        o.say_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        o.say(
            f"{path}: complete, checksum right. Next:  tastemaker fit {path} --out taste"
        )


@o.verb(INSPECT)
@click.argument("source", help=o.SOURCES)
@r.reading
@o.output
def inspect(source: str, reading: r.Reading, json: bool, quiet: bool) -> None:
    """Show what a source is read as."""
    import tastemaker as tm

    shown = tm.inspect(
        source,
        columns=reading.columns,
        format=reading.format,
        split=reading.split,
    )
    if json:
        o.say_json(shown.as_dict(), with_remarks=True)
    else:
        o.say(str(shown))


@o.verb(SPLIT)
@click.argument("source", help=o.SOURCES)
@o.option(
    "--out", type=o.PATH, required=True, help="Folder for train.* and test.*."
)
@o.option(
    "--held-out",
    type=float,
    default=0.1,
    help="Share of the texts and prompts that is for testing.",
)
@r.reading
@o.skip_bad
@o.output
def split(
    source: str,
    out: Path,
    held_out: float,
    reading: r.Reading,
    skip_bad: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Divide judgements into a training file and a test file."""
    import tastemaker as tm
    from tastemaker.data.writers import write_split

    skipped: list[Any] | None = [] if skip_bad else None
    judgements = reading.judgements_with_notes(
        [source], skipped, json=json, quiet=quiet
    )
    parts = tm.split(judgements, held_out=held_out, seed=reading.seed)
    paths = write_split(
        source,
        out,
        parts,
        header=reading.columns.header,
        say=lambda line: o.note(line, quiet=quiet),
    )
    if json:
        result: dict[str, Any] = {"read_as": reading.as_list()}
        for path, part in zip(paths, parts, strict=True):
            name = path.name.partition(".")[0]
            result[name] = {
                "path": str(path),
                "judgements": len(part),
            }
        if skipped is not None:
            result["skipped"] = len(skipped)
        o.say_json(result, with_remarks=True)
        return
    for path, part in zip(paths, parts, strict=True):
        o.say(f"{path}: {len(part):,} judgements")


@o.verb(DOCTOR)
@click.argument("sources", nargs=-1, required=True, help=o.SOURCES)
@o.option(
    "--test",
    help="The data that a model will be tested on, to look for leaks.",
)
@o.option(
    "--report", type=o.PATH, help="Write doctor.html and doctor.json there."
)
@o.flag("--strict", "Exit code 1 for a problem worse than a note.")
@o.option("--max-length", type=int, help="Tokens that will be read of a text.")
@o.option(
    "--backbone",
    help="Whose tokens: linear (words), minilm, a model folder, a hub name.",
)
@r.reading
@o.output
def doctor(
    sources: tuple[str, ...],
    reading: r.Reading,
    test: str | None,
    max_length: int | None,
    backbone: str | None,
    strict: bool,
    report: Path | None,
    json: bool,
    quiet: bool,
) -> int:
    """Look for problems in judgements."""
    import tastemaker as tm
    from tastemaker.data.reading import has_splits
    from tastemaker.reward.backbones.opening import token_counter
    from tastemaker.reward.cross_fitting import check_judges

    odd_rows: list[Any] = []
    judgements: list[Any] = []
    for source in sources:
        judgements += _readable(source, reading, odd_rows, sources)
    tested: list[Any] = []
    if test is not None:
        split = "test" if has_splits(test) else None
        # its report goes into the same list
        as_a_whole = replace(reading, split=split, limit=None)
        tested = _readable(test, as_a_whole, [])
    if backbone is None and max_length is not None:
        backbone = "linear"
    count = None if backbone is None else token_counter(backbone)
    diagnosis = tm.doctor(
        judgements,
        test=tested,
        odd_rows=odd_rows,
        max_length=max_length,
        count_tokens=count,
        judges=check_judges(judgements, seed=reading.seed),
    )
    reading.say(
        json=json,
        quiet=quiet,
    )
    if report is not None:
        lines = [line for one in reading.read_as for line in one.lines()]
        tm.write_doctor_page(diagnosis, report, read_as=lines)
        o.note(f"report: {report / 'doctor.html'}", quiet=quiet)
    if json:
        o.say_json(diagnosis.as_dict() | {"read_as": reading.as_list()})
    else:
        o.say(str(diagnosis))
    return int(strict and not diagnosis.is_healthy)


def _readable(
    source: str,
    reading: r.Reading,
    odd_rows: list[Any],
    among: Sequence[str] = (),
) -> list[Any]:
    """Return what can be read; the other rows go to `odd_rows`. among: all sources.

    A source without a readable row is a finding too. Raises DataError for a source that is missing.
    """
    from tastemaker.errors import DataError

    count = len(odd_rows)
    try:
        return reading.judgements([source], odd_rows, among=among)
    except DataError:
        if len(odd_rows) == count:
            raise
        return []


@o.verb(DEMO)
@o.option(
    "--out",
    type=o.PATH,
    default=Path("demo"),
    help="Folder for data, models and reports; report.html is at its top.",
)
@o.option(
    "--texts",
    type=int,
    default=2000,
    help="Judgements to learn from.",
)
@o.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    default="en",
    help="Language of the reviews and of the report: English or Chinese.",
)
@o.flag("--dry-run", "Only show what would run, and about how long.")
@o.seed
@o.output
def demo(
    out: Path,
    texts: int,
    language: Any,
    dry_run: bool,
    seed: int,
    json: bool,
    quiet: bool,
) -> None:
    """Run the whole loop on the built-in playground."""
    from tastemaker.demo import plan_demo, run_demo

    if dry_run:
        plan = plan_demo(out, texts=texts, seed=seed, language=language)
        say_plan(plan, json=json)
        return

    def say(line: str) -> None:
        if not json and not quiet:
            o.say(line)

    results = run_demo(out, texts=texts, seed=seed, say=say, language=language)
    if json:
        o.say_json(results)
