"""Random film reviews, and distinct prompts that they may answer.

A review has a quality, a voice, and one to six sentences that agree with them. A prompt asks for a
review of an invented film.
"""

import random
from collections.abc import Iterator
from typing import Literal

from tastemaker.errors import UsageError
from tastemaker.playground.grammar import BLAME, GRAMMARS, MARKS, PRAISE, units

Language = Literal["en", "zh", "mixed"]

_VOICES = {
    "plain": (3, 2, 5),
    "terse": (1.5, 3, 6),
    "chatty": (2.5, 2, 5),
    "formal": (2, 1, 4),
}
"""Voice → its frequency, and its fewest and most sentences."""

_LENGTHS = {"en": (8, 60), "zh": (12, 100)}
"""The fewest and most words of a review; characters in Chinese."""

_SPREAD = 0.6
_DETAIL_SHARE = 0.12
_TURN_SHARE = 0.3


def _length(sentence: list[str]) -> int:
    return sum(len(units(word)) for word in sentence if word not in MARKS)


def _review(language: str, rng: random.Random) -> str | None:
    """Write one review; None if it contradicts itself.

    Its quality is the probability that a sentence of it praises.
    """
    grammar = GRAMMARS[language]
    shortest, longest = _LENGTHS[language]
    frequencies = [frequency for frequency, _, _ in _VOICES.values()]
    voice = rng.choices(list(_VOICES), frequencies)[0]
    _, fewest, most = _VOICES[voice]
    count = rng.randint(fewest, most)
    quality = rng.betavariate(_SPREAD, _SPREAD)
    detail_place = (
        rng.randrange(count) if rng.random() < _DETAIL_SHARE * count else -1
    )
    used: set[str] = set()
    sentences: list[list[str]] = []
    length = last_sign = 0
    while len(sentences) < count or (
        length < shortest and len(sentences) < most
    ):
        name = voice
        sign = PRAISE if rng.random() < quality else BLAME
        is_detail = len(sentences) == detail_place
        if is_detail:
            name = f"{voice}-detail"
        elif sign == -last_sign and rng.random() < _TURN_SHARE:
            name = f"{voice}-turn"
        sentence = grammar.sentence(name, sign, rng, used)
        length += _length(sentence)
        if sentences and length > longest:
            break
        sentences.append(sentence)
        if not is_detail:
            last_sign = sign
    return (
        None if grammar.contradicts_itself(used) else grammar.render(sentences)
    )


def reviews(n: int, *, language: Language = "en", seed: int = 0) -> list[str]:
    """Return n distinct reviews, the same for the same seed; a larger n begins with the same ones.

    language: "en", "zh", or "mixed" for either at random. Raises UsageError for another language
    or a negative n.
    """
    if language not in (*GRAMMARS, "mixed"):
        languages = ", ".join((*GRAMMARS, "mixed"))
        raise UsageError(
            f"the playground has no language {language!r}: choose one of {languages}"
        )
    if n < 0:
        raise UsageError(
            f"{n} reviews were asked of the playground: ask for 0 or more"
        )
    rng = random.Random(seed)
    distinct: dict[str, None] = {}
    while len(distinct) < n:
        chosen = (
            rng.choice(list(GRAMMARS)) if language == "mixed" else language
        )
        review = _review(chosen, rng)
        if review is not None:
            distinct[review] = None
    return list(distinct)


_REQUESTS = {
    "en": "Write a short review of {0} {1} ({2}).",
    "zh": "请为《{0}{1}》（{2}）写一段短评。",
}
_FIRST = {
    "en": "The Winter, The Glass, The Northern, The Seventh, The Paper, The Silver, The Distant, "
    "The Harbour, The Sunday, The Copper, The Painted, The Midnight, The Orchard, The River, "
    "The Borrowed",
    "zh": "冬日的, 玻璃, 北方的, 第七个, 纸上的, 银色, 远处的, 港口的, 星期天的, 铜色, "
    "彩色, 午夜的, 果园里的, 河边的, 借来的",
}
_SECOND = {
    "en": "Lighthouse, Train, Garden, Letter, Island, Piano, Staircase, Bridge, Postman, Harvest, "
    "Station, Window, Compass, Notebook, Ferry",
    "zh": "灯塔, 列车, 花园, 来信, 小岛, 钢琴, 楼梯, 大桥, 船长, 秋收, 车站, 窗户, 罗盘, 笔记本, "
    "渡船",
}
_YEARS = tuple(map(str, range(1950, 2025)))


def prompts(
    n: int, *, language: Language = "en", seed: int = 0
) -> Iterator[str]:
    """Yield n distinct prompts, the same for the same seed; a larger n begins with the same ones.

    Their words are worth nothing to the gold score. Raises UsageError for more prompts than there
    are.
    """
    languages = tuple(_REQUESTS) if language == "mixed" else (language,)
    words = {}
    most = 0
    for name in languages:
        first, second = _FIRST[name].split(", "), _SECOND[name].split(", ")
        words[name] = (first, second)
        most += len(first) * len(second) * len(_YEARS)
    if n > most:
        raise UsageError(
            f"{n} different prompts were asked of the playground, which has {most}: "
            "leave prompts out"
        )
    rng = random.Random(f"prompts {seed}")
    distinct: set[str] = set()
    while len(distinct) < n:
        name = rng.choice(languages)
        first, second = words[name]
        title = rng.choice(first), rng.choice(second)
        prompt = _REQUESTS[name].format(*title, rng.choice(_YEARS))
        if prompt not in distinct:
            distinct.add(prompt)
            yield prompt
