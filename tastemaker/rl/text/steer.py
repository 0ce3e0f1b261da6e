"""A policy learns to write what scores well: the verb `steer`."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tastemaker.data.judgements import Judgement, Prompt, plain
from tastemaker.errors import UsageError
from tastemaker.fast.processor import DeviceWish
from tastemaker.files import writing_file
from tastemaker.gpt.policy import Policy, as_prompts
from tastemaker.gpt.pretraining import weights_digest
from tastemaker.gpt.sampling import Sampling
from tastemaker.rl.algorithms import algorithm_named
from tastemaker.rl.algorithms.base import Algorithm
from tastemaker.rl.text.judged import check_compares
from tastemaker.rl.text.kl import KL, Scaling
from tastemaker.rl.text.loop import SteeringRun, said
from tastemaker.rl.text.plan import Plan
from tastemaker.rl.text.rewards import Reward, checked, identity, reward_of
from tastemaker.rl.text.settings import Steering
from tastemaker.rl.text.stopping import Limits
from tastemaker.rl.text.world import Batch
from tastemaker.scores import Caution
from tastemaker.settings import settings_from
from tastemaker.train.optimizers import on_host
from tastemaker.train.run import RUN, Run, check_same, model_folder, versions

STEERING = "steering.json"
"""What a steered policy's folder keeps of how it was steered."""
ALWAYS = ("score", "held_out", "held_out_preference_accuracy")
"""What has a figure before and after in every run: null where it was not measured."""
LAST = "last"
"""The folder, in a steered policy's, of the policy as it was after the last step."""


def _silent(line: str) -> None:
    """Say nothing."""


_TOLD = {
    "score": "score {:.2f} → {:.2f}",
    "held_out": "held-out score {:.2f} → {:.2f}",
    "gold": "gold {:.2f} → {:.2f}",
    "held_out_preference_loss": "held-out loss {:.3f} → {:.3f}",
    "held_out_preference_accuracy": "held-out pairs right {:.0%} → {:.0%}",
}


@dataclass(frozen=True)
class Steered:
    """A steered policy, and what happened.

    policy: the best of the run. figures: what the JSON of the verb holds, and more. samples: for each of a few prompts
    what was written before and after, with scores where a reward watched.
    """

    policy: Policy
    figures: dict[str, Any]
    samples: list[dict[str, Any]]

    @property
    def kl(self) -> float:
        """The KL of the policy from where it started, nats a text."""
        return float(self.figures["kl"])

    @property
    def stopped_because(self) -> str:
        """Why the run ended, with advice where it stopped by itself."""
        return str(self.figures["stopped_because"])

    def __str__(self) -> str:
        found = self.figures
        told = [
            (words, found.get(f"{name}_before"), found.get(f"{name}_after"))
            for name, words in _TOLD.items()
        ]
        lines = [words.format(before, after) for words, before, after in told if before is not None]
        lines.append(
            f"KL {found['kl']:.1f} nats a text, {found['distinct']:.0%} of the texts distinct"
        )
        return "; ".join(lines) + f"; stopped because {self.stopped_because}"


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
    device: DeviceWish = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = _silent,
) -> Steered:
    """Teach a policy to write what scores well, or what people preferred.

    policy: what learns, a `Policy`, folder or hub name; it is not changed itself. reward: a reward model, a function
    (prompts, completions) -> scores, an address, a spec or a list of these (see `rewards`). prompts: what is continued
    or answered; "", or none, begins a text. judgements: comparisons and rankings to learn from instead, by an algorithm
    that can (DPO): no KL is paid then, a reward only watches, and the policy is watched on the judgements' prompts
    where no others are given. algorithm: an object such as `PPO(clip=0.2)`, or its name. kl: what it costs to leave
    the policy that it started as. held_out, gold: rewards that only watch; the first decides which policy is best, or
    held-out judgements do. caution: of an ensemble, λ of mean − λ · standard deviation, or "minimum".
    Returns the best policy of the run, and what happened. Raises RewardError for a reward that fails, with all finished
    steps kept, UsageError for settings that contradict, DataError for judgements that compare nothing, StorageError for
    a folder that cannot be written.
    """
    began = time.monotonic()
    _check_parts(reward, judgements, kl, scaling)
    parts = {"kl": kl, "sampling": sampling, "scaling": scaling, "limits": limits}
    plan = _plan(
        algorithm,
        steering,
        prompts,
        judgements,
        seed,
        **{k: v for k, v in parts.items() if v is not None},
    )
    taste = reward_of(reward, caution=caution) if reward is not None else None
    watched = {
        name: reward_of(r) for name, r in (("held_out", held_out), ("gold", gold)) if r is not None
    }
    start = (Policy.load(policy) if isinstance(policy, (str, Path)) else policy).to(device)
    asked = plan.asked() | {"start": str(policy), "start_weights": weights_digest(start)}
    asked |= {"caution": caution} | _named(taste, watched)
    folder = Path(out) if out is not None else None
    with model_folder(folder, whole=STEERING, resume=resume, overwrite=overwrite) as is_finished:
        if folder is not None and is_finished:
            return _finished(folder, asked)
        run = Run(folder / RUN if folder is not None else None, asked, resume=resume)
        job = plan.job(start, taste, watched, run, say)
        steered, last = _carried_out(job, say)
        steered.figures.update(
            seconds=round(time.monotonic() - began, 1), settings=asked, versions=versions()
        )
        if folder is not None:
            _save(steered, folder, job, last)
    run.finish()
    return steered


