"""Judged texts to learn from: no scores, only the order of texts. And what any teacher must do.

A step is some judgements, each with all of its texts: a ranking of K texts is K rows. The policy
writes only to be measured. The reference reads every text once.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, compress
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.data.judgements import Judgement, Prompt
from tastemaker.data.splitting import related, split
from tastemaker.errors import DataError
from tastemaker.fast.batching import by_length
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.tokenise import Reader
from tastemaker.progress import progress
from tastemaker.reward.division import MOST_HELD_OUT
from tastemaker.rl.algorithms.base import (
    Actor,
    Algorithm,
    Compared,
    Experience,
    LearnsFromJudgements,
    Metrics,
)
from tastemaker.rl.text.settings import PREFERENCE_AIM, Aim
from tastemaker.rl.text.world import (
    Answers,
    Batch,
    TextActor,
    TextWorld,
    in_random_order,
)
from tastemaker.train.gradients import whole
from tastemaker.train.run import Say

_READ = 1024
"""Judgements that are tokenized together."""

G = TypeVar("G")
"""What a step is learned from: completions, or judged texts."""


class Teacher(Protocol[G]):
    """What a policy learns from: its own scored completions (`TextWorld`), or judged texts."""

    aim: ClassVar[Aim]

    @property
    def units(self) -> int:
        """How many prompts or judgements a step has, which processes can share."""
        ...

    def gather(self, step: int, weight: float) -> G:
        """Return what a step is learned from. weight: the coefficient of the KL cost."""
        ...

    def credit(
        self, algorithm: Algorithm[Any], actor: Actor, batch: G
    ) -> Experience:
        """Return the rows with their advantages."""
        ...

    def to_measure(self, batch: G, *, is_last: bool) -> Batch | None:
        """Return the completions to measure, or None. is_last: the step ends a window."""
        ...

    def held_out(self, algorithm: Algorithm[Any]) -> Metrics:
        """Return measurements on held-out judgements, if there are any."""
        ...


def check_compares(judgements: Sequence[Judgement], name: str) -> None:
    """Raise DataError if no judgement compares texts."""
    if any(judgement.ranks for judgement in judgements):
        return
    kinds = Counter(judgement.kind for judgement in judgements)
    counts = ", ".join(f"{count:,} {kind}s" for kind, count in kinds.items())
    raise DataError(
        f"{name}: {counts or 'no judgements'}, "
        "and nothing that compares texts: there are no pairs in it. "
        "Give comparisons or rankings, or "
        "learn a reward model from it (`tastemaker fit`) and steer by that."
    )


@dataclass
class JudgedPairs:
    """One judgement in tokens.

    references: log π of each text's tokens under the reference, once it has read them.
    """

    prompt: list[int]
    texts: list[NDArray[np.int32]]
    tiers: list[int]
    weight: float
    references: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        """How many pairs of texts it orders."""
        return sum(a != b for a, b in combinations(self.tiers, 2))


def read_judged(
    judgements: Sequence[Judgement], reader: Reader, context: int
) -> tuple[list[JudgedPairs], dict[str, int]]:
    """Return the judgements that compare texts within the context, and what was left out.

    left out: counts, by their description. A ranking keeps its other texts where one does not fit.
    A prompt of text is continued, a chat is answered.
    """
    weighted = [judgement for judgement in judgements if judgement.weight > 0]
    too_long = ties = 0
    fitting = []
    for start in range(0, len(weighted), _READ):
        for judged in _tokenized(weighted[start : start + _READ], reader):
            fits = [
                len(judged.prompt) + len(text) <= context
                for text in judged.texts
            ]
            too_long += fits.count(False)
            texts = list(compress(judged.texts, fits))
            tiers = list(compress(judged.tiers, fits))
            shortened = JudgedPairs(judged.prompt, texts, tiers, judged.weight)
            ties += math.comb(len(tiers), 2) - shortened.pairs
            if shortened.pairs:
                fitting.append(shortened)
    left_out = {
        "of weight 0": len(judgements) - len(weighted),
        f"texts longer than the {context:,} tokens that the policy reads": too_long,
        "pairs that nobody ordered (ties)": ties,
    }
    return fitting, {
        words: count for words, count in left_out.items() if count
    }


def _tokenized(
    judgements: Sequence[Judgement], reader: Reader
) -> Iterator[JudgedPairs]:
    """Yield judgements as tokens, whatever their length."""
    prompts = reader.prompts(
        ["" if j.prompt is None else j.prompt for j in judgements]
    )
    texts = iter(
        reader.completions(
            [text for j in judgements for text in j.texts], ended=False
        )
    )
    turn_end = reader.turn_end
    for judgement, prompt in zip(judgements, prompts, strict=True):
        is_text = isinstance(judgement.prompt, str | None)
        end = reader.end if is_text else turn_end
        tokens = [
            np.asarray([*next(texts), end], dtype=np.int32)
            for _ in judgement.texts
        ]
        yield JudgedPairs(
            prompt, tokens, list(judgement.ranks), judgement.weight
        )


@dataclass
class JudgedTexts:
    """Judged texts as a policy's teacher. Made by `of`, where the reference reads them.

    world: where the policy writes, to be measured. train: learned from, in a new random order each
    time all were used. measured: never learned from. count: judgements a step. written: completions
    that the policy writes at the end of a window.
    """

    aim: ClassVar[Aim] = PREFERENCE_AIM

    world: TextWorld
    train: list[JudgedPairs]
    measured: list[JudgedPairs]
    count: int
    written: int

    @staticmethod
    def of(
        world: TextWorld,
        train: list[JudgedPairs],
        measured: list[JudgedPairs],
        *,
        at_once: int,
    ) -> "JudgedTexts":
        """Return the teacher; a step has about as many texts as the world's batch.

        at_once: tokens that the reference reads together. The weights of the training judgements
        are scaled to a mean of 1.
        """
        mean = sum(judged.weight for judged in train) / len(train)
        for judged in train:
            judged.weight /= mean
        actor = TextActor(
            world.reference, temperature=world.sampling.temperature
        )
        _store_references([*train, *measured], actor, at_once)
        texts = sum(len(judged.texts) for judged in train)
        count = max(1, round(world.batch * len(train) / texts))
        return JudgedTexts(world, train, measured, count, world.batch)

    @property
    def units(self) -> int:
        """How many judgements a step has."""
        return self.count

    def gather(self, step: int, weight: float) -> Compared:
        """Return the judgements of a step."""
        numbers = range(step * self.count, (step + 1) * self.count)
        order = in_random_order(numbers, len(self.train), self.world.seed)
        return self.compared([self.train[number] for number in order])

    def credit(
        self, algorithm: Algorithm[Any], actor: Actor, batch: Compared
    ) -> Compared:
        """Return the judgements; their order is the credit."""
        return batch

    def to_measure(self, batch: Compared, *, is_last: bool) -> Batch | None:
        """Return completions at a window's last step, always with the same random numbers."""
        return self.world.measure(self.written) if is_last else None

    def held_out(self, algorithm: Algorithm[Any]) -> Metrics:
        """Return how well the policy agrees with the held-out judgements."""
        # as the plan checked
        assert isinstance(algorithm, LearnsFromJudgements)
        world = self.world
        actor = TextActor(world.policy, temperature=world.sampling.temperature)
        sums: dict[str, float] = {}
        total = 0.0
        with whole(world.policy):
            for start in range(0, len(self.measured), self.count):
                part = self.measured[start : start + self.count]
                compared = self.compared(part)
                answers = compared.trajectories
                assert isinstance(answers, Answers)  # as `compared` makes them
                log_probs = actor.log_probs(answers, compared.is_action)
                weight = sum(judged.weight for judged in part)
                for name, value in algorithm.agreement(
                    compared, log_probs
                ).items():
                    sums[name] = sums.get(name, 0.0) + weight * value
                total += weight
        return {
            f"held_out_{name}": value / total for name, value in sums.items()
        }

    def compared(self, judgements: Sequence[JudgedPairs]) -> Compared:
        """Return judgements as rows, those of one judgement in one group."""
        prompts: list[tuple[int, ...]] = []
        texts: list[tuple[int, ...]] = []
        references: list[NDArray[np.float32]] = []
        groups: list[int] = []
        tiers: list[int] = []
        weights: list[float] = []
        for number, judged in enumerate(judgements):
            prompts += [tuple(judged.prompt)] * len(judged.texts)
            texts += [tuple(text.tolist()) for text in judged.texts]
            references += judged.references
            groups += [number] * len(judged.texts)
            tiers += judged.tiers
            weights += [judged.weight / len(judgements)] * len(judged.texts)
        is_action = _is_action(list(map(len, texts)))
        reference = torch.zeros(is_action.shape)
        reference[is_action] = torch.from_numpy(np.concatenate(references))
        device = self.world.policy.module.device
        return Compared(
            Answers(tuple(prompts), tuple(texts)),
            is_action=is_action.to(device),
            log_probs=reference.to(device),
            reference=reference.to(device),
            advantages=torch.zeros_like(reference, device=device),
            weights=(is_action * torch.tensor(weights)[:, None]).to(device),
            groups=torch.tensor(groups, device=device),
            tiers=torch.tensor(tiers, device=device),
        )


