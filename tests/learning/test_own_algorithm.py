"""An algorithm of one's own: one file and one registry line, used by name and as an object."""

from pathlib import Path
from typing import Any

import pytest
from nano import nano

import tastemaker as tm
from tastemaker.rl import ALGORITHMS, play_defaults

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def algorithm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the example, as a user would; take it out of the registry afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from own_algorithm import TopShare

    monkeypatch.setitem(ALGORITHMS, "top-share", "own_algorithm:TopShare")
    return TopShare


def share_of_e(prompts: list[str], texts: list[str]) -> list[float]:
    return [text.count("e") / max(len(text), 1) for text in texts]


def steered(algorithm: Any, steps: int) -> tm.Steered:
    settings = {"steps": steps, "batch": 64, "measured": 64}
    sampling = tm.Sampling(max_tokens=8)
    return tm.steer(
        nano(),
        share_of_e,
        algorithm=algorithm,
        kl=tm.KL(0.0),
        sampling=sampling,
        steering=settings,
    )


def test_it_plays_and_steers_by_name(algorithm: Any) -> None:
    playing = {"steps": 600, "envs": 4, "rollout": 32, "hidden": [8]}
    played = tm.play("CartPole-v1", algorithm="top-share", playing=playing, episodes=2)
    assert played.figures["algorithm"] == "top-share"
    assert steered("top-share", steps=2).figures["algorithm"] == "top-share"


def test_it_learns(algorithm: Any) -> None:
    result = steered(algorithm(share=0.25, lr=5e-3), steps=25)
    assert result.figures["score_after"] > 1.5 * result.figures["score_before"]


def test_its_settings_and_errors_are_like_those_of_the_others(algorithm: Any) -> None:
    assert play_defaults("CartPole-v1", "top-share") == (algorithm(), tm.Playing())
    with pytest.raises(tm.UsageError, match=r"top-share: share 2"):
        algorithm(share=2)
    with pytest.raises(tm.UsageError, match=r"'no-such'.*top-share"):
        tm.play("CartPole-v1", algorithm="no-such")
