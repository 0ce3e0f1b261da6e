"""Intervals hold the truth as often as they say, differences are tested, and weights count."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from tastemaker.data import Comparison, Grade, Label, Ranking, Rating
from tastemaker.errors import DataError
from tastemaker.evaluate import evaluate
from tastemaker.kinds import ComparisonLink, LabelLink
from tastemaker.maths import (
    Clusters,
    auroc_of,
    detectable_difference,
    ece_if_calibrated,
    ece_interval,
    holm,
    mean_of,
    replicated,
    sign_flip_p_values,
)


def pairs_right(*is_right, **common):
    """Return comparisons under a prompt each, and scores that are right in some."""
    judged, scores = [], {}
    for number, right in enumerate(is_right):
        first, second = f"{number} a", f"{number} b"
        judged.append(Comparison(first, second, prompt=f"p{number}", **common))
        scores |= {first: float(right), second: 1.0 - float(right)}
    return judged, scores


@pytest.fixture
def compared_by(table_model):
    """Evaluate whether each comparison is right, against a baseline if there is one."""

    def run(is_right, baseline=None, **options):
        judged, scores = pairs_right(*is_right)
        if baseline is not None:
            _, theirs = pairs_right(*baseline)
            linear = table_model({Comparison: ComparisonLink()}, theirs)
            options["baseline"] = linear
        model = table_model({Comparison: ComparisonLink()}, scores)
        return evaluate(model, judged, **options)

    return run


# --- few clusters


def test_three_of_three_right_are_not_certain(compared_by):
    evaluation = compared_by([True] * 3)
    values = evaluation.as_dict()
    # Clopper and Pearson: three of three with a chance of 2.5 %
    assert values["accuracy_interval"] == pytest.approx([0.025 ** (1 / 3), 1])
    over = values["difference_to_constant"]
    assert over["accuracy_interval"] == pytest.approx([0.025 ** (1 / 3) - 0.5, 0.5])
    assert over["accuracy_p"] == 2 / 8  # all right or all wrong
    assert "accuracy_detectable" not in over
    text = str(evaluation)
    assert "cannot be told apart from tossing a coin (accuracy 0.500): +50.0" in text
    assert "So few groups could show no difference." in text
    assert "3 comparisons form only 3 independent groups" in text
    assert values["few_clusters"]


def test_eight_of_eight_right_beat_a_coin(compared_by):
    evaluation = compared_by([True] * 8)
    assert evaluation.as_dict()["difference_to_constant"]["accuracy_p"] == 2 / 256
    start = "The model beats tossing a coin (accuracy 0.500) by 50.0 points of accuracy"
    assert any(verdict.startswith(start) for verdict in evaluation.verdicts())


def test_many_that_all_agree_are_not_certain_either(compared_by):
    values = compared_by([True] * 300).as_dict()
    assert values["accuracy_interval"] == pytest.approx([0.025 ** (1 / 300), 1])
    assert not values["few_clusters"]


def test_one_cluster_tells_of_no_error(compared_by):
    values = compared_by([True]).as_dict()
    assert "accuracy_interval" not in values


def test_the_interval_of_a_mean_is_students():
    x = np.random.default_rng(0).normal(size=9)
    [replicates] = replicated({"mean": mean_of(x)}, Clusters.of(np.arange(9))).values()
    expected = scipy.stats.t.interval(0.95, 8, x.mean(), scipy.stats.sem(x))
    assert replicates.interval() == pytest.approx(expected)


def test_the_interval_of_a_loss_is_students_of_its_logarithm():
    x = np.random.default_rng(0).exponential(size=5)
    [replicates] = replicated({"loss": mean_of(x)}, Clusters.of(np.arange(5))).values()
    without = np.log((x.sum() - x) / 4)
    error = math.sqrt(4 / 5 * ((without - without.mean()) ** 2).sum())
    half = scipy.stats.t(4).ppf(0.975) * error
    expected = x.mean() * math.exp(-half), x.mean() * math.exp(half)
    assert replicates.interval((0, math.inf)) == pytest.approx(expected)


def test_a_figure_of_a_part_rests_on_its_own_clusters():
    is_in = np.arange(100) < 4
    part = mean_of(np.ones(100))
    part = replace(part, numerators=1.0 * is_in, denominators=1.0 * is_in)
    [replicates] = replicated({"part": part}, Clusters.of(np.arange(100))).values()
    assert replicates.clusters == 4
    assert replicates.interval((0, 1)) == pytest.approx((0.025 ** (1 / 4), 1))


def test_a_figure_leaves_each_cluster_out_whole():
    # a statistic that is no ratio goes the long way; both ways know the same mean
    x = np.arange(6.0)
    groups = np.array([0, 0, 1, 1, 2, 2])
    fast, slow = replicated(
        {"ratio": mean_of(x), "other": lambda w: w @ x / w.sum(axis=1)},
        Clusters.of(groups, np.array([1.0, 2, 1, 1, 1, 3])),
    ).values()
    np.testing.assert_allclose(slow.samples, fast.samples)
    assert slow.interval() == pytest.approx(fast.interval())
    # without the last group: (0 + 2·1 + 2 + 3) / 5
    assert fast.samples[2] == pytest.approx(7 / 5)


def _drawn(prompts, generator):
    """Return a figure's clusters: prompts of unlike difficulty and size."""
    groups, right, scores, positive = [], [], [], []
    for prompt in range(prompts):
        shift = generator.normal()
        for _ in range(1 + generator.poisson(3)):
            groups.append(prompt)
            right.append(generator.random() < 1 / (1 + math.exp(-0.8 - shift)))
            is_positive = generator.random() < 1 / (1 + math.exp(-shift))
            positive.append(is_positive)
            scores.append(generator.normal() + is_positive + 0.7 * shift)
    arrays = (np.array(a) for a in (groups, right, scores, positive))
    return tuple(arrays)


