"""What memory training a GPT takes, said before anything is read or written."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.architectures import llama

PRETRAIN = ("pretrain", "none.txt", "--from")
STEER = ("steer",)
PARTS = {"weights", "gradients", "optimiser", "activations, about"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The configuration of a small Llama, without weights and without a tokenizer."""
    llama().config.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def words(verb: tuple[str, ...], folder: Path, out: Path) -> list[Any]:
    """Return a command; what it would read beside the configuration is not there."""
    more = ["--reward", "none:reward"] if verb == STEER else []
    fixed = ["--out", out, "--dry-run", "--device", "cpu"]
    return [*verb, folder, *more, *fixed]


@pytest.mark.parametrize("verb", [PRETRAIN, STEER])
def test_a_dry_run_says_parameters_and_bytes_and_writes_nothing(
    verb: tuple[str, ...], folder: Path, tmp_path: Path, run: Any
) -> None:
    command = words(verb, folder, tmp_path / "out")
    files = sorted(tmp_path.rglob("*"))
    code, out, err = run(*command, "--json")
    assert code == 0, err
    planned = json.loads(out)
    parameters = sum(weight.numel() for weight in llama().parameters())
    assert planned["parameters"] == planned["learned"] == parameters
    sizes = planned["bytes"]
    assert sizes.keys() >= PARTS
    # of 4 bytes each: two numbers of the optimiser, a gradient, a weight
    assert sizes["gradients"] == 4 * parameters
    assert sizes["weights"] == pytest.approx(4 * parameters, rel=0.01)  # and buffers
    assert sizes["optimiser"] == pytest.approx(8 * parameters, rel=0.01)
    assert planned["total"] == sum(sizes.values())
    assert planned["fits"] is (planned["total"] <= planned["free"])
    code, out, err = run(*command)
    assert code == 0, err
    assert f"{parameters:,} parameters" in out
    for name in (*sizes, "together"):
        assert f"  {name} " in out
    assert out.rstrip().endswith("free: it fits.")
    assert sorted(tmp_path.rglob("*")) == files


@pytest.mark.parametrize("verb", [PRETRAIN, STEER])
def test_a_dry_run_says_what_does_not_fit(
    verb: tuple[str, ...], folder: Path, tmp_path: Path, run: Any
) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    # 800 TB of tables
    path.write_text(
        json.dumps(config | {"vocab_size": 10**14 // config["hidden_size"]})
    )
    command = words(verb, folder, tmp_path / "out")
    code, out, err = run(*command)
    assert code == 0, err
    assert "it does NOT fit" in out
    assert "--lora 16" in out
    code, out, _ = run(*command, "--json")
    assert json.loads(out)["fits"] is False


def test_a_new_gpt_has_a_dry_run(tmp_path: Path, run: Any) -> None:
    command = ("pretrain", "none.txt", "--size", "tiny", "--out", tmp_path / "out")
    code, out, err = run(*command, "--dry-run", "--json", "--device", "cpu")
    assert code == 0, err
    planned = json.loads(out)
    assert planned["parameters"] > 10**6
    # its matrices are learned by Muon, which holds one number of each
    assert planned["bytes"]["optimiser"] < 8 * planned["parameters"]
    assert not (tmp_path / "out").exists()
