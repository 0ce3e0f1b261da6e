"""Exercises that grade themselves.

    python lessons/check.py                       lists them
    python lessons/check.py gae                   grades lessons/exercises/gae.py
    python lessons/check.py gae path/to/mine.py   grades another file

The last line says what is wrong with which input. The exit code is 0 when all is right and 1
when something is not.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent


class Case(NamedTuple):
    """One call of the learner's function, and what it must return."""

    when: str  # what this input is about
    function: str
    arguments: dict[str, Tensor | float]
    expected: Tensor


def returns_cases() -> Iterator[Case]:
    """Yield the cases of rewards to go."""
    r = torch.tensor([[1.0, 1.0, 1.0]])
    # with γ = 1 the rewards left are counted
    expected = torch.tensor([[3.0, 2.0, 1.0]])
    yield Case("nothing is discounted", "returns", {"r": r, "gamma": 1.0}, expected)
    # R₂ = 4, R₁ = 2 + 4/2 = 4, R₀ = 1 + 4/2 = 3
    r = torch.tensor([[1.0, 2.0, 4.0]])
    expected = torch.tensor([[3.0, 4.0, 4.0]])
    yield Case("rewards are discounted", "returns", {"r": r, "gamma": 0.5}, expected)
    r = torch.tensor([[0.0, 0.0, 8.0], [8.0, 0.0, 0.0]])
    expected = torch.tensor([[2.0, 4.0, 8.0], [8.0, 0.0, 0.0]])
    yield Case("there are two rows", "returns", {"r": r, "gamma": 0.5}, expected)


def gae_cases() -> Iterator[Case]:
    """Yield the cases of generalised advantages."""
    r, V = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 2.0, 6.0, 8.0]])
    middle = torch.tensor([[False, True, False]])
    no = torch.zeros_like(middle)

    def case(
        when: str, terminated: Tensor, ended: Tensor, lam: float, expected: list[float]
    ) -> Case:
        flags = {"terminated": terminated, "ended": ended}
        arguments = {"r": r, "V": V} | flags | {"gamma": 0.5, "lam": lam}
        return Case(when, "gae", arguments, torch.tensor([expected]))

    # δ₀ = 1 + 2/2 − 4 = −2, δ₁ = 2 + 6/2 − 2 = 3, δ₂ = 3 + 8/2 − 6 = 1
    yield case("lam is 0, so that only δ counts", no, no, 0.0, [-2.0, 3.0, 1.0])
    # A₂ = 1, A₁ = 3 + 1/4, A₀ = −2 + 3.25/4
    yield case("no episode ends", no, no, 0.5, [-1.1875, 3.25, 1.0])
    # δ₁ = 2 − 2 = 0 since nothing follows; A₁ = 0, A₀ = −2
    yield case(
        "an episode terminates in the middle", middle, middle, 0.5, [-2.0, 0.0, 1.0]
    )
    # δ₁ = 3 as ever, but A₂ is another episode's: A₁ = 3, A₀ = −2 + 3/4
    when = "an episode is cut in the middle, not terminated"
    yield case(when, no, middle, 0.5, [-1.25, 3.0, 1.0])


def log_prob_cases() -> Iterator[Case]:
    """Yield the cases of the log-probability of an action."""

    def case(
        when: str, logits: list[list[float]], a: list[int], expected: Tensor
    ) -> Case:
        arguments = {"logits": torch.tensor(logits), "a": torch.tensor(a)}
        return Case(when, "log_prob", arguments, expected)

    half = torch.tensor([0.5]).log()
    yield case("two actions are equally likely", [[0.0, 0.0]], [1], half)
    # e^0 : e^0 : e^ln 2 = 1 : 1 : 2
    rows = [[0.0, 0.0, 0.6931472], [0.0, 0.0, 0.6931472]]
    expected = torch.tensor([0.5, 0.25]).log()
    yield case("there are two rows of three actions", rows, [2, 0], expected)
    expected = torch.tensor([-1000.0])
    yield case("logits are large (e^1000 is infinite)", [[1000.0, 0.0]], [1], expected)


