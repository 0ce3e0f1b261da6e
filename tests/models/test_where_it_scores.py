"""Where a reward model scores, and in which number format, for every verb that opens one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import tastemaker as tm
from tastemaker.rl import reward_of
from tests.models.test_adopted import TEXTS, reward_model
from tests.nano import drawn, nano
from tests.shell import fails

HAS_CUDA = torch.cuda.is_available()
ABSENT: Any = "mps" if HAS_CUDA else "cuda"
"""A device that this machine does not have."""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small reward model in bfloat16."""
    torch.manual_seed(0)
    folder = reward_model(tmp_path_factory.mktemp("where") / "rm")
    module = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.bfloat16
    )
    module.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt(short: Path) -> Path:
    """A random GPT."""
    drawn(nano()).save(short.with_name("gpt"))
    return short.with_name("gpt")


def test_a_reward_by_name_is_opened_on_the_device_and_in_the_format(
    short: Path,
) -> None:
    reward: Any = reward_of([f"{short}=2", "length"], device="cpu", dtype="auto")
    module = reward.parts[0][1].model.backbone.module
    assert (module.device.type, module.dtype) == ("cpu", torch.bfloat16)
    for spec in (str(short), [f"{short}=2", "length"]):
        with pytest.raises(tm.UsageError, match=f"'{ABSENT}' is not on this machine"):
            reward_of(spec, device=ABSENT)


def steered(gpt: Path, reward: Any, **more: Any) -> dict[str, Any]:
    result = tm.steer(
        gpt,
        reward,
        algorithm=tm.GRPO(samples=2),
        sampling=tm.Sampling(max_tokens=6),
        steering={"steps": 1, "batch": 4, "windows": 1, "measured": 4},
        **more,
    )
    return result.figures


def test_on_a_cpu_a_reward_by_name_has_the_scores_of_its_contract(
    short: Path, gpt: Path
) -> None:
    by_name = steered(gpt, str(short), held_out=[f"{short}=1.0"], device="cpu")
    loaded = steered(gpt, tm.load(short), device="cpu")
    as_saved = steered(gpt, tm.load(short, dtype="auto"), device="cpu")
    assert by_name["score_before"] == loaded["score_before"]
    assert by_name["held_out_before"] == loaded["score_before"]
    assert by_name["score_before"] != as_saved["score_before"]


@pytest.mark.skipif(HAS_CUDA, reason="needs a machine without a GPU")
def test_auto_on_a_machine_without_a_gpu_is_the_cpu(short: Path, gpt: Path) -> None:
    by_name = steered(gpt, str(short))
    loaded = steered(gpt, tm.load(short), device="cpu")
    assert by_name["score_before"] == loaded["score_before"]


@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_on_a_gpu_the_reward_is_beside_the_policy(short: Path, gpt: Path) -> None:
    before = torch.cuda.max_memory_allocated()
    reward: Any = reward_of(str(short), device="cuda")
    assert reward.model.backbone.module.device.type == "cuda"
    steered(gpt, str(short), device="cuda")
    assert torch.cuda.max_memory_allocated() > before


def test_write_and_explain_score_in_the_format_that_is_asked_for(
    short: Path, gpt: Path, run: Any
) -> None:
    best = ("write", gpt, "--best-of", 3, "--reward", short, "--max-tokens", 8)
    explained = ("explain", short, TEXTS[0])
    for dtype in ("auto", "float32"):
        model = tm.load(short, dtype=dtype)  # type: ignore[arg-type]
        where = ("--json", "--device", "cpu", "--dtype", dtype)
        code, out, err = run(*best, *where)
        assert code == 0, err
        written = json.loads(out)
        expected = model.score(written["completions"][0])
        assert written["scores"] == pytest.approx([expected], abs=1e-6)
        code, out, err = run(*explained, *where)
        assert code == 0, err
        assert json.loads(out)["score"] == pytest.approx(model.score(TEXTS[0]))


def test_a_device_that_is_not_there_is_one_line(
    short: Path, gpt: Path, tmp_path: Path, run: Any
) -> None:
    out = tmp_path / "steered"
    where = ("--device", ABSENT, "--quiet")
    data = tmp_path / "rows.csv"
    rows = [f"text {number},{number % 2}\n" for number in range(400)]
    data.write_text("text,label\n" + "".join(rows))
    few = ("--max-tokens", 4, "--steps", 1, "--batch", 4, "--measured", 4)
    code, _, err = run(
        "steer", gpt, "--reward", "length", "--out", out, *few, "--algorithm", "rloo"
    )
    assert code == 0, err
    for words in (
        ("explain", short, TEXTS[0]),
        ("write", gpt, "--best-of", 2, "--reward", short),
        ("steer", gpt, "--reward", short, "--out", tmp_path / "other"),
        ("learning-curve", data, "--backbone", "tiny", "--doublings", 1),
        ("frontier", out, "--best-of", 2, "--policy", gpt, "--reward", short),
    ):
        fails(run(*words, *where), f"'{ABSENT}'", "is not on this machine")
    assert not (tmp_path / "other" / "config.json").exists()
