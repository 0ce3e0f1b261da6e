"""A corpus on disk: no token is lost or learned twice, in any order, in constant memory."""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nano import films, nano

from tastemaker.data import Example
from tastemaker.errors import DataError
from tastemaker.gpt import (
    Reader,
    Shuffled,
    TokenFile,
    even_parts,
    make_tokenizer,
    pieces_of,
    steps_of,
    tokenized,
)
from tastemaker.playground import reviews

READER = nano().reader
WORDS = st.text(st.sampled_from("A film grey é好\n"), min_size=1, max_size=60)
EXAMPLES = st.lists(
    st.builds(Example, WORDS, st.none() | WORDS), min_size=1, max_size=6
)


def written(
    folder: Path,
    texts: list[str],
    *,
    context: int = 16,
    held_out: float = 0.3,
    seed: int = 0,
) -> list[TokenFile]:
    return list(
        tokenized(
            map(Example, texts),
            READER,
            folder,
            context=context,
            held_out=held_out,
            seed=seed,
        )
    )


def texts_of(corpus: TokenFile) -> set[bytes]:
    """What the pieces of a corpus say."""
    return {corpus.piece(number)[0].tobytes() for number in range(len(corpus))}


@settings(max_examples=60)
@given(EXAMPLES, st.integers(8, 40))
def test_every_token_is_learned_exactly_once_behind_the_token_before_it(
    examples: list[Example], context: int
) -> None:
    pieces = list(pieces_of(examples, READER, context))
    assert all(len(piece.ids) <= context for piece in pieces)
    assert sum(piece.is_first for piece in pieces) == len(examples)
    starts = [number for number, piece in enumerate(pieces) if piece.is_first] + [
        len(pieces)
    ]
    for place, (example, (ids, before)) in enumerate(
        zip(examples, READER.examples(examples), strict=True)
    ):
        of_text = pieces[starts[place] : starts[place + 1]]
        learned = [
            (int(p.ids[k - 1]), int(p.ids[k]))
            for p in of_text
            for k in range(p.before, len(p.ids))
        ]
        assert learned == list(zip(ids[before - 1 :], ids[before:], strict=False)), (
            "the prompt's tokens are no targets"
        )
        assert sum(piece.bytes for piece in of_text) == len(example.text.encode())


def test_a_document_of_several_contexts_is_cut_with_one_token_in_common() -> None:
    """41 letters and the end behind the start: 43 tokens. Contexts of 10 begin at 0, 9, 18, 27 and
    36.
    """
    text = "zqxjkvbpyw" * 4 + "z"
    [(ids, before)] = READER.examples([Example(text)])
    assert (len(ids), before) == (43, 1), "no two of these letters were merged"
    pieces = list(pieces_of([Example(text)], READER, 10))
    assert [piece.ids.tolist() for piece in pieces] == [
        ids[k : k + 10] for k in (0, 9, 18, 27, 36)
    ]
    assert [piece.before for piece in pieces] == [1] * 5


def test_a_prompt_longer_than_the_context_leaves_its_end_before_the_answer() -> None:
    """The start, 30 letters and an empty line before 2 letters and the end: of the pieces only the
    last teaches.
    """
    example = Example("yw", "zqxjkvbpyw" * 3)
    [(ids, before)] = READER.examples([example])
    [piece] = pieces_of([example], READER, 10)
    start = (before - 1) // 9 * 9
    assert piece.ids.tolist() == ids[start : start + 10]
    assert (piece.before, piece.bytes, piece.is_first) == (before - start, 2, True)


def test_answers_to_one_prompt_stand_on_one_side(tmp_path: Path) -> None:
    examples = [
        Example(f"Answer {k} of {p}.", f"Question {p}?")
        for p in range(60)
        for k in range(3)
    ]
    sides = tokenized(
        examples, READER, tmp_path / "a", context=64, held_out=0.3, seed=0
    )
    asked = [
        {READER.text(side.piece(n)[0].tolist()).split("?")[0] for n in range(len(side))}
        for side in sides
    ]
    assert all(asked)
    assert not asked[0] & asked[1]
    assert len(asked[0] | asked[1]) == 60


