"""Decoders give the logits of a full forward pass of each row alone, at every step."""

from typing import Any

import pytest
import torch
from architectures import ENDS, SMALL, V, gpt2, llama, mistral, neox, qwen2, qwen3
from torch import Tensor
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from tastemaker.fast import AnyDecoder, OwnDecoder, decoder_for

UNLIKE = [[7], [3, 5, 9, 11, 4], [6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]]
ALIKE = [[3, 5, 9], [4, 6, 8], [11, 12, 13]]
MAKERS: dict[str, Any] = {
    "gpt2-exact": lambda: gpt2(activation_function="gelu"),
    "gpt2-new": lambda: gpt2(activation_function="gelu_new"),
    "gpt2-tanh": lambda: gpt2(
        activation_function="gelu_pytorch_tanh", tie_word_embeddings=False
    ),
    "gpt2-relu": lambda: gpt2(activation_function="relu"),
    "gpt2-inverse": lambda: gpt2(scale_attn_by_inverse_layer_idx=True),
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(
            **SMALL,
            intermediate_size=48,
            num_key_value_heads=2,
            head_dim=8,
            sliding_window=8,
        )
    ),
    "llama": llama,
    "llama-biased": lambda: llama(attention_bias=True, mlp_bias=True),
    "llama-far": lambda: llama(
        max_position_embeddings=64,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 100.0,
            "factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "llama-relu": lambda: llama(hidden_act="relu"),
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "neox": lambda: neox(0.25),
    "neox-ours": lambda: neox(use_parallel_residual=False),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(
            **SMALL, ffn_dim=48, max_position_embeddings=24, word_embed_proj_dim=32
        )
    ),
    "bloom": lambda: BloomForCausalLM(
        BloomConfig(hidden_size=32, n_layer=2, n_head=4, **ENDS)
    ),
}
FAMILIES = tuple(MAKERS)


@pytest.fixture(scope="module")
def modules(stirred) -> dict[str, Any]:
    return {family: stirred(make()) for family, make in MAKERS.items()}


@torch.inference_mode()
def alone(module: Any, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """The next token's logits and hidden state of each row, from a pass over that row and nothing
    else.
    """
    every = [
        module(
            input_ids=torch.tensor([row]), use_cache=False, output_hidden_states=True
        )
        for row in rows
    ]
    return torch.cat([out.logits[:, -1] for out in every]), torch.cat(
        [out.hidden_states[-1][:, -1] for out in every]
    )


def drawn(rows: int, step: int) -> list[int]:
    """Some tokens, other ones for each row and step."""
    return [3 + (7 * row + 5 * step) % (V - 3) for row in range(rows)]


@torch.inference_mode()
def walk(
    decoder: Any, module: Any, prompts: list[list[int]], copies: list[int], steps: int
) -> None:
    """Read, write, leave rows out twice, and compare with full passes all the way."""
    rows = [
        list(prompt)
        for prompt, copied in zip(prompts, copies, strict=True)
        for _ in range(copied)
    ]
    outputs = decoder.read(prompts, copies, steps)
    leaving = {3: [0, 2, 3, 5], 6: [1, 2]}
    for step in range(steps):
        logits, hidden = alone(module, rows)
        assert torch.allclose(outputs, logits, atol=2e-5), f"step {step}"
        assert torch.allclose(decoder.hidden, hidden, atol=2e-5), f"step {step}"
        if step in leaving:
            decoder.keep(torch.tensor(leaving[step]))
            rows = [rows[i] for i in leaving[step]]
        tokens = drawn(len(rows), step)
        outputs = decoder.step(torch.tensor(tokens))
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]
    assert torch.allclose(outputs, alone(module, rows)[0], atol=2e-5)


@pytest.mark.parametrize("prompts", [UNLIKE, ALIKE], ids=["unlike", "alike"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_gives_the_logits_and_hidden_states_of_a_full_pass(
    modules, family, prompts
):
    module = modules[family]
    walk(decoder_for(module, 0, keeps_hidden=True), module, prompts, [2, 1, 3], 10)


@pytest.mark.parametrize("prompts", [UNLIKE, ALIKE], ids=["unlike", "alike"])
def test_the_pass_for_any_network_fits_gpt2_too(modules, prompts):
    walk(
        AnyDecoder(modules["gpt2-new"], 0, keeps_hidden=True),
        modules["gpt2-new"],
        prompts,
        [2, 1, 3],
        10,
    )


def test_our_own_pass_is_for_some_architectures_alone(modules):
    families = {
        family
        for family in FAMILIES
        if isinstance(decoder_for(modules[family], 0), OwnDecoder)
    }
    gpts = {"gpt2-exact", "gpt2-new", "gpt2-tanh", "neox", "neox-ours"}
    gated = {"llama", "llama-biased", "llama-far", "mistral", "qwen2", "qwen3"}
    assert families == gpts | gated


@pytest.mark.parametrize("longest", [5, 11])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_rows_that_are_added_get_the_logits_of_a_full_pass(modules, family, longest):
    """The new prompts are shorter than the rows so far, or one of them is longer."""
    module = modules[family]
    decoder = decoder_for(module, 0, keeps_hidden=True)
    rows = [[3, 5, 9], [4], [4]]
    decoder.read([[3, 5, 9], [4]], [1, 2], 4)
    assert decoder.can_add
    for step in range(3):
        tokens = drawn(len(rows), step)
        decoder.step(torch.tensor(tokens))
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]
    decoder.keep(torch.tensor([1, 2]))
    more = [[7] * longest, [6, 8]]
    new = decoder.add(more, [1, 2], 6)
    rows = [*rows[1:], more[0], more[1], more[1]]
    assert torch.allclose(new, alone(module, rows[2:])[0], atol=2e-5)
    for step in range(6):
        assert torch.allclose(decoder.hidden, alone(module, rows)[1], atol=2e-5)
        tokens = drawn(len(rows), step)
        logits = decoder.step(torch.tensor(tokens))
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]
        assert torch.allclose(logits, alone(module, rows)[0], atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_what_padding_is_made_of_is_never_seen(modules, family):
    read = []
    for pad in (0, 17):
        decoder = decoder_for(modules[family], pad)
        read.append(
            [decoder.read(UNLIKE, [1, 1, 1], 3), decoder.step(torch.tensor([4, 5, 6]))]
        )
    for first, second in zip(*read, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("family", ["gpt2-new", "gpt2-relu", "neox", "opt"])
@torch.inference_mode()
def test_rows_that_ended_may_stay_beyond_the_last_place(modules, family):
    """The longest row is at its last place (24) when the shortest has 14 tokens more to write."""
    module = modules[family]
    decoder = decoder_for(module, 0)
    prompts = [[3] * 23, [5] * 9]
    rows = [list(prompt) for prompt in prompts]
    decoder.read(prompts, [1, 1], 15)
    for step in range(15):
        tokens = drawn(2, step)
        logits = decoder.step(torch.tensor(tokens))
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]
        assert torch.allclose(logits[1], alone(module, rows[1:])[0][0], atol=2e-5)
    assert len(rows[1]) == 24
