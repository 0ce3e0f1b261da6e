"""What is printed is safe on a terminal, and in a spreadsheet it is said what is not."""

import csv
import json
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

import tastemaker as tm
from tastemaker.cli import main
from tastemaker.progress import progress
from tastemaker.readable import visible

TITLE = "\x1b]0;owned\x07 \x9b31m red \u202e \r over"
OBEYED = set("\x1b\x07\x9b\u202e\r")


def test_only_what_a_terminal_obeys_is_changed() -> None:
    plain = "Ä\t电影\n🏳️‍🌈 \u200f שלום"
    assert visible(plain) == plain
    assert visible(TITLE) == r"\x1b]0;owned\x07 \x9b31m red \u202e \x0d over"
    assert visible("\ud800") == r"\ud800"


def shell(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command line."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small reward model whose judges have hostile names."""
    folder = tmp_path_factory.mktemp("taste")
    judgements = [
        tm.Label(f"{'good' if n % 2 else 'bad'} {n}{TITLE}", bool(n % 2), judge=TITLE)
        for n in range(60)
    ]
    tm.fit(judgements, out=folder / "model")
    return folder / "model"


def test_scores_show_control_characters(
    taste: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = shell(capsys, "score", taste, TITLE)
    assert r"\x1b]0;owned\x07" in out
    assert not OBEYED & set(out)
    _, out, _ = shell(capsys, "score", taste, TITLE, "--json")
    assert json.loads(out)["scores"]
    monkeypatch.setattr(sys, "stdin", StringIO(f"a{TITLE}\n"))
    _, out, _ = shell(capsys, "score", taste, "-")
    assert r"\x1b" in out
    assert not OBEYED & set(out)


def test_messages_show_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"text": TITLE, "label": TITLE}
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row))
    for verb in ("fit", "doctor", "evaluate"):
        words: list[object] = [verb, tmp_path / "r.jsonl"]
        if verb == "fit":
            words += ["--out", tmp_path / "out"]
        if verb == "evaluate":
            words.insert(1, tmp_path / f"no{TITLE}")
        _, out, err = shell(capsys, *words)
        assert not OBEYED & set(out + err)


def test_json_spells_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"text": "good", "label": 1, "judge": TITLE}
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    _, out, _ = shell(capsys, "doctor", tmp_path / "r.jsonl", "--json")
    assert not OBEYED & set(out)
    assert json.loads(out)["judges"] == {TITLE: 1}


def test_progress_shows_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    with progress(f"reading \x07[red]{TITLE}", 1) as advance:
        advance(1, "\x07")
    err = capsys.readouterr().err
    assert "\x07" not in err


ROWS = [{"prompt": "Q", "chosen": "a", "rejected": "a"}] * 2


def test_names_of_files_show_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {**ROWS[0], "rejected": "b"}
    path = tmp_path / f"r{TITLE.replace('/', '')}.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (*ROWS, good)))
    tm.read(path)
    err = capsys.readouterr().err
    assert "2 rows hold no judgement" in err
    assert not OBEYED & set(err)
    for option in ("--quiet", "-q"):
        code, _, err = shell(capsys, "doctor", path, option)
        assert (code, err) == (0, "")


def test_logs_show_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal there is a line a minute; a log is looked at on a terminal later."""
    clock = SimpleNamespace(monotonic=iter([0.0, 100.0]).__next__)
    monkeypatch.setattr("tastemaker.progress.time", clock)
    with progress(f"reading {TITLE}", None) as advance:
        advance(1, TITLE)
    err = capsys.readouterr().err
    assert err.count("owned") == 2
    assert not OBEYED & set(err)


CELLS = ['=HYPERLINK("http://x")', "+1 good film", "-", "@home", "-3.5", "plain", "'=1"]


def test_formulas_are_said_and_read_back_as_they_were(
    taste: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.dumps({"text": cell, "note": cell}) for cell in CELLS]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    out = tmp_path / "scored.csv"
    words = ("score", taste, "--file", tmp_path / "r.jsonl", "--out", out)
    code, _, err = shell(capsys, *words)
    assert code == 0
    assert "scored.csv: 8 cells begin with =, +, - or @" in err
    with out.open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == CELLS
    _, _, err = shell(capsys, *words[:-1], tmp_path / "scored.jsonl")
    assert "cells begin" not in err
