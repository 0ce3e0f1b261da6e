"""What words mean in the playground: kinds of words, the parts they play in a judgement, and how text falls into words.

A language is two tables, `WORDS` and `RULES` (see `playground/english.py`). `WORDS` maps "kind group" to
{value: "word, word, two words"}. What a value means depends on the part that its kind plays: an opinion is worth −1
(dreadful) … 1 (superb), a thing that can be praised has a weight, a modifier (`very`, `not`) multiplies the opinion
after it, and everything else is worth nothing. A group (`plot`, `sound` …) ties opinions to the things that they suit;
`any` suits all. `kind+` and `kind-` stand beside good or bad words only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

Table = Mapping[str, Mapping[float, str]]

OPINIONS = frozenset(
    {
        "gradable",
        "extreme",
        "quality",
        "enjoyed",
        "enjoy",
        "enjoys",
        "fared",
        "fare",
        "verdict",
        "advice",
    }
    | {"esteem", "remainder", "feeling", "fixed"}
)
THINGS = frozenset({"thing", "things", "whole"})
MODIFIERS = frozenset(
    {
        "degree",
        "fervour",
        "soften",
        "boost",
        "not",
        "far",
        "never",
        "wasnt",
        "werent",
        "didnt",
        "nothing",
        "something",
    }
    | {"call", "amount", "full", "free", "lacking", "hadno", "lacked", "negate"}
)
TURNS = frozenset({"but", "however"})
CONCESSIONS = frozenset({"although", "despite"})
DETAILS = frozenset({"weekday", "weather", "company", "venue", "place", "person", "deed", "aside"})


@dataclass(frozen=True, slots=True)
class Word:
    """A word or set phrase. `sign`: +1 or −1 where it is used beside good or bad words only, else 0."""

    text: str
    kind: str
    group: str = "any"
    value: float = 0.0
    sign: int = 0


def units(text: str) -> list[str]:
    """Split lower-cased text into what words are made of: English words, single Chinese characters, single marks."""
    return _UNIT.findall(text.lower().translate(_MARKS))


_MARKS = str.maketrans("，。！？：’", ",.!?:'")
_UNIT = re.compile(r"[a-z]+(?:['-][a-z]+)*|\S")


def words_of(table: Table) -> list[Word]:
    """Return the words of a table, in its order."""
    found = []
    for key, row in table.items():
        name, _, group = key.partition(" ")
        kind = name.rstrip("+-")
        for value, texts in row.items():
            sign = (
                (value > 0) - (value < 0) if kind in OPINIONS else name.count("+") - name.count("-")
            )
            found += [
                Word(text.strip(), kind, group or "any", value, sign) for text in texts.split(",")
            ]
    return found
