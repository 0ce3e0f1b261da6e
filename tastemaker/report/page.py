"""Pages of parts: one self-contained HTML file, and the parts that a run folder stores.

Names and texts on a page are not trusted: templates escape everything, and the page forbids
itself to run or fetch anything.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
)
from markupsafe import Markup, escape

from tastemaker.errors import ModelError, StorageError
from tastemaker.files import writing_file
from tastemaker.report.summary import Summary, Tile
from tastemaker.report.words import (
    Sentence,
    check_language,
    sentence_text,
    svg_with,
    text,
    tile_title,
    translated,
    translated_name,
)

if TYPE_CHECKING:  # a page without figures needs no matplotlib
    from tastemaker.plotting import Panel

PARTS_FILE = "report.json"
_FORMAT = 1
_MOST_BYTES = 64_000_000  # of a stored part
_KINDS = ("evaluation", "steering", "data", "model", "gpt", "cost")
"""Kinds of parts; the first one of a page gives the picture and the order of the answers."""

_PICTURES = (
    "overoptimisation",
    "score",
    "baselines",
    "scores",
    "predictions",
    "lists",
    "reliability",
)
"""Names of figures that may stand on the first screen, the plainest first."""

_COLON = {"en": ": ", "zh": "："}
_SPACE = {"en": " ", "zh": ""}  # between sentences
_ROLES = ("trust", "caution", "next")


@dataclass(frozen=True)
class Part:
    """One part of a report.

    kind: names its template and heading. label: what it is about, beside the heading.
    values: for the template, JSON-ready.
    """

    kind: str
    summary: Summary
    values: Mapping[str, Any] = field(repr=False)
    label: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "format": _FORMAT,
            "kind": self.kind,
            "label": self.label,
            "summary": self.summary.as_dict(),
            "values": dict(self.values),
        }


def read_part(path: Path) -> Part:
    """Return the part that a file holds. Raises ModelError for another layout."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(
                f"{path}: larger than {_MOST_BYTES:,} bytes; a report's part is not."
            )
        stored = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error}).") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON ({error}).") from error
    is_part = isinstance(stored, dict) and stored.get("kind") in _KINDS
    if not is_part or not isinstance(stored.get("values"), dict):
        raise ModelError(
            f"{path}: not a part of a report that Tastemaker wrote."
        )
    if stored.get("format") != _FORMAT:
        raise ModelError(
            f"{path}: format {stored.get('format')!r}, and this version reads {_FORMAT}. "
            "Write the report again."
        )
    if not _are_panels(stored["values"].get("panels", [])):
        raise ModelError(
            f"{path}: damaged: 'panels' must be a list of figures with title, caption and data."
        )
    summary = Summary.from_dict(stored.get("summary"))
    label = str(stored.get("label", ""))
    return Part(stored["kind"], summary, stored["values"], label)


def _are_panels(panels: Any) -> bool:
    """Return whether stored figures have what a page shows of them."""
    if not isinstance(panels, list):
        return False
    for panel in panels:
        if not isinstance(panel, dict) or not {
            "title",
            "caption",
            "data",
        } <= set(panel):
            return False
    return True


