"""How a network is trained: the settings of the training loop, checked where they are made."""

import math
from dataclasses import dataclass

from tastemaker.errors import UsageError


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    epochs: passes over the training texts. lr: peak learning rate; the head's is `head_lr` times as much.
    batch_size: texts a step. batch_tokens: most tokens at once, padding included. warmup: share of the steps.
    clip: largest gradient norm. evaluations: held-out evaluations in the run. patience: how many without a gain end it.
    """

    epochs: int = 2
    lr: float = 5e-5
    batch_size: int = 32
    batch_tokens: int = 8192
    warmup: float = 0.06
    weight_decay: float = 0.01
    clip: float = 1.0
    head_lr: float = 10.0
    evaluations: int = 5
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "batch_tokens", "evaluations", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: must be at least 1.")
        for name in ("lr", "clip", "head_lr"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} {value}: must be a positive number.")
        if not 0 <= self.warmup < 1 or self.weight_decay < 0:
            raise UsageError(f"warmup {self.warmup} must be in [0, 1) and weight_decay {self.weight_decay} at least 0.")
