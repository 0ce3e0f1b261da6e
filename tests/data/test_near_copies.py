"""Near-copies: what is one, what is none, and that no split puts them on two sides."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from tastemaker.data import (
    Comparison,
    Judgement,
    Label,
    Message,
    Related,
    first_turn,
    related,
    split,
    split_for_a_fit,
)
from tastemaker.near_copies import (
    STORED,
    alike_pairs,
    copy_groups,
    have_copy,
    sketches,
)
from tastemaker.playground import reviews

_SYLLABLES = (
    "ba",
    "ko",
    "sti",
    "re",
    "mun",
    "al",
    "le",
    "nt",
    "sor",
    "ippe",
    "u",
    "dem",
)
WORDS = [a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES]


def prose(seed: int, words: int) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choices(WORDS, k=words))


def changed(text: str, seed: int, edits: int = 1) -> str:
    """The text with characters replaced, left out or put in at random places."""
    draw = random.Random(seed)
    for _ in range(edits):
        place = draw.randrange(len(text))
        text = (
            text[:place] + draw.choice(["x", "", "q" + text[place]]) + text[place + 1 :]
        )
    return text


@pytest.mark.parametrize("words", [9, 12, 20, 60, 200, 2000])
def test_a_copy_with_another_character_is_found_at_every_length(words: int) -> None:
    texts = [prose(seed, words) for seed in range(100)]
    copies = [changed(text, seed) for seed, text in enumerate(texts)]
    pairs = {tuple(pair) for pair in alike_pairs(sketches([*texts, *copies])).tolist()}
    assert pairs == {(i, i + 100) for i in range(100)}


def test_case_white_space_and_punctuation_make_no_difference() -> None:
    text = prose(1, 40)
    others = [text.upper(), f"  {text}\n", text.replace(" ", ", "), f"{text}!!!"]
    of_text = sketches([text])
    assert (sketches(others) == of_text).all()
    assert list(copy_groups(sketches([text, *others]))) == [[0, 1, 2, 3, 4]]


def test_a_short_text_has_only_copies_that_equal_it_but_for_white_space_and_case() -> (
    None
):
    texts = [
        "A good film.",
        "a  good FILM.",
        "A good film!",
        "A bad film.",
        "",
        "1",
        "2",
    ]
    assert list(copy_groups(sketches(texts))) == [[0, 1]]


def test_a_text_that_shares_half_of_its_words_is_no_copy() -> None:
    half = prose(1, 30)
    texts = [f"{half} {prose(seed, 30)}" for seed in range(2, 40)]
    assert not len(alike_pairs(sketches(texts)))


def test_what_is_found_depends_neither_on_the_order_nor_on_the_other_texts() -> None:
    texts = [prose(seed, 10 + seed) for seed in range(60)]
    texts += [changed(text, 5, edits=2) for text in texts[20:40]]
    expected = sketches(texts)
    order = random.Random(0).sample(range(len(texts)), len(texts))
    again = sketches([texts[i] for i in order])
    assert (again == expected[order]).all()
    for number, text in enumerate(texts):
        assert (sketches([text])[0] == expected[number]).all()


def test_the_estimate_is_the_share_of_common_shingles() -> None:
    """A long text, and what keeps so much of it that 5 of 6 shingles of the two are common."""
    text = prose(0, 3000)
    for share, is_copy in ((0.95, True), (0.6, False)):
        cut = text[: int(share * len(text))]
        assert bool(len(alike_pairs(sketches([text, cut])))) is is_copy


def test_a_copy_of_training_texts_is_found_by_the_stored_values() -> None:
    train = [prose(seed, 30) for seed in range(300)]
    new = [
        changed(train[7], 0),
        prose(1000, 30),
        train[8],
        changed(train[299], 1, edits=2),
    ]
    stored = sketches(train)[:, :STORED]
    assert have_copy(sketches(new)[:, :STORED], stored).tolist() == [
        True,
        False,
        True,
        True,
    ]
    assert not have_copy(sketches(new), sketches([])).any()


def test_any_string_has_a_sketch() -> None:
    odd = ["", " ", "...", "\ud800" * 50, "电影很好看" * 20, "\0" * 100, "a" * 10_000]
    assert sketches(odd).shape == (7, 64)
    assert sketches([]).shape == (0, 64)
    chinese = "".join(random.Random(0).choices("电影很好看的我们不一是了人", k=80))
    assert (
        len(alike_pairs(sketches([chinese, chinese[:40] + "他" + chinese[41:]]))) == 1
    )


# --- in a split ---


def sides(
    train: Sequence[Judgement], test: Sequence[Judgement]
) -> tuple[set[str], set[str]]:
    first, second = ({text for j in side for text in j.texts} for side in (train, test))
    return first, second


@pytest.mark.parametrize("seed", range(3))
def test_copies_with_another_character_stay_on_one_side(seed: int) -> None:
    texts = list(dict.fromkeys(reviews(600, seed=seed)))
    copy_of = {changed(text, seed): text for text in texts if len(text) > 60}
    judgements = [Label(text, len(text) % 2 == 0) for text in [*texts, *copy_of]]
    for divide in (
        lambda: split(judgements, held_out=0.2, seed=seed),
        lambda: split_for_a_fit(judgements, most=100, seed=seed),
    ):
        train, test = sides(*divide())
        crossing = [
            copy for copy, text in copy_of.items() if (copy in train) != (text in train)
        ]
        assert not crossing
        assert len(test) >= 30
    backwards = split(judgements[::-1], held_out=0.2, seed=seed)
    assert backwards[1][::-1] == split(judgements, held_out=0.2, seed=seed)[1]


def dialogues(n: int) -> list[Judgement]:
    """Comparisons of an answer, and of one two turns later, of n dialogues."""
    judgements: list[Judgement] = []
    for i in range(n):
        start = (Message("system", "Be kind."), Message("user", f"question {i}"))
        later = (
            *start,
            Message("assistant", f"good {i}"),
            Message("user", "and then?"),
        )
        judgements += [
            Comparison(f"good {i}", f"bad {i}", prompt=start),
            Comparison(f"x{i}", f"y{i}", prompt=later),
        ]
    return judgements


def test_conversations_that_begin_alike_stay_on_one_side() -> None:
    judgements = dialogues(200)
    train, test = split(judgements, held_out=0.2)
    assert len(test) == 80
    assert not {first_turn(j.prompt) for j in train} & {
        first_turn(j.prompt) for j in test
    }
    assert str(related(judgements)) == (
        "200 texts or prompts with a shared beginning kept on one side"
    )
    assert len(split(judgements, held_out=0.2, relatives=Related())[1]) == 80


def test_the_first_turn_of_plain_dialogues() -> None:
    hh = "\n\nHuman: How?\n\nAssistant: So.\n\nHuman: And?\n\nAssistant:"
    assert first_turn(hh) == first_turn("Human: How?\n\nAssistant:") == "How?"
    assert first_turn("Write about a\n\nHuman: being") == ""
    assert first_turn((Message("system", "x"),)) == ""


def test_a_continued_text_stays_with_its_beginning() -> None:
    texts = [prose(seed, 40) for seed in range(50)]
    longer = [f"{text} {prose(seed + 99, 80)}" for seed, text in enumerate(texts)]
    train, _ = sides(
        *split([Label(text, True) for text in [*texts, *longer]], held_out=0.2)
    )
    assert all((a in train) == (b in train) for a, b in zip(texts, longer, strict=True))


def test_texts_of_one_template_do_not_become_one_group() -> None:
    judgements = [
        Label(
            f"In my view this is film number {i}, and I have seen all the others too.",
            True,
        )
        for i in range(100)
    ]
    relatives = related(judgements)
    assert relatives.common > 90
    assert not relatives.near_copies
    assert len(split(judgements, held_out=0.1)[1]) == 10


def test_few_relatives_do_not_join_a_pool_into_one_group() -> None:
    """Chains of comparisons and copies would connect all; then equal texts alone do."""
    pool = [prose(seed, 20) for seed in range(60)]
    judgements = [
        Comparison(changed(pool[i], i), changed(pool[(i + 1) % 60], 100 + i))
        for i in range(60)
    ]
    train, test = split(judgements, held_out=0.2)
    assert len(test) == 12
    assert len(train) == 48


def test_counts_are_of_texts_that_joined_another() -> None:
    texts = [prose(seed, 20) for seed in range(40)]
    judgements = [Label(text, True) for text in texts]
    judgements += [Label(changed(texts[0], s), True) for s in range(2)]
    assert related(judgements).near_copies == 2
    assert related(judgements[:40]) is not None
    assert str(related(judgements)) == "2 near-copies kept on one side"
    assert str(related(judgements[:40])) == ""
    assert related([]).near_copies == 0
    assert np.array_equal(
        related(judgements).sketches_of([texts[3]]), sketches([texts[3]])
    )
