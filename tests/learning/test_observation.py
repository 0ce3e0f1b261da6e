"""The observation model: log-likelihoods by hand, judges, length, and sums over parts."""

import math

import numpy as np
import pytest
import torch

from tastemaker.data import Comparison, Judgement, Label, Ranking, Rating
from tastemaker.kinds import (
    ComparisonLink,
    LabelLink,
    Likelihood,
    Link,
    RankingLink,
    RatingLink,
)
from tastemaker.reward import (
    Corpus,
    FeatureEffects,
    JudgeEffects,
    ObservationModel,
    links_alone,
)

LENGTH = ("length",)


def links() -> dict[type[Judgement], Link]:
    return {
        Label: LabelLink(1.0, 0.0),
        Rating: RatingLink(5.0, 3.0),
        Comparison: ComparisonLink(),
        Ranking: RankingLink(),
    }


JUDGEMENTS: list[Judgement] = [
    Label("a", True),
    Rating("a", 8.0),
    Label("b", False),
    Comparison("a", "b"),
    Ranking(["c", "a", "b"]),
    Label("d", True, weight=2.0),
]


def test_log_likelihood_by_hand() -> None:
    # scores a 1, b 0, c 2, d 0. Labels: ln σ(1), ln ½, and twice ln ½. The rating's target 1 at a
    # mean of 1 with sd 1.
    # The comparison: ln σ(1). The ranking of scores 2, 1, 0: −0.7209
    corpus = Corpus.of(JUDGEMENTS, links())
    log_likelihood = ObservationModel(links(), Likelihood()).log_likelihood(
        torch.tensor([1.0, 0, 2, 0]), corpus.evidence
    )
    expected = (
        2 * -math.log1p(math.exp(-1))
        + 3 * math.log(0.5)
        - 0.5 * math.log(2 * math.pi)
        - 0.72088
    )
    assert log_likelihood.item() == pytest.approx(expected, abs=1e-4)


def test_the_whole_is_the_sum_of_its_units() -> None:
    corpus, scores = Corpus.of(JUDGEMENTS, links()), torch.tensor([0.3, -1.0, 2.0, 0.1])
    model = ObservationModel(links(), Likelihood())
    parts = []
    for unit in corpus.units:
        texts, evidence = corpus.part([unit])
        parts.append(model.log_likelihood(scores[texts], evidence))
    assert len(parts) == 2
    torch.testing.assert_close(
        torch.stack(parts).sum(), model.log_likelihood(scores, corpus.evidence)
    )


def test_no_evidence_is_zero_with_a_gradient() -> None:
    scores = torch.zeros(3, requires_grad=True)
    ObservationModel(links(), Likelihood()).log_likelihood(scores, {}).backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [0, 0, 0]


def test_a_judge_sees_scores_as_far_from_neutral_as_they_discriminate() -> None:
    # discrimination ½, intercept 2, so neutral at −2: the score 0 is seen as −1, a logit of 1
    judgements: list[Judgement] = [Label("a", True, judge="ann"), Label("a", True)]
    its = {Label: LabelLink(1.0, 2.0)}
    corpus = Corpus.of(judgements, its, judges=["ann"])
    model = ObservationModel(its, Likelihood(), corpus)
    assert model.judges is not None
    model.judges.discrimination.fill_(0.5)
    log_likelihood = model.log_likelihood(torch.zeros(1), corpus.evidence)
    assert log_likelihood.item() == pytest.approx(
        -math.log1p(math.exp(-1)) - math.log1p(math.exp(-2)), abs=1e-6
    )


