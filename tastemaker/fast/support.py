"""Which networks our own passes support, and which our own decoding does.

A network is supported if it consists of exactly the classes that the passes were written for. One
with an adapter, a quantised layer, a subclass, a hook or changed attention runs its own forward
pass.
"""

import sys
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from transformers import activations
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

GELU_APPROXIMATIONS: dict[type[nn.Module], str] = {
    activations.GELUActivation: "none",
    activations.NewGELUActivation: "tanh",
    activations.GELUTanh: "tanh",
}
"""How each activation approximates GELU, as `torch.nn.functional.gelu` names it."""

_ACTIVATIONS = (
    *GELU_APPROXIMATIONS,
    activations.SiLUActivation,
    nn.SiLU,
    nn.ReLU,
    nn.Tanh,
)

_GPT2 = """
GPT2LMHeadModel transformer:GPT2Model lm_head:Linear
GPT2Model wte:Embedding wpe:Embedding drop:Dropout h:GPT2Block ln_f:LayerNorm
GPT2Block ln_1:LayerNorm attn:GPT2Attention ln_2:LayerNorm mlp:GPT2MLP
GPT2Attention c_attn:Conv1D c_proj:Conv1D attn_dropout:Dropout resid_dropout:Dropout
GPT2MLP c_fc:Conv1D c_proj:Conv1D act:GELU dropout:Dropout
"""
_NEOX = """
GPTNeoXForCausalLM gpt_neox:GPTNeoXModel lm_head:Linear
GPTNeoXModel embed_in:Embedding emb_dropout:Dropout layers:GPTNeoXLayer
GPTNeoXModel final_layer_norm:LayerNorm rotary_emb:GPTNeoXRotaryEmbedding
GPTNeoXLayer input_layernorm:LayerNorm attention:GPTNeoXAttention post_attention_dropout:Dropout
GPTNeoXLayer post_attention_layernorm:LayerNorm mlp:GPTNeoXMLP post_mlp_dropout:Dropout
GPTNeoXAttention query_key_value:Linear dense:Linear
GPTNeoXMLP dense_h_to_4h:Linear act:GELU dense_4h_to_h:Linear
"""
_ENCODER = """
Model embeddings:Embeddings encoder:Encoder pooler:Pooler
Embeddings word_embeddings:Embedding position_embeddings:Embedding token_type_embeddings:Embedding
Embeddings LayerNorm:LayerNorm dropout:Dropout
Encoder layer:Layer
Layer attention:Attention intermediate:Intermediate output:Output
Attention self:SelfAttention output:SelfOutput
SelfAttention query:Linear key:Linear value:Linear dropout:Dropout
SelfOutput dense:Linear LayerNorm:LayerNorm dropout:Dropout
Intermediate dense:Linear intermediate_act_fn:Activation
Output dense:Linear LayerNorm:LayerNorm dropout:Dropout
Pooler dense:Linear activation:Tanh
"""
_BERT = (
    _ENCODER
    + "ForSequenceClassification bert:Model dropout:Dropout classifier:Linear"
)
_ROBERTA = f"""{_ENCODER}
ForSequenceClassification roberta:Model classifier:ClassificationHead
ClassificationHead dense:Linear dropout:Dropout out_proj:Linear
"""
_DISTILBERT = """
DistilBertForSequenceClassification distilbert:DistilBertModel dropout:Dropout
DistilBertForSequenceClassification pre_classifier:Linear classifier:Linear
DistilBertModel embeddings:Embeddings transformer:Transformer
Embeddings word_embeddings:Embedding position_embeddings:Embedding
Embeddings LayerNorm:LayerNorm dropout:Dropout
Transformer layer:TransformerBlock
TransformerBlock attention:DistilBertSelfAttention sa_layer_norm:LayerNorm
TransformerBlock ffn:FFN output_layer_norm:LayerNorm
DistilBertSelfAttention q_lin:Linear k_lin:Linear v_lin:Linear out_lin:Linear dropout:Dropout
FFN lin1:Linear activation:Activation lin2:Linear dropout:Dropout
"""
_GATED = """
ForCausalLM model:Model lm_head:Linear
Model embed_tokens:Embedding layers:DecoderLayer norm:RMSNorm rotary_emb:RotaryEmbedding
DecoderLayer self_attn:Attention mlp:MLP
DecoderLayer input_layernorm:RMSNorm post_attention_layernorm:RMSNorm
Attention q_proj:Linear k_proj:Linear v_proj:Linear o_proj:Linear q_norm:RMSNorm k_norm:RMSNorm
MLP gate_proj:Linear up_proj:Linear down_proj:Linear act_fn:SiLU
"""
_FAMILIES = {
    "gpt2.modeling_gpt2.GPT2LMHeadModel": ("", _GPT2),
    "gpt_neox.modeling_gpt_neox.GPTNeoXForCausalLM": ("", _NEOX),
    "distilbert.modeling_distilbert.DistilBertForSequenceClassification": (
        "",
        _DISTILBERT,
    ),
    "bert.modeling_bert.BertForSequenceClassification": ("Bert", _BERT),
    "roberta.modeling_roberta.RobertaForSequenceClassification": (
        "Roberta",
        _ROBERTA,
    ),
    "xlm_roberta.modeling_xlm_roberta.XLMRobertaForSequenceClassification": (
        "XLMRoberta",
        _ROBERTA,
    ),
}
"""Each network: a prefix of class names, and the parts of each class (`child:class`, or the class
of a list's members).

By name, because the import of a family takes long, and whoever holds a network has imported its
family.
"""

