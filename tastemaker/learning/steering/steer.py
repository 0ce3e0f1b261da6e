"""A policy learns to write what scores well: the verb `steer`."""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tastemaker.data.judgements import Prompt, plain
from tastemaker.errors import DataError, UsageError
from tastemaker.files import writing_file
from tastemaker.learning.algorithms import TRPO, Algorithm, algorithm_named
from tastemaker.learning.folder import model_folder
from tastemaker.learning.optimizer import on_host
from tastemaker.learning.pretrain import weights_digest
from tastemaker.learning.run import RUN, Run, check_same
from tastemaker.learning.steering.drift import Drift
from tastemaker.learning.steering.loop import SteeringRun
from tastemaker.learning.steering.rewards import Reward, identity, reward_of
from tastemaker.learning.steering.scale import Scale, Scaling
from tastemaker.learning.steering.settings import Steering
from tastemaker.learning.steering.watch import Limits, Watch
from tastemaker.learning.steering.world import Gathered, TextWorld
from tastemaker.models.contract import versions
from tastemaker.models.policy.policy import Policy, as_prompts
from tastemaker.models.policy.sampling import Sampling
from tastemaker.models.precision import DeviceWish
from tastemaker.models.scores import Caution

STEERING = "steering.json"
"""What a steered policy's folder keeps of how it was steered."""
LAST = "last"
"""The folder, in a steered policy's, of the policy as it was after the last step."""


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Steered:
    """A steered policy, and what happened.

    policy: the best of the run. figures: what the JSON of the verb holds, and more. samples: for each of a few prompts
    what was written before and after.
    """

    policy: Policy
    figures: dict[str, Any]
    samples: list[dict[str, str]]

    @property
    def drift(self) -> float:
        """How far the policy drifted from where it started, nats a text."""
        return float(self.figures["drift"])

    @property
    def stopped_because(self) -> str:
        """Why the run ended, with advice where it stopped by itself."""
        return str(self.figures["stopped_because"])

    def __str__(self) -> str:
        found = self.figures
        lines = [f"score {found['score_before']:.2f} → {found['score_after']:.2f}"]
        for name, words in (("held_out", "held-out score"), ("gold", "gold")):
            if f"{name}_before" in found and found[f"{name}_before"] is not None:
                lines.append(f"{words} {found[f'{name}_before']:.2f} → {found[f'{name}_after']:.2f}")
        lines.append(f"drift {found['drift']:.1f} nats a text, {found['distinct']:.0%} of the texts distinct")
        return "; ".join(lines) + f"; stopped because {self.stopped_because}"


def steer(
    policy: Policy | str | Path,
    reward: Any,
    prompts: Prompt | Sequence[Prompt] = "",
    *,
    algorithm: Algorithm[Any] | str = "ppo",
    drift: Drift | None = None,
    sampling: Sampling | None = None,
    scaling: Scaling | None = None,
    limits: Limits | None = None,
    steering: Steering | Mapping[str, Any] | None = None,
    held_out: Any = None,
    gold: Any = None,
    caution: Caution = 0.0,
    seed: int = 0,
    device: DeviceWish = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = _silent,
) -> Steered:
    """Teach a policy to write what scores well.

    policy: what learns, a `Policy`, folder or hub name; it is not changed itself. reward: a reward model, a function
    (prompts, completions) -> scores, an address, a spec or a list of these (see `rewards`). prompts: what is continued
    or answered; "" begins a text. algorithm: an object such as `PPO(clip=0.2)`, or its name. drift: what it costs to
    leave the policy that it started as. held_out, gold: rewards that only watch; the first decides which policy is
    best. caution: of an ensemble, λ of mean − λ · standard deviation, or "minimum".
    Returns the best policy of the run, and what happened. Raises RewardError for a reward that fails, with all finished
    steps kept, UsageError for settings that contradict, StorageError for a folder that cannot be written.
    """
    began = time.monotonic()
    plan = Plan(
        algorithm_named(algorithm) if isinstance(algorithm, str) else algorithm,
        steering if isinstance(steering, Steering) else _steering(dict(steering or {})),
        drift or Drift(),
        sampling or Sampling(max_tokens=64),
        scaling or Scaling(),
        limits or Limits(),
        tuple(as_prompts(prompts)),
        seed,
    )
    taste = reward_of(reward, caution=caution)
    watched = {name: reward_of(r) for name, r in (("held_out", held_out), ("gold", gold)) if r is not None}
    start = (Policy.load(policy) if isinstance(policy, (str, Path)) else policy).to(device)
    asked = plan.asked() | {"start": str(policy), "start_weights": weights_digest(start), "reward": taste.name}
    asked |= {"caution": caution, "rewards": {name: identity(r) for name, r in {"reward": taste, **watched}.items()}}
    folder = Path(out) if out is not None else None
    with model_folder(folder, whole=STEERING, resume=resume, overwrite=overwrite) as is_finished:
        if folder is not None and is_finished:
            return _finished(folder, asked)
        run = Run(folder / RUN if folder is not None else None, asked, resume=resume)
        job = plan.job(start, taste, watched, run, say)
        steered, last = _carried_out(job, say)
        steered.figures.update(seconds=round(time.monotonic() - began, 1), settings=asked, versions=versions())
        if folder is not None:
            _save(steered, folder, job, last)
    run.finish()
    return steered


