"""What several benchmarks share: the data's place, the spread over seeds, a stepped `fit`."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tastemaker.data import Judgement
from tastemaker.fast import choose_precision
from tastemaker.gpt import Policy, Size, make_gpt, make_tokenizer, pretrain
from tastemaker.kinds import Likelihood, Link
from tastemaker.playground import reviews
from tastemaker.reward import Corpus, FitTask, Network, ObservationModel, Training

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HH = [DATA / "hh-rlhf" / f"{name}-base.jsonl.gz" for name in ("helpful", "harmless")]

UNSEEN_SEED = 1_000_000
"""Added to a seed for texts that nobody judged: the playground writes others for another seed."""


def spread(values: Sequence[float], digits: int = 4) -> dict[str, object]:
    """Return values of several seeds as they are, with their mean and standard deviation (None for
    one seed).
    """
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {
        "values": [round(value, digits) for value in values],
        "mean": round(statistics.fmean(values), digits),
        "sd": None if sd is None else round(sd, digits),
    }


SMALL = Size(
    width=64, layers=2, heads=2, context=48, vocabulary=320, lr=5e-3, batch_tokens=1024
)


def small_gpt(count: int = 3000) -> Policy:
    """Return a GPT so small that a step of steering takes a tenth of a second, trained for a moment
    on reviews of the playground.
    """
    texts = reviews(count)
    tokenizer = make_tokenizer(
        texts[:500], vocabulary=SMALL.vocabulary, context=SMALL.context
    )
    start = Policy(make_gpt(SMALL, tokenizer, seed=0), tokenizer)
    training = {"epochs": 1, "lr": SMALL.lr, "evaluations": 1}
    return pretrain(texts, start=start, training=training)


def now(device: torch.device) -> float:
    """Return the time in seconds, once the device has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class SteppedFit:
    """The task of `fit` (`FitTask`), whose steps are taken and timed from outside; no held-out
    evaluation.

    seconds: spent in steps so far, tokenizing and warm-up not counted.
    """

    def __init__(
        self,
        network: Network,
        links: dict[type[Judgement], Link],
        corpus: Corpus,
        training: Training,
        *,
        device: torch.device,
        seed: int,
        likelihood: Likelihood | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        model = ObservationModel(links, likelihood or Likelihood(judges=False), corpus)
        self.task = FitTask(
            network,
            model,
            corpus,
            corpus.subset([]),
            training,
            device=device,
            precision=precision or choose_precision(device),
            seed=seed,
        )
        self.network, self.device, self.seconds, self.losses = (
            network,
            device,
            0.0,
            list[float](),
        )
        torch.manual_seed(seed)

    @property
    def tokens(self) -> int:
        """Tokens read in the steps so far."""
        return self.task.tokens

    def warm_up(self) -> None:
        """Compute the largest step forwards and backwards, and throw the gradients away."""
        units = max(
            self.task.steps,
            key=lambda step: sum(self._tokens_in(unit) for unit in step),
        )
        self.network.module.train()
        for unit in units:
            self.task.loss([self.task.units[unit]])[1].backward()
        self.task.optimizer.zero_grad(set_to_none=True)

    def advance_to(self, share: float) -> None:
        """Take steps until this share of all has been taken."""
        started = now(self.device)
        while self.task.progress.step < round(share * self.task.total):
            self.losses.append(self.task.step()["loss"])
        self.seconds += now(self.device) - started

    def _tokens_in(self, unit: int) -> int:
        return sum(self.task.lengths[text] for text in self.task.units[unit].texts)


def drawn(items: Sequence[Judgement], count: int, seed: int) -> list[Judgement]:
    """Return so many of the items, drawn by the seed, in random order; all of them where there are
    fewer.
    """
    order = np.random.default_rng(seed).permutation(len(items))
    return [items[i] for i in order[:count]]
