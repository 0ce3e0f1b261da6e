"""Text as token ids: prompts and completions, and a corpus on disk.

`Reader` tokenizes prompts and completions separately, so a prompt has the same tokens in training,
in generation and in scoring. A prompt of text is continued. A prompt of messages (a chat) is
rendered with the tokenizer's chat template and answered.

`tokenized` writes a corpus to disk once. Its pieces can then be read in any order, in memory that
does not grow with the corpus:

    FOLDER/ids.bin       the tokens of all pieces, end to end
    FOLDER/pieces.bin    int64 [n, 4]: each piece's start, its number of tokens, how many of them
                         are context only, and the bytes of text that it spells
    FOLDER/corpus.json   counts; written last, so a folder without it is incomplete

A document longer than the context is cut into pieces of that length. Each piece begins with the
last token of the one before. So each token is learned once, and never with another document in the
context.
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
from tastemaker.huggingface import render_chat
from tastemaker.progress import progress

_BETWEEN = "\n\n"
"""Between a prompt and what answers it, where the tokenizer has no chat template."""
_PROBE = "wxyz"
"""An answer whose end in a rendered chat is looked for."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A tokenizer as a policy uses it."""

    tokenizer: Any
    more_ends: frozenset[int] = frozenset()

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a completion: `end`, and others that the model's makers name."""
        return self.more_ends | {self.end}

    @property
    def start(self) -> list[int]:
        """The one token before a text without a prompt: the tokenizer's begin or end token."""
        begin = self.tokenizer.bos_token_id
        return [self.end if begin is None else int(begin)]

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """The padding token. Any token would do, because masks and lengths mark the padding."""
        token = self.tokenizer.pad_token_id
        return self.end if token is None else int(token)

    def prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens of prompts, none of them empty.

        Raises ModelError for a chat if the tokenizer has no chat template.
        """
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        added = self._adds_at_start()
        ids_of_texts = iter(self._plain(texts))
        rows = []
        for prompt in prompts:
            if isinstance(prompt, str):
                rows.append(added + next(ids_of_texts) or self.start)
            else:
                rows.append(self._chat(prompt) or self.start)
        return rows

    def completions(
        self, texts: Sequence[str], *, ended: bool
    ) -> list[list[int]]:
        """Return the tokens of completions; ended: with the end token behind them."""
        rows = self._plain(texts)
        return [[*ids, self.end] for ids in rows] if ended else rows

    def examples(
        self, examples: Sequence[Example]
    ) -> list[tuple[list[int], int]]:
        """Return each text's tokens behind its prompt's, and the number of the prompt's tokens.

        A text without a prompt has the start token before it. If the tokenizer has a chat template,
        a prompt of text is a user's message.
        """
        prompts = self.prompts([self._before(example) for example in examples])
        texts = self.completions(
            [example.text for example in examples], ended=False
        )
        turn_end = self.turn_end
        rows = []
        for example, prompt, text in zip(
            examples, prompts, texts, strict=True
        ):
            is_chat = not isinstance(self._before(example), str)
            end = turn_end if is_chat else self.end
            rows.append(([*prompt, *text, end], len(prompt)))
        return rows

    @property
    def turn_end(self) -> int:
        """The token that ends an answer in a chat: the one that the chat template writes there."""
        if self.tokenizer.chat_template is None:
            return self.end
        turns = [
            Message("user", _PROBE),
            Message("assistant", _PROBE),
        ]
        try:
            text = render_chat(self.tokenizer, turns)
        except DataError:  # a template without these two roles
            return self.end
        after = self.tokenizer.backend_tokenizer.encode(
            text.rpartition(_PROBE)[2].lstrip(), add_special_tokens=False
        ).ids
        if not after:
            return self.end
        added = self.tokenizer.added_tokens_decoder.get(after[0])
        if added is not None and added.special:
            return int(after[0])
        return self.end

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        text: str = self.tokenizer.decode(
            list(ids),
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return text

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each row of tokens, as `text` does."""
        texts: list[str] = self.tokenizer.backend_tokenizer.decode_batch(
            list(rows), skip_special_tokens=True
        )
        return texts

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
                "the prompt is a chat, and this policy's tokenizer has no chat template. "
                "Give the prompt as a text; in a table, --prompt-column leaves out the columns "
                "system and history."
            )
        self._check_free_of_special(messages)
        rendered = render_chat(
            self.tokenizer, messages, add_generation_prompt=True
        )
        backend = self.tokenizer.backend_tokenizer
        ids: list[int] = backend.encode(rendered, add_special_tokens=False).ids
        return ids

    def _check_free_of_special(self, messages: tuple[Message, ...]) -> None:
        """Raise DataError for a message that spells a special token: it could imitate another role.

        Many tokenizers have special tokens without a name (begin, end …), so all added tokens are
        checked.
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
                        f"a message of {role!r} spells {token!r}, which stands between turns. "
                        "Remove it."
                    )

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts. Special tokens that they spell are plain characters.

        Raises DataError for a text that is not valid Unicode.
        """
        backend = self.tokenizer.backend_tokenizer
        try:
            with _special_as_text(backend):
                encodings = backend.encode_batch_fast(
                    list(texts), add_special_tokens=False
                )
                return [encoding.ids for encoding in encodings]
        except (
            TypeError
        ) as error:  # the tokenizer's error for half a surrogate pair
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
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        yield
    finally:
        backend.encode_special_tokens = before


