"""AdamW, one step of it, and what a run that goes on needs of it: one way for every loop that trains a network."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tastemaker.errors import TrainingError
from tastemaker.learning.run import Run

_STATE = "adam."
_GENERATOR = "generator"


def adamw(groups: Sequence[Mapping[str, Any]], lr: float, device: torch.device, **settings: Any) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019) over those groups that hold parameters, fused where the device has it.

    A group's `factor` is what its learning rate is of the others', 1 where there is none.
    """
    return torch.optim.AdamW([dict(g) for g in groups if g["params"]], lr=lr, fused=device.type != "mps", **settings)


def take_step(
    optimizer: torch.optim.Optimizer, loss: float, *, rate: float, clip: float, number: int, run: Run
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
    return found | ({f"{_GENERATOR}.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], device: torch.device) -> None:
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
