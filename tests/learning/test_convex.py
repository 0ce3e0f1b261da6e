"""The convex fit: scikit-learn's optimum, the right gradient, and real reviews."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.optimize import check_grad
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tastemaker.data import Example, Grade, Judgement, Label, Rating, read
from tastemaker.errors import DataError
from tastemaker.kinds import Likelihood, links_from
from tastemaker.reward import (
    Corpus,
    Linear,
    LinearBackbone,
    Links,
    Objective,
    ObservationModel,
    fit_linear,
    inverse_document_frequencies,
    learned_parameters,
    log_count_ratios,
    positivity,
    tokens,
)

GOOD = ["lovely", "bright", "moving", "clever", "warm"]
BAD = ["dull", "clumsy", "grey", "tired", "empty"]


def film(good: int, seed: int) -> str:
    """Return a text of `good` good words and 5 − `good` bad ones."""
    draw = np.random.default_rng(seed)
    words = [*draw.choice(GOOD, good), *draw.choice(BAD, 5 - good)]
    return " ".join(["a", *draw.permutation(words), "film", str(seed % 7)])


def judged(texts: int, kinds: str = "label grade rating") -> list[Judgement]:
    """Return judgements of texts whose share of good words is their worth."""
    draw = np.random.default_rng(0)
    judgements: list[Judgement] = []
    for seed in range(texts):
        good = int(draw.integers(0, 6))
        text, worth = film(good, seed), good + draw.normal(scale=0.7)
        judgements += [Label(text, bool(worth > 2.5))] if "label" in kinds else []
        judgements += (
            [Grade(text, int(np.clip(round(worth), 0, 5)), 0, 5)]
            if "grade" in kinds
            else []
        )
        judgements += [Rating(text, float(20 * worth))] if "rating" in kinds else []
    return judgements


def fitted(
    judgements: list[Judgement], **settings: Any
) -> tuple[LinearBackbone, Links, Corpus]:
    tolerance = settings.pop("tolerance", 1e-7)
    links = links_from(judgements)
    corpus = Corpus.of(judgements, links)
    model = ObservationModel(links, Likelihood(), corpus)
    return (
        fit_linear(corpus, model, Linear(**settings), tolerance=tolerance),
        links,
        corpus,
    )


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_labels_with_tfidf_give_logistic_regressions_optimum(strength: float) -> None:
    judgements = judged(200, "label")
    settings: Any = {
        "ngrams": 2,
        "weighting": "tfidf",
        "strength": strength,
        "tolerance": 1e-15,
    }
    model, links, corpus = fitted(judgements, **settings)
    texts = [example.text for example in corpus.examples]
    reader = TfidfVectorizer(
        tokenizer=tokens,
        token_pattern=None,
        ngram_range=(1, 2),
        min_df=2,
        sublinear_tf=True,
    )
    peer = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10000)
    peer.fit(
        reader.fit_transform(texts),
        [j.positive for j in judgements if isinstance(j, Label)],
    )
    assert len(model.names) == len(reader.vocabulary_)
    ours = (
        links[Label]
        .predict(torch.from_numpy(model.score(corpus.examples).values))
        .detach()
        .numpy()
    )
    theirs = peer.predict_proba(reader.transform(texts))[:, 1]
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert float(np.ptp(theirs)) > 0.1


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Over weights and every link's parameters, with all three kinds at once, in float64."""
    judgements = judged(30)
    links = links_from(judgements)
    corpus = Corpus.of(judgements, links)
    model = ObservationModel(links, Likelihood(), corpus).double()
    draw = np.random.default_rng(3)
    rows = sp.csr_matrix(
        draw.normal(size=(len(corpus), 6)) * (draw.random((len(corpus), 6)) < 0.5)
    )
    objective = Objective(rows, corpus, model, strengths=np.linspace(0.2, 1.2, 6))
    point = objective.start() + draw.normal(scale=0.3, size=len(objective.start()))
    assert (
        len(point) == 6 + 1 + 5 + 1
    )  # label: intercept; grade: 5 thresholds; rating: intercept
    gradient = objective(point)[1]
    error = check_grad(
        lambda p: objective(p)[0], lambda p: objective(p)[1], point, epsilon=1e-6
    )
    assert error < 1e-5 * max(1, float(np.linalg.norm(gradient)))
    assert np.abs(gradient).min() > 1e-6


