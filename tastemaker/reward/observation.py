"""The observation model: how judgements arise from scores, with everything that is learned besides
the backbone.

Links say what a score means to a judge, reliabilities how closely each judge follows the score, and
a length effect takes up what the judgements owe to the texts' length. A backbone is fitted by
raising this model's log-likelihood.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tastemaker.data.judgements import Judgement
from tastemaker.kinds.base import Likelihood, Link
from tastemaker.reward.corpus import Corpus, Evidence, Links

_LENGTH_PULL = 30.0
"""How strongly score and length are held uncorrelated, per text; large enough to leave little,
small enough to fit.
"""

_PRIOR_SCALE = 0.3

_MEMORY = 0.95  # of the covariance of score and length, from step to step


class Reliabilities(nn.Module):
    """How closely each judge follows the score: 1 as closely as anybody, 0 not at all, −1 turned
    around.

    A judge of reliability ρ answers as the average judge would answer texts whose scores lie ρ
    times as far from the neutral one (the discrimination of item response theory). ρ = tanh r;
    `log_prior` says what is believed of r before.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        # found on texts that a fit has not seen (`crossfit.py`): a fit that learned them would
        # explain everybody
        self.raw = nn.Parameter(torch.ones(len(names)), requires_grad=False)

    def forward(self, judge: Tensor) -> Tensor:
        """Return the reliabilities of judges by number; 1 for nobody known (−1)."""
        return torch.where(judge < 0, 1.0, torch.tanh(self.raw)[judge.clamp(min=0)])

    def log_prior(self, *, most_alike: bool) -> Tensor:
        """Return the log-density of the prior of r, less its constant.

        Normal(1, 1), which lets everybody be found wherever they are; or, with `most_alike`,
        Cauchy(1, 0.3): judges who are like the others are drawn together, and whoever has been
        found far from them is hardly held back.
        """
        if most_alike:
            return -torch.log1p(((self.raw - 1) / _PRIOR_SCALE) ** 2).sum()
        return -0.5 * ((self.raw - 1) ** 2).sum()


class LengthEffect(nn.Module):
    """What judgements owe to length alone: `effect` units of score for one standard deviation of
    ln(1 + characters).
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
        self.reliabilities = Reliabilities(judges) if judges else None
        control = likelihood.length_control and corpus is not None
        self.length = (
            LengthEffect(corpus.log_lengths) if control and corpus is not None else None
        )

    def log_likelihood(
        self,
        scores: Tensor,
        evidence: Mapping[type[Judgement], Evidence],
        log_lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the summed log-likelihood of the evidence, given scores [n] and log-lengths [n] of
        its texts.
        """
        if self.length is not None and log_lengths is not None:
            scores = scores + self.length.effect * self.length.standardised(
                log_lengths
            ).to(scores.dtype)
        parts = [
            self.of_kind(self.links[kind], scores, found)
            for kind, found in evidence.items()
            if len(found)
        ]
        return torch.stack(parts).sum() if parts else scores.sum() * 0

    def of_kind(self, link: Link, scores: Tensor, found: Evidence) -> Tensor:
        """Return the summed log-likelihood of one kind's evidence under a link, as each judge sees
        the scores.
        """
        seen = scores[found.index]
        if self.reliabilities is not None and bool((found.judge >= 0).any()):
            reliability, neutral = self.reliabilities(found.judge), link.neutral()
            seen = neutral + (
                reliability[:, None] if seen.ndim == 2 else reliability
            ) * (seen - neutral)
        return (
            found.weight.to(scores.dtype) * link.log_likelihood(seen, found.targets)
        ).sum()

    def penalty(
        self,
        scores: Tensor,
        evidence: Mapping[type[Judgement], Evidence],
        log_lengths: Tensor,
        *,
        whole: bool = True,
    ) -> Tensor:
        """Return what the settings ask for besides the likelihood.

        whole: these are all texts; otherwise the covariance of score and length is remembered from
        step to step, for that of a few texts alone would be mostly noise, and its square a pull of
        all scores towards 0.
        """
        cost = scores.sum() * 0
        if self.likelihood.centring:
            for found in evidence.values():
                if found.index.ndim == 2:
                    cost = (
                        cost
                        + self.likelihood.centring
                        * (_row_means(scores, found) ** 2).sum()
                    )
        if self.length is not None:
            now = _covariance(
                scores, self.length.standardised(log_lengths).to(scores.dtype), evidence
            )
            cost = cost + _LENGTH_PULL * len(scores) * self._squared(now, whole=whole)
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
    """Return the observation model of the average judge, without any aid to fitting: what
    evaluation uses.
    """
    return ObservationModel(
        {k: type(link).from_dict(link.as_dict()) for k, link in links.items()},
        Likelihood(),
    )


def _row_means(values: Tensor, found: Evidence) -> Tensor:
    """Return the mean over the texts of each judgement [m]."""
    return (values[found.index] * found.is_text).sum(1) / found.is_text.sum(1)


def _covariance(
    scores: Tensor, z: Tensor, evidence: Mapping[type[Judgement], Evidence]
) -> Tensor:
    """Return the covariance of score and length: within each comparison or ranking, and across the
    other texts.
    """
    total, count = scores.sum() * 0, 0
    for found in evidence.values():
        if not len(found):
            continue
        if found.index.ndim == 2:
            ds = scores[found.index] - _row_means(scores, found)[:, None]
            total = total + (ds * z[found.index] * found.is_text).sum()
            count += int(found.is_text.sum())
        else:
            s, length = scores[found.index], z[found.index]
            total = total + ((s - s.mean()) * length).sum()
            count += len(found)
    return total / max(count, 1)
