"""The verb `steer`: a policy learns to write what scores well, or what people preferred."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tastemaker import processes
from tastemaker.costs import stage, versions
from tastemaker.data.judgements import Judgement, Prompt, plain
from tastemaker.errors import TastemakerError, UsageError
from tastemaker.fast.processor import DeviceChoice
from tastemaker.files import writing_file
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.pretraining import weights_digest
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.writers import Writer, writer_of
from tastemaker.progress import progress
from tastemaker.readable import excerpt, filled_in
from tastemaker.rl.algorithms.base import Algorithm
from tastemaker.rl.text.prompts import Row, divided, with_columns
from tastemaker.rl.text.rewards import (
    Reward,
    beside,
    check_calls,
    checked,
    identity,
    reward_of,
    shared_scores,
)
from tastemaker.rl.text.settings import Limits, Steering
from tastemaker.rl.text.shaping import KL, Scaling
from tastemaker.rl.text.steer_plan import check_parts, check_varies, plan_of
from tastemaker.rl.text.steer_task import (
    Steered,
    SteerTask,
    figures_line,
)
from tastemaker.rl.text.world import Batch
from tastemaker.scores import Caution, with_beta
from tastemaker.train.loop import DONE, Interrupted, train
from tastemaker.train.run import (
    Say,
    check_same,
    of_first,
    open_run,
    silent,
)
from tastemaker.train.step import on_host

STEERING = "steering.json"
"""The file of a steered policy's folder that says how it was steered."""
ALWAYS = ("score", "held_out", "held_out_preference_accuracy")
"""Figures that every run has before and after; null where they were not measured."""
_TEMPLATE = Path(__file__).with_name("card.md.j2")
_CARD_FIGURES = {
    "score": "score",
    "held_out": "held-out score",
    "gold": "gold score",
    "held_out_preference_accuracy": "held-out pairs right",
    "kl": "KL from the base, nats a text",
    "distinct": "share of distinct texts",
    "length": "tokens a text",
}
_CARD_SAMPLES = 5
LAST = "last"
"""The subfolder of the policy as it was after the last step."""


