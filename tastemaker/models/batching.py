"""Batches of like lengths, so that almost nothing is padding.

A batch is sized by its tokens, not by its rows: rows × longest ≤ the token budget. Nothing here knows of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.errors import UsageError

Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Token sequences of like lengths, padded to the longest.

    ids: int64 [b, t]; is_text: bool [b, t], True where a token of the text stands. lengths: the b lengths, kept on the
    host so that asking about padding never waits for a GPU. side: where the padding stands.
    """

    ids: Tensor
    is_text: Tensor
    lengths: tuple[int, ...]
    side: Side = "right"

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch on another device."""
        ids, is_text = (x.to(device, non_blocking=True) for x in (self.ids, self.is_text))
        return Batch(ids, is_text, self.lengths, self.side)

    @property
    def padding(self) -> float:
        """The share of the batch that is padding, 0 … 1."""
        return 1 - sum(self.lengths) / self.ids.numel()

    @property
    def is_full(self) -> bool:
        """True when nothing is padded."""
        return min(self.lengths) == self.ids.shape[1]

    @property
    def positions(self) -> Tensor:
        """Each token's place in its own text [b, t]: 0 for the first one, and for padding on the left."""
        return (self.is_text.long().cumsum(1) - 1).clamp(min=0)


def collate(sequences: Sequence[Sequence[int] | NDArray[np.int32]], pad_id: int, side: Side = "right") -> Batch:
    """Return token sequences (none of them empty) as one batch, padded with `pad_id` on `side`."""
    lengths = tuple(len(s) for s in sequences)
    longest = max(lengths)
    ids = np.full((len(lengths), longest), pad_id, dtype=np.int64)
    is_text = np.zeros(ids.shape, dtype=bool)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        there = slice(0, length) if side == "right" else slice(longest - length, longest)
        ids[row, there] = sequence
        is_text[row, there] = True
    return Batch(torch.from_numpy(ids), torch.from_numpy(is_text), lengths, side)


def by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Cut texts into batches of like lengths: indices, longest first, rows × longest ≤ `batch_tokens`.

    A text that is longer than the budget makes a batch of its own. Raises UsageError for a budget below 1.
    """
    if batch_tokens < 1:
        raise UsageError(f"batch_tokens is {batch_tokens}: a batch needs room for at least one token. Try 4096.")
    longest_first = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    start = 0
    while start < len(longest_first):
        rows = max(1, batch_tokens // max(1, lengths[longest_first[start]]))
        batches.append(longest_first[start : start + rows])
        start += rows
    return batches


def training_steps(
    lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int, pool: int = 50
) -> list[list[int]]:
    """Return one epoch's optimiser steps: every text exactly once, `batch_size` texts a step, texts of a step alike.

    A permutation seeded by (seed, epoch) is cut into pools of `batch_size` × `pool` texts; each pool is sorted by
    length and cut into steps, and the steps of all pools are shuffled. So a step is a random draw that differs from a
    plain one only in that its texts are about equally long. Only one step of an epoch may hold fewer texts.
    """
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = random.permutation(len(lengths))
    sizes = np.asarray(lengths)
    steps: list[list[int]] = []
    for start in range(0, len(order), batch_size * pool):
        pooled = order[start : start + batch_size * pool]
        pooled = pooled[np.argsort(sizes[pooled], kind="stable")]
        steps += [pooled[i : i + batch_size].tolist() for i in range(0, len(pooled), batch_size)]
    return [steps[i] for i in random.permutation(len(steps))]


def microbatches(step: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Cut one step's texts into batches under the token budget, longest first.

    step: indices into `lengths`. The gradients of the batches are summed, so the cut changes memory and time alone.
    """
    batches = by_length([lengths[i] for i in step], batch_tokens)
    return [[step[k] for k in batch] for batch in batches]
