"""`tastemaker steer`: a GPT learns to write what scores well, or what people preferred."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tastemaker.cli import options as o
from tastemaker.rl.algorithms import ALGORITHMS

EXAMPLE = """Teach a GPT to write what scores well, or what people preferred.

Examples:

  tastemaker steer gpt --reward taste --out steered

  tastemaker steer gpt --reward taste --reward repetition=-2 --held-out judge --algorithm rloo --out steered

  tastemaker steer gpt --reward taste --prompts aclImdb.tar.gz --opening 2,8 --max-tokens 48 --out steered

  tastemaker steer gpt --algorithm dpo --judgements comparisons.jsonl --out preferred

Rewards: a folder saved by `fit`, a function of your own (module:name), an http address, or one of length, repetition,
missing-end, gold (the playground's truth); =NUMBER behind one is its weight, and several are added up. With
--judgements a reward only watches.
"""


@dataclass(frozen=True)
class Course:
    """How long and how fast."""

    steps: Annotated[
        int, typer.Option(help="Rollouts, or helpings of judgements, each followed by an update.")
    ] = 150
    batch: Annotated[int, typer.Option(help="Completions a rollout, or judged texts a step.")] = 128
    lr: Annotated[float | None, typer.Option(help="Learning rate; left out: the algorithm's.")] = (
        None
    )
    set: Annotated[
        list[str] | None,
        typer.Option(help="A setting of the algorithm: NAME=VALUE, such as clip=0.1."),
    ] = None
    detail: Annotated[
        list[str] | None,
        typer.Option(help="A detail of steering: NAME=VALUE, such as adam_epsilon=1e-8."),
    ] = None
    kl_coef: Annotated[
        float | None,
        typer.Option(
            help="What a nat of KL costs, in the reward's standard deviations; default: 0.1."
        ),
    ] = None
    kl_target: Annotated[
        float | None, typer.Option(help="Adapt that cost to so many nats a text.")
    ] = None
    kl_in: Annotated[Literal["reward", "loss"], typer.Option(help="Where the KL is paid.")] = (
        "reward"
    )
    most_kl: Annotated[float, typer.Option(help="Stop at a KL beyond so many nats a text.")] = 60.0
    max_tokens: Annotated[int, typer.Option(help="The most tokens of a completion.")] = 64
    temperature: Annotated[float, typer.Option(help="Divides the logits.")] = 1.0

    @property
    def price(self) -> Any:
        """The KL that was asked for; None where nothing was said of it."""
        from tastemaker.rl.text.kl import KL

        if (self.kl_coef, self.kl_target, self.kl_in) == (None, None, "reward"):
            return None
        coef = {} if self.kl_coef is None else {"coef": self.kl_coef}
        return KL(
            where=self.kl_in,
            estimator=_ESTIMATOR[self.kl_in],
            target=self.kl_target,
            **coef,
        )

    @property
    def details(self) -> dict[str, Any]:
        """The settings of steering that were given."""
        return {"steps": self.steps, "batch": self.batch} | o.settings("--detail", self.detail)


@dataclass(frozen=True)
class Asked:
    """What is continued or answered."""

    prompts: Annotated[
        str | None, typer.Option(help="A file of prompts; left out: texts are begun.")
    ] = None
    opening: Annotated[
        str | None,
        typer.Option(
            help="--prompts is then what pretrain reads, and a prompt its first LEAST,MOST tokens."
        ),
    ] = None
    split: o.Split = None
    limit: Annotated[int, typer.Option(help="At most so many prompts.")] = 2000
    prompt_column: o.PromptColumn = None
    chat: Annotated[
        bool, typer.Option("--chat", help="The prompts are what a user says, to be answered.")
    ] = False

    def read(self, model: str, seed: int) -> list[Any] | None:
        """Return the prompts, None where none are named; openings are counted in the model's tokens.

        Raises UsageError for what contradicts.
        """
        from tastemaker.errors import UsageError
        from tastemaker.gpt.policy import Policy
        from tastemaker.rl.text.prompts import openings_from, prompts_from

        if self.prompts is None:
            if self.opening:
                raise UsageError("--opening is about --prompts: name a source.")
            return None
        if self.opening is None:
            return prompts_from(
                Path(self.prompts),
                limit=self.limit,
                prompt_column=self.prompt_column,
                chat=self.chat,
            )
        if self.chat or self.prompt_column:
            raise UsageError("an --opening is continued: leave out --chat and --prompt-column.")
        length = o.two_numbers("--opening", self.opening)
        reader = Policy.load(model).reader
        return list(
            openings_from(
                self.prompts, reader, length, limit=self.limit, seed=seed, split=self.split
            )
        )


@dataclass(frozen=True)
class Told:
    """What people said of texts side by side."""

    judgements: Annotated[
        list[str] | None,
        typer.Option(
            help="Comparisons and rankings to learn from instead: what `fit` reads. May be repeated."
        ),
    ] = None
    format: o.Format = None
    skip_bad: o.SkipBad = False

    def read(self, asked: Asked, seed: int, *, quiet: bool) -> list[Any] | None:
        """Return the judgements, None where no source is named. Raises DataError for a source that compares nothing."""
        from tastemaker.errors import UsageError
        from tastemaker.rl.text.judged import check_compares

        if self.judgements is None:
            if self.format or self.skip_bad:
                raise UsageError("--format and --skip-bad are about --judgements: name a source.")
            return None
        reading, found = o.Reading(split=asked.split, seed=seed, format=self.format), []
        skipped: list[Any] | None = [] if self.skip_bad else None
        for source in self.judgements:
            said = reading.judgements([source], skipped)
            check_compares(said, source)
            found += [_answering(judgement) for judgement in said] if asked.chat else said
        o.note_skipped(skipped or [], quiet=quiet)
        return found


def _answering(judgement: Any) -> Any:
    """Return a judgement whose prompt, where it is a text, is what a user says."""
    from tastemaker.data.prompts import as_chat

    is_text = isinstance(judgement.prompt, str)
    return replace(judgement, prompt=as_chat(judgement.prompt)) if is_text else judgement


@o.gathers(course=Course, asked=Asked, told=Told)
def steer(
    model: Annotated[
        str,
        typer.Argument(
            metavar="POLICY", help="A folder saved by `pretrain`, any other, a hub name."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder that the steered GPT is saved in.")],
    course: Course,
    asked: Asked,
    told: Told,
    reward: Annotated[
        list[str] | None, typer.Option(help="What is learned to please. May be repeated.")
    ] = None,
    algorithm: Annotated[
        str, typer.Option(help=f"How it learns: {', '.join(ALGORITHMS)}.")
    ] = "ppo",
    held_out: Annotated[
        list[str] | None, typer.Option(help="A reward that only watches, and stops in time.")
    ] = None,
    gold: Annotated[
        str | None, typer.Option(help="The truth, where there is one: gold on the playground.")
    ] = None,
    caution: Annotated[
        str, typer.Option(help="Of an ensemble: λ of mean − λ·standard deviation, or minimum.")
    ] = "0",
    seed: o.Seed = 0,
    device: o.Device = "auto",
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Teach a GPT to write what scores well, or what people preferred."""
    import tastemaker as tm
    from tastemaker.errors import UsageError

    judgements = told.read(asked, seed, quiet=quiet)
    if asked.chat and judgements is None and asked.prompts is None:
        raise UsageError("--chat is about --prompts or --judgements: name a file or source.")
    steered = tm.steer(
        model,
        list(reward) if reward else None,
        asked.read(model, seed),
        judgements=judgements,
        algorithm=_algorithm(algorithm, course),
        kl=course.price,
        sampling=tm.Sampling(temperature=course.temperature, max_tokens=course.max_tokens),
        limits=tm.Limits(kl=course.most_kl),
        steering=course.details,
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
        from tastemaker.rl.text.steer import ALWAYS

        names = [
            "steps",
            *(f"{name}_{when}" for name in ALWAYS for when in ("before", "after")),
            "kl",
            "distinct",
        ]
        found = {name: steered.figures[name] for name in (*names, "stopped_because", "seconds")}
        o.say_json({"policy": str(out)} | found)
        return
    for sample in steered.samples[:3]:
        for when in ("before", "after"):
            score = f"{sample[f'score_{when}']:+.2f}  " if f"score_{when}" in sample else ""
            o.say(f"{score}{when + ':':8}{sample['prompt']}{sample[when]}")
        o.say("")
    o.say(str(steered))
    o.say(f"Let it write:  tastemaker write {out} -n 3")


_ESTIMATOR: dict[str, Any] = {"reward": "k1", "loss": "k2"}
"""The estimator of KL, by where it is paid."""


def _algorithm(name: str, course: Course) -> Any:
    """Return the algorithm with what the command line set of it."""
    from tastemaker.rl.algorithms import algorithm_named

    lr = {} if course.lr is None else {"lr": course.lr}
    return algorithm_named(name, **lr | o.settings("--set", course.set))


steer.__doc__ = EXAMPLE
