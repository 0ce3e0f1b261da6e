"""Word n-grams of many texts at once, each named by one 64-bit number.

A token is a lower-cased word, a punctuation mark, or one character of a script that is written without spaces. Its name
is 64 bits of its BLAKE2b hash, the same on every machine; an n-gram's name is a polynomial of its tokens' names. That
any two of the 10⁷ n-grams of a corpus share a name has a probability of about 10¹⁴ / 2⁶⁵ < 10⁻⁵, so no vocabulary of
strings is kept, and everything after the regular expression is whole-array arithmetic.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

# Thai, Lao, Myanmar, Khmer, kana and Han: every character a token, since no space says where a word ends.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_ASCII_TOKEN = re.compile(r"\w+(?:'\w+)*|\.\.\.|[^\w\s]")
_TOKEN = re.compile(rf"[^\W{_SPACELESS}]+(?:'[^\W{_SPACELESS}]+)*|[{_SPACELESS}]|\.\.\.|[^\w\s]")
_LINE_BREAK = re.compile(r"<br\s*/?>")
_AGAIN = np.uint64(0xD1B54A32D192ED03)  # what a token said again is named by, beside its own name
_TOKENS_AGAIN, _NGRAMS_AGAIN = np.uint64(0x5851F42D4C957F2D), np.uint64(0x14057B7EF767814F)  # and how many there are
_MOST_AGAIN = 24
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C17)  # odd, so that multiplying loses nothing; 2⁶⁴/φ spreads the bits
_REMEMBERED_TOKENS = 1 << 18
_CHUNK_CHARACTERS = 1 << 20


def tokens(text: str) -> list[str]:
    """Return the lower-cased words, punctuation marks and characters of a text, in order.

    Compatibility forms are unified (`！` is `!`, `…` is `...`); an HTML line break counts as a space.
    """
    lowered = _LINE_BREAK.sub(" ", text.lower())
    if lowered.isascii():
        return _ASCII_TOKEN.findall(lowered)
    return _TOKEN.findall(unicodedata.normalize("NFKC", lowered).lower())


class _Names(dict[str, int]):
    """token → its 64-bit name, worked out once for each of the tokens seen lately."""

    def __missing__(self, token: str) -> int:
        if len(self) >= _REMEMBERED_TOKENS:
            self.clear()
        name = self[token] = int.from_bytes(blake2b(token.encode(errors="replace"), digest_size=8).digest(), "little")
        return name


_names = _Names()


@dataclass(frozen=True)
class TokenNames:
    """The tokens of consecutive texts. names: uint64 [tokens]; lengths: int64 [texts], tokens a text."""

    names: NDArray[np.uint64]
    lengths: NDArray[np.int64]

    @staticmethod
    def of(texts: Iterable[str]) -> "TokenNames":
        """Tokenise texts."""
        found = [tokens(text) for text in texts]
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        names = (_names[token] for text in found for token in text)
        return TokenNames(np.fromiter(names, np.uint64, int(lengths.sum())), lengths)

    def ngrams(self, longest: int, *, repeats: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return every n-gram's name for n = 1 … longest, and the number of the text it stands in.

        name(t₁ … tₙ) = name(t₁ … tₙ₋₁) · odd + name(tₙ) mod 2⁶⁴. No n-gram reaches from one text into the next.
        repeats: also a name for each token that stood in its text before, one for the first of them in a text, for the
        second …, 24 at most, and likewise of the longest n-grams: so what saying things twice costs is learned from all
        that is said twice, and need not be learned word by word.
        """
        document = np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)
        found, running = [(self.names, document)], self.names
        for n in range(2, longest + 1):
            running = running[:-1] * _MULTIPLIER + self.names[n - 1 :]
            inside = document[: len(running)] == document[n - 1 :]
            found.append((running[inside], document[: len(running)][inside]))
        if repeats:
            tokens_again, ngrams_again = _said_again(*found[0]), _said_again(*found[-1])
            found.append((tokens_again[0] * _MULTIPLIER + _AGAIN, tokens_again[1]))
            found.append(self._numbered(tokens_again[1], _TOKENS_AGAIN))
            found.append(self._numbered(ngrams_again[1], _NGRAMS_AGAIN))
        names, documents = zip(*found, strict=True)
        return np.concatenate(names).view(np.int64), np.concatenate(documents)

    def _numbered(self, document: NDArray[np.int32], sort: np.uint64) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Return for each text, of the things of a sort that stand in it, a name for the first, the second …"""
        each = np.minimum(np.bincount(document, minlength=len(self.lengths)), _MOST_AGAIN)
        documents = np.repeat(np.arange(len(each), dtype=np.int32), each)
        number = np.arange(len(documents)) - np.repeat(np.cumsum(each) - each, each)
        return number.astype(np.uint64) * _MULTIPLIER + sort, documents


def _said_again(names: NDArray[np.uint64], document: NDArray[np.int32]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return those names, each with the number of its text, that stood in the text before."""
    order = np.lexsort((names, document))
    names, document = names[order], document[order]
    again = (names[1:] == names[:-1]) & (document[1:] == document[:-1])
    return names[1:][again], document[1:][again]


def chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut texts into runs of about a million characters, so that memory does not grow with their number."""
    start, characters = 0, 0
    for end, text in enumerate(texts, start=1):
        characters += len(text) + 1
        if characters >= _CHUNK_CHARACTERS or end == len(texts):
            yield texts[start:end]
            start, characters = end, 0


def vocabulary(
    chunked: Sequence[TokenNames], longest: int, min_count: int, *, repeats: bool = False
) -> NDArray[np.int64]:
    """Return the names, ascending, of the n-grams that occur `min_count` times or more in all the texts."""
    names = np.concatenate([np.zeros(0, np.int64), *(chunk.ngrams(longest, repeats=repeats)[0] for chunk in chunked)])
    names.sort()
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(names)), bool), names[1:] != names[:-1]]))
    counts = np.diff(first, append=len(names))
    return names[first[counts >= min_count]]


def counts(chunk: TokenNames, longest: int, kept: NDArray[np.int64], *, repeats: bool = False) -> sp.csr_matrix:
    """Return how often each kept n-gram occurs in each text: float64 [texts, len(kept)], columns ascending."""
    shape = (len(chunk.lengths), len(kept))
    names, document = chunk.ngrams(longest, repeats=repeats)
    if len(kept) == 0 or len(names) == 0:
        return sp.csr_matrix(shape, dtype=np.float64)
    order = np.argsort(names)  # a search for ascending names walks through `kept` once: several times faster
    names, document = names[order], document[order]
    column = np.minimum(np.searchsorted(kept, names), len(kept) - 1)
    known = kept[column] == names
    cell = document[known] * np.int64(len(kept)) + column[known]
    cell, count = np.unique(cell, return_counts=True)
    row, column = np.divmod(cell, len(kept))
    start = np.searchsorted(row, np.arange(len(chunk.lengths) + 1))
    return sp.csr_matrix((count.astype(np.float64), column.astype(np.int32), start), shape=shape)
