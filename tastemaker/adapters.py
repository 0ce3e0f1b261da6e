"""Low-rank adapters (LoRA, Hu et al. 2022) through peft: only they and a classifier's head learn.

`add_adapters` puts one beside the linear layers of the body, all or those that are named. The
layers stay where they are in the network, so the network is still of its own class. With the
adapters off it is the base: the reference of a policy costs no second copy of the weights.
What is saved for all loaders are the merged weights; the adapters alone are saved beside them in
`adapter/`. `merge_saved_adapter` opens a folder of adapters alone, on the base that they name.
"""

import copy
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tastemaker.errors import MissingExtra, ModelError, UsageError

CONFIG = "adapter_config.json"
FOLDER = "adapter"
LORA_LR = 2e-4
"""The usual learning rate of adapters."""
LORA = (
    "Rank of low-rank adapters (Hu et al. 2022), which learn in place of the weights; 0: all "
    "weights learn."
)
LORA_TARGETS = (
    "Linear layers that get adapters of --lora: all, attention, or names such as "
    "q_proj,v_proj."
)
SAVED_DTYPE = (
    "Number format of the saved weights, and in memory of those that --lora leaves as they are; "
    "auto: that of the checkpoint. Weights that learn are float32 in memory."
)
Quantize = Literal["none", "4bit"]
"""How weights that do not learn are held in memory."""
QUANTIZE = (
    "4bit: hold the linear layers that --lora leaves as they are in 4 bits (QLoRA, Dettmers et al. "
    "2023; extra qlora). The saved model has full precision."
)
"""This and the texts above are the help of settings that every verb that trains a network has."""
_FULL = (
    "score|classifier|pre_classifier|pooler|lm_head|embed_out|head|classification_head|"
    "sequence_summary|logits_proj"
)
"""A pattern: layers that keep full precision, with all that is in them: heads."""
CLASSIFIER, WRITER = "SEQ_CLS", "CAUSAL_LM"  # peft's names of tasks
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FACTOR = "lora_"
_PACKS = "support_avx512bf16_for_cpu"
_SECOND = "lora_B"  # of the two factors, the one that is 0 at first


@dataclass(frozen=True)
class Lora:
    """What adapters are put into a network.

    targets: the linear layers of the body that get one: "all", "attention", or the last parts of
    their names with commas between them. quantize: how the layers that do not learn are held.
    """

    rank: int
    targets: str = "all"
    quantize: Quantize = "none"

    def check(self) -> None:
        """Raise UsageError for settings without adapters, MissingExtra for a missing package."""
        if not self.rank and self.targets != "all":
            raise UsageError(
                "lora_targets: there are no adapters. Add --lora 16, or leave it out."
            )
        if self.quantize == "none":
            return
        if not self.rank:
            raise UsageError(
                "quantize: weights of 4 bits do not learn. Add --lora 16, or leave it out."
            )
        if find_spec("bitsandbytes") is None:
            raise MissingExtra("QLoRA (--quantize 4bit)", "qlora")
        check_peft()

    def loading(self, source: str, dtype: torch.dtype | str) -> dict[str, Any]:
        """Return the arguments of `from_pretrained` that hold the weights in 4 bits.

        dtype: of the products. Raises as `check` does, and UsageError for a folder of adapters.
        """
        self.check()
        if self.quantize == "none":
            return {}
        if is_adapter(Path(source)):
            raise UsageError(
                f"quantize: {source} holds adapters, which cannot be merged into 4 bits. Give a "
                "folder with the merged weights."
            )
        from transformers import BitsAndBytesConfig

        has_type = isinstance(dtype, torch.dtype)
        config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype if has_type else torch.bfloat16,
            # transformers matches from the start of a name
            llm_int8_skip_modules=[rf"(?:.*\.)?(?:{_FULL})"],
        )
        return {"quantization_config": config}