def test_a_reversed_judge_says_the_opposite() -> None:
    for judged, turned in (
        (Comparison("a", "b", judge="x"), Comparison("b", "a")),
        (Ranking(["a", "b"], judge="x"), Ranking(["b", "a"])),
        (Label("a", True, judge="x"), Label("a", False)),
    ):
        its = {type(judged): links()[type(judged)]}
        model = ObservationModel(
            its, Likelihood(), Corpus.of([judged], its, judges=["x"])
        )
        assert model.judges is not None
        model.judges.discrimination.fill_(-1.0)
        scores = torch.tensor([1.7, -0.4])
        ours = model.log_likelihood(
            scores, Corpus.of([judged], its, judges=["x"]).evidence
        )
        order = (
            [1, 0] if len(turned.texts) == 2 else [0]
        )  # the corpus counts texts as they come
        theirs = links_alone(its).log_likelihood(
            scores[order], Corpus.of([turned], its).evidence
        )
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


def test_leniency_shifts_single_texts_and_no_comparison() -> None:
    # discrimination ½, leniency 1, slope 2, intercept 1, so neutral at −½: the score 1.5 is read as
    # −½ + ½ · 2 + ½ = 1, a logit of 2 · 1 + 1 = 3; without the judge it is a logit of 4
    judgements: list[Judgement] = [Label("a", True, judge="ann"), Label("a", True)]
    its: dict[type[Judgement], Link] = {Label: LabelLink(2.0, 1.0)}
    model = with_effects(judgements, its, discrimination=0.5, leniency=1.0)
    result = model.log_likelihood(
        torch.tensor([1.5]), Corpus.of(judgements, its, judges=["ann"]).evidence
    )
    assert result.item() == pytest.approx(
        -math.log1p(math.exp(-3)) - math.log1p(math.exp(-4)), abs=1e-6
    )
    # a comparison: ½ · 1.5 is left of the difference, and leniency has no meaning
    pair: list[Judgement] = [Comparison("a", "b", judge="ann")]
    its = {Comparison: ComparisonLink()}
    model = with_effects(pair, its, discrimination=0.5, leniency=1.0)
    result = model.log_likelihood(
        torch.tensor([1.5, 0.0]), Corpus.of(pair, its, judges=["ann"]).evidence
    )
    assert result.item() == pytest.approx(-math.log1p(math.exp(-0.75)), abs=1e-6)


def test_leniency_is_in_log_odds_of_the_first_kind() -> None:
    # the labels' slope is 2, so a leniency of 1 moves the ratings' mean by ½: from 5 + 3 · 1 to 9.5
    judgements: list[Judgement] = [
        Label("a", True),
        Rating("a", 9.5, judge="ann"),
    ]
    its: dict[type[Judgement], Link] = {
        Label: LabelLink(2.0, 0.0),
        Rating: RatingLink(5.0, 3.0),
    }
    model = with_effects(judgements, its, discrimination=1.0, leniency=1.0)
    result = model.log_likelihood(
        torch.tensor([1.0]), Corpus.of(judgements, its, judges=["ann"]).evidence
    )
    assert result.item() == pytest.approx(
        -math.log1p(math.exp(-2)) - 0.5 * math.log(2 * math.pi), abs=1e-5
    )


def with_effects(
    judgements: list[Judgement],
    its: dict[type[Judgement], Link],
    *,
    discrimination: float,
    leniency: float,
) -> ObservationModel:
    model = ObservationModel(
        its, Likelihood(), Corpus.of(judgements, its, judges=["ann"])
    )
    assert model.judges is not None
    model.judges.discrimination.fill_(discrimination)
    model.judges.leniency.data.fill_(leniency)
    return model


def test_the_prior_of_leniency_by_hand() -> None:
    # −½ · ((1 / 0.5)² + (2 / 0.5)²), and nothing where leniency is not learned
    effects = JudgeEffects(("ann", "bob"))
    effects.leniency.data.copy_(torch.tensor([1.0, 2.0]))
    assert effects.log_prior().item() == 0
    effects.leniency_sd = 0.5
    effects.leniency.requires_grad_()
    assert effects.log_prior().item() == pytest.approx(-0.5 * (4 + 16))


