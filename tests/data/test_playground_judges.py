"""Simulated judges: they say what gold says, as wrongly as they were told to."""

import math
import random
import statistics
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Comparison, Grade, Label, Ranking, Rating
from tastemaker.errors import DataError, UsageError
from tastemaker.playground import (
    CAREFUL_JUDGES,
    GRAMMARS,
    KINDS,
    MODIFIERS,
    OPINIONS,
    THINGS,
    Judge,
    gold_score,
    judgements,
    prompts,
    reviews,
    troubled,
)

# what they are worth: 5 + 7 · 1.4 · opinion / 3.4
SUPERB, GOOD, UNEVEN, BAD = (
    f"The acting was {word}." for word in ("superb", "good", "uneven", "bad")
)
GOLD = {SUPERB: 7.7382, GOOD: 6.4412, UNEVEN: 3.9912, BAD: 3.5588}
EXACT = Judge("Eve")


def test_a_careful_judge_says_what_gold_says() -> None:
    judge, rng = Judge("Ada"), random.Random(0)
    for text in reviews(300, language="mixed", seed=6):
        gold = gold_score(text)
        assert judge.label(text, rng) == Label(text, gold > 5, judge="Ada")
        assert judge.grade(text, rng) == Grade(
            text, min(10, 1 + math.floor(gold)), judge="Ada"
        )
        assert judge.rating(text, rng) == Rating(text, round(gold, 2), judge="Ada")


def test_a_reversed_judge_reads_the_scale_upside_down() -> None:
    text, rng = "The acting was superb.", random.Random(0)
    assert Judge("x", reversed=True).rating(text, rng).rating == pytest.approx(
        10 - 7.74
    )
    assert not Judge("x", reversed=True).label(text, rng).positive
    assert Judge("x", reversed=True, bias=1).rating(text, rng).rating == pytest.approx(
        11 - 7.74
    )


def test_bias_and_noise_are_as_large_as_said() -> None:
    judge, rng = Judge("x", noise=0.5, bias=1.0), random.Random(0)
    errors = [
        judge.rating("The acting was good.", rng).rating - 6.4412 for _ in range(4000)
    ]
    assert statistics.mean(errors) == pytest.approx(
        1.0, abs=0.03
    )  # standard error 0.5/√4000 = 0.008
    assert statistics.pstdev(errors) == pytest.approx(0.5, abs=0.03)


def test_a_careless_judge_is_careless_as_often_as_said() -> None:
    judge, rng = Judge("x", carelessness=0.3), random.Random(0)
    ratings = [judge.rating("The acting was superb.", rng).rating for _ in range(4000)]
    assert sum(rating != 7.74 for rating in ratings) / 4000 == pytest.approx(
        0.3, abs=0.03
    )
    assert statistics.mean(
        rating for rating in ratings if rating != 7.74
    ) == pytest.approx(5, abs=0.4)


def test_judgements_are_one_a_review_signed_and_placed() -> None:
    texts = reviews(200, language="zh", seed=9)
    for kind, record in (("label", Label), ("grade", Grade), ("rating", Rating)):
        labels = judgements(200, kind=kind, language="zh", seed=9)
        assert [judgement.text for judgement in labels] == texts
        assert all(type(judgement) is record for judgement in labels)
        assert {judgement.judge for judgement in labels} == {
            judge.name for judge in CAREFUL_JUDGES
        }
        assert [judgement.where for judgement in labels] == [
            f"playground:{number}" for number in range(200)
        ]


def test_the_sentences_of_these_tests_are_worth_what_is_said() -> None:
    assert [gold_score(text) for text in GOLD] == pytest.approx(
        list(GOLD.values()), abs=1e-4
    )


def test_the_better_of_two_is_chosen_whatever_stands_first() -> None:
    rng = random.Random(0)
    expected = Comparison(SUPERB, GOOD, prompt="p", judge="Eve")
    assert (
        EXACT.comparison(SUPERB, GOOD, rng, "p")
        == expected
        == EXACT.comparison(GOOD, SUPERB, rng, "p")
    )
    upside_down = Judge("Eve", reversed=True)
    assert upside_down.comparison(SUPERB, GOOD, rng) == Comparison(
        GOOD, SUPERB, judge="Eve"
    )


def test_texts_closer_than_the_tie_width_are_a_tie() -> None:
    rng = random.Random(0)
    assert EXACT.comparison(BAD, UNEVEN, rng) == Comparison(
        BAD, UNEVEN, tie=True, judge="Eve"
    )  # 0.43 apart
    assert EXACT.comparison(BAD, UNEVEN, rng, margins=True).margin == 0
    assert Judge("Eve", tie_width=0.4).comparison(BAD, UNEVEN, rng) == Comparison(
        UNEVEN, BAD, judge="Eve"
    )
    assert Judge("Eve", tie_width=1.3).comparison(SUPERB, GOOD, rng).tie  # 1.297 apart


