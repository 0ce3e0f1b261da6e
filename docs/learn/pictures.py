"""The primer's panels: marks on given axes, from the numbers of `measuring.py` and `worlds.py`."""

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from measuring import LAMBDAS, Numbers, lesson5

from tastemaker.plotting import CONSTANT, LINEAR, MODEL, NEGATIVE, POSITIVE

INK = "#333333"
SMALL = 8.5  # points, of legends and of words beside marks
ESTIMATORS = {
    "whole": "lesson 1: whole return",
    "to_go": "lesson 2: rewards to go",
    "to_go_discounted": "… with gamma = 0.99",
    "baseline": "lesson 3: less V (lam = 1)",
    **{f"gae_{lam}": f"lesson 4: lam = {lam:g}" for lam in LAMBDAS},
}


def draw_states(axes: Axes, numbers: Numbers) -> None:
    """Draw two of the four numbers of each state, and the actions below."""
    t = range(numbers["steps"])
    axes.plot(t, numbers["s"][0], color=MODEL, label="s[0]: where the cart is")
    axes.plot(t, numbers["s"][2], color=NEGATIVE, label="s[2]: how far the pole leans")
    low, high = axes.get_ylim()
    height = high - low
    right, left = (1, INK, "a = 1: push right"), (0, CONSTANT, "a = 0: push left")
    for action, colour, label in (right, left):
        steps = [step for step in t if numbers["a"][step] == action]
        floor = [low - (0.19 - 0.07 * action) * height] * len(steps)
        axes.plot(steps, floor, "|", color=colour, markersize=7, label=label)
    axes.set_ylim(low - 0.27 * height, high + 0.45 * height)
    axes.set_xlabel("step t")
    axes.legend(loc="upper left", fontsize=SMALL)


def draw_returns(axes: Axes, numbers: Numbers) -> None:
    """Draw the rewards and the returns to go."""
    t = range(numbers["steps"])
    axes.plot(t, numbers["R_1.0"], color=MODEL, label="R, gamma = 1: the rewards left")
    label = "R, gamma = 0.99: near ones count more"
    axes.plot(t, numbers["R_0.99"], color=LINEAR, label=label)
    axes.plot(
        t, numbers["r"], color=CONSTANT, linestyle=":", label="r: 1 at every step"
    )
    axes.set_xlabel("step t")
    axes.set_ylim(0, None)
    axes.legend(fontsize=SMALL)


def draw_estimators(
    axes: Axes, numbers: Numbers, figures: dict[str, tuple[str, str, str]]
) -> None:
    """Draw figures of each estimator with their intervals, one a line.

    figures: name → mark, colour, label.
    """
    for name, (mark, colour, label) in figures.items():
        cells = [numbers["estimators"][key][name] for key in ESTIMATORS]
        x = [cell["value"] for cell in cells]
        below = [max(cell["value"] - cell["low"], 0) for cell in cells]
        above = [max(cell["high"] - cell["value"], 0) for cell in cells]
        look = {"fmt": mark, "color": colour, "markersize": 5.5, "label": label}
        axes.errorbar(x, range(len(x)), xerr=[below, above], **look)
    axes.set_yticks(range(len(ESTIMATORS)), list(ESTIMATORS.values()))
    axes.invert_yaxis()


def draw_noise(axes: Axes, numbers: Numbers) -> None:
    """Draw the noise of each estimator."""
    draw_estimators(axes, numbers, {"noise": ("o", MODEL, "")})
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("noise: trace of the covariance / squared length of the mean")


def draw_directions(axes: Axes, numbers: Numbers) -> None:
    """Draw where gradients point."""
    one = ("o", MODEL, "of one batch")
    every = ("D", NEGATIVE, "of the mean of all batches")
    draw_estimators(axes, numbers, {"cosine": one, "aim": every})
    axes.set_xlabel("cosine with the true gradient, a long run's mean")
    axes.legend(loc="lower left", fontsize=SMALL)


