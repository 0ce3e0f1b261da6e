"""Judged texts to learn from: no scores, only the order of texts.

A step is some judgements, each with all of its texts: a ranking of K texts is K rows. The policy
writes only to be watched. The reference reads every text once.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, compress
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tastemaker.data.judgements import Judgement
from tastemaker.errors import DataError
from tastemaker.fast.batching import by_length
from tastemaker.gpt.tokenise import Reader
from tastemaker.progress import progress
from tastemaker.rl.algorithms.base import (
    Actor,
    Algorithm,
    Compared,
    LearnsFromJudgements,
    Metrics,
)
from tastemaker.rl.text.actor import Answers, TextActor
from tastemaker.rl.text.stopping import AGREE, Aim
from tastemaker.rl.text.world import Batch, TextWorld, in_random_order

_READ = 1024  # judgements that are tokenized together


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
class Judged:
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
) -> tuple[list[Judged], dict[str, int]]:
    """Return the judgements that compare texts within the context, and what was left out.

    A ranking keeps its other texts where one does not fit. A prompt of text is continued, a chat is
    answered.
    """
    weighted = [judgement for judgement in judgements if judgement.weight > 0]
    tokenized: list[Judged] = []
    for start in range(0, len(weighted), _READ):
        tokenized.extend(_read(weighted[start : start + _READ], reader))
    left: Counter[str] = Counter()
    left["of weight 0"] = len(judgements) - len(weighted)
    fitting = []
    for judged in tokenized:
        fits = [len(judged.prompt) + len(text) <= context for text in judged.texts]
        left[f"texts longer than the {context:,} tokens that the policy reads"] += (
            fits.count(False)
        )
        texts = list(compress(judged.texts, fits))
        tiers = list(compress(judged.tiers, fits))
        short = Judged(judged.prompt, texts, tiers, judged.weight)
        left["pairs that nobody ordered (ties)"] += (
            math.comb(len(tiers), 2) - short.pairs
        )
        if short.pairs:
            fitting.append(short)
    return fitting, {words: count for words, count in left.items() if count}


def _read(judgements: Sequence[Judgement], reader: Reader) -> Iterator[Judged]:
    """Yield judgements as tokens, whatever their length."""
    prompts = reader.prompts(["" if j.prompt is None else j.prompt for j in judgements])
    texts = iter(
        reader.completions([text for j in judgements for text in j.texts], ended=True)
    )
    for judgement, prompt in zip(judgements, prompts, strict=True):
        tokens = [np.asarray(next(texts), dtype=np.int32) for _ in judgement.texts]
        yield Judged(prompt, tokens, list(judgement.ranks), judgement.weight)


@dataclass
class JudgedTexts:
    """Judged texts as a policy's teacher. Made by `of`, which lets the reference read them.

    world: where the policy writes, to be watched. train: learned from, in a random order of its own
    each time around. measured: never learned from. count: judgements a step. watched: texts that
    the policy writes at a window's end.
    """

    aim: ClassVar[Aim] = AGREE

    world: TextWorld
    train: list[Judged]
    measured: list[Judged]
    count: int
    watched: int

    @staticmethod
    def of(
        world: TextWorld, train: list[Judged], measured: list[Judged], *, at_once: int
    ) -> "JudgedTexts":
        """Return the teacher; a step has about as many texts as the world's batch.

        at_once: tokens that the reference reads together. Weights come to 1 on average over what is
        learned from.
        """
        mean = sum(judged.weight for judged in train) / len(train)
        for judged in train:
            judged.weight /= mean
        _refer(
            [*train, *measured],
            TextActor(world.reference, temperature=world.sampling.temperature),
            at_once,
        )
        texts = sum(len(judged.texts) for judged in train)
        count = max(1, round(world.batch * len(train) / texts))
        return JudgedTexts(world, train, measured, count, world.batch)

    def gather(self, step: int, weight: float) -> Compared:
        """Return the judgements of a step."""
        numbers = range(step * self.count, (step + 1) * self.count)
        chosen = in_random_order(numbers, len(self.train), self.world.seed)
        return self.compared([self.train[number] for number in chosen])

    def credit(
        self, algorithm: Algorithm[Any], actor: Actor, gathered: Compared
    ) -> Compared:
        """Return the judgements; their order is the credit."""
        return gathered

    def shown(self, gathered: Compared, *, is_last: bool) -> Batch | None:
        """Return completions at a window's last step, always with the same random numbers."""
        return self.world.measure(self.watched) if is_last else None

    def held_out(self, algorithm: Algorithm[Any]) -> Metrics:
        """Return how well the policy agrees with the held-out judgements."""
        assert isinstance(algorithm, LearnsFromJudgements)  # as the plan checked
        actor = TextActor(
            self.world.policy, temperature=self.world.sampling.temperature
        )
        sums: Counter[str] = Counter()
        for start in range(0, len(self.measured), self.count):
            part = self.measured[start : start + self.count]
            weight = sum(judged.weight for judged in part)
            compared = self.compared(part)
            log_probs = actor.log_probs(compared.did, compared.is_action)
            metrics = algorithm.agreement(compared, log_probs)
            sums.update(
                {f"held_out_{name}": weight * value for name, value in metrics.items()}
            )
            sums.update({"weight": weight})
        total = sums.pop("weight")
        return {name: value / total for name, value in sums.items()}

    def compared(self, judged: Sequence[Judged]) -> Compared:
        """Return judgements as rows, those of one judgement in one group."""
        rows = [
            (number, own, k)
            for number, own in enumerate(judged)
            for k in range(len(own.texts))
        ]
        texts = [own.texts[k] for _, own, k in rows]
        lengths = torch.tensor([len(text) for text in texts])
        is_action = torch.arange(int(lengths.max())) < lengths[:, None]
        reference = torch.zeros(is_action.shape)
        reference[is_action] = torch.from_numpy(
            np.concatenate([own.references[k] for _, own, k in rows])
        )
        weights = torch.tensor([own.weight / len(judged) for _, own, _ in rows])
        device = self.world.policy.module.device
        return Compared(
            did=Answers(
                tuple(tuple(own.prompt) for _, own, _ in rows),
                tuple(tuple(t.tolist()) for t in texts),
            ),
            is_action=is_action.to(device),
            log_probs=reference.to(device),
            reference=reference.to(device),
            advantages=torch.zeros_like(reference, device=device),
            weights=(is_action * weights[:, None]).to(device),
            groups=torch.tensor([number for number, _, _ in rows], device=device),
            tiers=torch.tensor([own.tiers[k] for _, own, k in rows], device=device),
        )


def _refer(judged: Sequence[Judged], actor: TextActor, at_once: int) -> None:
    """Store the reference's log-probabilities of every text."""
    rows = [(own, k) for own in judged for k in range(len(own.texts))]
    found: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(rows)
    with progress("the reference reads what was judged", len(rows)) as advance:
        for part in by_length(
            [len(own.prompt) + len(own.texts[k]) for own, k in rows], at_once
        ):
            answers = Answers(
                tuple(tuple(rows[i][0].prompt) for i in part),
                tuple(tuple(rows[i][0].texts[rows[i][1]].tolist()) for i in part),
            )
            lengths = torch.tensor([len(tokens) for tokens in answers.tokens])
            is_action = (torch.arange(int(lengths.max())) < lengths[:, None]).to(
                actor.policy.module.device
            )
            values = actor.log_probs(answers, is_action).float().cpu().numpy()
            for i, row, length in zip(part, values, lengths.tolist(), strict=True):
                found[i] = row[:length].copy()
            advance(len(part), "")
    numbered = iter(found)
    for own in judged:
        own.references = [next(numbered) for _ in own.texts]
