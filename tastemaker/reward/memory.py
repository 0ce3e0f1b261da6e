"""What a fit of a network takes of memory, before it starts."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification

from tastemaker.adapters import (
    add_adapters,
    base_of,
    bytes_in_full,
    is_adapter,
)
from tastemaker.errors import UsageError
from tastemaker.fast.processor import (
    DeviceChoice,
    TrainingChoice,
    choose_device,
    choose_precision,
    format_of,
)
from tastemaker.huggingface import (
    NO_CODE,
    check_quantised,
    one_line_errors,
    quiet_transformers,
    set_dropout,
)
from tastemaker.reward.backbones import (
    Composition,
    Encoder,
    Linear,
    Tiny,
    Training,
    choose_backbone,
)
from tastemaker.reward.backbones.heads import head_of, keep_exact
from tastemaker.reward.backbones.opening import DEFAULT_MAX_LENGTH, source_of
from tastemaker.reward.backbones.reading import OF_NEW_HEADS, saved_reading
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


def fit_memory(
    backbone: "str | Linear | Encoder | Tiny",
    training: dict[str, Any] | None = None,
    *,
    members: int = 1,
    shared: bool = False,
    device: DeviceChoice = "auto",
    precision: TrainingChoice = "auto",
) -> Memory:
    """Return what a fit takes, of each network; no weights and no data are read.

    Texts are taken to be as long as the network reads: 512 tokens, where neither `max_length` nor a
    contract of the backbone says it. Raises UsageError for a backbone that is no
    network by name, ModelError where its configuration cannot be opened.
    """
    chosen = choose_backbone(backbone)
    composition = Composition(members, shared)
    composition.check(chosen.settings)
    encoder = composition.opening(chosen.settings)
    if not isinstance(encoder, Encoder):
        raise UsageError(
            "--dry-run is about networks by folder or hub name: the backbones linear and tiny "
            "take some megabytes. Leave it out."
        )
    recipe = chosen.recipe
    values = {"batch_size": recipe.batch_size, **(training or {})}
    settings = settings_from(Training, values, "training")
    source = source_of(encoder.name)
    with quiet_transformers(), one_line_errors(source, "backbone"):
        if is_adapter(Path(source)):
            source = base_of(Path(source))
        config = AutoConfig.from_pretrained(source, num_labels=1, **NO_CODE)
        check_quantised(config, source)
    saved = format_of(encoder.dtype, config.dtype or torch.float32)
    set_dropout(config, encoder.dropout)
    if config.get_text_config().pad_token_id is None:
        config.pad_token_id = config.get_text_config().pad_token_id = 0

    def make() -> Any:
        module = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
            config, dtype=saved if encoder.lora else torch.float32
        )
        keep_exact(head_of(module))
        return module

    with quiet_transformers():
        module = on_meta(make, source)
    encoder.adapters.check()
    if encoder.lora:
        add_adapters(module, encoder.adapters, source=source, seed=0)
    parts, learned = state_bytes(module)
    if encoder.quantize != "none":
        full, saved_bytes = bytes_in_full(module)
        parts["weights"] -= saved_bytes
        parts[FULL_AT_THE_END] = full
    parameters = sum(parameter.numel() for parameter in module.parameters())
    parts["best weights"] = parts["gradients"]
    chosen_device = choose_device(device)
    length, rows = _places(config, encoder, settings)
    with quiet_transformers():
        parts[ACTIVATIONS] = activation_bytes(
            module.train(),
            rows,
            length,
            recompute=settings.gradient_checkpointing,
            loss=_logits,
            precision=choose_precision(chosen_device, precision),
        )
    return memory_of(parts, learned, parameters, chosen_device)


def _logits(outputs: Any) -> Tensor:
    logits: Tensor = outputs.logits
    return logits.float()


def _places(
    config: Any, encoder: Encoder, settings: Training
) -> tuple[int, int]:
    """Return the tokens of a text, and the texts that are computed at once."""
    positions = getattr(
        config.get_text_config(), "max_position_embeddings", None
    )
    is_new = encoder.new_head
    reading = None if is_new else saved_reading(source_of(encoder.name))
    reading = reading or OF_NEW_HEADS
    length = encoder.max_length or reading.max_length or DEFAULT_MAX_LENGTH
    if positions:
        length = min(length, positions)
    most = min(settings.batch_size * length, settings.batch_tokens)
    return length, max(1, most // length)
