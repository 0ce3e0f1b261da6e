"""What a published model is used for: it serves, steers, and is evaluated on RewardBench 2."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tastemaker as tm
from tests.models.test_adopted import STARS, TEXTS, classifier, logits, reward_model
from tests.nano import nano
from tests.serving import start, stop

ASKED = "How was it?"


def as_chat(text: str) -> str:
    """Return a chat as the template of `reward_model` writes it."""
    return f"<user>{ASKED}\n<assistant>{text}\n"


def stars(folder: Path, *texts: str) -> list[float]:
    """Return the expected number of stars by the logits of transformers."""
    chances = logits(folder, *texts).softmax(1)
    expected: list[float] = (chances @ torch.arange(1.0, 6.0)).tolist()
    return expected


def test_it_serves_the_logits_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    chats = reward_model(tmp_path / "chats")
    pairs = classifier(tmp_path / "pairs", ["0"])
    reviews = classifier(tmp_path / "reviews", STARS)
    asked = [{"prompt": ASKED, "completion": text} for text in TEXTS]
    answers = [as_chat(text) for text in TEXTS]
    expected = {
        "chats": (asked, logits(chats, *answers)[:, 0].tolist()),
        "pairs": (asked, logits(pairs, *[(ASKED, t) for t in TEXTS])[:, 0].tolist()),
        "reviews": (TEXTS, stars(reviews, *TEXTS)),
    }
    server = start(chats, pairs, reviews, "--port", 0, "--device", "cpu")
    try:
        for name, (inputs, scores) in expected.items():
            body = {"model": name, "inputs": inputs}
            status, reply, _ = server.ask("/score", body)
            assert status == 200, (name, reply)
            assert reply["scores"] == pytest.approx(scores, abs=1e-4), name
    finally:
        assert stop(server) == ""


REWARD = """
from pathlib import Path

from tests.models.test_adopted_uses import as_chat, logits, stars

HERE = Path(__file__).parent


def chats(prompts, texts):
    chats = [as_chat(text.strip()) for text in texts]
    return logits(HERE / "chats", *chats)[:, 0].tolist()


def reviews(prompts, texts):
    return stars(HERE / "reviews", *texts)
"""


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize("name", ["chats", "reviews"])
def test_it_steers_as_the_logits_of_transformers_do(
    name: str, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_reward.py").write_text(REWARD)
    reward_model(tmp_path / "chats")
    classifier(tmp_path / "reviews", STARS)
    nano(chats=True).save(tmp_path / "gpt")
    Path("prompts.txt").write_text(f"{ASKED}\n")
    words: list[Any] = ["steer", "gpt", "--steps", 2, "--batch", 4, "--measured", 4]
    words += ["--max-tokens", 6, "--quiet"]
    if name == "chats":
        words += ["--prompts", "prompts.txt", "--chat"]
    scores = []
    for reward in (tmp_path / name, f"own_reward:{name}"):
        out = tmp_path / f"out{len(scores)}"
        code, _, err = run(*words, "--reward", reward, "--out", out)
        assert code == 0, err
        lines = (out / "run" / "metrics.jsonl").read_text().splitlines()
        scores.append([json.loads(line)["score"] for line in lines])
    assert len(scores[0]) == 2
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def rewardbench_row(
    subset: str, number: str, chosen: list[str], rejected: list[str]
) -> dict[str, Any]:
    """Return a row as RewardBench 2 publishes it."""
    count = len(chosen) + len(rejected)
    return {
        "id": number,
        "prompt": ASKED,
        "chosen": chosen,
        "rejected": rejected,
        "num_correct": len(chosen),
        "num_incorrect": len(rejected),
        "total_completions": count,
        "models": ["human"] * count,
        "subset": subset,
        "additional_metadata": None,
    }


def test_it_is_evaluated_on_rewardbench(tmp_path: Path, run: Any) -> None:
    """The best answer by the logits is right in one row of two of Math, and in all of the rest."""
    folder = reward_model(tmp_path / "rm")
    answers = [*TEXTS, "No.", "It is in Rome."]
    order = np.argsort(logits(folder, *map(as_chat, answers))[:, 0].tolist())
    worst, second, middle, good, best = [answers[place] for place in order]
    rows = [
        rewardbench_row("Math", "1", [best], [good, middle, worst]),
        rewardbench_row("Math", "2", [worst], [second, middle, good]),
        rewardbench_row("Safety", "3", [good], [second, middle, worst]),
        rewardbench_row("Ties", "ref:1", [best], [worst]),
        rewardbench_row("Ties", "tied:1", [best, good], [worst]),
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run("evaluate", folder, data, "--json")
    assert code == 0, err
    figures = json.loads(out)
    assert (figures["subsets"]["Math"], figures["subsets"]["Safety"]) == (0.5, 1)
    assert figures["ties"]["ref_accuracy"] == figures["ties"]["tied_accuracy"] == 1
    assert "weakest on Math (50%)" in figures["verdict"]
    assert tm.load(folder).contract.provenance == "adopted"
