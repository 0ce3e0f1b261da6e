"""One report of run folders: models, evaluations, diagnoses, GPTs and steered runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tastemaker.costs import Cost
from tastemaker.data.source_names import distinct_names
from tastemaker.errors import DataError, UsageError
from tastemaker.report.frontier_page import steering_part
from tastemaker.report.kl_frontier import frontier
from tastemaker.report.page import (
    PARTS_FILE,
    Part,
    page,
    read_part,
    write_together,
)
from tastemaker.report.report_page import Costs, cost_part, evaluation_part
from tastemaker.report.steered_runs import BestOfCurve
from tastemaker.report.summary import (
    Summary,
    summary_of_gpt,
    tiles_of_figures,
)
from tastemaker.report.words import Sentence
from tastemaker.reward.explain import explain
from tastemaker.reward.model import RewardModel

REPORT = "report.html"
REPORT_FOLDER = "report"
"""Within a run folder: the files that the verb wrote about its run."""

RUN = "run"
"""Within a run folder: what training wrote."""
_CONTRACT = "tastemaker.json"
_STEERED = "steering.json"
_PRETRAINED = "pretraining.json"
_MOST_JUDGES = 30


def report_runs(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    language: str = "en",
    best_of: BestOfCurve | None = None,
    stages: Costs = (),
) -> Path:
    """Write one page about run folders, `report.html`, into `out`; return its path.

    folders: of `fit`, `evaluate --report`, `doctor --report`, `pretrain` and `steer`, or reports of
    such. Steered runs share one part. best_of: beside them. language: of the page,
    en or zh. stages: what the stages of a loop cost that made these folders. Raises UsageError for
    a folder that is none of these.
    """
    parts = parts_of_runs(folders, best_of=best_of, stages=stages)
    html = page(parts, title=title, language=language)
    write_together(Path(out), {REPORT: html})
    return Path(out) / REPORT


def report_model(
    model: RewardModel, out: Path, *, language: str = "en"
) -> Path:
    """Write `report.html` and `report.json` about a model that was just fitted; return the page.

    `report.json` holds excerpts of held-out texts: leave it out where these are private. Raises
    UsageError for a model without its evaluation, as one that was loaded.
    """
    if model.held_out_evaluation is None:
        raise UsageError(
            "a loaded model has no evaluation in memory: evaluate it, and report that."
        )
    evaluation = model.held_out_evaluation
    explanations = [explain(model, each) for each in evaluation.extremes(2)]
    part = evaluation_part(evaluation, explanations=explanations)
    made = model_part(asdict(model.contract), "")
    parts = [part, replace(made, summary=Summary(made.summary.level))]
    parts += _cost_parts([out.parent])
    html = page(parts, language=language)
    write_together(out, {REPORT: html, PARTS_FILE: part.as_dict()})
    return out / REPORT


def has_report(folder: Path) -> bool:
    """Return whether `report_model` wrote both of its files into a folder."""
    # the last of the two
    return (folder / PARTS_FILE).is_file()


def parts_of_runs(
    folders: Sequence[str | Path],
    *,
    best_of: BestOfCurve | None = None,
    stages: Costs = (),
) -> list[Part]:
    """Return the parts of a report about run folders."""
    if not folders:
        raise UsageError("a report needs at least one run folder.")
    steered: list[Path] = []
    parts: list[Part] = []
    folders_of: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UsageError(
                f"{folder}: no such folder. A report is made of run folders."
            )
        if (folder / _STEERED).is_file():
            steered.append(folder)
            continue
        of_folder = list(_parts_of(folder))
        if not of_folder:
            raise UsageError(
                f"{folder}: not a run folder. A report is made of folders that fit, evaluate "
                "--report, doctor --report, pretrain or steer wrote."
            )
        parts += of_folder
        folders_of += [folder] * len(of_folder)
    parts = _labelled(parts, folders_of)
    if steered:
        parts.append(steering_part(frontier(steered, best_of=best_of)))
    if any(part.kind == "evaluation" for part in parts):
        # its summary says more than those of the models
        parts = [_without_summary(part) for part in parts]
    return parts + list(_cost_parts([*map(Path, folders)], stages))


def _labelled(parts: Sequence[Part], folders: Sequence[Path]) -> list[Part]:
    """Return the parts; where several are evaluations, each is labelled by its folder.

    folders: of each part.
    """
    is_evaluation = [part.kind == "evaluation" for part in parts]
    if sum(is_evaluation) < 2:
        return list(parts)
    names = distinct_names(folders)
    labelled = []
    for part, folder, is_it in zip(parts, folders, is_evaluation, strict=True):
        name = names.get(folder, folder.resolve().name)
        is_new = is_it and not part.label
        labelled.append(replace(part, label=name) if is_new else part)
    return labelled


def _cost_parts(folders: Sequence[Path], stages: Costs = ()) -> Iterator[Part]:
    """Yield the part about what runs cost, where they tell it.

    stages: of a loop, whose folders are some of these.
    """
    if stages:
        yield cost_part(stages)
        return
    costs = []
    names = distinct_names(folders)
    for folder in folders:
        cost = Cost.read(folder / RUN) or Cost.read(folder)
        if cost is not None:
            name = names.get(folder, folder.resolve().name)
            costs.append((name, cost))
    if costs:
        yield cost_part(costs)


def _without_summary(part: Part) -> Part:
    """Return the part of a model without its summary; any other part as it is."""
    if part.kind != "model":
        return part
    return replace(part, summary=Summary(part.summary.level))


def _parts_of(folder: Path) -> Iterator[Part]:
    """Yield the parts of one folder."""
    for stored in (folder / PARTS_FILE, folder / REPORT_FOLDER / PARTS_FILE):
        if stored.is_file():
            yield read_part(stored)
    if (folder / _CONTRACT).is_file():
        yield model_part(_json_of(folder / _CONTRACT), folder.name)
    elif (folder / _PRETRAINED).is_file():
        yield gpt_part(_json_of(folder / _PRETRAINED), folder.name)


def _json_of(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({error})."
        ) from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: not a JSON object.")
    return values


# --- a model ----------------------------------------------------------------------------------


def model_part(contract: Mapping[str, Any], label: str) -> Part:
    """Return the part about how a model was made, from its contract."""
    data = _mapping(contract.get("data"))
    figures = _mapping(contract.get("evaluation"))
    values = {
        "data": list(_data_rows(contract, data)),
        "sentences": [str(line) for line in data.get("not_learned") or []],
        "judges": list(_judge_rows(_mapping(contract.get("judges")))),
        "verdict": str(figures.get("verdict") or ""),
        "settings": _indented(contract.get("settings")),
        "versions": _indented(contract.get("versions")),
    }
    summary = Summary("usable")
    if figures:
        verdict = Sentence("verdict", {"verdict": values["verdict"]})
        tiles = tiles_of_figures(dict(figures))
        summary = Summary("usable", trust=[verdict], tiles=tiles)
    return Part("model", summary, values, label)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _indented(value: Any) -> str:
    return json.dumps(value or {}, indent=2, ensure_ascii=False)


def _data_rows(
    contract: Mapping[str, Any], data: Mapping[str, Any]
) -> Iterator[list[str]]:
    yield ["", ""]
    yield ["backbone", str(contract.get("backbone"))]
    for kind, count in _mapping(data.get("judgements")).items():
        yield [f"{kind}s to learn from", _count(count)]
    names = {
        "texts": "texts to learn from",
        "validation": "texts to calibrate on",
        "held_out": "texts that only measured",
        "near_copies": "near-copies kept on one side",
        "digest": "digest of the judgements",
    }
    for name, title in names.items():
        if name in data:
            yield [title, _count(data[name])]


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _judge_rows(judges: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield a heading and a row for each judge; nothing without judges."""
    if not judges:
        return
    yield ["judge", "judgements", "reliability", "95 % interval", "leniency"]
    for name, row in list(judges.items())[:_MOST_JUDGES]:
        numbers = _mapping(row)
        low, high = numbers.get("interval") or (None, None)
        yield [
            str(name),
            _count(numbers.get("judgements", "")),
            _signed(numbers.get("reliability")),
            f"[{_signed(low)}, {_signed(high)}]",
            _signed(numbers.get("leniency")),
        ]
    if len(judges) > _MOST_JUDGES:
        yield [f"{len(judges) - _MOST_JUDGES} more", "", "", "", ""]


def _signed(value: Any) -> str:
    return f"{value:+.2f}" if isinstance(value, int | float) else "–"


# --- a GPT ------------------------------------------------------------------------------------


def gpt_part(figures: Mapping[str, Any], label: str) -> Part:
    """Return the part about a pretrained GPT."""
    rows = [["", ""]]
    for name, value in figures.items():
        if isinstance(value, int | float | str):
            rows.append([name.replace("_", " "), _plain(value)])
    nested = _mapping(figures.get("figures"))
    for name, value in nested.items():
        if isinstance(value, int | float | str):
            rows.append([name.replace("_", " "), _plain(value)])
    return Part("gpt", summary_of_gpt(figures), {"figures": rows}, label)


def _plain(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else _count(value)
