import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import (
    Comparison,
    Judgement,
    Label,
    Message,
    Ranking,
    Rating,
    fingerprints,
    overlap,
    split,
    split_for_a_fit,
)
from tastemaker.errors import DataError, UsageError

TEXTS = [Label(f"film {number}", number % 2 == 0) for number in range(100)]
words = st.sampled_from([f"word {number}" for number in range(12)])
judgements = st.lists(
    st.builds(Label, words, st.booleans(), prompt=st.one_of(st.none(), words)),
    min_size=1,
    max_size=30,
)


def texts(judgements: list[Judgement]) -> set[str]:
    return {judgement.text.strip() for judgement in judgements}


@pytest.mark.parametrize(
    ("held_out", "count"), [(0.1, 10), (0.25, 25), (0.994, 99), (1, 1), (99, 99)]
)
def test_the_share_is_exact(held_out: float, count: int) -> None:
    train, test = split(TEXTS, held_out=held_out)
    assert (len(train), len(test)) == (100 - count, count)


def test_both_sides_keep_the_order_and_lose_nothing() -> None:
    train, test = split(TEXTS)
    assert train == [j for j in TEXTS if j not in test]
    assert test == [j for j in TEXTS if j not in train]


def test_the_seed_alone_decides_not_the_order_of_the_rows() -> None:
    test = texts(split(TEXTS, seed=3)[1])
    assert texts(split(TEXTS[::-1], seed=3)[1]) == test
    assert texts(split(TEXTS, seed=4)[1]) != test


def test_a_new_row_moves_at_most_one_old_one() -> None:
    before = texts(split(TEXTS, held_out=10)[1])
    after = texts(split([*TEXTS, Label("new", True)], held_out=10)[1])
    assert len(before - after) <= 1


def test_equal_texts_stay_together() -> None:
    judgements: list[Judgement] = [
        *TEXTS,
        *(Rating(f" {j.text}\n", 1.0, judge="ann") for j in TEXTS),
    ]
    train, test = split(judgements)
    assert len(test) == 20
    assert not texts(train) & texts(test)


def test_texts_that_answer_one_prompt_stay_together() -> None:
    judgements = [
        Label(f"text {number}", True, prompt=f"prompt {number % 10}")
        for number in range(100)
    ]
    train, test = split(judgements, held_out=0.2)
    assert len({j.prompt for j in test}) == 2
    assert len(test) == 20
    assert not {j.prompt for j in train} & {j.prompt for j in test}


def test_a_text_under_two_prompts_joins_them() -> None:
    # {p1: a, b} and {p2: b, c} are joined by b; d stands alone: two groups
    judgements = [
        Label("a", True, prompt="p1"),
        Label("b", True, prompt="p1"),
        Label("b", False, prompt="p2"),
        Label("c", True, prompt="p2"),
    ]
    alone = Label("d", True)
    for seed in range(5):
        sides = split([*judgements, alone], held_out=1, seed=seed)
        assert sorted(map(len, sides)) == [1, 4]
    with pytest.raises(DataError, match=r"^1 different"):
        split(judgements, held_out=1)


def test_a_prompt_equal_to_a_text_joins_nothing() -> None:
    train, test = split([Label("a", True, prompt="b"), Label("b", True)], held_out=1)
    assert len(train) == len(test) == 1


@given(judgements, st.integers(0, 5))
def test_no_text_and_no_prompt_is_ever_on_both_sides(
    everything: list[Judgement], seed: int
) -> None:
    try:
        train, test = split(everything, held_out=0.3, seed=seed)
    except DataError:
        return
    assert len(train) + len(test) == len(everything)
    assert not texts(train) & texts(test)
    assert not ({j.prompt for j in train} & {j.prompt for j in test}) - {None}
    backwards = split(everything[::-1], held_out=0.3, seed=seed)
    assert (backwards[0][::-1], backwards[1][::-1]) == (train, test)


@pytest.mark.parametrize("held_out", [0.001, 0.999, 100, 101, 0])
def test_an_empty_side_is_refused(held_out: float) -> None:
    with pytest.raises(DataError, match=rf"^{len(TEXTS)} different"):
        split(TEXTS, held_out=held_out)


