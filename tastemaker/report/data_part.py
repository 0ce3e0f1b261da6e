"""The part of a report about the data: the doctor's diagnosis."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tastemaker.doctor.diagnosis import Diagnosis
from tastemaker.readable import listed
from tastemaker.report.page import PARTS_FILE, Part, page, write_together
from tastemaker.report.summary import summary_of_diagnosis

_SHOWN_JUDGES = 20
_SHOWN_PLACES = 10


def write_doctor_page(
    diagnosis: Diagnosis,
    folder: Path,
    *,
    title: str = "What is wrong with this data",
    read_as: Sequence[str] = (),
) -> None:
    """Write `doctor.html`, `doctor.json` and `report.json` into the folder.

    read_as: lines about what each source was read as. `report.json` is what `report` shows. Other
    files there stay as they are. All are made before the first is written. Raises StorageError for
    a full disk or an unwritable folder.
    """
    part = data_part(diagnosis, read_as)
    write_together(
        folder,
        {
            "doctor.html": page([part], title=title),
            "doctor.json": diagnosis.as_dict(),
            PARTS_FILE: part.as_dict(),
        },
    )


def doctor_html(
    diagnosis: Diagnosis, *, title: str, language: str = "en"
) -> str:
    """Return the diagnosis as one HTML page."""
    return page([data_part(diagnosis)], title=title, language=language)


def data_part(diagnosis: Diagnosis, read_as: Sequence[str] = ()) -> Part:
    """Return the part of a report about the data. read_as: lines about what was read as what."""
    kinds = {}
    for kind, count in diagnosis.kinds.items():
        kinds[f"{kind}s"] = count
    correlations = []
    for kind, value in diagnosis.length_correlations.items():
        correlations.append((f"{kind}s", value))
    bias = diagnosis.length_bias
    shown_bias = None
    if bias is not None:
        shown_bias = asdict(bias) | {
            "share": bias.share,
            "meaning": bias.meaning,
        }
    lengths = diagnosis.lengths
    values = {
        "verdict": _verdict(diagnosis),
        "read_as": read_as,
        "problems": [problem.as_dict() for problem in diagnosis.problems],
        "shown_places": _SHOWN_PLACES,
        "kinds": _bars(kinds),
        "judges": _bars(_judges(diagnosis)),
        "bias": shown_bias,
        "correlations": correlations,
        "lengths": {
            "unit": lengths.unit,
            "cut": lengths.cut,
            "texts": lengths.texts,
            "limit": lengths.limit,
        },
        "length_rows": _length_rows(diagnosis),
        "agreements": _agreement_rows(diagnosis),
    }
    summary = summary_of_diagnosis(diagnosis, list(_tiles(diagnosis)))
    return Part("data", summary, values)


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
