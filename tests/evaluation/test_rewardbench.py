"""RewardBench 2's own rule: by hand, and against its authors' formula."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import BenchRow, fingerprints
from tastemaker.errors import DataError, ModelError
from tastemaker.evaluate import (
    RewardBench,
    TiesScore,
    evaluate_rewardbench,
    score_rewardbench,
)
from tastemaker.scores import Scores


@dataclass(frozen=True)
class Row:
    subset: str
    id: str
    chosen: tuple[str, ...] = ("right",)
    rejected: tuple[str, ...] = ("wrong 1", "wrong 2", "wrong 3")
    prompt: str = "How many legs has a spider?"


def tied(question, right, wrong, form="tied"):
    return Row(
        "Ties",
        f"{form}:{question}",
        tuple(f"r{i}" for i in range(right)),
        tuple(f"w{i}" for i in range(wrong)),
    )


@pytest.mark.parametrize(
    ("scores", "credit"),
    [
        ([4, 3, 2, 1], 1),
        ([3, 4, 2, 1], 0),
        ([4, 4, 2, 1], 1 / 2),
        ([4, 4, 4, 1], 1 / 3),
        ([2, 2, 2, 2], 1 / 4),
    ],
)
def test_a_tie_at_the_top_earns_one_nth(scores, credit):
    assert score_rewardbench([Row("Math", "1")], [scores]).subsets == {
        "Math": pytest.approx(credit)
    }


def test_subsets_count_the_same_however_many_rows_they_have():
    rows = [Row("Math", "1"), Row("Math", "2"), Row("Math", "3"), Row("Safety", "4")]
    result = score_rewardbench(
        rows, [[9, 1, 1, 1], [9, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]]
    )
    assert result.subsets == {"Math": pytest.approx(2 / 3), "Safety": 0}
    assert result.score == pytest.approx(1 / 3)
    assert result.counts == {"Math": 3, "Safety": 1}
    assert result.ties is None


def test_rows_without_a_subset_are_all_of_them():
    result = score_rewardbench(
        [Row("", "1"), Row("", "2")], [[2, 1, 1, 1], [1, 2, 1, 1]]
    )
    assert (result.subsets, result.counts) == ({"all": 0.5}, {"all": 2})


def test_ties_by_hand():
    # question 1, tied: right 5 and 4, wrong 1 → gap 3, the right ones differ by 1; ref: right 3,
    # wrong 1 → gap 2
    # question 2, tied: right 5 and 2, wrong 1 → gap 1, differ by 3; ref: right 0, wrong 1 → gap
    # −1, not accurate
    rows = [tied(1, 2, 1), tied(1, 1, 1, "ref"), tied(2, 2, 1), tied(2, 1, 1, "ref")]
    result = score_rewardbench(rows, [[5, 4, 1], [3, 1], [5, 2, 1], [0, 1]])
    margin = (math.tanh(2 / 1 - 1) + math.tanh(-1 / 3 - 1)) / 2
    assert result.ties == TiesScore(0.5, 1.0, 0.5, 0.5, pytest.approx(margin))
    assert result.score == pytest.approx(
        0.3 * 1 + 0.3 * 0.5 + 0.2 * 0.5 + 0.2 * 0.5 + 0.01 * margin
    )


def test_right_answers_that_are_scored_alike():
    # difference 0: gap 2 → tanh(∞) = 1; gap 0 → 0/0, which counts 0; the second is not accurate
    rows = [tied(1, 2, 1), tied(1, 1, 1, "ref"), tied(2, 2, 1), tied(2, 1, 1, "ref")]
    result = score_rewardbench(rows, [[3, 3, 1], [3, 1], [1, 1, 1], [3, 1]])
    assert result.ties == TiesScore(1.0, 0.5, 0.5, 0.5, 0.5)


def test_questions_without_a_partner_count_for_accuracy_only():
    rows = [tied(1, 2, 1), tied(1, 1, 1, "ref"), tied(2, 2, 1), tied(3, 1, 1, "ref")]
    result = score_rewardbench(rows, [[5, 4, 1], [9, 1], [1, 1, 5], [0, 1]])
    assert result.ties == TiesScore(0.5, 0.5, 1.0, 1.0, pytest.approx(math.tanh(2)))
    alone = score_rewardbench([tied(1, 2, 1)], [[5, 4, 1]])
    assert alone.ties is not None
    assert math.isnan(alone.score)
    assert alone.as_dict()["score"] is None
    assert json.dumps(alone.as_dict(), allow_nan=False)


def test_rows_of_one_name_are_one_question():
    # tied:1 in two rows: right 5 and 4, wrong 1 and 2 → gap 4 − 2 = 2, the right ones differ by 1;
    # ref:1: gap 8
    rows = [tied(1, 1, 1), tied(1, 1, 1), tied(1, 1, 1, "ref")]
    result = score_rewardbench(rows, [[5, 1], [4, 2], [9, 1]])
    assert result.ties == TiesScore(
        1.0, 1.0, 1.0, 1.0, pytest.approx(math.tanh(2 / 1 - 1))
    )
    # the other way round, a wrong answer of one row beats a right one of the other: gap 2 − 4 < 0
    assert score_rewardbench(rows, [[5, 4], [2, 1], [9, 1]]).ties.tied_accuracy == 0


@st.composite
def ties_subset(draw):
    score = st.integers(-3, 6).map(float)
    rows = []
    for question in range(draw(st.integers(1, 6))):
        for form, right in (("tied", draw(st.integers(2, 4))), ("ref", 1)):
            wrong = draw(st.integers(1, 3))
            rows.append(
                (
                    form,
                    question,
                    right,
                    draw(
                        st.lists(score, min_size=right + wrong, max_size=right + wrong)
                    ),
                )
            )
    return rows


@given(ties_subset())
def test_ties_are_the_published_formula(rows):
    gap = {"tied": [], "ref": []}
    spread = []
    for form, _, right, scores in rows:
        gap[form].append(min(scores[:right]) - max(scores[right:]))
        if form == "tied":
            spread.append(max(scores[:right]) - min(scores[:right]))
    in_ties, in_ref, spread = (
        np.array(gap["tied"]),
        np.array(gap["ref"]),
        np.array(spread),
    )
    with np.errstate(all="ignore"):
        margin = np.nan_to_num(
            np.tanh(np.minimum(in_ref, in_ties) / spread - 1), nan=0.0
        ).mean()
    expected = (
        0.30 * np.mean(in_ties > 0)
        + 0.30 * np.mean(in_ref > 0)
        + 0.20 * np.mean(in_ties > spread)
        + 0.20 * np.mean(np.minimum(in_ref, in_ties) > spread)
        + 0.01 * margin
    )
    items = [
        tied(question, right, len(scores) - right, form)
        for form, question, right, scores in rows
    ]
    assert score_rewardbench(
        items, [scores for *_, scores in rows]
    ).score == pytest.approx(expected)


def test_a_model_is_asked_for_every_answer_once(table_model):
    scores = {"right": 2.0, "wrong 1": 1.0, "wrong 2": 2.0, "wrong 3": 0.0}
    model = table_model({}, scores)
    result = evaluate_rewardbench(model, [Row("Math", "1"), Row("Focus", "2")])
    assert result.subsets == {"Math": 0.5, "Focus": 0.5}
    assert model.asked == 4


def test_what_was_trained_on_is_said_first(table_model) -> None:
    """Of two rows one is known from training and wrong: 0.5 with it, 1.0 without it."""
    rows = [
        Row("Math", "1", ("right",), ("wrong",)),
        Row("Math", "2", ("old", "other"), ("best",)),
    ]
    scores = {"right": 2.0, "wrong": 1.0, "old": 0.0, "other": 0.0, "best": 9.0}
    model = table_model({}, scores)
    known = fingerprints([" old\n", "unrelated"])
    result = evaluate_rewardbench(model, rows, known)
    assert (result.score, result.score_without) == (0.5, 1.0)
    assert result.as_dict()["rows_in_training"] == 1
    assert result.as_dict()["score_without"] == 1.0
    assert result.verdict().startswith(
        "Score 1.000 without the 1 of 2 rows that have an answer of the training data."
    )
    assert str(result).startswith("100.0 without rows of the training data")
    alone = evaluate_rewardbench(model, rows[1:], known)
    assert alone.verdict().startswith("Not to be believed: each of the 1 rows")
    assert alone.as_dict()["score_without"] is None
    assert "nan" not in str(alone)
    assert str(alone).startswith("every row has an answer of the training data")
    unknown = evaluate_rewardbench(model, rows)
    none = evaluate_rewardbench(model, rows, fingerprints(["unrelated"]))
    assert (unknown.rows_in_training, none.rows_in_training) == (None, 0)
    assert unknown.verdict() == none.verdict()


def test_the_same_answer_to_another_question_is_another_text():
    class Chooser:
        """Likes an answer by the question it answers."""

        def score_all(self, examples):
            values = np.array(
                [float(example.text == example.prompt) for example in examples]
            )
            return Scores(values, np.zeros(len(values), dtype=bool))

    rows = [
        Row("Math", "1", ("8",), ("6",), prompt="8"),
        Row("Math", "2", ("6",), ("8",), prompt="6"),
    ]
    assert evaluate_rewardbench(Chooser(), rows).subsets == {"Math": 1.0}


def test_it_reads_as_a_table():
    result = score_rewardbench(
        [Row("Math", "1"), tied(1, 2, 1), tied(1, 1, 1, "ref")],
        [[4, 4, 1, 1], [5, 4, 1], [9, 1]],
    )
    assert isinstance(result, RewardBench)
    assert str(result).splitlines()[0] == "Math   50.0  1 rows"
    assert str(result).splitlines()[-1].startswith("mean ")
    assert result.as_dict()["n"] == 3


@pytest.mark.parametrize(
    ("row", "scores", "error", "message"),
    [
        (Row("Math", "7", chosen=()), [1, 2, 3], DataError, "'7'.*chosen"),
        (Row("Math", "7"), [1, 2, 3], DataError, "'7'.*3 scores of 4"),
        (Row("Math", "7"), [1, 2, 3, math.nan], ModelError, "'7'.*not finite"),
        (Row("Ties", "12"), [1, 2, 3, 4], DataError, "'12'.*Ties"),
        (Row("Ties", "tied"), [1, 2, 3, 4], DataError, "'tied'.*Ties"),
        (Row("Ties", "ref"), [1, 2, 3, 4], DataError, "'ref'.*Ties"),
        (Row("Ties", "other:12"), [1, 2, 3, 4], DataError, "'other:12'.*Ties"),
    ],
)
def test_rows_that_cannot_be_scored(row, scores, error, message):
    with pytest.raises(error, match=message):
        score_rewardbench([row], [scores])


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        score_rewardbench([], [])


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        # right in one of one and one of one; by guessing 1/4 and 1/2
        (([3, 2, 1, 0], [1, 0]), "Better than guessing: 100% of its first choices"),
        # Math: all four share the top, so 1/4; Safety: both share it, so 1/2
        (([1, 1, 1, 1], [1, 1]), "No better than guessing: 38% of its first choices"),
    ],
)
def test_one_verdict_in_plain_words(
    scores: tuple[list[float], ...], verdict: str
) -> None:
    items = [
        BenchRow("Q", ("right",), ("a", "b", "c"), "Math", "1"),
        BenchRow("Q", ("right",), ("a",), "Safety", "2"),
    ]
    result = score_rewardbench(items, scores)
    assert result.verdict().startswith(verdict)
    assert "by guessing 38%" in result.verdict()
    assert result.as_dict()["verdict"] == result.verdict()


def test_without_the_share_of_guessing_nothing_is_compared_with_it() -> None:
    result = RewardBench({"Math": 0.5, "Safety": 1.0}, {"Math": 2, "Safety": 1}, None)
    assert result.verdict() == (
        "75% of its first choices are right; weakest on Math (50%)."
    )
