"""The task that trains a network on judgements.

One step reads about `batch_size` texts of similar length, in parts of at most `batch_tokens`
tokens, whose gradients add up to the same step whatever the budget. Texts that were judged
together stay in one part and are encoded once: K passes for a ranking of K, never one for each of
its K(K − 1)/2 pairs. The learning rate warms up linearly and decays linearly to zero (Devlin et
al. 2019). There are no time limits: two runs with one seed must be the same.

`make_tiny` makes a small encoder of the texts at hand and learns its tokenizer from them: any
language, no download.
"""

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tastemaker import processes
from tastemaker.adapters import learned_state
from tastemaker.costs import count
from tastemaker.data.judgements import CHAT, joined
from tastemaker.errors import DataError
from tastemaker.fast.batching import (
    by_length,
    collate,
    training_steps,
    whole_units,
)
from tastemaker.huggingface import drawn_from
from tastemaker.reward.backbones import Encoder, Tiny, Training
from tastemaker.reward.backbones.heads import draw_head, head_of
from tastemaker.reward.backbones.network import Network
from tastemaker.reward.backbones.opening import (
    DEFAULT_MAX_LENGTH,
    Cut,
    make_ready,
)
from tastemaker.reward.corpus import Corpus, Unit
from tastemaker.reward.division import Division
from tastemaker.reward.observation import (
    ObservationModel,
    calibrated,
    links_alone,
)
from tastemaker.scores import Scores
from tastemaker.train.checkpoint import best_in, with_best
from tastemaker.train.gradients import (
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
from tastemaker.train.step import TrainStep, adamw, parameters_of, trainable

# ---- the tiny encoder ----------------------------------------------------------------------------


_SPECIAL_NAMES = (
    "pad_token",
    "unk_token",
    "cls_token",
    "sep_token",
    "mask_token",
)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LAYERS, _WIDTH, _ATTENTION_HEADS = 2, 128, 4


def make_tiny(
    texts: Iterable[str],
    *,
    vocabulary: int = 8000,
    max_length: int = 512,
    cut: Cut = "left",
    dropout: float = 0.0,
    seed: int = 0,
) -> Network:
    """Return an untrained network of 2 layers, 128 wide, with a tokenizer learned from `texts`.

    vocabulary: the most tokens the tokenizer may have (at least the 256 bytes and 5 special
    tokens). The same texts and seed give the same network, bit by bit. Raises DataError when there
    are no texts.
    """
    tokenizer = _tokenizer(texts, vocabulary)
    if len(tokenizer) == len(_SPECIAL) + len(
        pre_tokenizers.ByteLevel.alphabet()
    ):
        raise DataError("there are no texts to make a tokenizer from.")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_ATTENTION_HEADS,
        intermediate_size=4 * _WIDTH,
        max_position_embeddings=max_length,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.num_labels = 1
    with drawn_from(seed):
        module = BertForSequenceClassification(config)
        make_ready(module, tokenizer, "tiny")
        draw_head(head_of(module))
    return Network(module, tokenizer, max_length=max_length, cut=cut)


def _tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Return a byte-level BPE tokenizer: every text has tokens, and no token is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=ids,
    )
    names = dict(zip(_SPECIAL_NAMES, _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, **names
    )


# ---- fitting -------------------------------------------------------------------------------------


Tokens = NDArray[np.int32]


class FitTask(Task):
    """A network and its observation model learn from judgements; both end with the best weights."""

    name = "fitting"
    checkpoint_seconds: ClassVar[float] = 120.0

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
    ) -> None:
        super().__init__()
        self.network, self.model = network, model
        self.train, self.held_out = train, held_out
        self.training, self.patience = training, training.patience
        self.device, self.precision, self.seed = device, precision, seed
        self.best: dict[str, Tensor] = {}
        self.tokens = 0  # read in training steps
        network.module.to(device)
        model.to(device)
        recompute_layers(
            network.module, wanted=training.gradient_checkpointing
        )
        self.is_sharded = training.shard
        if training.shard:
            divide(network)
        self.ids = network.encode(train.examples).ids
        self.lengths = [len(ids) for ids in self.ids]
        self.held_out_ids = network.encode(held_out.examples).ids
        self.features = train.features(model.likelihood.controlled)
        self.units = train.units
        self.corpora = [train]
        if network.heads > 1:
            # each head learns from judgements with weights of its own
            self.corpora = [
                train.resampled(seed + number)
                for number in range(network.heads)
            ]
        self.steps = self._steps()
        self.total = len(self.steps)
        largest = max(map(len, self.steps), default=1)
        processes.check_enough(largest, "judgements")
        count = training.evaluations
        self.evaluated_after = {
            round(self.total * k / count) for k in range(1, count + 1)
        }
        self.optimizer = self._optimizer()
        self.train_step = TrainStep(
            self.optimizer,
            parameters_of(self.optimizer),
            clip=training.clip,
            strategy=ShardedBackward()
            if training.shard
            else gradient_strategy(1),
        )

    def _steps(self) -> list[list[int]]:
        """Return the unit numbers of every step of the whole run."""
        longest, sizes = [], []
        for unit in self.units:
            longest.append(max(self.lengths[text] for text in unit.texts))
            sizes.append(len(unit.texts))
        steps: list[list[int]] = []
        for epoch in range(self.training.epochs):
            steps += training_steps(
                longest,
                batch_size=self.training.batch_size,
                seed=self.seed,
                epoch=epoch,
                sizes=sizes,
            )
        return steps

    def step(self) -> Metrics:
        """Take the next step of the corpus."""
        numbers = self.steps[self.progress.step]
        return self.step_on([self.units[number] for number in numbers])

    def step_on(self, units: list[Unit]) -> Metrics:
        """Take one optimiser step on some units; return its metrics."""
        started = time.monotonic()
        self.network.module.train()
        sizes = []
        for unit in units:
            sizes.append(sum(self.lengths[text] for text in unit.texts))
        parts: list[Part] = []
        budget = self.training.batch_tokens
        for numbers in whole_units(processes.share(sizes), sizes, budget):
            part = [units[number] for number in numbers]
            parts.append(partial(self._compute, part, len(units)))
        if self.is_sharded and not parts:
            parts.append(idle(partial(self._compute, units[:1], len(units))))
        rate = self._learning_rate()
        metrics = self.train_step.take(parts, rate=rate)
        self.progress.step += 1
        texts, tokens, places = (
            metrics.pop(name) for name in ("texts", "tokens", "places")
        )
        self.tokens += int(tokens)
        count(training_tokens=int(tokens))
        metrics["learning_rate"] = rate
        metrics["padding"] = 1 - tokens / places
        metrics["texts_per_second"] = texts / (time.monotonic() - started)
        return metrics

    def _compute(
        self, units: list[Unit], count: int
    ) -> tuple[Tensor, Metrics]:
        """Return (loss, metrics) of one part of a step.

        units: of this part. count: units of the whole step. The loss is the part's sum over
        `count`, so that the losses of all parts add up to the mean of the step. The metric `places`
        is the number of tokens computed, padding included.
        """
        texts, loss, places = self.loss(units)
        loss = loss / count
        numbers = {
            "loss": float(loss.detach()),
            "texts": len(texts),
            "tokens": sum(self.lengths[text] for text in texts),
            "places": places,
        }
        return loss, numbers

    def loss(self, units: list[Unit]) -> tuple[list[int], Tensor, int]:
        """Return the units' texts, −ln P of their judgements plus penalties, and places computed.

        Several heads each learn from the judgements as weighted for them; the loss is their mean.
        """
        texts, _ = self.train.part(units)
        by_head, places = self._scores([self.ids[text] for text in texts])
        features = self.features[texts].to(self.device)
        losses = []
        for corpus, scores in zip(self.corpora, by_head.T, strict=True):
            evidence = {}
            for kind, of_kind in corpus.part(units)[1].items():
                evidence[kind] = of_kind.to(self.device)
            penalty = self.model.penalty(
                scores, evidence, features, whole=False
            )
            likelihood = self.model.log_likelihood(scores, evidence, features)
            losses.append(penalty - likelihood)
        return texts, torch.stack(losses).mean(), places

    def _scores(self, ids: list[Tokens]) -> tuple[Tensor, int]:
        """Return the scores of some texts [b, heads], and the places computed, with padding."""
        is_mixed = self.precision != torch.float32
        with torch.autocast(
            self.device.type, self.precision, enabled=is_mixed
        ):
            if processes.is_divided(self.network.module):
                # one pass, as in the other processes
                batch = collate(ids, self.network.pad_id).to(self.device)
                return self.network.forward_heads(batch), batch.ids.numel()
            return self.network.forward_texts(ids, self.training.batch_tokens)

    def evaluate(self) -> Metrics | None:
        """Measure the held-out texts, if an evaluation is due."""
        if self.progress.step not in self.evaluated_after:
            return None
        return self.measure()

    @torch.no_grad()
    def measure(self) -> Metrics:
        """Return the loss and the metrics of the held-out texts.

        Links are fitted once more when the network is trained, so the loss is that of freshly
        fitted links.
        """
        self.network.module.eval()
        scores = torch.zeros(len(self.held_out))
        lengths = [len(ids) for ids in self.held_out_ids]
        batches = by_length(lengths, self.training.batch_tokens)
        with whole(self.network):
            for part in batches[processes.rank() :: processes.count()]:
                by_head, _ = self._scores(
                    [self.held_out_ids[text] for text in part]
                )
                scores[part] = by_head.mean(1).cpu()
        processes.summed(scores)
        is_cut = np.zeros(len(scores), dtype=bool)
        held_out_scores = Scores(scores.double().numpy(), is_cut)
        evidence = self.held_out.evidence
        model = links_alone(calibrated(self.model, held_out_scores, evidence))
        count = sum(map(len, evidence.values()))
        loss = -float(model.log_likelihood(scores, evidence)) / count
        return {
            "held_out_loss": loss,
            **_held_out_metrics(scores, self.held_out, model),
        }

    def keep_best(self) -> None:
        """Copy the present weights."""
        self.best = {}
        for name, tensor in self._weights().items():
            self.best[name] = tensor.detach().clone()

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW. Biases and norms have no weight decay; head and links have `head_lr`."""
        training, module = self.training, self.network.module
        body = getattr(module, module.base_model_prefix)
        body_ids = {id(parameter) for parameter in body.parameters()}
        decayed, undecayed, head = [], [], []
        for parameter in module.parameters():
            if id(parameter) not in body_ids:
                head.append(parameter)
            elif parameter.ndim > 1:
                decayed.append(parameter)
            else:
                undecayed.append(parameter)
        head += self.model.parameters()
        groups = [
            {
                "params": trainable(decayed),
                "weight_decay": training.weight_decay,
            },
            {"params": trainable(undecayed), "weight_decay": 0.0},
            {
                "params": trainable(head),
                "weight_decay": 0.0,
                "factor": training.head_lr,
            },
        ]
        return adamw(groups, training.lr, self.device)

    def _learning_rate(self) -> float:
        """Return the next step's rate: linear warm-up, then linear decay to zero."""
        step, warm = self.progress.step, self.training.warmup * self.total
        rising = (step + 1) / (warm + 1)
        falling = (self.total - step) / max(self.total - warm, 1)
        return self.training.lr * min(rising, falling)

    def _weights(self) -> dict[str, Tensor]:
        """Return everything that is learned, by name: not what adapters leave as it is."""
        weights = {}
        for name, tensor in learned_state(self.network.module).items():
            weights[f"network.{name}"] = tensor
        for name, tensor in self.model.state_dict().items():
            weights[f"observation.{name}"] = tensor
        return weights

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self._weights().items():
            if name in tensors:
                tensor.copy_(share_like(tensors[name], tensor))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the tokens read so far; the weights, and the best ones."""
        tensors = with_best(self._weights(), self.best)
        return {"tokens": self.tokens}, tensors

    def load(
        self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Take over what `state` returned."""
        self.tokens = values["tokens"]
        self._put(tensors)
        best = best_in(tensors, self._weights())
        self.best = {name: one.to(self.device) for name, one in best.items()}

    def finish(self) -> None:
        """Put the best weights in place, whole."""
        self._put(self.best)
        end_division(self.network)
        recompute_layers(self.network.module, wanted=False)


