"""The plan of `steer`: all settings of a run, checked, and the task that they make."""

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import torch

from tastemaker import processes
from tastemaker.data.judgements import Judgement, Prompt
from tastemaker.errors import DataError, TrainingError, UsageError
from tastemaker.fast.processor import format_of
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.writers import Writer
from tastemaker.reward.division import digest_of_items
from tastemaker.rl.algorithms import (
    ALGORITHMS,
    algorithm_class,
    algorithm_named,
    check_is_algorithm,
)
from tastemaker.rl.algorithms.base import Algorithm, LearnsFromJudgements
from tastemaker.rl.text.elsewhere import Elsewhere
from tastemaker.rl.text.judged import (
    JudgedTexts,
    Teacher,
    check_compares,
    pairs_in_words,
    prompts_of,
    read_judged,
    split_by_prompt,
)
from tastemaker.rl.text.prompts import Row, divided
from tastemaker.rl.text.rewards import Reward
from tastemaker.rl.text.settings import Limits, Steering, Watch
from tastemaker.rl.text.shaping import KL, Scale, Scaling
from tastemaker.rl.text.steer_task import SteerTask
from tastemaker.rl.text.world import Batch, TextWorld
from tastemaker.settings import settings_from
from tastemaker.train.gradients import check_shard, without_shard
from tastemaker.train.run import Run, Say


@dataclass(frozen=True)
class SteerPlan:
    """All settings of a run.

    prompts: none where those of the judgements are meant. columns: what the row of each prompt
    holds beside it; none where no row holds more. judgements: none where the policy learns
    from a reward. Raises UsageError for parts that contradict, DataError for no prompts.
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
    columns: tuple[Row, ...] = ()
    writer: Writer | None = None

    def __post_init__(self) -> None:
        check_shard(shard=self.steering.shard, lora=self.steering.lora)
        if self.steering.shard and not self.algorithm.takes_shares:
            raise UsageError(
                f"{self.algorithm.name} needs whole weights, and --shard divides them. Choose "
                "another algorithm, or leave it out."
            )
        if self.judgements:
            _check_learns(self.algorithm)
            return
        if not self.prompts:
            raise DataError(
                "no prompts: give some texts to continue, or leave them out to begin texts."
            )
        name = self.algorithm.name
        samples = self.algorithm.samples
        batch = self.steering.batch
        if batch % samples:
            raise UsageError(
                f"{name} writes {samples} completions of each prompt, which a batch of {batch} "
                f"cannot be divided into. Choose a multiple of {samples}."
            )
        if self.kl.where == "loss" and not self.algorithm.takes_kl_in_loss:
            raise UsageError(
                f"{name} cannot take KL in the loss: pay it in the reward (--kl-in reward)."
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings, JSON-ready; a resumed run must have the same."""
        settings: dict[str, Any] = {
            "prompts": _digest(self.prompts),
            "columns": _digest(self.columns) if self.columns else None,
            "judgements": digest_of_items(self.judgements)
            if self.judgements
            else None,
            "algorithm_name": self.algorithm.name,
            "writer": self.writer.name if self.writer else "own",
        }
        for field in fields(self):
            part: Any = getattr(self, field.name)
            if field.name not in settings:
                is_part = is_dataclass(part)
                settings[field.name] = asdict(part) if is_part else part
        settings["steering"] = without_shard(self.steering)
        json_ready: dict[str, Any] = json.loads(json.dumps(settings))
        return json_ready

    def task(
        self,
        start: Policy,
        reward: Reward | None,
        watched: Mapping[str, Reward],
        run: Run,
        say: Say,
        *,
        source: str,
    ) -> SteerTask:
        """Return the task. reward: what is learned from; beside judgements it only measures.

        source: the name of the start, for the folder of adapters.
        """
        policy = _learner(start, self, source, say)
        reference = policy.without_adapters() if self.steering.lora else start
        teacher: Teacher[Any]
        if self.judgements:
            train, measured = split_by_prompt(
                self.judgements, self.steering.held_out_share, self.seed, say
            )
            world = self._world(
                reference,
                policy,
                self.prompts or prompts_of(measured, start),
                None,
            )
            teacher = self._judged(world, train, measured, say)
            if reward is not None:
                watched = {"score": reward, **watched}
        else:
            teacher = world = self._world(
                reference, policy, self.prompts, reward
            )
        watch = Watch(self.limits, teacher.aim)
        return SteerTask(
            world,
            teacher,
            self.algorithm,
            self.steering,
            watch=watch,
            watched=watched,
            run=run,
            say=say,
        )

    def _world(
        self,
        reference: Policy,
        policy: Policy,
        prompts: Sequence[Prompt],
        reward: Reward | None,
    ) -> TextWorld:
        """Return the world in which the policy writes."""
        return TextWorld(
            policy=policy,
            reference=reference,
            reward=reward,
            prompts=prompts,
            sampling=self.sampling,
            kl=self.kl,
            scale=Scale(self.scaling),
            batch=self.steering.batch,
            samples=1 if self.judgements else self.algorithm.samples,
            seed=self.seed,
            whiten_rewards=self.steering.whiten_rewards,
            columns=self.columns,
            writer=self._elsewhere(),
        )

    def _elsewhere(self) -> Elsewhere | None:
        """Return what writes in the policy's place. Raises UsageError for several processes."""
        if self.writer is None:
            return None
        processes.refuse("steer --writer", "Start it without torchrun.")
        return Elsewhere(self.writer, self.steering.ratio_limit)

    def _judged(
        self,
        world: TextWorld,
        train: Sequence[Judgement],
        measured: Sequence[Judgement],
        say: Say,
    ) -> JudgedTexts:
        """Return the judgements as a teacher; say how many there are, and what was left out."""
        policy = world.policy
        at_once = self.steering.at_once
        learned, too_long = read_judged(train, policy.reader, policy.context)
        held_out, held_out_too_long = read_judged(
            measured, policy.reader, policy.context
        )
        left_out = Counter(too_long)
        left_out.update(held_out_too_long)
        unordered = sum(not judgement.ranks for judgement in self.judgements)
        if unordered:
            left_out["labels, grades or ratings, which compare nothing"] = (
                unordered
            )
        reasons = [f"{count:,} {words}" for words, count in left_out.items()]
        left_out_line = f"left out: {'; '.join(reasons) or 'nothing'}"
        if not (learned and held_out):
            raise DataError(
                "the judgements: no pair is left to learn from or none to measure; "
                f"{left_out_line}."
            )
        teacher = JudgedTexts.of(world, learned, held_out, at_once=at_once)
        say(
            f"{pairs_in_words(learned)} to learn from, "
            f"{pairs_in_words(held_out)} to measure; {left_out_line}"
        )
        steps = self.steering.steps
        epochs = steps * teacher.count / len(teacher.train)
        say(
            f"{steps:,} steps of {teacher.count:,} judgements: {epochs:.1f} epochs"
        )
        return teacher


