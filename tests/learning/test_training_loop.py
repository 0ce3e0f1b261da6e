"""The training loop and its step, on a task small enough to know everything about."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tastemaker.errors import RewardError, StorageError, TrainingError
from tastemaker.train import (
    Backward,
    NotFinite,
    Run,
    StopTraining,
    Task,
    ThreadedBackward,
    TrainStep,
    train,
)

Part = Callable[[], tuple[Tensor, Mapping[str, float]]]


def network() -> nn.Sequential:
    generator = torch.Generator().manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    for weight in module.parameters():
        weight.data.normal_(generator=generator)
    return module


def parts_of(module: nn.Module, count: int, scale: float = 1.0) -> list[Part]:
    """Return a step's parts: squared outputs of some rows each, as shares of their mean."""
    rows = torch.randn(12, 3, generator=torch.Generator().manual_seed(2))

    def compute(some: Tensor) -> tuple[Tensor, Mapping[str, float]]:
        loss = scale * (module(some) ** 2).sum() / len(rows)
        return loss, {"loss": float(loss.detach()), "rows": len(some)}

    return [partial(compute, some) for some in rows.tensor_split(count)]


def step_of(
    module: nn.Module, strategy: Backward | ThreadedBackward, clip: float = 1e9
) -> TrainStep:
    parameters = list(module.parameters())
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    return TrainStep(optimizer, parameters, clip=clip, strategy=strategy)


# --- the step


@pytest.mark.parametrize(
    "strategy", [Backward(), ThreadedBackward(1), ThreadedBackward(2)]
)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_strategy_gives_the_gradient_of_the_whole(
    strategy: Backward | ThreadedBackward, count: int
) -> None:
    module = network()
    loss, _ = parts_of(module, 1)[0]()
    expected = torch.autograd.grad(loss, list(module.parameters()))
    metrics = step_of(module, strategy).add_gradients(parts_of(module, count))
    for parameter, gradient in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert metrics["loss"] == pytest.approx(float(loss.detach()))
    assert metrics["rows"] == 12


@pytest.mark.parametrize("strategy", [Backward(), ThreadedBackward(2)])
def test_what_requires_no_gradient_stays(strategy: Backward | ThreadedBackward) -> None:
    module = network()
    first, last = module[0], module[2]
    first.weight.requires_grad_(False)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    step = step_of(module, strategy)
    step.take(parts_of(module, 3), rate=0.1)
    assert first.weight.grad is None
    changed = {
        n for n, w in module.state_dict().items() if not torch.equal(w, before[n])
    }
    assert changed == {"0.bias", "2.weight", "2.bias"}
    step.take(parts_of(module, 3), rate=0.1, parameters=[last.bias])
    assert first.bias.grad is None
    assert last.bias.grad is not None


def test_the_gradient_is_clipped_and_the_rate_is_the_group_s() -> None:
    module = network()
    first, last = list(module[0].parameters()), list(module[2].parameters())
    optimizer = torch.optim.SGD(
        [{"params": first}, {"params": last, "factor": 10.0}], lr=99.0
    )
    before = [p.detach().clone() for p in (*first, *last)]
    step = TrainStep(optimizer, [*first, *last], clip=1e-3, strategy=Backward())
    metrics = step.take(parts_of(module, 2), rate=0.5)
    assert metrics["gradient_norm"] > 1e-3
    moved = [
        (p.detach() - b) / 0.5 for p, b in zip((*first, *last), before, strict=True)
    ]
    moved[2:] = [m / 10 for m in moved[2:]]
    norm = math.sqrt(sum(float((m**2).sum()) for m in moved))
    assert norm == pytest.approx(1e-3, rel=1e-3)


class EveryGradient(Backward):
    """Gives gradients to all weights that the parts read, as `fully_shard` does."""

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> dict[str, float]:
        """Add the gradients of all weights."""
        loss, numbers = parts[0]()
        loss.backward()  # type: ignore[no-untyped-call]
        return dict(numbers)


def test_only_the_chosen_parameters_change() -> None:
    module = network()
    first, last = (list(module[i].parameters()) for i in (0, 2))
    before = [p.detach().clone() for p in first]
    step = TrainStep(
        torch.optim.SGD([*first, *last], lr=1.0),
        [*first, *last],
        clip=1e9,
        strategy=EveryGradient(),
    )
    step.take(parts_of(module, 1), rate=0.5, parameters=last)
    assert all(p.equal(b) for p, b in zip(first, before, strict=True))
    assert all(p.grad is None for p in first)
    assert all(p.grad is not None for p in last)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("strategy", [Backward(), ThreadedBackward(2)])
def test_a_step_that_is_not_finite_changes_nothing(
    strategy: Backward | ThreadedBackward, wrong: float
) -> None:
    module = network()
    before = [p.detach().clone() for p in module.parameters()]
    with pytest.raises(NotFinite, match=r"loss is (nan|inf).*--lr.*0\.25"):
        step_of(module, strategy).take(parts_of(module, 2, scale=wrong), rate=0.25)
    for parameter, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


# --- the loop


class Killed(BaseException):
    """Ends a run from outside."""


