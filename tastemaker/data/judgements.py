"""What people said about texts: frozen records, equal by value.

A judgement is evidence about the one latent score of its text. Issue by issue more kinds join; each is one record here
and one link in `models/links.py`. `where` says where the judgement came from (`reviews.csv:17`); it helps error
messages and takes no part in equality.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Example:
    """A text that can be scored, and the prompt it answers if there is one."""

    text: str
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """Somebody said of a text: yes or no ("this review is positive")."""

    text: str
    positive: bool
    prompt: str | None = None
    judge: str | None = None
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Grade:
    """Somebody chose a step of an ordered scale ("8 out of 10"): `lowest` ≤ `grade` ≤ `highest`."""

    text: str
    grade: int
    lowest: int = 1
    highest: int = 10
    prompt: str | None = None
    judge: str | None = None
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rating:
    """Somebody gave a number on a continuous scale ("7.35"); finite, any unit, higher is better."""

    text: str
    rating: float
    prompt: str | None = None
    judge: str | None = None
    where: str = field(default="", compare=False, repr=False)


Judgement = Label | Grade | Rating


def example_of(judgement: Judgement | Example) -> Example:
    """Return the text and prompt that a judgement is about."""
    return Example(judgement.text, judgement.prompt)
