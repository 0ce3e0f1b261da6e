"""What the primer's figures show of CartPole, measured with the lessons' own code; `figures.py` draws it.

Every function returns plain numbers under the names that figures.json has. Seeded throughout: the same sizes give the
same numbers on the same machine.
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
BATCH = 32  # episodes that one estimate of the gradient is made from, as in lessons 1 to 3
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


lesson1, lesson2, lesson3 = (lesson(n) for n in ("lesson1_reinforce", "lesson2_reward_to_go", "lesson3_baseline"))
lesson4, lesson5 = lesson("lesson4_actor_critic"), lesson("lesson5_trpo")


@dataclass(frozen=True)
class Student:
    """A policy and its critic at one moment of learning."""

    policy: nn.Module
    critic: nn.Module


def half_trained(sizes: Sizes) -> Student:
    """Return a policy on the way that lesson 3 takes, and the critic beside it."""
    torch.manual_seed(0)
    env, student = lesson3.cartpoles(BATCH, 0), Student(lesson3.network(2), lesson3.network(1))
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
    returns = {f"R_{gamma}": lesson2.returns(rollout.r, gamma)[0].tolist() for gamma in (1.0, 0.99)}
    s, a, r = rollout.s[0], rollout.a[0], rollout.r[0]
    return {"steps": len(r), "s": s.T.tolist(), "a": a.tolist(), "r": r.tolist(), **returns}


def log_probs(policy: nn.Module, s: Tensor, a: Tensor) -> Tensor:
    """Return log π(a|s) of actions [n]."""
    return torch.log_softmax(policy(s), dim=-1).gather(1, a[:, None]).squeeze(1)


def is_last(rollout: Any) -> Tensor:
    """Return whether a step is its episode's last [B, T]; an episode that was cut counts as ended, as in lesson 3."""
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
    return [type(rollout)(*(column[i : i + BATCH] for column in rollout)) for i in range(0, ROWS, BATCH)]


