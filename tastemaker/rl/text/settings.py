"""How a policy is steered: settings, checked where they are made."""

from dataclasses import dataclass

from tastemaker.errors import UsageError
from tastemaker.settings import check_at_least, check_positive


@dataclass(frozen=True)
class Steering:
    """How a policy is steered, whatever the algorithm.

    steps: rollouts, each followed by an update. batch: completions a rollout, or judged texts a step. clip: largest
    gradient norm. adam_epsilon: added to the root of Adam's second moment; 1e-8, the usual one elsewhere, lets rare
    tokens take large early steps. decay: the learning rate falls in a line to 0 over the steps. critic_factor: the
    value head's learning rate, as a multiple. zero_critic: a new value head begins at 0, at small random weights
    otherwise. whiten_rewards: tokens' rewards with standard deviation 1, mean kept. dropout: the passes that are
    learned from drop out what the model's config says; sampling never does. held_out_share: of the judgements, split by
    prompt, at most about 1,000 of them: they only measure. windows: how often the run is judged. measured: completions
    before and after. at_once: tokens that are computed at once.
    """

    steps: int = 150
    batch: int = 128
    clip: float = 1.0
    adam_epsilon: float = 1e-5
    decay: bool = True
    critic_factor: float = 10.0
    zero_critic: bool = True
    whiten_rewards: bool = False
    dropout: bool = False
    held_out_share: float = 0.1
    windows: int = 20
    measured: int = 256
    at_once: int = 8192

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps", "batch", "windows", "measured", "at_once")
        check_positive(self, "clip", "adam_epsilon", "critic_factor")
        if not 0 < self.held_out_share < 1:
            raise UsageError(
                f"held_out_share {self.held_out_share}: must be a share, between 0 and 1."
            )
