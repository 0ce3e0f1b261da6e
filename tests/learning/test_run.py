"""The run folder: settings that must agree, metrics cut back, checkpoints whole or absent."""

import json
from pathlib import Path

import pytest
import torch

from tastemaker.errors import StorageError, UsageError
from tastemaker.train import Checkpoint, Run, open_run


def _checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        step,
        {"standing": {"step": step}},
        {"w": torch.full((3,), float(step)), "n": torch.tensor(7)},
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", {"lr": 0.1})
    run.save(_checkpoint(5))
    run.save(_checkpoint(12))
    checkpoint = Run(tmp_path / "run", {"lr": 0.1}, resume=True).latest()
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.state) == (12, {"standing": {"step": 12}})
    assert torch.equal(checkpoint.tensors["w"], torch.full((3,), 12.0))
    assert checkpoint.tensors["n"].shape == ()
    run.save(_checkpoint(13))
    names = sorted(p.name for p in (tmp_path / "run").glob("checkpoint-*"))
    assert names == ["checkpoint-00000012", "checkpoint-00000013"]


def test_best_weights_that_are_the_present_ones_are_written_once(
    tmp_path: Path,
) -> None:
    weights = {"a": torch.arange(9000.0), "b": torch.zeros(9000)}
    other = {"best.a": torch.arange(9000.0), "best.b": torch.ones(9000)}
    Run(tmp_path / "run", {}).save(Checkpoint(1, {"x": 2}, {**weights, **other}))
    [file] = tmp_path.glob("run/checkpoint-*/tensors.safetensors")
    assert 3 * 36_000 < file.stat().st_size < 3.1 * 36_000
    loaded = Run(tmp_path / "run", {}, resume=True).latest()
    assert loaded is not None
    assert (loaded.step, loaded.state) == (1, {"x": 2})
    assert loaded.tensors.keys() == weights.keys() | other.keys()
    for name, tensor in {**weights, **other}.items():
        assert torch.equal(loaded.tensors[name], tensor), name
    assert loaded.tensors["a"].data_ptr() != loaded.tensors["best.a"].data_ptr()


@pytest.mark.parametrize(
    "damage", ["tensors cut", "one bit", "state cut", "tensors gone"]
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run", {})
    run.log(5, {"loss": 0.5})
    run.save(_checkpoint(5))
    run.log(9, {"loss": 0.4})
    run.save(_checkpoint(9))
    newest = tmp_path / "run" / "checkpoint-00000009"
    tensors, state = newest / "tensors.safetensors", newest / "state.json"
    if damage == "one bit":
        data = bytearray(tensors.read_bytes())
        data[-1] ^= 1
        tensors.write_bytes(data)
    elif damage == "tensors gone":
        tensors.unlink()
    else:
        path = state if damage == "state cut" else tensors
        path.write_bytes(path.read_bytes()[:-3])
    checkpoint = Run(tmp_path / "run", {}, resume=True).latest()
    assert checkpoint is not None
    assert checkpoint.step == 5
    assert torch.equal(checkpoint.tensors["w"], torch.full((3,), 5.0))
    printed = capsys.readouterr().err
    assert (
        "checkpoint-00000009: this checkpoint is damaged; going on from checkpoint-00000005."
        in printed
    )
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    tensors = tmp_path / "run" / "checkpoint-00000005" / "tensors.safetensors"
    tensors.write_bytes(b"")
    assert Run(tmp_path / "run", {}, resume=True).latest() is None
    assert "going on from the beginning" in capsys.readouterr().err


def test_a_half_written_checkpoint_is_not_seen(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", {})
    run.save(_checkpoint(5))
    torn = tmp_path / "run" / ".checkpoint-00000009.123.tmp"
    torn.mkdir()
    (torn / "state.json").write_text("{")
    checkpoint = run.latest()
    assert checkpoint is not None
    assert checkpoint.step == 5
    assert not torn.exists(), "and it does not stay for ever"


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", {})
    run.log(1, {"loss": 0.5})
    run.log(2, {"loss": 0.4})
    run.save(_checkpoint(2))
    run.log(3, {"loss": 0.3})
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # the process died here
    again = Run(tmp_path / "run", {}, resume=True)
    again.latest()
    again.log(3, {"loss": 0.3})
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_a_run_without_a_checkpoint_starts_its_metrics_again(tmp_path: Path) -> None:
    Run(tmp_path / "run", {}).log(1, {"loss": 0.5})
    again = Run(tmp_path / "run", {}, resume=True)
    assert again.latest() is None
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == ""


def test_tensorboard_gets_the_same_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path / "run", {})
    for step in (1, 2, 3):
        run.log(step, {"loss": 1 / step})
    run.finish()
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    assert [(e.step, pytest.approx(1 / e.step)) for e in board.Scalars("loss")] == [
        (1, 1.0),
        (2, pytest.approx(0.5)),
        (3, pytest.approx(1 / 3)),
    ]


def test_another_command_cannot_resume(tmp_path: Path) -> None:
    Run(tmp_path / "run", {"training": {"lr": 0.1}, "seed": 0}).log(1, {"loss": 1.0})
    with pytest.raises(UsageError, match=r"training.*0\.1.*0\.2"):
        Run(tmp_path / "run", {"training": {"lr": 0.2}, "seed": 0}, resume=True)


def test_an_unfinished_run_is_not_overwritten_silently(tmp_path: Path) -> None:
    Run(tmp_path / "run", {}).log(1, {"loss": 1.0})
    with pytest.raises(StorageError, match="--resume"):
        Run(tmp_path / "run", {})


def test_a_run_without_a_folder_keeps_nothing(tmp_path: Path) -> None:
    run = Run(None, {})
    run.log(1, {"loss": 1.0})
    run.save(_checkpoint(1))
    assert run.latest() is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_never_started_leaves_nothing(tmp_path: Path) -> None:
    Run(tmp_path / "out" / "run", {"seed": 0})
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_drops_what_it_was_killed_before_it_dropped(
    tmp_path: Path,
) -> None:
    Run(tmp_path / "run", {}).save(_checkpoint(1))
    for name in ("config.json", "whole.json"):
        (tmp_path / name).write_text("{}")
    with open_run(tmp_path, {}, whole="whole.json", resume=True) as run:
        assert run.is_finished
    assert not list(tmp_path.rglob("checkpoint-*"))
    assert (tmp_path / "run" / "settings.json").is_file()