def page(
    parts: Sequence[Part], *, title: str | None = None, language: str = "en"
) -> str:
    """Return one HTML page of parts: the answers of all, then each part.

    title: None for one that fits the parts. Raises UsageError for an unknown language, ModelError
    for a stored part that its template cannot show.
    """
    check_language(language)
    ordered = sorted(parts, key=lambda part: _KINDS.index(part.kind))
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        tr=translated if language == "zh" else str,
        tr_name=translated_name if language == "zh" else str,
        words=partial(text, language),
    )
    ordered = [_in_language(part, language) for part in ordered]
    picture = _picture(ordered)
    has_several = _has_several(ordered)
    shown = []
    for number, part in enumerate(ordered):
        template = environment.get_template(f"{part.kind}.html.j2")
        try:
            values = part.values
            is_alone = not has_several and part.kind != "cost"
            if is_alone and picture is not None:
                # it stands on the first screen
                panels = [row for row in values["panels"] if row != picture]
                values = {**values, "panels": panels}
            html = template.render(values)
        except (TemplateError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"a stored part ({part.kind}) of the report is damaged ({error})."
            ) from error
        heading = text(language, f"part_{part.kind}")
        if part.label:
            heading += f"{_COLON[language]}{part.label}"
        shown.append(
            {
                "id": f"part-{number}",
                "title": heading,
                "is_headed": has_several or part.kind == "cost",
                # the template has escaped all values
                "html": Markup(html),
            }
        )
    return environment.get_template("page.html.j2").render(
        title=title or text(language, _title_of(ordered)),
        language=language,
        chips=list(_chips(ordered, language)),
        answers=list(_answers(ordered, language)),
        picture=picture,
        tiles=_tiles(ordered, language),
        parts=shown,
        has_several=has_several,
        lead=_SPACE[language].join(_lead(ordered, language)),
        footer=text(
            language, "footer", version=metadata.version("tastemaker")
        ),
    )


def _has_several(parts: Sequence[Part]) -> bool:
    """Return whether a page is about several things; what they cost is not one of them."""
    return sum(part.kind != "cost" for part in parts) > 1


def _lead(parts: Sequence[Part], language: str) -> Iterable[str]:
    """Yield what a page is about, for readers who do not know the words."""
    kinds = {part.kind for part in parts}
    if kinds & {"evaluation", "model"}:
        yield text(language, "lead_model")
    if "steering" in kinds:
        yield text(language, "lead_steering")


def _title_of(parts: Sequence[Part]) -> str:
    kinds = {part.kind for part in parts}
    if "steering" in kinds and kinds & {"evaluation", "model"}:
        return "title_all"
    if "steering" in kinds:
        return "title_steering"
    for kind in ("data", "gpt"):
        if kinds <= {kind, "cost"}:
            return f"title_{kind}"
    return "title_model"


def _chips(parts: Sequence[Part], language: str) -> Iterable[dict[str, str]]:
    """Yield the verdict of each part that has one, with its label where several are of a kind."""
    counted = Counter(part.kind for part in parts)
    several = [kind for kind, count in counted.items() if count > 1]
    for part in parts:
        has_verdict = part.kind in ("evaluation", "steering", "data")
        if has_verdict or (part.kind == "gpt" and _speaks(part, parts)):
            name = text(language, part.summary.level)
            if _has_several(parts):
                heading = text(language, f"part_{part.kind}")
                if part.label and part.kind in several:
                    heading += f" {part.label}"
                name = f"{heading}{_COLON[language]}{name}"
            yield {"look": part.summary.look, "name": name}


def _speaks(part: Part, parts: Sequence[Part]) -> bool:
    """Return whether the first screen holds what a part says.

    On a page about several things it does not where the data have no problems, nor of a GPT before
    it was steered.
    """
    is_step = part.kind == "gpt" or part.summary.level == "data_good"
    return not (is_step and _has_several(parts))


def _answers(parts: Sequence[Part], language: str) -> Iterable[dict[str, Any]]:
    """Yield the three answers of the first screen, those that have sentences."""
    for role in _ROLES:
        sentences: dict[str, None] = {}
        for part in parts:
            if not _speaks(part, parts):
                continue
            for sentence in getattr(part.summary, role):
                sentences[_shown_sentence(language, sentence)] = None
        if sentences:
            title = text(language, role)
            yield {
                "role": role,
                "title": title,
                "sentences": [_with_code(line) for line in sentences],
            }


def _with_code(line: str) -> Markup:
    """Return a sentence, escaped, with what stands between backticks as code."""
    pieces = [escape(piece) for piece in line.split("`")]
    for place in range(1, len(pieces) - 1, 2):
        pieces[place] = Markup("<code>{}</code>").format(pieces[place])
    return Markup("").join(pieces)


