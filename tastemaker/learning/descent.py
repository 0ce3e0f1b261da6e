"""The training loop of a network: steps, held-out evaluation, early stopping, best kept, exact resume.

One step reads `batch_size` texts of like length, in micro-batches of at most `batch_tokens` tokens, whose gradients add
up to the same step whatever the budget. The learning rate warms up linearly and decays linearly to zero (Devlin et al.
2019). Left out on purpose: anything that would make two runs with one seed differ, such as time limits.
"""

import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.data.judgements import Grade, Judgement, Label, Rating
from tastemaker.errors import TrainingError
from tastemaker.learning.corpus import Corpus, log_likelihood
from tastemaker.learning.run import Checkpoint, Run
from tastemaker.learning.training import Training
from tastemaker.models.backbones.network import Network
from tastemaker.models.batching import by_length, collate, microbatches, training_steps
from tastemaker.models.links import Link
from tastemaker.progress import progress

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
    """One run of gradient descent on a network and its links. `run()` leaves the best weights in both."""

    def __init__(
        self,
        network: Network,
        links: dict[type[Judgement], Link],
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
        self.network, self.links, self.train, self.held_out = network, links, train, held_out
        self.training, self.device, self.precision, self.seed, self.run_folder = training, device, precision, seed, run
        self.checkpoint_seconds = checkpoint_seconds
        self.standing, self.best = Standing(), dict[str, Tensor]()
        self.network.module.to(device)
        for link in links.values():
            link.to(device)
        self.optimizer = self._optimizer()
        self.ids = network.encode(train.examples).ids
        self.lengths = [len(i) for i in self.ids]
        self.held_out_ids = network.encode(held_out.examples).ids
        self.steps_per_epoch = -(-len(self.ids) // training.batch_size)
        self.total = training.epochs * self.steps_per_epoch

    def run(self) -> Standing:
        """Train to the end or until the held-out loss stops falling; return where it ended."""
        torch.manual_seed(self.seed)
        self._resume()
        due = {round(self.total * k / self.training.evaluations) for k in range(1, self.training.evaluations + 1)}
        saved = time.monotonic()
        with progress("fitting", self.total) as advance:
            advance(self.standing.step, "")
            for texts in self._remaining_steps():
                metrics = self._step(texts)
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

    def _remaining_steps(self) -> list[list[int]]:
        if self.standing.without_gain >= self.training.patience:
            return []
        size, seed = self.training.batch_size, self.seed
        epochs = range(self.standing.step // self.steps_per_epoch, self.training.epochs)
        steps = [s for e in epochs for s in training_steps(self.lengths, batch_size=size, seed=seed, epoch=e)]
        return steps[self.standing.step % self.steps_per_epoch :]

    def _step(self, texts: list[int]) -> dict[str, float]:
        """One optimiser step on some texts; returns its metrics."""
        started = time.monotonic()
        self.network.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, tokens, places = 0.0, 0, 0
        for part in microbatches(texts, self.lengths, self.training.batch_tokens):
            batch_loss = -self._log_likelihood(self.train, self.ids, part) / len(texts)
            batch_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(batch_loss.detach())
            tokens += sum(self.lengths[i] for i in part)
            places += max(self.lengths[i] for i in part) * len(part)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters(), self.training.clip))
        if not (np.isfinite(loss) and np.isfinite(norm)):
            self._stop_not_finite(loss, norm)
        rate = self._set_learning_rate()
        self.optimizer.step()
        self.standing.step += 1
        self.standing.tokens += tokens
        return {
            "loss": loss,
            "gradient_norm": norm,
            "learning_rate": rate,
            "padding": 1 - tokens / places,
            "texts_per_second": len(texts) / (time.monotonic() - started),
        }

    def _log_likelihood(self, corpus: Corpus, ids: list[Tokens], texts: list[int]) -> Tensor:
        """Return the summed log-likelihood of everything said about some texts of a corpus."""
        batch = collate([ids[i] for i in texts], self.network.pad_id).to(self.device)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            scores = self.network.forward(batch).float()
        evidence = {kind: e.to(self.device) for kind, e in corpus.about(texts).items()}
        return log_likelihood(scores, evidence, self.links)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Measure the held-out texts, keep the weights if they are the best so far, and return the metrics."""
        self.network.module.eval()
        scores = torch.zeros(len(self.held_out))
        for part in by_length([len(i) for i in self.held_out_ids], self.training.batch_tokens):
            batch = collate([self.held_out_ids[i] for i in part], self.network.pad_id).to(self.device)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                scores[part] = self.network.forward(batch).float().cpu()
        links = {kind: type(link).from_dict(link.as_dict()) for kind, link in self.links.items()}
        count = sum(len(e.index) for e in self.held_out.evidence.values())
        loss = -float(log_likelihood(scores, self.held_out.evidence, links)) / count
        if loss < self.standing.best_loss:
            self.standing.best_loss, self.standing.best_step = loss, self.standing.step
            self.standing.without_gain = 0
            self.best = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        else:
            self.standing.without_gain += 1
        return {"held_out_loss": loss, **_held_out_metrics(scores, self.held_out, links)}

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW; biases and norms without decay, head and links with their own learning rate."""
        prefix = self.network.module.base_model_prefix + "."
        body = [p for n, p in self.network.module.named_parameters() if n.startswith(prefix)]
        head = [p for n, p in self.network.module.named_parameters() if not n.startswith(prefix)]
        head += [p for link in self.links.values() for p in link.parameters() if p.requires_grad]
        t = self.training
        groups = [
            {"params": [p for p in body if p.ndim > 1], "weight_decay": t.weight_decay, "factor": 1.0},
            {"params": [p for p in body if p.ndim <= 1], "weight_decay": 0.0, "factor": 1.0},
            {"params": head, "weight_decay": 0.0, "factor": t.head_lr},
        ]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=t.lr, fused=self.device.type != "mps")

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _set_learning_rate(self) -> float:
        """Set the rate of the coming step: linear warm-up, then linear decay that reaches zero after the last step."""
        step, warm = self.standing.step, self.training.warmup * self.total
        share = min((step + 1) / (warm + 1), (self.total - step) / max(self.total - warm, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.lr * share * group["factor"]
        return self.training.lr * share

    def _tensors(self) -> dict[str, Tensor]:
        """Return everything that is learned, by name."""
        learned = {f"network.{name}": tensor for name, tensor in self.network.module.state_dict().items()}
        for link in self.links.values():
            learned |= {f"link.{link.kind}.{name}": tensor for name, tensor in link.state_dict().items()}
        return learned

    def _load(self, tensors: dict[str, Tensor]) -> None:
        for name, tensor in self._tensors().items():
            if name in tensors:
                tensor.copy_(tensors[name])

    def _checkpoint(self) -> Checkpoint:
        tensors = dict(self._tensors()) | {f"best.{name}": tensor for name, tensor in self.best.items()}
        for number, parameter in enumerate(self._parameters()):
            for name, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{number}.{name}"] = value
        tensors["generator"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["generator.cuda"] = torch.cuda.get_rng_state(self.device)
        own = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}  # tied weights: one copy each
        return Checkpoint(self.standing.step, {"standing": asdict(self.standing)}, own)

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one: same weights, optimiser, generator and place."""
        checkpoint = self.run_folder.latest()
        if checkpoint is None:
            return
        self.standing = Standing(**checkpoint.state["standing"])
        tensors = checkpoint.tensors
        self._load(tensors)
        self.best = {n.removeprefix("best."): t.to(self.device) for n, t in tensors.items() if n.startswith("best.")}
        for number, parameter in enumerate(self._parameters()):
            prefix = f"adam.{number}."
            found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            self.optimizer.state[parameter] = {name: value.to(self.device) for name, value in found.items()}
        torch.set_rng_state(tensors["generator"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["generator.cuda"], self.device)

    def _stop_not_finite(self, loss: float, norm: float) -> None:
        self.run_folder.log(self.standing.step, {"loss": loss, "gradient_norm": norm})
        raise TrainingError(
            f"step {self.standing.step + 1}: the loss is {loss} and the gradient norm {norm}. "
            f"Lower --lr (now {self.training.lr:g}); the last checkpoint is kept."
        )


def _held_out_metrics(scores: Tensor, held_out: Corpus, links: dict[type[Judgement], Link]) -> dict[str, float]:
    """Return held-out accuracy for labels and correlation for grades or ratings, as far as there are any."""
    metrics = {}
    for kind, evidence in held_out.evidence.items():
        if not len(evidence.index):
            continue
        predicted = links[kind].predict(scores[evidence.index])
        if kind is Label:
            metrics["held_out_accuracy"] = float(((predicted > 0.5) == evidence.targets).float().mean())
        elif kind in (Grade, Rating):
            metrics["held_out_correlation"] = float(
                torch.corrcoef(torch.stack([predicted, evidence.targets.float()]))[0, 1]
            )
    return metrics
