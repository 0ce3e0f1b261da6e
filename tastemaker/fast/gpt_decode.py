"""Decoding: read prompts once, then one token at a time, with cached keys and values.

Rows are aligned at their ends: shorter prompts are padded on the left, and padding is never
attended to. So rows that ended can give their places to new prompts of any length.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from tastemaker.fast.any_decode import AnyDecoder, joined
from tastemaker.fast.batching import Batch, collate
from tastemaker.fast.gated_layers import GatedNetwork, gated_network_of
from tastemaker.fast.gpt_layers import GptWeights, most_tokens, network_of


class Decoder(Protocol):
    """What the generation loop needs of a network.

    hidden: the hidden states of the last logits, after the last norm [rows, d].
    """

    hidden: Tensor

    @property
    def can_add(self) -> bool:
        """Whether rows can be added to those that it has."""

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        copies: Sequence[int],
        tokens: int,
    ) -> Tensor:
        """Read each prompt once and make `copies` rows of it; return logits [rows, v].

        tokens: the most that will be appended to a row.
        """

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row [rows]; return logits [rows, v]."""

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""

    def add(
        self,
        prompts: Sequence[Sequence[int]],
        copies: Sequence[int],
        tokens: int,
    ) -> Tensor:
        """Read more prompts as `read` does, behind the rows so far; return their logits.

        tokens: the most that will be appended to a row, an old one or a new one.
        """


def decoder_name(module: Any) -> str:
    """Return who decodes a network: "ours" or "transformers"."""
    network = network_of(module) or gated_network_of(module)
    return "transformers" if network is None else "ours"


def decoder_for(
    module: Any, pad_id: int, *, keeps_hidden: bool = False
) -> Decoder:
    """Return a network's decoder: our own pass if it supports the network, else transformers'.

    keeps_hidden: whether `hidden` will be read. Our own pass always has it.
    """
    network = network_of(module) or gated_network_of(module)
    if network is None:
        return AnyDecoder(module, pad_id, keeps_hidden=keeps_hidden)
    return OwnDecoder(network, most_tokens(module), pad_id)


