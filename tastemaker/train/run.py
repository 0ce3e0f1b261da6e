"""The run folder: settings, metrics, samples and checkpoints; and the folder of the finished model.

    OUT/run/settings.json           the settings; a resumed run must have the same
    OUT/run/metrics.jsonl           one line a measurement; docs/metrics.md defines each metric
    OUT/run/cost.json               what the run cost so far, and its command
    OUT/run/samples/                what a policy wrote while it was trained
    OUT/run/tensorboard/            the metrics and samples as event files
    OUT/run/checkpoint-00000120/    state.json + tensors.safetensors, complete or absent

A checkpoint appears under its name only when it is complete, and the two newest are kept: a process
that is killed at any moment leaves a complete one, or none before the first. If the disk damaged
one, the run goes on from the one before.

A run that replaces OUT first renames it to `.OUT.old`, so that nothing is lost when the run ends:

    before it wrote anything   OUT is restored: at once, or, after a kill, by the next command
    later                      OUT holds the run, to be resumed, and `.OUT.old` the old model
    when the model is saved    `.OUT.old` is removed, at the latest by the next command
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tastemaker import processes
from tastemaker.costs import Cost, cost_now, measured, versions
from tastemaker.errors import StorageError, TastemakerError, UsageError
from tastemaker.files import (
    locked,
    remove_leftovers,
    writing_file,
    writing_folder,
)
from tastemaker.progress import remark
from tastemaker.train.checkpoint import (
    Checkpoint,
    checkpoints_in,
    read_checkpoint,
)

RUN = "run"
FORMAT = 3
"""The format of run folders. It grows when an older folder can no longer be resumed."""
Say = Callable[[str], None]
"""Takes a line about the progress of a run."""
CONTRACT = "tastemaker.json"
"""The file of a reward model that says what its scores mean."""
_SETTINGS = "settings.json"


def check_same(before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise UsageError for the first setting that differs from what the run began with."""
    now = json.loads(json.dumps(settings))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UsageError(
                f"--resume needs the same command: {key} was {before.get(key)!r} "
                f"and is now {now.get(key)!r}. "
                f"Repeat the old value, or use --overwrite to start again."
            )


def silent(line: str) -> None:
    """Say nothing."""


def of_first(say: Say) -> Say:
    """Return what takes the lines of this process: those of the first are said."""
    return say if processes.is_first() else silent


