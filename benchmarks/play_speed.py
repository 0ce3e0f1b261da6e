"""CartPole-v1 by PPO: `play` against Stable-Baselines3 with RL Baselines3 Zoo's settings.

    pip install -e '.[peers]'
    python benchmarks/play_speed.py                      # 5 seeds of 100,000 steps each
    python benchmarks/play_speed.py --seeds 0 1 --steps 20000

Both run on one thread, seed by seed, ours and then theirs. Evaluation is not timed, except for one
episode of ours, without which `play` does not end. The peer: n_envs 8, n_steps 32, batch_size 256,
gae_lambda 0.8, gamma 0.98, n_epochs 20, ent_coef 0, learning rate 1e-3 and clip range 0.2 falling
to 0 in a line. Seconds are given of the processor and of the wall. Evaluation: 20 episodes of the
likeliest actions. The last line, the only one on stdout, is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from typing import Any

import torch
from common import spread

from tastemaker.rl import play

Timed = tuple[float, float, float, int]
"""Return in evaluation, seconds of the processor, of the wall, steps."""


def _ours(seed: int, steps: int | None) -> Timed:
    began, started = time.process_time(), time.perf_counter()
    played = play("CartPole-v1", seed=seed, steps=steps, episodes=1)
    cpu, wall = time.process_time() - began, time.perf_counter() - started
    from tastemaker.rl import watch

    episodes = watch(played.policy, count=20, seed=seed)
    return (
        statistics.fmean(e.score for e in episodes),
        cpu,
        wall,
        played.figures["steps"],
    )


def _theirs(seed: int, steps: int) -> Timed:
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    env = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    settings: dict[str, Any] = {
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
    }
    falling = {
        "learning_rate": lambda left: 1e-3 * left,
        "clip_range": lambda left: 0.2 * left,
    }
    began, started = time.process_time(), time.perf_counter()
    model = PPO(
        "MlpPolicy", env, ent_coef=0.0, seed=seed, device="cpu", **settings, **falling
    )
    model.learn(steps)
    cpu, wall = time.process_time() - began, time.perf_counter() - started
    mean, _ = evaluate_policy(
        model, make_vec_env("CartPole-v1", n_envs=8, seed=seed + 1000), 20
    )
    return float(mean), cpu, wall, model.num_timesteps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument(
        "--without-peer", action="store_true", help="measure ours alone"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    _ours(0, 2000)  # the warm-up
    sides: dict[str, list[Timed]] = {"ours": []} | (
        {} if given.without_peer else {"stable_baselines3": []}
    )
    for seed in given.seeds:
        for name, runs in sides.items():
            runs.append(
                _ours(seed, given.steps)
                if name == "ours"
                else _theirs(seed, given.steps)
            )
            score, cpu, wall, steps = runs[-1]
            sys.stderr.write(
                f"{name:18} seed {seed}: {score:6.1f}  {steps / cpu:8,.0f} steps/s  "
                f"{cpu:.1f} s ({wall:.1f})\n"
            )
    figures: dict[str, Any] = {
        name: {
            "returns": spread([r[0] for r in runs], 1),
            "cpu_seconds": spread([r[1] for r in runs], 2),
            "wall_seconds": spread([r[2] for r in runs], 2),
            "steps_per_cpu_second": spread([r[3] / r[1] for r in runs], 0),
        }
        for name, runs in sides.items()
    }
    if not given.without_peer:
        pairs = list(zip(sides["ours"], sides["stable_baselines3"], strict=True))
        figures["times_as_fast"] = spread(
            [b[1] / b[3] * a[3] / a[1] for a, b in pairs], 2
        )
        figures["share_of_wall_time"] = spread([a[2] / b[2] for a, b in pairs], 3)
    print(
        json.dumps(
            {"benchmark": "play_speed", "seeds": given.seeds, "steps": given.steps}
            | figures
        )
    )


if __name__ == "__main__":
    main()
