"""Calibration: links are fitted again on scores of texts that were not learned, and nothing else
is; noise gives the base rate.
"""

import copy
import random

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

import tastemaker as tm
from tastemaker.data import Comparison, Judgement, Label
from tastemaker.kinds import LabelLink, Likelihood, links_from
from tastemaker.reward import (
    Anchor,
    Corpus,
    ObservationModel,
    anchor_of,
    calibrated,
)
from tastemaker.scores import Scores


def scored(values: list[float]) -> Scores:
    return Scores(np.array(values), np.zeros(len(values), dtype=bool))


def labelled(times: int) -> list[Judgement]:
    """Each of two judges labels three of four good texts good, three of four bad ones bad."""
    judgements: list[Judgement] = []
    for number in range(times):
        for quarter in range(4):
            for judge in ("1", "2"):
                judgements.append(
                    Label(f"good {number} {quarter}", quarter < 3, judge=judge)
                )
                judgements.append(
                    Label(f"bad {number} {quarter}", quarter >= 3, judge=judge)
                )
    return judgements


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
    # three of four at a score of ±2: σ(2a) = 3/4, so a = ln 3 / 2 = 0.549; the prior is
    # weak beside 1,600 judgements
    model, corpus, scores = learned(labelled(100), judges=())
    before = copy.deepcopy(model.state_dict())
    (link,) = calibrated(model, scores, corpus.evidence).values()
    assert isinstance(link, LabelLink)
    assert link.as_dict()["slope"] == pytest.approx(np.log(3) / 2, abs=0.01)
    assert link.as_dict()["intercept"] == pytest.approx(0, abs=0.01)
    assert all(
        torch.equal(before[name], now) for name, now in model.state_dict().items()
    )
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_kind_without_judgements_keeps_its_link() -> None:
    model, _, scores = learned(labelled(10), judges=())
    trained = model.links[Label].as_dict()
    none = Corpus.of([], model.links).evidence
    assert calibrated(model, scores, none)[Label].as_dict() == trained
    assert calibrated(model, scores, {})[Label].as_dict() == trained


def test_few_judgements_make_a_link_less_sure_than_many() -> None:
    # the same shares at every size, so the likeliest slope is that of 1,600 judgements, 0.549
    def slope(times: int) -> float:
        model, corpus, scores = learned(labelled(times), judges=())
        return calibrated(model, scores, corpus.evidence)[Label].slope.item()

    slopes = [slope(times) for times in (1, 3, 100)]
    assert 0 < slopes[0] < slopes[1] < slopes[2] == pytest.approx(0.549, abs=0.01)


def test_scores_that_tell_nothing_give_the_base_rate() -> None:
    # seven of ten are positive, whatever the score
    given: list[Judgement] = [
        Label(f"{'good' if i % 2 else 'bad'} {i}", i % 20 < 14) for i in range(200)
    ]
    model, corpus, scores = learned(given, judges=())
    link = calibrated(model, scores, corpus.evidence)[Label]
    chances = link.predict(torch.tensor([-2.0, 2.0]))
    assert chances.tolist() == pytest.approx([0.7, 0.7], abs=0.05)
    assert link.slope.item() > 0


def test_a_link_never_turns_the_score_around() -> None:
    upside_down: list[Judgement] = [
        Label(f"{'bad' if i % 2 else 'good'} {i}", i % 2 == 1) for i in range(40)
    ]
    model, corpus, scores = learned(upside_down, judges=())
    link = calibrated(model, scores, corpus.evidence)[Label]
    assert link.slope.item() > 0
    chances = link.predict(torch.tensor([-2.0, 2.0]))
    assert chances.tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_aids_to_fitting_are_off() -> None:
    model, corpus, scores = learned(labelled(10), judges=())
    plain = calibrated(model, scores, corpus.evidence)[Label].as_dict()
    model.links[Label].aids = Likelihood(smoothing=0.3)
    assert calibrated(model, scores, corpus.evidence)[Label].as_dict() == pytest.approx(
        plain
    )


def test_discriminations_are_believed() -> None:
    # judges of discrimination ½ see scores of ±1, so the link needs twice the slope to say 3/4
    model, corpus, scores = learned(labelled(100), judges=("1", "2"))
    assert model.judges is not None
    model.judges.discrimination.fill_(0.5)
    assert calibrated(model, scores, corpus.evidence)[Label].as_dict()[
        "slope"
    ] == pytest.approx(np.log(3), abs=0.02)


