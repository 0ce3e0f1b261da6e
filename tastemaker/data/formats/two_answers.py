"""Formats of two numbered answers and a number that says which is better.

HelpSteer2-preference, AlpacaFarm, PKU-SafeRLHF, CValues, Stack Exchange paired, Prometheus's and
Argilla's pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tastemaker.data.chats import completion_from, prompt_from
from tastemaker.data.formats import Format, instruction_of, register_format
from tastemaker.data.formats.pairs import comparison
from tastemaker.data.judgements import Comparison, Judgement
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import (
    bad_cell,
    number_of,
    whole_of,
    word_of,
)


@dataclass(frozen=True)
class _Numbered:
    """Reads rows with two answers and a column that says which is better.

    prompt, first, second, better: columns. lead: what `better` says → by how much the first is
    better.
    """

    prompt: str
    first: str
    second: str
    better: str
    lead: Callable[[Any, str, str], float]

    def read(self, row: Row, metadata: Metadata) -> list[Judgement]:
        """Return the comparison of a row."""
        where = metadata["where"]
        value = row[self.better]
        lead = self.lead(value, where, self.better)
        first = completion_from(row[self.first], where, self.first)
        second = completion_from(row[self.second], where, self.second)
        prompt = prompt_from(row.get(self.prompt), where, self.prompt)
        if self.prompt == "instruction":
            prompt = instruction_of(row, where)
        return comparison(
            first,
            second,
            lead,
            prompt,
            metadata,
            has_margin=self.lead is _strength,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of every row."""
        return (self.prompt, self.first, self.second, self.better)


def _first_or_second(
    number: int, value: Any, where: str, column: str
) -> float:
    """Return 1 where a value is the number of the first answer, −1 for that of the second.

    0 says that neither is better where the answers count from 1.
    """
    choice = whole_of(value, where, column)
    if choice == number:
        return 1.0
    if choice == number + 1:
        return -1.0
    if choice == 0:
        return 0.0
    problem = f"; {number} and {number + 1} say which answer is better."
    raise bad_cell(value, where, column, problem)


def _from_zero(value: Any, where: str, column: str) -> float:
    return _first_or_second(0, value, where, column)


def _from_one(value: Any, where: str, column: str) -> float:
    """Return the lead of the first; AlpacaEval also writes shares between 1 and 2."""
    number = number_of(value, where, column)
    if 1 < number < 2:
        return 1.5 - number
    return _first_or_second(1, value, where, column)


def _letter(value: Any, where: str, column: str) -> float:
    lead = {"a": 1.0, "b": -1.0, "tie": 0.0}.get(word_of(value) or "")
    if lead is None:
        raise bad_cell(
            value, where, column, "; A and B say which answer is better."
        )
    return lead


def _strength(value: Any, where: str, column: str) -> float:
    number = number_of(value, where, column)
    if abs(number) > 3:
        raise bad_cell(value, where, column, ", outside the scale of -3 to 3.")
    return -number


_HELPSTEER2 = _Numbered(
    "prompt", "response_1", "response_2", "preference_strength", _strength
)
_ALPACA_FARM = _Numbered(
    "instruction", "output_1", "output_2", "preference", _from_one
)
_LLMBAR = _Numbered("input", "output_1", "output_2", "label", _from_one)
_OFFSETBIAS = _Numbered(
    "instruction", "output_1", "output_2", "label", _from_one
)
_SAFE_RLHF = _Numbered(
    "prompt", "response_0", "response_1", "better_response_id", _from_zero
)
_PROMETHEUS = _Numbered(
    "orig_instruction",
    "orig_response_A",
    "orig_response_B",
    "orig_preference",
    _letter,
)


@dataclass(frozen=True)
class _Named:
    """Reads rows whose columns say by their names which answer is better."""

    prompt: str
    chosen: str
    rejected: str

    def read(self, row: Row, metadata: Metadata) -> list[Judgement]:
        """Return the comparison of a row."""
        where = metadata["where"]
        chosen = completion_from(row[self.chosen], where, self.chosen)
        rejected = completion_from(row[self.rejected], where, self.rejected)
        prompt = prompt_from(row[self.prompt], where, self.prompt)
        return [Comparison(chosen, rejected, prompt=prompt, **metadata)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of every row."""
        return (self.prompt, self.chosen, self.rejected)


_NAMED = {
    "stack-exchange-paired": _Named("question", "response_j", "response_k"),
    "argilla-pairs": _Named(
        "instruction", "chosen_response", "rejected_response"
    ),
    "cvalues": _Named("prompt", "pos_resp", "neg_resp"),
}

_NUMBERED = {
    "helpsteer2-preference": _HELPSTEER2,
    "alpaca-farm": _ALPACA_FARM,
    "llmbar": _LLMBAR,
    "offsetbias": _OFFSETBIAS,
    "prometheus-pairs": _PROMETHEUS,
    "safe-rlhf": _SAFE_RLHF,
}


def _register() -> None:
    for name, named in _NAMED.items():
        format = Format(
            name,
            named.columns,
            named.read,
            (Comparison,),
            excludes_others=True,
        )
        register_format(format)
    for name, numbered in _NUMBERED.items():
        format = Format(
            name,
            numbered.columns,
            numbered.read,
            (Comparison,),
            optional=("input",) if numbered.prompt == "instruction" else (),
            excludes_others=numbered is not _LLMBAR,
            judging=(numbered.better,),
            matches=_matches_llmbar if numbered is _LLMBAR else _always,
        )
        register_format(format)


def _always(row: Row) -> bool:
    return True


def _matches_llmbar(row: Row) -> bool:
    return row.get("instruction") is None


_register()
