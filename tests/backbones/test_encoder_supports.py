"""The fast encoder pass is used only for plain networks. Adapters run their own forward pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tastemaker as tm
from tastemaker.data import Example
from tastemaker.errors import UsageError
from tastemaker.fast import collate, gains_by_int8, parts_of, scores, supports
from tastemaker.reward import Network

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning"
)  # peft uses an old name
ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert")
BATCH = collate([[5, 9, 11, 3, 30], [7, 200], [8, 8, 21]], 0)


def own_scores(module: Any) -> Tensor:
    logits: Tensor = module(
        input_ids=BATCH.ids, attention_mask=BATCH.is_text.long()
    ).logits
    return logits


def layers_of(module: Any) -> Any:
    base = getattr(module, module.base_model_prefix)
    return (
        base.transformer.layer if hasattr(base, "transformer") else base.encoder.layer
    )


def with_adapter(module: Any, *, targets: list[str], wrapped: bool = False) -> Any:
    """Return a network with a LoRA adapter that changes its numbers; its head still learns."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=targets, lora_dropout=0.0)
    adapted = peft.get_peft_model(module, config) if wrapped else None
    adapted = adapted or peft.inject_adapter_in_model(config, module)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3, generator=generator)
    module.classifier.requires_grad_(True)
    return adapted.eval()


class Doubled(nn.Linear):
    """A product that gives twice as much, as a quantised one might."""

    def forward(self, values: Tensor) -> Tensor:
        return 2 * super().forward(values)


def subclassed(module: Any) -> None:
    linear = next(
        part for part in layers_of(module)[0].modules() if type(part) is nn.Linear
    )
    linear.__class__ = Doubled


def hooked(module: Any) -> None:
    layers_of(module)[1].attention.register_forward_hook(
        lambda part, inputs, output: (output[0] * 2, *output[1:])
    )


def patched(module: Any) -> None:
    layer = layers_of(module)[1]
    layer.forward = lambda states, *others, **named: (
        type(layer).forward(layer, states, *others, **named) * 0.5
    )


def attention_of(layer: Any) -> Any:
    return getattr(layer.attention, "self", layer.attention)


def other_scaling(module: Any) -> None:
    attention_of(layers_of(module)[0]).scaling *= 3


@pytest.mark.parametrize("family", ENCODERS)
def test_attention_that_became_causal_runs_its_own_pass(
    make_module: Any, family: str
) -> None:
    module = make_module(family)
    assert supports(module)
    attention_of(layers_of(module)[0]).is_causal = True
    assert not supports(module)


@pytest.mark.parametrize(
    "change", [subclassed, hooked, patched, other_scaling], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("family", ENCODERS)
@torch.no_grad()
def test_a_changed_network_runs_its_own_pass(
    make_module: Any, family: str, change: Callable[[Any], None]
) -> None:
    module = make_module(family)
    assert supports(module)
    before = own_scores(module)
    change(module)
    assert not supports(module)
    assert parts_of(module) is None
    assert (own_scores(module) - before).abs().max() > 1e-3
    torch.testing.assert_close(
        scores(module, BATCH), own_scores(module), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("wrapped", [False, True], ids=["injected", "wrapped"])
@torch.no_grad()
def test_an_adapter_counts_in_scores(make_module: Any, wrapped: bool) -> None:
    module = make_module("bert")
    plain = own_scores(module)
    adapted = with_adapter(module, targets=["query", "dense"], wrapped=wrapped)
    assert (own_scores(adapted) - plain).abs().max() > 0.01
    torch.testing.assert_close(
        scores(adapted, BATCH), own_scores(adapted), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("wrapped", [False, True], ids=["injected", "wrapped"])
def test_a_fit_changes_the_adapter_and_the_head_alone(
    make_folder: Any, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[Network] = []
    before: dict[str, Tensor] = {}
    plain_open = Network.open

    def open_with_adapter(*names: Any, **settings: Any) -> Network:
        network = plain_open(*names, **settings)
        network.module = with_adapter(
            network.module, targets=["query", "intermediate.dense"], wrapped=wrapped
        )
        before.update(
            {n: w.detach().clone() for n, w in network.module.named_parameters()}
        )
        networks.append(network)
        return network

    monkeypatch.setattr(Network, "open", open_with_adapter)
    judgements = [
        tm.Label(f"A {'good' if n % 2 else 'bad'} film {n}.", n % 2 == 1)
        for n in range(40)
    ]
    tm.fit(
        judgements,
        backbone=str(make_folder("bert")),
        training={"epochs": 1, "batch_size": 8},
    )
    for name, weight in networks[0].module.named_parameters():
        is_learned = "lora_" in name or "classifier" in name
        assert torch.equal(weight, before[name]) != is_learned, name


@pytest.mark.skipif(
    not gains_by_int8(torch.device("cpu")), reason="no AVX-512 VNNI here"
)
def test_int8_leaves_adapters_to_the_network_and_reads_them_once_they_are_merged(
    make_folder: Any, tmp_path: Path
) -> None:
    network = Network.open(str(make_folder("bert")))
    texts = [Example("good " * n + "film, " + "bad " * n) for n in range(1, 30)]
    network.calibrate(texts)
    before = network.score(texts, precision="int8").values
    plain = network.module
    network.module = with_adapter(plain, targets=["query", "value"], wrapped=True)
    with pytest.raises(UsageError, match="no int8 form"):
        network.score(texts, precision="int8")
    adapted = network.score(texts).values
    np.testing.assert_allclose(
        network.score(texts, precision="fast").values, adapted, atol=0.1
    )
    network.module = network.module.merge_and_unload()
    merged = network.score(texts, precision="int8").values
    assert np.abs(merged - before).max() > 0.01
    network.save(tmp_path)
    loaded = Network.load(tmp_path)
    assert np.array_equal(merged, loaded.score(texts, precision="int8").values)