def plan_of(
    algorithm: Algorithm[Any] | str,
    steering: Steering | Mapping[str, Any] | None,
    prompts: Prompt | Sequence[Prompt | Row] | None,
    judgements: Sequence[Judgement] | None,
    seed: int,
    **parts: Any,
) -> SteerPlan:
    """Return the plan, with defaults for what is not given."""
    if prompts is None:
        prompts = [""] if judgements is None else []
    defaults: dict[str, Any] = {
        "kl": KL(0.1 if judgements is None else 0.0),
        "sampling": Sampling(max_tokens=64),
        "scaling": Scaling(),
        "limits": Limits(),
    }
    for name, default in defaults.items():
        given = parts.get(name)
        parts[name] = settings_from(type(default), given, name, default)
    if isinstance(algorithm, str):
        algorithm = algorithm_named(algorithm)
    check_is_algorithm(algorithm)
    texts, columns = divided(prompts)
    return SteerPlan(
        algorithm=algorithm,
        steering=settings_from(Steering, steering, "steering"),
        prompts=texts,
        columns=columns,
        judgements=tuple(judgements or ()),
        seed=seed,
        **parts,
    )


def _digest(items: Sequence[Any]) -> str:
    content = repr(items).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def check_parts(
    reward: Any, judgements: Sequence[Judgement] | None, kl: Any, scaling: Any
) -> None:
    """Raise UsageError for nothing to learn from and for parts that mean nothing beside judgements.

    Raises DataError for judgements that compare nothing.
    """
    if judgements is None:
        if reward is None:
            raise UsageError(
                "nothing to learn from: give a reward, or judgements that compare texts."
            )
        return
    check_compares(judgements, "the judgements")
    if not (kl is None and scaling is None):
        raise UsageError(
            "judgements are learned without a reward, so there is none to scale "
            "and KL is not paid: leave them out. "
            "DPO's beta is what keeps the policy near."
        )


