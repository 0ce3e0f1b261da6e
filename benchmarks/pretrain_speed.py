"""Pretraining throughput: `pretrain`'s loop against a plain use of transformers' Trainer, same network and documents.

    pip install 'tastemaker[peers]'                       # Trainer needs accelerate
    python benchmarks/pretrain_speed.py                   # tiny on 6,000 playground reviews
    python benchmarks/pretrain_speed.py --adamw           # … with the peer's optimiser
    python benchmarks/pretrain_speed.py --shares 0.5 0.6 1    # … of the documents are enough for the peer's loss?
    python benchmarks/pretrain_speed.py --larger 2 3          # … times the tokens a step, and still the peer's loss?
    python benchmarks/pretrain_speed.py --grow-at 0           # … with all layers from the first step on, as the peer
    python benchmarks/pretrain_speed.py --size small --source aclImdb.tar.gz --documents 1500

Both start from the same weights and read every document once: the same token ids, the same weight decay, clipping,
warm-up and linear decay, about as many tokens a step, and AdamW with the same peak rate and betas, which ours leaves to
Muon for the matrices, as `pretrain` does, unless --adamw is given. Ours teaches half of the layers first, as `pretrain`
does, unless --grow-at is 0. The peer is what its examples show: Trainer with
DataCollatorForLanguageModeling, documents cut to the context, a fixed number of documents
a step (as many as make our tokens a step, on average), padded to the longest of each; logging, saving and evaluation
switched off. Ours is `TextDescent` as `pretrain` runs it, without evaluations. Tokens are counted without padding.
Both are then measured on the same held-out documents. The peer runs first, then ours, `--rounds` times; medians.
--shares: ours also reads only so much of the documents, with a schedule as short, so that the seconds until it knows as
much as the peer are measured and not guessed (`equal_loss_ratio`: the peer's seconds over those of the smallest share
that reaches its loss).
--larger: ours also takes steps so many times as large, at a rate that grows with the root, so that what it learns more
from a token is given for speed (`equal_loss_tokens_ratio`: the best tokens a second over the peer's, all documents
read, among the runs that reach its loss). The last line is one JSON object.
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
from torch.utils.data import Dataset
from transformers import DataCollatorForLanguageModeling, PrinterCallback, Trainer, TrainingArguments

import tastemaker as tm
from tastemaker.data.judgements import Example
from tastemaker.evaluation.perplexity import held_out_loss
from tastemaker.learning.pretraining import Pretraining, TextDescent
from tastemaker.learning.run import Run
from tastemaker.learning.tokens import TokenFile, tokenized
from tastemaker.models.policy.gpt import SIZES, Size, make_gpt, make_tokenizer
from tastemaker.models.policy.policy import Policy
from tastemaker.models.precision import choose_precision


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
    share: float = 1.0,
    larger: float = 1.0,
) -> float:
    """Return the seconds of one epoch, or of a share of it, by steps so many times as large."""
    cpu = torch.device("cpu")
    training = Pretraining(epochs=share, evaluations=1)
    descent = TextDescent(
        policy,
        corpora,
        training,
        lr=size.lr * larger**0.5,
        batch_tokens=round(size.batch_tokens * larger),
        device=cpu,
        precision=choose_precision(cpu),
        seed=seed,
        run=Run(None, {}),
        say=lambda _: None,
        muon=size.muon,
        grow_at=size.grow_at,
    )
    started = time.perf_counter()
    descent.run()
    return time.perf_counter() - started


def _theirs(policy: Policy, corpora: tuple[TokenFile, TokenFile], size: Size, seed: int) -> float:
    """Return the seconds of one epoch by Trainer."""
    train = corpora[0]
    mean = train.counts.tokens / len(train)
    settings, folder = Pretraining(), tempfile.mkdtemp()
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        per_device_train_batch_size=max(1, round(size.batch_tokens / mean)),
        learning_rate=size.lr,
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
    trainer = Trainer(policy.module, arguments, data_collator=collator, train_dataset=_Pieces(train))
    trainer.remove_callback(PrinterCallback)  # what it says stands in the way of the JSON line
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny", choices=list(SIZES))
    parser.add_argument("--source", default="playground")
    parser.add_argument("--documents", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adamw", action="store_true")
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0], help="of the documents that ours reads")
    parser.add_argument("--larger", type=float, nargs="+", default=[], help="steps that ours also takes")
    parser.add_argument("--grow-at", type=float, help="share of the tokens that half of the layers learn; the size's")
    given = parser.parse_args()
    size = replace(SIZES[given.size], **({"muon": 0.0} if given.adamw else {}))
    size = size if given.grow_at is None else replace(size, grow_at=given.grow_at)
    texts: list[Example] = list(islice(tm.Documents([given.source]), given.documents))
    tokenizer = make_tokenizer((e.text for e in texts), vocabulary=size.vocabulary, context=size.context)
    first = Policy(make_gpt(size, tokenizer, seed=given.seed), tokenizer)
    runs: dict[str, Any] = {"trainer": _theirs} | {
        "ours" if share == 1 else f"ours, {share:g}": partial(_ours, share=share)
        for share in sorted({1.0, *given.shares})
    }
    whole = {f"ours, steps of {larger:g}": partial(_ours, larger=larger) for larger in given.larger}
    runs |= whole
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        corpora = tokenized(
            texts, first.reader, Path(folder) / "pieces", context=size.context, held_out=0.05, seed=given.seed
        )
        for _ in range(given.rounds):
            for name, train in runs.items():
                policy = Policy(copy.deepcopy(first.module), tokenizer)
                seconds[name].append(train(policy, corpora, size, given.seed))
                policy.module.eval()
                losses[name] = float(held_out_loss(policy, corpora[1], seed=0).mean())
                sys.stderr.write(f"{name}: {seconds[name][-1]:.1f} s, held-out loss {losses[name]:.4f}\n")
        tokens = corpora[0].counts.tokens
    took = {name: statistics.median(found) for name, found in seconds.items()}
    speeds = {name: tokens / took[name] for name in ("trainer", "ours")}
    equal = {name: took[name] for name in runs if name != "trainer" and losses[name] <= losses["trainer"]}
    every_token = [took[name] for name in equal if name in {"ours", *whole}]
    found = {
        "benchmark": "pretrain_speed",
        "size": given.size,
        "muon": size.muon,
        "grow_at": size.grow_at,
        "parameters": first.parameters,
        "tokens": tokens,
        "threads": torch.get_num_threads(),
        "tokens_per_second": round(speeds["ours"]),
        "trainer_tokens_per_second": round(speeds["trainer"]),
        "ratio": round(speeds["ours"] / speeds["trainer"], 2),
        "held_out_loss": round(losses["ours"], 4),
        "trainer_held_out_loss": round(losses["trainer"], 4),
        "runs": {name: {"seconds": round(took[name], 1), "held_out_loss": round(losses[name], 4)} for name in runs},
        "equal_loss_ratio": round(took["trainer"] / min(equal.values()), 2) if equal else None,
        "equal_loss_tokens_ratio": round(took["trainer"] / min(every_token), 2) if every_token else None,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