def test_what_is_held_out_is_drawn_by_what_it_says(tmp_path: Path) -> None:
    texts = films(200)
    train, held_out = written(tmp_path / "a", texts * 3, context=32)
    assert not texts_of(train) & texts_of(held_out), "copies stand on one side"
    assert len(train) + len(held_out) == 600
    assert 0.2 < len(held_out) / 600 < 0.4
    other, measured = written(tmp_path / "b", texts[::-1], context=32)
    assert (texts_of(other), texts_of(measured)) == (
        texts_of(train),
        texts_of(held_out),
    ), "in any order, and without the copies"
    _, of_another_seed = written(tmp_path / "c", texts, context=32, seed=1)
    assert texts_of(of_another_seed) != texts_of(held_out)


def test_the_counts_are_those_of_the_texts(tmp_path: Path) -> None:
    texts = films(50)
    sides = written(tmp_path / "a", texts, context=10)
    tokens = sum(
        len(ids) - before
        for ids, before in READER.examples([Example(t) for t in texts])
    )
    assert sum(side.counts.documents for side in sides) == 50
    assert sum(side.counts.tokens for side in sides) == tokens
    assert sum(side.counts.bytes for side in sides) == sum(
        len(t.encode()) for t in texts
    )
    for side in sides:
        pieces = [side.piece(number) for number in range(len(side))]
        assert side.pieces[:, 3].sum() == side.counts.bytes
        assert sum(len(ids) - before for ids, before in pieces) == side.counts.tokens
        assert side.lengths(np.arange(len(side))).tolist() == [
            len(ids) for ids, _ in pieces
        ]


def test_each_piece_knows_the_bytes_that_it_spells(tmp_path: Path) -> None:
    """41 letters and the end are 42 tokens, 9 a piece: up to each piece's end 41 · 9 / 42, 41 · 18
    / 42 … bytes.
    """
    texts = ["zqxjkvbpyw" * 4 + "z", *films(20)]
    pieces = list(pieces_of(map(Example, texts), READER, 10))
    assert [piece.bytes for piece in pieces[:5]] == [
        8,
        17 - 8,
        26 - 17,
        35 - 26,
        41 - 35,
    ]
    written_down = [
        (side.piece(number)[0].tobytes(), int(side.pieces[number, 3]))
        for side in written(tmp_path / "a", texts, context=10)
        for number in range(len(side))
    ]
    assert Counter(written_down) == Counter(
        (piece.ids.tobytes(), piece.bytes) for piece in pieces
    )


def test_a_shuffled_order_holds_every_number_once() -> None:
    for n in (*range(1, 301), 4095, 4096, 4097, 70_000):
        order = Shuffled(n, seed=3, epoch=1).at(np.arange(n))
        assert np.array_equal(np.sort(order), np.arange(n)), n


def test_orders_differ_by_seed_and_epoch_and_look_random() -> None:
    orders = [
        Shuffled(2000, seed=s, epoch=e).at(np.arange(2000))
        for s in range(3)
        for e in range(3)
    ]
    for number, order in enumerate(orders):
        for other in (np.arange(2000), *orders[:number]):
            assert abs(np.corrcoef(order, other)[0, 1]) < 0.12  # five standard errors
    assert np.array_equal(
        Shuffled(2000, seed=0, epoch=0).at(np.arange(500, 600)), orders[0][500:600]
    )


def test_large_orders_are_computed_not_held() -> None:
    n = 10**12
    order = Shuffled(n, seed=0, epoch=0).at(np.arange(10_000))
    assert len(set(order.tolist())) == 10_000
    assert order.min() >= 0
    assert n * 0.99 < order.max() < n


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    """Reviews of the playground, as many tokens as lengths vary over."""
    texts = reviews(1200)
    reader = Reader(make_tokenizer(texts, vocabulary=600, context=128))
    folder: Path = tmp_path_factory.mktemp("tokens") / "pieces"
    return tokenized(
        map(Example, texts), reader, folder, context=128, held_out=0.1, seed=0
    )[0]


