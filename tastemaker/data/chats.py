"""Chats in the cells of a table: lists of messages in every published spelling.

| spelling | example |
|---|---|
| messages | `[{"role": "user", "content": "Hi"}, …]` |
| ShareGPT | `[{"from": "human", "value": "Hi"}, …]` |
| content parts | `{"role": "user", "content": [{"type": "text", "text": "Hi"}]}` |
| as text | the same in JSON, or as Python prints lists, in a cell of text |
| columns | `{"role": ["user", …], "content": ["Hi", …]}` |
| in an object | `{"messages": [{"role": "user", "content": "Hi"}, …]}` |

Reasoning that stands beside the answer comes before it as `<think>…</think>`, and a tool call is
written as `<tool_call>{…}</tool_call>`: the forms in which chat templates write them. Parts that
are no text, such as images, are refused.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tastemaker.data.judgements import Example, Message, Prompt, plain
from tastemaker.data.values import (
    answer_of,
    bad_cell,
    is_missing,
    show,
    text_of,
)
from tastemaker.errors import DataError

_SPELLED = re.compile(
    r"""\s*(?:\{\s*["'](?:messages|conversations?)["']\s*:\s*|array\()?"""
    r"""\[\s*\{\s*(['"])(?:role|content|from|value)\1\s*:"""
)
"""How a text begins that spells a list of messages."""

_SPELLED_LATER = re.compile(
    r"""\s*(?:\{\s*["'](?:messages|conversations?)["']\s*:\s*|array\()?"""
    r"""\[\s*\{(?:"""
    r"""(?=(?s:.{0,2000}?)["']role["']\s*:)(?=(?s:.{0,2000}?)["']"""
    r"""(?:content|tool_calls|function_call)["']\s*:)|"""
    r"""(?=(?s:.{0,2000}?)["']from["']\s*:)(?=(?s:.{0,2000}?)["']value["']\s*:))"""
)
"""How a text may begin that spells messages whose first key is another, such as an id.

An answer may be a list in JSON too, whose items have roles and no contents.
"""

_LONGEST_SPELLED = 16 * 2**20
"""Characters. Python's parser needs many times the size of a text."""

_SHAREGPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
}
_FEW_KEYS = 4
_WRAPPERS = ("messages", "conversations", "conversation")
_REASONING = ("reasoning_content", "reasoning", "thinking")


def is_messages(value: object) -> bool:
    """Return whether the cell looks like a list of messages, valid or not."""
    if not isinstance(value, list) or not value:
        return False
    return all(is_message(turn) for turn in value)


def is_message(value: object) -> bool:
    """Return whether the cell looks like one message, valid or not."""
    match value:
        case {"role": _} | {"from": _, "value": _}:
            return True
    return False


def with_chat(value: Any) -> Any:
    """Return the list of messages that a cell spells in another way; anything else as it is.

    A text that begins like one and cannot be parsed stays too: `check_spelling` refuses it. The
    library `datasets` gives one object of equally long lists; it is transposed.
    """
    if isinstance(value, dict) and value:
        for name in _WRAPPERS:
            if is_messages(value.get(name)):
                return value[name]
        is_chat = is_message(value) and all(
            isinstance(cells, list) for cells in value.values()
        )
        if is_chat:
            turns = zip(*value.values(), strict=False)
            return [dict(zip(value, turn, strict=True)) for turn in turns]
    if isinstance(value, str) and _is_spelled(value):
        spelled = parsed(value)
        messages = with_chat(spelled) if isinstance(spelled, dict) else spelled
        is_chat = is_messages(messages)
        if is_chat and not _SPELLED.match(value):
            is_chat = all(_has_content(turn) for turn in messages)
        if is_chat:
            return messages
    return value


def _has_content(turn: Mapping[str, Any]) -> bool:
    """Return whether a message has more than a role."""
    keys = ("content", "value", "tool_calls", "function_call")
    return any(key in turn for key in keys)


def _is_spelled(text: str) -> bool:
    """Return whether a text begins like a list of messages."""
    if text[:1] not in ("[", "{", "a", " ", "\n"):
        return False
    return bool(_SPELLED.match(text) or _SPELLED_LATER.match(text))


def parsed(text: str) -> Any:
    """Return the value that a text spells in JSON or as a Python literal; None where it fails."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LONGEST_SPELLED:
        return None
    text = text.strip()
    if text.startswith("array("):
        text = (
            text[text.index("[") : text.rindex("]") + 1] if "]" in text else ""
        )
    # numpy prints the items of an array without commas, one a line
    for spelling in (text, re.sub(r"\}\s*\n\s*\{", "}, {", text)):
        try:
            return ast.literal_eval(spelling)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def check_spelling(value: object, where: str, column: str) -> None:
    """Raise DataError for a text that begins like a list of messages but is not one."""
    if isinstance(value, str) and _is_spelled(value):
        if not _SPELLED.match(value) and parsed(value) is not None:
            return  # JSON of something else
        problem = (
            ", which looks like a list of messages but cannot be parsed as one. "
            "Write it as JSON."
        )
        raise bad_cell(value, where, column, problem)


def messages_of(value: Any, where: str, column: str) -> tuple[Message, ...]:
    """Return a list of messages. Raises DataError unless roles and contents are all texts."""
    value = with_chat(value)
    check_spelling(value, where, column)
    if not isinstance(value, list) or not value:
        raise bad_cell(
            value, where, column, " where a list of messages belongs."
        )
    messages = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            message = f"message {number} in column {column!r} is {show(turn)}"
            raise DataError(f"{where}: {message}, not {{role, content}}.")
        if not is_message(turn):
            keys = ", ".join(map(repr, list(turn)[:_FEW_KEYS]))
            message = f"message {number} in column {column!r} has {keys}"
            raise DataError(
                f"{where}: {message}; a message has 'role' and 'content', or 'from' and 'value'."
            )
        messages.append(message_of(turn, where, f"{column}, message {number}"))
    return tuple(messages)


def message_of(turn: dict[str, Any], where: str, place: str) -> Message:
    """Return one message. place: its place, for messages of errors."""
    if "role" not in turn and "from" in turn:
        name = text_of(turn["from"], where, f"{place}, from")
        value = answer_of(turn.get("value"), where, f"{place}, value")
        if name == "function_call":
            value = f"<tool_call>\n{value}\n</tool_call>"
        return Message(_SHAREGPT_ROLES.get(name, name), value)
    role_place, content_place = f"{place}, role", f"{place}, content"
    role = text_of(turn.get("role"), where, role_place)
    calls = _tool_calls(turn, where, place)
    content = turn.get("content")
    if content is None and calls:
        content = ""
    if isinstance(content, list):
        content = _joined_parts(content, where, content_place)
    content = answer_of(content, where, content_place)
    if calls:
        filled = [part for part in (content, *calls) if part]
        content = "\n".join(filled)
    thought = _thought(turn)
    if thought:
        content = f"<think>\n{thought}\n</think>\n\n{content}"
    return Message(role, content)


def _thought(turn: dict[str, Any]) -> str:
    """Return the reasoning that stands beside the content of a message."""
    for name in _REASONING:
        value = turn.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _joined_parts(parts: list[Any], where: str, place: str) -> str:
    """Return the content parts of a message as one text. Raises DataError for other parts."""
    texts = []
    for part in parts:
        match part:
            case str(text):
                pass
            case {"type": "text" | "input_text" | "output_text", "text": text}:
                pass
            case _:
                problem = ", and only parts of text can be judged."
                raise bad_cell(part, where, place, problem)
        texts.append(answer_of(text, where, place))
    return "\n".join(texts)


def _tool_calls(turn: dict[str, Any], where: str, place: str) -> list[str]:
    """Return the tool calls of a message as texts, as chat templates write them."""
    calls = list(turn.get("tool_calls") or [])
    if turn.get("function_call"):
        calls.append(turn["function_call"])
    texts = []
    for call in calls:
        match call:
            case {"function": {"name": name} as function}:
                arguments = function.get("arguments")
            case {"name": name}:
                arguments = call.get("arguments")
            case _:
                column = f"{place}, tool_calls"
                raise bad_cell(call, where, column, ", which names no tool.")
        if isinstance(arguments, str):
            # what is not JSON is shown as it is
            with suppress(ValueError, RecursionError):
                arguments = json.loads(arguments)
        spelled = {"name": name, "arguments": arguments}
        line = json.dumps(spelled, ensure_ascii=False, default=str)
        texts.append(f"<tool_call>\n{line}\n</tool_call>")
    return texts


def prompt_from(value: Any, where: str, column: str) -> Prompt | None:
    """Return a prompt, a text or messages; None for an empty cell. Raises DataError otherwise."""
    value = with_chat(value)
    if is_missing(value):
        return None
    if isinstance(value, list):
        return messages_of(value, where, column)
    if is_message(value):
        return (message_of(value, where, column),)
    check_spelling(value, where, column)
    return text_of(value, where, column)


def completion_from(value: Any, where: str, column: str) -> str:
    """Return a completion: a text, a message or messages. Raises DataError otherwise."""
    value = with_chat(value)
    if isinstance(value, list):
        return completion_of(messages_of(value, where, column))
    if is_message(value):
        return message_of(value, where, column).content
    check_spelling(value, where, column)
    return answer_of(value, where, column)


def completion_of(turns: tuple[Message, ...]) -> str:
    """Return the turns after a prompt as one text.

    That is the assistant's answer alone, and any later turns as `role: content`.
    """
    if not turns or turns[0].role != "assistant":
        return plain(turns)
    parts = (turns[0].content, plain(turns[1:]))
    return "\n\n".join(part for part in parts if part)


def joined_prompt(
    prompt: Prompt | None, turns: tuple[Message, ...], where: str, column: str
) -> Prompt | None:
    """Return as one prompt: that of a column, and the turns before an answer.

    Raises DataError for a text that none of the turns holds.
    """
    if not turns or prompt is None:
        return turns or prompt
    if isinstance(prompt, tuple):
        is_repeated = turns[: len(prompt)] == prompt
        return turns if is_repeated else prompt + turns
    if any(turn.content.strip() == prompt.strip() for turn in turns):
        return turns
    raise DataError(
        f"{where}: the text in column 'prompt' is in none of the turns that {column} "
        "with."
    )


def example_from(
    value: Any, prompt: Prompt | None, where: str, column: str
) -> Example:
    """Return the text of a cell, to be judged, and its prompt.

    prompt: what other columns say. The text of a chat is its last message; the messages before it
    are of the prompt. Raises DataError for an empty text.
    """
    if isinstance(value, str) and not _is_spelled(value):
        # nearly all cells: no chat in another spelling
        return Example(text_of(value, where, column), prompt)
    value = with_chat(value)
    if isinstance(value, list):
        turns = messages_of(value, where, column)
        begins = f"column {column!r} begins"
        prompt = joined_prompt(prompt, turns[:-1], where, begins)
        value = turns[-1].content
    elif is_message(value):
        value = message_of(value, where, column).content
    else:
        check_spelling(value, where, column)
    return Example(text_of(value, where, column), prompt)


def divided(
    one: tuple[Message, ...], other: tuple[Message, ...], where: str
) -> tuple[tuple[Message, ...], str, str]:
    """Return (the prompt that two dialogues share, the completion in one, the one in the other).

    An assistant's turn follows the prompt. Where the dialogues part at a user's turn, the prompt
    ends before the last answer they share. Raises DataError for dialogues without such a prompt.
    """
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    if shared == len(one) == len(other):
        shared -= 1  # the same dialogue twice is an error of the comparison
    while shared > 0 and not (
        _is_answered(one, shared) and _is_answered(other, shared)
    ):
        shared -= 1
    if not (_is_answered(one, shared) and _is_answered(other, shared)):
        raise DataError(
            f"{where}: the two dialogues share no turns that an assistant's turn follows."
        )
    return (
        one[:shared],
        completion_of(one[shared:]),
        completion_of(other[shared:]),
    )


def _is_answered(turns: tuple[Message, ...], count: int) -> bool:
    """Return whether an assistant's turn follows the first turns."""
    return len(turns) > count and turns[count].role == "assistant"


def as_prompts(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """Return one prompt, or several, as a list."""
    if isinstance(prompts, str) or (
        prompts and all(isinstance(turn, Message) for turn in prompts)
    ):
        return [prompts]  # type: ignore[list-item]
    return list(prompts)  # type: ignore[arg-type]
