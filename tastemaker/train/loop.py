"""The training loop of every verb: resume, step, evaluate, log, save checkpoints, stop.

A verb describes its work as a `Task`; `train` does the rest. A run that was killed goes on from
its newest checkpoint, to the same bits: the checkpoint holds the task's state, the optimiser's and
that of torch's random numbers.

Several processes take the same steps. The first one's state and decisions reach the others.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tastemaker import processes
from tastemaker.costs import on_device, stage
from tastemaker.errors import RewardError, TrainingError
from tastemaker.progress import progress as progress_line
from tastemaker.progress import remark
from tastemaker.train.checkpoint import Checkpoint
from tastemaker.train.gradients import Metrics
from tastemaker.train.run import Run
from tastemaker.train.step import (
    NotFinite,
    on_host,
    restore_state,
    state_tensors,
)

DONE = "all steps are done"
_PROCESSES = "processes"
_STEP_SEEDS = 1_000_003


@dataclass
class Progress:
    """How far a run is. Checkpoints keep it, beside what the task's own `state` returns.

    step: the number that log lines and checkpoints carry; optimiser steps, or environment steps
    where a policy plays. best_step, best_loss: of the best evaluation so far. without_gain:
    evaluations since then. stopped_because: why the run ended early; None: it has not.
    """

    step: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    without_gain: int = 0
    stopped_because: str | None = None


class StopTraining(Exception):
    """A task raises it in `step` to end the run before that step; the message says why."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run after a step; the message says how to go on."""


class Task:
    """What one verb does in a training run.

    name: what the progress line shows. total: the amount of work, in the unit of `done`.
    optimizer, device: whose state checkpoints hold. checkpoint_seconds: time between checkpoints.
    saves_after_evaluation: whether each evaluation is followed by a checkpoint too. saves_at_end:
    whether the last step is, because more work follows. patience: evaluations without a lower
    "held_out_loss" that end the run; None: no early stop. is_sharded: whether each process holds
    a share of the weights.
    """

    checkpoint_seconds: ClassVar[float] = 60.0
    saves_after_evaluation: ClassVar[bool] = True
    saves_at_end: ClassVar[bool] = False
    name: str
    total: float
    optimizer: torch.optim.Optimizer
    device: torch.device
    patience: int | None = None
    is_sharded: bool = False

    def __init__(self) -> None:
        self.progress = Progress()

    @property
    def done(self) -> float:
        """The amount of work that is done."""
        return self.progress.step

    def step(self) -> Metrics:
        """Take one step and count it in `progress.step`; return what to log, nothing for no line.

        Raises StopTraining to end the run.
        """
        raise NotImplementedError

    def evaluate(self) -> Metrics | None:
        """Evaluate, if an evaluation is due after this step. Returns None where none is due."""
        return None

    def keep_best(self) -> None:
        """Remember the present weights: this evaluation is the best so far."""

    def text(self, metrics: Mapping[str, float]) -> str:
        """Return a word for the progress line."""
        return f"loss {metrics['loss']:.3f}"

    def can_resume_here(self) -> bool:
        """Return whether a checkpoint may be taken after this step."""
        return True

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what a checkpoint holds of the task: JSON-ready values, and tensors by name."""
        raise NotImplementedError

    def load(
        self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Take over what `state` returned."""
        raise NotImplementedError

    def finish(self) -> None:
        """Put the trained weights in place when the last step is done."""


