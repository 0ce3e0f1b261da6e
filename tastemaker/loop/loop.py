"""The whole loop: judgements, reward model, GPT, steering, comparison, report. One call.

    tm.Loop("loop.yaml").run("run")

A second call does only what changed: see `stages`. A killed one goes on where it was.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tastemaker.costs import measured
from tastemaker.errors import SeveralProblems, StorageError, UsageError
from tastemaker.files import writing_file
from tastemaker.loop.loop_file import LoopFile, read_loop
from tastemaker.loop.run_folder import Record, RunFolder
from tastemaker.loop.stages import Planned, planned, stages_of
from tastemaker.loop.yaml_lines import Problem
from tastemaker.readable import notebook_html

Say = Callable[[str], None]
REPORT = "report.html"


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class StageTime:
    """A stage of a finished loop. seconds: that it took, now or when it ran."""

    name: str
    seconds: float
    cached: bool


@dataclass(frozen=True)
class LoopResult:
    """A finished loop.

    report: the page that shows it. stages: in order. results: by stage, what it measured. best:
    the stage of the steered policy with the best held-out score, None without a GPT.
    score_before, score_after, kl: of that policy, from the reference; None without a GPT.
    reference: the GPT before any steering, also after further rounds.
    """

    folder: Path
    report: Path
    stages: tuple[StageTime, ...]
    results: Mapping[str, Mapping[str, Any]]
    best: str | None
    reference: str | None = None

    def _figure(self, name: str) -> float | None:
        figures = self.results[self.best] if self.best else {}
        value = figures.get(name)
        return None if value is None else float(value)

    @property
    def score_before(self) -> float | None:
        """The mean score of what the GPT wrote before it was steered."""
        return self._figure("score_before")

    @property
    def score_after(self) -> float | None:
        """The mean score of what the steered GPT writes."""
        return self._figure("score_after")

    @property
    def kl(self) -> float | None:
        """The KL of the steered GPT from the one before, nats a text."""
        return self._figure("kl")

    def _repr_html_(self) -> str:
        """Return the result and the stages, for a notebook."""
        rows = [["stage", "seconds", "done before"]]
        for stage in self.stages:
            row = [
                stage.name,
                f"{stage.seconds:.1f}",
                "yes" if stage.cached else "",
            ]
            rows.append(row)
        sentences = [
            f"report: {self.report}",
            *self.verdict(),
        ]
        return notebook_html(sentences, rows)

    def verdict(self) -> list[str]:
        """Return what the best policy gained, as a sentence; none without a GPT."""
        if self.best is None:
            return []
        return [
            f"{self.best}: score {self.score_before:+.2f} → {self.score_after:+.2f} "
            f"at {self.kl:.1f} nats"
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        stages = []
        for stage in self.stages:
            stages.append(
                {
                    "name": stage.name,
                    "seconds": round(stage.seconds, 3),
                    "cached": stage.cached,
                }
            )
        result: dict[str, Any] = {
            "report": str(self.report),
            "stages": stages,
            "score_before": self.score_before,
            "score_after": self.score_after,
            "kl": self.kl,
        }
        for name in ("gold_before", "gold_after"):
            value = self._figure(name)
            if value is not None:
                result[name] = value
        if self.best is not None:
            result["policy"] = str(self.folder / self.best)
            result["reference"] = self.reference
        return result


class Loop:
    """A loop over judgements, a reward model and a GPT, as a file or a mapping describes it.

    source: a YAML file, or a mapping with the same keys (docs/loop.md). rounds, seed: instead of
    its own. Raises SeveralProblems, a UsageError with all that is wrong with it.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, Any],
        *,
        rounds: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.file, problems = read_loop(source, rounds=rounds, seed=seed)
        if problems:
            self._raise_all(problems)

    def _repr_html_(self) -> str:
        """Return the stages and what each follows from, for a notebook; nothing is run."""
        rows = [["stage", "follows from"]]
        for stage in stages_of(self.file):
            before = ", ".join(stage.after)
            rows.append([stage.name, before])
        return notebook_html([f"Loop: {self.file.name}"], rows)

    def plan(self, out: str | Path) -> list[Planned]:
        """Return the stages, and which of them `run` would do. Nothing is computed."""
        folder = RunFolder(Path(out))
        with folder.locked():
            plan = planned(self.file, folder)
        self._check_values(plan)
        return plan

    def run(self, out: str | Path, *, say: Say = _silent) -> LoopResult:
        """Do the stages that are not on disk already, and return what all of them measured.

        out: the folder of the loop; one process at a time. say: takes lines of progress.

        Raises DataError, UsageError and the errors of the verbs; finished stages are kept.
        """
        folder = RunFolder(Path(out))
        # what the command took before is measured here, and not in the first stage
        with folder.locked(), measured():
            plan = planned(self.file, folder)
            self._check_values(plan)
            records = {}
            times = []
            for number, each in enumerate(plan, 1):
                heading = f"[{number}/{len(plan)}] {each.stage.name}"
                if each.record is not None:
                    record = each.record
                    say(
                        f"{heading}: unchanged ({record.seconds:.0f} s when it ran)"
                    )
                    for line in record.lines:
                        say(f"  {line}")
                else:
                    say(f"{heading}: {each.reason}")
                    record = self._run(folder, each, say)
                records[each.stage.name] = record
                times.append(
                    StageTime(each.stage.name, record.seconds, each.is_cached)
                )
            report = _report_at_the_top(folder)
        results = {name: record.result for name, record in records.items()}
        return LoopResult(
            folder.folder,
            report,
            tuple(times),
            results,
            _best(plan, results),
            self._reference(folder),
        )

    def _reference(self, folder: RunFolder) -> str | None:
        """Return the name or folder of the GPT before any steering."""
        if not self.file.has_gpt:
            return None
        return folder.first_policy(self.file.top)

    def _run(self, folder: RunFolder, each: Planned, say: Say) -> Record:
        """Do one stage, and give it its record."""
        lines: list[str] = []

        def keep(line: str) -> None:
            lines.extend(line.splitlines())
            for part in line.splitlines():
                say(f"  {part}")

        name = each.stage.name
        with (
            measured(
                before=folder.cost_so_far(name, each.key),
                seed=self.file.seed,
                kept_in=folder.work(name),
            ) as cost,
            folder.storing(folder.work(name)),
        ):
            result = _do(self.file, folder, each, keep)
        record = Record(each.key, cost, each.parts, result, tuple(lines))
        folder.finish(name, record)
        return record

    def _check_values(self, plan: list[Planned]) -> None:
        """Raise SeveralProblems for values that the verbs refuse, before anything runs.

        Where all is done already, the values were checked, and torch is not imported.
        """
        if all(each.is_cached for each in plan):
            return
        self._raise_all([])

    def _raise_all(self, problems: list[Problem]) -> None:
        """Raise SeveralProblems for some problems and for values that the verbs refuse, if any."""
        from tastemaker.loop.arguments import value_problems

        problems = [*problems, *value_problems(self.file)]
        if problems:
            problems.sort(key=lambda problem: problem.line)
            name = self.file.name
            raise SeveralProblems([problem.at(name) for problem in problems])


