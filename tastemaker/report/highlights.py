"""Marks in samples before and after steering: the words that moved the score, or that differ.

A word's effect is the score that is lost without it. It is measured only where the reward costs
little to ask, a linear model in its folder, and only where that model still gives the stored
scores. Other samples get a mark on words that the other text lacks.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.data.values import SPACELESS
from tastemaker.errors import TastemakerError
from tastemaker.reward.explain import pieces_of, without_each
from tastemaker.reward.model import RewardModel

Piece = tuple[str, str]
"""A piece of a text, and its mark: "up", "down", "new" or ""."""

Pieces = list[Piece]
Effects = list[tuple[str, float]]
Sample = Mapping[str, Any]

EFFECTS, DIFFERENCES = "effects", "differences"
"""What the marks of a run mean."""

_CONTRACT, _LINEAR = "tastemaker.json", "linear.safetensors"
_NEAR = 1e-3  # of a stored score
_LEAST = 0.25  # of the largest effect in a run; weaker ones get no mark
_WORD = re.compile(rf"[^\W{SPACELESS}]+|[{SPACELESS}]")


def marked(
    samples: Sequence[Sample], reward: Any
) -> tuple[str, list[tuple[Pieces, Pieces]]]:
    """Return what the marks mean, and for each sample the pieces of its text before and after.

    reward: the spec that the run was steered by, from its settings.
    """
    model = _linear_model(reward)
    befores = None
    afters = None
    if model is not None:
        befores = _by_effect(samples, "before", model)
        afters = _by_effect(samples, "after", model)
    if befores is not None and afters is not None:
        return EFFECTS, list(zip(befores, afters, strict=True))
    differing = []
    for sample in samples:
        before = str(sample["before"])
        after = str(sample["after"])
        pieces = _new_in(before, after), _new_in(after, before)
        differing.append(pieces)
    return DIFFERENCES, differing


def _linear_model(reward: Any) -> RewardModel | None:
    """Return the linear model that a spec names; nothing else that it may name is run."""
    if not isinstance(reward, str):
        return None
    folder = Path(reward)
    if not (folder / _CONTRACT).is_file():
        return None
    if not (folder / _LINEAR).is_file():
        return None
    try:
        return RewardModel.load(folder)
    except TastemakerError:
        return None


def _by_effect(
    samples: Sequence[Sample], side: str, model: RewardModel
) -> list[Pieces] | None:
    """Return the texts of one side with marks on the words that moved the score.

    None where the model does not give the stored scores: it was fitted again.
    """
    effects: list[Effects] = []
    strongest = 0.0
    for sample in samples:
        of_text = _effects(sample, side, model)
        if of_text is None:
            return None
        effects.append(of_text)
        for _, effect in of_text:
            strongest = max(strongest, abs(effect))
    least = _LEAST * strongest
    rows = []
    for of_text in effects:
        pieces = []
        for piece, effect in of_text:
            pieces.append((piece, _look(effect, least)))
        rows.append(pieces)
    return rows


def _effects(sample: Sample, side: str, model: RewardModel) -> Effects | None:
    """Return the pieces of a text, each with the score that is lost without it."""
    text = str(sample[side])
    stored = sample[f"score_{side}"]
    if not text.strip() or not isinstance(stored, int | float):
        return None
    example = Example(text, str(sample["prompt"]) or None)
    score = float(model.score_all([example]).values[0])
    if not math.isclose(score, stored, abs_tol=_NEAR):
        return None
    pieces = pieces_of(text, "auto")
    without = without_each(example, pieces)
    for rest in without:
        if not rest.text.strip():
            without = []
    if not without:
        return [(text, score)]
    rests = model.score_all(without).values
    effects = (score - rests).tolist()
    return list(zip(pieces, effects, strict=True))


def _look(effect: float, least: float) -> str:
    if not effect or abs(effect) < least:
        return ""
    return "up" if effect > 0 else "down"


def _new_in(text: str, other: str) -> Pieces:
    """Return the pieces of a text, with a mark on words that another text lacks."""
    if not text:
        return []
    others = set(_WORD.findall(other.lower()))
    pieces = []
    for piece in pieces_of(text, "words"):
        words = set(_WORD.findall(piece.lower()))
        look = "new" if words - others else ""
        pieces.append((piece, look))
    return pieces
