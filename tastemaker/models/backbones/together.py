"""Many texts of any length at once, with their gradient: the pass of training."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tastemaker.models.backbones.forward import scores, short_form
from tastemaker.models.backbones.packed import TokenIds, encode_packed
from tastemaker.models.batching import by_length, collate

_MOST_PADDING = 0.05


def scores_together(module: Any, texts: Sequence[TokenIds], *, pad_id: int, batch_tokens: int) -> tuple[Tensor, int]:
    """Return the scores of texts [n, heads], float32, with their gradient, and the places computed, padding included.

    module: a transformers sequence classifier. On a processor all texts are one pass, end to end, so that what a pass
    costs whatever its length, such as the gradient of all embeddings, is paid once. Elsewhere, and where the module
    needs its own forward pass, they are batches of like length, of `batch_tokens` at most.
    """
    lengths = [len(ids) for ids in texts]
    encoder = short_form(module) if module.device.type == "cpu" else None
    if encoder is not None:
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        return _put_back(encode_packed(encoder, [texts[i] for i in order]), order), sum(lengths)
    parts, order, places = [], list[int](), 0
    for chosen in by_length(lengths, batch_tokens, most_padding=_MOST_PADDING):
        batch = collate([texts[i] for i in chosen], pad_id).to(module.device)
        parts.append(scores(module, batch))
        order += chosen
        places += batch.ids.numel()
    return _put_back(torch.cat(parts), order), places


def _put_back(rows: Tensor, order: list[int]) -> Tensor:
    """Return the rows where they came from: row i of `rows` is that of number order[i]."""
    return rows[torch.tensor(order, device=rows.device).argsort()]
