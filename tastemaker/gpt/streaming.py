"""What of an unfinished text can be shown already."""

from tastemaker.gpt.policy import Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.writing import Row


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