def test_an_epoch_holds_every_piece_once_in_random_steps_of_like_size(
    playground: TokenFile,
) -> None:
    orders = []
    everything = playground.lengths(np.arange(len(playground)))
    for epoch in (0, 1):
        steps = list(steps_of(playground, batch_tokens=1024, seed=0, epoch=epoch))
        lengths = [playground.lengths(np.array(step)) for step in steps]
        assert Counter(n for step in steps for n in step) == Counter(
            range(len(playground))
        )
        tokens = [int(of.sum()) for of in lengths]
        assert max(abs(count - 1024) for count in tokens) < 150, (
            "no step is much smaller or larger than the others"
        )
        between = np.var([of.mean() for of in lengths]) / (
            everything.var() / np.mean([len(of) for of in lengths])
        )
        assert 0.5 < between < 2, "means of steps vary as those of random draws do"
        orders.append(steps)
    assert orders[0] != orders[1]
    assert orders[0] == list(steps_of(playground, batch_tokens=1024, seed=0, epoch=0))


def test_parts_are_even_and_none_is_empty() -> None:
    """Middles 1.5, 4.5, 7.5 … cut at 18 / 3 and 36 / 3; one long piece leaves its neighbours' parts
    without any.
    """
    numbers = np.arange(6)
    assert [p.tolist() for p in even_parts(numbers, np.full(6, 3), 6)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    assert [p.tolist() for p in even_parts(numbers, np.full(6, 3), 100)] == [
        list(range(6))
    ]
    assert [p.tolist() for p in even_parts(numbers[:2], np.array([90, 10]), 10)] == [
        [0],
        [1],
    ]


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def texts(n: int) -> Iterator[Example]:
        return (Example(f"number {k}") for k in range(n))

    def peak(n: int, attempt: int) -> int:
        gc.collect()
        tracemalloc.start()
        folder = tmp_path / f"{n}-{attempt}"
        corpora = tokenized(texts(n), READER, folder, context=32, held_out=0.1, seed=0)
        for _ in steps_of(corpora[0], batch_tokens=64, seed=0, epoch=0):
            pass
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    peak(600, 0)  # whatever is made on first use
    # the order of an epoch is a few numbers for each text; its tokens would be 400 bytes
    assert any(peak(8000, k) - peak(800, k) < 40 * 7200 for k in range(3))


def test_a_whole_folder_is_opened_again_and_one_that_is_not_is_written_anew(
    tmp_path: Path,
) -> None:
    train, _ = written(tmp_path / "a", films(40))
    again, _ = written(tmp_path / "a", films(80))
    assert again.counts == train.counts
    (tmp_path / "a" / "train" / "corpus.json").unlink()
    (tmp_path / "a" / "train" / "ids.bin").write_bytes(b"torn")
    anew, _ = written(tmp_path / "a", films(80))
    assert anew.counts.documents > train.counts.documents
    assert texts_of(anew) == texts_of(written(tmp_path / "b", films(80))[0])
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["held_out", "train"]


def test_a_source_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def torn() -> Iterator[Example]:
        yield from map(Example, films(600))
        raise DataError("films.jsonl:601: no text in it.")

    with pytest.raises(DataError, match="601"):
        tokenized(torn(), READER, tmp_path / "a", context=32, held_out=0.1, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("texts", "context", "held_out", "words"),
    [
        ([], 16, 0.1, "no text"),
        (
            ["A film."],
            32,
            0.1,
            r"\b\d tokens\b.*\bcontext of 32\b.*--context",
        ),
        (
            films(20),
            32,
            1e-9,
            r"\b20 pieces\b.*\b1e-09\b.*--held-out",
        ),
        (films(20), 32, 1 - 1e-9, r"\b20 pieces\b.*--held-out"),
    ],
)
def test_a_corpus_that_cannot_teach_is_refused(
    tmp_path: Path, texts: list[str], context: int, held_out: float, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        written(tmp_path / "a", texts, context=context, held_out=held_out)
    assert list(tmp_path.iterdir()) == []
