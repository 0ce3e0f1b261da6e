"""The last part of the demo: a GPT is steered by what simulated judges taught; another model and the truth watch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tastemaker.evaluation.best_of_curve import best_of_curve
from tastemaker.evaluation.frontier import frontier
from tastemaker.evaluation.frontier_page import write_frontier
from tastemaker.learning.steering.steer import Steered, steer
from tastemaker.models.policy.policy import Policy
from tastemaker.models.policy.sampling import Sampling
from tastemaker.models.reward_model import RewardModel

ALGORITHMS = ("ppo", "grpo")
_LONG = Sampling(temperature=0.7, max_tokens=100)
_NS, _POOL = (1, 2, 4, 8, 16), 256


def steer_demo(folder: Path, say: Callable[[str], None], *, steps: int, seed: int) -> dict[str, Any]:
    """Steer the demo's GPT by its linear reward model, its network watching; write the frontier page.

    folder: the demo's. Returns what was found, JSON-ready.
    """
    policy, taste, judge = (
        Policy.load(folder / "gpt"),
        *(RewardModel.load(folder / f"en/{k}") for k in ("linear", "tiny")),
    )
    measures: dict[str, Any] = {"held_out": judge, "gold": "gold", "sampling": _LONG, "seed": seed}
    found: dict[str, Any] = {}
    for name in ALGORITHMS:
        say(f"\nSteering by {name.upper()}: the linear model is pleased, the network and the truth only watch")
        out = folder / "steered" / name
        how: dict[str, Any] = {"steering": {"steps": steps, "windows": 6}, "out": out, "overwrite": True}
        steered = steer(policy, taste, algorithm=name, say=lambda line: say(f"  {line}"), **how, **measures)
        _say_outcome(steered, say)
        names = ("score", "held_out", "gold", "distinct")
        found[name] = {
            f"{key}_{when}": steered.figures[f"{key}_{when}"] for key in names for when in ("before", "after")
        }
        found[name] |= {"drift": steered.drift}
    curve = best_of_curve(policy, taste, ns=_NS, completions=_POOL, **measures)
    gold = curve.series["gold"]
    say(
        f"\n  beside them, at {curve.drift[-1]:.1f} nats: the best of {_NS[-1]} has gold {gold[0]:.1f} → {gold[-1]:.1f}"
    )
    page = frontier([folder / "steered" / name for name in ALGORITHMS], best_of=curve)
    write_frontier(page, folder / "steered" / "frontier")
    for course in page.courses:
        say(f"  {course.label}: {course.verdict}")
    return found | {f"gold_best_of_{_NS[-1]}": float(gold[-1])}


def _say_outcome(steered: Steered, say: Callable[[str], None]) -> None:
    say(f"  {steered}")
    sample = steered.samples[0]
    for when in ("before", "after"):
        say(f"  {when + ':':8}{' '.join(sample[when].split())[:150]}")
