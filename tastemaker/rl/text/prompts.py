"""Prompts of a policy: those of a file, or the first tokens of texts."""

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from tastemaker.data.judgements import Prompt
from tastemaker.data.read_as import ReadAs
from tastemaker.data.texts import open_prompts
from tastemaker.errors import DataError, UsageError
from tastemaker.gpt.text_sources import Documents
from tastemaker.gpt.tokenise import Reader


def prompts_from(
    source: Path,
    *,
    limit: int,
    prompt_column: str | None = None,
    chat: bool = False,
    report: list[ReadAs] | None = None,
) -> list[Prompt | Mapping[str, Any]]:
    """Return the first prompts of a file: one a line or in a column; with chat, messages.

    A table with more columns gives rows, with the prompt under "prompt". report: takes what the
    file was read as. Raises DataError for a file without prompts.
    """
    file = open_prompts(source, prompt_column)
    if report is not None:
        report.append(file.read_as("for the reward"))
    prompts: list[Prompt | Mapping[str, Any]] = []
    for row, prompt in islice(file.rows(chat=chat), limit):
        for_reward = {
            key: row[key] for key in file.reward_columns if key in row
        }
        prompts.append(
            {**for_reward, "prompt": prompt} if for_reward else prompt
        )
    return prompts


def openings_from(
    source: str,
    reader: Reader,
    length: tuple[int, int],
    *,
    limit: int,
    seed: int,
    split: str | None = None,
    report: list[ReadAs] | None = None,
) -> list[str]:
    """Return the openings of the first texts of what `pretrain` reads.

    report: takes what the source was read as. Raises DataError for a source without texts,
    UsageError for lengths that cannot be.
    """
    documents = Documents([source], split=split)
    texts = (example.text for example in documents)
    prompts = list(openings(islice(texts, limit), reader, length, seed=seed))
    if report is not None:
        report += documents.read_as
    if not prompts:
        raise DataError(f"{source}: no texts in it.")
    return prompts


def openings(
    texts: Iterable[str], reader: Reader, length: tuple[int, int], *, seed: int
) -> Iterator[str]:
    """Yield the first tokens of texts, so many from the shortest to the longest length at random.

    A character that the last token only begins is left out. Raises UsageError for lengths that
    cannot be.
    """
    shortest, longest = length
    if not 1 <= shortest <= longest:
        raise UsageError(
            f"opening {shortest},{longest}: two whole numbers, at least 1, the smaller first."
        )
    draw = random.Random(f"openings {seed}")
    for text in texts:
        (ids,) = reader.completions([text], ended=False)
        yield reader.text(ids[: draw.randint(shortest, longest)]).rstrip(
            "\N{REPLACEMENT CHARACTER}"
        )
