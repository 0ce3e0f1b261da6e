"""Every verb that reads says what it read, before it works, and in JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from nano import drawn, nano

import tastemaker as tm
from tastemaker.cli import main
from tastemaker.progress import progress
from tests.models.test_adopted import classifier
from tests.serving import tiny_taste


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
    page = tmp_path / "page"
    _, _, err = run("evaluate", taste, source, "--report", page)
    assert "--report writes nothing" in err
    assert not page.exists()
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


def pairs_with_a_copy(path: Path) -> Path:
    """Write pairs of which one compares a text with itself, which says nothing."""
    rows = []
    for number in range(40):
        sides = {"chosen": f"good {number}", "rejected": f"bad {number}"}
        rows.append({"prompt": f"Film {number}?", **sides, "judge": "Ann"})
    rows.append({**rows[0], "rejected": rows[0]["chosen"]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("verb", ["fit", "evaluate", "inspect", "split"])
def test_json_stands_alone_and_holds_the_remarks(
    run: Any, tmp_path: Path, verb: str
) -> None:
    source = pairs_with_a_copy(tmp_path / "p.jsonl")
    words: list[Any] = [verb, source]
    if verb in ("fit", "split"):
        words += ["--out", tmp_path / "out"]
    if verb == "evaluate":
        tm.fit(tm.read(source), out=tmp_path / "model")
        words.insert(1, tmp_path / "model")
    code, out, err = run(*words, "--json")
    assert code == 0, err
    result = json.loads(out)
    shown = result if verb == "inspect" else result["read_as"][0]
    assert shown["left_out"] == {"no_judgement": 1}
    if verb == "inspect":
        return
    assert "p.jsonl: 1 row holds no judgement and was left out" in err
    assert any("1 row holds no judgement" in line for line in result["remarks"])
    code, out, err = run(*words, "--json", "-q", *(["--overwrite"][: verb == "fit"]))
    assert err == ""
    assert "remarks" not in json.loads(out)


def test_score_tells_in_json_all_that_it_read(run: Any, tmp_path: Path) -> None:
    model = classifier(tmp_path / "rm", ["0"])
    source = labels(tmp_path / "r.jsonl", remark="a long remark of many words")
    anchor = labels(tmp_path / "anchor.jsonl")
    words = ["--file", source, "--out", tmp_path / "out.jsonl", "--json"]
    code, out, err = run("score", model, *words, "--anchor", anchor)
    assert code == 0, err
    shown = json.loads(out)["read_as"]
    assert [one["source"] for one in shown] == ["anchor.jsonl", "r.jsonl"]
    fitted = tmp_path / "fitted"
    _, out, _ = run("fit", source, "--anchor", anchor, "--out", fitted, "--json")
    of_fit = json.loads(out)["read_as"]
    assert [one.keys() for one in shown] == [one.keys() for one in of_fit]
    (note,) = shown[1]["notes"]
    assert "'remark' looks like a text" in note
    code, out, err = run("score", model, "good", "--anchor", anchor, "--json")
    assert [one["source"] for one in json.loads(out)["read_as"]] == ["anchor.jsonl"]


def test_loop_page_shows_what_was_read(run: Any, tmp_path: Path) -> None:
    labels(tmp_path / "r.jsonl")
    loop = tmp_path / "loop.yaml"
    loop.write_text("judgements: r.jsonl\nfit:\n  backbone: linear\n")
    code, _, err = run("loop", loop, "--out", tmp_path / "run")
    assert code == 0, err
    page = (tmp_path / "run" / "report" / "report.html").read_text()
    assert f"r.jsonl {LINE}" in page


def test_doctor_page_shows_what_was_read(run: Any, tmp_path: Path) -> None:
    source = labels(tmp_path / "r.jsonl", remark="a long remark of many words")
    code, _, err = run("doctor", source, "--report", tmp_path / "page")
    assert code == 0, err
    page = (tmp_path / "page" / "doctor.html").read_text()
    assert f"r.jsonl {LINE}" in page
    assert "column &#39;remark&#39; looks like a text" in page


def test_rank_says_what_calibration_was_read_as(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page itself is not opened."""
    monkeypatch.setattr(
        "tastemaker.rank.running.rank", lambda *arguments, **settings: None
    )
    calibration = tmp_path / "right.jsonl"
    calibration.write_text(json.dumps({"prompt": "Q", "chosen": "a", "rejected": "b"}))
    code, _, err = run("rank", tmp_path / "s.db", "--calibration", calibration)
    assert code == 0, err
    assert "read as: prompt=prompt, chosen=chosen, rejected=rejected" in err


def test_steer_says_what_openings_are_of(run: Any, tmp_path: Path) -> None:
    drawn(nano()).save(tmp_path / "gpt")
    source = labels(tmp_path / "r.jsonl")
    words = ["steer", tmp_path / "gpt", "--reward", "length", "--prompts", source]
    words += ["--opening", "1,2", "--steps", 1, "--batch", 4, "--max-tokens", 2]
    words += ["--measured", 4, "--windows", 1]
    code, _, err = run(*words, "--out", tmp_path / "said")
    assert code == 0, err
    assert TEXTS in err
    code, out, err = run(*words, "--out", tmp_path / "json", "--json")
    assert code == 0, err
    (shown,) = json.loads(out)["read_as"]
    assert shown["roles"] == {"text": "review"}


def test_score_says_in_json_that_texts_were_cut(run: Any, tmp_path: Path) -> None:
    tiny_taste().save(tmp_path / "taste")
    code, out, err = run("score", tmp_path / "taste", "word " * 3000, "--json")
    assert code == 0, err
    (line,) = json.loads(out)["remarks"]
    assert "1 of 1 texts are longer than" in line
