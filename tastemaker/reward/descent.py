"""How a network is trained: the settings of the training loop, checked where they are made.

The training loop of a network: steps, held-out evaluation, early stopping, best kept, exact resume.

One step reads about `batch_size` texts of like length, in micro-batches of at most `batch_tokens` tokens, whose
gradients add up to the same step whatever the budget. Texts that were judged together stay in one micro-batch and are
encoded once: K passes for a ranking of K, never one for each of its K(K − 1)/2 pairs. The learning rate warms up
linearly and decays linearly to zero (Devlin et al. 2019). Left out on purpose: anything that would make two runs with
one seed differ, such as time limits.
"""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.fast.batching import by_length, training_steps, whole_units
from tastemaker.progress import progress
from tastemaker.reward.backbones.network import Network
from tastemaker.reward.corpus import Corpus, Unit
from tastemaker.reward.finish import calibrated
from tastemaker.reward.observation import ObservationModel, links_alone
from tastemaker.scores import Scores
from tastemaker.settings import MAIN, NOT_NEGATIVE, PART, POSITIVE, at_least, check, setting
from tastemaker.train.optimizers import adamw, on_host, restore_state, state_tensors, take_step
from tastemaker.train.run import Checkpoint, Run

RECIPE = "the backbone's recipe"


@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    group: ClassVar[str] = "Network training"

    epochs: int = setting(
        2, "Passes over the training texts.", at_least(1), group=MAIN, shown=RECIPE
    )
    lr: float = setting(5e-5, "Peak learning rate of AdamW.", POSITIVE, shown=RECIPE)
    batch_size: int = setting(32, "Texts a step.", at_least(1), shown=RECIPE)
    batch_tokens: int = setting(
        8192, "Most tokens through the network at once, padding included.", at_least(1)
    )
    warmup: float = setting(0.06, "Share of the steps in which the learning rate rises.", PART)
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", NOT_NEGATIVE)
    clip: float = setting(1.0, "Largest gradient norm.", POSITIVE, option="--gradient-clip")
    head_lr: float = setting(10.0, "Learning rate of the head, as a multiple of --lr.", POSITIVE)
    evaluations: int = setting(5, "Held-out evaluations in the run.", at_least(1))
    patience: int = setting(3, "Evaluations without a gain that end the run.", at_least(1))

    def __post_init__(self) -> None:
        check(self)


Tokens = NDArray[np.int32]


@dataclass
class Standing:
    """Where a run stands: what a checkpoint keeps besides the tensors."""

    step: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    without_gain: int = 0
    tokens: int = 0


