"""Large models: number formats, checkpointing, gradient caching, memory before it starts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForSequenceClassification, GPT2Config, LlamaConfig

import tastemaker as tm
from tastemaker.adapters import Lora
from tastemaker.fast import cache_bytes, scores_together
from tastemaker.reward import Network, fit_memory, make_tiny
from tests.architectures import gpt2, llama
from tests.models.test_adopted import TEXTS, classifier, judged, reward_model
from tests.shell import fails

RANK = 2


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama in bfloat16 with a trained head."""
    folder = reward_model(tmp_path_factory.mktemp("large") / "base")
    module = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.bfloat16
    )
    module.save_pretrained(folder)
    return folder


def fitted(base: Path, lora: int, **training: Any) -> tm.RewardModel:
    encoder = tm.Encoder(str(base), max_length=32, cut="right", lora=lora)
    return tm.fit(judged(), backbone=encoder, training={"epochs": 1, **training})


@pytest.mark.parametrize("lora", [0, RANK])
def test_a_folder_in_bfloat16_stays_so_and_layers_computed_twice_learn_the_same(
    lora: int, short: Path, tmp_path: Path
) -> None:
    held, recomputed = (
        fitted(short, lora, lr=1e-2, gradient_checkpointing=wanted)
        for wanted in (False, True)
    )
    assert recomputed.score(TEXTS) == pytest.approx(held.score(TEXTS), abs=1e-6)
    assert held.score(TEXTS) != pytest.approx(tm.load(short).score(TEXTS), abs=1e-2)
    held.backbone.save(tmp_path)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (short, tmp_path)
    )
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    for name, weight in after.items():
        is_head = name.startswith("score.")
        assert weight.dtype == (torch.float32 if is_head else torch.bfloat16), name
        assert weight.shape == before[name].shape
        assert torch.isfinite(weight).all()


