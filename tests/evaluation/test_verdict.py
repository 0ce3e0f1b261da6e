"""One verdict in plain words: level, figures, distance, and the simpler model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tastemaker as tm
from tastemaker.data import (
    Comparison,
    Example,
    Grade,
    Judgement,
    Label,
    fingerprints,
)
from tastemaker.evaluate import evaluate
from tastemaker.kinds import ComparisonLink, GradeLink, LabelLink
from tastemaker.reward import check_judges
from tastemaker.scores import Scores

TEXTS = [f"text {number}" for number in range(200)]
QUALITY = np.random.default_rng(0).normal(size=len(TEXTS))


class Table:
    """Scores texts by heart."""

    def __init__(self, link: Any, noise: float, seed: int = 1) -> None:
        draws = np.random.default_rng(seed).normal(size=len(TEXTS))
        self.scores = dict(zip(TEXTS, QUALITY + noise * draws, strict=True))
        self.links = {link.record: link}

    def score_all(self, examples: list[Example]) -> Scores:
        values = np.array([self.scores[example.text] for example in examples])
        return Scores(values, np.zeros(len(examples), dtype=bool))


def labels() -> list[Judgement]:
    return [Label(t, bool(q > 0)) for t, q in zip(TEXTS, QUALITY, strict=True)]


def comparisons() -> list[Judgement]:
    pairs: list[Judgement] = []
    for number in range(0, len(TEXTS), 2):
        one, other = TEXTS[number : number + 2]
        if QUALITY[number] < QUALITY[number + 1]:
            one, other = other, one
        pairs.append(Comparison(one, other))
    return pairs


def test_a_good_model_is_usable() -> None:
    verdict = evaluate(Table(LabelLink(), 0.3), labels()).verdict()
    assert verdict.startswith("Usable for ordering (accuracy 0.9")
    assert " ± 0.0" in verdict
    assert verdict.endswith(").")


def test_noise_is_not_usable() -> None:
    verdict = evaluate(Table(ComparisonLink(), 1e6), comparisons()).verdict()
    assert verdict.startswith("Not usable for ordering (accuracy 0.")


def test_few_judgements_tell_too_little() -> None:
    verdict = evaluate(Table(LabelLink(), 0.3), labels()[:10]).verdict()
    assert verdict.startswith("Too little data to tell (accuracy")


def test_grades_have_a_distance() -> None:
    grades: list[Judgement] = [
        Grade(text, int(np.clip(np.round(3 + quality), 1, 5)), 1, 5)
        for text, quality in zip(TEXTS, QUALITY, strict=True)
    ]
    link = GradeLink.from_judgements(grades)
    verdict = evaluate(Table(link, 0.3), grades).verdict()
    assert verdict.startswith("Usable for ordering (Pearson 0.")
    assert "; grades (1 to 5) off by " in verdict


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (0.2, "; better than the simpler linear model."),
        (3.0, "; worse than the simpler linear model: use that one."),
        (1.0, "; no better than the simpler linear model: use that one."),
    ],
)
def test_the_simpler_model_is_named(noise: float, words: str) -> None:
    model, linear = Table(LabelLink(), noise), Table(LabelLink(), 1.0, seed=2)
    evaluation = evaluate(model, labels(), baseline=linear)
    assert evaluation.verdict().endswith(words)
    assert evaluation.as_dict()["verdict"] == evaluation.verdict()


def test_texts_of_the_training_data_do_not_count() -> None:
    learned = TEXTS[:100]
    model = Table(LabelLink(), 2.0)
    for text, quality in zip(learned, QUALITY, strict=False):
        model.scores[text] = quality
    evaluation = evaluate(
        model, labels(), training_fingerprints=np.sort(fingerprints(learned))
    )
    verdict = evaluation.verdict()
    new = evaluation.duplicates.without["accuracy"].value
    assert f"(accuracy {new:.2f} ±" in verdict
    assert "100 evaluated texts are in the training data too." in verdict


def test_doctor_finds_the_judges_that_a_fit_finds(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    judgements: list[Judgement] = []
    for number in range(1200):
        is_good = bool(rng.random() < 0.5)
        word = "brilliant" if is_good else "awful"
        judge = f"judge {number % 6}"
        answer = is_good if rng.random() < 0.9 else not is_good
        if number % 6 == 0:
            answer = bool(rng.random() < 0.5)
        elif number % 6 == 1:
            answer = not answer
        text = f"The film {number} was {word}."
        judgements.append(Label(text, answer, judge=judge))
    diagnosis = tm.doctor(judgements, judges=check_judges(judgements))
    named = {problem.name: problem.examples for problem in diagnosis.problems}
    assert named["careless_judges"] == ["judge 0"]
    assert named["reversed_judges"] == ["judge 1"]
    assert not {"careless_judges", "reversed_judges"} & {
        problem.name for problem in tm.doctor(judgements).problems
    }
    assert check_judges(judgements[:1]) == {}


def test_few_new_texts_are_too_little_whatever_the_others_say() -> None:
    learned = TEXTS[:195]
    model = Table(LabelLink(), 0.1)
    evaluation = evaluate(
        model, labels(), training_fingerprints=np.sort(fingerprints(learned))
    )
    assert evaluation.verdict().startswith("Too little data to tell")


def test_the_level_is_that_of_the_new_texts() -> None:
    model = Table(LabelLink(), 1e6)
    for text, quality in zip(TEXTS[:150], QUALITY, strict=False):
        model.scores[text] = quality * 1e6
    fingerprint_values = np.sort(fingerprints(TEXTS[:150]))
    verdict = evaluate(
        model, labels(), training_fingerprints=fingerprint_values
    ).verdict()
    assert verdict.startswith("Not usable for ordering")
