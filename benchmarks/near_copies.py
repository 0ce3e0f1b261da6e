"""Near-copies: how long the search takes, what it finds, and what a MinHash library takes.

    python benchmarks/near_copies.py                      # IMDB's 25,000 training reviews
    python benchmarks/near_copies.py --playground 2000

A tenth of the texts get a copy with one, three or ten characters changed at random places. `found`
is the share of the copies whose near-copy is the text that they were made of; `others` are pairs of
two of the original texts. datasketch is measured if it is installed: MinHash with 128 permutations
of word triples and its LSH index, as its documentation shows. The last line is one JSON object.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tastemaker as tm
from tastemaker.near_copies import alike_pairs, sketches
from tastemaker.playground import reviews

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "aclImdb.tar.gz"
EDITS = (1, 3, 10)


def _changed(text: str, edits: int, draw: random.Random) -> str:
    for _ in range(edits):
        place = draw.randrange(len(text))
        new = draw.choice(["x", "", "q" + text[place]])
        text = text[:place] + new + text[place + 1 :]
    return text


def _search(texts: Sequence[str]) -> tuple[float, set[tuple[int, int]]]:
    """Return the seconds of the search, and the pairs of near-copies."""
    started = time.perf_counter()
    pairs = alike_pairs(sketches(texts))
    seconds = time.perf_counter() - started
    return seconds, {(first, second) for first, second in pairs.tolist()}


def _by_datasketch(texts: Sequence[str]) -> tuple[float, int]:
    """Return the seconds of datasketch's search, and how many texts have a near-copy."""
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found]

    started = time.perf_counter()
    index = MinHashLSH(threshold=0.7, num_perm=128)
    with_copy = 0
    for number, text in enumerate(texts):
        words = text.casefold().split()
        triples = {" ".join(words[at : at + 3]).encode() for at in range(len(words))}
        sketch = MinHash(num_perm=128)
        sketch.update_batch(list(triples))
        with_copy += bool(index.query(sketch))
        index.insert(number, sketch)
    return time.perf_counter() - started, with_copy


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--playground", type=int, help="so many invented reviews")
    parser.add_argument("--datasketch", type=int, default=2500, help="texts for it")
    options = parser.parse_args()
    if options.playground:
        texts = list(dict.fromkeys(reviews(options.playground, seed=0)))
    else:
        read = tm.read(str(ARCHIVE), split="train")
        texts = list(dict.fromkeys(judgement.texts[0] for judgement in read))
    seconds, pairs = _search(texts)
    others = len(pairs)
    result: dict[str, Any] = {
        "benchmark": "near_copies",
        "texts": len(texts),
        "characters": sum(map(len, texts)),
        "seconds": round(seconds, 3),
        "others": others,
    }
    draw = random.Random(0)
    chosen = draw.sample(range(len(texts)), len(texts) // 10)
    result["found"] = {}
    for edits in EDITS:
        copies = [_changed(texts[number], edits, draw) for number in chosen]
        _, pairs = _search([*texts, *copies])
        hits = [(n, len(texts) + i) in pairs for i, n in enumerate(chosen)]
        result["found"][str(edits)] = round(sum(hits) / len(hits), 4)
    if find_spec("datasketch"):
        part = texts[: options.datasketch]
        seconds, with_copy = _by_datasketch(part)
        result["datasketch"] = {
            "texts": len(part),
            "seconds": round(seconds, 3),
            "with_copy": with_copy,
            "ours_seconds": round(_search(part)[0], 3),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
