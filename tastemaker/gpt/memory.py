"""What pretraining and steering a GPT take of memory, before they start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from tastemaker.adapters import (
    WRITER,
    Lora,
    add_adapters,
    base_of,
    bytes_in_full,
    is_adapter,
    merged_bytes,
)
from tastemaker.errors import UsageError
from tastemaker.fast.gpt_layers import most_tokens
from tastemaker.fast.processor import (
    DeviceChoice,
    TrainingChoice,
    cache_budget,
    cache_bytes,
    choose_device,
    choose_precision,
    format_of,
)
from tastemaker.fast.support import supports
from tastemaker.gpt.networks import (
    Size,
    gpt_config,
    matrices_of,
    size_named,
)
from tastemaker.gpt.pretrain_task import Pretraining, PretrainTask
from tastemaker.gpt.writing import MOST_ROWS
from tastemaker.huggingface import (
    NO_CODE,
    check_quantised,
    one_line_errors,
    quiet_transformers,
    set_dropout,
)
from tastemaker.settings import settings_from
from tastemaker.train.memory import (
    ACTIVATIONS,
    FULL_AT_THE_END,
    Memory,
    activation_bytes,
    memory_of,
    on_meta,
    state_bytes,
)

_HEAD_ROWS = 256  # logits that our own pass holds at once


def pretrain_memory(
    start: str | Path | None = None,
    size: str | None = None,
    training: dict[str, Any] | None = None,
    *,
    device: DeviceChoice = "auto",
    precision: TrainingChoice = "auto",
) -> Memory:
    """Return what pretraining takes; no weights and no texts are read.

    start: the folder or hub name to go on from; None: a new GPT of a size. Raises UsageError for
    invalid settings, ModelError where a configuration cannot be opened.
    """
    settings = settings_from(Pretraining, training, "training")
    planned = _Planned(
        settings.adapters,
        settings.dtype,
        settings.gradient_checkpointing,
    )
    momentum_only: dict[int, Any] = {}
    if start is None:
        chosen = size_named(size or "tiny")
        if settings.lora:
            raise UsageError("lora: adapters need a given model (--from).")
        module = _fresh(chosen, settings)
        for matrices in matrices_of(module).values() if chosen.muon else ():
            momentum_only |= {id(matrix): matrix for matrix in matrices}
        tokens = settings.batch_tokens or chosen.batch_tokens
    else:
        module = planned.opened(str(start))
        tokens = settings.batch_tokens or 8192
    chosen_device = choose_device(device)
    is_cpu = chosen_device.type == "cpu"
    at_once = PretrainTask.at_once_cpu if is_cpu else PretrainTask.at_once
    length = min(settings.context or 1024, most_tokens(module))
    return planned.memory(
        module,
        tokens=min(max(tokens, length), max(at_once, length)),
        length=length,
        device=chosen_device,
        precision=choose_precision(chosen_device, precision),
        momentum_only=momentum_only,
    )


def _fresh(size: Size, settings: Pretraining) -> Any:
    """Return a new GPT without memory for its weights."""
    from transformers import GPTNeoXForCausalLM

    config = gpt_config(
        size, settings.vocabulary or size.vocabulary, (0, 0, 0)
    )
    return on_meta(lambda: GPTNeoXForCausalLM(config), "the new GPT")


@dataclass(frozen=True)
class Writes:
    """What is written in a run of steering. rows: at once. tokens: the most of a completion."""

    rows: int
    tokens: int


def steer_memory(
    policy: str | Path,
    *,
    lora: Lora,
    dtype: TrainingChoice,
    gradient_checkpointing: bool,
    at_once: int,
    writes: Writes,
    device: DeviceChoice = "auto",
) -> Memory:
    """Return what steering takes; no weights and no prompts are read.

    at_once: tokens that are computed at once. Prompts are taken to be as long as completions. A
    reward's own memory is not counted. Raises ModelError where a configuration cannot be opened.
    """
    planned = _Planned(lora, dtype, gradient_checkpointing)
    module = planned.opened(str(policy))
    chosen = choose_device(device)
    length = min(2 * writes.tokens, most_tokens(module))
    memory_type = (
        format_of(dtype, module.dtype) if lora.rank else torch.float32
    )
    per_row = length * cache_bytes(module.config, memory_type)
    rows = max(1, min(writes.rows, MOST_ROWS, cache_budget(chosen) // per_row))
    parts, _ = state_bytes(module)
    has_reference = not lora.rank
    # float32 adapters are merged into a copy to write, but not into weights of 4 bits
    is_exact = memory_type == torch.float32 and lora.quantize == "none"
    has_copy = lora.rank > 0 and is_exact
    return planned.memory(
        module,
        tokens=min(at_once, writes.rows * length),
        length=length,
        device=chosen,
        precision=torch.float32,
        more={
            "reference": parts["weights"] if has_reference else 0,
            "merged copy to write": merged_bytes(module) if has_copy else 0,
            "keys and values": rows * per_row,
        },
    )


@dataclass(frozen=True)
class _Planned:
    """The settings of a run that memory depends on."""

    lora: Lora
    dtype: TrainingChoice
    gradient_checkpointing: bool

    def opened(self, source: str) -> Any:
        """Return the network of a folder or hub name without memory for its weights."""
        with quiet_transformers(), one_line_errors(source, "policy"):
            if is_adapter(Path(source)):
                source = base_of(Path(source))
            config = AutoConfig.from_pretrained(source, **NO_CODE)
            check_quantised(config, source)
            set_dropout(config, 0.0)
            saved = format_of(self.dtype, config.dtype or torch.float32)
            kind = saved if self.lora.rank else torch.float32
            module = on_meta(
                lambda: AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                    config, dtype=kind
                ),
                source,
            )
        self.lora.check()
        if self.lora.rank:
            add_adapters(module, self.lora, source=source, seed=0, use=WRITER)
        return module

    def memory(
        self,
        module: Any,
        *,
        tokens: int,
        length: int,
        device: torch.device,
        precision: torch.dtype,
        momentum_only: dict[int, Any] | None = None,
        more: dict[str, int] | None = None,
    ) -> Memory:
        """Return the memory of a run that computes `tokens` tokens at once in texts of a length."""
        parts, learned = state_bytes(module, momentum_only)
        if self.lora.quantize != "none":
            full, saved = bytes_in_full(module)
            parts["weights"] -= saved
            parts[FULL_AT_THE_END] = full
        parameters = sum(weight.numel() for weight in module.parameters())
        parts |= {name: size for name, size in (more or {}).items() if size}
        is_own = not self.gradient_checkpointing and supports(module)
        rows = max(1, tokens // length)
        vocabulary = module.get_input_embeddings().num_embeddings
        with quiet_transformers():
            parts[ACTIVATIONS] = activation_bytes(
                module.train(),
                rows,
                length,
                recompute=self.gradient_checkpointing,
                loss=_no_logits if is_own else _cross_entropy,
                precision=precision,
            )
        if is_own:
            parts[ACTIVATIONS] += 8 * _HEAD_ROWS * vocabulary
        return memory_of(parts, learned, parameters, device)


def _no_logits(outputs: Any) -> Tensor:
    logits: Tensor = outputs.logits
    return logits


def _cross_entropy(outputs: Any) -> Tensor:
    logits = outputs.logits.flatten(0, 1).float()
    targets = torch.zeros(len(logits), dtype=torch.int64, device="meta")
    return functional.cross_entropy(logits, targets)
