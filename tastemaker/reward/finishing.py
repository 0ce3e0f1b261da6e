"""What follows the training of a reward model: calibrate the links, anchor the score, measure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tastemaker.costs import stage
from tastemaker.data.judgements import (
    TEMPLATE,
    Example,
    Judgement,
    fingerprints,
)
from tastemaker.errors import DataError
from tastemaker.evaluate.evaluation import evaluate
from tastemaker.evaluate.findings import Evaluation
from tastemaker.kinds.base import Link
from tastemaker.reward.backbones import Backbone
from tastemaker.reward.contract import Anchor, Contract, anchored
from tastemaker.reward.cross_fitting import CrossFit
from tastemaker.reward.division import Division
from tastemaker.reward.judges import judge_rows, judge_summary
from tastemaker.reward.model import RewardModel, link_values
from tastemaker.reward.observation import (
    ObservationModel,
    Uncontrolled,
    calibrated,
)
from tastemaker.scores import Scores

# with fewer held-out texts, whose scores may be nearly equal, all texts set the score's scale
_FEWEST_REFERENCES = 5


def _calibrated_links(
    backbone: Backbone,
    observation: ObservationModel,
    division: Division,
    unseen: Scores | None,
) -> dict[type[Judgement], Link]:
    """Return the links, calibrated on cross-fitted scores or on the validation part.

    Where the judgements do not order texts, they are the links of base rates.
    """
    if not division.orders_texts:
        return dict(observation.links)
    if unseen is not None:
        evidence = division.train.evidence
        return calibrated(observation, unseen, evidence, are_cross_fitted=True)
    scores = backbone.score(division.validation.examples)
    return calibrated(observation, scores, division.validation.evidence)


def _anchored(
    backbone: Backbone,
    division: Division,
    scores: Scores,
    anchor: Sequence[Example] | None,
) -> tuple[Anchor, float]:
    """Fold the unit of the score into a backbone; return the anchor and the offset folded.

    scores: of the held-out texts.
    """
    if anchor is None and len(scores) < _FEWEST_REFERENCES:
        anchor = [*division.held_out.examples, *division.train.examples]
    return anchored(
        backbone, scores if anchor is None else backbone.score(anchor)
    )


def measure_held_out(
    model: RewardModel, judgements: Sequence[Judgement]
) -> Evaluation:
    """Evaluate a fitted model on its held-out judgements; the model keeps the evaluation."""
    model.held_out_evaluation = evaluate(
        model,
        judgements,
        baseline=model.baseline,
        training_fingerprints=model.training_fingerprints,
        training_sketches=model.training_sketches,
    )
    return model.held_out_evaluation


@stage("calibrating and measuring")
def finish(
    backbone: Backbone,
    observation: ObservationModel,
    division: Division,
    settings: Mapping[str, Any],
    *,
    steps: int,
    estimates: CrossFit,
    baseline: RewardModel | None = None,
    anchor: Sequence[Example] | None = None,
    unseen: Scores | None = None,
) -> RewardModel:
    """Return the reward model of a learned backbone. Saving adds the roundtrip to its contract.

    estimates: what was learned about judges. anchor: the texts whose mean score becomes 0 and
    standard deviation 1; None: the held-out ones, all texts where these are fewer than five. A
    trained head that goes on keeps the scale that it has, unless there is an anchor.
    unseen: scores of the training texts from fits without them, to calibrate on; None: the
    validation part. Raises DataError when a score is not finite.
    """
    scores = backbone.score(division.held_out.examples)
    if not np.isfinite(scores.values).all():
        raise DataError(
            "the fitted model gives scores that are not finite; nothing was saved. Lower --lr."
        )
    links = _calibrated_links(backbone, observation, division, unseen)
    has_new_head = getattr(backbone, "has_new_head", True)
    reference, sd = None, 1.0
    if anchor is not None or has_new_head:
        reference, folded = _anchored(backbone, division, scores, anchor)
        sd = reference.sd
        links = {
            kind: link.rescaled(folded, sd) for kind, link in links.items()
        }
    data = division.as_dict()
    if backbone.kind == "network":
        data["head"] = "new" if has_new_head else "kept"
    contract = Contract(
        backbone=backbone.kind,
        template=getattr(backbone, "template", TEMPLATE),
        links=link_values(links),
        max_length=getattr(backbone, "max_length", None),
        cut=getattr(backbone, "cut", None),
        pooling=getattr(backbone, "pooling", None),
        anchor=reference,
        data=data,
        judges=judge_rows(estimates.judges, estimates.comparing),
        judge_model=judge_summary(estimates.judges, estimates.comparing),
        settings=dict(settings),
        trained_steps=steps,
    )
    texts = (example.text for example in division.train.examples)
    training_fingerprints = np.unique(fingerprints(texts))
    training: dict[str, Any] = {
        "baseline": baseline,
        "training_fingerprints": training_fingerprints,
        "training_sketches": division.training_sketches,
    }
    model = RewardModel(backbone, links, contract, **training)
    evaluation = measure_held_out(model, division.held_out_judgements)
    measured = evaluation.as_dict()
    if observation.control is not None:
        uncontrolled = Uncontrolled(model, observation.control, sd)
        before = evaluate(
            uncontrolled,
            division.held_out_judgements,
            training_fingerprints=training_fingerprints,
        ).as_dict()
        measured["control"] = {
            "features": uncontrolled.figures(division.held_out.examples),
            "before": before,
        }
    model.contract = replace(contract, evaluation=measured)
    return model
