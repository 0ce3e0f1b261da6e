import math
from typing import Any

import pytest

from tastemaker.data import (
    Columns,
    Example,
    Grade,
    Judgement,
    Label,
    Rating,
    Row,
    Table,
    Target,
    plan,
)
from tastemaker.errors import DataError, UsageError


def table(*rows: Row) -> Table:
    return Table("t", lambda: enumerate(rows, 1))


def column(name: str, *values: Any) -> Table:
    """A table with a text and one judgement column."""
    return table(
        *({"text": str(number), name: value} for number, value in enumerate(values))
    )


def judgements(
    rows: Table, columns: Columns | None = None, target: Target | None = None
) -> list[Judgement]:
    return list(plan(rows, columns or Columns(), target=target).judgements())


def refused(
    rows: Table, columns: Columns | None = None, target: Target | None = None
) -> str:
    with pytest.raises(DataError) as caught:
        judgements(rows, columns, target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        (False, True),
        (0, 1),
        ("0", "1"),
        (0.0, 1.0),
        (-1, 1),
        ("neg", "pos"),
        ("Negative", "POSITIVE "),
        ("true", "False")[::-1],
        ("no", "Yes"),
        ("bad", "good"),
    ],
)
def test_labels_that_are_understood_untold(negative: Any, positive: Any) -> None:
    expected = [Label("0", True), Label("1", False), Label("2", True)]
    assert judgements(column("label", positive, negative, positive)) == expected


@pytest.mark.parametrize("value", [0, "neg", False])
def test_one_class_alone_is_read(value: Any) -> None:
    assert judgements(column("label", value, value)) == [
        Label("0", False),
        Label("1", False),
    ]


@pytest.mark.parametrize(
    "name", ["label", "Sentiment", "CLASS", "is positive", "is-positive", "Polarity"]
)
def test_names_of_a_label_column(name: str) -> None:
    assert judgements(column(name, 1)) == [Label("0", True)]


@pytest.mark.parametrize(
    "name",
    ["Text", "REVIEW", "sentence", "content", "completion", "response", "comment"],
)
def test_names_of_a_text_column(name: str) -> None:
    assert judgements(table({name: "a", "label": 1})) == [Label("a", True)]


def test_the_likeliest_text_column_wins() -> None:
    assert judgements(table({"comment": "no", "label": 1, "review": "yes"})) == [
        Label("yes", True)
    ]


def test_two_other_labels_need_to_be_told_apart() -> None:
    rows = column("label", "ham", "Spam", "ham")
    message = refused(rows)
    assert "'ham' or 'spam'" in message
    assert "--positive" in message
    expected = [Label("0", True), Label("1", False), Label("2", True)]
    assert judgements(rows, Columns(positive="HAM")) == expected
    assert "never holds 'eggs', the positive label. It holds 'ham', 'spam'" in refused(
        rows, Columns(positive="eggs")
    )


def test_positive_may_turn_a_plain_pair_round_and_name_a_number() -> None:
    assert judgements(column("label", 0, 1), Columns(positive="0")) == [
        Label("0", True),
        Label("1", False),
    ]
    assert judgements(column("label", 1, 2), Columns(positive="2")) == [
        Label("0", False),
        Label("1", True),
    ]
    assert "'1' or '2'" in refused(column("label", 1, 2))


def test_more_than_two_labels() -> None:
    message = refused(column("label", "pos", "neg", "meh"))
    assert "more than two labels" in message
    assert "'meh' (t:3)" in message
    assert "more than two labels" in refused(
        column("label", "pos", "neg", "meh"), Columns(positive="pos")
    )
    assert "more than two labels" in refused(
        column("label", 1, 2, 3), Columns(positive="3")
    )


def test_more_than_two_whole_numbers_are_grades() -> None:
    assert judgements(column("grade", 0, 4, "2")) == [
        Grade("0", 0, 0, 4),
        Grade("1", 4, 0, 4),
        Grade("2", 2, 0, 4),
    ]


@pytest.mark.parametrize("empty", [None, "", " ", math.nan, -1, "-1"])
def test_what_nobody_labelled_is_counted_and_left_out(empty: Any) -> None:
    layout = plan(column("label", 1, empty, 0), Columns())
    assert list(layout.judgements()) == [Label("0", True), Label("2", False)]
    assert layout.layout.unlabelled == {"label": 1}
    assert judgements(column("rating", 2.5, "", 1)) == [
        Rating("0", 2.5),
        Rating("2", 1),
    ]


def test_a_row_without_the_column_is_unlabelled() -> None:
    rows = table({"text": "a", "label": 1}, {"text": "b"})
    assert judgements(rows) == [Label("a", positive=True)]


