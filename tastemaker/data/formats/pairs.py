"""Formats of two compared texts: TRL, hh-rlhf, HelpSteer3, WebGPT, SHP, Arena, PandaLM."""

import json
import os.path
import re
from typing import Any

from tastemaker.data.chats import (
    completion_from,
    divided,
    is_message,
    is_messages,
    joined_prompt,
    message_of,
    messages_of,
    prompt_from,
)
from tastemaker.data.formats import (
    Format,
    instruction_of,
    list_of,
    register_format,
)
from tastemaker.data.judgements import Comparison, Judgement, Message, Prompt
from tastemaker.data.prompts import without_prompt
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import (
    answer_of,
    bad_cell,
    is_missing,
    number_of,
    show,
    text_of,
    whole_of,
    word_of,
)
from tastemaker.errors import DataError, SaysNothing

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"

HELPSTEER3_STRONGEST = 3
"""HelpSteer3's preference: from -3 (the first is much better) to 3 (the second is much better)."""

_SIDES = ("chosen", "rejected")
_WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")
_ANNOTATOR = re.compile(r"annotator\d+", re.ASCII)


def split_dialogues(
    chosen: str, rejected: str, where: str = "a row"
) -> tuple[str, str, str]:
    """Return (prompt, chosen completion, rejected completion) of two whole dialogues.

    The prompt is what the two share up to and with the last `\\n\\nAssistant:`. One space before a
    completion is dropped. Raises DataError for dialogues that share no Assistant turn.
    """
    shared = os.path.commonprefix([chosen, rejected])  # noqa: RUF071  characters, not folders
    start = shared.rfind(ASSISTANT)
    if start < 0:
        raise DataError(
            f"{where}: the two dialogues share no turn up to an '\\n\\nAssistant:', "
            "so there is no prompt."
        )
    end = start + len(ASSISTANT)
    return (
        shared[:end],
        chosen[end:].removeprefix(" "),
        rejected[end:].removeprefix(" "),
    )


# --- chosen and rejected: TRL and hh-rlhf


