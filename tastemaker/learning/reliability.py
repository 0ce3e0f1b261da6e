"""How reliable each judge is, found on texts that the fit behind it has not seen.

A fit that learned reliabilities beside its weights would explain careless judges as well as careful ones: it has more
weights than texts. So the linear backbone is fitted on two thirds of the units and scores the last third, for each
third; on those scores the links and all reliabilities are fitted together. That is done twice, the second time with
the judges believed accordingly, and a third time with the prior that most of them are alike. The fit that follows,
linear or network, takes them as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.fingerprints import lot
from tastemaker.learning.convex import fit_linear
from tastemaker.learning.corpus import Corpus
from tastemaker.learning.division import Division
from tastemaker.learning.observation import ObservationModel, Reliabilities, one_thread
from tastemaker.models.backbones.linear import Linear

FOLDS = 3
_INTERVAL = 1.96
_STEP = 1e-3  # of the difference that measures curvature


@dataclass(frozen=True)
class Judges:
    """What was found about each judge: raw [judges], ρ = tanh(raw); sd of raw [judges]; how many judgements each."""

    names: tuple[str, ...]
    raw: Tensor
    sd: Tensor
    judgements: Tensor

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return by name: reliability, its 95 % interval, and the number of judgements it rests on.

        The interval is that of the Normal approximation to the posterior given the scores; that these are uncertain
        themselves is not in it.
        """
        ends = torch.stack([self.raw, self.raw - _INTERVAL * self.sd, self.raw + _INTERVAL * self.sd])
        rows = zip(self.names, torch.tanh(ends).T.tolist(), self.judgements.tolist(), strict=True)
        return {
            name: {"reliability": value, "interval": [low, high], "judgements": int(n)}
            for name, (value, low, high), n in rows
        }


def find_judges(division: Division, seed: int = 0) -> Judges | None:
    """Return how reliable the training judgements' judges are; None where that is not to be learned."""
    corpus, fresh_model = division.train, division.fresh_model
    if not corpus.judges:
        return None
    units = corpus.units
    names = [min(corpus.examples[text].text for text in unit.texts) for unit in units]  # no row order in them
    folds = np.array([lot(seed, "fold", name) % FOLDS for name in names])
    raw = torch.ones(len(corpus.judges))
    for most_alike in (False, False, True):
        scores = _scores_unseen(corpus, fresh_model, folds, raw)
        raw, sd = _fitted(corpus, believing(fresh_model(), raw), scores, most_alike=most_alike)
    made = torch.cat([found.judge[found.judge >= 0] for found in corpus.evidence.values()])
    return Judges(corpus.judges, raw, sd, torch.bincount(made, minlength=len(corpus.judges)))


def _scores_unseen(
    corpus: Corpus, fresh_model: Callable[[], ObservationModel], folds: np.ndarray, raw: Tensor
) -> Tensor:
    """Return the score of every text [n], by a fit on the other folds, believing judges as `raw` says."""
    units, scores = corpus.units, torch.zeros(len(corpus), dtype=torch.float64)
    for fold in range(FOLDS):
        model = believing(fresh_model(), raw)
        seen = corpus.subset([unit for unit, at in zip(units, folds, strict=True) if at != fold])
        backbone = fit_linear(seen, model, Linear())
        texts = sorted({text for unit, at in zip(units, folds, strict=True) if at == fold for text in unit.texts})
        scores[texts] = torch.from_numpy(backbone.score([corpus.examples[i] for i in texts]).values)
    return scores


def believing(model: ObservationModel, raw: Tensor) -> ObservationModel:
    """Return the observation model with its judges' reliabilities set."""
    assert isinstance(model.reliabilities, Reliabilities)
    model.reliabilities.raw.data.copy_(raw)
    return model


def _fitted(corpus: Corpus, model: ObservationModel, scores: Tensor, *, most_alike: bool) -> tuple[Tensor, Tensor]:
    """Return raw reliabilities and their standard deviations, fitted with the links to given scores, in float64.

    The search begins at what the model believes of its judges.
    """
    model = model.double().requires_grad_(True)
    assert isinstance(model.reliabilities, Reliabilities)
    model.length = None  # scores of a controlled fit carry no length; what is left of it is noise to every judge
    raw, reliabilities = model.reliabilities.raw, model.reliabilities
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def negative_posterior() -> Tensor:
        return -(model.log_likelihood(scores, corpus.evidence) + reliabilities.log_prior(most_alike=most_alike))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = negative_posterior() / len(corpus)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with one_thread():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    found = raw.detach().clone()

    def slope_at(step: float) -> Tensor:
        raw.data.copy_(found + step)
        return torch.autograd.grad(negative_posterior(), raw)[0]

    # no judgement has two judges, so all reliabilities may be moved at once
    curvature = (slope_at(_STEP) - slope_at(-_STEP)) / (2 * _STEP)
    return found.float(), (1 / curvature.clamp(min=1.0).sqrt()).float()
