"""Draw the primer's figures and write down the numbers that they show.

    python docs/learn/figures.py                     images/*.png and figures.json: minutes
    python docs/learn/figures.py --quick --out DIR   the same from too few samples: seconds

The code of the lessons does the measuring (`measuring.py`, `worlds.py`). The text quotes
figures.json, and a test checks that: after a run, write the new numbers into README.md and zh.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import QUICK, Numbers, Sizes, episode, half_trained, trust, variance
from pictures import (
    draw_bandit,
    draw_clip,
    draw_directions,
    draw_fooled,
    draw_lengths,
    draw_noise,
    draw_returns,
    draw_states,
    draw_steps,
    draw_tree,
)
from worlds import bandit, clipped, fooled, tree

from tastemaker.plotting import Panel, rendered

HERE = Path(__file__).resolve().parent


def measure(sizes: Sizes, bandit_steps: int) -> Numbers:
    """Return the numbers of every figure, by figure."""
    student = half_trained(sizes)
    return {
        "episode": episode(student),
        "variance": variance(student, sizes),
        "trust": trust(student, sizes),
        "clip": clipped(),
        "text": tree(),
        "kl": {"bandit": bandit(bandit_steps), "fooled": fooled()},
    }


def rounded(x: Any) -> Any:
    """Return nested numbers with five digits each."""
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [rounded(value) for value in x]
    return float(f"{x:.5g}") if isinstance(x, float) else x


def panel(title: str, draw: Callable[..., None], numbers: Numbers, *more: str) -> Panel:
    """Return a panel with a title, drawn from numbers."""
    return Panel(title, title, "", lambda axes: draw(axes, numbers, *more))


def panels(numbers: Numbers) -> dict[str, list[Panel]]:
    """Return the panels of each figure."""
    steps, estimators, lengths = (numbers[x] for x in ("episode", "variance", "trust"))
    clip, text, kl = numbers["clip"], numbers["text"], numbers["kl"]
    gradients = "Each lesson takes noise out of the gradient"
    cosines = "So one batch points better, until bias turns it"
    good = "A = 1: no gain from more than 1 + clip"
    bad = "A = −1: no gain from less than 1 − clip"
    answers = "Two answers, rewards 1 and 0: what β leaves of it"
    words = f"The words before → after steering, β = {text['beta']:g}"
    return {
        "episode": [
            panel("States and actions of one episode", draw_states, steps),
            panel("Its rewards, and the returns to go", draw_returns, steps),
        ],
        "variance": [
            panel(gradients, draw_noise, estimators),
            panel(cosines, draw_directions, estimators),
        ],
        "trust": [
            panel("Too long a step: promised, and not kept", draw_steps, lengths),
            panel("One length, three changes of the policy", draw_lengths, lengths),
        ],
        "clip": [
            panel(good, draw_clip, clip, "good"),
            panel(bad, draw_clip, clip, "bad"),
        ],
        "text": [panel(words, draw_tree, text)],
        "kl": [
            panel(answers, draw_bandit, kl["bandit"]),
            panel("A reward that can be fooled: gold turns", draw_fooled, kl["fooled"]),
        ],
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, draw and write."""
    parser = argparse.ArgumentParser(description="Draw the primer's figures.")
    parser.add_argument("--quick", action="store_true", help="from next to no samples")
    text = "folder for figures.json and images/"
    parser.add_argument("--out", type=Path, default=HERE, help=text)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    began = time.perf_counter()
    numbers = rounded(measure(QUICK, 20) if given.quick else measure(Sizes(), 160))
    (given.out / "images").mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(of_figure, ensure_ascii=False)}"
        for name, of_figure in numbers.items()
    )
    (given.out / "figures.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    figures = panels(numbers)
    for name, drawn in figures.items():
        picture = rendered(drawn, columns=len(drawn), heading=None, form="png")
        (given.out / "images" / f"{name}.png").write_bytes(picture)
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{len(figures)} figures in {seconds:.0f} seconds\n")


if __name__ == "__main__":
    main()
