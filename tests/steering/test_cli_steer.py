"""`tastemaker steer` on the command line: from a reward, from judgements, and what it refuses."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from nano import drawn, films, nano

from tastemaker.data import Comparison, Label, Message, to_row
from tastemaker.report import read_run

SHORT = (
    "--steps",
    2,
    "--batch",
    8,
    "--max-tokens",
    6,
    "--measured",
    8,
    "--windows",
    2,
)
KEYS = {
    "policy",
    "steps",
    "score_before",
    "score_after",
    "held_out_before",
    "held_out_after",
    "kl",
    "most_kl",
    "distinct",
}
KEYS |= {
    "held_out_preference_accuracy_before",
    "held_out_preference_accuracy_after",
    "stopped_because",
    "seconds",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT, a file of comparisons and one of labels."""
    path: Path = tmp_path_factory.mktemp("steer")
    drawn(nano(chats=True)).save(path / "gpt")
    pairs = [
        Comparison(f" warm{k}", f" dull{k}", prompt=f"Film {k % 20}:")
        for k in range(40)
    ]
    labels = [Label(text, k % 2 == 0) for k, text in enumerate(films(12))]
    for name, judgements in (("pairs", pairs), ("labels", labels)):
        (path / f"{name}.jsonl").write_text(
            "".join(json.dumps(to_row(j)) + "\n" for j in judgements)
        )
    return path