def _is_hh_dialogue(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return value.lstrip().startswith(HUMAN.lstrip()) and ASSISTANT in value


def _matches_hh(row: Row) -> bool:
    return row.get("prompt") is None and all(
        _is_hh_dialogue(row[side]) for side in _SIDES
    )


def _matches_trl(row: Row) -> bool:
    if all(is_messages(row[side]) or is_message(row[side]) for side in _SIDES):
        return True
    return all(
        isinstance(row[side], str) for side in _SIDES
    ) and not _matches_hh(row)


def _hh(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    dialogues = [text_of(row[side], where, side) for side in _SIDES]
    prompt, chosen, rejected = split_dialogues(
        dialogues[0], dialogues[1], where
    )
    return [Comparison(chosen, rejected, prompt=prompt, **metadata)]


def _trl(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    margin = 0.0
    if not is_missing(row.get("margin")):
        margin = number_of(row["margin"], where, "margin")
    prompt = prompt_from(row.get("prompt"), where, "prompt")
    if is_message(row["chosen"]) and is_message(row["rejected"]):
        chosen, rejected = [
            message_of(row[side], where, side).content for side in _SIDES
        ]
    elif isinstance(row["chosen"], list) or isinstance(row["rejected"], list):
        chats = [messages_of(row[side], where, side) for side in _SIDES]
        shared, chosen, rejected = divided(chats[0], chats[1], where)
        prompt = joined_prompt(prompt, shared, where, "both dialogues begin")
    else:
        read = text_of if prompt is None else answer_of
        chosen, rejected = [read(row[side], where, side) for side in _SIDES]
        if isinstance(prompt, str):
            prompt, chosen, rejected = _said_once(prompt, chosen, rejected)
        else:
            chosen, rejected = without_prompt(prompt, [chosen, rejected])
    return [Comparison(chosen, rejected, margin, prompt=prompt, **metadata)]


def _openai(row: Row, metadata: Metadata) -> list[Judgement]:
    prompt = row["input"]
    if isinstance(prompt, dict):
        prompt = prompt.get("messages")
    sides = {"chosen": "preferred_output", "rejected": "non_preferred_output"}
    pair = {side: row[column] for side, column in sides.items()}
    return _trl({"prompt": prompt, **pair}, metadata)


def _said_once(
    prompt: str, chosen: str, rejected: str
) -> tuple[str, str, str]:
    """Return prompt and answers; a prompt that both answers repeat stands only before them."""
    if _is_hh_dialogue(chosen) and _is_hh_dialogue(rejected):
        shared = os.path.commonprefix([chosen, rejected])  # noqa: RUF071  characters, not folders
        if ASSISTANT in shared and prompt.strip() in shared:
            return split_dialogues(chosen, rejected)
    chosen, rejected = without_prompt(prompt, [chosen, rejected])
    return prompt, chosen, rejected


# --- a number says which is better: HelpSteer3, WebGPT, SHP


def comparison(
    first: str,
    second: str,
    lead: float,
    prompt: Prompt | None,
    metadata: Metadata,
    *,
    has_margin: bool = True,
) -> list[Judgement]:
    """Return the comparison in which the first text leads by `lead`.

    Below 0 the second text is better; at 0 they are a tie. The texts were shown in this order.
    has_margin: whether `lead` says by how much.
    """
    is_first_better = lead >= 0
    better, worse = (first, second) if is_first_better else (second, first)
    return [
        Comparison(
            better,
            worse,
            abs(lead) if has_margin else 0.0,
            lead == 0,
            chosen_first=is_first_better,
            prompt=prompt,
            **metadata,
        )
    ]


def _answers(row: Row, where: str, *columns: str) -> list[str]:
    return [answer_of(row[name], where, name) for name in columns]


def _helpsteer3(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    preference = number_of(
        row["overall_preference"], where, "overall_preference"
    )
    if abs(preference) > HELPSTEER3_STRONGEST:
        scale = f"outside the scale of -{HELPSTEER3_STRONGEST} to {HELPSTEER3_STRONGEST}"
        raise DataError(
            f"{where}: column 'overall_preference' holds {preference:g}, {scale}."
        )
    prompt = prompt_from(row["context"], where, "context")
    first = completion_from(row["response1"], where, "response1")
    second = completion_from(row["response2"], where, "response2")
    return comparison(first, second, -preference, prompt, metadata)


def _webgpt_question(row: Row) -> Any:
    """Return the question, which the columns hold as an object or under a dotted name."""
    question = row.get("question")
    if isinstance(question, dict):
        question = question.get("full_text")
    return row.get("question.full_text") if question is None else question


def _webgpt(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    question = _webgpt_question(row)
    prompt = prompt_from(question, where, "question.full_text")
    first, second = _answers(row, where, "answer_0", "answer_1")
    scores = [
        number_of(row[name], where, name) for name in ("score_0", "score_1")
    ]
    return comparison(first, second, scores[0] - scores[1], prompt, metadata)


def _matches_webgpt(row: Row) -> bool:
    return (
        row.get("question") is not None
        or row.get("question.full_text") is not None
    )


def _shp(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    label = number_of(row["labels"], where, "labels")
    if label not in (0, 1):
        raise bad_cell(
            row["labels"], where, "labels", "; 1: A is better, 0: B is better."
        )
    prompt = text_of(row["history"], where, "history")
    chosen, rejected = _answers(row, where, "human_ref_A", "human_ref_B")
    if label == 0:
        chosen, rejected = rejected, chosen
    return [Comparison(chosen, rejected, prompt=prompt, **metadata)]


# --- votes: Chatbot Arena and PandaLM


def _arena(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    words = [word_of(row[name]) for name in _WINNERS]
    votes = [word in ("1", "true") for word in words]
    are_valid = all(word in ("0", "1", "false", "true") for word in words)
    if sum(votes) != 1 or not are_valid:
        shown = ", ".join(f"{name}: {show(row[name])}" for name in _WINNERS)
        raise DataError(
            f"{where}: one of the three winners must be 1, the others 0, not {shown}."
        )
    _, second_won, is_tie = votes
    prompt, first, second = _arena_texts(row, where)
    if second_won:
        first, second = second, first
    return [
        Comparison(
            first,
            second,
            tie=is_tie,
            chosen_first=not second_won,
            prompt=prompt,
            **metadata,
        )
    ]


def _arena_texts(row: Row, where: str) -> tuple[Prompt, str, str]:
    """Return (prompt, answer a, answer b). Lists of turns, or JSON of them, make a chat."""
    questions = _parsed(row["prompt"])
    answers_a, answers_b = (
        _parsed(row["response_a"]),
        _parsed(row["response_b"]),
    )
    if all(
        isinstance(cell, str) for cell in (questions, answers_a, answers_b)
    ):
        first = answer_of(answers_a, where, "response_a")
        second = answer_of(answers_b, where, "response_b")
        return text_of(questions, where, "prompt"), first, second
    questions = list_of(questions, where, "prompt")
    if is_messages(questions):
        turns = messages_of(questions, where, "prompt")
        questions = [turn.content for turn in turns]
    one = _dialogue(questions, answers_a, where, "response_a")
    other = _dialogue(questions, answers_b, where, "response_b")
    # an error of the comparison, whose message shows the text
    if one == other:
        return one[:1], one[-1].content, other[-1].content
    return divided(one, other, where)


def _parsed(value: Any) -> Any:
    """Return the list that a text spells in JSON; anything else as it is."""
    if (
        isinstance(value, str)
        and value.startswith("[")
        and value.rstrip().endswith("]")
    ):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass
    return value


def _dialogue(
    questions: list[Any], answers: Any, where: str, column: str
) -> tuple[Message, ...]:
    answers = list_of(answers, where, column)
    if len(questions) != len(answers) or not questions:
        raise DataError(
            f"{where}: {len(questions)} turns in column 'prompt', "
            f"but {len(answers)} in column {column!r}."
        )
    turns = []
    for question, answer in zip(questions, answers, strict=True):
        turns.append(Message("user", answer_of(question, where, "prompt")))
        # the published file spells an empty answer as null
        text = "" if answer is None else answer_of(answer, where, column)
        turns.append(Message("assistant", text))
    return tuple(turns)


def _pandalm(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    prompt = instruction_of(row, where)
    first, second = _answers(row, where, "response1", "response2")
    comparisons: list[Judgement] = []
    for judge in row:
        if not _ANNOTATOR.fullmatch(judge) or is_missing(row[judge]):
            continue
        vote = whole_of(row[judge], where, judge)
        if vote not in (0, 1, 2):
            raise bad_cell(
                vote,
                where,
                judge,
                "; 1 and 2 say which is better, 0: neither.",
            )
        second_won = vote == 2
        chosen, rejected = (second, first) if second_won else (first, second)
        by_judge: Metadata = {**metadata, "judge": judge}
        comparisons.append(
            Comparison(
                chosen,
                rejected,
                tie=vote == 0,
                chosen_first=not second_won,
                prompt=prompt,
                **by_judge,
            )
        )
    if not comparisons:
        raise SaysNothing(f"{where}: no annotator judged it.")
    return comparisons


register_format(
    Format(
        "preference",
        _SIDES,
        _trl,
        (Comparison,),
        ("prompt", "margin"),
        _matches_trl,
        numbers=("margin",),
    )
)
register_format(Format("hh", _SIDES, _hh, (Comparison,), matches=_matches_hh))
register_format(
    Format(
        "openai",
        ("input", "preferred_output", "non_preferred_output"),
        _openai,
        (Comparison,),
    )
)
register_format(
    Format(
        "helpsteer3",
        ("context", "response1", "response2", "overall_preference"),
        _helpsteer3,
        (Comparison,),
        judging=("overall_preference",),
    )
)
register_format(
    Format(
        "webgpt",
        ("answer_0", "answer_1", "score_0", "score_1"),
        _webgpt,
        (Comparison,),
        optional=("question", "question.full_text"),
        matches=_matches_webgpt,
        judging=("score_0", "score_1"),
    )
)
register_format(
    Format(
        "shp",
        ("history", "human_ref_A", "human_ref_B", "labels"),
        _shp,
        (Comparison,),
        judging=("labels",),
    )
)
register_format(
    Format(
        "arena",
        ("prompt", "response_a", "response_b", *_WINNERS),
        _arena,
        (Comparison,),
        judging=_WINNERS,
        own_prompt=False,
    )
)
register_format(
    Format(
        "pandalm",
        ("instruction", "response1", "response2", "annotator1"),
        _pandalm,
        (Comparison,),
        optional=("input",),
    )
)
