"""N-grams by number mean what n-grams by string mean."""

from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.reward import TokenNames, chunks, counts, tokens, vocabulary
from tastemaker.reward.backbones import linear as ngrams

M = 0x9E3779B97F4A7C17
TEXTS = st.lists(st.text(alphabet="ab! 好.", max_size=12), min_size=1, max_size=6)


def name(token: str) -> int:
    """The definition, with Python's own whole numbers."""
    return int.from_bytes(blake2b(token.encode(), digest_size=8).digest(), "little")


def name_of(*gram: str) -> int:
    """name(t₁ … tₙ) = name(t₁ … tₙ₋₁) · M + name(tₙ), modulo 2⁶⁴, as int64."""
    running = 0
    for token in gram:
        running = (running * M + name(token)) % 2**64
    return running - 2**64 if running >= 2**63 else running


def test_tokens_are_words_punctuation_and_single_characters_of_scripts_without_spaces() -> (
    None
):
    assert tokens("Don't STOP... it's great!<br /><br />5/10") == [
        *("don't", "stop", "...", "it's", "great", "!"),
        *("5", "/", "10"),
    ]
    assert tokens("剧情很好！Très bon…") == [
        "剧",
        "情",
        "很",
        "好",
        "!",
        "très",
        "bon",
        "...",
    ]
    assert tokens("ありがとう") == list("ありがとう")
    assert tokens(" \t\n") == []


def test_one_word_written_in_two_ways_is_one_token() -> None:
    assert tokens("cafe\u0301") == tokens("café") == ["café"]  # composed and not
    assert tokens("ＦＩＬＭ") == tokens("film")  # full width


@given(st.text(max_size=30))
def test_a_text_gives_the_same_ascii_tokens_whatever_stands_beside_them(
    text: str,
) -> None:
    """The quick path for ASCII and the general one agree."""
    plain = text.encode("ascii", "ignore").decode()
    assert tokens(plain + " é") == [*tokens(plain), "é"]


def test_names_of_ngrams_by_hand() -> None:
    """ "a b c" has six n-grams up to three words; none reaches into the next text."""
    grams, document = TokenNames.of(["a b c", "", "d e"]).ngrams(3)
    expected = {name_of(*gram): 0 for gram in ("a", "b", "c", "ab", "bc", "abc")}
    expected |= {name_of(*gram): 2 for gram in ("d", "e", "de")}
    assert dict(zip(grams.tolist(), document.tolist(), strict=True)) == expected
    assert len(grams) == 9


def test_names_are_the_same_on_every_machine() -> None:
    """Saved weights rest on them: this number may never change."""
    assert (
        TokenNames.of(["good"]).names.tolist()
        == [name("good")]
        == [3509812042012788487]
    )
    assert name_of("not", "good") != name_of("good", "not")


def test_the_vocabulary_keeps_what_occurs_often_enough() -> None:
    chunk = TokenNames.of(["a b a", "a c"])  # a 3, b 1, c 1; ab ba ac once each
    assert vocabulary([chunk], 2, 2).tolist() == [name_of("a")]
    every = vocabulary([chunk], 2, 1)
    assert every.tolist() == sorted(
        name_of(*gram) for gram in ("a", "b", "c", "ab", "ba", "ac")
    )
    apart = [TokenNames.of(["a b a"]), TokenNames.of(["a c"])]
    assert vocabulary(apart, 2, 1).tolist() == every.tolist()
    assert vocabulary([], 2, 1).tolist() == []


@given(TEXTS, st.integers(1, 4), st.integers(1, 2))
def test_counts_are_those_of_strings(
    texts: list[str], longest: int, min_count: int
) -> None:
    by_string = []
    for text in texts:
        words = tokens(text)
        spans = [
            words[i : i + n]
            for n in range(1, longest + 1)
            for i in range(len(words) - n + 1)
        ]
        by_string.append(Counter(name_of(*span) for span in spans))
    total = sum(by_string, Counter[int]())
    grams = vocabulary([TokenNames.of(texts)], longest, min_count)
    assert grams.tolist() == sorted(
        gram for gram, count in total.items() if count >= min_count
    )
    table = counts(TokenNames.of(texts), longest, grams)
    assert table.shape == (len(texts), len(grams))
    assert table.has_canonical_format
    assert table.toarray().tolist() == [
        [row[gram] for gram in grams.tolist()] for row in by_string
    ]


