"""The doctor's diagnosis as one HTML page that needs nothing else, and as one JSON file."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tastemaker.doctor.diagnosis import Diagnosis
from tastemaker.report.page import numbers, page, write_together
from tastemaker.text_tables import listed

_SHOWN_JUDGES = 20
_SHOWN_PLACES = 10


def write_doctor_page(
    diagnosis: Diagnosis, folder: Path, *, title: str = "What is wrong with this data"
) -> None:
    """Write `doctor.html` and `doctor.json` into the folder; other files there stay as they are.

    Both are made before the first is written. Raises StorageError for a full disk or an unwritable folder.
    """
    contents = {
        "doctor.html": doctor_html(diagnosis, title=title),
        "doctor.json": numbers(diagnosis.as_dict()),
    }
    write_together(folder, contents)


def doctor_html(diagnosis: Diagnosis, *, title: str) -> str:
    """Return the diagnosis as one HTML page."""
    return page(
        "doctor_page.html.j2",
        title=title,
        verdict=_verdict(diagnosis),
        tiles=list(_tiles(diagnosis)),
        problems=diagnosis.problems,
        shown_places=_SHOWN_PLACES,
        kinds=_bars({f"{kind}s": count for kind, count in diagnosis.kinds.items()}),
        judges=_bars(_judges(diagnosis)),
        bias=diagnosis.length_bias,
        correlations=[(f"{kind}s", value) for kind, value in diagnosis.length_correlations.items()],
        lengths=diagnosis.lengths,
        agreements=list(_agreement_rows(diagnosis)),
    )


def _verdict(diagnosis: Diagnosis) -> str:
    counts = {
        s: sum(p.severity == s for p in diagnosis.problems) for s in ("error", "warning", "note")
    }
    found = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
    return listed(found) or "No problems were found"


def _tiles(diagnosis: Diagnosis) -> Iterator[tuple[str, str, str]]:
    """Yield name, figure and remark of what stands at the top of the page."""
    odd = f"{diagnosis.odd_rows:,} of them odd" if diagnosis.odd_rows else "all readable"
    yield "rows", f"{diagnosis.rows:,}", odd
    yield (
        "different texts",
        f"{diagnosis.texts:,}",
        f"under {diagnosis.prompts:,} prompts" if diagnosis.prompts else "",
    )
    named = len(set(diagnosis.judges) - {None})
    yield "judges", f"{named:,}", f"{diagnosis.judges.get(None, 0):,} judgements name nobody"
    if diagnosis.kinds.keys() & {"comparison", "ranking"}:
        yield "ties", f"{diagnosis.ties:,}", f"and {diagnosis.tied_rankings:,} rankings with a tie"
    if (bias := diagnosis.length_bias) is not None:
        yield "the longer text won", f"{bias.share:.0%}", f"[{bias.low:.0%}, {bias.high:.0%}]"
    defined = {
        kind: found.alpha
        for kind, found in diagnosis.agreements.items()
        if not math.isnan(found.alpha)
    }
    for kind, alpha in defined.items():
        yield f"judges' alpha, {kind}s", f"{alpha:.2f}", "1 agreement, 0 chance"


def _judges(diagnosis: Diagnosis) -> dict[str, int]:
    """Return the judgements of the busiest judges, the others together, and those that name nobody."""
    named = {name: count for name, count in diagnosis.judges.items() if name is not None}
    busiest = sorted(named.items(), key=lambda judge: (-judge[1], judge[0]))
    rows = dict(busiest[:_SHOWN_JUDGES])
    if rest := busiest[_SHOWN_JUDGES:]:
        rows[f"{len(rest):,} other judges"] = sum(count for _, count in rest)
    if None in diagnosis.judges:
        rows["nobody named"] = diagnosis.judges[None]
    return rows


def _bars(counts: dict[str, int]) -> list[tuple[str, str, float]]:
    """Return name, count and length in per cent of each bar."""
    most = max(counts.values(), default=1)
    return [(name, f"{count:,}", 100 * count / most) for name, count in counts.items()]


def _agreement_rows(diagnosis: Diagnosis) -> Iterator[list[Any]]:
    for kind, found in diagnosis.agreements.items():
        pairwise = found.pairwise
        yield [
            f"{kind}s",
            "nothing varies" if math.isnan(found.alpha) else f"{found.alpha:.3f}",
            found.level,
            f"{pairwise.share:.1%} [{pairwise.low:.1%}, {pairwise.high:.1%}]",
            f"{found.judges:,}",
            f"{pairwise.units:,}",
        ]
