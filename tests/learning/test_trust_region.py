"""TRPO: conjugate gradients, products with the Fisher matrix, and the line search."""

from typing import Any

import pytest
import torch
from nano import drawn, nano
from tabular import Table, rollout_of, stepper_of

from tastemaker.gpt import Sampling
from tastemaker.maths import k3
from tastemaker.rl import (
    KL,
    TRPO,
    Scale,
    Scaling,
    TextActor,
    TextReward,
    TextWorld,
    conjugate_gradient,
)


@pytest.mark.parametrize("seed", range(3))
def test_conjugate_gradients_solve_what_elimination_solves(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(12, 12, generator=generator).double()
    matrix, b = (
        root @ root.T + torch.eye(12),
        torch.randn(12, generator=generator).double(),
    )
    solution = conjugate_gradient(lambda v: matrix @ v, b, 60)
    torch.testing.assert_close(
        solution, torch.linalg.solve(matrix, b), atol=1e-6, rtol=1e-6
    )


def test_as_many_steps_as_eigenvalues_are_enough() -> None:
    """Two eigenvalues, two steps; after one it has gone b·b/(b·Ab) along b."""
    diagonal, b = (
        torch.tensor([2.0, 2.0, 5.0]).double(),
        torch.tensor([1.0, -1.0, 2.0]).double(),
    )
    torch.testing.assert_close(
        conjugate_gradient(lambda v: diagonal * v, b, 2), b / diagonal
    )
    torch.testing.assert_close(
        conjugate_gradient(lambda v: diagonal * v, b, 1), b * 6 / 24
    )
    nothing = conjugate_gradient(lambda v: diagonal * v, torch.zeros(3).double(), 5)
    assert nothing.tolist() == [0, 0, 0]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("at_once", "threads"), [(8192, 1), (1, 1), (8192, 2)])
def test_the_fisher_product_is_that_of_the_matrix(at_once: int, threads: int) -> None:
    """F = mean of ∇log π ∇log πᵀ over the actions, and the damping."""
    table = Table(2, 3, seed=1)
    table.threads = threads
    algorithm = TRPO(damping=0.3)
    experience = algorithm.credit(table, rollout_of(table))
    product = algorithm._fisher(
        table, experience, stepper_of(table, at_once=at_once), table.policy_parameters()
    )
    log_probs = table.evaluate(experience.trajectories, experience.is_action).log_probs[
        experience.is_action
    ]
    each = [
        torch.autograd.grad(x, table.logits, retain_graph=True)[0].flatten()
        for x in log_probs
    ]
    matrix = sum(torch.outer(g, g) for g in each) / len(each) + 0.3 * torch.eye(6)
    columns = torch.stack([product(v) for v in torch.eye(6).double()])
    torch.testing.assert_close(columns, matrix, rtol=1e-6, atol=1e-8)


def test_a_part_of_the_rows_stands_for_all_of_them() -> None:
    """A fifth of the rows, each once, with the weight of all; another generator, another draw."""
    table = Table(2, 3, seed=1)
    experience = TRPO().credit(table, rollout_of(table))
    rows, draws = len(experience.is_action), []
    for share, count in ((0.2, round(0.2 * rows)), (1e-9, 1), (1.0, rows)):
        stepper = stepper_of(table)
        some = TRPO(fisher_share=share)._fisher_rows(experience, stepper)
        assert len(some.is_action) == count
        assert float(some.weights.sum()) == pytest.approx(
            float(experience.weights.sum())
        )
        assert torch.equal(some.weights > 0, some.is_action)
    for seed in (0, 0, 1):
        stepper = stepper_of(table)
        stepper.generator.manual_seed(seed)
        draws.append(TRPO(fisher_share=0.5)._fisher_rows(experience, stepper).log_probs)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def moved_by(
    table: Table, algorithm: TRPO, rollout: Any
) -> tuple[dict[str, float], float]:
    """What an update measured, and how far it moved the policy: the mean k3 of the actions."""
    metrics = algorithm.update(
        table, algorithm.credit(table, rollout), stepper_of(table)
    )
    now = table.evaluate(rollout.trajectories, rollout.is_action).log_probs.detach()
    return metrics, float(k3(rollout.log_probs, now)[rollout.is_action].mean())


