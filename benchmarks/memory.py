"""Memory of large models: a Llama of 85 million parameters measured, one of 8 billion computed.

    python benchmarks/memory.py [--tokens 512]

Saves a random Llama in bfloat16 with a head into a temporary folder. A process of its own takes two
steps of `fit` on it: of adapters of rank 16 with gradient checkpointing, on all linear layers and
on those that peft takes for Llama (q_proj, v_proj), and of all weights without either. The last
line is one JSON object:

- lora, lora_q_v, full: step_bytes a parameter, the largest resident memory while the steps are
  taken, less what the process had before the model was opened; tensor_bytes a parameter, of
  weights, gradients and optimiser; checkpoint_bytes a parameter, of the file of a checkpoint whose
  best weights are other ones than the present; checkpoint_share, of the same over the bytes of the
  saved model; checkpoint_share_at_best, of one whose best weights are the present ones;
  learned_share of the parameters.
- adapter_share: the bytes of the folder of adapters over those of the saved model.
- computed: what `--dry-run` says of a Llama of 8 billion parameters, in GB: fits of adapters with
  checkpointing, at 8,192 tokens at once, and of all weights on 8 processes that share weights,
  gradients and optimiser (FSDP2).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from common import SteppedFit
from transformers import LlamaConfig, LlamaForSequenceClassification

import tastemaker as tm
from tastemaker.adapters import Lora
from tastemaker.kinds import links_from
from tastemaker.reward import Corpus, FitTask, Network, fit_memory, make_tiny
from tastemaker.train import Checkpoint, Run, state_tensors

RANK = 16
SMALL: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 2048,
    "max_position_embeddings": 512,
}
LARGE: dict[str, Any] = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128_256,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
    "num_labels": 1,
}
TARGETS = {"lora": "all", "lora_q_v": "q_proj,v_proj"}
CARDS = 8
"""Processes that share the weights of a full fit."""


def resident(name: str) -> int:
    """Return a figure of this process's resident memory by its name in /proc, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise SystemExit("/proc/self/status is not here: this benchmark needs Linux.")


def save_model(folder: Path) -> None:
    """Save a random Llama of 85 million parameters in bfloat16, with a tokenizer and a head."""
    tokenizer = make_tiny(["a few words and others"], vocabulary=300).tokenizer
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
        **SMALL,
    )
    torch.manual_seed(0)
    module = LlamaForSequenceClassification(config).to(torch.bfloat16)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def size_of(tensors: list[torch.Tensor]) -> int:
    """Return the bytes of some tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def checkpoint_sizes(task: FitTask) -> tuple[int, int]:
    """Return the bytes of a checkpoint whose best weights are the present ones, and of another."""
    sizes = []
    with tempfile.TemporaryDirectory() as place:
        run = Run(Path(place) / "run", {})
        task.keep_best()
        for step in (1, 2):
            tensors = task.state()[1] | state_tensors(task.optimizer, task.device)
            run.save(Checkpoint(step, {}, tensors))
            files = Path(place).glob(f"run/checkpoint-*{step}/*")
            sizes.append(sum(path.stat().st_size for path in files))
            task.step()
    return sizes[0], sizes[1]


def child(folder: Path, way: str, tokens: int) -> None:
    """Take two steps and print the figures of this process."""
    is_lora = way in TARGETS
    before = resident("VmRSS")
    network = Network.open(str(folder), is_frozen=is_lora, max_length=128)
    parameters = sum(w.numel() for w in network.module.parameters())
    if is_lora:
        network.add_adapters(Lora(RANK, TARGETS[way]), str(folder), 0)
    words = "a few words and others " * 40
    rows = tokens // 128
    pairs = []
    for number in range(rows // 2):
        texts = f"{number} {words}", f"{words} {number} {words}"
        pairs.append(tm.Comparison(*texts))
    links = links_from(pairs, tm.Likelihood(judges=False))
    training = tm.Training(
        batch_size=rows,
        batch_tokens=tokens,
        epochs=4,  # a step each: two are measured, and two fill checkpoints
        gradient_checkpointing=is_lora,
        evaluations=1,
    )
    fit = SteppedFit(
        network,
        links,
        Corpus.of(pairs, links),
        training,
        device=torch.device("cpu"),
        seed=0,
        precision=torch.float32 if not is_lora else torch.bfloat16,
    )
    # what loading took for a moment is forgotten
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        fit.task.step()
    peak = resident("VmHWM")
    task = fit.task
    weights = list(network.module.parameters())
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    optimizer = state_tensors(task.optimizer, task.device)
    at_best, other = checkpoint_sizes(task)
    model = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    learned = sum(weight.numel() for weight in weights if weight.requires_grad)
    figures = {
        "parameters": parameters,
        "learned_share": learned / parameters,
        "step_bytes": (peak - before) / parameters,
        "tensor_bytes": size_of([*weights, *gradients, *optimizer.values()])
        / parameters,
        "checkpoint_bytes": other / parameters,
        "checkpoint_share": other / model,
        "checkpoint_share_at_best": at_best / model,
    }
    if is_lora:
        network.merge_adapters()
        assert network.adapter is not None
        figures["adapter_share"] = (
            size_of(list(network.adapter.tensors.values())) / model
        )
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


def computed(folder: Path) -> dict[str, Any]:
    """Return what a fit of a Llama of 8 billion parameters takes, in GB."""
    config = LlamaConfig(architectures=["LlamaForSequenceClassification"], **LARGE)
    config.dtype = torch.bfloat16
    config.save_pretrained(folder)
    results: dict[str, Any] = {}
    for name, rank, cards in (("lora", RANK, 1), ("full", 0, CARDS)):
        memory = fit_memory(
            tm.Encoder(str(folder), max_length=1024, lora=rank),
            {"gradient_checkpointing": True},
            device="cpu",
            precision="bfloat16",
        )
        parts = {}
        for part, size in memory.parts.items():
            is_shared = not part.startswith("activations")
            parts[part] = round(size / (cards if is_shared else 1) / 1e9, 2)
        results[name] = {
            "parameters": memory.parameters,
            "cards": cards,
            "gb_a_card": parts,
            "total_gb_a_card": round(sum(parts.values()), 2),
        }
        learned = memory.parts["gradients"] // 4
        # weights, the best ones and two moments of each
        results[name]["checkpoint_share"] = round(
            16 * learned / (2 * memory.parameters), 4
        )
    return results


def main() -> None:
    """Measure in processes of their own, compute, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "WAY"))
    arguments = parser.parse_args()
    if arguments.child:
        folder, way = arguments.child
        child(Path(folder), way, arguments.tokens)
        return
    results: dict[str, Any] = {
        "benchmark": "memory",
        "tokens": arguments.tokens,
        "rank": RANK,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save_model(folder)
        for way in (*TARGETS, "full"):
            command = [sys.executable, __file__, "--tokens", str(arguments.tokens)]
            command += ["--child", str(folder), way]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[way] = json.loads(done.stdout.splitlines()[-1])
        results["computed"] = computed(Path(temporary) / "large")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
