"""What a run of steering was asked for, whole, and the run that is made of it."""

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import torch

from tastemaker.data.judgements import Judgement, Prompt
from tastemaker.data.splitting import split
from tastemaker.errors import DataError, UsageError
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.reward.division import MOST_HELD_OUT, digest_of_said
from tastemaker.rl.algorithms import ALGORITHMS, algorithm_class
from tastemaker.rl.algorithms.base import Algorithm, LearnsFromJudgements
from tastemaker.rl.text.judged import Judged, JudgedTexts, read_judged
from tastemaker.rl.text.kl import KL, Scale, Scaling
from tastemaker.rl.text.loop import SteeringRun
from tastemaker.rl.text.rewards import Reward
from tastemaker.rl.text.settings import Steering
from tastemaker.rl.text.stopping import Limits, Watch
from tastemaker.rl.text.world import Teacher, TextWorld
from tastemaker.train.run import Run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a run was asked for, whole.

    prompts: none where those of the judgements are meant. judgements: what is learned from; none where a reward is.
    Raises UsageError for parts that contradict, DataError for no prompts.
    """

    algorithm: Algorithm[Any]
    steering: Steering
    kl: KL
    sampling: Sampling
    scaling: Scaling
    limits: Limits
    prompts: tuple[Prompt, ...]
    judgements: tuple[Judgement, ...]
    seed: int

    def __post_init__(self) -> None:
        if self.judgements:
            _check_learns(self.algorithm)
            return
        if not self.prompts:
            raise DataError(
                "no prompts: give some texts to continue, or leave them out to begin texts."
            )
        name, samples, batch = self.algorithm.name, self.algorithm.samples, self.steering.batch
        if batch % samples:
            raise UsageError(
                f"{name} writes {samples} completions of each prompt, which a batch of {batch} cannot be divided "
                f"into. Choose a multiple of {samples}."
            )
        if self.kl.where == "loss" and not self.algorithm.takes_kl_in_loss:
            raise UsageError(
                f"{name} cannot take KL in the loss: pay it in the reward (--kl-in reward)."
            )

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, JSON-ready: a resumed run must ask for the same."""
        said = hashlib.blake2b(
            repr(self.prompts).encode("utf-8", "surrogatepass"), digest_size=16
        ).hexdigest()
        own = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("prompts", "judgements")
        }
        parts = {
            name: asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type]
            for name, value in own.items()
        }
        judged = digest_of_said(self.judgements) if self.judgements else None
        asked = {
            "prompts": said,
            "judgements": judged,
            "algorithm_name": self.algorithm.name,
        } | parts
        found: dict[str, Any] = json.loads(json.dumps(asked))
        return found

    def job(
        self, start: Policy, taste: Reward | None, watched: Mapping[str, Reward], run: Run, say: Say
    ) -> SteeringRun:
        """Return the run that this plan is of. taste: what is learned from; beside judgements it only watches."""
        policy = _learner(start, self, say)
        teacher: Teacher[Any]
        if self.judgements:
            train, measured = _divided(self.judgements, self.steering.held_out_share, self.seed)
            prompts = self.prompts or _prompts_of(measured, start)
            world = self._world(start, policy, prompts, None)
            teacher = self._judged(world, train, measured, say)
            watched = ({"score": taste} if taste is not None else {}) | dict(watched)
        else:
            teacher = world = self._world(start, policy, self.prompts, taste)
        watch = Watch(self.limits, teacher.aim)
        how = {"watch": watch, "watched": watched, "run": run, "say": say}
        return SteeringRun(world, teacher, self.algorithm, self.steering, **how)  # type: ignore[arg-type]

    def _world(
        self, start: Policy, policy: Policy, prompts: Sequence[Prompt], taste: Reward | None
    ) -> TextWorld:
        """Return where the policy writes."""
        return TextWorld(
            policy=policy,
            reference=start,
            reward=taste,
            prompts=prompts,
            sampling=self.sampling,
            kl=self.kl,
            scale=Scale(self.scaling),
            batch=self.steering.batch,
            samples=1 if self.judgements else self.algorithm.samples,
            seed=self.seed,
            whiten_rewards=self.steering.whiten_rewards,
        )

    def _judged(
        self, world: TextWorld, train: Sequence[Judgement], measured: Sequence[Judgement], say: Say
    ) -> JudgedTexts:
        """Return the judgements as a teacher; say how many there are, and what was left out."""
        left: Counter[str] = Counter()
        sides: list[list[Judged]] = []
        for side in (train, measured):
            judged, found = read_judged(side, world.policy.reader, world.policy.context)
            left.update(found)
            sides.append(judged)
        left.update(_silent(self.judgements))
        omitted = "; ".join(f"{count:,} {words}" for words, count in left.items()) or "nothing"
        if not all(sides):
            raise DataError(
                f"the judgements: no pair is left to learn from or none to measure; left out: {omitted}."
            )
        teacher = JudgedTexts.of(world, *sides, at_once=self.steering.at_once)
        told, kept = (
            f"{sum(j.pairs for j in side):,} pairs of {len(side):,} judgements" for side in sides
        )
        say(f"{told} to learn from, {kept} to measure; left out: {omitted}")
        around = self.steering.steps * teacher.count / len(teacher.train)
        say(
            f"{self.steering.steps:,} steps of {teacher.count:,} judgements: {around:.1f} times around"
        )
        return teacher


