"""The reliabilities of judges, for a check of data: what `fit` learns about them."""

from collections.abc import Sequence
from typing import Any

from tastemaker.data.judgements import Judgement
from tastemaker.errors import DataError
from tastemaker.kinds.base import Likelihood
from tastemaker.reward.cross_fitting import cross_fit
from tastemaker.reward.division import divide
from tastemaker.reward.judges import judge_rows


def check_judges(
    judgements: Sequence[Judgement], *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return each judge's reliability and its interval, from cross-fitted linear scores.

    {} for fewer than two named judges, and for data that cannot be fitted.
    """
    names = {judgement.judge for judgement in judgements}
    if len(names - {None}) < 2:
        return {}
    try:
        division = divide(
            judgements, None, Likelihood(), seed, validates=False
        )
        estimates = cross_fit(division, seed)
    # the other checks name what is wrong with such data
    except DataError:
        return {}
    return judge_rows(estimates.judges, None)
