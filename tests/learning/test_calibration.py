"""Calibration: links are fitted again on scores of texts that were not learned, and nothing else
is.
"""

import copy

import numpy as np
import pytest
import torch

from tastemaker.data import Judgement, Label
from tastemaker.kinds import LabelLink, Likelihood, links_from
from tastemaker.reward import (
    ENOUGH,
    Anchor,
    Corpus,
    ObservationModel,
    anchor_of,
    calibrated,
)
from tastemaker.scores import Scores


def scored(values: list[float]) -> Scores:
    return Scores(np.array(values), np.zeros(len(values), dtype=bool))


def said(times: int) -> list[Judgement]:
    """Each of two judges labels three of four good texts good, three of four bad ones bad."""
    found: list[Judgement] = []
    for number in range(times):
        for quarter in range(4):
            for judge in ("1", "2"):
                found.append(
                    Label(f"good {number} {quarter}", quarter < 3, judge=judge)
                )
                found.append(
                    Label(f"bad {number} {quarter}", quarter >= 3, judge=judge)
                )
    return found


def learned(
    judgements: list[Judgement], judges: tuple[str, ...]
) -> tuple[ObservationModel, Corpus, Scores]:
    """Return an observation model, the corpus that is held out, and its scores: 2 for a good text,
    −2 for a bad one.
    """
    links = links_from(judgements)
    corpus = Corpus.of(judgements, links, judges)
    model = ObservationModel(links, Likelihood(), corpus)
    return (
        model,
        corpus,
        scored([2.0 if e.text.startswith("good") else -2.0 for e in corpus.examples]),
    )


def test_a_link_learns_how_sure_it_may_be() -> None:
    # three of four at a score of ±2: σ(2a) = 3/4, so a = ln 3 / 2 = 0.549; the prior is one
    # judgement among 1,600
    model, corpus, scores = learned(said(100), judges=())
    before = copy.deepcopy(model.state_dict())
    (link,) = calibrated(model, scores, corpus.evidence).values()
    assert isinstance(link, LabelLink)
    assert link.as_dict()["slope"] == pytest.approx(np.log(3) / 2, abs=0.01)
    assert link.as_dict()["intercept"] == pytest.approx(0, abs=0.01)
    assert all(
        torch.equal(before[name], now) for name, now in model.state_dict().items()
    )
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("count", [0, ENOUGH - 1, ENOUGH])
def test_a_few_judgements_leave_a_link_as_it_was(count: int) -> None:
    model, _, scores = learned(said(10)[:ENOUGH], judges=())
    few = Corpus.of(said(10)[:count], model.links).evidence
    is_as_it_was = (
        calibrated(model, scores, few)[Label].as_dict() == model.links[Label].as_dict()
    )
    assert is_as_it_was == (count < ENOUGH)
    assert (
        calibrated(model, scores, {})[Label].as_dict() == model.links[Label].as_dict()
    )  # not even asked


def test_a_link_that_would_turn_the_score_around_is_left_as_it_was() -> None:
    upside_down = [
        Label(f"{'bad' if i % 2 else 'good'} {i}", i % 2 == 1) for i in range(40)
    ]
    model, corpus, scores = learned(upside_down, judges=())
    assert (
        calibrated(model, scores, corpus.evidence)[Label].as_dict()
        == model.links[Label].as_dict()
    )


def test_aids_to_fitting_are_off() -> None:
    model, corpus, scores = learned(said(10), judges=())
    plain = calibrated(model, scores, corpus.evidence)[Label].as_dict()
    model.links[Label].aids = Likelihood(smoothing=0.3)
    assert calibrated(model, scores, corpus.evidence)[Label].as_dict() == pytest.approx(
        plain
    )


def test_discriminations_are_believed() -> None:
    # judges of discrimination ½ see scores of ±1, so the link needs twice the slope to say 3/4
    model, corpus, scores = learned(said(100), judges=("1", "2"))
    assert model.judges is not None
    model.judges.discrimination.fill_(0.5)
    assert calibrated(model, scores, corpus.evidence)[Label].as_dict()[
        "slope"
    ] == pytest.approx(np.log(3), abs=0.02)


@pytest.mark.parametrize("discrimination", [None, 0.5])
def test_likelihood_and_prior_balance(discrimination: float | None) -> None:
    # labels that follow a score of −2 … 3 but for a few; every second one of a judge, every third
    # one counts double.
    # d/dθ [Σ w ln σ(±ρ(a s + b)) − ½(a − a₀)² − ½(b − b₀)²] = 0:
    # Σ w ρ (y − p) s = a − a₀ and Σ w ρ (y − p) = b − b₀, where ρ is 1 for whoever is not known
    s, judges = np.linspace(-2, 3, 40), [None, "ann"] * 20
    y, weight = (
        (np.arange(40) >= 20) ^ np.isin(np.arange(40), (3, 8, 17, 22)),
        1.0 + (np.arange(40) % 3 == 0),
    )
    given: list[Judgement] = [
        Label(f"t{i}", bool(y[i]), judge=judges[i], weight=weight[i]) for i in range(40)
    ]
    links = {Label: LabelLink(2.5, 0.5)}
    corpus = Corpus.of(given, links, judges=[] if discrimination is None else ["ann"])
    model = ObservationModel(links, Likelihood(), corpus)
    if discrimination is not None:
        assert model.judges is not None
        model.judges.discrimination.fill_(discrimination)
    found = calibrated(model, scored(s.tolist()), corpus.evidence)[Label].as_dict()
    a, b = found["slope"], found["intercept"]
    rho = np.array(
        [
            1.0 if judge is None or discrimination is None else discrimination
            for judge in judges
        ]
    )
    rest = weight * rho * (y - 1 / (1 + np.exp(-rho * (a * s + b))))
    assert (rest * s).sum() == pytest.approx(a - 2.5, abs=2e-3)
    assert rest.sum() == pytest.approx(b - 0.5, abs=2e-3)
    assert abs(a - 2.5) > 0.1  # it has moved: the prior alone would hold it


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
    # 1, 2, 6: mean 3, standard deviation √((4 + 1 + 9)/3)
    anchor = anchor_of(scored([1.0, 2.0, 6.0]))
    assert (anchor.mean, anchor.sd, anchor.texts) == (
        3,
        pytest.approx((14 / 3) ** 0.5),
        3,
    )
    assert anchor_of(scored([5.0, 5.0])) == Anchor(
        5.0, 1.0, 2
    )  # no spread to speak of: the unit stays
    assert anchor_of(scored([0.7])) == Anchor(0.7, 1.0, 1)
