"""Held-out loss and perplexity of a policy, and of an n-gram model as the baseline.

The n-gram model has interpolated Kneser–Ney smoothing:

    P_n(w | h) = ( max(c_n(hw) − D_n, 0) + D_n · N_n(h) · P_{n−1}(w | h′) ) / c_n(h)

h are the n − 1 symbols before w, and h′ is h without its oldest. c_n(h) = Σ_w c_n(hw), and N_n(h)
is the number of distinct w that follow h. If h was never counted, P_n = P_{n−1}. P_0 is
1 / vocabulary. In the highest order c_n counts occurrences. In a lower order it counts the distinct
symbols before hw. Each document begins with one boundary, which is context and is never predicted.
Nothing precedes a boundary, so n-grams that begin with one count occurrences in all orders.

Kneser and Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995; Chen and Goodman,
"An empirical study of smoothing techniques for language modeling", Computer Speech & Language 13
(1999), section 3, with one discount an order.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tastemaker import processes
from tastemaker.data.judgements import Example
from tastemaker.errors import DataError, ModelError, TrainingError, UsageError
from tastemaker.fast.batching import by_length
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.tokenise import Shuffled, TokenFile, pieces_of
from tastemaker.maths.statistics import Floats
from tastemaker.progress import progress
from tastemaker.readable import notebook_html

Keys = NDArray[np.uint64]

_UNKNOWN_DISCOUNT = 0.5


@dataclass(frozen=True)
class _Level:
    """The counts of one order, by the keys of its n-grams and of their contexts, ascending.

    keys, counts: [types]. contexts, totals (c_n(h)), followers (N_n(h)): [contexts]. discount: D_n.
    """

    keys: Keys
    counts: Floats
    contexts: Keys
    totals: Floats
    followers: Floats
    discount: float


@dataclass(frozen=True)
class NGrams:
    """A fitted model. levels: the counts of each order. vocabulary: the number of token ids."""

    levels: tuple[_Level, ...]
    vocabulary: int

    @property
    def order(self) -> int:
        """How many symbols an n-gram has: the token that is predicted and `order − 1` before it."""
        return len(self.levels)

    @classmethod
    def fit(
        cls,
        tokens: ArrayLike,
        starts: ArrayLike,
        *,
        vocabulary: int,
        order: int = 4,
    ) -> "NGrams":
        """Count the n-grams of documents that stand end to end.

        tokens: int [n], each from 0 to vocabulary − 1. starts: bool [n], True at the first token of
        every document; the very first token always begins one. order: how long n-grams are;
        an n-gram is one number of 64 bits, so the order is less where (vocabulary + 1) ^ order is
        more than 2^64: see `.order` for what it came to (4 up to 65,535 ids, 3 up to 2.6 million).
        Raises UsageError for an order or a vocabulary under 1, for ids outside the vocabulary, and
        for arrays that do not belong together.
        """
        if order < 1 or vocabulary < 1:
            raise UsageError(
                f"n-grams of order {order} over {vocabulary} token ids: both are 1 or more."
            )
        order = max(
            n
            for n in range(1, min(order, 64) + 1)
            if n == 1 or (vocabulary + 1) ** n <= 2**64
        )
        ids, places = _checked(tokens, starts, vocabulary)
        levels: list[_Level] = []
        for n in range(order, 0, -1):
            grams = _grams(ids, places, n, vocabulary)
            if not levels:
                keys, counts = np.unique(
                    grams[places >= n - 2], return_counts=True
                )
            else:  # a boundary stands only at the front, so no key is in both
                after = np.unique(
                    levels[-1].keys % _power(vocabulary, n), return_counts=True
                )
                first = np.unique(grams[places == n - 2], return_counts=True)
                keys, counts = (
                    np.concatenate(pair)
                    for pair in zip(after, first, strict=True)
                )
                ascending = np.argsort(keys, kind="stable")
                keys = keys[ascending]
                counts = counts[ascending]
            levels.append(_level(keys, counts, vocabulary))
        return cls(tuple(reversed(levels)), vocabulary)

    def log_probs(self, tokens: ArrayLike, starts: ArrayLike) -> Floats:
        """Return log P(token | context) of every token [n], in nats.

        The context is the up to `order − 1` symbols before the token in its document.
        The arguments and errors are those of `fit`. All are finite: no token of the vocabulary is
        impossible.
        """
        ids, places = _checked(tokens, starts, self.vocabulary)
        probabilities: Floats = np.full(len(ids), 1 / self.vocabulary)
        for n, level in enumerate(self.levels, 1):
            grams = _grams(ids, places, n, self.vocabulary)
            # Each n-gram once and in order: a search for neighbours is many times faster.
            distinct, inverse = np.unique(grams, return_inverse=True)
            counts = _looked_up(level.keys, level.counts, distinct)
            contexts = distinct // _power(self.vocabulary, 1)
            totals = _looked_up(level.contexts, level.totals, contexts)
            followers = _looked_up(level.contexts, level.followers, contexts)
            discounted = np.maximum(counts - level.discount, 0)[inverse]
            lower_weight = (level.discount * followers)[inverse]
            total = totals[inverse]
            is_counted = (total > 0) & (places >= n - 2)
            mixed = discounted + lower_weight * probabilities
            np.divide(mixed, total, out=probabilities, where=is_counted)
        log_probs: Floats = np.log(probabilities)
        return log_probs


def _checked(
    tokens: ArrayLike, starts: ArrayLike, vocabulary: int
) -> tuple[Keys, NDArray[np.int64]]:
    """Return the tokens as keys [n], and each token's place in its document [n]."""
    ids = np.asarray(tokens)
    is_start = np.array(starts, dtype=bool)
    if ids.ndim != 1 or ids.shape != is_start.shape:
        raise UsageError(
            f"tokens of shape {ids.shape} and starts of shape {is_start.shape}: "
            "both are lists of one length."
        )
    if len(ids) and not (ids.min() >= 0 and ids.max() < vocabulary):
        raise UsageError(
            f"token ids from {ids.min()} to {ids.max()}; the vocabulary has 0 to {vocabulary - 1}."
        )
    is_start[:1] = True
    places = np.arange(len(ids))
    document_starts = np.maximum.accumulate(np.where(is_start, places, 0))
    return ids.astype(np.uint64), places - document_starts


