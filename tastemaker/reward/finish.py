"""The last steps of a fit: calibrate the links, anchor the score, measure the held-out judgements.

A fitted backbone is surer of its training texts than of new ones. So its links are fitted again on
the held-out texts: temperature scaling (Guo et al. 2017) for labels, the same idea for other kinds.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import TEMPLATE, Example, Judgement, fingerprints
from tastemaker.errors import DataError
from tastemaker.evaluate.evaluation import evaluate
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Link
from tastemaker.reward.backbones import Backbone
from tastemaker.reward.contract import Anchor, Contract
from tastemaker.reward.corpus import Evidence
from tastemaker.reward.division import Division
from tastemaker.reward.model import RewardModel, link_values
from tastemaker.reward.observation import LengthEffect, ObservationModel
from tastemaker.scores import Scores

_NOTHING = 1e-6  # standard deviations: members of an ensemble round their offsets


ENOUGH = 30
"""Fewer held-out judgements of a kind than this leave its link as training left it."""


def calibrated(
    model: ObservationModel,
    scores: Scores,
    evidence: Mapping[type[Judgement], Evidence],
) -> dict[type[Judgement], Link]:
    """Return links that make the held-out judgements most likely, given the scores of the held-out
    texts.

    Judges keep the reliability that training found; aids to fitting (smoothing, margins) are off.
    """
    values = torch.from_numpy(scores.values)
    alone = (
        copy.deepcopy(model).cpu().double()
    )  # beside the scores, wherever the model was learned
    answer = {}
    for kind, link in model.links.items():
        found = evidence.get(kind)
        plain = type(link).from_dict(link.as_dict())
        enough = found is not None and len(found) >= ENOUGH
        answer[kind] = (
            _refitted(plain, alone, values, found)
            if found is not None and enough
            else plain
        )
    return answer


def _refitted(
    link: Link, model: ObservationModel, scores: Tensor, evidence: Evidence
) -> Link:
    """Return the link refitted in float64, or as it was where the refit turns the score around or
    is not finite.
    """
    fresh = copy.deepcopy(link).double().requires_grad_(True)
    start = [p.detach().clone() for p in fresh.parameters()]
    targets = (
        evidence.targets.double()
        if evidence.targets.is_floating_point()
        else evidence.targets
    )
    found = replace(evidence, targets=targets)
    optimizer = torch.optim.LBFGS(
        fresh.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        likelihood = model.of_kind(fresh, scores, found)
        # a held-out set is small: the prior is worth one judgement at a distance of one
        prior = torch.stack(
            [
                ((p - p0) ** 2).sum()
                for p, p0 in zip(fresh.parameters(), start, strict=True)
            ]
        ).sum()
        loss = (0.5 * prior - likelihood) / len(targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with one_thread():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    finite = all(bool(torch.isfinite(p).all()) for p in fresh.parameters())
    if not finite or fresh.slope.item() <= 0:
        return link
    return type(link).from_dict(fresh.float().as_dict())


def anchor_of(scores: Scores) -> Anchor:
    """Return the mean and standard deviation of reference scores: what becomes 0 and 1."""
    sd = float(np.std(scores.values))
    usable = np.isfinite(sd) and sd > 1e-8
    return Anchor(float(np.mean(scores.values)), sd if usable else 1.0, len(scores))


def finish(
    backbone: Backbone,
    observation: ObservationModel,
    division: Division,
    asked: Mapping[str, Any],
    *,
    steps: int,
    judges: Mapping[str, dict[str, Any]] | None = None,
    baseline: RewardModel | None = None,
    anchor: Sequence[Example] | None = None,
) -> RewardModel:
    """Return the reward model of a learned backbone, its contract complete but for the roundtrip
    that saving adds.

    judges: what is known of each judge. anchor: the texts whose mean score becomes 0 and standard
    deviation 1; None: the held-out ones. Raises DataError when a score is not finite.
    """
    scores = backbone.score(division.held_out.examples)
    if not np.isfinite(scores.values).all():
        raise DataError(
            "the fitted model gives scores that are not finite; nothing was saved. Lower --lr."
        )
    links = calibrated(observation, scores, division.held_out.evidence)
    found = anchor_of(scores if anchor is None else backbone.score(anchor))
    folded = backbone.rescale(found.mean, found.sd)
    found = replace(
        found,
        centred=math.isclose(
            folded, found.mean, rel_tol=0, abs_tol=_NOTHING * found.sd
        ),
    )
    links = {kind: link.rescaled(folded, found.sd) for kind, link in links.items()}
    counts = {
        link.kind: len(division.train.evidence[kind]) for kind, link in links.items()
    }
    contract = Contract(
        backbone=backbone.kind,
        template=getattr(backbone, "template", TEMPLATE),
        links=link_values(links),
        max_length=getattr(backbone, "max_length", None),
        cut=getattr(backbone, "cut", None),
        pooling=getattr(backbone, "pooling", None),
        anchor=found,
        data={
            "texts": len(division.train),
            "judgements": counts,
            "held_out": len(division.held_out),
            "digest": division.digest,
        },
        judges=dict(judges or {}),
        settings=dict(asked),
        trained_steps=steps,
    )
    seen = np.unique(fingerprints(e.text for e in division.train.examples))
    model = RewardModel(
        backbone, links, contract, baseline=baseline, training_fingerprints=seen
    )
    measured = evaluate(
        model,
        division.held_out_judgements,
        baseline=baseline,
        training_fingerprints=seen,
    ).as_dict()
    if observation.length is not None:
        with_length = WithLength(model, observation.length, found.sd)
        before = evaluate(
            with_length, division.held_out_judgements, training_fingerprints=seen
        ).as_dict()
        measured["length_control"] = {"effect": with_length.effect, "before": before}
    model.contract = replace(contract, evaluation=measured)
    return model


class WithLength:
    """A model before length control: the length effect is added back to its score."""

    def __init__(self, model: RewardModel, length: LengthEffect, unit: float) -> None:
        self.model, self.length, self.links = model, length, model.links
        self.effect = float(length.effect.detach()) / unit

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Score the examples, in their order."""
        scores = self.model.score_all(examples)
        lengths = torch.tensor(
            [len(e.text) for e in examples], dtype=torch.float64
        ).log1p()
        more = self.effect * self.length.standardised(lengths).numpy()
        return Scores(scores.values + more, scores.truncated)
