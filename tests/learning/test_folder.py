"""The folder of a model: neither an error nor a kill loses the old model or leaves it hidden."""

import json
import os
import signal
from contextlib import AbstractContextManager
from pathlib import Path

import forked
import pytest

from tastemaker.errors import DataError, MissingExtra, StorageError, TrainingError
from tastemaker.train import CONTRACT, model_folder

OLD, NEW = "the old model", "the new model"


def begin(run: Path, seed: int) -> None:
    """Write what a run writes first."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "settings.json").write_text(json.dumps({"seed": seed}))
    (run / "metrics.jsonl").write_text("{}")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with a finished model and its run."""
    folder = tmp_path / "taste"
    begin(folder / "run", 0)
    (folder / CONTRACT).write_text(OLD)
    return folder


def held(
    out: Path, *, resume: bool = False, overwrite: bool = False, whole: str = CONTRACT
) -> AbstractContextManager[bool]:
    return model_folder(out, whole=whole, resume=resume, overwrite=overwrite)


def learn(
    out: Path,
    *,
    begins: bool = True,
    fails: BaseException | None = None,
    saved: bool = True,
    then: BaseException | None = None,
) -> None:
    """Do what a run does in its folder, as far as it comes."""
    (out / "run" / "tokens").mkdir(parents=True)
    if begins:
        begin(out / "run", 1)
    if fails is not None:
        raise fails
    if saved:
        (out / CONTRACT).write_text(NEW)
    if then is not None:
        raise then


def is_old(out: Path) -> bool:
    """Whether the old model is there with all it had, and nothing beside it."""
    whole = (out / CONTRACT).read_text() == OLD and '"seed": 0' in (
        out / "run" / "settings.json"
    ).read_text()
    return (
        whole
        and not (out / "run" / "tokens").exists()
        and [p.name for p in out.parent.iterdir()] == [out.name]
    )


def is_new(out: Path) -> bool:
    return (out / CONTRACT).read_text() == NEW and [
        p.name for p in out.parent.iterdir()
    ] == [out.name]


def old_folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def test_a_new_model_takes_the_place_of_the_old_one(out: Path) -> None:
    with held(out, overwrite=True) as is_finished:
        assert not is_finished
        assert not out.exists()
        assert (old_folder(out) / CONTRACT).read_text() == OLD
        learn(out)
        assert old_folder(out).is_dir(), "until the new one is there"
    assert is_new(out)


@pytest.mark.parametrize(
    "error",
    [DataError("no text"), TrainingError("no number"), KeyboardInterrupt(), OSError()],
)
def test_an_error_before_anything_was_written_costs_nothing(
    out: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)), held(out, overwrite=True):
        learn(out, fails=error, begins=False)
    assert is_old(out)
    with pytest.raises(type(error)), held(out, overwrite=True):
        raise error
    assert is_old(out)


@pytest.mark.parametrize(
    "error", [TrainingError("Lower --lr."), MissingExtra("this", "hub")]
)
def test_a_later_error_says_where_the_old_model_is_and_the_run_can_go_on(
    out: Path, error: Exception
) -> None:
    before = str(error)
    with pytest.raises(type(error)) as caught, held(out, overwrite=True):
        learn(out, fails=error)
    assert (
        str(caught.value)
        == f"{before} What {out} held before is kept in {old_folder(out)} until a model is saved."
    )
    assert (old_folder(out) / CONTRACT).read_text() == OLD
    with held(out, resume=True) as is_finished:
        assert not is_finished
        (out / CONTRACT).write_text(NEW)
    assert is_new(out)


def test_an_error_where_nothing_is_replaced_is_said_as_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(TrainingError, match=r"^Lower --lr\.$"),
        held(tmp_path / "new", overwrite=True),
    ):
        learn(tmp_path / "new", fails=TrainingError("Lower --lr."))


def test_an_error_after_the_model_was_saved_does_not_cost_it(out: Path) -> None:
    """A linear model writes nothing before itself."""
    with pytest.raises(KeyboardInterrupt), held(out, overwrite=True):
        learn(out, begins=False, then=KeyboardInterrupt())
    with held(out, resume=True) as is_finished:
        assert is_finished
    assert is_new(out)


def test_an_unfinished_run_that_is_replaced_comes_back_too(tmp_path: Path) -> None:
    out = tmp_path / "taste"
    begin(out / "run", 0)
    with pytest.raises(DataError), held(out, overwrite=True):
        raise DataError("no text")
    assert (out / "run" / "metrics.jsonl").is_file()
    assert not old_folder(out).exists()


# --- killed: nothing of what follows the yield is run


def killed(
    out: Path, *, begins: bool, saved: bool = False, resume: bool = False
) -> None:
    """Enter the block in another process, and kill that process within."""
    process = forked.start_call(_die_within, out, begins, saved, resume)
    assert process.wait(60) == -signal.SIGKILL, process.output()


def _die_within(out: Path, begins: bool, saved: bool, resume: bool) -> None:
    with held(out, overwrite=True, resume=resume):
        if begins or saved:
            learn(out, saved=saved, begins=begins)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("tokens", [True, False])
