"""The world of text: a policy completes prompts; each completion has a reward and a KL cost.

`TextActor` shows a language model to an algorithm: log-probabilities and values of tokens. Index t
always means token t of a completion. A network's output at one position predicts the next token;
this shift by one is made in `Answers` and nowhere else.

`TextWorld` writes and scores completions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from tastemaker import processes
from tastemaker.data.judgements import Prompt
from tastemaker.fast.gpt_forward import Pass, Texts, forward
from tastemaker.fast.gpt_layers import passes_at_once
from tastemaker.fast.processor import like_parts, side_by_side
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.tokenise import Shuffled
from tastemaker.gpt.writing import Completion
from tastemaker.maths.rl import (
    group_centred,
    group_varies,
    k1,
    masked_sum,
    rescale_keeping_mean,
)
from tastemaker.rl.algorithms.base import (
    ActionEvaluation,
    Actor,
    Algorithm,
    Compared,
    Experience,
    Metrics,
    Rollout,
)
from tastemaker.rl.text.elsewhere import Elsewhere, Mismatch
from tastemaker.rl.text.prompts import with_columns
from tastemaker.rl.text.rewards import Reward, shared_scores
from tastemaker.rl.text.settings import SCORE_AIM, Aim
from tastemaker.rl.text.shaping import KL, Scale
from tastemaker.train.gradients import whole

_AT_ONCE = 8192
"""Tokens that go through the network at once where no gradients are needed."""
_MEASURED = 2**31
"""The number of the first prompt that only measures: no training step gets this far."""


# --- the policy as an algorithm uses it


@dataclass(frozen=True)
class Answers:
    """Prompts and their completions, as tokens."""

    prompts: tuple[tuple[int, ...], ...]
    tokens: tuple[tuple[int, ...], ...]

    def select(self, rows: Tensor) -> Self:
        """Return some of them."""
        numbers = rows.tolist()
        return type(self)(
            tuple(self.prompts[i] for i in numbers),
            tuple(self.tokens[i] for i in numbers),
        )

    def sizes(self) -> Tensor:
        """Return the number of tokens of each row."""
        return torch.tensor(
            [
                len(p) + len(t)
                for p, t in zip(self.prompts, self.tokens, strict=True)
            ]
        )

    def single_actions(self, is_action: Tensor) -> None:
        """Return None: a token depends on all tokens before it, so a row stays whole."""

    @cached_property
    def inputs(self) -> list[list[int]]:
        """The tokens of each row that the network reads: all but the last."""
        return [
            [*p, *t[:-1]]
            for p, t in zip(self.prompts, self.tokens, strict=True)
        ]

    @cached_property
    def positions(self) -> Tensor:
        """The positions in the inputs, end to end, whose logits predict the completions' tokens.

        int64 [n], one for each token.
        """
        positions = []
        start = 0
        for prompt, tokens in zip(self.prompts, self.tokens, strict=True):
            first = start + len(prompt) - 1
            positions.append(torch.arange(first, first + len(tokens)))
            start += len(prompt) + len(tokens) - 1
        return torch.cat(positions)

    @cached_property
    def targets(self) -> Tensor:
        """The tokens of the completions, end to end, int64 [n]."""
        return torch.tensor(
            [token for tokens in self.tokens for token in tokens]
        )


class TextActor:
    """A language model as an algorithm uses it.

    temperature: divides the logits, as it did when the text was written. Dropout is off except
    within `dropping_out`: with dropout, the first pass's ratio to the policy that acted is not 1.
    """

    def __init__(self, policy: Policy, *, temperature: float = 1.0) -> None:
        self.policy = policy
        self.temperature = temperature

    @property
    def has_critic(self) -> bool:
        """Whether the policy has a value head."""
        return self.policy.value_head is not None

    @property
    def threads(self) -> int:
        """The number of parallel passes; 1 with dropout, whose random numbers all threads share."""
        return (
            1
            if self.policy.module.training
            else passes_at_once(self.policy.module)
        )

    def evaluate(
        self, trajectories: Answers, is_action: Tensor
    ) -> ActionEvaluation:
        """Return log-probabilities, entropies and values of the tokens [b, T], with gradients."""
        outputs = self._forward(trajectories)
        logits = outputs.logits.float() / self.temperature
        vocabulary = torch.log_softmax(logits, -1)  # [n, V]
        targets = trajectories.targets.to(vocabulary.device)
        log_probs = vocabulary.gather(1, targets[:, None])[:, 0]
        entropy = -(vocabulary.exp() * vocabulary).sum(-1)
        values = torch.zeros_like(log_probs)
        if self.policy.value_head is not None:
            values = self.policy.value_head(outputs.hidden.float())
        return ActionEvaluation(
            unpacked(log_probs, is_action),
            unpacked(entropy, is_action),
            unpacked(values, is_action),
        )

    def log_probs(self, trajectories: Answers, is_action: Tensor) -> Tensor:
        """Return the log-probabilities of the tokens [b, T], without gradients."""
        parts = like_parts(trajectories.sizes(), _AT_ONCE, self.threads)
        calls = [
            partial(
                self._part_log_probs,
                trajectories.select(rows),
                is_action[rows],
            )
            for rows in parts
        ]
        log_probs = torch.cat(list(side_by_side(calls, self.threads)))
        return log_probs[torch.argsort(torch.cat(parts))]

    @torch.no_grad()
    def _part_log_probs(self, answers: Answers, is_action: Tensor) -> Tensor:
        """Return the log-probabilities of some rows' tokens [b, T]."""
        logits = self._forward(answers).logits.float() / self.temperature
        losses = nn.functional.cross_entropy(
            logits, answers.targets.to(logits.device), reduction="none"
        )
        return unpacked(-losses, is_action)

    def _forward(self, answers: Answers) -> Pass:
        """Return the network's outputs at the positions that predict the completions' tokens."""
        module = self.policy.module
        device = self.policy.module.device
        texts = Texts.of(answers.inputs, device)
        with self.policy.computing():
            return forward(module, texts, answers.positions.to(device))

    def policy_parameters(self) -> list[nn.Parameter]:
        """Return the network's."""
        return [p for p in self.policy.module.parameters() if p.requires_grad]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the value head's."""
        head = self.policy.value_head
        return [] if head is None else list(head.parameters())


