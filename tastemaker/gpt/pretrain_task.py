"""The settings of pretraining, and the task: a GPT learns from a corpus.

A step is a random draw of documents. They go through the network end to end, so that nothing is
padding, and no token sees another document. The learning rate warms up and decays linearly to zero
by the tokens read (Defazio et al. 2023 find linear decay the best of the schedules they compare).
A network that begins from nothing may grow: half of its layers learn first, which costs less, and
the others join them later (Gong et al. 2019; Bu 2025). Layers that join add nothing at first, so
the network keeps what it has learned.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tastemaker import processes
from tastemaker.adapters import (
    LORA,
    LORA_LR,
    LORA_TARGETS,
    QUANTIZE,
    SAVED_DTYPE,
    Lora,
    Quantize,
    learned_state,
)
from tastemaker.costs import count
from tastemaker.fast.gpt_forward import Texts, nats, padding
from tastemaker.fast.gpt_layers import passes_at_once
from tastemaker.fast.processor import TrainingChoice
from tastemaker.gpt.language_loss import held_out_loss
from tastemaker.gpt.networks import Size, matrices_of
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.tokenise import TokenFile, even_parts, steps_of
from tastemaker.settings import (
    MAIN,
    NOT_NEGATIVE,
    PART,
    POSITIVE,
    at_least,
    check,
    setting,
    settings_class,
)
from tastemaker.train.gradients import (
    RECOMPUTE,
    SHARD,
    Metrics,
    Part,
    ShardedBackward,
    divide,
    end_division,
    gradient_strategy,
    idle,
    recompute_layers,
    share_like,
    whole,
)
from tastemaker.train.loop import Task
from tastemaker.train.run import Run, Say
from tastemaker.train.step import Muon, TrainStep, adamw

Piece = tuple[NDArray[np.int32], int]
"""Tokens, and how many of them are only context for those that are learned."""
_SAMPLES = 2
_SAMPLE_TOKENS = 60
_BETAS = (0.9, 0.95)
OF_SIZE = "the size's"


@settings_class
@dataclass(frozen=True)
class Pretraining:
    """How a GPT is trained on text."""

    group: ClassVar[str] = "Training"

    epochs: float = setting(
        1.0,
        "Epochs over the corpus; 0.5 is half of one.",
        POSITIVE,
        group=MAIN,
    )
    lr: float | None = setting(
        None,
        "Peak learning rate of AdamW; Muon's is a multiple.",
        POSITIVE,
        shown=OF_SIZE,
    )
    batch_tokens: int | None = setting(
        None, "Tokens a step, about.", at_least(1), shown=OF_SIZE
    )
    warmup: float = setting(
        0.1, "Share of all tokens in which the learning rate rises.", PART
    )
    weight_decay: float = setting(0.1, "Weight decay.", NOT_NEGATIVE)
    clip: float = setting(
        1.0, "Largest gradient norm.", POSITIVE, option="--gradient-clip"
    )
    held_out: float = setting(
        0.02, "Share of the corpus that only measures.", PART
    )
    evaluations: int = setting(
        4, "Held-out evaluations in the run, with samples.", at_least(1)
    )
    context: int | None = setting(
        None, "Most tokens that are read at once.", at_least(8), shown=OF_SIZE
    )
    vocabulary: int | None = setting(
        None, "Most tokens of a new tokenizer.", at_least(1), shown=OF_SIZE
    )
    lora: int = setting(0, f"{LORA} With --from.", at_least(0))
    lora_targets: str = setting("all", LORA_TARGETS)
    quantize: Quantize = setting("none", QUANTIZE)
    dtype: TrainingChoice = setting("auto", SAVED_DTYPE)
    gradient_checkpointing: bool = setting(False, RECOMPUTE)
    shard: bool = setting(False, SHARD)
    grow_at: float | None = setting(
        None,
        "Share of all tokens after which the second half of a new network's layers joins; "
        "0: all learn from the beginning.",
        PART,
        shown=OF_SIZE,
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def adapters(self) -> Lora:
        """The adapters that are put into the network."""
        return Lora(self.lora, self.lora_targets, self.quantize)


class PretrainTask(Task):
    """A policy learns from a corpus. The trained weights are in the policy.

    corpora: the training and the held-out pieces. size: the learning rates, tokens a step and
    growth, where `training` leaves them to it. precision: the format in which products are
    computed. run: gets the samples. say: gets a line for each evaluation. at_once: most tokens
    that go through the network at once; a larger step is computed in parts.
    """

    name = "pretraining"
    total: int
    at_once: ClassVar[int] = 16384
    # less, because glibc asks the system each time for blocks above 32 MiB
    at_once_cpu: ClassVar[int] = 4096

    def __init__(
        self,
        policy: Policy,
        corpora: tuple[TokenFile, TokenFile],
        training: Pretraining,
        size: Size,
        *,
        device: torch.device,
        precision: torch.dtype,
        seed: int,
        run: Run,
        say: Say,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.training = training
        self.train, self.held_out = corpora
        self.device = device
        self.precision = precision
        self.seed = seed
        self.run = run
        self.say = say
        usual_lr = LORA_LR if training.lora else size.lr
        self.lr = training.lr or usual_lr
        self.batch_tokens = training.batch_tokens or size.batch_tokens
        self.muon = size.muon
        self.grow_at = (
            size.grow_at if training.grow_at is None else training.grow_at
        )
        policy.module.to(self.device)
        recompute_layers(self.module, wanted=training.gradient_checkpointing)
        self.is_sharded = training.shard
        if training.shard:
            divide(policy)
        self.total = max(1, round(training.epochs * self.train.counts.tokens))
        self.tokens = 0  # learned so far
        self.epoch = self.step_of_epoch = 0  # of the next step
        self.evaluations = 0
        self.steps = self._steps()
        self._check_processes()
        self.optimizer = self._optimizer()
        self.weights = [p for p in self.module.parameters() if p.requires_grad]
        threads = passes_at_once(self.module)
        self.train_step = TrainStep(
            self.optimizer,
            self.weights,
            clip=training.clip,
            strategy=ShardedBackward()
            if training.shard
            else gradient_strategy(threads),
        )

    @property
    def module(self) -> Any:
        """The network of the policy."""
        return self.policy.module

    @property
    def done(self) -> float:
        """The tokens that were learned."""
        return self.tokens

    def _steps(self) -> Iterator[list[int]]:
        """Yield the piece numbers of the steps that are left."""
        while True:
            steps = steps_of(
                self.train,
                batch_tokens=self.batch_tokens,
                seed=self.seed,
                epoch=self.epoch,
            )
            for number, pieces in enumerate(steps):
                if number < self.step_of_epoch:
                    continue
                self.step_of_epoch = number + 1
                yield pieces
            self.epoch = self.epoch + 1
            self.step_of_epoch = 0

    def _check_processes(self) -> None:
        """Raise UsageError where a step has too few documents for all processes."""
        if processes.count() > 1:
            settings = {"batch_tokens": self.batch_tokens, "seed": self.seed}
            first = next(steps_of(self.train, **settings, epoch=0))
            processes.check_enough(len(first), "documents")

    def step(self) -> Metrics:
        """Take the next step of the corpus."""
        return self.step_on(next(self.steps))

    def step_on(self, numbers: list[int]) -> Metrics:
        """Take one optimiser step on the pieces of these numbers; return its metrics."""
        started = time.monotonic()
        self.module.train()
        tokens = self.count_tokens(numbers)
        layers = self.layers
        parts: list[Part] = [
            partial(self._compute, part, tokens, layers)
            for part in self.parts(numbers)
        ]
        if self.is_sharded and not parts:
            first = [self.train.piece(numbers[0])]
            parts.append(idle(partial(self._compute, first, tokens, layers)))
        rate = self._learning_rate(tokens)
        metrics = self.train_step.take(parts, rate=rate)
        self.progress.step += 1
        self.tokens += tokens
        read = metrics.pop("read")
        places = metrics.pop("places")
        metrics["learning_rate"] = rate
        metrics["layers"] = layers
        metrics["padding"] = 1 - read / places
        metrics["tokens"] = tokens
        count(training_tokens=tokens)
        metrics["tokens_per_second"] = tokens / (time.monotonic() - started)
        return metrics

    @property
    def layers(self) -> int:
        """How many layers the next step trains, from the first on: half of them, or all."""
        layers: int = self.module.config.num_hidden_layers
        is_small = self.tokens < self.grow_at * self.total
        return layers - layers // 2 if is_small else layers

    def count_tokens(self, numbers: list[int]) -> int:
        """Return how many tokens of these pieces are learned."""
        total = 0
        for number in numbers:
            ids, context = self.train.piece(number)
            total += len(ids) - context
        return total

    def parts(self, numbers: list[int]) -> Iterator[list[Piece]]:
        """Yield this process's pieces in parts, longest pieces first. A part is one pass.

        On a CPU each thread computes one part at a time if the pass is ours. Any other pass may
        draw dropout from a generator that all threads share, so its parts follow one another.
        """
        chosen = np.array(numbers)
        lengths = self.train.lengths(chosen)
        if processes.count() > 1:
            places = processes.share(lengths.tolist())
            chosen, lengths = chosen[places], lengths[places]
            if not places:
                return
        order = np.argsort(-lengths, kind="stable")
        most = self.at_once
        if self.device.type == "cpu":
            threads = passes_at_once(self.module)
            # deal the pieces out, so that each thread gets as many long and short ones
            order = np.concatenate(
                [order[turn::threads] for turn in range(threads)]
            )
            most = min(
                self.at_once_cpu, math.ceil(int(lengths.sum()) / threads)
            )
        for part in even_parts(chosen[order], lengths[order], most):
            yield [self.train.piece(number) for number in part]

    def _compute(
        self, pieces: list[Piece], tokens: int, layers: int
    ) -> tuple[Tensor, Metrics]:
        """Return (loss, metrics) of some pieces; the loss is their sum over `tokens` of the step.

        read: tokens that went through the network. places: the same with padding.
        """
        cost, texts = self.loss(pieces, layers)
        read = len(texts.ids)
        places = read / (1 - padding(self.module, texts))
        numbers = {
            "loss": float(cost.detach()) / tokens,
            "read": read,
            "places": places,
        }
        return cost / tokens, numbers

    def loss(
        self, pieces: list[Piece], layers: int | None = None
    ) -> tuple[Tensor, Texts]:
        """Return the summed −log π of the learned tokens, in nats, and the texts that were read.

        layers: how many layers compute it, from the first on; None: all.
        """
        texts = Texts.of([ids for ids, _ in pieces], self.device)
        places = []  # the place before each learned token, where it is predicted
        for start, (ids, context) in zip(texts.starts, pieces, strict=True):
            places.append(np.arange(start + context, start + len(ids)) - 1)
        predicted = torch.from_numpy(np.concatenate(places)).to(self.device)
        is_mixed = self.precision != torch.float32
        with torch.autocast(
            self.device.type, self.precision, enabled=is_mixed
        ):
            cost = nats(
                self.module,
                texts,
                predicted,
                texts.ids[predicted + 1],
                layers=layers,
            )
        return cost, texts

    def evaluate(self) -> Metrics | None:
        """Measure the held-out pieces and write samples, if an evaluation is due."""
        due = self.tokens * self.training.evaluations // self.total
        # `pretrain` itself measures the end
        is_over = self.tokens >= self.total
        if due <= self.evaluations or is_over:
            return None
        self.evaluations = due
        self.module.eval()
        with whole(self.policy):
            loss = held_out_loss(
                self.policy, self.held_out, seed=self.seed
            ).mean()
            share = self.tokens / self.total
            perplexity = math.exp(loss)
            self.say(
                f"{share:4.0%} of {self.total:,} tokens: held-out perplexity {perplexity:.2f}"
            )
            self._write_samples()
        return {
            "held_out_loss": float(loss),
            "held_out_perplexity": perplexity,
        }

    def _write_samples(self) -> None:
        sampling = replace(self.policy.sampling, max_tokens=_SAMPLE_TOKENS)
        samples = self.policy.complete(
            "", samples=_SAMPLES, sampling=sampling, seed=self.seed
        )
        for sample in samples:
            end = "" if sample.ended == "end" else " …"
            self.say(f"      {' '.join(sample.text.split())}{end}")
        self.run.keep_samples(
            self.progress.step, [sample.text for sample in samples]
        )

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW or Muon. Biases, norms and embeddings have no weight decay."""
        decay = self.training.weight_decay
        matrices = matrices_of(self.module) if self.muon else {}
        groups: list[dict[str, Any]] = []
        is_grouped: set[int] = set()
        for heads, members in matrices.items():
            is_grouped.update(id(parameter) for parameter in members)
            groups.append(
                {
                    "params": members,
                    "heads": heads,
                    "factor": self.muon,
                    "weight_decay": decay,
                }
            )
        embeddings = {
            id(p) for p in self.module.get_input_embeddings().parameters()
        }
        decayed: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for parameter in self.module.parameters():
            if not parameter.requires_grad or id(parameter) in is_grouped:
                continue
            is_matrix = parameter.ndim > 1 and id(parameter) not in embeddings
            (decayed if is_matrix else others).append(parameter)
        groups.insert(0, {"params": decayed, "weight_decay": decay})
        groups.insert(1, {"params": others, "weight_decay": 0.0})
        if self.muon:
            return Muon(groups, self.lr, self.device, betas=_BETAS)
        return adamw(groups, self.lr, self.device, betas=_BETAS)

    def _learning_rate(self, tokens: int) -> float:
        """Return the rate of a step, by the tokens that will have been read after it."""
        warm = max(self.training.warmup * self.total, 1)
        done = self.tokens + tokens
        rising = done / warm
        falling = max(self.total - self.tokens, 1) / max(self.total - warm, 1)
        return self.lr * min(rising, falling, 1)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return where the next step is in the corpus, and the weights."""
        names = ("tokens", "epoch", "step_of_epoch", "evaluations")
        values = {name: getattr(self, name) for name in names}
        weights = {
            f"policy.{name}": tensor
            for name, tensor in learned_state(self.module).items()
        }
        return values, weights

    def load(
        self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Take over what `state` returned."""
        for name, value in values.items():
            setattr(self, name, value)
        for name, tensor in learned_state(self.module).items():
            saved = tensors[f"policy.{name}"]
            tensor.copy_(share_like(saved, tensor))

    def finish(self) -> None:
        """Switch off what only training needs, and make the weights whole."""
        end_division(self.policy)
        recompute_layers(self.module, wanted=False)
        self.module.eval()
