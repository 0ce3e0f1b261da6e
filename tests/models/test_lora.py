"""LoRA: adapters learn, are merged into the model, and are saved beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tastemaker as tm
from tastemaker.adapters import Lora
from tastemaker.reward import Network
from tests.models.test_adopted import (
    TEXTS,
    classifier,
    judged,
    labels_file,
    reward_model,
)
from tests.shell import fails

pytest.importorskip("peft")
RANK = 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base, and what was fitted with adapters on it."""
    place = tmp_path_factory.mktemp("lora")
    base = reward_model(place / "base")
    tm.fit(
        judged(),
        backbone=tm.Encoder(str(base), max_length=32, cut="right", lora=RANK),
        training={"lr": 1e-2},
        epochs=1,
        out=place / "out",
    )
    return base, place / "out"


def test_the_merged_weights_differ_by_the_rank_of_the_adapters(
    folders: tuple[Path, Path],
) -> None:
    base, out = (load_file(f / "model.safetensors") for f in folders)
    assert base.keys() == out.keys()
    for name, before in base.items():
        change = out[name] - before
        if "proj" in name:
            assert 1 <= torch.linalg.matrix_rank(change, tol=1e-5) <= RANK, name
        elif "score" not in name:
            assert not change.any(), name


def test_the_adapter_folder_scores_as_the_merged_one(
    folders: tuple[Path, Path],
) -> None:
    base, out = folders
    merged, alone = tm.load(out), tm.load(out / "adapter")
    assert alone.score(TEXTS) == pytest.approx(merged.score(TEXTS), abs=1e-4)
    assert merged.score(TEXTS) != pytest.approx(tm.load(base).score(TEXTS), abs=1e-3)
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (RANK, str(base))


def test_adapters_of_another_base_are_refused_in_one_line(
    folders: tuple[Path, Path], tmp_path: Path, run: Any
) -> None:
    path = folders[1] / "adapter" / "adapter_config.json"
    saved = path.read_text()
    try:
        other = reward_model(tmp_path / "other", hidden_size=24)
        path.write_text(saved.replace(str(folders[0]), str(other)))
        fails(run("score", folders[1] / "adapter", "A text."), "do not fit", str(other))
    finally:
        path.write_text(saved)


def test_an_encoder_learns_by_adapters(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base", ["0"])
    model = tm.fit(
        judged(), backbone=tm.Encoder(str(base), max_length=32, lora=RANK), epochs=1
    )
    assert len(model.score(TEXTS)) == len(TEXTS)
    assert model.contract.settings["training"]["lr"] == 2e-4


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("all", {"self_attn", "mlp"}),
        ("attention", {"self_attn"}),
        ("q_proj, v_proj", {"q_proj", "v_proj"}),
    ],
)
def test_the_layers_that_are_named_get_adapters(
    targets: str, names: set[str], folders: tuple[Path, Path]
) -> None:
    network = Network.open(str(folders[0]), is_frozen=True, max_length=32)
    network.add_adapters(Lora(RANK, targets), str(folders[0]), 0)
    place = 3 if targets.startswith("q") else 2  # layers.0.self_attn.q_proj.lora_A
    learned = set()
    for name, weight in network.module.named_parameters():
        if weight.requires_grad and "lora_" in name:
            learned.add(name.removeprefix("model.").split(".")[place])
    assert learned == names


def test_a_layer_that_is_not_there_is_refused_in_one_line(
    folders: tuple[Path, Path], tmp_path: Path, run: Any
) -> None:
    rows = labels_file(tmp_path)
    words = ("fit", rows, "--backbone", folders[0], "--lora", RANK)
    more = ("--lora-targets", "query", "--out", tmp_path / "out", "--quiet")
    fails(run(*words, *more), "'query'", "q_proj", "down_proj")
    assert not (tmp_path / "out" / "config.json").exists()
    fails(run(*words, *more, "--dry-run"), "'query'")
