"""Formats of several answers to one prompt, each with a number.

UltraFeedback, distilabel, GPT-4-LLM, Stack Exchange preferences, ELI5 and BeaverTails; OpenAI's
summaries with human feedback: comparisons and axes of TL;DR, and of news articles.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tastemaker.data.cells import GradeCells, LabelCells
from tastemaker.data.chats import completion_from, prompt_from
from tastemaker.data.formats import (
    Format,
    instruction_of,
    list_of,
    records_of,
    register_format,
    tiers_of,
)
from tastemaker.data.formats.pairs import comparison
from tastemaker.data.judgements import (
    Comparison,
    Example,
    Grade,
    Judgement,
    Label,
    Prompt,
    Ranking,
)
from tastemaker.data.metadata import judge_of
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import (
    answer_of,
    bad_cell,
    is_missing,
    number_of,
    whole_of,
)
from tastemaker.errors import DataError, SaysNothing

# ---- summaries -----------------------------------------------------------------------------------


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


# ---- scored answers ------------------------------------------------------------------------------


def _ranking(
    texts: Sequence[str],
    numbers: Sequence[Any],
    prompt: Prompt | None,
    metadata: Metadata,
    column: str,
) -> list[Judgement]:
    """Return the ranking of texts by their numbers, the highest first.

    Texts without a number were not judged and are left out.
    """
    where = metadata["where"]
    if len(texts) != len(numbers):
        raise DataError(
            f"{where}: {len(texts)} answers, but {len(numbers)} in column {column!r}."
        )
    judged = []
    ranks = []
    for text, value in zip(texts, numbers, strict=True):
        if not is_missing(value):
            judged.append(text)
            ranks.append(-number_of(value, where, column))
    return [Ranking(tiers_of(ranks, judged), prompt=prompt, **metadata)]


def _of_records(
    row: Row,
    metadata: Metadata,
    column: str,
    text: str,
    number: Callable[[dict[str, Any]], Any],
) -> tuple[list[str], list[Any]]:
    """Return the texts and the numbers of a list of answers, each of which is an object.

    column: the list. text: the key of an answer's text. number: returns an answer's number.
    """
    where = metadata["where"]
    texts, numbers = [], []
    for record in records_of(row[column], where, column):
        texts.append(completion_from(record.get(text), where, text))
        numbers.append(number(record))
    return texts, numbers


def _are_records(value: Any, key: str) -> bool:
    """Return whether a cell is a list of objects that have a key, or an object of such lists."""
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and all(
        isinstance(record, dict) and key in record for record in value
    )


def _ultrafeedback(row: Row, metadata: Metadata) -> list[Judgement]:
    texts, numbers = _of_records(
        row, metadata, "completions", "response", _overall
    )
    prompt = instruction_of(row, metadata["where"])
    return _ranking(texts, numbers, prompt, metadata, "overall_score")


def _overall(record: dict[str, Any]) -> Any:
    """Return the overall score of a completion, or the mean of its aspects in older files."""
    overall = record.get("overall_score")
    return record.get("fine-grained_score") if overall is None else overall


def _distilabel(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    column = "rating" if "rating" in row else "ratings"
    texts = []
    for answer in list_of(row["generations"], where, "generations"):
        texts.append(completion_from(answer, where, "generations"))
    numbers = list_of(row[column], where, column)
    prompt = None
    for name in ("prompt", "instruction", "input"):
        if prompt is None:
            prompt = prompt_from(row.get(name), where, name)
    return _ranking(texts, numbers, prompt, metadata, column)


def _matches_distilabel(row: Row) -> bool:
    """Return whether a row is one of generations alone; some say which is chosen."""
    is_pair = {"chosen", "rejected"} <= row.keys()
    return isinstance(row["generations"], list) and not is_pair


def _gpt4_llm(row: Row, metadata: Metadata) -> list[Judgement]:
    texts, numbers = _of_records(
        row,
        metadata,
        "responses_and_scores",
        "response",
        lambda record: record.get("score"),
    )
    prompt = prompt_from(row["user_input"], metadata["where"], "user_input")
    return _ranking(texts, numbers, prompt, metadata, "score")


def _stack_exchange(row: Row, metadata: Metadata) -> list[Judgement]:
    texts, numbers = _of_records(
        row,
        metadata,
        "answers",
        "text",
        lambda record: record.get("pm_score"),
    )
    prompt = prompt_from(row["question"], metadata["where"], "question")
    return _ranking(texts, numbers, prompt, metadata, "pm_score")


def _eli5(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    answers = row["answers"]
    texts = []
    for text in list_of(answers.get("text"), where, "answers, text"):
        texts.append(completion_from(text, where, "answers, text"))
    numbers = list_of(answers.get("score"), where, "answers, score")
    prompt = prompt_from(row["title"], where, "title")
    body = prompt_from(row.get("selftext"), where, "selftext")
    if isinstance(prompt, str) and isinstance(body, str):
        prompt = f"{prompt}\n\n{body}"
    return _ranking(texts, numbers, prompt, metadata, "answers, score")


def _matches_eli5(row: Row) -> bool:
    answers = row["answers"]
    return isinstance(answers, dict) and {"text", "score"} <= answers.keys()


_SAFE = LabelCells("is_safe", {"false": False, "true": True})


def _beavertails(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    text = completion_from(row["response"], where, "response")
    example = Example(text, prompt_from(row["prompt"], where, "prompt"))
    return [_SAFE.judgement(row["is_safe"], example, metadata)]


register_format(
    Format(
        "ultrafeedback",
        ("instruction", "completions"),
        _ultrafeedback,
        (Ranking,),
        optional=("input",),
        matches=lambda row: _are_records(row["completions"], "response"),
        excludes_others=True,
    )
)
for _column in ("rating", "ratings"):
    register_format(
        Format(
            f"distilabel-{_column}",
            ("generations", _column),
            _distilabel,
            (Ranking,),
            optional=("prompt", "instruction", "input"),
            matches=_matches_distilabel,
            excludes_others=True,
        )
    )
register_format(
    Format(
        "gpt4-llm",
        ("user_input", "responses_and_scores"),
        _gpt4_llm,
        (Ranking,),
        excludes_others=True,
    )
)
register_format(
    Format(
        "stack-exchange",
        ("question", "answers"),
        _stack_exchange,
        (Ranking,),
        matches=lambda row: _are_records(row["answers"], "pm_score"),
        excludes_others=True,
    )
)
register_format(
    Format(
        "eli5",
        ("title", "answers"),
        _eli5,
        (Ranking,),
        optional=("selftext",),
        matches=_matches_eli5,
        excludes_others=True,
    )
)
register_format(
    Format(
        "beavertails",
        ("prompt", "response", "is_safe"),
        _beavertails,
        (Label,),
        judging=("is_safe",),
    )
)
