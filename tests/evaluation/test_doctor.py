"""The doctor: every problem planted once is found once, and healthy data has none."""

import json
import random
import time

import pytest
from diagnosed import counts, problems_by_name, text
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data import Comparison, Grade, Label, Message, Ranking, Rating
from tastemaker.doctor import Problem, doctor, excerpt
from tastemaker.errors import DataError


def healthy(n=200):
    """Comparisons with a prompt each; the longer text wins half of them."""
    rows = []
    for i in range(n):
        a, b = sorted((text(2 * i), text(2 * i + 1)), key=len)
        chosen, rejected = (a, b) if i % 2 else (b, a)
        rows.append(
            Comparison(
                chosen,
                rejected,
                prompt=f"prompt {i}",
                judge=f"judge {i % 2}",
                where=f"ok.csv:{i + 2}",
            )
        )
    return rows


def compared(*pairs, prompt="circle", judge="anna", file="p.csv"):
    return [
        Comparison(a, b, prompt=prompt, judge=judge, where=f"{file}:{i}")
        for i, (a, b) in enumerate(pairs, 2)
    ]


def test_healthy_data_has_no_problems():
    diagnosis = doctor(healthy())
    assert diagnosis.problems == []
    assert diagnosis.is_healthy
    assert "No problems found." in str(diagnosis)
    assert (diagnosis.rows, diagnosis.texts, diagnosis.prompts, diagnosis.ties) == (
        200,
        400,
        200,
        0,
    )
    assert diagnosis.kinds == {"comparison": 200}
    assert diagnosis.judges == {"judge 0": 100, "judge 1": 100}


PLANTED = [
    (
        "duplicate_judgements",
        compared(("same A", "same B"), ("same A", "same B")),
        ["p.csv:3"],
    ),
    (
        "duplicate_judgements",
        [Label("L", True), Label(" L", True), Label("M", False)],
        ["judgement 202"],
    ),
    (
        "near_duplicate_texts",
        [*compared(("One  Text", "B")), *compared(("one text", "C"), file="q.csv")],
        ["q.csv:2"],
    ),
    ("identical_pairs", compared(("Yes, it is.", "yes,  it is. ")), ["p.csv:2"]),
    ("contradictions", compared(("A", "B"), ("B", "A")), ["p.csv:2", "p.csv:3"]),
    (
        "contradictions",
        [Label("L", v, judge="judge 0", where=f"l.csv:{v:d}") for v in (True, False)],
        None,
    ),
    ("contradictions", [Grade("G", v, judge="judge 0") for v in (4, 7)], None),
    ("contradictions", [Rating("R", v, judge="judge 1") for v in (4.5, 7)], None),
    ("anonymous_contradictions", [Label("L", True), Label("L", False)], None),
    (
        "disagreements",
        [
            *compared(("A", "B"), judge="judge 0"),
            *compared(("B", "A"), judge="judge 1"),
        ],
        None,
    ),
    (
        "disagreements",
        [Grade("G", 9, judge="judge 0"), Grade("G", 2, judge="judge 1")],
        None,
    ),
    ("near_empty_texts", compared(("...", "B")), ["p.csv:2"]),
    ("very_long_texts", compared(("w" * 20_001, "B")), ["p.csv:2"]),
]


@pytest.mark.parametrize(("name", "rows", "where"), PLANTED)
def test_what_is_planted_once_is_found_once(name, rows, where):
    rows = [
        j if j.judge is None or j.judge.startswith("judge") else _as_known(j)
        for j in rows
    ]
    problems = problems_by_name(doctor([*healthy(), *rows]))
    assert {key: problem.count for key, problem in problems.items()} == {name: 1}
    assert where is None or problems[name].where == where


def _as_known(comparison):
    """A comparison by a judge of the healthy data: a new judge would be a problem."""
    chosen, rejected = comparison.texts
    return Comparison(
        chosen,
        rejected,
        prompt=comparison.prompt,
        judge="judge 0",
        where=comparison.where,
    )


def test_a_grade_near_another_is_no_disagreement():
    rows = [Grade("G", 9, judge="judge 0"), Grade("G", 8, judge="judge 1")]
    assert doctor([*healthy(), *rows]).problems == []


