"""A language model as an algorithm sees it: place, log-probability, entropy, value of tokens."""

from functools import partial

import pytest
import torch
from architectures import llama
from nano import drawn, nano, uniform
from tabular import stepper_of

from tastemaker.errors import UsageError
from tastemaker.fast import passes_at_once
from tastemaker.gpt import Policy
from tastemaker.rl import (
    A2C,
    ActionEvaluation,
    Answers,
    Rollout,
    TextActor,
    dropping_out,
    single_actions,
)

ANSWERS = Answers(((1, 5, 9), (1,), (1, 7)), ((4, 8), (30, 31, 32), (6,)))
IS_ACTION = torch.arange(3) < torch.tensor([[2], [3], [1]])


def critic(seed: int = 3) -> Policy:
    """A policy whose value head has learned something."""
    policy = drawn(nano()).with_value_head()
    assert policy.value_head is not None
    torch.nn.init.normal_(
        policy.value_head.linear.weight, generator=torch.Generator().manual_seed(seed)
    )
    return policy


def rollout(policy: Policy) -> Rollout:
    zeros, nothing = torch.zeros(3, 3), torch.zeros(3)
    rewards = torch.tensor([[0.0, 1, 0], [0, 0, -1], [0.5, 0, 0]])
    values = TextActor(policy).evaluate(ANSWERS, IS_ACTION).values.detach()
    ended = torch.ones(3, dtype=torch.bool)
    return Rollout(
        ANSWERS,
        IS_ACTION,
        zeros,
        zeros,
        rewards,
        ended,
        torch.arange(3),
        values,
        nothing,
    )


def by_hand(
    policy: Policy, temperature: float
) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """Log-probabilities, entropies and values of each row alone, by transformers' own pass."""
    rows: tuple[list[list[float]], ...] = ([], [], [])
    for prompt, tokens in zip(ANSWERS.prompts, ANSWERS.tokens, strict=True):
        with torch.no_grad():
            out = policy.module(
                input_ids=torch.tensor([[*prompt, *tokens]]), output_hidden_states=True
            )
        every = torch.log_softmax(out.logits[0] / temperature, -1)
        places = [len(prompt) - 1 + k for k in range(len(tokens))]
        rows[0].append(
            [float(every[p, t]) for p, t in zip(places, tokens, strict=True)]
        )
        rows[1].append([float(-(every[p].exp() * every[p]).sum()) for p in places])
        values = (
            torch.zeros(99)
            if policy.value_head is None
            else policy.value_head(out.hidden_states[-1])[0].detach()
        )
        rows[2].append([float(values[p]) for p in places])
    return rows  # type: ignore[return-value]


def padded(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor([row + [0.0] * (3 - len(row)) for row in rows])


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_every_number_stands_at_its_token(temperature: float) -> None:
    policy = critic()
    evaluation = TextActor(policy, temperature=temperature).evaluate(ANSWERS, IS_ACTION)
    for now, expected in zip(evaluation, by_hand(policy, temperature), strict=True):
        torch.testing.assert_close(now.detach(), padded(expected), rtol=1e-4, atol=1e-5)
    assert all(x.requires_grad for x in evaluation)


def test_a_fresh_critic_expects_nothing_and_none_expects_zeros() -> None:
    for policy in (drawn(nano()).with_value_head(), drawn(nano())):
        actor = TextActor(policy)
        assert actor.evaluate(ANSWERS, IS_ACTION).values.abs().max() == 0
        assert actor.has_critic == (policy.value_head is not None)


def test_an_algorithm_that_needs_a_critic_says_how_to_get_one() -> None:
    with pytest.raises(
        UsageError,
        match=r"\bcritic\b.*\bpolicy\.with_value",
    ):
        A2C().credit(TextActor(nano()), rollout(nano()))


def test_company_and_order_change_nothing() -> None:
    actor = TextActor(critic())
    together = actor.evaluate(ANSWERS, IS_ACTION)
    order = torch.tensor([2, 0, 1])
    for rows in (order, order[:1], order[1:]):
        alone = actor.evaluate(ANSWERS.select(rows), IS_ACTION[rows])
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a, b[rows], rtol=1e-4, atol=1e-5)


