"""The doctor on length: bias and its interval, truncation, empty and very long texts."""

import pytest
from diagnosed import problems_by_name

from tastemaker.data import Comparison, Label, Ranking, Rating
from tastemaker.doctor import doctor
from tastemaker.errors import UsageError
from tastemaker.maths import wilson_interval


def of_length(i, length):
    """A text of its own, of so many characters."""
    return f"text {i:04d} ".ljust(length, "x")


def test_length_bias_of_comparisons_is_wilsons():
    # 30 decided pairs, of which the longer wins 27; a tie and a pair of equal lengths say nothing
    rows = [Comparison(f"{i} long long", f"{i}", prompt=f"{i}") for i in range(10, 37)]
    rows += [Comparison(f"{i}", f"{i} long long", prompt=f"{i}") for i in range(40, 43)]
    rows += [
        Comparison("tied", "tied and longer", tie=True),
        Comparison("equal", "long!"),
    ]
    diagnosis = doctor(rows)
    low, high = wilson_interval(27, 30)
    bias = diagnosis.length_bias
    assert (bias.longer_won, bias.pairs, bias.share) == (27, 30, 0.9)
    assert (bias.low, bias.high) == (
        pytest.approx(float(low)),
        pytest.approx(float(high)),
    )
    assert diagnosis.ties == 1
    problem = problems_by_name(diagnosis)["length_bias"]
    assert (problem.count, problem.severity) == (27, "warning")
    assert "the longer text won 90% of 30" in problem.what


def test_a_ranking_of_k_texts_counts_as_k_minus_one_pairs():
    # a > bb > ccc: all three pairs are won by the shorter; ten times the same shape: 30 pairs, 20
    # observations
    rows = [
        Ranking([f"{i} a", f"{i} bb", f"{i} ccc"], prompt=f"{i}") for i in range(10, 20)
    ]
    bias = doctor(rows).length_bias
    assert (bias.longer_won, bias.pairs) == (0, 30)
    assert bias.high == pytest.approx(float(wilson_interval(0, 20)[1]))
    assert "shorter" in bias.meaning


def test_verdicts_on_one_pair_count_as_one():
    # ten say that the longer of one pair is better, and one of another: 11 pairs, but 2
    # observations
    rows = [Comparison("long text", "short", judge=f"{i}") for i in range(10)] + [
        Comparison("longer", "shrt")
    ]
    bias = doctor(rows).length_bias
    assert (bias.pairs, bias.longer_won) == (11, 11)
    assert bias.low == pytest.approx(float(wilson_interval(2, 2)[0]))


def test_white_space_around_a_text_is_no_length():
    assert doctor([Comparison("long", "x" + " " * 90)]).length_bias.longer_won == 1


def test_length_goes_with_labels_and_ratings():
    rows = [Label(f"{i:03d}" + "x" * i, i >= 20, judge=None) for i in range(40)]
    rows += [Rating(f"r{i:03d}" + "x" * i, -float(i)) for i in range(40)]
    diagnosis = doctor(rows)
    assert diagnosis.length_correlations["rating"] == pytest.approx(-1)
    problems = problems_by_name(diagnosis)
    assert problems["length_correlation_label"].severity == "warning"
    assert problems["length_correlation_rating"].count == 40


def test_a_correlation_is_said_where_it_is_certain():
    # ranks turned on by a tenth of n: n − k move by k, k by n − k. Spearman is
    # 1 − 6 ((n − k) k² + k (n − k)²)/(n³ − n), 0.459 for 20 and 0.460 for 200.
    # Of 20 texts 3/√19 = 0.69 would be certain, of 200 already 0.21
    def of(n):
        moved = n // 10
        return [Rating(of_length(i, 40 + i), float((i + moved) % n)) for i in range(n)]

    few, many = doctor(of(20)), doctor(of(200))
    assert few.length_correlations["rating"] == pytest.approx(
        1 - 6 * (18 * 4 + 2 * 324) / (20**3 - 20)
    )
    assert many.length_correlations["rating"] == pytest.approx(
        1 - 6 * (180 * 400 + 20 * 32400) / (200**3 - 200)
    )
    assert "length_correlation_rating" not in problems_by_name(few)
    assert problems_by_name(many)["length_correlation_rating"].count == 200


def test_shorter_is_better_is_as_bad_as_longer():
    down = problems_by_name(
        doctor([Rating(of_length(i, 40 + i), -float(i)) for i in range(40)])
    )["length_correlation_rating"]
    up = problems_by_name(
        doctor([Rating(of_length(i, 40 + i), float(i)) for i in range(40)])
    )["length_correlation_rating"]
    assert (down.severity, up.severity) == ("warning", "warning")
    assert "-1.00" in down.what
    assert "+1.00" in up.what


def test_what_truncation_would_cut():
    rows = [Label("word " * n, n % 2 == 0) for n in (1, 2, 3, 4)]
    diagnosis = doctor(rows, max_length=2, count_tokens=lambda text: len(text.split()))
    assert (diagnosis.lengths.unit, diagnosis.lengths.cut, diagnosis.lengths.limit) == (
        "tokens",
        2,
        2,
    )
    assert problems_by_name(diagnosis)["truncation"].count == 2
    # the prompt is read too
    asked = doctor(
        [Label("a b", True, prompt="c d")],
        max_length=3,
        count_tokens=lambda text: len(text.split()),
    )
    assert asked.lengths.cut == 1
    assert doctor(rows).lengths.unit == "characters"
    assert doctor(rows).lengths.quantiles["1"] == 19
    with pytest.raises(UsageError, match="max_length 0"):
        doctor(rows, max_length=0)


@pytest.mark.parametrize(
    ("long", "severity"), [(4, "note"), (5, "note"), (6, "warning")]
)
def test_truncation_is_a_warning_beyond_a_twentieth(long, severity):
    rows = [
        Label(f"{i} " + ("word " * 9 if i < long else "word"), i % 2 == 0)
        for i in range(100)
    ]
    problem = problems_by_name(
        doctor(rows, max_length=5, count_tokens=lambda text: len(text.split()))
    )["truncation"]
    assert (problem.count, problem.severity) == (long, severity)


def test_very_long_is_beyond_ten_times_the_median():
    usual = [Label(of_length(i, 3000), i % 2 == 0) for i in range(21)]
    assert "very_long_texts" not in problems_by_name(
        doctor([*usual, Label("w" * 29_000, True)])
    )
    assert (
        problems_by_name(doctor([*usual, Label("w" * 30_001, True)]))[
            "very_long_texts"
        ].count
        == 1
    )
