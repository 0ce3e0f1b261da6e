"""AdamW and Muon, and their state for checkpoints."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tastemaker.train.step import parameters_of

_STATE = "adam."
_MUON_SCALE = 0.2
"""Muon's steps are scaled to about the size of AdamW's (Liu et al. 2025)."""
_MOMENTUM = 0.95
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_GENERATOR = "generator"
_CUDA_GENERATOR = "generator.cuda"


def adamw(
    groups: Sequence[Mapping[str, Any]],
    lr: float,
    device: torch.device,
    **settings: Any,
) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019) over the groups that hold parameters.

    It is fused where the device supports that.     A group's `factor` multiplies its learning
    rate; 1 where there is none.
    """
    is_fused = device.type != "mps"
    return torch.optim.AdamW(_filled(groups), lr=lr, fused=is_fused, **settings)


def _filled(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return copies of the groups that hold parameters."""
    return [dict(group) for group in groups if group["params"]]


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for matrices, AdamW for everything else.

    A group with `heads` holds matrices [out, in] and `weight_decay`. heads: attention heads whose
    queries, keys and values are in one matrix; each head has its rows of the three, one after the
    other; 0: plain matrices. The momentum of each matrix is replaced by about the nearest
    orthogonal one, scaled so that its entries are as large as AdamW's steps (Liu et al. 2025). All
    in float32, by five steps of a quintic iteration whose products are batched over matrices of
    one shape.
    """

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        lr: float,
        device: torch.device,
        **settings: Any,
    ) -> None:
        super().__init__(_filled(groups), {"lr": lr})
        self.matrices = [group for group in self.param_groups if "heads" in group]
        self.others = [group for group in self.param_groups if "heads" not in group]
        self.adam = adamw(self.others, lr, device, **settings)
        self.adam.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step along the gradients; a parameter without one stays as it is."""
        for adam_group, group in zip(self.adam.param_groups, self.others, strict=True):
            adam_group["lr"] = group["lr"]
        self.adam.step()
        trained: list[tuple[dict[str, Any], Tensor]] = []
        momenta: list[Tensor] = []
        for group in self.matrices:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                trained.append((group, parameter))
                momentum = self._momentum(parameter, parameter.grad)
                for part in _parts(momentum, group["heads"]):
                    momenta.append(part.flatten(0, -2))  # [rows, in]
        steps = iter(_orthogonal(momenta))
        for group, parameter in trained:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            for part in _parts(parameter, group["heads"]):
                step = next(steps)
                length = group["lr"] * _MUON_SCALE * max(step.shape) ** 0.5
                part.sub_(step.view_as(part), alpha=length)

    def _momentum(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient's running mean, with this step's part once more (Nesterov)."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        mean = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return torch.lerp(gradient, mean, _MOMENTUM)


def _parts(matrix: Tensor, heads: int) -> Sequence[Tensor]:
    """Return views of the matrices in one: itself [out, in], or three [heads, out / heads, in]."""
    return matrix.view(heads, 3, -1, matrix.shape[1]).unbind(1) if heads else (matrix,)


def _orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return matrices with the same singular vectors and singular values of about 0.7 to 1.2."""
    wide = [m if m.shape[0] <= m.shape[1] else m.T for m in matrices]
    turned: dict[int, Tensor] = {}
    for shape in sorted({m.shape for m in wide}):
        numbers = [number for number, m in enumerate(wide) if m.shape == shape]
        x = torch.stack([wide[number] for number in numbers])
        x /= torch.linalg.matrix_norm(x, keepdim=True).add_(1e-7)
        a, b, c = _QUINTIC
        for _ in range(_ITERATIONS):
            square = x @ x.mT
            x = torch.baddbmm(
                x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a
            )
        for number, matrix in zip(numbers, x, strict=True):
            turned[number] = matrix
    results = []
    for number, matrix in enumerate(matrices):
        is_wide = wide[number] is matrix
        results.append(turned[number] if is_wide else turned[number].T)
    return results


def state_tensors(
    optimizer: torch.optim.Optimizer, device: torch.device
) -> dict[str, Tensor]:
    """Return the state of an optimiser and of torch's random numbers, by name."""
    tensors: dict[str, Tensor] = {}
    for number, parameter in enumerate(parameters_of(optimizer)):
        for name, value in optimizer.state[parameter].items():
            tensors[f"{_STATE}{number}.{name}"] = value
    tensors[_GENERATOR] = torch.get_rng_state()
    if device.type == "cuda":
        tensors[_CUDA_GENERATOR] = torch.cuda.get_rng_state(device)
    return tensors


def restore_state(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    device: torch.device,
) -> None:
    """Give an optimiser and torch's random numbers the state that `state_tensors` returned."""
    for number, parameter in enumerate(parameters_of(optimizer)):
        prefix = f"{_STATE}{number}."
        state = {}
        for name, value in tensors.items():
            if name.startswith(prefix):
                state[name.removeprefix(prefix)] = value.to(device)
        optimizer.state[parameter] = state
    torch.set_rng_state(tensors[_GENERATOR])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[_CUDA_GENERATOR], device)


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU, each with memory of its own, for a checkpoint."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
