"""What the primer's figures show of CartPole, measured with the code of the lessons.

`figures.py` draws it. Every function returns plain numbers under the names that figures.json has.
All is seeded: the same sizes give the same numbers on the same machine.
"""

import copy
import importlib.util
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence
from torch.nn.functional import pad
from torch.nn.utils import parameters_to_vector, vector_to_parameters

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
LAMBDAS = (0.99, 0.95, 0.9, 0.5, 0.0)
BATCH = 32  # episodes of one estimate of the gradient, as in lessons 1 to 3
ROWS = 256  # episodes played at once: eight batches

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured. until: the mean return at which learning stops: half-trained."""

    until: float = 100.0
    batches: int = 480  # of the estimates, and as many again of the reference
    resamples: int = 1000  # of the bootstrap
    directions: int = 16  # batches whose gradient is followed
    lengths: tuple[float, ...] = tuple(round(0.025 * 2**k, 3) for k in range(10))


QUICK = Sizes(30.0, batches=16, resamples=20, directions=2, lengths=(0.1, 1.0))


@cache
def lesson(name: str) -> ModuleType:
    """Return a lesson as a module."""
    spec = importlib.util.spec_from_file_location(name, LESSONS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lesson1 = lesson("lesson1_reinforce")
lesson2 = lesson("lesson2_reward_to_go")
lesson3 = lesson("lesson3_baseline")
lesson4 = lesson("lesson4_actor_critic")
lesson5 = lesson("lesson5_trpo")


@dataclass(frozen=True)
class Student:
    """A policy and its critic at one moment of learning."""

    policy: nn.Module
    critic: nn.Module


def half_trained(sizes: Sizes) -> Student:
    """Return a policy on the way that lesson 3 takes, and the critic beside it."""
    torch.manual_seed(0)
    env = lesson3.cartpoles(BATCH, 0)
    student = Student(policy=lesson3.network(2), critic=lesson3.network(1))
    parameters = [*student.policy.parameters(), *student.critic.parameters()]
    optimizer = torch.optim.Adam(parameters, lesson3.LEARNING_RATE)
    rollout = lesson3.gather(env, student.policy)
    while rollout.r.sum(dim=1).mean() < sizes.until:
        lesson3.learn(student.policy, student.critic, optimizer, rollout)
        rollout = lesson3.gather(env, student.policy)
    return student


def episode(student: Student) -> Numbers:
    """Return one episode of the half-trained policy, and its returns to go for two discounts."""
    torch.manual_seed(1)
    rollout = lesson1.gather(lesson1.cartpoles(1, 1), student.policy)
    s, a, r = rollout.s[0], rollout.a[0], rollout.r[0]
    numbers = {"steps": len(r), "s": s.T.tolist(), "a": a.tolist(), "r": r.tolist()}
    for gamma in (1.0, 0.99):
        numbers[f"R_{gamma}"] = lesson2.returns(rollout.r, gamma)[0].tolist()
    return numbers


def log_probs(policy: nn.Module, s: Tensor, a: Tensor) -> Tensor:
    """Return log π(a|s) of actions [n]."""
    return torch.log_softmax(policy(s), dim=-1).gather(1, a[:, None]).squeeze(1)


def is_last(rollout: Any) -> Tensor:
    """Return whether a step is its episode's last [B, T]; a cut is an end, as in lesson 3."""
    is_action: Tensor = rollout.is_action
    return is_action & ~pad(is_action[:, 1:], (0, 1))


def advantages(rollout: Any, critic: nn.Module, lam: float) -> Tensor:
    """Return lesson 4's advantages of whole episodes, undiscounted [B, T]."""
    V = pad(critic(rollout.s).squeeze(-1).detach(), (0, 1))
    end = is_last(rollout)
    A: Tensor = lesson4.gae(rollout.r, V, end, end, gamma=1.0, lam=lam)
    return A


