"""The observation model: the probability of judgements given scores.

It holds all that is learned besides the backbone. Links map a score to a judgement. Reliabilities
say how closely each judge follows the score. Feature effects absorb what judgements owe to the
length of texts, or to other features of how these are written. A backbone is fitted by maximising
this model's log-likelihood.

A fitted backbone is overconfident on its training texts. So `calibrated` fits the links again to
the held-out texts: temperature scaling (Guo et al. 2017) for labels, the same idea for other kinds.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tastemaker.data.judgements import Judgement
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Likelihood, Link
from tastemaker.kinds.registry import links_from
from tastemaker.reward.corpus import AllEvidence, Corpus, Division, Evidence, Links
from tastemaker.scores import Scores

ENOUGH = 30
"""Fewer held-out judgements of a kind than this leave its link as training left it."""

_CONTROL_PULL = 30.0
"""How strongly score and features are held uncorrelated, per text; large enough to leave little,
small enough to fit.
"""

_PRIOR_SCALE = 0.3

_MEMORY = 0.95  # of the covariances of score and features, from step to step


class Reliabilities(nn.Module):
    """How closely each judge follows the score: 1 fully, 0 not at all, −1 the other way.

    A judge of reliability ρ answers as the average judge would answer texts whose scores lie ρ
    times as far from the neutral one (the discrimination of item response theory). ρ = tanh r, and
    `log_prior` is the prior of r.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        # estimated on unseen texts (`cross_fit`): a fit that learned them would trust all judges
        self.raw = nn.Parameter(torch.ones(len(names)), requires_grad=False)

    def forward(self, judge: Tensor) -> Tensor:
        """Return the reliabilities of judges by number; 1 for no judge (−1)."""
        return torch.where(judge < 0, 1.0, torch.tanh(self.raw)[judge.clamp(min=0)])

    def log_prior(self, *, most_alike: bool) -> Tensor:
        """Return the log-density of the prior of r, less its constant.

        It is Normal(1, 1), a weak prior. With `most_alike` it is Cauchy(1, 0.3): it draws similar
        judges together and hardly moves a judge who is far from them.
        """
        if most_alike:
            return -torch.log1p(((self.raw - 1) / _PRIOR_SCALE) ** 2).sum()
        return -0.5 * ((self.raw - 1) ** 2).sum()


class FeatureEffects(nn.Module):
    """The effects of features of texts on judgements, such as length alone.

    names: of the features. effects: units of score for one standard deviation of each [features].
    """

    covariance: Tensor

    def __init__(self, names: Sequence[str], features: Tensor) -> None:
        """Set up for the features of the training texts [n, features]."""
        super().__init__()
        self.names = tuple(names)
        self.centre = features.double().mean(0)
        spread = features.double().std(0, unbiased=False)
        # what is the same in all training texts has no effect, whatever it is in another text
        self.spread = torch.where(spread > 1e-6, spread, torch.inf)
        self.effects = nn.Parameter(torch.zeros(len(self.names)))
        self.register_buffer("covariance", torch.zeros(len(self.names)))

    def standardised(self, features: Tensor) -> Tensor:
        """Return features as distances from the mean in standard deviations."""
        centre, spread = self.centre.to(features), self.spread.to(features)
        return (features - centre) / spread

    def total(self, features: Tensor) -> Tensor:
        """Return what the features of texts [n, features] add to their scores [n]."""
        z = self.standardised(features)
        return z @ self.effects.to(z.dtype)


