"""Render self-contained HTML pages, and write them together with their pictures and JSON.

Names and texts on a page are not trusted: templates escape everything, and the page forbids
itself to run or fetch anything. The page of the doctor's diagnosis is made here too.
"""

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tastemaker.doctor.diagnosis import Diagnosis
from tastemaker.files import writing_file
from tastemaker.readable import listed

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
        figures.append(
            {"title": panel.title, "caption": panel.caption, "data": data}
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


# --- the doctor's page ------------------------------------------------------------------------

_SHOWN_JUDGES = 20
_SHOWN_PLACES = 10


def write_doctor_page(
    diagnosis: Diagnosis,
    folder: Path,
    *,
    title: str = "What is wrong with this data",
) -> None:
    """Write `doctor.html` and `doctor.json` into the folder; other files there stay as they are.

    Both are made before the first is written. Raises StorageError for a full disk or an
    unwritable folder.
    """
    html = doctor_html(diagnosis, title=title)
    write_together(
        folder, {"doctor.html": html, "doctor.json": diagnosis.as_dict()}
    )


def doctor_html(diagnosis: Diagnosis, *, title: str) -> str:
    """Return the diagnosis as one HTML page."""
    kinds = {f"{kind}s": count for kind, count in diagnosis.kinds.items()}
    correlations = []
    for kind, value in diagnosis.length_correlations.items():
        correlations.append((f"{kind}s", value))
    return page(
        "doctor_page.html.j2",
        title=title,
        verdict=_verdict(diagnosis),
        tile_rows=list(_tiles(diagnosis)),
        problems=diagnosis.problems,
        shown_places=_SHOWN_PLACES,
        kinds=_bars(kinds),
        judges=_bars(_judges(diagnosis)),
        bias=diagnosis.length_bias,
        correlations=correlations,
        lengths=diagnosis.lengths,
        length_rows=_length_rows(diagnosis),
        agreements=_agreement_rows(diagnosis),
    )


def _verdict(diagnosis: Diagnosis) -> str:
    counts = []
    for severity in ("error", "warning", "note"):
        count = sum(
            problem.severity == severity for problem in diagnosis.problems
        )
        if count:
            counts.append(f"{count} {severity}{'s' if count > 1 else ''}")
    return listed(counts) or "No problems were found"


def _tiles(diagnosis: Diagnosis) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and remark of the figures at the top of the page."""
    unreadable = (
        f"{diagnosis.odd_rows:,} unreadable"
        if diagnosis.odd_rows
        else "all readable"
    )
    yield "rows", f"{diagnosis.rows:,}", unreadable
    prompts = f"of {diagnosis.prompts:,} prompts" if diagnosis.prompts else ""
    yield "different texts", f"{diagnosis.texts:,}", prompts
    names = [name for name in diagnosis.judges if name is not None]
    anonymous = diagnosis.judges.get(None, 0)
    yield (
        "judges",
        f"{len(names):,}",
        f"{anonymous:,} judgements without a name",
    )
    if diagnosis.kinds.keys() & {"comparison", "ranking"}:
        yield (
            "ties",
            f"{diagnosis.ties:,}",
            f"and {diagnosis.tied_rankings:,} rankings with a tie",
        )
    bias = diagnosis.length_bias
    if bias is not None:
        interval = f"[{bias.low:.0%}, {bias.high:.0%}]"
        yield "the longer text won", f"{bias.share:.0%}", interval
    for kind, agreement in diagnosis.agreements.items():
        if not math.isnan(agreement.alpha):
            yield (
                f"judges' alpha, {kind}s",
                f"{agreement.alpha:.2f}",
                "1 perfect, 0 chance",
            )


def _judges(diagnosis: Diagnosis) -> dict[str, int]:
    """Return the judgements of the busiest judges, of all others, and of nobody."""
    judges = []
    for name, count in diagnosis.judges.items():
        if name is not None:
            judges.append((name, count))
    busiest = sorted(judges, key=lambda judge: (-judge[1], judge[0]))
    rows = dict(busiest[:_SHOWN_JUDGES])
    others = busiest[_SHOWN_JUDGES:]
    if others:
        rows[f"{len(others):,} other judges"] = sum(
            count for _, count in others
        )
    if None in diagnosis.judges:
        rows["without a name"] = diagnosis.judges[None]
    return rows


def _bars(counts: dict[str, int]) -> list[tuple[str, str, float]]:
    """Return name, count and length in per cent of each bar."""
    most = max(counts.values(), default=1)
    return [
        (name, f"{count:,}", 100 * count / most)
        for name, count in counts.items()
    ]


def _agreement_rows(diagnosis: Diagnosis) -> list[list[str]]:
    """Return the table of the agreement between judges, a heading first; empty without any."""
    if not diagnosis.agreements:
        return []
    rows = [
        [
            "kind",
            "alpha",
            "level",
            "two judges agree",
            "judges",
            "shared units",
        ]
    ]
    for kind, agreement in diagnosis.agreements.items():
        pairwise = agreement.pairwise
        alpha = f"{agreement.alpha:.3f}"
        if math.isnan(agreement.alpha):
            alpha = "no variation"
        share = (
            f"{pairwise.share:.1%} [{pairwise.low:.1%}, {pairwise.high:.1%}]"
        )
        counts = [f"{agreement.judges:,}", f"{pairwise.units:,}"]
        rows.append([f"{kind}s", alpha, agreement.level, share, *counts])
    return rows


def _length_rows(diagnosis: Diagnosis) -> list[list[str]]:
    quantiles = diagnosis.lengths.quantiles
    shares = [f"{float(share):.0%}" for share in quantiles]
    lengths = [f"{length:,.0f}" for length in quantiles.values()]
    return [["share of texts", *shares], ["length at most", *lengths]]