def _shown_sentence(language: str, sentence: Sentence) -> str:
    try:
        return sentence_text(language, sentence)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(
            f"a report's summary is damaged: no sentence {sentence.name!r} ({error!r})."
        ) from error


def _in_language(part: Part, language: str) -> Part:
    """Return a part with its figures in a language; they are stored in English."""
    if language == "en" or "panels" not in part.values:
        return part
    names = [str(run["label"]) for run in part.values.get("samples", [])]
    panels = []
    for panel in part.values["panels"]:
        try:
            panels.append(_chinese_panel(panel, names))
        except (ValueError, TypeError) as error:
            raise ModelError(
                f"a stored figure of the report is damaged ({error})."
            ) from error
    return replace(part, values={**part.values, "panels": panels})


def _chinese_panel(
    panel: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """Return a stored figure in Chinese: title, caption, the texts in its SVG, and its table.

    names: those of runs; they are not translated.
    """

    def in_chinese(words: str) -> str:
        return words if words in names else translated(words)

    svg = base64.b64decode(panel["data"], validate=True).decode("utf-8")
    data = base64.b64encode(svg_with(svg, in_chinese).encode()).decode()
    rows = []
    for row in panel.get("numbers", []):
        cells = []
        for cell in row:
            cells.append(in_chinese(str(cell)))
        rows.append(cells)
    return {
        **panel,
        "title": translated(str(panel["title"])),
        "caption": translated(str(panel["caption"])),
        "data": data,
        "numbers": rows,
    }


def _picture(parts: Sequence[Part]) -> Mapping[str, Any] | None:
    """Return the figure that needs least explanation: of the steering, else of the model."""
    first = sorted(parts, key=lambda part: part.kind != "steering")
    for part in first:
        panels = part.values.get("panels", [])
        for name in _PICTURES:
            for panel in panels:
                if panel.get("name") == name:
                    picture: Mapping[str, Any] = panel
                    return picture
    return None


def _tiles(parts: Sequence[Part], language: str) -> list[Tile]:
    """Return the figures that carry the verdicts: at most six, fair to all parts."""
    shown = []
    lists = []
    for part in parts:
        if part.summary.tiles and (part.kind != "gpt" or _speaks(part, parts)):
            lists.append(part)
    most = 6 // max(1, len(lists)) if len(lists) > 1 else 5
    for part in lists:
        for name, value, remark in part.summary.tiles[: max(1, most)]:
            # of steering, the name is that of a run
            title = name
            if part.kind != "steering":
                title = tile_title(language, name)
            comment = remark
            if language == "zh":
                comment = translated(remark)
            shown.append((title, value, comment))
    return shown


def page_figures(panels: Iterable["Panel"]) -> list[dict[str, Any]]:
    """Return panels for a page: as SVG images, in which no script can run, with their numbers."""
    from tastemaker.plotting import panel_numbers, panel_svg

    figures = []
    for panel in panels:
        data = base64.b64encode(panel_svg(panel)).decode()
        figures.append(
            {
                "name": panel.name,
                "title": panel.title,
                "caption": panel.caption,
                "data": data,
                "numbers": panel_numbers(panel),
            }
        )
    return figures


Content = str | bytes | Mapping[str, Any]
"""What a file holds: text, bytes, or figures that are written as JSON."""


def write_together(folder: Path, contents: Mapping[str, Content]) -> None:
    """Write files, by name, into a folder; other files there stay as they are.

    A lone surrogate becomes a question mark. Nothing is written unless everything can be
    encoded. Raises StorageError for a full disk or an unwritable folder,
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
        line = json.dumps(
            content, indent=2, ensure_ascii=False, allow_nan=False
        )
        content = line + "\n"
    return content.encode("utf-8", "replace")
