"""What made a score: the effect of each word, or of each sentence, of a text.

A linear score is a sum over word n-grams, and so is the mean of an ensemble of them. An n-gram's
part is divided equally among its words and its places, so the effects add up to the score. Of any
other model, each part is left out in turn: its effect is the score that is lost without it. Such
effects need not add up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tastemaker.data.judgements import Example, joined
from tastemaker.data.values import SPACELESS
from tastemaker.errors import UsageError
from tastemaker.maths.statistics import Floats
from tastemaker.readable import notebook_html
from tastemaker.reward.backbones.ensembles import Ensemble
from tastemaker.reward.backbones.linear import (
    LinearBackbone,
    NgramNames,
    TokenNames,
    counts,
    features,
    tokens,
)
from tastemaker.reward.model import RewardModel

By = Literal["auto", "words", "sentences"]

_MOST_PARTS = 200
_NOTEBOOK_PARTS = 10
# a longer text is explained by its sentences
_MOST_WORDS = 60
_WORD = re.compile(rf"\s*(?:[{SPACELESS}]|[^\s{SPACELESS}]+)\s*")
_SENTENCE = re.compile(
    r"\S.*?(?:[.!?…]+(?=\s|$)|[。！？]+|\n|$)\s*", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text, and what it adds to the score."""

    text: str
    effect: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score and the effects of the parts of its text, in the text's order.

    is_exact: the effects add up to the score. Then the last part has an empty text;
    its effect is what no word contributes.
    """

    score: float
    parts: tuple[Part, ...]
    is_exact: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation, JSON-ready."""
        parts = []
        for part in self.parts:
            parts.append({"text": part.text, "effect": part.effect})
        return {"score": self.score, "parts": parts}

    def strongest(self, most: int) -> list[Part]:
        """Return the parts with the largest effects, the largest first."""
        parts = [part for part in self.parts if part.text]
        parts.sort(key=lambda part: -abs(part.effect))
        return parts[:most]

    def table(self, most: int = 20) -> str:
        """Return the score and its strongest parts as lines."""
        method = "effect: how much the score falls without the part"
        if self.is_exact:
            method = "exact: the effects of all words add up to the score"
        lines = [f"score {self.score:+.3f} ({method})"]
        for part in self.strongest(most):
            text = " ".join(part.text.split())
            lines.append(f"{part.effect:+9.3f}  {text}")
        for part in self.parts:
            if not part.text:
                lines.append(f"{part.effect:+9.3f}  (any text)")
        return "\n".join(lines)

    __str__ = table

    def _repr_html_(self) -> str:
        """Return the score and its strongest parts, for a notebook."""
        rows = [["effect", "part"]]
        for part in self.strongest(_NOTEBOOK_PARTS):
            rows.append([f"{part.effect:+.3f}", part.text])
        return notebook_html([f"score {self.score:+.3f}"], rows)


def explain(
    model: RewardModel,
    text: str | Example,
    *,
    prompt: str | None = None,
    by: By = "auto",
) -> Explanation:
    """Return which words or sentences made a score.

        print(tm.explain(taste, "The acting was brilliant, but the story was dull."))

    prompt: what the text answers. by: words or sentences; auto: the words of a linear model and of
    a short text. A linear model is always explained by words: exactly, and as it reads them.
    Raises DataError for an empty text and UsageError for another `by`.
    """
    if by not in ("auto", "words", "sentences"):
        raise UsageError(f"by {by!r}: choose auto, words or sentences.")
    example = text if isinstance(text, Example) else Example(text, prompt)
    score = float(model.score_all([example]).values[0])
    linear = _linear_models(model)
    is_exact = bool(linear) and by != "sentences"
    if is_exact:
        parts = _word_parts(linear, example, score)
    else:
        parts = _deletion_effects(model, example, score, by)
    return Explanation(score, parts, is_exact)