@pytest.mark.parametrize("discrimination", [None, 0.5])
def test_the_slope_is_the_mean_of_its_posterior(discrimination: float | None) -> None:
    # labels that follow a score of −2 … 3 but for a few; every second one of a judge, every third
    # one counts double. With the likeliest intercept for each slope, the slope is averaged over
    # its posterior: a prior of half a point at 0, half |Normal| of sd 2 / sd(scores)
    s, judges = np.linspace(-2, 3, 40), [None, "ann"] * 20
    is_positive = (np.arange(40) >= 20) ^ np.isin(np.arange(40), (3, 8, 17, 22))
    weight = 1.0 + (np.arange(40) % 3 == 0)
    given: list[Judgement] = [
        Label(f"t{i}", bool(is_positive[i]), judge=judges[i], weight=weight[i])
        for i in range(40)
    ]
    links = {Label: LabelLink(2.5, 0.5)}
    corpus = Corpus.of(given, links, judges=[] if discrimination is None else ["ann"])
    model = ObservationModel(links, Likelihood(), corpus)
    rho = np.ones(40)
    if discrimination is not None:
        assert model.judges is not None
        model.judges.discrimination.fill_(discrimination)
        rho[1::2] = discrimination
    link = calibrated(model, scored(s.tolist()), corpus.evidence)[Label]

    signs = np.where(is_positive, 1, -1)

    def log_likelihood(a: float, b: float) -> float:
        logits = rho * (a * s + b)
        return float(-(weight * np.log1p(np.exp(-signs * logits))).sum())

    def height(a: float) -> float:
        best = minimize_scalar(lambda b: -log_likelihood(a, b), bracket=(-1, 1))
        return -float(best.fun)

    unit = 0.5 * (len(s) / 60) ** 0.5 / s.std()
    slopes = np.linspace(0, 6, 601)
    density = 2 / (unit * np.sqrt(2 * np.pi)) * np.exp(-0.5 * (slopes / unit) ** 2)
    density *= np.exp([height(a) for a in slopes])
    mass = 0.9 * np.trapezoid(density, slopes) + 0.1 * np.exp(height(0.0))
    expected = 0.9 * np.trapezoid(density * slopes, slopes) / mass
    assert link.slope.item() == pytest.approx(expected, rel=0.01)
    assert link.as_dict()["intercept"] == pytest.approx(
        minimize_scalar(
            lambda b: -log_likelihood(link.slope.item(), b), bracket=(-1, 1)
        ).x,
        abs=0.02,
    )


def test_a_difference_of_scores_counts_as_a_score_does() -> None:
    # a label at a score of d and a comparison of d with 0 are the same logistic regression, and d
    # is symmetric about 0, so the intercept of the labels is 0
    differences = [-1.5, -1.0, -0.5, 0.5, 1.0, 1.5] * 4
    answers = [difference > 0 for difference in differences]
    for wrong in (3, 2, 21, 20):  # two of each sign
        answers[wrong] = not answers[wrong]
    labels: list[Judgement] = []
    comparisons: list[Judgement] = []
    for number, answer in enumerate(answers):
        text, other = f"text {number}", f"other {number}"
        labels.append(Label(text, answer))
        pair = (text, other) if answer else (other, text)
        comparisons.append(Comparison(*pair))
    slopes = []
    for judgements in (labels, comparisons):
        links = links_from(judgements)
        corpus = Corpus.of(judgements, links)
        values = []
        for example in corpus.examples:
            name, number = example.text.split()
            values.append(differences[int(number)] if name == "text" else 0.0)
        model = ObservationModel(links, Likelihood(), corpus)
        (link,) = calibrated(model, scored(values), corpus.evidence).values()
        slopes.append(link.slope.item())
    assert slopes[1] == pytest.approx(slopes[0], rel=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_that_was_learned_elsewhere_is_calibrated_beside_the_scores() -> None:
    model, corpus, scores = learned(labelled(100), judges=("1", "2"))
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


def test_near_copies_do_not_make_noise_look_sure() -> None:
    """Each text of a coin's labels stands there three times, a character changed."""
    coin = random.Random(0)
    words = [f"w{number}" for number in range(60)]
    labels = []
    for number in range(100):
        text = " ".join([f"t{number}", *coin.choices(words, k=30)])
        positive = coin.random() < 0.5
        labels += [Label(text + end, positive) for end in (".", "!", "?")]
    model = tm.fit(labels)
    fresh = [" ".join(coin.choices(words, k=30)) for _ in range(200)]
    probability = np.array(model.probability(fresh))
    assert np.abs(probability - 0.5).mean() < 0.1