def _plan(
    algorithm: Algorithm[Any] | str,
    steering: Steering | Mapping[str, Any] | None,
    prompts: Prompt | Sequence[Prompt] | None,
    judgements: Sequence[Judgement] | None,
    seed: int,
    **parts: Any,
) -> Plan:
    """Return what was asked for, with the defaults of what was not."""
    if prompts is None:
        prompts = [""] if judgements is None else []
    defaults: dict[str, Any] = {
        "kl": KL(0.1 if judgements is None else 0.0),
        "sampling": Sampling(max_tokens=64),
        "scaling": Scaling(),
        "limits": Limits(),
    }
    return Plan(
        algorithm=algorithm_named(algorithm) if isinstance(algorithm, str) else algorithm,
        steering=steering if isinstance(steering, Steering) else _steering(dict(steering or {})),
        prompts=tuple(as_prompts(prompts)),
        judgements=tuple(judgements or ()),
        seed=seed,
        **defaults | parts,
    )


def _named(taste: Reward | None, watched: Mapping[str, Reward]) -> dict[str, Any]:
    """Return which rewards a run has, JSON-ready."""
    rewards = ({"reward": taste} if taste is not None else {}) | dict(watched)
    names = {"reward": taste.name if taste is not None else None}
    return names | {"rewards": {name: identity(reward) for name, reward in rewards.items()}}


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
            "judgements are learned without a reward, so there is none to scale and KL is not paid: leave them out. "
            "DPO's beta is what keeps the policy near."
        )


def _carried_out(job: SteeringRun, say: Callable[[str], None]) -> tuple[Steered, dict[str, Tensor]]:
    """Measure, steer, measure; return the best policy with what happened, and the last weights."""
    world, count = job.world, job.steering.measured
    before = world.measure(count)
    found = job.measured(before)
    figures: dict[str, Any] = {f"{name}_before": value for name, value in found.items()}
    if world.scale.scaling.by == "reference":
        world.scale.see(before.scores)
    job.watch.begin(before.scores, pairs=figures["pairs_before"])
    say(f"before: {said(found)}")
    ended = job.run()
    last = on_host(job.weights())
    job.put(job.best)
    after = world.measure(count)
    figures |= {f"{name}_after": value for name, value in job.measured(after).items()}
    always = [f"{name}_{when}" for name in ALWAYS for when in ("before", "after")]
    figures |= {name: figures.get(name) for name in always}
    figures |= asdict(ended) | {
        "kl": figures["kl_after"],
        "distinct": figures["distinct_after"],
    }
    figures["algorithm"] = job.algorithm.name
    return Steered(world.policy, figures, _samples(job, before, after)), last


def _finished(folder: Path, asked: Mapping[str, Any]) -> Steered:
    """Return what a finished run left. Raises UsageError where something else is asked for now."""
    kept = json.loads((folder / STEERING).read_text(encoding="utf-8"))
    check_same(kept["settings"], asked)
    samples = kept.pop("samples")
    return Steered(Policy.load(folder), kept, samples)


def _steering(given: Mapping[str, Any]) -> Steering:
    """Return the settings, whole. Raises UsageError for one that does not exist or is of another type."""
    return settings_from(Steering, given, "steering")


def _samples(job: SteeringRun, before: Batch, after: Batch, count: int = 8) -> list[dict[str, Any]]:
    """Return what was written before and after of the same prompts, with scores where there are any."""
    found: list[dict[str, Any]] = [
        {"prompt": plain(then.prompt), "before": then.text, "after": now.text} | _turns(then.prompt)
        for then, now in zip(before.completions[:count], after.completions[:count], strict=True)
    ]
    for when, gathered in (("before", before), ("after", after)):
        scores = gathered.scores
        if "score" in job.watched:
            scores = checked(job.watched["score"], gathered.completions[:count])
        for sample, score in zip(found, scores, strict=False):
            sample[f"score_{when}"] = score
    return found


def _turns(prompt: Prompt) -> dict[str, Any]:
    """Return the turns of a chat, so that others can answer it as the policy did; nothing of a plain prompt."""
    return {} if isinstance(prompt, str) else {"messages": [turn._asdict() for turn in prompt]}


def _save(steered: Steered, folder: Path, job: SteeringRun, last: Mapping[str, Tensor]) -> None:
    """Save the best policy, the last one beside it, and the figures."""
    policy = steered.policy
    job.put(last)
    policy.save(folder / LAST)
    job.put(job.best)
    with writing_file(folder / STEERING) as temporary:
        kept = steered.figures | {"samples": steered.samples}
        temporary.write_text(
            json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    policy.save(folder)
