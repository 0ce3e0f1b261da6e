"""GPT-2 and GPT-NeoX in one form, which our own passes read.

Both are layers of a norm, attention, a norm and two products with a GELU between them. Everything
but attention works on one token at a time. They differ in where they keep their weights and in how
they encode positions: GPT-2 adds a vector to each token; GPT-NeoX rotates queries and keys by an
angle that grows with the position (Su et al. 2021). GPT-NeoX rotates the numbers i and i + r/2 of a
head together. Attention sees only products of queries and keys, so we read its weights in another
order, which puts these pairs side by side: a pair is a complex number, and a rotation one product.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel, GPTNeoXForCausalLM

from tastemaker.fast.support import GELU_APPROXIMATIONS, supports


class Norm(NamedTuple):
    """A layer norm: weight and bias [d]."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return rows [n, d] with mean 0 and variance 1, scaled and moved."""
        return functional.layer_norm(
            x, self.weight.shape, self.weight, self.bias, self.epsilon
        )


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


class GptLayer(NamedTuple):
    """One layer: its norms, the projections before and behind attention, and the MLP's products."""

    first: Norm
    projection: Product
    out: Product
    second: Norm
    up: Product
    down: Product
    approximation: str  # of GELU
    # how many tokens a token sees; None: all before it
    window: None = None


