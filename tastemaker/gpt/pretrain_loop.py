"""How a GPT is trained on text: the settings, checked where they are made, and the loop.

A step is a random draw of documents. They go through the network end to end, so that nothing is padding, and no token
sees another document. The learning rate warms up and decays linearly to zero by the tokens read (Defazio et al. 2023
find linear decay the best of the schedules they compare). A network that begins from nothing may grow: half of its
layers learn first, which costs less, and the others join them later (Gong et al. 2019; Bu 2025). They begin as layers
that add nothing, so the network goes on from what it knows.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker.fast.gpt_forward import Texts, nats, padding
from tastemaker.fast.gpt_layers import passes_at_once
from tastemaker.fast.processor import side_by_side
from tastemaker.gpt.corpus import TokenFile, even_parts, steps_of
from tastemaker.gpt.language_loss import held_out_loss
from tastemaker.gpt.networks import matrices_of
from tastemaker.gpt.policy import Policy
from tastemaker.progress import progress
from tastemaker.settings import MAIN, NOT_NEGATIVE, PART, POSITIVE, at_least, check, setting
from tastemaker.train.optimizers import (
    Muon,
    adamw,
    on_host,
    restore_state,
    state_tensors,
    take_step,
)
from tastemaker.train.run import Checkpoint, Run

_AT_ONCE = 16384  # tokens through the network at once; a step of more is read in parts
_AT_ONCE_CPU = 4096  # fewer: what is larger than 32 MiB, glibc asks of the system anew each time
Piece = tuple[NDArray[np.int32], int]
"""Tokens, and how many of them only stand before what is learned."""

_SHOWN, _SHORT = 2, 60  # samples that are written while it runs, and their most tokens
OF_SIZE = "the size's"


@dataclass(frozen=True)
class Pretraining:
    """How a GPT is trained on text."""

    group: ClassVar[str] = "Training"

    epochs: float = setting(
        1.0, "Passes over the corpus; 0.5 is half of one.", POSITIVE, group=MAIN
    )
    lr: float | None = setting(
        None, "Peak learning rate of AdamW; Muon's is a multiple.", POSITIVE, shown=OF_SIZE
    )
    batch_tokens: int | None = setting(None, "Tokens a step, about.", at_least(1), shown=OF_SIZE)
    warmup: float = setting(0.1, "Share of all tokens in which the learning rate rises.", PART)
    weight_decay: float = setting(0.1, "Weight decay.", NOT_NEGATIVE)
    clip: float = setting(1.0, "Largest gradient norm.", POSITIVE, option="--gradient-clip")
    held_out: float = setting(0.02, "Share of the corpus that only measures.", PART)
    evaluations: int = setting(4, "Held-out evaluations in the run, with samples.", at_least(1))
    context: int | None = setting(
        None, "Most tokens that are read at once.", at_least(8), shown=OF_SIZE
    )
    vocabulary: int | None = setting(
        None, "Most tokens of a new tokenizer.", at_least(1), shown=OF_SIZE
    )
    grow_at: float | None = setting(
        None,
        "Share of all tokens after which the second half of a new network's layers joins; "
        "0: all learn from the beginning.",
        PART,
        shown=OF_SIZE,
    )

    def __post_init__(self) -> None:
        check(self)


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


class _Taught(NamedTuple):
    """What a part of a step teaches: gradients by weight, None for one without, and its share of the step's loss.

    read: tokens. places: of them and of padding.
    """

    gradients: tuple[Tensor | None, ...]
    loss: float
    read: int
    places: float


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
        muon: float = 0.0,
        grow_at: float = 0.0,
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self.policy, (self.train, self.held_out), self.training = policy, corpora, training
        self.lr, self.batch_tokens, self.device, self.precision = (
            lr,
            batch_tokens,
            device,
            precision,
        )
        self.seed, self.run_folder, self.say, self.checkpoint_seconds = (
            seed,
            run,
            say,
            checkpoint_seconds,
        )
        self.grow_at, self.standing = grow_at, Standing()
        self.module = policy.module.to(device)
        self.total = max(1, round(training.epochs * self.train.counts.tokens))
        self.optimizer = self._optimizer(muon)
        self.weights = [p for p in self.module.parameters() if p.requires_grad]

    def run(self) -> Standing:
        """Train until the tokens are read; return where it ended."""
        torch.manual_seed(self.seed)
        self._resume()
        saved = time.monotonic()
        with progress("pretraining", self.total) as advance:
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
            steps = steps_of(
                self.train, batch_tokens=self.batch_tokens, seed=self.seed, epoch=standing.epoch
            )
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
        tokens, loss, read, places = self._learned(numbers), 0.0, 0, 0.0
        layers = self._layers()
        parts = [partial(self._taught, part, tokens, layers) for part in self._parts(numbers)]
        for part in side_by_side(parts, passes_at_once(self.module)):
            for weight, gradient in zip(self.weights, part.gradients, strict=True):
                if gradient is not None:
                    weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
            loss, read, places = loss + part.loss, read + part.read, places + part.places
        how: dict[str, Any] = {
            "clip": self.training.clip,
            "number": self.standing.step + 1,
            "run": self.run_folder,
        }
        taken = take_step(self.optimizer, loss, rate=self._learning_rate(tokens), **how)
        self.standing.step += 1
        self.standing.tokens += tokens
        return taken | {
            "layers": layers,
            "padding": 1 - read / places,
            "tokens": tokens,
            "tokens_per_second": tokens / (time.monotonic() - started),
        }

    def _layers(self) -> int:
        """Return how many layers the coming step teaches, from the first on: half of them, or all."""
        layers: int = self.module.config.num_hidden_layers
        return layers - layers // 2 if self.standing.tokens < self.grow_at * self.total else layers

    def _taught(self, pieces: list[Piece], tokens: int, layers: int) -> _Taught:
        """Return what some pieces teach so many layers, of a step of so many tokens."""
        cost, texts = self._loss(pieces, layers)
        gradients = torch.autograd.grad(cost / tokens, self.weights, allow_unused=True)
        places = len(texts.ids) / (1 - padding(self.module, texts))
        return _Taught(gradients, float(cost.detach()) / tokens, len(texts.ids), places)

    def _learned(self, numbers: list[int]) -> int:
        """Return how many tokens some pieces teach."""
        return sum(len(ids) - before for ids, before in map(self.train.piece, numbers))

    def _parts(self, numbers: list[int]) -> Iterator[list[Piece]]:
        """Yield a step's pieces in parts that go through the network at once, longest first.

        On a processor each thread has a part, if the pass is ours: others may draw from what all threads share.
        """
        chosen = np.array(numbers)
        lengths = self.train.lengths(chosen)
        order = np.argsort(-lengths, kind="stable")
        most = _AT_ONCE
        if self.device.type == "cpu":
            threads = passes_at_once(self.module)
            order = np.concatenate(
                [order[turn::threads] for turn in range(threads)]
            )  # like shares of long and short
            most = min(_AT_ONCE_CPU, math.ceil(int(lengths.sum()) / threads))
        for part in even_parts(chosen[order], lengths[order], most):
            yield [self.train.piece(number) for number in part]

    def _loss(self, pieces: list[Piece], layers: int | None = None) -> tuple[Tensor, Texts]:
        """Return the summed −log π of what the pieces teach, and the texts that were read."""
        texts = Texts.of([ids for ids, _ in pieces], self.device)
        starts = zip(texts.starts, pieces, strict=True)
        places = np.concatenate(
            [np.arange(start + before, start + len(ids)) - 1 for start, (ids, before) in starts]
        )
        learned = torch.from_numpy(places).to(self.device)
        with torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        ):
            return nats(self.module, texts, learned, texts.ids[learned + 1], layers=layers), texts

    def _evaluate(self) -> dict[str, float]:
        """Measure the held-out pieces and write samples, in the log and for whoever watches."""
        self.module.eval()
        loss = held_out_loss(self.policy, self.held_out, seed=self.seed).mean()
        share = self.standing.tokens / self.total
        self.say(f"{share:4.0%} of {self.total:,} tokens: held-out perplexity {math.exp(loss):.2f}")
        sampling = replace(self.policy.sampling, max_tokens=_SHORT)
        samples = self.policy.complete("", samples=_SHOWN, sampling=sampling, seed=self.seed)
        for sample in samples:
            self.say(
                f"      {' '.join(sample.text.split())}{'' if sample.ended == 'end' else ' …'}"
            )
        self.run_folder.keep_samples(self.standing.step, [sample.text for sample in samples])
        return {"held_out_loss": float(loss), "held_out_perplexity": math.exp(loss)}

    def _optimizer(self, muon: float) -> torch.optim.Optimizer:
        """AdamW; biases, norms and embeddings without decay. muon: the rate of a GPT's matrices by Muon; 0: no Muon."""
        decay, settings = {"weight_decay": self.training.weight_decay}, {"betas": (0.9, 0.95)}
        matrices = matrices_of(self.module) if muon else {}
        groups: list[dict[str, Any]] = [
            {"params": found, "heads": heads, "factor": muon} | decay
            for heads, found in matrices.items()
        ]
        taken = {id(p) for found in matrices.values() for p in found}
        embeddings = {id(p) for p in self.module.get_input_embeddings().parameters()}
        others = [p for p in self.module.parameters() if p.requires_grad and id(p) not in taken]
        decayed = [p for p in others if p.ndim > 1 and id(p) not in embeddings]
        left = [p for p in others if p.ndim <= 1 or id(p) in embeddings]
        groups = [{"params": decayed} | decay, {"params": left, "weight_decay": 0.0}, *groups]
        return (Muon if muon else adamw)(groups, self.lr, self.device, **settings)

    def _learning_rate(self, tokens: int) -> float:
        """Return the rate of the coming step, by the tokens that will have been read when it is done."""
        done, warm = self.standing.tokens + tokens, max(self.training.warmup * self.total, 1)
        return self.lr * min(
            done / warm, max(self.total - done + tokens, 1) / max(self.total - warm, 1), 1
        )

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