TRAIN = "train"
HELD_OUT = "held_out"
_AT_ONCE = 512  # documents
_COUNTS = "corpus.json"
_WHOLE = 2**64  # lots are drawn below it


@dataclass(frozen=True)
class Counts:
    """The size of a corpus: documents, pieces, learned tokens, and the bytes that they spell."""

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
        shape = (self.counts.pieces, 4)
        self.ids: NDArray[np.int32] = np.zeros(0, np.int32)
        self.pieces: NDArray[np.int64] = np.zeros(shape, np.int64)
        if self.counts.pieces:  # an empty file cannot be mapped
            self.ids = np.memmap(folder / "ids.bin", np.int32, "r")
            self.pieces = np.memmap(
                folder / "pieces.bin", np.int64, "r", 0, shape
            )

    def __len__(self) -> int:
        return self.counts.pieces

    def piece(self, number: int) -> tuple[NDArray[np.int32], int]:
        """Return a piece's tokens, and how many of them are context only (1 or more)."""
        start, length, before = (int(v) for v in self.pieces[number, :3])
        return np.asarray(self.ids[start : start + length]), before

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of tokens of each piece."""
        return np.asarray(self.pieces[numbers, 1])


class _Side:
    """Writes one side of a corpus."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.ids = (folder / "ids.bin").open("wb")
        self.pieces = (folder / "pieces.bin").open("wb")
        self.written = self.documents = self.count = self.tokens = (
            self.bytes
        ) = 0

    def add(self, piece: "Piece") -> None:
        """Append a piece."""
        length = len(piece.ids)
        entry = [self.written, length, piece.before, piece.bytes]
        self.pieces.write(np.array(entry, dtype=np.int64).tobytes())
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
        (self.folder / _COUNTS).write_text(
            json.dumps(asdict(counts)), encoding="utf-8"
        )


