"""Links and anchor from held-out scores, after the backbone is fitted.

A fitted backbone is surer of its training texts than of new ones, so its links are fitted again on texts that it never
saw: temperature scaling (Guo et al. 2017) for labels, and the same idea for every other kind.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import Judgement
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Link
from tastemaker.reward.contract import Anchor
from tastemaker.reward.corpus import Evidence
from tastemaker.reward.observation import ObservationModel
from tastemaker.scores import Scores

ENOUGH = 30
"""Fewer held-out judgements of a kind than this leave its link as training left it."""


def calibrated(
    model: ObservationModel, scores: Scores, evidence: Mapping[type[Judgement], Evidence]
) -> dict[type[Judgement], Link]:
    """Return links that make the held-out judgements most likely, given the scores of the held-out texts.

    Judges keep the reliability that training found; aids to fitting (smoothing, margins) are off.
    """
    values = torch.from_numpy(scores.values)
    alone = copy.deepcopy(model).cpu().double()  # beside the scores, wherever the model was learned
    answer = {}
    for kind, link in model.links.items():
        found = evidence.get(kind)
        plain = type(link).from_dict(link.as_dict())
        enough = found is not None and len(found) >= ENOUGH
        answer[kind] = (
            _refitted(plain, alone, values, found) if found is not None and enough else plain
        )
    return answer


def _refitted(link: Link, model: ObservationModel, scores: Tensor, evidence: Evidence) -> Link:
    """Return the link refitted in float64, or as it was where the refit turns the score around or is not finite."""
    fresh = copy.deepcopy(link).double().requires_grad_(True)
    start = [p.detach().clone() for p in fresh.parameters()]
    targets = (
        evidence.targets.double() if evidence.targets.is_floating_point() else evidence.targets
    )
    found = replace(evidence, targets=targets)
    optimizer = torch.optim.LBFGS(fresh.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        likelihood = model.of_kind(fresh, scores, found)
        # a held-out set is small: the prior is worth one judgement at a distance of one
        prior = torch.stack(
            [((p - p0) ** 2).sum() for p, p0 in zip(fresh.parameters(), start, strict=True)]
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
