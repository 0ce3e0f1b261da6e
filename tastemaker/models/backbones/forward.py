"""The same numbers as the network's own forward pass, with less work.

For the BERT, RoBERTa and DistilBERT families: the score hangs on the first token alone, so the last layer is computed for
that one token (its keys and values need all); and where nothing is padded there is no attention mask. Every other
architecture, and dropout in training, goes through the module's own forward.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tastemaker.models.backbones.int8 import in_int8
from tastemaker.models.backbones.parts import Encoder, Layer, parts_of
from tastemaker.models.batching import Batch
from tastemaker.models.precision import ScoringPrecision


def scores(module: nn.Module, batch: Batch) -> Tensor:
    """Return `module(input_ids, attention_mask).logits[:, 0]` as float32 [b], to the last digits, gradients too.

    module: a transformers sequence classifier with one output.
    """
    encoder = None if _needs_its_own_forward(module) else parts_of(module)
    if encoder is None:
        return _own_forward(module, batch)
    return encode(encoder, batch).float()


def encode(encoder: Encoder, batch: Batch) -> Tensor:
    """Return the scores [b] of a batch from an encoder's parts."""
    states = encoder.embed(batch.ids, None if batch.side == "right" else batch.positions)
    is_key = None if batch.is_full else batch.is_text[:, None, None, :]
    for layer in encoder.layers[:-1]:
        states = _layer(layer, encoder.heads, states, states, is_key)
    return encoder.head(_layer(encoder.layers[-1], encoder.heads, _first_tokens(batch, states), states, is_key))[:, 0]


def _first_tokens(batch: Batch, states: Tensor) -> Tensor:
    """Return the states of the texts' first tokens [b, 1, d], wherever the padding stands.

    transformers reads column 0, which holds padding when the padding stands on the left.
    """
    if batch.side == "right" or batch.is_full:
        return states[:, :1]
    starts = batch.is_text.int().argmax(1)
    return states[torch.arange(len(starts), device=starts.device), starts].unsqueeze(1)


def _layer(layer: Layer, heads: int, queries: Tensor, states: Tensor, is_key: Tensor | None) -> Tensor:
    """Return one layer's output [b, q, d] for the tokens `queries` [b, q, d] among all `states` [b, t, d]."""
    q, k, v = (
        part(x).unflatten(-1, (heads, -1)).transpose(1, 2)
        for part, x in ((layer.query, queries), (layer.key, states), (layer.value, states))
    )
    mixed = scaled_dot_product_attention(q, k, v, attn_mask=is_key).transpose(1, 2).flatten(2)
    attended = layer.attention_norm(layer.out(mixed) + queries)
    return layer.output_norm(layer.narrow(layer.activation(layer.widen(attended))) + attended)


def _needs_its_own_forward(module: nn.Module) -> bool:
    """Say whether training asks for what the short way leaves out: dropout or gradient checkpointing."""
    if not module.training:
        return False
    has_dropout = any(isinstance(part, nn.Dropout) and part.p > 0 for part in module.modules())
    return has_dropout or bool(getattr(module, "is_gradient_checkpointing", False))


def _own_forward(module: nn.Module, batch: Batch) -> Tensor:
    positions = {} if batch.side == "right" else {"position_ids": batch.positions}
    mask = batch.is_text.long()
    return module(input_ids=batch.ids, attention_mask=mask, **positions).logits[:, 0].float()


def scorer(module: nn.Module, precision: ScoringPrecision) -> Callable[[Batch], Tensor]:
    """Return a function from a batch to its scores [b], float32, in that precision. To be called without gradients.

    Only families that `parts_of` knows have an int8 form; the others stay in float32.
    """
    if precision == "int8":
        encoder = parts_of(module)
        if encoder is not None:
            small = in_int8(encoder)
            return lambda batch: encode(small, batch).float()
    if precision == "bfloat16":
        return lambda batch: _in_bfloat16(module, batch)
    return lambda batch: scores(module, batch)


def _in_bfloat16(module: nn.Module, batch: Batch) -> Tensor:
    with torch.autocast(batch.ids.device.type, torch.bfloat16):
        return scores(module, batch)
