"""Judgements: invalid ones are refused when made; equal ones are equal wherever they came from."""

import math
from dataclasses import FrozenInstanceError, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tastemaker.data import (
    Comparison,
    Example,
    Grade,
    Judgement,
    Label,
    Message,
    Ranking,
    Rating,
    examples_of,
    plain,
)
from tastemaker.errors import DataError

CHAT = (Message("system", "Be brief."), Message("user", "Which film?"))
ONE_OF_EACH = [
    Label("good", True),
    Grade("good", 8),
    Rating("good", 7.5),
    Comparison("good", "bad"),
    Ranking(["good", "bad"]),
]


@pytest.mark.parametrize("judgement", ONE_OF_EACH)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"judge": ""},
            "the judge",
        ),
        ({"judge": " \t\n"}, "the judge"),
        (
            {"weight": -1.0},
            r"the weight is -1\b",
        ),
        ({"weight": math.nan}, "the weight is nan"),
        ({"weight": math.inf}, "the weight is inf"),
    ],
)
def test_what_no_judgement_can_be(
    judgement: Judgement, setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"^t\.csv:4: {message}") as error:
        replace(judgement, where="t.csv:4", **setting)
    assert "\n" not in str(error.value)
    with pytest.raises(
        DataError, match=rf"^a {type(judgement).__name__.lower()}: {message}"
    ):
        replace(judgement, **setting)


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (
            ("same", "same"),
            r".*\bitself \('same'\)",
        ),
        (
            ("a", "b", -0.5),
            r"the margin is -0\.5",
        ),
        (("a", "b", math.nan), "the margin is nan"),
        (("a", "b", math.inf), "the margin is inf"),
        (
            ("a", "b", 2.0, True),
            r"a tie.*\bmargin of 2\b",
        ),
    ],
)
def test_what_no_comparison_can_be(of: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=rf"^t\.csv:4: {message}"):
        Comparison(*of, where="t.csv:4")


@pytest.mark.parametrize(
    ("tiers", "rest", "message"),
    [
        ([], [], "a ranking of 0"),
        (["a"], [], "a ranking of 1"),
        ([], ["a"], "a ranking of 1"),
        (
            [],
            ["a", "b"],
            "empty tier",
        ),
        (["a", [], "b"], [], "empty tier"),
        (
            ["a", "b", "a"],
            [],
            r"twice \('a'\)",
        ),
        ([["a", "a"], "b"], [], r"twice \('a'\)"),
        (["a", "b"], ["c", "b"], r"twice \('b'\)"),
    ],
)
def test_what_no_ranking_can_be(tiers: Any, rest: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"^t\.csv:4: .*{message}"):
        Ranking(tiers, rest, where="t.csv:4")


def test_a_long_text_is_named_by_its_start() -> None:
    with pytest.raises(DataError, match=r"\('" + "x" * 40 + r"'\)"):
        Comparison("x" * 5000, "x" * 5000)


def test_convenient_forms_of_a_ranking() -> None:
    exact = Ranking((("best",), ("good", "fine"), ("bad",)), ("awful", "worse"))
    assert Ranking(["best", ["good", "fine"], "bad"], rest=["awful", "worse"]) == exact
    assert Ranking(("best", ("good", "fine"), ["bad"]), ("awful", "worse")) == exact
    assert hash(exact) == hash(replace(exact, where="t.csv:1"))
    assert Ranking(["best"], rest="awful") == Ranking(
        (("best",),), ("awful",)
    )  # a text, not its letters


def test_texts_and_ranks_of_a_ranking() -> None:
    ranking = Ranking(["best", ["good", "fine"], "bad"], rest=["awful", "worse"])
    assert ranking.texts == ("best", "good", "fine", "bad", "awful", "worse")
    assert ranking.ranks == (0, 1, 1, 2, 3, 3)
    assert Ranking([["a", "b"]]).ranks == (0, 0)  # all of them equal: that can be said
    assert Ranking(["a", "b"]).ranks == (0, 1)


@pytest.mark.parametrize("prompt", [None, "Which film?", CHAT])
def test_examples_hold_the_prompt(prompt: Any) -> None:
    for judgement in ONE_OF_EACH:
        asked = replace(judgement, prompt=prompt)
        assert (
            asked.examples
            == examples_of(asked)
            == tuple(Example(text, prompt) for text in asked.texts)
        )
    assert [judgement.texts for judgement in ONE_OF_EACH] == [("good",)] * 3 + [
        ("good", "bad")
    ] * 2
    assert examples_of(Example("a", prompt)) == (Example("a", prompt),)


@pytest.mark.parametrize("judgement", ONE_OF_EACH)
def test_where_it_came_from_does_not_matter_the_rest_does(judgement: Judgement) -> None:
    elsewhere = replace(judgement, where="t.csv:4", source="t.csv")
    assert elsewhere == judgement
    assert hash(elsewhere) == hash(judgement)
    assert repr(elsewhere) == repr(judgement)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    for other in ({"judge": "ann"}, {"prompt": "p"}, {"time": now}, {"weight": 2.0}):
        assert replace(judgement, **other) != judgement


def test_different_judgements_differ() -> None:
    assert len(set(ONE_OF_EACH)) == 5
    assert Comparison("a", "b") != Comparison("b", "a")
    assert Comparison("a", "b") != Comparison("a", "b", 1.0)
    assert Comparison("a", "b") != Comparison("a", "b", tie=True)
    assert Ranking(["a", "b"]) != Ranking(["a"], rest=["b"])


def test_what_was_judged_must_be_said() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Judgement()  # type: ignore[abstract]

    @dataclass(frozen=True)
    class Vague(Judgement):
        """Says of no text what it is about."""

    with pytest.raises(TypeError, match="texts"):
        Vague(judge="ann")  # type: ignore[abstract]


@pytest.mark.parametrize("judgement", ONE_OF_EACH)
def test_a_judgement_holds_nothing_but_its_fields(judgement: Judgement) -> None:
    assert not hasattr(judgement, "__dict__")
    assert repr(judgement).startswith(
        f"{type(judgement).__name__}(prompt=None, judge=None, time=None, weight=1.0, "
    )


def test_judgements_are_frozen_and_name_what_is_not_the_judgement() -> None:
    with pytest.raises(FrozenInstanceError):
        ONE_OF_EACH[0].judge = "ann"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Comparison("a", "b", 0.0, False, "prompt")  # type: ignore[misc]
    assert Grade("a", 3, 1, 5) == Grade(text="a", grade=3, lowest=1, highest=5)


def test_a_prompt_as_one_text() -> None:
    assert plain("Which film?") == "Which film?"
    assert plain(CHAT) == "system: Be brief.\n\nuser: Which film?"
    assert plain(()) == ""


def test_a_text_is_no_ranking() -> None:
    with pytest.raises(DataError, match="one text"):
        Ranking("ab")  # type: ignore[arg-type]


def test_a_grade_is_out_of_ten_unless_said() -> None:
    grade = Grade("a", 3)
    assert (grade.lowest, grade.highest) == (1, 10)
    assert Grade("a", 3) == Grade("a", 3, 1, 10)


def test_texts_that_differ_in_white_space_can_be_compared() -> None:
    # the doctor reports such pairs; reading them is no error
    assert Comparison("yes", "yes ").texts == ("yes", "yes ")
