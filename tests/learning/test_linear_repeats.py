"""Words said twice as a feature: what a weighted sum of single n-grams cannot see."""

import json
import random
from pathlib import Path
from typing import Any

import tastemaker as tm
from tastemaker.reward import LinearBackbone


def test_repeats_let_a_linear_model_dislike_what_is_said_twice(tmp_path: Path) -> None:
    """Pairs of the same words in any order, where the worse text says one of its words again
    instead of a new one.
    """
    words = [f"word{k}" for k in range(12)]
    rng = random.Random(0)

    def pair() -> tm.Comparison:
        line = rng.sample(words, 6)
        return tm.Comparison(
            " ".join(line), " ".join(rng.sample([*line[:5], rng.choice(line[:5])], 6))
        )

    judged, unseen = [pair() for _ in range(400)], [pair() for _ in range(200)]
    right = {}
    for repeats in (False, True):
        model = tm.fit(judged, backbone=tm.Linear(ngrams=1, repeats=repeats))
        better, worse = (
            model.score([getattr(j, name) for j in unseen])
            for name in ("chosen", "rejected")
        )
        right[repeats] = sum(a > b for a, b in zip(better, worse, strict=True)) / len(
            unseen
        )
    assert right[True] > 0.95
    assert right[False] < 0.8
    model.save(tmp_path)
    again = tm.load(tmp_path)
    assert again.score(["word1 word1"])[0] == model.score(["word1 word1"])[0]


def test_the_price_of_saying_things_twice_holds_for_words_never_heard_twice() -> None:
    """Texts of six words, the worse of which says one of them again; of other words than those that
    were judged.
    """
    rng = random.Random(0)

    def pair(words: list[str]) -> tm.Comparison:
        line = rng.sample(words, 6)
        return tm.Comparison(
            " ".join(line), " ".join([*line[:5], rng.choice(line[:4])])
        )

    heard, others = ([f"{name}{k}" for k in range(40)] for name in ("word", "other"))
    model = tm.fit([pair(heard) for _ in range(300)], backbone=tm.Linear(repeats=True))
    unseen = [pair(others) for _ in range(100)]
    better, worse = (
        model.score([getattr(j, name) for j in unseen])
        for name in ("chosen", "rejected")
    )
    assert sum(a > b for a, b in zip(better, worse, strict=True)) == 100


def test_the_shell_can_ask_for_it(run: Any, tmp_path: Path) -> None:
    source = tmp_path / "said.jsonl"
    rows = [
        {"text": f"word{k} {'word' if k % 2 else 'term'}{k % 7}", "label": k % 2}
        for k in range(60)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (
        run("fit", source, "--repeats", "--out", tmp_path / "taste", "--quiet")[0] == 0
    )
    assert LinearBackbone.load(tmp_path / "taste").settings.repeats
    code, _, err = run(
        "fit", source, "--backbone", "tiny", "--repeats", "--out", tmp_path / "other"
    )
    assert code == 2
    assert "repeats" in err
    assert "tiny" in err