def estimates(student: Student, count: int, seed: int) -> tuple[dict[str, Tensor], float]:
    """Return every estimator's policy gradients on the same independent batches [count, P], and the mean steps."""
    torch.manual_seed(seed)
    env, parameters = lesson1.cartpoles(ROWS, seed), list(student.policy.parameters())
    found: dict[str, list[Tensor]] = {}
    steps = 0
    for _ in range(count * BATCH // ROWS):
        rollout = lesson1.gather(env, student.policy)
        weight = weights(rollout, student.critic)
        for k, batch in enumerate(batches(rollout)):
            s, a = batch.s[batch.is_action], batch.a[batch.is_action]
            log_pi = log_probs(student.policy, s, a)
            steps += len(a)
            for name, weighed in weight.items():
                own = weighed[k * BATCH : (k + 1) * BATCH][batch.is_action]
                slope = torch.autograd.grad(-lesson1.policy_loss(log_pi, own), parameters, retain_graph=True)
                found.setdefault(name, []).append(parameters_to_vector(slope))
    return {name: torch.stack(gradients).double() for name, gradients in found.items()}, steps / count


def judged(g: Tensor, reference: Tensor, resamples: int) -> Numbers:
    """Return how noisy gradients [N, P] are and where they point, each with a 95 % bootstrap interval over batches.

    noise: trace of the covariance over the squared length of the mean; how many batches must be averaged before noise
    and signal are equal. cosine: of one batch's gradient with the long-run reference. aim: of the long-run mean with
    it; below 1 is bias. Squared lengths of means are products of two halves' means, so that noise does not add to them.
    """
    generator, half = torch.Generator().manual_seed(3), len(g) // 2

    def drawn() -> Tensor:  # what each batch of a half weighs; in the first row all weigh the same
        draws = torch.randint(half, (resamples, half), generator=generator)
        counts = [torch.bincount(row, minlength=half) for row in (torch.arange(half), *draws)]
        return torch.stack(counts).to(g.dtype) / half

    weight, weight_of_reference = (drawn(), drawn()), (drawn(), drawn())
    m, m_reference = halves(g, weight), halves(reference, weight_of_reference)
    variance_of_half = mean(halves((g**2).sum(1), weight)) - mean(((m[0] ** 2).sum(1), (m[1] ** 2).sum(1)))
    signal, signal_of_reference = ((x * y).sum(1).clamp(min=1e-9) for x, y in (m, m_reference))
    cosines = torch.cosine_similarity(g, reference.mean(0, keepdim=True), dim=1)
    found = {
        "noise": variance_of_half * half / (half - 1) / signal,
        "cosine": mean(halves(cosines, weight)),
        "aim": (mean(m) * mean(m_reference)).sum(1) / (signal * signal_of_reference).sqrt(),
    }
    return {name: interval(x) for name, x in found.items()}


def halves(x: Tensor, weight: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the weighed means of the first and of the second half of x, one row for each row of weights."""
    half = len(x) // 2
    return weight[0] @ x[:half], weight[1] @ x[half:]


def mean(two: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean of two."""
    return (two[0] + two[1]) / 2


def interval(x: Tensor) -> Numbers:
    """Return an estimate (the first of x) and the interval that 95 of 100 resamples (the rest) lie in."""
    low, high = x[1:].quantile(torch.tensor([0.025, 0.975], dtype=x.dtype)).tolist()
    return {"value": float(x[0]), "low": low, "high": high}


def variance(student: Student, sizes: Sizes) -> Numbers:
    """Return how each estimator of the gradient does on the half-trained policy."""
    references, _ = estimates(student, sizes.batches, seed=4)
    found, steps = estimates(student, sizes.batches, seed=5)
    reference = references["baseline"]
    by_name = {name: judged(g, reference, sizes.resamples) for name, g in found.items()}
    about = {"mean_return": steps / BATCH, "batches": sizes.batches, "steps": steps}
    return about | {"estimators": by_name}


def followed(student: Student, direction: Tensor, lengths: tuple[float, ...], batch: Any) -> list[Numbers]:
    """Take steps of so many lengths in the weights along a direction; return how far the policy moved and what came.

    kl: KL(π_old ‖ π), a mean over the batch's states. promised: the gain in return that TRPO's objective foresees, the
    batch's sum of (ratio − 1) · A an episode. played: the mean return of 64 fresh episodes.
    """
    policy, before = copy.deepcopy(student.policy), parameters_to_vector(student.policy.parameters()).detach()
    s, a, A = (
        batch.s[batch.is_action],
        batch.a[batch.is_action],
        advantages(batch, student.critic, 1.0)[batch.is_action],
    )
    pi_old, log_pi_old = Categorical(logits=policy(s).detach()), log_probs(policy, s, a).detach()
    found = []
    for length in lengths:
        vector_to_parameters(before + length * direction / direction.norm(), policy.parameters())
        with torch.no_grad():
            pi, ratio = Categorical(logits=policy(s)), (log_probs(policy, s, a) - log_pi_old).exp()
        kl, promised = kl_divergence(pi_old, pi).mean(), ((ratio - 1) * A).sum() / BATCH
        r = lesson1.gather(lesson1.cartpoles(64, 10), policy).r
        found.append({"kl": float(kl), "promised": float(promised), "played": float(r.sum(dim=1).mean())})
    return found


def directions(student: Student, batch: Any) -> dict[str, Tensor]:
    """Return ways to go from a policy: along the policy gradient of one batch, along TRPO's, anywhere."""
    s, a, A = (
        batch.s[batch.is_action],
        batch.a[batch.is_action],
        advantages(batch, student.critic, 1.0)[batch.is_action],
    )
    loss = lesson3.policy_loss(log_probs(student.policy, s, a), A)
    g = parameters_to_vector(torch.autograd.grad(loss, list(student.policy.parameters())))
    natural = lesson5.natural_direction(student.policy, s, g)
    return {"gradient": -g, "natural": -natural, "random": torch.randn_like(g)}


def trust(student: Student, sizes: Sizes) -> Numbers:
    """Return what steps of several lengths, along the directions of several batches, do to the half-trained policy."""
    torch.manual_seed(6)
    env = lesson1.cartpoles(ROWS, 6)
    start = lesson1.gather(env, student.policy)
    enough = range(math.ceil(sizes.directions * BATCH / ROWS))
    tried = [batch for _ in enough for batch in batches(lesson1.gather(env, student.policy))]
    runs: dict[str, list[list[Numbers]]] = {}
    for batch in tried[: sizes.directions]:
        for name, direction in directions(student, batch).items():
            runs.setdefault(name, []).append(followed(student, direction, sizes.lengths, batch))
    found = {name: {key: over(run, key) for key in run[0][0]} for name, run in runs.items()}
    about = {"lengths": list(sizes.lengths), "batches": sizes.directions, "start": float(start.r.sum(dim=1).mean())}
    return about | found


def over(runs: list[list[Numbers]], name: str) -> Numbers:
    """Return the mean over runs at each length, and the quarters of them below and above."""
    x = torch.tensor([[here[name] for here in run] for run in runs])
    low, high = x.quantile(torch.tensor([0.25, 0.75]), dim=0).tolist()
    return {"mean": x.mean(0).tolist(), "low": low, "high": high}
