"""Small networks of several architectures: 40 tokens, width 32, two layers of four heads."""

from typing import Any

from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

V = 40
ENDS: dict[str, Any] = {
    "vocab_size": V,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    **ENDS,
}
_GATED: dict[str, Any] = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}


def gpt2(**settings: Any) -> Any:
    """Return a GPT-2 that reads 24 tokens, without dropout."""
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(
        GPT2Config(
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=24,
            **ENDS | still | settings,
        )
    )


def neox(turned: float = 1.0, **settings: Any) -> Any:
    """Return a GPT-NeoX that reads 24 tokens. turned: the share of each head's numbers that turn by
    places.
    """
    turns = {
        "rope_type": "default",
        "rope_theta": 100.0,
        "partial_rotary_factor": turned,
    }
    size = {**SMALL, "intermediate_size": 48, "max_position_embeddings": 24}
    return GPTNeoXForCausalLM(GPTNeoXConfig(**size, rope_parameters=turns, **settings))


def llama(**settings: Any) -> Any:
    """Return a Llama whose heads share keys and values by twos."""
    return LlamaForCausalLM(LlamaConfig(**_GATED | settings))


def mistral(**settings: Any) -> Any:
    """Return a Mistral whose tokens see eight tokens."""
    return MistralForCausalLM(MistralConfig(**_GATED | settings, sliding_window=8))


def qwen2(**settings: Any) -> Any:
    """Return a Qwen2 whose second layer sees seven tokens."""
    window = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
    return Qwen2ForCausalLM(Qwen2Config(**_GATED | window | settings))


def qwen3(**settings: Any) -> Any:
    """Return a Qwen3 with heads wider than its states."""
    return Qwen3ForCausalLM(Qwen3Config(**_GATED | settings, head_dim=12))