def test_margins_are_whole_points_of_the_difference() -> None:
    rng = random.Random(0)
    assert EXACT.comparison(BAD, SUPERB, rng, margins=True).margin == 4  # 4.18
    assert EXACT.comparison(BAD, GOOD, rng, margins=True).margin == 3  # 2.88
    assert (
        Judge("Eve", tie_width=0).comparison(BAD, UNEVEN, rng, margins=True).margin == 1
    )  # 0.43: at least one
    assert EXACT.comparison(BAD, SUPERB, rng).margin == 0


def test_who_never_says_tie_flips_a_coin_between_equals() -> None:
    rng, judge = random.Random(0), Judge("Eve", tie_width=0)
    same = "The acting was decent.", "The acting was pleasant."  # 0.35 both
    won = Counter(judge.comparison(*same, rng).chosen for _ in range(1000))
    assert not judge.comparison(*same, rng).tie
    assert won[same[0]] / 1000 == pytest.approx(0.5, abs=0.06)  # 4 standard errors
    first = Counter(judge.ranking(same, rng).tiers[0] for _ in range(1000))
    assert first[same[:1]] / 1000 == pytest.approx(0.5, abs=0.06)


def test_a_careless_comparison_is_a_coin_flip_and_ties_stay_as_common() -> None:
    rng, judge = random.Random(0), Judge("Eve", carelessness=1)
    won = [judge.comparison(SUPERB, BAD, rng).chosen == SUPERB for _ in range(2000)]
    assert statistics.mean(won) == pytest.approx(
        0.5, abs=0.045
    )  # 4 standard errors of 0.011
    half = Judge("Eve", carelessness=0.5)
    assert statistics.mean(
        half.comparison(SUPERB, BAD, rng).chosen == SUPERB for _ in range(2000)
    ) == pytest.approx(0.75, abs=0.04)
    shares = [
        statistics.mean(
            j.tie for j in judgements(1000, kind="comparison", judges=[who])
        )
        for who in (EXACT, judge, Judge("Eve", reversed=True))
    ]
    assert shares[0] == shares[1] == shares[2]
    assert 0.05 < shares[0] < 0.2


def test_a_ranking_puts_texts_into_tiers() -> None:
    rng, texts = random.Random(0), [BAD, GOOD, UNEVEN, SUPERB]
    ranking = EXACT.ranking(texts, rng, "p")
    assert [set(tier) for tier in ranking.tiers] == [{SUPERB}, {GOOD}, {UNEVEN, BAD}]
    assert (ranking.rest, ranking.prompt, ranking.judge) == ((), "p", "Eve")
    assert Judge("E", tie_width=0.4).ranking(texts, rng).tiers == (
        (SUPERB,),
        (GOOD,),
        (UNEVEN,),
        (BAD,),
    )
    assert Judge("E", tie_width=0.4, reversed=True).ranking(texts, rng).tiers == (
        (BAD,),
        (UNEVEN,),
        (GOOD,),
        (SUPERB,),
    )


def test_a_tier_is_as_wide_as_the_tie_width_below_its_first_text() -> None:
    # 7.74 − 6.44 = 1.30 and 6.44 − 3.99 = 2.45 are below 2.5, 7.74 − 3.99 = 3.75 is not: no chain
    # of ties
    ranking = Judge("Eve", tie_width=2.5).ranking(
        [BAD, GOOD, UNEVEN, SUPERB], random.Random(0)
    )
    assert [set(tier) for tier in ranking.tiers] == [{SUPERB, GOOD}, {UNEVEN, BAD}]


def test_the_best_of_a_ranking_are_ordered_and_the_others_are_the_rest() -> None:
    rng, texts = random.Random(0), [BAD, GOOD, UNEVEN, SUPERB]
    assert EXACT.ranking(texts, rng, top=1).tiers == ((SUPERB,),)
    assert set(EXACT.ranking(texts, rng, top=1).rest) == {BAD, GOOD, UNEVEN}
    assert EXACT.ranking(texts, rng, top=2).tiers == ((SUPERB,), (GOOD,))
    three = EXACT.ranking(texts, rng, top=3)
    assert three.tiers[:2] == ((SUPERB,), (GOOD,))
    assert {three.tiers[2], three.rest} == {
        (BAD,),
        (UNEVEN,),
    }  # these two are alike: chance says which is third
    assert EXACT.ranking(texts, rng, top=9).rest == ()


