"""OpenAI's summaries with human feedback: comparisons and axes of TL;DR, and of news articles."""

from typing import Any

from tastemaker.data.cells import GradeCells
from tastemaker.data.formats import Format, records_of, register_format
from tastemaker.data.formats.pairs import comparison
from tastemaker.data.judgements import Comparison, Example, Grade, Judgement
from tastemaker.data.metadata import judge_of
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import answer_of, bad_cell, is_missing, whole_of
from tastemaker.errors import DataError, SaysNothing

_OVERALL = GradeCells("overall", 1, 7)


def _prompt(info: Any, where: str) -> str:
    """Return the post under its title, or the article."""
    if not isinstance(info, dict):
        raise bad_cell(info, where, "info", " where an object belongs.")
    body = info.get("post") or info.get("article")
    parts = []
    if not is_missing(info.get("title")):
        parts.append(answer_of(info["title"], where, "info, title"))
    parts.append(answer_of(body, where, "info, post"))
    return "\n\n".join(parts)


def _by_worker(row: Row, metadata: Metadata) -> Metadata:
    if is_missing(row.get("worker")):
        return metadata
    return {**metadata, "judge": judge_of(row["worker"])}


def _comparisons(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    summaries = records_of(row["summaries"], where, "summaries")
    choice = whole_of(row["choice"], where, "choice")
    if len(summaries) != 2 or choice not in (0, 1):
        raise DataError(
            f"{where}: {len(summaries)} summaries and the choice {choice}; "
            "there are two, and 0 or 1 is the better one."
        )
    texts = []
    for summary in summaries:
        texts.append(answer_of(summary.get("text"), where, "summaries, text"))
    prompt = _prompt(row["info"], where)
    lead = 1.0 if choice == 0 else -1.0
    by_worker = _by_worker(row, metadata)
    return comparison(
        texts[0], texts[1], lead, prompt, by_worker, has_margin=False
    )


def _axes(row: Row, metadata: Metadata) -> list[Judgement]:
    """Return the overall grade of a summary. The other axes judge parts of its quality."""
    where = metadata["where"]
    summary = row["summary"]
    axes = summary.get("axes") or {}
    if is_missing(axes.get("overall")):
        raise SaysNothing(f"{where}: no overall grade among the axes.")
    text = answer_of(summary.get("text"), where, "summary, text")
    example = Example(text, _prompt(row["info"], where))
    by_worker = _by_worker(row, metadata)
    return [_OVERALL.judgement(axes["overall"], example, by_worker)]


def _matches_axes(row: Row) -> bool:
    summary = row["summary"]
    return isinstance(summary, dict) and "axes" in summary


register_format(
    Format(
        "tldr-comparisons",
        ("info", "summaries", "choice"),
        _comparisons,
        (Comparison,),
        judging=("choice",),
        optional=("worker",),
        excludes_others=True,
    )
)
register_format(
    Format(
        "tldr-axes",
        ("info", "summary"),
        _axes,
        (Grade,),
        optional=("worker",),
        matches=_matches_axes,
        excludes_others=True,
    )
)