@stage("training")
def train(task: Task, run: Run, *, seed: int) -> Progress:
    """Train to the end, or until something stops the run; return how far it came.

    seed: of torch's random numbers. Raises TrainingError for a loss or a gradient that is not
    finite, once the log holds them. Raises what the task raises; finished steps are kept where a
    reward or an environment failed. Raises Interrupted after the step in which Ctrl-C was pressed,
    with a checkpoint.
    """
    torch.manual_seed(seed)
    on_device(str(task.device))
    if task.is_sharded and processes.is_first():
        remark(
            f"the weights are divided over {processes.count()} processes: transformers' own pass "
            "computes the steps, as Tastemaker's faster one needs whole weights. That one still "
            "measures and writes."
        )
    _begin_alike(task, _resume(task, run))
    progress = task.progress
    saved_at = time.monotonic()
    is_saved = False
    with (
        progress_line(task.name, task.total, timed=True) as advance,
        _asked_to_stop() as is_asked,
    ):
        advance(task.done, "")
        while progress.stopped_because is None and task.done < task.total:
            done_before = task.done
            is_saved = False
            if processes.count() > 1:
                # each one draws dropout of its own, on resuming too
                step_seed = seed * _STEP_SEEDS + progress.step
                torch.manual_seed(processes.own_seed(step_seed))
            metrics = _step(task, run)
            if metrics is None:
                break
            advance(task.done - done_before, task.text(metrics))
            evaluation = task.evaluate()
            if evaluation is not None:
                evaluation = processes.from_first(evaluation)
                metrics |= evaluation
                _stop_early(task, evaluation)
            if metrics:
                run.log(progress.step, metrics)
            is_due = time.monotonic() - saved_at >= task.checkpoint_seconds
            is_due |= evaluation is not None and task.saves_after_evaluation
            if task.is_sharded:  # all processes gather the weights
                is_due = processes.from_first(is_due)
            if (
                is_due
                and progress.stopped_because is None
                and task.can_resume_here()
            ):
                run.save(_checkpoint(task))
                saved_at = time.monotonic()
                is_saved = True
            if processes.any_of(is_asked()):
                _interrupt(task, run, is_saved=is_saved)
    if task.saves_at_end and not is_saved:
        run.save(_checkpoint(task))
    task.finish()
    return progress


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C was pressed; a second one stops at once.

    Another thread gets no signals, and another program's handler stays.
    """
    presses: list[int] = []

    def note(number: int, frame: object) -> None:
        del frame
        if presses:
            raise KeyboardInterrupt
        presses.append(number)
        if processes.is_first():
            sys.stderr.write(
                "stopping after this step; press Ctrl-C again to stop at once\n"
            )

    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    if handler is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(presses)
    finally:
        signal.signal(signal.SIGINT, handler)


def _interrupt(task: Task, run: Run, *, is_saved: bool) -> None:
    """Save a checkpoint where one may be taken, and raise Interrupted."""
    message = f"stopped from outside after step {task.progress.step:,}"
    if not processes.from_first(run.folder is not None):
        raise Interrupted(f"{message}; without a folder nothing is saved.")
    if not is_saved and task.can_resume_here():
        run.save(_checkpoint(task))
    raise Interrupted(
        f"{message}; a checkpoint is saved. Go on with the same command and --resume."
    )


def _step(task: Task, run: Run) -> Metrics | None:
    """Take one step and return its metrics; None where the task stops the run."""
    progress = task.progress
    try:
        return task.step()
    except StopTraining as stop:
        progress.stopped_because = str(stop)
        return None
    except NotFinite as error:
        run.log(
            progress.step,
            {"loss": error.loss, "gradient_norm": error.gradient_norm},
        )
        raise TrainingError(
            f"step {progress.step + 1}: the loss is {error.loss} and "
            f"the gradient norm {error.gradient_norm}. "
            f"Start again with --overwrite and a lower --lr (the rate was {error.rate:.3g})."
        ) from error
    # from outside: a reward, an environment
    except (
        RewardError,
        TrainingError,
    ):
        run.save(_checkpoint(task))
        raise


def _stop_early(task: Task, evaluation: Mapping[str, float]) -> None:
    """Compare an evaluation with the best so far; stop the run after too many without a gain."""
    if task.patience is None:
        return
    progress = task.progress
    loss = evaluation["held_out_loss"]
    if loss < progress.best_loss:
        progress.best_loss = loss
        progress.best_step = progress.step
        progress.without_gain = 0
        task.keep_best()
        return
    progress.without_gain += 1
    if progress.without_gain >= task.patience:
        progress.stopped_because = (
            f"{task.patience} evaluations without a lower held-out loss"
        )


def _checkpoint(task: Task) -> Checkpoint:
    values, tensors = task.state()
    tensors = on_host(tensors | state_tensors(task.optimizer, task.device))
    state: dict[str, Any] = {
        "progress": asdict(task.progress),
        "task": values,
    }
    if processes.count() > 1:
        state[_PROCESSES] = processes.count()
    return Checkpoint(task.progress.step, state, tensors)


@torch.no_grad()
def _resume(task: Task, run: Run) -> Checkpoint | None:
    """Go on from the newest checkpoint, if there is one; return it."""
    checkpoint = run.latest()
    if checkpoint is None:
        return None
    before = checkpoint.state.get(_PROCESSES, 1)
    if before != processes.count():
        number = processes.count()
        now = "1 process" if number == 1 else f"{number} processes"
        remark(
            f"going on with {now} instead of {before}: sums are added up in another order, so the "
            "last digits are not those of an uninterrupted run."
        )
    _take_over(task, checkpoint.state, checkpoint.tensors)
    return checkpoint


@torch.no_grad()
def _begin_alike(task: Task, resumed: Checkpoint | None) -> None:
    """Give every process the state of the first one. resumed: where that one goes on from."""
    if processes.count() == 1:
        return
    if processes.from_first(resumed is not None):
        # the others have none
        checkpoint = resumed or Checkpoint(0, {}, {})
    else:
        checkpoint = _checkpoint(task)
    tensors = processes.tensors_from_first(checkpoint.tensors)
    state = processes.from_first(checkpoint.state)
    if not processes.is_first():
        _take_over(task, state, tensors)


def _take_over(
    task: Task, state: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    task.progress = Progress(**state["progress"])
    task.load(state["task"], tensors)
    restore_state(task.optimizer, tensors, task.device)
