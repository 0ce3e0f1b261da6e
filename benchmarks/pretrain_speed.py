"""Pretraining throughput: `pretrain`'s loop against a plain use of transformers' Trainer, same
network and documents.

    pip install 'tastemaker[peers]'                            # Trainer needs accelerate
    python benchmarks/pretrain_speed.py                        # tiny on 6,000 playground reviews
    python benchmarks/pretrain_speed.py --seeds 0 1 2          # … and how much that is chance
    python benchmarks/pretrain_speed.py --adamw --grow-at 0    # … with the peer's optimiser, all
    layers from the start python benchmarks/pretrain_speed.py --shares 0.8 0.9 1     # … of the
    documents are enough for the peer's loss? python benchmarks/pretrain_speed.py --size small
    --source aclImdb.tar.gz --documents 1500

Both start from the same weights and read every document once: the same token ids, weight decay,
clipping, warm-up and linear decay. Ours is `PretrainTask` as `pretrain` runs it, without
evaluations: Muon for the matrices unless --adamw is given, half of the layers first unless
--grow-at is 0. The peer is what its examples show: Trainer with DataCollatorForLanguageModeling and
AdamW, documents cut to the context, a fixed number of documents a step (as many as make so many
tokens, on average), padded to the longest of each; logging, saving and evaluation switched off.
Tokens are counted without padding, and all are then measured on the same held-out documents.

A small step learns more from a token and takes longer for it. So each side takes steps of several
sizes: --steps and
--peer-steps times what `pretrain` takes, at a rate that grows with the root. The peer's best loss
(mean over seeds) is the bar. `equal_loss_tokens_ratio`: tokens a second of ours, the fastest that
is no worse, over those of the peer that set the bar. `ratio`: both at steps of 1, whatever they
then know. --shares: ours, at steps of 1, reads so much of the documents too, with a schedule as
short; `equal_loss_ratio` is the seconds of the peer that set the bar over those of the fastest run
of ours that is no worse. Every seed makes its own network and split, and is a round: the peer runs
first, then ours; medians of seconds. The last line is one JSON object.
"""

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
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
    trainer.remove_callback(
        PrinterCallback
    )  # what it says stands in the way of the JSON line
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="tiny", choices=list(SIZES))
    parser.add_argument("--source", default="playground")
    parser.add_argument("--documents", type=int, default=6000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--adamw", action="store_true", help="ours too trains all weights by AdamW"
    )
    parser.add_argument(
        "--grow-at",
        type=float,
        help="share of the tokens that half of the layers learn; the size's",
    )
    parser.add_argument(
        "--steps",
        type=float,
        nargs="+",
        default=[1.0],
        help="how large, times pretrain's",
    )
    parser.add_argument(
        "--peer-steps",
        type=float,
        nargs="+",
        default=[1.0, 0.5, 0.33],
        help="how large, times pretrain's",
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        default=[1.0],
        help="of the documents that ours reads",
    )
    given = parser.parse_args()
    size = replace(SIZES[given.size], **({"muon": 0.0} if given.adamw else {}))
    size = size if given.grow_at is None else replace(size, grow_at=given.grow_at)
    peers = {
        f"trainer, steps of {s:g}": partial(_theirs, steps=s)
        for s in sorted({1.0, *given.peer_steps})
    }
    whole = {
        f"ours, steps of {s:g}": partial(_ours, steps=s)
        for s in sorted({1.0, *given.steps})
    }
    parts = {
        f"ours, {s:g} read": partial(_ours, share=s) for s in given.shares if s != 1
    }
    runs = peers | whole | parts
    texts: list[Example] = list(islice(tm.Documents([given.source]), given.documents))
    tokenizer = make_tokenizer(
        (e.text for e in texts), vocabulary=size.vocabulary, context=size.context
    )
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, list[float]] = {name: [] for name in runs}
    for seed in given.seeds:
        first = Policy(make_gpt(size, tokenizer, seed=seed), tokenizer)
        with tempfile.TemporaryDirectory() as folder:
            pieces, sides = (
                Path(folder) / "pieces",
                {"context": size.context, "held_out": 0.05, "seed": seed},
            )
            corpora = tokenized(texts, first.reader, pieces, **sides)
            for name, train in runs.items():
                policy = Policy(copy.deepcopy(first.module), tokenizer)
                seconds[name].append(train(policy, corpora, size, seed))
                policy.module.eval()
                losses[name].append(
                    float(held_out_loss(policy, corpora[1], seed=0).mean())
                )
                note = f"{name}: {seconds[name][-1]:.1f} s, held-out loss {losses[name][-1]:.4f}"
                sys.stderr.write(f"seed {seed}, {note}\n")
            tokens = corpora[0].counts.tokens
    took = {name: statistics.median(found) for name, found in seconds.items()}
    loss = {name: statistics.fmean(found) for name, found in losses.items()}
    bar = min(peers, key=loss.__getitem__)
    as_good = [name for name in whole | parts if loss[name] <= loss[bar]]
    found = {
        "benchmark": "pretrain_speed",
        "size": given.size,
        "muon": size.muon,
        "grow_at": size.grow_at,
        "parameters": first.parameters,
        "tokens": tokens,
        "seeds": given.seeds,
        "threads": torch.get_num_threads(),
        "runs": {
            name: {
                "seconds": spread(seconds[name]),
                "held_out_loss": spread(losses[name]),
            }
            for name in runs
        },
        "ratio": round(took["trainer, steps of 1"] / took["ours, steps of 1"], 2),
        "bar": bar,
        "equal_loss_ratio": _best(took, bar, as_good),
        "equal_loss_tokens_ratio": _best(
            took, bar, [name for name in as_good if name in whole]
        ),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _best(took: dict[str, float], bar: str, as_good: list[str]) -> float | None:
    """Return how many times as fast as the bar the fastest run that is as good was; None where
    there is none.
    """
    return (
        round(took[bar] / min(took[name] for name in as_good), 2) if as_good else None
    )


if __name__ == "__main__":
    main()