def steer(
    policy: Policy | str | Path,
    reward: Any = None,
    prompts: Prompt | Sequence[Prompt | Row] | None = None,
    *,
    judgements: Sequence[Judgement] | None = None,
    algorithm: Algorithm[Any] | str = "ppo",
    kl: KL | Mapping[str, Any] | None = None,
    sampling: Sampling | Mapping[str, Any] | None = None,
    scaling: Scaling | Mapping[str, Any] | None = None,
    limits: Limits | Mapping[str, Any] | None = None,
    steering: Steering | Mapping[str, Any] | None = None,
    held_out: Any = None,
    gold: Any = None,
    caution: Caution = 0.0,
    writer: Writer | str | None = None,
    seed: int = 0,
    device: DeviceChoice = "auto",
    trust_remote_code: bool = False,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> Steered:
    """Train a policy to write what scores well, or what people preferred.

    policy: a `Policy`, folder or hub name; it is not changed itself. reward: a reward model, a
    function (prompts, completions) -> scores, an address, a spec or a list of these (see
    `rewards`). prompts: what is continued or answered; "", or none, begins a text. A prompt may be
    a row such as {"prompt": …, "answer": …}: a function gets the other columns that it names.
    judgements: comparisons and rankings to learn from instead, by an algorithm that can (DPO). Then
    there is no KL penalty, a reward only measures, and the policy is measured on the judgements'
    prompts where no others are given. algorithm: an object such as `PPO(clip=0.2)`, or its name.
    kl: the penalty on the KL from the start. Settings are objects or dicts. held_out, gold: rewards
    that only measure; the first decides which policy is best, or held-out judgements do. caution:
    of an ensemble, λ of mean − λ · standard deviation, "minimum", or "pessimistic" with the KL
    coefficient as β. writer: what writes with the policy's weights: "own", "vllm", a vLLM server's
    address or a `Writer`. device: also of reward models named by folder, in float32 on a CPU, else
    as saved. trust_remote_code: run the code of such a one. Returns the best policy within the
    limits, with its figures. Raises RewardError for a reward that fails, with all finished steps
    kept, ModelError for a writer that fails, TrainingError for a reward that does not vary,
    UsageError for settings that contradict, DataError for judgements that compare nothing,
    StorageError.
    """
    began = time.monotonic()
    say = of_first(say)
    check_parts(reward, judgements, kl, scaling)
    parts = {
        "kl": kl,
        "sampling": sampling,
        "scaling": scaling,
        "limits": limits,
        "writer": writer_of(writer),
    }
    plan = plan_of(algorithm, steering, prompts, judgements, seed, **parts)
    caution = with_beta(caution, plan.kl.coef)
    loading = beside(device, trust_remote_code=trust_remote_code)
    of_main = {**loading, "caution": caution}
    main_reward = _rewards(of_main, reward=reward).get("reward")
    watched = _rewards(loading, held_out=held_out, gold=gold)
    check_calls([main_reward, *watched.values()], plan.columns)
    start = _opened(policy, plan.steering).to(device)
    source = str(policy)
    settings = plan.settings() | {"start": source}
    settings["start_weights"] = weights_digest(start)
    settings |= {"caution": caution} | _reward_names(main_reward, watched)
    with open_run(
        out, settings, whole=STEERING, resume=resume, overwrite=overwrite
    ) as run:
        if out is not None and run.is_finished:
            return _load_finished(Path(out), settings)
        task = plan.task(start, main_reward, watched, run, say, source=source)
        # --shard divides its weights: without this name its whole weights are freed
        del start
        about = partial(_about, began, settings)
        steered, last = _train_and_measure(task, plan.seed, out, about)
        if out is not None and processes.is_first():
            _save(steered, Path(out), task, last)
        steered.policy.merge_adapters()
    return steered


def _about(began: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what the figures of a run tell beside the measurements."""
    seconds = round(time.monotonic() - began, 1)
    return {
        "seconds": seconds,
        "settings": settings,
        "versions": versions(),
    }


def _opened(policy: Policy | str | Path, steering: Steering) -> Policy:
    """Return the policy at the start; weights that stay as they are keep their number format.

    Where the weights are to be divided, a policy that the caller gave is copied: dividing changes
    the network in place.
    """
    steering.adapters.check()
    if steering.quantize != "none" and isinstance(policy, Policy):
        raise UsageError(
            "quantize: only a folder or hub name is read in 4 bits. Give one."
        )
    if isinstance(policy, Policy):
        if not steering.shard:
            return policy
        start = policy.trainable_copy()
        start.value_head = copy.deepcopy(policy.value_head)
        start.notes = list(policy.notes)
        return start
    return Policy.load(
        policy,
        dtype=steering.dtype if steering.lora else "float32",
        lora=steering.adapters,
    )


def _rewards(loading: dict[str, Any], **rewards: Any) -> dict[str, Reward]:
    """Return rewards by name, without those that are None. loading: as `reward_of` takes it."""
    return {
        name: reward_of(reward, **loading)
        for name, reward in rewards.items()
        if reward is not None
    }


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


class _Before(NamedTuple):
    """What the policy wrote at the start, and its figures: each name ends in `_before`."""

    batch: Batch
    figures: dict[str, Any]


def _train_and_measure(
    task: SteerTask,
    seed: int,
    out: str | Path | None,
    about: Callable[[], dict[str, Any]],
) -> tuple[Steered, dict[str, Tensor]]:
    """Measure, train, measure; return the best policy with its figures, and the last weights.

    about: gives further figures. Where Ctrl-C ends the run, the best policy so far is in `out`.
    """
    before = _measured_before(task)
    try:
        train(task, task.run, seed=seed)
    except Interrupted as stop:
        if out is not None:
            task.finish()
            words = _keep_best(task, before, Path(out), about)
            stop.args = (f"{stop} {words}",)
        raise
    last = on_host(task.weights())
    steered = _measured_after(task, before)
    steered.figures.update(about())
    return steered, last


@contextmanager
def _measuring() -> Iterator[None]:
    """Count the seconds of a block as measuring, and show that it goes on."""
    with stage("measuring"), progress("measuring", None, timed=True):
        yield


def _measured_before(task: SteerTask) -> _Before:
    """Measure the policy at the start, and begin what follows from it: scale and limits.

    Raises TrainingError for a reward that does not vary.
    """
    world = task.world
    with _measuring():
        batch = world.measure(task.steering.measured)
        metrics = task.measure(batch)
        check_varies(task, batch)
    figures = {f"{name}_before": value for name, value in metrics.items()}
    if world.scale.scaling.by == "reference":
        world.scale.include(batch.scores)
    task.watch.begin(batch.scores, pairs=figures["pairs_before"])
    task.say(f"before: {figures_line(metrics)}")
    return _Before(batch, figures)


def _keep_best(
    task: SteerTask,
    before: _Before,
    out: Path,
    about: Callable[[], dict[str, Any]],
) -> str:
    """Measure the best policy so far and save it with its card; return what to say.

    It is not saved where it cannot be measured: its KL may be beyond the limit.
    """
    task.say(
        "measuring the best policy so far, to save it; press Ctrl-C again to leave without it"
    )
    try:
        steered = _measured_after(task, before)
    except KeyboardInterrupt:
        return "The best policy so far is in the checkpoint only."
    except TastemakerError as error:
        return f"The best policy so far could not be measured and is not saved: {error}"
    steered.figures.update(about())
    steered.figures["stopped_because"] = (
        f"it was stopped from outside after step {task.progress.step:,}; --resume goes on"
    )
    if processes.is_first():
        steered.policy.save(out, card=_card(steered, is_last=False))
    return f"The best policy within the limit of the KL is in {out}."


def _measured_after(task: SteerTask, before: _Before) -> Steered:
    """Return the best policy with its figures; the start, where that one's KL is over the limit."""
    world = task.world
    progress = task.progress
    count = task.steering.measured
    task.put(task.best)
    world.policy.round_weights()
    with _measuring():
        after = world.measure(count)
        metrics = task.measure(after)
        if task.is_too_far(metrics):
            task.say(
                f"the best policy has a KL of {metrics['kl']:.1f} nats where it is measured: "
                "what is saved is the policy at the start"
            )
            task.put_reference()
            after = world.measure(count)
            metrics = task.measure(after)
        samples = _sample_pairs(task, before.batch, after)
    figures = dict(before.figures)
    for name, value in metrics.items():
        figures[f"{name}_after"] = value
    for name in ALWAYS:
        figures.setdefault(f"{name}_before", None)
        figures.setdefault(f"{name}_after", None)
    figures["steps"] = progress.step
    figures["best_step"] = progress.best_step
    figures["stopped_because"] = progress.stopped_because or DONE
    figures["kl_coef"] = task.controller.coef
    figures["kl"] = figures["kl_after"]
    limit = task.watch.limits.kl
    # JSON has no infinity
    figures["most_kl"] = limit if math.isfinite(limit) else None
    figures["distinct"] = figures["distinct_after"]
    figures["algorithm"] = task.algorithm.name
    return Steered(world.policy, figures, samples)


def compared(
    reference: Policy,
    policy: Policy,
    prompts: Sequence[Prompt | Row],
    rewards: Mapping[str, Any],
    *,
    sampling: Sampling,
    count: int,
    seed: int,
    caution: Caution = 0.0,
) -> dict[str, float]:
    """Measure two policies on completions of the same prompts: as `steer` does, but of any two.

    prompts, rewards: by name, as `steer` takes them; that of `reward` is the score, with `caution`.
    Returns each of them `_before`, of the reference, and `_after`, and the KL from the reference in
    nats a text.
    """
    texts, columns = divided(prompts)
    order = [number % len(texts) for number in range(count)]
    asked = [texts[number] for number in order]
    device = policy.module.device.type
    reference = reference.to(device)
    written = {}
    for when, writer in (("before", reference), ("after", policy)):
        written[when] = writer.complete(asked, sampling=sampling, seed=seed)
        if columns:
            rows = [columns[number] for number in order]
            written[when] = with_columns(written[when], rows)
    figures = {}
    for name, spec in rewards.items():
        is_score = name == "reward"
        cautious = {"caution": caution} if is_score else {}
        reward = reward_of(spec, **cautious, **beside(device))
        title = "score" if is_score else name
        for when, completions in written.items():
            scores = checked(reward, completions)
            figures[f"{title}_{when}"] = math.fsum(scores) / count
    of_reference = reference.log_probs(
        asked, written["after"], temperature=sampling.temperature
    )
    moved = 0.0
    for each, log_probs in zip(written["after"], of_reference, strict=True):
        moved += each.log_prob - float(log_probs.sum())
    figures["kl"] = moved / count
    return figures


def _sample_pairs(
    task: SteerTask, before: Batch, after: Batch, count: int = 8
) -> list[dict[str, Any]]:
    """Return completions of the same prompts before and after, with scores where there are any."""
    pairs = zip(
        before.completions[:count], after.completions[:count], strict=True
    )
    samples: list[dict[str, Any]] = []
    for old, new in pairs:
        sample: dict[str, Any] = {"prompt": plain(old.prompt)}
        sample["before"] = old.text
        sample["after"] = new.text
        if not isinstance(old.prompt, str):
            # the turns of a chat, so that others can answer it too
            sample["messages"] = [turn._asdict() for turn in old.prompt]
        samples.append(sample)
    for when, batch in (("before", before), ("after", after)):
        scores = batch.scores
        if "score" in task.watched:
            scores = shared_scores(
                task.watched["score"], batch.completions[:count]
            )
        for sample, score in zip(samples, scores, strict=False):
            sample[f"score_{when}"] = score
    return samples


def _load_finished(folder: Path, settings: Mapping[str, Any]) -> Steered:
    """Return what a finished run saved. Raises UsageError for other settings."""
    figures = json.loads((folder / STEERING).read_text(encoding="utf-8"))
    check_same(figures["settings"], settings)
    samples = figures.pop("samples")
    return Steered(Policy.load(folder), figures, samples)


@stage("saving")
def _save(
    steered: Steered, folder: Path, task: SteerTask, last: Mapping[str, Tensor]
) -> None:
    """Save the best policy, the last one in a subfolder, the figures and a card."""
    policy = steered.policy
    task.put(last)
    policy.save(folder / LAST, card=_card(steered, is_last=True))
    task.put(task.best)
    policy.save(folder, card=_card(steered, is_last=False))
    # last: a folder that has it, and a model, is that of a finished run
    content = steered.figures | {"samples": steered.samples}
    with writing_file(folder / STEERING) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")


def _card(steered: Steered, *, is_last: bool) -> str:
    """Return the card of a steered policy's folder."""
    figures = steered.figures
    settings = figures["settings"]
    changes = []
    for name, title in _CARD_FIGURES.items():
        before = figures.get(f"{name}_before")
        if before is not None:
            changes.append((title, before, figures[f"{name}_after"]))
    samples = []
    for sample in steered.samples[:_CARD_SAMPLES]:
        texts = [excerpt(sample[when], 200) for when in ("before", "after")]
        samples.append((excerpt(str(sample["prompt"]), 80), *texts))
    return filled_in(
        _TEMPLATE,
        base=Path(settings["start"]).name,
        reward=settings["reward"],
        figures=figures,
        kl_cost=settings["kl"],
        changes=changes,
        samples=samples,
        is_last=is_last,
        kind=type(steered.policy.module).__name__,
        parameters=steered.policy.parameters,
    )
