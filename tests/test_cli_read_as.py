"""Every verb that reads says what it read, before it works, and in JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.cli import main
from tastemaker.progress import progress


def labels(path: Path, *, remark: str = "ok") -> Path:
    rows = []
    for number in range(40):
        word = "good" if number % 2 else "bad"
        row = {"review": f"a {word} film {number}", "label": number % 2}
        rows.append({**row, "remark": f"{remark} {number}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taste")
    tm.fit(tm.read(labels(folder / "r.jsonl")), out=folder / "model")
    return folder / "model"


LINE = "read as: text=review, label=label (positive: 1); not used: remark"
TEXTS = "read as: text=review; not used: label, remark"


def test_fit_says_it_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said_before: list[str] = []

    def stop(*arguments: Any, **settings: Any) -> None:
        with progress("learning", None):
            said_before.append(capsys.readouterr().err)
            raise KeyboardInterrupt

    monkeypatch.setattr(tm, "fit", stop)
    source, anchor = labels(tmp_path / "r.jsonl"), labels(tmp_path / "anchor.jsonl")
    words = ["fit", source, "--anchor", anchor, "--out", tmp_path / "out"]
    with pytest.raises(SystemExit):
        main([str(word) for word in words])
    (err,) = said_before
    assert f"r.jsonl {LINE}" in err
    assert f"anchor.jsonl {TEXTS}" in err


def test_score_says_what_is_not_used(run: Any, taste: Path, tmp_path: Path) -> None:
    source = labels(tmp_path / "r.jsonl", remark="a long remark of many words")
    out = tmp_path / "out.jsonl"
    code, _, err = run("score", taste, "--file", source, "--out", out)
    assert code == 0
    assert TEXTS in err
    assert "note: column 'remark' looks like a text" in err


def test_score_leaves_out_prompts_that_texts_repeat(
    run: Any, taste: Path, tmp_path: Path
) -> None:
    """As `fit` reads such a file, so that the numbers are of the same texts."""
    rows = []
    for number in range(4):
        prompt = f"What about film {number}?"
        rows.append({"prompt": prompt, "text": f"{prompt} It is good."})
    source = tmp_path / "r.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out.jsonl"
    _, _, err = run("score", taste, "--file", source, "--out", out)
    assert "text=text (without the prompt it begins with)" in err
    lines = out.read_text().splitlines()
    scores = [json.loads(line)["tastemaker_score"] for line in lines]
    (expected, *_) = (
        tm.load(taste).score_all([tm.Example("It is good.", rows[0]["prompt"])]).values
    )
    assert scores[0] == pytest.approx(expected)


def test_doctor_says_what_the_test_data_were_read_as(run: Any, tmp_path: Path) -> None:
    source, test = labels(tmp_path / "r.jsonl"), labels(tmp_path / "test.jsonl")
    code, out, err = run("doctor", source, "--test", test)
    assert code == 0
    assert f"r.jsonl {LINE}" in err
    assert f"test.jsonl {LINE}" in err
    _, out, _ = run("doctor", source, "--test", test, "--json")
    sources = [one["source"] for one in json.loads(out)["read_as"]]
    assert sources == ["r.jsonl", "test.jsonl"]


def test_evaluate_says_what_rewardbench_was_read_as(
    run: Any, taste: Path, tmp_path: Path
) -> None:
    row = {"prompt": "Q", "chosen": ["good"], "rejected": ["bad"], "subset": "Math"}
    source = tmp_path / "bench.jsonl"
    source.write_text(json.dumps({**row, "id": "1", "models": ["m"]}) + "\n")
    code, _, err = run("evaluate", taste, source)
    assert code == 0
    assert "read as: " in err
    assert "(format rewardbench); not used: models" in err
    _, out, _ = run("evaluate", taste, source, "--json")
    (shown,) = json.loads(out)["read_as"]
    assert shown["kinds"] == {"ranking": 1}


def test_the_loop_says_what_it_read(run: Any, tmp_path: Path) -> None:
    labels(tmp_path / "r.jsonl")
    loop = tmp_path / "loop.yaml"
    loop.write_text("judgements: r.jsonl\nfit:\n  backbone: linear\n")
    code, out, err = run("loop", loop, "--out", tmp_path / "run")
    assert code == 0, err
    assert f"r.jsonl {LINE}" in out + err