@pytest.mark.parametrize("values", [(0, 1, 2), (3, 0, 1, 2), ("0", "1", "2", "-1")])
def test_numbers_of_classes_are_no_grades_until_their_order_is_told(
    values: Any,
) -> None:
    rows = column("label", *values)
    message = refused(rows)
    assert "--order 0,1,2" in message
    assert "--grade-column label" in message
    assert judgements(rows, Columns(grade="label"))[0].value == float(values[0])
    order = ("2", "0", "1", "3")
    assert judgements(rows, Columns(order=order))[1] == Grade(
        "1", order.index(str(values[1])) + 1, 1, 4
    )


def test_classes_in_an_order() -> None:
    rows = column("label", "low", "High", "medium")
    assert "(--order low,high,medium)" in refused(rows)
    assert judgements(rows, Columns(order=("low", "medium", "high"))) == [
        Grade("0", 1, 1, 3),
        Grade("1", 3, 1, 3),
        Grade("2", 2, 1, 3),
    ]
    assert "'medium'; the classes are low, mid, high" in refused(
        rows, Columns(order=("low", "mid", "high"))
    )
    two = column("label", "ham", "spam")
    assert judgements(two, Columns(order=("spam", "ham")))[0] == Label("0", True)
    stars = column("label", "5 stars", "1 star", "2 stars")
    assert judgements(stars)[0] == Grade("0", 5, 1, 5)


def test_a_score_beside_a_label_is_how_sure_it_is() -> None:
    rows = table(
        {"text": "a", "label": "POSITIVE", "score": 0.9},
        {"text": "b", "label": "NEGATIVE", "score": 0.95},
        {"text": "c", "label": "NEGATIVE", "score": 0.6},
    )
    chosen = plan(rows, Columns())
    assert [each.kind for each in chosen.judgements()] == ["label"] * 3
    assert "how sure" in chosen.layout.notes[0]
    both = Columns(label="label", rating="score")
    assert len(judgements(rows, both)) == 6


@pytest.mark.parametrize(
    "name",
    ["review_text", "reviewText", "Review Text", "customer review", "Tweet-Text"],
)
def test_names_are_compared_loosely(name: str) -> None:
    rows = table({"review_id": "b", name: "a", "Review Stars": 4, "Star": "x"})
    assert judgements(rows, Columns(grade="review_stars")) == [Grade("a", 4, 4, 4)]


@pytest.mark.parametrize("name", ["rating", "Score"])
def test_few_whole_numbers_are_grades_on_the_scale_seen(name: str) -> None:
    assert judgements(column(name, 9, 2, "4.0"))[2] == Grade("2", 4, 2, 9)
    # 1 … 20 has twenty steps, 1 … 21 one too many; a half is no step
    assert judgements(column(name, 1, 20))[0] == Grade("0", 1, 1, 20)
    assert judgements(column(name, 1, 21))[0] == Rating("0", 1)
    assert judgements(column(name, 1, 2.5)) == [Rating("0", 1), Rating("1", 2.5)]


def test_a_scale_that_is_given() -> None:
    assert judgements(column("rating", 9, 2), Columns(scale=(1, 10)))[1] == Grade(
        "1", 2, 1, 10
    )
    assert judgements(column("rating", 9, 2), Columns(scale=(0, 100)))[1] == Rating(
        "1", 2
    )
    assert judgements(column("label", 1, 3, 5), Columns(scale=(1, 7)))[0] == Grade(
        "0", 1, 1, 7
    )
    assert "t:2: column 'rating' holds 11, outside the scale of 1 to 10" in refused(
        column("rating", 9, 11), Columns(scale=(1, 10))
    )
    assert "t:1: column 'rating' holds -0.5, outside the scale of 0 to 1" in refused(
        column("rating", -0.5, 0.5), Columns(scale=(0, 1))
    )
    with pytest.raises(UsageError, match="scale 5 to 5"):
        Columns(scale=(5, 5))


def test_a_column_named_as_ratings_or_grades_is_that() -> None:
    rows = column("score", 1, 2)
    assert judgements(rows, Columns(rating="score")) == [
        Rating("0", 1),
        Rating("1", 2),
    ]
    assert judgements(rows, Columns(grade="score")) == [
        Grade("0", 1, 1, 2),
        Grade("1", 2, 1, 2),
    ]
    assert "2.5, which is not a whole grade" in refused(
        column("score", 1, 2.5), Columns(grade="score")
    )
    assert "more than 20 steps" in refused(column("stars", 0, 100))