_DECODED = {
    "llama.modeling_llama.LlamaForCausalLM": ("Llama", _GATED),
    "mistral.modeling_mistral.MistralForCausalLM": ("Mistral", _GATED),
    "qwen2.modeling_qwen2.Qwen2ForCausalLM": ("Qwen2", _GATED),
    "qwen3.modeling_qwen3.Qwen3ForCausalLM": ("Qwen3", _GATED),
}
"""The networks that only our own decoding supports."""
_STATIC_ROTATIONS = ("default", "linear", "llama3", "yarn")
"""The kinds of rotary positions whose angles do not depend on the length of a text."""

_IN_TRAINING = (
    "p",
    "attention_dropout",
    "gradient_checkpointing",
    "activation_checkpointing",
)
"""Attributes of a part that change what training computes, or what memory it takes."""

_FUNCTIONS = (
    "eager_attention_forward",
    "apply_rotary_pos_emb",
    "rotate_half",
    "repeat_kv",
)
"""Functions of a family's module that its forward passes call, and that a library may replace."""

_BIDIRECTIONAL = ("bert", "roberta", "xlm-roberta", "distilbert")
_LIBRARIES = ("transformers.", "torch.")

_TENSORS = (nn.Parameter, torch.Tensor, type(None))

Slots = dict[type[nn.Module], dict[str, tuple[type[nn.Module], ...]]]
"""The classes that each child of each class may have."""


def _has_global_hook() -> bool:
    """Return whether a hook is registered for all modules."""
    check: Any = torch_module._has_any_global_hook
    return bool(check())


def supports(module: nn.Module) -> bool:
    """Return whether our own passes give a network's numbers and gradients.

    True only if each part is exactly the class that the passes were written for, computes what that
    class computes, and has no active dropout. This is checked at each call, because adapters and
    hooks come and go. It takes about two microseconds a part.
    """
    kind: Any = type(module)  # a class is hashable, whatever its instances are
    return _is_whole(module, _slots(kind)) and _has_usual_settings(module)


def supports_decoding(module: nn.Module) -> bool:
    """Return whether our own decoding gives the numbers of a network like Llama.

    The conditions are those of `supports`, which says nothing of these networks: they are trained
    by their own passes.
    """
    kind: Any = type(module)
    return _is_whole(module, _slots_of_decoded(kind)) and _is_usual_gated(
        module
    )


def _is_whole(module: Any, slots: Slots | None) -> bool:
    """Return whether a network is what the classes in `slots` make of it."""
    if slots is None or _has_global_hook():
        return False
    is_patched = any(
        kind.forward.__module__ != kind.__module__ for kind in slots
    )
    if is_patched or not _has_own_functions(type(module)):
        return False
    return _is_plain(module, slots)


def _has_own_functions(kind: type[nn.Module]) -> bool:
    """Return whether the functions that a family's forward passes call are transformers' own."""
    modeling = sys.modules[kind.__module__]
    functions = (getattr(modeling, name, None) for name in _FUNCTIONS)
    return all(
        function is None or function.__module__.startswith(_LIBRARIES)
        for function in functions
    )


def _is_plain(module: Any, slots: Slots) -> bool:
    """Return whether a network is made of the classes in `slots`, none of them changed."""
    config = module.config
    values = _usual_values(config)
    parts: list[nn.Module] = [module]
    while parts:
        part = parts.pop()
        if _is_changed(part, config, values) or not _has_usual_window(
            part, config
        ):
            return False
        for name, child in part._modules.items():
            if child is None:
                continue
            is_list = type(child) is nn.ModuleList
            members: Any = child._modules.values() if is_list else (child,)
            classes = slots[type(part)].get(name, ())
            for member in members:
                if type(member) not in classes:
                    return False
            parts.extend(members)
    return True


@cache
def _slots(kind: type[nn.Module]) -> Slots | None:
    """Return the parts that a class of networks has; None if no pass is written for the class."""
    family = _FAMILIES.get(_name_of(kind))
    return None if family is None else _slots_in(kind, *family)


@cache
def _slots_of_decoded(kind: type[nn.Module]) -> Slots | None:
    """Return the parts that a class of networks has; None if only its own pass decodes it."""
    family = _DECODED.get(_name_of(kind))
    return None if family is None else _slots_in(kind, *family)


def _name_of(kind: type[nn.Module]) -> str:
    """Return how the tables name a class."""
    full_name = f"{kind.__module__}.{kind.__qualname__}"
    return full_name.removeprefix("transformers.models.")


