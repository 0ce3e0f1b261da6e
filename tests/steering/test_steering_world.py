"""The world of text: who writes what, what a completion scores, and where KL is paid."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from nano import drawn, nano

from tastemaker.gpt import Policy, Sampling
from tastemaker.rl import KL, PPO, Scale, Scaling, TextActor, TextReward, TextWorld

LETTERS = TextReward("letters", lambda c: float(len(c.text)))
PROMPTS = ("A", "A warm", "A dull film", "The", "")


def world(**other: Any) -> TextWorld:
    plain: dict[str, Any] = {
        "policy": drawn(nano(), 1),
        "reference": drawn(nano(), 2),
        "reward": LETTERS,
        "prompts": PROMPTS,
        "sampling": Sampling(max_tokens=6),
        "kl": KL(0.1),
        "scale": Scale(Scaling("none")),
        "batch": 8,
        "samples": 2,
        "seed": 0,
    }
    return TextWorld(**plain | other)


def test_rewards_are_the_score_at_the_end_less_kl_all_along() -> None:
    gathered = world().gather(0, 0.25)
    rollout = gathered.rollout
    free = rollout.rewards + 0.25 * (rollout.log_probs - rollout.reference)
    for row, completion in enumerate(gathered.completions):
        last = len(completion.ids) - 1
        expected = torch.zeros(6)
        expected[last] = len(completion.text)
        torch.testing.assert_close(free[row], expected, atol=1e-5, rtol=1e-5)
        assert rollout.is_action[row].tolist() == [k <= last for k in range(6)]
        assert rollout.log_probs[row, : last + 1].tolist() == pytest.approx(
            completion.log_probs
        )
    assert gathered.scores == [len(c.text) for c in gathered.completions]
    price = ((rollout.log_probs - rollout.reference) * rollout.is_action).sum(1)
    torch.testing.assert_close(gathered.kl, price)
    assert gathered.kl.abs().min() > 0
    torch.testing.assert_close(
        rollout.scores,
        torch.tensor(gathered.scores) - 0.25 * price,
        atol=1e-4,
        rtol=1e-4,
    )
    assert rollout.terminated.all()
    assert rollout.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert gathered.texts == [c.text for c in gathered.completions]


def critic() -> Policy:
    policy = drawn(nano(), 1).with_value_head()
    assert policy.value_head is not None
    torch.nn.init.normal_(
        policy.value_head.linear.weight, generator=torch.Generator().manual_seed(3)
    )
    return policy


def test_a_rollout_knows_what_the_critic_expected_when_it_was_written() -> None:
    policy = critic()
    rollout = world(policy=policy).gather(0, 0.25).rollout
    now = TextActor(policy).evaluate(rollout.trajectories, rollout.is_action)
    torch.testing.assert_close(
        rollout.values, now.values.detach(), atol=1e-4, rtol=1e-4
    )
    assert rollout.values[rollout.is_action].abs().min() > 0
    assert rollout.after.tolist() == [0] * 8, (
        "a text that has ended is scored whole: nothing follows"
    )
    assert world().gather(0, 0.25).rollout.values.abs().max() == 0, (
        "nobody expected anything"
    )


def test_in_the_loss_kl_is_not_in_the_reward() -> None:
    plain = world(kl=KL(0.25, "loss", "k3")).gather(0, 0.25)
    assert plain.rollout.scores.tolist() == plain.scores
    free, paid = (world(kl=KL(0.25, "reward", e)).gather(0, 0.25) for e in ("k1", "k3"))
    assert free.scores == plain.scores == paid.scores
    assert not torch.equal(free.rollout.rewards, paid.rollout.rewards), (
        "the estimator matters"
    )
    torch.testing.assert_close(free.kl, paid.kl)


def test_scores_are_scaled_before_kl_is_paid() -> None:
    scale = Scale(Scaling("reference"))
    scale.include([2.0, 6.0])
    scaled, plain = world(scale=scale).gather(0, 0.25), world().gather(0, 0.25)
    cost = torch.tensor(plain.scores) - plain.rollout.scores
    expected = (torch.tensor(plain.scores) - 4) / 2 - cost
    torch.testing.assert_close(scaled.rollout.scores, expected, atol=1e-4, rtol=1e-4)
    assert scaled.scores == plain.scores


def test_whitened_rewards_keep_their_mean() -> None:
    plain, white = (
        world(whiten_rewards=w).gather(0, 0.25).rollout for w in (False, True)
    )
    rewards = plain.rewards[plain.is_action]
    whitened = white.rewards[white.is_action]
    assert float(whitened.std(correction=0)) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(
        whitened,
        (rewards - rewards.mean()) / rewards.std(correction=0) + rewards.mean(),
        atol=1e-4,
        rtol=1e-4,
    )
    assert white.rewards[~white.is_action].abs().sum() == 0


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_policy_actor_and_reference_divide_by_the_same_temperature(
    temperature: float,
) -> None:
    """So the ratio of the first pass is 1, and a policy that is its reference has KL 0."""
    same = world(
        reference=drawn(nano(), 1),
        sampling=Sampling(max_tokens=6, temperature=temperature),
    )
    gathered = same.gather(0, 0.5)
    rollout = gathered.rollout
    now = TextActor(same.policy, temperature=temperature).log_probs(
        rollout.trajectories, rollout.is_action
    )
    torch.testing.assert_close(now, rollout.log_probs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        rollout.reference, rollout.log_probs, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        rollout.scores, torch.tensor(gathered.scores), atol=1e-3, rtol=1e-4
    )


def test_every_prompt_comes_once_each_time_around() -> None:
    whole = world(batch=2, samples=2)
    order = [whole.gather(step, 0.0).completions[0].prompt for step in range(15)]
    rounds = [order[:5], order[5:10], order[10:]]
    assert [Counter(r) for r in rounds] == [Counter(PROMPTS)] * 3
    assert len({tuple(r) for r in rounds}) > 1, "in another order"


def test_what_is_written_depends_on_seed_and_step_alone() -> None:
    first = world().gather(3, 0.1)
    again = world().gather(3, 0.1)
    assert again.texts == first.texts
    assert torch.equal(again.rollout.rewards, first.rollout.rewards)
    assert world().gather(4, 0.1).texts != first.texts
    assert world(seed=1).gather(3, 0.1).texts != first.texts
    pairs = [
        (c.prompt, c.text) for c in world().gather(0, 0.1).completions
    ]  # four of the five prompts
    assert len({p for p, _ in pairs}) == 4
    assert any(pairs[k][1] != pairs[k + 1][1] for k in range(0, 8, 2)), (
        "samples of a prompt differ"
    )


def test_measuring_draws_by_numbers_of_its_own_and_prices_nothing() -> None:
    whole = world()
    measured, again = whole.measure(7), whole.measure(7)
    assert measured.texts == again.texts
    assert len(measured.texts) == 7
    assert measured.rollout.scores.tolist() == measured.scores
    assert set(measured.texts) != set(whole.gather(0, 0.0).texts)


def test_a_rollouts_credit_does_not_depend_on_where_texts_are_cut_off() -> None:
    """Room for tokens that nobody wrote is padding."""
    policy = critic()
    rollout = world(policy=policy).gather(0, 0.1).rollout
    padded = ("log_probs", "reference", "rewards", "values")
    wide = {
        name: torch.cat([getattr(rollout, name), torch.zeros(8, 3)], 1)
        for name in padded
    }
    mask = torch.cat([rollout.is_action, torch.zeros(8, 3, dtype=torch.bool)], 1)
    actor = TextActor(policy)
    a, b = (
        PPO().credit(actor, r)
        for r in (rollout, replace(rollout, is_action=mask, **wide))
    )
    torch.testing.assert_close(b.advantages[:, :6], a.advantages)
    torch.testing.assert_close(b.returns[:, :6], a.returns)
