import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import (
    Comparison,
    Grade,
    Judgement,
    Label,
    Message,
    Ranking,
    Rating,
    from_row,
    read,
    to_row,
)
from tastemaker.errors import DataError

CHARACTERS = st.characters(codec="utf-8")
NAMES = st.text(CHARACTERS, min_size=1).filter(lambda text: bool(text.strip()))
TEXTS = st.text(CHARACTERS)
ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.integers(-840, 840).map(lambda m: timezone(timedelta(minutes=m))),
)
SHARED: dict[str, Any] = {
    "prompt": st.one_of(
        st.none(),
        NAMES,
        st.lists(st.builds(Message, NAMES, TEXTS), min_size=1, max_size=3).map(tuple),
    ),
    "judge": st.one_of(st.none(), NAMES),
    "time": st.one_of(st.none(), st.datetimes(timezones=ZONES)),
    "weight": st.floats(0, 1e9),
    "source": st.one_of(st.just(""), NAMES),
}


def rankings(texts: list[str], sizes: list[int], shared: dict[str, Any]) -> Ranking:
    """Tiers of these sizes, what is left over in no order."""
    tiers, at = [], 0
    for size in sizes:
        if texts[at : at + size]:
            tiers.append(tuple(texts[at : at + size]))
        at += size
    return Ranking(tuple(tiers), tuple(texts[at:]), **shared)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
PAIRS = st.lists(TEXTS, min_size=2, max_size=2, unique=True)
MARGINS = st.one_of(st.tuples(st.floats(0, 1e9), st.just(False)), st.just((0.0, True)))
JUDGEMENTS = st.one_of(
    st.builds(Label, TEXTS, st.booleans(), **SHARED),
    st.builds(lambda text, steps, **shared: Grade(text, steps[1], steps[0], steps[2], **shared),
              TEXTS, st.lists(st.integers(-99, 99), min_size=3, max_size=3).map(sorted), **SHARED),
    st.builds(Rating, TEXTS, FINITE, **SHARED),
    st.builds(lambda pair, margin, **shared: Comparison(*pair, *margin, **shared),
              PAIRS, MARGINS, **SHARED),
    st.builds(
        rankings,
        st.lists(TEXTS, min_size=2, max_size=7, unique=True),
        st.lists(st.integers(1, 3), min_size=1, max_size=4),
        st.fixed_dictionaries(SHARED),
    ),
)  # fmt: skip


@given(JUDGEMENTS)
def test_a_judgement_comes_back_equal(judgement: Judgement) -> None:
    spelt = json.dumps(to_row(judgement), allow_nan=False)
    back = from_row(json.loads(spelt))
    assert back == judgement
    assert (type(back), back.source) == (type(judgement), judgement.source)


def test_what_is_not_said_is_left_out() -> None:
    assert to_row(Label("a", True)) == {"kind": "label", "text": "a", "positive": True}
    shared = {
        "judge": "ann",
        "time": datetime(2024, 1, 31, tzinfo=UTC),
        "weight": 2.0,
        "prompt": (Message("user", "Hi"),),
    }
    assert to_row(Comparison("a", "b", 1.5, **shared)) == {
        "kind": "comparison",
        "chosen": "a",
        "rejected": "b",
        "margin": 1.5,
        "tie": False,
        "prompt": [{"role": "user", "content": "Hi"}],
        "judge": "ann",
        "time": "2024-01-31T00:00:00+00:00",
        "weight": 2.0,
    }
    assert to_row(Ranking((("a", "b"), ("c",)), ("d",))) == {
        "kind": "ranking",
        "tiers": [["a", "b"], ["c"]],
        "rest": ["d"],
    }


MIXED: list[Judgement] = [
    Label("a", True, judge="ann"),
    Grade("a", 3, 1, 5),
    Rating("b", -0.5, weight=2.0),
    Comparison("a", "b", tie=True, prompt="Say."),
    Ranking((("a",), ("b", "c")), prompt="Say."),
]


