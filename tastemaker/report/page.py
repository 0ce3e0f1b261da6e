"""What every page has in common: one HTML file that needs nothing else, beside a picture and the numbers as JSON.

Every name and text on a page is hostile: the template escapes all it is given, and the page forbids itself to run or
fetch anything.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from tastemaker.files import writing_file

if TYPE_CHECKING:  # a page without figures needs no matplotlib
    from tastemaker.plotting import Panel


def page(template: str, /, **shown: Any) -> str:
    """Return a page. template: a file beside this one. shown: what it shows, all of it escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    return environment.from_string(text).render(**shown)


def page_figures(panels: Iterable["Panel"]) -> list[dict[str, str]]:
    """Return panels as a page shows them: SVG inside the page, which no script in it can leave."""
    from tastemaker.plotting import panel_svg

    return [
        {
            "title": panel.title,
            "caption": panel.caption,
            "data": base64.b64encode(panel_svg(panel)).decode(),
        }
        for panel in panels
    ]


def numbers(figures: Mapping[str, Any]) -> str:
    """Return figures as a JSON file. Raises ValueError for one that is not finite."""
    return json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_together(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files, by name, into a folder; other files there stay as they are. Half a character becomes a ?.

    Raises StorageError for a full disk or an unwritable folder.
    """
    for name, content in contents.items():
        with writing_file(Path(folder) / name) as temporary:
            temporary.write_bytes(
                content if isinstance(content, bytes) else content.encode("utf-8", "replace")
            )
