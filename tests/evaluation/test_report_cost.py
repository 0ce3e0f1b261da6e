"""What a run cost, and how to repeat it: measured, stored with the run, shown in its report."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pages import Page

import tastemaker as tm
from tastemaker.costs import Cost, cost_now, count, measured, running, stage
from tastemaker.report import report_runs

Run = Callable[..., tuple[int, str, str]]
HEADING = "What it cost, and how to repeat it"


class Clock:
    """A clock that a test sets; the processor is half as busy as the clock is fast."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        clock = SimpleNamespace(
            monotonic=lambda: self.seconds, process_time=lambda: self.seconds / 2
        )
        monkeypatch.setattr("tastemaker.costs.time", clock)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    lines = []
    for number in range(40):
        for word, label in (("good", 1), ("bad", 0)):
            row = {"text": f"{word} film {number}", "label": label}
            lines.append(json.dumps(row) + "\n")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(lines))
    return path


def cost_of(path: Path) -> str:
    """Return the text of the part about cost of a page."""
    text = Page(path.read_text("utf-8")).text
    return text[text.rindex(HEADING) :]


def test_a_stage_inside_a_stage_is_counted_once(clock: Clock) -> None:
    with measured() as cost:
        clock.seconds = 2
        with stage("training"):
            clock.seconds = 5
            with stage("measuring"):
                clock.seconds = 9
            count(texts=3)
            clock.seconds = 10
        count(texts=4)
        clock.seconds = 12
    # training: from 2 to 10 without the 4 s of measuring
    assert cost.stages == {"training": 4.0, "measuring": 4.0}
    assert (cost.seconds, cost.processor_seconds) == (12.0, 6.0)
    assert cost.counts == {"texts": 7}
    rows = [(name, share) for name, _, share in cost.shares()]
    assert rows == [("training", "33%"), ("measuring", "33%"), ("the rest", "33%")]


def test_a_run_that_goes_on_adds_to_what_it_cost(clock: Clock, tmp_path: Path) -> None:
    with running("tastemaker fit a"), measured(seed=3) as cost, stage("training"):
        clock.seconds = 7
    cost.write(tmp_path)
    clock.seconds = 100
    with running("tastemaker fit a --resume"):
        clock.seconds = 102
        with measured(before=Cost.read(tmp_path), seed=3) as cost:
            clock.seconds = 105
    # 7 s before; now 2 s of reading and 3 s more
    assert cost.seconds == 12.0
    assert cost.stages == {"starting and reading": 2.0, "training": 7.0}
    assert cost.command == "tastemaker fit a"


def test_a_stage_that_has_not_ended_is_in_the_cost_of_a_checkpoint(
    clock: Clock,
) -> None:
    with measured() as cost, stage("training"):
        clock.seconds = 4
        with stage("measuring"):
            clock.seconds = 5
            assert cost_now() is cost
            assert cost.stages == {"training": 4.0, "measuring": 1.0}
            clock.seconds = 7
        clock.seconds = 10
        cost_now()
        assert cost.stages == {"training": 7.0, "measuring": 3.0}
    assert cost.stages == {"training": 7.0, "measuring": 3.0}


def test_a_fit_that_goes_on_counts_its_texts_once(rows: Path) -> None:
    cost = None
    for _ in ("killed", "resumed"):
        with measured(before=cost) as cost:
            tm.fit(tm.read(rows))
    assert cost is not None
    assert cost.counts == {"texts": 72}


@pytest.mark.parametrize(
    "values",
    [
        '{"stages": {"training": "x"}}',
        '{"stages": {"training": Infinity}}',
        '{"seconds": NaN}',
        '{"counts": {"texts": null}}',
        '{"versions": {"torch": 2}}',
        '{"command": 3}',
        '{"seed": "x"}',
        '{"device": null}',
    ],
)
def test_a_damaged_cost_is_no_cost(values: str, tmp_path: Path) -> None:
    (tmp_path / "cost.json").write_text(values)
    assert Cost.read(tmp_path) is None