@pytest.mark.parametrize("value", [math.inf, "inf", "-inf"])
def test_a_rating_that_is_not_finite(value: Any) -> None:
    assert "t:2: column 'rating' holds" in refused(column("rating", 7, value))
    assert "not a finite number" in refused(column("rating", 7, value))


@pytest.mark.parametrize("value", ["eight", True, [8]])
def test_a_rating_that_is_no_number(value: Any) -> None:
    for name in ("rating", "stars"):
        assert f"t:2: column '{name}' holds" in refused(column(name, 7, value))


def test_several_judgements_in_one_row() -> None:
    rows = table(
        {
            "text": "a",
            "label": "pos",
            "stars": 4,
            "score": 0.7,
            "annotator": "ann",
            "prompt": "Say.",
        },
        {
            "text": "b",
            "label": "neg",
            "stars": 1,
            "score": 0.2,
            "annotator": None,
            "prompt": "",
        },
    )
    problem = {"prompt": "Say.", "judge": "ann"}
    label, grade, rating = (
        Label("a", True, **problem),
        Grade("a", 4, 1, 4, **problem),
        Rating("b", 0.2),
    )
    assert judgements(rows)[:2] == [label, grade]
    assert judgements(rows)[5] == rating
    assert judgements(rows, target="label") == [label, Label("b", False)]
    assert judgements(rows, target="rating") == [
        j for j in judgements(rows) if not isinstance(j, Label)
    ]
    assert judgements(rows)[0].where == "t:1"


def test_one_named_judgement_column_switches_recognition_off() -> None:
    rows = table({"text": "a", "label": 1, "score": 7, "mine": 0.5})
    assert judgements(rows, Columns(rating="mine")) == [Rating("a", 0.5)]


def test_named_columns() -> None:
    rows = table({"label": "a text", "text": 1, "q": "Say.", "review": "no"})
    columns = Columns(text="label", label="text", prompt="q")
    assert judgements(rows, columns) == [Label("a text", True, prompt="Say.")]


@pytest.mark.parametrize("kind", ["text", "prompt", "label", "grade", "rating"])
def test_a_named_column_that_is_not_there(kind: str) -> None:
    message = refused(column("label", 1), Columns(**{kind: "nope"}))
    assert "t: no column 'nope'. The columns are 'text', 'label'" in message


def test_no_text_column_and_no_judgement_column() -> None:
    assert (
        "no column with a text among 'words', 'label'. Name it with --text-column"
        in refused(table({"words": "a", "label": 1}))
    )
    message = refused(table({"text": "a", "words": 1}))
    assert "no column with a judgement among 'text', 'words'" in message
    assert "--rating-column" in message
    assert "no column with labels" in refused(column("score", 1, 2), target="label")
    assert "no column with grades or ratings" in refused(
        column("label", 0, 1), target="rating"
    )


def test_a_label_column_of_grades_is_no_label() -> None:
    rows = column("label", 1, 2, 3)
    assert "--grade-column label" in refused(rows, target="rating")
    named = Columns(grade="label")
    assert "no column with labels" in refused(rows, named, target="label")
    assert len(judgements(rows, named, target="rating")) == 3


def test_labels_that_nobody_asked_for_do_not_matter() -> None:
    rows = table(
        {"text": "a", "label": "x", "score": 1}, {"text": "b", "label": "y", "score": 2}
    )
    assert judgements(rows, target="rating") == [
        Grade("a", 1, 1, 2),
        Grade("b", 2, 1, 2),
    ]


def test_a_bad_rating_stops_a_file_of_ratings_though_labels_are_there() -> None:
    rows = table(
        {"text": "a", "label": 1, "rating": 3.5},
        {"text": "b", "label": 0, "rating": "N/A?"},
    )
    message = refused(rows, target="rating")
    assert "t:2: " in message
    assert "'N/A?'" in message
    assert judgements(rows) == [Label("a", True), Label("b", False)]


def test_no_rows() -> None:
    assert refused(table()) == "t: no rows in it."


def test_texts_alone_need_no_judgement() -> None:
    rows = table(
        {"text": "a", "rating": "?"}, {"text": "b", "rating": None, "prompt": "Say."}
    )
    assert list(plan(rows, Columns(), judged=False).examples()) == [
        Example("a"),
        Example("b", "Say."),
    ]


@pytest.mark.parametrize("value", ["", " \n", None, True, 5, {"a": 1}])
def test_a_text_that_is_none(value: Any) -> None:
    assert "t:2: " in refused(
        table({"text": "a", "label": 1}, {"text": value, "label": 0})
    )
