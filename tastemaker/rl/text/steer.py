"""The verb `steer`: a policy learns to write what scores well, or what people preferred."""

import copy
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tastemaker.data.judgements import Judgement, Prompt
from tastemaker.errors import DataError, UsageError
from tastemaker.fast.processor import DeviceChoice
from tastemaker.files import writing_file
from tastemaker.gpt.policy import Policy, as_prompts
from tastemaker.gpt.pretraining import weights_digest
from tastemaker.gpt.sampling import Sampling
from tastemaker.reward.division import digest_of_items
from tastemaker.rl.algorithms import (
    ALGORITHMS,
    algorithm_class,
    algorithm_named,
)
from tastemaker.rl.algorithms.base import Algorithm, LearnsFromJudgements
from tastemaker.rl.text.judged import (
    JudgedTexts,
    check_compares,
    pairs_in_words,
    prompts_of,
    read_judged,
    split_by_prompt,
)
from tastemaker.rl.text.rewards import Reward, identity, reward_of
from tastemaker.rl.text.settings import (
    KL,
    Limits,
    Scale,
    Scaling,
    Steering,
    Watch,
)
from tastemaker.rl.text.steer_task import (
    Steered,
    SteerTask,
    in_words,
    sample_pairs,
)
from tastemaker.rl.text.world import Teacher, TextWorld
from tastemaker.scores import Caution, with_beta
from tastemaker.settings import settings_from
from tastemaker.train.loop import DONE, train
from tastemaker.train.run import (
    Run,
    Say,
    check_same,
    open_run,
    silent,
    versions,
)
from tastemaker.train.step import on_host

STEERING = "steering.json"
"""The file of a steered policy's folder that says how it was steered."""
ALWAYS = ("score", "held_out", "held_out_preference_accuracy")
"""Figures that every run has before and after; null where they were not measured."""
LAST = "last"
"""The subfolder of the policy as it was after the last step."""