@pytest.mark.parametrize("prompts", [5, 10, 20])
def test_intervals_of_few_prompts_hold_the_truth(prompts):
    def statistics(right, scores, positive):
        return {"accuracy": mean_of(right), "auroc": auroc_of(scores, positive)}

    _, *large = _drawn(40_000, np.random.default_rng(99))
    truth = {}
    for name, statistic in statistics(*large).items():
        truth[name] = statistic(np.ones((1, len(large[0]))))[0]
    held = dict.fromkeys(truth, 0)
    for repeat in range(400):
        groups, *data = _drawn(prompts, np.random.default_rng([repeat, prompts]))
        figures = replicated(statistics(*data), Clusters.of(groups))
        for name, replicates in figures.items():
            low, high = replicates.interval((0, 1))
            held[name] += low <= truth[name] <= high or math.isnan(low)
    # 0.95 with a standard error of 0.011
    for name, count in held.items():
        assert 0.92 <= count / 400 <= 0.99, (name, count / 400)


# --- differences


def test_a_difference_of_pairs_is_mcnemars(compared_by):
    model = [True] * 7 + [False] + [True] * 20 + [False] * 5
    linear = [False] * 7 + [True] + [True] * 20 + [False] * 5
    evaluation = compared_by(model, linear)
    difference = evaluation.as_dict()["difference_to_linear"]
    # of 8 that differ, 7 or more on one side
    assert difference["accuracy_p"] == 2 * (8 + 1) / 2**8
    assert difference["accuracy"] == pytest.approx(6 / 33)
    low, high = difference["accuracy_interval"]
    assert low == 0 < high  # Student's t alone would leave 0 out
    # half of Student's interval is t(0.975) standard errors; 80 % power asks for t(0.8) more
    t = scipy.stats.t(32)
    [estimate] = [kind.measured.difference["accuracy"] for kind in evaluation.kinds]
    power = 1 + t.ppf(0.8) / t.ppf(0.975)
    assert estimate.detectable == pytest.approx(difference["accuracy_detectable"])
    assert detectable_difference(-1.0, 1.0, 33) == pytest.approx(power)
    assert "cannot be told apart from the linear baseline: +18.2" in str(evaluation)


def test_signs_of_clusters_are_flipped_by_hand():
    # of 8 flips of (3, 1, 1), (3, 1, 1) and its opposite are as far from 0 as 5
    # of (2, 1, −1): ±2 ± 1 ± 1 is at least as far as 2 in 6 of 8
    sums = np.array([[3.0, 1, 1], [2, 1, -1], [0, 0, 0]])
    np.testing.assert_allclose(sign_flip_p_values(sums), [2 / 8, 6 / 8, 1])


@pytest.mark.parametrize("count", [40, 400])
def test_random_and_normal_flips_agree_with_the_sign_test(count):
    sums = np.where(np.arange(count) < 0.6 * count, 1.0, -1.0)
    exact = scipy.stats.binomtest(int(0.6 * count), count).pvalue
    [p] = sign_flip_p_values(sums[None])
    assert p == pytest.approx(exact, abs=0.02)


