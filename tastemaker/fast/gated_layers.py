"""Llama, Mistral, Qwen2 and Qwen3 in one form, which our own decoding reads.

A layer is a norm without a mean (Zhang & Sennrich 2019), attention in which groups of queries share
keys and values (Ainslie et al. 2023), a second norm, and a gated product (Shazeer 2020). The four
differ in biases, in norms of queries and keys (Qwen3), and in layers that see the last tokens only.
As in GPT-NeoX, two numbers that a rotation mixes are put side by side by another order of weights.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tastemaker.fast.support import supports_decoding


class _Scale(NamedTuple):
    """A norm without a mean: weight [d]."""

    weight: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return rows [n, d] with a mean square of 1, scaled."""
        return functional.rms_norm(
            x, self.weight.shape, self.weight, self.epsilon
        )


class _Map(NamedTuple):
    """x · weight + bias, weight [in, out]."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the product of rows [n, in]: [n, out]."""
        if self.bias is None:
            return torch.mm(x, self.weight)
        return torch.addmm(self.bias, x, self.weight)

    def added_to(self, x: Tensor, rows: Tensor) -> Tensor:
        """Add the product of rows [n, in] to x [n, out], in place."""
        x.addmm_(rows, self.weight)
        return x if self.bias is None else x.add_(self.bias)


class GatedLayer(NamedTuple):
    """One layer.

    projection: to queries, keys and values. of_heads: the norm of each query and key, weight
    [heads + kv heads, d / heads]; None for none. window: how many tokens a token sees, itself
    included; None: all before it.
    """

    first: _Scale
    projection: _Map
    of_heads: _Scale | None
    out: _Map
    second: _Scale
    gate: _Map
    up: _Map
    down: _Map
    window: int | None


