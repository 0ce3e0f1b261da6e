"""The observation model: the probability of judgements given scores.

It holds all that is learned besides the backbone. Links map a score to a judgement. Reliabilities
say how closely each judge follows the score. A length effect absorbs what judgements owe to the
length of texts. A backbone is fitted by maximising this model's log-likelihood.

A fitted backbone is overconfident on its training texts. So `calibrated` fits the links again to
the held-out texts: temperature scaling (Guo et al. 2017) for labels, the same idea for other kinds.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from tastemaker.data.judgements import Judgement
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Likelihood, Link
from tastemaker.kinds.registry import links_from
from tastemaker.reward.corpus import Corpus, Division, Evidence, Links
from tastemaker.reward.judges import JudgeEffects
from tastemaker.scores import Scores

ENOUGH = 30
"""Fewer held-out judgements of a kind than this leave its link as training left it."""

_LENGTH_PULL = 30.0
"""How strongly score and length are held uncorrelated, per text; large enough to leave little,
small enough to fit.
"""

_PRIOR_SCALE = 0.3

_MEMORY = 0.95  # of the covariance of score and length, from step to step


class LengthEffect(nn.Module):
    """The effect of length alone on judgements.

    effect: units of score for one standard deviation of ln(1 + characters).
    """

    covariance: Tensor

    def __init__(self, log_lengths: Tensor) -> None:
        super().__init__()
        self.centre = float(log_lengths.mean())
        self.spread = max(float(log_lengths.std(unbiased=False)), 1e-6)
        self.effect = nn.Parameter(torch.zeros(()))
        self.register_buffer("covariance", torch.zeros(()))

    def standardised(self, log_lengths: Tensor) -> Tensor:
        """Return lengths as distances from the mean in standard deviations."""
        return (log_lengths - self.centre) / self.spread


class ObservationModel(nn.Module):
    """ln P(judgements | scores), and all parameters that are learned beside the backbone."""

    def __init__(
        self,
        links: Mapping[type[Judgement], Link],
        likelihood: Likelihood,
        corpus: Corpus | None = None,
    ) -> None:
        """Set up for the judges and texts of the training corpus; None: links alone."""
        super().__init__()
        self.links = dict(links)
        self.likelihood = likelihood
        self.link = nn.ModuleDict({link.kind: link for link in links.values()})
        judges = corpus.judges if corpus is not None else ()
        self.texts = len(corpus) if corpus is not None else 0
        self.judges = JudgeEffects(tuple(judges)) if judges else None
        control = likelihood.length_control and corpus is not None
        self.length = (
            LengthEffect(corpus.log_lengths) if control and corpus is not None else None
        )

    @classmethod
    def untrained(cls, division: Division) -> "ObservationModel":
        """Return a fresh model of a division's training judgements."""
        links = links_from(division.train_judgements, division.likelihood)
        return cls(links, division.likelihood, division.train)

    def log_likelihood(
        self,
        scores: Tensor,
        evidence: Mapping[type[Judgement], Evidence],
        log_lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the summed log-likelihood of the evidence.

        scores, log_lengths: those of the texts [n].
        """
        if self.length is not None and log_lengths is not None:
            z = self.length.standardised(log_lengths).to(scores.dtype)
            scores = scores + self.length.effect * z
        parts = []
        for kind, of_kind in evidence.items():
            if len(of_kind):
                parts.append(self.of_kind(self.links[kind], scores, of_kind))
        return torch.stack(parts).sum() if parts else scores.sum() * 0

    def of_kind(self, link: Link, scores: Tensor, evidence: Evidence) -> Tensor:
        """Return the summed log-likelihood of one kind's evidence under a link.

        Each judge sees the scores in their own way (`JudgeEffects`).
        """
        judged = scores[evidence.index]  # [m] or [m, K]
        if self.judges is not None and bool((evidence.judge >= 0).any()):
            first = next(iter(self.links.values()))
            unit = link if link.record is first.record else first
            judged = self.judges.applied(judged, evidence.judge, link, unit.slope)
        weight = evidence.weight.to(scores.dtype)
        return (weight * link.log_likelihood(judged, evidence.targets)).sum()

    def penalty(
        self,
        scores: Tensor,
        evidence: Mapping[type[Judgement], Evidence],
        log_lengths: Tensor,
        *,
        whole: bool = True,
    ) -> Tensor:
        """Return the penalties of the settings: for centring and for length control.

        whole: these are all texts. Otherwise the covariance of score and length is averaged over
        steps: that of a few texts is mostly noise, and its square would pull all scores towards 0.
        """
        cost = scores.sum() * 0
        if self.likelihood.centring:
            for of_kind in evidence.values():
                if of_kind.index.ndim == 2:
                    squares = _row_means(scores, of_kind) ** 2
                    cost = cost + self.likelihood.centring * squares.sum()
        if self.length is not None:
            z = self.length.standardised(log_lengths).to(scores.dtype)
            now = _covariance(scores, z, evidence)
            cost = cost + _LENGTH_PULL * len(scores) * self._squared(now, whole=whole)
        if self.judges is not None:
            share = 1.0 if whole else len(scores) / self.texts
            cost = cost - share * self.judges.log_prior()
        return cost

    def _squared(self, now: Tensor, *, whole: bool) -> Tensor:
        """Return the squared covariance, or what has its gradient on average over steps."""
        assert self.length is not None
        if whole:
            return now**2
        remembered = self.length.covariance
        remembered.mul_(_MEMORY).add_((1 - _MEMORY) * now.detach())
        return 2 * remembered.clone() * now


def links_alone(links: Links) -> ObservationModel:
    """Return the observation model of the average judge, without aids to fitting.

    Evaluation uses it.
    """
    copies = {
        kind: type(link).from_dict(link.as_dict()) for kind, link in links.items()
    }
    return ObservationModel(copies, Likelihood())


def _row_means(values: Tensor, evidence: Evidence) -> Tensor:
    """Return the mean over the texts of each judgement [m]."""
    is_text = evidence.is_text  # [m, K]
    return (values[evidence.index] * is_text).sum(1) / is_text.sum(1)


def _covariance(
    scores: Tensor, z: Tensor, evidence: Mapping[type[Judgement], Evidence]
) -> Tensor:
    """Return the covariance of score and length.

    It is within each comparison or ranking, and across the other texts.
    """
    total, count = scores.sum() * 0, 0
    for of_kind in evidence.values():
        if not len(of_kind):
            continue
        s, length = scores[of_kind.index], z[of_kind.index]
        if of_kind.index.ndim == 2:
            is_text = of_kind.is_text
            ds = s - _row_means(scores, of_kind)[:, None]
            total = total + (ds * length * is_text).sum()
            count += int(is_text.sum())
        else:
            total = total + ((s - s.mean()) * length).sum()
            count += len(of_kind)
    return total / max(count, 1)


# --- calibration ---


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
    if model_copy.judges is not None:
        model_copy.judges.leniency.data.copy_(model_copy.judges.unseen_leniency)
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
