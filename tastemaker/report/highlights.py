"""Marks in samples before and after steering: the words that moved the score, or that differ.

A word's effect is the score that is lost without it. It is measured only where the reward costs
little to ask, a linear model in its folder, and only where that model still gives the stored
scores. Other samples get a mark on words that the other text lacks.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.errors import TastemakerError
from tastemaker.reward.explain import pieces_of, without_each
from tastemaker.reward.model import RewardModel

Piece = tuple[str, str]
"""A piece of a text, and its mark: "up", "down", "new" or ""."""

Scores = Callable[[Sequence[Example]], Sequence[float]]

EFFECTS, DIFFERENCES = "effects", "differences"
"""What the marks of a run mean."""

_CONTRACT, _LINEAR = "tastemaker.json", "linear.safetensors"
_NEAR = 1e-3  # of a stored score
_LEAST = 0.25  # of the largest effect in a run; weaker ones get no mark
_WORD = re.compile(r"\w+")


def marked(
    samples: Sequence[Mapping[str, Any]], reward: Any
) -> tuple[str, list[tuple[list[Piece], list[Piece]]]]:
    """Return what the marks mean, and for each sample the pieces of its text before and after.

    reward: the spec that the run was steered by, from its settings.
    """
    score = _cheap(reward)
    if score is not None:
        pieces = _by_effect(samples, score)
        if pieces is not None:
            return EFFECTS, pieces
    differing = []
    for sample in samples:
        before, after = str(sample["before"]), str(sample["after"])
        differing.append((_new_in(before, after), _new_in(after, before)))
    return DIFFERENCES, differing


def _cheap(reward: Any) -> Scores | None:
    """Return what scores texts at once, or None. Nothing else that a spec names is run."""
    if isinstance(reward, list | tuple) and len(reward) == 1:
        reward = reward[0]
    if not isinstance(reward, str):
        return None
    folder = Path(reward)
    if not (folder / _CONTRACT).is_file() or not (folder / _LINEAR).is_file():
        return None
    try:
        model = RewardModel.load(folder)
    except TastemakerError:
        return None
    return lambda examples: model.score_all(examples).values.tolist()


def _by_effect(
    samples: Sequence[Mapping[str, Any]], score: Scores
) -> list[tuple[list[Piece], list[Piece]]] | None:
    """Return the pieces with the words that moved the score; None where the reward has changed."""
    texts = []
    for sample in samples:
        prompt = str(sample["prompt"]) or None
        for side in ("before", "after"):
            text = str(sample[side])
            stored = sample[f"score_{side}"]
            if not text.strip() or not isinstance(stored, int | float):
                return None
            example = Example(text, prompt)
            if not math.isclose(score([example])[0], stored, abs_tol=_NEAR):
                return None
            texts.append((example, stored))
    effects = [_effects(example, stored, score) for example, stored in texts]
    sizes = [abs(effect) for of_text in effects for _, effect in of_text]
    least = _LEAST * max(sizes, default=0.0)
    rows = []
    for of_text in effects:
        rows.append([(text, _look(effect, least)) for text, effect in of_text])
    return list(zip(rows[::2], rows[1::2], strict=True))


def _effects(
    example: Example, stored: float, score: Scores
) -> list[tuple[str, float]]:
    """Return the pieces of a text, each with the score that is lost without it."""
    pieces = pieces_of(example.text, "auto")
    without = without_each(example, pieces)
    if not without:
        return [(example.text, stored)]
    is_empty = [not other.text.strip() for other in without]
    if any(is_empty):
        return [(example.text, stored)]
    scores = score(without)
    return [
        (piece, stored - rest)
        for piece, rest in zip(pieces, scores, strict=True)
    ]


def _look(effect: float, least: float) -> str:
    if abs(effect) < least or not effect:
        return ""
    return "up" if effect > 0 else "down"


def _new_in(text: str, other: str) -> list[Piece]:
    """Return the pieces of a text, with a mark on words that another text lacks."""
    words = set(_WORD.findall(other.lower()))
    pieces: list[Piece] = []
    for piece in pieces_of(text, "words") if text else []:
        own = _WORD.findall(piece.lower())
        is_new = bool(own) and not words.issuperset(own)
        pieces.append((piece, "new" if is_new else ""))
    return pieces
