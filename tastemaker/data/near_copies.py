"""Near-copies: texts that differ in a few characters, found in about linear time.

A text is folded: lower case, with each run of white space and ASCII punctuation as one space. It
becomes the set of its shingles, which are all 6 consecutive bytes of the folded text. Its sketch is
the 64 smallest hash values of that set (bottom-k MinHash, Broder 1997). Two texts are near-copies
where their sketches estimate a Jaccard similarity of 0.7 or more: one changed character in 40, or
an eighth of a long text that was replaced.

Only pairs that share a run of neighbouring values at the small end of their sketches are compared
(locality-sensitive hashing). A run is likely to be shared by near-copies and by few other texts.
The result depends on the texts alone, not on their order, the process or the machine.

A text too short for a sketch has only those copies that equal it but for white space and case.

All of it is numpy on blocks of bytes: 25,000 reviews take under a second, a thirtieth of what a
MinHash object for each text takes (EXPERIMENTS.md).
"""

import string
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Sketches = NDArray[np.uint32]
"""The sketches of n texts [n, k]: smallest value first, `NONE` where a text has fewer values."""

NONE = np.uint32(0xFFFFFFFF)
STORED = 24
"""So many values of a sketch find its near-copies; the others only sharpen the estimate."""

_VALUES = 64
_SHINGLE = 6  # bytes
_FEWEST = 24  # shingles; a shorter text is compared whole
_ALIKE = 0.7
_RUN = 3  # neighbouring values that make two texts candidates
_NEIGHBOURS = 4  # candidates of a text for each of its runs
_BLOCK = (
    2**18
)  # bytes that are hashed at once, so that they stay in the processor's cache
_PAIRS = 2**13  # pairs that are compared at once
_SAMPLED = 128  # shingles of a long text that are hashed into its sketch, at least

_SEPARATORS = (string.punctuation + string.whitespace).encode()
_FOLDED = bytes.maketrans(_SEPARATORS, b" " * len(_SEPARATORS))
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))


def sketches(texts: Sequence[str]) -> Sketches:
    """Return the sketches of texts, uint32 [n, 64]."""
    result = np.full((len(texts), _VALUES), NONE)
    folded: list[bytes] = []
    start = size = 0
    for number, text in enumerate(texts):
        one = text.casefold().encode("utf-8", "surrogatepass").translate(_FOLDED)
        folded.append(one)
        size += len(one)
        if size >= _BLOCK or number == len(texts) - 1:
            part = result[start : number + 1]
            for short in _sketch(folded, part):
                part[short] = _of_whole(texts[start + short])
            folded, start, size = [], number + 1, 0
    return result


def alike_pairs(sketches: Sketches) -> NDArray[np.intp]:
    """Return the pairs of near-copies among n texts, int [p, 2], the smaller number first.

    Of many near-copies of one text not all pairs are in it; what is connected stays connected.
    """
    pairs = _candidates(sketches, None)
    return pairs[_similarity(sketches, sketches, pairs) >= _ALIKE]


def have_copy(sketches: Sketches, others: Sketches) -> NDArray[np.bool_]:
    """Return for each sketch whether it has a near-copy among the others, bool [n].

    The sketches may be cut to their first `STORED` values.
    """
    pairs = _candidates(sketches, others)
    is_alike = _similarity(sketches, others, pairs) >= _ALIKE
    has_copy = np.zeros(len(sketches), dtype=bool)
    has_copy[pairs[is_alike, 0]] = True
    return has_copy


# --- sketches ---------------------------------------------------------------------------------


def _sketch(folded: Sequence[bytes], sketches: Sketches) -> NDArray[np.intp]:
    """Fill the sketches of texts; return the numbers of those that are too short for one."""
    joined = b" ".join(folded) + b" " * 8
    characters = np.frombuffer(joined, dtype=np.uint8)
    sizes = np.array([len(one) + 1 for one in folded])
    sizes[-1] += 7
    is_space = characters == ord(" ")
    is_first = np.ones(
        len(characters), dtype=bool
    )  # of a run of spaces, only the first
    np.logical_and(is_space[1:], is_space[:-1], out=is_first[1:])
    np.logical_not(is_first[1:], out=is_first[1:])
    ends_before = np.cumsum(sizes)
    kept_before = np.concatenate([[0], np.cumsum(is_first)])[ends_before]
    characters = np.concatenate([characters[is_first], np.full(8, 32, np.uint8)])
    lengths = np.diff(kept_before, prepend=0)
    shingles = np.maximum(lengths - _SHINGLE, 0)

    values = _hash_values(characters, int(kept_before[-1]))
    # a long text needs few of its shingles: those with hash values below a threshold
    halvings = np.log2(np.maximum(shingles / _SAMPLED, 1)).astype(np.uint32)
    thresholds = NONE >> halvings
    is_sampled = values < np.repeat(thresholds, lengths)
    for back in range(1, _SHINGLE + 1):  # a shingle does not reach into the next text
        is_sampled[np.maximum(kept_before - back, 0)] = False
    places = np.flatnonzero(is_sampled)
    text = np.searchsorted(kept_before, places, side="right").astype(np.uint64)
    keys = np.sort((text << np.uint64(32)) | values[places])
    keys = keys[np.diff(keys, prepend=np.uint64(0)) > 0]
    text = (keys >> np.uint64(32)).astype(np.intp)
    first = np.searchsorted(text, np.arange(len(folded)))
    rank = np.arange(len(text)) - first[text]
    is_small = rank < sketches.shape[1]
    sketches[text[is_small], rank[is_small]] = keys[is_small].astype(np.uint32)
    return np.flatnonzero(shingles < _FEWEST)


