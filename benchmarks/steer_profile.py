"""Where a steering step spends its time, and a rollout's speed against bare sampling.

    python benchmarks/steer_profile.py                               # trains a GPT first
    python benchmarks/steer_profile.py --policy gpt                  # a GPT of the playground
    python benchmarks/steer_profile.py --policy gpt --reward taste   # default: a linear reward
    python benchmarks/steer_profile.py --policy gpt --algorithm grpo --steps 30

`steer`'s own loop runs with its defaults (128 completions a step, windows as in a run of 150 steps)
and keeps nothing on disk; on one thread, where nothing is computed side by side and seconds add up.
Functions are wrapped from outside while it runs; time belongs to the innermost wrapped one:

    sampling               Policy.complete: prompts to tokens, the decoding loop, tokens to texts
    reward                 the reward's scores
    forward of             the network's forward pass, by who asks: the policy, the reference
    log-probabilities of   softmax, entropy and value head after it, and the rows of tokens
    backward               the backward pass of all of these and of the objective
    optimiser              clipping the gradient and AdamW's step
    other                  all other wall time from the end of the warm-up to the last step's end

`outside` is reward, optimiser and other; a reward model that is a network is left out of it, a
linear one counts. `outside_strictly` counts log-probabilities too. Then gatherings of the world
(`TextWorld.gather`) and the bare sampling loop (`Writing`, tokens only) take turns with the same
prompts, settings and random numbers, and so write the same tokens. `rollout_ratio` is the speed of
a gathering, less its reward and its reference's pass, over that of bare sampling; `gathering_ratio`
leaves nothing out. Both are ratios of medians over rounds. Functions by their own time, from a few
more steps under cProfile, go to stderr. The last line is one JSON object.
"""

import argparse
import cProfile
import io
import json
import pstats
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch

import tastemaker as tm
from tastemaker.gpt import Completion, Policy, Writing
from tastemaker.playground import judgements
from tastemaker.reward import LinearBackbone
from tastemaker.rl import ALGORITHMS, Reward, SteerTask, TextActor, TextWorld, reward_of
from tastemaker.rl.text import world as text

ROLES = {"evaluate": "policy", "log_probs": "reference"}
"""Who asks for a forward pass, by the method of `TextActor` that it stands in."""
BEHIND = "log-probabilities of "


class Clock:
    """Seconds by part; while a part runs inside another, time belongs to the inner one."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.open: list[str] = []
        self.since = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give the time spent inside to a part."""
        self._hand_over()
        self.open.append(name)
        try:
            yield
        finally:
            self._hand_over()
            self.open.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time belongs to a part."""

        def call(*given: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*given, **named)

        return call

    def forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a forward pass whose time belongs to whoever asks for it."""

        def call(*given: Any, **named: Any) -> Any:
            with self.part(f"forward of {self.open[-1].removeprefix(BEHIND)}"):
                return function(*given, **named)

        return call

    def _hand_over(self) -> None:
        now = time.perf_counter()
        if self.open:
            self.seconds[self.open[-1]] += now - self.since
        self.since = now


class TimedReward:
    """A reward whose time is taken."""

    def __init__(self, reward: Reward, clock: Clock) -> None:
        self.reward, self.clock, self.name = reward, clock, reward.name

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return the reward's scores."""
        with self.clock.part("reward"):
            return self.reward.score(completions)


def wrapped(clock: Clock) -> ExitStack:
    """Wrap what is timed; closing the stack puts everything back."""
    stack = ExitStack()

    def wrap(owner: Any, name: str, part: str) -> None:
        stack.enter_context(
            patch.object(owner, name, clock.timed(part, getattr(owner, name)))
        )

    wrap(Policy, "complete", "sampling")
    for name, role in ROLES.items():
        wrap(TextActor, name, f"{BEHIND}{role}")
    wrap(torch.autograd, "grad", "backward")
    wrap(torch.Tensor, "backward", "backward")
    wrap(torch.nn.utils, "clip_grad_norm_", "optimiser")
    wrap(torch.optim.AdamW, "step", "optimiser")
    stack.enter_context(patch.object(text, "forward", clock.forward(text.forward)))
    return stack


@dataclass
class Measured:
    """What was measured of a run: its world, when each timed step ended, the clock then, cProfile's
    table.
    """

    world: Any = None
    ended: list[float] = field(default_factory=list)
    seconds: list[Counter[str]] = field(default_factory=list)
    profile: cProfile.Profile = field(default_factory=cProfile.Profile)

    def table(self) -> str:
        """Return the functions by their own time."""
        printed = io.StringIO()
        pstats.Stats(self.profile, stream=printed).strip_dirs().sort_stats(
            "tottime"
        ).print_stats(25)
        return printed.getvalue()

    def parts(self, warm_up: int) -> dict[str, float]:
        """Return the seconds of each part, and of all that is none of them, in the steps behind the
        warm-up.
        """
        seconds = {
            name: self.seconds[-1][name] - self.seconds[warm_up - 1][name]
            for name in sorted(self.seconds[-1])
        }
        return seconds | {
            "other": self.ended[-1] - self.ended[warm_up - 1] - sum(seconds.values())
        }


