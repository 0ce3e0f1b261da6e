"""The doctor on judges: agreement, contradictions, outliers, and answers that do not vary."""

import random

import pytest
from diagnosed import counts, problems_by_name, text

from tastemaker.data import Comparison, Grade, Label, Ranking, fingerprint
from tastemaker.doctor import doctor


@pytest.mark.parametrize(
    ("low", "high", "lowest", "highest"), [(5, 6, 1, 10), (3, 5, 3, 5), (-1, 1, -2, 2)]
)
def test_grades_on_two_sides_of_the_middle_disagree(low, high, lowest, highest):
    def disagree(one, other):
        rows = [
            Grade("G", one, lowest, highest, judge="x"),
            Grade("G", other, lowest, highest, judge="y"),
        ]
        return "disagreements" in problems_by_name(doctor(rows))

    assert disagree(low, high)
    assert not disagree(low, low)
    assert (
        not disagree((lowest + highest) // 2, lowest) or (lowest + highest) % 2
    )  # the middle itself is on neither side


@pytest.mark.parametrize(("a", "b"), [("A", "B"), ("B", "A")])
def test_a_tie_contradicts_nobody(a, b):
    rows = [
        Comparison(a, b, judge="x"),
        Comparison(a, b, tie=True, judge="x"),
        Comparison(a, b, tie=True, judge="y"),
    ]
    assert not {"contradictions", "disagreements"} & set(problems_by_name(doctor(rows)))


def test_a_tie_closes_no_circle():
    rows = [Comparison("A", "B"), Comparison("B", "C"), Comparison("C", "A", tie=True)]
    assert "cycles" not in problems_by_name(doctor(rows))
    assert (
        problems_by_name(doctor([*rows[:2], Comparison("C", "A")]))["cycles"].count == 3
    )


def test_agreement_of_comparisons_with_ties():
    # pair 1: two judges agree on A; pair 2: A against a tie; nobody named: left out
    rows = [Comparison("A", "B", judge="x"), Comparison("A", "B", judge="y")]
    rows += [Comparison("A", "C", judge="x"), Comparison("C", "A", judge="y", tie=True)]
    rows += [Comparison("B", "A"), Comparison("C", "B")]
    agreement = doctor(rows).agreements["comparison"]
    assert (
        agreement.pairwise.share,
        agreement.pairwise.pairs,
        agreement.pairwise.units,
    ) == (
        0.5,
        2,
        2,
    )
    assert agreement.judges == 2


def test_agreement_is_of_judges_who_share_texts():
    rows = [
        Label("A", True, judge="x"),
        Label("A", True, judge="y"),
        Label("B", False, judge="z"),
    ]
    assert doctor(rows).agreements["label"].judges == 2


def test_of_what_a_judge_says_twice_the_middle_counts():
    # x says 1, 5 and 9 of one text: for 5; y says 5
    rows = [Grade("G", grade, judge="x") for grade in (9, 1, 5)] + [
        Grade("G", 5, judge="y")
    ]
    pairwise = doctor(rows).agreements["grade"].pairwise
    assert (pairwise.share, pairwise.pairs) == (1.0, 1)


def test_rankings_agree_by_their_pairs():
    rows = [Ranking(["A", "B", "C"], judge="x"), Ranking(["A", "C", "B"], judge="y")]
    agreement = doctor(rows).agreements["ranking"]
    assert (agreement.pairwise.pairs, agreement.pairwise.share) == (
        3,
        pytest.approx(2 / 3),
    )


def test_the_rest_of_a_ranking_is_in_no_pair():
    # B and C both stand in the rest, so only A–B and A–C were judged, though three texts are there
    agreed = doctor(
        [Ranking(["A"], rest=["B", "C"], judge=name) for name in "xy"]
    ).agreements["ranking"]
    assert agreed.pairwise.units == 2


def test_of_a_long_ranking_near_pairs_are_looked_at():
    # of 23 texts, those at most 20 places apart: 253 pairs less the 3 at 21 and 22 places
    agreed = doctor(
        [Ranking([f"{i}" for i in range(23)], judge=name) for name in "xy"]
    ).agreements["ranking"]
    assert agreed.pairwise.units == 250


def test_low_agreement_is_said():
    luck = random.Random(3)
    rows = [
        Grade(text(i), luck.randint(1, 10), judge=name)
        for i in range(100)
        for name in ("ann", "bob")
    ]
    diagnosis = doctor(rows)
    assert problems_by_name(diagnosis)["low_agreement_grade"].severity == "warning"
    assert abs(diagnosis.agreements["grade"].alpha) < 0.25


def agreeing(same, n=100):
    """Two judges who label n texts, half of them positive, and agree on `same` of them."""
    rows = []
    for i in range(n):
        rows += [
            Label(text(i), i % 2 == 0, judge="x"),
            Label(text(i), (i % 2 == 0) == (i < same), judge="y"),
        ]
    return rows


@pytest.mark.parametrize(
    ("same", "severity"), [(90, None), (80, "note"), (60, "warning")]
)
def test_how_low_agreement_is_said(same, severity):
    # half of all answers are positive, so α is 1 − (1 − same/100)/0.5025: 0.80, 0.60, 0.20
    diagnosis = doctor(agreeing(same))
    assert diagnosis.agreements["label"].alpha == pytest.approx(
        1 - (1 - same / 100) / (100 / 199)
    )
    problem = problems_by_name(diagnosis).get("low_agreement_label")
    assert (problem.severity if problem else None) == severity


def crowd(n=200, seed=1):
    """Three judges who mostly agree label every text, and with them one who throws a coin."""
    luck = random.Random(seed)
    rows = []
    for i in range(n):
        truth = luck.random() < 0.5
        for name in ("ann", "bob", "cleo"):
            rows.append(Label(text(i), truth ^ (luck.random() < 0.05), judge=name))
        rows.append(Label(text(i), luck.random() < 0.5, judge="coin"))
    return rows


def test_judges_who_stand_out():
    problems = problems_by_name(doctor(crowd()))
    assert problems["judges_at_chance"].examples == ["coin"]
    assert problems["judges_at_chance"].count == 1
    same = [Label(text(i), True, judge="yes-man") for i in range(30)]
    problems = problems_by_name(
        doctor([j for j in crowd() if j.judge != "coin"] + same)
    )
    assert problems["monotonous_judges"].examples == ["yes-man"]


def test_only_ties_are_an_answer_that_is_always_the_same():
    # ann decides 60 pairs, for the text with the lower number each time: neither says anything.
    # bob ties 30 of 30,
    # which happens by chance (30/90)³⁰ of the time; cleo ties 6 of 6, (36/96)⁶ = 0.3 %: not yet
    # beyond 1 in 1,000
    def pair(i, judge, **options):
        chosen, rejected = sorted((text(2 * i), text(2 * i + 1)), key=fingerprint)
        return Comparison(chosen, rejected, judge=judge, **options)

    decided = [pair(i, "ann") for i in range(60)]
    tied = [pair(i, "bob", tie=True) for i in range(60, 90)]
    few = [pair(i, "cleo", tie=True) for i in range(90, 96)]
    assert problems_by_name(doctor([*decided, *tied]))[
        "monotonous_judges"
    ].examples == ["bob"]
    assert problems_by_name(doctor([*decided, *tied, *few]))[
        "monotonous_judges"
    ].examples == ["bob"]
    # everybody else ties now and then: never to tie is no answer either
    mixed = [pair(i, "dora", tie=i % 3 == 0) for i in range(60, 120)]
    assert "monotonous_judges" not in problems_by_name(doctor([*decided, *mixed]))


def test_who_ties_every_list_says_nothing_and_a_list_is_one_answer():
    # ann orders 60 lists of three; bob puts 30 of 30 in one tier, (30/90)³⁰; cleo 6 of 6, (36/96)⁶
    # = 0.3 %: not yet,
    # though these are 18 pairs, and (108/288)¹⁸ would be
    def ranked(i, judge, *, tied=False):
        texts = [text(3 * i + k) for k in range(3)]
        return Ranking([texts] if tied else texts, judge=judge)

    ordered = [ranked(i, "ann") for i in range(60)]
    tied = [ranked(i, "bob", tied=True) for i in range(60, 90)]
    few = [ranked(i, "cleo", tied=True) for i in range(90, 96)]
    assert problems_by_name(doctor([*ordered, *tied]))[
        "monotonous_judges"
    ].examples == ["bob"]
    assert problems_by_name(doctor([*ordered, *tied, *few]))[
        "monotonous_judges"
    ].examples == ["bob"]
    # one tier of two below the best is an order
    halves = [
        Ranking([text(3 * i), [text(3 * i + 1), text(3 * i + 2)]], judge="dora")
        for i in range(96, 140)
    ]
    assert "monotonous_judges" not in problems_by_name(doctor([*ordered, *halves]))


def test_of_labels_and_grades_any_answer_is_one():
    rows = [Label(text(i), i % 2 == 0, judge="ann") for i in range(40)]
    for answer in (True, False):
        same = [Label(text(i), answer, judge="bob") for i in range(40, 60)]
        assert problems_by_name(doctor([*rows, *same]))[
            "monotonous_judges"
        ].examples == ["bob"]
    graded = [Grade(text(i), 1 + i % 10, judge="ann") for i in range(40)]
    same = [Grade(text(i), 7, judge="bob") for i in range(40, 60)]
    assert problems_by_name(doctor([*graded, *same]))["monotonous_judges"].examples == [
        "bob"
    ]


def test_answers_that_do_not_vary():
    alike = problems_by_name(
        doctor([Label(text(i), True, where=f"l.csv:{i}") for i in range(20)])
    )
    assert {name: problem.count for name, problem in alike.items()} == {
        "constant_labels": 20
    }
    assert alike["constant_labels"].where == [f"l.csv:{i}" for i in range(10)]
    ties = [Comparison(text(2 * i), text(2 * i + 1), tie=True) for i in range(20)]
    assert counts(doctor(ties)) == {"constant_comparisons": 20}


@pytest.mark.parametrize(("rare", "name"), [(True, "positive"), (False, "negative")])
def test_the_rarer_label_is_named_and_found(rare, name):
    rows = [
        Label(text(i), (i % 20 == 3) == rare, where=f"l.csv:{i}") for i in range(100)
    ]
    problems = problems_by_name(doctor(rows))
    assert list(problems) == ["unbalanced_labels"]
    problem = problems["unbalanced_labels"]
    assert f"unbalanced labels: {name} ones are 5.0%" in problem.what
    assert (problem.count, problem.where) == (
        5,
        ["l.csv:3", "l.csv:23", "l.csv:43", "l.csv:63", "l.csv:83"],
    )