@pytest.mark.parametrize("target_kl", [1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_a_step_stays_within_the_trust_region(seed: int, target_kl: float) -> None:
    table = Table(3, 4, seed=seed)
    metrics, moved = moved_by(
        table, TRPO(target_kl=target_kl), rollout_of(table, seed=seed)
    )
    assert metrics["moved"] == pytest.approx(moved, rel=1e-6)  # weights are float32
    assert 0 < moved <= target_kl
    assert 0 < metrics["step_length"] <= 1


def test_the_step_is_the_largest_of_the_quadratic_model() -> None:
    """Without damping a small step reaches δ at once, and is along the natural gradient F⁻¹g."""
    table = Table(1, 3, seed=2)
    rollout = rollout_of(table)
    algorithm = TRPO(target_kl=1e-6, damping=1e-9, fisher_share=1.0)
    before = table.logits.detach().clone()
    experience = algorithm.credit(table, rollout)
    chosen = rollout.trajectories.actions[rollout.is_action]
    each = torch.eye(3).double()[chosen] - torch.softmax(before, -1)
    fisher = each.T @ each / len(each)
    gradient = (each * experience.advantages[rollout.is_action][:, None]).mean(0)
    natural = torch.linalg.pinv(fisher, rtol=1e-6) @ gradient
    _, moved = moved_by(table, algorithm, rollout)
    step = (table.logits.detach() - before)[0]
    assert moved == pytest.approx(1e-6, rel=0.6)
    assert float(torch.cosine_similarity(step, natural, dim=0)) == pytest.approx(
        1, abs=1e-6
    )


def test_a_step_that_does_not_help_is_not_taken() -> None:
    """One try of a step far beyond what the model holds for."""
    table = Table(3, 4, seed=3)
    before = table.logits.detach().clone()
    table.logits.requires_grad_(requires_grad=True)
    metrics, moved = moved_by(
        table, TRPO(target_kl=50.0, tries=1, damping=0.0), rollout_of(table)
    )
    if metrics["step_length"] == 0:
        assert torch.equal(table.logits, before)
        assert moved == metrics["moved"] == 0
    else:
        assert metrics["moved"] <= 50


def test_the_search_shortens_until_it_holds() -> None:
    """A direction that is far too long is cut by 0.7 until the KL fits; a wrong direction is
    refused whole.
    """
    table = Table(3, 4, seed=3)
    algorithm, stepper = TRPO(target_kl=1e-3, tries=30), stepper_of(table)
    experience = algorithm.credit(table, rollout_of(table))
    parameters = table.policy_parameters()
    cost, gradient = algorithm._cost_and_gradient(experience, stepper, parameters)
    start = table.logits.detach().clone()
    wrong = algorithm._line_search(
        experience, stepper, parameters, 1e-3 * gradient, cost["cost"]
    )
    assert wrong == {"moved": 0.0, "step_length": 0.0}
    assert torch.equal(table.logits, start)
    metrics = algorithm._line_search(
        experience, stepper, parameters, -100 * gradient, cost["cost"]
    )
    assert 1e-4 < metrics["moved"] <= 1e-3
    torch.testing.assert_close(
        table.logits.detach(),
        start - metrics["step_length"] * 100 * gradient.view(3, 4),
    )
    tried = torch.tensor(metrics["step_length"]).log() / torch.tensor(0.7).log()
    assert float(tried) == pytest.approx(round(float(tried)), abs=1e-4)


def test_its_critic_learns_by_the_optimiser_alone() -> None:
    """The policy moves by the trust region at any optimiser's rate; the critic's error falls."""
    algorithm, losses = TRPO(critic_epochs=20, critic_minibatches=1), []
    for rate in (0.01, 0.3):
        table = Table(3, 4, seed=5)
        experience = algorithm.credit(table, rollout_of(table))
        algorithm.update(table, experience, stepper_of(table, rate=rate))
        losses.append(table)
        now = table.evaluate(
            experience.trajectories, experience.is_action
        ).values.detach()
        gap = (now - experience.returns)[experience.is_action]
        old = (experience.values - experience.returns)[experience.is_action]
        assert float((gap**2).mean()) < float((old**2).mean())
    assert torch.equal(losses[0].logits, losses[1].logits)
    assert not torch.equal(losses[0].values, losses[1].values)


def test_a_step_of_a_gpt_stays_within_the_trust_region() -> None:
    """Attention is differentiated twice."""
    start = drawn(nano())
    learner = drawn(nano()).with_value_head()
    length = TextReward("length", lambda c: float(len(c.text)))
    world = TextWorld(
        learner,
        start,
        length,
        ["A", "The film"],
        Sampling(max_tokens=6),
        KL(),
        Scale(Scaling("running")),
        16,
        1,
        0,
    )
    gathered = world.gather(0, 0.0)
    actor, algorithm = TextActor(learner), TRPO(target_kl=0.003)
    metrics = algorithm.update(
        actor, algorithm.credit(actor, gathered.rollout), stepper_of(actor, rate=1e-3)
    )
    now = actor.log_probs(gathered.rollout.trajectories, gathered.rollout.is_action)
    is_action = gathered.rollout.is_action
    moved = float(k3(gathered.rollout.log_probs, now)[is_action].mean())
    assert metrics["step_length"] > 0
    assert metrics["moved"] == pytest.approx(moved, rel=1e-2)
    assert 0 < metrics["moved"] <= 0.003