def test_one_file_holds_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text(
        "".join(json.dumps(to_row(judgement)) + "\n" for judgement in MIXED)
    )
    judgements = read(path)
    assert judgements == MIXED
    assert [(judgement.where, judgement.source) for judgement in judgements[:2]] == [
        ("mixed.jsonl:1", "mixed.jsonl"),
        ("mixed.jsonl:2", "mixed.jsonl"),
    ]
    assert read(path, target="label") == MIXED[:1]
    assert read(path, target="rating") == MIXED[1:3]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "kind": (
        {"kind": "verdict"},
        "column 'kind' holds 'verdict'; the kinds are label, grade",
    ),
    "no kind": ({}, "column 'kind' holds None"),
    "truth": (
        {"kind": "label", "text": "a", "positive": 1},
        "'positive' holds 1 where true or false belongs",
    ),
    "no text": ({"kind": "label", "positive": True}, "no text in column 'text'"),
    "scale": (
        {"kind": "grade", "text": "a", "grade": 11},
        "holds 11, outside the scale of 1 to 10",
    ),
    "half": ({"kind": "grade", "text": "a", "grade": 1.5}, "not a whole number"),
    "rating": (
        {"kind": "rating", "text": "a", "rating": float("nan")},
        "not a finite number",
    ),
    "itself": (
        {"kind": "comparison", "chosen": "a", "rejected": "a"},
        "compares a text with itself",
    ),
    "margin": (
        {"kind": "comparison", "chosen": "a", "rejected": "b", "margin": -1},
        "the margin is -1",
    ),
    "tie": (
        {
            "kind": "comparison",
            "chosen": "a",
            "rejected": "b",
            "margin": 1,
            "tie": True,
        },
        "a tie with a margin",
    ),
    "one answer": ({"kind": "ranking", "tiers": [["a"]]}, "a ranking of 1 answers"),
    "twice": (
        {"kind": "ranking", "tiers": ["a", "b"], "rest": ["a"]},
        "holds an answer twice",
    ),
    "gap": ({"kind": "ranking", "tiers": [["a"], [], ["b"]]}, "an empty tier"),
    "tiers": (
        {"kind": "ranking", "tiers": "ab"},
        "'tiers' holds 'ab' where a list of tiers belongs",
    ),
    "tier": (
        {"kind": "ranking", "tiers": [["a"], 3]},
        "'tiers' holds 3 where a list of texts belongs",
    ),
    "judge": (
        {"kind": "label", "text": "a", "positive": True, "judge": " "},
        "the judge's name is empty",
    ),
    "weight": (
        {"kind": "label", "text": "a", "positive": True, "weight": -1},
        "the weight is -1",
    ),
    "time": (
        {"kind": "label", "text": "a", "positive": True, "time": "now"},
        "which is not a time",
    ),
    "prompt": (
        {"kind": "label", "text": "a", "positive": True, "prompt": [{"role": "user"}]},
        "message 1, content",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_one_line(case: str) -> None:
    row, problem = BAD[case]
    with pytest.raises(DataError) as caught:
        from_row(row, "m.jsonl:17", "m.jsonl")
    assert str(caught.value).startswith("m.jsonl:17: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_null_is_nothing_said() -> None:
    pair = {"kind": "comparison", "chosen": "a", "rejected": "b"}
    assert from_row(
        {**pair, "margin": None, "tie": None, "prompt": None}
    ) == Comparison("a", "b")
    assert from_row({"kind": "ranking", "tiers": ["a", "b"], "rest": None}) == Ranking(
        ["a", "b"]
    )


def test_a_scale_ends_on_both_sides() -> None:
    for grade in (1, 10):
        assert from_row({"kind": "grade", "text": "a", "grade": grade}) == Grade(
            "a", grade, 1, 10
        )
    for grade in (0, 11):
        with pytest.raises(
            DataError,
            match=rf"^m:1: .*'grade'.*{grade}\b.*\b1 to 10\b",
        ):
            from_row({"kind": "grade", "text": "a", "grade": grade}, "m:1")
    scale = {"kind": "grade", "text": "a", "lowest": -2, "highest": 2}
    assert from_row({**scale, "grade": -2}) == Grade("a", -2, -2, 2)
    with pytest.raises(DataError, match=r"-3\b.*-2 to 2\b"):
        from_row({**scale, "grade": -3})


@pytest.mark.parametrize("tie", ["no", "false", 0, 1, []])
def test_a_tie_is_true_or_false_and_nothing_like_it(tie: Any) -> None:
    # bool("no") is True: a row that says "no" must not become a tie
    with pytest.raises(DataError, match=r"^m:1: .*'tie'.*true or false"):
        from_row(
            {"kind": "comparison", "chosen": "a", "rejected": "b", "tie": tie}, "m:1"
        )
