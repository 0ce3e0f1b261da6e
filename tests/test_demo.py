"""The demo: all its steps, small; its report at the top of its folder; a store to judge in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker import demo

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every step of the demo small; the stages and their settings' names stay."""
    whole = demo.loop_of

    def loop_of(language: Any, *, texts: int) -> dict[str, Any]:
        settings = whole(language, texts=texts)
        settings["pretrain"] = {"texts": f"playground:{language}:150"}
        settings["held_out"] = [f"playground:{language}:60:mixed"]
        settings["steer"] |= {
            "steps": 2,
            "batch": 8,
            "windows": 1,
            "max_tokens": 8,
            "measured": 8,
        }
        settings["best_of"] = 2
        return settings

    monkeypatch.setattr(demo, "loop_of", loop_of)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.usefixtures("small")
def test_the_demo_ends_with_a_report_and_a_store(
    run: Run, tmp_path: Path, language: str
) -> None:
    words = ("demo", "--out", tmp_path, "--texts", 120, "--language", language)
    code, out, err = run(*words, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["report"] == str(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert ("引导后的 GPT" if language == "zh" else "The steered GPT") in page
    assert f"tastemaker demo --out {tmp_path}" in page
    steered = result["steered"]["grpo"]
    assert {"gold_before", "gold_after", "kl", "distinct_after"} <= set(steered)
    assert set(result["kendall_tau_with_gold"]) == {"model", "watcher"}
    # 120 judgements to learn from, and 60 held-out ones
    judged = tm.read(tmp_path / language / "judgements.db")
    assert len(judged) == 180
    code, out, err = run(*words, "--json")
    assert code == 0, err
    again = json.loads(out)
    assert again | {"seconds": 0} == result | {"seconds": 0}
    code, out, err = run(*words, "--dry-run")
    assert code == 0, err
    assert "0 of 10 stages would run" in out


def test_a_dry_run_of_the_demo_computes_nothing(run: Run, tmp_path: Path) -> None:
    code, out, err = run("demo", "--out", tmp_path, "--dry-run")
    assert code == 0, err
    assert "steer-grpo  would run: to do; about " in out
    assert not (tmp_path / "report.html").exists()
    assert not list((tmp_path / "en").glob("*/stage.json"))
