"""The doctor: every problem planted once is found once, and healthy data has none."""

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data.judgements import Comparison, Grade, Label, Message, Ranking, Rating
from tastemaker.errors import DataError, UsageError
from tastemaker.evaluation.doctor import Problem, doctor
from tastemaker.maths.statistics import wilson_interval


def found(diagnosis):
    """Return name → problem; every name once."""
    names = [problem.name for problem in diagnosis.problems]
    assert len(names) == len(set(names))
    return {problem.name: problem for problem in diagnosis.problems}


def counts(diagnosis):
    return {problem.name: problem.count for problem in diagnosis.problems}


def text(i):
    """A text whose length has nothing to do with its number."""
    return f"text {i:04d} " + "x" * (i * 7919 % 97)


def healthy(n=200):
    """Comparisons under their own prompts, in which as often the longer as the shorter text wins."""
    rows = []
    for i in range(n):
        a, b = sorted((text(2 * i), text(2 * i + 1)), key=len)
        chosen, rejected = (a, b) if i % 2 else (b, a)
        rows.append(Comparison(chosen, rejected, prompt=f"prompt {i}", judge=f"judge {i % 2}", where=f"ok.csv:{i + 2}"))
    return rows


def compared(*pairs, prompt="circle", judge="anna", file="p.csv"):
    return [Comparison(a, b, prompt=prompt, judge=judge, where=f"{file}:{i}") for i, (a, b) in enumerate(pairs, 2)]


def test_healthy_data_has_no_problems():
    diagnosis = doctor(healthy())
    assert diagnosis.problems == []
    assert diagnosis.is_healthy
    assert "No problems found." in str(diagnosis)
    assert (diagnosis.rows, diagnosis.texts, diagnosis.prompts, diagnosis.ties) == (200, 400, 200, 0)
    assert diagnosis.kinds == {"comparison": 200}
    assert diagnosis.judges == {"judge 0": 100, "judge 1": 100}


PLANTED = [
    ("duplicate_judgements", compared(("same A", "same B"), ("same A", "same B")), ["p.csv:3"]),
    ("duplicate_judgements", [Label("L", True), Label(" L", True), Label("M", False)], ["judgement 202"]),
    ("near_duplicate_texts", [*compared(("One  Text", "B")), *compared(("one text", "C"), file="q.csv")], ["q.csv:2"]),
    ("identical_pairs", compared(("Yes, it is.", "yes,  it is. ")), ["p.csv:2"]),
    ("contradictions", compared(("A", "B"), ("B", "A")), ["p.csv:2", "p.csv:3"]),
    ("contradictions", [Label("L", v, judge="judge 0", where=f"l.csv:{v:d}") for v in (True, False)], None),
    ("contradictions", [Grade("G", v, judge="judge 0") for v in (4, 7)], None),
    ("contradictions", [Rating("R", v, judge="judge 1") for v in (4.5, 7)], None),
    ("anonymous_contradictions", [Label("L", True), Label("L", False)], None),
    ("disagreements", [*compared(("A", "B"), judge="judge 0"), *compared(("B", "A"), judge="judge 1")], None),
    ("disagreements", [Grade("G", 9, judge="judge 0"), Grade("G", 2, judge="judge 1")], None),
    ("near_empty_texts", compared(("...", "B")), ["p.csv:2"]),
    ("very_long_texts", compared(("w" * 20_001, "B")), ["p.csv:2"]),
]


@pytest.mark.parametrize(("name", "rows", "where"), PLANTED)
def test_what_is_planted_once_is_found_once(name, rows, where):
    rows = [j if j.judge is None or j.judge.startswith("judge") else _as_known(j) for j in rows]
    problems = found(doctor([*healthy(), *rows]))
    assert {key: problem.count for key, problem in problems.items()} == {name: 1}
    assert where is None or problems[name].where == where


def _as_known(comparison):
    """The same comparison by a judge of the healthy data: a judge with one judgement would be a problem too."""
    chosen, rejected = comparison.texts
    return Comparison(chosen, rejected, prompt=comparison.prompt, judge="judge 0", where=comparison.where)


def test_a_grade_near_another_is_no_disagreement():
    rows = [Grade("G", 9, judge="judge 0"), Grade("G", 8, judge="judge 1")]
    assert doctor([*healthy(), *rows]).problems == []