def plan_lines(plan: list[Planned]) -> list[str]:
    """Return what a plan says, a line a stage."""
    width = max(len(each.stage.name) for each in plan)
    lines = []
    missing = [each for each in plan if not each.is_cached]
    for each in plan:
        state = "unchanged"
        if not each.is_cached:
            about = (
                "time unknown"
                if each.about is None
                else f"about {each.about:.0f} s"
            )
            if each.about is not None and not each.was_run:
                about += " (estimated from sizes)"
            state = f"would run: {each.reason}; {about}"
        lines.append(f"{each.stage.name:{width}}  {state}")
    estimates = [each.about for each in missing if each.about is not None]
    unknown = len(missing) - len(estimates)
    total = f"{len(missing)} of {len(plan)} stages would run, about {sum(estimates):.0f} s"
    if unknown:
        total += f" and {unknown} of unknown length"
    lines.append(total)
    return lines


def _report_at_the_top(folder: RunFolder) -> Path:
    """Copy the report to the top of the folder, unless it is there."""
    made, top = folder.stage("report") / REPORT, folder.folder / REPORT
    is_there = top.is_file() and top.read_bytes() == made.read_bytes()
    if not is_there:
        with writing_file(top) as temporary:
            shutil.copyfile(made, temporary)
    return top


def _best(
    plan: list[Planned], results: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Return the stage of the best policy of the last round; None where none was steered."""
    steered = [each.stage for each in plan if each.stage.task == "steer_gpt"]
    if not steered:
        return None
    last = max(stage.round for stage in steered)
    names = [stage.name for stage in steered if stage.round == last]
    return best_run({name: results[name] for name in names})


def best_run(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of the run with the best held-out score, else the best score.

    records: the figures of each run. The true score does not choose: outside the playground
    nobody has one.
    """

    def worth(name: str) -> float:
        figures = records[name]
        for key in ("held_out_after", "score_after"):
            if figures.get(key) is not None:
                return float(figures[key])
        return -float("inf")

    return max(records, key=worth)


_RESUMED = ("fit_model", "pretrain_gpt", "steer_gpt")
"""Tasks whose runs have checkpoints, and go on from them."""


def _task_named(name: str) -> Callable[[Any], Mapping[str, Any]]:
    """Return the function that does a task. Torch is imported here, where something runs."""
    from tastemaker.loop import steering_work, work

    tasks: dict[str, Callable[[work.Work], work.Result]] = {
        "collect": work.collect,
        "check_data": work.check_data,
        "fit_model": work.fit_model,
        "evaluate_model": work.evaluate_model,
        "open_gpt": steering_work.open_gpt,
        "pretrain_gpt": steering_work.pretrain_gpt,
        "steer_gpt": steering_work.steer_gpt,
        "choose_best": steering_work.choose_best,
        "write_texts": steering_work.write_texts,
        "judge_texts": steering_work.judge_texts,
        "compare_runs": steering_work.compare_runs,
        "write_report": steering_work.write_report,
    }
    return tasks[name]


def _do(
    file: LoopFile, folder: RunFolder, each: Planned, say: Say
) -> Mapping[str, Any]:
    """Do a stage in its working folder, and return what it measured.

    What an older process began is gone on with; where it cannot be, the stage begins again.
    """
    from tastemaker.loop.work import Work

    stage = each.stage
    task = _task_named(stage.task)
    was_begun = folder.work(stage.name).is_dir()
    if was_begun and stage.task in _RESUMED:
        out = folder.begin(stage.name, each.key)
        try:
            return task(Work(file, folder, stage, out, say))
        except (UsageError, StorageError) as error:
            # another path to the same inputs, or a damaged run
            if "--resume" not in str(error) and "--overwrite" not in str(
                error
            ):
                raise
    out = folder.restart(stage.name, each.key)
    return task(Work(file, folder, stage, out, say))
