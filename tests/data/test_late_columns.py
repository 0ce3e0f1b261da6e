"""Columns that are empty in the first hundred rows, or that only later rows have."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Message

_ROWS, _LATE = 160, 130
_HISTORY = [["Earlier?", "Before."]]
_TURNS = (
    Message("system", "You are kind."),
    Message("user", "Earlier?"),
    Message("assistant", "Before."),
    Message("user", "Why 159?"),
)


def _written(path: Path, row: Callable[[int], Mapping[str, Any]]) -> Path:
    rows = [json.dumps(row(number)) for number in range(_ROWS)]
    path.write_text("\n".join(rows))
    return path


def _turns(number: int, empty: Any) -> dict[str, Any]:
    """Return a history and a system prompt that only late rows have."""
    is_late = number >= _LATE
    return {
        "history": _HISTORY if is_late else empty,
        "system": "You are kind." if is_late else "",
    }


def _pair(number: int) -> dict[str, Any]:
    sides = {"chosen": f"good {number}", "rejected": f"bad {number}"}
    return {"prompt": f"Why {number}?", **sides}


def _answers(number: int) -> dict[str, Any]:
    texts = {"response_a": f"good {number}", "response_b": f"bad {number}"}
    winner = "ab"[number % 2] if number > 120 else None
    return {"question": f"Why {number}?", **texts, "winner": winner}


def _labelled(number: int) -> dict[str, Any]:
    return {"query": f"Why {number}?", "text": f"t {number}", "label": number % 2}


@pytest.mark.parametrize("row", [_pair, _answers, _labelled])
@pytest.mark.parametrize("empty", [[], None, ""])
def test_turns_that_only_late_rows_have_are_read(
    row: Callable[[int], dict[str, Any]], empty: Any, tmp_path: Path
) -> None:
    source = _written(tmp_path / "r.jsonl", lambda n: row(n) | _turns(n, empty))
    report: list[tm.ReadAs] = []
    judgements = tm.read(source, report=report)
    assert report[0].roles["history"] == "history"
    assert report[0].roles["system"] == "system"
    assert judgements[-1].prompt == _TURNS


def test_columns_that_are_always_empty_make_no_chat(tmp_path: Path) -> None:
    empty = {"system": "", "history": []}
    source = _written(tmp_path / "r.jsonl", lambda n: _pair(n) | empty)
    shown = tm.inspect(source).read_as
    assert set(shown.unused) == {"system", "history"}
    assert tm.read(source)[-1].prompt == "Why 159?"


def test_an_empty_prompt_column_gives_way_to_a_filled_one(tmp_path: Path) -> None:
    source = _written(tmp_path / "r.jsonl", lambda n: _labelled(n) | {"prompt": ""})
    assert tm.inspect(source).read_as.roles["prompt"] == "query"
    assert tm.read(source)[-1].prompt == "Why 159?"


def test_a_prompt_column_that_only_late_rows_have_is_said_or_read(
    tmp_path: Path,
) -> None:
    def row(number: int) -> dict[str, Any]:
        late = {"question": "Why?", "judge": "Ann"} if number >= _LATE else {}
        sides = {"chosen": f"good {number}", "rejected": f"bad {number}"}
        return sides | late

    source = _written(tmp_path / "r.jsonl", row)
    shown = tm.inspect(source).read_as
    assert shown.roles["judge"] == "judge"
    assert shown.unused == ("question",)
    (note,) = shown.notes
    assert "'question' is not used: r.jsonl:131 is the first row" in note
    assert "--prompt-column" in note
    assert tm.read(source, prompt="question")[-1].prompt == "Why?"


def _csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_score_reads_a_late_system_prompt_as_fit_does(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    rows = []
    for number in range(_ROWS):
        system = "You are kind." if number >= _LATE else ""
        rows.append(_labelled(number) | {"system": system})
    source = _csv(tmp_path / "r.csv", rows)
    model = tmp_path / "model"
    tm.fit(tm.read(source), out=model)
    out = tmp_path / "out.jsonl"
    code, _, err = run("score", model, "--file", source, "--out", out)
    assert code == 0
    assert "read as: prompt=query, system=system, text=text" in err


@pytest.mark.parametrize("row", [_pair, _answers, _labelled])
def test_a_named_column_may_be_empty_where_it_is_first_there(
    row: Callable[[int], dict[str, Any]], tmp_path: Path
) -> None:
    def late(number: int) -> dict[str, Any]:
        by_whom = "Ann" if number > _LATE else None
        return row(number) | ({"by_whom": by_whom} if number >= _LATE else {})

    source = _written(tmp_path / "r.jsonl", late)
    judgements = tm.read(source, judge="by_whom")
    assert [one.judge for one in judgements[-30:]] == [None] + ["Ann"] * 29


class _CountedRows(list[dict[str, Any]]):
    """Rows that count how many of them were looked at."""

    count = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in super().__iter__():
            self.count += 1
            yield row


def test_the_search_for_a_prompt_ends(tmp_path: Path) -> None:
    """Alpaca's input and system are often empty everywhere: no pass over the file for them."""
    empty = {"system": "", "input": "", "history": []}
    rows = _CountedRows(_pair(number) | empty for number in range(10_000))
    tm.inspect(rows)
    assert 10_000 <= rows.count < 15_000


def test_a_late_prompt_beside_another_one_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"question": f"Q{n}?", "chosen": f"a {n}", "rejected": "b"} for n in range(150)
    ]
    rows += [{"prompt": "P?", "chosen": f"c {n}", "rejected": "d"} for n in range(9)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    report: list[Any] = []
    judgements = tm.read(path, report=report)
    assert len(judgements) == 159
    (read_as,) = report
    assert any("column 'prompt' is not used" in note for note in read_as.notes)


def test_no_column_of_our_own_judgements_is_called_unused() -> None:
    """A frame or a file may have every column in every row, mostly empty."""
    columns = (
        "kind",
        "prompt",
        "tiers",
        "text",
        "rating",
        "chosen",
        "rejected",
        "note",
    )
    rows: list[dict[str, Any]] = []
    for number in range(_ROWS):
        ranking = {"kind": "ranking", "tiers": [["good"], ["bad"]]}
        rating = {"kind": "rating", "text": f"text {number}", "rating": 1.5}
        row: dict[str, Any] = dict.fromkeys(columns)
        row |= {"prompt": "Why?", "note": "x"}
        rows.append(row | (ranking if number < _LATE else rating))
    report: list[tm.ReadAs] = []
    assert len(tm.read(rows, report=report)) == _ROWS
    assert report[0].unused == ("note",)
