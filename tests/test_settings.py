"""Every settings class, and every verb of Python, refuses a setting that does not exist.

The classes are those that the command line's table is made of.
"""

import dataclasses
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.errors import UsageError

SCRIPT = Path(__file__).parents[1] / "scripts" / "option_tables.py"
TABLES = runpy.run_path(str(SCRIPT))
ALL: dict[str, type[Any]] = dict(TABLES["CLASSES"])
for _, _, choices in TABLES["CHOICES"].values():
    ALL |= choices


@pytest.mark.parametrize("name", ALL)
def test_a_settings_class_refuses_an_unknown_keyword(name: str) -> None:
    kind = ALL[name]
    fields = [field.name for field in dataclasses.fields(kind)]
    longest = max(fields, key=len)
    mistyped = longest[:-1]
    with pytest.raises(UsageError) as error:
        kind(**{mistyped: 1})
    message = str(error.value)
    assert message.startswith(f"{kind.__name__} has no setting {mistyped!r}: ")
    assert f"did you mean {longest}?" in message
    assert all(field in message for field in fields)
    assert "\n" not in message


@pytest.mark.parametrize("name", ALL)
def test_a_settings_class_is_still_a_dataclass(name: str) -> None:
    required = {"name": "a-network"} if name == "networks" else {}
    default = ALL[name](**required)
    assert dataclasses.replace(default) == default
    assert ALL[name](**vars(default)) == default
    with pytest.raises(UsageError, match="nothing_such"):
        dataclasses.replace(default, nothing_such=1)


JUDGEMENTS = [tm.Label(f"film {n}", n % 2 == 1) for n in range(20)]


def fit(**settings: Any) -> Any:
    return tm.fit(JUDGEMENTS, **settings)


def steer(**settings: Any) -> Any:
    return tm.steer("no-such-folder", reward=len, **settings)


def play(**settings: Any) -> Any:
    return tm.play("CartPole-v1", **settings)


def pretrain(**settings: Any) -> Any:
    return tm.pretrain(["A text."], **settings)


PARTS = [
    (fit, "likelihood", "smooth"),
    (fit, "training", "epoch"),
    (steer, "kl", "coeff"),
    (steer, "sampling", "temprature"),
    (steer, "scaling", "clips"),
    (steer, "limits", "kll"),
    (steer, "steering", "step"),
    (play, "playing", "step"),
    (pretrain, "training", "lrr"),
]


@pytest.mark.parametrize(
    ("verb", "part", "mistyped"), PARTS, ids=[f"{v.__name__}-{p}" for v, p, _ in PARTS]
)
def test_a_verb_names_a_mistyped_setting_and_a_part_of_a_wrong_type(
    verb: Callable[..., Any], part: str, mistyped: str
) -> None:
    with pytest.raises(
        UsageError, match=f"{part} has no setting '{mistyped}': .*Choose"
    ):
        verb(**{part: {mistyped: 1}})
    for wrong in (3, "words", [("lr", 1)], tm.Label("a text", True)):
        with pytest.raises(UsageError, match=f"^{part} .*must be") as error:
            verb(**{part: wrong})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("verb", [steer, play])
def test_a_verb_refuses_what_is_no_algorithm(verb: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="algorithm 3: must be"):
        verb(algorithm=3)


def test_fit_refuses_what_is_no_backbone() -> None:
    with pytest.raises(UsageError, match="backbone 3: must be"):
        fit(backbone=3)


def test_fit_takes_the_settings_of_its_likelihood_by_name() -> None:
    texts = {"good": 1.0, "fine": 0.5, "bad": 0.0}
    judgements = [
        tm.Label(f"{word} {n}", n / 10 < good)
        for word, good in texts.items()
        for n in range(10)
    ]
    by_name = tm.fit(judgements, likelihood={"smoothing": 0.1})
    by_object = tm.fit(judgements, likelihood=tm.Likelihood(smoothing=0.1))
    plain = tm.fit(judgements)
    assert by_name.score("good") == by_object.score("good") != plain.score("good")