def test_centring_draws_the_mean_of_each_comparison_to_zero() -> None:
    # means 1 and 2.5: 0.1 · (1 + 6.25)
    its = {Comparison: ComparisonLink(), Ranking: RankingLink()}
    corpus = Corpus.of(
        [Comparison("a", "b"), Ranking(["c", "d"]), Ranking(["e", "f", "g"])], its
    )
    model = ObservationModel(its, Likelihood(centring=0.1))
    scores = torch.tensor([2.0, 0, 3, 2, 1, 0, -1])
    assert model.penalty(
        scores, corpus.evidence, corpus.features(LENGTH)
    ).item() == pytest.approx(0.1 * (1 + 6.25))


def test_length_is_held_uncorrelated_within_comparisons() -> None:
    # z of lengths 3 and 1, and a score that goes with them: covariance of (½, −½)·gap with z
    its = {Comparison: ComparisonLink()}
    corpus = Corpus.of([Comparison("aaa", "b")], its)
    model = ObservationModel(its, Likelihood(control="length"), corpus)
    assert isinstance(model.control, FeatureEffects)
    assert model.control.standardised(corpus.features(LENGTH))[
        :, 0
    ].tolist() == pytest.approx([1, -1], abs=1e-5)
    penalty = model.penalty(
        torch.tensor([3.0, 2.0]), corpus.evidence, corpus.features(LENGTH)
    )
    assert penalty.item() == pytest.approx(30.0 * 2 * 0.5**2, rel=1e-4)
    assert (
        model.penalty(
            torch.tensor([3.0, 3.0]), corpus.evidence, corpus.features(LENGTH)
        ).item()
        == 0
    )
    model.control.effects.data.fill_(2.0)  # the longer text is ahead by 2 · 2 units
    log_likelihood = model.log_likelihood(
        torch.zeros(2), corpus.evidence, corpus.features(LENGTH)
    )
    assert log_likelihood.item() == pytest.approx(-math.log1p(math.exp(-4)), abs=1e-5)


def controlled(
    judgements: list[Judgement], *links: Link
) -> tuple[ObservationModel, Corpus]:
    """The model and corpus for texts of two lengths, as many of each: z is 1 or −1."""
    kinds: dict[str, type[Judgement]] = {
        "label": Label,
        "comparison": Comparison,
        "ranking": Ranking,
    }
    its = {kinds[link.kind]: link for link in links}
    corpus = Corpus.of(judgements, its)
    model = ObservationModel(its, Likelihood(control="length"), corpus)
    assert model.control is not None
    z = [1.0 if len(example.text) > 1 else -1.0 for example in corpus.examples]
    assert model.control.standardised(corpus.features(LENGTH))[
        :, 0
    ].tolist() == pytest.approx(z, abs=1e-5)
    return model, corpus


def test_length_is_held_uncorrelated_across_single_texts() -> None:
    # one text twice: scores 5, 5, 3 of z 1, 1, −1; less their mean 13/3, times z: (2/3 + 2/3 +
    # 4/3)/3 = 8/9
    model, corpus = controlled(
        [Label("aaa", True), Label("aaa", True), Label("b", False)], LabelLink()
    )
    penalty = model.penalty(
        torch.tensor([5.0, 3.0]), corpus.evidence, corpus.features(LENGTH)
    )
    assert penalty.item() == pytest.approx(30 * 2 * (8 / 9) ** 2, rel=1e-4)


