"""Hugging Face folders and hub names: opened in silence, saved; each error is one line."""

import json
import logging
import re
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from jinja2 import TemplateError
from torch import nn
from transformers.utils import logging as transformers_logging

from tastemaker.errors import DataError, MissingExtra, ModelError, UsageError

NO_CODE: dict[str, Any] = {"trust_remote_code": False}
"""For every `from_pretrained`: left out, transformers asks on the terminal whether to run code."""


def code_allowed(trust_remote_code: bool) -> dict[str, Any]:
    """Return `NO_CODE`, or its opposite where a model's own code is trusted by name."""
    return {"trust_remote_code": True} if trust_remote_code else NO_CODE


OWN_CODE = "code of its own (auto_map), which is not run"
"""What a refused model needs, for messages."""
NO_OWN_CODE = (
    " Give a model of a class that transformers has; where the code is trusted, score, evaluate, "
    "explain, serve and steer take --trust-remote-code."
)
"""What to try then."""
_ALIGNED = 64  # bytes


class _Silence:
    """The settings of the libraries before the first of several blocks that overlap in threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.blocks = 0
        self.verbosities: list[int] = []
        self.bars = False

    def begin(self) -> None:
        """Silence the libraries, unless another block has."""
        with self.lock:
            self.blocks += 1
            if self.blocks > 1:
                return
            self.bars = transformers_logging.is_progress_bar_enabled()
            self.verbosities = [one.get_verbosity() for one in _LIBRARIES]
            for library in _LIBRARIES:
                library.set_verbosity(logging.ERROR)
            transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """Give the libraries their settings back after the last block."""
        with self.lock:
            self.blocks -= 1
            if self.blocks:
                return
            settings = zip(_LIBRARIES, self.verbosities, strict=True)
            for library, verbosity in settings:
                library.set_verbosity(verbosity)
            if self.bars:
                transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


_LIBRARIES = (transformers_logging, hub_logging)
_silence = _Silence()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the load reports, retries and progress bars of transformers and its hub client within
    the block. Blocks of several threads may overlap.
    """
    _silence.begin()
    try:
        yield
    finally:
        _silence.end()


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Draw on the CPU from a seed within the block; what is drawn elsewhere goes on as before."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the GPUs too, and nothing would put them back
        torch.default_generator.manual_seed(seed)
        yield


def is_path(source: str) -> bool:
    """Return whether a source is a path and not a hub name (`name` or `owner/name`)."""
    return (
        source.startswith((".", "/", "~"))
        or source.count("/") > 1
        or "\\" in source
    )


@contextmanager
def one_line_errors(source: str, part: str) -> Iterator[None]:
    """Turn any error of transformers in the block into a ModelError of one line.

    part: what is loaded from the source, for the message.
    """
    try:
        yield
    except (ModelError, UsageError, MissingExtra):
        raise
    # a hub, a file system and dozens of model classes: any error of theirs is a failed load
    except Exception as error:
        message = " ".join(str(error).split())
        reason = (
            str(error).strip().split("\n")[0].rstrip(".")
            or type(error).__name__
        )
        advice = (
            ""
            if Path(source).is_dir()
            else " Give a folder, or a hub name while the hub can be reached."
        )
        if "trust_remote_code" in message:
            reason = f"it needs {OWN_CODE}"
            advice = NO_OWN_CODE
        raise ModelError(
            f"the {part} {source!r} cannot be opened: {reason}.{advice}"
        ) from error


def file_in(source: str, file: str) -> Path | None:
    """Return the path of a file of a folder or of a hub repository.

    None where there is no such file; without a connection, or where the hub refuses the repository,
    where the local copy lacks it. Raises ModelError for a repository that cannot be read.
    """
    folder = Path(source)
    if folder.is_dir() or is_path(source):
        return folder / file if (folder / file).is_file() else None
    path, _ = _downloaded(source, file)
    return path


