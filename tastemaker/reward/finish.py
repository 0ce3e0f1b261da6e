"""The last steps of every fit: calibrate the links, anchor the score, measure the held-out judgements, say it all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tastemaker.data.judgements import TEMPLATE, Example, fingerprints
from tastemaker.errors import DataError
from tastemaker.evaluate.evaluation import evaluate
from tastemaker.reward.backbones import Backbone
from tastemaker.reward.calibration import anchor_of, calibrated
from tastemaker.reward.contract import Contract
from tastemaker.reward.division import Division
from tastemaker.reward.model import RewardModel, link_values
from tastemaker.reward.observation import LengthEffect, ObservationModel
from tastemaker.scores import Scores

_NOTHING = 1e-6  # standard deviations: members of an ensemble round their offsets


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
    """Return the reward model of a learned backbone, its contract complete but for the proof that saving adds.

    judges: what is known of each judge. anchor: the texts whose mean score becomes 0 and standard deviation 1; None:
    the held-out ones. Raises DataError when a score is not finite.
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
        found, centred=math.isclose(folded, found.mean, rel_tol=0, abs_tol=_NOTHING * found.sd)
    )
    links = {kind: link.rescaled(folded, found.sd) for kind, link in links.items()}
    counts = {link.kind: len(division.train.evidence[kind]) for kind, link in links.items()}
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
    model = RewardModel(backbone, links, contract, baseline=baseline, training_fingerprints=seen)
    measured = evaluate(
        model, division.held_out_judgements, baseline=baseline, training_fingerprints=seen
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
    """A model before length control: its score with what the judgements owe to length added back."""

    def __init__(self, model: RewardModel, length: LengthEffect, unit: float) -> None:
        self.model, self.length, self.links = model, length, model.links
        self.effect = float(length.effect.detach()) / unit

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Score the examples, in their order."""
        scores = self.model.score_all(examples)
        lengths = torch.tensor([len(e.text) for e in examples], dtype=torch.float64).log1p()
        more = self.effect * self.length.standardised(lengths).numpy()
        return Scores(scores.values + more, scores.truncated)