def _check_learns(algorithm: Algorithm[Any]) -> None:
    """Raise UsageError for an algorithm that cannot learn from judgements."""
    if not isinstance(algorithm, LearnsFromJudgements):
        able = ", ".join(
            name for name in ALGORITHMS if issubclass(algorithm_class(name), LearnsFromJudgements)
        )
        raise UsageError(
            f"{algorithm.name} learns from what it writes, not from judgements. Choose one that can ({able}), or fit a "
            "reward model on the judgements and steer by that."
        )


def _silent(judgements: Sequence[Judgement]) -> dict[str, int]:
    """Return how many judgements compare nothing, by words; none where all do."""
    count = sum(not judgement.ranks for judgement in judgements)
    return {"labels, grades or ratings, which compare nothing": count} if count else {}


def _divided(
    judgements: Sequence[Judgement], share: float, seed: int
) -> tuple[list[Judgement], list[Judgement]]:
    """Return what is learned from and what only measures, split by prompt: at least one, and at most about 1,000."""
    said = [judgement for judgement in judgements if judgement.ranks]
    share = min(share, MOST_HELD_OUT / len(said))
    return split(said, held_out=min(max(share, 1 / len(said)), 0.5), seed=seed)


def _prompts_of(judgements: Sequence[Judgement], policy: Policy) -> list[Prompt]:
    """Return the different prompts of judgements that leave room for an answer; "" where there is none."""
    prompts = list(dict.fromkeys("" if j.prompt is None else j.prompt for j in judgements))
    lengths = map(len, policy.reader.prompts(prompts))
    return [
        prompt for prompt, length in zip(prompts, lengths, strict=True) if length < policy.context
    ] or [""]


def _learner(start: Policy, plan: Plan, say: Say) -> Policy:
    """Return a copy of a policy that can learn, with a critic where the algorithm asks for one."""
    for line in start.notes:
        say(line)
    algorithm = plan.algorithm
    learner = start.trainable_copy()
    learner.value_head = copy.deepcopy(start.value_head)
    if algorithm.needs_critic and learner.value_head is None:
        begins = "0" if plan.steering.zero_critic else "random"
        say(f"{algorithm.name} needs a critic: the policy gets a value head, {begins} at first.")
        learner = learner.with_value_head()
        if not plan.steering.zero_critic:
            _draw(learner, plan.seed)
    if not algorithm.needs_critic:
        learner.value_head = None
    return learner


def _draw(policy: Policy, seed: int) -> None:
    """Draw a new value head's weights, with standard deviation 1/√(width + 1) (Stiennon et al. 2020)."""
    assert policy.value_head is not None
    weight = policy.value_head.linear.weight
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.copy_(drawn * (weight.shape[1] + 1) ** -0.5)