@dataclass(frozen=True)
class GatedNetwork:
    """All of a network that our own decoding needs.

    tokens: embeddings [v, width]. frequencies: [d / 2], radians a position, of the pairs of numbers
    of a head. stretch: what rotated queries and keys are multiplied by. head: [v, width].
    """

    tokens: Tensor
    frequencies: Tensor
    stretch: float
    layers: tuple[GatedLayer, ...]
    last: _Scale
    head: Tensor
    heads: int
    kv_heads: int

    @property
    def head_width(self) -> int:
        """The size of a query."""
        return 2 * len(self.frequencies)

    def embedded(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return the input of the first layer [n, width] for tokens [n]; no place is added."""
        return functional.embedding(ids, self.tokens)

    def rotations(self, positions: Tensor) -> Tensor:
        """Return e^iα of the angles α of positions [n], stretched: complex [n, 1, d / 2]."""
        angles = positions.view(-1, 1, 1).float() * self.frequencies
        lengths = torch.full_like(angles, self.stretch)
        return torch.polar(lengths, angles)

    def attention_inputs(
        self, layer: GatedLayer, x: Tensor, rotations: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the queries [n, heads, d] of x [n, width], and keys and values [2, n, kv, d]."""
        rotated = self.heads + self.kv_heads
        parts = layer.projection(layer.first(x))
        parts = parts.view(len(x), -1, self.head_width)
        turning = parts[:, :rotated]
        if layer.of_heads is not None:
            scale = layer.of_heads
            normed = functional.rms_norm(
                turning, turning.shape[2:], eps=scale.epsilon
            )
            torch.mul(normed, scale.weight, out=turning)
        _turn(turning, rotations)
        keys_values = parts[:, self.heads :]
        shape = (len(parts), 2, self.kv_heads, *parts.shape[2:])
        keys_values = keys_values.reshape(shape)
        return parts[:, : self.heads], keys_values.transpose(0, 1)

    def rest(self, layer: GatedLayer, x: Tensor, attended: Tensor) -> Tensor:
        """Return a layer's output from its input x [n, width], which is changed.

        attended: attention's result [n, heads · d].
        """
        x = layer.out.added_to(x, attended)
        normed = layer.second(x)
        gates = functional.silu(layer.gate(normed), inplace=True)
        return layer.down.added_to(x, gates.mul_(layer.up(normed)))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [n, v] of hidden states [n, width] behind the last norm."""
        return functional.linear(hidden, self.head)


def _turn(parts: Tensor, rotations: Tensor) -> None:
    """Rotate queries and keys [n, heads, d] in place, by rotations [n, 1, d / 2]."""
    # Complex numbers need parts of 32 bits.
    exact = parts.to(torch.promote_types(parts.dtype, torch.float32))
    pairs = exact.view(*exact.shape[:-1], -1, 2)
    torch.view_as_complex(pairs).mul_(rotations)
    if exact is not parts:
        parts.copy_(exact)


def gated_network_of(module: Any) -> GatedNetwork | None:
    """Return a network in this shape; None where our own decoding does not give its numbers."""
    if not supports_decoding(module):
        return None
    body = module.model
    config = module.config
    layers = body.layers[: config.num_hidden_layers]
    heads = config.num_attention_heads
    kv_heads = config.num_key_value_heads
    return GatedNetwork(
        body.embed_tokens.weight,
        body.rotary_emb.inv_freq.float(),
        float(body.rotary_emb.attention_scaling),
        tuple(
            _layer(layer, heads, kv_heads, _window(config, number))
            for number, layer in enumerate(layers)
        ),
        _scale(body.norm),
        module.lm_head.weight,
        heads=heads,
        kv_heads=kv_heads,
    )


def _window(config: Any, layer: int) -> int | None:
    """Return how many tokens a token of a layer sees; None for all before it."""
    if config.model_type == "llama":
        return None
    is_qwen = config.model_type != "mistral"
    if is_qwen and config.layer_types[layer] != "sliding_attention":
        return None
    window: int | None = config.sliding_window
    return window


def _layer(
    layer: Any, heads: int, kv_heads: int, window: int | None
) -> GatedLayer:
    attention = layer.self_attn
    mlp = layer.mlp
    of_heads = None
    if hasattr(attention, "q_norm"):
        of_query = _side_by_side(attention.q_norm.weight)
        of_key = _side_by_side(attention.k_norm.weight)
        weights = [of_query] * heads + [of_key] * kv_heads
        of_heads = _Scale(
            torch.stack(weights), attention.q_norm.variance_epsilon
        )
    return GatedLayer(
        _scale(layer.input_layernorm),
        _projection(attention, heads, kv_heads),
        of_heads,
        _map(attention.o_proj),
        _scale(layer.post_attention_layernorm),
        _map(mlp.gate_proj),
        _map(mlp.up_proj),
        _map(mlp.down_proj),
        window,
    )


def _scale(norm: Any) -> _Scale:
    return _Scale(norm.weight, norm.variance_epsilon)


def _map(linear: Any) -> _Map:
    return _Map(linear.weight.T, linear.bias)


def _projection(attention: Any, heads: int, kv_heads: int) -> _Map:
    """Return the projection to queries, keys and values, in the order in which we read them."""
    parts = (
        (attention.q_proj, heads),
        (attention.k_proj, kv_heads),
        (attention.v_proj, 0),
    )
    weights = []
    biases = []
    for linear, turned in parts:
        weight = linear.weight
        bias = linear.bias
        if turned:
            order = _side_by_side(
                torch.arange(len(weight), device=weight.device).view(
                    turned, -1
                )
            ).flatten()
            weight = weight.index_select(0, order)
            bias = None if bias is None else bias.index_select(0, order)
        weights.append(weight)
        biases.append(bias)
    together = None if biases[0] is None else torch.cat(biases)
    return _Map(torch.cat(weights).T, together)


def _side_by_side(numbers: Tensor) -> Tensor:
    """Return numbers of heads [..., d]: those at i and i + d/2 side by side."""
    halves = numbers.reshape(*numbers.shape[:-1], 2, -1)
    return halves.transpose(-1, -2).flatten(-2)