def test_unknown_words_count_for_nothing() -> None:
    grams = vocabulary([TokenNames.of(["a b"])], 1, 1)
    assert counts(TokenNames.of(["x y z", ""]), 1, grams).nnz == 0
    assert counts(TokenNames.of(["a"]), 1, np.zeros(0, np.int64)).shape == (1, 0)


@given(st.lists(st.text(max_size=5), max_size=10))
def test_chunks_are_the_texts_in_order(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_CHUNK_CHARACTERS", 7)
        cut = list(chunks(texts))
    assert [text for chunk in cut for text in chunk] == texts
    assert all(sum(len(text) + 1 for text in chunk[:-1]) < 7 for chunk in cut)


def test_remembered_tokens_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "_REMEMBERED_TOKENS", 10)
    monkeypatch.setattr(ngrams, "_names", ngrams._Names())
    words = [f"w{n}" for n in range(50)]
    assert TokenNames.of([" ".join(words)]).names.tolist() == [
        name(word) for word in words
    ]
    assert len(ngrams._names) <= 10


def test_a_word_said_again_has_a_name_of_its_own() -> None:
    """ "a b a a" repeats `a` twice. The next text holds it once and repeats nothing."""
    plain, document = TokenNames.of(["a b a a", "a b"]).ngrams(1)
    grams, where = TokenNames.of(["a b a a", "a b"]).ngrams(1, repeats=True)
    assert grams[: len(plain)].tolist() == plain.tolist()
    assert where[: len(plain)].tolist() == document.tolist()
    [again] = set(grams[len(plain) :][:2].tolist())
    assert again not in plain
    assert set(where[len(plain) :].tolist()) == {0}
    assert again not in TokenNames.of(["b b"]).ngrams(1, repeats=True)[0]
    assert len(TokenNames.of(["a", "a"]).ngrams(1, repeats=True)[0]) == 2, (
        "two texts, each for the first time"
    )
    odd, increment = 0x9E3779B97F4A7C17, 0xD1B54A32D192ED03
    assert again % 2**64 == (name("a") * odd + increment) % 2**64, (
        "saved weights rest on it"
    )
    frequent = vocabulary([TokenNames.of(["a b a a", "a b"])], 1, 1, repeats=True)
    table = counts(
        TokenNames.of(["a b a a", "a b"]), 1, frequent, repeats=True
    ).toarray()
    assert table[:, frequent.tolist().index(again)].tolist() == [2, 0]


def test_what_is_said_again_is_numbered_whatever_it_is() -> None:
    """Three words of the first text stood in it before, one in the second; of "a b", "b c" … two
    did, and none.
    """
    texts = ["a b c a b c", "d . d"]
    grams = vocabulary([TokenNames.of(texts)], 2, 1, repeats=True)

    def numbered(odd: int, sort: int) -> list[list[float]]:
        names = [(n * 0x9E3779B97F4A7C17 + sort) % 2**64 for n in range(odd)]
        columns = np.searchsorted(grams, np.array(names, np.uint64).view(np.int64))
        return (
            counts(TokenNames.of(texts), 2, grams, repeats=True)
            .toarray()[:, columns]
            .tolist()
        )

    assert numbered(3, 0x5851F42D4C957F2D) == [[1, 1, 1], [1, 0, 0]]
    assert numbered(2, 0x14057B7EF767814F) == [[1, 1], [0, 0]], (
        '"a b" and "b c" stood there before'
    )
    many = TokenNames.of(["a " * 100]).ngrams(1, repeats=True)[0]
    assert len(set(many.tolist())) == 1 + 1 + 2 * 24, (
        "the word, the word again, and 24 numbers of each sort"
    )
