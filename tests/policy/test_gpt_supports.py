"""The fast GPT passes are used only for plain networks. Adapters run their own forward pass."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import gpt2, llama, mistral, neox, qwen2, qwen3
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import tastemaker as tm
from tastemaker.fast import (
    AnyDecoder,
    Texts,
    decoder_for,
    decoder_name,
    forward,
    nats,
    passes_at_once,
    supports,
)
from tastemaker.gpt import Policy

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning"
)  # peft uses an old name
SEQUENCES = [[5, 9, 11, 3, 30], [7], [8, 8, 21]]
MAKERS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: gpt2(activation_function="gelu_new"),
    "neox": lambda: neox(use_parallel_residual=False),
}
TARGETS = {"gpt2": ["c_attn", "c_fc"], "neox": ["query_key_value", "dense_h_to_4h"]}


@pytest.fixture(params=list(MAKERS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def module(family: str, stirred: Any) -> Any:
    return stirred(MAKERS[family]())


def with_adapter(module: Any, family: str, *, wrapped: bool) -> Any:
    """Return a GPT with a LoRA adapter that changes its numbers."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=2,
        target_modules=TARGETS[family],
        fan_in_fan_out=family == "gpt2",
        lora_dropout=0.0,
    )
    if wrapped:
        module = peft.get_peft_model(module, config)
    else:
        module = peft.inject_adapter_in_model(config, module)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3, generator=generator)
    return module.eval()


def own_logits(module: Any) -> Tensor:
    return torch.cat(
        [module(torch.tensor([ids]), use_cache=False).logits[0] for ids in SEQUENCES]
    )


def our_logits(module: Any) -> Tensor:
    return forward(module, Texts.of(SEQUENCES, "cpu")).logits


def first_mlp(module: Any) -> Any:
    return (
        module.transformer.h[0].mlp
        if hasattr(module, "transformer")
        else module.gpt_neox.layers[0].mlp
    )


def first_product(module: Any) -> tuple[Any, str]:
    mlp = first_mlp(module)
    return mlp, "c_fc" if hasattr(mlp, "c_fc") else "dense_h_to_4h"


def subclassed(module: Any) -> None:
    """Put a product of a subclass into the place of one, as quantised layers are."""
    owner, name = first_product(module)
    plain = getattr(owner, name)

    class Doubled(type(plain)):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    plain.__class__ = Doubled


def hooked(module: Any) -> None:
    owner, name = first_product(module)
    getattr(owner, name).register_forward_hook(lambda part, inputs, output: output + 1)


def hooked_before(module: Any) -> None:
    first_mlp(module).register_forward_pre_hook(lambda part, inputs: (inputs[0] * 2,))


def patched(module: Any) -> None:
    mlp = first_mlp(module)
    mlp.forward = lambda x: 3 * type(mlp).forward(mlp, x)


def other_activation(module: Any) -> None:
    first_mlp(module).act = nn.ReLU()


def head_with_bias(module: Any) -> None:
    module.lm_head.bias = nn.Parameter(torch.arange(40.0))


def parametrised(module: Any) -> None:
    parametrizations.weight_norm(module.lm_head)
    with torch.no_grad():
        module.lm_head.parametrizations.weight.original0.mul_(2)


def another_attention(module: Any) -> None:
    from transformers import AttentionInterface

    def twice(part: Any, query: Tensor, *others: Any, **settings: Any) -> Any:
        sdpa = AttentionInterface()["sdpa"]
        return sdpa(part, 2 * query, *others, **settings)

    AttentionInterface.register("twice", twice)
    module.config._attn_implementation = "twice"


def first_attention(module: Any) -> Any:
    return (
        module.transformer.h[0].attn
        if hasattr(module, "transformer")
        else module.gpt_neox.layers[0].attention
    )


def other_scaling(module: Any) -> None:
    first_attention(module).scaling *= 3


