"""AdamW and what a run that goes on needs of it: one way for every loop that trains a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

OPTIMIZER = "adam."
GENERATOR = "generator"


def adamw(groups: Sequence[Mapping[str, Any]], lr: float, device: torch.device, **settings: Any) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019) over those groups that hold parameters, fused where the device has it."""
    return torch.optim.AdamW([dict(g) for g in groups if g["params"]], lr=lr, fused=device.type != "mps", **settings)


def trained(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return what an optimiser trains, in its order."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state by name."""
    return {
        f"{OPTIMIZER}{number}.{name}": value
        for number, parameter in enumerate(trained(optimizer))
        for name, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Give an optimiser the state that `optimizer_tensors` returned."""
    for number, parameter in enumerate(trained(optimizer)):
        prefix = f"{OPTIMIZER}{number}."
        found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        optimizer.state[parameter] = {name: value.to(device) for name, value in found.items()}


def generator_tensors(device: torch.device) -> dict[str, Tensor]:
    """Return the state of torch's random numbers by name."""
    found = {GENERATOR: torch.get_rng_state()}
    return found | ({f"{GENERATOR}.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_generators(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Give torch's random numbers the state that `generator_tensors` returned."""
    torch.set_rng_state(tensors[GENERATOR])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[f"{GENERATOR}.cuda"], device)


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU, each with memory of its own, for a checkpoint."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
