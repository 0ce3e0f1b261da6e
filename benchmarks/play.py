"""What `play` reaches without a setting, by environment and seed, on one thread.

    python benchmarks/play.py   # CartPole-v1 by every algorithm, the others by PPO
    python benchmarks/play.py --only CartPole-v1:trpo --seeds 0 1 2

Each run is `tastemaker.play` without a setting; the return is the mean over 100 episodes, each
action the likeliest one. Seconds are of the processor, so that what else the machine does counts
little; wall seconds stand beside them. The last line, the only one on stdout, is one JSON object.
"""

import argparse
import json
import sys
import time
from typing import Any

from common import spread

from tastemaker.rl import play

AIMS = {
    "CartPole-v1:ppo": 500.0,
    "CartPole-v1:reinforce": 475.0,
    "CartPole-v1:a2c": 475.0,
    "CartPole-v1:trpo": 475.0,
    "Acrobot-v1:ppo": -85.0,
    "Pendulum-v1:ppo": -200.0,
    "MountainCarContinuous-v0:ppo": 90.0,
    "LunarLander-v3:ppo": 200.0,
}
"""What the return is to be at least, for every seed."""


def _runs(
    name: str, seeds: list[int], steps: int | None, episodes: int
) -> dict[str, Any]:
    environment, algorithm = name.split(":")
    returns, seconds, wall, rates = [], [], [], []
    for seed in seeds:
        began, started = time.process_time(), time.perf_counter()
        played = play(
            environment, algorithm=algorithm, seed=seed, steps=steps, episodes=episodes
        )
        seconds.append(time.process_time() - began)
        wall.append(time.perf_counter() - started)
        returns.append(played.mean_return)
        rates.append(played.figures["steps"] / seconds[-1])
        sys.stderr.write(
            f"{name:32} seed {seed}: {returns[-1]:8.1f}  {seconds[-1]:7.1f} s "
            f"({wall[-1]:.0f} on the wall)\n"
        )
    figures = {
        "returns": spread(returns, 1),
        "cpu_seconds": spread(seconds, 1),
        "wall_seconds": spread(wall, 1),
    }
    is_met = min(returns) >= AIMS.get(name, float("-inf"))
    return figures | {
        "steps_per_cpu_second": spread(rates, 0),
        "aim": AIMS.get(name),
        "is_met": is_met,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", default=list(AIMS), metavar="ENV:ALGORITHM"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--steps", type=int, help="environment steps; left out: the known ones"
    )
    parser.add_argument("--episodes", type=int, default=100)
    given = parser.parse_args()
    environments = {
        name: _runs(name, given.seeds, given.steps, given.episodes)
        for name in given.only
    }
    for name, runs in environments.items():
        mean, least = runs["returns"]["mean"], min(runs["returns"]["values"])
        sys.stderr.write(
            f"{name:32} mean {mean:8.1f}  least {least:8.1f}  "
            f"aim {runs['aim']}  met {runs['is_met']}\n"
        )
    print(json.dumps({"benchmark": "play", "seeds": given.seeds, "runs": environments}))


if __name__ == "__main__":
    main()