def _downloaded(name: str, file: str) -> tuple[Path | None, Path | None]:
    """Return a file of a hub repository, and the local copy of one that the hub refuses now.

    Either is None where it is not there. A gated, private or deleted repository that was copied
    before can still be opened.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    with quiet_transformers(), one_line_errors(name, "model"):
        try:
            return Path(hf_hub_download(name, file)), None
        except EntryNotFoundError:
            return None, None
        except HfHubHTTPError:
            config = try_to_load_from_cache(name, "config.json")
            if not isinstance(config, str):
                raise
            return None, Path(config).parent


def snapshot_with(name: str, file: str) -> Path | None:
    """Return the local copy of a hub repository that holds a file, without pickles.

    None where the repository lacks it; without a connection, where the local copy lacks it. The
    local copy of a repository that the hub refuses now is returned as it is. Raises ModelError for
    a repository that cannot be read or copied.
    """
    from huggingface_hub import snapshot_download

    path, copy = _downloaded(name, file)
    if path is None:
        return copy
    pickles = [f"*{ending}" for ending in _PICKLES]
    with quiet_transformers(), one_line_errors(name, "model"):
        return Path(snapshot_download(name, ignore_patterns=pickles))


_PICKLES = (".bin", ".pt", ".pth")


def check_files(name: str) -> None:
    """Raise ModelError for a folder that holds no configuration or no safetensors.

    A hub name is not looked at.
    """
    folder = Path(name)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        quantised = sorted(path.name for path in folder.glob("*.gguf"))
        if quantised:
            raise ModelError(
                f"{folder}: it holds {quantised[0]}, a GGUF file, which is for llama.cpp. Give "
                "the folder that it was converted from (config.json, *.safetensors)."
            )
        raise ModelError(
            f"{folder}: there is no config.json in it, so it is no model of transformers. Give "
            "a folder that was saved by Tastemaker or transformers."
        )
    if not any(folder.glob("*.safetensors")):
        pickles = any(path.suffix in _PICKLES for path in folder.iterdir())
        reason = (
            "weights of another format (.bin, .pt) are pickles and are not read: convert them"
            if pickles
            else "copy the folder whole again"
        )
        raise ModelError(
            f"{folder}: there are no weights in it (*.safetensors); {reason}."
        )


_QUANTISERS = {
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "fp8": "kernels",
    "mxfp4": "kernels",
    "quanto": "optimum",
    "hqq": "hqq",
    "aqlm": "aqlm",
    "torchao": "torchao",
}
"""Ways to quantise weights, and the package that reads each."""


def check_quantised(config: Any, name: str) -> None:
    """Raise ModelError for quantised weights whose package is not installed."""
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return
    if not isinstance(settings, dict):
        settings = settings.to_dict()
    method = str(settings.get("quant_method", "unknown"))
    package = _QUANTISERS.get(method)
    if package is not None and find_spec(package) is None:
        raise ModelError(
            f"{name}: its weights are quantised by {method}, which the package {package} reads. "
            f"Install it (pip install {package}), or give the folder in full precision."
        )


def check_finite(module: nn.Module, name: str) -> None:
    """Raise ModelError for weights that are not finite."""
    for key, tensor in module.named_parameters():
        state = getattr(tensor, "quant_state", None)
        # of 4 bits the scales are looked at, or the mean of their own
        scales = tensor if state is None else state.absmax
        if state is not None and state.nested:
            scales = state.offset
        if scales.is_floating_point() and not bool(scales.isfinite().all()):
            raise ModelError(
                f"{name}: {key} holds NaN or infinity. Its weights are damaged: get them again."
            )


_TOKENIZERS = re.compile(
    r"tokenizer.*|vocab.*|merges\.txt|tekken\.json|sentencepiece.*|.*\.(model|spm|tiktoken)|.*bpe.*"
)
"""Names of files that hold a tokenizer."""


def open_tokenizer(source: str | Path, **more: Any) -> Any:
    """Return the tokenizer of a folder or hub name; no code of it is run.

    Raises ModelError for a folder without one: transformers would make an empty tokenizer.
    """
    from transformers import AutoTokenizer

    folder = Path(source)
    if folder.is_dir():
        names = [path.name for path in folder.iterdir()]
        if not any(_TOKENIZERS.fullmatch(name) for name in names):
            raise ModelError(
                f"{source}: there is no tokenizer in the folder. Copy tokenizer.json there."
            )
    return AutoTokenizer.from_pretrained(source, **{**NO_CODE, **more})


def forget_code(module: Any, tokenizer: Any) -> None:
    """Drop the names of code that a folder brings along: the code is not saved with the rest."""
    tokenizer.init_kwargs.pop("auto_map", None)
    if hasattr(module.config, "auto_map"):
        del module.config.auto_map


def set_dropout(config: Any, dropout: float) -> None:
    """Set every dropout of a model's configuration."""
    for name, value in config.to_dict().items():
        if (
            "drop" in name
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        ):
            setattr(config, name, dropout)


def align(module: nn.Module) -> None:
    """Move every weight whose address is no multiple of 64 bytes; tied weights stay tied.

    The reader of a file leaves weights at any address. Products of float32 sum in another order
    there, so a reloaded model would differ in the last digits from the one that was saved.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.data_ptr() % _ALIGNED:
            tensor.data = tensor.detach().clone()


@torch.no_grad()
def round_weights(
    module: nn.Module, dtype: torch.dtype, exact: Collection[str] = ()
) -> None:
    """Round the weights to a number format; their own format in memory stays.

    exact: names of weights that keep their digits.
    """
    if dtype == torch.float32:
        return
    for name, parameter in module.named_parameters():
        if parameter.is_floating_point() and name not in exact:
            parameter.copy_(parameter.to(dtype))


def save_weights(
    module: Any, folder: Path, dtype: torch.dtype, exact: Collection[str] = ()
) -> None:
    """Save a network of float32 weights in a number format, which its configuration then names.

    exact: names of weights that keep their format. A network of another format is saved as it is.
    """
    if dtype == torch.float32 or module.dtype != torch.float32:
        module.save_pretrained(folder)
        return
    tensors = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        is_weight = (
            isinstance(tensor, nn.Parameter) and tensor.is_floating_point()
        )
        is_rounded = is_weight and name not in exact
        values = tensor.detach()
        tensors[name] = values.to(dtype) if is_rounded else values
    module.save_pretrained(folder, state_dict=tensors)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def render_chat(
    tokenizer: Any,
    turns: Sequence[tuple[str, str]],
    *,
    add_generation_prompt: bool = False,
) -> str:
    """Return (role, content) turns as one text, as the tokenizer's chat template writes them.

    add_generation_prompt: end with what comes before an answer. Raises DataError for a chat that
    the template refuses, such as a system turn for some families.
    """
    messages = [{"role": role, "content": content} for role, content in turns]
    try:
        text: str = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    # a template is a program of whoever made the model
    except (TemplateError, TypeError, ValueError, LookupError) as error:
        roles = ", ".join(role for role, _ in turns)
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"the chat template refuses a chat of the roles {roles} that begins with "
            f"{turns[0][1][:40]!r}: {reason}. Choose another --template, or change the chat."
        ) from error
    return text
