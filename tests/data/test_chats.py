"""Chats in every spelling, through the door that users have: a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from published_rows import chat, turns, write

import tastemaker as tm
from tastemaker.errors import DataError

ASKED = turns("Q")
GOOD, BAD = [{"role": "assistant", "content": text} for text in ("good", "bad")]
PROMPT = chat("Q")


def parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def sharegpt(*contents: str) -> list[dict[str, str]]:
    return [
        {"from": ("human", "gpt")[at % 2], "value": content}
        for at, content in enumerate(contents)
    ]


def numpy_print(messages: list[Any]) -> str:
    """Spell messages as a data frame writes an array of them: items without commas."""
    return "[" + "\n ".join(map(repr, messages)) + "]"


def struct(messages: list[dict[str, str]]) -> dict[str, list[str]]:
    return {name: [turn[name] for turn in messages] for name in messages[0]}


WHOLE = {
    "messages": (turns("Q", "good"), turns("Q", "bad")),
    "sharegpt": (sharegpt("Q", "good"), sharegpt("Q", "bad")),
    "JSON text": tuple(json.dumps(turns("Q", text)) for text in ("good", "bad")),
    "Python text": tuple(repr(turns("Q", text)) for text in ("good", "bad")),
    "numpy text": tuple(numpy_print(turns("Q", text)) for text in ("good", "bad")),
    "struct": (struct(turns("Q", "good")), struct(turns("Q", "bad"))),
    "parts": tuple(
        [
            {"role": "user", "content": parts("Q")},
            {"role": "assistant", "content": parts(text)},
        ]
        for text in ("good", "bad")
    ),
}


@pytest.mark.parametrize("spelling", WHOLE)
def test_whole_dialogues(spelling: str, tmp_path: Path) -> None:
    chosen, rejected = WHOLE[spelling]
    row = {"chosen": chosen, "rejected": rejected}
    expected = tm.Comparison("good", "bad", prompt=PROMPT)
    assert tm.read(write(tmp_path / "a.jsonl", row)) == [expected]


ANSWERS = {
    "messages": (ASKED, [GOOD], [BAD]),
    "one message": (ASKED, GOOD, BAD),
    "JSON text": (json.dumps(ASKED), json.dumps([GOOD]), json.dumps([BAD])),
    "Python text": (repr(ASKED), repr([GOOD]), repr([BAD])),
    "sharegpt": (sharegpt("Q"), sharegpt("", "good")[1:], sharegpt("", "bad")[1:]),
}


@pytest.mark.parametrize("spelling", ANSWERS)
def test_a_prompt_and_answers(spelling: str, tmp_path: Path) -> None:
    row = dict(zip(("prompt", "chosen", "rejected"), ANSWERS[spelling], strict=True))
    expected = tm.Comparison("good", "bad", prompt=PROMPT)
    assert tm.read(write(tmp_path / "a.jsonl", row)) == [expected]


@pytest.mark.parametrize("label", [True, 1])
def test_labelled_answers(label: object, tmp_path: Path) -> None:
    row = {"prompt": ASKED, "completion": [GOOD], "label": label}
    assert tm.read(write(tmp_path / "a.jsonl", row)) == [
        tm.Label("good", positive=True, prompt=PROMPT)
    ]


def test_rated_answers(tmp_path: Path) -> None:
    rows = [
        {"prompt": ASKED, "response": "good", "rating": 5},
        {"prompt": json.dumps(ASKED), "response": [BAD], "rating": 1},
    ]
    assert tm.read(write(tmp_path / "a.jsonl", *rows)) == [
        tm.Grade("good", 5, 1, 5, prompt=PROMPT),
        tm.Grade("bad", 1, 1, 5, prompt=PROMPT),
    ]


BROKEN = '[{"role": "assistant", "content": "good"}'


@pytest.mark.parametrize("column", ["prompt", "chosen"])
def test_a_text_that_only_begins_like_a_chat_is_refused(
    column: str, tmp_path: Path
) -> None:
    row = {"prompt": "Q", "chosen": "good", "rejected": "bad", column: BROKEN}
    path = write(tmp_path / "a.jsonl", row)
    with pytest.raises(DataError, match=f"a.jsonl:1: column '{column}'.*messages"):
        tm.read(path)


def test_a_bracket_alone_makes_no_chat(tmp_path: Path) -> None:
    row = {"prompt": "Q", "chosen": "[1, 2]", "rejected": "[{'a': 1}]"}
    assert tm.read(write(tmp_path / "a.jsonl", row)) == [
        tm.Comparison("[1, 2]", "[{'a': 1}]", prompt="Q")
    ]


def test_an_image_is_refused(tmp_path: Path) -> None:
    content = [{"type": "image_url", "image_url": {"url": "x.png"}}, *parts("Q")]
    row = {
        "prompt": [{"role": "user", "content": content}],
        "chosen": "good",
        "rejected": "bad",
    }
    with pytest.raises(DataError, match="only parts of text can be judged"):
        tm.read(write(tmp_path / "a.jsonl", row))


CALL = {
    "id": "1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Bonn"}'},
}
CALLED = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'


def test_tool_calls_and_reasoning_are_part_of_the_answer(tmp_path: Path) -> None:
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    thinks = {"role": "assistant", "content": "no", "reasoning_content": "Hm."}
    row = {"prompt": ASKED, "chosen": [calls], "rejected": [thinks]}
    (comparison,) = tm.read(write(tmp_path / "a.jsonl", row))
    assert comparison.texts == (CALLED, "<think>\nHm.\n</think>\n\nno")


@pytest.mark.parametrize(
    "answer",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ],
)
def test_an_answer_of_nothing_is_refused(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    row = {"prompt": ASKED, "chosen": [answer], "rejected": [BAD]}
    with pytest.raises(DataError, match=r"a\.jsonl:1: "):
        tm.read(write(tmp_path / "a.jsonl", row))


TURN = {"role": "user", "content": "Q"}
ANSWER = {"role": "assistant", "content": "A"}


@pytest.mark.parametrize(
    "chat",
    [
        [TURN, ANSWER],
        json.dumps([TURN, ANSWER]),
        {"messages": [TURN, ANSWER]},
        json.dumps({"messages": [TURN, ANSWER]}),
        [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}],
    ],
)
@pytest.mark.parametrize("name", ["messages", "conversation", "conversations", "text"])
def test_a_rated_chat(chat: Any, name: str) -> None:
    first, second = tm.read([{name: chat, "stars": 1}, {name: chat, "stars": 5}])
    assert first == tm.Grade("A", 1, 1, 5, prompt=(tm.Message("user", "Q"),))
    assert second.texts == ("A",)


def test_a_system_column_beside_answers_of_one_turn() -> None:
    other = {"role": "assistant", "content": "B"}
    row = {"system": "Be kind.", "prompt": [TURN], "chosen": [ANSWER]}
    (comparison,) = tm.read([{**row, "rejected": [other]}])
    turns = (tm.Message("system", "Be kind."), tm.Message("user", "Q"))
    assert comparison == tm.Comparison("A", "B", prompt=turns)
    whole = {**row, "chosen": [TURN, ANSWER], "rejected": [TURN, other]}
    (comparison,) = tm.read([whole])
    assert comparison.prompt == (tm.Message("user", "Q"),)


@pytest.mark.parametrize("spell", [json.dumps, repr])
def test_messages_whose_first_key_is_another(spell: Any) -> None:
    turns_with_ids = [{"id": 1, **TURN}, {"id": 2, "note": "{x}", **ANSWER}]
    (grade,) = tm.read([{"text": spell(turns_with_ids), "stars": 3}])
    assert (grade.texts, grade.prompt) == (("A",), (tm.Message("user", "Q"),))


def test_json_of_something_else_is_a_text() -> None:
    text = json.dumps([{"id": 1, "person": {"role": "chair"}}])
    (grade,) = tm.read([{"text": text, "stars": 3}])
    assert grade.texts == (text,)


def test_messages_that_are_cut_short_are_refused() -> None:
    text = json.dumps([{"id": 1, **TURN}])[:-3]
    with pytest.raises(DataError, match="looks like a list of messages"):
        tm.read([{"text": text, "stars": 3}])


def test_a_spelled_chat_may_begin_with_a_call_of_a_tool() -> None:
    call = {"id": "1", "role": "assistant", "tool_calls": [{"name": "look"}]}
    text = json.dumps([call])
    first, _ = tm.read([{"text": text, "stars": 3}, {"text": "b", "stars": 1}])
    assert first.texts[0].startswith("<tool_call>")


@pytest.mark.parametrize(
    "answer",
    [
        '[{"name": "Bob", "role": "admin"}]',
        '[{"name": "Bob", "role": "admin"}, {"name": "Eve", "ro',
        '[{"name": "Bob", "from": "Kiel"}]\n\nThese are all users.',
    ],
)
def test_an_answer_that_is_a_list_with_roles_is_a_text(
    answer: str, tmp_path: Path
) -> None:
    row = {"prompt": "Who?", "chosen": answer, "rejected": "No."}
    expected = tm.Comparison(answer, "No.", prompt="Who?")
    assert tm.read(write(tmp_path / "a.jsonl", row)) == [expected]