CHANGES = (
    other_scaling,
    subclassed,
    hooked,
    hooked_before,
    patched,
    other_activation,
    head_with_bias,
    parametrised,
    another_attention,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@torch.no_grad()
def test_a_changed_network_runs_its_own_pass(
    module: Any, change: Callable[[Any], None]
) -> None:
    assert supports(module)
    before = our_logits(module)
    torch.testing.assert_close(before, own_logits(module), atol=1e-5, rtol=0)
    change(module)
    assert not supports(module)
    assert passes_at_once(module) == 1
    assert (own_logits(module) - before).abs().max() > 0.01
    torch.testing.assert_close(
        our_logits(module), own_logits(module), atol=1e-5, rtol=0
    )


def test_attention_that_is_not_causal_runs_the_own_pass(module: Any) -> None:
    # transformers reads it for a lone text, not for a padded batch: so no numbers here
    first_attention(module).is_causal = False
    assert not supports(module)


def test_a_changed_rotation_runs_the_own_pass(stirred: Any) -> None:
    module = stirred(neox())
    module.gpt_neox.rotary_emb.attention_scaling = 2.0
    assert not supports(module)


def test_another_form_of_residuals_runs_the_own_pass(stirred: Any) -> None:
    module = stirred(neox(use_parallel_residual=False))
    module.gpt_neox.layers[1].use_parallel_residual = True
    assert not supports(module)


GATED: dict[str, Callable[[], Any]] = {
    "llama": llama,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
}
ATTENTION_CHANGES = {
    "scaling": 3.0,
    "is_causal": False,
    "num_key_value_groups": 4,
    "sliding_window": 3,
}


@pytest.mark.parametrize("name", ATTENTION_CHANGES)
@pytest.mark.parametrize("gated", GATED)
def test_transformers_decodes_a_network_whose_attention_is_changed(
    gated: str, name: str
) -> None:
    module = GATED[gated]().eval()
    attention = module.model.layers[0].self_attn
    if name == "sliding_window" and not hasattr(attention, name):
        pytest.skip("transformers reads this family's window from its settings")
    assert decoder_name(module) == "ours"
    setattr(attention, name, ATTENTION_CHANGES[name])
    assert decoder_name(module) == "transformers"


def test_a_replaced_function_of_transformers_runs_the_own_pass(
    module: Any, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    modeling = sys.modules[type(module).__module__]
    plain = modeling.eager_attention_forward

    def twice(part: Any, query: Tensor, *others: Any, **named: Any) -> Any:
        return plain(part, 2 * query, *others, **named)

    assert supports(module)
    monkeypatch.setattr(modeling, "eager_attention_forward", twice)
    assert not supports(module)


SWAPPED = """
from transformers.models.{family} import modeling_{family} as modeling
from architectures import {maker}
from tastemaker.fast import decoder_name

class Other(modeling.{part}):
    def forward(self, *inputs, **named):
        return 2 * super().forward(*inputs, **named)

modeling.{part} = Other
print(decoder_name({maker}().eval()))
"""


@pytest.mark.parametrize(
    ("family", "maker", "part"),
    [
        ("gpt2", "gpt2", "GPT2MLP"),
        ("gpt_neox", "neox", "GPTNeoXMLP"),
        ("llama", "llama", "LlamaRMSNorm"),
    ],
)
def test_a_class_that_another_library_put_into_transformers_is_not_plain(
    family: str, maker: str, part: str
) -> None:
    """As Liger does. In a process of its own, because the classes are looked up once."""
    code = SWAPPED.format(family=family, maker=maker, part=part)
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": f"{tests.parent}:{tests}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["transformers"]


def test_a_hook_that_is_gone_and_recorded_hidden_states_change_nothing(
    module: Any,
) -> None:
    handle = module.register_forward_hook(lambda part, inputs, output: None)
    assert not supports(module)
    handle.remove()
    module(
        torch.tensor([[5, 9]]), output_hidden_states=True
    )  # leaves hooks of transformers' own
    assert supports(module)


def test_dropout_in_training_runs_the_own_pass(family: str) -> None:
    dropping = (
        gpt2(activation_function="gelu")
        if family == "gpt2"
        else neox(attention_dropout=0.5)
    )
    if family == "gpt2":
        dropping.transformer.h[1].attn.attn_dropout.p = 0.5
    assert supports(dropping.eval())
    assert not supports(dropping.train())


@pytest.mark.parametrize("wrapped", [False, True], ids=["injected", "wrapped"])
def test_an_adapter_counts_in_logits_log_probs_and_writing(
    module: Any, family: str, wrapped: bool
) -> None:
    with torch.no_grad():
        plain = own_logits(module)
        adapted = with_adapter(module, family, wrapped=wrapped)
        logits = own_logits(adapted)
        assert not supports(adapted)
        assert (logits - plain).abs().max() > 0.1
        torch.testing.assert_close(our_logits(adapted), logits, atol=1e-5, rtol=0)
        texts, places = Texts.of(SEQUENCES, "cpu"), torch.tensor([0, 1, 2, 3, 6, 7])
        targets = torch.tensor([9, 11, 3, 30, 8, 21])
        expected = nn.functional.cross_entropy(logits[places], targets, reduction="sum")
        torch.testing.assert_close(
            nats(adapted, texts, places, targets), expected, atol=1e-5, rtol=0
        )
        decoder = decoder_for(adapted, 0, keeps_hidden=True)
        assert isinstance(decoder, AnyDecoder)
        first = decoder.read([[5, 9, 11], [8]], [1, 1], 4)
        torch.testing.assert_close(first[0], logits[2], atol=1e-5, rtol=0)
        second = decoder.step(torch.tensor([3, 8]))
        torch.testing.assert_close(second[0], logits[3], atol=1e-5, rtol=0)
        torch.testing.assert_close(second[1], logits[7], atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrapped", [False, True], ids=["injected", "wrapped"])
def test_steering_changes_the_adapter_and_the_value_head_alone(
    fresh: Policy, policy: Policy, wrapped: bool
) -> None:
    adapted = Policy(
        with_adapter(fresh.module, "neox", wrapped=wrapped), fresh.tokenizer
    )
    steered = tm.steer(
        adapted,
        reward=lambda prompts, texts: [float(len(text)) for text in texts],
        prompts=["The film"],
        algorithm=tm.PPO(lr=1e-2),
        sampling=tm.Sampling(max_tokens=6),
        steering=tm.Steering(steps=3, batch=4, windows=1, measured=2),
    )
    before = dict(adapted.module.named_parameters())
    for name, weight in steered.policy.module.named_parameters():
        assert torch.equal(weight, before[name]) == ("lora_" not in name), name
        assert weight.requires_grad == ("lora_" in name), name
    assert steered.policy.value_head is not None
    assert steered.policy.value_head.linear.weight.abs().max() > 0


def test_a_frozen_copy_trains_whole_and_a_partly_frozen_policy_in_part(
    fresh: Policy,
) -> None:
    copied = fresh.frozen_copy().trainable_copy()
    assert all(weight.requires_grad for weight in copied.module.parameters())
    fresh.module.lm_head.weight.requires_grad_(False)
    frozen = [
        name
        for name, weight in fresh.trainable_copy().module.named_parameters()
        if not weight.requires_grad
    ]
    assert frozen == ["lm_head.weight"]
