"""Prompts of a policy: those of a file, or the first tokens of texts.

A prompt may be a row, whose other columns a reward sees.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from tastemaker.data.chats import as_prompts
from tastemaker.data.judgements import Message, Prompt
from tastemaker.data.read_as import ReadAs
from tastemaker.data.texts import open_prompts
from tastemaker.errors import DataError, UsageError
from tastemaker.gpt.text_sources import Documents
from tastemaker.gpt.tokenise import Reader
from tastemaker.gpt.writing import Completion

Row = Mapping[str, Any]
"""A prompt under "prompt", and other columns for the reward."""


def prompts_from(
    source: Path,
    *,
    limit: int,
    prompt_column: str | None = None,
    chat: bool = False,
    report: list[ReadAs] | None = None,
) -> list[Prompt | Row]:
    """Return the first prompts of a file: one a line or in a column; with chat, messages.

    A table with more columns gives rows, with the prompt under "prompt". report: takes what the
    file was read as. Raises DataError for a file without prompts.
    """
    file = open_prompts(source, prompt_column)
    if report is not None:
        report.append(file.read_as("for the reward"))
    prompts: list[Prompt | Row] = []
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
    UsageError for invalid lengths.
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
    """Yield the beginning of each text. Its number of tokens is drawn from the range `length`.

    The last token may hold only a part of a character; that part is left out. Raises UsageError for
    an invalid range.
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


def divided(
    prompts: Prompt | Sequence[Prompt | Row],
) -> tuple[tuple[Prompt, ...], tuple[Row, ...]]:
    """Return prompts, and the other columns of each one's row; no columns where there are no rows.

    Raises DataError for a row without a prompt.
    """
    texts: list[Prompt] = []
    columns: list[Row] = []
    listed: Sequence[Any] = as_prompts(prompts)  # type: ignore[arg-type]
    for number, item in enumerate(listed, 1):
        if not isinstance(item, Mapping):
            texts.append(item)
            columns.append({})
            continue
        if "prompt" not in item:
            raise DataError(
                f"prompts, row {number}: no 'prompt' among {', '.join(map(str, item))}."
            )
        texts.append(_as_prompt(item["prompt"]))
        columns.append({key: item[key] for key in item if key != "prompt"})
    return tuple(texts), tuple(columns) if any(columns) else ()


def _as_prompt(prompt: Any) -> Prompt:
    """Return a row's prompt; the messages of a chat may be dicts."""
    if isinstance(prompt, str):
        return prompt
    turns = []
    for turn in prompt:
        is_dict = isinstance(turn, Mapping)
        turns.append(
            Message(turn["role"], turn["content"]) if is_dict else turn
        )
    return tuple(turns)


def with_columns(
    completions: Iterable[Completion], rows: Iterable[Row]
) -> list[Completion]:
    """Return completions that know the other columns of their prompts' rows, for a reward."""
    return [
        replace(completion, columns=row)
        for completion, row in zip(completions, rows, strict=True)
    ]
