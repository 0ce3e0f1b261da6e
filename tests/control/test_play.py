"""A policy learns to play, resumes bit for bit after a kill, is saved and watched."""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch
from shell import fails

from tastemaker.errors import ModelError, TrainingError, UsageError
from tastemaker.rl import (
    PLAYER,
    PPO,
    Algorithm,
    Player,
    Playing,
    PlayPlan,
    PlayTask,
    algorithm_class,
    play,
    play_defaults,
    watch,
)
from tastemaker.train import Run, train

SHORT = {"steps": 1200, "envs": 4, "rollout": 32, "hidden": [8]}
Shell = Callable[..., tuple[int, str, str]]


def weights(player: Player) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in player.tensors().items()}


# --- what environments may be


@pytest.mark.parametrize("kind", ["discrete", "binary", "whole"])
def test_several_actions_at_once_are_learned(kind: str, tmp_path: Path) -> None:
    """Two bits are told outright: 2 is perfect, 1 or less is chance."""
    playing = {"steps": 6_000, "envs": 16, "rollout": 16, "hidden": [32]}
    played = play(
        "test/Doors-v0",
        algorithm=PPO(lr=5e-3, gamma=0.9, epochs=4, minibatches=2),
        playing=playing | {"normalise_observations": False},
        options={"kind": kind},
        out=tmp_path / kind,
        episodes=32,
    )
    assert played.mean_return > 1.9
    assert played.figures["episodes_cut"] == 0
    games = watch(tmp_path / kind, count=32)
    assert sum(game.score for game in games) > 1.9 * 32


def test_episodes_that_never_end_are_cut_where_they_measure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tastemaker.rl.gym.environment.LONGEST_MEASURED", 50)
    lines: list[str] = []
    played = play(
        "test/Endless-v0",
        playing=SHORT,
        episodes=3,
        say=lines.append,
        out=tmp_path / "endless",
    )
    assert any("sets no limit of steps" in line and "50" in line for line in lines)
    assert played.figures["episodes_cut"] == 3
    assert played.figures["mean_length"] == 50
    assert "(3 did not end and were cut)" in str(played)
    assert watch(tmp_path / "endless")[0].is_cut


