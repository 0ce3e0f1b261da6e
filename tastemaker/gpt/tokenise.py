"""How a policy reads: prompts and completions as token ids, always tokenized apart.

A prompt of text is continued; a prompt of messages (a chat) is answered, as the tokenizer's chat
template puts it. The prompt's tokens are the same in training, in writing and in scoring, because a
completion is never tokenized with it.

A corpus as tokens on disk: read once, then open to any order, in memory that does not grow with
it.

    FOLDER/ids.bin       the tokens of all pieces, end to end
    FOLDER/pieces.bin    int64 [n, 4]: where each piece begins, its tokens, how many of them only
    stand before, and the
                         bytes of text that they spell
    FOLDER/corpus.json   counts; written last, so a folder without it is not whole

A document that is longer than the context is cut into pieces of its length, each of which begins
with the last token of the one before: so every token is learned once, and none with what another
document says in view.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example, Message, Prompt, lot, plain
from tastemaker.errors import DataError, ModelError
from tastemaker.files import writing_folder
from tastemaker.progress import progress

_BETWEEN = "\n\n"
"""Between a prompt and what answers it, where the tokenizer has no chat template."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A tokenizer as a policy uses it."""

    tokenizer: Any

    @property
    def start(self) -> list[int]:
        """The tokens that a text with nothing before it begins with: one, the tokenizer's own start
        or its end.
        """
        begin = self.tokenizer.bos_token_id
        return [self.end if begin is None else int(begin)]

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """What stands where nothing does; any token, since what is text is always kept apart."""
        found = self.tokenizer.pad_token_id
        return self.end if found is None else int(found)

    def prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens of prompts, none of them empty. Raises ModelError for a chat without a
        chat template.
        """
        texts = [p for p in prompts if isinstance(p, str)]
        added = self._adds_at_start()
        read = iter(self._plain(texts))
        return [
            (added + next(read) if isinstance(p, str) else self._chat(p)) or self.start
            for p in prompts
        ]

    def completions(self, texts: Sequence[str], *, ended: bool) -> list[list[int]]:
        """Return the tokens of completions; ended: with the end token behind them."""
        return [[*ids, self.end] if ended else ids for ids in self._plain(texts)]

    def examples(self, examples: Sequence[Example]) -> list[tuple[list[int], int]]:
        """Return for each text that is to be learned (its tokens with the prompt's, how many are
        the prompt's).

        A text without a prompt has one token before it, the start. A prompt of text is a user's
        message to a tokenizer that has a chat template.
        """
        prompts = self.prompts([self._before(example) for example in examples])
        texts = self.completions([example.text for example in examples], ended=True)
        return [
            (prompt + text, len(prompt))
            for prompt, text in zip(prompts, texts, strict=True)
        ]

    def text(self, ids: Sequence[int]) -> str:
        """Return what tokens say, special ones left out."""
        found: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return found

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return what each of some sequences of tokens says, as `text` does."""
        found: list[str] = self.tokenizer.backend_tokenizer.decode_batch(
            list(rows), skip_special_tokens=True
        )
        return found

    def _before(self, example: Example) -> Prompt:
        if example.prompt is None:
            return ""
        if isinstance(example.prompt, str):
            if self.tokenizer.chat_template is None:
                return example.prompt + _BETWEEN
            return (Message("user", example.prompt),)
        return example.prompt

    def _chat(self, messages: tuple[Message, ...]) -> list[int]:
        if self.tokenizer.chat_template is None:
            raise ModelError(
                "the prompt is a chat, and this policy's tokenizer has no chat template. Give the prompt as a text."
            )
        turns = [{"role": role, "content": content} for role, content in messages]
        self._check_free_of_special(messages)
        rendered: str = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        found: list[int] = self.tokenizer.backend_tokenizer.encode(
            rendered, add_special_tokens=False
        ).ids
        return found

    def _check_free_of_special(self, messages: tuple[Message, ...]) -> None:
        """Refuse a turn that spells one of the tokens that stand between turns: it could speak for
        another role.

        Many tokenizers have special tokens that no name (begin, end …) lists, so all that are added
        are asked.
        """
        special = [
            token.content
            for token in self.tokenizer.added_tokens_decoder.values()
            if token.special
        ]
        for role, content in messages:
            for token in special:
                if token in role or token in content:
                    raise DataError(
                        f"a message of {role!r} spells {token!r}, which stands between turns. Remove it."
                    )

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, in which nothing is special, whatever they spell.

        Raises DataError for a text that is not valid Unicode.
        """
        backend = self.tokenizer.backend_tokenizer
        try:
            with _special_as_text(backend):
                return [
                    e.ids
                    for e in backend.encode_batch_fast(
                        list(texts), add_special_tokens=False
                    )
                ]
        except TypeError as error:  # what the tokenizer says of half a surrogate pair
            raise DataError(
                "a text is not valid Unicode: it holds half a surrogate pair. Repair it."
            ) from error

    def _adds_at_start(self) -> list[int]:
        begin = self.tokenizer.bos_token_id
        ids: list[int] = self.tokenizer.backend_tokenizer.encode("").ids
        return [begin] if begin is not None and ids[:1] == [begin] else []


@contextmanager
def _special_as_text(backend: Any) -> Iterator[None]:
    """Read special tokens that a text spells as the characters they are."""
    before, backend.encode_special_tokens = backend.encode_special_tokens, True
    try:
        yield
    finally:
        backend.encode_special_tokens = before


TRAIN, HELD_OUT = "train", "held_out"
_AT_ONCE = 512  # documents
_COUNTS = "corpus.json"
_WHOLE = 2**64  # lots are drawn below it


@dataclass(frozen=True)
class Counts:
    """What a corpus holds: documents, pieces, tokens that are learned, and bytes of the texts that
    they spell.
    """

    documents: int = 0
    pieces: int = 0
    tokens: int = 0
    bytes: int = 0


class TokenFile:
    """The pieces of one side of a corpus, on disk."""

    def __init__(self, folder: Path) -> None:
        self.counts = Counts(
            **json.loads((folder / _COUNTS).read_text(encoding="utf-8"))
        )
        empty = not self.counts.pieces  # an empty file cannot be mapped
        self.ids = (
            np.zeros(0, np.int32)
            if empty
            else np.memmap(folder / "ids.bin", np.int32, "r")
        )
        shape = (self.counts.pieces, 4)
        self.pieces = (
            np.zeros(shape, np.int64)
            if empty
            else np.memmap(folder / "pieces.bin", np.int64, "r", 0, shape)
        )

    def __len__(self) -> int:
        return self.counts.pieces

    def piece(self, number: int) -> tuple[NDArray[np.int32], int]:
        """Return a piece's tokens, and how many of them only stand before what is learned (1 or
        more).
        """
        start, length, before = (int(v) for v in self.pieces[number, :3])
        return np.asarray(self.ids[start : start + length]), before

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many tokens some pieces hold."""
        return np.asarray(self.pieces[numbers, 1])

    def bytes_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many bytes of text some pieces spell."""
        return np.asarray(self.pieces[numbers, 3])


class _Side:
    """One side while it is written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.ids, self.pieces = (
            (folder / "ids.bin").open("wb"),
            (folder / "pieces.bin").open("wb"),
        )
        self.written = self.documents = self.count = self.tokens = self.bytes = 0

    def add(self, piece: "Piece") -> None:
        """Append a piece."""
        length = len(piece.ids)
        self.pieces.write(
            np.array(
                [self.written, length, piece.before, piece.bytes], dtype=np.int64
            ).tobytes()
        )
        self.ids.write(piece.ids.tobytes())
        self.written += length
        self.count += 1
        self.documents += piece.is_first
        self.tokens += length - piece.before
        self.bytes += piece.bytes

    def close(self) -> None:
        self.ids.close()
        self.pieces.close()
        counts = Counts(self.documents, self.count, self.tokens, self.bytes)
        (self.folder / _COUNTS).write_text(json.dumps(asdict(counts)), encoding="utf-8")


