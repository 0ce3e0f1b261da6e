"""The likelihood's settings: every value that cannot be is refused in one line that names it."""

import math
from typing import Any

import pytest

from tastemaker.errors import UsageError
from tastemaker.kinds import LINKS, NO_AIDS, Likelihood


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"weights": {"lable": 1.0}},
            r"a weight for 'lable': .* label, grade, rating, comparison, ranking\.",
        ),
        (
            {"weights": {"label": -1.0}},
            r"the weight of labels is -1\.0; .* finite number of 0 or more",
        ),
        ({"weights": 2}, "weights 2"),
        ({"weights": {"grade": "two"}}, "the weight of grades is two"),
        ({"weights": {"grade": math.nan}}, r"weight.*\bgrades\b.*\bnan\b"),
        (
            {"weights": {"label": 1.0, "ranking": math.inf}},
            r"weight.*\brankings\b.*\binf\b",
        ),
        ({"ranking": "plackett"}, r"ranking 'plackett'.*plackett-luce, pairs"),
        ({"rating": "laplace"}, r"rating 'laplace'.*normal, huber"),
        ({"margin": -0.1}, r"margin -0\.1"),
        ({"margin": math.inf}, "margin inf"),
        ({"centring": -1.0}, r"centring -1\.0"),
        ({"centring": math.nan}, "centring nan"),
        ({"smoothing": -0.01}, r"smoothing -0\.01"),
        ({"smoothing": 0.5}, r"smoothing 0\.5"),
        ({"smoothing": math.nan}, "smoothing nan"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(
    setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        Likelihood(**setting)
    assert "\n" not in str(error.value)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'smooth': did you mean smoothing\?"):
        Likelihood(smooth=0.1)  # type: ignore[call-arg]


def test_the_ends_of_every_range_are_fine() -> None:
    lowest = Likelihood(
        weights=dict.fromkeys((kind.kind for kind in LINKS), 0.0),
        margin=0.0,
        centring=0.0,
        smoothing=0.0,
    )
    assert dict(lowest.weights) == {
        "label": 0,
        "grade": 0,
        "rating": 0,
        "comparison": 0,
        "ranking": 0,
    }
    assert (lowest.margin, lowest.centring, lowest.smoothing) == (0, 0, 0)
    highest = Likelihood(
        weights=dict.fromkeys((kind.kind for kind in LINKS), 1e6),
        margin=1e6,
        centring=1e6,
        smoothing=0.499,
    )
    assert dict(highest.weights) == dict.fromkeys((kind.kind for kind in LINKS), 1e6)
    assert (highest.margin, highest.centring, highest.smoothing) == (1e6, 1e6, 0.499)


def test_the_defaults_believe_every_kind_as_it_is() -> None:
    default = Likelihood()
    assert (dict(default.weights), default.judges, default.ties) == ({}, None, True)
    assert (default.smoothing, default.centring, default.control) == (
        0,
        0,
        "",
    )
    assert Likelihood(margin=0.0) == NO_AIDS