@pytest.mark.parametrize("held_out", [0.0, 1.0, 1.5, -0.1, -1, True, float("nan")])
def test_a_share_that_is_none(held_out: float) -> None:
    with pytest.raises(UsageError, match="held_out"):
        split(TEXTS, held_out=held_out)


def test_no_judgements() -> None:
    with pytest.raises(DataError, match=r"^0 different"):
        split([])


def test_overlap_finds_what_was_trained_on() -> None:
    is_known = overlap(
        fingerprints(["a film", "another"]), [" another\n", "a third", "a  film"]
    )
    assert is_known.dtype == np.bool_
    assert is_known.tolist() == [True, False, False]


def test_every_judgement_lands_where_its_lot_says_over_seeds() -> None:
    counts = np.zeros(100)
    for seed in range(200):
        held_out = texts(split(TEXTS, seed=seed)[1])
        counts += [judgement.text in held_out for judgement in TEXTS]
    # binomial(200, 0.1): mean 20, sd 4.2; five of them
    assert counts.sum() == 2000
    assert counts.min() > 0
    assert counts.max() < 42


def prompts(judgements: list[Judgement]) -> set[object]:
    return {judgement.prompt for judgement in judgements}


def all_texts(judgements: list[Judgement]) -> set[str]:
    return {text.strip() for judgement in judgements for text in judgement.texts}


def pairs(n: int, of: int = 3) -> list[Judgement]:
    """`of` comparisons for each of n prompts, no text in two of them."""
    return [
        Comparison(f"a {p} {i}", f"b {p} {i}", prompt=f"p{p}")
        for p in range(n)
        for i in range(of)
    ]


@pytest.mark.parametrize("n", [2, 3, 4, 20])
def test_comparisons_are_held_out_by_prompt_never_by_pair(n: int) -> None:
    for seed in range(5):
        train, test = split(pairs(n), held_out=1, seed=seed)
        assert len(test) == 3
        assert len(prompts(test)) == 1
        assert not prompts(train) & prompts(test)


def test_every_kind_about_one_prompt_or_text_stays_together() -> None:
    judgements: list[Judgement] = []
    for p in range(10):
        a, b, c = (f"{name} {p}" for name in "abc")
        judgements += [
            Comparison(a, b, prompt=f"p{p}"),
            Ranking([b, [c, f"d {p}"]], prompt=f"p{p}"),
            Label(a, True),
        ]
        judgements += [
            Rating(f"e {p}", 1.0, prompt=f"p{p}"),
            Ranking([f"e {p}", f"f {p}"], rest=[f"g {p}"]),
        ]
    train, test = split(judgements, held_out=0.3)
    assert (len(train), len(test)) == (35, 15)
    assert not all_texts(train) & all_texts(test)


def test_chats_are_prompts() -> None:
    def chat(p: int) -> tuple[Message, ...]:
        return (Message("user", f"question {p}"),)

    judgements: list[Judgement] = [
        Comparison(f"a {i}", f"b {i}", prompt=chat(i % 10)) for i in range(50)
    ]
    train, test = split(judgements, held_out=2)
    assert len(test) == 10
    assert not prompts(train) & prompts(test)


def tournament(n: int) -> list[Judgement]:
    """Everybody against everybody."""
    return [Comparison(f"t{i}", f"t{j}") for i in range(n) for j in range(i)]


def test_of_a_tournament_texts_are_drawn() -> None:
    judgements = [*tournament(20), Label("t3", True), Label("t4", False)]
    train, test = split(judgements, held_out=2, seed=1)
    drawn = all_texts(judgements) - all_texts(train)
    assert len(drawn) == 2
    assert all(set(judgement.texts) & drawn for judgement in test)
    assert (
        len([j for j in test if isinstance(j, Comparison)]) == 19 + 18
    )  # all that either of the two took part in
    assert len(train) + len(test) == len(judgements)
    assert split(judgements[::-1], held_out=2, seed=1)[1] == test[::-1]
    assert split(judgements, held_out=2, seed=2)[1] != test


