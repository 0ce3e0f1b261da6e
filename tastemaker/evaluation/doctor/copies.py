"""What is there more than once: repeated judgements, copies of texts, identical pairs, leakage between splits."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from tastemaker.data.judgements import Comparison, Judgement, Ranking
from tastemaker.evaluation.doctor.catalogue import Catalogue, catalogue_of, kind_of
from tastemaker.evaluation.doctor.problems import Problem

_SHOWN_TEXTS = 3
_SHOWN_CHARACTERS = 120


def excerpt(text: str) -> str:
    """Return the beginning of a text as one line without control characters."""
    start = " ".join(text[: 4 * _SHOWN_CHARACTERS].split())
    if len(start) > _SHOWN_CHARACTERS or len(text) > 4 * _SHOWN_CHARACTERS:
        start = start[:_SHOWN_CHARACTERS].rstrip() + " …"
    return "".join("\ufffd" if unicodedata.category(c) in {"Cc", "Cs", "Cf"} else c for c in start)


def copies(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what is repeated within the data."""
    yield from _repeated_judgements(catalogue)
    identical = [row for row, judgement in enumerate(catalogue.judgements) if _has_twins(judgement.texts)]
    yield from _identical_pairs(catalogue, identical)
    yield from _near_copies(catalogue, identical)


def _repeated_judgements(catalogue: Catalogue) -> Iterator[Problem]:
    seen: set[tuple[Any, ...]] = set()
    rows = []
    for row, judgement in enumerate(catalogue.judgements):
        key = (int(catalogue.prompt[row]), int(catalogue.judge[row]), *_verdict(judgement, catalogue.of[row]))
        if key in seen:
            rows.append(row)
        seen.add(key)
    if rows:
        yield Problem(
            "duplicate_judgements",
            "duplicate judgements: the same judge says the same of the same texts again",
            len(rows),
            "warning",
            "Remove the repeats, or they count twice.",
            catalogue.places(rows),
        )


def _verdict(judgement: Judgement, texts: tuple[int, ...]) -> tuple[Any, ...]:
    """Return kind, texts and verdict as something that is equal where they are."""
    if isinstance(judgement, Comparison):
        pair: Any = frozenset(texts) if judgement.tie else texts
        return ("comparison", pair, judgement.margin, judgement.tie)
    if isinstance(judgement, Ranking):
        tiers: list[set[int]] = [set() for _ in range(len(judgement.tiers) + 1)]
        for text, rank in zip(texts, judgement.ranks, strict=True):
            tiers[rank].add(text)
        return ("ranking", tuple(frozenset(tier) for tier in tiers))
    fields = ("positive", "grade", "lowest", "highest", "rating")
    return (kind_of(judgement), texts, *(getattr(judgement, name) for name in fields if hasattr(judgement, name)))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _has_twins(texts: tuple[str, ...]) -> bool:
    return len(texts) > 1 and len({_folded(text) for text in texts}) < len(texts)


def _identical_pairs(catalogue: Catalogue, rows: list[int]) -> Iterator[Problem]:
    if rows:
        yield Problem(
            "identical_pairs",
            "identical pairs: two texts judged against each other differ at most in white space and case",
            len(rows),
            "warning",
            "Remove them: there was nothing to choose between.",
            catalogue.places(rows),
            [excerpt(catalogue.judgements[row].texts[0]) for row in rows[:_SHOWN_TEXTS]],
        )


def _near_copies(catalogue: Catalogue, identical: list[int]) -> Iterator[Problem]:
    """Texts (under their prompts) that are another text but for white space and case; identical pairs are left out."""
    prompts = [_folded(prompt) for prompt in catalogue.prompts]
    texts = [_folded(text) for text in catalogue.texts]
    known = {(int(catalogue.prompt[row]), text) for row in identical for text in catalogue.of[row]}
    alike: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for prompt, text in catalogue.items:
        alike.setdefault((prompts[prompt] if prompt >= 0 else "", texts[text]), []).append((prompt, text))
    repeated = []
    for items in alike.values():
        if len(items) > 1:
            new = sorted((catalogue.items[item], item[1]) for item in items if item not in known)
            repeated += new if len(new) < len(items) else new[1:]
    if repeated:
        yield Problem(
            "near_duplicate_texts",
            "duplicate texts: equal to another text but for white space and case",
            len(repeated),
            "warning",
            "Make them one text: they could end up on both sides of a split.",
            catalogue.places(row for row, _ in repeated),
            [excerpt(catalogue.texts[text]) for _, text in sorted(repeated)[:_SHOWN_TEXTS]],
        )


def leaks(catalogue: Catalogue, test: Sequence[Judgement]) -> Iterator[Problem]:
    """Yield the texts and prompts that the test judgements share with the others. Texts are compared exactly."""
    other = catalogue_of(test)
    texts = {text.strip() for text in catalogue.texts}
    shared = {number for number, text in enumerate(other.texts) if text.strip() in texts}
    if shared:
        rows = [row for row, found in enumerate(other.of) if not shared.isdisjoint(found)]
        yield Problem(
            "leaked_texts",
            "leakage between splits: texts of the test data that are in the training data too",
            len(shared),
            "error",
            "Split by text and prompt (tastemaker.split), or remove them from one side.",
            other.places(rows),
            [excerpt(other.texts[number]) for number in sorted(shared)[:_SHOWN_TEXTS]],
        )
    prompts = {prompt.strip() for prompt in catalogue.prompts}
    asked = {number for number, prompt in enumerate(other.prompts) if prompt.strip() in prompts}
    if asked:
        yield Problem(
            "leaked_prompts",
            "leakage between splits: prompts of the test data that are in the training data too",
            len(asked),
            "warning",
            "Split by prompt, never by pair (tastemaker.split); harmless where all texts share a few prompts.",
            other.places(row for row, prompt in enumerate(other.prompt.tolist()) if prompt in asked),
            [excerpt(other.prompts[number]) for number in sorted(asked)[:_SHOWN_TEXTS]],
        )