def _store_references(
    judgements: Sequence[JudgedPairs], actor: TextActor, at_once: int
) -> None:
    """Store the reference's log-probabilities of every text in its judgement."""
    prompts: list[list[int]] = []
    texts: list[NDArray[np.int32]] = []
    for judged in judgements:
        prompts += [judged.prompt] * len(judged.texts)
        texts += judged.texts
    lengths = [len(p) + len(t) for p, t in zip(prompts, texts, strict=True)]
    references: dict[int, NDArray[np.float32]] = {}
    device = actor.policy.module.device
    with progress(
        "the reference reads the judged texts", len(texts)
    ) as advance:
        for part in by_length(lengths, at_once):
            answers = Answers(
                tuple(tuple(prompts[i]) for i in part),
                tuple(tuple(texts[i].tolist()) for i in part),
            )
            is_action = _is_action([len(texts[i]) for i in part]).to(device)
            values = actor.log_probs(answers, is_action).float().cpu().numpy()
            for i, row in zip(part, values, strict=True):
                references[i] = row[: len(texts[i])].copy()
            advance(len(part), "")
    first = 0
    for judged in judgements:
        numbers = range(first, first + len(judged.texts))
        judged.references = [references[number] for number in numbers]
        first += len(judged.texts)


def _is_action(lengths: Sequence[int]) -> Tensor:
    """Return which places of rows of these lengths hold a token, bool [B, T]."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def pairs_in_words(judgements: Sequence[JudgedPairs]) -> str:
    """Return how many pairs some judgements have."""
    pairs = sum(judged.pairs for judged in judgements)
    return f"{pairs:,} pairs of {len(judgements):,} judgements"


def split_by_prompt(
    judgements: Sequence[Judgement], share: float, seed: int, say: Say
) -> tuple[list[Judgement], list[Judgement]]:
    """Split judgements by prompt; at least 1 and at most about 1,000 are held out."""
    ranked = [judgement for judgement in judgements if judgement.ranks]
    share = min(share, MOST_HELD_OUT / len(ranked))
    share = min(max(share, 1 / len(ranked)), 0.5)
    relatives = related(ranked)
    if str(relatives):
        say(str(relatives))
    return split(ranked, held_out=share, seed=seed, relatives=relatives)


def prompts_of(
    judgements: Sequence[Judgement], policy: Policy
) -> list[Prompt]:
    """Return the judgements' prompts that leave room for an answer; "" where none does."""
    prompts = list(
        dict.fromkeys("" if j.prompt is None else j.prompt for j in judgements)
    )
    chosen: list[Prompt] = []
    for prompt, ids in zip(
        prompts, policy.reader.prompts(prompts), strict=True
    ):
        if len(ids) < policy.context:
            chosen.append(prompt)
    return chosen or [""]