class Run:
    """One training run on disk.

    folder: the run folder; None: nothing is written (library use). settings: JSON-ready.
    is_finished: whether the parent folder holds the finished model that `resume` asks for.
    Raises StorageError for a run that is there without `resume` and for one of an older version,
    UsageError for other settings.
    """

    def __init__(
        self,
        folder: Path | None,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        is_finished: bool = False,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.is_finished = is_finished
        self._board: Any = None
        self._lines = 0
        if is_finished or folder is None or not (folder / _SETTINGS).is_file():
            return
        if not resume:
            raise StorageError(
                f"{folder.parent}: holds a run already. Add --resume to go on with it, "
                f"--overwrite to start again, or choose another --out."
            )
        saved = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        if saved.get("format") != FORMAT:
            raise StorageError(
                f"{folder}: this run was begun by another version of Tastemaker "
                f"(run format {saved.get('format', 1)}, this version resumes {FORMAT}). "
                "Add --overwrite to start again."
            )
        check_same(saved["settings"], settings)

    def member(self, number: int, settings: Mapping[str, Any]) -> "Run":
        """Return the run of one member of an ensemble; it is resumed where it exists."""
        return Run(
            None if self.folder is None else self.folder / f"member-{number}",
            settings,
            resume=True,
        )

    def _begin(self, folder: Path) -> None:
        """Write the settings before the first log line, sample or checkpoint."""
        if (folder / _SETTINGS).is_file():
            return
        content = {"format": FORMAT, "settings": self.settings}
        with writing_file(folder / _SETTINGS) as temporary:
            temporary.write_text(
                json.dumps(content, indent=2) + "\n", encoding="utf-8"
            )

    def latest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint, None if there is none; cut the metrics back to it.

        A damaged checkpoint is removed with a line on standard error, and the one before it is
        taken. What a killed process was still writing is removed.
        """
        if self.folder is not None:
            for unfinished in self.folder.glob(".checkpoint-*"):
                shutil.rmtree(unfinished)
        folders = self._checkpoints()
        checkpoint = None
        while folders and checkpoint is None:
            folder = folders.pop()
            saved = read_checkpoint(folder)
            if saved is not None:
                checkpoint, self._lines = saved
            else:
                before = folders[-1].name if folders else "the beginning"
                remark(
                    f"{folder}: this checkpoint is damaged; going on from {before}."
                )
                shutil.rmtree(folder)
        self._cut_metrics(self._lines if checkpoint is not None else 0)
        return checkpoint

    @property
    def has_checkpoint(self) -> bool:
        """Whether this run, or that of a member, left a checkpoint to go on from."""
        if self.folder is None:
            return False
        return any(self.folder.glob("**/checkpoint-*"))

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, and the one before it. Raises StorageError when the disk is full."""
        if self.folder is None:
            return
        self._begin(self.folder)
        name = f"checkpoint-{checkpoint.step:08d}"
        with writing_folder(self.folder / name) as temporary:
            checkpoint.write(temporary, self._lines)
        for folder in [f for f in self._checkpoints() if f.name != name][:-1]:
            shutil.rmtree(folder)
        cost = cost_now()
        if cost is not None:
            cost.write(self.folder)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one measurement to metrics.jsonl and to TensorBoard."""
        if self.folder is None:
            return
        self._begin(self.folder)
        with (self.folder / "metrics.jsonl").open(
            "a", encoding="utf-8"
        ) as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._lines += 1
        for name, value in metrics.items():
            self._events(step).add_scalar(name, value, step)

    def keep_samples(self, step: int, samples: Sequence[str]) -> None:
        """Write what a policy wrote after some step to samples/, and to TensorBoard."""
        if self.folder is None:
            return
        self._begin(self.folder)
        with writing_file(
            self.folder / "samples" / f"{step:08d}.jsonl"
        ) as temporary:
            lines = [
                json.dumps({"step": step, "text": text}, ensure_ascii=False)
                + "\n"
                for text in samples
            ]
            temporary.write_text("".join(lines), encoding="utf-8")
        for number, text in enumerate(samples):
            self._events(step).add_text(f"samples/{number}", text, step)

    def finish(self) -> None:
        """Drop the checkpoints: the model is saved. Metrics and settings stay."""
        if self._board is not None:
            self._board.close()
        folders = self._checkpoints()
        if self.folder is not None:
            folders += self.folder.glob("member-*/checkpoint-*")
        for folder in folders:
            shutil.rmtree(folder)

    def _events(self, step: int) -> Any:
        """Return the TensorBoard writer; a killed run's events from this step on are dropped."""
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            folder = str(self.folder / "tensorboard")  # type: ignore[operator]
            self._board = SummaryWriter(folder, purge_step=step)
        return self._board

    def _checkpoints(self) -> list[Path]:
        if self.folder is None:
            return []
        return checkpoints_in(self.folder)

    def _cut_metrics(self, lines: int) -> None:
        """Drop the log lines after the checkpoint; the same values will be measured again."""
        if self.folder is None:
            return
        path = self.folder / "metrics.jsonl"
        if not path.is_file():
            return
        all_lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        with writing_file(path) as temporary:
            temporary.write_text("".join(all_lines[:lines]), encoding="utf-8")


_MODEL = (CONTRACT, "config.json", "player.json")
"""A folder with one of these files holds a model: a reward model, a network, a player."""


@contextmanager
def open_run(
    out: str | Path | None,
    settings: Mapping[str, Any],
    *,
    whole: str,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[Run]:
    """Open the run of a model that the block saves in `out`; then drop its checkpoints.

    settings, whole, resume, overwrite: as in `Run` and `model_folder`. Where the run `is_finished`,
    the block only loads the model. Of several processes, which must have the same settings, the
    first one alone has the folder.
    """
    if processes.count() > 1:
        processes.check_alike({**settings, "versions": versions()})
    folder = None if out is None else Path(out)
    run = Run(None, settings)
    with ExitStack() as stack:

        def open_first() -> bool:
            """Open the folder; return whether the run is finished."""
            nonlocal run
            is_finished = stack.enter_context(
                model_folder(
                    folder, whole=whole, resume=resume, overwrite=overwrite
                )
            )
            run_folder = None if folder is None else folder / RUN
            run = Run(
                run_folder, settings, resume=resume, is_finished=is_finished
            )
            return is_finished

        run.is_finished = processes.on_first(open_first)
        if run.is_finished or run.folder is None:
            yield run
        else:
            before = Cost.read(run.folder) if resume else None
            seed = settings.get("seed")
            with measured(before=before, seed=seed) as cost:
                yield run
            cost.write(run.folder)
        # a finished run may have been killed before it dropped them
        run.finish()


@contextmanager
def model_folder(
    folder: Path | None, *, whole: str, resume: bool, overwrite: bool
) -> Iterator[bool]:
    """Prepare a folder for the model that the block saves in it; None: there is no folder.

    whole: the file that only a finished model of this kind has beside the network's own. Yields
    whether `resume` was asked for a finished model, so that there is nothing to run. Raises
    StorageError for a file, for what would be replaced without `overwrite`, and where renaming
    fails.
    """
    if folder is None:
        yield False
        return
    folder = folder.resolve()  # "." has no name of its own
    in_use = (
        f"{folder}: another process is training in this folder; wait until it ends, choose another "
        "--out, or start processes that train together by torchrun"
    )
    with (
        locked(_lock_of(folder), in_use),
        _prepared_folder(
            folder, whole, resume=resume, overwrite=overwrite
        ) as is_finished,
    ):
        yield is_finished


def _lock_of(folder: Path) -> Path:
    """Return the lock file of a model's folder: beside it, because the folder may be renamed.

    It is inside where the place beside it cannot be written.
    """
    if folder.is_dir() and not os.access(folder.parent, os.W_OK):
        return folder / ".lock"
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def _prepared_folder(
    folder: Path, whole: str, *, resume: bool, overwrite: bool
) -> Iterator[bool]:
    """Do what `model_folder` does with a folder that this process has to itself."""
    remove_leftovers(folder.parent)
    remove_leftovers(folder, below=True)
    old = folder.with_name(f".{folder.name}.old")
    if _prepared(folder, old, whole, resume=resume, overwrite=overwrite):
        yield True
        return
    try:
        yield False
    except BaseException as error:  # however it ends
        if old.is_dir() and _is_untouched(folder):
            _restore(old, folder)
        elif old.is_dir() and isinstance(error, TastemakerError):
            error.args = (
                f"{error} What {folder} held before is kept in {old} until a model is saved.",
            )
        raise
    if old.is_dir():
        shutil.rmtree(old)


def _prepared(
    folder: Path, old: Path, whole: str, *, resume: bool, overwrite: bool
) -> bool:
    """Make a folder ready for a run, and return True where there is nothing to run.

    That is so where `resume` finds the finished model. A model that `overwrite` replaces is renamed
    to `old`, and comes back from there if a process was killed before it wrote anything. whole: the
    name of the file that only a finished model of this kind has.
    """
    if folder.exists() and not folder.is_dir():
        raise StorageError(
            f"{folder}: is a file, and a model is a folder. Choose another --out."
        )
    is_whole = _holds_model(folder) and (folder / whole).is_file()
    is_saved = is_whole or (folder / CONTRACT).is_file()
    if old.is_dir() and is_saved:  # the process was killed just after saving
        shutil.rmtree(old)
    # the process was killed before it wrote anything
    if old.is_dir() and not resume and _is_untouched(folder):
        _restore(old, folder)
    if resume and is_whole:
        return True
    if (
        _holds_model(folder)
        and not overwrite
        and not (resume and _has_begun(folder))
    ):
        raise StorageError(
            f"{folder}: holds a model already. Choose another --out, or add --overwrite."
        )
    if (
        overwrite
        and not resume
        and (_holds_model(folder) or (folder / RUN).is_dir())
    ):
        if old.is_dir():  # keep the old model, drop the unfinished run
            shutil.rmtree(folder)
        else:
            _rename(folder, old)
    return False


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MODEL)


def _has_begun(folder: Path) -> bool:
    """Return whether a run, or that of an ensemble's member, wrote its settings."""
    return any((folder / RUN).glob("**/settings.json"))


def _is_untouched(folder: Path) -> bool:
    return not _holds_model(folder) and not _has_begun(folder)


def _restore(old: Path, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    _rename(old, folder)


def _rename(before: Path, after: Path) -> None:
    try:
        before.replace(after)
    except OSError as error:
        raise StorageError(
            f"{before}: cannot be renamed to {after.name} ({error.strerror or error}); "
            "nothing was replaced."
        ) from error