def test_cycles_of_one_judge_and_of_two():
    circle = compared(("A", "B"), ("B", "C"), ("C", "A"), ("A", "D"), judge="judge 0")
    problems = problems_by_name(doctor([*healthy(), *circle]))
    assert list(problems) == ["cycles"]
    assert (problems["cycles"].count, problems["cycles"].where) == (
        3,
        ["p.csv:2", "p.csv:3", "p.csv:4"],
    )
    shared = [
        *compared(("A", "B"), ("B", "C"), judge="judge 0"),
        *compared(("C", "A"), judge="judge 1"),
    ]
    assert counts(doctor([*healthy(), *shared])) == {"cycles_between_judges": 3}
    apart = [*compared(("A", "B"), ("B", "C")), *compared(("C", "A"), prompt="another")]
    assert "cycles" not in counts(doctor(apart))


def test_cycles_through_rankings_and_tiers():
    first = Ranking([["A", "B"], ["C", "D"]], prompt="p", where="r:1")
    assert (
        counts(
            doctor(
                [
                    first,
                    Ranking(["C", "E"], prompt="p"),
                    Ranking(["E", "B"], prompt="p"),
                ]
            )
        )["cycles"]
        == 3
    )
    # equal texts and the unordered rest prefer nothing
    rest = [Ranking(["A"], rest=["B", "C"]), Ranking(["B", "C"]), Ranking(["C", "D"])]
    assert "cycles" not in counts(doctor(rest))
    assert "contradictions" not in counts(doctor(rest))


def test_a_long_circle_needs_no_recursion():
    n = 10_000
    circle = [Comparison(f"t{i}", f"t{(i + 1) % n}") for i in range(n)]
    assert counts(doctor(circle))["cycles"] == n


def test_odd_rows_keep_their_lines():
    errors = [
        DataError(f"films.csv:{row}: column 'grade' is empty.") for row in (3, 17)
    ]
    with pytest.raises(DataError) as itself:
        Comparison("A", "A", where="C:/films.csv:20")
    diagnosis = doctor(healthy(), odd_rows=[*errors, itself.value])
    problems = problems_by_name(diagnosis)
    assert (diagnosis.rows, diagnosis.odd_rows) == (203, 3)
    assert (problems["odd_rows"].count, problems["odd_rows"].where) == (
        2,
        ["films.csv:3", "films.csv:17"],
    )
    assert problems["self_comparisons"].where == ["C:/films.csv:20"]
    assert {problem.severity for problem in problems.values()} == {"error"}
    assert not diagnosis.is_healthy


def test_leakage_between_splits():
    test = [
        Comparison("new A", text(0) + " ", prompt="new", where="test:2"),
        Comparison("new B", "new C", prompt="prompt 7", where="test:3"),
        Comparison("new D", "new E", prompt="newer", where="test:4"),
    ]
    problems = problems_by_name(doctor(healthy(), test=test))
    assert {name: (p.count, p.where, p.severity) for name, p in problems.items()} == {
        "leaked_texts": (1, ["test:2"], "error"),
        "leaked_prompts": (1, ["test:3"], "warning"),
    }


def test_a_tie_the_other_way_round_is_the_same_tie():
    rows = [Comparison("A", "B", tie=True), Comparison("B", "A", tie=True)]
    assert problems_by_name(doctor(rows))["duplicate_judgements"].count == 1
    assert "duplicate_judgements" not in problems_by_name(
        doctor([Comparison("A", "B"), Comparison("B", "A")])
    )


def test_two_judges_who_agree_repeat_nothing():
    assert "duplicate_judgements" not in problems_by_name(
        doctor([Label("L", True, judge=name) for name in "xy"])
    )
    assert "duplicate_judgements" not in problems_by_name(
        doctor([Label("L", True, prompt=name) for name in "xy"])
    )


def test_copies_count_under_one_prompt():
    # the same answer to two questions is no copy; prompts that are alike but for case are one
    def count(first, second):
        rows = [
            Comparison("One  Text", "B", prompt=first),
            Comparison("one text", "C", prompt=second),
        ]
        problem = problems_by_name(doctor(rows)).get("near_duplicate_texts")
        return problem.count if problem else 0

    assert (
        count("p", "q"),
        count("p", "p"),
        count("p", " P"),
        count(None, None),
        count("p", None),
    ) == (0, 1, 1, 1, 0)


