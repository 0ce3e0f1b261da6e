"""A causal language model's forward pass with gradients, over several texts end to end.

In GPT-2 and GPT-NeoX all parts but attention work on one token at a time. So the tokens of all
texts are the rows of one matrix, without padding. Only attention needs separate texts: its inputs
are padded in groups of similar length. Other architectures run their own forward pass, padded in
such groups. Either way a text gets the same numbers as it gets alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from tastemaker import processes
from tastemaker.fast.batching import by_length
from tastemaker.fast.gpt_layers import GptWeights, network_of, rotate
from tastemaker.fast.processor import attention
from tastemaker.fast.support import supports
from tastemaker.huggingface import quiet_transformers

_MOST_PADDING = 0.1
# pairs of places: what attention reads in the time of one more group
_WORTH_A_GROUP = 4096
# tokens whose logits are held at once while the loss is computed
_HEAD_ROWS = 256


class _Group(NamedTuple):
    """Texts of like length, as rows padded to the longest."""

    rows: int
    longest: int


class _Padded(NamedTuple):
    """Texts padded on the right, group behind group: p places in all.

    source: int64 [p], the token at each place; any token of the text for a place of padding. back:
    int64 [n], the place of each token.
    """

    groups: tuple[_Group, ...]
    source: Tensor
    back: Tensor

    @property
    def sizes(self) -> list[int]:
        """How many places each group has."""
        return [rows * longest for rows, longest in self.groups]

    @property
    def padding(self) -> float:
        """The share of the places that holds no text."""
        return 1 - len(self.back) / len(self.source)


@dataclass(frozen=True)
class Texts:
    """Several texts end to end, without padding.

    ids: int64 [n], the tokens of all. lengths: of each text, in order, none of them 0.
    """

    ids: Tensor
    lengths: tuple[int, ...]

    @staticmethod
    def of(
        sequences: Sequence[Sequence[int] | NDArray[np.int32]],
        device: torch.device | str,
    ) -> "Texts":
        """Return token sequences, none of them empty, as one on a device."""
        ids = np.concatenate(
            [np.asarray(s, dtype=np.int64) for s in sequences]
        )
        return Texts(
            torch.from_numpy(ids).to(device), tuple(len(s) for s in sequences)
        )

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each text begins."""
        return tuple(np.cumsum([0, *self.lengths[:-1]]).tolist())

    @cached_property
    def positions(self) -> Tensor:
        """Each token's place in its own text, int64 [n]."""
        positions = np.arange(sum(self.lengths)) - np.repeat(
            self.starts, self.lengths
        )
        return torch.from_numpy(positions).to(self.ids.device)

    @cached_property
    def for_attention(self) -> _Padded:
        """The texts as attention reads them: few pairs of places hold padding."""
        return self._padded(_alike(self.lengths))

    @cached_property
    def for_network(self) -> _Padded:
        """The texts as a whole network reads them: a pass for each group, with little padding."""
        return self._padded(
            by_length(self.lengths, 2**62, most_padding=_MOST_PADDING)
        )

    @cached_property
    def in_one_pass(self) -> _Padded:
        """The texts as rows of one pass, all padded to the longest."""
        return self._padded([list(range(len(self.lengths)))])

    def _padded(self, groups: list[list[int]]) -> _Padded:
        starts = np.array(self.starts)
        lengths = np.array(self.lengths)
        shapes = []
        sources = []
        start = 0
        back = np.empty(lengths.sum(), dtype=np.int64)
        for members in groups:
            row_lengths = lengths[members, None]  # [rows, 1]
            column = np.arange(row_lengths.max())  # [longest]
            is_text = column < row_lengths  # [rows, longest]
            source = starts[members, None] + np.minimum(
                column, row_lengths - 1
            )
            back[source[is_text]] = start + np.flatnonzero(is_text)
            shapes.append(_Group(len(members), len(column)))
            sources.append(source.ravel())
            start += source.size
        device = self.ids.device
        return _Padded(
            tuple(shapes),
            torch.from_numpy(np.concatenate(sources)).to(device),
            torch.from_numpy(back).to(device),
        )


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Cut texts into groups of similar length, longest first.

    A group ends where more padding would cost more than another group.
    """
    groups: list[list[int]] = []
    longest = pairs = wasted = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        wasted += (longest - lengths[i]) * longest
        pairs += longest * longest
        if not groups or wasted > max(_WORTH_A_GROUP, _MOST_PADDING * pairs):
            groups.append([])
            longest = lengths[i]
            wasted = 0
            pairs = longest * longest
        groups[-1].append(i)
    return groups


class Pass(NamedTuple):
    """The result of a forward pass at m places.

    logits: [m, v], of the token behind each. hidden: [m, d], the last hidden states, after the last
    norm.
    """

    logits: Tensor
    hidden: Tensor


def forward(module: Any, texts: Texts, places: Tensor | None = None) -> Pass:
    """Return logits and hidden states, with gradients.

    places: of which tokens, int64 [m]; None: of all n.
    """
    network = network_of(module)
    if network is not None:
        hidden = _hidden(network, texts, places)
        return Pass(functional.linear(hidden, network.head), hidden)
    padded = _for_network(module, texts)
    outputs = []
    sources = torch.split(padded.source, padded.sizes)
    for (rows, _), source in zip(padded.groups, sources, strict=True):
        with quiet_transformers():  # it warns of padding that no text sees
            out = module(
                input_ids=texts.ids[source].view(rows, -1),
                use_cache=False,
                output_hidden_states=True,
            )
        outputs.append(
            (out.logits.flatten(0, 1), out.hidden_states[-1].flatten(0, 1))
        )
    back = padded.back if places is None else padded.back[places]
    logits, hidden = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return Pass(logits.index_select(0, back), hidden.index_select(0, back))


def padding(module: Any, texts: Texts) -> float:
    """Return the share of the computed tokens that is padding.

    In our own pass only attention is padded; otherwise the whole network is.
    """
    if supports(module):
        return texts.for_attention.padding
    return _for_network(module, texts).padding


def _for_network(module: Any, texts: Texts) -> _Padded:
    """Return the texts as a network reads them by its own pass.

    One whose weights are divided over processes makes one pass, as in the other processes.
    """
    if processes.is_divided(module):
        return texts.in_one_pass
    return texts.for_network


def nats(
    module: Any,
    texts: Texts,
    places: Tensor,
    targets: Tensor,
    *,
    layers: int | None = None,
) -> Tensor:
    """Return the sum of −log π of tokens, in nats, with gradients; a float32 or wider.

    places: where the tokens before them are [m]. targets: the tokens that follow there [m]. It is
    the cross-entropy of the logits that `forward` returns, but our own pass never holds all logits
    at once. layers: how many of the first layers our own pass computes (a GPT grows); None: all.
    """
    network = network_of(module)
    if network is not None:
        hidden = _hidden(network.first(layers), texts, places)
        return _head_nats(hidden, network.head, targets)
    logits = forward(module, texts, places).logits
    logits = logits.to(_at_least_float32(logits))
    return functional.cross_entropy(logits, targets, reduction="sum")


def _hidden(
    network: GptWeights, texts: Texts, places: Tensor | None
) -> Tensor:
    """Return the last hidden states [m, d]."""
    padded = texts.for_attention
    rotations = network.rotations(texts.positions)
    of_both = (
        None if rotations is None else (rotations, rotations[padded.source])
    )
    x = network.embedded(texts.ids, texts.positions)
    for layer in network.layers:
        projected = layer.projection(layer.first(x))
        attended = layer.out(_attended(projected, padded, network, of_both))
        if network.is_parallel:
            x = x + attended + layer.down(network.inner(layer, x))
        else:
            x = x + attended
            x = x + layer.down(network.inner(layer, x))
    return network.last(x if places is None else x.index_select(0, places))


def _attended(
    projected: Tensor,
    padded: _Padded,
    network: GptWeights,
    rotations: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Return the result of attention within each text [n, d].

    projected: queries, keys and values [n, 3 · d]. rotations: of the tokens, and of the places that
    attention reads.
    """
    parts = (
        torch.split(x, padded.sizes)
        for x in _apply(_Pad, projected, padded, network, rotations)
    )
    by_group = []
    for (rows, longest), *group in zip(padded.groups, *parts, strict=True):
        query, key, value = (
            x.view(rows, longest, *x.shape[1:]).transpose(1, 2) for x in group
        )
        # [rows, heads, longest, d / heads]
        attended = attention(query, key, value, is_causal=True)
        by_group.append(attended.transpose(1, 2).reshape(rows * longest, -1))
    # [p, d]
    together = by_group[0] if len(by_group) == 1 else torch.cat(by_group)
    unpadded: Tensor = _apply(_Unpad, together, padded.back)
    return unpadded


