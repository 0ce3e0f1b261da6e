"""GRPO: `steer` against TRL's GRPOTrainer, same GPT, same reward function, in one run.

    pip install 'tastemaker[peers]'
    python benchmarks/grpo_speed.py --policy gpt --seeds 0 1 2   # gpt: a GPT of the playground
    python benchmarks/grpo_speed.py                              # trains one first

Both start from the same weights and begin reviews from the start token alone; 128 completions a
rollout in groups of 8, of at most 64 tokens, drawn at temperature 1 without filters. Both take two
epochs of two minibatches over a rollout, by the loss of the GRPO paper (a mean over completions of
the mean over their tokens, scores standardised within a group) with clip 0.2, no KL, no entropy
bonus, AdamW with the same rate, epsilon and clipped norm, falling in a line to 0, all in float32.
The reward is a Python function: the playground's gold score. Three things are made easier for TRL
than it ships: no gradient checkpointing, no bfloat16, which some processors emulate slowly, and
minibatches of 64, not 8. Ours pays for a reference's log-probabilities, by which it shows the KL;
TRL, without KL, has no reference.

Time is taken alike: from the first call of the reward function to the last, which are whole turns
of update and rollout, start-up left out. The two follow each other, ours first for even seeds.
Reported for each: completions and tokens a second, the mean reward of the first and of the last
quarter of the rollouts, and the curve in eight parts. The last line is one JSON object.
"""

import argparse
import copy
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from common import spread

import tastemaker as tm
from tastemaker.gpt import Completion, Policy
from tastemaker.playground import gold_score

MINIBATCHES = EPOCHS = 2
CLIP, NORM, EPSILON = 0.2, 1.0, 1e-5


