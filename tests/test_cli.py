"""The shell: what scripts rely on, and one clear line with exit code 2 for every error."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from shell import fails

from tastemaker.cli import main
from tastemaker.errors import ModelError

WORDS = ("warm", "clever", "bright", "dull", "grey", "empty")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def film_rows(n: int = 120) -> list[dict[str, Any]]:
    """Return rows with a text, a label and stars from 1 to 6."""
    return [
        {
            "text": f"A {WORDS[k % 6]} film, number {k}.",
            "label": "pos" if k % 6 < 3 else "neg",
            "stars": 6 - k % 6,
        }
        for k in range(n)
    ]


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear reward model made by the command line."""
    folder: Path = tmp_path_factory.mktemp("cli")
    source = write_rows(folder / "films.jsonl", film_rows())
    with pytest.raises(SystemExit) as ended:
        main(["fit", str(source), "--out", str(folder / "taste"), "--quiet"])
    assert ended.value.code == 0
    return folder / "taste"


def test_fit_prints_one_json_object(run: Any, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "films.jsonl", film_rows())
    code, out, err = run("fit", source, "--out", tmp_path / "taste", "--json")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    names = {"model", "seconds", "evaluation", "verdict", "read_as"}
    assert set(printed) == names
    assert printed["model"] == str(tmp_path / "taste")
    assert printed["evaluation"]["accuracy"] > 0.9


def test_evaluate_prints_what_scripts_rely_on(
    run: Any, taste: Path, tmp_path: Path
) -> None:
    source = write_rows(tmp_path / "test.jsonl", film_rows(60))
    code, out, _ = run(
        "evaluate", taste, source, "--json", "--report", tmp_path / "report", "--quiet"
    )
    assert code == 0
    printed = json.loads(out)
    assert {
        "accuracy",
        "accuracy_interval",
        "n",
        "auroc",
        "ece",
        "mae",
        "pearson",
        "spearman",
    } <= set(printed)
    assert printed["duplicates"]["texts"] > 0, (
        "the first 60 texts were trained on: said, not hidden"
    )
    assert {"report.html", "report.png", "evaluation.json"} <= {
        p.name for p in (tmp_path / "report").iterdir()
    }
    code, out, _ = run("evaluate", taste, source)
    assert "accuracy" in out


def test_evaluate_writes_its_page_beside_the_model(
    run: Any, taste: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "taste"
    shutil.copytree(taste, model)
    before = sorted(path.name for path in model.iterdir())
    source = write_rows(tmp_path / "test.jsonl", film_rows(60))
    words = ("evaluate", model, source)
    pages = tmp_path / "taste-evaluations"
    assert run(*words)[0] == 0
    assert not pages.exists()  # the tests have TASTEMAKER_REPORT=0
    monkeypatch.setenv("TASTEMAKER_REPORT", "1")
    assert run(*words, "--no-report")[0] == 0
    assert not pages.exists()
    code, out, err = run(*words, "--json")
    page = pages / "test.jsonl" / "report.html"
    assert code == 0
    assert "accuracy" in json.loads(out)
    assert f"report: {page}" in err.splitlines()
    assert page.is_file()
    assert sorted(path.name for path in model.iterdir()) == before
    page.unlink()
    code, out, err = run(*words, "--quiet", "--json")
    assert (code, err) == (0, "")
    assert page.is_file()


def test_a_page_of_evaluate_that_cannot_be_written_costs_no_figure(
    run: Any, taste: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASTEMAKER_REPORT", "1")
    shutil.copytree(taste, tmp_path / "taste")
    source = write_rows(tmp_path / "test.jsonl", film_rows(60))
    (tmp_path / "taste-evaluations").write_text("a file is in the way")
    code, out, err = run("evaluate", tmp_path / "taste", source)
    assert code == 0
    assert "accuracy" in out
    assert "no page was written (" in err
    assert "--report DIR" in err


def test_score_texts(run: Any, taste: Path) -> None:
    code, out, _ = run("score", taste, "A warm film.", "A dull film.", "--json")
    printed = json.loads(out)
    assert code == 0
    assert printed["scores"][0] > printed["scores"][1]
    assert printed["truncated"] == 0
    code, out, _ = run("score", taste, "A warm film.")
    assert code == 0
    assert "A warm film." in out


def test_score_standard_input_line_by_line(
    run: Any, taste: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"A warm film.\nA dull film.\n"))
    )
    code, out, _ = run("score", taste, "-")
    assert code == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert [text for _, text in lines] == ["A warm film.", "A dull film."]
    assert float(lines[0][0]) > float(lines[1][0])


