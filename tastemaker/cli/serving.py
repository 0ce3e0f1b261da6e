"""The verbs `serve`, `export` and `rank`, and models that another process serves."""

import functools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import click

from tastemaker.cli import options as o
from tastemaker.cli.reading import sayer
from tastemaker.errors import UsageError

SERVE = """Serve scores over HTTP, on this machine alone unless --host says otherwise.

Examples:

  tastemaker serve taste

  tastemaker serve taste judged --port 9000

  TASTEMAKER_TOKEN=$(openssl rand -hex 24) tastemaker serve taste --host 0.0.0.0

A page where texts can be typed is at http://127.0.0.1:8000/. The paths and wires (own, vLLM, TEI,
OpenRLHF) are in docs/serve.md. At the start each model's scores are compared alone, in a batch and
through every wire.
"""

TOKEN = "TASTEMAKER_TOKEN"


@o.verb(SERVE)
@click.argument(
    "models",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=o.PATH,
    help="Folders saved by `tastemaker fit`; the first answers requests without a model's name.",
)
@o.settings("serving")
@o.option("--quiet", "-q", is_flag=True, help="Only errors.", panel=o.RUN)
def serve(models: tuple[Path, ...], serving: o.Settings, quiet: bool) -> None:
    """Serve scores over HTTP."""
    from tastemaker.serve.running import serve as run
    from tastemaker.serve.settings import Serving

    serving.setdefault("token", os.environ.get(TOKEN) or None)

    def say(line: str) -> None:
        is_ready = line.startswith("serving on ")
        if is_ready or not quiet:
            o.say(line)

    run(models, Serving(**serving), say=say)


EXPORT = """Write a model in another form into its own folder.

Examples:

  tastemaker export taste --onnx

ONNX: `onnx/model.onnx` for ONNX Runtime, whose scores are compared with the model's before the
file is kept. `tastemaker serve` then takes it where it is faster. Needs the extra `onnx`.
"""


@o.verb(EXPORT)
@click.argument(
    "model",
    metavar="DIR",
    type=o.PATH,
    help="A folder saved by `tastemaker fit`.",
)
@o.option("--onnx", is_flag=True, help="Write onnx/model.onnx.", panel=o.RUN)
def export(model: Path, onnx: bool) -> None:
    """Write a model in another form."""
    from tastemaker.errors import UsageError
    from tastemaker.reward.export import export_onnx

    if not onnx:
        raise UsageError("no form to write: give --onnx.")
    path, difference = export_onnx(model)
    o.say(f"{path}: differs from the model by at most {difference:.1e}")


def opened(model: str, **loading: Any) -> Any:
    """Return the model of a folder, or of an address (`http://…`; token: TASTEMAKER_TOKEN).

    loading: where and how a folder's model is opened, as `tm.load` has it.
    """
    import tastemaker as tm
    from tastemaker.errors import UsageError
    from tastemaker.serve.client import is_address, remote_reward

    if is_address(model):
        if "anchor" in loading:
            raise UsageError(
                f"--anchor is for a published model, and {model} is a server. Leave it out."
            )
        return remote_reward(model)
    return tm.load(model, **loading)


def ray_engine(
    model: str, workers: int, precision: Any, loading: dict[str, Any]
) -> Any:
    """Return the engine of `score --engine ray`: every worker opens the model."""
    from tastemaker.bulk_ray import Ray

    # workers run in another folder
    source = str(Path(model).resolve()) if Path(model).exists() else model
    gpus = 1.0 if loading.get("device") == "cuda" else 0.0
    load = functools.partial(opened, source, **loading)
    return Ray(load, workers, precision, gpus=gpus)


def part_of(
    text: str, file: Path | None, folder: Path | None
) -> tuple[Any, Path]:
    """Return the part that `score --part` names, and where its scores are written.

    Raises UsageError without a file, for what is no part, and for a file as the folder.
    """
    from tastemaker.bulk import Part
    from tastemaker.errors import UsageError

    if file is None or folder is None:
        raise UsageError("--part is of a --file, into a folder --out.")
    part = Part.from_text(text)
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"--out {folder}: is a file, and --part writes into a folder. Give another name."
        )
    return part, folder / part.file(file)


