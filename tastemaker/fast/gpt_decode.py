"""Decoding: read prompts once, then one token at a time, with cached keys and values.

The cache is allocated once. Rows are aligned at their ends: shorter prompts are padded on the left,
and padding is never attended to.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tastemaker.errors import ModelError
from tastemaker.fast.batching import Batch, collate
from tastemaker.fast.gpt_layers import (
    Layer,
    Network,
    most_tokens,
    network_of,
    rotate,
)


class Decoder(Protocol):
    """What the generation loop needs of a network.

    hidden: the hidden states of the last logits, after the last norm [rows, d].
    """

    hidden: Tensor

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


def decoder_for(
    module: Any, pad_id: int, *, keeps_hidden: bool = False
) -> Decoder:
    """Return a network's decoder: our own pass if it supports the network, else transformers'.

    keeps_hidden: whether `hidden` will be read. Our own pass always has it.
    """
    network = network_of(module)
    if network is None:
        return AnyDecoder(module, pad_id, keeps_hidden=keeps_hidden)
    return OwnDecoder(network, most_tokens(module), pad_id)


class OwnDecoder:
    """The forward pass of GPT-2 and GPT-NeoX, with transformers' operations and less overhead.

    The residual stream is changed in place, so a product needs no copy of what it is added to.
    """

    def __init__(self, network: Network, most: int, pad_id: int) -> None:
        self.network = network
        self.pad_id = pad_id
        self.heads = network.heads
        self.width = network.width
        self.device = network.tokens.device
        # A row that has ended may stay for a while; it then repeats its last position.
        self.last = most - 1
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
        total = int(rows.sum())
        keys_values: list[Tensor] = []
        hidden = self._prompt(batch, keys_values)
        shape = (2, total, self.heads, room, self.width // self.heads)
        self.keys_values = []
        for of_prompts in keys_values:
            of_rows = hidden.new_empty(shape)
            of_rows[:, :, :, : self.length] = of_prompts.repeat_interleave(
                rows, 1
            )
            self.keys_values.append(of_rows)
        self.blocked = None
        if not batch.is_full:
            columns = torch.arange(room, device=hidden.device)
            is_blocked = columns < self.padding[:, None]
            blocked = torch.zeros(is_blocked.shape, device=hidden.device)
            blocked.masked_fill_(is_blocked, float("-inf"))
            self.blocked = blocked[:, None, None]
        hidden = self.network.last(hidden)
        self.hidden = hidden.repeat_interleave(rows, 0)
        return self.network.logits(hidden).repeat_interleave(rows, 0)

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row [rows]; return logits [rows, v]."""
        network = self.network
        at = self.length
        positions = (at - self.padding).clamp(max=self.last)
        x = network.embedded(tokens, positions)
        rotations = network.rotations(positions)
        blocked = None if self.blocked is None else self.blocked[..., : at + 1]
        for layer, cache in zip(network.layers, self.keys_values, strict=True):
            parts = self._parts(layer, x)
            rotate(parts, rotations)
            cache[:, :, :, at] = parts[1:]
            attended = self._attended(
                parts[0], cache[..., : at + 1, :], blocked
            )
            x = self._rest(layer, x, attended)
        self.length += 1
        self.hidden = network.last(x)
        return network.logits(self.hidden)

    def _attended(
        self, query: Tensor, keys_values: Tensor, blocked: Tensor | None
    ) -> Tensor:
        """Return what one token of each row [rows, heads, d] attends to [rows, heads · d].

        For a single token two batched products take two thirds of the time of the fused operation.
        """
        rows, heads, dim = query.shape
        keys, values = keys_values.flatten(1, 2)
        scores = torch.bmm(
            (query * dim**-0.5).view(-1, 1, dim), keys.transpose(1, 2)
        )
        if blocked is not None:
            scores.view(rows, heads, 1, -1).add_(blocked)
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
        if self.blocked is not None:
            self.blocked = self.blocked[rows]

    def _prompt(self, batch: Batch, keys_values: list[Tensor]) -> Tensor:
        """Return the hidden state of each prompt's last token [b, d].

        Appends each layer's keys and values to `keys_values`.
        """
        network = self.network
        rows, length = batch.ids.shape
        positions = batch.positions.flatten()
        x = network.embedded(batch.ids.flatten(), positions)
        rotations = network.rotations(positions)
        allowed = None if batch.is_full else _allowed(batch)
        for number, layer in enumerate(network.layers):
            parts = self._parts(layer, x)
            rotate(parts, rotations)
            parts = parts.reshape(3, rows, length, self.heads, -1).transpose(
                2, 3
            )
            query, keys, values = parts
            keys_values.append(parts[1:])
            attended = functional.scaled_dot_product_attention(
                query, keys, values, attn_mask=allowed, is_causal=batch.is_full
            )
            attended = attended.transpose(1, 2)
            is_last = number == len(network.layers) - 1
            if is_last:  # only the last token's output is needed
                x = x.view(rows, length, -1)[:, -1].contiguous()
                attended = attended[:, -1]
            x = self._rest(layer, x, attended.reshape(-1, self.width))
        return x

    def _parts(self, layer: Layer, x: Tensor) -> Tensor:
        """Return queries, keys and values [3, n, heads, d] of x [n, width]."""
        weight, bias = layer.projection
        return self.network.parts(torch.mm(layer.first(x), weight).add_(bias))

    def _rest(self, layer: Layer, x: Tensor, attended: Tensor) -> Tensor:
        """Return a layer's output [n, width] from its input x and attention's result [n, width]."""
        if self.network.is_parallel:
            inner = self.network.inner(layer, x)
            return layer.down.added_to(layer.out.added_to(x, attended), inner)
        x = layer.out.added_to(x, attended)
        return layer.down.added_to(x, self.network.inner(layer, x))


