"""The evaluation as one HTML page that needs nothing else, one overview picture, and one JSON file.

Every text on the page is hostile: the template escapes all it is given, and the page forbids itself to run or fetch
anything.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined

from tastemaker.evaluation.findings import Evaluation, measure_rows, part_rows, slice_rows
from tastemaker.evaluation.mistakes import excerpt_of, mistakes
from tastemaker.evaluation.plots import overview_png, panel_svg, panels
from tastemaker.evaluation.words import NAMES, listed, shown
from tastemaker.files import writing_file

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_SHOWN_COPIES = 5
_TILES = ("accuracy", "auroc", "ece", "pearson", "spearman", "mae", "kendall_tau", "ndcg", "top1")


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
        judgements=listed(f"{found.n:,} {found.kind}s" for found in evaluation.kinds),
        texts=f"{len(evaluation.examples):,}",
        tiles=list(_tiles(evaluation)),
        verdicts=evaluation.verdicts(),
        measures=[measure_rows(found) for found in evaluation.kinds],
        rivals=list(_rivals(evaluation)),
        parts=[rows for found in evaluation.kinds for rows in part_rows(found)],
        figures=[
            {"title": panel.title, "caption": panel.caption, "data": base64.b64encode(panel_svg(panel)).decode()}
            for panel in panels(evaluation)
        ],
        slices=slice_rows(evaluation),
        mistakes=mistakes(evaluation),
        duplicates=_duplicate_rows(evaluation),
        copies=[excerpt_of(evaluation.examples[i]) for i in copied],
    )


def _tiles(evaluation: Evaluation) -> Iterator[dict[str, str]]:
    """Yield the few figures that stand at the top of the page."""
    for found in evaluation.kinds:
        for name in _TILES:
            if name in found.measured.model and (name != "kendall_tau" or not found.yardstick.of_one_text):
                value, _, interval = shown(name, found.measured.model[name]).partition(" ")
                heading = NAMES[name] if len(evaluation.kinds) == 1 else f"{NAMES[name]}, {found.kind}s"
                yield {"name": heading, "value": value, "interval": interval}


def _rivals(evaluation: Evaluation) -> Iterator[str]:
    """Yield what the rivals of the kinds at hand are, a sentence each."""
    titles = {found.yardstick.constant_title for found in evaluation.kinds}
    if any(found.linear_predictions is not None for found in evaluation.kinds):
        yield "The linear baseline counts words and was fitted on the same judgements."
    if any(found.measured.longer for found in evaluation.kinds):
        yield "The longer prefers whichever text has more characters."
    if "constant" in titles:
        yield "The constant always says the same, the best such thing, known in hindsight."
    if "coin" in titles:
        yield "The coin orders by chance."


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
