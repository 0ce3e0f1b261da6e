"""verl's custom reward function: the score of `tastemaker serve`.

    reward.custom_reward_function.path=integrations/verl_reward.py
    reward.custom_reward_function.name=compute_score

verl calls it for each completion, so requests of many come at once; the server gathers them.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # verl loads this file by its path

from scores import scores


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Return {"score": …} of one completion.

    extra_info: its `prompt` or `question`, a text or a list of messages, is what the completion
    answers. data_source, ground_truth and kwargs are verl's; a reward model needs none of them.
    """
    del data_source, ground_truth, kwargs
    extra = extra_info or {}
    prompt = extra.get("prompt", extra.get("question"))
    question: Any = solution_str
    if prompt is not None:
        question = {"prompt": prompt, "completion": solution_str}
    (score,) = await asyncio.to_thread(scores, [question])
    return {"score": score}
