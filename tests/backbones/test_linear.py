"""The linear backbone: a weighted sum that is the same number in any company and after saving."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tastemaker.data import Comparison, Example, joined
from tastemaker.errors import ModelError, UsageError
from tastemaker.reward import (
    WEIGHTS,
    Linear,
    LinearBackbone,
    TokenNames,
    counts,
    features,
    fit,
    vocabulary,
)
from tastemaker.reward.backbones import linear as ngrams

WORDS = [
    "good",
    "bad",
    "film",
    "not",
    "a",
    "very",
    "the",
    "plot",
    "acting",
    "好",
    "坏",
    "!",
    "?",
]
TEXTS = [
    " ".join(np.random.default_rng(n).choice(WORDS, size=n % 17)) for n in range(60)
]


def backbone(weighting: Any = "nb") -> LinearBackbone:
    """Return a backbone with random weights for the words above."""
    settings = Linear(ngrams=2, weighting=weighting)
    names = vocabulary([TokenNames.of(TEXTS)], 2, 1)
    draw = np.random.default_rng(1)
    weights, scales = (
        draw.normal(size=len(names)).astype(np.float32) for _ in range(2)
    )
    return LinearBackbone(settings, names, weights, np.abs(scales), intercept=0.3)


def examples(texts: list[str]) -> list[Example]:
    return [Example(text) for text in texts]


def by_word(**weights: float) -> LinearBackbone:
    """Return a unigram backbone with the given weights and no intercept."""
    names = np.concatenate(
        [vocabulary([TokenNames.of([word])], 1, 1) for word in weights]
    )
    order = np.argsort(names)
    values = np.array(list(weights.values()), dtype=np.float32)[order]
    return LinearBackbone(Linear(ngrams=1), names[order], values, np.ones_like(values))


def test_a_score_by_hand() -> None:
    """Presence, rows of length 1: "good good film" holds 2 known words: (2 + 1)/√2. Unknown words
    count for nothing.
    """
    scored = by_word(good=2.0, film=1.0, bad=-3.0).score(
        examples(["good good film", "Bad.", "unknown", ""])
    )
    assert scored.values == pytest.approx([3 / np.sqrt(2), -3, 0, 0])
    assert scored.truncated.tolist() == [False] * 4


def test_tfidf_rows_by_hand() -> None:
    """Counts (2, 1) with idf (1, 3): (1 + ln 2, 3) divided by its length."""
    occurrences = counts(
        TokenNames.of(["a a b"]), 1, np.sort(TokenNames.of(["a b"]).ngrams(1)[0])
    )
    a_first = bool((occurrences.toarray()[0] == [2, 1]).all())
    scales = np.array([1.0, 3.0] if a_first else [3.0, 1.0])
    row = features(occurrences, Linear(weighting="tfidf"), scales).toarray()[0]
    length = np.hypot(1 + np.log(2), 3)
    expected = [(1 + np.log(2)) / length, 3 / length]
    assert row.tolist() == pytest.approx(expected if a_first else expected[::-1])


@pytest.mark.parametrize("weighting", ["nb", "tfidf"])
def test_a_score_does_not_depend_on_company_or_order(
    weighting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = backbone(weighting)
    together = model.score(examples(TEXTS)).values
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = model.score(examples([TEXTS[i] for i in order])).values
    assert np.array_equal(shuffled, together[order])  # to the last bit
    assert np.array_equal(
        [model.score([Example(text)]).values[0] for text in TEXTS], together
    )
    monkeypatch.setattr(ngrams, "_CHUNK_CHARACTERS", 50)
    assert np.array_equal(model.score(examples(TEXTS)).values, together)
    assert len(np.unique(together)) > 50


def test_no_texts_give_no_scores() -> None:
    assert len(backbone().score([])) == 0


@pytest.mark.parametrize("weighting", ["nb", "tfidf"])
def test_saved_and_loaded_it_gives_the_same_bits(
    weighting: str, tmp_path: Path
) -> None:
    model = backbone(weighting)
    model.save(tmp_path / "model")
    again = LinearBackbone.load(tmp_path / "model")
    assert again.settings == model.settings
    assert np.array_equal(
        again.score(examples(TEXTS)).values, model.score(examples(TEXTS)).values
    )
    assert [p.name for p in (tmp_path / "model").iterdir()] == [WEIGHTS]
    first = (tmp_path / "model" / WEIGHTS).read_bytes()
    again.save(tmp_path / "model")
    assert (tmp_path / "model" / WEIGHTS).read_bytes() == first


@settings(max_examples=30)
@given(st.floats(-5, 5), st.floats(0.1, 10))
def test_rescaling_folds_offset_and_scale_into_the_weights(
    offset: float, scale: float
) -> None:
    model = backbone()
    before = model.score(examples(TEXTS)).values
    assert model.rescale(offset, scale) == offset
    assert model.score(examples(TEXTS)).values == pytest.approx(
        (before - offset) / scale, abs=1e-5 / scale
    )


def test_a_prompt_is_read_before_the_text() -> None:
    model = by_word(good=2.0, bad=-3.0)
    alone, answered = model.score(
        [Example("good"), Example("good", prompt="bad")]
    ).values
    assert alone == pytest.approx(2)
    assert answered == pytest.approx(-1 / np.sqrt(2))


def test_templates_put_prompt_and_text_in_their_places() -> None:
    assert joined(Example("T", "P"), "{prompt}\n\n{text}") == "P\n\nT"
    assert joined(Example("T", "P"), "A: {text} Q: {prompt} {x}") == "A: T Q: P {x}"
    assert (
        joined(Example("{prompt}", "{text}"), "{prompt}|{text}") == "{text}|{prompt}"
    )  # never filled in twice
    assert joined(Example("T"), "Q: {prompt} A: {text}") == "T"


def test_chinese_is_read_by_its_characters() -> None:
    names = vocabulary([TokenNames.of(["很好", "不好"])], 2, 1)
    weights = np.where(
        np.isin(names, TokenNames.of(["不好"]).ngrams(2)[0][-1:]), -2, 1
    ).astype(np.float32)
    model = LinearBackbone(Linear(ngrams=2), names, weights, np.ones_like(weights))
    good, bad = model.score(examples(["电影很好", "电影不好"])).values
    assert good > 0 == pytest.approx(bad)  # 不 + 好 + 不好 = 1 + 1 − 2


def test_it_describes_itself() -> None:
    nothing = np.zeros(1203441, np.float32)
    assert LinearBackbone(
        Linear(), np.arange(1203441), nothing, nothing
    ).describe() == ("linear, word 1–3-grams, 1 203 441 features")
    assert by_word(good=1.0).describe() == "linear, words, 1 features"


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"ngrams": 0}, "ngrams 0"),
        ({"ngrams": 9}, "ngrams 9"),
        ({"min_count": 0}, "min_count 0"),
        ({"weighting": "bm25"}, "weighting 'bm25'.*nb.*tfidf"),
        ({"strength": 0.0}, r"strength 0\.0"),
        ({"strength": float("nan")}, "strength nan"),
        ({"smoothing": float("inf")}, "smoothing inf"),
        ({"template": "{text}"}, r"template '\{text\}'.*\{prompt\}"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        Linear(**wrong)


def _damaged(path: Path, **changes: np.ndarray[Any, Any]) -> None:
    save_file(
        {**load_file(path), **changes},
        path,
        {"linear": json.dumps({"format": 1, "ngrams": 2})},
    )


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"linear\.safetensors.*missing"):
        LinearBackbone.load(tmp_path)
    model = backbone()
    model.save(tmp_path)
    path = tmp_path / WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"linear\.safetensors.*not the weights"):
        LinearBackbone.load(tmp_path)
    for wrong, advice in (
        ({"names": model.names[::-1].copy()}, "out of order"),
        ({"weights": model.weights[1:].copy()}, "lack weights"),
        ({"weights": np.full_like(model.weights, np.nan)}, "not finite"),
        ({"intercept": np.array([1.0, 2.0])}, "not the weights"),
    ):
        path.write_bytes(whole)
        _damaged(path, **wrong)
        with pytest.raises(ModelError, match=advice):
            LinearBackbone.load(tmp_path)
    save_file({"weights": model.weights}, path)
    with pytest.raises(ModelError, match="format None"):
        LinearBackbone.load(tmp_path)


def test_the_prior_hardly_holds_back_what_repetitions_cost() -> None:
    # each text has words of its own, so only the number of repetitions is common to all
    judged: list[Comparison] = []
    for number in range(40):
        a, b, c, d = (f"{letter}{number}" for letter in "abcd")
        judged.append(Comparison(f"{a} {b} {c} {d} .", f"{a} {b} {a} {a} ."))
        judged.append(Comparison(f"fine {a} {c} .", f"poor {a} {c} ."))
    costs = []
    for strength in (0.04, 4.0):
        settings = Linear(repeats=True, strength=strength)
        model = fit(judged, backbone=settings, held_out=None)
        fresh, stale, fine, poor = model.score(
            ["x y z u .", "x y x x .", "fine x y .", "poor x y ."]
        )
        costs.append((fresh - stale) / (fine - poor))
    # a strong prior holds the words back
    assert costs[1] > 1.2 * costs[0] > 0
