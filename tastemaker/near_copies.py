"""Near-copies: texts that differ in a few characters, found in about linear time.

A text is folded: lower case, without white space and ASCII punctuation. It becomes the set of its
shingles, which are all 6 consecutive bytes of the folded text. Its sketch is the 64 smallest hash
values of that set (bottom-k MinHash, Broder 1997). Two texts are near-copies where their sketches
estimate a Jaccard similarity of 0.7 or more: one changed character in 40, or a sixth of a long text
that was replaced.

Only pairs that share a run of neighbouring values at the small end of their sketches are compared
(locality-sensitive hashing). A run is likely to be shared by near-copies and by few other texts.
The result depends on the texts alone, not on their order, the process or the machine.

A text too short for a sketch has only those copies that equal it but for white space and case.

All of it is numpy on blocks of bytes: 25,000 reviews take about a second, a fortieth of what a
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
# bytes that are hashed at once, so that they stay in the processor's cache
_BLOCK = 2**18
_PAIRS = 2**13  # pairs that are compared at once
# shingles of a long text that are hashed into its sketch, at least
_SAMPLED = 96

_LEFT_OUT = (string.punctuation + string.whitespace).encode()
_LOWER = bytes.maketrans(
    string.ascii_uppercase.encode(), string.ascii_lowercase.encode()
)
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))


def sketches(texts: Sequence[str]) -> Sketches:
    """Return the sketches of texts, uint32 [n, 64]."""
    result = np.full((len(texts), _VALUES), NONE)
    block: list[bytes] = []
    start = size = 0
    for number, text in enumerate(texts):
        folded = text if text.isascii() else text.casefold()
        letters = folded.encode("utf-8", "surrogatepass").translate(
            _LOWER, _LEFT_OUT
        )
        block.append(letters)
        size += len(letters)
        if size >= _BLOCK or number == len(texts) - 1:
            part = result[start : number + 1]
            for short in _sketch(block, part):
                part[short] = _of_whole(texts[start + short])
            block, start, size = [], number + 1, 0
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


def _sketch(block: Sequence[bytes], sketches: Sketches) -> NDArray[np.intp]:
    """Fill the sketches of folded texts; return the numbers of those too short for one."""
    lengths = np.array([len(letters) for letters in block])
    ends = np.cumsum(lengths)
    values = _hash_values(b"".join(block))
    shingles = np.maximum(lengths - _SHINGLE + 1, 0)
    # a long text needs few of its shingles: those with hash values below a threshold
    halvings = np.log2(np.maximum(shingles / _SAMPLED, 1)).astype(np.uint64)
    thresholds = np.uint64(2**64 - 2**32) >> halvings
    is_sampled = values < np.repeat(thresholds, lengths)
    # a shingle does not reach into the next text
    for back in range(1, _SHINGLE):
        is_sampled[np.maximum(ends - back, 0)] = False
    places = np.flatnonzero(is_sampled)
    counts = np.diff(np.searchsorted(places, ends), prepend=0)
    text = np.repeat(np.arange(len(block), dtype=np.uint64), counts)
    keys = np.sort(text << np.uint64(32) | values[places] >> np.uint64(32))
    is_new = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=is_new[1:])
    keys = keys[is_new]
    number = (keys >> np.uint64(32)).astype(np.intp)
    first = np.searchsorted(number, np.arange(len(block)))
    rank = np.arange(len(keys)) - first[number]
    is_small = rank < sketches.shape[1]
    sketches[number[is_small], rank[is_small]] = keys[is_small].astype(
        np.uint32
    )
    return np.flatnonzero(shingles < _FEWEST)


def _hash_values(characters: bytes) -> NDArray[np.uint64]:
    """Return the hash value of the shingle that begins at each character."""
    padded = characters + bytes(8)
    windows = np.ndarray(len(characters), "<u8", padded, strides=(1,))
    hashed = windows & np.uint64(2 ** (8 * _SHINGLE) - 1)
    hashed *= _ODD[0]
    hashed ^= hashed >> np.uint64(32)
    hashed *= _ODD[1]
    return hashed


def _of_whole(text: str) -> Sketches:
    """Return the sketch of a short text: equal for texts that differ in white space and case."""
    folded = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    digest = blake2b(folded, digest_size=4 * STORED // 2).digest()
    values = np.frombuffer(digest, dtype="<u4")
    sketch = np.full(_VALUES, NONE)
    sketch[: len(values)] = np.sort(values)
    return sketch


# --- candidates and their similarity ----------------------------------------------------------


def _candidates(
    sketches: Sketches, others: Sketches | None
) -> NDArray[np.intp]:
    """Return pairs (sketch, other) that share a run of values, each once, int [p, 2].

    others: None for the sketches themselves; then the smaller number is first. Of many texts that
    share a run, each is compared with the few whose smallest values are nearest to its own.
    """
    searched = sketches if others is None else others
    order = np.lexsort(searched[:, 2::-1].T)
    bits = np.uint64(max(len(searched), len(sketches)).bit_length())
    number = np.uint64(2 ** int(bits) - 1)
    text, key = _runs(searched[order])
    entries = np.sort(key >> bits << bits | text)
    if others is None:
        owner, query = order[(entries & number).astype(np.intp)], entries
        place = np.arange(1, len(entries) + 1)
    else:
        text, key = _runs(sketches)
        owner = text.astype(np.intp)
        nearest = np.searchsorted(searched[order, 0], sketches[owner, 0])
        query = key >> bits << bits | nearest.astype(np.uint64)
        place = np.searchsorted(entries, query) - _NEIGHBOURS // 2
    pairs = [np.zeros((0, 2), dtype=np.intp)]
    for at in range(_NEIGHBOURS):
        is_same = (place + at >= 0) & (place + at < len(entries))
        entry = entries[place[is_same] + at]
        is_same[is_same] = entry >> bits == query[is_same] >> bits
        other = order[(entries[place[is_same] + at] & number).astype(np.intp)]
        pairs.append(np.stack([owner[is_same], other], axis=1))
    joined = np.concatenate(pairs)
    if others is None:
        joined = np.sort(joined[joined[:, 0] != joined[:, 1]], axis=1)
    code = np.unique(joined[:, 0] << int(bits) | joined[:, 1])
    return np.stack([code >> int(bits), code & int(number)], axis=1)


def _runs(sketches: Sketches) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return all runs of neighbouring values: the text of each, and a hash of its values."""
    values = sketches[:, :STORED].astype(np.uint64)
    last = values.shape[1] - _RUN + 1
    key = np.zeros((len(values), last), dtype=np.uint64)
    for place in range(_RUN):
        key = (key ^ values[:, place : place + last]) * _ODD[place % 2]
        key ^= key >> np.uint64(29)
    key *= _ODD[0]
    is_run = sketches[:, _RUN - 1 : STORED] != NONE
    text = np.nonzero(is_run)[0].astype(np.uint64)
    return text, key[is_run]


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


def copy_groups(sketches: Sketches) -> Iterator[list[int]]:
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