@dataclass(frozen=True)
class Adapter:
    """Trained adapters: peft's configuration of them, and their weights by name."""

    config: Any
    tensors: dict[str, Tensor]

    def save(self, folder: Path, module: Any) -> None:
        """Write a folder that peft opens on the base. module: it has the head as it is now."""
        folder.mkdir(exist_ok=True)
        self.config.save_pretrained(folder)
        tensors = dict(self.tensors)
        for name, parameter in module.named_parameters():
            # a whole weight that learned, such as the head's
            if _PREFIX + name in tensors:
                whole = parameter.detach().cpu().contiguous()
                tensors[_PREFIX + name] = whole
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


def _linear_layers(module: Any) -> dict[str, Any]:
    """Return the linear layers of a body by name."""
    from transformers.pytorch_utils import Conv1D

    inside = {id(part) for part in module.base_model.modules()}
    layers = {}
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | Conv1D) and id(part) in inside:
            layers[name] = part
    return layers


def _layers_with_adapters(module: Any, targets: str) -> list[str]:
    """Return the names of the linear layers of a body that get adapters.

    Raises UsageError for a name that no linear layer of the body has.
    """
    layers = list(_linear_layers(module))
    if targets == "all":
        return layers
    by_name: dict[str, list[str]] = {}
    for layer in layers:
        by_name.setdefault(layer.rpartition(".")[2], []).append(layer)
    if targets == "attention":
        # T5 writes SelfAttention
        chosen = [layer for layer in layers if "att" in layer.lower()]
        names = [] if chosen else [targets]
    else:
        names = [name.strip() for name in targets.split(",")]
        chosen = [layer for name in names for layer in by_name.get(name, ())]
    for name in names:
        if name not in by_name:
            raise UsageError(
                f"lora_targets: no linear layer of {type(module).__name__} is called {name!r}. "
                f"Its linear layers are {', '.join(by_name)}; all takes every one."
            )
    return chosen


def add_adapters(
    module: Any, lora: Lora, *, source: str, seed: int, use: str = CLASSIFIER
) -> Any:
    """Put adapters into a network; return peft's wrapper of it. All else but a head is frozen.

    source: what the adapters' folder will name as the base. Raises UsageError for an unknown layer.
    """
    check_peft()
    from peft import LoraConfig, get_peft_model

    for part in module.modules():
        if hasattr(part, _PACKS):
            # packed weights of bitsandbytes are for inference: no gradient passes through them
            setattr(part, _PACKS, False)
    body = module.base_model
    learned = []
    for name, part in module.named_children():
        if part is not body and list(part.parameters()):
            learned.append(name)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank,
        lora_dropout=0.0,
        target_modules=_layers_with_adapters(module, lora.targets),
        modules_to_save=learned if use == CLASSIFIER else None,
        task_type=use,
        base_model_name_or_path=source,
    )
    with torch.random.fork_rng(devices=[]), _quiet_peft():
        torch.manual_seed(seed)
        return get_peft_model(module, config)


def adapter_of(wrapped: Any) -> Adapter:
    """Return the adapters of a network as they are now, on the CPU."""
    from peft import get_peft_model_state_dict

    tensors = {}
    with _quiet_peft():
        for name, tensor in get_peft_model_state_dict(
            wrapped, save_embedding_layers=False
        ).items():
            tensors[name] = tensor.detach().cpu().clone().contiguous()
    return Adapter(wrapped.peft_config["default"], tensors)


def merge_adapters(wrapped: Any) -> Adapter:
    """Merge trained adapters into the network that they are in; return them as they were."""
    adapter = adapter_of(wrapped)
    if is_quantised(wrapped.get_base_model()):
        _put_full_layers(wrapped, wrapped.get_base_model())
    with _quiet_peft():
        module = wrapped.merge_and_unload()
    module.requires_grad_(requires_grad=True)
    return adapter


def is_quantised(module: Any) -> bool:
    """Return whether layers of a network are held in 4 bits."""
    return any(_has_scales(weight) for weight in module.parameters())