def test_killed_before_it_wrote_anything(out: Path, tokens: bool) -> None:
    killed(out, begins=False)
    if tokens:
        (out / "run" / "tokens").mkdir(parents=True)
    with pytest.raises(StorageError, match="--overwrite"), held(out):
        pass
    assert is_old(out), "the next command brings it back"
    killed(out, begins=False)
    with held(out, resume=True) as is_finished:
        assert not is_finished
        learn(out)
    assert is_new(out)


def test_killed_and_resumed_with_what_cannot_be_used(out: Path) -> None:
    killed(out, begins=False)
    with pytest.raises(DataError, match=r"^no text$"), held(out, resume=True):
        raise DataError("no text")
    assert is_old(out)


def test_killed_while_it_learned(out: Path) -> None:
    killed(out, begins=True)
    for resume in (True, False):
        with pytest.raises(KeyboardInterrupt), held(out, resume=resume):
            raise KeyboardInterrupt
        assert (old_folder(out) / CONTRACT).read_text() == OLD
        assert (out / "run" / "metrics.jsonl").is_file()
    with pytest.raises(DataError), held(out, overwrite=True):
        raise DataError("no text")
    assert is_old(out), "and not the run that was to replace it"
    killed(out, begins=True)
    with held(out, overwrite=True):
        learn(out)
    assert is_new(out)


def test_killed_while_a_member_of_an_ensemble_learned(out: Path) -> None:
    killed(out, begins=False)
    begin(out / "run" / "member-0", 1)
    with pytest.raises(KeyboardInterrupt), held(out):
        raise KeyboardInterrupt
    assert (out / "run" / "member-0" / "metrics.jsonl").is_file()
    assert old_folder(out).is_dir()


@pytest.mark.parametrize("begins", [True, False])
def test_killed_when_the_model_was_just_saved(out: Path, begins: bool) -> None:
    """A linear model writes nothing before itself."""
    killed(out, begins=begins, saved=True)
    with held(out, resume=True) as is_finished:
        assert is_finished
    assert is_new(out)
    killed(out, begins=begins, saved=True)
    with (
        pytest.raises(StorageError, match="--overwrite"),
        held(out, whole="another.json"),
    ):
        pass
    assert is_new(out)


def test_killed_when_a_model_of_another_kind_was_just_saved(out: Path) -> None:
    killed(out, begins=True)
    (out / "figures.json").write_text("{}")
    with held(out, resume=True, whole="figures.json") as is_finished:
        assert not is_finished, "the network's own file comes last"
        assert old_folder(out).is_dir()
        (out / "config.json").write_text("{}")
    killed(out, begins=True)
    (out / "figures.json").write_text("{}")
    (out / "config.json").write_text("{}")
    with held(out, resume=True, whole="figures.json") as is_finished:
        assert is_finished
    assert not old_folder(out).exists()


def test_killed_and_asked_for_the_same_again_with_resume(out: Path) -> None:
    killed(out, begins=True)
    with held(out, overwrite=True, resume=True):
        assert (out / "run" / "metrics.jsonl").is_file(), (
            "resume goes on with what overwrite began"
        )
        (out / CONTRACT).write_text(NEW)
    assert is_new(out)


def test_a_model_that_somebody_put_there_meanwhile_stays(out: Path) -> None:
    killed(out, begins=False)
    out.mkdir()
    (out / "config.json").write_text("{}")
    with pytest.raises(StorageError, match="--overwrite"), held(out):
        pass
    assert (out / "config.json").is_file()
    assert old_folder(out).is_dir()


def test_killed_while_the_model_was_being_saved(out: Path) -> None:
    """The network's own files come before the last one."""
    killed(out, begins=True)
    (out / "config.json").write_text("{}")
    with pytest.raises(StorageError, match="--overwrite"), held(out):
        pass
    assert old_folder(out).is_dir()
    with held(out, resume=True) as is_finished:
        assert not is_finished
        (out / CONTRACT).write_text(NEW)
    assert is_new(out)


# --- what is there already


@pytest.mark.parametrize("name", [CONTRACT, "config.json", "player.json"])
def test_a_model_of_any_kind_is_not_replaced_silently(
    tmp_path: Path, name: str
) -> None:
    out = tmp_path / "there"
    out.mkdir()
    (out / name).write_text("{}")
    for resume in (True, False):
        with (
            pytest.raises(StorageError, match="--overwrite"),
            held(out, whole="mine.json", resume=resume),
        ):
            pass
    (out / "mine.json").write_text("{}")
    with held(out, whole="mine.json", resume=True) as is_finished:
        assert is_finished


def test_a_file_and_no_folder_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"file: .*--out"),
        held(tmp_path / "file"),
    ):
        pass
    with model_folder(None, whole=CONTRACT, resume=True, overwrite=True) as is_finished:
        assert not is_finished
    with held(tmp_path / "new", overwrite=True):
        learn(tmp_path / "new")
    assert not old_folder(tmp_path / "new").exists()


def test_what_others_keep_in_a_folder_without_a_model_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("hello")
    with held(tmp_path / "notes", overwrite=True):
        learn(tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").read_text() == "hello"