def draw_band(
    axes: Axes, x: list[float], values: Numbers, colour: str, label: str
) -> None:
    """Draw a mean, and the middle half of the batches around it."""
    axes.plot(x, values["mean"], color=colour, marker="o", markersize=3.5, label=label)
    low, high = values["low"], values["high"]
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def draw_steps(axes: Axes, numbers: Numbers) -> None:
    """Draw what steps along one batch's gradient promise and bring, and what others bring."""
    lengths, gradient, natural = (
        numbers[x] for x in ("lengths", "gradient", "natural")
    )
    promised = {
        key: [numbers["start"] + x for x in values]
        for key, values in gradient["promised"].items()
    }
    draw_band(axes, lengths, promised, LINEAR, "promised along one batch's gradient")
    draw_band(axes, lengths, gradient["played"], MODEL, "what new episodes bring")
    label = "… along lesson 5's direction"
    draw_band(axes, lengths, natural["played"], POSITIVE, label)
    axes.axhline(
        numbers["start"], color=CONSTANT, linestyle=":", label="before the step"
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, None)
    axes.set_xlabel("length of the step in the weights")
    axes.set_ylabel("mean return")
    axes.legend(loc="upper left", fontsize=SMALL)


def draw_lengths(axes: Axes, numbers: Numbers) -> None:
    """Draw how far steps of one length move the policy in several directions."""
    for name, colour, label in (
        ("gradient", MODEL, "along the gradient"),
        ("natural", POSITIVE, "along lesson 5's direction"),
        ("random", CONSTANT, "in a random direction"),
    ):
        draw_band(axes, numbers["lengths"], numbers[name]["kl"], colour, label)
    label = f"lesson 5's MAX_KL = {lesson5.MAX_KL:g}"
    axes.axhline(lesson5.MAX_KL, color=INK, linestyle=":", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("length of the step in the weights")
    axes.set_ylabel("KL(pi_old ‖ pi), nats")
    axes.legend(loc="lower right", fontsize=SMALL)


def draw_clip(axes: Axes, numbers: Numbers, which: str) -> None:
    """Draw PPO's objective of one action, and its slope."""
    ratio, clip, sign = numbers["ratio"], numbers["clip"], {"good": 1, "bad": -1}[which]
    objective, slope = numbers[which]["objective"], numbers[which]["slope"]
    band = {"color": CONSTANT, "alpha": 0.14, "linewidth": 0}
    axes.axvspan(1 - clip, 1 + clip, label=f"1 ± {clip:g}", **band)
    plain = {"color": CONSTANT, "linestyle": ":"}
    axes.plot(ratio, [sign * x for x in ratio], label="ratio · A", **plain)
    bold = {"color": MODEL, "linewidth": 2.2}
    axes.plot(ratio, objective, label="the clipped objective", **bold)
    dashed = {"color": NEGATIVE, "linestyle": "--", "linewidth": 1.5}
    axes.plot(ratio, slope, label="its slope", **dashed)
    axes.set_xlabel("ratio = pi / pi_old")
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.1, high + 0.5)
    axes.legend(loc="upper left", fontsize=SMALL, ncols=2)


def draw_tree(axes: Axes, numbers: Numbers) -> None:
    """Draw states as boxes, and the rewards behind them.

    A box has the word that leads there and its probability before and after steering.
    """
    texts = numbers["texts"]
    row = {tuple(text["words"]): 2.0 * k for k, text in enumerate(texts)}
    groups, height = {}, {}
    for first in numbers["V"]:
        if first != "start":
            groups[first] = [t for t in texts if t["words"][0] == first]
            rows = [row[tuple(t["words"])] for t in groups[first]]
            height[first] = sum(rows) / len(rows)
    root = (0.0, sum(row.values()) / len(row))
    for first, group in groups.items():
        place = (1.0, height[first])
        before, after = (sum(t[which] for t in group) for which in ("pi_ref", "pi"))
        draw_action(axes, root, place, before)
        for text in group:
            end = (2.0, row[tuple(text["words"])])
            shares = (text["pi_ref"] / before, text["pi"] / after)
            if len(group) > 1:
                draw_action(axes, place, end, shares[0])
                label = f"{text['words'][1]}\n{shares[0]:.2f} → {shares[1]:.2f}"
                draw_state(axes, end, label)
            draw_end(axes, text, end[1])
        value = "" if len(group) == 1 else f"\nV = {numbers['V'][first]:+.2f}"
        draw_state(axes, place, f"{first}\n{before:.2f} → {after:.2f}{value}")
    draw_state(axes, root, f"{numbers['start']}\nV = {numbers['V']['start']:+.2f}")
    write(axes, (2.52, -1.5), "reward", color=CONSTANT)
    write(axes, (3.0, -1.5), "whole text", color=CONSTANT)
    axes.set_xlim(-0.35, 3.3)
    axes.set_ylim(2 * len(texts) - 1, -2)
    axes.set_axis_off()


