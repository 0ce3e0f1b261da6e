"""Cross-fitting: scores of texts from fits without them, and what is learned from these scores.

`cross_fit` estimates how judges differ, or the scales of kinds, on unseen texts: a fit of more
weights than texts would explain careless judges as well as careful ones. The linear backbone is
fitted on two thirds of the units and scores the last third, for each third. Links and judges are
fitted to those scores (`judge_fit.py`), again in further rounds. The final fit holds what was
estimated.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tastemaker.costs import stage
from tastemaker.data.judgements import Judgement
from tastemaker.errors import DataError
from tastemaker.kinds.base import Likelihood
from tastemaker.reward.backbones.linear import (
    Linear,
    LinearBackbone,
)
from tastemaker.reward.comparison_effects import (
    ComparisonEffects,
    estimate_comparison_effects,
)
from tastemaker.reward.corpus import Corpus, Links, Unit
from tastemaker.reward.division import Division, divide
from tastemaker.reward.judge_fit import estimate_judges
from tastemaker.reward.judges import JudgeEstimates, judge_rows
from tastemaker.reward.linear_fits import Search, fit_linear
from tastemaker.reward.observation import (
    ObservationModel,
    fitted_to_scores,
)
from tastemaker.scores import Scores

_CROSS_TOLERANCE = (
    1e-6  # tolerance of the fits; their scores serve for estimates only
)
FOLDS = 3
# for calibration; more folds are nearer to the whole fit, which matters where data is small
_MANY_FOLDS, _SOME_FOLDS = 9, 6  # multiples of FOLDS: see `CrossFit.searches`
_FEW_JUDGEMENTS = 400
_ROUNDS = 3  # of scores from other folds, and of estimates from these scores
# texts that are cross-fitted, at most: more take longer and gain nothing
_MOST_TEXTS = 10_000
_FEWEST_UNITS = 60  # needed to compare kinds
_MOST_UNLIKE = 10.0  # largest ratio of the slopes of two kinds


@dataclass(frozen=True)
class CrossFit:
    """The estimates from unseen texts.

    scales: by kind, the values of its link's `scale_parameters`; slopes are relative to that of the
    first kind. comparing: position biases and tie widths. searches: by number of one of the `FOLDS`
    folds, the final state of the fit on the other folds. If there are more folds (a multiple of
    `FOLDS`), each of them lies within one of these. So its fit can start from that state, which
    does not depend on the texts of the fold.
    """

    scales: dict[type[Judgement], dict[str, float]]
    judges: JudgeEstimates | None = None
    comparing: ComparisonEffects | None = None
    searches: dict[int, Search] = field(default_factory=dict)

    def prepared(self, model: ObservationModel) -> ObservationModel:
        """Put these estimates into an observation model, for the kinds it has, and return it."""
        for kind, values in self.scales.items():
            if kind not in model.links:
                continue
            for name, value in values.items():
                getattr(model.links[kind], name).data.fill_(value)
        if self.judges is not None and model.judges is not None:
            self.judges.put_into(model.judges)
        if self.comparing is not None and model.judges is not None:
            model.judges.put(self.comparing)
        return model


_latest: dict[tuple[str, str, int], CrossFit] = {}
"""The latest estimates: a fit often asks for those of the check of the same data before it."""


@stage("cross-fitting")
def cross_fit(division: Division, seed: int = 0) -> CrossFit:
    """Return the estimates from unseen texts.

    There are none for few texts, or if the data has one kind, no judges and no orders shown.
    """
    key = (division.digest, repr(division.likelihood), seed)
    estimates = _latest.get(key)
    if estimates is None:
        estimates = _cross_fit(division, seed)
        _latest.clear()
        _latest[key] = estimates
    return estimates


def _cross_fit(division: Division, seed: int) -> CrossFit:
    corpus = division.train
    estimates = CrossFit({})
    kinds = [
        kind for kind, evidence in corpus.evidence.items() if len(evidence)
    ]
    units = corpus.units[:: -(-len(corpus) // _MOST_TEXTS)]
    has_more = len(kinds) > 1 or corpus.has_order
    if not corpus.judges and (not has_more or len(units) < _FEWEST_UNITS):
        return estimates
    part = corpus if len(units) == len(corpus.units) else corpus.subset(units)
    fresh_model = partial(ObservationModel.untrained, division)
    if not corpus.judges and len(kinds) == 1:
        scores = cross_fitted_scores(part, fresh_model, estimates, seed)
        return CrossFit(
            {},
            comparing=_comparison_effects(part, fresh_model().links, scores),
        )
    pair: Tensor | None = None
    searches: dict[int, Search] = {}
    for number in range(_ROUNDS):
        scores = cross_fitted_scores(
            part, fresh_model, estimates, seed, searches=searches
        )
        links = fresh_model().links
        comparing = _comparison_effects(part, links, scores)
        if corpus.judges:
            if pair is None:
                pair = independent_scores(part, fresh_model, estimates, seed)
            judges = estimate_judges(
                links,
                part.evidence,
                scores,
                pair,
                corpus.judges,
                comparing=comparing,
                chooses=number + 1 == _ROUNDS,
            )
            # no relative scales here: they would change the strength of the penalty in the
            # next fit, which was measured to be worse
            estimates = CrossFit({}, judges, comparing)
        else:
            model = fitted_to_scores(
                part, estimates.prepared(fresh_model()), scores
            )
            estimates = CrossFit(
                relative_scales(model, kinds), comparing=comparing
            )
    return replace(estimates, searches=searches)


def _comparison_effects(
    corpus: Corpus, links: Links, scores: Tensor
) -> ComparisonEffects | None:
    """Return the effects of the order shown and of tie widths, if there are any to learn."""
    return estimate_comparison_effects(
        links, corpus.evidence, scores, len(corpus.judges)
    )


def relative_scales(
    model: ObservationModel, kinds: Sequence[type[Judgement]]
) -> dict[type[Judgement], dict[str, float]]:
    """Return the scale parameters of the kinds, slopes in units of the first one that is a logit.

    Returns nothing where a slope is not positive: then no scale is adjusted.
    """
    links = [model.links[kind] for kind in kinds]
    slopes = [link.slope.item() for link in links]
    if min(slopes) <= 0:
        return {}
    unit = next(
        slope
        for link, slope in zip(links, slopes, strict=True)
        if link.is_logit
    )
    scales = {}
    for kind, link, slope in zip(kinds, links, slopes, strict=True):
        values = {
            name: getattr(link, name).item() for name in link.scale_parameters
        }
        values["slope"] = min(
            max(slope / unit, 1 / _MOST_UNLIKE), _MOST_UNLIKE
        )
        scales[kind] = values
    return scales


def cross_fitted_scores(
    corpus: Corpus,
    fresh_model: Callable[[], ObservationModel],
    estimates: CrossFit,
    seed: int,
    *,
    count: int = FOLDS,
    settings: Linear | None = None,
    searches: dict[int, Search] | None = None,
) -> Tensor:
    """Return the score of every text [n] from a fit on the other folds.

    The fits use the estimates. count: number of folds. searches: by number of one of the `FOLDS`
    folds, the state from which a fit starts. If count is `FOLDS`, final states are stored there.
    """
    searches = searches if searches is not None else {}
    folds = corpus.folds(seed, count)
    scores = torch.zeros(len(corpus), dtype=torch.float64)
    for number, fold in enumerate(folds):
        others = [
            unit
            for other in folds[:number] + folds[number + 1 :]
            for unit in other
        ]
        if not fold or not others:
            continue
        model = estimates.prepared(fresh_model())
        search = searches.setdefault(number % FOLDS, Search())
        if count != FOLDS:
            search = copy.copy(search)
        backbone = fit_linear(
            corpus.subset(others),
            model,
            settings or Linear(),
            tolerance=_CROSS_TOLERANCE,
            search=search,
        )
        texts, values = _scored(corpus, fold, backbone)
        scores[texts] = values
    return scores


def independent_scores(
    corpus: Corpus,
    fresh_model: Callable[[], ObservationModel],
    estimates: CrossFit,
    seed: int,
) -> Tensor:
    """Return two scores of every text, from fits on two folds that share nothing: [2, n].

    Their agreement shows how much of a score is error.
    """
    folds = corpus.folds(seed, FOLDS)
    scores = torch.zeros(2, len(corpus), dtype=torch.float64)
    is_scored = torch.zeros(len(corpus), dtype=torch.long)
    for number, fold in enumerate(folds):
        others = folds[number + 1 :] + folds[:number]
        rest = [unit for other in others for unit in other]
        if not fold or not rest:
            continue
        model = estimates.prepared(fresh_model())
        backbone = fit_linear(
            corpus.subset(fold), model, Linear(), tolerance=_CROSS_TOLERANCE
        )
        texts, values = _scored(corpus, rest, backbone)
        scores[is_scored[texts].clamp(max=1), texts] = values
        is_scored[texts] += 1
    return scores


def _scored(
    corpus: Corpus, units: Sequence[Unit], backbone: LinearBackbone
) -> tuple[list[int], Tensor]:
    """Return the texts of some units, and their scores."""
    texts = sorted({text for unit in units for text in unit.texts})
    values = backbone.score([corpus.examples[text] for text in texts]).values
    return texts, torch.from_numpy(values)


def scores_for_calibration(
    division: Division, estimates: CrossFit, settings: Linear, seed: int
) -> Scores:
    """Return the score of every training text from a fit without it, to calibrate links on.

    If a fold has too few words to fit a model, all scores are 0.
    """
    corpus = division.train
    judgements = sum(len(evidence) for evidence in corpus.evidence.values())
    count = _MANY_FOLDS if judgements <= _FEW_JUDGEMENTS else _SOME_FOLDS
    fresh_model = partial(ObservationModel.untrained, division)
    try:
        values = cross_fitted_scores(
            corpus,
            fresh_model,
            estimates,
            seed,
            count=count,
            settings=settings,
            searches=estimates.searches,
        )
    except DataError:
        values = torch.zeros(len(corpus), dtype=torch.float64)
    return Scores(values.numpy(), np.zeros(len(corpus), dtype=bool))


def check_judges(
    judgements: Sequence[Judgement], *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return each judge's reliability and its interval, from cross-fitted linear scores.

    {} for fewer than two named judges, and for data that cannot be fitted.
    """
    names = {judgement.judge for judgement in judgements}
    if len(names - {None}) < 2:
        return {}
    try:
        division = divide(
            judgements, None, Likelihood(), seed, validates=False
        )
        estimates = cross_fit(division, seed)
    # the other checks name what is wrong with such data
    except DataError:
        return {}
    return judge_rows(estimates.judges, None)
