"""How a network is trained: the settings of the training loop, checked where they are made."""

from dataclasses import dataclass

from tastemaker.checks import check_at_least, check_not_negative, check_part, check_positive


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
        check_at_least(self, 1, "epochs", "batch_size", "batch_tokens", "evaluations", "patience")
        check_positive(self, "lr", "clip", "head_lr")
        check_part(self, "warmup")
        check_not_negative(self, "weight_decay")