class Toy(Task):
    """Fits one number to noisy targets with Adam; the noise comes from torch's random numbers."""

    name = "toy"
    checkpoint_seconds = 0.0
    total = 12

    def __init__(self, *, at: Mapping[int, BaseException] | None = None) -> None:
        super().__init__()
        self.weight, self.device = nn.Parameter(torch.zeros(2)), torch.device("cpu")
        self.optimizer = torch.optim.Adam([self.weight], lr=0.1)
        self.train_step = TrainStep(
            self.optimizer, [self.weight], clip=1.0, strategy=Backward()
        )
        self.raises = dict(at or {})
        self.losses: Sequence[float] = []
        self.best: Tensor | None = None
        self.factor = 1.0

    def step(self) -> dict[str, float]:
        if self.progress.step in self.raises:
            raise self.raises[self.progress.step]
        target = torch.randn(2)

        def part() -> tuple[Tensor, dict[str, float]]:
            loss = self.factor * ((self.weight - target) ** 2).sum()
            return loss, {"loss": float(loss.detach())}

        metrics = self.train_step.take([part], rate=0.1)
        self.progress.step += 1
        return metrics

    def evaluate(self) -> dict[str, float] | None:
        number, is_due = divmod(self.progress.step, 2)
        if is_due or number > len(self.losses):
            return None
        return {"held_out_loss": self.losses[number - 1]}

    def keep_best(self) -> None:
        self.best = self.weight.detach().clone()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {}, {"weight": self.weight}

    def load(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.weight.copy_(tensors["weight"])


def logged(folder: Path) -> list[dict[str, float]]:
    return [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def checkpoints(folder: Path) -> list[int]:
    return sorted(
        int(path.name.rsplit("-")[-1]) for path in folder.glob("checkpoint-*")
    )


@pytest.mark.parametrize("dies_at", [1, 5, 11])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, dies_at: int) -> None:
    whole = Toy()
    train(whole, Run(tmp_path / "whole", {}), seed=3)
    with pytest.raises(Killed):
        train(Toy(at={dies_at: Killed()}), Run(tmp_path / "torn", {}), seed=3)
    again = Toy()
    progress = train(again, Run(tmp_path / "torn", {}, resume=True), seed=3)
    assert progress.step == 12
    assert torch.equal(again.weight, whole.weight)
    assert logged(tmp_path / "torn") == logged(tmp_path / "whole")


def test_checkpoints_are_taken_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, expected in ((0.0, [11, 12]), (1e9, [])):
        monkeypatch.setattr(Toy, "checkpoint_seconds", seconds)
        train(Toy(), Run(tmp_path / str(seconds), {}), seed=0)
        assert checkpoints(tmp_path / str(seconds)) == expected
    monkeypatch.setattr(Toy, "saves_at_end", True)
    train(Toy(), Run(tmp_path / "end", {}), seed=0)
    assert checkpoints(tmp_path / "end") == [12]
    task = Toy()
    task.losses = [3.0, 2.0]
    train(task, Run(tmp_path / "evaluated", {}), seed=0)
    assert checkpoints(tmp_path / "evaluated") == [4, 12]
    monkeypatch.setattr(Toy, "checkpoint_seconds", 0.0)
    monkeypatch.setattr(
        Toy, "can_resume_here", lambda task: task.progress.step in (3, 6)
    )
    monkeypatch.setattr(Toy, "saves_at_end", False)
    train(Toy(), Run(tmp_path / "rare", {}), seed=0)
    assert checkpoints(tmp_path / "rare") == [3, 6]


def test_a_run_stops_early_and_knows_its_best_step(tmp_path: Path) -> None:
    """Evaluations after 2, 4, 6, … steps: the third and fourth are no better than the second."""
    task = Toy()
    task.losses, task.patience = [3.0, 1.0, 2.0, 1.0, 0.5, 0.1], 2
    progress = train(task, Run(tmp_path / "run", {}), seed=0)
    assert (progress.step, progress.best_step, progress.best_loss) == (8, 4, 1.0)
    assert progress.stopped_because is not None
    assert task.best is not None
    assert not torch.equal(task.best, task.weight)
    rows = logged(tmp_path / "run")
    assert [row["held_out_loss"] for row in rows if "held_out_loss" in row] == [
        3.0,
        1.0,
        2.0,
        1.0,
    ]


def test_a_task_can_stop_the_run_and_it_stays_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "saves_at_end", True)
    task = Toy(at={4: StopTraining("far enough")})
    progress = train(task, Run(tmp_path / "run", {}), seed=0)
    assert (progress.step, progress.stopped_because) == (4, "far enough")
    again = train(Toy(), Run(tmp_path / "run", {}, resume=True), seed=0)
    assert (again.step, again.stopped_because) == (4, "far enough")


def test_a_loss_that_is_not_finite_is_logged_and_raised(tmp_path: Path) -> None:
    task = Toy()
    task.factor = math.nan
    with pytest.raises(TrainingError, match=r"step 1\b.*nan.*--overwrite.*--lr.*0\.1"):
        train(task, Run(tmp_path / "run", {}), seed=0)
    assert torch.equal(task.weight, torch.zeros(2))
    (row,) = logged(tmp_path / "run")
    assert math.isnan(row["loss"])
    assert checkpoints(tmp_path / "run") == []


@pytest.mark.parametrize("error", [RewardError("no answer"), TrainingError("broken")])
def test_finished_steps_are_kept_where_something_outside_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Toy, "checkpoint_seconds", 1e9)
    with pytest.raises(type(error), match=str(error)):
        train(Toy(at={7: error}), Run(tmp_path / "run", {}), seed=0)
    assert checkpoints(tmp_path / "run") == [7]


def test_a_run_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    train(Toy(), Run(tmp_path / "run", {"lr": 1}), seed=0)
    settings = tmp_path / "run" / "settings.json"
    content = json.loads(settings.read_text())
    assert content["settings"] == {"lr": 1}
    for older in (content["settings"], content | {"format": 1}):
        settings.write_text(json.dumps(older))
        with pytest.raises(
            StorageError, match=rf"run.*format 1, .*{content['format']}.*--overwrite"
        ):
            Run(tmp_path / "run", {"lr": 1}, resume=True)