def test_five_clusters_detect_nothing():
    assert math.isnan(detectable_difference(-0.1, 0.1, 5))
    assert detectable_difference(-0.1, 0.1, 6) > 0.1


def test_noise_seldom_beats_a_coin_or_its_like(compared_by):
    coin = rival = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        ours, theirs = generator.random((2, 12)) < 0.5
        verdicts = compared_by(ours, theirs, resamples=10).verdicts()
        coin += any("beats tossing a coin" in verdict for verdict in verdicts)
        rival += any("beats the linear baseline" in verdict for verdict in verdicts)
    # 2.5 % of 60 are 1.5
    assert coin <= 4
    assert rival <= 4


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1, 1]


def _judged_by(table_model, accuracy_of_last, seed):
    """Evaluate comparisons of ten judges, of whom the model fits the last one differently."""
    generator = np.random.default_rng(seed)
    judged, scores = [], {}
    for number in range(200):
        judge = number % 10
        chance = accuracy_of_last if judge == 9 else 0.8
        pair = (f"{number} a", f"{number} b")
        is_right = generator.random() < chance
        scores |= dict(zip(pair, (float(is_right), 0.5), strict=True))
        judged.append(
            Comparison(*pair, prompt=str(number // 2), judge=f"judge {judge}")
        )
    model = table_model({Comparison: ComparisonLink()}, scores)
    return evaluate(model, judged, resamples=10)


def test_a_judge_who_differs_is_named_and_equal_ones_are_not(table_model):
    false_names = 0
    for seed in range(20):
        verdicts = _judged_by(table_model, 0.8, seed).verdicts()
        false_names += any("By judge, accuracy differs" in line for line in verdicts)
    assert false_names <= 3  # nominally 1
    evaluation = _judged_by(table_model, 0.2, 0)
    [line] = [line for line in evaluation.verdicts() if line.startswith("By judge")]
    assert "judge 9" in line
    assert "10 comparisons, Holm's correction" in line
    rows = {row["part"]: row for row in evaluation.as_dict()["by_judge"]}
    assert rows["judge 9"]["p_holm"] < 0.05
    assert all(rows[f"judge {n}"]["p_holm"] > 0.05 for n in range(9))


# --- calibration


def test_the_calibration_slope_by_hand(table_model):
    # promised 4/5 and 1/5, came true 3 of 4 and 1 of 4: ln 3 / ln 4
    scores = {f"high {i}": 1.0 for i in range(4)} | {f"low {i}": -1.0 for i in range(4)}
    labels = [
        Label(text, int(text[-1]) < (3 if text[0] == "h" else 1)) for text in scores
    ]
    model = table_model({Label: LabelLink(math.log(4))}, scores)
    values = evaluate(model, labels).as_dict()
    assert values["calibration_slope"] == pytest.approx(math.log(3) / math.log(4))
    low, high = values["calibration_slope_interval"]
    assert low < values["calibration_slope"] < high
    separated = [Label(text, text[0] == "h") for text in scores]
    assert evaluate(model, separated).as_dict()["calibration_slope"] is None


def test_the_slope_of_comparisons_does_not_depend_on_who_comes_first(table_model):
    scores = {"a": 1.0, "b": 0.0, "c": -1.0}
    # 2 of 3 favourites at 3/4 win, so the slope is ln 2 / ln 3
    judged = [Comparison("a", "b"), Comparison("b", "c"), Comparison("c", "b")]
    model = table_model({Comparison: ComparisonLink(math.log(3))}, scores)
    slope = evaluate(model, judged).as_dict()["calibration_slope"]
    assert slope == pytest.approx(math.log(2) / math.log(3))


def _labelled(n, slope, seed):
    """Return probabilities and outcomes; log-odds of the outcomes are slope times as large."""
    generator = np.random.default_rng(seed)
    odds = 1.5 * generator.normal(size=n)
    came_true = generator.random(n) < 1 / (1 + np.exp(-slope * odds))
    return 1 / (1 + np.exp(-odds)), came_true.astype(float)


def test_the_interval_of_the_ece_holds_zero_for_a_calibrated_model():
    held = 0
    for seed in range(100):
        p, came_true = _labelled(100, 1.0, seed)
        low, _ = ece_interval(p, came_true, Clusters.of(np.arange(100)))
        held += low == 0
    assert held >= 93
    for clusters in (150, 1000):  # signs of few, the normal limit of many
        p, came_true = _labelled(clusters, 0.0, 1)
        low, high = ece_interval(p, came_true, Clusters.of(np.arange(clusters)))
        true_error = np.abs(p - 0.5).mean()
        assert 0 < low < true_error < high


def test_the_noise_floor_by_hand():
    # one text at ½ is always ½ off; two of them are off by ½, 0, 0, ½
    assert ece_if_calibrated(np.array([0.5]), Clusters.of(np.zeros(1))) == 0.5
    two = ece_if_calibrated(np.array([0.5, 0.5]), Clusters.of(np.arange(2)))
    assert two == pytest.approx(0.25, abs=0.05)
    # two judgements of the same text share a draw
    same = ece_if_calibrated(np.array([0.5, 0.5]), Clusters.of(np.zeros(2)))
    assert same == 0.5


def test_the_noise_floor_is_what_a_calibrated_model_shows(table_model):
    floors, errors, noise = [], [], 0
    for seed in range(30):
        p, came_true = _labelled(100, 1.0, seed)
        scores = {f"text {i}": value for i, value in enumerate(np.log(p / (1 - p)))}
        labels = [
            Label(text, bool(is_true))
            for text, is_true in zip(scores, came_true, strict=True)
        ]
        model = table_model({Label: LabelLink()}, scores)
        evaluation = evaluate(model, labels)
        floors.append(evaluation.as_dict()["ece_if_calibrated"])
        errors.append(evaluation.as_dict()["ece"])
        noise += "may be only noise: a perfectly calibrated" in str(evaluation)
    assert np.mean(errors) == pytest.approx(np.mean(floors), rel=0.1)
    assert np.mean(floors) > 0.08
    assert noise >= 27


# --- weights


def _twice(judgements):
    """Return some judgements with a weight of 2, and the same ones written twice."""
    weighted, repeated = [], []
    for number, judgement in enumerate(judgements):
        is_double = number % 3 == 0
        weighted.append(replace(judgement, weight=2.0) if is_double else judgement)
        repeated += [judgement] * (2 if is_double else 1)
    return weighted, repeated


# of records as they are, whatever their weight; quarters hold equal numbers of records
_COUNTS = {"n", "ties", "pairs", "human_agreement_n", "within", "unordered_lists"}
_COUNTS |= {"by_length_difference"}


def _same_figures(weighted, repeated, path=""):
    for name, value in weighted.items():
        if name in _COUNTS:
            continue
        here = f"{path}.{name}"
        if isinstance(value, dict):
            _same_figures(value, repeated[name], here)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for one, other in zip(value, repeated[name], strict=True):
                _same_figures(one, other, here)
        elif isinstance(value, float | list):
            assert value == pytest.approx(repeated[name], rel=1e-6, abs=1e-9), here
        else:
            assert value == repeated[name], here


@pytest.mark.parametrize("kind", [Label, Grade, Rating])
@pytest.mark.parametrize("n", [60, 300])
def test_a_weight_of_two_is_two_judgements(world, kind, n):
    w = world(kind, n=n)
    weighted, repeated = _twice(w.judgements)
    w.judgements[:] = weighted
    once = w.evaluated().as_dict()
    w.judgements[:] = repeated
    _same_figures(once, w.evaluated().as_dict())


@pytest.mark.parametrize("kind", [Comparison, Ranking])
@pytest.mark.parametrize("n", [30, 230])
def test_a_weight_of_two_is_two_comparisons_or_rankings(order_world, kind, n):
    w = order_world(kind, n)
    weighted, repeated = _twice(w.judgements)
    w.judgements[:] = weighted
    once = w.evaluated().as_dict()
    w.judgements[:] = repeated
    _same_figures(once, w.evaluated().as_dict())


def test_a_weight_of_zero_is_no_judgement(compared_by, table_model):
    judged, scores = pairs_right(True, True, False)
    judged[2] = replace(judged[2], weight=0.0)
    model = table_model({Comparison: ComparisonLink()}, scores)
    values = evaluate(model, judged).as_dict()
    assert (values["n"], values["clusters"], values["accuracy"]) == (2, 2, 1)
    with pytest.raises(DataError, match="all 1 judgements have weight 0"):
        evaluate(model, judged[2:])