class _Pad(torch.autograd.Function):
    """Queries, keys and values [p, heads, d / heads] each, rotated, from [n, 3 · d].

    Padding has no gradient, since no token attends to it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        padded: _Padded,
        network: GptWeights,
        rotations: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Copy tokens to their places; padding gets any token."""
        ctx.padded = padded
        ctx.network = network
        ctx.rotations = rotations
        parts = network.parts(x.index_select(0, padded.source))
        rotate(parts, None if rotations is None else rotations[1])
        query, key, value = parts.unbind()
        return query, key, value

    @staticmethod
    def backward(
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None, None, None]:
        """Copy the gradients of the text's places back."""
        of_text = [
            gradient.index_select(0, ctx.padded.back) for gradient in gradients
        ]
        projected = torch.stack(of_text, 1).flatten(1)  # [n, 3 · d]
        rotations_back = (
            None if ctx.rotations is None else ctx.rotations[0].conj()
        )
        rotate(ctx.network.parts(projected), rotations_back)
        return projected, None, None, None


class _Unpad(torch.autograd.Function):
    """Tokens [n, d] from their places [p, d]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, back: Tensor) -> Tensor:
        """Leave out padding."""
        ctx.save_for_backward(back)
        ctx.places = len(x)
        return x.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Copy gradients to their places; padding has none."""
        (back,) = ctx.saved_tensors
        padded = gradient.new_zeros(ctx.places, gradient.shape[1])  # [p, d]
        return padded.index_copy(0, back, gradient), None