def say_part_done(out: Path, *, json: bool, quiet: bool) -> None:
    """Say that a part was scored by an earlier run."""
    if json:
        o.say_json({"out": str(out), "done": True})
    else:
        o.note(f"{out} is there already: this part is done.", quiet=quiet)


# ---- rank -------------------------------------------------------------------


_LISTED = 20
"""Items that were left out are listed up to this many."""

RANK = """Let people judge texts on a web page, and keep every judgement in STORE.

Examples:

  tastemaker rank judgements.db --items answers.csv

  tastemaker rank judgements.db --items answers.csv --judge ann --judge bo --judges-per-item 2

  tastemaker rank judgements.db --policy before --policy after --prompts prompts.txt --answers 4

  tastemaker rank judgements.db --model taste

  tastemaker rank judgements.db --import old.jsonl --import export_of_label_studio.json

  tastemaker rank judgements.db --export pairs.jsonl --format trl

  tastemaker fit judgements.db --out taste

The link of each judge is printed. Items are rows with a prompt and answers, in any format that
`fit` reads, judged or not: answer_a, answer_b … in a CSV file, or a list `answers` in JSONL. Or
policies write the answers; judges do not see which of them wrote an answer. STORE is a SQLite file,
or postgresql://USER:PASSWORD@HOST/NAME (docs/rank.md).
"""


@o.verb(RANK)
@click.argument(
    "store", help="The SQLite file of the judgements, made if it is not there."
)
@o.option(
    "--items",
    help="What to judge, added to what STORE holds: FILE or FILE:prompt=question,answers=a+b.",
)
@o.option(
    "--policy",
    "policies",
    multiple=True,
    help="A policy that writes answers to --prompts: a folder or a hub name; may be repeated.",
)
@o.option(
    "--prompts",
    type=o.PATH,
    help="Prompts for --policy: a text file with one a line, or a table.",
)
@o.option(
    "--answers",
    type=int,
    default=4,
    help="Answers of each prompt, 2 to 9, divided among the policies.",
)
@o.option(
    "--model",
    type=o.PATH,
    help="A reward model; the lead sees its scores of what has been judged, judges never.",
)
@o.option(
    "--judge",
    "judges",
    multiple=True,
    help="A judge to invite; may be repeated.",
    shown="one, called judge",
)
@o.option(
    "--question",
    type=click.Choice(["grade", "label", "rate"]),
    help="What to ask of single texts.",
    shown="grade",
)
@o.option(
    "--calibration", help="Judgements whose answers are known, to test judges."
)
@o.option(
    "--form",
    "form_file",
    type=o.PATH,
    help="A YAML file of what is asked beside, and how (docs/rank.md).",
)
@o.option(
    "--import",
    "sources",
    multiple=True,
    help="Judgements made elsewhere, in any format that `fit` reads, added to STORE; no page is "
    "opened. May be repeated; the same ones are added once.",
)
@o.option(
    "--export",
    "export_to",
    type=o.PATH,
    help="Write the judgements into a file, and open no page.",
)
@o.option(
    "--format",
    type=click.Choice(
        ["jsonl", "csv", "trl", "kto", "nemo", "rewardbench", "full"]
    ),
    help="Format of the export.",
    shown="by the name: csv, else jsonl",
)
@o.settings("judging")
@o.seed
@o.settings(
    "sampling", shown="as the folder recommends", defaults={"max_tokens": 200}
)
@o.prompt_column
@o.chat
@o.device
@o.dtype
@o.option("--quiet", "-q", is_flag=True, help="Only the links.", panel=o.RUN)
def rank(
    store: str,
    items: str | None,
    policies: tuple[str, ...],
    prompts: Path | None,
    answers: int,
    model: Path | None,
    judges: tuple[str, ...],
    question: str | None,
    calibration: str | None,
    form_file: Path | None,
    sources: tuple[str, ...],
    export_to: Path | None,
    format: str | None,
    judging: o.Settings,
    seed: int,
    sampling: o.Settings,
    prompt_column: str | None,
    chat: bool,
    quiet: bool,
    **loading: Any,
) -> None:
    """Let people judge texts on a web page. loading: where models are, and in which format."""
    import tastemaker as tm
    from tastemaker.data.store import calibration_items
    from tastemaker.rank.exporting import export
    from tastemaker.rank.running import rank as run
    from tastemaker.rank.settings import Judging, read_form

    if sources:
        _import(
            store, sources, int(judging.get("judges_per_item", 1)), quiet=quiet
        )
    if export_to is not None:
        format = format or ("csv" if export_to.suffix == ".csv" else "jsonl")
        rows = export(
            store, export_to, format, lambda line: o.note(line, quiet=quiet)
        )
        o.say(f"{export_to}: {rows:,} rows")
    if sources or export_to is not None:
        return
    _check_policies(policies, prompts)
    judging.setdefault("token", os.environ.get(TOKEN) or None)
    settings = Judging(**judging)
    taste = None if model is None else tm.load(model, **loading)
    form = None if form_file is None else read_form(form_file)
    scale = (1, 7) if form is None else form.scale
    chosen = _read(items, question, quiet=quiet)
    if calibration is not None:
        read_as: list[Any] = []
        chosen += calibration_items(calibration, scale=scale, report=read_as)
        _say_read_as(read_as, quiet=quiet)
    if prompts is not None:
        from tastemaker.data.texts import open_prompts

        file = open_prompts(prompts, prompt_column)
        _say_read_as([file.read_as()], quiet=quiet)
        chosen += _written(
            policies,
            [prompt for _, prompt in file.rows(chat=chat)],
            loading,
            answers=answers,
            sampling=sampling,
            seed=seed,
            say=lambda line: o.note(line, quiet=quiet),
        )

    def say(line: str) -> None:
        if "://" in line or not quiet:
            o.say(line)

    run(
        store,
        chosen,
        settings,
        judges=judges,
        form=form,
        model=taste,
        say=say,
    )


