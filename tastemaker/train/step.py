"""One optimiser step: gradients summed over parts, checked, clipped, applied.

A step is cut into parts that fit into memory. A strategy computes the gradients of the parts and
adds them up: `Backward` calls `loss.backward()`, which torch.distributed hooks; `ThreadedBackward`
computes the parts side by side, one thread each, in one process on a CPU. Both give the same sum
up to float rounding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from tastemaker.errors import TrainingError
from tastemaker.fast.processor import side_by_side

Metrics = dict[str, float]
"""Numbers by name; docs/metrics.md defines each."""

Part = Callable[[], tuple[Tensor, Mapping[str, float]]]
"""Computes one part of a step: its loss (a scalar), and numbers that are summed over the parts.

The number named "loss" is the value of the part's loss. A part sets autocast itself, because a
thread does not inherit it.
"""


class NotFinite(TrainingError):
    """The loss or the gradient norm is infinite or NaN. The step was not taken."""

    def __init__(self, loss: float, gradient_norm: float, rate: float) -> None:
        super().__init__(
            f"the loss is {loss} and the gradient norm {gradient_norm}. "
            f"Try a lower --lr (the rate was {rate:.3g})."
        )
        self.loss, self.gradient_norm, self.rate = loss, gradient_norm, rate


class GradientStrategy(Protocol):
    """A way to compute the summed gradients of a step's parts."""

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return the parts' numbers, summed by name."""
        ...


class Backward:
    """Compute part after part by `loss.backward()`."""

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return the parts' numbers, summed by name."""
        sums: Metrics = {}
        for part in parts:
            loss, numbers = part()
            if loss.requires_grad:
                loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
            _add(sums, numbers)
        return sums


@dataclass(frozen=True)
class ThreadedBackward:
    """Compute the parts side by side in threads, and add their gradients up in the parts' order.

    For one process on a CPU. `loss.backward()` would add up in whatever order the threads end.
    """

    threads: int

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return the parts' numbers, summed by name."""
        is_learning = torch.is_grad_enabled()  # a new thread does not know
        calls = [partial(_gradients, part, parameters, is_learning) for part in parts]
        sums: Metrics = {}
        for gradients, numbers in side_by_side(calls, self.threads):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad.add_(gradient)
            _add(sums, numbers)
        return sums


def gradient_strategy(threads: int) -> GradientStrategy:
    """Return the strategy for a pass of which so many may run side by side (1: no more than one).

    torch.distributed needs `backward`, so several processes get it whatever the number of threads.
    """
    is_distributed = (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    )
    if threads == 1 or is_distributed:
        return Backward()
    return ThreadedBackward(threads)


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
        self.optimizer, self.parameters = optimizer, trainable(parameters)
        self.clip, self.strategy = clip, strategy

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter] | None = None
    ) -> Metrics:
        """Add the parts' gradients to `.grad`; return the parts' numbers, summed by name.

        parameters: what gets gradients; None: all that is trained.
        """
        chosen = self.parameters if parameters is None else trainable(parameters)
        return self.strategy.add_gradients(parts, chosen)

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
        norm = float(nn.utils.clip_grad_norm_(parameters_of(self.optimizer), self.clip))
        if not (math.isfinite(metrics["loss"]) and math.isfinite(norm)):
            raise NotFinite(metrics["loss"], norm, rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        self.optimizer.step()
        metrics["gradient_norm"] = norm
        return metrics


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters that an optimiser trains, in its order."""
    return [
        parameter for group in optimizer.param_groups for parameter in group["params"]
    ]


def trainable(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters that require gradients."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def _gradients(
    part: Part, parameters: Sequence[nn.Parameter], is_learning: bool
) -> tuple[Sequence[Tensor | None], Mapping[str, float]]:
    """Return one part's gradients, None for a parameter without one, and its numbers."""
    with torch.set_grad_enabled(is_learning):
        loss, numbers = part()
    if not loss.requires_grad:
        return [None] * len(parameters), numbers
    return torch.autograd.grad(loss, parameters, allow_unused=True), numbers


def _add(sums: Metrics, numbers: Mapping[str, float]) -> None:
    for name, value in numbers.items():
        sums[name] = sums.get(name, 0) + value
