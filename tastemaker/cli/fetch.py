"""`tastemaker fetch`: the original data from its authors' address."""

from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli import options as o

EXAMPLE = """Download a data set from its authors' address; a broken download goes on where it stopped.

Example:

  tastemaker fetch imdb --out data
"""


def fetch(
    name: Annotated[
        str, typer.Argument(help="imdb: the Large Movie Review Dataset (Maas et al. 2011), 80 MiB.")
    ],
    out: Annotated[Path, typer.Option(help="The folder that the archive is put in.")] = Path(),
    url: Annotated[str | None, typer.Option(help="Another address of the same archive.")] = None,
    sha256: Annotated[
        str | None, typer.Option(help="The digest it must have, in place of the known one.")
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Download a data set from its authors' address."""
    import tastemaker as tm

    path = tm.fetch(name, out, url=url, sha256=sha256)
    if json:
        o.say_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        o.say(f"{path}: complete, checksum right. Next:  tastemaker fit {path} --out taste")


fetch.__doc__ = EXAMPLE
