"""What made a score, exactly and by leaving out; and whether more data would help."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest

import tastemaker as tm
from tastemaker.cli import main
from tastemaker.reward import LearningCurve, Point, nested_part, pieces_of

GOOD, BAD = ("brilliant", "moving", "superb"), ("dull", "awful", "grey")
TEXTS = ["  a b\n c ", "One. Two! Three", "电影很好。剧情很无聊", " ", "a\n\nb. c", "x"]


def judged(count: int) -> list[tm.Label]:
    draw = random.Random(0)
    rows = []
    for number in range(count):
        is_good = draw.random() < 0.5
        words = [draw.choice(GOOD if is_good else BAD) for _ in range(2)]
        text = f"Film {number} was {words[0]}. The end was {words[1]}!"
        rows.append(tm.Label(text, is_good))
    return rows


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained") / "taste"
    tm.fit(judged(200), out=folder)
    return folder


@pytest.mark.parametrize(
    "text", ["The film was dull, brilliant, dull. Dull!", "x", "电影"]
)
def test_the_words_of_a_linear_score_add_up_to_it(taste: Path, text: str) -> None:
    model = tm.load(taste)
    explanation = tm.explain(model, text)
    assert explanation.is_exact
    assert explanation.score == model.score(text)
    total = sum(part.effect for part in explanation.parts)
    assert total == pytest.approx(explanation.score, abs=1e-9)
    assert explanation.parts[-1].text == ""
    # what any text has is the intercept, whatever its words are
    assert explanation.parts[-1].effect == pytest.approx(
        tm.explain(model, "another").parts[-1].effect, abs=1e-6
    )
    strongest = explanation.strongest(1)[0]
    if "brilliant" in text:
        assert strongest.text in ("dull", "brilliant")


def test_the_repeats_of_a_linear_model_are_accounted_for() -> None:
    model = tm.fit(judged(120), backbone=tm.Linear(repeats=True))
    explanation = tm.explain(model, "dull dull dull brilliant", prompt="And?")
    total = sum(part.effect for part in explanation.parts)
    assert total == pytest.approx(explanation.score, abs=1e-9)


def test_sentences_are_left_out_one_at_a_time(taste: Path) -> None:
    model = tm.load(taste)
    text = "Film 1 was brilliant. The end was dull!"
    explanation = tm.explain(model, text, by="sentences")
    assert not explanation.is_exact
    assert [part.text for part in explanation.parts] == [
        "Film 1 was brilliant. ",
        "The end was dull!",
    ]
    without = model.score("The end was dull!")
    effect = explanation.parts[0].effect
    assert effect == pytest.approx(explanation.score - without)
    assert effect > 0 > explanation.parts[1].effect
    with pytest.raises(tm.UsageError, match="choose auto"):
        tm.explain(model, text, by="letters")  # type: ignore[arg-type]
    with pytest.raises(tm.DataError, match="empty"):
        tm.explain(model, " ")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("by", ["auto", "words", "sentences"])
def test_pieces_are_the_text(text: str, by: str) -> None:
    assert "".join(pieces_of(text, by)) == text  # type: ignore[arg-type]
    assert len(pieces_of(text * 500, by)) <= 200  # type: ignore[arg-type]


def test_explain_prints_what_scripts_rely_on(
    taste: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(taste), "A dull film.", "--json"])
    assert not ended.value.code
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"score", "parts"}
    assert {key for part in printed["parts"] for key in part} == {"text", "effect"}
    assert [part["text"] for part in printed["parts"]][1] == "dull"
    with pytest.raises(SystemExit):
        main(["explain", str(taste), "A dull film."])
    assert "add up to the score" in capsys.readouterr().out


def test_parts_of_the_data_are_nested() -> None:
    rows = judged(400)
    parts = [nested_part(rows, share, 0) for share in (0.25, 0.5, 1.0)]
    for fewer, more in pairwise(parts):
        assert set(fewer) < set(more)
    assert parts[-1] == rows
    assert 70 < len(parts[0]) < 130


def curve(*values: float, margin: float = 0.01) -> LearningCurve:
    points = [Point(100 * 2**n, value, margin) for n, value in enumerate(values)]
    return LearningCurve("accuracy", tuple(points))


def test_a_curve_says_whether_more_data_would_help() -> None:
    assert curve(0.6, 0.7, 0.8).sentence().startswith("More data would help: each")
    assert (
        curve(0.8, 0.801, 0.802).sentence().startswith("More data of this kind would")
    )
    uncertain = curve(0.8, 0.81, 0.82, margin=0.1).sentence()
    assert uncertain.startswith("It is not clear whether more data would help")
    assert "accuracy by +0.010" in uncertain


def test_a_learning_curve_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    lines = [json.dumps({"text": j.text, "label": j.positive}) for j in judged(300)]
    path.write_text("\n".join(lines))
    with pytest.raises(SystemExit):
        main(["learning-curve", str(path), "--doublings", "1", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["figure"] == "accuracy"
    first, last = printed["points"]
    assert first["judgements"] < last["judgements"]
    assert last["value"] > 0.8
    with pytest.raises(tm.DataError, match="too few for a learning curve"):
        tm.learning_curve(judged(60))


def test_the_words_of_an_ensemble_add_up_to_its_mean() -> None:
    model = tm.fit(judged(200), members=3)
    explanation = tm.explain(model, "The film was dull, brilliant, dull.")
    assert explanation.is_exact
    total = sum(part.effect for part in explanation.parts)
    assert total == pytest.approx(model.score("The film was dull, brilliant, dull."))
    effects = {part.text: part.effect for part in explanation.parts}
    assert effects["brilliant"] > effects["dull"]