def _linear_models(model: RewardModel) -> list[LinearBackbone]:
    """Return the linear models whose mean is the score: one, or members; none of other models."""
    members: list[Any] = [model.backbone]
    # experts are weighted by the prompt, so theirs is no plain mean
    if type(model.backbone) is Ensemble:
        members = model.backbone.members
    are_linear = all(isinstance(one, LinearBackbone) for one in members)
    return members if are_linear else []


def _word_parts(
    members: Sequence[LinearBackbone], example: Example, score: float
) -> tuple[Part, ...]:
    """Return the words of a text with their effects on a linear score, and the rest of it."""
    text = joined(example, members[0].template)
    by_member = [word_effects(member, text) for member in members]
    effects = np.mean(by_member, axis=0).tolist()
    rest = score - sum(effects)
    words = [*tokens(text), ""]
    return tuple(map(Part, words, [*effects, rest]))


def word_effects(backbone: LinearBackbone, text: str) -> Floats:
    """Return what each token of a text adds to its score [tokens]."""
    settings = backbone.settings
    token_names = TokenNames.of([text])
    occurrences = counts(
        token_names, settings.ngrams, backbone.names, repeats=settings.repeats
    )
    weights = backbone.weights.astype(np.float64)
    row = features(occurrences, settings, backbone.scales.astype(np.float64))
    share = np.zeros(len(weights))
    of_feature = row.data * weights[row.indices]
    share[row.indices] = of_feature / occurrences.data
    effects = np.zeros(len(token_names.names))
    if not len(weights):
        return effects
    for n in range(1, settings.ngrams + 1):
        names = _ngrams_of(token_names, n)
        column = np.searchsorted(backbone.names, names)
        column = np.minimum(column, len(weights) - 1)
        is_counted = backbone.names[column] == names
        part = share[column] * is_counted / n
        for place in range(n):
            effects[place : place + len(part)] += part
    return effects


def _ngrams_of(token_names: TokenNames, n: int) -> NgramNames:
    """Return the names of the n-grams of one text, in its order."""
    names, _ = token_names.ngrams(n)
    if n == 1:
        return names
    # those of fewer tokens come first
    shorter, _ = token_names.ngrams(n - 1)
    return names[len(shorter) :]


def _deletion_effects(
    model: RewardModel, example: Example, score: float, by: By
) -> tuple[Part, ...]:
    """Return the parts of a text. An effect is the score minus the score without the part."""
    pieces = pieces_of(example.text, by)
    without = without_each(example, pieces)
    if not without:
        # without it there is no text, and the mean text scores 0
        return (Part(example.text, score),)
    effects = score - model.score_all(without).values
    return tuple(map(Part, pieces, effects.tolist()))


def without_each(example: Example, pieces: Sequence[str]) -> list[Example]:
    """Return an example without each of its pieces in turn; none where no text would remain."""
    if len(pieces) == 1 and example.prompt is None:
        return []
    examples = []
    for number in range(len(pieces)):
        rest = list(pieces)
        del rest[number]
        examples.append(Example("".join(rest), example.prompt))
    return examples


def pieces_of(text: str, by: By, most: int = _MOST_PARTS) -> list[str]:
    """Divide a text into words or sentences. Joined, the pieces give the text.

    most: how many pieces; in a longer text, neighbouring ones are joined.
    """
    words = _WORD.findall(text)
    sentences = _SENTENCE.findall(text)
    pieces = words
    if by == "sentences" or (by == "auto" and len(words) > _MOST_WORDS):
        pieces = sentences
    pieces = _with_leading_text(text, pieces)
    return _merged(pieces, most)


def _with_leading_text(text: str, pieces: Sequence[str]) -> list[str]:
    """Return the pieces; characters of the text before the first piece are added to it."""
    missing = len(text) - sum(len(piece) for piece in pieces)
    if not pieces or not missing:
        return list(pieces) or [text]
    return [text[:missing] + pieces[0], *pieces[1:]]


def _merged(pieces: list[str], most: int) -> list[str]:
    size = -(-len(pieces) // most)
    starts = range(0, len(pieces), size)
    return ["".join(pieces[start : start + size]) for start in starts]
