"""Credit and update of each algorithm: by hand, by identities, and with each setting changed."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tabular import Chosen, Table, raised, rollout_of, slopes, stepper_of
from torch import Tensor

from tastemaker.maths import dpo, masked_mean, masked_sum
from tastemaker.rl import (
    A2C,
    DPO,
    GRPO,
    PPO,
    RLOO,
    TRPO,
    Reinforce,
    Rollout,
    Winners,
    bonus_weight,
    ranks_in_group,
)

ALL = [
    *(Reinforce(baseline=b) for b in ("none", "mean", "value")),
    *(
        A2C(),
        TRPO(fisher_share=1.0),
        PPO(),
        RLOO(),
        GRPO(samples=4),
        GRPO(samples=4, normalise="dr"),
        DPO(),
        Winners(samples=4),
    ),
]


def table() -> Table:
    return Table(3, 4, seed=5)


def name_of(algorithm: Any) -> str:
    variant = getattr(algorithm, "baseline", getattr(algorithm, "normalise", ""))
    return f"{algorithm.name}-{variant}".rstrip("-")


def one_right() -> Rollout:
    """Eight answers of one action to one prompt; the third is right."""
    scores = torch.eye(8)[2]
    ones = torch.ones(8, 1, dtype=torch.bool)
    trajectories = Chosen(
        torch.zeros(8, 1, dtype=torch.int64),
        torch.eye(8, dtype=torch.int64)[2][:, None],
    )
    logs = torch.full((8, 1), math.log(0.5))
    zeros = torch.zeros(8, 1)
    return Rollout(
        trajectories,
        ones,
        logs,
        logs,
        scores[:, None],
        ones[:, 0],
        zeros[:, 0].long(),
        zeros,
        zeros[:, 0],
    )


def test_ppos_first_pass_is_a2c() -> None:
    """The ratio is 1, so nothing is clipped and the gradients of policy and critic are the same."""
    actor = table()
    rollout = rollout_of(actor)
    by_a2c = slopes(table(), A2C(), rollout)
    by_ppo = slopes(table(), PPO(epochs=1, minibatches=1), rollout)
    torch.testing.assert_close(by_ppo, by_a2c, rtol=1e-10, atol=1e-12)
    metrics = PPO(epochs=1, minibatches=1).update(
        actor, PPO().credit(actor, rollout), stepper_of(actor)
    )
    assert metrics["clip_fraction"] == 0
    assert metrics["moved"] == pytest.approx(0, abs=1e-12)


def test_a_later_pass_is_clipped_and_another_number_of_steps_is_another_update() -> (
    None
):
    rollout = rollout_of(table())
    one, two = (
        slopes(table(), PPO(epochs=n, minibatches=1, target_kl=math.inf), rollout)[0]
        for n in (1, 2)
    )
    assert not torch.allclose(one, two)
    tight, loose = (
        slopes(table(), PPO(epochs=2, minibatches=1, clip=c, target_kl=9.0), rollout)[0]
        for c in (0.01, 9.0)
    )
    assert not torch.allclose(tight, loose)


def test_passes_end_once_the_policy_has_moved_far() -> None:
    for target_kl, epochs in ((math.inf, 6), (1e-6, 2)):
        actor = table()
        algorithm = PPO(epochs=6, minibatches=1, target_kl=target_kl)
        metrics = algorithm.update(
            actor,
            algorithm.credit(actor, rollout_of(actor)),
            stepper_of(actor, rate=0.5),
        )
        assert metrics["epochs"] == epochs, (
            "the first pass has not moved, the second sees that it has"
        )
        assert metrics["moved"] > 1e-6


def test_a2cs_credit() -> None:
    """Returns are of the raw advantages; whitening is for the policy alone. λ = 1 is REINFORCE with
    a critic.
    """
    actor = table()
    rollout = rollout_of(actor)
    raw, whitened = (
        A2C(whiten=w, lam=0.5).credit(actor, rollout) for w in (False, True)
    )
    torch.testing.assert_close(raw.returns, whitened.returns)
    torch.testing.assert_close(
        raw.returns,
        (raw.advantages + raw.values).where(rollout.is_action, torch.tensor(0.0)),
    )
    assert float(masked_mean(whitened.advantages, rollout.is_action)) == pytest.approx(
        0, abs=1e-9
    )
    assert float(
        masked_mean(whitened.advantages**2, rollout.is_action)
    ) == pytest.approx(1, abs=1e-6)
    full = A2C(whiten=False, lam=1.0).credit(actor, rollout)
    other = Reinforce(baseline="value").credit(actor, rollout)
    torch.testing.assert_close(full.advantages, other.advantages)
    torch.testing.assert_close(full.returns, other.returns)
    assert not torch.allclose(raw.advantages, full.advantages), "λ matters"
    less = A2C(whiten=False, lam=0.5, gamma=0.5).credit(actor, rollout)
    assert not torch.allclose(raw.advantages, less.advantages), "γ matters"


@pytest.mark.parametrize(
    "algorithm",
    [A2C(whiten=False), PPO(whiten=False), Reinforce(baseline="value")],
    ids=name_of,
)
def test_what_follows_a_row_counts_where_it_was_cut_alone(algorithm: Any) -> None:
    actor = table()
    rollout = replace(rollout_of(actor), terminated=torch.tensor([True] * 7 + [False]))
    without = algorithm.credit(actor, rollout)
    credit = algorithm.credit(actor, replace(rollout, after=torch.full((8,), 10.0)))
    torch.testing.assert_close(credit.returns[:7], without.returns[:7])
    assert float(credit.returns[7, 1] - without.returns[7, 1]) == pytest.approx(10)


def test_reinforces_baselines() -> None:
    """Two rows that bring 1 and 3: returns 1, 1 and 3, mean 5/3; a critic that expects 2 leaves −1,
    −1 and 1.
    """
    actor = Table(1, 2)
    actor.values.data.fill_(2.0)
    is_action = torch.tensor([[True, True], [True, False]])
    zeros = torch.zeros(2, 2)
    rewards = torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    trajectories = Chosen(zeros.long(), zeros.long())
    foreseen = actor.critic_values(trajectories, is_action)
    rollout = Rollout(
        trajectories,
        is_action,
        zeros,
        zeros,
        rewards,
        torch.tensor([True, True]),
        torch.arange(2),
        *foreseen,
    )
    wanted = {"none": [1, 1, 3], "mean": [-2 / 3, -2 / 3, 4 / 3], "value": [-1, -1, 1]}
    for baseline, expected in wanted.items():
        credit = Reinforce(baseline=baseline).credit(actor, rollout)  # type: ignore[arg-type]
        assert credit.advantages[is_action].tolist() == pytest.approx(expected)
        assert credit.advantages[1, 1] == 0
        assert credit.weights.tolist() == [
            pytest.approx(row) for row in ([1 / 3, 1 / 3], [1 / 3, 0])
        ]
    white = (
        Reinforce(baseline="none", whiten=True)
        .credit(actor, rollout)
        .advantages[is_action]
    )
    assert white.tolist() == pytest.approx(
        [-math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2)]
    )
    early = (
        Reinforce(baseline="none", gamma=0.5)
        .credit(actor, rollout)
        .advantages[is_action]
    )
    assert early.tolist() == [0.5, 1, 3]


def test_reinforces_gradient_is_the_policy_gradient() -> None:
    """Σ (1/n)·A·(onehot − π) by hand; the entropy bonus adds its own gradient."""
    actor = table()
    rollout = rollout_of(actor)
    experience = Reinforce(entropy=0.0).credit(actor, rollout)
    states, actions = (
        x[rollout.is_action]
        for x in (rollout.trajectories.states, rollout.trajectories.actions)
    )
    policy = torch.softmax(actor.logits.detach(), -1)
    each = (torch.eye(4).double()[actions] - policy[states]) * experience.advantages[
        rollout.is_action
    ][:, None]
    expected = torch.zeros(3, 4).double().index_add_(0, states, each / len(states))
    torch.testing.assert_close(
        slopes(table(), Reinforce(entropy=0.0), rollout)[0], expected
    )
    every = torch.log_softmax(actor.logits.detach(), -1)
    entropy = -(policy * every).sum(-1, keepdim=True)
    bonus = -policy * (every + entropy)
    count = torch.bincount(states, minlength=3)[:, None] / len(states)
    torch.testing.assert_close(
        slopes(table(), Reinforce(entropy=0.3), rollout)[0],
        expected + 0.3 * count * bonus,
    )


def test_the_bonus_fades_where_there_is_entropy_enough() -> None:
    """Actions of probability 1/2 and 1/8 have −log π of 2 ln 2 on average: half the bonus where 4
    ln 2 is enough.
    """
    rollout = rollout_of(table())
    acted = torch.full(rollout.is_action.shape, 99.0, dtype=torch.float64)
    actions = torch.arange(int(rollout.is_action.sum()) // 2 * 2)
    is_action = torch.zeros_like(rollout.is_action)
    is_action[tuple(rollout.is_action.nonzero()[actions].T)] = True
    acted[is_action] = torch.where(actions % 2 == 0, 0.5, 0.125).double().log()
    experience = replace(
        A2C().credit(table(), rollout), log_probs=acted, is_action=is_action
    )
    weights = [
        bonus_weight(A2C(entropy=0.3, target_entropy=enough * math.log(2)), experience)
        for enough in (4, 3, 2, 1, math.inf)
    ]
    assert weights == pytest.approx([0.3 / 2, 0.3 / 3, 0, 0, 0.3])


@pytest.mark.parametrize(
    "algorithm", [Reinforce(), A2C(), PPO(), RLOO(), GRPO(samples=4)], ids=name_of
)
def test_a_faded_bonus_is_a_smaller_one(algorithm: Any) -> None:
    rollout = rollout_of(table())
    enough = -2 * float(masked_mean(rollout.log_probs, rollout.is_action))
    faded = slopes(
        table(), replace(algorithm, entropy=0.4, target_entropy=enough), rollout
    )
    torch.testing.assert_close(
        faded, slopes(table(), replace(algorithm, entropy=0.2), rollout)
    )


def test_the_critics_gradient() -> None:
    """Half the mean of (R − V) by state; reinforce without a critic leaves it alone."""
    actor = table()
    rollout = rollout_of(actor)
    experience = A2C().credit(actor, rollout)
    gaps = (experience.returns - experience.values)[rollout.is_action]
    states = rollout.trajectories.states[rollout.is_action]
    expected = torch.zeros(3).double().index_add_(0, states, 0.5 * gaps / len(states))
    torch.testing.assert_close(slopes(table(), A2C(), rollout)[1], expected)
    torch.testing.assert_close(
        slopes(table(), A2C(value_weight=1.5), rollout)[1], 3 * expected
    )
    torch.testing.assert_close(
        slopes(table(), PPO(epochs=1, minibatches=1, value_weight=1.5), rollout)[1],
        3 * expected,
    )
    value = slopes(table(), Reinforce(baseline="value", value_weight=0.0), rollout)[1]
    assert (
        value.abs().max()
        == 0
        != slopes(table(), Reinforce(baseline="value"), rollout)[1].abs().max()
    )
    assert slopes(table(), Reinforce(), rollout)[1].abs().max() == 0


@pytest.mark.parametrize(
    ("algorithm", "right", "wrong"),
    [
        (GRPO(), 2.646, -0.378),
        (GRPO(normalise="dr"), 7 / 8, -1 / 8),
        (RLOO(samples=8), 1.0, -1 / 7),
    ],
    ids=["grpo", "dr", "rloo"],
)
def test_eight_answers_one_correct(algorithm: Any, right: float, wrong: float) -> None:
    advantages = algorithm.credit(Table(), one_right()).advantages[:, 0].tolist()
    assert advantages == pytest.approx([wrong] * 2 + [right] + [wrong] * 5, abs=5e-4)


def test_what_an_action_weighs() -> None:
    """Lengths 3, 1, 2, 3, 2, 1, 3, 2 are 17 actions in 8 rows of at most 3."""
    actor = table()
    rollout = rollout_of(actor)
    first = [
        algorithm.credit(actor, rollout).weights[0, 0]
        for algorithm in (A2C(), RLOO(), GRPO(), GRPO(normalise="dr"))
    ]
    assert [float(x) for x in first] == pytest.approx(
        [1 / 17, 1 / 8, 1 / 8 / 3, 1 / 8 / 3]
    )
    second = [
        algorithm.credit(actor, rollout).weights[1]
        for algorithm in (RLOO(), GRPO(), GRPO(normalise="dr"))
    ]
    assert [x.tolist() for x in second] == [
        pytest.approx([w, 0, 0]) for w in (1 / 8, 1 / 8, 1 / 8 / 3)
    ]


@pytest.mark.parametrize("algorithm", [RLOO(), *ALL[6:]], ids=name_of)
def test_a_constant_on_all_scores_changes_nothing(algorithm: Any) -> None:
    rollout = rollout_of(table())
    plain, more = (
        slopes(table(), algorithm, r)[0] for r in (rollout, raised(rollout, 5.0))
    )
    assert plain.abs().max() > 1e-3
    torch.testing.assert_close(more, plain, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("algorithm", ALL, ids=name_of)
def test_padding_and_order_change_nothing(algorithm: Any) -> None:
    """Dr. GRPO divides by the longest there can be, so it takes wider rows for another longest."""
    algorithm = (
        replace(algorithm, minibatches=1)
        if hasattr(algorithm, "minibatches")
        else algorithm
    )
    algorithm = (
        replace(algorithm, critic_minibatches=1)
        if algorithm.name == "trpo"
        else algorithm
    )
    rollout = rollout_of(table())
    expected = slopes(table(), algorithm, rollout)
    order = torch.tensor([3, 1, 0, 2, 6, 7, 5, 4])
    torch.testing.assert_close(
        slopes(table(), algorithm, rollout.select(order)),
        expected,
        atol=1e-7,
        rtol=1e-6,
    )
    padded = slopes(table(), algorithm, wider(rollout))
    if getattr(algorithm, "normalise", "") == "dr":
        assert padded[0].abs().max() < expected[0].abs().max()
    else:
        torch.testing.assert_close(padded, expected, atol=1e-7, rtol=1e-6)


def wider(rollout: Rollout) -> Rollout:
    """The rollout with two more places that hold anything."""

    def more(x: Tensor, fill: Any) -> Tensor:
        return torch.cat([x, torch.full((len(x), 2), fill, dtype=x.dtype)], 1)

    trajectories = replace(
        rollout.trajectories,
        states=more(rollout.trajectories.states, 2),
        actions=more(rollout.trajectories.actions, 1),
    )
    padded = {
        name: more(getattr(rollout, name), 0.0)
        for name in ("log_probs", "reference", "values")
    }
    return replace(
        rollout,
        trajectories=trajectories,
        is_action=more(rollout.is_action, False),
        rewards=more(rollout.rewards, 77.0),
        **padded,
    )


@pytest.mark.parametrize("algorithm", ALL, ids=name_of)
def test_parts_and_rows_that_stay_whole_change_nothing(algorithm: Any) -> None:
    rollout = rollout_of(table())
    expected = slopes(table(), algorithm, rollout)
    for at_once in (1, 7):
        torch.testing.assert_close(
            slopes(table(), algorithm, rollout, at_once=at_once),
            expected,
            atol=1e-7,
            rtol=1e-6,
        )
    if not hasattr(
        algorithm, "critic_epochs"
    ):  # its critic draws minibatches of rows, which are others when apart
        single = (
            replace(algorithm, minibatches=1)
            if hasattr(algorithm, "minibatches")
            else algorithm
        )
        whole = slopes(table(), single, rollout_of(table(), whole=True))
        torch.testing.assert_close(
            whole, slopes(table(), single, rollout), atol=1e-7, rtol=1e-6
        )


def dpo_loss(actor: Table, rollout: Rollout, pairs: Tensor, beta: float) -> Tensor:
    logs = actor.evaluate(rollout.trajectories, rollout.is_action).log_probs
    now, reference = (
        masked_sum(x, rollout.is_action, 1)[pairs] for x in (logs, rollout.reference)
    )
    return dpo(now[:, 0], now[:, 1], reference[:, 0], reference[:, 1], beta=beta).mean()


@pytest.mark.parametrize("whole", [False, True])
def test_dpos_step_is_along_the_gradient_of_its_loss(whole: bool) -> None:
    actor = table()
    rollout = rollout_of(actor, whole=whole)
    best, worst = (
        torch.stack([f(rollout.scores[:4]), 4 + f(rollout.scores[4:])])
        for f in (torch.argmax, torch.argmin)
    )
    pairs = torch.stack([best, worst], 1)
    loss = dpo_loss(actor, rollout, pairs, 0.7)
    (expected,) = torch.autograd.grad(loss, actor.logits)
    algorithm = DPO(beta=0.7, epochs=1, minibatches=1)
    torch.testing.assert_close(
        slopes(table(), algorithm, rollout)[0], -expected, rtol=1e-6, atol=1e-9
    )
    experience = algorithm.credit(actor, rollout)
    assert (
        experience.is_action.sum(1).tolist()
        == rollout.is_action.sum(1)[pairs.flatten()].tolist()
    )
    metrics = algorithm.update(actor, experience, stepper_of(actor, rate=1e-9))
    assert metrics["preference_loss"] == pytest.approx(float(loss.detach()))
    assert metrics["pairs_told"] == 2
    second = replace(algorithm, epochs=2)
    moved = table()
    moved.logits.data += slopes(table(), algorithm, rollout)[0]
    both = slopes(table(), second, rollout)[0]
    (after,) = torch.autograd.grad(dpo_loss(moved, rollout, pairs, 0.7), moved.logits)
    torch.testing.assert_close(both, -expected - after, rtol=1e-6, atol=1e-9)


def test_dpo_at_the_reference_is_ln_2_and_equal_scores_tell_nothing() -> None:
    actor = table()
    rollout = rollout_of(actor)
    rollout = replace(rollout, reference=rollout.log_probs)
    algorithm = DPO(epochs=1, minibatches=1)
    metrics = algorithm.update(
        actor, algorithm.credit(actor, rollout), stepper_of(actor, rate=1e-9)
    )
    assert metrics["preference_loss"] == pytest.approx(math.log(2))
    assert metrics["preference_accuracy"] == 0.5, (
        "a margin of 0 is half right, as equal scores are elsewhere"
    )
    same = replace(rollout, rewards=torch.zeros_like(rollout.rewards))
    before = actor.logits.detach().clone()
    assert DPO().update(actor, DPO().credit(actor, same), stepper_of(actor)) == {
        "pairs_told": 0.0
    }
    assert torch.equal(actor.logits, before)


def test_winners_learn_the_best_of_each_group() -> None:
    actor = table()
    rollout = rollout_of(actor)
    algorithm = Winners(samples=4)
    best = torch.stack([rollout.scores[:4].argmax(), 4 + rollout.scores[4:].argmax()])
    won = rollout.select(best)
    states, actions = (
        x[won.is_action] for x in (won.trajectories.states, won.trajectories.actions)
    )
    nats = -torch.log_softmax(actor.logits, -1)[states, actions].mean()
    (expected,) = torch.autograd.grad(nats, actor.logits)
    torch.testing.assert_close(
        slopes(table(), algorithm, rollout)[0], -expected, rtol=1e-6, atol=1e-9
    )


def test_places_in_a_group() -> None:
    scores, groups = (
        torch.tensor([1.0, 5.0, 3.0, 5.0, 3.0, 0.0]),
        torch.tensor([0, 4, 0, 4, 0, 0]),
    )
    assert ranks_in_group(scores, groups).tolist() == [2, 0, 0, 1, 1, 3]
