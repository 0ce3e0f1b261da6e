"""One thing that is wrong with a data set: what, where, how often, how bad, and what to try."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""error: a fit or its measurement would be wrong. warning: look at it before training. note: good to know."""

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    name: a short fixed name for programs. what: one sentence. count: how many rows, texts, pairs or judges, as `what`
    says. where: the first few places (`file:row`). advice: what to try. examples: a few texts or messages, one a line.
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
        return {
            "name": self.name,
            "severity": self.severity,
            "what": self.what,
            "where": list(self.where),
            "count": self.count,
            "examples": list(self.examples),
            "advice": self.advice,
        }


def ranked(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems, worst first: by severity, then by how often."""
    return sorted(
        problems, key=lambda found: (_SEVERITIES.index(found.severity), -found.count, found.name)
    )
