"""The best of several completions by a reward, and what of an unfinished one can be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tastemaker.data.chats import as_prompts
from tastemaker.data.judgements import Example, Prompt
from tastemaker.errors import UsageError
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.writing import Completion, Row
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
    sampling: Sampling | Mapping[str, Any] | None = None,
    seed: int = 0,
    first: int = 0,
) -> list[Best]:
    """Return the best of n completions of each prompt. See `Policy.complete` for the arguments.

    The reward scores the prompt with its continuation as one text, or the answer to a chat. The KL
    of the best of n from the policy is at most ln n − (n − 1)/n (Beirami et al. 2024).
    """
    if n < 1:
        raise UsageError(f"best of {n}: ask for 1 or more.")
    written = policy.complete(
        as_prompts(prompts),
        samples=n,
        sampling=sampling,
        seed=seed,
        first=first,
    )
    scores = [float("-inf")] * len(written)
    scorable = [
        i for i, completion in enumerate(written) if completion.text.strip()
    ]
    if scorable:
        examples = [to_be_scored(written[i]) for i in scorable]
        values = reward.score_all(examples).as_list()
        for i, score in zip(scorable, values, strict=True):
            scores[i] = score
    best = []
    for start in range(0, len(written), n):
        top = max(range(start, start + n), key=scores.__getitem__)
        best.append(
            Best(written[top], scores[top], tuple(scores[start : start + n]))
        )
    return best


def to_be_scored(completion: Completion) -> Example:
    """Return the example that a reward model scores for a completion.

    A continued prompt is part of the text. A chat is the prompt.
    """
    prompt = completion.prompt
    if isinstance(prompt, str):
        return Example(prompt + completion.text)
    is_single = len(prompt) == 1 and prompt[0].role == "user"
    question = prompt[0].content if is_single else prompt
    return Example(completion.text.strip(), question)


def shown_so_far(policy: Policy, row: Row, sampling: Sampling) -> str:
    """Return the text of an unfinished row that no later token can change.

    Left out are a last character whose bytes are not all there, and what may be the beginning of a
    stop text.
    """
    text = policy.completion("", row, sampling).text
    if row.ended != "length":
        return text
    text = text.rstrip("\N{REPLACEMENT CHARACTER}")
    hidden = max((_overlap(text, stop) for stop in sampling.stop), default=0)
    return text[: len(text) - hidden]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text begin a longer stop text."""
    for size in range(len(stop) - 1, 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
