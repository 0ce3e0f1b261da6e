"""A corpus: every text once, all the evidence about it, and the units that a step keeps whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import (
    Comparison,
    Example,
    Grade,
    Judgement,
    Label,
    Ranking,
    Rating,
)
from tastemaker.errors import DataError
from tastemaker.kinds import (
    ComparisonLink,
    GradeLink,
    LabelLink,
    Likelihood,
    RankingLink,
    RatingLink,
)
from tastemaker.reward import Corpus

JUDGEMENTS: list[Judgement] = [
    Label("good", True, judge="ann"),
    Rating("good", 8.0),
    Label("bad", False),
    Label("good", False, judge="bob", weight=0.5),
    Label(
        "good", True, prompt="a film"
    ),  # the same words in answer to a prompt: another example
    Comparison("good", "fine", margin=2.0),
    Ranking(["best", ["fine", "so-so"]], rest=["awful"]),
    Ranking(["x", "y"]),
]
LINKS = {
    Label: LabelLink(1.0, 0.0),
    Rating: RatingLink(5.0, 3.0),
    Comparison: ComparisonLink(),
    Ranking: RankingLink(),
}


def corpus() -> Corpus:
    return Corpus.of(JUDGEMENTS, LINKS, judges=["ann", "bob"])


def test_every_text_is_there_once_in_order() -> None:
    words = ["good", "bad", "fine", "best", "so-so", "awful", "x", "y"]
    expected = [Example(word) for word in words]
    expected.insert(2, Example("good", "a film"))
    assert corpus().examples == expected
    assert len(corpus()) == 9


def test_evidence_points_at_its_texts() -> None:
    evidence = corpus().evidence
    assert evidence[Label].index.tolist() == [0, 1, 0, 2]
    assert evidence[Label].targets.tolist() == [True, False, False, True]
    assert evidence[Label].judge.tolist() == [0, -1, 1, -1]
    assert evidence[Label].weight.tolist() == [1, 1, 0.5, 1]
    assert evidence[Rating].targets.tolist() == [1.0]  # (8 − 5)/3
    assert evidence[Comparison].index.tolist() == [[0, 3]]
    assert evidence[Comparison].targets.tolist() == [[2.0, 0.0]]
    assert evidence[Ranking].index.tolist() == [[4, 3, 5, 6], [7, 8, 0, 0]]
    assert evidence[Ranking].targets.tolist() == [[2, 0, 1, 1, 2], [2, 0, 1, -1, -1]]


def test_a_kind_has_a_weight() -> None:
    link = LabelLink()
    link.aids = Likelihood(weights={"label": 3.0})
    corpus = Corpus.of([Label("a", True), Label("b", True, weight=0.5)], {Label: link})
    assert corpus.evidence[Label].weight.tolist() == [3.0, 1.5]


def test_units_hold_what_was_judged_together() -> None:
    units = corpus().units
    names = [{corpus().examples[i].text for i in unit.texts} for unit in units]
    # "good" was compared with "fine", which was ranked with the rest; "x" and "y" stand apart
    assert names == [
        {"good", "fine", "best", "so-so", "awful"},
        {"bad"},
        {"good"},
        {"x", "y"},
    ]
    assert units[0].rows == {Label: [0, 2], Rating: [0], Comparison: [0], Ranking: [0]}


def test_a_part_holds_its_evidence_by_new_places() -> None:
    texts, evidence = corpus().part([corpus().units[3], corpus().units[1]])
    assert texts == [7, 8, 1]
    assert evidence[Ranking].index.tolist()[0][:2] == [0, 1]
    assert evidence[Label].index.tolist() == [2]
    assert Rating not in evidence


words = st.sampled_from([f"w{i}" for i in range(12)])
comparisons = (
    st.tuples(words, words)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: Comparison(*pair))
)
some = st.lists(
    st.one_of(st.builds(Label, words, st.booleans()), comparisons),
    min_size=1,
    max_size=40,
)


@given(some)
def test_every_judgement_is_in_one_unit_with_all_its_texts(
    judgements: list[Judgement],
) -> None:
    corpus = Corpus.of(judgements, LINKS)
    for kind, evidence in corpus.evidence.items():
        rows = [row for unit in corpus.units for row in unit.rows.get(kind, [])]
        assert sorted(rows) == list(range(len(evidence)))
        for unit in corpus.units:
            for row in unit.rows.get(kind, []):
                assert set(evidence.index[row].reshape(-1).tolist()) <= set(unit.texts)
    assert {text for unit in corpus.units for text in unit.texts} == set(
        range(len(corpus))
    )


def test_a_tournament_is_taken_comparison_by_comparison() -> None:
    judgements: list[Judgement] = [Comparison(f"t{i}", f"t{i + 1}") for i in range(200)]
    corpus = Corpus.of([*judgements, Label("t5", True)], LINKS)
    assert [len(unit.texts) for unit in corpus.units] == [2] * 200
    assert sum(len(unit.rows.get(Label, [])) for unit in corpus.units) == 1


def test_a_judgement_that_does_not_fit_is_named() -> None:
    links = {Grade: GradeLink(1, 5, 1.0, [0, 1, 2, 3])}
    with pytest.raises(DataError, match=r"t\.csv:2: a scale of 1 to 10"):
        Corpus.of([Grade("a", 3, 1, 5), Grade("b", 3, 1, 10, where="t.csv:2")], links)


def test_a_link_may_lack_judgements() -> None:
    corpus = Corpus.of([Label("a", True)], LINKS)
    assert corpus.evidence[Rating].index.tolist() == []
    assert corpus.evidence[Ranking].index.shape == (0, 2)
