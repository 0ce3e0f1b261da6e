"""Batches of texts of similar length, so that little is padding.

A batch is sized by its tokens, not by its rows: rows × longest ≤ the token budget.
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

_WORTH_A_PASS = 1024
"""Tokens. A smaller batch wastes more by being small than by its padding."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token sequences of similar lengths, padded to the longest.

    ids: int64 [b, t]; is_text: bool [b, t], True where a token of the text stands. lengths: the b
    lengths, kept on the host so that asking about padding never waits for a GPU. side: where the
    padding stands.
    """

    ids: Tensor
    is_text: Tensor
    lengths: tuple[int, ...]
    side: Side = "right"

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch on another device."""
        ids = self.ids.to(device, non_blocking=True)
        is_text = self.is_text.to(device, non_blocking=True)
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
        """Each token's place in its text [b, t]; 0 for the first, and for padding on the left."""
        return (self.is_text.long().cumsum(1) - 1).clamp(min=0)


def collate(
    sequences: Sequence[Sequence[int] | NDArray[np.int32]],
    pad_id: int,
    side: Side = "right",
) -> Batch:
    """Return token sequences (none of them empty) as one batch, padded with `pad_id` on `side`."""
    lengths = tuple(len(s) for s in sequences)
    longest = max(lengths)
    ids = np.full((len(lengths), longest), pad_id, dtype=np.int64)
    is_text = np.zeros(ids.shape, dtype=bool)
    for row, (sequence, length) in enumerate(
        zip(sequences, lengths, strict=True)
    ):
        start = 0 if side == "right" else longest - length
        ids[row, start : start + length] = sequence
        is_text[row, start : start + length] = True
    return Batch(
        torch.from_numpy(ids), torch.from_numpy(is_text), lengths, side
    )


def by_length(
    lengths: Sequence[int],
    batch_tokens: int,
    *,
    most_padding: float | None = None,
) -> list[list[int]]:
    """Cut texts into batches of similar lengths; return their indices, longest first.

    A batch has rows × longest ≤ `batch_tokens`; a text longer than that is a batch of its own.
    most_padding: also end a batch, once it is worth a pass of its own, before a text that would
    make a larger share of it padding.
    Raises UsageError for a budget below 1.
    """
    if batch_tokens < 1:
        raise UsageError(
            f"batch_tokens is {batch_tokens}: a batch needs room for at least one token. Try 4096."
        )
    batches: list[list[int]] = []
    longest = tokens = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        places = longest * (len(batches[-1]) + 1) if batches else 0
        is_padded = (
            most_padding is not None
            and tokens >= _WORTH_A_PASS
            and tokens + lengths[i] < (1 - most_padding) * places
        )
        if not batches or places > batch_tokens or is_padded:
            batches.append([])
            longest = max(1, lengths[i])
            tokens = 0
        batches[-1].append(i)
        tokens += lengths[i]
    return batches


def training_steps(
    lengths: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    sizes: Sequence[int] | None = None,
    pool: int = 50,
) -> list[list[int]]:
    """Return one epoch's optimiser steps: every unit once, in steps of about `batch_size` texts.

    lengths: of each unit's longest text. sizes: how many texts each unit holds; None: one. A
    permutation seeded by (seed, epoch) is cut into pools of `batch_size` × `pool` texts. Each pool
    is sorted by length and cut into steps of at most `batch_size` texts; a larger unit is a step of
    its own. Then all steps are shuffled. So a step is a random draw of texts of similar length.
    """
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = random.permutation(len(lengths))
    longest = np.asarray(lengths)
    texts = (
        np.ones(len(lengths), dtype=int)
        if sizes is None
        else np.asarray(sizes)
    )
    steps: list[list[int]] = []
    for pooled in _cut(order.tolist(), texts, batch_size * pool):
        ordered = np.array(pooled)[np.argsort(longest[pooled], kind="stable")]
        steps += _cut(ordered.tolist(), texts, batch_size)
    return [steps[i] for i in random.permutation(len(steps))]


def _cut(
    units: Sequence[int], sizes: NDArray[np.int_], most: int
) -> list[list[int]]:
    """Cut units, in their order, into parts of at most `most` texts."""
    parts: list[list[int]] = []
    room = 0
    for unit in units:
        if not parts or sizes[unit] > room:
            parts.append([])
            room = most
        parts[-1].append(unit)
        room -= int(sizes[unit])
    return parts


def whole_units(
    units: Sequence[int], tokens: Sequence[int], batch_tokens: int
) -> list[list[int]]:
    """Cut one step's units, in their order, into parts under the token budget.

    A larger unit is a part of its own. tokens: of every unit of the data. The gradients of the
    parts are summed, so the cut changes only memory and time.
    """
    return _cut(units, np.asarray(tokens), batch_tokens)
