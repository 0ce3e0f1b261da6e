"""Calibration: links are fitted again on scores of texts that were not learned, and nothing else is."""

import copy

import numpy as np
import pytest
import torch

from tastemaker.data.judgements import Judgement, Label
from tastemaker.learning.calibration import ENOUGH, anchor_of, calibrated
from tastemaker.learning.corpus import Corpus
from tastemaker.learning.observation import ObservationModel
from tastemaker.models.contract import Anchor
from tastemaker.models.links import LabelLink, links_from
from tastemaker.models.links.likelihood import Likelihood
from tastemaker.models.scores import Scores


def scored(values: list[float]) -> Scores:
    return Scores(np.array(values), np.zeros(len(values), dtype=bool))


def said(times: int) -> list[Judgement]:
    """Judge 1 finds three of four good texts good and three of four bad ones bad; so does judge 2."""
    found: list[Judgement] = []
    for number in range(times):
        for quarter in range(4):
            for judge in ("1", "2"):
                found.append(Label(f"good {number} {quarter}", quarter < 3, judge=judge))
                found.append(Label(f"bad {number} {quarter}", quarter >= 3, judge=judge))
    return found


def learned(judgements: list[Judgement], judges: tuple[str, ...]) -> tuple[ObservationModel, Corpus, Scores]:
    """Return an observation model, the corpus that is held out, and its scores: 2 for a good text, −2 for a bad one."""
    links = links_from(judgements)
    corpus = Corpus.of(judgements, links, judges)
    model = ObservationModel(links, Likelihood(), corpus)
    return model, corpus, scored([2.0 if e.text.startswith("good") else -2.0 for e in corpus.examples])


def test_a_link_learns_how_sure_it_may_be() -> None:
    # three of four at a score of ±2: σ(2a) = 3/4, so a = ln 3 / 2 = 0.549; the prior is one judgement among 1,600
    model, corpus, scores = learned(said(100), judges=())
    before = copy.deepcopy(model.state_dict())
    (link,) = calibrated(model, scores, corpus.evidence).values()
    assert isinstance(link, LabelLink)
    assert link.as_dict()["slope"] == pytest.approx(np.log(3) / 2, abs=0.01)
    assert link.as_dict()["intercept"] == pytest.approx(0, abs=0.01)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_a_few_judgements_leave_a_link_as_it_was() -> None:
    judgements = said(10)[: ENOUGH - 1]
    model, corpus, scores = learned(judgements, judges=())
    assert calibrated(model, scores, corpus.evidence)[Label].as_dict() == model.links[Label].as_dict()


def test_reliabilities_are_believed() -> None:
    # judges of reliability ½ see scores of ±1, so that the link needs twice the slope to say 3/4
    model, corpus, scores = learned(said(100), judges=("1", "2"))
    assert model.reliabilities is not None
    model.reliabilities.raw.data.fill_(np.arctanh(0.5))
    assert calibrated(model, scores, corpus.evidence)[Label].as_dict()["slope"] == pytest.approx(np.log(3), abs=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_that_was_learned_elsewhere_is_calibrated_beside_the_scores() -> None:
    model, corpus, scores = learned(said(100), judges=("1", "2"))
    here = calibrated(model, scores, corpus.evidence)[Label].as_dict()
    there = model.to("cuda")
    assert calibrated(there, scores, corpus.evidence)[Label].as_dict() == here
    assert {p.device.type for p in there.parameters()} == {"cuda"}


def test_the_anchor_is_the_mean_and_the_standard_deviation() -> None:
    assert anchor_of(scored([1.0, 3.0, 3.0, 1.0])) == Anchor(2.0, 1.0, 4)
    assert anchor_of(scored([5.0, 5.0])) == Anchor(5.0, 1.0, 2)  # no spread to speak of: the unit stays