def test_an_environment_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Shell
) -> None:
    (tmp_path / "mine_here.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('MineHere-v0', CartPoleEnv, max_episode_steps=50)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    few = ("--steps", 600, "--envs", 2, "--rollout", 32, "--episodes", 2)
    code, out, err = run("play", "mine_here:MineHere-v0", *few, "--json", "-q")
    assert code == 0, err
    assert json.loads(out)["episodes"] == 2


# --- it learns


def test_the_algorithms_are_the_ones_that_steer_a_gpt() -> None:
    for name in ("reinforce", "a2c", "trpo", "ppo"):
        assert type(play_defaults("CartPole-v1", name)[0]) is algorithm_class(name)


@pytest.mark.parametrize("name", ["reinforce", "a2c", "trpo", "ppo"])
def test_each_algorithm_learns_which_action_is_wanted(name: str) -> None:
    """One of four actions, told outright: 1 is perfect, ¼ chance."""
    playing = {
        "steps": {"trpo": 3_000, "ppo": 2_000}.get(name, 6_000),
        "envs": 16,
        "rollout": 16,
        "hidden": [32],
        "normalise_observations": False,
    }
    lr = {"ppo": 2e-3}.get(name, 1e-2)  # many epochs need a lower one
    algorithm = replace(play_defaults("test/Mirror-v0", name)[0], lr=lr)  # type: ignore[type-var]
    played = play("test/Mirror-v0", algorithm=algorithm, playing=playing)
    assert played.mean_return == 1.0
    assert played.figures["curve"][0][1] < 0.6


def test_amounts_are_learned() -> None:
    """−(action − number)² of numbers within ±1 is −⅓ for always 0, 0 for the number itself."""
    playing = {
        "steps": 30_000,
        "envs": 16,
        "rollout": 32,
        "hidden": [32],
        "log_sd": -0.7,
    }
    played = play(
        "test/Aim-v0",
        algorithm=PPO(lr=3e-3, gamma=0.9, epochs=8, minibatches=4),
        playing=playing,
    )
    assert played.mean_return > -0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ppo_learns_cartpole_without_a_flag(seed: int) -> None:
    assert play("CartPole-v1", seed=seed).mean_return == 500


def test_figures_and_what_is_logged(tmp_path: Path) -> None:
    played = play("CartPole-v1", playing=SHORT, episodes=20, out=tmp_path / "cart")
    low, high = played.figures["return_interval"]
    assert low <= played.mean_return <= high
    assert 1200 <= played.figures["steps"] < 1200 + 4 * 32
    assert {f.name for f in (tmp_path / "cart").iterdir()} >= {
        "curve.png",
        "episode.gif",
        PLAYER,
        "player.safetensors",
    }
    lines = [
        json.loads(line)
        for line in (tmp_path / "cart" / "run" / "metrics.jsonl")
        .read_text()
        .splitlines()
    ]
    documented = (
        Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
    ).read_text(encoding="utf-8")
    keys = {key for line in lines for key in line} | set(played.figures) - {
        "settings",
        "versions",
        "algorithm",
    }
    assert [
        key for key in sorted(keys - {"step"}) if f"`{key}`" not in documented
    ] == []
    assert lines[-1]["step"] == played.figures["steps"]


# --- saved, loaded, watched


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1"])
def test_saved_and_loaded_it_does_the_same(environment: str, tmp_path: Path) -> None:
    played = play(
        environment,
        algorithm=PPO(),
        playing=SHORT | {"normalise_observations": True},
        episodes=3,
        out=tmp_path / "saved",
    )
    loaded = Player.load(tmp_path / "saved")
    assert weights(loaded) == weights(played.policy)
    observations = (
        np.random.default_rng(0)
        .normal(size=(50, loaded.shapes.size))
        .astype(np.float32)
    )
    assert np.array_equal(
        loaded.likeliest(observations), played.policy.likeliest(observations)
    )
    assert watch(tmp_path / "saved", count=3, seed=4) == watch(
        played.policy, count=3, seed=4
    )


def test_watching_draws_an_episode(tmp_path: Path) -> None:
    from PIL import Image

    player = play("CartPole-v1", playing=SHORT, episodes=1).policy
    first, second = watch(player, count=2, picture=tmp_path / "cart.gif")
    assert first.score == first.length  # CartPole pays 1 a step
    assert second.length > 0
    with Image.open(tmp_path / "cart.gif") as image:
        assert image.n_frames > 1  # type: ignore[attr-defined]


def test_a_player_of_another_shape_is_refused(tmp_path: Path) -> None:
    play("CartPole-v1", playing=SHORT, episodes=1, out=tmp_path / "saved")
    contract = json.loads((tmp_path / "saved" / PLAYER).read_text())
    (tmp_path / "saved" / PLAYER).write_text(
        json.dumps(contract | {"environment": "Acrobot-v1"})
    )
    with pytest.raises(ModelError, match=r"Acrobot-v1.*\b6\b.*\b4\b"):
        watch(tmp_path / "saved")
    (tmp_path / "saved" / PLAYER).write_text(
        json.dumps(contract | {"shapes": contract["shapes"] | {"observations": 5}})
    )
    with pytest.raises(ModelError, match="do not belong together"):
        watch(tmp_path / "saved")
    with pytest.raises(ModelError, match=r"player\.json"):
        watch(tmp_path)


# --- killed and resumed

PLAN = PlayPlan(
    "CartPole-v1",
    {},
    PPO(lr=3e-3, gamma=0.98),
    Playing(3000, 4, 16, hidden=(8,), anew=5),
    1,
    5,
)
SECONDS = ("gathering_seconds", "learning_seconds")


def run_of(
    folder: Path | None, plan: PlayPlan = PLAN, *, dies_at: int | None = None
) -> dict[str, bytes]:
    """Carry a plan out in a folder, go on where it was; dies as if killed at a rollout."""
    task = plan.task()
    gather = task.world.gather

    def dying(number: int) -> Any:
        if number == dies_at:
            raise KeyboardInterrupt
        return gather(number)

    task.world.gather = dying  # type: ignore[method-assign]
    train(task, Run(folder, plan.settings(), resume=True), seed=plan.seed)
    return weights(task.player) | {"returns": task.world.returns.variance.tobytes()}


def logged(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k not in SECONDS}
        for line in lines
    ]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run take a checkpoint wherever it can."""
    monkeypatch.setattr(PlayTask, "checkpoint_seconds", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The folder of a run that nothing stopped, and its weights."""
    folder = tmp_path_factory.mktemp("play") / "whole"
    return folder, run_of(folder)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("dies_at", [3, 5, 17, 23])
