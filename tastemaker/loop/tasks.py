"""Runs one stage: finds its function, goes on with what a killed process left of it."""

from collections.abc import Callable, Mapping
from typing import Any

from tastemaker.errors import StorageError, UsageError
from tastemaker.loop import steering_work, work
from tastemaker.loop.loop_file import LoopFile
from tastemaker.loop.run_folder import RunFolder
from tastemaker.loop.stages import Planned
from tastemaker.loop.work import Result, Say, Work

_TASKS: dict[str, Callable[[Work], Result]] = {
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
_RESUMED = ("fit_model", "pretrain_gpt", "steer_gpt")
"""Tasks whose runs have checkpoints, and go on from them."""


def do(
    file: LoopFile, folder: RunFolder, each: Planned, say: Say
) -> Mapping[str, Any]:
    """Do a stage in its working folder, and return what it measured.

    What an older process began is gone on with; where it cannot be, the stage begins again.
    """
    stage = each.stage
    task = _TASKS[stage.task]
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