def tokenized(
    examples: Iterable[Example],
    reader: Reader,
    folder: Path,
    *,
    context: int,
    held_out: float,
    seed: int,
) -> tuple[TokenFile, TokenFile]:
    """Write documents as tokens under `folder` and return (train, held out); opens them where they
    are there already.

    held_out: the share of the pieces that only measure, drawn by their prompts, or by what they say
    where there is none: so answers to one prompt stand on one side, and so do copies.
    Raises DataError for a corpus with nothing in it, one shorter than a context, or one of which
    nothing is held out.
    """
    if not (folder / TRAIN / _COUNTS).is_file():
        with writing_folder(folder) as temporary:
            _write(
                examples,
                reader,
                temporary,
                context=context,
                held_out=held_out,
                seed=seed,
            )
    return TokenFile(folder / TRAIN), TokenFile(folder / HELD_OUT)


def _write(
    examples: Iterable[Example],
    reader: Reader,
    folder: Path,
    *,
    context: int,
    held_out: float,
    seed: int,
) -> None:
    with (
        closing(_Side(folder / TRAIN)) as train,
        closing(_Side(folder / HELD_OUT)) as measured,
        progress("reading", None) as advance,
    ):
        for piece in pieces_of(examples, reader, context):
            is_held_out = lot(seed, "pieces", piece.group) < held_out * _WHOLE
            (measured if is_held_out else train).add(piece)
            advance(1, "")
    found, total = train.count + measured.count, train.tokens + measured.tokens
    if not found:
        raise DataError("the corpus holds no text. Give a source with documents in it.")
    if total < context:
        raise DataError(
            f"the corpus is {total:,} tokens long, less than one context of {context:,}. "
            f"Give more text, or a smaller --context."
        )
    if not (train.count and measured.count):
        raise DataError(
            f"{found:,} pieces of text and a share of {held_out:g} held out leave one side empty. "
            f"Give more text, or another --held-out."
        )