@dataclass(frozen=True)
class Plan:
    """What a run was asked for, whole. Raises UsageError for parts that contradict, DataError for no prompts."""

    algorithm: Algorithm[Any]
    steering: Steering
    drift: Drift
    sampling: Sampling
    scaling: Scaling
    limits: Limits
    prompts: tuple[Prompt, ...]
    seed: int

    def __post_init__(self) -> None:
        if not self.prompts:
            raise DataError("no prompts: give some texts to continue, or leave them out to begin texts.")
        name, samples, batch = self.algorithm.name, self.algorithm.samples, self.steering.batch
        if batch % samples:
            raise UsageError(
                f"{name} writes {samples} completions of each prompt, which a batch of {batch} cannot be divided "
                f"into. Choose a multiple of {samples}."
            )
        if self.drift.where == "loss" and isinstance(self.algorithm, TRPO):
            raise UsageError("trpo keeps near by its trust region: drift can be in its reward, not in its loss.")

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, JSON-ready: a resumed run must ask for the same."""
        said = hashlib.blake2b(repr(self.prompts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        parts = {name: value for name, value in asdict(self).items() if name != "prompts"}
        asked = {"prompts": said, "algorithm_name": self.algorithm.name} | parts
        found: dict[str, Any] = json.loads(json.dumps(asked))
        return found

    def job(
        self, start: Policy, taste: Reward, watched: Mapping[str, Reward], run: Run, say: Callable[[str], None]
    ) -> SteeringRun:
        """Return the run that this plan is of."""
        world = TextWorld(
            policy=_learner(start, self.algorithm, say),
            reference=start,
            reward=taste,
            prompts=self.prompts,
            sampling=self.sampling,
            drift=self.drift,
            scale=Scale(self.scaling),
            batch=self.steering.batch,
            samples=self.algorithm.samples,
            seed=self.seed,
            whiten_rewards=self.steering.whiten_rewards,
        )
        watch = Watch(self.limits)
        return SteeringRun(world, self.algorithm, self.steering, watch=watch, watched=watched, run=run, say=say)


def _carried_out(job: SteeringRun, say: Callable[[str], None]) -> tuple[Steered, dict[str, Tensor]]:
    """Measure, steer, measure; return the best policy with what happened, and the last weights."""
    world, count = job.world, job.steering.measured
    before = world.measure(count)
    figures: dict[str, Any] = {f"{name}_before": value for name, value in job.measured(before).items()}
    if world.scale.scaling.by == "reference":
        world.scale.see(before.scores)
    job.watch.begin(before.scores, pairs=figures["pairs_before"])
    say(f"before: score {figures['score_before']:.2f}, {figures['length_before']:.0f} tokens a text")
    ended = job.run()
    last = on_host(job.weights())
    job.put(job.best)
    after = world.measure(count)
    figures |= {f"{name}_after": value for name, value in job.measured(after).items()}
    figures |= {f"held_out_{when}": figures.get(f"held_out_{when}") for when in ("before", "after")}
    figures |= asdict(ended) | {"drift": figures["drift_after"], "distinct": figures["distinct_after"]}
    figures["algorithm"] = job.algorithm.name
    return Steered(world.policy, figures, _samples(before, after)), last


def _finished(folder: Path, asked: Mapping[str, Any]) -> Steered:
    """Return what a finished run left. Raises UsageError where something else is asked for now."""
    kept = json.loads((folder / STEERING).read_text(encoding="utf-8"))
    check_same(kept["settings"], asked)
    samples = kept.pop("samples")
    return Steered(Policy.load(folder), kept, samples)


def _steering(given: Mapping[str, Any]) -> Steering:
    """Return the settings, whole. Raises UsageError for one that does not exist."""
    unknown = sorted(given.keys() - Steering.__dataclass_fields__.keys())
    if unknown:
        known = ", ".join(Steering.__dataclass_fields__)
        raise UsageError(f"there is no steering setting {unknown[0]!r}: choose among {known}.")
    return Steering(**given)


def _learner(start: Policy, algorithm: Algorithm[Any], say: Callable[[str], None]) -> Policy:
    """Return a copy of a policy that can learn, with a critic where the algorithm asks for one."""
    for line in start.notes:
        say(line)
    learner = Policy(copy.deepcopy(start.module).requires_grad_(requires_grad=True), start.tokenizer)
    learner.value_head = copy.deepcopy(start.value_head)
    if algorithm.needs_critic and learner.value_head is None:
        say(f"{algorithm.name} needs a critic: the policy gets a value head, 0 at first (policy.with_value_head()).")
        learner = learner.with_value_head()
    if not algorithm.needs_critic:
        learner.value_head = None
    return learner


def _samples(before: Gathered, after: Gathered, count: int = 8) -> list[dict[str, Any]]:
    """Return what was written before and after of the same prompts, with scores."""
    return [
        {
            "prompt": plain(then.prompt),
            "before": then.text,
            "after": now.text,
            "score_before": before.scores[number],
            "score_after": after.scores[number],
        }
        for number, (then, now) in enumerate(zip(before.completions[:count], after.completions[:count], strict=True))
    ]


def _save(steered: Steered, folder: Path, job: SteeringRun, last: Mapping[str, Tensor]) -> None:
    """Save the best policy, the last one beside it, and the figures."""
    policy = steered.policy
    job.put(last)
    policy.save(folder / LAST)
    job.put(job.best)
    with writing_file(folder / STEERING) as temporary:
        kept = steered.figures | {"samples": steered.samples}
        temporary.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    policy.save(folder)