def _check_learns(algorithm: Algorithm[Any]) -> None:
    """Raise UsageError for an algorithm that cannot learn from judgements."""
    if isinstance(algorithm, LearnsFromJudgements):
        return
    classes = {name: algorithm_class(name) for name in ALGORITHMS}
    able = [
        name
        for name, kind in classes.items()
        if issubclass(kind, LearnsFromJudgements)
    ]
    raise UsageError(
        f"{algorithm.name} learns from what it writes, not from judgements. "
        f"Choose one that can ({', '.join(able)}), or fit a reward model on the judgements "
        "and steer by that."
    )


def _learner(start: Policy, plan: SteerPlan, source: str, say: Say) -> Policy:
    """Return a copy of a policy to train, with a critic if the algorithm needs one.

    A copy that learns by adapters shares its weights with the start.
    """
    for line in start.notes:
        say(line)
    algorithm = plan.algorithm
    if plan.steering.lora:
        learner = start.frozen_copy()
        lora = plan.steering.adapters
        learner.add_adapters(lora, source=source, seed=plan.seed)
    else:
        learner = start.trainable_copy()
    learner.saved_as = format_of(plan.steering.dtype, start.saved_as)
    learner.value_head = copy.deepcopy(start.value_head)
    if algorithm.needs_critic and learner.value_head is None:
        weights = "0" if plan.steering.zero_critic else "random"
        say(
            f"{algorithm.name} needs a critic: the policy gets a value head, {weights} at first."
        )
        learner = learner.with_value_head()
        if not plan.steering.zero_critic:
            _draw_value_head(learner, plan.seed)
    if not algorithm.needs_critic:
        learner.value_head = None
    return learner


def _draw_value_head(policy: Policy, seed: int) -> None:
    """Draw a value head's weights with standard deviation 1/√(width + 1) (Stiennon et al. 2020)."""
    assert policy.value_head is not None
    weight = policy.value_head.linear.weight
    drawn = torch.randn(
        weight.shape, generator=torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():
        weight.copy_(drawn * (weight.shape[1] + 1) ** -0.5)


_TEXTS_OF_ONE_SCORE = 1024
"""Further texts of the reference that are scored before a reward counts as constant."""
_ROUNDING = 1e-12
"""Scores that differ by less than this share of the largest are one score."""


def check_varies(task: SteerTask, before: Batch) -> None:
    """Raise TrainingError for a reward that gives all texts of the reference one score.

    A rare reward may do so by chance, so more texts are scored first. A reward that only tells
    prompts apart is said: what one text of a prompt gains over another is then 0.
    """
    if not before.scores:
        return
    score = before.scores[0]
    texts = 0
    scores = before.scores
    while not _differ([score, *scores]):
        texts += len(scores)
        if texts >= len(before.scores) + _TEXTS_OF_ONE_SCORE:
            raise TrainingError(
                f"the reward gives all {texts:,} texts of this GPT the score {score:g}: there is "
                "nothing to learn from it, and nothing was changed. Let it tell texts apart, or "
                "begin with a GPT that sometimes writes what it looks for."
            )
        number = texts // len(before.scores)
        scores = task.world.more_scores(len(before.scores), number)
    groups = _by_prompt(before)
    if any(_differ(scores) for scores in groups):
        return
    if _differ([scores[0] for scores in groups]):
        task.say(
            f"the reward tells prompts apart, not texts: each of {len(groups)} prompts has one "
            "score for all its texts. There may be nothing to learn from it."
        )


def _by_prompt(batch: Batch) -> list[list[float]]:
    """Return the scores of the texts of each prompt that has two different ones or more."""
    by_prompt: dict[tuple[Prompt, str], dict[str, float]] = {}
    for completion, score in zip(batch.completions, batch.scores, strict=True):
        row = completion.prompt, repr(completion.columns)
        by_prompt.setdefault(row, {})[completion.text] = score
    return [
        list(scores.values())
        for scores in by_prompt.values()
        if len(scores) > 1
    ]


def _differ(scores: Sequence[float]) -> bool:
    """Return whether scores differ by more than rounding."""
    if not scores:
        return False
    low, high = min(scores), max(scores)
    return high - low > _ROUNDING * max(abs(low), abs(high))
