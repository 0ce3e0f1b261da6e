"""The words of the playground: their kinds, their values, and how a text is divided into words.

A language is a file, `english.yaml` or `chinese.yaml`, with `words` and `rules`. `words` maps
"kind group" to {value: "word, word, two words"}. What a value means depends on the kind: an opinion
is worth −1 (dreadful) … 1 (superb), a thing that can be praised has a weight, a modifier (`very`,
`not`) multiplies the opinion after it, and all other words are worth 0. A group (`plot`, `sound` …)
ties opinions to the things that they suit; `any` suits all. Words of `kind+` and `kind-` stand
beside good or bad words only.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

_OPINIONS = (
    "gradable extreme quality enjoyed enjoy enjoys fared fare verdict advice esteem remainder "
    "feeling fixed"
)
_MODIFIERS = (
    "degree fervour soften boost not far never wasnt werent didnt nothing something call amount "
    "full free lacking hadno lacked negate"
)
_DETAILS = "weekday weather company venue place person deed aside"

OPINIONS = frozenset(_OPINIONS.split())
MODIFIERS = frozenset(_MODIFIERS.split())
DETAILS = frozenset(_DETAILS.split())
THINGS = frozenset({"thing", "things", "whole"})
TURNS = frozenset({"but", "however"})
CONCESSIONS = frozenset({"although", "despite"})

_MARKS = str.maketrans("，。！？：’", ",.!?:'")
_UNIT = re.compile(r"[a-z]+(?:['-][a-z]+)*|\S")


@dataclass(frozen=True, slots=True)
class Word:
    """A word or set phrase. sign: +1 or −1 where it stands beside good or bad words only."""

    text: str
    kind: str
    group: str = "any"
    value: float = 0.0
    sign: int = 0


def units(text: str) -> list[str]:
    """Return the lower-cased text in units: English words, Chinese characters, single marks."""
    return _UNIT.findall(text.lower().translate(_MARKS))


def load_language(name: str) -> tuple[list[Word], str]:
    """Return the words of a language, in the order of its file, and its rules."""
    text = Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8")
    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # the one in C takes 3 ms, not 60
    tables = yaml.load(text, loader)
    words: list[Word] = []
    for key, row in tables["words"].items():
        for value, texts in row.items():
            assert isinstance(value, float), (
                f"{name}.yaml: {key}: {value!r} is no number"
            )
            words += [_word(key, value, text.strip()) for text in texts.split(",")]
    return words, tables["rules"]


def _word(key: str, value: float, text: str) -> Word:
    """Return a word of the table row "kind group"."""
    name, _, group = key.partition(" ")
    kind = name.rstrip("+-")
    sign = name.count("+") - name.count("-")
    if kind in OPINIONS:
        sign = (value > 0) - (value < 0)
    return Word(text, kind, group or "any", value, sign)