def write(axes: Axes, place: tuple[float, float], text: str, **look: Any) -> None:
    """Write text at a place that is its middle."""
    axes.text(*place, text, va="center", ha="center", **look)


def draw_state(axes: Axes, place: tuple[float, float], text: str) -> None:
    """Draw a box with text."""
    box = {"boxstyle": "round,pad=0.35", "facecolor": "#F4F7FA", "edgecolor": "#9DB4C6"}
    write(axes, place, text.replace("-", "−"), bbox=box, fontsize=SMALL)


def draw_action(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], likely: float
) -> None:
    """Draw a line as thick as an action is likely."""
    x, y = zip(start, end, strict=True)
    axes.plot(x, y, color=CONSTANT, linewidth=0.8 + 6 * likely, zorder=0, alpha=0.5)


def draw_end(axes: Axes, text: Numbers, y: float) -> None:
    """Write what a whole text earns, and how likely it is before and after."""
    colour = POSITIVE if text["r"] > 0 else NEGATIVE
    write(axes, (2.52, y), f"{text['r']:+.2f}".replace("-", "−"), color=colour)
    write(axes, (3.0, y), f"{text['pi_ref']:.2f} → {text['pi']:.2f}", color=INK)


def draw_bandit(axes: Axes, numbers: Numbers) -> None:
    """Draw how likely the better of two answers is at the optimum, and where learning ended."""
    betas, line = [float(b) for b in numbers], torch.logspace(-1.1, 0.8, 200)
    pi = torch.sigmoid(1 / line)
    kl = math.log(2) - torch.special.entr(pi) - torch.special.entr(1 - pi)
    label = "pi* of the better answer: 1 / (1 + exp(−1/β))"
    axes.plot(line, pi, color=MODEL, label=label)
    learned = [x["learned"] for x in numbers.values()]
    axes.plot(betas, learned, "o", color=NEGATIVE, label="where learning ended")
    axes.plot(line, kl, "--", color=LINEAR, label="its KL, nats (ln 2 at most)")
    for b in ("0.5", "2.0"):
        likely = numbers[b]["likely"]
        annotate(axes, f"β = {float(b):g}: {likely:.4f}", (float(b), likely), (8, 7))
    axes.set_xscale("log")
    axes.set_xticks(betas, [f"{b:g}" for b in betas])
    axes.minorticks_off()
    axes.set_ylim(0, 1.4)
    axes.set_xlabel("β: what a nat of KL costs")
    axes.legend(loc="upper right", fontsize=SMALL)


def annotate(
    axes: Axes, text: str, place: tuple[float, float], offset: tuple[int, int]
) -> None:
    """Write text beside a place, so many points to the right and up."""
    axes.annotate(text, place, offset, textcoords="offset points", fontsize=SMALL)


def draw_fooled(axes: Axes, numbers: Numbers) -> None:
    """Draw the reward that was optimised and the gold that was meant, against KL."""
    curve, peak = numbers["curve"], numbers["peak"]
    kl, reward, gold = ([x[which] for x in curve] for which in ("kl", "reward", "gold"))
    honest = [[x[which] for x in curve] for which in ("kl_of_gold", "gold_of_gold")]
    axes.plot(kl, reward, color=LINEAR, label="reward: what the model says")
    label = "gold, were gold the reward"
    axes.plot(*honest, color=CONSTANT, linestyle=":", label=label)
    axes.plot(kl, gold, color=MODEL, linewidth=2.2, label="gold: what is true")
    axes.plot([peak["kl"]], [peak["gold"]], "o", color=MODEL)
    label = f"most gold: β = {peak['beta']:.2f}"
    annotate(axes, label, (peak["kl"], peak["gold"]), (7, 4))
    axes.set_xlabel("KL: KL(pi ‖ pi_ref), nats")
    axes.legend(loc="upper left", fontsize=SMALL)