def merges_exactly(module: Any) -> bool:
    """Return whether adapters can be merged into a network's weights without rounding."""
    return module.dtype == torch.float32 and not is_quantised(module)


def _has_scales(weight: Tensor) -> bool:
    return getattr(weight, "quant_state", None) is not None


_BYTES_OF_4_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight: itself, a scale of a byte for 64, and one of 4 bytes for 256 of these."""


def bytes_in_full(module: Any) -> tuple[int, int]:
    """Return the bytes of the linear layers of a body that 4 bits are for, not yet in 4 bits, and
    how many of them 4 bits save.
    """
    full = weights = 0
    for name, part in _linear_layers(module).items():
        is_head = any(re.fullmatch(_FULL, word) for word in name.split("."))
        if not is_head and "lora_" not in name:
            weights += part.weight.numel()
            full += part.weight.numel() * part.weight.element_size()
    return full, int(full - weights * _BYTES_OF_4_BITS)


def _put_full_layers(wrapped: Any, module: Any) -> None:
    """Put layers of full precision, with the adapters merged, in the places of those of 4 bits.

    They are read again from the base: what 4 bits have rounded away is not saved. module: the
    network in `wrapped`, or a copy of it.
    """
    from transformers.pytorch_utils import Conv1D
    from transformers.utils import logging

    config = copy.deepcopy(module.config)
    del config.quantization_config
    source = wrapped.peft_config["default"].base_model_name_or_path
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        full = type(module).from_pretrained(
            source,
            config=config,
            dtype=module.dtype,
            # rows that were added for tokens
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
    except OSError as error:
        line = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(
            f"{source}: the base cannot be read again ({line}). Put it back, and use --resume."
        ) from error
    finally:
        logging.set_verbosity(level)
    for name, part in list(module.named_modules()):
        is_adapted = hasattr(part, "get_delta_weight")
        layer = part.get_base_layer() if is_adapted else part
        weight = getattr(layer, "weight", None)
        # the layer in an adapter's place comes with it
        if weight is None or not _has_scales(weight) or "base_layer" in name:
            continue
        plain = full.get_submodule(name).to(weight.device)
        if is_adapted:
            change = part.get_delta_weight("default")
            if isinstance(plain, Conv1D):
                change = change.T
            merged = plain.weight + change
            plain.weight = nn.Parameter(merged.to(plain.weight.dtype))
        plain.requires_grad_(requires_grad=False)
        owner, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(owner), attribute, plain)
    module.config = config
    module.hf_quantizer = None
    module.is_quantized = module.is_loaded_in_4bit = False


def learned_state(module: Any) -> dict[str, Tensor]:
    """Return the tensors of a network by name, without the parameters that are frozen."""
    tensors = {}
    frozen: tuple[str, ...] = ()
    for name, parameter in module.named_parameters():
        if _has_scales(parameter):
            frozen = (*frozen, f"{name}.")  # its scales
    for name, tensor in module.state_dict(keep_vars=True).items():
        is_frozen = (
            isinstance(tensor, nn.Parameter) and not tensor.requires_grad
        )
        if not is_frozen and not name.startswith(frozen):
            tensors[name] = tensor.detach()
    return tensors


def merged_state(wrapped: Any) -> dict[str, Tensor]:
    """Return the tensors of the plain network that merging makes, by its names; nothing changes."""
    with torch.no_grad():
        merged: dict[str, Tensor] = merged_twin(wrapped).state_dict()
    return merged


@torch.no_grad()
def clear_adapters(module: Any) -> None:
    """Make a network with adapters compute what its base computes."""
    for name, parameter in module.named_parameters():
        if _SECOND in name:
            parameter.zero_()


@torch.no_grad()
def merged_twin(wrapped: Any) -> Any:
    """Return a plain network with the adapters merged, to read and to write with.

    It shares all other weights. Its merged ones are a copy, so the base keeps its bits.
    """
    module = wrapped.get_base_model()
    shared: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        shared[id(tensor)] = tensor
    twin = copy.deepcopy(module, shared)
    if is_quantised(module):
        _put_full_layers(wrapped, twin)
    for name, part in list(twin.named_modules()):
        if not hasattr(part, "get_delta_weight"):
            continue
        plain = part.get_base_layer()
        delta = part.get_delta_weight("default")
        weight = (plain.weight + delta).to(plain.weight.dtype)
        plain.weight = nn.Parameter(weight, requires_grad=False)
        owner, _, attribute = name.rpartition(".")
        setattr(twin.get_submodule(owner), attribute, plain)
    return twin


def merged_bytes(module: Any) -> int:
    """Return the bytes of the merged weights of `merged_twin`."""
    total = 0
    for part in module.modules():
        if hasattr(part, "get_delta_weight"):
            weight = part.get_base_layer().weight
            total += weight.numel() * weight.element_size()
    return total


def adapters_off(wrapped: Any) -> Any:
    """Return a context in which a network with adapters is its base."""
    return wrapped.disable_adapter()


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds adapters, and not a whole model beside them."""
    return (folder / CONFIG).is_file() and not (
        folder / "config.json"
    ).is_file()


