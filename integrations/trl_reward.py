"""TRL's reward function: the score of `tastemaker serve`.

GRPOTrainer(model, reward_funcs=[tastemaker_reward], args=…, train_dataset=…)
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from scores import scores

BATCH = 256


def tastemaker_reward(
    prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
) -> list[float]:
    """Return the score of each completion. columns: of the data set; none is needed.

    prompts: texts or lists of messages. completions: texts, or lists of messages of which the last
    is the answer.
    """
    del columns
    inputs = []
    for prompt, completion in zip(prompts, completions, strict=True):
        text = completion if isinstance(completion, str) else completion[-1]["content"]
        inputs.append({"prompt": prompt, "completion": text})
    rewards: list[float] = []
    for start in range(0, len(inputs), BATCH):
        rewards += scores(inputs[start : start + BATCH])
    return rewards