def _read(
    items: str | None, question: str | None, *, quiet: bool
) -> list[Any]:
    """Return the items of --items, and note what was left out."""
    from tastemaker.data.store import read_items

    left_out: list[str] = []
    chosen = []
    if items is not None:
        read_as: list[Any] = []
        chosen = read_items(
            items, ask=question, left_out=left_out, report=read_as
        )
        _say_read_as(read_as, quiet=quiet)
    for reason in left_out[:_LISTED]:
        o.note(f"left out: {reason}", quiet=quiet)
    if len(left_out) > _LISTED:
        o.note(f"{len(left_out):,} items were left out.", quiet=quiet)
    return chosen


def _say_read_as(read_as: list[Any], *, quiet: bool) -> None:
    """Print on stderr what sources were read as."""
    say_one = sayer(read_as, json=False, quiet=quiet)
    for each in read_as:
        say_one(each)


def _import(
    address: str, sources: tuple[str, ...], wanted: int, *, quiet: bool
) -> None:
    """Add the judgements of sources to a store, and say the counts."""
    import tastemaker as tm
    from tastemaker.data.store import Store, import_judgements

    # read before the store is made, so that a file with an error leaves none behind
    read_as: list[Any] = []
    judged = [tm.read(source, report=read_as) for source in sources]
    _say_read_as(read_as, quiet=quiet)
    opened = Store(address)
    try:
        for source, judgements in zip(sources, judged, strict=True):
            done = import_judgements(opened, judgements, wanted)
            o.note_skipped(done.left_out, quiet=quiet)
            o.say(
                f"{source}: {done.judgements:,} judgements of {done.items:,} new items; "
                f"{done.present:,} were here already, {len(done.left_out):,} left out"
            )
    finally:
        opened.close()


def _check_policies(policies: tuple[str, ...], prompts: Path | None) -> None:
    """Raise UsageError for policies without prompts or the reverse, and for one named twice."""
    if bool(policies) != (prompts is not None):
        raise UsageError(
            "--policy and --prompts belong together: who writes, and to what."
        )
    for source, count in Counter(policies).items():
        if count > 1:
            raise UsageError(
                f"--policy {source} stands there twice. Name it once."
            )


def _written(
    sources: tuple[str, ...],
    prompts: list[Any],
    loading: dict[str, Any],
    **settings: Any,
) -> list[Any]:
    """Let policies write answers to prompts, and return the items."""
    import tastemaker as tm
    from tastemaker.rank.answers import write_items

    policies = {}
    for source in sources:
        name = Path(source).name
        if sum(Path(other).name == name for other in sources) > 1:
            name = source
        policy = tm.Policy.load(source, dtype=loading["dtype"])
        policies[name] = policy.to(loading["device"])
        for line in policies[name].notes:
            settings["say"](line)
    return write_items(policies, prompts, **settings)
