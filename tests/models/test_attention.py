"""Attention written out as products is the fused kernel's, its gradient too."""

import pytest
import torch

from tastemaker.fast import attention
from tastemaker.fast import processor as module


def _inputs(dtype: torch.dtype, queries: int = 5, keys: int = 5) -> list[torch.Tensor]:
    torch.manual_seed(0)
    # heads lie beside each other in the last dimension, as they come out of a linear layer
    tensors = (
        torch.randn(2, t, 3 * 8, dtype=dtype).requires_grad_()
        for t in (queries, keys, keys)
    )
    return list(tensors)


def _attended(
    inputs: list[torch.Tensor],
    is_key: torch.Tensor | None = None,
    *,
    is_causal: bool = False,
) -> torch.Tensor:
    return attention(
        *(x.view(2, -1, 3, 8).transpose(1, 2) for x in inputs),
        is_key=is_key,
        is_causal=is_causal,
    )


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the products in every number format, and fail where the kernel is called instead."""
    monkeypatch.setattr(module, "_gains_by_products", lambda query, key: True)
    monkeypatch.setattr(module, "scaled_dot_product_attention", None)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("queries", [5, 1])
@pytest.mark.parametrize("padded", [False, True])
def test_products_are_attention_by_its_formula(queries: int, padded: bool) -> None:
    inputs = _inputs(torch.float64, queries)
    is_key = (
        torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
        if padded
        else None
    )
    q, k, v = (x.detach().view(2, -1, 3, 8).transpose(1, 2) for x in inputs)
    weights = torch.exp(torch.einsum("bhqd,bhkd->bhqk", q, k) / 8**0.5)
    weights = weights if is_key is None else weights * is_key
    expected = torch.einsum(
        "bhqk,bhkd->bhqd", weights / weights.sum(-1, keepdim=True), v
    )
    torch.testing.assert_close(_attended(inputs, is_key), expected)


@pytest.mark.usefixtures("products")
def test_a_causal_query_sees_nothing_behind_its_place() -> None:
    inputs = _inputs(torch.float64)
    causal = _attended(inputs, is_causal=True)
    for place in range(5):
        query, *others = inputs
        up_to_here = [query[:, place : place + 1], *(x[:, : place + 1] for x in others)]
        torch.testing.assert_close(causal[:, :, place], _attended(up_to_here)[:, :, 0])


@pytest.mark.usefixtures("products")
def test_gradients_of_the_products_equal_differences() -> None:
    is_key = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
    assert torch.autograd.gradcheck(
        lambda *inputs: _attended(list(inputs), is_key), _inputs(torch.float64)
    )


@pytest.mark.parametrize("padded", [False, True])
def test_training_in_bfloat16_is_as_near_to_float32_as_the_kernel(padded: bool) -> None:
    is_key = (
        torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
        if padded
        else None
    )

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [x.detach().to(dtype).requires_grad_() for x in _inputs(torch.float32)]
        attended = _attended(inputs, is_key)
        return [
            attended.float(),
            *(
                g.float()
                for g in torch.autograd.grad(attended.float().square().sum(), inputs)
            ),
        ]

    exact, rounded = gradients(torch.float32), gradients(torch.bfloat16)
    for a, b in zip(rounded, exact, strict=True):
        assert (a - b).norm() / b.norm() < 0.02


@pytest.mark.parametrize(
    ("dtype", "learns", "keys", "expected"),
    [
        (torch.bfloat16, True, 5, True),
        (torch.float32, True, 5, False),
        (torch.bfloat16, False, 5, False),
        (torch.bfloat16, True, 513, False),
    ],
)
def test_products_are_for_training_in_bfloat16_with_texts_of_usual_length(
    dtype: torch.dtype, learns: bool, keys: int, expected: bool
) -> None:
    query, key, _ = _inputs(dtype, keys=keys)
    with torch.set_grad_enabled(learns):
        assert module._gains_by_products(query, key) is expected
