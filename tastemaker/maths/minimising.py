"""The search for the parameters of a smooth function, when there are few of them.

SciPy's L-BFGS, not PyTorch's: constructing a PyTorch optimiser imports its compiler, which takes
longer than a whole linear fit.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

_TOLERANCE = 1e-12  # of the value, relative
_GRADIENT = 1e-7  # the search ends where no slope is steeper


def minimise(
    loss: Callable[[], Tensor], parameters: Sequence[Tensor], *, iterations: int
) -> None:
    """Move float64 parameters to where a loss is lowest, in at most so many steps of L-BFGS.

    loss: returns a scalar of the parameters as they are. A search that leaves the finite numbers
    leaves the parameters at the best finite point.
    """
    moved = [parameter for parameter in parameters if parameter.numel()]
    if not moved:
        return
    start = np.concatenate([p.detach().numpy().ravel() for p in moved])

    def put(point: NDArray[np.float64]) -> None:
        at = 0
        for parameter in moved:
            part = torch.from_numpy(point[at : at + parameter.numel()])
            parameter.data.copy_(part.reshape(parameter.shape))
            at += parameter.numel()

    def value_and_gradient(
        point: NDArray[np.float64],
    ) -> tuple[float, NDArray[np.float64]]:
        put(point)
        value = loss()
        gradients = torch.autograd.grad(value, moved, allow_unused=True)
        parts = [
            np.zeros(p.numel()) if g is None else g.numpy().ravel()
            for p, g in zip(moved, gradients, strict=True)
        ]
        return float(value.detach()), np.concatenate(parts)

    result = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "ftol": _TOLERANCE, "gtol": _GRADIENT},
    )
    put(result.x if np.isfinite(result.x).all() else start)
