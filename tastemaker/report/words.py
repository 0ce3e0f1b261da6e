"""The fixed words of the report in English and Chinese; `words.json` holds them.

A report stores the names of its sentences and the values in them, not the sentences: the same run
is shown in either language.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tastemaker.errors import UsageError

LANGUAGES = ("en", "zh")


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

    sentences: by name and language. kinds_zh: the kinds of judgements in Chinese. panels_zh: titles
    and captions of figures by name; the English ones come with the figures. templates_zh: headings
    and notes of the templates by their English text.
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
    """Return a sentence with its values."""
    return text(language, sentence.name, **sentence.values)


def kind_zh(kind: str) -> str:
    """Return the Chinese name of a kind of judgement; an unknown kind as it is."""
    return str(_catalogue()["kinds_zh"].get(kind, kind))


def tile_title(language: str, title: str) -> str:
    """Return the title of a figure of the first screen; one that is not in the catalogue as is."""
    words = _catalogue()["sentences"].get(title)
    return title if words is None else str(words[language])


def panel_words(language: str, panel: Mapping[str, Any]) -> dict[str, str]:
    """Return title and caption of a stored panel; in English if there is no translation."""
    english = {"title": str(panel["title"]), "caption": str(panel["caption"])}
    if language == "en":
        return english
    translated: dict[str, str] = _catalogue()["panels_zh"].get(
        str(panel.get("name")), english
    )
    return translated


def template_text(language: str, english: str) -> str:
    """Return a heading or note of a template in a language."""
    if language == "en":
        return english
    return str(_catalogue()["templates_zh"].get(english, english))