def test_a_run_writes_its_report(run: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "steered"
    reward = ("--reward", "length_reward:reward")
    (tmp_path / "length_reward.py").write_text(
        "def reward(prompts, texts):\n    return [float(len(text)) for text in texts]\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        words = (folder / "gpt", *reward, "--out", out, *SHORT, "--report")
        code, _, err = run("steer", *words)
    finally:
        sys.path.remove(str(tmp_path))
    assert code == 0, err
    page = out / "report" / "report.html"
    assert f"report: {page}" in err
    assert "only the reward itself was measured" in page.read_text("utf-8")


def fails(result: tuple[int, str, str], *words: str) -> None:
    code, out, err = result
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err


def test_from_judgements(run: Any, folder: Path, tmp_path: Path) -> None:
    command = (
        "steer",
        folder / "gpt",
        "--algorithm",
        "dpo",
        "--judgements",
        folder / "pairs.jsonl",
        *SHORT,
    )
    code, out, err = run(*command, "--out", tmp_path / "a", "--json", "--quiet")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert set(printed) == KEYS | {"read_as"}
    assert (
        printed["score_before"]
        is printed["score_after"]
        is printed["held_out_after"]
        is None
    )
    assert 0 <= printed["held_out_preference_accuracy_after"] <= 1
    assert (
        json.loads(
            run(*command, "--out", tmp_path / "a", "--resume", "--json", "--quiet")[1]
        )
        == printed
    )
    code, out, err = run(*command, "--out", tmp_path / "b", "--reward", "length")
    assert code == 0
    assert (
        "pairs of 36 judgements to learn from, 4 pairs of 4 judgements to measure"
        in err
    )
    assert "held-out pairs right" in out
    assert f"tastemaker write {tmp_path / 'b'}" in out


def test_prompts_of_judgements_are_answered_where_they_are_a_chat(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    command = (
        "steer",
        folder / "gpt",
        "--algorithm",
        "dpo",
        "--judgements",
        folder / "pairs.jsonl",
        *SHORT,
    )
    for name, more in (("plain", ()), ("chat", ("--chat",))):
        assert run(*command, "--out", tmp_path / name, "--quiet", *more)[0] == 0
    plain, chat = (
        json.loads((tmp_path / name / "steering.json").read_text())
        for name in ("plain", "chat")
    )
    assert plain["samples"][0]["prompt"].startswith("Film ")
    assert chat["samples"][0]["prompt"].startswith("user: Film ")
    assert plain["settings"]["judgements"] != chat["settings"]["judgements"]
    [first, *_] = chat["samples"]
    assert first["messages"] == [
        {"role": "user", "content": plain["samples"][0]["prompt"]}
    ]
    assert "messages" not in plain["samples"][0]


def test_what_is_kept_of_a_chat_is_what_best_of_n_answers(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "asked.txt").write_text("Film one?\nFilm two?\n", encoding="utf-8")
    command = (
        "steer",
        folder / "gpt",
        "--reward",
        "length",
        "--prompts",
        tmp_path / "asked.txt",
        "--chat",
        *SHORT,
    )
    code, out, err = run(*command, "--out", tmp_path / "run", "--json", "--quiet")
    assert (code, err) == (0, "")
    [read_as] = json.loads(out)["read_as"]
    assert read_as["roles"] == {"prompt": "line"}
    assert read_as["kinds"] == {"prompt": 2}
    asked = set(read_run(tmp_path / "run").prompts)
    assert asked
    assert asked <= {(Message("user", "Film one?"),), (Message("user", "Film two?"),)}


def test_what_the_prompts_were_read_as_is_said_before_the_run(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    row = {"question": "Film one?", "answer": "warm"}
    (tmp_path / "asked.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    code, _, err = run(
        "steer",
        folder / "gpt",
        "--reward",
        "length",
        "--prompts",
        tmp_path / "asked.jsonl",
        "--prompt-column",
        "question",
        *SHORT,
        "--out",
        tmp_path / "run",
    )
    assert code == 0
    line = "read as: prompt=question, columns=answer (for the reward)"
    assert line in err
    assert err.index(line) < err.index("before:")


def test_from_a_reward(run: Any, folder: Path, tmp_path: Path) -> None:
    command = (
        "steer",
        folder / "gpt",
        "--reward",
        "length",
        "--algorithm",
        "a2c",
        *SHORT,
    )
    code, out, _ = run(
        *command, "--kl-coef", 0.2, "--out", tmp_path / "a", "--json", "--quiet"
    )
    printed = json.loads(out)
    assert (code, set(printed)) == (0, KEYS)
    assert printed["score_before"] > 0
    assert printed["held_out_preference_accuracy_before"] is None
    settings = json.loads((tmp_path / "a" / "steering.json").read_text())["settings"]
    assert settings["kl"] == {
        "coef": 0.2,
        "where": "reward",
        "estimator": "k1",
        "target": None,
        "horizon": 5.0,
    }
    assert (
        settings["steering"] | {"steps": 2, "batch": 8, "measured": 8, "windows": 2}
        == settings["steering"]
    )
    code, out, _ = run(*command, "--kl-in", "loss", "--out", tmp_path / "b", "--quiet")
    assert code == 0
    settings = json.loads((tmp_path / "b" / "steering.json").read_text())["settings"]
    assert (settings["kl"]["coef"], settings["kl"]["estimator"]) == (0.1, "k2")


def test_what_cannot_be_is_one_line(run: Any, folder: Path, tmp_path: Path) -> None:
    gpt, pairs, labels = folder / "gpt", folder / "pairs.jsonl", folder / "labels.jsonl"
    out = ("--out", tmp_path / "new", "--quiet", *SHORT)
    fails(
        run("steer", gpt, *out), "nothing to learn from: give a reward, or judgements"
    )
    dpo = ("steer", gpt, "--algorithm", "dpo", *out)
    fails(
        run(*dpo, "--judgements", labels),
        "labels.jsonl: 12 labels, and nothing that compares",
        "tastemaker fit",
    )
    fails(
        run(*dpo, "--judgements", pairs, "--judgements", labels),
        "labels.jsonl: 12 labels",
    )
    fails(
        run(*dpo, "--judgements", folder / "nowhere.jsonl"),
        "nowhere.jsonl: no such file",
    )
    fails(
        run(*dpo, "--judgements", pairs, "--kl-coef", 0.1),
        "KL is not paid: leave them out",
    )
    fails(
        run("steer", gpt, "--judgements", pairs, *out),
        "ppo learns from what it writes",
        "(dpo)",
    )
    length = ("steer", gpt, "--reward", "length", *out)
    fails(run(*length, "--skip-bad"), "--format and --skip-bad are about --judgements")
    fails(run(*length, "--chat"), "--chat is about --prompts or --judgements")
    fails(run(*length, "--opening", "1,2"), "--opening is about --prompts")
    fails(run(*length, "--gradient-clip", "wide"), "--gradient-clip", "wide")
    fails(run(*length, "--gradient-clip", 0), "clip 0.0")
    fails(run(*length, "--depth", 3), "--depth")
    fails(run(*length, "--beta", 0.1), "ppo", "'beta'", "dpo")
    fails(run(*length, "--epochs", 0), "ppo: epochs 0")
    assert not (tmp_path / "new").exists()