class Descent:
    """One run of gradient descent on a network and its observation model. `run()` leaves the best weights in both."""

    def __init__(
        self,
        network: Network,
        model: ObservationModel,
        train: Corpus,
        held_out: Corpus,
        training: Training,
        *,
        device: torch.device,
        precision: torch.dtype,
        seed: int,
        run: Run,
        checkpoint_seconds: float = 120.0,
    ) -> None:
        self.network, self.model, self.train, self.held_out = network, model, train, held_out
        self.training, self.device, self.precision, self.seed, self.run_folder = (
            training,
            device,
            precision,
            seed,
            run,
        )
        self.checkpoint_seconds = checkpoint_seconds
        self.standing, self.best = Standing(), dict[str, Tensor]()
        self.network.module.to(device)
        self.model.to(device)
        self.optimizer = self._optimizer()
        self.ids = network.encode(train.examples).ids
        self.lengths = [len(i) for i in self.ids]
        self.held_out_ids = network.encode(held_out.examples).ids
        self.units = train.units
        heads = network.heads
        self.corpora = (
            [train] if heads == 1 else [train.resampled(seed + number) for number in range(heads)]
        )
        self.steps = self._steps()
        self.total = len(self.steps)

    def run(self) -> Standing:
        """Train to the end or until the held-out loss stops falling; return where it ended."""
        torch.manual_seed(self.seed)
        self._resume()
        due = {
            round(self.total * k / self.training.evaluations)
            for k in range(1, self.training.evaluations + 1)
        }
        saved = time.monotonic()
        with progress("fitting", self.total) as advance:
            advance(self.standing.step, "")
            for units in self._remaining_steps():
                metrics = self._step([self.units[i] for i in units])
                advance(1, f"loss {metrics['loss']:.3f}")
                evaluated = self.standing.step in due
                if evaluated:
                    metrics |= self._evaluate()
                self.run_folder.log(self.standing.step, metrics)
                if self.standing.without_gain >= self.training.patience:
                    break
                if evaluated or time.monotonic() - saved > self.checkpoint_seconds:
                    self.run_folder.save(self._checkpoint())
                    saved = time.monotonic()
        self._load(self.best)
        return self.standing

    def _steps(self) -> list[list[int]]:
        """Return the units of every step of the whole run."""
        longest = [max(self.lengths[text] for text in unit.texts) for unit in self.units]
        sizes = [len(unit.texts) for unit in self.units]
        size, seed = self.training.batch_size, self.seed
        return [
            step
            for epoch in range(self.training.epochs)
            for step in training_steps(
                longest, batch_size=size, seed=seed, epoch=epoch, sizes=sizes
            )
        ]

    def _remaining_steps(self) -> list[list[int]]:
        return (
            []
            if self.standing.without_gain >= self.training.patience
            else self.steps[self.standing.step :]
        )

    def _step(self, units: list[Unit]) -> dict[str, float]:
        """One optimiser step on some units; returns its metrics."""
        started = time.monotonic()
        self.network.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, texts, tokens, places = 0.0, 0, 0, 0
        sizes = [sum(self.lengths[text] for text in unit.texts) for unit in units]
        for part in whole_units(range(len(units)), sizes, self.training.batch_tokens):
            chosen, batch_loss, padded = self._loss([units[i] for i in part])
            batch_loss = batch_loss / len(units)
            batch_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(batch_loss.detach())
            texts += len(chosen)
            tokens += sum(self.lengths[i] for i in chosen)
            places += padded
        clip, number = self.training.clip, self.standing.step + 1
        taken = take_step(
            self.optimizer,
            loss,
            rate=self._learning_rate(),
            clip=clip,
            number=number,
            run=self.run_folder,
        )
        self.standing.step = number
        self.standing.tokens += tokens
        return taken | {
            "padding": 1 - tokens / places,
            "texts_per_second": texts / (time.monotonic() - started),
        }

    def _loss(self, units: list[Unit]) -> tuple[list[int], Tensor, int]:
        """Return the units' texts, −ln P of everything said about them with its penalties, and the places computed.

        Several heads each learn from the judgements as weighted for them; the loss is their mean.
        """
        texts, _ = self.train.part(units)
        by_head, places = self._scores([self.ids[i] for i in texts])
        log_lengths = self.train.log_lengths[texts].to(self.device)
        losses = []
        for corpus, scores in zip(self.corpora, by_head.T, strict=True):
            evidence = {kind: e.to(self.device) for kind, e in corpus.part(units)[1].items()}
            penalty = self.model.penalty(scores, evidence, log_lengths, whole=False)
            losses.append(penalty - self.model.log_likelihood(scores, evidence, log_lengths))
        return texts, torch.stack(losses).mean(), places

    def _scores(self, ids: list[Tokens]) -> tuple[Tensor, int]:
        """Return the scores of some texts [b, heads], and how many places were computed, padding included."""
        with torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        ):
            return self.network.forward_texts(ids, self.training.batch_tokens)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Measure the held-out texts, keep the weights if they are the best so far, and return the metrics."""
        self.network.module.eval()
        scores = torch.zeros(len(self.held_out))
        for part in by_length([len(i) for i in self.held_out_ids], self.training.batch_tokens):
            scores[part] = self._scores([self.held_out_ids[i] for i in part])[0].mean(1).cpu()
        # links are fitted once more at the end, so what counts is how good the scores are once they have been
        found = Scores(scores.double().numpy(), np.zeros(len(scores), dtype=bool))
        model = links_alone(calibrated(self.model, found, self.held_out.evidence))
        count = sum(len(e) for e in self.held_out.evidence.values())
        loss = -float(model.log_likelihood(scores, self.held_out.evidence)) / count
        if loss < self.standing.best_loss:
            self.standing.best_loss, self.standing.best_step = loss, self.standing.step
            self.standing.without_gain = 0
            self.best = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        else:
            self.standing.without_gain += 1
        return {"held_out_loss": loss, **_held_out_metrics(scores, self.held_out, model)}

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW; biases and norms without decay, head and links with their own learning rate."""
        module = self.network.module
        learned = [p for p in module.parameters() if p.requires_grad]
        body_ids = {id(p) for p in getattr(module, module.base_model_prefix).parameters()}
        body = [p for p in learned if id(p) in body_ids]
        head = [p for p in learned if id(p) not in body_ids]
        head += [p for p in self.model.parameters() if p.requires_grad]
        t = self.training
        groups = [
            {"params": [p for p in body if p.ndim > 1], "weight_decay": t.weight_decay},
            {"params": [p for p in body if p.ndim <= 1], "weight_decay": 0.0},
            {"params": head, "weight_decay": 0.0, "factor": t.head_lr},
        ]
        return adamw(groups, t.lr, self.device)

    def _learning_rate(self) -> float:
        """Return the coming step's rate: linear warm-up, then linear decay that reaches zero after the last step."""
        step, warm = self.standing.step, self.training.warmup * self.total
        return self.training.lr * min(
            (step + 1) / (warm + 1), (self.total - step) / max(self.total - warm, 1)
        )

    def _tensors(self) -> dict[str, Tensor]:
        """Return everything that is learned, by name."""
        learned = {
            f"network.{name}": tensor for name, tensor in self.network.module.state_dict().items()
        }
        return learned | {
            f"observation.{name}": tensor for name, tensor in self.model.state_dict().items()
        }

    def _load(self, tensors: dict[str, Tensor]) -> None:
        for name, tensor in self._tensors().items():
            if name in tensors:
                tensor.copy_(tensors[name])

    def _checkpoint(self) -> Checkpoint:
        tensors = dict(self._tensors()) | {
            f"best.{name}": tensor for name, tensor in self.best.items()
        }
        tensors |= state_tensors(self.optimizer, self.device)
        return Checkpoint(self.standing.step, {"standing": asdict(self.standing)}, on_host(tensors))

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one: same weights, optimiser, generator and place."""
        checkpoint = self.run_folder.latest()
        if checkpoint is None:
            return
        self.standing = Standing(**checkpoint.state["standing"])
        tensors = checkpoint.tensors
        self._load(tensors)
        self.best = {
            n.removeprefix("best."): t.to(self.device)
            for n, t in tensors.items()
            if n.startswith("best.")
        }
        restore_state(self.optimizer, tensors, self.device)


def _held_out_metrics(
    scores: Tensor, held_out: Corpus, model: ObservationModel
) -> dict[str, float]:
    """Return by kind of judgement the share that is called right, or the correlation, as its link has it."""
    metrics: dict[str, float] = {}
    for kind, evidence in held_out.evidence.items():
        if len(evidence):
            found = model.links[kind].metrics(scores[evidence.index], evidence.targets)
            metrics |= {f"held_out_{name}": value for name, value in found.items()}
    return metrics
