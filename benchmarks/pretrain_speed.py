"""Pretraining throughput: `pretrain`'s loop against a plain use of transformers' Trainer, on the
same network and documents.

    pip install 'tastemaker[peers]'       # Trainer needs accelerate
    python benchmarks/pretrain_speed.py   # tiny on 6,000 playground reviews

    --seeds 0 1 2            # several seeds show how much is chance
    --adamw --grow-at 0      # the peer's optimiser, all layers from the start
    --shares 0.8 0.9 1       # how many documents are enough for the peer's loss?
    --size small --source aclImdb.tar.gz --documents 1500

Both start from the same weights and read every document once: the same token ids, weight decay,
clipping, warm-up and linear decay. Ours is `PretrainTask` as `pretrain` runs it, without
evaluations: Muon for the matrices unless --adamw is given, half of the layers first unless
--grow-at is 0. The peer is what its examples show: Trainer with DataCollatorForLanguageModeling and
AdamW, documents cut to the context, a fixed number of documents a step (as many as make so many
tokens, on average), padded to the longest of each; logging, saving and evaluation switched off.
Tokens are counted without padding, and all are then measured on the same held-out documents.

A small step learns more from a token and takes longer for it. So each side takes steps of several
sizes: --steps and --peer-steps times what `pretrain` takes, at a rate that grows with the root. The
peer's best loss (mean over seeds) is the bar. Every seed makes its own network and split, and is a
round: the peer runs first, then ours. Seconds are medians. The last line is one JSON object:

- equal_loss_tokens_ratio: tokens a second of our fastest run that is no worse than the bar, over
  those of the peer's run that set the bar.
- ratio: both at steps of 1, whatever their losses.
- equal_loss_ratio: the same in seconds, with the runs of --shares. They read only a share of the
  documents, at steps of 1, with a schedule as short.
"""

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from common import spread
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

import tastemaker as tm
from tastemaker.data import Example
from tastemaker.fast import choose_precision
from tastemaker.gpt import (
    SIZES,
    Policy,
    Pretraining,
    PretrainTask,
    Size,
    TokenFile,
    held_out_loss,
    make_gpt,
    make_tokenizer,
    tokenized,
)
from tastemaker.train import Run, train


class _Pieces(Dataset[Any]):
    """The documents of a token file, as Trainer wants them."""

    def __init__(self, corpus: TokenFile) -> None:
        self.corpus = corpus

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"input_ids": self.corpus.piece(number)[0].tolist()}


def _ours(
    policy: Policy,
    corpora: tuple[TokenFile, TokenFile],
    size: Size,
    seed: int,
    *,
    steps: float = 1.0,
    share: float = 1.0,
) -> float:
    """Return the seconds of one epoch, or of a share of it, by steps so many times as large."""
    cpu = torch.device("cpu")
    training = Pretraining(epochs=share, evaluations=1)
    run = Run(None, {})
    task = PretrainTask(
        policy,
        corpora,
        training,
        replace(
            size, lr=size.lr * steps**0.5, batch_tokens=round(size.batch_tokens * steps)
        ),
        device=cpu,
        precision=choose_precision(cpu),
        seed=seed,
        run=run,
        say=lambda _: None,
    )
    started = time.perf_counter()
    train(task, run, seed=seed)
    return time.perf_counter() - started


def _theirs(
    policy: Policy,
    corpora: tuple[TokenFile, TokenFile],
    size: Size,
    seed: int,
    *,
    steps: float = 1.0,
) -> float:
    """Return the seconds of one epoch by Trainer, by steps so many times as large."""
    train = corpora[0]
    mean = train.counts.tokens / len(train)
    settings, folder = Pretraining(), tempfile.mkdtemp()
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        per_device_train_batch_size=max(1, round(size.batch_tokens * steps / mean)),
        learning_rate=size.lr * steps**0.5,
        weight_decay=settings.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=settings.clip,
        warmup_steps=settings.warmup,
        lr_scheduler_type="linear",
        seed=seed,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        bf16=choose_precision(torch.device("cpu")) == torch.bfloat16,
    )
    collator = DataCollatorForLanguageModeling(policy.tokenizer, mlm=False)
    trainer = Trainer(
        policy.module, arguments, data_collator=collator, train_dataset=_Pieces(train)
    )
    # What it prints would stand beside the JSON line.
    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


def _arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--size", default="tiny", choices=list(SIZES))
    add("--source", default="playground")
    add("--documents", type=int, default=6000)
    add("--seeds", type=int, nargs="+", default=[0])
    add("--adamw", action="store_true", help="ours too trains all weights by AdamW")
    text = "share of the tokens that half of the layers learn; the size's"
    add("--grow-at", type=float, help=text)
    text = "how large, times pretrain's"
    add("--steps", type=float, nargs="+", default=[1.0], help=text)
    add("--peer-steps", type=float, nargs="+", default=[1.0, 0.5, 0.33], help=text)
    text = "of the documents that ours reads"
    add("--shares", type=float, nargs="+", default=[1.0], help=text)
    return parser.parse_args()