class Piece(NamedTuple):
    """A part of a document that is read at once.

    ids: int32, its tokens. before: how many of them only stand before what is learned. bytes: of
    the text that it spells. is_first: whether it begins its document. group: what must stand on one
    side with it; pieces that answer one prompt are one group, and so are copies.
    """

    ids: NDArray[np.int32]
    before: int
    bytes: int
    is_first: bool
    group: str


def pieces_of(
    examples: Iterable[Example], reader: Reader, context: int
) -> Iterator[Piece]:
    """Yield every piece of some documents."""
    waiting = iter(examples)
    while chunk := list(islice(waiting, _AT_ONCE)):
        for example, (ids, before) in zip(chunk, reader.examples(chunk), strict=True):
            size, learned = (
                len(example.text.encode("utf-8", "surrogatepass")),
                len(ids) - before,
            )
            spelled, is_first = 0, True
            for start in range(0, len(ids) - 1, context - 1):
                piece = np.array(ids[start : start + context], dtype=np.int32)
                only_before = min(max(before - start, 1), len(piece))
                if only_before < len(piece):
                    done = start + len(piece) - before
                    upto = (
                        size * done // learned
                    )  # a piece's share of the text's bytes; all of them at the end
                    group = (
                        piece.tobytes().hex()
                        if example.prompt is None
                        else plain(example.prompt)
                    )
                    yield Piece(piece, only_before, upto - spelled, is_first, group)
                    spelled, is_first = upto, False


class Shuffled:
    """A random order of 0 … n − 1 that is computed, not held: a Feistel network over the next power
    of four, walked until it lands inside (Black & Rogaway 2002).
    """

    def __init__(self, n: int, *, seed: int, epoch: int) -> None:
        self.n = n
        self.half = max(1, ((n - 1).bit_length() + 1) // 2)
        random = np.random.Generator(np.random.PCG64([seed, epoch, n]))
        self.keys = random.integers(0, 2**63, size=6, dtype=np.uint64)

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what stands at some places of the order."""
        found = self._round(places.astype(np.uint64))
        while (outside := found >= self.n).any():
            found[outside] = self._round(found[outside])
        return found.astype(np.int64)

    def _round(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        half, low = np.uint64(self.half), np.uint64((1 << self.half) - 1)
        left, right = values >> half, values & low
        for key in self.keys:
            mixed = (right ^ key) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & low)
        return (left << half) | right


def steps_of(
    corpus: TokenFile, *, batch_tokens: int, seed: int, epoch: int, pool: int = 32
) -> Iterator[list[int]]:
    """Yield one epoch's optimiser steps: every piece once, in a random order, about `batch_tokens`
    tokens a step.

    `pool` steps' worth of pieces at a time are cut into steps of like many tokens: a small one left
    over would be followed as far as the others, and teach noise.
    """
    order = Shuffled(len(corpus), seed=seed, epoch=epoch)
    mean = max(1, round((corpus.counts.tokens + len(corpus)) / len(corpus)))
    pools = max(1, round(len(corpus) * mean / (pool * batch_tokens)))
    for places in np.array_split(np.arange(len(corpus)), pools):
        numbers = order.at(places)
        yield from (
            step.tolist()
            for step in even_parts(numbers, corpus.lengths(numbers), batch_tokens)
        )


def even_parts(
    numbers: NDArray[np.int64], lengths: NDArray[np.int64], wanted: int
) -> list[NDArray[np.int64]]:
    """Cut numbers, in their order, into parts of like many tokens, about `wanted` each; none is
    empty.

    lengths: the tokens that each number stands for. It goes where the middle of them falls.
    """
    total = lengths.sum()
    parts = max(1, round(total / wanted))
    middles = np.cumsum(lengths) - lengths / 2
    cuts = np.searchsorted(middles, total * np.arange(1, parts) / parts)
    return [part for part in np.split(numbers, cuts) if len(part)]