@dataclass(frozen=True)
class GptWeights:
    """All of a network that our own passes need; tensors are its own, or views of them.

    tokens: embeddings [v, d]. places: position embeddings that are added [most tokens, d]; None for
    rotary positions. frequencies: [r / 2], radians a position, of the first r / 2 pairs of numbers
    of each head; None without rotary positions. head: [v, d]. is_parallel: whether attention and
    the MLP both read the layer's input.
    """

    tokens: Tensor
    places: Tensor | None
    frequencies: Tensor | None
    layers: tuple[GptLayer, ...]
    last: Norm
    head: Tensor
    heads: int
    is_parallel: bool

    @property
    def width(self) -> int:
        """The size of a hidden state."""
        return self.tokens.shape[1]

    @property
    def kv_heads(self) -> int:
        """How many heads have keys and values: all."""
        return self.heads

    @property
    def head_width(self) -> int:
        """The size of a query."""
        return self.width // self.heads

    def first(self, layers: int | None) -> "GptWeights":
        """Return a network of the first layers only; None: of all. The last norm and head stay."""
        return (
            self
            if layers is None
            else replace(self, layers=self.layers[:layers])
        )

    def embedded(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return the input of the first layer [n, d] for tokens [n] at positions [n]."""
        x = functional.embedding(ids, self.tokens)
        if self.places is None:
            return x
        return x + functional.embedding(positions, self.places)

    def rotations(self, positions: Tensor) -> Tensor | None:
        """Return e^iα of the angles α of positions [n]: complex [n, 1, r / 2].

        None without rotary positions.
        """
        if self.frequencies is None:
            return None
        angles = (
            positions.view(-1, 1, 1).to(self.frequencies.dtype)
            * self.frequencies
        )
        return torch.complex(angles.cos(), angles.sin())

    def parts(self, projected: Tensor) -> Tensor:
        """Return queries, keys and values [3, n, heads, d / heads] of a projection [n, 3 · d]."""
        return projected.view(len(projected), 3, self.heads, -1).transpose(
            0, 1
        )

    def attention_inputs(
        self, layer: GptLayer, x: Tensor, rotations: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return queries [n, heads, d], and keys and values [2, n, heads, d], of x [n, width]."""
        weight, bias = layer.projection
        parts = self.parts(torch.mm(layer.first(x), weight).add_(bias))
        rotate(parts, rotations)
        return parts[0], parts[1:]

    def rest(self, layer: GptLayer, x: Tensor, attended: Tensor) -> Tensor:
        """Return a layer's output from its input x [n, width], which is changed.

        attended: attention's result [n, width].
        """
        if self.is_parallel:
            inner = self.inner(layer, x)
            return layer.down.added_to(layer.out.added_to(x, attended), inner)
        x = layer.out.added_to(x, attended)
        return layer.down.added_to(x, self.inner(layer, x))

    def inner(self, layer: GptLayer, x: Tensor) -> Tensor:
        """Return the hidden units of a layer's MLP [n, 4 · d] for its input [n, d]."""
        return functional.gelu(
            layer.up(layer.second(x)), approximate=layer.approximation
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [n, v] of hidden states [n, d] behind the last norm."""
        return functional.linear(hidden, self.head)


def rotate(parts: Tensor, rotations: Tensor | None) -> None:
    """Rotate queries and keys of [3, n, heads, d / heads] in place.

    rotations: of the n positions [n, 1, r / 2]; None: no rotary positions, nothing to do.
    """
    if rotations is None:
        return
    rotary = parts[:2, ..., : 2 * rotations.shape[-1]]
    # Complex numbers need parts of 32 bits.
    exact = rotary.to(torch.promote_types(rotary.dtype, torch.float32))
    torch.view_as_complex(exact.view(*exact.shape[:-1], -1, 2)).mul_(rotations)
    if exact is not rotary:
        rotary.copy_(exact)


def passes_at_once(module: Any) -> int:
    """Return how many passes may run side by side: one for each thread of a CPU if they are ours.

    Otherwise 1: another pass may draw dropout from the random numbers that all threads share, and
    there is one GPU for all.
    """
    is_ours = module.device.type == "cpu" and supports(module)
    return torch.get_num_threads() if is_ours else 1


def network_of(module: Any) -> GptWeights | None:
    """Return a network in this shape; None where our own passes do not give its numbers."""
    if not supports(module):
        return None
    if isinstance(module, GPT2LMHeadModel):
        return _gpt2(module)
    return _neox(module) if isinstance(module, GPTNeoXForCausalLM) else None


def _gpt2(module: Any) -> GptWeights:
    config = module.config
    body = module.transformer
    layers = [
        GptLayer(
            _norm(block.ln_1),
            Product(block.attn.c_attn.weight, block.attn.c_attn.bias),
            Product(block.attn.c_proj.weight, block.attn.c_proj.bias),
            _norm(block.ln_2),
            Product(block.mlp.c_fc.weight, block.mlp.c_fc.bias),
            Product(block.mlp.c_proj.weight, block.mlp.c_proj.bias),
            GELU_APPROXIMATIONS[type(block.mlp.act)],
        )
        for block in body.h
    ]
    return GptWeights(
        body.wte.weight,
        body.wpe.weight,
        None,
        tuple(layers),
        _norm(body.ln_f),
        module.lm_head.weight,
        heads=config.n_head,
        is_parallel=False,
    )


def _neox(module: Any) -> GptWeights:
    config = module.config
    body = module.gpt_neox
    order = _order(
        config.num_attention_heads,
        config.hidden_size,
        2 * len(body.rotary_emb.inv_freq),
    )
    order = order.to(body.embed_in.weight.device)
    layers = [
        GptLayer(
            _norm(block.input_layernorm),
            _product(block.attention.query_key_value, order),
            _product(block.attention.dense),
            _norm(block.post_attention_layernorm),
            _product(block.mlp.dense_h_to_4h),
            _product(block.mlp.dense_4h_to_h),
            GELU_APPROXIMATIONS[type(block.mlp.act)],
        )
        for block in body.layers
    ]
    return GptWeights(
        body.embed_in.weight,
        None,
        body.rotary_emb.inv_freq.float(),
        tuple(layers),
        _norm(body.final_layer_norm),
        module.lm_head.weight,
        heads=config.num_attention_heads,
        is_parallel=config.use_parallel_residual,
    )


def _norm(norm: Any) -> Norm:
    return Norm(norm.weight, norm.bias, norm.eps)


def _product(linear: Any, order: Tensor | None = None) -> Product:
    weight = linear.weight
    bias = linear.bias
    if order is not None:
        weight = weight.index_select(0, order)
        bias = bias.index_select(0, order)
    return Product(weight.T, bias)


def _order(heads: int, width: int, rotary: int) -> Tensor:
    """Return the order in which we read the rows of GPT-NeoX's projection, int64 [3 · d].

    GPT-NeoX has each head's query, key and value together; we read all queries, then all keys, then
    all values. In queries and keys, the two numbers of a pair are put side by side.

    rotary: how many numbers of a head are rotated.
    """
    by_head = torch.arange(3 * width).view(heads, 3, -1)
    rows = by_head.transpose(0, 1).clone()  # [3, heads, d / heads]
    halves = rows[:2, :, :rotary].reshape(2, heads, 2, -1)
    rows[:2, :, :rotary] = halves.transpose(2, 3).flatten(2)
    return rows.flatten()


# networks without learned positions and tokenizers without a limit
_NO_LIMIT = 10**6
_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
)


def most_tokens(module: Any) -> int:
    """Return how many tokens a network has positions for; a million where it sets no limit."""
    config = module.config.get_text_config()
    for name in _POSITIONS:
        limit = getattr(config, name, None)
        if limit:
            return int(limit)
    return _NO_LIMIT