def test_a_copy_of_an_identical_pair_counts_once():
    # "Yes" and "yes " are an identical pair; "YES" is one more copy of them
    rows = [Comparison("Yes", "yes  "), Comparison("YES", "No")]
    problems = problems_by_name(doctor(rows))
    assert (
        problems["identical_pairs"].count,
        problems["near_duplicate_texts"].count,
    ) == (1, 1)


def test_an_excerpt_cannot_turn_the_line_around():
    # a direction override (Cf), half a surrogate pair (Cs) and an escape (Cc)
    assert excerpt("a\u202eb \ud800 \x1b[2J\nc") == "a\ufffdb \ufffd \ufffd[2J c"


def test_what_does_not_go_together():
    scales = [Grade("G one", 3, 1, 5), Grade("G two", 8, 1, 10)]
    assert counts(doctor([*healthy(), *scales])) == {"mixed_scales": 2}
    chat = Label("answer", True, prompt=(Message("user", "question"),))
    assert counts(doctor([*healthy(), chat, Label("no", False, prompt="plain")])) == {
        "mixed_prompts": 2
    }


def test_a_judge_who_said_little_is_noted():
    problems = problems_by_name(doctor([*healthy(), Label("L", True, judge="guest")]))
    assert list(problems) == ["judges_with_few_judgements"]
    assert problems["judges_with_few_judgements"].examples == ["guest"]


def test_problems_are_ranked():
    errors = [DataError("films.csv:3: empty.")]
    rows = [
        *healthy(),
        *compared(("A", "B"), ("B", "A"), judge="judge 0"),
        Label("L", True, judge="guest"),
    ]
    severities = [
        problem.severity for problem in doctor(rows, odd_rows=errors).problems
    ]
    assert severities == ["error", "warning", "note"]


def test_of_equally_bad_problems_the_frequent_come_first():
    rows = [
        Label("...", True),
        Label("A", True),
        Label("A", False),
        *(Label(f"{i}", True) for i in range(10, 14)),
    ]
    rows += [Label(f" {i}", True) for i in range(10, 14)]
    warnings = [p for p in doctor(rows).problems if p.severity == "warning"]
    assert [p.name for p in warnings] == [
        "duplicate_judgements",
        "anonymous_contradictions",
        "near_empty_texts",
    ]
    assert [p.count for p in warnings] == [4, 1, 1]  # by name where as many


def test_anonymous_judgements_are_counted_beside_a_judge_of_that_name():
    rows = [Label("A", True, judge="anonymous"), Label("B", False), Label("C", False)]
    assert doctor(rows).as_dict()["judges"] == {"anonymous": 3}


def test_places_of_unreadable_rows_are_file_and_row():
    errors = [DataError("a.csv:3: column 'x' is empty."), DataError("no place at all")]
    assert problems_by_name(doctor([Label("A", True)], odd_rows=errors))[
        "odd_rows"
    ].where == ["a.csv:3"]