def test_a_fit_and_an_evaluation_tell_what_they_cost(
    run: Run, rows: Path, tmp_path: Path
) -> None:
    taste, out = tmp_path / "taste", tmp_path / "evaluated"
    code, _, err = run("fit", rows, "--out", taste, "--seed", 7, "--report")
    assert code == 0, err
    text = cost_of(taste / "report" / "report.html")
    assert f"tastemaker fit {rows} --out {taste} --seed 7 --report" in text
    assert "taste (seed 7)" in text
    for words in ("starting and reading", "calibrating and measuring", " MB", "cpu"):
        assert words in text
    assert "72 texts" in text, "a tenth of 80 is held out"
    assert f'"tastemaker": "{tm.__version__}"' in text
    code, _, err = run("evaluate", taste, rows, "--report", out)
    assert code == 0, err
    assert f"tastemaker evaluate {taste} {rows}" in cost_of(out / "report.html")
    assert "80 judgements" in cost_of(out / "report.html")
    both = cost_of(report_runs([taste, out], tmp_path / "both"))
    assert "taste (seed 7)" in both
    assert "evaluated (seed 0)" in both


def test_runs_of_one_name_are_told_apart_by_their_folders(
    rows: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / name / "taste" for name in ("one", "two")]
    for folder in folders:
        tm.fit(tm.read(rows), out=folder)
    text = cost_of(report_runs(folders, tmp_path / "out"))
    assert "one/taste" in text
    assert "two/taste" in text


def test_a_password_is_in_no_report(run: Run, rows: Path, tmp_path: Path) -> None:
    address = "postgresql://ann:secret@db/judgements"
    words = ("--out", tmp_path / "taste", "--tie", address, "--report")
    code, _, err = run("fit", rows, *words)
    assert code == 0, err
    page = (tmp_path / "taste" / "report" / "report.html").read_text("utf-8")
    assert "postgresql://ann:…@db/judgements" in page
    assert "secret" not in page


def test_a_token_in_an_address_is_in_no_report(
    run: Run, rows: Path, tmp_path: Path
) -> None:
    for address, shown in (
        ("http://host/SECRET/get_reward=0.5", "http://host/…/get_reward=0.5"),
        ("https://host/score?key=SECRET", "https://host/score"),
        ("postgresql://ann:it'SECRET@db/x", "postgresql://ann:…@db/x"),
        ("postgresql+psycopg://ann@db/x", "postgresql+psycopg://ann@db/x"),
        ("See [http://host] now", "See [http://"),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
    ):
        words = ("--out", tmp_path / "taste", "--tie", address, "--overwrite")
        assert run("fit", rows, *words)[0] == 0
        cost = (tmp_path / "taste" / "run" / "cost.json").read_text("utf-8")
        assert shown in json.loads(cost)["command"]
        assert "SECRET" not in cost


def test_a_run_from_python_has_no_command(tmp_path: Path) -> None:
    labels = []
    for number in range(40):
        labels += [tm.Label(f"good {number}", True), tm.Label(f"bad {number}", False)]
    tm.fit(labels, out=tmp_path / "taste")
    page = report_runs([tmp_path / "taste"], tmp_path / "out")
    assert "Run from Python: there is no command" in cost_of(page)


@pytest.mark.parametrize("text", ["{", "[1]", '{"seconds": "x"}', '{"odd": 1}'])
def test_a_damaged_cost_is_left_out(text: str, tmp_path: Path) -> None:
    labels: list[Any] = []
    for number in range(40):
        labels += [tm.Label(f"good {number}", True), tm.Label(f"bad {number}", False)]
    tm.fit(labels, out=tmp_path / "taste")
    (tmp_path / "taste" / "run" / "cost.json").write_text(text)
    page = report_runs([tmp_path / "taste"], tmp_path / "out")
    assert HEADING not in page.read_text("utf-8")
