"""Muon: what a step along a matrix is, that everything else is AdamW's, and that its state goes on."""

import copy
from typing import Any

import pytest
import torch
from nano import drawn, nano
from torch import Tensor

from tastemaker.learning.optimizer import Muon, restore_state, state_tensors
from tastemaker.models.policy.gpt import matrices_of

CPU = torch.device("cpu")


def made(*matrices: Tensor, others: list[Tensor] | None = None, parts: int = 1, decay: float = 0.0) -> Muon:
    """Muon of rate 0.1 on some matrices, and of 0.05 on the others, which decay not."""
    groups: list[dict[str, Any]] = [
        {"params": others or [weight(1)], "weight_decay": 0.0},
        {"params": list(matrices), "parts": parts, "weight_decay": decay},
    ]
    found = Muon(groups, 0.1, CPU, betas=(0.9, 0.95))
    for group in found.others:
        group["lr"] = 0.05
    return found


def weight(*shape: int, seed: int = 0) -> Tensor:
    """A weight with a gradient."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(shape, generator=generator).requires_grad_()
    found.grad = torch.randn(shape, generator=generator)
    return found


def singular(steps: Tensor) -> Tensor:
    return torch.linalg.svdvals(steps)


@pytest.mark.parametrize("shape", [(8, 8), (8, 32), (32, 8)])
def test_a_step_keeps_the_directions_of_the_gradient_and_makes_them_alike(shape: tuple[int, int]) -> None:
    """G = U S Vᵀ: the step is U S' Vᵀ with S' near 1, times 0.2 · √(the longer side) times the rate."""
    matrix = weight(*shape)
    before, gradient = matrix.detach().clone(), matrix.grad.clone()  # type: ignore[union-attr]
    made(matrix).step()
    moved = (before - matrix.detach()) / (0.1 * 0.2 * max(shape) ** 0.5)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    turned = u.T @ moved @ v.T
    assert turned.diagonal().min() > 0.3
    assert turned.diagonal().max() < 1.25
    torch.testing.assert_close(turned, turned.diagonal().diag(), atol=1e-4, rtol=0)
    assert moved.norm() / min(shape) ** 0.5 == pytest.approx(1, abs=0.2), "so entries are 0.2 of the rate, as AdamW's"


def test_matrices_side_by_side_are_matrices_of_their_own() -> None:
    """One step of [A B C] is the steps of A, B and C, whatever else of their shape is stepped at once."""
    together = weight(8, 24)
    parts = [p.detach().clone().requires_grad_() for p in together.chunk(3, 1)]
    for part, gradient in zip(parts, together.grad.chunk(3, 1), strict=True):  # type: ignore[union-attr]
        part.grad = gradient.clone()
    made(together, parts=3).step()
    for part in parts:
        made(part, others=[weight(3, seed=2)]).step()
    torch.testing.assert_close(together, torch.cat(parts, 1), atol=1e-6, rtol=0)


def test_the_momentum_is_nesterovs() -> None:
    """Gradients G and 2G on one matrix: means 0.05 G and 0.1475 G, and of one direction every step is alike."""
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
    torch.testing.assert_close(optimizer.state[matrix]["momentum"], (0.95 * 0.05 + 0.05 * 2) * gradient)
    torch.testing.assert_close(before - matrix.detach(), first, atol=1e-5, rtol=0)


def test_weights_decay_by_the_rate() -> None:
    """With no gradient only the decay is left: 1 − 0.1 · 0.5."""
    matrix = weight(8, 8)
    matrix.grad = torch.zeros(8, 8)
    before = matrix.detach().clone()
    made(matrix, decay=0.5).step()
    torch.testing.assert_close(matrix.detach(), before * 0.95)


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
    matrix, bias = weight(8, 24), weight(7)
    optimizer = made(matrix, others=[bias], parts=3)
    for turn in (1.0, -3.0):  # of gradients that are all alike Adam's steps need no state
        for tensor in (matrix, bias):
            tensor.grad *= turn
        optimizer.step()
    twin = [copy.deepcopy(x.detach()).requires_grad_() for x in (matrix, bias)]
    for one, other in zip(twin, (matrix, bias), strict=True):
        one.grad = other.grad.clone()  # type: ignore[union-attr]
    again = made(twin[0], others=[twin[1]], parts=3)
    restore_state(again, {name: t.clone() for name, t in state_tensors(optimizer, CPU).items()}, CPU)
    for either in (optimizer, again):
        either.step()
    assert torch.equal(twin[0], matrix)
    assert torch.equal(twin[1], bias)


def test_the_matrices_of_a_gpt_are_all_weights_between_its_layers() -> None:
    module = drawn(nano()).module
    found = matrices_of(module)
    names = {id(p): name for name, p in module.named_parameters()}
    by_parts = {parts: sorted(names[id(p)] for p in weights) for parts, weights in found.items()}
    assert by_parts[3] == ["transformer.h.0.attn.c_attn.weight"]
    ends = ["attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"]
    assert by_parts[1] == [f"transformer.h.0.{end}" for end in ends]


def test_fresh_positions_are_a_tenth_of_fresh_tokens() -> None:
    """The spread of 1,024 and 320 · 32 draws is known within 1 in 45."""
    network = nano().module.transformer
    assert float((network.wpe.weight.std() / network.wte.weight.std()).detach()) == pytest.approx(0.1, rel=0.1)