def test_length_is_held_uncorrelated_within_rankings_of_unlike_length() -> None:
    # of four: scores 3, 1, 0, 0 less 1, times z 1, −1, −1, 1: 2 + 0 + 1 − 1; of two: 3, 1 less 2: 1
    # + 1;
    # 4 in six places
    rankings: list[Judgement] = [
        Ranking(["aaa", "b", "c", "ddd"]),
        Ranking(["aaa", "b"]),
    ]
    model, corpus = controlled(rankings, RankingLink())
    penalty = model.penalty(
        torch.tensor([3.0, 1, 0, 0]), corpus.evidence, corpus.features(LENGTH)
    )
    assert penalty.item() == pytest.approx(30 * 4 * (4 / 6) ** 2, rel=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_kinds_count_by_how_many_texts_they_judge(turned: bool) -> None:
    # the labels' 8/3 of three texts, and of the comparison 5, 3 less 4: 1 + 1 of two: 14/3 in five
    # places
    judgements = [
        Label("aaa", True),
        Label("aaa", True),
        Label("b", False),
        Comparison("aaa", "b"),
    ]
    links: list[Link] = [LabelLink(), ComparisonLink()]
    model, corpus = controlled(judgements, *(links[::-1] if turned else links))
    penalty = model.penalty(
        torch.tensor([5.0, 3.0]), corpus.evidence, corpus.features(LENGTH)
    )
    assert penalty.item() == pytest.approx(30 * 2 * (14 / 15) ** 2, rel=1e-4)


def test_a_step_pulls_by_what_earlier_steps_remember() -> None:
    # a covariance of ½ in every step; remembered 0.05 · ½, then 0.95 · 0.05 · ½ + 0.05 · ½; twice
    # that times ½
    model, corpus = controlled([Comparison("aaa", "b")], ComparisonLink())
    scores = torch.tensor([3.0, 2.0], requires_grad=True)
    for remembered in (0.05 * 0.5, (0.95 * 0.05 + 0.05) * 0.5):
        penalty = model.penalty(
            scores, corpus.evidence, corpus.features(LENGTH), whole=False
        )
        assert penalty.item() == pytest.approx(30 * 2 * 2 * remembered * 0.5, rel=1e-4)
        (gradient,) = torch.autograd.grad(penalty, scores)
        # the covariance is (s₁ − s₂)/2: its gradient is ±½, and what is remembered has none
        assert gradient.tolist() == pytest.approx(
            [30 * 2 * 2 * remembered / 2, -30 * 2 * 2 * remembered / 2], rel=1e-4
        )
    for _ in range(300):
        penalty = model.penalty(
            scores, corpus.evidence, corpus.features(LENGTH), whole=False
        )
    whole = model.penalty(scores, corpus.evidence, corpus.features(LENGTH))
    (last,), (all_at_once,) = (
        torch.autograd.grad(penalty, scores),
        torch.autograd.grad(whole, scores),
    )
    assert last.tolist() == pytest.approx(
        all_at_once.tolist(), rel=1e-4
    )  # the gradient of the square, in the end


def test_each_feature_has_its_effect_and_its_covariance() -> None:
    # z of the lengths is 1, −1, and of the exclamation marks −1, 1; nothing has a heading
    names = ("length", "exclamations", "headings")
    its = {Comparison: ComparisonLink()}
    corpus = Corpus.of([Comparison("aaa", "!")], its)
    model = ObservationModel(
        its, Likelihood(control="length, exclamations,headings"), corpus
    )
    assert model.control is not None
    features = corpus.features(names)
    z = model.control.standardised(features)
    np.testing.assert_allclose(z, [[1, -1, 0], [-1, 1, 0]], atol=1e-5)
    # a heading in a new text has no effect, for none has been learned
    new = torch.cat([features, torch.tensor([[0.0, 0.0, 5.0]])])
    assert model.control.standardised(new)[2, 2] == 0
    penalty = model.penalty(torch.tensor([3.0, 2.0]), corpus.evidence, features)
    assert penalty.item() == pytest.approx(30 * 2 * (0.5**2 + 0.5**2), rel=1e-4)
    model.control.effects.data.copy_(torch.tensor([2.0, 1.5, 9.0]))
    log_likelihood = model.log_likelihood(torch.zeros(2), corpus.evidence, features)
    # the first text is ahead by 2 · 2 and behind by 2 · 1.5
    assert log_likelihood.item() == pytest.approx(-math.log1p(math.exp(-1)), abs=1e-5)
