"""The last steps of a fit: calibrate the links, anchor the score, measure the held-out judgements.

A fitted backbone is overconfident on its training texts. So its links are fitted again on
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
    """Return links fitted to the held-out judgements, given the scores of the held-out texts.

    Judges keep their reliabilities. Aids to fitting (smoothing, margins) are off.
    """
    values = torch.from_numpy(scores.values)
    # the scores are on the CPU, wherever the model was learned
    model_copy = copy.deepcopy(model).cpu().double()
    links = {}
    for kind, link in model.links.items():
        of_kind = evidence.get(kind)
        links[kind] = type(link).from_dict(link.as_dict())
        if of_kind is not None and len(of_kind) >= ENOUGH:
            links[kind] = _refitted(links[kind], model_copy, values, of_kind)
    return links


def _refitted(
    link: Link, model: ObservationModel, scores: Tensor, evidence: Evidence
) -> Link:
    """Return the link refitted in float64.

    The link stays as it was where the new slope is not positive or a parameter is not finite.
    """
    fresh = copy.deepcopy(link).double().requires_grad_(True)
    start = [p.detach().clone() for p in fresh.parameters()]
    targets = evidence.targets
    if targets.is_floating_point():
        targets = targets.double()
    evidence = replace(evidence, targets=targets)
    optimizer = torch.optim.LBFGS(
        fresh.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        likelihood = model.of_kind(fresh, scores, evidence)
        # a held-out set is small: the prior is worth one judgement at a distance of one
        distances = []
        for p, p0 in zip(fresh.parameters(), start, strict=True):
            distances.append(((p - p0) ** 2).sum())
        prior = torch.stack(distances).sum()
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
    settings: Mapping[str, Any],
    *,
    steps: int,
    judges: Mapping[str, dict[str, Any]] | None = None,
    baseline: RewardModel | None = None,
    anchor: Sequence[Example] | None = None,
) -> RewardModel:
    """Return the reward model of a learned backbone. Saving adds the roundtrip to its contract.

    judges: the estimates of each judge. anchor: the texts whose mean score becomes 0 and standard
    deviation 1; None: the held-out ones. Raises DataError when a score is not finite.
    """
    scores = backbone.score(division.held_out.examples)
    if not np.isfinite(scores.values).all():
        raise DataError(
            "the fitted model gives scores that are not finite; nothing was saved. Lower --lr."
        )
    links = calibrated(observation, scores, division.held_out.evidence)
    reference = anchor_of(scores if anchor is None else backbone.score(anchor))
    sd = reference.sd
    folded = backbone.rescale(reference.mean, sd)
    is_centred = math.isclose(folded, reference.mean, rel_tol=0, abs_tol=_NOTHING * sd)
    reference = replace(reference, centred=is_centred)
    links = {kind: link.rescaled(folded, sd) for kind, link in links.items()}
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
        anchor=reference,
        data={
            "texts": len(division.train),
            "judgements": counts,
            "held_out": len(division.held_out),
            "digest": division.digest,
        },
        judges=dict(judges or {}),
        settings=dict(settings),
        trained_steps=steps,
    )
    texts = (example.text for example in division.train.examples)
    training_fingerprints = np.unique(fingerprints(texts))
    model = RewardModel(
        backbone,
        links,
        contract,
        baseline=baseline,
        training_fingerprints=training_fingerprints,
    )
    measured = evaluate(
        model,
        division.held_out_judgements,
        baseline=baseline,
        training_fingerprints=training_fingerprints,
    ).as_dict()
    if observation.length is not None:
        with_length = WithLength(model, observation.length, sd)
        before = evaluate(
            with_length,
            division.held_out_judgements,
            training_fingerprints=training_fingerprints,
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
