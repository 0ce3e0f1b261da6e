"""The folder that a run saves its model in. What it held before is kept until the new model is saved.

A run that replaces OUT first renames it to `.OUT.old`, beside it, so nothing of the old is lost whenever the run ends:

    before the run wrote anything   OUT is what it was again: at once, or, after a kill, when the next command begins
    later                           OUT holds the run, to be resumed, and `.OUT.old` what stood there before
    when the model is saved         `.OUT.old` is gone, at the latest when the next command begins
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tastemaker.errors import StorageError, TastemakerError
from tastemaker.learning.run import RUN
from tastemaker.models.contract import CONTRACT

_MODEL = (CONTRACT, "config.json", "player.json")
"""A folder that holds one of these holds a model: a reward model, a network of ours or anyone's, a player."""


@contextmanager
def model_folder(folder: Path | None, *, whole: str, resume: bool, overwrite: bool) -> Iterator[bool]:
    """Hold a folder for a model that the block saves in it; None holds nothing.

    whole: the file that only a finished model of this kind has beside the network's own. Yields whether the folder
    holds one that `resume` asks for, so that there is nothing to run.
    Raises StorageError for a file, for what would be replaced without `overwrite`, and where renaming fails.
    """
    if folder is None:
        yield False
        return
    folder = folder.resolve()  # "." has no name of its own
    old = folder.with_name(f".{folder.name}.old")
    if _made_ready(folder, old, whole, resume=resume, overwrite=overwrite):
        yield True
        return
    try:
        yield False
    except BaseException as error:  # however it ends
        if old.is_dir() and _is_untouched(folder):
            _bring_back(old, folder)
        elif old.is_dir() and isinstance(error, TastemakerError):
            error.args = (f"{error} What {folder} held before is kept in {old} until a model is saved.",)
        raise
    if old.is_dir():
        shutil.rmtree(old)


def _made_ready(folder: Path, old: Path, whole: str, *, resume: bool, overwrite: bool) -> bool:
    """Set aside what is to be replaced; return whether the folder holds the finished model that is resumed."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder}: is a file, and a model is a folder. Choose another --out.")
    is_whole = _holds_model(folder) and (folder / whole).is_file()
    if old.is_dir() and (is_whole or (folder / CONTRACT).is_file()):  # killed when the new model was just saved
        shutil.rmtree(old)
    if old.is_dir() and not resume and _is_untouched(folder):  # killed before it wrote anything
        _bring_back(old, folder)
    if resume and is_whole:
        return True
    if _holds_model(folder) and not overwrite and not (resume and _has_begun(folder)):
        raise StorageError(f"{folder}: holds a model already. Choose another --out, or add --overwrite.")
    if overwrite and not resume and (_holds_model(folder) or (folder / RUN).is_dir()):
        if old.is_dir():  # the model is kept, not the unfinished run that was to replace it
            shutil.rmtree(folder)
        else:
            _rename(folder, old)
    return False


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MODEL)


def _has_begun(folder: Path) -> bool:
    """Return whether a run wrote anything: it, or a member of an ensemble, begins with its settings."""
    return any((folder / RUN).glob("**/settings.json"))


def _is_untouched(folder: Path) -> bool:
    return not _holds_model(folder) and not _has_begun(folder)


def _bring_back(old: Path, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    _rename(old, folder)


def _rename(before: Path, after: Path) -> None:
    try:
        before.replace(after)
    except OSError as error:
        raise StorageError(
            f"{before}: cannot be renamed to {after.name} ({error.strerror or error}); nothing was replaced."
        ) from error
