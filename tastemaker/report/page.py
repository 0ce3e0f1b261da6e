"""What all pages share: one HTML file that needs nothing else, beside a picture and JSON.

Names and texts on a page are not trusted: templates escape everything, and the page forbids
itself to run or fetch anything.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tastemaker.files import writing_file

if TYPE_CHECKING:  # a page without figures needs no matplotlib
    from tastemaker.plotting import Panel


def page(template: str, /, **values: Any) -> str:
    """Return a page. template: a file in this folder. values: for the template; all are escaped."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def page_figures(panels: Iterable["Panel"]) -> list[dict[str, str]]:
    """Return panels for a page: as SVG images, in which no script can run."""
    from tastemaker.plotting import panel_svg

    figures = []
    for panel in panels:
        data = base64.b64encode(panel_svg(panel)).decode()
        figures.append({"title": panel.title, "caption": panel.caption, "data": data})
    return figures


Content = str | bytes | Mapping[str, Any]
"""What a file holds: text, bytes, or figures that are written as JSON."""


def write_together(folder: Path, contents: Mapping[str, Content]) -> None:
    """Write files, by name, into a folder; other files there stay as they are.

    A lone surrogate becomes a question mark. Nothing is written
    unless everything can be encoded. Raises StorageError for a full disk or an unwritable folder,
    ValueError for a number that is not finite.
    """
    encoded = {name: _encoded(content) for name, content in contents.items()}
    for name, data in encoded.items():
        with writing_file(Path(folder) / name) as temporary:
            temporary.write_bytes(data)


def _encoded(content: Content) -> bytes:
    if isinstance(content, bytes):
        return content
    if not isinstance(content, str):
        content = (
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        )
    return content.encode("utf-8", "replace")