def weights(rollout: Any, critic: nn.Module) -> dict[str, Tensor]:
    """Return what each estimator weighs ∇ log π(a|s) of the actions by [B, T]."""
    R = lesson3.returns(rollout.r, 1.0)
    return {
        "whole": lesson1.returns(rollout.r, 1.0),
        "to_go": lesson2.returns(rollout.r, 1.0),
        "to_go_discounted": lesson2.returns(rollout.r, 0.99),
        "baseline": R - critic(rollout.s).squeeze(-1).detach(),
        **{f"gae_{lam}": advantages(rollout, critic, lam) for lam in LAMBDAS},
    }


def batches(rollout: Any) -> list[Any]:
    """Return the batches of one large rollout."""
    rows = [slice(i, i + BATCH) for i in range(0, ROWS, BATCH)]
    return [type(rollout)(*(column[part] for column in rollout)) for part in rows]


def estimates(
    student: Student, count: int, seed: int
) -> tuple[dict[str, Tensor], float]:
    """Return every estimator's policy gradients on the same batches, and their mean steps.

    The gradients are [count, P]; the batches are independent.
    """
    torch.manual_seed(seed)
    env, parameters = lesson1.cartpoles(ROWS, seed), list(student.policy.parameters())
    gradients: dict[str, list[Tensor]] = {}
    steps = 0
    for _ in range(count * BATCH // ROWS):
        rollout = lesson1.gather(env, student.policy)
        weight = weights(rollout, student.critic)
        for k, batch in enumerate(batches(rollout)):
            s, a = batch.s[batch.is_action], batch.a[batch.is_action]
            log_pi = log_probs(student.policy, s, a)
            steps += len(a)
            for name, of_all in weight.items():
                of_batch = of_all[k * BATCH : (k + 1) * BATCH][batch.is_action]
                gain = -lesson1.policy_loss(log_pi, of_batch)
                slope = torch.autograd.grad(gain, parameters, retain_graph=True)
                gradients.setdefault(name, []).append(parameters_to_vector(slope))
    stacked = {name: torch.stack(rows).double() for name, rows in gradients.items()}
    return stacked, steps / count


def judged(g: Tensor, reference: Tensor, resamples: int) -> Numbers:
    """Return how noisy gradients [N, P] are and where they point, each with a 95 % interval.

    noise: trace of the covariance over the squared length of the mean. It is the number of batches
    to average before noise and signal are equal.
    cosine: of one batch's gradient with the long-run reference.
    aim: of the long-run mean with the reference; below 1 is bias.
    The intervals are bootstrapped over batches. Squared lengths of means are products of two
    halves' means, so that noise does not add to them.
    """
    generator, half = torch.Generator().manual_seed(3), len(g) // 2

    def drawn() -> Tensor:
        """Return the weights of the batches of a half; in the first row all are equal."""
        draws = torch.randint(half, (resamples, half), generator=generator)
        rows = (torch.arange(half), *draws)
        counts = torch.stack([torch.bincount(row, minlength=half) for row in rows])
        return counts.to(g.dtype) / half

    weight, weight_of_reference = (drawn(), drawn()), (drawn(), drawn())
    m, m_reference = halves(g, weight), halves(reference, weight_of_reference)
    square = mean(halves((g**2).sum(1), weight))
    square_of_mean = mean(((m[0] ** 2).sum(1), (m[1] ** 2).sum(1)))
    variance_of_half = square - square_of_mean
    signal, signal_of_reference = (
        (x * y).sum(1).clamp(min=1e-9) for x, y in (m, m_reference)
    )
    product = (mean(m) * mean(m_reference)).sum(1)
    cosines = torch.cosine_similarity(g, reference.mean(0, keepdim=True), dim=1)
    return {
        "noise": interval(variance_of_half * half / (half - 1) / signal),
        "cosine": interval(mean(halves(cosines, weight))),
        "aim": interval(product / (signal * signal_of_reference).sqrt()),
    }


def halves(x: Tensor, weight: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the weighted means of both halves of x, one row for each row of weights."""
    half = len(x) // 2
    return weight[0] @ x[:half], weight[1] @ x[half:]


def mean(two: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean of two."""
    return (two[0] + two[1]) / 2


def interval(x: Tensor) -> Numbers:
    """Return the first of x, an estimate, and the middle 95 % of the others, resamples."""
    low, high = x[1:].quantile(torch.tensor([0.025, 0.975], dtype=x.dtype)).tolist()
    return {"value": float(x[0]), "low": low, "high": high}


def variance(student: Student, sizes: Sizes) -> Numbers:
    """Return how each estimator of the gradient does on the half-trained policy."""
    references, _ = estimates(student, sizes.batches, seed=4)
    gradients, steps = estimates(student, sizes.batches, seed=5)
    reference = references["baseline"]
    by_name = {
        name: judged(g, reference, sizes.resamples) for name, g in gradients.items()
    }
    about = {"mean_return": steps / BATCH, "batches": sizes.batches, "steps": steps}
    return about | {"estimators": by_name}


def followed(
    student: Student, direction: Tensor, lengths: tuple[float, ...], batch: Any
) -> list[Numbers]:
    """Return what steps of several lengths along a direction in the weights do.

    kl: KL(π_old ‖ π), a mean over the batch's states.
    promised: the gain in return by TRPO's objective, the batch's sum of (ratio − 1) · A an episode.
    played: the mean return of 64 fresh episodes.
    """
    policy = copy.deepcopy(student.policy)
    before = parameters_to_vector(student.policy.parameters()).detach()
    s, a, A = actions_of(batch, student.critic)
    pi_old = Categorical(logits=policy(s).detach())
    log_pi_old = log_probs(policy, s, a).detach()
    steps = []
    for length in lengths:
        after = before + length * direction / direction.norm()
        vector_to_parameters(after, policy.parameters())
        with torch.no_grad():
            pi = Categorical(logits=policy(s))
            ratio = (log_probs(policy, s, a) - log_pi_old).exp()
        kl, promised = kl_divergence(pi_old, pi).mean(), ((ratio - 1) * A).sum() / BATCH
        played = lesson1.gather(lesson1.cartpoles(64, 10), policy).r.sum(dim=1).mean()
        steps.append(
            {"kl": float(kl), "promised": float(promised), "played": float(played)}
        )
    return steps


def actions_of(batch: Any, critic: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Return the states, actions and advantages of a batch, all actions in one list."""
    A = advantages(batch, critic, 1.0)
    return batch.s[batch.is_action], batch.a[batch.is_action], A[batch.is_action]


def directions(student: Student, batch: Any) -> dict[str, Tensor]:
    """Return directions from a policy: a batch's policy gradient, TRPO's, and a random one."""
    s, a, A = actions_of(batch, student.critic)
    loss = lesson3.policy_loss(log_probs(student.policy, s, a), A)
    slopes = torch.autograd.grad(loss, list(student.policy.parameters()))
    g = parameters_to_vector(slopes)
    natural = lesson5.natural_direction(student.policy, s, g)
    return {"gradient": -g, "natural": -natural, "random": torch.randn_like(g)}


def trust(student: Student, sizes: Sizes) -> Numbers:
    """Return what steps along the directions of several batches do to the half-trained policy."""
    torch.manual_seed(6)
    env = lesson1.cartpoles(ROWS, 6)
    start = lesson1.gather(env, student.policy)
    tried: list[Any] = []
    for _ in range(math.ceil(sizes.directions * BATCH / ROWS)):
        tried += batches(lesson1.gather(env, student.policy))
    runs: dict[str, list[list[Numbers]]] = {}
    for batch in tried[: sizes.directions]:
        for name, direction in directions(student, batch).items():
            steps = followed(student, direction, sizes.lengths, batch)
            runs.setdefault(name, []).append(steps)
    numbers: Numbers = {
        "lengths": list(sizes.lengths),
        "batches": sizes.directions,
        "start": float(start.r.sum(dim=1).mean()),
    }
    for name, run in runs.items():
        numbers[name] = {key: over(run, key) for key in run[0][0]}
    return numbers


def over(runs: list[list[Numbers]], name: str) -> Numbers:
    """Return the mean over runs at each length, and the quarters of them below and above."""
    x = torch.tensor([[step[name] for step in run] for run in runs])
    low, high = x.quantile(torch.tensor([0.25, 0.75]), dim=0).tolist()
    return {"mean": x.mean(0).tolist(), "low": low, "high": high}
