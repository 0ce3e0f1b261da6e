"""One optimiser step: its direction, and the effect of parts, minibatches and norms."""

import math
from typing import Any

import pytest
import torch
from tabular import LENGTHS, Table, rollout_of, stepper_of
from torch import Tensor

from tastemaker.rl import (
    A2C,
    KL,
    RLOO,
    ActionEvaluation,
    Experience,
    ValuedExperience,
    per_action,
    per_row,
    per_row_mean,
    single_actions,
)
from tastemaker.train import NotFinite


def made() -> tuple[Table, ValuedExperience]:
    table = Table(3, 4, seed=5)
    return table, A2C().credit(table, rollout_of(table))


def costs(experience: Experience, now: ActionEvaluation) -> dict[str, Tensor]:
    return {
        "cost": -now.log_probs * experience.advantages + now.values**2,
        "ones": torch.ones_like(now.log_probs),
    }


def gradients(table: Table) -> list[Tensor]:
    slopes = [p.grad for p in (table.logits, table.values)]
    return [x.clone() for x in slopes if x is not None]


def test_parts_add_up_to_the_whole() -> None:
    table, experience = made()
    whole = stepper_of(table).gradients(experience, costs)
    expected = gradients(table)
    for at_once in (1, 4, 10, 23):
        table.logits.grad = table.values.grad = None
        parts = stepper_of(table, at_once=at_once).gradients(experience, costs)
        assert parts == pytest.approx(whole)
        torch.testing.assert_close(gradients(table), expected)


@pytest.mark.usefixtures("two_threads")
def test_threads_add_up_to_the_whole_and_learn_only_where_gradients_are_wanted() -> (
    None
):
    table, experience = made()
    whole = stepper_of(table).gradients(experience, costs)
    expected = gradients(table)
    table.logits.grad = table.values.grad = None
    table.threads = 2
    assert len(stepper_of(table).row_parts(experience)) == 2
    with torch.no_grad():
        assert stepper_of(table).gradients(experience, costs) == pytest.approx(whole)
    assert gradients(table) == []
    assert stepper_of(table).gradients(experience, costs) == pytest.approx(whole)
    torch.testing.assert_close(gradients(table), expected)


def test_what_is_measured_is_a_mean_over_the_weights() -> None:
    """Whatever the weights sum to; the cost is the weighed sum itself."""
    table, experience = made()
    for weights in (per_action, per_row, per_row_mean):
        weighted = Experience(
            *(
                getattr(experience, name)
                for name in (
                    "trajectories",
                    "is_action",
                    "log_probs",
                    "reference",
                    "advantages",
                )
            ),
            weights(experience.is_action),
        )
        means = stepper_of(table).gradients(
            weighted,
            lambda e, now: {"cost": torch.ones_like(now.log_probs)} | costs(e, now),
        )
        assert means["ones"] == pytest.approx(1)
        now = table.evaluate(weighted.trajectories, weighted.is_action)
        expected = (weighted.weights * costs(weighted, now)["cost"]).sum()
        assert means["cost"] == pytest.approx(float(expected.detach()))


def test_weights() -> None:
    is_action = torch.tensor([[True, True], [True, False]])
    assert per_action(is_action).tolist() == [
        pytest.approx(row) for row in ([1 / 3, 1 / 3], [1 / 3, 0])
    ]
    assert per_row(is_action).tolist() == [[0.5, 0.5], [0.5, 0]]
    assert per_row_mean(is_action).tolist() == [[0.25, 0.25], [0.5, 0]]


def test_parts_hold_like_sizes_and_every_row_once() -> None:
    table, experience = made()
    stepper = stepper_of(table, at_once=7)
    parts = stepper.row_parts(experience)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(LENGTHS)))
    assert len(parts) > 1
    assert [len(p) for p in stepper_of(table).row_parts(experience)] == [len(LENGTHS)]


def test_minibatches_hold_every_row_once_in_a_drawn_order() -> None:
    table, experience = made()
    marked = ValuedExperience(
        *(
            getattr(experience, n)
            for n in (
                "trajectories",
                "is_action",
                "log_probs",
                "reference",
                "advantages",
                "weights",
            )
        ),
        values=torch.arange(8.0)[:, None].expand(8, 3),
        returns=experience.returns,
    )
    parts = list(stepper_of(table).minibatches(marked, 3))
    rows = [part.values[:, 0].int().tolist() for part, _ in parts]
    every = [row for part in rows for row in part]
    assert sorted(every) == list(range(8)) != every
    assert [share for _, share in parts] == [3 / 8, 3 / 8, 2 / 8]
    again = [
        part.values[:, 0].int().tolist()
        for part, _ in stepper_of(table).minibatches(marked, 3)
    ]
    assert again == rows, "the same generator draws the same"
    assert len(list(stepper_of(table).minibatches(marked, 99))) == 8
    assert [share for _, share in stepper_of(table).minibatches(marked, 1)] == [1.0]


