"""Best of n: write n completions of a prompt and return the one with the highest reward."""

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
    """The best completion of a prompt, its score, and all n scores in the order of writing.

    A completion of white space alone cannot be scored: its score is −∞.
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
    """Return the best of n completions of each prompt. See `Policy.complete` for the arguments.

    The reward scores the prompt with its continuation as one text, or the answer to a chat. The KL
    of the best of n from the policy is ln n − (n − 1)/n (Gao et al. 2023).
    """
    if n < 1:
        raise UsageError(f"best of {n}: ask for 1 or more.")
    written = policy.complete(
        as_prompts(prompts), samples=n, sampling=sampling, seed=seed, first=first
    )
    has_words = [bool(completion.text.strip()) for completion in written]
    examples = [
        to_be_scored(completion)
        for completion, is_scored in zip(written, has_words, strict=True)
        if is_scored
    ]
    values = iter(reward.score_all(examples).as_list() if examples else [])
    scores = [next(values) if is_scored else float("-inf") for is_scored in has_words]
    best = []
    for start in range(0, len(written), n):
        top = max(range(start, start + n), key=scores.__getitem__)
        best.append(Best(written[top], scores[top], tuple(scores[start : start + n])))
    return best


def to_be_scored(completion: Completion) -> Example:
    """Return the example that a reward model scores for a completion.

    A continued prompt is part of the text. A chat is the prompt.
    """
    prompt = completion.prompt
    if isinstance(prompt, str):
        return Example(prompt + completion.text)
    single = len(prompt) == 1 and prompt[0].role == "user"
    return Example(completion.text.strip(), prompt[0].content if single else prompt)
