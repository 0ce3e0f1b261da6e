"""AdamW and Muon, one step of them, and what a run that goes on needs: one way for every loop that trains a network."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tastemaker.errors import TrainingError
from tastemaker.train.run import Run

_STATE = "adam."
_MOMENTUM = 0.95
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_GENERATOR = "generator"


def adamw(
    groups: Sequence[Mapping[str, Any]], lr: float, device: torch.device, **settings: Any
) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019) over those groups that hold parameters, fused where the device has it.

    A group's `factor` is what its learning rate is of the others', 1 where there is none.
    """
    return torch.optim.AdamW(
        [dict(g) for g in groups if g["params"]], lr=lr, fused=device.type != "mps", **settings
    )


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for matrices, AdamW for everything else: a step moves all directions of a matrix alike.

    A group with `heads` holds matrices [out, in] and `weight_decay`; of so many heads (0: none), each of which has its
    rows of three matrices, queries', keys' and values', one after the other.
    The momentum of each is replaced by the nearest orthogonal matrix, about, scaled so that its entries are as large as
    AdamW's steps are (0.2 of the rate; Liu et al. 2025). All in float32, by five steps of a quintic iteration whose
    products are batched over matrices of one shape.
    """

    def __init__(
        self, groups: Sequence[Mapping[str, Any]], lr: float, device: torch.device, **settings: Any
    ) -> None:
        super().__init__([dict(g) for g in groups if g["params"]], {"lr": lr})
        self.matrices = [g for g in self.param_groups if "heads" in g]
        self.others = [g for g in self.param_groups if "heads" not in g]
        self.adam = adamw(self.others, lr, device, **settings)
        self.adam.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step along the gradients; a parameter without one stays as it is."""
        for group, own in zip(self.adam.param_groups, self.others, strict=True):
            group["lr"] = own["lr"]
        self.adam.step()
        taught = [(g, [p for p in g["params"] if p.grad is not None]) for g in self.matrices]
        wanted = [
            _parts(self._momentum(p, p.grad), g["heads"]) for g, found in taught for p in found
        ]
        turns = iter(_orthogonal([part.flatten(0, -2) for parts in wanted for part in parts]))
        for group, found in taught:
            for parameter in found:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                for part in _parts(parameter, group["heads"]):
                    turned = next(turns)
                    part.sub_(
                        turned.view_as(part), alpha=group["lr"] * 0.2 * max(turned.shape) ** 0.5
                    )

    def _momentum(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient's running mean, this step's part of it weighed anew (Nesterov)."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        mean = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return torch.lerp(gradient, mean, _MOMENTUM)


def _parts(matrix: Tensor, heads: int) -> Sequence[Tensor]:
    """Return views of the matrices in one: itself [out, in], or three [heads, out / heads, in]."""
    return matrix.view(heads, 3, -1, matrix.shape[1]).unbind(1) if heads else (matrix,)


def _orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return for each matrix one with its singular vectors and singular values between about 0.7 and 1.2."""
    flat = [m if m.shape[0] <= m.shape[1] else m.T for m in matrices]
    found: dict[int, Tensor] = {}
    for shape in sorted({m.shape for m in flat}):
        of_shape = [i for i, m in enumerate(flat) if m.shape == shape]
        x = torch.stack([flat[i] for i in of_shape])
        x /= torch.linalg.matrix_norm(x, keepdim=True).add_(1e-7)
        for _ in range(_ITERATIONS):
            a, b, c = _QUINTIC
            square = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
        found |= dict(zip(of_shape, x, strict=True))
    return [found[i] if flat[i] is matrix else found[i].T for i, matrix in enumerate(matrices)]


def take_step(
    optimizer: torch.optim.Optimizer,
    loss: float,
    *,
    rate: float,
    clip: float,
    number: int,
    run: Run,
) -> dict[str, float]:
    """Step along the gradients, cut to the norm `clip`; returns the step's metrics.

    number: of the step, from 1. Raises TrainingError for a loss or gradients that are not finite, once the run's log
    holds them.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(_trained(optimizer), clip))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        run.log(number - 1, {"loss": loss, "gradient_norm": norm})
        raise TrainingError(
            f"step {number}: the loss is {loss} and the gradient norm {norm}. "
            f"Start again with --overwrite and a lower --lr (the rate was {rate:.3g})."
        )
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    optimizer.step()
    return {"loss": loss, "gradient_norm": norm, "learning_rate": rate}


def state_tensors(optimizer: torch.optim.Optimizer, device: torch.device) -> dict[str, Tensor]:
    """Return the state of an optimiser and of torch's random numbers, by name."""
    found = {
        f"{_STATE}{number}.{name}": value
        for number, parameter in enumerate(_trained(optimizer))
        for name, value in optimizer.state[parameter].items()
    }
    found[_GENERATOR] = torch.get_rng_state()
    return found | (
        {f"{_GENERATOR}.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    )


def restore_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], device: torch.device
) -> None:
    """Give an optimiser and torch's random numbers the state that `state_tensors` returned."""
    for number, parameter in enumerate(_trained(optimizer)):
        prefix = f"{_STATE}{number}."
        found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        optimizer.state[parameter] = {name: value.to(device) for name, value in found.items()}
    torch.set_rng_state(tensors[_GENERATOR])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[f"{_GENERATOR}.cuda"], device)


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU, each with memory of its own, for a checkpoint."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def _trained(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return what an optimiser trains, in its order."""
    return [p for group in optimizer.param_groups for p in group["params"]]