class Recorder:
    """The reward function of both: the playground's gold score, with the time and the rewards of
    each call.
    """

    name = __name__ = "gold"

    def __init__(self, batch: int) -> None:
        self.batch, self.times = batch, list[float]()
        self.rewards, self.tokens = list[float](), list[int]()

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return the scores, as `steer` asks; texts that are only measured are not recorded."""
        return self._scored(
            [c.text for c in completions], [len(c.ids) for c in completions]
        )

    def __call__(
        self, completions: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        """Return the scores, as TRL asks."""
        return self._scored(completions, [len(ids) for ids in completion_ids])

    def _scored(self, texts: list[str], lengths: list[int]) -> list[float]:
        began = time.perf_counter()
        scores = [gold_score(text) for text in texts]
        if len(texts) == self.batch:
            self.times.append(began)
            self.rewards.append(statistics.fmean(scores))
            self.tokens.append(sum(lengths))
        return scores

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        seconds, turns, quarter = (
            self.times[-1] - self.times[0],
            len(self.times) - 1,
            max(1, len(self.rewards) // 4),
        )
        edges = [round(len(self.rewards) * part / 8) for part in range(9)]
        parts = [self.rewards[a:b] for a, b in itertools.pairwise(edges) if b > a]
        return {
            "completions_per_second": self.batch * turns / seconds,
            "tokens_per_second": sum(self.tokens[1:]) / seconds,
            "first_quarter": statistics.fmean(self.rewards[:quarter]),
            "last_quarter": statistics.fmean(self.rewards[-quarter:]),
            "curve": [round(statistics.fmean(part), 2) for part in parts],
        }


def _ours(policy: Policy, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    reward = Recorder(given.batch)
    algorithm = tm.GRPO(
        samples=given.group,
        clip=CLIP,
        lr=given.lr,
        epochs=EPOCHS,
        minibatches=MINIBATCHES,
        target_kl=math.inf,
        entropy=0.0,
    )
    tm.steer(
        policy,
        reward,
        algorithm=algorithm,
        kl=tm.KL(0.0),
        sampling=tm.Sampling(max_tokens=given.max_tokens),
        limits=tm.Limits(patience=given.steps + 1),
        steering=tm.Steering(
            steps=given.steps,
            batch=given.batch,
            clip=NORM,
            adam_epsilon=EPSILON,
            measured=given.batch - 1,
        ),
        seed=seed,
    )
    return reward.figures()


def _theirs(policy: Policy, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import GenerationConfig, PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    tokenizer, reward = copy.deepcopy(policy.tokenizer), Recorder(given.batch)
    if tokenizer("")["input_ids"] != policy.reader.start:
        raise SystemExit(
            "TRL's prompts are texts, and this tokenizer does not read an empty one "
            "as the start token"
        )
    prompts = given.batch // given.group
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            folder,
            max_steps=given.steps * EPOCHS * MINIBATCHES,
            per_device_train_batch_size=given.batch // MINIBATCHES,
            steps_per_generation=MINIBATCHES,
            num_iterations=EPOCHS,
            num_generations=given.group,
            max_completion_length=given.max_tokens,
            temperature=1.0,
            beta=0.0,
            epsilon=CLIP,
            loss_type="grpo",
            scale_rewards="group",
            learning_rate=given.lr,
            lr_scheduler_type="linear",
            warmup_steps=0,
            weight_decay=0.0,
            adam_epsilon=EPSILON,
            max_grad_norm=NORM,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            seed=seed,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        rows = Dataset.from_list([{"prompt": ""}] * (prompts * given.steps))
        module = copy.deepcopy(policy.module)
        ends = {
            name: getattr(tokenizer, name)
            for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        }
        module.generation_config = GenerationConfig(
            **ends
        )  # the folder's own draws by min_p, as `steer` never does
        trainer = GRPOTrainer(
            module, [reward], config, train_dataset=rows, processing_class=tokenizer
        )
        trainer.remove_callback(PrinterCallback)  # prints to stdout
        trainer.train()
    return reward.figures()


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--policy", help="a GPT trained on the playground; left out: one is trained"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=40, help="rollouts")
    parser.add_argument("--batch", type=int, default=128, help="completions a rollout")
    parser.add_argument(
        "--group", type=int, default=8, help="completions that are compared"
    )
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--lr", type=float, default=tm.GRPO().lr)
    given = parser.parse_args()
    if find_spec("trl") is None:
        raise SystemExit(
            "this benchmark compares with TRL: pip install 'tastemaker[peers]'"
        )
    if given.steps < 2 or given.batch % (given.group * MINIBATCHES):
        parser.error(
            "--steps must be at least 2, and --batch a multiple of twice --group"
        )
    return given


def main() -> None:
    """Measure both, and print one JSON line."""
    given = _given()
    policy = (
        tm.Policy.load(given.policy)
        if given.policy
        else tm.pretrain(tm.Documents(["playground"]))
    )
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "trl": []}
    sides = [("ours", _ours), ("trl", _theirs)]
    for seed in given.seeds:
        for name, train in sides if seed % 2 == 0 else sides[::-1]:
            runs[name].append(train(policy, given, seed))
            sys.stderr.write(
                json.dumps({"seed": seed, "side": name, **runs[name][-1]}) + "\n"
            )
    rates = {
        name: [run["completions_per_second"] for run in recorders]
        for name, recorders in runs.items()
    }
    figures = (
        "completions_per_second",
        "tokens_per_second",
        "first_quarter",
        "last_quarter",
    )
    line = {
        "benchmark": "grpo_speed",
        "steps": given.steps,
        "batch": given.batch,
        "group": given.group,
        "max_tokens": given.max_tokens,
        "lr": given.lr,
        "threads": torch.get_num_threads(),
        "trl_version": version("trl"),
    }
    for name, recorders in runs.items():
        line[name] = {
            key: spread([run[key] for run in recorders], 3) for key in figures
        }
        line[name]["curves"] = [run["curve"] for run in recorders]
    ratios = [a / b for a, b in zip(rates["ours"], rates["trl"], strict=True)]
    sys.stdout.write(json.dumps(line | {"ratio": spread(ratios, 2)}) + "\n")


if __name__ == "__main__":
    main()