def test_a_run_that_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, whole: tuple[Path, dict[str, bytes]], dies_at: int
) -> None:
    folder, learned = whole
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "stopped", dies_at=dies_at)
    assert run_of(tmp_path / "stopped") == learned
    assert logged(tmp_path / "stopped") == logged(folder)


@pytest.mark.usefixtures("often")
def test_the_algorithm_does_not_matter_to_that(tmp_path: Path) -> None:
    for name in ("reinforce", "a2c", "trpo"):
        plan = replace(
            PLAN,
            algorithm=play_defaults("CartPole-v1", name)[0],
            playing=replace(PLAN.playing, steps=900),
        )
        with pytest.raises(KeyboardInterrupt):
            run_of(tmp_path / name, plan, dies_at=8)
        assert run_of(tmp_path / name, plan) == run_of(None, plan)


def _play_until_killed(out: Path, settings: dict[str, Any]) -> None:
    """Play in a process of its own that kills itself after the second checkpoint."""
    checkpoints, save = [], Run.save

    def dying(run: Run, checkpoint: Any) -> None:
        save(run, checkpoint)
        checkpoints.append(checkpoint.step)
        if len(checkpoints) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    Run.save = dying  # type: ignore[method-assign]
    PlayTask.checkpoint_seconds = 0.0
    play(out=out, **settings)


@pytest.mark.slow
@pytest.mark.usefixtures("often")
def test_killed_by_the_system_and_resumed_it_ends_in_the_same_bits(
    tmp_path: Path,
) -> None:
    """A process of its own kills itself once it has two checkpoints; this one goes on."""
    playing = {"steps": 2400, "anew": 4, "rollout": 16, "envs": 4, "hidden": [8]}
    settings: dict[str, Any] = {
        "environment": "CartPole-v1",
        "playing": playing,
        "seed": 5,
        "episodes": 2,
    }
    out = tmp_path / "killed"
    process = forked.start_call(_play_until_killed, out, settings)
    assert process.wait(300) == -signal.SIGKILL
    assert len(list(out.glob("run/checkpoint-*"))) == 2
    play(**settings, out=out, resume=True)
    play(**settings, out=tmp_path / "whole")
    assert weights(Player.load(out)) == weights(Player.load(tmp_path / "whole"))
    assert logged(out / "run") == logged(tmp_path / "whole" / "run")


def test_what_was_learned_before_an_environment_failed_is_kept(tmp_path: Path) -> None:
    options = {"failure": "raises", "at": 100}
    playing = {"steps": 800, "envs": 2, "rollout": 16, "hidden": [4], "windows": 50}
    failing: dict[str, Any] = {
        "environment": "test/Failing-v0",
        "algorithm": PPO(),
        "playing": playing,
        "options": options,
        "out": tmp_path / "out",
    }
    with pytest.raises(TrainingError, match="no more apples"):
        play(**failing)
    assert len(list((tmp_path / "out" / "run").glob("checkpoint-*"))) == 1
    before = logged(tmp_path / "out" / "run")
    with pytest.raises(
        TrainingError
    ):  # its life begins anew with each command, and ends again
        play(**failing, resume=True)
    after = logged(tmp_path / "out" / "run")
    assert after[: len(before)] == before
    assert len(after) > len(before) > 0


