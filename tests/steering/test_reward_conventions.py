"""Reward functions are called by the convention that their parameters tell, or refused."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from tastemaker.data import Message
from tastemaker.errors import RewardError
from tastemaker.gpt import Completion
from tastemaker.rl import checked, reward_of

Score = list[float]


def wrote(prompt: Any, text: str, **columns: Any) -> Completion:
    ids = tuple(range(len(text)))
    return Completion(prompt, text, ids, (0.0,) * len(ids), "end", columns=columns)


ROWS = [wrote("long prompt", "aa", solution="a"), wrote("p", "b", solution="b")]
LENGTHS = [2.0, 1.0]


def lengths(texts: Any) -> Score:
    return [float(len(text)) for text in texts]


class Callable1:
    """An object that is called, and has a method that can be."""

    def __call__(self, completions: Any, **kwargs: Any) -> Score:
        return lengths(completions)

    def by_method(self, completions: Any, prompts: Any) -> Score:
        return lengths(completions)


def decorated(function: Callable[..., Score]) -> Callable[..., Score]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Score:
        return function(*args, **kwargs)

    return inner


@decorated
def by_decorator(completions: Any, **kwargs: Any) -> Score:
    return lengths(completions)


def only_keywords(*, prompts: Any, completions: Any) -> Score:
    return lengths(completions)


def all_keywords(**kwargs: Any) -> Score:
    return lengths(kwargs["completions"])


def with_trainer(
    prompts: Any, completions: Any, completion_ids: Any, trainer_state: Any = None
) -> Score:
    return lengths(completion_ids)


def answers_first(responses: Any, prompts: Any) -> Score:
    return lengths(responses)


def by_place(prompts: Any, texts: Any, /) -> Score:
    return lengths(texts)


def turned_by_place(completions: Any, prompts: Any, /) -> Score:
    return lengths(completions)


def many(*lists: Any) -> Score:
    return lengths(lists[1])


async def later(completions: Any, **kwargs: Any) -> Score:
    return lengths(completions)


def with_column(completions: Any, solution: Any, **kwargs: Any) -> Score:
    assert solution == ["a", "b"]
    return lengths(completions)


def scaled(scale: float, completions: Any, **kwargs: Any) -> Score:
    return [scale * length for length in lengths(completions)]


RIGHT: list[Any] = [
    Callable1(),
    Callable1().by_method,
    by_decorator,
    only_keywords,
    all_keywords,
    with_trainer,
    answers_first,
    by_place,
    turned_by_place,
    many,
    later,
    with_column,
    functools.partial(scaled, 1.0),
    lambda completions, **kwargs: lengths(completions),
    lambda prompts, answers: lengths(answers),
]


@pytest.mark.parametrize("function", RIGHT)
def test_the_completions_are_what_is_scored(function: Any) -> None:
    assert checked(reward_of(function), ROWS) == LENGTHS


def of_texts(texts: Any) -> Score:
    return lengths(texts)


def of_three(samples: Any, prompts: Any, outputs: Any) -> Score:
    return lengths(outputs)


def of_one_row(prompt: str, completion: str) -> float:
    return float(len(completion))


def of_verl(data_source: Any, solution_str: Any, ground_truth: Any) -> float:
    return float(len(solution_str))


WRONG = [
    (of_texts, r"of_texts takes \(texts.*two lists, prompts and completions"),
    (of_three, r"of_three takes \(samples.*'outputs'"),
    (of_verl, r"of_verl takes \(data_source.*'ground_truth'"),
    (
        of_one_row,
        r"of_one_row returned 2\.0: expected a list of numbers.* 2 completions",
    ),
]


@pytest.mark.parametrize(("function", "words"), WRONG)
def test_another_convention_is_refused_and_ours_is_said(
    function: Any, words: str
) -> None:
    with pytest.raises(RewardError, match=words) as refused:
        checked(reward_of(function), ROWS)
    assert "\n" not in str(refused.value)


def test_a_chat_is_messages_where_trl_has_messages() -> None:
    chat = [wrote((Message("user", "hi"),), "yes")]
    asked: list[Any] = []

    def everything(**kwargs: Any) -> Score:
        asked.append(kwargs["completions"])
        return [1.0]

    checked(reward_of(everything), chat)
    assert asked == [[[{"role": "assistant", "content": "yes"}]]]