class OwnDecoder:
    """The forward pass of GPT-2, GPT-NeoX and networks like Llama, with less overhead.

    The residual stream is changed in place, so a product needs no copy of what it is added to.
    """

    can_add = True

    def __init__(
        self, network: GptWeights | GatedNetwork, most: int, pad_id: int
    ) -> None:
        # What differs between networks is in their own methods, which take their own layers.
        self.network: Any = network
        self.pad_id = pad_id
        self.device = network.tokens.device
        # A row that has ended may stay for a while; it then repeats its last position.
        self.last = most - 1
        # of each layer [2, rows, heads, room, d]
        self.keys_values: list[Tensor] = []
        # [rows, 1, 1, room]: −∞ at padding, 0 elsewhere
        self.blocked: Tensor | None = None
        self.length = 0
        self.padding = self.hidden = torch.zeros(0)

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        copies: Sequence[int],
        tokens: int,
    ) -> Tensor:
        """Read each prompt once and make `copies` rows of it; return logits [rows, v].

        tokens: the most that will be appended to a row.
        """
        batch = collate(prompts, self.pad_id, "left").to(self.device)
        rows = torch.tensor(copies, device=self.device)
        self.length = batch.ids.shape[1]
        self.padding = (self.length - batch.is_text.sum(1)).repeat_interleave(
            rows
        )
        room = self.length + tokens
        keys_values: list[Tensor] = []
        hidden = self._prompt(batch, keys_values)
        self.keys_values = []
        for of_prompts in keys_values:
            shape = list(of_prompts.shape)
            shape[1] = len(self.padding)
            shape[3] = room
            of_rows = hidden.new_empty(shape)
            of_rows[:, :, :, : self.length] = of_prompts.repeat_interleave(
                rows, 1
            )
            self.keys_values.append(of_rows)
        self.blocked = None
        if not batch.is_full:
            self._block(room)
        hidden = self.network.last(hidden)
        self.hidden = hidden.repeat_interleave(rows, 0)
        logits: Tensor = self.network.logits(hidden)
        return logits.repeat_interleave(rows, 0)

    def _block(self, room: int) -> None:
        """Block the padding of each row."""
        columns = torch.arange(room, device=self.device)
        is_blocked = columns < self.padding[:, None]
        blocked = torch.zeros(is_blocked.shape, device=self.device)
        blocked.masked_fill_(is_blocked, float("-inf"))
        self.blocked = blocked[:, None, None]

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row [rows]; return logits [rows, v]."""
        network = self.network
        at = self.length
        positions = (at - self.padding).clamp(max=self.last)
        x = network.embedded(tokens, positions)
        rotations = network.rotations(positions)
        for layer, cache in zip(network.layers, self.keys_values, strict=True):
            query, keys_values = network.attention_inputs(layer, x, rotations)
            cache[:, :, :, at] = keys_values
            first = (
                0 if layer.window is None else max(0, at + 1 - layer.window)
            )
            attended = self._attended(query, cache, first)
            x = network.rest(layer, x, attended)
        self.length += 1
        self.hidden = network.last(x)
        logits: Tensor = network.logits(self.hidden)
        return logits

    def _attended(self, query: Tensor, cache: Tensor, first: int) -> Tensor:
        """Return what the newest token of each row attends to [rows, heads · d].

        query: [rows, heads, d]. first: the first column that is read. For a single token two
        batched products take two thirds of the time of the fused operation.
        """
        rows, heads, dim = query.shape
        columns = slice(first, self.length + 1)
        keys, values = cache[:, :, :, columns].flatten(1, 2)
        # queries that share keys are the rows of one product
        group = rows * heads // len(keys)
        scores = torch.bmm(
            (query * dim**-0.5).view(-1, group, dim), keys.transpose(1, 2)
        )
        if self.blocked is not None:
            scores.view(rows, heads, 1, -1).add_(self.blocked[..., columns])
        return torch.bmm(torch.softmax(scores, -1), values).view(
            rows, heads * dim
        )

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        for number, cache in enumerate(self.keys_values):
            moved = cache[:, : len(rows)]
            moved[..., : self.length, :] = cache[:, rows, :, : self.length]
            self.keys_values[number] = moved
        self.padding = self.padding[rows]
        self.hidden = self.hidden[rows]
        if self.blocked is not None:
            self.blocked = self.blocked[rows]

    def add(
        self,
        prompts: Sequence[Sequence[int]],
        copies: Sequence[int],
        tokens: int,
    ) -> Tensor:
        """Read more prompts as `read` does, behind the rows so far; return their logits.

        tokens: the most that will be appended to a row, an old one or a new one.
        """
        other = OwnDecoder(self.network, self.last + 1, self.pad_id)
        logits = other.read(prompts, copies, 0)
        first = int(self.padding.min())
        used = self.length - first
        columns = max(used, other.length)
        for number, its in enumerate(other.keys_values):
            mine = self.keys_values[number][..., first : self.length, :]
            self.keys_values[number] = joined(mine, its, columns + tokens)
        mine_padding = self.padding + (columns - self.length)
        its_padding = other.padding + (columns - other.length)
        self.padding = torch.cat((mine_padding, its_padding))
        self.length = columns
        self._block(columns + tokens)
        self.hidden = torch.cat((self.hidden, other.hidden))
        return logits

    def _prompt(self, batch: Batch, keys_values: list[Tensor]) -> Tensor:
        """Return the hidden state of each prompt's last token [b, d].

        Appends each layer's keys and values to `keys_values`.
        """
        network = self.network
        rows, length = batch.ids.shape
        positions = batch.positions.flatten()
        x: Tensor = network.embedded(batch.ids.flatten(), positions)
        rotations = network.rotations(positions)
        for number, layer in enumerate(network.layers):
            query, of_tokens = network.attention_inputs(layer, x, rotations)
            query = query.unflatten(0, (rows, length)).transpose(1, 2)
            of_rows = of_tokens.unflatten(1, (rows, length)).transpose(2, 3)
            keys_values.append(of_rows)
            keys, values = of_rows
            is_causal = batch.is_full and _sees_all(layer, length)
            attended = functional.scaled_dot_product_attention(
                query,
                keys,
                values,
                attn_mask=None if is_causal else _allowed(batch, layer.window),
                is_causal=is_causal,
                enable_gqa=network.kv_heads != network.heads,
            )
            attended = attended.transpose(1, 2)
            is_last = number == len(network.layers) - 1
            if is_last:  # only the last token's output is needed
                x = x.view(rows, length, -1)[:, -1].contiguous()
                attended = attended[:, -1]
            x = network.rest(
                layer, x, attended.reshape(len(x), -1).contiguous()
            )
        return x


def _sees_all(layer: Any, length: int) -> bool:
    """Return whether a layer's window is as long as a text."""
    return layer.window is None or layer.window >= length


def _allowed(batch: Batch, window: int | None) -> Tensor:
    """Return which token may attend to which, bool [b, 1, t, t].

    Text attends to text before it, within the window. Padding attends to itself, so that its
    softmax is finite.
    """
    length = batch.ids.shape[1]
    causal = torch.ones(
        length, length, dtype=torch.bool, device=batch.ids.device
    ).tril()
    if window is not None:
        causal = causal.triu(1 - window)
    itself = torch.eye(length, dtype=torch.bool, device=batch.ids.device)
    return ((causal & batch.is_text[:, None]) | itself)[:, None]
