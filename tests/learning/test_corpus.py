"""A corpus: every text once, and all the evidence about it."""

import math

import pytest
import torch

from tastemaker.data.judgements import Example, Grade, Label, Rating
from tastemaker.errors import DataError
from tastemaker.learning.corpus import Corpus, log_likelihood
from tastemaker.models.links import GradeLink, LabelLink, RatingLink

JUDGEMENTS = [
    Label("good", True),
    Rating("good", 8.0),
    Label("bad", False),
    Label("good", False, judge="another"),
    Label("good", True, prompt="a film"),  # the same words in answer to a prompt: another example
]
LINKS = {Label: LabelLink(1.0, 0.0), Rating: RatingLink(5.0, 3.0)}


def test_every_text_is_there_once_in_order() -> None:
    corpus = Corpus.of(JUDGEMENTS, LINKS)
    assert corpus.examples == [Example("good"), Example("bad"), Example("good", "a film")]
    assert len(corpus) == 3


def test_evidence_points_at_its_text() -> None:
    evidence = Corpus.of(JUDGEMENTS, LINKS).evidence
    assert evidence[Label].index.tolist() == [0, 1, 0, 2]
    assert evidence[Label].targets.tolist() == [True, False, False, True]
    assert evidence[Rating].index.tolist() == [0]
    assert evidence[Rating].targets.tolist() == [1.0]  # (8 − 5)/3


def test_evidence_about_some_texts() -> None:
    corpus = Corpus.of(JUDGEMENTS, LINKS)
    about = corpus.about([2, 0])
    assert about[Label].index.tolist() == [0, 1, 1]
    assert about[Label].targets.tolist() == [True, True, False]
    assert about[Rating].index.tolist() == [1]
    assert list(corpus.about([1])) == [Label]  # nobody rated that text
    assert corpus.about([]) == {}


def test_log_likelihood_by_hand() -> None:
    # scores 0, ln 3 and 0. Labels: three at logit 0 give −ln 2 each; "no" at ln 3 gives ln 1/4.
    # The rating's target 1 at a mean of 0 with sd 1: −1/2 − ½ ln 2π
    corpus = Corpus.of(JUDGEMENTS, LINKS)
    found = log_likelihood(torch.tensor([0.0, math.log(3), 0.0]), corpus.evidence, LINKS)
    expected = -3 * math.log(2) + math.log(1 / 4) - 0.5 - 0.5 * math.log(2 * math.pi)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_the_whole_is_the_sum_of_its_parts() -> None:
    corpus = Corpus.of(JUDGEMENTS, LINKS)
    scores = torch.tensor([0.3, -1.0, 2.0])
    parts = [log_likelihood(scores[[i]], corpus.about([i]), LINKS) for i in range(3)]
    torch.testing.assert_close(torch.stack(parts).sum(), log_likelihood(scores, corpus.evidence, LINKS))


def test_order_of_the_texts_does_not_matter() -> None:
    corpus, scores = Corpus.of(JUDGEMENTS, LINKS), torch.tensor([0.3, -1.0, 2.0])
    backwards = log_likelihood(scores.flip(0), corpus.about([2, 1, 0]), LINKS)
    torch.testing.assert_close(backwards, log_likelihood(scores, corpus.evidence, LINKS))


def test_scores_of_texts_nobody_judged_get_no_gradient() -> None:
    scores = torch.zeros(4, requires_grad=True)
    log_likelihood(scores, Corpus.of(JUDGEMENTS, LINKS).evidence, LINKS).backward()
    assert scores.grad is not None
    assert scores.grad[3] == 0
    # "bad" was called not positive at P = 1/2: d ln(1 − σ)/ds = −σ = −1/2
    assert scores.grad[1].item() == -0.5


def test_a_judgement_that_does_not_fit_is_named() -> None:
    links = {Grade: GradeLink(1, 5, 1.0, [0, 1, 2, 3])}
    with pytest.raises(DataError, match=r"t\.csv:2: a scale of 1 to 10"):
        Corpus.of([Grade("a", 3, 1, 5), Grade("b", 3, 1, 10, where="t.csv:2")], links)


def test_a_link_may_lack_judgements() -> None:
    corpus = Corpus.of([Label("a", True)], LINKS)
    assert corpus.evidence[Rating].index.tolist() == []
    assert log_likelihood(torch.zeros(1), corpus.evidence, LINKS).item() == pytest.approx(-math.log(2))