def _slots_in(kind: type[nn.Module], prefix: str, lines: str) -> Slots:
    """Return the parts that a class of networks has by the lines of its family."""
    modeling = sys.modules[kind.__module__]

    def classes(name: str) -> tuple[type[nn.Module], ...]:
        if name == "GELU":
            return tuple(GELU_APPROXIMATIONS)
        if name == "Activation":
            return _ACTIVATIONS
        if name == "SiLU":
            return (activations.SiLUActivation, nn.SiLU)
        for place, full_name in (
            (modeling, prefix + name),
            (modeling, name),
            (nn, name),
        ):
            part_class: Any = getattr(place, full_name, None)
            if part_class is None:
                continue
            # another library, such as Liger, may have put its own class there
            is_own = part_class.__module__.startswith(_LIBRARIES)
            return (part_class,) if is_own else ()
        return ()  # a transformers that has no such class: nothing fits

    slots: Slots = {}
    for line in filter(None, lines.splitlines()):
        owner, *children = line.split()
        for owner_class in classes(owner):
            owner_slots = slots.setdefault(owner_class, {})
            for child in children:
                name, _, child_class = child.partition(":")
                owner_slots[name] = classes(child_class)
                for part_class in owner_slots[name]:
                    slots.setdefault(part_class, {})
    return slots


def _has_usual_settings(module: Any) -> bool:
    """Return whether a network has the variations of its family that our passes know."""
    config = module.config
    if not _is_usual_attention(config._attn_implementation):
        return False
    if config.model_type == "gpt2":
        by_layer = config.scale_attn_by_inverse_layer_idx
        is_scaled = config.scale_attn_weights and not by_layer
        return bool(is_scaled) and module.lm_head.bias is None
    if config.model_type == "gpt_neox":
        rotary = module.gpt_neox.rotary_emb
        is_default = (
            rotary.rope_type == "default" and rotary.attention_scaling == 1
        )
        is_rotary = is_default and len(rotary.inv_freq) > 0
        return (
            is_rotary
            and bool(config.attention_bias)
            and module.lm_head.bias is None
        )
    return not getattr(config, "is_decoder", False)


def _is_usual_gated(module: Any) -> bool:
    """Return whether a network like Llama has the variations that our decoding knows."""
    rotary = module.model.rotary_emb
    head_width = module.model.layers[0].self_attn.head_dim
    return (
        _is_usual_attention(module.config._attn_implementation)
        and rotary.rope_type in _STATIC_ROTATIONS
        and 2 * len(rotary.inv_freq) == head_width
        and module.lm_head.bias is None
    )


def _usual_values(config: Any) -> dict[str, Any]:
    """Return what transformers' forward reads from a part, and our passes from the settings."""
    heads = config.num_attention_heads
    head_width = (
        getattr(config, "head_dim", None) or config.hidden_size // heads
    )
    key_heads = getattr(config, "num_key_value_heads", heads)
    return {
        "scaling": head_width**-0.5,
        "is_causal": config.model_type not in _BIDIRECTIONAL,
        "num_key_value_groups": heads // key_heads,
        "use_parallel_residual": getattr(
            config, "use_parallel_residual", None
        ),
    }


def _has_usual_window(part: Any, config: Any) -> bool:
    """Return whether a part sees as many tokens as the settings say of its layer."""
    if "sliding_window" not in part.__dict__:
        return True
    slides = config.layer_types[part.layer_idx] == "sliding_attention"
    usual = config.sliding_window if slides else None
    return bool(part.sliding_window == usual)


def _is_changed(part: nn.Module, config: Any, values: dict[str, Any]) -> bool:
    """Return whether a part computes something else than its class does, or has dropout.

    values: the usual values of its attributes, as `_usual_values` returns them.
    """
    attributes = part.__dict__
    is_patched = "forward" in attributes
    has_own_settings = attributes.get("config", config) is not config
    if is_patched or has_own_settings:
        return True
    for name, usual in values.items():
        if name in attributes and attributes[name] != usual:
            return True
    if (
        part._forward_pre_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
    ):
        return True
    hooks = part._forward_hooks
    if hooks and not all(map(_only_records, hooks.values())):
        return True
    for tensor in part._parameters.values():
        if type(tensor) not in _TENSORS:
            return True  # quantised, or spread over processes
    return part.training and any(attributes.get(name) for name in _IN_TRAINING)


def _only_records(hook: Any) -> bool:
    """Return whether a hook is transformers' own for `output_hidden_states`.

    Such a hook stays after the first call with that option, and changes no numbers.
    """
    return bool(hook.__module__ == "transformers.utils.output_capturing")


def _is_usual_attention(name: str) -> bool:
    """Return whether a name stands for transformers' softmax(query · keyᵀ / √d) · value."""
    if name == "sdpa":
        return ALL_ATTENTION_FUNCTIONS.get("sdpa") is sdpa_attention_forward
    return name == "eager" and "eager" not in ALL_ATTENTION_FUNCTIONS