def test_a_partial_ranking_judges_some_of_the_texts_rightly() -> None:
    rng, texts = random.Random(0), reviews(6, seed=3)
    rankings = [EXACT.ranking(texts, rng, partial=True) for _ in range(300)]
    assert {len(ranking.texts) for ranking in rankings} == {2, 3, 4, 5, 6}
    assert {text for ranking in rankings for text in ranking.texts} == set(texts)
    assert all(_is_right(ranking) for ranking in rankings)


def _is_right(ranking: Ranking) -> bool:
    """Whether each tier is better than the next one as a whole, and no tier is too wide."""
    worth = [
        [gold_score(text) for text in tier]
        for tier in (*ranking.tiers, *filter(None, [ranking.rest]))
    ]
    tiers = worth[: len(ranking.tiers)]
    return all(min(a) >= max(b) for a, b in pairwise(worth)) and all(
        max(t) - min(t) < 0.5 for t in tiers
    )


def test_a_careless_ranking_is_in_random_order() -> None:
    rng, texts, judge = (
        random.Random(0),
        [BAD, GOOD, UNEVEN, SUPERB],
        Judge("Eve", carelessness=1),
    )
    rankings = [judge.ranking(texts, rng) for _ in range(2000)]
    assert {tuple(map(len, ranking.tiers)) for ranking in rankings} == {(1, 1, 2)}
    for place in range(4):
        held = Counter(ranking.texts[place] for ranking in rankings)
        assert all(
            held[text] / 2000 == pytest.approx(0.25, abs=0.04) for text in texts
        )  # 4 standard errors


@pytest.mark.parametrize("kind", ["label", "grade", "rating", "comparison", "ranking"])
def test_judges_without_noise_are_exact_in_every_kind(kind: str) -> None:
    for judgement in judgements(
        150, kind=kind, judges=[EXACT], language="mixed", seed=4
    ):  # type: ignore[arg-type]
        gold = [gold_score(text) for text in judgement.texts]
        if isinstance(judgement, Label):
            assert judgement.positive == (gold[0] > 5)
        elif isinstance(judgement, Grade):
            assert judgement.grade == min(10, 1 + math.floor(gold[0]))
        elif isinstance(judgement, Rating):
            assert judgement.rating == round(gold[0], 2)
        elif isinstance(judgement, Comparison):
            assert (
                abs(gold[0] - gold[1]) < 0.5
                if judgement.tie
                else gold[0] - gold[1] >= 0.5
            )
        else:
            assert isinstance(judgement, Ranking)
            assert _is_right(judgement)


@given(
    kind=st.sampled_from([*KINDS, "mixed"]),
    n=st.integers(0, 12),
    fewer=st.integers(0, 12),
    seed=st.integers(0, 50),
    answers=st.sampled_from([2, 4, (2, 5)]),
    partial=st.booleans(),
    asked=st.booleans(),
)
def test_the_same_seed_gives_the_same_and_texts_are_never_shared(
    kind, n, fewer, seed, answers, partial, asked
) -> None:  # type: ignore[no-untyped-def]
    def ask(number: int):  # type: ignore[no-untyped-def]
        return judgements(
            number,
            kind=kind,
            seed=seed,
            answers=answers,
            partial=partial,
            prompts=asked,
        )

    drawn = ask(n)
    assert drawn == ask(n)
    assert drawn[: min(n, fewer)] == ask(min(n, fewer))
    texts = [text for judgement in drawn for text in judgement.texts]
    assert len(set(texts)) == len(texts)
    assert [judgement.where for judgement in drawn] == [
        f"playground:{number}" for number in range(n)
    ]
    several = [judgement for judgement in drawn if len(judgement.texts) > 1]
    assert len({judgement.prompt for judgement in several}) == (
        len(several) if asked else min(1, len(several))
    )
    assert all(
        (judgement.prompt is not None) == (asked and judgement in several)
        for judgement in drawn
    )


def test_rankings_are_as_long_as_asked_and_mixtures_hold_every_kind() -> None:
    assert {len(judgement.texts) for judgement in judgements(60, kind="ranking")} == {
        3,
        4,
        5,
        6,
    }
    assert {
        len(judgement.texts) for judgement in judgements(20, kind="ranking", answers=9)
    } == {9}
    assert all(
        len(judgement.tiers[0]) == len(judgement.tiers) == 1
        for judgement in judgements(20, kind="ranking", top=1)
    )
    kinds = Counter(type(judgement) for judgement in judgements(1000, kind="mixed"))
    assert set(kinds) == {Label, Grade, Rating, Comparison, Ranking}
    assert all(
        150 < count < 250 for count in kinds.values()
    )  # 200 ± 4 standard deviations


