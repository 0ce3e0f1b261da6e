"""What the primer's figures show of tiny worlds: one action, two answers, six texts.

They are so small that every number is exact. `figures.py` draws them.
"""

import math
from dataclasses import dataclass

import torch
from measuring import Numbers, lesson, lesson3
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

from tastemaker.playground import gold_score

lesson6 = lesson("lesson6_ppo")

BETAS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
BETA_OF_TREE = 0.1
START = "The acting was"
# the reference's next word: (its probability, the words after it); without words the text ends
TREE: dict[str, tuple[float, dict[str, float]]] = {
    "very": (0.3, {"good.": 0.6, "bad.": 0.4}),
    "good.": (0.3, {}),
    "not": (0.2, {"bad.": 0.3, "good.": 0.7}),
    "bad.": (0.2, {}),
}


def clipped() -> Numbers:
    """Return PPO's objective of one action and its slope by ratio, for A = 1 and A = −1."""
    ratio = torch.linspace(0.4, 1.6, 121).requires_grad_()
    clip = lesson6.CLIP
    numbers: Numbers = {"clip": clip, "low": 1 - clip, "high": 1 + clip}
    numbers["ratio"] = ratio.tolist()
    for name, sign in (("good", 1.0), ("bad", -1.0)):
        old, A = torch.zeros(1), torch.tensor([sign])
        losses = [lesson6.policy_loss(x.log()[None], old, A, clip) for x in ratio]
        objective = torch.stack([-loss for loss in losses])
        (slope,) = torch.autograd.grad(objective.sum(), ratio)
        numbers[name] = {"objective": objective.tolist(), "slope": slope.tolist()}
    return numbers


def optimum(r: Tensor, pi_ref: Tensor, beta: float) -> Tensor:
    """Return π* ∝ π_ref · exp(r/β), what a policy that pays β for a nat of KL should become."""
    return torch.softmax(pi_ref.log() + r / beta, dim=-1)


def settled(beta: float, steps: int) -> float:
    """Return the probability of the better of two answers, learned with lesson 3's loss.

    The reward pays for the KL.
    """
    torch.manual_seed(8)
    logits = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([logits])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        a = torch.multinomial(logits.detach().softmax(-1), 512, replacement=True)
        log_pi = logits.log_softmax(-1)[a]
        R = (a == 0).float() - beta * (log_pi.detach() - math.log(0.5))
        lesson3.descend(optimizer, lesson3.policy_loss(log_pi, R - R.mean()))
    return float(logits.detach().softmax(-1)[0])


def bandit(steps: int) -> Numbers:
    """Return the optimum of two answers with rewards 1 and 0, for several β.

    It is computed by formula, and learned.
    """
    r, pi_ref, numbers = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]), {}
    for beta in BETAS:
        pi = optimum(r, pi_ref, beta)
        numbers[str(beta)] = {
            "likely": float(pi[0]),
            "kl": nats(pi, pi_ref),
            "learned": settled(beta, steps),
        }
    return numbers


@dataclass(frozen=True)
class Leaf:
    """A whole text: its words after the start, its probability, and the reward at its end."""

    words: tuple[str, ...]
    likely: float
    r: float


def leaves() -> list[Leaf]:
    """Return the six texts of the tree, with lesson 7's reward."""
    texts = []
    for first, (likely, following) in TREE.items():
        for second, share in (following or {"": 1.0}).items():
            words = (first, second) if second else (first,)
            r = gold_score(" ".join((START, *words))) / 5 - 1
            texts.append(Leaf(words, likely * share, r))
    return texts


def tree() -> Numbers:
    """Return V of every state, and the probability of each text before and after steering.

    V is under the reference.
    """
    texts = leaves()
    r = torch.tensor([x.r for x in texts])
    pi_ref = torch.tensor([x.likely for x in texts])
    pi = optimum(r, pi_ref, BETA_OF_TREE)
    rows = [
        {"words": list(x.words), "r": x.r, "pi_ref": x.likely, "pi": float(p)}
        for x, p in zip(texts, pi, strict=True)
    ]
    values = {"start": float(pi_ref @ r)}
    for first in TREE:
        within = torch.tensor([x.words[0] == first for x in texts])
        values[first] = float((pi_ref * r)[within].sum() / pi_ref[within].sum())
    return {
        "start": START,
        "beta": BETA_OF_TREE,
        "V": values,
        "V_after": float(pi @ r),
        "texts": rows,
    }


def fooled() -> Numbers:
    """Return reward, gold and KL at the optimum for ever smaller β, with a flawed reward model.

    20,000 answers, equally likely at first, have gold Normal(0, 1). The reward model sees gold with
    an error of Normal(0, ½). But one answer in 200 is a trick: its gold is Normal(−2, ½), and the
    reward model gives it 6 too much.
    """
    generator = torch.Generator().manual_seed(9)
    gold, error = torch.randn(2, 20_000, generator=generator, dtype=torch.float64)
    is_trick = torch.rand(20_000, generator=generator) < 1 / 200
    gold = torch.where(is_trick, gold / 2 - 2, gold)
    r = gold + error / 2 + 6 * is_trick
    pi_ref, curve = torch.full_like(gold, 1 / len(gold)), []
    for k in range(49):
        beta = 8.0 * 2 ** (-k / 8)
        pi, honest = optimum(r, pi_ref, beta), optimum(gold, pi_ref, beta)
        curve.append(
            {
                "beta": beta,
                "kl": nats(pi, pi_ref),
                "reward": float(pi @ r),
                "gold": float(pi @ gold),
                "percent_tricks": 100 * float(pi[is_trick].sum()),
                "kl_of_gold": nats(honest, pi_ref),
                "gold_of_gold": float(honest @ gold),
            }
        )
    peak = max(curve, key=lambda x: x["gold"])
    return {"curve": curve, "peak": peak, "last": curve[-1]}


def nats(pi: Tensor, pi_ref: Tensor) -> float:
    """Return KL(π ‖ π_ref)."""
    return float(kl_divergence(Categorical(pi), Categorical(pi_ref)))
