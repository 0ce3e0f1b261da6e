"""A text's 64-bit name, to find exact duplicates and to draw lots: the same on every machine, in every process."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def _hash(*parts: str) -> int:
    # surrogatepass: any Python string has a name, also one that is not valid Unicode
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def fingerprint(text: str) -> int:
    """Return the text's name, 0 … 2⁶⁴ − 1: equal for texts that are equal but for white space around them."""
    return _hash(text.strip())


def fingerprints(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return the names of n texts, uint64 [n]."""
    return np.fromiter((fingerprint(text) for text in texts), dtype=np.uint64)


def lot(seed: int, purpose: str, key: str) -> int:
    """Return the lot that `key` draws, 0 … 2⁶⁴ − 1: uniform, fixed by the seed, independent of everybody else's.

    Whoever takes the keys with the k smallest lots takes k of them at random, in any order they come, and a larger k
    takes the same ones and more. `purpose` keeps two uses of one seed independent.
    """
    return _hash(str(seed), purpose, key)