def _power(vocabulary: int, n: int) -> np.uint64:
    """Return the number of keys of n symbols; the boundary is the symbol after the last id."""
    return np.uint64((vocabulary + 1) ** n)


def _grams(
    ids: Keys, places: NDArray[np.int64], n: int, vocabulary: int
) -> Keys:
    """Return the key of the n symbols up to each token, oldest first [n].

    A key has no meaning where places < n − 2.
    """
    keys = ids.copy()
    for back in range(1, n):
        older = np.full(len(ids), vocabulary, dtype=np.uint64)
        inside = np.flatnonzero(places >= back)
        older[inside] = ids[inside - back]
        # at most (vocabulary + 1) ^ n − 1: no overflow
        keys += older * _power(vocabulary, back)
    return keys


def _level(keys: Keys, counts: NDArray[np.int64], vocabulary: int) -> _Level:
    """Return one order's counts, added up by context, with its discount n₁ / (n₁ + 2 n₂).

    n₁ and n₂: how many n-grams are counted once and twice. If either is 0, the discount would be 0,
    which makes unseen tokens impossible, or 1, which ignores n-grams seen once; then it is 0.5.
    """
    contexts, first = np.unique(
        keys // _power(vocabulary, 1), return_index=True
    )
    totals = np.add.reduceat(counts, first) if len(first) else np.zeros(0)
    followers = np.diff(first, append=len(keys))
    once = np.count_nonzero(counts == 1)
    twice = np.count_nonzero(counts == 2)
    discount = (
        float(once / (once + 2 * twice))
        if once and twice
        else _UNKNOWN_DISCOUNT
    )
    counted, total, following = (
        column.astype(np.float64) for column in (counts, totals, followers)
    )
    return _Level(keys, counted, contexts, total, following, discount)


def _looked_up(keys: Keys, values: Floats, queries: Keys) -> Floats:
    """Return the value of each query's key, 0 for a query that is not among the keys."""
    indices = np.searchsorted(keys, queries)
    results = np.zeros(len(queries))
    inside = np.flatnonzero(indices < len(keys))
    matches = inside[keys[indices[inside]] == queries[inside]]
    results[matches] = values[indices[matches]]
    return results


_MEASURED = 2**17
"""Tokens of held-out text that are measured at most: enough for half a per cent."""
_COUNTED = 2**24
"""Tokens that an n-gram model counts at most: 2.4 gigabytes while it counts."""
_ORDER = 5
"""Tokens of an n-gram. Four with a vocabulary of 7,131 or more, whose numbers exceed 64 bits."""
_BATCH_TOKENS = 8192
_AT_ONCE = 1024
_MOST = 700.0  # nats a token; exp of much more is no float


_BITS_OF_RANDOM_BYTES = 8.0