def _run(policy: Policy, reward: TimedReward, given: argparse.Namespace) -> Measured:
    """Steer, as a user does; time the steps, and profile those behind them."""
    measured, timers, step = Measured(), wrapped(reward.clock), SteerTask.step

    def watched(job: SteerTask) -> Any:
        if (
            len(measured.ended) == given.warm_up + given.steps
        ):  # what is profiled is not wrapped
            timers.close()
            return measured.profile.runcall(step, job)
        done = step(job)
        measured.world = job.world
        measured.ended.append(time.perf_counter())
        measured.seconds.append(reward.clock.seconds.copy())
        return done

    steps, usual = given.warm_up + given.steps + given.profiled, tm.Steering()
    with timers, patch.object(SteerTask, "step", watched):
        tm.steer(
            policy,
            reward,
            algorithm=given.algorithm,
            steering={
                "steps": steps,
                "batch": given.batch,
                "windows": max(1, usual.windows * steps // usual.steps),
            },
            sampling=tm.Sampling(max_tokens=given.max_tokens),
            limits=tm.Limits(patience=steps + 1),  # it never stops by itself
            seed=given.seed,
        )
    return measured


def _rollouts(
    world: TextWorld, clock: Clock, given: argparse.Namespace
) -> dict[str, Any]:
    """Take turns between a gathering of the world and the bare sampling loop of the same texts."""
    count = world.batch // world.samples
    log_probs = TextActor.log_probs
    seconds: dict[str, list[float]] = {"gathering": [], "rollout": [], "bare": []}

    def bare(step: int) -> int:
        policy = world.policy
        job = Writing(
            policy.module,
            policy.reader,
            policy.reader.prompts([""] * count),
            samples=world.samples,
            room=policy.context,
            sampling=world.sampling,
            seed=world.seed,
            first=step * count,
        )
        return sum(len(rows) for rows in job.steps())

    for number in range(given.rounds + 1):
        for name in ("gathering", "bare") if number % 2 else ("bare", "gathering"):
            clock.seconds.clear()
            started = time.perf_counter()
            if name == "bare":
                tokens = bare(number)
            else:
                with patch.object(
                    TextActor, "log_probs", clock.timed("reference", log_probs)
                ):
                    gathered = world.gather(number, 0.1)
            took = time.perf_counter() - started
            if number:  # the first round warms up
                seconds[name].append(took)
                if name == "gathering":
                    seconds["rollout"].append(
                        took - clock.seconds["reference"] - clock.seconds["reward"]
                    )
        assert tokens == sum(len(c.ids) for c in gathered.completions), (
            "both write the same tokens"
        )
    middle = {name: statistics.median(took) for name, took in seconds.items()}
    return {
        "completions_per_second": {
            name: round(world.batch / took, 1) for name, took in middle.items()
        },
        "rollout_ratio": round(middle["bare"] / middle["rollout"], 3),
        "rollout_ratios": [
            round(b / r, 3)
            for b, r in zip(seconds["bare"], seconds["rollout"], strict=True)
        ],
        "gathering_ratio": round(middle["bare"] / middle["gathering"], 3),
    }


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--policy", help="a GPT trained on the playground; left out: one is trained"
    )
    parser.add_argument(
        "--reward",
        help="a reward model's folder; left out: a linear one is fitted on rankings",
    )
    parser.add_argument(
        "--judgements",
        type=int,
        default=500,
        help="that the linear reward model is fitted on",
    )
    parser.add_argument(
        "--algorithm",
        default="ppo",
        choices=[name for name in ALGORITHMS if name != "trpo"],
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--profiled", type=int, default=3, help="further steps, under cProfile"
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in ("warm_up", "steps", "profiled", "rounds"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return given


def main() -> None:
    """Measure, and print one JSON line."""
    given = _given()
    torch.set_num_threads(1)
    policy = (
        Policy.load(given.policy)
        if given.policy
        else tm.pretrain(tm.Documents(["playground"]))
    )
    rankings = (
        judgements(given.judgements, kind="ranking", answers=20, seed=given.seed)
        if not given.reward
        else []
    )
    taste = (
        tm.load(given.reward)
        if given.reward
        else tm.fit(rankings, backbone="linear", seed=given.seed)
    )
    is_network, clock = not isinstance(taste.backbone, LinearBackbone), Clock()
    run = _run(policy, TimedReward(reward_of(taste), clock), given)
    parts = run.parts(given.warm_up)
    wall = sum(parts.values())
    shares = {name: seconds / wall for name, seconds in parts.items()}
    counted = ["optimiser", "other"] + ([] if is_network else ["reward"])
    outside = sum(shares.get(name, 0.0) for name in counted)
    strictly = outside + sum(
        share for name, share in shares.items() if name.startswith(BEHIND)
    )
    sys.stderr.write(
        run.table()
        + "".join(f"{name:34} {share:6.1%}\n" for name, share in shares.items())
    )
    line = {
        "benchmark": "steer_profile",
        "algorithm": given.algorithm,
        "batch": given.batch,
        "steps": given.steps,
        "threads": torch.get_num_threads(),
        "step_seconds": round(wall / given.steps, 4),
        "shares": {name: round(share, 4) for name, share in shares.items()},
        "reward_is_network": is_network,
        "outside": round(outside, 4),
        "outside_strictly": round(strictly, 4),
    }
    sys.stdout.write(json.dumps(line | _rollouts(run.world, clock, given)) + "\n")


if __name__ == "__main__":
    main()