def test_a_finished_run_is_returned_and_another_command_refused(tmp_path: Path) -> None:
    played = play("CartPole-v1", playing=SHORT, episodes=2, out=tmp_path / "out")
    again = play(
        "CartPole-v1", playing=SHORT, episodes=2, out=tmp_path / "out", resume=True
    )
    assert weights(again.policy) == weights(played.policy)
    assert again.as_dict() == played.as_dict()
    with pytest.raises(UsageError, match=r"\bseed\b.*\b0\b.*\b1\b"):
        play(
            "CartPole-v1",
            playing=SHORT,
            episodes=2,
            seed=1,
            out=tmp_path / "out",
            resume=True,
        )


# --- bad input


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"algorithm": "grpo"}, r"grpo.*\b8 completions"),
        ({"algorithm": "dqn"}, "'dqn'"),
        ({"steps": 0}, r"steps 0\b.*\b1\b"),
        ({"episodes": 0}, "episodes 0"),
        ({"seed": -1}, "seed -1"),
        ({"playing": {"rollout": 1}}, r"rollout 1\b.*\b2\b"),
        ({"playing": {"rolout": 8}}, r"playing.*'rolout'.*did you mean rollout"),
        ({"playing": {"rollout": "many"}}, "rollout 'many'"),
        ({"playing": {"hidden": 64}}, "hidden 64"),
        ({"playing": {"hidden": ["a"]}}, r"hidden \('a',\)"),
        ({"playing": {"hidden": []}}, r"hidden \(\)"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        play("CartPole-v1", **given)
    assert "\n" not in str(caught.value)


def test_a_number_that_is_not_finite_ends_the_run_with_advice() -> None:
    played = play(
        "CartPole-v1",
        algorithm=PPO(lr=1e30),
        playing=SHORT | {"gradient_clip": 1e30},
        episodes=2,
    )
    assert "lower --lr" in played.figures["stopped_because"]


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    play("CartPole-v1", playing=SHORT, episodes=1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_every_known_setting_can_be_made() -> None:
    algorithm: Algorithm[Any]
    for name in ("reinforce", "a2c", "trpo", "ppo"):
        for environment in ("CartPole-v1", "LunarLander-v3", "Some-v0"):
            algorithm, playing = play_defaults(environment, name)
            assert algorithm.name == name
            assert playing.steps > 0


# --- the shell


def test_play_and_watch_in_the_shell(run: Shell, tmp_path: Path) -> None:
    small = [
        "--steps",
        1200,
        "--envs",
        4,
        "--rollout",
        32,
        "--clip",
        0.1,
        "--episodes",
        5,
    ]
    code, out, err = run(
        "play", "CartPole-v1", *small, "--out", tmp_path / "cart", "--json"
    )
    assert code == 0, err
    printed = json.loads(out)
    assert set(printed) == {
        "mean_return",
        "return_interval",
        "episodes",
        "steps",
        "seconds",
        "steps_per_second",
    }
    assert (
        json.loads((tmp_path / "cart" / PLAYER).read_text())["settings"]["algorithm"][
            "clip"
        ]
        == 0.1
    )
    code, out, _ = run("watch", tmp_path / "cart", "--episodes", 2, "--json")
    assert code == 0
    assert json.loads(out)["returns"] == json.loads(out)["lengths"]
    code, out, _ = run("watch", tmp_path / "cart")
    assert (code, out.startswith("episode 1: return ")) == (0, True)
    fails(
        run("play", "CartPole-v1", "--out", tmp_path / "cart"), "holds a model already"
    )
    fails(run("watch", tmp_path / "cart", "--episodes", 0), "episodes 0")
    fails(run("watch", tmp_path / "cart", "--gif", "x.png"), ".gif")
    fails(run("play", "Cartpole-v11"), "Perhaps: CartPole-v1")
    fails(run("play", "CartPole-v1", "--option", "wind"), "NAME=VALUE")
    fails(run("play", "CartPole-v1", "--clpi", 1), "--clpi")
    fails(run("play", "CartPole-v1", "--damping", 1), "ppo", "'damping'", "trpo")
    fails(run("play", "CartPole-v1", "--hidden", "8,x"), "8,x")
    fails(run("play", "Pendulum-v1", "--option", "wind=3"), "wind")
