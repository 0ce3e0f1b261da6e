"""The verbs about reinforcement learning: `steer`, `frontier`, `play` and `watch`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tastemaker import processes
from tastemaker.cli import options as o
from tastemaker.cli import reading as r
from tastemaker.cli.reports import report_steering
from tastemaker.errors import UsageError
from tastemaker.rl.algorithms import ALGORITHMS
from tastemaker.settings import caution_of, pairs_of, two_numbers

STEER = """Teach a GPT to write what scores well, or what people preferred.

Examples:

  tastemaker steer gpt --reward taste --out steered

  tastemaker steer gpt --reward taste --reward repetition=-2 --held-out judge
--algorithm rloo --out steered

  tastemaker steer gpt --reward taste --prompts aclImdb.tar.gz --opening 2,8
--max-tokens 48 --out steered

  tastemaker steer gpt --algorithm dpo --judgements comparisons.jsonl --out preferred

Rewards: a folder saved by `fit`, a function of your own (module:name), an http address, or one of
length, repetition, missing-end, gold (the playground's truth). A weight stands behind =; several
are added up. With --judgements a reward is only measured.
"""

PLAY = """Teach a policy to play a Gymnasium environment, by the algorithms that steer a GPT.

Examples:

  tastemaker play CartPole-v1

  tastemaker play LunarLander-v3 --out lander

  tastemaker play Acrobot-v1 --algorithm trpo --steps 200000 --target-kl 0.02 --json

PPO has settings of its own for CartPole-v1, Acrobot-v1, LunarLander-v3, Pendulum-v1 and
MountainCarContinuous-v0, the other algorithms for CartPole-v1. All others begin with a default that
was measured on none. An environment of your own is written module:Name-v0. DIR gets the player (see
`tastemaker watch`), a learning curve and a GIF of an episode.
"""

WATCH = """Watch a saved player play.

Examples:

  tastemaker watch lander

  tastemaker watch lander --episodes 20 --seed 7 --json

  tastemaker watch lander --gif landing.gif
"""


@o.verb(STEER)
@click.argument(
    "model",
    metavar="POLICY",
    help="A folder saved by `pretrain`, any other, a hub name.",
)
@o.option(
    "--reward", multiple=True, help="What raises the reward. May be repeated."
)
@o.option(
    "--out", type=o.PATH, required=True, help="Folder for the steered GPT."
)
@o.option(
    "--algorithm",
    default="ppo",
    help=f"Learning algorithm: {', '.join(ALGORITHMS)}.",
)
@o.option("--prompts", help="A file of prompts; left out: texts are begun.")
@o.option(
    "--held-out",
    multiple=True,
    help="A reward that is only measured: it chooses the best policy and stops in time.",
)
@o.settings("steering")
@o.seed
@o.option(
    "--gold",
    help="The true reward, where there is one: gold on the playground.",
    panel=o.REWARDS,
)
@o.option(
    "--caution",
    type=caution_of,
    metavar="NUMBER|minimum|pessimistic[=NUMBER]",
    default="0",
    help="Of an ensemble: λ of mean − λ·standard deviation; minimum; or pessimistic, which is "
    "−β·ln E[exp(−score/β)] over the members. β is --kl-coef unless given.",
    panel=o.REWARDS,
)
@o.option(
    "--writer",
    default="own",
    metavar="own|vllm|URL",
    help="What writes with the policy's weights: its own loop, vLLM on this GPU, or a vLLM server "
    "(docs/scale.md).",
    panel=o.RUN,
)
@o.settings("algorithm_settings", "algorithm")
@o.settings("kl")
@o.settings("scaling")
@o.settings("limits")
@o.settings("sampling")
@o.option(
    "--opening",
    type=two_numbers,
    metavar="LEAST,MOST",
    help="Number of first tokens, of each text that pretrain reads from --prompts, to continue.",
    panel=o.DATA,
)
@o.option(
    "--limit",
    type=int,
    default=2000,
    help="Number of prompts, at most.",
    panel=o.DATA,
)
@o.option(
    "--judgements",
    multiple=True,
    help="Comparisons and rankings to learn from instead of a reward. May be repeated.",
    panel=o.DATA,
)
@o.split
@o.format
@o.prompt_column
@o.chat
@o.skip_bad
@o.device
@o.remote_code
@o.dry_run
@o.resuming
@o.page
@o.output
def steer(
    model: str,
    out: Path,
    reward: tuple[str, ...],
    held_out: tuple[str, ...],
    algorithm: str,
    algorithm_settings: o.Settings,
    kl: o.Settings,
    scaling: o.Settings,
    limits: o.Settings,
    sampling: o.Settings,
    prompts: str | None,
    opening: tuple[int, int] | None,
    limit: int,
    judgements: tuple[str, ...],
    split: str | None,
    format: str | None,
    prompt_column: str | None,
    chat: bool,
    skip_bad: bool,
    seed: int,
    dry_run: bool,
    report: bool,
    json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Teach a GPT to write what scores well. settings: those of `tm.steer`."""
    import tastemaker as tm
    from tastemaker.rl.algorithms import algorithm_named

    if not judgements and (format or skip_bad):
        raise UsageError(
            "--format and --skip-bad are about --judgements: name a source."
        )
    _check_prompts(
        prompts, opening, prompt_column, chat=chat, judged=bool(judgements)
    )
    if kl.get("where") == "loss":
        # the one whose gradient in the loss is that of the KL
        kl.setdefault("estimator", "k2")
    learner = algorithm_named(algorithm, **algorithm_settings)
    if dry_run:
        _say_memory(model, settings, sampling, json=json)
        return
    reading = r.Reading(split=split, seed=seed, format=format)
    if prompts is None:
        reading = replace(reading, prompt_column=prompt_column)
    judged = r.comparisons(
        judgements, reading, chat=chat, skip_bad=skip_bad, quiet=quiet
    )
    asked = _prompts(
        prompts, opening, model, limit, reading, prompt_column, chat=chat
    )
    reading.say(json=json, quiet=quiet)
    steered = tm.steer(
        model,
        list(reward) or None,
        asked,
        judgements=judged,
        algorithm=learner,
        kl=tm.KL(**kl) if kl else None,
        scaling=tm.Scaling(**scaling) if scaling else None,
        limits=tm.Limits(**limits),
        sampling=tm.Sampling(**sampling),
        held_out=list(held_out) or None,
        seed=seed,
        out=out,
        say=lambda line: o.note(line, quiet=quiet),
        **settings,
    )
    if not processes.is_first():
        return
    if report:
        report_steering(out, quiet=quiet or json)
    _print_steered(steered, out, reading, json=json)


def _say_memory(
    model: str, settings: o.Settings, sampling: o.Settings, *, json: bool
) -> None:
    """Print what memory a run takes."""
    import tastemaker as tm
    from tastemaker.gpt.memory import Writes, steer_memory

    steering = tm.Steering(**settings["steering"])
    most = tm.Sampling(**{"max_tokens": 64, **sampling}).max_tokens
    memory = steer_memory(
        model,
        lora=steering.adapters,
        dtype=steering.dtype,
        gradient_checkpointing=steering.gradient_checkpointing,
        at_once=steering.at_once,
        writes=Writes(steering.batch, most),
        device=settings["device"],
    )
    o.say_memory(memory, json=json)


def _check_prompts(
    prompts: str | None,
    opening: tuple[int, int] | None,
    column: str | None,
    *,
    chat: bool,
    judged: bool,
) -> None:
    """Raise UsageError for options about prompts that contradict each other."""
    if chat and not judged and prompts is None:
        raise UsageError(
            "--chat is about --prompts or --judgements: name a file or source."
        )
    if opening is not None and (chat or column):
        raise UsageError(
            "an --opening is continued: leave out --chat and --prompt-column."
        )
    if opening is not None and prompts is None:
        raise UsageError("--opening is about --prompts: name a source.")


def _prompts(
    source: str | None,
    opening: tuple[int, int] | None,
    model: str,
    limit: int,
    reading: r.Reading,
    column: str | None,
    *,
    chat: bool,
) -> list[Any] | None:
    """Return the prompts, or None if none are named. Openings are counted in the model's tokens.

    reading: takes what a file of prompts was read as.
    """
    from tastemaker.gpt.policy import Policy
    from tastemaker.rl.text.prompts import openings_from, prompts_from

    if source is None:
        return None
    if opening is None:
        return prompts_from(
            Path(source),
            limit=limit,
            prompt_column=column,
            chat=chat,
            report=reading.read_as,
        )
    return openings_from(
        source,
        Policy.load(model).reader,
        opening,
        limit=limit,
        seed=reading.seed,
        split=reading.split,
        report=reading.read_as,
    )


def _print_steered(
    steered: Any, out: Path, reading: r.Reading, *, json: bool
) -> None:
    if json:
        from tastemaker.rl.text.steer import ALWAYS

        names = ["steps", "kl", "most_kl", "distinct"]
        names += ["stopped_because", "seconds"]
        for name in ALWAYS:
            names += [f"{name}_before", f"{name}_after"]
        o.say_json(
            {"policy": str(out)}
            | {name: steered.figures[name] for name in names}
            | ({"read_as": reading.as_list()} if reading.read_as else {})
        )
        return
    for sample in steered.samples[:3]:
        for when in ("before", "after"):
            score = (
                f"{sample[f'score_{when}']:+.2f}  "
                if f"score_{when}" in sample
                else ""
            )
            title = f"{when}:"
            o.say(f"{score}{title:8}{sample['prompt']}{sample[when]}")
        o.say("")
    o.say(str(steered))
    o.say(f"Let it write:  tastemaker write {out} -n 3")


@o.verb(PLAY)
@click.argument(
    "env", metavar="ENV", help="Name of an environment, such as CartPole-v1."
)
@o.option("--out", type=o.PATH, help="Folder for the player.")
@o.option(
    "--algorithm",
    default="ppo",
    help="Learning algorithm: reinforce, a2c, trpo or ppo.",
)
@o.settings("playing")
@o.option(
    "--episodes",
    type=int,
    default=100,
    help="Episodes at the end that measure.",
)
@o.option(
    "--option",
    multiple=True,
    help="An option of the environment: NAME=VALUE, such as continuous=true. May be repeated.",
)
@o.seed
@o.settings("algorithm_settings", "playing_algorithm")
@o.resuming
@o.output
def play(
    env: str,
    algorithm: str,
    algorithm_settings: o.Settings,
    option: tuple[str, ...],
    out: Path | None,
    json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Teach a policy to play. settings: those of `tm.play`, by its names."""
    import tastemaker as tm
    from tastemaker.rl.gym.environment import default_algorithm

    played = tm.play(
        env,
        algorithm=default_algorithm(env, algorithm, algorithm_settings),
        options=pairs_of("--option", option),
        out=out,
        say=lambda line: o.note(line, quiet=quiet),
        **settings,
    )
    if json:
        o.say_json(played.as_dict())
        return
    o.say(str(played))
    if out is not None:
        o.say(f"Watch it:  tastemaker watch {out}")


@o.verb(WATCH)
@click.argument(
    "player",
    metavar="DIR",
    type=o.PATH,
    help="A folder saved by `tastemaker play`.",
)
@o.option("--episodes", type=int, default=1, help="Episodes that are played.")
@o.option("--gif", type=o.PATH, help="Draw the first episode into this file.")
@o.option("--seed", type=int, default=0, help="Same seed, same episodes.")
@o.output
def watch(
    player: Path,
    episodes: int,
    gif: Path | None,
    seed: int,
    json: bool,
    quiet: bool,
) -> None:
    """Watch a saved player play."""
    import tastemaker as tm

    games = tm.watch(player, count=episodes, picture=gif, seed=seed)
    if json:
        returns = [game.score for game in games]
        o.say_json(
            {"returns": returns, "lengths": [game.length for game in games]}
        )
        return
    for number, game in enumerate(games, 1):
        o.say(
            f"episode {number}: return {game.score:.1f} in {game.length:,} steps"
        )
    if gif is not None:
        o.note(f"the first episode is drawn in {gif}", quiet=quiet)
