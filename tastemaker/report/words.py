"""The first screen's sentences in English and Chinese; `words.json` holds them.

A report stores the names of these sentences and the values in them: the same run is shown in either
language. Sentences that other packages write are stored in English (`translation.py`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tastemaker.errors import UsageError
from tastemaker.report.translation import translated

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
