"""Checks for texts that are nearly equal, and for conversations with the same beginning."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np

from tastemaker.data.judgements import Judgement, Prompt
from tastemaker.data.splitting import first_turn
from tastemaker.doctor.catalogue import (
    NOBODY,
    Catalogue,
    Problem,
    catalogue_of,
    excerpt,
)
from tastemaker.near_copies import copy_groups, have_copy, sketches

_SHOWN = 3
_BEFORE, _AFTER = 30, 30  # characters around the first difference of two texts


def relatives(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield near-copies of texts, and prompts that begin with the same turn as another one."""
    texts = catalogue.texts
    copies: list[int] = []
    examples: list[str] = []
    for group in copy_groups(sketches(texts)):
        first, *others = group
        forms = {folded(texts[first])}
        for number in others:
            form = folded(texts[number])
            if form in forms:  # `copies` reports it
                continue
            forms.add(form)
            copies.append(number)
            if len(examples) < _SHOWN:
                examples.append(_difference(texts[first], texts[number]))
    if copies:
        yield Problem(
            "near_copies",
            "near-copies: texts that differ from another one in a few characters",
            len(copies),
            "warning",
            "Remove copies that nobody judged anew. "
            "tastemaker.split and fit keep near-copies on one side; a split of your own must too.",
            catalogue.places(_rows_of(catalogue, copies)),
            examples,
        )
    by_turn: dict[str, list[int]] = {}
    for number, prompt in _prompts(catalogue).items():
        by_turn.setdefault(first_turn(prompt), []).append(number)
    by_turn.pop("", None)
    shared = [numbers for numbers in by_turn.values() if len(numbers) > 1]
    if shared:
        later = [number for numbers in shared for number in numbers[1:]]
        rows = np.flatnonzero(np.isin(catalogue.prompt, later)).tolist()
        yield Problem(
            "shared_beginnings",
            "shared beginnings: prompts that begin with the same turn of the user as another one",
            len(later),
            "note",
            "tastemaker.split and fit keep such conversations on one side; "
            "a split of your own must too.",
            catalogue.places(rows),
            [excerpt(catalogue.prompts[numbers[0]]) for numbers in shared[:_SHOWN]],
        )


def related_leaks(catalogue: Catalogue, test: Sequence[Judgement]) -> Iterator[Problem]:
    """Yield texts and prompts of the test judgements that are related to ones of the catalogue.

    Equal texts and prompts are left to `copies.leaks`.
    """
    other = catalogue_of(test)
    equal = {text.strip() for text in catalogue.texts}
    numbers = [n for n, text in enumerate(other.texts) if text.strip() not in equal]
    of_test = sketches([other.texts[number] for number in numbers])
    is_copy = have_copy(of_test, sketches(catalogue.texts))
    crossing = [n for n, is_one in zip(numbers, is_copy, strict=True) if is_one]
    if crossing:
        yield Problem(
            "leaked_near_copies",
            "leakage between splits: texts of the test data are near-copies of training texts",
            len(crossing),
            "error",
            "Split with tastemaker.split, or remove them from one side.",
            other.places(_rows_of(other, crossing)),
            [excerpt(other.texts[number]) for number in crossing[:_SHOWN]],
        )
    prompts = set(catalogue.prompts)
    turns = {first_turn(prompt) for prompt in _prompts(catalogue).values()} - {""}
    crossing = []
    for number, prompt in _prompts(other).items():
        if first_turn(prompt) in turns and other.prompts[number] not in prompts:
            crossing.append(number)
    if crossing:
        yield Problem(
            "leaked_beginnings",
            "leakage between splits: conversations of the test data begin as training ones do",
            len(crossing),
            "warning",
            "Split with tastemaker.split, or remove them from one side.",
            other.places(np.flatnonzero(np.isin(other.prompt, crossing)).tolist()),
            [excerpt(other.prompts[number]) for number in crossing[:_SHOWN]],
        )


def folded(text: str) -> str:
    """Return a text in lower case, each run of white space as one space."""
    return " ".join(text.casefold().split())


def _difference(first: str, second: str) -> str:
    """Return two texts around the first character in which they differ."""
    first, second = " ".join(first.split()), " ".join(second.split())
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    place = sum(1 for _ in same)
    start = max(0, place - _BEFORE)
    sides = [excerpt(text[start : place + _AFTER]) for text in (first, second)]
    before = "…" if start else ""
    return " | ".join(before + side for side in sides)


def _rows_of(catalogue: Catalogue, texts: Sequence[int]) -> list[int]:
    """Return the first judgement about each text under each prompt."""
    chosen = set(texts)
    return [row for (_, text), row in catalogue.items.items() if text in chosen]


def _prompts(catalogue: Catalogue) -> dict[int, Prompt]:
    """Return the prompts by number, in order."""
    numbers, rows = np.unique(catalogue.prompt, return_index=True)
    prompts = {}
    for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
        prompt = catalogue.judgements[row].prompt
        if number != NOBODY and prompt is not None:
            prompts[number] = prompt
    return prompts
