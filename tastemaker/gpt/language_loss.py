"""How well a policy foresees text it has not seen: perplexity per token and per byte, beside an
n-gram model.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.errors import DataError, ModelError, TrainingError
from tastemaker.fast.batching import by_length
from tastemaker.gpt.corpus import Shuffled, TokenFile, pieces_of
from tastemaker.gpt.policy import Policy
from tastemaker.maths.ngrams import NGrams
from tastemaker.progress import progress

_MEASURED = 2**17
"""Tokens of held-out text that are measured at most: enough for half a per cent."""
_COUNTED = 2**24
"""Tokens that an n-gram model counts at most: 2.4 gigabytes while it counts."""
_ORDER = 5
"""Or less, where n-grams of so many tokens have no number of 64 bits: from a vocabulary of 7,131 on
it is 4.
"""
_BATCH_TOKENS = 8192
_AT_ONCE = 1024
_MOST = 700.0  # nats a token; exp of much more is no float


@dataclass(frozen=True)
class Perplexity:
    """What a language model pays for a text.

    tokens: predicted; bytes: of UTF-8 that they spell; nats: −log P of all. texts: documents.
    """

    texts: int
    tokens: int
    bytes: int
    nats: float

    @property
    def per_token(self) -> float:
        """exp(nats / tokens): how many equally likely tokens it hesitates between."""
        return math.exp(self.nats / self.tokens)

    @property
    def per_byte(self) -> float:
        """exp(nats / bytes): comparable between tokenizers."""
        return math.exp(self.nats / self.bytes) if self.bytes else math.nan

    @property
    def bits_per_byte(self) -> float:
        """nats / (bytes · ln 2)."""
        return self.nats / (self.bytes * math.log(2)) if self.bytes else math.nan

    def as_dict(self) -> dict[str, float]:
        """Return the figures, JSON-ready."""
        figures = {
            "perplexity": self.per_token,
            "byte_perplexity": self.per_byte,
            "bits_per_byte": self.bits_per_byte,
        }
        return asdict(self) | figures

    def __str__(self) -> str:
        return (
            f"perplexity {self.per_token:.2f} per token, {self.per_byte:.3f} per byte ({self.bits_per_byte:.3f} bits "
            f"per byte) on {self.texts:,} texts of {self.tokens:,} tokens"
        )


def perplexity(policy: Policy, examples: Iterable[Example]) -> Perplexity:
    """Return what a policy pays for texts behind their prompts; a text of its own begins with the
    start token.

    Every token is counted, the end token too; a text longer than the context is read in pieces.
    Memory does not grow with the texts. Raises DataError where there is none, ModelError for a
    policy whose weights ran away.
    """
    texts = tokens = size = 0
    nats = 0.0
    pieces = pieces_of(examples, policy.reader, policy.context)
    with progress("reading", None) as advance:
        while chunk := list(islice(pieces, _AT_ONCE)):
            paid = _nats(policy, [(piece.ids, piece.before) for piece in chunk])
            nats += math.fsum(float(p.sum()) for p in paid)
            tokens += sum(len(p) for p in paid)
            size += sum(piece.bytes for piece in chunk)
            texts += sum(piece.is_first for piece in chunk)
            advance(len(chunk), "")
    if not tokens:
        raise DataError(
            "there is no text to measure. Give a source with documents in it."
        )
    if not nats / tokens < _MOST:
        raise ModelError(
            f"this policy pays {nats / tokens:g} nats a token: its weights are broken. Train it again."
        )
    return Perplexity(texts, tokens, size, nats)


def held_out_loss(
    policy: Policy, corpus: TokenFile, *, seed: int
) -> NDArray[np.float64]:
    """Return −log π of each token of a corpus [tokens]; of a random part of it where it is large.

    Raises TrainingError where that is no number: the weights have run away.
    """
    paid = np.concatenate(
        _nats(policy, [corpus.piece(number) for number in _measured(corpus, seed)])
    )
    found: NDArray[np.float64] = paid.astype(np.float64)
    if not found.mean() < _MOST:
        raise TrainingError(
            f"the held-out loss is {found.mean():g} nats a token: the weights ran away. Lower --lr."
        )
    return found


def ngram_loss(
    train: TokenFile, held_out: TokenFile, vocabulary: int, *, seed: int
) -> NDArray[np.float64]:
    """Return −log P of the same tokens by an interpolated Kneser–Ney n-gram model of the training
    pieces.
    """
    counted, total = [], 0
    for number in _order(train, seed):
        counted.append(train.piece(int(number))[0])
        total += len(counted[-1])
        if total >= _COUNTED:
            break
    model = NGrams.fit(*_end_to_end(counted), vocabulary=vocabulary, order=_ORDER)
    pieces = [held_out.piece(number) for number in _measured(held_out, seed)]
    found: NDArray[np.float64] = model.log_probs(
        *_end_to_end([ids for ids, _ in pieces])
    )
    is_learned = np.concatenate(
        [np.arange(len(ids)) >= before for ids, before in pieces]
    )
    paid: NDArray[np.float64] = -found[is_learned]
    return paid


def _nats(policy: Policy, pieces: list[Any]) -> list[NDArray[np.float32]]:
    """Return −log π of what each piece (its tokens, how many only stand before) teaches."""
    found: list[Any] = [None] * len(pieces)
    with torch.inference_mode():
        for part in by_length(
            [len(ids) for ids, _ in pieces], _BATCH_TOKENS, most_padding=0.05
        ):
            values = policy.batch_log_probs([pieces[i][0] for i in part]).cpu().numpy()
            for row, i in enumerate(part):
                ids, before = pieces[i]
                found[i] = -values[row, before - 1 : len(ids) - 1]
    return found


def _order(corpus: TokenFile, seed: int) -> Iterator[np.int64]:
    return iter(Shuffled(len(corpus), seed=seed, epoch=0).at(np.arange(len(corpus))))


def _measured(corpus: TokenFile, seed: int) -> list[int]:
    """Return the pieces that are measured: all, or a random part of about `_MEASURED` tokens."""
    chosen, total = [], 0
    for number in _order(corpus, seed):
        if total >= _MEASURED:
            break
        chosen.append(int(number))
        total += int(corpus.pieces[number, 1])
    return chosen


def _end_to_end(
    pieces: list[NDArray[np.int32]],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    starts = np.zeros(sum(map(len, pieces)), dtype=bool)
    starts[np.cumsum([0, *map(len, pieces[:-1])])] = True
    return np.concatenate(pieces), starts
