"""Best of n: write n completions, keep the one that a reward likes best. The simplest way to write
to a taste.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tastemaker.data.judgements import Example, Prompt
from tastemaker.errors import UsageError
from tastemaker.gpt.policy import Completion, Policy, as_prompts
from tastemaker.gpt.sampling import Sampling
from tastemaker.scores import Scores


class Scorer(Protocol):
    """Anything that scores: a reward model, or a stand-in for one."""

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Return the scores of the examples, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Best:
    """The best completion of a prompt, its score, and the scores of all n in the order they were
    written.

    A completion without a word has no score and is never the best of several: its score is −∞.
    """

    completion: Completion
    score: float
    scores: tuple[float, ...]


def best_of_n(
    policy: Policy,
    reward: Scorer,
    prompts: Prompt | Sequence[Prompt],
    *,
    n: int,
    sampling: Sampling | None = None,
    seed: int = 0,
    first: int = 0,
) -> list[Best]:
    """Return the best of n completions of each prompt. The arguments are those of
    `Policy.complete`.

    What is scored is what a reader sees: the prompt with its continuation as one text, or the
    answer to a chat. The KL of the best of n from the policy is ln n − (n − 1)/n (Gao et al. 2023).
    """
    if n < 1:
        raise UsageError(f"best of {n}: ask for 1 or more.")
    found = as_prompts(prompts)
    written = policy.complete(
        found, samples=n, sampling=sampling, seed=seed, first=first
    )
    worded = [
        to_be_scored(completion) for completion in written if completion.text.strip()
    ]
    values = iter(reward.score_all(worded).as_list() if worded else [])
    scores = [
        next(values) if completion.text.strip() else float("-inf")
        for completion in written
    ]
    best = []
    for start in range(0, len(written), n):
        top = max(range(start, start + n), key=scores.__getitem__)
        best.append(Best(written[top], scores[top], tuple(scores[start : start + n])))
    return best


def to_be_scored(completion: Completion) -> Example:
    """Return what a reward model reads of a completion: a continued prompt is part of the text, a
    chat its prompt.
    """
    prompt = completion.prompt
    if isinstance(prompt, str):
        return Example(prompt + completion.text)
    single = len(prompt) == 1 and prompt[0].role == "user"
    return Example(completion.text.strip(), prompt[0].content if single else prompt)
