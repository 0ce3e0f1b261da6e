"""`tastemaker frontier`: a table, one JSON object, three files, and one clear line for errors."""

import json

import pytest
from nano import nano
from shell import fails

from tastemaker.data import Message
from tastemaker.errors import DataError
from tastemaker.report import read_run

STEPS = 12


def sampled(folder, *samples):
    """Let a run have kept these samples, and have sampled few tokens."""
    summary = json.loads((folder / "steering.json").read_text())
    summary["settings"]["sampling"] = {"max_tokens": 2}
    (folder / "steering.json").write_text(json.dumps(summary | {"samples": samples}))


CHAT = {"prompt": "user: Good?", "messages": [{"role": "user", "content": "Good?"}]}


@pytest.fixture
def steered(tmp_path):
    """A run's folder; gold rises as the score does."""
    folder = tmp_path / "steered"
    (folder / "run").mkdir(parents=True)
    rows = [
        {"step": i + 1, "kl": i * 0.5, "score": i * 0.2, "gold": 5 + i * 0.1}
        for i in range(STEPS)
    ]
    (folder / "run" / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    summary = {
        "score_before": 0.0,
        "score_after": 2.2,
        "gold_before": 5.0,
        "gold_after": 6.1,
        "kl_before": 0.0,
    }
    summary |= {
        "kl_after": 5.5,
        "algorithm": "ppo",
        "best_step": 12,
        "stopped_because": "all steps are done",
    }
    settings = {"start": "0123abcd", "reward": "the reward model"}
    (folder / "steering.json").write_text(
        json.dumps(summary | {"settings": settings, "samples": []})
    )
    return folder


def test_json_is_one_object_and_the_three_files_are_there(run, steered, tmp_path):
    code, out, err = run(
        "frontier", steered, "--json", "--out", tmp_path / "out", "--quiet"
    )
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert set(printed) == {"runs", "best_of", "notes"}
    assert printed["runs"][0]["verdict"]["name"] == "real gain"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "frontier.html",
        "frontier.png",
        "frontier.json",
        "report.json",
    }


def test_the_table(run, steered):
    code, out, _ = run("frontier", steered)
    assert code == 0
    assert "5.00 → 6.10" in out
    assert "The gain is real" in out


def test_what_is_wrong_is_one_line(run, steered, tmp_path):
    fails(run("frontier", tmp_path, "--json"), "no steered run")
    fails(run("frontier", steered, "--best-of", 4), "--policy", "0123abcd")
    fails(run("frontier", steered, "--best-of", 4, "--policy", steered), "--reward")


def test_the_prompts_of_a_run_are_texts_and_chats_each_once(steered):
    sampled(
        steered,
        CHAT,
        CHAT,
        {"prompt": "user: Good?"},
        {"prompt": ""},
        {"prompt": "nan"},
    )
    assert read_run(steered).prompts == [
        (Message("user", "Good?"),),
        "user: Good?",
        "",
        "nan",
    ]
    sampled(steered, CHAT | {"messages": [{"role": "user"}]})
    with pytest.raises(DataError, match=r"steering.json, samples: "):
        list(read_run(steered).prompts)


def test_best_of_n_answers_chats_as_chats(run, steered, tmp_path, monkeypatch):
    """A reward function gets a chat as messages and a text as a text, as from `steer`."""
    nano(chats=True).save(tmp_path / "gpt")
    (tmp_path / "asking.py").write_text(
        "asked = []\ndef reward(prompts, completions):\n"
        "    asked.extend(prompts)\n    return [0.0] * len(prompts)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sampled(steered, CHAT, {"prompt": "A film"})
    best = (
        "--best-of",
        2,
        "--completions",
        2,
        "--policy",
        tmp_path / "gpt",
        "--reward",
        "asking:reward",
    )
    code, _, err = run("frontier", steered, *best, "--quiet")
    assert (code, err) == (0, "")
    import asking

    assert asking.asked == [CHAT["messages"]] * 2 + ["A film"] * 2
