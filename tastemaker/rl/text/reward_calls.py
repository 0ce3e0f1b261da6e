"""How a user's reward function is called, and what it may return.

A function is called by keyword, as TRL calls it, where it has `**kwargs`, or a parameter that TRL
names (`completions`, `completion_ids` …) or that is a column of the prompts' file. It gets
`prompts`, `completions`, `completion_ids` and the other columns, as far as its parameters name
them; all of them where it has `**kwargs`. Then a completion of a chat is a list of one message, as
TRL has it; without `**kwargs` it is a text. Any other function is called with two lists by
position: prompts and completions. Where its second parameter is called `prompts`, they come in
that order.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from tastemaker.errors import RewardError
from tastemaker.gpt.writing import Completion
from tastemaker.serve.client import as_json

_NAMED = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
_OF_TRLS_TRAINER = ("trainer_state", "log_extra", "log_metric", "environments")
"""What TRL's trainer gives beside texts and columns; here there is none of it."""
_TEXTS = ("completions", "completion_ids")
"""Parameters that give what was written."""

Parameters = Mapping[str, inspect.Parameter]


def check_call(
    function: Callable[..., Any], columns: Iterable[str], name: str
) -> None:
    """Raise RewardError for a function that cannot be called with these columns of the prompts.

    name: of the function, for messages.
    """
    parameters = _parameters(function)
    given = (*columns, "prompts", *_TEXTS)
    if _is_by_keyword(parameters, given):
        _check_keywords(parameters, given, name)
    else:
        _positions(function, parameters, [], [], name)


def called(
    function: Callable[..., Any], completions: Sequence[Completion], name: str
) -> list[Any]:
    """Return what a function returns for completions, one value each; an async one is awaited.

    name: of the function, for messages. Raises RewardError for a parameter that no column gives,
    and what the function raises.
    """
    parameters = _parameters(function)
    keywords = _all_keywords(parameters, completions)
    if _is_by_keyword(parameters, keywords):
        _check_keywords(parameters, keywords, name)
        if not _takes_all(parameters):
            keywords = {
                key: keywords[key] for key in keywords if key in parameters
            }
        result = function(**keywords)
    else:
        texts = [c.text for c in completions]
        prompts = keywords["prompts"]
        result = function(
            *_positions(function, parameters, prompts, texts, name)
        )
    if inspect.isawaitable(result):
        result = asyncio.run(_awaited(result))
    if not isinstance(result, Iterable):
        raise RewardError(
            f"{name} returned {result!r}: expected a list of numbers, one for each of the "
            f"{len(completions)} completions."
        )
    return [_score(value) for value in result]


def _takes_all(parameters: Parameters) -> bool:
    """Return whether a function has `**kwargs`."""
    return any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in parameters.values()
    )


def _is_by_keyword(parameters: Parameters, given: Iterable[str]) -> bool:
    """Return whether a function is called by keyword. given: what it may be called with."""
    for parameter in parameters.values():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return False
    names = {*given, *_TEXTS, *_OF_TRLS_TRAINER} - {"prompts"}
    has_name = any(
        parameter.kind in _NAMED and parameter.name in names
        for parameter in parameters.values()
    )
    return has_name or _takes_all(parameters)


def _check_keywords(
    parameters: Parameters, given: Iterable[str], name: str
) -> None:
    """Raise RewardError for a parameter that nothing gives, and where none takes the texts."""
    given = list(given)
    for parameter in parameters.values():
        is_named = parameter.kind in _NAMED
        has_default = parameter.default is not inspect.Parameter.empty
        if not is_named or has_default or parameter.name in given:
            continue
        reason = "the prompts have no such column"
        if parameter.name in _OF_TRLS_TRAINER:
            reason = "only TRL's trainer has one: let it have a default"
        raise RewardError(
            f"{name} asks for {parameter.name!r}, and {reason}; "
            f"given are {', '.join(given)}."
        )
    if not _takes_all(parameters) and not set(_TEXTS) & set(parameters):
        raise RewardError(
            f"{name} takes ({_in_words(parameters)}), which are columns of the prompts, and no "
            "completions: give it a parameter 'completions'."
        )


def _in_words(parameters: Parameters) -> str:
    return ", ".join(map(str, parameters.values()))


def _positions(
    function: Callable[..., Any],
    parameters: Parameters,
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
                f"{name} takes ({_in_words(parameters)}), and a reward is "
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


def _parameters(function: Callable[..., Any]) -> Parameters:
    """Return a function's parameters by name; none for one that does not tell them."""
    # a torch module is called as (*args, **kwargs); what it takes stands at `forward`
    forward = getattr(function, "forward", None)
    try:
        return inspect.signature(forward or function).parameters
    except (TypeError, ValueError):
        return {}


def _all_keywords(
    parameters: Parameters, completions: Sequence[Completion]
) -> dict[str, Any]:
    """Return all that a function may be called with, by keyword."""
    answers: list[Any] = [completion.text for completion in completions]
    if _takes_all(parameters):
        answers = [_as_messages(completion) for completion in completions]
    keywords: dict[str, Any] = {}
    for column in _columns(completions):
        keywords[column] = [c.columns.get(column) for c in completions]
    keywords["prompts"] = [as_json(c.prompt) for c in completions]
    keywords["completions"] = answers
    if all(c.ids or not c.text for c in completions):
        # texts that no policy wrote here have no tokens
        keywords["completion_ids"] = [list(c.ids) for c in completions]
    return keywords


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