def test_cycles_of_one_judge_and_of_two():
    circle = compared(("A", "B"), ("B", "C"), ("C", "A"), ("A", "D"), judge="judge 0")
    problems = found(doctor([*healthy(), *circle]))
    assert list(problems) == ["cycles"]
    assert (problems["cycles"].count, problems["cycles"].where) == (3, ["p.csv:2", "p.csv:3", "p.csv:4"])
    shared = [*compared(("A", "B"), ("B", "C"), judge="judge 0"), *compared(("C", "A"), judge="judge 1")]
    assert counts(doctor([*healthy(), *shared])) == {"cycles_between_judges": 3}
    apart = [*compared(("A", "B"), ("B", "C")), *compared(("C", "A"), prompt="another")]
    assert "cycles" not in counts(doctor(apart))


def test_cycles_through_rankings_and_tiers():
    first = Ranking([["A", "B"], ["C", "D"]], prompt="p", where="r:1")
    assert counts(doctor([first, Ranking(["C", "E"], prompt="p"), Ranking(["E", "B"], prompt="p")]))["cycles"] == 3
    # equal texts and the unordered rest prefer nothing
    rest = [Ranking(["A"], rest=["B", "C"]), Ranking(["B", "C"]), Ranking(["C", "D"])]
    assert "cycles" not in counts(doctor(rest))
    assert "contradictions" not in counts(doctor(rest))


def test_a_long_circle_needs_no_recursion():
    n = 50_000
    circle = [Comparison(f"t{i}", f"t{(i + 1) % n}") for i in range(n)]
    assert counts(doctor(circle))["cycles"] == n


def test_odd_rows_keep_their_lines():
    errors = [DataError(f"films.csv:{row}: column 'grade' is empty.") for row in (3, 17)]
    with pytest.raises(DataError) as itself:
        Comparison("A", "A", where="C:/films.csv:20")
    diagnosis = doctor(healthy(), odd_rows=[*errors, itself.value])
    problems = found(diagnosis)
    assert (diagnosis.rows, diagnosis.odd_rows) == (203, 3)
    assert (problems["odd_rows"].count, problems["odd_rows"].where) == (2, ["films.csv:3", "films.csv:17"])
    assert problems["self_comparisons"].where == ["C:/films.csv:20"]
    assert {problem.severity for problem in problems.values()} == {"error"}
    assert not diagnosis.is_healthy


def test_leakage_between_splits():
    test = [
        Comparison("new A", text(0) + " ", prompt="new", where="test:2"),
        Comparison("new B", "new C", prompt="prompt 7", where="test:3"),
        Comparison("new D", "new E", prompt="newer", where="test:4"),
    ]
    problems = found(doctor(healthy(), test=test))
    assert {name: (p.count, p.where, p.severity) for name, p in problems.items()} == {
        "leaked_texts": (1, ["test:2"], "error"),
        "leaked_prompts": (1, ["test:3"], "warning"),
    }


def test_length_bias_of_comparisons_is_wilsons():
    # 30 decided pairs, of which the longer wins 27; a tie and a pair of equal lengths say nothing
    rows = [Comparison(f"{i} long long", f"{i}", prompt=f"{i}") for i in range(10, 37)]
    rows += [Comparison(f"{i}", f"{i} long long", prompt=f"{i}") for i in range(40, 43)]
    rows += [Comparison("tied", "tied and longer", tie=True), Comparison("equal", "long!")]
    diagnosis = doctor(rows)
    low, high = wilson_interval(27, 30)
    bias = diagnosis.length_bias
    assert (bias.longer_won, bias.pairs, bias.share) == (27, 30, 0.9)
    assert (bias.low, bias.high) == (pytest.approx(float(low)), pytest.approx(float(high)))
    assert diagnosis.ties == 1
    problem = found(diagnosis)["length_bias"]
    assert (problem.count, problem.severity) == (27, "warning")
    assert "the longer text won 90% of 30" in problem.what