def clipped_objective_cases() -> Iterator[Case]:
    """Yield the cases of PPO's objective: what min and clip leave of ratio · A."""

    def case(when: str, ratio: float, A: float, expected: float) -> Case:
        old = torch.tensor([-1.0])
        log_pi = old + torch.tensor([ratio]).log()
        arguments = {
            "log_pi": log_pi,
            "log_pi_old": old,
            "A": torch.tensor([A]),
            "clip": 0.2,
        }
        return Case(when, "clipped_objective", arguments, torch.tensor([expected]))

    yield case("the policy has not moved", 1.0, 3.0, 3.0)
    yield case("a good action is already twice as likely", 2.0, 1.0, 1.2)
    when = "a good action has become half as likely (it must still be pulled back)"
    yield case(when, 0.5, 1.0, 0.5)
    yield case("a bad action is already half as likely", 0.5, -1.0, -0.8)
    when = "a bad action has become twice as likely (it must still be pushed back)"
    yield case(when, 2.0, -1.0, -2.0)


def kl_cases() -> Iterator[Case]:
    """Yield the cases of the three estimators, by log r = log ref(a) − log π(a)."""
    half, quarter = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
    rarer = "π(a) = 1/2, ref(a) = 1/4", {"log_pi": half, "log_ref": quarter}
    likelier = "π(a) = 1/4, ref(a) = 1/2", {"log_pi": quarter, "log_ref": half}
    expected = {
        "k1": (0.6931472, -0.6931472),
        "k2": (0.2402265, 0.2402265),
        # r = 1/2: 1/2 − 1 + ln 2; then r = 2: 2 − 1 − ln 2
        "k3": (0.1931472, 0.3068528),
    }
    for name, numbers in expected.items():
        for (when, arguments), number in zip((rarer, likelier), numbers, strict=True):
            yield Case(when, name, arguments, torch.tensor([number]))


def group_advantages_cases() -> Iterator[Case]:
    """Yield the cases of RLOO's and GRPO's advantages."""
    R = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    # 1 − (2 + 6)/2, 2 − (1 + 6)/2, 6 − (1 + 2)/2; 0 − 3/2, 0 − 3/2, 3 − 0
    expected = torch.tensor([[-3.0, -1.5, 4.5], [-1.5, -1.5, 3.0]])
    when = "there are two prompts of three answers"
    yield Case(when, "leave_one_out", {"R": R}, expected)
    # the mean is 4, the mean squared distance 9
    R = torch.tensor([[1.0, 7.0, 1.0, 7.0]])
    expected = torch.tensor([[-1.0, 1.0, -1.0, 1.0]])
    yield Case("returns are 1 and 7", "group_standardised", {"R": R}, expected)
    R, expected = torch.tensor([[2.0, 2.0]]), torch.zeros(1, 2)
    yield Case("all returns are equal", "group_standardised", {"R": R}, expected)


def shown(value: Tensor | float) -> str:
    """Return a number or a tensor as it would be typed, to four places."""
    if not isinstance(value, Tensor):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if value.dim() == 0:
        return shown(value.item()) if value.is_floating_point() else str(value.item())
    return f"[{', '.join(shown(part) for part in value)}]"


def grade_cases(cases: Callable[[], Iterator[Case]], module: ModuleType) -> str | None:
    """Return what is wrong with the first wrong answer, or None."""
    for case in cases():
        arguments = [f"{name}={shown(x)}" for name, x in case.arguments.items()]
        call = f"when {case.when}: {case.function}({', '.join(arguments)})"
        try:
            answer = getattr(module, case.function)(**case.arguments)
        except NotImplementedError:
            return f"{case.function} is not filled in yet"
        except Exception as error:  # a learner's mistake of any kind is an answer
            return f"{call} raised {type(error).__name__}: {error}"
        if not isinstance(answer, Tensor):
            return f"{call} must return a tensor, not {answer!r}"
        if answer.shape != case.expected.shape:
            wanted, came = list(case.expected.shape), list(answer.shape)
            return f"{call} must have the shape {wanted}, yours has {came}"
        if not torch.allclose(answer.float(), case.expected, atol=1e-4):
            return f"{call} is {shown(case.expected)}, yours is {shown(answer)}"
    return None


def probe_hunt1(lesson: ModuleType) -> str | None:
    """Return what is wrong with what the critic learns from states that are worth 1 and 0."""
    policy, critic, optimizer = agent(lesson)
    worth = torch.tensor([1.0, 0.0, 1.0, 0.0]).unsqueeze(1).expand(4, 32)
    for _ in range(100):
        lesson.learn(policy, critic, optimizer, one_step_episodes(lesson, worth))
    good, bad = critic(torch.ones(4)).item(), critic(torch.zeros(4)).item()
    if good - bad > 0.8:
        return None
    return (
        "states worth 1 and 0 were learned a hundred times, "
        f"and the critic says {good:.2f} and {bad:.2f}"
    )


