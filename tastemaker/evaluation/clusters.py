"""Which judgements are not independent of each other: the bootstrap draws them together or not at all."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tastemaker.data.fingerprints import fingerprint, fingerprints
from tastemaker.data.judgements import Judgement, plain

_LARGEST = 0.5  # of the judgements; a cluster beyond it leaves the bootstrap nothing to draw


def clusters(judgements: Sequence[Judgement]) -> NDArray[np.uint64]:
    """Return the name of the cluster of each judgement, uint64 [m]: the same in whatever order they come.

    Judgements of one prompt are a cluster; without a prompt, those whose texts are connected: the same text, or
    compared with the same one, directly or through others. Where this puts more than half of the judgements into one
    cluster (one prompt for all, a tournament), the clusters are the judgements of the very same texts.
    """
    texts = [fingerprints(judgement.texts) for judgement in judgements]
    connected = _connected(texts)
    prompts: dict[object, int] = {}
    for judgement in judgements:
        if judgement.prompt is not None and judgement.prompt not in prompts:
            prompts[judgement.prompt] = fingerprint("prompt\0" + plain(judgement.prompt))
    by_prompt = [
        int(at) if judgement.prompt is None else prompts[judgement.prompt]
        for judgement, at in zip(judgements, connected, strict=True)
    ]
    for names in (np.array(by_prompt, dtype=np.uint64), connected):
        if not len(names) or np.unique(names, return_counts=True)[1].max() <= _LARGEST * len(names):
            return names
    return np.array([fingerprint("\0".join(map(str, sorted(found.tolist())))) for found in texts], dtype=np.uint64)


def _connected(texts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the connected component of each judgement, named by the smallest fingerprint in it."""
    if not texts:
        return np.zeros(0, dtype=np.uint64)
    names, number = np.unique(np.concatenate(texts), return_inverse=True)
    first = np.repeat(np.cumsum([0, *(len(found) for found in texts[:-1])]), [len(found) for found in texts])
    edges = coo_array((np.ones(len(number)), (number[first], number)), shape=(len(names), len(names)))
    count, component = connected_components(edges, directed=False)
    smallest = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, component, names)
    answer: NDArray[np.uint64] = smallest[component[number[np.unique(first)]]]
    return answer