@contextmanager
def dropping_out(policy: Policy, seed: int) -> Iterator[None]:
    """Switch the policy's dropout on, drawn by a seed, until the block ends."""
    device = policy.module.device
    with torch.random.fork_rng(
        devices=[device] if device.type == "cuda" else []
    ):
        torch.manual_seed(seed)
        policy.module.train()
        try:
            yield
        finally:
            policy.module.eval()


def unpacked(values: Tensor, is_action: Tensor) -> Tensor:
    """Return numbers of actions [n], end to end, at their actions' places [B, T]; 0 elsewhere."""
    zeros = torch.zeros(
        is_action.shape, dtype=values.dtype, device=values.device
    )
    return zeros.masked_scatter(is_action, values)


# --- writing and scoring


@dataclass(frozen=True)
class Batch:
    """The completions of one step.

    scores: as the reward gave them [B]; empty where there is no reward. kl: log π − log ref of each
    completion [B], nats. mismatch: of the writer that wrote them; None where the policy did.
    """

    completions: list[Completion]
    rollout: Rollout
    scores: list[float]
    kl: Tensor
    mismatch: Mismatch | None = None

    @cached_property
    def texts(self) -> list[str]:
        """What was written."""
        return [completion.text for completion in self.completions]


@dataclass
class TextWorld:
    """Where a policy writes completions that are scored.

    It is also the teacher of a policy that learns from its own scored completions.

    reward: None where completions are only measured. prompts: taken in a new random order each time
    all were used. columns: what else the row of each prompt holds, for the reward; may be empty.
    batch: completions of a rollout. samples: how many of them complete one prompt.
    scale: how scores become rewards. whiten_rewards: divide the rewards of all tokens, KL included,
    by their standard deviation; their mean is kept. writer: what writes in the policy's place.
    """

    aim: ClassVar[Aim] = SCORE_AIM

    policy: Policy
    reference: Policy
    reward: Reward | None
    prompts: Sequence[Prompt]
    sampling: Sampling
    kl: KL
    scale: Scale
    batch: int
    samples: int
    seed: int
    whiten_rewards: bool = False
    columns: Sequence[Mapping[str, Any]] = ()
    writer: Elsewhere | None = None

    @property
    def units(self) -> int:
        """How many prompts a step has."""
        return self.batch // self.samples

    def gather(self, step: int, weight: float) -> Batch:
        """Write and score the completions of a step. weight: the coefficient of the KL cost."""
        count = self.units
        completions = self._written(
            range(step * count, (step + 1) * count),
            first=step * count,
            samples=self.samples,
        )
        return self._scored(completions, weight)

    def credit(
        self, algorithm: Algorithm[Any], actor: Actor, batch: Batch
    ) -> Experience:
        """Return the experience: the rollout with the algorithm's advantages."""
        rollout = batch.rollout
        experience: Experience = algorithm.credit(actor, rollout)
        if batch.mismatch and not isinstance(experience, Compared):
            ratios = batch.mismatch.ratios.to(experience.weights.device)
            weights = experience.weights * ratios
            experience = replace(experience, weights=weights)
        if not algorithm.divides_by_group:
            return experience
        # Equal scores differ by the cost of KL alone. Divided by its own deviation, that would
        # weigh as much as any reward.
        scores = torch.tensor(batch.scores, device=rollout.groups.device)
        is_flat = ~group_varies(scores, rollout.groups)
        centred = group_centred(rollout.scores, rollout.groups)[:, None]
        centred = centred.where(rollout.is_action, torch.zeros_like(centred))
        return replace(
            experience,
            advantages=torch.where(
                is_flat[:, None], centred, experience.advantages
            ),
        )

    def to_measure(self, batch: Batch, *, is_last: bool) -> Batch:
        """Return the step's completions: the ones that the policy learns from are measured."""
        return batch

    def held_out(self, algorithm: Algorithm[Any]) -> Metrics:
        """Return nothing: the policy learns from all that it writes."""
        return {}

    def measure(self, count: int) -> Batch:
        """Write and score completions to measure; every call uses the same random numbers."""
        return self._scored(self._to_measure(count), 0.0)

    def measured_kl(self, count: int) -> float:
        """Return the mean KL of the completions that `measure` writes, nats; none is scored."""
        completions = self._to_measure(count)
        answers, is_action, log_probs = self._answered(completions)
        if self.writer is not None:
            by_policy, _ = self._compared(answers, is_action, log_probs)
            log_probs = by_policy.log_probs
        reference = self._log_probs_of(self.reference, answers, is_action)
        kl = float(masked_sum(k1(log_probs, reference), is_action, 1).mean())
        return processes.from_first(kl)

    def more_scores(self, count: int, number: int) -> list[float]:
        """Return the scores of other completions than `measure` writes; number: 1, 2 …"""
        assert self.reward is not None
        numbers = range(number * count, (number + 1) * count)
        completions = self._written(numbers, first=_MEASURED + numbers.start)
        return shared_scores(self.reward, completions)

    def _to_measure(self, count: int) -> list[Completion]:
        """Return completions of the first prompts, always drawn by the same random numbers."""
        return self._written(range(count), first=_MEASURED)

    def _written(
        self, numbers: range, *, first: int, samples: int = 1
    ) -> list[Completion]:
        """Return completions of the prompts that come at some numbers.

        first: the number that the first one's random numbers depend on. Each process writes a
        stretch of them.
        """
        order = in_random_order(numbers, len(self.prompts), self.seed)
        complete = self.policy.complete
        if self.writer is not None:
            complete = partial(self.writer.complete, self.policy)
        part = processes.stretch(len(order))
        with whole(self.policy):
            by_process = processes.gathered(
                lambda: complete(
                    [self.prompts[order[place]] for place in part],
                    samples=samples,
                    sampling=self.sampling,
                    seed=self.seed,
                    first=first + part.start,
                )
            )
        completions = [c for written in by_process for c in written]
        if not self.columns:
            return completions
        rows = [self.columns[i] for i in order for _ in range(samples)]
        return with_columns(completions, rows)

    def _compared(
        self, answers: Answers, is_action: Tensor, log_probs: Tensor
    ) -> tuple[ActionEvaluation, Mismatch]:
        """Return the policy's own pass over what a writer wrote, and how far they are apart."""
        assert self.writer is not None
        actor = TextActor(self.policy, temperature=self.sampling.temperature)
        return self.writer.compare(actor, answers, is_action, log_probs)

    def _answered(
        self, completions: Sequence[Completion]
    ) -> tuple[Answers, Tensor, Tensor]:
        """Return completions as tokens, `is_action` and their log-probabilities [B, T]."""
        prompts = self.policy.reader.prompts([c.prompt for c in completions])
        answers = Answers(
            tuple(map(tuple, prompts)), tuple(c.ids for c in completions)
        )
        lengths = torch.tensor([len(c.ids) for c in completions])
        is_action = torch.arange(self.sampling.max_tokens) < lengths[:, None]
        if self.policy.adapted is not None:
            # of the pass that learns: its ratio to them, and the KL, are exact
            log_probs = self._log_probs_of(self.policy, answers, is_action)
        else:
            log_probs = _unpacked_rows(
                (c.log_probs for c in completions), is_action
            )
        return answers, is_action, log_probs

    def _scored(self, completions: list[Completion], weight: float) -> Batch:
        """Return completions with their scores, and as a rollout with rewards.

        weight: the coefficient of the KL cost.
        """
        scores = (
            shared_scores(self.reward, completions)
            if self.reward is not None
            else []
        )
        count = len(completions)
        answers, is_action, log_probs = self._answered(completions)
        values = _unpacked_rows(
            (c.values or (0.0,) * len(c.ids) for c in completions), is_action
        )
        mismatch = None
        if self.writer is not None:
            by_policy, mismatch = self._compared(answers, is_action, log_probs)
            log_probs, values = by_policy.log_probs, by_policy.values
        reference = self._log_probs_of(self.reference, answers, is_action)
        kl = masked_sum(k1(log_probs, reference), is_action, 1)
        rewards = torch.zeros(is_action.shape)
        if scores:
            last_tokens = torch.arange(count), is_action.sum(1) - 1
            rewards[last_tokens] = torch.tensor(
                self.scale.applied(scores), dtype=torch.float32
            )
        if self.kl.where == "reward":
            rewards -= weight * self.kl.costs(log_probs, reference)
            rewards *= self.kl.share_of_rewards(weight, float(kl.mean()))
        if self.whiten_rewards:
            rewards = rescale_keeping_mean(rewards, is_action)
        device = self.policy.module.device
        rollout = Rollout(
            answers,
            is_action=is_action.to(device),
            log_probs=log_probs.to(device),
            reference=reference.to(device),
            rewards=rewards.to(device),
            terminated=torch.ones(count, dtype=torch.bool, device=device),
            groups=torch.arange(count, device=device) // self.samples,
            values=values.to(device),
            after=torch.zeros(count, device=device),
        )
        return Batch(completions, rollout, scores, kl, mismatch)

    def _log_probs_of(
        self, policy: Policy, answers: Answers, is_action: Tensor
    ) -> Tensor:
        """Return a policy's log-probabilities of the tokens [B, T], on the CPU."""
        actor = TextActor(policy, temperature=self.sampling.temperature)
        is_action = is_action.to(policy.module.device)
        if processes.count() == 1:
            return actor.log_probs(answers, is_action).cpu()
        log_probs = torch.zeros(is_action.shape)
        part = processes.share(answers.sizes().tolist())
        with whole(policy):
            if part:
                rows = torch.tensor(part)
                log_probs[rows] = actor.log_probs(
                    answers.select(rows), is_action[rows]
                ).cpu()
        return processes.summed(log_probs)


def _unpacked_rows(
    rows: Iterable[Sequence[float]], is_action: Tensor
) -> Tensor:
    """Return the numbers of each row at their actions' places, float32 [B, T]; 0 elsewhere."""
    numbers = np.concatenate([np.array(row, dtype=np.float32) for row in rows])
    return unpacked(torch.from_numpy(numbers), is_action)


def in_random_order(
    numbers: Iterable[int], count: int, seed: int
) -> list[int]:
    """Return the items at some numbers of an endless sequence of shuffles of `count` items."""
    epochs, places = np.divmod(np.fromiter(numbers, np.int64), count)
    items = np.empty_like(places)
    for epoch in np.unique(epochs) if count > 1 else ():
        is_in_epoch = epochs == epoch
        shuffled = Shuffled(count, seed=seed, epoch=int(epoch))
        items[is_in_epoch] = shuffled.at(places[is_in_epoch])
    return (items if count > 1 else places).tolist()  # type: ignore[no-any-return]
