"""Decoding by transformers' own forward pass of any causal language model.

Keys and values are in memory that is allocated once.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tastemaker.errors import ModelError
from tastemaker.fast.batching import collate
from tastemaker.fast.gpt_layers import most_tokens


def joined(first: Tensor, second: Tensor, room: int) -> Tensor:
    """Return the rows of two caches, aligned at their ends, in memory for more tokens.

    first, second: keys or values [..., rows, heads, tokens, d]. room: the tokens of the result, of
    which the longer one's come first. Columns before a row's tokens are 0.
    """
    rows = first.shape[-4]
    used = max(first.shape[-2], second.shape[-2])
    shape = list(first.shape)
    shape[-4] += second.shape[-4]
    shape[-2] = room
    together = first.new_empty(shape)
    for start, part in ((0, first), (rows, second)):
        places = together.narrow(-4, start, part.shape[-4])
        before = used - part.shape[-2]
        places[..., :before, :] = 0
        places[..., before:used, :] = part
    return together


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

    def join(self, other: "_Room", first: int, tokens: int) -> None:
        """Add another's rows, aligned at the end; make room for `tokens` more tokens.

        first: the first of the own columns that is still needed.
        """
        columns = max(self.used - first, other.used)
        room = columns + tokens
        mine = slice(first, self.used)
        self.all_keys = joined(
            self.all_keys[:, :, mine], other.all_keys[:, :, : other.used], room
        )
        self.all_values = joined(
            self.all_values[:, :, mine],
            other.all_values[:, :, : other.used],
            room,
        )
        self.tokens = room
        self.used = columns
        self._show_used()

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
        if self.keeps_hidden:
            self.hidden = self.hidden[rows]
        if self.is_text is not None:
            self.is_text = self.is_text[rows]

    @property
    def can_add(self) -> bool:
        """Whether rows can be added to those that it has."""
        return all(isinstance(layer, _Room) for layer in self.cache.layers)

    def add(
        self,
        prompts: Sequence[Sequence[int]],
        copies: Sequence[int],
        tokens: int,
    ) -> Tensor:
        """Read more prompts as `read` does, behind the rows so far; return their logits.

        tokens: the most that will be appended to a row, an old one or a new one.
        """
        other = AnyDecoder(
            self.module, self.pad_id, keeps_hidden=self.keeps_hidden
        )
        logits = other.read(prompts, copies, 0)
        mine = self._all_is_text()
        its = other._all_is_text()
        first = int(mine.any(0).int().argmax())
        mine = mine[:, first:]
        columns = max(mine.shape[1], its.shape[1])
        self.is_text = torch.cat(
            [
                functional.pad(part, (columns - part.shape[1], 0), value=False)
                for part in (mine, its)
            ]
        )
        for layer, its_layer in zip(
            self.cache.layers, other.cache.layers, strict=True
        ):
            layer.join(its_layer, first, tokens)
        self.positions = torch.cat((self.positions, other.positions))
        if self.keeps_hidden:
            self.hidden = torch.cat((self.hidden, other.hidden))
        return logits

    def _all_is_text(self) -> Tensor:
        """Return which columns of each row hold text, bool [rows, columns]."""
        if self.is_text is not None:
            return self.is_text
        shape = len(self.positions), self.cache.layers[0].used
        return torch.ones(shape, dtype=torch.bool, device=self.module.device)

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
        config = self.module.config
        cache = DynamicCache(config=config)
        kinds = getattr(config.get_text_config(), "layer_types", None) or ()
        # a window is a matter of the mask where nothing is thrown away
        has_rooms = "chunked_attention" not in kinds and all(
            type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)
            for layer in cache.layers
        )
        if has_rooms:
            cache.layers = [_Room(room) for _ in cache.layers]
        return cache
