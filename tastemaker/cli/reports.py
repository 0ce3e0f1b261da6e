"""The verbs `report` and `frontier`, and the reports that other verbs write about their runs."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tastemaker.cli import options as o
from tastemaker.cli.trust import explanations
from tastemaker.costs import Cost
from tastemaker.errors import StorageError

FRONTIER = """Draw the KL–reward frontier of steered runs: gain, KL, and whether the gain is real.

Examples:

  tastemaker frontier steered-ppo steered-rloo steered-grpo --out frontier

  tastemaker frontier steered --best-of 64 --policy gpt --reward taste --gold gold --out frontier

Over-optimisation shows where the runs were steered with --held-out or --gold. Best-of-n is written
by the policy that the runs started from, to the first of the same prompts and with the same
sampling.
"""

REPORT = """Write one page about runs: what to rely on, what not, and what to do next.

A run is a folder of fit, evaluate, doctor --report, pretrain or steer. The page,
report.html, needs nothing else: it can be sent to anybody.

\b
tastemaker report taste report steered/ppo --out page
tastemaker report taste --language zh --out page
"""


def _folders(meaning: str) -> Callable[[o.F], o.F]:
    """Give a verb the argument RUN…. meaning: which folders these are."""
    return click.argument(
        "runs",
        metavar="RUN...",
        type=o.PATH,
        nargs=-1,
        required=True,
        help=meaning,
    )


@o.verb(REPORT)
@_folders("Folders of runs.")
@o.option(
    "--out",
    type=o.PATH,
    required=True,
    help="Write report.html there.",
)
@o.option("--title", help="Title of the page.", shown="by its parts")
@o.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    default="en",
    help="Language of the page.",
)
@o.output
def report(
    runs: tuple[Path, ...],
    out: Path,
    title: str | None,
    language: str,
    json: bool,
    quiet: bool,
) -> None:
    """Write one page about runs."""
    from tastemaker.report.runs import report_runs

    page = report_runs(runs, out, title=title, language=language)
    if json:
        o.say_json({"report": str(page), "runs": [str(run) for run in runs]})
    elif not quiet:
        o.say(f"report: {page}")


@o.verb(FRONTIER)
@_folders("Folders of `steer`.")
@o.option(
    "--out",
    type=o.PATH,
    help="Write frontier.html, frontier.png, frontier.json there.",
)
@o.option(
    "--best-of",
    type=int,
    help="Also measure the best of 1, 2, 4 and so on, up to this number.",
)
@o.option(
    "--policy",
    help="GPT that writes these.",
    shown="as the first run",
    panel=o.BEST_OF,
)
@o.option(
    "--reward",
    multiple=True,
    help="Reward that chooses among them.",
    shown="as the first run",
    panel=o.BEST_OF,
)
@o.option(
    "--gold",
    help="True reward of the chosen, where there is one.",
    panel=o.BEST_OF,
)
@o.option(
    "--held-out",
    multiple=True,
    help="Held-out reward of the chosen.",
    panel=o.BEST_OF,
)
@o.option(
    "--completions",
    type=int,
    help="Completions of each prompt.",
    shown="16 times --best-of in all",
    panel=o.BEST_OF,
)
@o.seed
@o.device
@o.dtype
@o.output
def frontier(
    runs: tuple[Path, ...],
    out: Path | None,
    best_of: int | None,
    policy: str | None,
    reward: tuple[str, ...],
    json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Draw the KL–reward frontier of steered runs. settings: those of `best_of_curve`."""
    from tastemaker.report.frontier_page import write_frontier
    from tastemaker.report.kl_frontier import frontier as frontier_of

    curves = frontier_of(runs)
    if best_of is not None:
        curve = _best_of(
            curves.courses[0].run, best_of, policy, reward, **settings
        )
        curves = frontier_of(runs, best_of=curve)
    if out is not None:
        write_frontier(curves, out)
        o.note(f"page: {out / 'frontier.html'}", quiet=quiet)
    if json:
        o.say_json(curves.as_dict())
    else:
        o.say(str(curves))


