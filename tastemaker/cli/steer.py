"""`tastemaker steer`: a GPT learns to write what scores well."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tastemaker.cli import options as o

EXAMPLE = """Teach a GPT to write what scores well.

Examples:

  tastemaker steer gpt --reward taste --out steered

  tastemaker steer gpt --reward taste --reward repetition=-2 --held-out judge --algorithm rloo --out steered

  tastemaker steer gpt --reward taste --prompts aclImdb.tar.gz --opening 2,8 --max-tokens 48 --out steered

Rewards: a folder saved by `fit`, a function of your own (module:name), an http address, or one of length, repetition,
missing-end, gold (the playground's truth); =NUMBER behind one is its weight, and several are added up.
"""


@dataclass(frozen=True)
class Course:
    """How long and how fast."""

    steps: Annotated[int, typer.Option(help="Rollouts, each followed by an update.")] = 150
    batch: Annotated[int, typer.Option(help="Completions a rollout.")] = 128
    lr: Annotated[float | None, typer.Option(help="Learning rate; left out: the algorithm's.")] = None
    set: Annotated[list[str] | None, typer.Option(help="A setting of the algorithm: NAME=VALUE, such as clip=0.1.")] = (
        None
    )
    drift: Annotated[float, typer.Option(help="What a nat of drift costs, in the reward's standard deviations.")] = 0.1
    drift_target: Annotated[float | None, typer.Option(help="Adapt that cost to so many nats a text.")] = None
    drift_in: Annotated[Literal["reward", "loss"], typer.Option(help="Where drift is paid.")] = "reward"
    most_drift: Annotated[float, typer.Option(help="Stop beyond so many nats a text.")] = 60.0
    max_tokens: Annotated[int, typer.Option(help="The most tokens of a completion.")] = 64
    temperature: Annotated[float, typer.Option(help="Divides the logits.")] = 1.0


@dataclass(frozen=True)
class Asked:
    """What is continued or answered."""

    prompts: Annotated[str | None, typer.Option(help="A file of prompts; left out: texts are begun.")] = None
    opening: Annotated[
        str | None,
        typer.Option(help="--prompts is then what pretrain reads, and a prompt its first LEAST,MOST tokens."),
    ] = None
    split: o.Split = None
    limit: Annotated[int, typer.Option(help="At most so many prompts.")] = 2000
    prompt_column: o.PromptColumn = None
    chat: Annotated[bool, typer.Option("--chat", help="The prompts are what a user says, to be answered.")] = False

    def read(self, model: str, seed: int) -> list[Any]:
        """Return the prompts, openings being counted in the model's tokens. Raises UsageError for what contradicts."""
        from tastemaker.errors import UsageError
        from tastemaker.learning.steering.prompts import openings_from, prompts_from
        from tastemaker.models.policy.policy import Policy

        if self.prompts is None:
            if self.opening or self.chat:
                raise UsageError("--opening and --chat are about --prompts: name a file or source.")
            return [""]
        if self.opening is None:
            return prompts_from(Path(self.prompts), limit=self.limit, prompt_column=self.prompt_column, chat=self.chat)
        if self.chat or self.prompt_column:
            raise UsageError("an --opening is continued: leave out --chat and --prompt-column.")
        length = o.two_numbers("--opening", self.opening)
        reader = Policy.load(model).reader
        return list(openings_from(self.prompts, reader, length, limit=self.limit, seed=seed, split=self.split))


@o.gathers(course=Course, asked=Asked)
def steer(
    model: Annotated[
        str, typer.Argument(metavar="POLICY", help="A folder saved by `pretrain`, any other, a hub name.")
    ],
    reward: Annotated[list[str], typer.Option(help="What is learned to please. May be repeated.")],
    out: Annotated[Path, typer.Option(help="The folder that the steered GPT is saved in.")],
    course: Course,
    asked: Asked,
    algorithm: Annotated[
        Literal["reinforce", "a2c", "trpo", "ppo", "rloo", "grpo", "dpo", "winners"],
        typer.Option(help="How it learns."),
    ] = "ppo",
    held_out: Annotated[list[str] | None, typer.Option(help="A reward that only watches, and stops in time.")] = None,
    gold: Annotated[str | None, typer.Option(help="The truth, where there is one: gold on the playground.")] = None,
    caution: Annotated[str, typer.Option(help="Of an ensemble: λ of mean − λ·standard deviation, or minimum.")] = "0",
    seed: o.Seed = 0,
    device: o.Device = "auto",
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Teach a GPT to write what scores well."""
    import tastemaker as tm

    steered = tm.steer(
        model,
        list(reward),
        asked.read(model, seed),
        algorithm=_algorithm(algorithm, course),
        drift=tm.Drift(course.drift, course.drift_in, _ESTIMATOR[course.drift_in], course.drift_target),
        sampling=tm.Sampling(temperature=course.temperature, max_tokens=course.max_tokens),
        limits=tm.Limits(drift=course.most_drift),
        steering={"steps": course.steps, "batch": course.batch},
        held_out=list(held_out) if held_out else None,
        gold=gold,
        caution=o.caution_of(caution),
        seed=seed,
        device=device,
        out=out,
        resume=resume,
        overwrite=overwrite,
        say=lambda line: o.note(line, quiet=quiet),
    )
    _say(steered, out, json=json)


def _say(steered: Any, out: Path, *, json: bool) -> None:
    """Print what happened."""
    if json:
        names = ("steps", "score_before", "score_after", "held_out_before", "held_out_after", "drift", "distinct")
        found = {name: steered.figures[name] for name in (*names, "stopped_because", "seconds")}
        o.say_json({"policy": str(out)} | found)
        return
    for sample in steered.samples[:3]:
        o.say(f"{sample['score_before']:+.2f}  before: {sample['prompt']}{sample['before']}")
        o.say(f"{sample['score_after']:+.2f}  after:  {sample['prompt']}{sample['after']}\n")
    o.say(str(steered))
    o.say(f"Let it write:  tastemaker write {out} -n 3")


_ESTIMATOR: dict[str, Any] = {"reward": "k1", "loss": "k2"}
"""The estimator of drift, by where it is paid."""


def _algorithm(name: str, course: Course) -> Any:
    """Return the algorithm with what the command line set of it."""
    from tastemaker.learning.algorithms import algorithm_named

    lr = {} if course.lr is None else {"lr": course.lr}
    return algorithm_named(name, **lr | o.settings("--set", course.set))


steer.__doc__ = EXAMPLE
