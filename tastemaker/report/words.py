"""The sentences of a report in English and Chinese.

Those of the first screen are in `words.json`. A report stores their names and the values in them:
the same run is shown in either language.

Other sentences are stored in English, as the packages that measure them write them. `phrases.json`
pairs each one with its Chinese, with names for the values in it. So every stored run, also one of
an older version, is shown in either language, and texts of the data stay as they are: only the
fields that hold our own sentences are looked up.

The first letter of a value's name says what it is: n a number, f a figure that may have an
interval, i an interval, r a range, k a kind of judgement, l a list, u a text of the user; any other
one is a sentence or a name of ours, which is looked up too.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from tastemaker.errors import UsageError

LANGUAGES = ("en", "zh")
_SENTENCES = {"problem", "advice", "verdict"}
"""Values that are sentences themselves."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of the report: its name in the catalogue, and its values."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {"name": self.name, "values": dict(self.values)}


@cache
def _catalogue() -> dict[str, Any]:
    """Return the catalogue.

    sentences: by name and language. kinds_zh: the kinds of judgements in Chinese.
    """
    path = Path(__file__).with_name("words.json")
    catalogue: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return catalogue


def check_language(language: str) -> None:
    """Raise UsageError for a language that reports are not written in."""
    if language not in LANGUAGES:
        raise UsageError(
            f"the report has no language {language!r}; it has {', '.join(LANGUAGES)}."
        )


def text(language: str, name: str, **values: Any) -> str:
    """Return a sentence of the catalogue in a language. Raises KeyError for an unknown name."""
    sentence: str = _catalogue()["sentences"][name][language]
    return sentence.format(**values)


def sentence_text(language: str, sentence: Sentence) -> str:
    """Return a sentence with its values, those that are sentences of ours in the language too."""
    values = dict(sentence.values)
    if language == "zh":
        for name in _SENTENCES & values.keys():
            values[name] = translated(str(values[name]))
    return text(language, sentence.name, **values)


def kind_zh(kind: str) -> str:
    """Return the Chinese name of a kind of judgement; an unknown kind as it is."""
    return str(_catalogue()["kinds_zh"].get(kind, kind))


def tile_title(language: str, title: str) -> str:
    """Return the title of a figure of the first screen; one that is not in the catalogue as is."""
    words = _catalogue()["sentences"].get(title)
    if words is not None:
        return str(words[language])
    return translated(title) if language == "zh" else title


_NUMBER = r"[+\-−]?(?:\d[\d.,]*(?:e[+\-]?\d+)? ?%?|nan|inf)"
_FORMS = {
    "n": _NUMBER,
    "f": rf"(?:{_NUMBER}|–)(?: \[[^\]]*\])?",
    "i": r"\[[^\]]*\](?:, p [<=] [\d.]+)?",
    "r": rf"{_NUMBER}–{_NUMBER}",
    "k": "label|grade|rating|comparison|ranking",
}
_PLACE = re.compile(r"\{(\w+)\}")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?]) (?=[A-Zα“\"])")
_ITEMS = re.compile(r", (?![^\[]*\])| and ")
_SVG_TEXT = re.compile(r"(<text\b[^>]*>)([^<]+)(</text>)")
_CACHED = 4096
_LONGEST = 2000  # characters; none of our sentences is longer
Groups = Mapping[str, Mapping[str, str]]
NAMES = "names"
"""The group of phrases that stand among names of the user: of judges, of runs."""


@dataclass(frozen=True)
class _Pattern:
    """A phrase with values: what it matches, and what to write."""

    form: re.Pattern[str]
    chinese: str


@cache
def phrases() -> Groups:
    """Return the Chinese of every phrase, by group and by its English."""
    path = Path(__file__).with_name("phrases.json")
    text = path.read_text(encoding="utf-8")
    groups: Groups = json.loads(text)
    return groups


@cache
def _fixed() -> dict[str, str]:
    """Return the phrases of all groups, by their English."""
    merged: dict[str, str] = {}
    for group in phrases().values():
        merged |= group
    return merged


@cache
def _patterns(group: str | None) -> list[_Pattern]:
    """Return the phrases with values, those with the most fixed letters first."""
    pairs = _fixed() if group is None else phrases()[group]
    with_values = [english for english in pairs if "{" in english]
    with_values.sort(key=lambda english: -len(_PLACE.sub("", english)))
    patterns = []
    for english in with_values:
        patterns.append(_Pattern(re.compile(_form(english)), pairs[english]))
    return patterns


def _form(english: str) -> str:
    """Return the regular expression of a phrase."""
    pieces = _PLACE.split(english)
    for i in range(0, len(pieces), 2):
        pieces[i] = re.escape(pieces[i])
    for i in range(1, len(pieces), 2):
        name = pieces[i]
        pieces[i] = f"(?P<{name}>{_FORMS.get(name[0], '.+?')})"
    return f"(?s){''.join(pieces)}"


def translated(english: str) -> str:
    """Return a sentence of ours in Chinese; what is not in the catalogue as it is."""
    return _translated(english) or english


def translated_name(name: str) -> str:
    """Return what stands among the user's names: "3 others" in Chinese, a name as it is."""
    return phrases()[NAMES].get(name) or _by_pattern(name, group=NAMES) or name


@lru_cache(_CACHED)
def _translated(english: str) -> str | None:
    """Return the Chinese; None for what is not in the catalogue."""
    if len(english) > _LONGEST:
        return None
    if not re.search("[A-Za-z]", english):
        return english
    if english in _fixed():
        return _fixed()[english]
    chinese = _joined(_SENTENCE_ENDS.split(english), "")
    if chinese is not None:
        return chinese
    if english.endswith("."):
        clauses = english[:-1].split("; ")
        chinese = _joined(clauses, "；")
    if chinese is not None:
        return f"{chinese}。"
    return _by_pattern(english)


def _joined(pieces: list[str], joint: str) -> str | None:
    """Return pieces in Chinese; None for one alone, and where one is not in the catalogue."""
    if len(pieces) < 2:
        return None
    chinese = []
    for piece in pieces:
        words = _translated(piece)
        if words is None:
            return None
        chinese.append(words)
    return joint.join(chinese)


def _by_pattern(english: str, *, group: str | None = None) -> str | None:
    """Return the Chinese of a phrase with values; the values, too, must be in the catalogue."""
    for pattern in _patterns(group):
        match = pattern.form.fullmatch(english)
        if match is None:
            continue
        values = {}
        for name, english_value in match.groupdict().items():
            values[name] = _value(name, english_value)
        if None in values.values():
            continue
        return pattern.chinese.format(**values)
    return None


def _value(name: str, value: str) -> str | None:
    """Return a value of a phrase in Chinese; None for what must be in the catalogue and is not."""
    if name[0] == "u":
        return value
    if name[0] in _FORMS and name[0] != "k":
        return value
    if name[0] == "l":
        several = _joined(_ITEMS.split(value), "、")
        if several is not None:
            return several
    return _translated(value)


def svg_with(svg: str, translate: Callable[[str], str]) -> str:
    """Return a figure with its texts translated."""

    def replaced(match: re.Match[str]) -> str:
        words = translate(html.unescape(match[2]).strip())
        return f"{match[1]}{html.escape(words, quote=False)}{match[3]}"

    return _SVG_TEXT.sub(replaced, svg)