@dataclass(frozen=True)
class _Runs:
    """What is timed, by name: the peer's runs, ours of all documents, and ours of some."""

    peers: dict[str, Callable[..., float]]
    whole: dict[str, Callable[..., float]]
    parts: dict[str, Callable[..., float]]

    @property
    def all(self) -> dict[str, Callable[..., float]]:
        """All runs, in the order of a round."""
        return self.peers | self.whole | self.parts


def _runs(given: argparse.Namespace) -> _Runs:
    """Return the runs that the command line asks for."""
    return _Runs(
        peers={
            f"trainer, steps of {s:g}": partial(_theirs, steps=s)
            for s in sorted({1.0, *given.peer_steps})
        },
        whole={
            f"ours, steps of {s:g}": partial(_ours, steps=s)
            for s in sorted({1.0, *given.steps})
        },
        parts={
            f"ours, {s:g} read": partial(_ours, share=s) for s in given.shares if s != 1
        },
    )


@dataclass
class _Measured:
    """Seconds and held-out losses of each run, by seed."""

    seconds: dict[str, list[float]]
    losses: dict[str, list[float]]
    parameters: int = 0
    tokens: int = 0


def _measure(
    runs: dict[str, Callable[..., float]], given: argparse.Namespace, size: Size
) -> _Measured:
    """Take a round of all runs for every seed."""
    texts: list[Example] = list(islice(tm.Documents([given.source]), given.documents))
    tokenizer = make_tokenizer(
        (e.text for e in texts), vocabulary=size.vocabulary, context=size.context
    )
    measured = _Measured({name: [] for name in runs}, {name: [] for name in runs})
    for seed in given.seeds:
        first = Policy(make_gpt(size, tokenizer, seed=seed), tokenizer)
        with tempfile.TemporaryDirectory() as folder:
            corpora = tokenized(
                texts,
                first.reader,
                Path(folder) / "pieces",
                context=size.context,
                held_out=0.05,
                seed=seed,
            )
            for name, train in runs.items():
                policy = Policy(copy.deepcopy(first.module), tokenizer)
                seconds = train(policy, corpora, size, seed)
                policy.module.eval()
                loss = float(held_out_loss(policy, corpora[1], seed=0).mean())
                measured.seconds[name].append(seconds)
                measured.losses[name].append(loss)
                note = f"{name}: {seconds:.1f} s, held-out loss {loss:.4f}"
                sys.stderr.write(f"seed {seed}, {note}\n")
            measured.tokens = corpora[0].counts.tokens
        measured.parameters = first.parameters
    return measured


def main() -> None:
    """Measure, and print one JSON line."""
    given = _arguments()
    size = replace(SIZES[given.size], **({"muon": 0.0} if given.adamw else {}))
    size = size if given.grow_at is None else replace(size, grow_at=given.grow_at)
    runs = _runs(given)
    measured = _measure(runs.all, given, size)
    seconds = {name: statistics.median(x) for name, x in measured.seconds.items()}
    loss = {name: statistics.fmean(x) for name, x in measured.losses.items()}
    bar = min(runs.peers, key=loss.__getitem__)
    as_good = [name for name in runs.whole | runs.parts if loss[name] <= loss[bar]]
    as_good_whole = [name for name in as_good if name in runs.whole]
    line = {
        "benchmark": "pretrain_speed",
        "size": given.size,
        "muon": size.muon,
        "grow_at": size.grow_at,
        "parameters": measured.parameters,
        "tokens": measured.tokens,
        "seeds": given.seeds,
        "threads": torch.get_num_threads(),
        "runs": {
            name: {
                "seconds": spread(measured.seconds[name]),
                "held_out_loss": spread(measured.losses[name]),
            }
            for name in runs.all
        },
        "ratio": round(seconds["trainer, steps of 1"] / seconds["ours, steps of 1"], 2),
        "bar": bar,
        "equal_loss_ratio": _best(seconds, bar, as_good),
        "equal_loss_tokens_ratio": _best(seconds, bar, as_good_whole),
    }
    sys.stdout.write(json.dumps(line) + "\n")


def _best(seconds: dict[str, float], bar: str, as_good: list[str]) -> float | None:
    """Return the speed of the fastest run that is as good as the bar, over the bar's; else None."""
    if not as_good:
        return None
    return round(seconds[bar] / min(seconds[name] for name in as_good), 2)


if __name__ == "__main__":
    main()