def test_score_a_file(run: Any, taste: Path, tmp_path: Path) -> None:
    source = write_rows(
        tmp_path / "in.jsonl",
        [{"id": k, "text": f"A {WORDS[k]} film."} for k in range(6)],
    )
    code, out, _ = run(
        "score", taste, "--file", source, "--out", tmp_path / "out.jsonl", "--json"
    )
    printed = json.loads(out)
    assert (code, printed["rows"]) == (0, 6)
    (read_as,) = printed["read_as"]
    assert (read_as["source"], read_as["roles"]) == ("in.jsonl", {"text": "text"})
    assert read_as["unused"] == ["id"]
    rows = [
        json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()
    ]
    assert [row["id"] for row in rows] == list(range(6))
    assert rows[0]["tastemaker_score"] > rows[5]["tastemaker_score"]
    again = ("score", taste, "--file", tmp_path / "out.jsonl", "--out")
    fails(
        run(*again, tmp_path / "out.jsonl"), "out.jsonl: --out is the file that is read"
    )
    code, out, _ = run("inspect", tmp_path / "out.jsonl", "--label-column", "none")
    assert code == 2 or "tastemaker_" not in out.partition("not used")[0]


def test_a_config_file_gives_options_and_the_command_line_wins(
    run: Any, tmp_path: Path
) -> None:
    source = write_rows(tmp_path / "films.jsonl", film_rows())
    config = tmp_path / "fit.yaml"
    config.write_text(
        f"out: {tmp_path / 'from-config'}\nseed: 7\ntarget: label\nlimit: 100\n"
    )
    code, out, _ = run("fit", source, "--config", config, "--seed", 9, "--json")
    assert code == 0, out
    contract = json.loads((tmp_path / "from-config" / "tastemaker.json").read_text())
    assert contract["settings"]["seed"] == 9
    assert set(contract["links"]) == {"label"}


VERBS = [
    "fetch",
    "doctor",
    "fit",
    "score",
    "explain",
    "evaluate",
    "learning-curve",
    "pretrain",
    "write",
    "steer",
    "frontier",
    "play",
    "watch",
    "loop",
    "demo",
]


def panels(text: str) -> dict[str, list[str]]:
    """Return the options of a help text by panel."""
    by_title: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            title = line[:-1]
        elif title and line.startswith("  -"):
            by_title.setdefault(title, []).extend(
                re.findall(r"--[a-z0-9-]+", line.split("   ")[0])
            )
    return by_title


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example_and_each_option_in_one_panel(
    run: Any, verb: str
) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"tastemaker {verb}" in out
    shown = [option for options in panels(out).values() for option in options]
    assert len(shown) == len(set(shown))
    assert {"--json", "--quiet", "--config", "--help"} <= set(panels(out)["Run"])


def test_help_shows_the_main_options_first_and_settings_in_panels(run: Any) -> None:
    fit = panels(run("fit", "--help")[1])
    main_options = [
        "--backbone",
        "--epochs",
        "--held-out",
        "--out",
        "--seed",
        "--target",
    ]
    assert sorted(fit["Options"]) == main_options
    assert {
        "Data",
        "Network training",
        "Backbone",
        "Likelihood",
        "Ensembles",
        "Run",
    } <= set(fit)
    assert "--lr" in fit["Network training"]
    steer = panels(run("steer", "--help")[1])
    assert {"--clip", "--beta", "--lr", "--target-kl"} <= set(steer["Algorithm"])
    assert {"--kl-coef", "--kl-target"} <= set(steer["KL"])
    assert "--beta" not in panels(run("play", "--help")[1])["Algorithm"]


@pytest.mark.parametrize("name", ["option_tables.py", "reference.py"])
def test_what_is_written_from_the_code_is_fresh(name: str) -> None:
    """A process of its own: other tests register algorithms with further settings."""
    script = Path(__file__).resolve().parents[1] / "scripts" / name
    process = forked.start_script(script, "--check")
    assert process.wait() == 0, process.output()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epoch: 3", ("c.yaml", "'epoch'", "did you mean epochs")),
        ("lr: fast", ("--lr", "fast")),
        ("ties: perhaps", ("--ties", "perhaps")),
        ("weight: comparison", ("--weight", "comparison")),
        ("cut: middle", ("--cut", "middle", "left")),
        ("[out]", ("c.yaml", "list")),
        ("out: [", ("c.yaml", "YAML")),
    ],
)
def test_a_config_file_that_cannot_be_used(
    run: Any, tmp_path: Path, line: str, words: tuple[str, ...]
) -> None:
    source = write_rows(tmp_path / "films.jsonl", film_rows(12))
    config = tmp_path / "c.yaml"
    config.write_text(line + "\n")
    fails(run("fit", source, "--out", tmp_path / "new", "--config", config), *words)


