"""`tastemaker frontier`: the KL–reward frontier, for steered runs and for best-of-n."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli import options as o

EXAMPLE = """Draw the KL–reward frontier of steered runs: what each gained, at what KL, and whether it is real.

Examples:

  tastemaker frontier steered-ppo steered-rloo steered-grpo --out frontier

  tastemaker frontier steered --best-of 64 --policy gpt --reward taste --gold gold --out frontier

For over-optimisation to show, the runs must have been steered with --held-out or --gold. Best-of-n is written by the
policy that the runs started from, to the same prompts' first few and with the same sampling.
"""


@dataclass(frozen=True)
class Rival:
    """Best-of-n beside the runs, if asked for."""

    best_of: Annotated[
        int | None, typer.Option(help="Measure the best of 1, 2, 4 … up to so many too.")
    ] = None
    policy: Annotated[
        str | None, typer.Option(help="Who writes these; left out: what the first run names.")
    ] = None
    reward: Annotated[
        list[str] | None,
        typer.Option(help="Who chooses among them; left out: what the first run names."),
    ] = None
    gold: Annotated[
        str | None, typer.Option(help="The truth about the chosen, where there is one.")
    ] = None
    held_out: Annotated[
        list[str] | None, typer.Option(help="A held-out reward's word on the chosen.")
    ] = None
    completions: Annotated[
        int | None, typer.Option(help="Of each prompt; left out: 16 times --best-of in all.")
    ] = None
    seed: o.Seed = 0


@o.gathers(rival=Rival)
def frontier(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders saved by `steer`.")],
    rival: Rival,
    out: Annotated[
        Path | None, typer.Option(help="Write frontier.html, frontier.png, frontier.json there.")
    ] = None,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Draw the KL–reward frontier of steered runs."""
    from tastemaker.report.frontier_page import write_frontier
    from tastemaker.report.kl_frontier import frontier as beside_each_other

    found = beside_each_other(runs)
    if rival.best_of is not None:
        found = beside_each_other(
            runs, best_of=_best_of(rival, rival.best_of, found.courses[0].run)
        )
    if out is not None:
        write_frontier(found, out)
        o.note(f"page: {out / 'frontier.html'}", quiet=quiet)
    o.say_json(found.as_dict()) if json else o.say(str(found))


def _best_of(rival: Rival, most: int, run: Any) -> Any:
    """Return best-of-n as the runs would have sampled it; what was left out is what the first run names."""
    import tastemaker as tm
    from tastemaker.errors import UsageError
    from tastemaker.report.steered_runs import best_of_curve, powers_of_two

    start, reward = (
        rival.policy or run.settings.get("start"),
        rival.reward or [run.settings.get("reward")],
    )
    for option, named, given in (
        ("policy", start, rival.policy),
        ("reward", reward[0], rival.reward),
    ):
        if not given and not (isinstance(named, str) and (Path(named).is_dir() or named == "gold")):
            raise UsageError(
                f"--best-of needs --{option}: {run.folder} names {named!r}, which is not here."
            )
    return best_of_curve(
        tm.Policy.load(str(start)),
        list(reward),
        run.prompts or "",
        gold=rival.gold,
        held_out=list(rival.held_out) if rival.held_out else None,
        ns=powers_of_two(most),
        completions=rival.completions,
        sampling=tm.Sampling(**run.settings.get("sampling", {})),
        seed=rival.seed,
    )


frontier.__doc__ = EXAMPLE