def test_margins_are_given_where_they_are_asked_for() -> None:
    plain = judgements(50, kind="comparison", seed=1)
    graded = judgements(50, kind="comparison", seed=1, margins=True)
    assert [judgement.texts for judgement in plain] == [
        judgement.texts for judgement in graded
    ]
    assert all(judgement.margin == 0 for judgement in plain)
    assert all((judgement.margin >= 1) != judgement.tie for judgement in graded)


@pytest.mark.parametrize("language", ["en", "zh", "mixed"])
def test_prompts_differ_and_say_nothing_of_worth(language) -> None:  # type: ignore[no-untyped-def]
    drawn = list(prompts(500, language=language, seed=1))
    assert len(set(drawn)) == 500
    assert (
        drawn[:20]
        == list(prompts(20, language=language, seed=1))
        != list(prompts(20, language=language, seed=2))
    )
    assert {"Write" in prompt for prompt in drawn} == {
        "en": {True},
        "zh": {False},
        "mixed": {True, False},
    }[language]
    valued = OPINIONS | MODIFIERS | THINGS
    spaced = {f" {word.text} " for word in GRAMMARS["en"].words if word.kind in valued}
    chinese_words = {word.text for word in GRAMMARS["zh"].words if word.kind in valued}
    for prompt in drawn:
        assert not any(word in f" {prompt.lower()} " for word in spaced), prompt
        assert not any(word in prompt for word in chinese_words), prompt


def test_there_are_only_so_many_prompts() -> None:
    assert len(set(prompts(16_875))) == 16_875  # 15 · 15 · 75
    with pytest.raises(UsageError, match="16876"):
        next(prompts(16_876))


def test_a_troubled_crowd_holds_as_many_as_were_asked() -> None:
    crowd = troubled()
    assert Counter((judge.carelessness, judge.reversed) for judge in crowd) == {
        (0, False): 12,
        (1, False): 6,
        (0, True): 2,
    }
    names = [judge.name for judge in crowd]
    assert names[:4] == ["Ada 1", "Bo 1", "Cy 1", "Ada 2"]
    assert len(set(names)) == 20
    assert crowd == troubled() != troubled(seed=1)
    assert [judge.name for judge in troubled(seed=1, careless=0, reversed=0.5)] == names
    assert [judge.noise for judge in crowd[:4]] == [0.6, 0.7, 0.8, 0.6]
    assert all(judge.reversed for judge in troubled(careless=0, reversed=1, n=3))


@given(
    careless=st.floats(0, 1),
    share=st.floats(0, 1),
    n=st.integers(1, 30),
    seed=st.integers(0, 9),
)
def test_no_crowd_is_larger_than_asked(
    careless: float, share: float, n: int, seed: int
) -> None:
    crowd = troubled(careless=careless, reversed=(1 - careless) * share, n=n, seed=seed)
    assert len(crowd) == n
    assert sum(judge.carelessness for judge in crowd) == round(careless * n)
    assert not any(judge.carelessness and judge.reversed for judge in crowd)


def test_what_no_ranking_can_hold_is_refused() -> None:
    with pytest.raises(DataError, match=r"ranking of 1\b"):
        EXACT.ranking([GOOD], random.Random(0))
    with pytest.raises(DataError, match="twice"):
        EXACT.ranking([GOOD, GOOD], random.Random(0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reviews(3, language="fr"),
            "no language 'fr': choose one of en, zh, mixed",
        ),
        (lambda: reviews(-1), "-1 reviews"),
        (
            lambda: judgements(3, kind="stars"),
            "no judgements of kind 'stars': "
            "choose one of label, grade, rating, comparison, ranking, mixed",
        ),
        (lambda: judgements(-1), "-1 judgements were asked"),
        (
            lambda: judgements(3, kind="ranking", answers=1),
            "rankings of 1 to 1 reviews",
        ),
        (
            lambda: judgements(3, kind="ranking", answers=(5, 4)),
            "rankings of 5 to 4 reviews",
        ),
        (lambda: judgements(3, kind="ranking", top=0), "the best 0 texts"),
        (lambda: Judge("Zed", tie_width=-0.1), "judge Zed: tie_width is -0.1"),
        (lambda: troubled(()), "no judges"),
        (lambda: troubled(n=0), "0 judges"),
        (
            lambda: troubled(careless=0.7, reversed=0.4),
            "careless is 0.7 and reversed 0.4",
        ),
        (lambda: judgements(3, judges=()), "no judges"),
        (lambda: Judge("Zed", noise=-1), "judge Zed: noise is -1"),
        (lambda: Judge("Zed", bias=math.nan), "judge Zed: bias is nan"),
        (lambda: Judge("Zed", carelessness=1.5), "judge Zed: carelessness is 1.5"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(call: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
