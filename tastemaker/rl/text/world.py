"""The world of text: the policy completes prompts; each completion has a reward and a KL cost.

Prompts come from a file, or are the first tokens of texts.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import Prompt
from tastemaker.data.texts import read_prompts
from tastemaker.errors import DataError, UsageError
from tastemaker.gpt.policy import Completion, Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.text_sources import Documents
from tastemaker.gpt.tokenise import Reader, Shuffled
from tastemaker.maths.rl import k1, masked_sum, rescale_keeping_mean
from tastemaker.rl.algorithms.base import Actor, Algorithm, Experience, Metrics, Rollout
from tastemaker.rl.text.actor import Answers, TextActor, spread
from tastemaker.rl.text.kl import KL, Scale
from tastemaker.rl.text.rewards import Reward, checked
from tastemaker.rl.text.stopping import PLEASE, Aim

_MEASURED = 2**31
"""The number of the first prompt that is only measured on: no training step gets this far."""


@dataclass(frozen=True)
class Batch:
    """One gathering of completions.

    scores: of the reward, as it gave them [B]; none where there is no reward. kl: log π − log ref
    of each completion [B], nats.
    """

    completions: list[Completion]
    rollout: Rollout
    scores: list[float]
    kl: Tensor

    @cached_property
    def texts(self) -> list[str]:
        """What was written."""
        return [completion.text for completion in self.completions]


@dataclass
class TextWorld:
    """Where a policy writes and is scored, and learns from that.

    reward: None where the policy writes only to be watched. prompts: taken in a random order of
    their own each time around. samples: completions of one prompt in a rollout, so many prompts
    that they make `batch`. scale: how scores become rewards. whiten_rewards: all tokens' rewards,
    KL included, with standard deviation 1 and their mean kept.
    """

    aim: ClassVar[Aim] = PLEASE

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

    def gather(self, step: int, weight: float) -> Batch:
        """Write, score and price what the policy writes at some step, with KL at some weight."""
        count = self.batch // self.samples
        prompts = self._prompts(range(step * count, (step + 1) * count))
        completions = self.policy.complete(
            prompts,
            samples=self.samples,
            sampling=self.sampling,
            seed=self.seed,
            first=step * count,
        )
        return self.priced(completions, weight)

    def credit(
        self, algorithm: Algorithm[Any], actor: Actor, gathered: Batch
    ) -> Experience:
        """Return the experience: the rollout with the algorithm's advantages."""
        experience: Experience = algorithm.credit(actor, gathered.rollout)
        return experience

    def shown(self, gathered: Batch, *, is_last: bool) -> Batch:
        """Return what was written: what is learned from is what is watched."""
        return gathered

    def held_out(self, algorithm: Algorithm[Any]) -> Metrics:
        """Return nothing: all that is written is learned from."""
        return {}

    def measure(self, count: int) -> Batch:
        """Write and score texts to measure; every call uses the same random numbers."""
        prompts = self._prompts(range(count))
        completions = self.policy.complete(
            prompts, sampling=self.sampling, seed=self.seed, first=_MEASURED
        )
        return self.priced(completions, 0.0)

    def priced(self, completions: list[Completion], weight: float) -> Batch:
        """Return completions with their scores and prices, as a rollout."""
        scores = checked(self.reward, completions) if self.reward is not None else []
        length, count = self.sampling.max_tokens, len(completions)
        lengths = torch.tensor([len(c.ids) for c in completions])
        is_action = torch.arange(length) < lengths[:, None]
        log_probs = _spread((c.log_probs for c in completions), is_action)
        values = _spread(
            (c.values or (0.0,) * len(c.ids) for c in completions), is_action
        )
        prompts = self.policy.reader.prompts([c.prompt for c in completions])
        did = Answers(tuple(map(tuple, prompts)), tuple(c.ids for c in completions))
        reference = self._reference(did, is_action)
        rewards = torch.zeros(count, length)
        if scores:
            rewards[torch.arange(count), lengths - 1] = torch.tensor(
                self.scale.applied(scores), dtype=torch.float32
            )
        if self.kl.where == "reward":
            rewards -= weight * self.kl.costs(log_probs, reference)
        if self.whiten_rewards:
            rewards = rescale_keeping_mean(rewards, is_action)
        device = self.policy.module.device
        ended, groups = torch.ones(count, dtype=torch.bool), self._groups(count)
        tensors = (
            is_action,
            log_probs,
            reference,
            rewards,
            ended,
            groups,
            values,
            torch.zeros(count),
        )
        rollout = Rollout(did, *(x.to(device) for x in tensors))
        return Batch(
            completions,
            rollout,
            scores,
            masked_sum(k1(log_probs, reference), is_action, 1),
        )

    def _reference(self, did: Answers, is_action: Tensor) -> Tensor:
        actor = TextActor(self.reference, temperature=self.sampling.temperature)
        return actor.log_probs(did, is_action.to(self.reference.module.device)).cpu()

    def _groups(self, count: int) -> Tensor:
        return torch.arange(count) // self.samples

    def _prompts(self, numbers: Iterable[int]) -> list[Prompt]:
        """Return the prompts that come at some numbers."""
        return [
            self.prompts[number]
            for number in in_random_order(numbers, len(self.prompts), self.seed)
        ]