def test_a_ranking_of_k_texts_counts_as_k_minus_one_pairs():
    # a > bb > ccc: all three pairs are won by the shorter; ten times the same shape: 30 pairs, 20 observations
    rows = [Ranking([f"{i} a", f"{i} bb", f"{i} ccc"], prompt=f"{i}") for i in range(10, 20)]
    bias = doctor(rows).length_bias
    assert (bias.longer_won, bias.pairs) == (0, 30)
    assert bias.high == pytest.approx(float(wilson_interval(0, 20)[1]))
    assert "shorter" in bias.meaning


def test_length_goes_with_labels_and_ratings():
    rows = [Label(f"{i:03d}" + "x" * i, i >= 20, judge=None) for i in range(40)]
    rows += [Rating(f"r{i:03d}" + "x" * i, -float(i)) for i in range(40)]
    diagnosis = doctor(rows)
    assert diagnosis.length_correlations["rating"] == pytest.approx(-1)
    problems = found(diagnosis)
    assert problems["length_correlation_label"].severity == "warning"
    assert problems["length_correlation_rating"].count == 40


def test_what_truncation_would_cut():
    rows = [Label("word " * n, n % 2 == 0) for n in (1, 2, 3, 4)]
    diagnosis = doctor(rows, max_length=2, count_tokens=lambda text: len(text.split()))
    assert (diagnosis.lengths.unit, diagnosis.lengths.cut, diagnosis.lengths.limit) == ("tokens", 2, 2)
    assert found(diagnosis)["truncation"].count == 2
    # the prompt is read too
    asked = doctor([Label("a b", True, prompt="c d")], max_length=3, count_tokens=lambda text: len(text.split()))
    assert asked.lengths.cut == 1
    assert doctor(rows).lengths.unit == "characters"
    assert doctor(rows).lengths.quantiles["1"] == 19
    with pytest.raises(UsageError, match="max_length 0"):
        doctor(rows, max_length=0)


def test_answers_that_do_not_vary():
    assert counts(doctor([Label(text(i), True) for i in range(20)])) == {"constant_labels": 20}
    ties = [Comparison(text(2 * i), text(2 * i + 1), tie=True) for i in range(20)]
    assert counts(doctor(ties)) == {"constant_comparisons": 20}
    rare = [Label(text(i), i % 30 == 0) for i in range(300)]
    assert counts(doctor(rare)) == {"unbalanced_labels": 10}


def test_what_does_not_go_together():
    scales = [Grade("G one", 3, 1, 5), Grade("G two", 8, 1, 10)]
    assert counts(doctor([*healthy(), *scales])) == {"mixed_scales": 2}
    chat = Label("answer", True, prompt=(Message("user", "question"),))
    assert counts(doctor([*healthy(), chat, Label("no", False, prompt="plain")])) == {"mixed_prompts": 2}


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
    problems = found(doctor(crowd()))
    assert problems["judges_at_chance"].examples == ["coin"]
    assert problems["judges_at_chance"].count == 1
    same = [Label(text(i), True, judge="yes-man") for i in range(30)]
    problems = found(doctor([j for j in crowd() if j.judge != "coin"] + same))
    assert problems["monotonous_judges"].examples == ["yes-man"]
    problems = found(doctor([*healthy(), Label("L", True, judge="guest")]))
    assert problems["judges_with_few_judgements"].examples == ["guest"]
    assert list(problems) == ["judges_with_few_judgements"]


def test_agreement_of_comparisons_with_ties():
    # pair 1: two judges agree on A; pair 2: A against a tie; nobody named: left out
    rows = [Comparison("A", "B", judge="x"), Comparison("A", "B", judge="y")]
    rows += [Comparison("A", "C", judge="x"), Comparison("C", "A", judge="y", tie=True)]
    rows += [Comparison("B", "A"), Comparison("C", "B")]
    agreement = doctor(rows).agreements["comparison"]
    assert (agreement.pairwise.share, agreement.pairwise.pairs, agreement.pairwise.units) == (0.5, 2, 2)
    assert agreement.judges == 2


def test_rankings_agree_by_their_pairs():
    rows = [Ranking(["A", "B", "C"], judge="x"), Ranking(["A", "C", "B"], judge="y")]
    agreement = doctor(rows).agreements["ranking"]
    assert (agreement.pairwise.pairs, agreement.pairwise.share) == (3, pytest.approx(2 / 3))


