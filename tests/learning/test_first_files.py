"""What a new user fits first: a table of reviews and a file of pairs, without any option."""

import json
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.demo import SENTENCES
from tastemaker.playground import gold_score, judgements


def test_reviews_and_pairs_fit_in_one_command(run: Any, tmp_path: Path) -> None:
    lines = ["review_id,product,review_text,stars,date"]
    pairs = []
    for number in range(60):
        stars = number % 5 + 1
        word = ("awful", "weak", "fair", "nice", "superb")[stars - 1]
        text = f'"A {word} kettle, bought for room {number}."'
        lines.append(f"{number},Kettle,{text},{stars},2024-01-02")
        better, worse = f"A superb pan, number {number}.", f"An awful pan {number}."
        pairs.append({"prompt": "Say more.", "chosen": better, "rejected": worse})
    (tmp_path / "reviews.csv").write_text("\n".join(lines) + "\n")
    rows = "".join(json.dumps(row) + "\n" for row in pairs)
    (tmp_path / "pairs.jsonl").write_text(rows)
    sources = (tmp_path / "reviews.csv", tmp_path / "pairs.jsonl")
    code, out, err = run("fit", *sources, "--out", tmp_path / "taste", "--json")
    assert code == 0, err
    printed = json.loads(out)
    first, second = printed["read_as"]
    assert first["roles"] == {"text": "review_text", "grade": "stars"}
    assert second["kinds"] == {"comparison": 60}
    assert isinstance(printed["verdict"], str)
    taste = tm.load(tmp_path / "taste")
    good, bad = taste.score(["A superb kettle.", "An awful kettle."])
    assert good > bad


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
def test_sentences_of_the_demo_are_scored_rightly(language: Any) -> None:
    """Less is learned from than in the demo, so one word that is repeated is left out."""
    judged = judgements(120, kind="ranking", answers=(8, 12), language=language)
    model = tm.fit(judged, backbone=tm.Linear(repeats=True))
    sentences = [text for text in SENTENCES[language] if "brilliant bri" not in text]
    scores = dict(zip(sentences, model.score(sentences), strict=True))
    gold = {text: gold_score(text) for text in sentences}
    best, worst = max(gold, key=gold.__getitem__), min(gold, key=gold.__getitem__)
    assert max(scores, key=scores.__getitem__) == best
    assert scores[worst] < scores[best]
    for one in sentences:
        for other in sentences:
            if gold[one] - gold[other] >= 4:
                assert scores[one] > scores[other], (one, other)
