"""Random film reviews of the playground: a quality, a voice, and one to six sentences that agree with them."""

import random
from typing import Literal

from tastemaker.data.lexicon import units
from tastemaker.data.playground.grammar import BLAME, GRAMMARS, MARKS, PRAISE
from tastemaker.errors import UsageError

Language = Literal["en", "zh", "mixed"]

_VOICES = {"plain": (3, 2, 5), "terse": (1.5, 3, 6), "chatty": (2.5, 2, 5), "formal": (2, 1, 4)}
"""Voice → how common it is, and its fewest and most sentences."""
_SPREAD = 0.6
_DETAIL_SHARE = 0.12
_TURN_SHARE = 0.3
_LENGTHS = {"en": (8, 60), "zh": (12, 100)}
"""The fewest and most words of a review; characters in Chinese."""


def _length(sentence: list[str]) -> int:
    return sum(len(units(word)) for word in sentence if word not in MARKS)


def _review(language: str, rng: random.Random) -> str | None:
    """Write one review, None if it contradicts itself. Its quality is how likely each of its sentences is to praise."""
    grammar, (shortest, longest) = GRAMMARS[language], _LENGTHS[language]
    voice = rng.choices(list(_VOICES), [common for common, _, _ in _VOICES.values()])[0]
    _, fewest, most = _VOICES[voice]
    wanted = rng.randint(fewest, most)
    quality = rng.betavariate(_SPREAD, _SPREAD)
    detail_at = rng.randrange(wanted) if rng.random() < _DETAIL_SHARE * wanted else -1
    used: set[str] = set()
    sentences: list[list[str]] = []
    length = last_sign = 0
    while len(sentences) < wanted or (length < shortest and len(sentences) < most):
        name, sign = voice, PRAISE if rng.random() < quality else BLAME
        if len(sentences) == detail_at:
            name = f"{voice}-detail"
        elif sign == -last_sign and rng.random() < _TURN_SHARE:
            name = f"{voice}-turn"
        sentence = grammar.sentence(name, sign, rng, used)
        length += _length(sentence)
        if sentences and length > longest:
            break
        sentences.append(sentence)
        last_sign = last_sign if name.endswith("-detail") else sign
    return None if grammar.contradicts_itself(used) else grammar.render(sentences)


def reviews(n: int, *, language: Language = "en", seed: int = 0) -> list[str]:
    """Return n distinct reviews, the same for the same seed; the first of more are the same as fewer.

    language: "en", "zh", or "mixed" for either at random. Raises UsageError for another language or a negative n.
    """
    if language not in (*GRAMMARS, "mixed"):
        raise UsageError(f"the playground has no language {language!r}: choose one of {', '.join(GRAMMARS)}, mixed")
    if n < 0:
        raise UsageError(f"{n} reviews were asked of the playground: ask for 0 or more")
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < n:
        review = _review(rng.choice(list(GRAMMARS)) if language == "mixed" else language, rng)
        if review is not None:
            found[review] = None
    return list(found)
