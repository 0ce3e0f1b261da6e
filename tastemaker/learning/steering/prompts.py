"""What a policy is steered on: prompts from a file, or the openings of texts."""

import random
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tastemaker.completing import read_prompts
from tastemaker.data.documents import Documents
from tastemaker.data.judgements import Prompt
from tastemaker.errors import DataError, UsageError
from tastemaker.models.policy.policy import Policy


def prompts_from(
    source: str,
    policy: Policy,
    *,
    opening: tuple[int, int] | None = None,
    limit: int = 2000,
    split: str | None = None,
    prompt_column: str | None = None,
    chat: bool = False,
    seed: int = 0,
) -> list[Prompt]:
    """Return prompts.

    source: a file of prompts, one a line or in a column, each continued or, with chat, answered. opening: the source is
    then what `pretrain` reads, and a prompt is the first tokens of a text, so many from the shortest to the longest at
    random. limit: at most so many.
    Raises DataError for a source without prompts, UsageError for an opening that cannot be.
    """
    if opening is None:
        found: list[Prompt] = list(islice(read_prompts(Path(source), prompt_column=prompt_column, chat=chat), limit))
    else:
        texts = (example.text for example in Documents([source], split=split))
        found = list(openings(islice(texts, limit), policy, opening, seed=seed))
    if not found:
        raise DataError(f"{source}: no prompts in it.")
    return found


def openings(texts: Iterable[str], policy: Policy, length: tuple[int, int], *, seed: int) -> Iterable[str]:
    """Yield the first tokens of texts, so many from the shortest to the longest length at random.

    A character that the last token only begins is left out. Raises UsageError for lengths that cannot be.
    """
    shortest, longest = length
    if not 1 <= shortest <= longest:
        raise UsageError(f"opening {shortest},{longest}: two whole numbers, at least 1, the smaller first.")
    draw = random.Random(f"openings {seed}")
    for text in texts:
        (ids,) = policy.reader.completions([text], ended=False)
        yield policy.reader.text(ids[: draw.randint(shortest, longest)]).rstrip("\N{REPLACEMENT CHARACTER}")
