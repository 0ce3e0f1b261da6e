"""GPT-2's and GPT-NeoX's networks in one shape, as our own passes read them.

Both are layers of norm, attention, norm and two products with a GELU between, and in both everything but attention
works on one token at a time. They differ in where they keep their weights, in how queries, keys and values lie side by
side, and in how they know places: GPT-2 adds a vector to each token, GPT-NeoX turns queries and keys by an angle that
grows with the place (Su et al. 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel, GPTNeoXForCausalLM

APPROXIMATION = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""How the activation, by name, approximates GELU."""


class Norm(NamedTuple):
    """A layer norm: weight and bias [d]."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return rows [n, d] with mean 0 and variance 1, scaled and moved."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class Product(NamedTuple):
    """x · weight + bias, weight [in, out]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the product of rows [n, in]: [n, out]."""
        return torch.addmm(self.bias, x, self.weight)

    def added_to(self, x: Tensor, rows: Tensor) -> Tensor:
        """Add the product of rows [n, in] to x [n, out], in place."""
        return x.addmm_(rows, self.weight).add_(self.bias)


class Layer(NamedTuple):
    """One layer: what projects to queries, keys and values, what reads attention, and what stands behind it."""

    first: Norm
    projection: Product
    out: Product
    second: Norm
    up: Product
    down: Product


class Turns(NamedTuple):
    """The angles of n places: cosines and sines [n, 1, r / 2]."""

    cosines: Tensor
    sines: Tensor

    def at(self, places: Tensor) -> "Turns":
        """Return those of some of the places."""
        return Turns(self.cosines[places], self.sines[places])

    def back(self) -> "Turns":
        """Return the same angles the other way round."""
        return Turns(self.cosines, -self.sines)


@dataclass(frozen=True)
class Network:
    """All of a network that our own passes need; tensors are its own, or views of them.

    tokens: [v, d]. places: [most tokens, d] that are added; None where places turn. frequencies: [r / 2], radians a
    place, of the first r numbers of each head. head: [v, d]. approximation: of GELU. is_parallel: whether both halves
    of a layer read what the layer was given. by_head: whether each head's query, key and value stand together, and not
    all queries before all keys.
    """

    tokens: Tensor
    places: Tensor | None
    frequencies: Tensor | None
    layers: tuple[Layer, ...]
    last: Norm
    head: Tensor
    heads: int
    approximation: str
    is_parallel: bool
    by_head: bool

    @property
    def width(self) -> int:
        """Numbers a token."""
        return self.tokens.shape[1]

    def embedded(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return what the first layer reads of tokens [n] at places [n]: [n, d]."""
        x = functional.embedding(ids, self.tokens)
        return x if self.places is None else x + functional.embedding(positions, self.places)

    def turns(self, positions: Tensor) -> Turns | None:
        """Return the angles of places [n]; None where places do not turn."""
        if self.frequencies is None:
            return None
        angles = positions.view(-1, 1, 1).to(self.frequencies.dtype) * self.frequencies
        return Turns(angles.cos(), angles.sin())

    def parts(self, projected: Tensor) -> Tensor:
        """Return queries, keys and values [3, n, heads, d / heads] as a view of what was projected [n, 3 · d]."""
        if self.by_head:
            return projected.view(len(projected), self.heads, 3, -1).permute(2, 0, 1, 3)
        return projected.view(len(projected), 3, self.heads, -1).transpose(0, 1)

    def together(self, parts: Sequence[Tensor]) -> Tensor:
        """Return what `parts` cut, queries, keys and values [n, heads, d / heads] each, as they were: [n, 3 · d]."""
        return torch.stack(list(parts), 2 if self.by_head else 1).flatten(1)

    def turn(self, parts: Tensor, turns: Turns | None) -> None:
        """Turn queries and keys [2 or 3, n, heads, d / heads] in place by the angles of their n places."""
        if turns is None:
            return
        cosines, sines = (x.to(parts.dtype) for x in turns)
        half = cosines.shape[-1]
        x, y = parts[:2, ..., :half], parts[:2, ..., half : 2 * half]
        turned = x * cosines - y * sines
        y.mul_(cosines).addcmul_(x, sines)
        x.copy_(turned)

    def inner(self, layer: Layer, x: Tensor) -> Tensor:
        """Return what a layer's second half has between its products, of what it reads [n, d]: [n, 4 · d]."""
        return functional.gelu(layer.up(layer.second(x)), approximate=self.approximation)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits [n, v] of what the last layer left [n, d]."""
        return functional.linear(self.last(x), self.head)


def network_of(module: Any) -> Network | None:
    """Return a network in this shape; None for another architecture, or a variation that our passes leave out."""
    if isinstance(module, GPT2LMHeadModel):
        return _gpt2(module)
    if isinstance(module, GPTNeoXForCausalLM):
        return _neox(module)
    return None


def _gpt2(module: Any) -> Network | None:
    config, body = module.config, module.transformer
    usual = config.scale_attn_weights and not (config.scale_attn_by_inverse_layer_idx or config.add_cross_attention)
    if not usual or config.activation_function not in APPROXIMATION:
        return None
    layers = [
        Layer(
            _norm(block.ln_1),
            Product(block.attn.c_attn.weight, block.attn.c_attn.bias),
            Product(block.attn.c_proj.weight, block.attn.c_proj.bias),
            _norm(block.ln_2),
            Product(block.mlp.c_fc.weight, block.mlp.c_fc.bias),
            Product(block.mlp.c_proj.weight, block.mlp.c_proj.bias),
        )
        for block in body.h
    ]
    return Network(
        body.wte.weight,
        body.wpe.weight,
        None,
        tuple(layers),
        _norm(body.ln_f),
        module.lm_head.weight,
        heads=config.n_head,
        approximation=APPROXIMATION[config.activation_function],
        is_parallel=False,
        by_head=False,
    )


def _neox(module: Any) -> Network | None:
    config, body = module.config, module.gpt_neox
    turns_usually = body.rotary_emb.rope_type == "default" and len(body.rotary_emb.inv_freq)
    if not turns_usually or not config.attention_bias or config.hidden_act not in APPROXIMATION:
        return None
    layers = [
        Layer(
            _norm(block.input_layernorm),
            _product(block.attention.query_key_value),
            _product(block.attention.dense),
            _norm(block.post_attention_layernorm),
            _product(block.mlp.dense_h_to_4h),
            _product(block.mlp.dense_4h_to_h),
        )
        for block in body.layers
    ]
    return Network(
        body.embed_in.weight,
        None,
        body.rotary_emb.inv_freq.float(),
        tuple(layers),
        _norm(body.final_layer_norm),
        module.lm_head.weight,
        heads=config.num_attention_heads,
        approximation=APPROXIMATION[config.hidden_act],
        is_parallel=config.use_parallel_residual,
        by_head=True,
    )


def _norm(norm: Any) -> Norm:
    return Norm(norm.weight, norm.bias, norm.eps)


def _product(linear: Any) -> Product:
    return Product(linear.weight.T, linear.bias)
