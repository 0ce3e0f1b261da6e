"""DPO over ordered rows: pairs and their weights, the loss by hand, rankings, whole groups."""

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from tabular import Chosen, Table, rollout_of, stepper_of
from torch import Tensor

from tastemaker.maths import masked_sum
from tastemaker.rl import (
    ALGORITHMS,
    DPO,
    Compared,
    LearnsFromJudgements,
    algorithm_class,
    pairs_of,
)

GROUPS, TIERS = (
    torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]),
    torch.tensor([0, 1, 1, 2, 1, 0, 0, 0]),
)
"""A ranking of a best, two equals and a worst; a comparison; a tie."""


def table() -> Table:
    return Table(3, 4, seed=5)


def compared(
    actor: Table, weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Compared:
    """Eight rows of one to three steps in the order that GROUPS and TIERS say, each group with a
    weight.
    """
    rollout = rollout_of(actor)
    counts = torch.tensor(weights).double()[GROUPS] / 3
    return Compared(
        trajectories=rollout.trajectories,
        is_action=rollout.is_action,
        log_probs=rollout.reference,
        reference=rollout.reference,
        advantages=torch.zeros_like(rollout.reference),
        weights=rollout.is_action * counts[:, None],
        groups=GROUPS,
        tiers=TIERS,
    )


def loss_by_hand(
    actor: Table, rollout: Compared, weights: tuple[float, float, float], beta: float
) -> Tensor:
    """The sum over groups of weight/3 times the mean of −ln σ(β·margin) over the group's pairs."""
    logs = actor.evaluate(rollout.trajectories, rollout.is_action).log_probs
    ratio = masked_sum(logs - rollout.reference, rollout.is_action, 1)
    total = torch.zeros((), dtype=torch.float64)
    for group, weight in enumerate(weights):
        rows = (rollout.groups == group).nonzero()[:, 0].tolist()
        ordered = [
            (a, b) for pair in combinations(rows, 2) for a, b in (pair, pair[::-1])
        ]
        losses = [
            -torch.nn.functional.logsigmoid(beta * (ratio[a] - ratio[b]))
            for a, b in ordered
            if rollout.tiers[a] < rollout.tiers[b]
        ]
        total = total + weight / 3 * sum(losses, total * 0) / max(len(losses), 1)
    return total


def moved(algorithm: DPO, rollout: Compared, **settings: int) -> Tensor:
    """By what one update of rate 1 moves the logits."""
    actor = table()
    before = actor.logits.detach().clone()
    algorithm.update(actor, rollout, stepper_of(actor, rate=1.0, **settings))
    return actor.logits.detach() - before


def test_pairs_and_what_each_counts() -> None:
    """Four texts in three tiers have five ordered pairs and one tie; two equals have none."""
    better, worse, shares = pairs_of(GROUPS, TIERS)
    assert list(zip(better.tolist(), worse.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 3),
        (2, 3),
        (5, 4),
    ]
    assert shares.tolist() == pytest.approx([0.2] * 5 + [1.0])
    assert [len(x) for x in pairs_of(torch.tensor([0, 0]), torch.tensor([1, 1]))] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(("chosen", "expected"), [(-12.0, 0.798), (-9.0, 0.644)])
def test_the_loss_of_one_pair(chosen: float, expected: float) -> None:
    """β 0.1, the rejected at −10, the reference equal on both: −ln σ(0.1·(−2)) = 0.798 and −ln
    σ(0.1·1) = 0.644.
    """
    log_probs, equal = torch.tensor([[chosen], [-10.0]]), torch.full((2, 1), -11.0)
    is_action = torch.ones(2, 1, dtype=torch.bool)
    trajectories = Chosen(torch.zeros(2, 1).long(), torch.zeros(2, 1).long())
    rows = torch.arange(2)
    rollout = Compared(
        trajectories,
        is_action,
        equal,
        equal,
        equal * 0,
        is_action.float(),
        rows * 0,
        rows,
    )
    agreement = DPO(beta=0.1).agreement(rollout, log_probs)
    assert agreement["preference_loss"] == pytest.approx(expected, abs=5e-4)
    assert agreement["preference_accuracy"] == float(chosen > -10)
    assert agreement["preference_margin"] == pytest.approx(0.1 * (chosen + 10))


def test_at_the_reference_the_loss_is_ln_2_and_half_is_right() -> None:
    rollout = compared(table())
    agreement = DPO().agreement(rollout, rollout.reference)
    assert agreement == {
        "preference_loss": pytest.approx(math.log(2)),
        "preference_accuracy": 0.5,
        "preference_margin": 0,
    }


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 2.0, 0.5)])
def test_the_step_is_along_the_gradient_of_the_loss(
    weights: tuple[float, float, float],
) -> None:
    actor = table()
    rollout = compared(actor, weights)
    loss = loss_by_hand(actor, rollout, weights, 0.7)
    (expected,) = torch.autograd.grad(loss, actor.logits)
    algorithm = DPO(beta=0.7, epochs=1, minibatches=1)
    torch.testing.assert_close(
        moved(algorithm, rollout), -expected, rtol=1e-6, atol=1e-9
    )
    assert (
        algorithm.update(actor, rollout, stepper_of(actor, rate=1e-12))["pairs_told"]
        == 6
    )


def test_padding_order_and_parts_change_nothing() -> None:
    rollout = compared(table())
    algorithm = DPO(beta=0.7, epochs=1, minibatches=1)
    expected = moved(algorithm, rollout)
    order = torch.tensor([6, 3, 5, 0, 7, 2, 1, 4])
    torch.testing.assert_close(moved(algorithm, rollout.select(order)), expected)
    for at_once in (1, 4, 7):
        torch.testing.assert_close(moved(algorithm, rollout, at_once=at_once), expected)

    def wider(x: Tensor, fill: float) -> Tensor:
        return torch.cat([x, torch.full((8, 2), fill, dtype=x.dtype)], 1)

    names = ("log_probs", "reference", "advantages", "weights")
    padded: dict[str, Any] = {
        name: wider(getattr(rollout, name), 0.0) for name in names
    }
    choices = rollout.trajectories
    padded["trajectories"] = Chosen(
        wider(choices.states, 1.0), wider(choices.actions, 1.0)
    )
    padded["is_action"] = wider(rollout.is_action, 0.0)
    wide = replace(rollout, **padded)
    torch.testing.assert_close(moved(algorithm, wide), expected)


def test_minibatches_hold_whole_groups_and_a_third_of_them_steps_as_far_as_all() -> (
    None
):
    """Rate ≈ 0: the three steps of one group each add up to three times the step of all."""
    rollout = compared(table())

    def tiny(minibatches: int) -> Tensor:
        actor = table()
        before = actor.logits.detach().clone()
        metrics = DPO(epochs=1, minibatches=minibatches).update(
            actor, rollout, stepper_of(actor, rate=1e-6)
        )
        assert metrics["pairs_told"] == 6
        return (actor.logits.detach() - before) / 1e-6

    torch.testing.assert_close(tiny(3), 3 * tiny(1), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(tiny(9), 3 * tiny(1), rtol=1e-4, atol=1e-7)


def test_only_dpo_learns_from_judgements() -> None:
    assert [
        name
        for name in ALGORITHMS
        if issubclass(algorithm_class(name), LearnsFromJudgements)
    ] == ["dpo"]
