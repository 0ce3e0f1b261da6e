"""Reward over-optimisation: gold score as a function of KL (Gao et al. 2023).

With d = √KL from the start, in √nats, the gain over the start is R(d) = d(α − β ln d) where a
policy learned, and R(d) = d(α − βd) where the best of n was taken. α is how fast it rises, β how
soon it bends; both forms are straight in α and β, so that a fit is one least-squares problem and
has one answer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tastemaker.errors import UsageError
from tastemaker.maths.statistics import Floats

_FEWEST = 3
"""KLs that a curve of two numbers is fitted to, at least: two lie on one whatever they are."""
_LARGEST_LOG = 300.0


@dataclass(frozen=True)
class Form:
    """A form of the curve, R(d) = d(α − β·bend(d)). turn: α and β > 0 → the d of its peak."""

    formula: str
    bend: Callable[[Floats], Floats]
    turn: Callable[[float, float], float]


def _log(d: Floats) -> Floats:
    """Return ln d, 0 where d is 0: there d ln d is 0 too."""
    return np.log(d, out=np.zeros_like(d), where=d > 0)


def _turn_of_learned(alpha: float, beta: float) -> float:
    """Return exp(α/β − 1), where α − β ln d − β = 0; infinity beyond what a float holds."""
    power = alpha / beta - 1
    return math.exp(power) if power < _LARGEST_LOG else math.inf


LEARNED = Form("d(α − β ln d)", _log, _turn_of_learned)
BEST_OF = Form(
    "d(α − β d)", lambda d: d, lambda alpha, beta: alpha / (2 * beta)
)


@dataclass(frozen=True)
class Fitted:
    """A curve that was fitted to some points.

    alpha, beta: a gain for each √nat. r_squared: 1 − squares left over / squares about the mean
    gain, NaN where the gains do not vary. points: that it rests on. least, most: their KLs above 0,
    nats.
    """

    form: Form
    alpha: float
    beta: float
    r_squared: float
    points: int
    least: float
    most: float

    def gain(self, kl: ArrayLike) -> Floats:
        """Return the gains over the start at some KLs (nats)."""
        d = np.sqrt(np.maximum(np.asarray(kl, dtype=np.float64), 0))
        return d * (self.alpha - self.beta * self.form.bend(d))

    @property
    def peak(self) -> float | None:
        """The KL at the peak, nats; None where the curve never falls or the peak is too far out."""
        if self.beta <= 0:
            return None
        d = self.form.turn(self.alpha, self.beta)
        return d * d if d > 0 and math.isfinite(d * d) else None

    @property
    def has_peak_in_data(self) -> bool:
        """Whether the peak lies within the KLs that the fit rests on, and not beyond them."""
        return self.peak is not None and self.least <= self.peak <= self.most


def fitted(form: Form, kl: ArrayLike, gains: ArrayLike) -> Fitted | None:
    """Fit a form to gains over the start at some KLs (nats), by least squares.

    A KL below 0, as an estimate may be, counts as 0. None for fewer than three different KLs above
    0.
    """
    nats = np.maximum(np.asarray(kl, dtype=np.float64), 0)
    gain = np.asarray(gains, dtype=np.float64)
    above = np.unique(nats[nats > 0])
    if len(above) < _FEWEST:
        return None
    d = np.sqrt(nats)
    columns = np.stack([d, -d * form.bend(d)], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(columns, gain, rcond=None)
    residuals = gain - d * (alpha - beta * form.bend(d))
    left_over = float((residuals**2).sum())
    about_mean = float(((gain - gain.mean()) ** 2).sum())
    r_squared = 1 - left_over / about_mean if about_mean > 0 else math.nan
    return Fitted(
        form,
        float(alpha),
        float(beta),
        r_squared,
        len(nats),
        float(above[0]),
        float(above[-1]),
    )


def best_of_kl(n: int) -> float:
    """Return the KL of the best of n from the policy that wrote them, ln n − (n − 1)/n, nats.

    Exact where no two completions score alike, more than the truth otherwise (Beirami et al. 2024).
    Raises UsageError for n below 1.
    """
    if n < 1:
        raise UsageError(f"best of {n}: ask for 1 or more.")
    return math.log(n) - (n - 1) / n


def expected_best(proxy: ArrayLike, values: ArrayLike, n: int) -> float:
    """Return the mean value of the completion that the proxy prefers among n.

    The mean is over all choices of n among N completions.

    proxy, values: [N]. The i-th by proxy is the best of C(i − 1, n − 1) of the C(N, n) choices, and
    so the estimate is without bias for n new completions. Completions of equal proxy are as likely
    to be chosen as each other. Raises UsageError for n below 1 or above N.
    """
    by = np.asarray(proxy, dtype=np.float64)
    worth = np.asarray(values, dtype=np.float64)
    if not 1 <= n <= len(by):
        raise UsageError(
            f"best of {n} among {len(by)} completions: n must be at least 1 and at most that."
        )
    i = np.arange(2, len(by) + 1)
    # C(i − 2, n − 1) = C(i − 1, n − 1) · (i − n)/(i − 1):
    # from the last weight, n/N, down to the first
    factors = np.maximum(i - n, 0) / (i - 1)
    falling = np.cumprod(np.append(n / len(by), factors[::-1]))[::-1]
    _, alike = np.unique(by, return_inverse=True)
    place = np.argsort(np.argsort(by, kind="stable"))
    totals = np.bincount(alike, falling[place])
    shares = totals / np.bincount(alike)  # equal proxies share their weights
    return float(shares[alike] @ worth)
