"""Texts end to end in one row of tokens: no padding at all, and no text's numbers hang on its neighbours'.

Linear layers and norms see one long row; attention sees one text at a time, or several of exactly equal length at once.
For training and 8-bit scoring on a CPU; a GPU prefers one padded call to many small ones (`forward.py`).
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.models.attention import attention
from tastemaker.models.backbones.parts import Encoder

TokenIds = Sequence[int] | NDArray[np.int32]


def encode_packed(encoder: Encoder, texts: Sequence[TokenIds]) -> Tensor:
    """Return the scores [n, heads], float32, of n texts as token ids; those of like length should stand together."""
    lengths = [len(ids) for ids in texts]
    ids = torch.from_numpy(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in texts]))
    starts = torch.tensor([0, *lengths[:-1]]).cumsum(0)
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    positions = torch.cat([torch.arange(length).repeat(count) for length, count in runs])

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return _attend(encoder.heads, runs, query, key, value)

    states = encoder.embed(ids[None], positions[None])
    for layer in encoder.layers[:-1]:
        states = layer(states, attend)
    first = encoder.layers[-1](states, attend, lambda x: x[:, starts])
    return encoder.head(first.transpose(0, 1)).float()


def _attend(heads: int, runs: list[tuple[int, int]], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend within each text. runs: length and number of the texts. query: of all tokens, or of the first ones."""
    counts = [count for _, count in runs]
    tokens = [length * count for length, count in runs]
    asking = tokens if query.shape[1] == key.shape[1] else counts
    parts = (torch.split(x[0], sizes) for x, sizes in ((query, asking), (key, tokens), (value, tokens)))
    mixed = []
    for count, *run in zip(counts, *parts, strict=True):
        q, k, v = (x.view(count, -1, heads, x.shape[-1] // heads).transpose(1, 2) for x in run)
        mixed.append(attention(q, k, v).transpose(1, 2).reshape(-1, query.shape[-1]))
    return torch.cat(mixed)[None]
