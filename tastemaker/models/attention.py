"""Attention by the kernel that is fastest where it is computed."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_LONGEST = 512
"""Tokens a text up to which the weights of all pairs of tokens may be kept for the backward pass."""


def attention(
    query: Tensor, key: Tensor, value: Tensor, *, is_key: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    """Return softmax(query · keyᵀ / √d) · value, [b, heads, q, d], in the inputs' number format.

    query [b, heads, q, d]; key and value [b, heads, k, d]; is_key [b, 1, 1, k]: True where there is something to
    attend to, None for everywhere. is_causal: a query sees the keys up to its own place; q = k, and no is_key.

    torch's fused kernel computes it, but for training in bfloat16 on a processor: its backward pass is several times
    slower there than the products written out, which the processor's own instructions compute.
    """
    if not _gains_by_products(query, key):
        return scaled_dot_product_attention(query, key, value, attn_mask=is_key, is_causal=is_causal)
    query, key, value = (x.contiguous() for x in (query * query.shape[-1] ** -0.5, key, value))
    logits = query @ key.transpose(-1, -2)
    if is_causal:
        is_key = torch.ones(key.shape[-2], key.shape[-2], dtype=torch.bool, device=key.device).tril()
    if is_key is not None:
        logits = logits + torch.zeros_like(is_key, dtype=logits.dtype).masked_fill(~is_key, float("-inf"))
    return logits.softmax(-1).to(value.dtype) @ value


def _gains_by_products(query: Tensor, key: Tensor) -> bool:
    learns = torch.is_grad_enabled() and query.requires_grad
    return learns and query.device.type == "cpu" and query.dtype == torch.bfloat16 and key.shape[-2] <= _LONGEST