@pytest.mark.parametrize("make", [classifier, reward_model])
def test_texts_beyond_the_budget_have_the_same_gradient_in_parts(
    make: Any, tmp_path: Path
) -> None:
    """Five texts of 20 to 24 tokens: two and a half times a budget of 44."""
    names = {"names": ["0"]} if make is classifier else {}
    network = Network.open(str(make(tmp_path / "base", **names)))
    texts = [list(range(10, 30 + extra)) for extra in range(5)]
    weights = [w for w in network.module.parameters() if w.requires_grad]

    def gradients(budget: int) -> tuple[list[Any], int]:
        held = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            held.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            scores, _ = scores_together(
                network.module, texts, pad_id=network.pad_id, batch_tokens=budget
            )
        loss = scores[:, 0].log_softmax(0)[0]
        return list(torch.autograd.grad(loss, weights, allow_unused=True)), sum(held)

    whole, held_whole = gradients(10_000)
    parts, held_parts = gradients(44)
    assert held_parts < held_whole / 10
    for one, other in zip(parts, whole, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_keys_and_values_take_what_their_heads_take() -> None:
    """Llama 3 8B: 32 layers · 8 heads · 128 numbers · 2 · 2 bytes. GPT-2: 12 · 12 · 64 · 2 · 4."""
    large = LlamaConfig(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    assert cache_bytes(large, torch.bfloat16) == 131_072
    assert cache_bytes(GPT2Config(), torch.float32) == 73_728
    assert cache_bytes(llama().config, torch.float32) == 2 * 2 * 8 * 2 * 4


@pytest.mark.parametrize("lora", [0, RANK])
def test_the_memory_is_computed_before_a_weight_is_read(
    lora: int, short: Path, tmp_path: Path, run: Any
) -> None:
    (tmp_path / "config.json").write_text((short / "config.json").read_text())
    arguments = ("--lora", lora, "--max-length", 32, "--batch-size", 4, "--dry-run")
    code, out, _ = run(
        "fit",
        tmp_path / "none.csv",
        *("--backbone", tmp_path, "--out", tmp_path / "out", "--json"),
        *arguments,
        *("--precision", "float32", "--device", "cpu"),
    )
    assert code == 0
    assert not (tmp_path / "out").exists()
    planned = json.loads(out)
    network = Network.open(str(short), is_frozen=lora > 0, max_length=32)
    if lora:
        network.add_adapters(Lora(lora), str(short), 0)
    weights = list(network.module.parameters())
    assert planned["parameters"] == sum(weight.numel() for weight in weights)
    measured = measure(network, weights)
    for name, size in measured.items():
        assert planned["bytes"][name] == size, name
    held = held_bytes(network, rows=4, length=32)
    assert held / 2 <= planned["bytes"]["activations, about"] <= 2 * held
    assert planned["fits"]
    assert planned["total"] == sum(planned["bytes"].values())


def measure(network: Network, weights: list[nn.Parameter]) -> dict[str, int]:
    """Return the bytes of weights, gradients and the state of AdamW after a step."""
    learned = [weight for weight in weights if weight.requires_grad]
    scores, _ = network.forward_texts([list(range(10, 20))], 100)
    optimizer = torch.optim.AdamW(learned)
    scores.sum().backward()
    for weight in learned:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    optimizer.step()
    state = [t for values in optimizer.state.values() for t in values.values()]
    gradients = [weight.grad for weight in learned]
    sizes = {}
    for name, tensors in (
        ("weights", [*weights, *network.module.buffers()]),
        ("gradients", gradients),
        ("optimiser", state),
    ):
        sizes[name] = sum(t.numel() * t.element_size() for t in tensors)
    return sizes


def held_bytes(network: Network, rows: int, length: int) -> int:
    """Return the bytes that a pass holds for its gradients, each piece of memory once."""
    places = {t.untyped_storage()._cdata for t in network.module.parameters()}
    held: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in places:
            held[storage._cdata] = storage
        return tensor

    texts = [list(range(10, 10 + length))] * rows
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.forward_texts(texts, 10_000)
    return sum(storage.nbytes() for storage in held.values())


def test_a_small_backbone_has_no_dry_run() -> None:
    with pytest.raises(tm.UsageError, match="linear and tiny"):
        fit_memory("linear")


DAMAGES = {
    "no tokenizer": "no tokenizer",
    "NaN": "holds NaN",
    "missing": "lack",
    "gguf": "GGUF",
    "gptq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "pickles": "pickles",
}


def damaged(folder: Path, damage: str) -> Path:
    """Save a small GPT that something is wrong with."""
    gpt2().save_pretrained(folder)
    if damage != "no tokenizer":
        make_tiny(TEXTS, vocabulary=300).tokenizer.save_pretrained(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    tensors = load_file(weights)
    if damage == "NaN":
        tensors["transformer.h.0.ln_1.weight"][0] = float("nan")
    elif damage == "missing":
        del tensors["transformer.h.1.attn.c_attn.weight"]
    save_file(tensors, weights, {"format": "pt"})
    if damage in ("gptq", "bitsandbytes"):
        settings = {"quant_method": damage, "bits": 4, "load_in_4bit": True}
        content = json.loads(config.read_text()) | {"quantization_config": settings}
        config.write_text(json.dumps(content))
    elif damage == "gguf":
        config.unlink()
        weights.rename(folder / "model.gguf")
    elif damage == "pickles":
        weights.rename(folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_be_used_is_one_line_before_any_work(
    damage: str, tmp_path: Path, run: Any
) -> None:
    folder = damaged(tmp_path / "model", damage)
    data = tmp_path / "rows.csv"
    rows = "".join(f"text {number},{number % 2}\n" for number in range(20))
    data.write_text(f"text,label\n{rows}")
    out = ("--out", tmp_path / "out", "--quiet")
    for words in (
        ("write", folder, "The", "--quiet"),
        ("fit", data, "--backbone", folder, *out),
        ("pretrain", data, "--from", folder, *out),
        ("steer", folder, "--reward", "length", *out),
    ):
        fails(run(*words), DAMAGES[damage])
        assert not (tmp_path / "out" / "config.json").exists()


def test_every_verb_with_a_model_says_where_and_in_which_format() -> None:
    from tastemaker.cli import app

    # `serve` has no format: its scores are those of the library in float32
    train = ("fit", "pretrain", "steer")
    for name in (*train, "write", "score", "evaluate", "explain", "rank", "frontier"):
        options = {o for p in app.commands[name].params for o in p.opts}
        assert {"--device", "--dtype"} <= options, name
