"""Large policies: number formats, layers that are computed twice, rows that fit into memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tastemaker as tm
from tastemaker.gpt import Policy
from tests.architectures import llama, neox

SETTINGS: dict[str, Any] = {"steps": 2, "batch": 4, "windows": 1, "measured": 4}


def length(prompts: list[Any], texts: list[str]) -> list[float]:
    return [float(len(text)) for text in texts]


@pytest.fixture(scope="module")
def short(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of small policies in bfloat16, by family."""
    place = tmp_path_factory.mktemp("short")
    torch.manual_seed(0)
    folders = {}
    for name, make in (("llama", llama), ("neox", neox)):
        more = {"vocab_size": len(policy.tokenizer)} if name == "llama" else {}
        module = policy.module if name == "neox" else make(**more)
        saved = Policy(module, policy.tokenizer, saved_as=torch.bfloat16)
        folders[name] = place / name
        saved.save(folders[name])
    return folders


@pytest.mark.parametrize(("family", "lora"), [("neox", 0), ("neox", 2), ("llama", 2)])
def test_a_policy_in_bfloat16_stays_so_and_starts_at_its_reference(
    family: str, lora: int, short: dict[str, Path], tmp_path: Path
) -> None:
    base, out = short[family], tmp_path / "out"
    settings = {**SETTINGS, "lora": lora, "gradient_checkpointing": lora > 0}
    steered = tm.steer(
        base,
        reward=length,
        algorithm=tm.GRPO(lr=1e-2, samples=2),
        sampling=tm.Sampling(max_tokens=6),
        steering=settings,
        out=out,
    )
    assert abs(steered.figures["kl_before"]) < (1e-9 if lora else 1e-4)
    before, after = (load_file(f / "model.safetensors") for f in (base, out))
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert {w.dtype for w in (*before.values(), *after.values())} == {torch.bfloat16}
    sizes = [(f / "model.safetensors").stat().st_size for f in (base, out)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


@pytest.mark.parametrize("lora", [0, 2])
def test_twenty_steps_learn_and_layers_computed_twice_learn_the_same(
    lora: int, short: dict[str, Path], tmp_path: Path
) -> None:
    texts = [f"The film is warm, and its end is clever: {n}." for n in range(80)]
    losses = []
    for number, wanted in enumerate((False, True)):
        out = tmp_path / str(number)
        tm.pretrain(
            texts,
            start=short["neox"],
            training={
                "lora": lora,
                "gradient_checkpointing": wanted,
                "lr": 1e-2,
                "batch_tokens": 64,
                "held_out": 0.1,
            },
            precision="float32",  # in bfloat16 the same sums round otherwise
            out=out,
        )
        lines = (out / "run" / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert len(losses[0]) >= 20
    assert losses[0][-1] < 0.8 * losses[0][0]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_a_policy_writes_and_reads_in_its_own_format(
    short: dict[str, Path], run: Any, tmp_path: Path
) -> None:
    corpus = tmp_path / "texts.txt"
    corpus.write_text("The film is warm.\n")
    for folder in short.values():
        perplexities = []
        for dtype in ("float32", "auto"):
            more = ("--dtype", dtype, "--device", "cpu", "--json")
            code, out, err = run("evaluate", folder, corpus, *more)
            assert code == 0, err
            perplexities.append(json.loads(out)["perplexity"])
            code, out, err = run("write", folder, "The", "--max-tokens", 8, *more)
            assert code == 0, err
            assert json.loads(out)["decoder"] == "ours"
        assert perplexities[1] == pytest.approx(perplexities[0], rel=0.05)
        assert perplexities[1] != perplexities[0]
        loaded = Policy.load(folder, dtype="auto")
        sampling = tm.Sampling(temperature=0, max_tokens=8)
        ours = loaded.complete("The film", sampling=sampling)[0].ids
        ids = torch.tensor(loaded.reader.prompts(["The film"]))
        theirs = loaded.module.generate(
            ids, max_new_tokens=8, do_sample=False, eos_token_id=None
        )[0, ids.shape[1] :]
        same = sum(a == b for a, b in zip(ours, theirs.tolist(), strict=False))
        assert same >= 6


def test_as_many_rows_are_written_as_keys_and_values_fit(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 layers · 32 numbers · 2 · 4 bytes: 512 a token. A row of 1 + 7 tokens, and 7 more for the
    rows that follow it, takes 7,680.
    """
    monkeypatch.setattr("tastemaker.gpt.writing.cache_budget", lambda device: 23_100)
    sampling = tm.Sampling(max_tokens=7)
    first = next(policy.stream([""], samples=10, sampling=sampling, seed=0))
    assert len(first) == 3