def _held_out_metrics(
    scores: Tensor, held_out: Corpus, model: ObservationModel
) -> dict[str, float]:
    """Return each kind's metrics of the held-out judgements."""
    metrics: dict[str, float] = {}
    for kind, evidence in held_out.evidence.items():
        if len(evidence):
            of_kind = scores[evidence.index]
            values = model.links[kind].metrics(of_kind, evidence.targets)
            for name, value in values.items():
                metrics[f"held_out_{name}"] = value
    return metrics


def open_network(
    settings: Encoder | Tiny, division: Division, seed: int
) -> Network:
    """Open the network that is to be trained, or make it.

    A trained head reads as it has learned to, unless the settings name something else.
    """
    examples = division.train.examples
    if isinstance(settings, Tiny):
        texts = [joined(example) for example in examples]
        length = settings.max_length or DEFAULT_MAX_LENGTH
        return make_tiny(
            texts,
            vocabulary=settings.vocabulary,
            max_length=length,
            cut=settings.cut,
            dropout=settings.dropout,
            seed=seed,
        )
    network = Network.open(
        settings.name,
        max_length=settings.max_length,
        new_head=settings.new_head,
        dtype=settings.dtype,
        is_frozen=settings.lora > 0,
        lora=settings.adapters,
        cut=settings.cut,
        dropout=settings.dropout,
        seed=seed,
    )
    if settings.template is not None:
        network.use_template(settings.template)
    elif network.has_new_head:
        is_chat = any(isinstance(e.prompt, tuple) for e in examples)
        network.use_template(CHAT if is_chat else None, wanted=False)
    return network