everything = st.lists(
    st.one_of(
        st.builds(
            Label,
            st.sampled_from("abC"),
            st.booleans(),
            judge=st.sampled_from([None, "x", "y"]),
        ),
        st.builds(
            Grade,
            st.sampled_from("abC"),
            st.integers(1, 10),
            judge=st.sampled_from(["x", "y"]),
        ),
        st.builds(
            Rating,
            st.sampled_from("abC"),
            st.floats(-9, 9),
            judge=st.sampled_from(["x", "y"]),
        ),
        st.builds(
            lambda pair, **options: Comparison(*pair, **options),
            st.permutations(["a", "b", "B", "cc", "dd "]).map(lambda texts: texts[:2]),
            tie=st.booleans(),
            prompt=st.sampled_from([None, "p", "P"]),
            judge=st.sampled_from([None, "x", "y"]),
        ),
        st.builds(
            lambda order, cut, **options: Ranking(
                [order[:cut], *order[cut:4]], rest=order[4:], **options
            ),
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
        intervals = [
            bias.pop("interval") for bias in (one["length_bias"], other["length_bias"])
        ]
        assert one["length_bias"] == other["length_bias"]
        assert intervals[0] == pytest.approx(intervals[1])  # sums in another order
    for kind, agreement in before.agreements.items():
        assert agreement.alpha == pytest.approx(
            after.agreements[kind].alpha, nan_ok=True
        )
    json.dumps(before.as_dict(), allow_nan=False)
    assert str(before)


def test_nothing_at_all():
    diagnosis = doctor([])
    assert (diagnosis.rows, diagnosis.problems) == (0, [])
    assert json.loads(json.dumps(diagnosis.as_dict(), allow_nan=False))["kinds"] == {}


def test_hostile_names_stay_on_their_line():
    shown = str(
        doctor(
            [
                Label("text", True, judge="evil\x1b[2J\nname"),
                Label("other", False, judge="b"),
            ]
        )
    )
    assert "\x1b" not in shown
    assert "evil\ufffd[2J name" in shown


def test_twenty_thousand_judgements_take_seconds():
    luck = random.Random(0)
    rows = [
        Comparison(
            *luck.sample([f"answer {k} to {i // 10}" for k in range(4)], 2),
            prompt=f"{i // 10}",
            judge=f"{i % 50}",
        )
        for i in range(20_000)
    ]
    start = time.process_time()
    doctor(rows, test=rows[:1000])
    assert time.process_time() - start < 10


def test_a_problem_says_what_the_contract_promises():
    problem = Problem("name", "what", 1, "note", "advice", ["a.csv:2"])
    assert {"what", "where", "count", "severity"} <= set(problem.as_dict())


def test_real_annotators(shared_data):
    from tastemaker.data import read

    odd = []
    rows = read(shared_data / "pandalm" / "testset-v1.json", skip_bad=odd)
    diagnosis = doctor(rows, odd_rows=odd)
    assert problems_by_name(diagnosis)["odd_rows"].count == 6
    assert len(problems_by_name(diagnosis)["odd_rows"].where) == 6
    assert set(diagnosis.judges) == {"annotator1", "annotator2", "annotator3"}
    assert diagnosis.agreements["comparison"].alpha == pytest.approx(0.861, abs=5e-4)


REVIEW = (
    "The actors were wonderful and the story kept me guessing until the last scene of"
)


def test_near_copies_are_counted_and_shown():
    rows = [*healthy(), Label(f"{REVIEW} it.", True), Label(f"{REVIEW} ot!", False)]
    rows.append(Label(f"{REVIEW} IT", True))  # the same but for case and punctuation
    problem = problems_by_name(doctor(rows))["near_copies"]
    assert (problem.count, problem.severity) == (2, "warning")
    assert all(" | …" in example for example in problem.examples)


def test_near_copies_across_a_split_are_leakage():
    test = [Label(f"{REVIEW} ut.", True, where="t.csv:2"), Label("new", False)]
    train = [*healthy(), Label(f"{REVIEW} it.", True)]
    problem = problems_by_name(doctor(train, test=test))["leaked_near_copies"]
    assert (problem.count, problem.severity) == (1, "error")
    assert problem.where == ["t.csv:2"]
    assert "leaked_near_copies" not in problems_by_name(doctor(healthy(), test=test))


def test_conversations_that_begin_alike_are_noted_and_leak():
    start = (Message("user", "Which film?"),)
    later = (*start, Message("assistant", "This."), Message("user", "Why?"))
    first, second = (
        Label(f"A {n}", True, prompt=p) for n, p in enumerate((start, later))
    )
    chats = [
        Label(f"B {n}", n % 2 == 0, prompt=(Message("user", f"q{n}"),))
        for n in range(4)
    ]
    problem = problems_by_name(doctor([*chats, first, second]))["shared_beginnings"]
    assert (problem.count, problem.severity) == (1, "note")
    leak = problems_by_name(doctor([*chats, first], test=[second]))["leaked_beginnings"]
    assert (leak.count, leak.severity) == (1, "warning")
    assert "leaked_beginnings" not in problems_by_name(doctor(chats, test=[second]))