@dataclass(frozen=True)
class Perplexity:
    """The loss of a language model on texts.

    texts: documents. tokens: predicted ones. bytes: of UTF-8 that they spell. nats: −log P of all.
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
        return (
            self.nats / (self.bytes * math.log(2)) if self.bytes else math.nan
        )

    def as_dict(self) -> dict[str, float]:
        """Return the figures, JSON-ready."""
        figures = {
            "perplexity": self.per_token,
            "byte_perplexity": self.per_byte,
            "bits_per_byte": self.bits_per_byte,
        }
        return asdict(self) | figures

    def verdict(self) -> str:
        """Return one line: how much better than random bytes the model knows these texts."""
        bits = self.bits_per_byte
        if not bits < _BITS_OF_RANDOM_BYTES:
            return (
                "No better than guessing: a byte of these texts costs it "
                f"{bits:.2f} bits, and 8 are those of random bytes."
            )
        return (
            f"Better than guessing: a byte of these texts costs it {bits:.2f} bits, where random "
            "bytes cost 8. Compare GPTs by this figure, on the same texts."
        )

    def _repr_html_(self) -> str:
        """Return the sentence, for a notebook."""
        return notebook_html([str(self)])

    def __str__(self) -> str:
        return (
            f"perplexity {self.per_token:.2f} per token, {self.per_byte:.3f} per byte "
            f"({self.bits_per_byte:.3f} bits per byte) on {self.texts:,} texts "
            f"of {self.tokens:,} tokens"
        )


def perplexity(policy: Policy, examples: Iterable[Example]) -> Perplexity:
    """Return a policy's perplexity on texts, given their prompts, or the start token without one.

    All tokens of a text are counted, the end token too. A text longer than the context is read in
    pieces. Memory does not grow with the texts. Raises DataError if there are none, and ModelError
    if the loss is not finite or very large.
    """
    texts = tokens = size = 0
    nats = 0.0
    pieces = pieces_of(examples, policy.reader, policy.context)
    with progress("reading", None) as advance:
        while chunk := list(islice(pieces, _AT_ONCE)):
            losses = _nats(
                policy, [(piece.ids, piece.before) for piece in chunk]
            )
            nats += math.fsum(float(loss.sum()) for loss in losses)
            tokens += sum(len(loss) for loss in losses)
            size += sum(piece.bytes for piece in chunk)
            texts += sum(piece.is_first for piece in chunk)
            advance(len(chunk), "")
    if not tokens:
        raise DataError(
            "there is no text to measure. Give a source with documents in it."
        )
    if not nats / tokens < _MOST:
        raise ModelError(
            f"this policy pays {nats / tokens:g} nats a token: its weights are broken. "
            "Train it again."
        )
    return Perplexity(texts, tokens, size, nats)


def held_out_loss(
    policy: Policy, corpus: TokenFile, *, seed: int
) -> NDArray[np.float64]:
    """Return −log π of each token of a corpus [tokens], or of a random part of a large corpus.

    Raises TrainingError if the mean is not finite or very large: training diverged.
    """
    pieces = [corpus.piece(number) for number in _measured(corpus, seed)]
    part = processes.share([len(ids) for ids, _ in pieces])
    by_piece: dict[int, NDArray[np.float32]] = {}
    for of_process in processes.gathered(
        lambda: dict(
            zip(part, _nats(policy, [pieces[i] for i in part]), strict=True)
        )
    ):
        by_piece.update(of_process)
    nats = [by_piece[number] for number in range(len(pieces))]
    losses = np.concatenate(nats).astype(np.float64)
    mean = losses.mean()
    if not mean < _MOST:
        raise TrainingError(
            f"the held-out loss is {mean:g} nats a token: the weights ran away. Lower --lr."
        )
    return losses


def ngram_loss(
    train: TokenFile, held_out: TokenFile, vocabulary: int, *, seed: int
) -> NDArray[np.float64]:
    """Return −log P of the same tokens by an n-gram model of the training pieces."""
    counted = []
    total = 0
    for number in _order(train, seed):
        counted.append(train.piece(int(number))[0])
        total += len(counted[-1])
        if total >= _COUNTED:
            break
    model = NGrams.fit(
        *_end_to_end(counted), vocabulary=vocabulary, order=_ORDER
    )
    pieces = [held_out.piece(number) for number in _measured(held_out, seed)]
    tokens, starts = _end_to_end([ids for ids, _ in pieces])
    log_probs = model.log_probs(tokens, starts)
    is_learned = np.concatenate(
        [np.arange(len(ids)) >= before for ids, before in pieces]
    )
    losses: NDArray[np.float64] = -log_probs[is_learned]
    return losses


def _nats(policy: Policy, pieces: list[Any]) -> list[NDArray[np.float32]]:
    """Return −log π of the learned tokens of each piece: (tokens, how many are context only)."""
    losses: list[Any] = [None] * len(pieces)
    lengths = [len(ids) for ids, _ in pieces]
    with torch.inference_mode():
        for part in by_length(lengths, _BATCH_TOKENS, most_padding=0.05):
            log_probs = policy.batch_log_probs([pieces[i][0] for i in part])
            values = log_probs.cpu().numpy()
            for row, i in enumerate(part):
                ids, before = pieces[i]
                losses[i] = -values[row, before - 1 : len(ids) - 1]
    return losses


def _order(corpus: TokenFile, seed: int) -> Iterator[np.int64]:
    return iter(
        Shuffled(len(corpus), seed=seed, epoch=0).at(np.arange(len(corpus)))
    )


def _measured(corpus: TokenFile, seed: int) -> list[int]:
    """Return the pieces that are measured: all, or a random part of about `_MEASURED` tokens."""
    chosen = []
    total = 0
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