def probe_hunt2(lesson: ModuleType) -> str | None:
    """Return what is wrong with the advantages, by the cases of the exercise `gae`."""
    return grade_cases(gae_cases, lesson)


def probe_hunt3(lesson: ModuleType) -> str | None:
    """Return what is wrong with how far the policy moves.

    One rollout praises one action over and over.
    """
    policy, critic, _ = agent(lesson)
    # Adam's momentum would carry it past the clip
    optimizer = torch.optim.SGD(policy.parameters(), 0.02)
    lesson.PASSES = 500
    praise = torch.tensor([1.0, 0.0, 1.0, 0.0]).unsqueeze(1).expand(4, 32)
    s, a = torch.ones(4, 33, 4), praise.long()
    rollout = one_step_episodes(lesson, praise)._replace(s=s, a=a)
    before = policy(torch.ones(4)).softmax(dim=-1)[1].item()
    lesson.learn(policy, critic, optimizer, rollout)
    after = policy(torch.ones(4)).softmax(dim=-1)[1].item()
    if after < 1.4 * before:
        return None
    return (
        "five hundred passes over one rollout took π(a|s) "
        f"from {before:.2f} to {after:.2f}: CLIP held nothing back"
    )


def agent(lesson: ModuleType) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
    """Return a policy and a critic of the lesson, made from seed 0, and an optimizer of both."""
    torch.manual_seed(0)
    policy, critic = lesson.network(2), lesson.network(1)
    parameters = [*policy.parameters(), *critic.parameters()]
    return policy, critic, torch.optim.Adam(parameters, lesson.LEARNING_RATE)


def one_step_episodes(lesson: ModuleType, r: Tensor) -> NamedTuple:
    """Return a rollout of episodes of one step each, whose state [4] is the reward four times."""
    yes = torch.ones(r.shape, dtype=torch.bool)
    s = torch.cat([r, r[:, :1]], dim=1).unsqueeze(-1).expand(-1, -1, 4)
    a = torch.zeros(r.shape, dtype=torch.long)
    rollout: NamedTuple = lesson.Rollout(s, a, r, yes, yes, yes)
    return rollout


EXERCISES: dict[str, Callable[[], Iterator[Case]]] = {
    "returns": returns_cases,
    "gae": gae_cases,
    "log_prob": log_prob_cases,
    "clipped_objective": clipped_objective_cases,
    "kl": kl_cases,
    "group_advantages": group_advantages_cases,
}
HUNTS: dict[str, Callable[[ModuleType], str | None]] = {
    "hunt1": probe_hunt1,
    "hunt2": probe_hunt2,
    "hunt3": probe_hunt3,
}


def load(path: Path) -> ModuleType:
    """Return the module in a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grade(name: str, path: Path) -> str | None:
    """Return what is wrong with the file, in one line, or None where all is right."""
    try:
        module = load(path)
    except (OSError, ImportError, SyntaxError) as error:
        return f"{path} cannot be read: {error}"
    if name in EXERCISES:
        return grade_cases(EXERCISES[name], module)
    return HUNTS[name](module)


def listing() -> str:
    """Return the exercises and hunts, each with its file and what it asks."""
    lines = []
    for folder, names in (("exercises", EXERCISES), ("bugs", HUNTS)):
        for name in names:
            path = HERE / folder / f"{name}.py"
            title = path.read_text(encoding="utf-8").splitlines()[0].strip('"')
            lines.append(f"{name:20}lessons/{folder}/{name + '.py':24}{title}")
    return "\n".join(lines)


def main() -> int:
    """Grade what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description="Exercises that grade themselves.")
    names = [*EXERCISES, *HUNTS]
    parser.add_argument("name", nargs="?", choices=names, help="none: list them")
    parser.add_argument("file", nargs="?", type=Path, help="another file to grade")
    chosen = parser.parse_args()
    if chosen.name is None:
        print(listing())
        return 0
    folder = "exercises" if chosen.name in EXERCISES else "bugs"
    wrong = grade(chosen.name, chosen.file or HERE / folder / f"{chosen.name}.py")
    print(f"{chosen.name}: {wrong or 'right'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