def _allowed(batch: Batch) -> Tensor:
    """Return which token may attend to which, bool [b, 1, t, t].

    Text attends to text before it. Padding attends to itself, so that its softmax is finite.
    """
    length = batch.ids.shape[1]
    causal = torch.ones(
        length, length, dtype=torch.bool, device=batch.ids.device
    ).tril()
    itself = torch.eye(length, dtype=torch.bool, device=batch.ids.device)
    return ((causal & batch.is_text[:, None]) | itself)[:, None]


class _Room(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values in memory that is allocated once."""

    def __init__(self, tokens: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tokens = tokens
        self.used = 0

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *_args: Any,
        **_kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Add keys and values [rows, heads, t, d]; return all so far."""
        rows, heads, length, _ = key_states.shape
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.all_keys = key_states.new_empty(
                rows, heads, self.tokens, key_states.shape[-1]
            )
            self.all_values = value_states.new_empty(
                rows, heads, self.tokens, value_states.shape[-1]
            )
        self.all_keys[:, :, self.used : self.used + length] = key_states
        self.all_values[:, :, self.used : self.used + length] = value_states
        self.used += length
        self._show_used()
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def repeat(self, copies: Tensor) -> None:
        """Repeat each row as many times as `copies` says."""
        self.all_keys = self.all_keys.repeat_interleave(copies, 0)
        self.all_values = self.all_values.repeat_interleave(copies, 0)
        self._show_used()

    def select(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        for room in (self.all_keys, self.all_values):
            room[: len(rows), :, : self.used] = room[rows, :, : self.used]
        self.all_keys = self.all_keys[: len(rows)]
        self.all_values = self.all_values[: len(rows)]
        self._show_used()

    def _show_used(self) -> None:
        """Let `keys` and `values` be views of the part that is used."""
        self.keys = self.all_keys[:, :, : self.used]
        self.values = self.all_values[:, :, : self.used]


# since transformers 5.24, and before
_CACHE_NAMES = (
    "cache",
    "past_key_values",
)


class AnyDecoder:
    """transformers' own forward pass of any causal language model.

    Layers that keep keys and values in a way of their own (sliding windows, states) still do.
    """

    def __init__(
        self, module: Any, pad_id: int, *, keeps_hidden: bool = False
    ) -> None:
        self.module = module
        self.pad_id = pad_id
        self.keeps_hidden = keeps_hidden
        self.last = most_tokens(module) - 1
        is_adapted = hasattr(module, "get_base_model")  # by peft
        base = module.get_base_model() if is_adapted else module
        self.accepted = set(inspect.signature(base.forward).parameters)
        names = [name for name in _CACHE_NAMES if name in self.accepted]
        if not names:
            raise ModelError(
                f"{type(base).__name__} keeps no keys and values of what it has read, "
                "and cannot write here."
            )
        self.cache_name = names[0]
        self.cache: Any = None
        self.is_text: Tensor | None = None
        self.positions = self.hidden = torch.zeros(0)

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        copies: Sequence[int],
        tokens: int,
    ) -> Tensor:
        """Read each prompt once and make `copies` rows of it; return logits [rows, v].

        tokens: the most that will be appended to a row.
        """
        batch = collate(prompts, self.pad_id, "left").to(self.module.device)
        rows = torch.tensor(copies, device=self.module.device)
        self.cache = self._cache(batch.ids.shape[1] + tokens)
        self.is_text = None if batch.is_full else batch.is_text
        logits = self._forward(batch.ids, batch.positions)
        for layer in self.cache.layers:
            if isinstance(layer, _Room):
                layer.repeat(rows)
            else:
                numbers = torch.arange(len(rows), device=rows.device)
                layer.batch_select_indices(numbers.repeat_interleave(rows))
        self.positions = batch.positions[:, -1].repeat_interleave(rows)
        if self.is_text is not None:
            self.is_text = self.is_text.repeat_interleave(rows, 0)
        if self.keeps_hidden:
            self.hidden = self.hidden.repeat_interleave(rows, 0)
        return logits.repeat_interleave(rows, 0)

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row [rows]; return logits [rows, v]."""
        self.positions = (self.positions + 1).clamp(max=self.last)
        if self.is_text is not None:
            self.is_text = functional.pad(self.is_text, (0, 1), value=True)
        return self._forward(tokens[:, None], self.positions[:, None])

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        for layer in self.cache.layers:
            if isinstance(layer, _Room):
                layer.select(rows)
            else:
                layer.batch_select_indices(rows)
        self.positions = self.positions[rows]
        if self.is_text is not None:
            self.is_text = self.is_text[rows]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        mask = None if self.is_text is None else self.is_text.long()
        optional = {"position_ids": positions, "logits_to_keep": 1}
        arguments: dict[str, Any] = {
            name: value
            for name, value in optional.items()
            if name in self.accepted
        }
        arguments[self.cache_name] = self.cache
        if self.keeps_hidden:
            arguments["output_hidden_states"] = True
        output = self.module(
            input_ids=ids, attention_mask=mask, use_cache=True, **arguments
        )
        if self.keeps_hidden:
            self.hidden = output.hidden_states[-1][:, -1]
        logits: Tensor = output.logits[:, -1].float()  # [rows, v]
        return logits

    def _cache(self, room: int) -> Any:
        cache = DynamicCache(config=self.module.config)
        if all(type(layer) is DynamicLayer for layer in cache.layers):
            cache.layers = [_Room(room) for _ in cache.layers]
        return cache
