"""The verb `loop`: all stages from judgements to a steered GPT, by one file."""

from pathlib import Path
from typing import Any

import click

from tastemaker.cli import options as o

LOOP = """Run the whole loop by a file: judgements, reward model, GPT, steering, report.

Examples:

  tastemaker loop loop.yaml --out run

  tastemaker loop loop.yaml --out run --dry-run

  tastemaker loop loop.yaml --out run --rounds 2

A second call does only what changed, and a killed one goes on. A file may be as short as this:

\b
  judgements: reviews.csv
  fit: {backbone: linear}
  pretrain: {texts: reviews.csv}
  steer: {algorithms: [ppo, rloo], steps: 100}

The sections are read, fit, watcher, evaluate, pretrain, steer and rounds. Their keys are the
options of the verbs (docs/loop.md). Paths are relative to the file.
"""


@o.verb(LOOP)
@click.argument("file", metavar="FILE", type=o.PATH, help="The YAML file.")
@o.option(
    "--out",
    type=o.PATH,
    default=Path("loop"),
    help="Folder of the loop: one for each stage, and report.html.",
)
@o.option(
    "--rounds",
    type=int,
    help="Times that the policy is steered; before each further one its texts are judged.",
    shown="as the file says, or 1",
)
@o.flag("--dry-run", "Only show what would run, and about how long.")
@o.option(
    "--seed",
    type=int,
    help="Same seed, same bits on one CPU.",
    shown="as the file says, or 0",
)
@o.output
def loop(
    file: Path,
    out: Path,
    rounds: int | None,
    dry_run: bool,
    seed: int | None,
    json: bool,
    quiet: bool,
) -> None:
    """Run the whole loop by a file."""
    from tastemaker.loop.loop import Loop

    whole = Loop(file, rounds=rounds, seed=seed)
    if dry_run:
        say_plan(whole.plan(out), json=json)
        return
    result = whole.run(out, say=lambda line: o.note(line, quiet=quiet))
    if json:
        o.say_json(result.as_dict())
        return
    for line in result.verdict():
        o.say(line)
    o.say(f"report: {result.report}")


def say_plan(plan: list[Any], *, json: bool) -> None:
    """Print which stages would run, and about how long."""
    from tastemaker.loop.loop import plan_lines

    if not json:
        for line in plan_lines(plan):
            o.say(line)
        return
    stages = []
    for each in plan:
        stages.append(
            {
                "name": each.stage.name,
                "seconds": each.about,
                "cached": each.is_cached,
                "estimated": not each.was_run,
            }
        )
    o.say_json({"stages": stages})
