"""Reward functions are called by the convention that their parameters tell, or refused."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nano import nano

from tastemaker.data import Message
from tastemaker.errors import RewardError
from tastemaker.gpt import Completion
from tastemaker.report import best_of_curve
from tastemaker.rl import checked, reward_of, steer

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


def with_ids(prompts: Any, completion_ids: Any, **kwargs: Any) -> Score:
    assert completion_ids == [[0, 1], [0]]
    return lengths(completion_ids)


def ids_alone(completion_ids: Any) -> Score:
    return with_ids(None, completion_ids)


def column_second(prompts: Any, solution: Any, **kwargs: Any) -> Score:
    assert solution == ["a", "b"]
    return lengths(kwargs["completions"])


def column_alone(solution: Any, **kwargs: Any) -> Score:
    assert solution == ["a", "b"]
    return lengths(kwargs["completions"])


def column_and_ids(solution: Any, completion_ids: Any) -> Score:
    assert solution == ["a", "b"]
    return with_ids(None, completion_ids)


def prompts_alone(prompts: Any, **kwargs: Any) -> Score:
    assert prompts == ["long prompt", "p"]
    return lengths(kwargs["completions"])


def logged(
    completions: Any, log_extra: Any = None, log_metric: Any = None, **kwargs: Any
) -> Score:
    assert (log_extra, log_metric) == (None, None)
    return lengths(completions)


def without_wraps(*args: Any, **kwargs: Any) -> Score:
    return column_second(*args, **kwargs)


def scaled(scale: float, completions: Any, **kwargs: Any) -> Score:
    return [scale * length for length in lengths(completions)]


class Module(torch.nn.Module):
    def forward(self, asked: Any, answers: Any) -> Score:
        return lengths(answers)


RIGHT: list[Any] = [
    Callable1(),
    Module(),
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
    with_ids,
    ids_alone,
    column_second,
    column_alone,
    column_and_ids,
    prompts_alone,
    logged,
    without_wraps,
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


def of_a_column(prompts: Any, solution: Any) -> Score:
    return lengths(solution)


def of_no_column(prompts: Any, answer: Any, **kwargs: Any) -> Score:
    return lengths(answer)


def of_a_trainer(completions: Any, trainer_state: Any, **kwargs: Any) -> Score:
    return lengths(completions)


def of_a_log(completions: Any, log_metric: Any) -> Score:
    return lengths(completions)


WRONG = [
    (of_a_column, r"of_a_column takes \(prompts.*'completions'"),
    (of_no_column, r"of_no_column asks for 'answer'.*given are solution, prompts"),
    (of_a_trainer, r"of_a_trainer asks for 'trainer_state'.*TRL's trainer"),
    (of_a_log, r"of_a_log asks for 'log_metric'.*TRL's trainer"),
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


REFUSED_EARLY = [
    (of_a_trainer, "'trainer_state'"),
    (of_no_column, "'answer'"),
    (of_a_column, "'completions'"),
    (of_texts, "two lists"),
]


@pytest.mark.parametrize(("function", "words"), REFUSED_EARLY)
@pytest.mark.parametrize("place", ["reward", "sum", "held_out", "gold"])
def test_what_cannot_be_given_is_refused_before_the_gpt_is_opened(
    function: Any, words: str, place: str, tmp_path: Path
) -> None:
    rewards: dict[str, Any] = {"reward": "length", place: function}
    if place == "sum":
        rewards = {"reward": ["length", function]}
    rows = [{"prompt": "A", "solution": "b"}]
    with pytest.raises(RewardError, match=words):
        steer(tmp_path / "no-such-gpt", prompts=rows, out=tmp_path / "o", **rewards)
    assert not (tmp_path / "o").exists()


def test_best_of_n_refuses_it_before_a_text_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpt = nano()
    monkeypatch.setattr(gpt, "complete", None)
    with pytest.raises(RewardError, match="'trainer_state'"):
        best_of_curve(gpt, of_a_trainer, "A")


def test_texts_that_no_policy_wrote_have_no_tokens() -> None:
    read = [Completion("", "a text", (), (), "end")]
    with pytest.raises(RewardError, match=r"'completion_ids'.*given are prompts"):
        checked(reward_of(ids_alone), read)


def test_an_async_function_is_awaited_where_a_notebook_runs_a_loop() -> None:
    async def cell() -> Score:
        return checked(reward_of(later), ROWS)

    assert asyncio.run(cell()) == LENGTHS