def test_settings_on_the_command_line_reach_the_fit(run: Any, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "films.jsonl", film_rows(60))
    config = tmp_path / "fit.yaml"
    config.write_text(
        "ngrams: 2\nweight: label=2\nrating_loss: huber\ncontrol: length,lists\n"
    )
    code, _, err = run(
        "fit", source, "--out", tmp_path / "t", "--config", config, "--repeats"
    )
    assert code == 0, err
    settings = json.loads((tmp_path / "t" / "tastemaker.json").read_text())["settings"]
    assert (
        settings["backbone"][1] | {"ngrams": 2, "repeats": True}
        == settings["backbone"][1]
    )
    likelihood = {
        "weights": {"label": 2.0},
        "rating": "huber",
        "control": "length,lists",
    }
    assert settings["likelihood"] | likelihood == settings["likelihood"]


def test_quiet_and_json_keep_stderr_and_stdout_clean(taste: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tastemaker",
        "score",
        str(taste),
        "A film.",
        "--json",
    ]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(process.stdout)["scores"]
    assert process.stderr == ""


def test_bad_usage_is_one_line_and_exit_2(
    run: Any, taste: Path, tmp_path: Path
) -> None:
    source = write_rows(tmp_path / "films.jsonl", film_rows())
    out = tmp_path / "new"
    fails(run("fit", source), "--out")
    fails(run("fit", source, "--out", out, "--nonsense"), "nonsense")
    fails(run("fit", source, "--out", out, "--epochs", "many"), "--epochs", "integer")
    fails(run("fit", source, "--out", out, "--target", "stars"), "stars")
    fails(run("fit", source, "--out", out, "--epochs", 3), "--epochs", "linear")
    fails(
        run("fit", source, "--out", out, "--dropout", 0.1),
        "--dropout",
        "'linear'",
        "tiny",
    )
    fails(run("fit", source, "--out", out, "--epoch", 3), "--epoch", "--epochs")
    fails(
        run("fit", source, "--out", out, "--backbone", "tiny", "--epochs", 0),
        "epochs 0",
    )
    fails(
        run("fit", source, "--out", out, "--backbone", "no/such-model"), "no/such-model"
    )
    fails(run("fit", source, "--out", taste), "--overwrite")
    fails(run("score", taste), "--file")
    fails(run("score", taste, ""), "empty")
    fails(run("nonsense"), "nonsense")
    config = tmp_path / "c.yaml"
    config.write_text("learning_rate: 1\n")
    fails(
        run("fit", source, "--out", out, "--config", config), "learning_rate", "c.yaml"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jsonl", "", ("empty.jsonl",)),
        ("utf8.csv", b"text,label\n\xff\xfe,1\n", ("utf8.csv", "UTF-8")),
        ("blank.csv", "text,label\ngood,1\n  ,0\n", ("blank.csv:3",)),
        ("inf.csv", "text,rating\ngood,7.5\nbad,inf\n", ("inf.csv:3",)),
        (
            "inf.jsonl",
            '{"text": "a", "rating": 1.5}\n{"text": "b", "rating": Infinity}\n',
            ("inf.jsonl:2",),
        ),
        ("columns.csv", "a,b\n1,2\n", ("columns.csv",)),
        ("torn.tar.gz", b"\x1f\x8b\x08\x00broken", ("torn.tar.gz",)),
    ],
)
def test_bad_data_is_one_line_and_exit_2(
    run: Any, tmp_path: Path, name: str, content: str | bytes, words: tuple[str, ...]
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    fails(run("fit", path, "--out", tmp_path / "taste"), *words)
    assert not (tmp_path / "taste").exists()


def test_missing_sources_and_models_are_one_line_and_exit_2(
    run: Any, taste: Path, tmp_path: Path
) -> None:
    fails(
        run("fit", tmp_path / "nowhere.csv", "--out", tmp_path / "taste"), "nowhere.csv"
    )
    fails(run("score", tmp_path / "nowhere", "text"), "nowhere")
    fails(run("evaluate", tmp_path / "nowhere", taste), "nowhere")
    fails(run("evaluate", taste, tmp_path / "nowhere.csv"), "nowhere.csv")


def test_a_test_set_with_other_labels_is_refused(
    run: Any, taste: Path, tmp_path: Path
) -> None:
    other = write_rows(
        tmp_path / "ham.jsonl",
        [{"text": "a", "label": "spam"}, {"text": "b", "label": "ham"}],
    )
    fails(run("evaluate", taste, other), "ham", "spam")
    scale = write_rows(
        tmp_path / "scale.jsonl",
        [{"text": "a", "stars": 1}, {"text": "b", "stars": 10}],
    )
    fails(run("evaluate", taste, scale), "scale.jsonl:2", "10")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """The error itself ends the process, so Python prints where it was raised."""
    with pytest.raises(ModelError, match="no"):
        main(["score", str(tmp_path / "no"), "text", "--debug"])