def test_low_agreement_is_said():
    luck = random.Random(3)
    rows = [Grade(text(i), luck.randint(1, 10), judge=name) for i in range(100) for name in ("ann", "bob")]
    diagnosis = doctor(rows)
    assert found(diagnosis)["low_agreement_grade"].severity == "warning"
    assert abs(diagnosis.agreements["grade"].alpha) < 0.25


def test_problems_are_ranked():
    errors = [DataError("films.csv:3: empty.")]
    rows = [*healthy(), *compared(("A", "B"), ("B", "A"), judge="judge 0"), Label("L", True, judge="guest")]
    severities = [problem.severity for problem in doctor(rows, odd_rows=errors).problems]
    assert severities == ["error", "warning", "note"]


everything = st.lists(
    st.one_of(
        st.builds(Label, st.sampled_from("abC"), st.booleans(), judge=st.sampled_from([None, "x", "y"])),
        st.builds(Grade, st.sampled_from("abC"), st.integers(1, 10), judge=st.sampled_from(["x", "y"])),
        st.builds(Rating, st.sampled_from("abC"), st.floats(-9, 9), judge=st.sampled_from(["x", "y"])),
        st.builds(
            lambda pair, **options: Comparison(*pair, **options),
            st.permutations(["a", "b", "B", "cc", "dd "]).map(lambda texts: texts[:2]),
            tie=st.booleans(),
            prompt=st.sampled_from([None, "p", "P"]),
            judge=st.sampled_from([None, "x", "y"]),
        ),
        st.builds(
            lambda order, cut, **options: Ranking([order[:cut], *order[cut:4]], rest=order[4:], **options),
            st.permutations(["a", "b", "B", "cc", "dd"]),
            st.integers(1, 3),
            judge=st.sampled_from([None, "x"]),
        ),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(everything, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_count(rows, shuffler):
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    before, after = doctor(rows), doctor(shuffled)
    assert counts(before) == counts(after)
    one, other = before.as_dict(), after.as_dict()
    for key in ("rows", "kinds", "judges", "ties", "texts", "prompts"):
        assert one[key] == other[key]
    assert (one["length_bias"] is None) == (other["length_bias"] is None)
    if one["length_bias"] is not None:
        intervals = [bias.pop("interval") for bias in (one["length_bias"], other["length_bias"])]
        assert one["length_bias"] == other["length_bias"]
        assert intervals[0] == pytest.approx(intervals[1])  # sums in another order
    for kind, agreement in before.agreements.items():
        assert agreement.alpha == pytest.approx(after.agreements[kind].alpha, nan_ok=True)
    json.dumps(before.as_dict(), allow_nan=False)
    assert str(before)


def test_nothing_at_all():
    diagnosis = doctor([])
    assert (diagnosis.rows, diagnosis.problems) == (0, [])
    assert json.loads(json.dumps(diagnosis.as_dict(), allow_nan=False))["kinds"] == {}


def test_hostile_names_stay_on_their_line():
    shown = str(doctor([Label("text", True, judge="evil\x1b[2J\nname"), Label("other", False, judge="b")]))
    assert "\x1b" not in shown
    assert "evil\ufffd[2J name" in shown


def test_twenty_thousand_judgements_take_seconds():
    luck = random.Random(0)
    rows = [
        Comparison(
            *luck.sample([f"answer {k} to {i // 10}" for k in range(4)], 2), prompt=f"{i // 10}", judge=f"{i % 50}"
        )
        for i in range(20_000)
    ]
    start = time.perf_counter()
    doctor(rows, test=rows[:1000])
    assert time.perf_counter() - start < 10


def test_a_problem_says_what_the_contract_promises():
    problem = Problem("name", "what", 1, "note", "advice", ["a.csv:2"])
    assert {"what", "where", "count", "severity"} <= set(problem.as_dict())


def test_real_annotators(shared_data):
    from tastemaker.data.read import read

    odd = []
    rows = read(shared_data / "pandalm" / "testset-v1.json", skip_bad=odd)
    diagnosis = doctor(rows, odd_rows=odd)
    assert found(diagnosis)["odd_rows"].count == 6
    assert len(found(diagnosis)["odd_rows"].where) == 6
    assert set(diagnosis.judges) == {"annotator1", "annotator2", "annotator3"}
    assert diagnosis.agreements["comparison"].alpha == pytest.approx(0.861, abs=5e-4)
