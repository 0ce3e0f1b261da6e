"""How a user's reward function is called, and what it may return.

A function that names `completions` among its parameters, or has `**kwargs` alone, is called by
keyword, as TRL calls it: with `prompts`, `completions`, `completion_ids` and the other columns of
the prompts' file, as far as its parameters name them; all of them where it has `**kwargs`. Then a
completion of a chat is a list of one message, as TRL has it; without `**kwargs` it is a text. Any
other function is called with two lists by position: prompts and completions. Where its second
parameter is called `prompts`, they come in that order.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from tastemaker.data.judgements import Prompt
from tastemaker.errors import RewardError
from tastemaker.gpt.writing import Completion

_NAMED = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


def called(
    function: Callable[..., Any], completions: Sequence[Completion], name: str
) -> list[Any]:
    """Return what a function returns for completions, one value each; an async one is awaited.

    name: of the function, for messages. Raises RewardError for a parameter that no column gives,
    and what the function raises.
    """
    prompts = [json_prompt(c.prompt) for c in completions]
    texts = [c.text for c in completions]
    parameters = _parameters(function)
    if _is_by_keyword(parameters):
        result = function(**_keywords(parameters, completions, prompts, name))
    else:
        result = function(
            *_positions(function, parameters, prompts, texts, name)
        )
    if inspect.isawaitable(result):
        result = asyncio.run(_awaited(result))
    if not isinstance(result, Iterable):
        raise RewardError(
            f"{name} returned {result!r}: expected a list of numbers, one for each of the "
            f"{len(texts)} completions."
        )
    return [_score(value) for value in result]


def _is_by_keyword(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Return whether a function is called by keyword."""
    kinds = {parameter.kind for parameter in parameters.values()}
    if kinds == {inspect.Parameter.VAR_KEYWORD}:
        return True
    return "completions" in parameters and (
        parameters["completions"].kind in _NAMED
    )


def _positions(
    function: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter],
    prompts: list[Any],
    texts: list[str],
    name: str,
) -> tuple[list[Any], list[Any]]:
    """Return the two lists by position, prompts first unless the names have them second.

    Raises RewardError for a function that does not take two.
    """
    lists: tuple[list[Any], list[Any]] = (prompts, texts)
    names = list(parameters)[:2]
    if names[1:] == ["prompts"] or (
        names[:1] == ["completions"] and len(names) == 2
    ):
        lists = (texts, prompts)
    if parameters:
        try:
            inspect.signature(function).bind(*lists)
        except TypeError as error:
            raise RewardError(
                f"{name} takes ({', '.join(map(str, parameters.values()))}), and a reward is "
                "called with two lists, prompts and completions, or by keyword where it has a "
                f"parameter 'completions' ({error})."
            ) from None
    return lists


def _score(value: Any) -> Any:
    """Return a score without its gradient; None is 0, as TRL leaves it out of the sum."""
    if value is None:
        return 0.0
    return value.detach() if isinstance(value, Tensor) else value


async def _awaited(result: Any) -> Any:
    return await result


def _parameters(
    function: Callable[..., Any],
) -> Mapping[str, inspect.Parameter]:
    """Return a function's parameters by name; none for one that does not tell them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _keywords(
    parameters: Mapping[str, inspect.Parameter],
    completions: Sequence[Completion],
    prompts: list[Any],
    name: str,
) -> dict[str, Any]:
    """Return the arguments by keyword that a function takes."""
    takes_all = any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in parameters.values()
    )
    answers: list[Any] = [completion.text for completion in completions]
    if takes_all:
        answers = [_as_messages(completion) for completion in completions]
    keywords: dict[str, Any] = {}
    for column in _columns(completions):
        keywords[column] = [c.columns.get(column) for c in completions]
    keywords["prompts"] = prompts
    keywords["completions"] = answers
    keywords["completion_ids"] = [list(c.ids) for c in completions]
    for parameter in parameters.values():
        is_named = parameter.kind in _NAMED
        has_default = parameter.default is not inspect.Parameter.empty
        if is_named and not has_default and parameter.name not in keywords:
            given = ", ".join(keywords)
            raise RewardError(
                f"{name} asks for {parameter.name!r}, and the prompts have no such column; "
                f"given are {given}."
            )
    if takes_all:
        return keywords
    return {key: keywords[key] for key in keywords if key in parameters}


def _columns(completions: Sequence[Completion]) -> list[str]:
    """Return the names of all columns, in order."""
    names: dict[str, None] = {}
    for completion in completions:
        names.update(dict.fromkeys(completion.columns))
    return list(names)


def _as_messages(completion: Completion) -> Any:
    """Return an answer to a chat as its message in a list, a continued text as it is."""
    if isinstance(completion.prompt, str):
        return completion.text
    return [{"role": "assistant", "content": completion.text}]


def json_prompt(prompt: Prompt) -> Any:
    """Return a prompt as JSON: a text, or a list of messages."""
    if isinstance(prompt, str):
        return prompt
    return [{"role": m.role, "content": m.content} for m in prompt]
