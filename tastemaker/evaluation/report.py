"""The evaluation as one HTML page that needs nothing else, one overview picture, and one JSON file.

Every text on the page is hostile: the template escapes all it is given, and the page forbids itself to run or fetch
anything.
"""

import base64
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.evaluation.findings import NAMES, Evaluation, KindFindings, measure_rows, shown, slice_rows
from tastemaker.evaluation.plots import overview_png, panel_svg, panels
from tastemaker.files import writing_file

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_SHOWN_MISTAKES = 5
_SHOWN_COPIES = 5
_SHOWN_CHARACTERS = 320
_TILES = ("accuracy", "auroc", "ece", "pearson", "spearman", "mae")


def write_report(evaluation: Evaluation, folder: Path, *, title: str = "How far to trust this reward model") -> None:
    """Write `report.html`, `report.png` and `evaluation.json` into the folder; other files there stay as they are.

    All three are made before the first is written. Raises StorageError for a full disk or an unwritable folder.
    """
    numbers = json.dumps(evaluation.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    contents = {
        "report.html": html_of(evaluation, title=title).encode("utf-8", "replace"),
        "report.png": overview_png(evaluation),
        "evaluation.json": numbers.encode(),
    }
    for name, content in contents.items():
        with writing_file(Path(folder) / name) as temporary:
            temporary.write_bytes(content)


def html_of(evaluation: Evaluation, *, title: str) -> str:
    """Return the report as one HTML page with its figures inside."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    copied = np.flatnonzero(evaluation.duplicates.in_training)[:_SHOWN_COPIES]
    return template.render(
        title=title,
        judgements=" and ".join(f"{found.n:,} {found.kind}s" for found in evaluation.kinds),
        texts=f"{len(evaluation.examples):,}",
        tiles=list(_tiles(evaluation)),
        verdicts=evaluation.verdicts(),
        has_linear=any(found.linear_predictions is not None for found in evaluation.kinds),
        measures=[measure_rows(found) for found in evaluation.kinds],
        figures=[
            {"title": panel.title, "caption": panel.caption, "data": base64.b64encode(panel_svg(panel)).decode()}
            for panel in panels(evaluation)
        ],
        slices=slice_rows(evaluation),
        mistakes=[group for found in evaluation.kinds for group in _mistakes(evaluation, found)],
        duplicates=_duplicate_rows(evaluation),
        copies=[_excerpt(evaluation.examples[i]) for i in copied],
    )


def _tiles(evaluation: Evaluation) -> Iterator[dict[str, str]]:
    """Yield the few figures that stand at the top of the page."""
    for found in evaluation.kinds:
        for name in _TILES:
            if name in found.measured.model:
                value, _, interval = shown(name, found.measured.model[name]).partition(" ")
                heading = NAMES[name] if len(evaluation.kinds) == 1 else f"{NAMES[name]}, {found.kind}s"
                yield {"name": heading, "value": value, "interval": interval}


def _duplicate_rows(evaluation: Evaluation) -> list[list[str]]:
    duplicates = evaluation.duplicates
    in_training = "not known" if duplicates.texts is None else f"{duplicates.texts:,}"
    rows = [
        ["exact duplicates", "found"],
        ["evaluated texts that occur in the training data", in_training],
        ["judgements that repeat one inside the evaluated data", f"{duplicates.within:,}"],
    ]
    rows += [[f"{NAMES[name]} without the former", shown(name, e)] for name, e in duplicates.without.items()]
    return rows


def _mistakes(evaluation: Evaluation, found: KindFindings) -> Iterator[dict[str, Any]]:
    """Yield the worst mistakes of either direction, the worst first; nothing for a direction without one."""
    predicted, said = found.predictions.predicted, found.said
    error, is_mistake = predicted - said, found.yardstick.is_mistake(said, predicted)
    for sign, word in ((1, "too high"), (-1, "too low")):
        wrong = np.flatnonzero(is_mistake & (sign * error > 0))
        # scores break the ties of probabilities that are all but certain
        order = wrong[np.lexsort((-sign * found.predictions.scores[wrong], -sign * error[wrong]))]
        rows = _mistake_rows(evaluation, found, order)
        if rows:
            yield {
                "title": f"The {len(rows)} {found.kind}s predicted most {word}",
                "note": "Read them: is the model wrong, is the judgement, or is the text of a kind that is new to it?",
                "rows": rows,
            }


def _mistake_rows(evaluation: Evaluation, found: KindFindings, order: NDArray[np.intp]) -> list[dict[str, str]]:
    """Describe the first few judgements of `order`, each text once."""
    rows: dict[int, dict[str, str]] = {}
    for i in order:
        if len(rows) == _SHOWN_MISTAKES:
            break
        rows.setdefault(
            int(found.text[i]),
            {
                "predicted": found.yardstick.in_words(float(found.predictions.predicted[i])),
                "said": found.yardstick.in_words(float(found.said[i])),
                "score": f"{found.predictions.scores[i]:+.2f}",
                "text": _excerpt(evaluation.examples[found.text[i]]),
                "where": found.where[i],
            },
        )
    return list(rows.values())


def _excerpt(example: Example) -> str:
    """Return the beginning of an example as one line without control characters."""
    text = example.text if example.prompt is None else f"{example.prompt} → {example.text}"
    start = " ".join(text[: 4 * _SHOWN_CHARACTERS].split())
    if len(start) > _SHOWN_CHARACTERS or len(text) > 4 * _SHOWN_CHARACTERS:
        start = start[:_SHOWN_CHARACTERS].rstrip() + " …"
    return "".join("\ufffd" if unicodedata.category(c) in {"Cc", "Cs"} else c for c in start)