def tokenized(
    examples: Iterable[Example],
    reader: Reader,
    folder: Path,
    *,
    context: int,
    held_out: float,
    seed: int,
) -> tuple[TokenFile, TokenFile]:
    """Return documents as two token files under `folder`: (train, held out).

    Existing files are opened, not written again. held_out: the share of the pieces that only
    measures. Pieces of one prompt stay on one side, and so do copies of one text. Raises DataError
    for an empty corpus, for one shorter than a context, and if no piece is held out.
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
    pieces = train.count + measured.count
    total = train.tokens + measured.tokens
    if not pieces:
        raise DataError(
            "the corpus holds no text. Give a source with documents in it."
        )
    if total < context:
        raise DataError(
            f"the corpus is {total:,} tokens long, less than one context of {context:,}. "
            f"Give more text, or a smaller --context."
        )
    if not (train.count and measured.count):
        raise DataError(
            f"{pieces:,} pieces of text and a share of {held_out:g} held out leave one side empty. "
            f"Give more text, or another --held-out."
        )


class Piece(NamedTuple):
    """A part of a document that fits into the context.

    ids: int32, its tokens. before: how many of them are context only. bytes: of the text that it
    spells. is_first: whether it begins its document. group: pieces of one group are all learned or
    all held out; pieces that answer one prompt are a group, and so are copies.
    """

    ids: NDArray[np.int32]
    before: int
    bytes: int
    is_first: bool
    group: str


def pieces_of(
    examples: Iterable[Example], reader: Reader, context: int
) -> Iterator[Piece]:
    """Yield the pieces of documents, in order."""
    remaining = iter(examples)
    while chunk := list(islice(remaining, _AT_ONCE)):
        tokenized = reader.examples(chunk)
        for example, (ids, prompt_tokens) in zip(
            chunk, tokenized, strict=True
        ):
            yield from _pieces_of_one(example, ids, prompt_tokens, context)


def _pieces_of_one(
    example: Example, ids: list[int], prompt_tokens: int, context: int
) -> Iterator[Piece]:
    """Yield the pieces of one document. ids: of its prompt and its text."""
    size = len(example.text.encode("utf-8", "surrogatepass"))
    text_tokens = len(ids) - prompt_tokens
    bytes_before = 0
    is_first = True
    for start in range(0, len(ids) - 1, context - 1):
        piece = np.array(ids[start : start + context], dtype=np.int32)
        before = min(max(prompt_tokens - start, 1), len(piece))
        if before == len(piece):
            continue
        tokens_so_far = start + len(piece) - prompt_tokens
        bytes_so_far = size * tokens_so_far // text_tokens
        prompt = example.prompt
        group = piece.tobytes().hex() if prompt is None else plain(prompt)
        yield Piece(
            piece, before, bytes_so_far - bytes_before, is_first, group
        )
        bytes_before = bytes_so_far
        is_first = False


class Shuffled:
    """A random order of 0 … n − 1 that is computed and takes no memory.

    It is a Feistel network over the next power of four, applied until the number is below n (Black
    & Rogaway 2002).
    """

    def __init__(self, n: int, *, seed: int, epoch: int) -> None:
        self.n = n
        self.half = max(1, ((n - 1).bit_length() + 1) // 2)
        random = np.random.Generator(np.random.PCG64([seed, epoch, n]))
        self.keys = random.integers(0, 2**63, size=6, dtype=np.uint64)

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers at some places of the order."""
        numbers = self._round(places.astype(np.uint64))
        while (outside := numbers >= self.n).any():
            numbers[outside] = self._round(numbers[outside])
        return numbers.astype(np.int64)

    def _round(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        half = np.uint64(self.half)
        low = np.uint64((1 << self.half) - 1)
        left = values >> half
        right = values & low
        for key in self.keys:
            mixed = (right ^ key) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & low)
        return (left << half) | right


def steps_of(
    corpus: TokenFile,
    *,
    batch_tokens: int,
    seed: int,
    epoch: int,
    pool: int = 32,
) -> Iterator[list[int]]:
    """Yield one epoch's optimiser steps: each piece once, in random order, as lists of numbers.

    A step has about `batch_tokens` tokens. The pieces of about `pool` steps at a time are cut into
    steps of similar size: a small last step would move the weights as far as the others, by noise.
    """
    order = Shuffled(len(corpus), seed=seed, epoch=epoch)
    mean = max(1, round((corpus.counts.tokens + len(corpus)) / len(corpus)))
    pools = max(1, round(len(corpus) * mean / (pool * batch_tokens)))
    for places in np.array_split(np.arange(len(corpus)), pools):
        numbers = order.at(places)
        for step in even_parts(numbers, corpus.lengths(numbers), batch_tokens):
            yield step.tolist()


def even_parts(
    numbers: NDArray[np.int64], lengths: NDArray[np.int64], size: int
) -> list[NDArray[np.int64]]:
    """Cut numbers, in their order, into parts of about `size` tokens. No part is empty.

    lengths: the tokens that each number stands for. A number belongs to the part in which the
    middle of its tokens lies.
    """
    total = lengths.sum()
    parts = max(1, round(total / size))
    middles = np.cumsum(lengths) - lengths / 2
    cuts = np.searchsorted(middles, total * np.arange(1, parts) / parts)
    return [part for part in np.split(numbers, cuts) if len(part)]
