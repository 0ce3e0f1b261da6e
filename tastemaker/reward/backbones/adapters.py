"""Low-rank adapters (LoRA, Hu et al. 2022) through peft: only they and the head learn.

`add_adapters` puts one beside every linear layer of the body. After training they are merged into
the weights, so that every loader opens the model, and are kept to be saved beside it in `adapter/`.
`merge_saved_adapter` opens a folder that holds adapters alone, on the base that they name.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tastemaker.errors import MissingExtra, ModelError
from tastemaker.reward.backbones.heads import head_of

CONFIG = "adapter_config.json"
FOLDER = "adapter"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """Trained adapters: peft's configuration of them, and their weights by name."""

    config: Any
    tensors: dict[str, Tensor]

    def save(self, folder: Path, module: Any) -> None:
        """Write a folder that peft opens on the base. module: it has the head as it is now."""
        folder.mkdir()
        self.config.save_pretrained(folder)
        tensors = dict(self.tensors)
        head = {id(parameter) for parameter in head_of(module).parameters()}
        for name, parameter in module.named_parameters():
            key = _PREFIX + name
            if id(parameter) in head and key in tensors:
                tensors[key] = parameter.detach().cpu().contiguous()
        save_file(tensors, folder / _WEIGHTS, {"format": "pt"})


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """Silence what peft remarks of names that transformers gives up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_peft() -> None:
    """Raise MissingExtra where peft is not installed."""
    if find_spec("peft") is None:
        raise MissingExtra("LoRA", "lora")


def add_adapters(module: Any, rank: int, *, source: str, seed: int) -> Any:
    """Put adapters into a classifier; return peft's wrapper of it. All but they and the head are
    frozen.
    """
    check_peft()
    from peft import LoraConfig, get_peft_model

    body = module.base_model
    inside = {id(part) for part in body.modules()}
    targets = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | Conv1D) and id(part) in inside:
            targets.append(name)
    learned = []
    for name, part in module.named_children():
        if part is not body and list(part.parameters()):
            learned.append(name)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=targets,
        modules_to_save=learned,
        task_type="SEQ_CLS",
        base_model_name_or_path=source,
    )
    with torch.random.fork_rng(devices=[]), _quiet_peft():
        torch.manual_seed(seed)
        return get_peft_model(module, config)


def merge_adapters(wrapped: Any) -> Adapter:
    """Merge trained adapters into the classifier that they are in; return them as they were."""
    from peft import get_peft_model_state_dict

    tensors = {}
    with _quiet_peft():
        for name, tensor in get_peft_model_state_dict(wrapped).items():
            tensors[name] = tensor.detach().cpu().clone().contiguous()
        adapter = Adapter(wrapped.peft_config["default"], tensors)
        module = wrapped.merge_and_unload()
    module.requires_grad_(requires_grad=True)
    return adapter


def base_of(folder: Path) -> str:
    """Return the base that a folder of adapters names: a folder or hub name."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{folder / CONFIG}: it names no base (base_model_name_or_path). Merge the adapter "
            "into its base, or write the base's folder there."
        )
    return str(base)


def names_in(folder: Path) -> set[str]:
    """Return the names of whole weights that a folder of adapters holds, such as a head's.

    Raises ModelError where its weights are no safetensors.
    """
    if not (folder / _WEIGHTS).is_file():
        raise ModelError(
            f"{folder}: there is no {_WEIGHTS}. Copy the folder whole again; weights of another "
            "format (.bin) are pickles and are not read: convert them."
        )
    with safe_open(folder / _WEIGHTS, "pt") as file:
        names = file.keys()
        return {name.removeprefix(_PREFIX) for name in names}


def merge_saved_adapter(module: Any, folder: Path) -> Any:
    """Return a base with the adapters of a folder merged into it.

    Raises ModelError where they do not fit, as those of another base do not.
    """
    check_peft()
    from peft import PeftModel

    try:
        with _quiet_peft():
            wrapped = PeftModel.from_pretrained(module, folder)
            return wrapped.merge_and_unload()
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{folder}: its adapters do not fit the base {base_of(folder)} ({reason}). Give the "
            "base that they were trained on."
        ) from error
