"""Opening causal language models, ours or anyone's: a folder or a hub name → network and tokenizer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tastemaker.errors import ModelError
from tastemaker.models.loading import align, is_path, one_line_errors, quiet_transformers, set_dropout
from tastemaker.models.policy.gpt import END

_NO_LIMIT = 10**6  # networks without learned positions and tokenizers without a limit
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclass(frozen=True)
class Opened:
    """A causal language model as it was opened. notes: what was changed so that it can write, one sentence each."""

    module: Any
    tokenizer: Any
    notes: list[str] = field(default_factory=list)


def open_causal(source: str | Path) -> Opened:
    """Return the causal language model of a folder or hub name, float32, dropout off.

    A tokenizer without an end token is given one, with a row of its own in the embeddings: `notes` say so.
    Raises ModelError for a folder that is not there, holds another kind of model, or lacks weights.
    """
    name = str(source)
    if is_path(name) and not Path(name).is_dir():
        raise ModelError(f"{name}: there is no such folder. Give a folder that `pretrain --out` wrote, or a hub name.")
    with quiet_transformers(), one_line_errors(name, "policy"):
        config = AutoConfig.from_pretrained(name)
        _check_causal(config, name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        if not tokenizer.is_fast:
            raise ModelError(f"the policy {name!r} has no fast tokenizer (tokenizer.json): convert it first.")
        set_dropout(config, 0.0)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, config=config, dtype=torch.float32, output_loading_info=True
        )
    module, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(f"{name}: the weights lack {', '.join(missing[:3])}, so it is no whole language model.")
    align(module)
    opened = Opened(module.eval(), tokenizer)
    _give_end_token(opened)
    return opened


def is_causal(folder: Path) -> bool:
    """Return whether a folder says that it holds a causal language model. Opens no weights."""
    if not (folder / "config.json").is_file():
        return False
    with quiet_transformers(), one_line_errors(str(folder), "model"):
        return _is_causal(AutoConfig.from_pretrained(folder))


def most_tokens(module: Any) -> int:
    """Return how many tokens a network has positions for; a million where it sets no limit."""
    config = module.config.get_text_config()
    return int(next((getattr(config, n) for n in _POSITIONS if getattr(config, n, None)), _NO_LIMIT))


def _is_causal(config: Any) -> bool:
    architectures = getattr(config, "architectures", None) or []
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    return known is not None and (not architectures or architectures[0] == known)


def _check_causal(config: Any, source: str) -> None:
    if not _is_causal(config):
        found = ", ".join(getattr(config, "architectures", None) or [config.model_type])
        raise ModelError(
            f"{source}: holds {found}, which is no causal language model and cannot write. "
            f"Give a folder that `pretrain --out` wrote, or a model such as gpt2."
        )


def _give_end_token(opened: Opened) -> None:
    """See that a text can end: a policy that cannot say so writes to its limit every time."""
    module, tokenizer = opened.module, opened.tokenizer
    if tokenizer.eos_token is None:
        tokenizer.add_special_tokens({"eos_token": END})
        if len(tokenizer) > module.get_input_embeddings().num_embeddings:
            module.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        opened.notes.append(
            f"the tokenizer has no end token, so {END} was added; the model has to learn it before its texts end."
        )
    module.config.get_text_config().eos_token_id = tokenizer.eos_token_id
    module.generation_config.eos_token_id = tokenizer.eos_token_id
