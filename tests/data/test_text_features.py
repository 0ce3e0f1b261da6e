"""Features of how a text is written."""

import math

import pytest

from tastemaker.data import FEATURES, features_of

LISTED = (
    "# Why\n\nIt is **good**:\n- one\n* two\n 3. three!\n\nSee `x` at https://a.b NOW?"
)


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("lists", LISTED, 3),
        ("lists", "a - b\n-5 degrees\n3.5 stars", 0),
        ("headings", LISTED, 1),
        ("headings", "a # b\n#hashtag", 0),
        ("bold", LISTED, 1),
        ("code", LISTED + "\n```\nx\n```", 3),
        ("links", LISTED, 1),
        ("paragraphs", LISTED, 2),
        ("exclamations", "Good! 好!", 2),
        ("exclamations", "好！", 1),
        ("questions", LISTED, 1),
        ("digits", "10 of 10", 4),
        ("capitals", "NOW I SAY it", 2),
        ("emoji", "good 😀👍", 2),
    ],
)
def test_a_count_by_hand(name: str, text: str, count: int) -> None:
    assert features_of([text], [name]).tolist() == [[pytest.approx(math.log1p(count))]]


def test_length_is_of_characters() -> None:
    assert features_of(["", "abc"], ["length"])[:, 0].tolist() == [0, math.log(4)]


def test_a_plain_text_has_no_feature_but_its_length() -> None:
    plain = features_of(["A film that I liked."], list(FEATURES))
    assert (plain[0] > 0).sum() == 1
