"""LoRA of policies: adapters alone learn, the base is the reference, folders open everywhere."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tastemaker as tm
from tastemaker.errors import RewardError
from tastemaker.gpt import Policy
from tastemaker.reward import make_tiny
from tests.architectures import gpt2
from tests.shell import fails

pytest.importorskip("peft")
RANK = 2
TEXTS = [f"The film is {a} and {b}." for a in ("warm", "dull") for b in "abcdefgh"] * 3


class Length:
    """Characters of a completion; it fails once it was asked `most` times."""

    name = "length"

    def __init__(self, most: int = 99) -> None:
        self.left = most

    def score(self, completions: Sequence[Any]) -> list[float]:
        self.left -= 1
        if self.left < 0:
            raise RewardError("no more answers.")
        return [float(len(completion.text)) for completion in completions]


def steer(policy: Any, out: Path | None, most: int = 99, **more: Any) -> Any:
    settings = {"lora": RANK, "steps": 3, "batch": 4, "windows": 3, "measured": 2}
    return tm.steer(
        policy,
        reward=Length(most),
        algorithm=tm.PPO(lr=1e-2),
        sampling=tm.Sampling(max_tokens=6),
        steering=tm.Steering(**settings),
        out=out,
        **more,
    )


@pytest.fixture(scope="module")
def base(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small GPT."""
    folder = tmp_path_factory.mktemp("lora") / "base"
    policy.save(folder)
    return folder


@pytest.fixture(scope="module")
def steered(base: Path) -> Any:
    """What was steered with adapters on it, in the folder `steered` beside it."""
    return steer(base, base.with_name("steered"))


def test_the_kl_is_0_before_anything_is_learned_and_the_base_keeps_its_bits(
    base: Path, steered: Any
) -> None:
    assert steered.figures["kl_before"] == 0.0
    assert steered.figures["kl_after"] != 0.0
    before = load_file(base / "model.safetensors")
    after = load_file(base.with_name("steered") / "model.safetensors")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        change = after[name] - weight
        is_adapted = weight.ndim == 2 and "layers." in name
        assert bool(change.any()) == is_adapted, name
        if is_adapted:
            assert torch.linalg.matrix_rank(change, tol=1e-5) <= RANK, name


def test_every_verb_opens_the_folder_of_adapters_as_the_merged_one(
    base: Path, steered: Any, run: Any, tmp_path: Path
) -> None:
    out = base.with_name("steered")
    assert {"config.json", "adapter", "last"} <= {path.name for path in out.iterdir()}
    merged, alone = Policy.load(out), Policy.load(out / "adapter")
    for policy in (alone, steered.policy):
        torch.testing.assert_close(
            policy.log_probs(["The"], [" film is"]),
            merged.log_probs(["The"], [" film is"]),
            atol=1e-6,
            rtol=0,
        )
    corpus = tmp_path / "texts.txt"
    corpus.write_text("The film is warm.\n" * 3)
    results = []
    for folder in (out, out / "adapter"):
        code, text, _ = run("evaluate", folder, corpus, "--json")
        assert code == 0
        results.append(json.loads(text)["perplexity"])
        code, text, _ = run("write", folder, "The", "--max-tokens", 4, "--json")
        assert (code, json.loads(text)["decoder"]) == (0, "ours")
    assert results[0] == pytest.approx(results[1], abs=1e-4)


def test_a_torn_run_goes_on_to_the_same_bits_from_a_checkpoint_of_what_learns(
    base: Path, steered: Any, tmp_path: Path
) -> None:
    """Asked once before and once a step: the fourth time is step 2."""
    with pytest.raises(RewardError):
        steer(base, tmp_path / "torn", most=2)
    checkpoint = next((tmp_path / "torn" / "run").glob("checkpoint-*"))
    tensors = load_file(checkpoint / "tensors.safetensors")
    names = [name for name in tensors if "policy." in name]
    assert names
    assert all("lora_" in name for name in names)
    steer(base, tmp_path / "torn", resume=True)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        whole = (base.with_name("steered") / name).read_bytes()
        assert (tmp_path / "torn" / name).read_bytes() == whole


def test_a_policy_in_memory_stays_as_it_is(fresh: Policy) -> None:
    before = {name: w.clone() for name, w in fresh.module.state_dict().items()}
    result = steer(fresh, None)
    now = fresh.module.state_dict()
    assert now.keys() == before.keys()
    assert all(torch.equal(now[name], weight) for name, weight in before.items())
    assert result.policy.module.state_dict().keys() == before.keys()


def test_pretrain_goes_on_by_adapters(base: Path, tmp_path: Path, run: Any) -> None:
    corpus = tmp_path / "texts.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    arguments = ("pretrain", corpus, "--lora", RANK, "--held-out", 0.2, "--quiet")
    out = tmp_path / "out"
    code, _, err = run(*arguments, "--from", base, "--out", out)
    assert code == 0, err
    settings = json.loads((out / "pretraining.json").read_text())["settings"]
    assert settings["training"]["lora"] == RANK
    merged, alone = Policy.load(out), Policy.load(out / "adapter")
    torch.testing.assert_close(
        merged.log_probs([""], TEXTS[:1]),
        alone.log_probs([""], TEXTS[:1]),
        atol=1e-6,
        rtol=0,
    )
    fails(run(*arguments, "--out", tmp_path / "none"), "--from", "lora")


def test_the_row_of_an_added_end_is_the_same_each_time(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path)
    make_tiny(TEXTS, vocabulary=300).tokenizer.save_pretrained(tmp_path)
    one, other = Policy.load(tmp_path), Policy.load(tmp_path)
    assert one.notes
    weights = other.module.state_dict()
    for name, weight in one.module.state_dict().items():
        assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize("change", ["another base", "no base", "a base that is gone"])
def test_adapters_without_their_base_are_one_line(
    change: str, base: Path, steered: Any, run: Any, tmp_path: Path, letters: Policy
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for path in (base.with_name("steered") / "adapter").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text())
    words = {
        "another base": "do not fit",
        "no base": "names no base",
        "a base that is gone": "is not there",
    }
    named: Any = None
    if change == "another base":
        named = str(tmp_path / "other")
        torch.manual_seed(0)
        from tests.architectures import neox

        other = neox()
        other.save_pretrained(named)
        Policy.load(base).tokenizer.save_pretrained(named)
    elif change == "a base that is gone":
        named = str(tmp_path / "gone")
    config["base_model_name_or_path"] = named
    (folder / "adapter_config.json").write_text(json.dumps(config))
    fails(run("write", folder, "The", "--quiet"), words[change])