def _spread(rows: Iterable[Sequence[float]], is_action: Tensor) -> Tensor:
    """Return the numbers of each row in their places, float32 [B, T], 0 elsewhere."""
    numbers = np.concatenate([np.array(row, dtype=np.float32) for row in rows])
    return spread(torch.from_numpy(numbers), is_action)


def in_random_order(numbers: Iterable[int], count: int, seed: int) -> list[int]:
    """Return the items at some numbers of an endless sequence of shuffles of `count` items."""
    epochs, places = np.divmod(np.fromiter(numbers, np.int64), count)
    items = np.empty_like(places)
    for epoch in np.unique(epochs) if count > 1 else ():
        is_in_epoch = epochs == epoch
        shuffled = Shuffled(count, seed=seed, epoch=int(epoch))
        items[is_in_epoch] = shuffled.at(places[is_in_epoch])
    return (items if count > 1 else places).tolist()  # type: ignore[no-any-return]


G = TypeVar("G")


class Teacher(Protocol[G]):
    """What a policy learns from: its own scored texts (`TextWorld`), or judged texts."""

    aim: ClassVar[Aim]

    def gather(self, step: int, weight: float) -> G:
        """Return what a step is learned from, with KL at some weight."""
        ...

    def credit(
        self, algorithm: Algorithm[Any], actor: Actor, gathered: G
    ) -> Experience:
        """Return who deserves what."""
        ...

    def shown(self, gathered: G, *, is_last: bool) -> Batch | None:
        """Return the completions to measure, or None. is_last: the step ends a window."""
        ...

    def held_out(self, algorithm: Algorithm[Any]) -> Metrics:
        """Return what is measured where nothing is learned."""
        ...


def prompts_from(
    source: Path, *, limit: int, prompt_column: str | None = None, chat: bool = False
) -> list[Prompt]:
    """Return the first prompts of a file: one a line or in a column; with chat, messages.

    Raises DataError for a file without prompts.
    """
    return list(
        islice(read_prompts(source, prompt_column=prompt_column, chat=chat), limit)
    )


def openings_from(
    source: str,
    reader: Reader,
    length: tuple[int, int],
    *,
    limit: int,
    seed: int,
    split: str | None = None,
) -> list[str]:
    """Return the openings of the first texts of what `pretrain` reads.

    Raises DataError for a source without texts, UsageError for lengths that cannot be.
    """
    texts = (example.text for example in Documents([source], split=split))
    prompts = list(openings(islice(texts, limit), reader, length, seed=seed))
    if not prompts:
        raise DataError(f"{source}: no texts in it.")
    return prompts


def openings(
    texts: Iterable[str], reader: Reader, length: tuple[int, int], *, seed: int
) -> Iterator[str]:
    """Yield the first tokens of texts, so many from the shortest to the longest length at random.

    A character that the last token only begins is left out. Raises UsageError for lengths that
    cannot be.
    """
    shortest, longest = length
    if not 1 <= shortest <= longest:
        raise UsageError(
            f"opening {shortest},{longest}: two whole numbers, at least 1, the smaller first."
        )
    draw = random.Random(f"openings {seed}")
    for text in texts:
        (ids,) = reader.completions([text], ended=False)
        yield reader.text(ids[: draw.randint(shortest, longest)]).rstrip(
            "\N{REPLACEMENT CHARACTER}"
        )