def _hash_values(characters: NDArray[np.uint8], count: int) -> NDArray[np.uint32]:
    """Return the hash value of the shingle that begins at each of the first `count` places."""
    windows = np.ndarray(count, "<u8", characters, strides=(1,))
    hashed = windows & np.uint64(2 ** (8 * _SHINGLE) - 1)
    hashed *= _ODD[0]
    hashed ^= hashed >> np.uint64(32)
    hashed *= _ODD[1]
    hashed >>= np.uint64(32)
    return hashed.astype(np.uint32)


def _of_whole(text: str) -> Sketches:
    """Return the sketch of a short text: equal for texts that differ in white space and case."""
    folded = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    digest = blake2b(folded, digest_size=4 * STORED // 2).digest()
    values = np.frombuffer(digest, dtype="<u4")
    sketch = np.full(_VALUES, NONE)
    sketch[: len(values)] = np.sort(values)
    return sketch


# --- candidates and their similarity ----------------------------------------------------------


def _candidates(sketches: Sketches, others: Sketches | None) -> NDArray[np.intp]:
    """Return pairs (sketch, other) that share a run of values, each once, int [p, 2].

    others: None for the sketches themselves; then the smaller number is first.
    """
    searched = sketches if others is None else others
    bits = np.uint64(max(len(searched), len(sketches)).bit_length())
    entries = np.sort(_runs(searched, bits))
    queries = entries if others is None else _runs(sketches, bits)
    place = np.arange(1, len(entries) + 1)
    if others is not None:
        place = np.searchsorted(entries, queries >> bits << bits)
    number = np.uint64(2 ** int(bits) - 1)
    codes = []
    for _ in range(_NEIGHBOURS):
        is_inside = place < len(entries)
        queries, place = queries[is_inside], place[is_inside]
        is_same = entries[place] >> bits == queries >> bits
        queries, place = queries[is_same], place[is_same]
        codes.append((queries & number) << bits | (entries[place] & number))
        place = place + 1
    code = np.unique(np.concatenate(codes))
    pairs = np.stack([code >> bits, code & number], axis=1).astype(np.intp)
    return pairs[pairs[:, 0] != pairs[:, 1]] if others is None else pairs


def _runs(sketches: Sketches, bits: np.uint64) -> NDArray[np.uint64]:
    """Return all runs of neighbouring values, uint64: a hash of the values, then the text."""
    values = sketches[:, :STORED].astype(np.uint64)
    last = values.shape[1] - _RUN + 1
    key = np.zeros((len(values), last), dtype=np.uint64)
    for place in range(_RUN):
        key = (key ^ values[:, place : place + last]) * _ODD[place % 2]
        key ^= key >> np.uint64(29)
    number = np.arange(len(values), dtype=np.uint64)[:, None]
    entry = (key * _ODD[0]) >> bits << bits | number
    return entry[sketches[:, _RUN - 1 : STORED] != NONE]


def _similarity(
    sketches: Sketches, others: Sketches, pairs: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the estimated Jaccard similarity of pairs [p].

    Both sketches hold all their values up to the smaller of their largest ones. There the values of
    both are a random sample of the union of the two sets.
    """
    width = min(sketches.shape[1], others.shape[1])
    similarity = np.zeros(len(pairs))
    for start in range(0, len(pairs), _PAIRS):
        part = slice(start, start + _PAIRS)
        a = sketches[pairs[part, 0], :width]
        b = others[pairs[part, 1], :width]
        bound = np.minimum(np.minimum(a[:, -1], b[:, -1]), NONE - 1)[:, None]
        merged = np.sort(np.concatenate([a, b], axis=1), axis=1)
        is_common = (merged[:, 1:] == merged[:, :-1]) & (merged[:, 1:] != NONE)
        common = is_common.sum(1)
        union = (a <= bound).sum(1) + (b <= bound).sum(1) - common
        similarity[part] = common / np.maximum(union, 1)
    return similarity


def clusters(sketches: Sketches) -> Iterator[list[int]]:
    """Yield the groups of two or more texts that near-copies connect, each sorted."""
    parent: dict[int, int] = {}

    def root(at: int) -> int:
        while parent.setdefault(at, at) != at:
            parent[at] = at = parent[parent[at]]
        return at

    for first, second in alike_pairs(sketches).tolist():
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for number in sorted(parent):
        groups.setdefault(root(number), []).append(number)
    yield from groups.values()