class ObservationModel(nn.Module):
    """ln P(judgements | scores), and all parameters that are learned beside the backbone."""

    def __init__(
        self,
        links: Links,
        likelihood: Likelihood,
        corpus: Corpus | None = None,
    ) -> None:
        """Set up for the judges and texts of the training corpus; None: links alone."""
        super().__init__()
        self.links = dict(links)
        self.likelihood = likelihood
        self.link = nn.ModuleDict({link.kind: link for link in links.values()})
        judges = corpus.judges if corpus is not None else ()
        self.reliabilities = Reliabilities(judges) if judges else None
        self.control: FeatureEffects | None = None
        names = likelihood.controlled
        if names and corpus is not None:
            self.control = FeatureEffects(names, corpus.features(names))

    @classmethod
    def untrained(cls, division: Division) -> "ObservationModel":
        """Return a fresh model of a division's training judgements."""
        links = links_from(division.train_judgements, division.likelihood)
        return cls(links, division.likelihood, division.train)

    def log_likelihood(
        self,
        scores: Tensor,
        evidence: AllEvidence,
        features: Tensor | None = None,
    ) -> Tensor:
        """Return the summed log-likelihood of the evidence.

        scores: of the texts [n]. features: the controlled ones of the texts [n, features].
        """
        if self.control is not None and features is not None:
            scores = scores + self.control.total(features.to(scores.dtype))
        parts = []
        for kind, of_kind in evidence.items():
            if len(of_kind):
                parts.append(self.of_kind(self.links[kind], scores, of_kind))
        return torch.stack(parts).sum() if parts else scores.sum() * 0

    def of_kind(self, link: Link, scores: Tensor, evidence: Evidence) -> Tensor:
        """Return the summed log-likelihood of one kind's evidence under a link.

        A judge's reliability scales the distance of the scores from the neutral one.
        """
        judged = scores[evidence.index]  # [m] or [m, K]
        if self.reliabilities is not None and bool((evidence.judge >= 0).any()):
            neutral = link.neutral()
            reliability = self.reliabilities(evidence.judge)
            if judged.ndim == 2:
                reliability = reliability[:, None]
            judged = neutral + reliability * (judged - neutral)
        weight = evidence.weight.to(scores.dtype)
        return (weight * link.log_likelihood(judged, evidence.targets)).sum()

    def penalty(
        self,
        scores: Tensor,
        evidence: AllEvidence,
        features: Tensor | None = None,
        *,
        whole: bool = True,
    ) -> Tensor:
        """Return the penalties of the settings: for centring and for controlled features.

        features: the controlled ones of the texts [n, features]. whole: these are all texts.
        Otherwise the covariances of score and features are averaged over steps: those of a few
        texts are mostly noise, and their squares would pull all scores towards 0.
        """
        cost = scores.sum() * 0
        if self.likelihood.centring:
            for of_kind in evidence.values():
                if of_kind.index.ndim == 2:
                    squares = _row_means(scores, of_kind) ** 2
                    cost = cost + self.likelihood.centring * squares.sum()
        if self.control is not None and features is not None:
            z = self.control.standardised(features.to(scores.dtype))
            covariance = _covariance(scores, z, evidence)
            squared = self._squared(covariance, whole=whole).sum()
            cost = cost + _CONTROL_PULL * len(scores) * squared
        return cost

    def _squared(self, covariance: Tensor, *, whole: bool) -> Tensor:
        """Return squared covariances, or values with their gradients on average over steps."""
        assert self.control is not None
        if whole:
            return covariance**2
        average = self.control.covariance
        average.mul_(_MEMORY).add_((1 - _MEMORY) * covariance.detach())
        return 2 * average.clone() * covariance


def links_alone(links: Links) -> ObservationModel:
    """Return the observation model of the average judge, without aids to fitting.

    Evaluation uses it.
    """
    copies = {}
    for kind, link in links.items():
        copies[kind] = type(link).from_dict(link.as_dict())
    return ObservationModel(copies, Likelihood())


def _row_means(values: Tensor, evidence: Evidence) -> Tensor:
    """Return the mean over the texts of each judgement [m]."""
    is_text = evidence.is_text  # [m, K]
    return (values[evidence.index] * is_text).sum(1) / is_text.sum(1)


def _covariance(scores: Tensor, z: Tensor, evidence: AllEvidence) -> Tensor:
    """Return the covariance of the score and each standardised feature z [n, features].

    It is within each comparison or ranking, and across the other texts.
    """
    total, count = scores.sum() * z[:0].sum(0), 0
    for of_kind in evidence.values():
        if not len(of_kind):
            continue
        s, feature = scores[of_kind.index], z[of_kind.index]
        if of_kind.index.ndim == 2:
            is_text = of_kind.is_text
            ds = s - _row_means(scores, of_kind)[:, None]
            total = total + ((ds * is_text)[:, :, None] * feature).sum((0, 1))
            count += int(is_text.sum())
        else:
            total = total + (s - s.mean()) @ feature
            count += len(of_kind)
    return total / max(count, 1)


# --- calibration ---


def calibrated(
    model: ObservationModel,
    scores: Scores,
    evidence: AllEvidence,
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