def base_of(folder: Path) -> str:
    """Return the base that a folder of adapters names: a folder or hub name.

    Raises ModelError where it names none, or a folder that is not there.
    """
    config = read_config(folder)
    base = str(config.get("base_model_name_or_path") or "")
    if not base:
        raise ModelError(
            f"{folder / CONFIG}: it names no base (base_model_name_or_path). Merge the adapter "
            "into its base, or write the base's folder there."
        )
    is_folder = base.startswith((".", "/", "~")) or base.count("/") > 1
    if is_folder and not Path(base).is_dir():
        raise ModelError(
            f"{folder / CONFIG}: its base {base} is not there. Put the base in that folder, or "
            "write where it is as base_model_name_or_path."
        )
    return base


def read_config(folder: Path) -> dict[str, Any]:
    """Return peft's configuration in a folder of adapters. Raises ModelError for a damaged one."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot be read ({error}). Copy the folder whole again."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(
            f"{path}: holds no settings of adapters. Copy the folder whole again."
        )
    return config


def names_in(folder: Path) -> set[str]:
    """Return the names of whole weights that a folder of adapters holds, such as a head's.

    Raises ModelError where its weights are no safetensors.
    """
    return {name.removeprefix(_PREFIX) for name in _keys_in(folder)}


def _keys_in(folder: Path) -> set[str]:
    if not (folder / _WEIGHTS).is_file():
        raise ModelError(
            f"{folder}: there is no {_WEIGHTS}. Copy the folder whole again; weights of another "
            "format (.bin) are pickles and are not read: convert them."
        )
    with safe_open(folder / _WEIGHTS, "pt") as file:
        return set(file.keys())


def _is_factor(name: str) -> bool:
    return _FACTOR in name


def merge_saved_adapter(module: Any, folder: Path) -> Any:
    """Return a base with the adapters of a folder merged into it.

    Raises ModelError where they do not fit, as those of another base do not.
    """
    check_peft()
    from peft import PeftModel, get_peft_model_state_dict

    saved = _keys_in(folder)
    try:
        with _quiet_peft():
            wrapped = PeftModel.from_pretrained(module, folder)
            expected = set(
                get_peft_model_state_dict(wrapped, save_embedding_layers=False)
            )
            unlike = sorted(filter(_is_factor, saved ^ expected))
            if unlike:
                raise KeyError(f"{unlike[0]} is in one of them alone")
            return wrapped.merge_and_unload()
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0].strip("'\"")
        raise ModelError(
            f"{folder}: its adapters do not fit the base {base_of(folder)} ({reason}). Give the "
            "base that they were trained on."
        ) from error
