"""The frontier: reading runs, fits, verdicts, and a page that is safe with hostile texts."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from courses import KLS, SETTINGS, STEPS, best_of, curve, steered
from pages import MARK, Page, marks

from tastemaker.errors import DataError, UsageError
from tastemaker.report import frontier, frontier_html, powers_of_two, write_frontier


def test_the_curve_of_a_run_is_recovered_with_its_peak(tmp_path):
    # gold = 5 + d(2 − ln d): peak at d = e, KL e² = 7.39, gain e
    result = frontier([steered(tmp_path / "run-1", gold=5 + curve(2, 1))])
    fit = result.as_dict()["runs"][0]["fits"]["gold"]
    assert (fit["alpha"], fit["beta"], fit["r_squared"]) == pytest.approx((2, 1, 1))
    assert (fit["peak_kl"], fit["peak_gain"]) == pytest.approx((math.e**2, math.e))
    assert fit["peak_seen"]


def test_over_optimisation_is_named_where_gold_turns_and_the_score_does_not(tmp_path):
    (course,) = frontier([steered(tmp_path / "a", gold=5 + curve(2, 1))]).courses
    assert course.verdict.name == "over-optimised"
    assert 4 < course.verdict.turn < 12
    assert "kept rising" in str(course.verdict)
    assert "peak at 7.4 nats" in str(course.verdict)


def test_what_goes_on_rising_shows_no_sign(tmp_path):
    (course,) = frontier([steered(tmp_path / "a", gold=5 + curve(1, 0.05))]).courses
    assert course.verdict.name == "real gain"
    assert "no peak within the data" in str(course.verdict)


def test_a_score_that_gold_does_not_follow_is_not_real(tmp_path):
    # gold of every step is 5 ± 0.1 by turns: every second difference is ±0.4, which is noise of
    # 0.24
    flat = 5 + 0.1 * (-1.0) ** np.arange(STEPS)
    (course,) = frontier([steered(tmp_path / "a", gold=flat)]).courses
    assert course.verdict.name == "not real"


def test_a_run_that_falls_with_its_score_came_apart(tmp_path):
    falling = curve(2, 1)
    (course,) = frontier(
        [steered(tmp_path / "a", score=falling, gold=5 + 2 * falling)]
    ).courses
    assert course.verdict.name == "collapsed"


def test_what_cannot_be_judged_is_not(tmp_path):
    blind = steered(tmp_path / "blind")
    its_own = steered(tmp_path / "own", score=5 + curve(1, 0.1), gold=5 + curve(1, 0.1))
    short = steered(
        tmp_path / "short",
        kl=KLS[:5],
        score=curve(1, 0, KLS[:5]),
        gold=curve(1, 0, KLS[:5]) * 2,
    )
    judged = frontier([blind, its_own, short])
    assert [c.verdict.name for c in judged.courses] == [
        "unknown",
        "steered by truth",
        "too short",
    ]
    assert any("blind" in note for note in judged.notes)


def test_a_held_out_score_is_believed_less(tmp_path):
    (course,) = frontier([steered(tmp_path / "a", held_out=2 * curve(1, 0.05))]).courses
    assert "held-out score is a model's" in str(course.verdict)


def test_unlike_runs_are_said_to_be(tmp_path):
    one = steered(tmp_path / "one", gold=5 + curve(1, 0.1))
    two = steered(
        tmp_path / "two",
        gold=5 + curve(1, 0.1),
        settings=SETTINGS | {"start": "b", "reward": "c"},
    )
    notes = " ".join(frontier([one, two]).notes)
    assert "start from different policies" in notes
    assert "different rewards" in notes
    assert frontier([one]).notes == ()


@pytest.mark.parametrize(
    "spoil", ["steering", "torn", "unfinished", "empty", "no KL", "not finite", "list"]
)
def test_what_is_no_steered_run_is_one_clear_line(tmp_path, spoil):
    folder = steered(tmp_path / "a", gold=5 + curve(1, 0.1))
    summary, metrics = folder / "steering.json", folder / "run" / "metrics.jsonl"
    lines = metrics.read_text()
    spoiled = {
        "steering": (summary, "{", "steering.json: cannot be read"),
        "torn": (metrics, lines[:-20], f"metrics.jsonl:{STEPS}: the line is damaged"),
        "unfinished": (summary, None, "not finished"),
        "empty": (metrics, "", "is empty"),
        "no KL": (
            metrics,
            lines.replace('"kl"', '"shift"'),
            "metrics.jsonl:1: kl is None",
        ),
        "not finite": (
            metrics,
            lines.replace('"kl": 0.0,', '"kl": NaN,'),
            "metrics.jsonl:1: kl is nan",
        ),
        "list": (summary, "[]", "must hold an object, not list"),
    }
    path, content, words = spoiled[spoil]
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError) as caught:
        frontier([folder])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_runs_and_one_twice(tmp_path):
    folder = steered(tmp_path / "a", gold=5 + curve(1, 0.1))
    with pytest.raises(UsageError, match="no runs"):
        frontier([])
    with pytest.raises(UsageError, match="given twice"):
        frontier([folder, tmp_path / "a" / ".." / "a"])
    with pytest.raises(DataError, match="no steered run"):
        frontier([tmp_path])


def test_best_of_n_is_fitted_in_its_own_form(tmp_path):
    fit = frontier(
        [steered(tmp_path / "a", gold=5 + curve(2, 1))], best_of=best_of()
    ).as_dict()["best_of"]
    assert fit["points"][3]["n"] == 8
    assert fit["points"][3]["kl"] == pytest.approx(math.log(8) - 7 / 8)
    assert (
        fit["fits"]["gold"]["alpha"],
        fit["fits"]["gold"]["beta"],
    ) == pytest.approx((2, 0.5))
    assert powers_of_two(12) == (1, 2, 4, 8, 12)


def test_hostile_texts_are_only_text(tmp_path):
    judged = frontier(
        [steered(tmp_path / "a", gold=5 + curve(2, 1), text=MARK)], best_of=best_of()
    )
    html = frontier_html(judged, title=MARK)
    assert marks(html) == 6  # title twice, why it ended, prompt, before, after
    assert "default-src 'none'" in html
    assert not {"script", "iframe", "svg"} & set(Page(html).tags)


def test_a_peak_outside_the_data_is_a_guess_and_none_far_from_it(tmp_path):
    # score = d(1 − 0.05 ln d): ln d = 19 at its peak, KL e³⁸. Best of n, gold d(2 − 0.5 d): d = 2,
    # KL 4, and ln 8 − 7/8
    # = 1.2 was seen
    result = frontier(
        [steered(tmp_path / "a", gold=5 + curve(2, 1))], best_of=best_of()
    )
    text = Page(frontier_html(result, title="t")).text
    assert "far outside the data –" in text
    assert "4.0 (extrapolated) +2.00" in text
    assert "7.4 +2.72" in text, "e² nats, inside the data"


def test_writing(tmp_path):
    import matplotlib.image

    result = frontier(
        [steered(tmp_path / "a", gold=5 + curve(2, 1))], best_of=best_of()
    )
    write_frontier(result, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "frontier.html",
        "frontier.png",
        "frontier.json",
        "report.json",
    }
    assert (
        json.loads((tmp_path / "out" / "frontier.json").read_text("utf-8"))
        == result.as_dict()
    )
    picture = matplotlib.image.imread(tmp_path / "out" / "frontier.png")
    assert min(picture.shape[:2]) > 500
    assert picture[..., :3].std() > 0.05
    assert (
        Page((tmp_path / "out" / "frontier.html").read_text("utf-8")).tags.count("img")
        == 4
    )


def test_every_figure_is_defined(tmp_path):
    import re

    def keys(values):
        if isinstance(values, dict):
            return set(values) | {
                key for value in values.values() for key in keys(value)
            }
        return (
            {key for value in values for key in keys(value)}
            if isinstance(values, list)
            else set()
        )

    figures = frontier(
        [steered(tmp_path / "a", gold=5 + curve(2, 1))], best_of=best_of()
    ).as_dict()
    documented = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(
        encoding="utf-8"
    )
    assert keys(figures) - set(re.findall(r"`([a-z_0-9]+)`", documented)) == set()