def test_one_prompt_for_all_is_no_reason_to_stay_together() -> None:
    judgements: list[Judgement] = [
        Comparison(f"a {i}", f"b {i}", prompt="Tell a joke.") for i in range(50)
    ]
    train, test = split(judgements, held_out=5)
    assert not all_texts(train) & all_texts(test)
    assert len(test) == 5


def test_beside_a_tournament_prompts_stay_whole() -> None:
    for seed in range(5):
        train, test = split([*tournament(20), *pairs(20)], held_out=0.2, seed=seed)
        assert not (prompts(train) & prompts(test)) - {None}
        played = [judgement for judgement in test if judgement.prompt is None]
        assert 0 < len(played) < 190


def test_one_large_group_of_labels_stays_together() -> None:
    judgements = [Label(f"text {i}", True, prompt="one") for i in range(90)] + TEXTS[
        :10
    ]
    for seed in range(3):
        assert {len(side) for side in split(judgements, held_out=1, seed=seed)} in (
            {10, 90},
            {1, 99},
        )


judgement = st.one_of(
    st.builds(Label, words, st.booleans(), prompt=st.one_of(st.none(), words)),
    st.tuples(words, words)
    .filter(lambda two: two[0] != two[1])
    .map(lambda two: Comparison(*two)),
    st.lists(words, min_size=2, max_size=4, unique=True).map(Ranking),
)


@given(st.lists(judgement, min_size=1, max_size=20), st.integers(0, 5))
def test_every_held_out_judgement_is_about_a_text_that_was_not_trained_on(
    everything: list[Judgement], seed: int
) -> None:
    try:
        train, test = split(everything, held_out=0.3, seed=seed)
    except DataError:
        return
    assert len(train) + len(test) == len(everything)
    assert all(set(judgement.texts) - all_texts(train) for judgement in test)
    backwards = split(everything[::-1], held_out=0.3, seed=seed)
    assert (backwards[0][::-1], backwards[1][::-1]) == (train, test)


def pooled(n: int, texts: int, of: int) -> list[Judgement]:
    """Rankings of a few texts of one pool, drawn again and again."""
    draw = np.random.default_rng(0)
    return [Ranking([f"t{i}" for i in draw.permutation(texts)[:of]]) for _ in range(n)]


def test_of_a_pool_a_share_is_a_share_of_the_judgements() -> None:
    judgements = pooled(200, texts=100, of=5)
    train, test = split(judgements, held_out=0.1)
    assert 20 <= len(test) < 30, (
        "a tenth of the texts would hold out two fifths of the rankings"
    )
    assert all(set(judgement.texts) - all_texts(train) for judgement in test)


def test_a_pool_that_connects_less_than_half_is_drawn_by_its_texts_too() -> None:
    """As one group it would be held out whole by one seed and by another not at all."""
    judgements = [
        *pooled(90, texts=60, of=3),
        *TEXTS[:50],
        *(Label(f"other {i}", True) for i in range(60)),
    ]
    most_of_a_text = max(
        sum(f"t{i}" in judgement.texts for judgement in judgements) for i in range(60)
    )
    for seed in range(20):
        train, test = split_for_a_fit(judgements, most=20, seed=seed)
        assert 0 < len(test) < len(judgements) / 10 + most_of_a_text, (
            "a tenth, and what the last text drawn belongs to"
        )
        assert len([j for j in train if isinstance(j, Ranking)]) >= 66


def test_a_prompt_with_many_texts_stays_whole() -> None:
    judgements = [
        Comparison(f"a {p} {i}", f"b {p} {i % 3}", prompt=f"p{p}")
        for p in range(4)
        for i in range(30)
    ]
    for seed in range(3):
        train, test = split(judgements, held_out=1, seed=seed)
        assert not prompts(train) & prompts(test)


def test_a_fit_holds_out_no_more_than_a_fifth_of_few_groups() -> None:
    train, test = split_for_a_fit(
        [Label(f"text {i // 30}", True) for i in range(300)], most=100
    )
    assert (len(train), len(test)) == (240, 60)
    with pytest.raises(DataError, match=r"^1 different"):
        split_for_a_fit([Label("one text", True)] * 50, most=10)