def test_minibatches_step_as_far_as_the_whole_on_average() -> None:
    """Rows of one length: the gradients of two halves, each as of the whole, have the whole's as
    their mean.
    """
    table = Table(3, 4, seed=5)
    rollout = rollout_of(table)
    experience = RLOO().credit(table, rollout)
    stepper = stepper_of(table)
    stepper.gradients(experience, costs)
    expected = gradients(table)
    table.logits.grad = table.values.grad = None
    halves = list(stepper.minibatches(experience, 2))
    for part, share in halves:
        stepper.gradients(part, costs, share=share)
    torch.testing.assert_close([g / 2 for g in gradients(table)], expected)


def test_the_gradient_is_cut_to_its_norm_and_the_rate_is_of_now() -> None:
    table, experience = made()
    before = table.logits.detach().clone(), table.values.detach().clone()
    optimizer = torch.optim.SGD(
        [{"params": [table.logits]}, {"params": [table.values], "factor": 10.0}],
        lr=99.0,
    )
    metrics = stepper_of(table, rate=0.5, clip=1e-3, optimizer=optimizer).step(
        experience, costs
    )
    assert metrics["gradient_norm"] > 1e-3
    moved = (
        (table.logits.detach() - before[0]) / 0.5,
        (table.values.detach() - before[1]) / 5,
    )
    assert math.hypot(*(float(m.norm()) for m in moved)) == pytest.approx(
        1e-3, rel=1e-3
    )


def test_only_what_is_to_be_trained_changes() -> None:
    table, experience = made()
    before = table.logits.detach().clone(), table.values.detach().clone()
    stepper = stepper_of(table)
    stepper.step(experience, costs, train=[table.values])
    assert torch.equal(table.logits, before[0])
    assert not torch.equal(table.values, before[1])
    assert table.logits.grad is None
    stepper.step(experience, costs)
    assert not torch.equal(table.logits, before[0])


def test_gradients_of_an_earlier_step_are_gone() -> None:
    table, experience = made()
    one = stepper_of(table, rate=1e-12).step(experience, costs)
    again = stepper_of(table, rate=1e-12).step(experience, costs)
    assert again["gradient_norm"] == pytest.approx(one["gradient_norm"])


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_number_that_is_not_finite_changes_nothing(wrong: float) -> None:
    table, experience = made()
    before = table.logits.detach().clone()

    def spoiled(part: Any, now: ActionEvaluation) -> dict[str, Tensor]:
        return {"cost": now.log_probs * wrong}

    with pytest.raises(NotFinite, match=r"gradient norm nan.*--lr.*0\.1"):
        stepper_of(table).step(experience, spoiled)
    assert torch.equal(table.logits, before)


def test_a_penalty_costs_beside() -> None:
    """KL in the loss: β·k2 of each action, weighed as the rest."""
    table, experience = made()
    stepper = stepper_of(table, penalty=KL(where="loss", estimator="k2").penalty(0.6))
    plain, penalised = (
        s.gradients(experience, costs) for s in (stepper_of(table), stepper)
    )
    now = table.evaluate(
        experience.trajectories, experience.is_action
    ).log_probs.detach()
    price = (experience.weights * 0.6 * (now - experience.reference) ** 2 / 2).sum()
    assert penalised["cost"] - plain["cost"] == pytest.approx(float(price))
    assert penalised["ones"] == plain["ones"]


def test_actions_apart() -> None:
    """17 actions, row by row, each with its own numbers; rows that are wholes stay."""
    table, experience = made()
    flat = single_actions(experience)
    assert flat.is_action.shape == (17, 1)
    assert flat.is_action.all()
    for name in (
        "advantages",
        "weights",
        "returns",
        "values",
        "log_probs",
        "reference",
    ):
        assert torch.equal(
            getattr(flat, name)[:, 0], getattr(experience, name)[experience.is_action]
        )
    assert torch.equal(
        flat.trajectories.actions[:, 0],
        experience.trajectories.actions[experience.is_action],
    )
    whole = A2C().credit(table, rollout_of(table, whole=True))
    assert single_actions(whole) is whole
