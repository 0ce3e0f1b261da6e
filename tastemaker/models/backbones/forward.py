"""The same numbers as the network's own forward pass, with less work.

For the BERT, RoBERTa and DistilBERT families: the score hangs on the first token alone, so the last layer is computed
for that one token (its keys and values need all); and where nothing is padded there is no attention mask. Every other
architecture, and dropout in training, goes through the module's own forward.
"""

import torch
from torch import Tensor, nn

from tastemaker.models.attention import attention
from tastemaker.models.backbones.parts import Encoder, parts_of
from tastemaker.models.batching import Batch


def scores(module: nn.Module, batch: Batch) -> Tensor:
    """Return `module(input_ids, attention_mask).logits` as float32 [b, heads], to the last digits, gradients too.

    module: a transformers sequence classifier. The padding may stand on either side: the first token is
    found where it is, while transformers' encoders read column 0, which would be padding.
    """
    encoder = short_form(module)
    return _own_forward(module, batch) if encoder is None else encode(encoder, batch)


def short_form(module: nn.Module) -> Encoder | None:
    """Return the parts of a network whose numbers may be computed the short way, None where its own is needed."""
    return None if _needs_its_own_forward(module) else parts_of(module)


def encode(encoder: Encoder, batch: Batch) -> Tensor:
    """Return the scores of a batch [b, heads], float32, computed from an encoder's parts."""
    is_key = None if batch.is_full else batch.is_text[:, None, None, :]

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.view(*x.shape[:2], encoder.heads, -1).transpose(1, 2) for x in (query, key, value))
        return attention(q, k, v, is_key=is_key).transpose(1, 2).flatten(2)

    states = encoder.embed(batch.ids, None if batch.side == "right" else batch.positions)
    for layer in encoder.layers[:-1]:
        states = layer(states, attend)
    first = encoder.layers[-1](states, attend, lambda x: _first_tokens(batch, x))
    return encoder.head(first).float()


def _first_tokens(batch: Batch, states: Tensor) -> Tensor:
    """Return the states of the texts' first tokens [b, 1, d], wherever the padding stands."""
    if batch.side == "right" or batch.is_full:
        return states[:, :1]
    starts = batch.is_text.int().argmax(1)
    return states[torch.arange(len(starts), device=starts.device), starts].unsqueeze(1)


def _needs_its_own_forward(module: nn.Module) -> bool:
    """Say whether training asks for what the short way leaves out: dropout or gradient checkpointing."""
    if not module.training:
        return False
    return any(
        (isinstance(part, nn.Dropout) and part.p > 0)
        or getattr(part, "gradient_checkpointing", False)
        or getattr(part, "activation_checkpointing", False)
        for part in module.modules()
    )


def _own_forward(module: nn.Module, batch: Batch) -> Tensor:
    positions = {} if batch.side == "right" else {"position_ids": batch.positions}
    logits: Tensor = module(input_ids=batch.ids, attention_mask=batch.is_text.long(), **positions).logits
    return logits.float()