def _head_nats(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        hidden = hidden.to(dtype)
        weight = weight.to(dtype)
    with torch.autocast(kind, enabled=False):
        total: Tensor = _apply(_HeadNats, hidden, weight, targets)
    return total


class _HeadNats(torch.autograd.Function):
    """Σ −log softmax(hidden · weightᵀ)[target], by a few rows at a time.

    The gradient is softmax, minus one at the target. It is computed together with the logits.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor
    ) -> Tensor:
        """Return the sum; save its gradients."""
        learns = any(ctx.needs_input_grad)
        total = hidden.new_zeros((), dtype=_at_least_float32(hidden))
        by_hidden = torch.empty_like(hidden)
        by_weight = torch.zeros_like(weight, dtype=total.dtype)
        is_exact = by_weight.dtype == weight.dtype
        for start in range(0, len(hidden), _HEAD_ROWS):
            rows = hidden[start : start + _HEAD_ROWS]  # [r, d]
            row_targets = targets[start : start + _HEAD_ROWS, None]  # [r, 1]
            logits = rows @ weight.T  # [r, v]
            probabilities = torch.softmax(logits, 1, dtype=total.dtype)
            largest = logits.amax(1, keepdim=True).to(total.dtype)
            below = logits.gather(1, row_targets).to(total.dtype) - largest
            # The largest probability is never 0, while that of the target may be.
            total -= (below + probabilities.amax(1, keepdim=True).log()).sum()
            if learns:
                minus_one = probabilities.new_full((1, 1), -1.0).expand_as(
                    row_targets
                )
                slopes = probabilities.scatter_add_(1, row_targets, minus_one)
                slopes = slopes.to(hidden.dtype)
                torch.mm(
                    slopes, weight, out=by_hidden[start : start + _HEAD_ROWS]
                )
                if is_exact:
                    by_weight.addmm_(slopes.T, rows)
                else:
                    by_weight += slopes.T @ rows
        if learns:
            ctx.save_for_backward(by_hidden, by_weight.to(weight.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the saved gradients times that of the sum."""
        by_hidden, by_weight = ctx.saved_tensors
        return (
            by_hidden * gradient.to(by_hidden.dtype),
            by_weight * gradient.to(by_weight.dtype),
            None,
        )


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """Call a function of ours: PyTorch's `apply` has no types."""
    return function.apply(*arguments)  # type: ignore[no-untyped-call]


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