def test_a_uniform_policy_is_ln_v_undecided() -> None:
    policy = uniform(nano())
    evaluation = TextActor(policy, temperature=0.7).evaluate(ANSWERS, IS_ACTION)
    size = torch.tensor(float(len(policy.tokenizer))).log()
    torch.testing.assert_close(evaluation.entropy[IS_ACTION], size.expand(6))
    torch.testing.assert_close(evaluation.log_probs[IS_ACTION], -size.expand(6))
    assert evaluation.entropy[~IS_ACTION].abs().sum() == 0


def test_rows_and_parameters() -> None:
    assert ANSWERS.sizes().tolist() == [5, 4, 3]
    assert ANSWERS.inputs == [[1, 5, 9, 4], [1, 30, 31], [1, 7]]
    assert ANSWERS.positions.tolist() == [2, 3, 4, 5, 6, 8]
    assert ANSWERS.targets.tolist() == [4, 8, 30, 31, 32, 6]
    assert ANSWERS.select(torch.tensor([1])) == Answers(((1,),), ((30, 31, 32),))
    policy = critic()
    actor, experience = (
        TextActor(policy),
        A2C().credit(TextActor(policy), rollout(policy)),
    )
    assert single_actions(experience) is experience
    assert {id(p) for p in actor.policy_parameters()} == {
        id(p) for p in policy.module.parameters()
    }
    assert [p.shape for p in actor.critic_parameters()] == [(1, 32), (1,)]
    assert TextActor(nano()).critic_parameters() == []


def test_parts_of_a_step_over_text_change_nothing() -> None:
    """Tokens that are computed at once: 12, all but one row, one row each."""
    steps = []
    for at_once in (12, 9, 1):
        actor = TextActor(critic())
        algorithm = A2C(whiten=False, entropy=0.1)
        experience = algorithm.credit(actor, rollout(actor.policy))
        measured = stepper_of(actor, at_once=at_once).gradients(
            experience, partial(algorithm._costs, algorithm.entropy)
        )
        grads = [
            p.grad.flatten()
            for p in [*actor.policy_parameters(), *actor.critic_parameters()]
            if p.grad is not None
        ]
        steps.append((torch.cat(grads), measured))
    for gradient, measured in steps[1:]:
        torch.testing.assert_close(gradient, steps[0][0], rtol=1e-3, atol=1e-5)
        assert measured == pytest.approx(steps[0][1], rel=1e-4)


def test_threads_share_rows_and_change_nothing() -> None:
    """Of the processor's two threads each has about half of the tokens, and every number comes back
    to its row.
    """
    before, steps = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            actor = TextActor(critic())
            assert actor.threads == threads
            experience = A2C(whiten=False).credit(actor, rollout(actor.policy))
            assert len(stepper_of(actor).row_parts(experience)) == threads
            steps.append(
                (
                    actor.log_probs(ANSWERS, IS_ACTION),
                    *actor.evaluate(ANSWERS, IS_ACTION),
                )
            )
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*steps, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
    assert not any(log_probs.requires_grad for log_probs, *_ in steps), (
        "but those of a reference, without gradients"
    )


@pytest.mark.usefixtures("two_threads")
def test_passes_that_share_what_they_draw_from_are_not_computed_side_by_side() -> None:
    """Dropout is drawn from one generator, and transformers' own passes may do so."""
    policy = critic()
    assert TextActor(policy).threads == 2
    with dropping_out(policy, seed=0):
        assert TextActor(policy).threads == 1
    assert passes_at_once(policy.module) == 2
    assert passes_at_once(llama()) == 1


def test_temperature_divides_the_gradient_too() -> None:
    """Of a policy that knows nothing, ∇log π of the logits is (onehot − 1/V)/T."""
    slopes = []
    for temperature in (1.0, 2.0):
        policy = uniform(nano())
        policy.module.gpt_neox.final_layer_norm.bias.data.fill_(1.0)
        now: ActionEvaluation = TextActor(policy, temperature=temperature).evaluate(
            ANSWERS, IS_ACTION
        )
        slopes.append(
            torch.autograd.grad(now.log_probs.sum(), policy.module.lm_head.weight)[0]
        )
    assert slopes[0].abs().max() > 0
    torch.testing.assert_close(slopes[1], slopes[0] / 2)
