"""How a policy is steered: the settings, checked where they are made."""

from dataclasses import dataclass
from typing import ClassVar

from tastemaker.settings import MAIN, POSITIVE, Check, at_least, check, setting


@dataclass(frozen=True)
class Steering:
    """How a policy is steered, whatever the algorithm."""

    group: ClassVar[str] = "Steering"

    steps: int = setting(
        150,
        "Rollouts, or batches of judgements, each followed by an update.",
        at_least(1),
        group=MAIN,
    )
    batch: int = setting(
        128, "Completions a rollout, or judged texts a step.", at_least(1)
    )
    clip: float = setting(
        1.0, "Largest gradient norm.", POSITIVE, option="--gradient-clip"
    )
    # 1e-8, the usual value, lets rare tokens take large early steps
    adam_epsilon: float = setting(
        1e-5, "Added to the root of Adam's second moment.", POSITIVE
    )
    decay: bool = setting(
        True, "Lower the learning rate in a line to 0 over the steps."
    )
    critic_factor: float = setting(
        10.0, "Learning rate of the value head, as a multiple of --lr.", POSITIVE
    )
    zero_critic: bool = setting(
        True, "A new value head begins at 0, otherwise at small random weights."
    )
    whiten_rewards: bool = setting(
        False,
        "Divide the rewards of tokens by their standard deviation; their mean is kept.",
    )
    dropout: bool = setting(
        False,
        "Drop out what the model's config says while it learns; sampling never does.",
    )
    held_out_share: float = setting(
        0.1,
        "Share of the judgements that only measures, split by prompt; about 1,000 at most.",
        Check(lambda value: 0 < value < 1, "a share, between 0 and 1"),
    )
    windows: int = setting(20, "How often the run is judged.", at_least(1))
    measured: int = setting(
        256, "Completions that are measured before and after.", at_least(1)
    )
    at_once: int = setting(8192, "Most tokens that are computed at once.", at_least(1))

    def __post_init__(self) -> None:
        check(self)
