"""Muon: the step along a matrix; AdamW for the rest; the state is saved and restored."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from nano import NANO, nano
from torch import Tensor

from tastemaker.gpt import make_gpt, matrices_of
from tastemaker.train import Muon, restore_state, state_tensors

CPU = torch.device("cpu")


def made(
    *matrices: Tensor,
    others: list[Tensor] | None = None,
    heads: int = 0,
    decay: float = 0.0,
) -> Muon:
    """Muon of rate 0.1 on some matrices, and of 0.05 on the others, which decay not."""
    groups: list[dict[str, Any]] = [
        {"params": others or [weight(1)], "weight_decay": 0.0},
        {"params": list(matrices), "heads": heads, "weight_decay": decay},
    ]
    muon = Muon(groups, 0.1, CPU, betas=(0.9, 0.95))
    for group in muon.others:
        group["lr"] = 0.05
    return muon


def weight(*shape: int, seed: int = 0) -> Tensor:
    """A weight with a gradient."""
    generator = torch.Generator().manual_seed(seed)
    parameter = torch.randn(shape, generator=generator).requires_grad_()
    parameter.grad = torch.randn(shape, generator=generator)
    return parameter


def singular(steps: Tensor) -> Tensor:
    return torch.linalg.svdvals(steps)


@pytest.mark.parametrize("shape", [(8, 8), (8, 32), (32, 8)])
def test_a_step_keeps_the_directions_of_the_gradient_and_makes_them_alike(
    shape: tuple[int, int],
) -> None:
    """G = U S Vᵀ: the step is U S' Vᵀ with S' near 1, times 0.2 · √(the longer side) times the
    rate.
    """
    matrix = weight(*shape)
    before, gradient = matrix.detach().clone(), matrix.grad.clone()  # type: ignore[union-attr]
    made(matrix).step()
    moved = (before - matrix.detach()) / (0.1 * 0.2 * max(shape) ** 0.5)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    turned = u.T @ moved @ v.T
    assert turned.diagonal().min() > 0.3
    assert turned.diagonal().max() < 1.25
    torch.testing.assert_close(turned, turned.diagonal().diag(), atol=1e-4, rtol=0)
    assert moved.norm() / min(shape) ** 0.5 == pytest.approx(1, abs=0.2), (
        "so entries are 0.2 of the rate, as AdamW's"
    )


def test_queries_keys_and_values_are_matrices_of_their_own() -> None:
    """Two heads of two rows each: rows 0, 1, 6, 7 are one matrix, and its step is what it would be
    alone.
    """
    together = weight(12, 8)
    rows = [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    parts = [together.detach()[part].clone().requires_grad_() for part in rows]
    for part, of_part in zip(parts, rows, strict=True):
        part.grad = together.grad[of_part].clone()  # type: ignore[index]
    made(together, heads=2).step()
    for part, of_part in zip(parts, rows, strict=True):
        made(part, others=[weight(3, seed=2)]).step()
        torch.testing.assert_close(
            together.detach()[of_part], part.detach(), atol=1e-6, rtol=0
        )


def test_the_momentum_is_nesterovs() -> None:
    """Gradients G and 2G on one matrix: means 0.05 G and 0.1475 G, and of one direction every step
    is alike.
    """
    matrix, optimizer = weight(8, 8), None
    gradient = matrix.grad.clone()  # type: ignore[union-attr]
    before = matrix.detach().clone()
    optimizer = made(matrix)
    optimizer.step()
    first = before - matrix.detach()
    torch.testing.assert_close(optimizer.state[matrix]["momentum"], 0.05 * gradient)
    matrix.grad = 2 * gradient
    before = matrix.detach().clone()
    optimizer.step()
    torch.testing.assert_close(
        optimizer.state[matrix]["momentum"], (0.95 * 0.05 + 0.05 * 2) * gradient
    )
    torch.testing.assert_close(before - matrix.detach(), first, atol=1e-5, rtol=0)


def test_weights_decay_by_the_rate() -> None:
    """With no gradient only the decay is left: 1 − 0.1 · 0.5."""
    matrix = weight(8, 8)
    matrix.grad = torch.zeros(8, 8)
    before = matrix.detach().clone()
    made(matrix, decay=0.5).step()
    torch.testing.assert_close(matrix.detach(), before * 0.95)


def test_a_matrix_without_a_gradient_stays_as_it_is_and_begins_when_it_has_one() -> (
    None
):
    late, early = weight(8, 8), weight(8, 8, seed=1)
    before, gradient, late.grad = late.detach().clone(), late.grad, None
    optimizer = made(late, early, decay=0.5)
    optimizer.step()
    assert torch.equal(late, before)
    assert late not in optimizer.state
    late.grad = gradient
    alone = before.clone().requires_grad_()
    alone.grad = late.grad.clone()  # type: ignore[union-attr]
    optimizer.step()
    made(alone, decay=0.5).step()
    torch.testing.assert_close(late, alone)


def test_everything_else_is_trained_by_adamw_at_its_own_rate() -> None:
    bias = weight(7)
    alone = bias.detach().clone().requires_grad_()
    alone.grad = bias.grad.clone()  # type: ignore[union-attr]
    optimizer = made(weight(8, 8), others=[bias])
    adam = torch.optim.AdamW([alone], lr=0.05, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(3):
        optimizer.step()
        adam.step()
    torch.testing.assert_close(bias, alone)


def test_its_state_goes_on_to_the_same_bits() -> None:
    matrix, bias = weight(24, 8), weight(7)
    optimizer = made(matrix, others=[bias], heads=2)
    for turn in (
        1.0,
        -3.0,
    ):  # of gradients that are all alike Adam's steps need no state
        for tensor in (matrix, bias):
            tensor.grad *= turn
        optimizer.step()
    twin = [copy.deepcopy(x.detach()).requires_grad_() for x in (matrix, bias)]
    for one, other in zip(twin, (matrix, bias), strict=True):
        one.grad = other.grad.clone()  # type: ignore[union-attr]
    again = made(twin[0], others=[twin[1]], heads=2)
    restore_state(
        again,
        {name: t.clone() for name, t in state_tensors(optimizer, CPU).items()},
        CPU,
    )
    for either in (optimizer, again):
        either.step()
    assert torch.equal(twin[0], matrix)
    assert torch.equal(twin[1], bias)


def test_the_matrices_of_a_gpt_are_all_weights_between_its_layers() -> None:
    module = make_gpt(replace(NANO, heads=2), nano().tokenizer, seed=0)
    matrices = matrices_of(module)
    names = {id(p): name for name, p in module.named_parameters()}
    by_heads = {
        heads: sorted(names[id(p)] for p in weights)
        for heads, weights in matrices.items()
    }
    ends = [
        "attention.dense.weight",
        "mlp.dense_4h_to_h.weight",
        "mlp.dense_h_to_4h.weight",
    ]
    assert by_heads == {
        2: ["gpt_neox.layers.0.attention.query_key_value.weight"],
        0: [f"gpt_neox.layers.0.{end}" for end in ends],
    }
