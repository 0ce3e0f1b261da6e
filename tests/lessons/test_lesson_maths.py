"""What the lessons compute: against numbers worked out by hand, and against the library."""

import pytest
import torch
from lesson_files import lesson
from torch import Tensor

from tastemaker.maths import rl as advantages
from tastemaker.maths import rl as objectives

ADVANTAGES = ("lesson4_actor_critic", "lesson5_trpo", "lesson6_ppo")
TO_GO = ("lesson2_reward_to_go", "lesson3_baseline")
R3 = torch.tensor([[1.0, 2.0, 3.0]])
V4 = torch.tensor([[4.0, 2.0, 6.0, 8.0]])
NONE = torch.zeros(1, 3, dtype=torch.bool)
MIDDLE = torch.tensor([[False, True, False]])


def test_the_whole_return_stands_at_every_step() -> None:
    # 1 + 2/2 + 4/4 = 3
    computed = lesson("lesson1_reinforce").returns(torch.tensor([[1.0, 2.0, 4.0]]), 0.5)
    assert computed.tolist() == [[3.0, 3.0, 3.0]]


@pytest.mark.parametrize("name", TO_GO)
def test_rewards_to_go(name: str) -> None:
    # R₂ = 4, R₁ = 2 + 4/2, R₀ = 1 + 4/2; a row that has ended has rewards of 0 behind its end: R₁ =
    # 2, R₀ = 1 + 2/2
    r = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 0.0]])
    assert lesson(name).returns(r, 0.5).tolist() == [[3.0, 4.0, 4.0], [2.0, 2.0, 0.0]]


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize(
    ("terminated", "ended", "lam", "expected"),
    [
        # δ₀ = 1 + 2/2 − 4 = −2, δ₁ = 2 + 6/2 − 2 = 3, δ₂ = 3 + 8/2 − 6 = 1
        (NONE, NONE, 0.0, [-2.0, 3.0, 1.0]),
        # A₂ = 1, A₁ = 3 + 1/4, A₀ = −2 + 3.25/4
        (NONE, NONE, 0.5, [-1.1875, 3.25, 1.0]),
        # λ = 1: returns minus values. R₂ = 3 + 4, R₁ = 2 + 3.5, R₀ = 1 + 2.75
        (NONE, NONE, 1.0, [-0.25, 3.5, 1.0]),
        # lost in the middle: δ₁ = 2 − 2 = 0, so A₁ = 0 and A₀ = −2
        (MIDDLE, MIDDLE, 0.5, [-2.0, 0.0, 1.0]),
        # cut in the middle: δ₁ = 3 with V of the last state; A₁ = 3, A₀ = −2 + 3/4
        (NONE, MIDDLE, 0.5, [-1.25, 3.0, 1.0]),
    ],
)
def test_generalised_advantages(
    name: str, terminated: Tensor, ended: Tensor, lam: float, expected: list[float]
) -> None:
    assert lesson(name).gae(R3, V4, terminated, ended, gamma=0.5, lam=lam).tolist() == [
        expected
    ]


@pytest.mark.parametrize("name", ADVANTAGES)
def test_the_librarys_advantages_are_the_lessons(name: str) -> None:
    torch.manual_seed(0)
    r, V, no = (
        torch.randn(4, 9),
        torch.randn(4, 10),
        torch.zeros(4, 9, dtype=torch.bool),
    )
    computed = lesson(name).gae(r, V, no, no, gamma=0.9, lam=0.8)
    torch.testing.assert_close(
        computed, advantages.gae(r, V[:, :-1], V[:, -1], ~no, gamma=0.9, lam=0.8)
    )


@pytest.mark.parametrize("name", TO_GO)
def test_the_librarys_returns_are_the_lessons(name: str) -> None:
    torch.manual_seed(0)
    r = torch.randn(4, 9)
    is_action = torch.ones(4, 9, dtype=torch.bool)
    torch.testing.assert_close(
        lesson(name).returns(r, 0.9), advantages.returns_to_go(r, is_action, 0.9)
    )


def test_the_librarys_objectives_are_the_lessons() -> None:
    torch.manual_seed(0)
    log_pi, old, A = torch.randn(50), torch.randn(50), torch.randn(50)
    plain, ratio, clipped = (
        lesson(name).policy_loss for name in ("lesson3_baseline", *ADVANTAGES[1:])
    )
    torch.testing.assert_close(
        plain(log_pi, A), objectives.policy_gradient(log_pi, A).mean()
    )
    torch.testing.assert_close(
        ratio(log_pi, old, A), objectives.surrogate(log_pi, old, A).mean()
    )
    torch.testing.assert_close(
        clipped(log_pi, old, A, 0.2),
        objectives.clipped(log_pi, old, A, clip=0.2).mean(),
    )


def test_the_clipped_loss_by_hand() -> None:
    # ρ = 2, 1/2, 2, 1/2 with A = 1, 1, −1, −1: min gives 1.2, 0.5, −2, −0.8; the mean is −1.1/4
    old = torch.zeros(4)
    log_pi = torch.tensor([2.0, 0.5, 2.0, 0.5]).log()
    loss = lesson("lesson6_ppo").policy_loss(
        log_pi, old, torch.tensor([1.0, 1.0, -1.0, -1.0]), 0.2
    )
    assert loss.item() == pytest.approx(1.1 / 4)


def test_the_natural_direction_solves_its_equation() -> None:
    """H from the definition, column by column, against ten rounds of conjugate gradients."""
    trpo = lesson("lesson5_trpo")
    torch.manual_seed(0)
    policy = torch.nn.Linear(2, 2, bias=False)  # 4 weights: 10 rounds are exact
    s = torch.randn(64, 2)
    p = policy(s).softmax(dim=-1)[:, 1].detach()
    # of two actions: the curvature of KL over logits is p(1 − p)[[1, −1], [−1, 1]], and logits are
    # W s
    over_states = torch.einsum("n,ni,nj->ij", p * (1 - p), s, s) / len(s)
    H = torch.kron(
        torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), over_states
    ) + 0.1 * torch.eye(4)
    g = torch.randn(4)
    torch.testing.assert_close(
        trpo.natural_direction(policy, s, g),
        torch.linalg.solve(H, g),
        atol=1e-4,
        rtol=1e-3,
    )
