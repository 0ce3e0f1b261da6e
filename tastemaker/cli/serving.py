"""The verb `serve`, and models that another process serves."""

import functools
import os
from pathlib import Path
from typing import Any

import click

from tastemaker.cli import options as o

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
    from tastemaker.serve import Serving
    from tastemaker.serve import serve as run

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
    from tastemaker.reward import export_onnx

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
    from tastemaker.serve import is_address, remote_reward

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
