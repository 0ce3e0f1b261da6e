"""An evaluation against numbers worked out by hand, and what it says of odd data."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from tastemaker.data import Grade, Label, Rating, fingerprints
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.evaluate import evaluate
from tastemaker.kinds import GradeLink, LabelLink, RatingLink
from tastemaker.near_copies import STORED, sketches

# Four labelled texts. With slope ln 3 a score of 1 promises σ(ln 3) = 3/4, a score of −1 promises
# 1/4.
SCORES = {"good": 1.0, "fine indeed": 1.0, "awful": -1.0, "not so good at all": 1.0}
LABELS = [
    Label("good", True),
    Label("fine indeed", True),
    Label("awful", False),
    Label("not so good at all", False),
]


@pytest.fixture
def four(table_model):
    return table_model({Label: LabelLink(math.log(3), 0.0)}, SCORES)


# --- labels


def test_labels_by_hand(four):
    values = evaluate(four, LABELS).as_dict()
    assert values["n"] == 4
    assert values["accuracy"] == 0.75  # the last one is wrong
    # positives 1, 1; negatives −1, 1: two pairs are won and two are ties → (2 + 1)/4
    assert values["auroc"] == 0.75
    # three promised 3/4 to what came true, one promised 1/4: (3·ln(4/3) + ln 4)/4 = (0.863046 +
    # 1.386294)/4
    assert values["log_loss"] == pytest.approx(0.562335, abs=1e-6)
    # bin of 3/4: 2 of 3 came true, 0.08333 off, 3 of 4 texts; bin of 1/4: none came true, 0.25
    # off, 1 of 4 texts
    assert values["ece"] == pytest.approx(0.75 * (3 / 4 - 2 / 3) + 0.25 * 0.25)
    assert values["constant_accuracy"] == 0.5
    assert values["constant_auroc"] == 0.5
    assert values["constant_log_loss"] == pytest.approx(math.log(2))
    low, high = values["accuracy_interval"]
    assert low < 0.75 < high


def test_the_log_loss_stays_finite_where_the_probability_rounds_to_one(table_model):
    # score 800 of a negative text: P rounds to 1, and −ln(1 − P) is 800 all the same
    model = table_model({Label: LabelLink(1.0, 0.0)}, {"a": 800.0, "b": 800.0})
    values = evaluate(model, [Label("a", True), Label("b", False)]).as_dict()
    assert values["log_loss"] == pytest.approx(400)


def test_one_class_leaves_auroc_undefined_and_accuracy_fine(four):
    values = evaluate(four, LABELS[:2]).as_dict()
    assert values["auroc"] is None
    assert "auroc_interval" not in values
    assert values["accuracy"] == 1
    assert values["constant_accuracy"] == 1
    json.dumps(values, allow_nan=False)


def test_the_order_of_the_judgements_does_not_matter(world):
    w = world(Label)
    first = w.evaluated().as_dict()["by_kind"]["label"]
    w.judgements.reverse()
    second = w.evaluated().as_dict()["by_kind"]["label"]
    for part in ("linear_baseline", "difference_to_linear", "difference_to_constant"):
        first |= {f"{part}.{name}": value for name, value in first.pop(part).items()}
        second |= {f"{part}.{name}": value for name, value in second.pop(part).items()}
    assert second.keys() == first.keys()
    for name, value in first.items():
        assert second[name] == pytest.approx(value, abs=1e-12), name


def test_the_same_seed_gives_the_same_intervals(world):
    w = world(Label)
    assert w.evaluated(seed=3).as_dict() == w.evaluated(seed=3).as_dict()
    assert (
        w.evaluated(seed=3).as_dict()["auroc_interval"]
        != w.evaluated(seed=4).as_dict()["auroc_interval"]
    )


# --- grades and ratings


def test_ratings_by_hand(table_model):
    # predictions 5 + 2·s: 3, 5, 9 against 2, 6, 9: off by 1, 1, 0
    model = table_model({Rating: RatingLink(5.0, 2.0)}, {"a": -1.0, "b": 0.0, "c": 2.0})
    values = evaluate(
        model, [Rating("a", 2.0), Rating("b", 6.0), Rating("c", 9.0)]
    ).as_dict()
    assert values["mae"] == pytest.approx(2 / 3)
    assert values["constant_mae"] == pytest.approx((4 + 0 + 3) / 3)  # the median is 6
    # deviations −8/3, −2/3, 10/3 and −11/3, 1/3, 10/3: 186/9 / √(168/9 · 222/9) = 186/√37296
    assert values["pearson"] == pytest.approx(186 / math.sqrt(37296))
    assert values["spearman"] == pytest.approx(1)
    assert values["kendall_tau"] == pytest.approx(1)
    assert {"mae_interval", "pearson_interval", "spearman_interval"} <= set(values)
    assert "accuracy" not in values


def test_a_grade_is_compared_with_the_expected_grade(table_model):
    # thresholds ∓ln 3 and score 0: P(1) = 1/4, P(2) = 1/2, P(3) = 1/4 → 2 is expected
    model = table_model(
        {Grade: GradeLink(1, 3, 1.0, [-math.log(3), math.log(3)])}, {"a": 0.0, "b": 0.0}
    )
    values = evaluate(model, [Grade("a", 3, 1, 3), Grade("b", 2, 1, 3)]).as_dict()
    assert values["mae"] == pytest.approx(0.5, abs=1e-6)
    assert values["pearson"] is None  # the predictions do not vary


def test_a_grade_on_another_scale_is_refused_before_scoring(world):
    w = world(Grade, n=20)
    w.judgements.append(Grade("a new text", 3, 1, 5, where="stars.csv:7"))
    with pytest.raises(DataError, match=r"stars\.csv:7: .*\b1 to 5\b.*\b1 to 10\b"):
        w.evaluated()
    assert w.model.asked == 0


# --- the linear baseline and the constant


def test_the_baseline_is_measured_on_the_same_judgements(world):
    w = world(Label)
    values = w.evaluated().as_dict()
    alone = evaluate(w.baseline, w.judgements, resamples=100).as_dict()
    assert values["linear_baseline"]["accuracy"] == alone["accuracy"]
    assert values["linear_baseline"]["accuracy_interval"] == alone["accuracy_interval"]
    assert values["difference_to_linear"]["accuracy"] == pytest.approx(
        values["accuracy"] - alone["accuracy"]
    )


def test_a_model_and_itself_cannot_be_told_apart(world):
    w = world(Label)
    evaluation = evaluate(w.model, w.judgements, baseline=w.model, resamples=100)
    # they agree on all 300 texts, and on the next one with a chance of 0.025^(1/300) or more
    least = 1 - 0.025 ** (1 / 300)
    difference = evaluation.as_dict()["difference_to_linear"]
    assert difference["accuracy_interval"] == pytest.approx([-least, least])
    assert difference["accuracy_p"] == 1
    start = "The model cannot be told apart from the linear baseline: +0.0 points"
    assert any(verdict.startswith(start) for verdict in evaluation.verdicts())


def test_verdicts_name_the_winner(world):
    w = world(Label)
    assert any(
        v.startswith("The model beats the linear baseline by ")
        for v in w.evaluated().verdicts()
    )
    swapped = evaluate(w.baseline, w.judgements, baseline=w.model, resamples=100)
    loses = next(
        v for v in swapped.verdicts() if "loses to the linear baseline by " in v
    )
    assert (
        "[-" not in loses
    )  # "loses by 9 points, interval [5, 13]": both ends are losses


def test_a_model_that_guesses_is_said_to_be_useless(world):
    w = world(Label)
    w.model.scores = {text: math.sin(1000 * i) for i, text in enumerate(w.model.scores)}
    verdicts = w.evaluated().verdicts()
    assert not any("beats" in verdict for verdict in verdicts)


def test_without_a_baseline_its_column_is_absent(four):
    evaluation = evaluate(four, LABELS)
    assert evaluation.as_dict()["linear_baseline"] is None
    assert "linear" not in str(evaluation)


def test_a_baseline_without_the_link_is_left_out(world, four):
    w = world(Rating, n=30)
    evaluation = evaluate(
        w.model, w.judgements, baseline=world(Label, n=30).model, resamples=10
    ).as_dict()
    assert evaluation["linear_baseline"] is None
    assert evaluation["mae"] > 0


# --- kinds


def test_mixed_kinds_lie_side_by_side(world):
    values = world(Label, Rating).evaluated().as_dict()
    assert {
        "accuracy",
        "auroc",
        "mae",
        "pearson",
        "constant_accuracy",
        "constant_mae",
    } <= set(values)
    assert {"accuracy", "mae"} <= set(values["linear_baseline"])
    assert values["n"] == 300
    assert values["by_kind"]["rating"]["n"] == 300
    assert values["texts"] == 300
    assert {"accuracy", "pearson"} <= set(values["slices"][0])


def test_every_text_is_scored_once(world):
    w = world(Label, Rating)
    w.evaluated()
    assert w.model.asked == 300


def test_kinds_the_model_did_not_learn_are_listed(four):
    evaluation = evaluate(four, [*LABELS, Rating("good", 4.5)])
    assert evaluation.as_dict()["not_evaluated"] == {"rating": 1}
    assert evaluation.as_dict()["accuracy"] == 0.75
    assert (
        "1 ratings were not evaluated: the model learned labels."
        in evaluation.verdicts()
    )


def test_nothing_that_the_model_learned_is_refused(four):
    with pytest.raises(DataError, match=r"\blabels\b.*\b2 ratings\b"):
        evaluate(four, [Rating("good", 4.5), Rating("awful", 1.0)])


def test_no_judgements_are_refused(four):
    with pytest.raises(DataError, match="no judgements"):
        evaluate(four, [])


def test_a_score_that_is_not_finite_is_refused(four):
    four.scores = SCORES | {"awful": math.nan}
    with pytest.raises(ModelError, match=r"\b1 of 4\b.*\bnan\b.*'awful'"):
        evaluate(four, LABELS)


def test_no_resamples_are_refused(four):
    with pytest.raises(UsageError, match=r"resamples.*\b0\b"):
        evaluate(four, LABELS, resamples=0)


# --- length, truncation, duplicates


def test_truncated_texts_are_counted(four):
    four.limit = 10  # "fine indeed" has 11 characters, "not so good at all" 18
    evaluation = evaluate(four, LABELS)
    assert evaluation.truncated == 2
    assert any("2 texts (50.0%) were longer" in v for v in evaluation.verdicts())


def test_slices_by_length_hold_every_text(world):
    evaluation = world(Label).evaluated()
    slices = evaluation.as_dict()["slices"]
    assert len(slices) == 4
    assert sum(s["n"] for s in slices) == 300
    assert all(a["longest"] < b["shortest"] for a, b in pairwise(slices))
    mean = (
        sum(s["n"] * s["accuracy"] for s in slices) / 300
    )  # one judgement a text: the parts make up the whole
    assert mean == pytest.approx(evaluation.as_dict()["accuracy"])
    assert sum(s["n"] * s["mean_score"] for s in slices) / 300 == pytest.approx(
        evaluation.scores.mean()
    )


def test_texts_of_one_length_are_one_slice(table_model):
    model = table_model(
        {Label: LabelLink(1.0, 0.0)}, {"ab": 1.0, "cd": -1.0, "ef": 2.0}
    )
    evaluation = evaluate(
        model, [Label("ab", True), Label("cd", False), Label("ef", True)]
    )
    assert [s.n for s in evaluation.slices] == [3]
    assert evaluation.as_dict()["score_length_correlation"] is None
    assert "cannot be correlated" in str(evaluation)


@pytest.mark.parametrize(("sign", "word"), [(1, "longer"), (-1, "shorter")])
def test_a_score_that_is_length_is_found_out(world, sign, word):
    w = world(Label)
    w.model.scores = {text: sign * len(text) / 1000 for text in w.model.scores}
    evaluation = w.evaluated()
    assert evaluation.score_length_correlation == pytest.approx(sign)
    assert any(f"favours {word} texts" in v for v in evaluation.verdicts())


def test_duplicates_of_training_texts_are_counted_and_left_out(four):
    # white space around a text makes no difference; the wrong one is known from training: without
    # it all are right
    evaluation = evaluate(
        four,
        LABELS,
        training_fingerprints=fingerprints([" not so good at all\n", "unrelated"]),
    ).as_dict()
    assert evaluation["duplicates"]["texts"] == 1
    assert evaluation["duplicates"]["within"] == 0
    assert evaluation["duplicates"]["accuracy_without"] == 1
    assert evaluation["duplicates"]["pearson_without"] is None
    assert evaluation["accuracy"] == 0.75


def test_figures_without_training_texts_come_first(four):
    """With the wrong text, which is known from training, 3 of 4 are right; without it all are."""
    known = fingerprints([" not so good at all\n"])
    first, rest = str(evaluate(four, LABELS, training_fingerprints=known)).split(
        "\n\n", 1
    )
    heading, *_, accuracy = first.splitlines()
    assert heading.split("  ")[0] == "without texts of the training data"
    assert accuracy.split()[:2] == ["accuracy", "1.000"]
    assert "0.750" in rest.split("\n\n")[0]
    unrelated = fingerprints(["unrelated"])
    clean = str(evaluate(four, LABELS, training_fingerprints=unrelated))
    assert "without texts of" not in clean


def test_unknown_training_texts_are_not_called_zero_duplicates(four):
    evaluation = evaluate(four, LABELS)
    assert evaluation.as_dict()["duplicates"]["texts"] is None
    assert evaluation.as_dict()["duplicates"]["accuracy_without"] is None
    assert any("not checked" in v for v in evaluation.verdicts())


def test_nothing_but_duplicates_leaves_the_rest_undefined(four):
    evaluation = evaluate(four, LABELS, training_fingerprints=fingerprints(SCORES))
    assert evaluation.as_dict()["duplicates"]["texts"] == 4
    assert evaluation.as_dict()["duplicates"]["accuracy_without"] is None
    assert "without them: accuracy –" in str(evaluation)


def test_no_duplicates_are_said_to_be_none(four):
    evaluation = evaluate(
        four, LABELS, training_fingerprints=fingerprints(["unrelated"])
    )
    assert evaluation.as_dict()["duplicates"]["texts"] == 0
    assert evaluation.as_dict()["duplicates"]["accuracy_without"] == 0.75
    assert "No evaluated text occurs in the training data." in evaluation.verdicts()


def test_near_copies_of_training_texts_are_said_in_one_line(table_model):
    text = (
        "I have seen this film three times, and each time I found something new in it."
    )
    judged = [
        Label(text, True),
        Label("awful, from the first scene to the last one", False),
    ]
    model = table_model({Label: LabelLink(1.0, 0.0)}, {j.text: 1.0 for j in judged})
    equal, copy = (
        sketches([text])[:, :STORED],
        sketches([text.replace("x", "X") + " ok"]),
    )
    assert evaluate(model, judged).duplicates.near_copies is None
    for stored, count in ((copy[:, :STORED], 1), (sketches(["other"])[:, :STORED], 0)):
        evaluation = evaluate(model, judged, training_sketches=stored)
        assert evaluation.as_dict()["duplicates"]["near_copies"] == count
        line = "1 other evaluated texts are near-copies of training texts"
        assert any(v.startswith(line) for v in evaluation.verdicts()) == bool(count)
    # an equal text is a duplicate and not a near-copy
    evaluation = evaluate(
        model,
        judged,
        training_fingerprints=fingerprints([text]),
        training_sketches=equal,
    )
    assert (evaluation.duplicates.texts, evaluation.duplicates.near_copies) == (1, 0)


def test_repeats_within_count_the_same_judge_only(four):
    repeated = [
        *LABELS,
        Label("good", True),
        Label("good", True, judge="Ann"),
        Label("good", True, judge="Ben"),
    ]
    evaluation = evaluate(four, repeated)
    assert evaluation.duplicates.within == 1
    assert evaluation.as_dict()["n"] == 7
    assert evaluation.as_dict()["texts"] == 4


# --- what people and programs read


@pytest.mark.parametrize(
    "kinds", [(Label,), (Grade,), (Rating,), (Label, Grade, Rating)]
)
def test_the_dictionary_is_json_and_the_table_is_aligned(world, kinds):
    evaluation = world(*kinds).evaluated(
        training_fingerprints=fingerprints(["unrelated"])
    )
    assert (
        json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
        == evaluation.as_dict()
    )
    table = str(evaluation)
    assert table == evaluation.table()
    for word in ("model", "linear baseline", "constant", "characters", "mean score"):
        assert word in table
    heading, rule = table.splitlines()[:2]
    assert set(rule) == {"─"}
    assert len(heading) <= len(rule)


def test_the_table_shows_a_figure_with_its_interval(four):
    evaluation = evaluate(four, LABELS, resamples=200)
    low, high = evaluation.as_dict()["accuracy_interval"]
    assert f"0.750 [{low:.3f}, {high:.3f}]" in str(evaluation)


def test_links_are_read_and_left_alone(four):
    link = four.links[Label]
    evaluate(four, LABELS)
    assert link.slope.dtype == torch.float32
    assert link.slope.requires_grad


def test_a_better_model_has_a_better_interval_for_ratings_too(world):
    values = world(Rating).evaluated().as_dict()
    low, high = values["difference_to_linear"]["pearson_interval"]
    assert 0 < low < values["difference_to_linear"]["pearson"] < high
    assert values["difference_to_linear"]["mae"] < 0  # a smaller error
    assert np.isclose(
        values["difference_to_linear"]["mae"],
        values["mae"] - values["linear_baseline"]["mae"],
    )