def steer(
    policy: Policy | str | Path,
    reward: Any = None,
    prompts: Prompt | Sequence[Prompt] | None = None,
    *,
    judgements: Sequence[Judgement] | None = None,
    algorithm: Algorithm[Any] | str = "ppo",
    kl: KL | None = None,
    sampling: Sampling | None = None,
    scaling: Scaling | None = None,
    limits: Limits | None = None,
    steering: Steering | Mapping[str, Any] | None = None,
    held_out: Any = None,
    gold: Any = None,
    caution: Caution = 0.0,
    seed: int = 0,
    device: DeviceChoice = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> Steered:
    """Train a policy to write what scores well, or what people preferred.

    policy: a `Policy`, folder or hub name; it is not changed itself. reward: a reward model, a
    function (prompts, completions) -> scores, an address, a spec or a list of these (see
    `rewards`). prompts: what is continued or answered; "", or none, begins a text. judgements:
    comparisons and rankings to learn from instead, by an algorithm that can (DPO). Then there is
    no KL penalty, a reward only measures, and the policy is measured on the judgements' prompts
    where no others are given. algorithm: an object such as `PPO(clip=0.2)`, or its name. kl: the
    penalty on the KL from the start. held_out, gold: rewards that only measure; the first decides
    which policy is best, or held-out judgements do. caution: of an ensemble, λ of mean − λ ·
    standard deviation, "minimum", or "pessimistic" with the KL coefficient as β. Returns the best
    policy of the run with its figures. Raises RewardError for a reward that fails, with all
    finished steps kept, UsageError for settings that contradict, DataError for judgements that
    compare nothing, StorageError for a folder that cannot be written.
    """
    began = time.monotonic()
    _check_parts(reward, judgements, kl, scaling)
    parts = {
        "kl": kl,
        "sampling": sampling,
        "scaling": scaling,
        "limits": limits,
    }
    given = {name: part for name, part in parts.items() if part is not None}
    plan = _plan(algorithm, steering, prompts, judgements, seed, **given)
    caution = with_beta(caution, plan.kl.coef)
    main_reward = (
        None if reward is None else reward_of(reward, caution=caution)
    )
    watched: dict[str, Reward] = {}
    for name, watching in (("held_out", held_out), ("gold", gold)):
        if watching is not None:
            watched[name] = reward_of(watching)
    start = (
        Policy.load(policy) if isinstance(policy, (str, Path)) else policy
    ).to(device)
    settings = plan.settings()
    settings["start"] = str(policy)
    settings["start_weights"] = weights_digest(start)
    settings["caution"] = caution
    settings |= _reward_names(main_reward, watched)
    with open_run(
        out, settings, whole=STEERING, resume=resume, overwrite=overwrite
    ) as run:
        if out is not None and run.is_finished:
            return _load_finished(Path(out), settings)
        task = plan.task(start, main_reward, watched, run, say)
        steered, last = _train_and_measure(task, plan.seed)
        steered.figures["seconds"] = round(time.monotonic() - began, 1)
        steered.figures["settings"] = settings
        steered.figures["versions"] = versions()
        if out is not None:
            _save(steered, Path(out), task, last)
    return steered


@dataclass(frozen=True)
class SteerPlan:
    """All settings of a run.

    prompts: none where those of the judgements are meant. judgements: none where the policy learns
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

    def __post_init__(self) -> None:
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
        prompts = repr(self.prompts).encode("utf-8", "surrogatepass")
        settings: dict[str, Any] = {
            "prompts": hashlib.blake2b(prompts, digest_size=16).hexdigest(),
            "judgements": digest_of_items(self.judgements)
            if self.judgements
            else None,
            "algorithm_name": self.algorithm.name,
        }
        for field in fields(self):
            part: Any = getattr(self, field.name)
            if field.name not in settings:
                is_part = is_dataclass(part)
                settings[field.name] = asdict(part) if is_part else part
        json_ready: dict[str, Any] = json.loads(json.dumps(settings))
        return json_ready

    def task(
        self,
        start: Policy,
        reward: Reward | None,
        watched: Mapping[str, Reward],
        run: Run,
        say: Say,
    ) -> SteerTask:
        """Return the task. reward: what is learned from; beside judgements it only measures."""
        policy = _learner(start, self, say)
        teacher: Teacher[Any]
        if self.judgements:
            train, measured = split_by_prompt(
                self.judgements, self.steering.held_out_share, self.seed, say
            )
            world = self._world(
                start,
                policy,
                self.prompts or prompts_of(measured, start),
                None,
            )
            teacher = self._judged(world, train, measured, say)
            if reward is not None:
                watched = {"score": reward, **watched}
        else:
            teacher = world = self._world(start, policy, self.prompts, reward)
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
        start: Policy,
        policy: Policy,
        prompts: Sequence[Prompt],
        reward: Reward | None,
    ) -> TextWorld:
        """Return the world in which the policy writes."""
        return TextWorld(
            policy=policy,
            reference=start,
            reward=reward,
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


def _plan(
    algorithm: Algorithm[Any] | str,
    steering: Steering | Mapping[str, Any] | None,
    prompts: Prompt | Sequence[Prompt] | None,
    judgements: Sequence[Judgement] | None,
    seed: int,
    **parts: Any,
) -> SteerPlan:
    """Return the plan, with defaults for what is not given."""
    if prompts is None:
        prompts = [""] if judgements is None else []
    if not isinstance(steering, Steering):
        steering = settings_from(Steering, steering or {}, "steering")
    defaults: dict[str, Any] = {
        "kl": KL(0.1 if judgements is None else 0.0),
        "sampling": Sampling(max_tokens=64),
        "scaling": Scaling(),
        "limits": Limits(),
    }
    if isinstance(algorithm, str):
        algorithm = algorithm_named(algorithm)
    return SteerPlan(
        algorithm=algorithm,
        steering=steering,
        prompts=tuple(as_prompts(prompts)),
        judgements=tuple(judgements or ()),
        seed=seed,
        **{**defaults, **parts},
    )


def _reward_names(
    reward: Reward | None, watched: Mapping[str, Reward]
) -> dict[str, Any]:
    """Return the names and identities of a run's rewards, JSON-ready."""
    rewards = (
        dict(watched) if reward is None else {"reward": reward, **watched}
    )
    identities = {name: identity(one) for name, one in rewards.items()}
    return {
        "reward": None if reward is None else reward.name,
        "rewards": identities,
    }


def _check_parts(
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


def _learner(start: Policy, plan: SteerPlan, say: Say) -> Policy:
    """Return a copy of a policy to train, with a critic if the algorithm needs one."""
    for line in start.notes:
        say(line)
    algorithm = plan.algorithm
    learner = start.trainable_copy()
    learner.value_head = copy.deepcopy(start.value_head)
    if algorithm.needs_critic and learner.value_head is None:
        weights = "0" if plan.steering.zero_critic else "random"
        say(
            f"{algorithm.name} needs a critic: the policy gets a value head, {weights} at first."
        )
        learner = learner.with_value_head()
        if not plan.steering.zero_critic:
            _draw(learner, plan.seed)
    if not algorithm.needs_critic:
        learner.value_head = None
    return learner


def _draw(policy: Policy, seed: int) -> None:
    """Draw a value head's weights with standard deviation 1/√(width + 1) (Stiennon et al. 2020)."""
    assert policy.value_head is not None
    weight = policy.value_head.linear.weight
    drawn = torch.randn(
        weight.shape, generator=torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():
        weight.copy_(drawn * (weight.shape[1] + 1) ** -0.5)


def _train_and_measure(
    task: SteerTask, seed: int
) -> tuple[Steered, dict[str, Tensor]]:
    """Measure, train, measure; return the best policy with its figures, and the last weights."""
    world = task.world
    count = task.steering.measured
    before = world.measure(count)
    metrics = task.measure(before)
    figures: dict[str, Any] = {
        f"{name}_before": value for name, value in metrics.items()
    }
    if world.scale.scaling.by == "reference":
        world.scale.include(before.scores)
    task.watch.begin(before.scores, pairs=figures["pairs_before"])
    task.say(f"before: {in_words(metrics)}")
    progress = train(task, task.run, seed=seed)
    last = on_host(task.weights())
    task.put(task.best)
    after = world.measure(count)
    for name, value in task.measure(after).items():
        figures[f"{name}_after"] = value
    for name in ALWAYS:
        figures.setdefault(f"{name}_before", None)
        figures.setdefault(f"{name}_after", None)
    figures["steps"] = progress.step
    figures["best_step"] = progress.best_step
    figures["stopped_because"] = progress.stopped_because or DONE
    figures["kl_coef"] = task.kl_coef
    figures["kl"] = figures["kl_after"]
    figures["distinct"] = figures["distinct_after"]
    figures["algorithm"] = task.algorithm.name
    return Steered(
        world.policy, figures, sample_pairs(task, before, after)
    ), last


def _load_finished(folder: Path, settings: Mapping[str, Any]) -> Steered:
    """Return what a finished run saved. Raises UsageError for other settings."""
    figures = json.loads((folder / STEERING).read_text(encoding="utf-8"))
    check_same(figures["settings"], settings)
    samples = figures.pop("samples")
    return Steered(Policy.load(folder), figures, samples)


def _save(
    steered: Steered, folder: Path, task: SteerTask, last: Mapping[str, Tensor]
) -> None:
    """Save the best policy, the last one in a subfolder, and the figures."""
    policy = steered.policy
    task.put(last)
    policy.save(folder / LAST)
    task.put(task.best)
    content = steered.figures | {"samples": steered.samples}
    with writing_file(folder / STEERING) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")
    policy.save(folder)