def test_the_value_is_the_penalised_log_likelihood_by_hand() -> None:
    """Two texts, one feature: s = (w, −w), labels yes and no: −2 ln σ(w) + ½ · strength · w², for
    each text half.
    """
    judgements: list[Judgement] = [Label("x", True), Label("y", False)]
    links = links_from(judgements)
    corpus = Corpus.of(judgements, links)
    rows = sp.csr_matrix([[1.0], [-1.0]])
    model = ObservationModel(links, Likelihood(), corpus)
    objective = Objective(rows, corpus, model, strengths=np.array([0.5]))
    value, gradient = objective(np.array([1.2, 0.0]))
    assert value == pytest.approx((2 * np.log1p(np.exp(-1.2)) + 0.25 * 1.2**2) / 2)
    assert gradient[0] == pytest.approx((-2 / (1 + np.exp(1.2)) + 0.5 * 1.2) / 2)


def test_log_count_ratios_by_hand() -> None:
    """good, film | bad, film: p = (good 2, film 2, bad 1), q = (1, 2, 2), both sum to 5: ln 2, 0,
    −ln 2.
    """
    occurrences = sp.csr_matrix(
        [[3.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    )  # good film bad; only presence counts
    ratios = log_count_ratios(occurrences, np.array([1.0, 0.0]), smoothing=1.0)
    assert ratios == pytest.approx([np.log(2), 0, -np.log(2)])
    # half positive: good belongs to both classes alike: p = (1.5, 1.5, 1) of 4, q = (1.5, 2.5, 2)
    # of 6
    soft = log_count_ratios(occurrences, np.array([0.5, 0.0]), smoothing=1.0)
    assert soft == pytest.approx(
        np.log([1.5 / 4 / (1.5 / 6), 1.5 / 4 / (2.5 / 6), 1 / 4 / (2 / 6)])
    )


def test_inverse_document_frequencies_by_hand() -> None:
    """Three texts: held by 1 and by 3: ln(4/2) + 1 and ln(4/4) + 1."""
    occurrences = sp.csr_matrix([[5.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    assert inverse_document_frequencies(occurrences) == pytest.approx(
        [np.log(2) + 1, 1]
    )


def test_positivity_is_the_mean_rank_of_what_was_said() -> None:
    """Grades 1 2 2 5 rank 1 2½ 2½ 4: 0 ½ ½ 1. Labels: 0 and 1. Both: their mean."""
    judgements: list[Judgement] = [
        *(
            Grade(text, grade, 1, 5)
            for text, grade in zip("abcd", (1, 2, 2, 5), strict=True)
        ),
        *(Label("a", False), Label("b", True)),
    ]
    links = links_from(judgements)
    corpus = Corpus.of(judgements, links)
    ranks = positivity(corpus, ObservationModel(links, Likelihood(), corpus))
    assert ranks.tolist() == pytest.approx([0, 0.75, 0.5, 1])


@pytest.mark.parametrize(
    "kinds", ["label", "grade", "rating", "label rating", "label grade rating"]
)
@pytest.mark.parametrize("weighting", ["nb", "tfidf"])
def test_every_mixture_teaches_the_same_taste(kinds: str, weighting: str) -> None:
    model, links, _ = fitted(judged(300, kinds), weighting=weighting, strength=0.3)
    new = [Example(film(good, 1000 + seed)) for seed in range(20) for good in range(6)]
    scores = model.score(new).values
    assert np.corrcoef(scores, np.tile(np.arange(6), 20))[0, 1] > 0.93
    for link in links.values():
        predicted = link.predict(torch.from_numpy(scores)).detach().numpy()
        assert predicted[5::6].mean() > predicted[2::6].mean() > predicted[::6].mean()


def test_links_are_learned_in_place_but_for_their_scale() -> None:
    judgements = judged(200)
    links = links_from(judgements)
    before = {kind: link.as_dict() for kind, link in links.items()}
    model = ObservationModel(links, Likelihood())
    moved = {id(p) for p in learned_parameters(model)}
    fit_linear(Corpus.of(judgements, links), model, Linear())
    for kind, link in links.items():
        after = link.as_dict()
        assert {p.dtype for p in link.parameters()} == {torch.float32}
        assert after["slope"] == 1
        assert after != before[kind]
    assert links[Rating].as_dict()["log_sd"] == 0
    assert moved == {
        id(p) for p in learned_parameters(ObservationModel(links, Likelihood()))
    }


def test_a_stronger_prior_gives_smaller_weights() -> None:
    sizes = [
        float(np.abs(fitted(judged(100), strength=s)[0].weights).sum())
        for s in (0.01, 0.1, 1.0, 1e9)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3


def test_saying_everything_twice_teaches_the_same() -> None:
    judgements = judged(100, "label")
    once, twice = (
        fitted(judgements, tolerance=1e-15)[0],
        fitted(judgements * 2, tolerance=1e-15)[0],
    )
    assert twice.weights == pytest.approx(once.weights, abs=1e-4)
    assert float(np.abs(once.weights).max()) > 0.1


def test_the_same_judgements_give_the_same_bits() -> None:
    one, two = (fitted(judged(150))[0] for _ in range(2))
    assert np.array_equal(one.names, two.names)
    assert np.array_equal(one.weights, two.weights)


def test_the_order_of_the_judgements_changes_nothing_that_matters() -> None:
    judgements = judged(100, "label")
    one, two = (
        fitted(judgements, tolerance=1e-15)[0],
        fitted(judgements[::-1], tolerance=1e-15)[0],
    )
    assert np.array_equal(one.names, two.names)
    assert one.weights == pytest.approx(two.weights, abs=1e-4)


def test_a_prompt_is_read_too() -> None:
    texts = [(film(k % 6, k), k % 6 > 2) for k in range(100)]
    model, _, _ = fitted(
        [Label("the same answer", positive, prompt=text) for text, positive in texts]
    )
    good, bad = model.score(
        [
            Example("the same answer", "lovely warm"),
            Example("the same answer", "dull grey"),
        ]
    ).values
    assert good > bad


def test_chinese_is_learned_by_its_characters() -> None:
    judgements = [
        Label(f"这部电影{'很好看' if k % 2 else '太无聊'}第{k}", bool(k % 2))
        for k in range(40)
    ]
    model, links, _ = fitted(list(judgements))
    scores = torch.from_numpy(
        model.score([Example("剧情很好看"), Example("剧情太无聊")]).values
    )
    good, bad = links[Label].predict(scores).tolist()
    assert good > 0.9
    assert bad < 0.1


def test_texts_that_share_no_word_are_refused() -> None:
    lonely: list[Judgement] = [Label(f"w{k}x w{k}y", bool(k % 2)) for k in range(8)]
    with pytest.raises(DataError, match=r"\b2 of the 8 texts\b.*\bmin_count\b"):
        fitted(lonely)
    model, _, _ = fitted(lonely, min_count=1)
    assert len(model.names) == 8 * 3


def test_a_word_repeated_in_one_text_does_not_count_twice() -> None:
    judgements: list[Judgement] = [
        Label("echo echo echo film", True),
        Label("film", False),
    ]
    model, _, _ = fitted(judgements)
    assert len(model.names) == 1


@pytest.mark.slow
def test_real_reviews_are_learned(shared_data: Path) -> None:
    archive = shared_data / "aclImdb.tar.gz"
    train = read(archive, split="train", limit=2500)
    test = read(archive, split="test", limit=1000)
    labels, grades = (
        [j for j in train if isinstance(j, kind)] for kind in (Label, Grade)
    )
    share = np.mean([j.positive for j in labels])
    assert share == pytest.approx(
        0.5, abs=0.05
    )  # five sd: the texts are drawn at random
    model, links, _ = fitted(list(labels))
    is_positive = {j.text: j.positive for j in test if isinstance(j, Label)}
    predicted = links[Label].predict(
        torch.from_numpy(model.score([Example(text) for text in is_positive]).values)
    )
    assert (
        float(((predicted > 0.5).numpy() == list(is_positive.values())).mean()) >= 0.83
    )
    model, links, _ = fitted(list(grades))
    given = {j.text: j.grade for j in test if isinstance(j, Grade)}
    predicted = links[Grade].predict(
        torch.from_numpy(model.score([Example(text) for text in given]).values)
    )
    assert np.corrcoef(predicted.detach().numpy(), list(given.values()))[0, 1] >= 0.66
