"""When it is time to stop, and which window was best."""

import math
import re

import pytest

from tastemaker.errors import UsageError
from tastemaker.rl import Limits, Watch, distinct, distinct_pairs

FINE = {"score": 1.0, "kl": 1.0, "distinct": 1.0, "pairs": 0.5}


def watch(**limits: float) -> Watch:
    looks = Watch(Limits(**({"patience": 1} | limits)))  # type: ignore[arg-type]
    looks.begin([0.0, 2.0], pairs=0.5)
    return looks


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"kl": 60.1}, "the KL from the reference is 60.1 nats a text, more than 60:"),
        (
            {"distinct": 0.29},
            r"only 29% of the texts are distinct \(30% is the least\)",
        ),
        (
            {"pairs": 0.049},
            r"distinct word pairs have fallen to 10% of what they were \(10% is the least\)",
        ),
    ],
)
def test_each_limit_stops(window: dict[str, float], words: str) -> None:
    reason = watch().judge(FINE | window)
    assert reason is not None
    assert re.match(words, reason)


def test_at_its_limit_nothing_stops() -> None:
    assert watch().judge(FINE | {"kl": 60.0, "distinct": 0.3, "pairs": 0.05}) is None


def test_a_held_out_score_that_falls_while_the_score_rises() -> None:
    """The reference's scores 0 and 2 have the deviation 1: 0.15 of it below the best is too far."""
    looks = watch()
    assert looks.spread == 1
    assert looks.judge(FINE | {"held_out": 0.5}) is None
    assert looks.judge(FINE | {"held_out": 0.36, "score": 2.0}) is None, "0.14 less"
    assert looks.judge(FINE | {"held_out": 0.3, "score": 0.9}) is None, (
        "the score fell too"
    )
    reason = looks.judge(FINE | {"held_out": 0.3, "score": 1.0})
    assert reason is not None
    assert reason.startswith(
        "the held-out score has fallen from 0.50 to 0.30 while the score rose"
    )
    other = Watch(Limits(patience=1, held_out=0.15))
    other.begin([0.0, 4.0], pairs=0.5)
    other.judge(FINE | {"held_out": 0.5})
    assert other.judge(FINE | {"held_out": 0.3}) is None, (
        "0.2 are 0.1 of a deviation of 2"
    )


def test_patience_is_of_windows_in_a_row() -> None:
    looks, bad = watch(patience=2), FINE | {"kl": 99.0}
    assert [looks.judge(w) is None for w in (bad, FINE, bad, bad)] == [
        True,
        True,
        True,
        False,
    ]


def test_the_best_window_is_by_the_held_out_score_where_there_is_one() -> None:
    looks = watch()
    bests = []
    for score in (1.0, 3.0, 2.0, 3.0, 4.0):
        looks.judge(FINE | {"score": score})
        bests.append((looks.best, looks.is_best))
    assert bests == [(0, True), (1, True), (1, False), (1, False), (4, True)], (
        "of equals the first"
    )
    looks = watch(held_out=9.0)
    for score, held_out in ((1.0, 5.0), (2.0, 4.0), (0.0, 6.0)):
        looks.judge(FINE | {"score": score, "held_out": held_out})
    assert looks.best == 2


def test_a_reference_without_spread_or_word_pairs() -> None:
    looks = Watch(Limits(patience=1))
    looks.begin([1.0, 1.0], pairs=0.0)
    assert looks.spread == 1
    assert looks.judge(FINE | {"pairs": 0.0}) is None, "texts of one word: none to lose"


def test_the_state_is_all_there_is() -> None:
    looks = watch()
    looks.judge(FINE)
    other = Watch(looks.limits, **looks.state())
    assert other == looks


def test_distinct_texts_and_word_pairs() -> None:
    """a b, b a, a b and b c: three of four; of characters ab, bb."""
    assert distinct(["a", "b", "a", ""]) == 0.75
    assert math.isnan(distinct([]))
    assert distinct_pairs(["a b a", "a b c"]) == 0.75
    assert distinct_pairs([" abb "]) == 1
    assert distinct_pairs(["aaa"]) == 0.5
    assert distinct_pairs(["word", "a"]) == 1, "w-o, o-r, r-d"
    assert distinct_pairs(["a", ""]) == 0


@pytest.mark.parametrize(
    "limits",
    [
        {"kl": 0.0},
        {"held_out": -0.1},
        {"patience": 0},
        {"distinct": 1.1},
        {"pairs": -0.1},
        {"kl": math.nan},
    ],
)
def test_limits_are_checked(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"^limits: "):
        Limits(**limits)  # type: ignore[arg-type]
