"""A problem of a data set: what, where, how often, how severe, and what to try."""

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""error: spoils a fit or its evaluation. warning: look at it before training. note: information."""

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem.

    name: a short fixed name for programs. what: one sentence.
    count: of rows, texts, pairs or judges, as `what` says.
    where: the first few places (`file:row`). advice: what to try.
    examples: a few texts or messages, one a line.
    """

    name: str
    what: str
    count: int
    severity: Severity
    advice: str
    where: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the problem for JSON."""
        return asdict(self)


def ranked(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems, worst first: by severity, then by count."""

    def key(problem: Problem) -> tuple[int, int, str]:
        return _SEVERITIES.index(problem.severity), -problem.count, problem.name

    return sorted(problems, key=key)


def excerpt(text: str) -> str:
    """Return the beginning of a text as one line that is safe in a terminal."""
    start = " ".join(text[: 4 * _SHOWN_CHARACTERS].split())
    if len(start) > _SHOWN_CHARACTERS or len(text) > 4 * _SHOWN_CHARACTERS:
        start = start[:_SHOWN_CHARACTERS].rstrip() + " …"
    return "".join(
        "\ufffd" if unicodedata.category(c) in {"Cc", "Cs", "Cf"} else c for c in start
    )
