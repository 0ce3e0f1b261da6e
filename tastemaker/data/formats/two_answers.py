"""Formats of two answers, or two whole conversations, and which is better.

HelpSteer2-preference, AlpacaFarm, PKU-SafeRLHF, CValues, Stack Exchange paired, Prometheus's and
Argilla's pairs; LMArena's newer files and MT-bench.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tastemaker.data.chats import (
    completion_from,
    divided,
    is_messages,
    messages_of,
    prompt_from,
)
from tastemaker.data.formats import Format, instruction_of, register_format
from tastemaker.data.formats.pairs import comparison
from tastemaker.data.judgements import Comparison, Judgement, Message
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import (
    bad_cell,
    number_of,
    whole_of,
    word_of,
)

# ---- arenas --------------------------------------------------------------------------------------


_SIDES = ("conversation_a", "conversation_b")
_LEADS = {
    "model_a": 1.0,
    "a": 1.0,
    "model_b": -1.0,
    "b": -1.0,
    "tie": 0.0,
    "tie (bothbad)": 0.0,
    "tie (bothgood)": 0.0,
    "both_bad": 0.0,
    "bothbad": 0.0,
    "both_good": 0.0,
    "tie (inconsistent)": 0.0,
}
"""By how much the conversation a is better, by the winner's name."""


def _first_turns(
    turns: tuple[Message, ...], count: int | None
) -> tuple[Message, ...]:
    """Return a conversation up to the answer of a number; all of it for None."""
    answers = 0
    for place, turn in enumerate(turns, 1):
        if turn.role == "assistant":
            answers += 1
        if answers == count:
            return turns[:place]
    return turns


def _number_of_answers(row: Row, where: str) -> int | None:
    """Return how many answers were judged, where MT-bench's column `turn` says so."""
    turn: Any = row.get("turn")
    return None if turn is None else whole_of(turn, where, "turn")


def _conversations(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    winner = word_of(row["winner"])
    if winner not in _LEADS:
        winners = ", ".join(_LEADS)
        problem = f"; the winners are {winners}."
        raise bad_cell(row["winner"], where, "winner", problem)
    count = _number_of_answers(row, where)
    dialogues = []
    for side in _SIDES:
        turns = messages_of(row[side], where, side)
        dialogues.append(_first_turns(turns, count))
    prompt, first, second = divided(dialogues[0], dialogues[1], where)
    lead = _LEADS[winner]
    return comparison(first, second, lead, prompt, metadata, has_margin=False)


register_format(
    Format(
        "conversations",
        (*_SIDES, "winner"),
        _conversations,
        (Comparison,),
        optional=("turn",),
        judging=("winner",),
        matches=lambda row: all(is_messages(row[side]) for side in _SIDES),
        excludes_others=True,
    )
)


# ---- two answers ---------------------------------------------------------------------------------


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
