"""How a GPT is trained on text: the settings, checked where they are made, and the loop.

The loop reads pieces of like length, one document a row, so that no token sees another document and almost nothing is
padding; causal attention needs no mask for what stands behind a text. The learning rate warms up and decays linearly to
zero by the tokens read (Defazio et al. 2023 find linear decay the best of the schedules they compare).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tastemaker.errors import UsageError
from tastemaker.evaluation.perplexity import held_out_loss
from tastemaker.learning.optimizer import adamw, on_host, restore_state, state_tensors, take_step
from tastemaker.learning.run import Checkpoint, Run
from tastemaker.learning.tokens import TokenFile, steps_of
from tastemaker.models.batching import collate
from tastemaker.models.loading import quiet_transformers
from tastemaker.models.policy.policy import Policy
from tastemaker.models.policy.sampling import Sampling
from tastemaker.progress import progress

_AT_ONCE = 16384  # tokens through the network at once; a step of more is read in parts
_IGNORED = -100
_SHOWN, _SHORT = 2, Sampling(max_tokens=60)  # samples that are written while it runs


@dataclass(frozen=True)
class Pretraining:
    """How a GPT is trained on text.

    epochs: passes over the corpus, parts of one too. lr: peak learning rate; None: the size's. batch_tokens: about so
    many tokens a step; None: the size's. warmup: share of all tokens. clip: largest gradient norm. held_out: share
    of the pieces that only measure. evaluations: how often they are measured. context: the most tokens that are read
    at once; None: the size's. vocabulary: tokens of a new tokenizer; None: the size's, or what the corpus gives.
    """

    epochs: float = 1.0
    lr: float | None = None
    batch_tokens: int | None = None
    warmup: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    held_out: float = 0.02
    evaluations: int = 4
    context: int | None = None
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "clip"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} {value}: must be a positive number.")
        for name, least in (("batch_tokens", 1), ("evaluations", 1), ("context", 8), ("vocabulary", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} {value}: must be at least {least}.")
        for name in ("warmup", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: must be a share, at least 0 and below 1.")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay {self.weight_decay}: must be a number, at least 0.")


@dataclass
class Standing:
    """Where a run stands: what a checkpoint keeps besides the tensors.

    step: of all; epoch, step_of_epoch: where the next one is found; tokens: learned so far.
    """

    step: int = 0
    epoch: int = 0
    step_of_epoch: int = 0
    tokens: int = 0
    evaluated: int = 0


class TextDescent:
    """One run of gradient descent of a policy on a corpus. `run()` leaves the trained weights in the policy."""

    def __init__(
        self,
        policy: Policy,
        corpora: tuple[TokenFile, TokenFile],
        training: Pretraining,
        *,
        lr: float,
        batch_tokens: int,
        device: torch.device,
        precision: torch.dtype,
        seed: int,
        run: Run,
        say: Callable[[str], None],
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self.policy, (self.train, self.held_out), self.training = policy, corpora, training
        self.lr, self.batch_tokens, self.device, self.precision = lr, batch_tokens, device, precision
        self.seed, self.run_folder, self.say, self.checkpoint_seconds = seed, run, say, checkpoint_seconds
        self.standing = Standing()
        self.module = policy.module.to(device)
        self.total = max(1, round(training.epochs * self.train.counts.tokens))
        self.optimizer = self._optimizer()

    def run(self) -> Standing:
        """Train until the tokens are read; return where it ended."""
        torch.manual_seed(self.seed)
        self._resume()
        saved = time.monotonic()
        with progress("pretraining", self.total) as advance, quiet_transformers():  # of padding that no text sees
            advance(self.standing.tokens, "")
            for numbers in self._remaining_steps():
                metrics = self._step(numbers)
                advance(metrics["tokens"], f"loss {metrics['loss']:.3f}")
                due = self.standing.tokens * self.training.evaluations // self.total
                evaluated = due > self.standing.evaluated and self.standing.tokens < self.total
                if evaluated:
                    self.standing.evaluated = due
                    metrics |= self._evaluate()
                self.run_folder.log(self.standing.step, metrics)
                if evaluated or time.monotonic() - saved > self.checkpoint_seconds:
                    self.run_folder.save(self._checkpoint())
                    saved = time.monotonic()
        self.module.eval()
        return self.standing

    def _remaining_steps(self) -> Iterator[list[int]]:
        """Yield the steps that are left: pieces by number."""
        standing = self.standing
        while standing.tokens < self.total:
            steps = steps_of(self.train, batch_tokens=self.batch_tokens, seed=self.seed, epoch=standing.epoch)
            for number, pieces in enumerate(steps):
                if number < standing.step_of_epoch:
                    continue
                if standing.tokens >= self.total:
                    return
                standing.step_of_epoch = number + 1
                yield pieces
            standing.epoch, standing.step_of_epoch = standing.epoch + 1, 0

    def _step(self, numbers: list[int]) -> dict[str, float]:
        """One optimiser step on some pieces; returns its metrics."""
        started = time.monotonic()
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        pieces = [self.train.piece(number) for number in numbers]
        tokens = sum(len(ids) - before for ids, before in pieces)
        rows = max(1, _AT_ONCE // max(len(ids) for ids, _ in pieces))
        loss, places = torch.zeros((), device=self.device), 0
        for start in range(0, len(pieces), rows):
            part, size = self._loss(pieces[start : start + rows])
            (part / tokens).backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
            places += size
        how: dict[str, Any] = {"clip": self.training.clip, "number": self.standing.step + 1, "run": self.run_folder}
        taken = take_step(self.optimizer, float(loss) / tokens, rate=self._learning_rate(tokens), **how)
        self.standing.step += 1
        self.standing.tokens += tokens
        return taken | {
            "padding": 1 - sum(len(ids) for ids, _ in pieces) / places,
            "tokens": tokens,
            "tokens_per_second": tokens / (time.monotonic() - started),
        }

    def _loss(self, pieces: list[Any]) -> tuple[Tensor, int]:
        """Return the summed −log π of what the pieces teach, and how many places were computed."""
        batch = collate([ids for ids, _ in pieces], self.policy.reader.pad).to(self.device)
        before = torch.tensor([b for _, b in pieces], device=self.device)
        place = torch.arange(1, batch.ids.shape[1], device=self.device)
        is_learned = (place >= before[:, None]) & batch.is_text[:, 1:]
        targets = functional.pad(batch.ids[:, 1:].masked_fill(~is_learned, _IGNORED), (0, 1), value=_IGNORED)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            logits = self.module(input_ids=batch.ids, use_cache=False).logits
        flat = logits.view(-1, logits.shape[-1]).float()  # whole: to cut off the last place would copy it all, twice
        loss = functional.cross_entropy(flat, targets.view(-1), ignore_index=_IGNORED, reduction="sum")
        return loss, batch.ids.numel()

    def _evaluate(self) -> dict[str, float]:
        """Measure the held-out pieces and write samples, in the log and for whoever watches."""
        self.module.eval()
        loss = held_out_loss(self.policy, self.held_out, seed=self.seed).mean()
        share = self.standing.tokens / self.total
        self.say(f"{share:4.0%} of {self.total:,} tokens: held-out perplexity {math.exp(loss):.2f}")
        samples = self.policy.complete("", samples=_SHOWN, sampling=_SHORT, seed=self.seed)
        for sample in samples:
            self.say(f"      {' '.join(sample.text.split())}{'' if sample.ended == 'end' else ' …'}")
        self.run_folder.keep_samples(self.standing.step, [sample.text for sample in samples])
        return {"held_out_loss": float(loss), "held_out_perplexity": math.exp(loss)}

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW; biases, norms and embeddings without decay."""
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        embeddings = {id(p) for p in self.module.get_input_embeddings().parameters()}
        decayed = [p for p in parameters if p.ndim > 1 and id(p) not in embeddings]
        others = [p for p in parameters if p.ndim <= 1 or id(p) in embeddings]
        decay = self.training.weight_decay
        groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        return adamw(groups, self.lr, self.device, betas=(0.9, 0.95))

    def _learning_rate(self, tokens: int) -> float:
        """Return the rate of the coming step, by the tokens that will have been read when it is done."""
        done, warm = self.standing.tokens + tokens, max(self.training.warmup * self.total, 1)
        return self.lr * min(done / warm, max(self.total - done + tokens, 1) / max(self.total - warm, 1), 1)

    def _checkpoint(self) -> Checkpoint:
        tensors = {f"policy.{name}": t for name, t in self.module.state_dict().items()}
        tensors |= state_tensors(self.optimizer, self.device)
        return Checkpoint(self.standing.step, {"standing": asdict(self.standing)}, on_host(tensors))

    @torch.no_grad()
    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one: same weights, optimiser, generator and place."""
        checkpoint = self.run_folder.latest()
        if checkpoint is None:
            return
        self.standing = Standing(**checkpoint.state["standing"])
        for name, tensor in self.module.state_dict().items():
            tensor.copy_(checkpoint.tensors[f"policy.{name}"])
        restore_state(self.optimizer, checkpoint.tensors, self.device)