def _best_of(
    run: Any,
    most: int,
    policy: str | None,
    reward: tuple[str, ...],
    held_out: Any,
    device: Any,
    dtype: Any,
    **settings: Any,
) -> Any:
    """Return best-of-n with the policy, reward, prompts and sampling of a run."""
    import tastemaker as tm
    from tastemaker.errors import UsageError
    from tastemaker.report.steered_runs import best_of_curve, powers_of_two

    def from_run(option: str, name: Any) -> str:
        is_here = isinstance(name, str) and (
            Path(name).is_dir() or name == "gold"
        )
        if not is_here:
            raise UsageError(
                f"--best-of needs --{option}: {run.folder} names {name!r}, which is not here."
            )
        return str(name)

    start = policy or from_run("policy", run.settings.get("start"))
    rewards = list(reward) or [from_run("reward", run.settings.get("reward"))]
    return best_of_curve(
        tm.Policy.load(start, dtype=dtype).to(device),
        rewards,
        run.prompts or "",
        held_out=list(held_out) or None,
        ns=powers_of_two(most),
        sampling=tm.Sampling(**run.settings.get("sampling", {})),
        **settings,
    )


def report_fit(model: Any, out: Path, *, quiet: bool) -> None:
    """Write the page of a fit into its folder.

    A resumed fit that was finished has its page already, unless it was killed before the page was
    there.
    """
    from tastemaker.report.runs import (
        REPORT_FOLDER,
        has_report,
        report_model,
    )
    from tastemaker.reward.finishing import measure_held_out

    if model.held_out_evaluation is None:
        if has_report(out / REPORT_FOLDER):
            return
        measure_held_out(model, model.held_out_judgements)
    page = report_model(model, out / REPORT_FOLDER)
    o.note(f"report: {page}", quiet=quiet)


def report_steering(out: Path, *, quiet: bool) -> None:
    """Write the page of a steered run into its folder."""
    from tastemaker.report.runs import REPORT_FOLDER, report_runs

    page = report_runs([out], out / REPORT_FOLDER)
    o.note(f"report: {page}", quiet=quiet)


def evaluation_folder(
    model: Path, source: str, split: str | None
) -> Path | None:
    """Return where the page about an evaluation goes; None where the model is no folder here.

    It is beside the model's folder: a model may be published, and the page quotes texts.
    """
    from tastemaker.data.roles import described_source

    if not model.is_dir() or not os.access(model.resolve().parent, os.W_OK):
        return None
    path, _, others = described_source(source)
    place = re.split("[?#]", path)[0] if "://" in path else path
    words = [Path(place).name, split or others.get("split", "")]
    name = re.sub(r"[^\w.-]+", "-", "-".join(filter(None, words))).strip(".-")
    folder = model if model.name else model.resolve()
    return folder.with_name(f"{folder.name}-evaluations") / (name or "texts")


def report_evaluation(
    taste: Any, measured: Any, out: Path, cost: Cost, *, quiet: bool
) -> None:
    """Write the page of an evaluation into a folder."""
    import tastemaker as tm

    parts = explanations(taste, measured)
    tm.write_report(measured, out, explanations=parts, cost=cost)
    o.note(f"report: {out / 'report.html'}", quiet=quiet)


def try_to_report_evaluation(
    taste: Any, measured: Any, out: Path | None, cost: Cost, *, quiet: bool
) -> None:
    """Write the page that nobody asked for; where it cannot be written, the figures stay."""
    reason = "the model is no folder here whose parent can be written"
    if out is not None:
        try:
            report_evaluation(taste, measured, out, cost, quiet=quiet)
            return
        except StorageError as error:
            reason = str(error)
    o.note(
        f"no page was written ({reason}); name a place: --report DIR",
        quiet=quiet,
    )
