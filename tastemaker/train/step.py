"""The optimisers AdamW and Muon, and one training step.

A step sums gradients over parts, checks them, clips them and applies them. The parts are small
enough to fit into memory. How their gradients come about is a strategy (`gradients.py`).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from tastemaker import processes
from tastemaker.errors import TrainingError
from tastemaker.train.gradients import (
    GradientStrategy,
    Metrics,
    Part,
    is_sharded,
    share_like,
    whole_tensor,
)

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

    It is fused where the device supports that. A group's `factor` multiplies its learning rate; 1
    where there is none.
    """
    is_fused = device.type != "mps"
    return torch.optim.AdamW(
        _filled(groups), lr=lr, fused=is_fused, **settings
    )


def _filled(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return copies of the groups that hold parameters.

    Shares of weights and whole tensors are apart: an optimiser computes a group by one operation.
    """
    filled = []
    for group in groups:
        for _, members in groupby(group["params"], key=is_sharded):
            filled.append({**group, "params": list(members)})
    return filled


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
        self.matrices = [
            group for group in self.param_groups if "heads" in group
        ]
        self.others = [
            group for group in self.param_groups if "heads" not in group
        ]
        self.adam = adamw(self.others, lr, device, **settings)
        self.adam.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step along the gradients; a parameter without one stays as it is."""
        for adam_group, group in zip(
            self.adam.param_groups, self.others, strict=True
        ):
            adam_group["lr"] = group["lr"]
        self.adam.step()
        trained: list[tuple[dict[str, Any], Tensor]] = []
        momenta: list[Tensor] = []
        for group in self.matrices:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                trained.append((group, parameter))
                momentum = whole_tensor(
                    self._momentum(parameter, parameter.grad)
                )
                for part in _parts(momentum, group["heads"]):
                    momenta.append(part.flatten(0, -2))  # [rows, in]
        steps = iter(_orthogonal(momenta))
        for group, parameter in trained:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            changed = parameter
            if is_sharded(parameter):
                changed = torch.zeros(parameter.shape, device=parameter.device)
            for part in _parts(changed, group["heads"]):
                step = next(steps)
                length = group["lr"] * _MUON_SCALE * max(step.shape) ** 0.5
                part.sub_(step.view_as(part), alpha=length)
            if changed is not parameter:
                parameter.add_(share_like(changed, parameter))

    def _momentum(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient's running mean, with this step's part once more (Nesterov)."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        mean = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return torch.lerp(gradient, mean, _MOMENTUM)


def _parts(matrix: Tensor, heads: int) -> Sequence[Tensor]:
    """Return views of the matrices in one: itself [out, in], or three [heads, out / heads, in]."""
    return (
        matrix.view(heads, 3, -1, matrix.shape[1]).unbind(1)
        if heads
        else (matrix,)
    )


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
                x,
                torch.baddbmm(square, square, square, beta=b, alpha=c),
                x,
                beta=a,
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
            if not name.startswith(prefix):
                continue
            moved = value.to(device)
            if value.shape == parameter.shape:
                moved = share_like(moved, parameter)
            state[name.removeprefix(prefix)] = moved
        optimizer.state[parameter] = state
    torch.set_rng_state(tensors[_GENERATOR])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[_CUDA_GENERATOR], device)


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU, each with memory of its own, for a checkpoint.

    What is divided over processes becomes whole in the first one, and is left out in the others.
    """
    copies = {}
    for name, tensor in tensors.items():
        whole = whole_tensor(tensor.detach())
        if processes.is_first() or not is_sharded(tensor):
            copies[name] = whole.cpu().clone()
    return copies


class NotFinite(TrainingError):
    """The loss or the gradient norm is infinite or NaN. The step was not taken."""

    def __init__(self, loss: float, gradient_norm: float, rate: float) -> None:
        super().__init__(
            f"the loss is {loss} and the gradient norm {gradient_norm}. "
            f"Try a lower --lr (the rate was {rate:.3g})."
        )
        self.loss = loss
        self.gradient_norm = gradient_norm
        self.rate = rate


class TrainStep:
    """Takes steps of an optimiser.

    parameters: what is trained; those that require no gradient stay as they are. clip: largest
    gradient norm. strategy: how gradients are computed.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Sequence[nn.Parameter],
        *,
        clip: float,
        strategy: GradientStrategy,
    ) -> None:
        self.optimizer = optimizer
        self.parameters = trainable(parameters)
        self.clip = clip
        self.strategy = strategy

    def add_gradients(
        self,
        parts: Sequence[Part],
        parameters: Sequence[nn.Parameter] | None = None,
    ) -> Metrics:
        """Add the parts' gradients to `.grad`; return the parts' numbers, summed by name.

        parameters: what gets gradients; None: all that is trained.
        """
        if parameters is None:
            return self.strategy.add_gradients(parts, self.parameters)
        chosen = trainable(parameters)
        chosen_ids = {id(parameter) for parameter in chosen}
        others = [p for p in self.parameters if id(p) not in chosen_ids]
        before = [parameter.grad for parameter in others]
        # `fully_shard` gives gradients to all weights that a pass reads
        for parameter in others:
            parameter.grad = None
        metrics = self.strategy.add_gradients(parts, chosen)
        for parameter, gradient in zip(others, before, strict=True):
            parameter.grad = gradient
        return metrics

    def take(
        self,
        parts: Sequence[Part],
        *,
        rate: float,
        parameters: Sequence[nn.Parameter] | None = None,
    ) -> Metrics:
        """Take one step along the summed gradient of the parts.

        rate: the learning rate; a parameter group's `factor` multiplies it. parameters: what
        changes; None: all that is trained. Returns the parts' summed numbers and "gradient_norm",
        before clipping. Raises NotFinite, with no parameter changed, where the loss or the norm is
        not finite.
        """
        self.optimizer.zero_grad(set_to_none=True)
        metrics = self.add_gradients(parts, parameters)
        norm = clip_gradients(parameters_of(self.optimizer), self.clip)
        if not (math.isfinite(metrics["loss"]) and math.isfinite(norm)):
            raise NotFinite(metrics["loss"], norm, rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        self.optimizer.step()
        metrics["gradient_norm"] = norm
        return metrics


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Scale the gradients so that their norm is `most` at most; return the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    shares = [g for g in gradients if is_sharded(g)]
    if not shares:
        return float(nn.utils.clip_grad_norm_(parameters, most))
    others = [g for g in gradients if not is_sharded(g)]
    norm = math.hypot(_norm(shares), _norm(others))
    scale = min(1.0, most / (norm + 1e-6))  # as clip_grad_norm_ scales
    for gradient in gradients:
        gradient.mul_(scale)
    return norm


def _norm(gradients: Sequence[Tensor]) -> float:
    if not gradients:
        return 0.0
    return float(whole_tensor(nn.utils.get_total_norm(gradients)))


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters that an optimiser trains, in its order."""
    return [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def trainable(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters that require gradients."""
    return [parameter for parameter in parameters if parameter.requires_grad]
