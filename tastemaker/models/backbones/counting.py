"""How many tokens a text is to a backbone, without opening its weights."""

from collections.abc import Callable
from pathlib import Path

from tastemaker.errors import ModelError, UsageError
from tastemaker.models.backbones.ngrams import tokens

_LINEAR_WEIGHTS = "linear.safetensors"


def token_counter(backbone: str) -> Callable[[str], int]:
    """Return what counts the tokens of a text, special tokens included.

    backbone: `linear` counts words and punctuation marks, as the linear backbone does; `minilm`, a model folder or a
    hub name count by their tokenizer. Raises UsageError for `tiny`, which has a tokenizer only once it is fitted, and
    ModelError for a tokenizer that cannot be opened.
    """
    if backbone == "tiny":
        raise UsageError("the backbone 'tiny' makes its tokenizer when it is fitted: name its folder, or another one.")
    if backbone == "linear" or (Path(backbone) / _LINEAR_WEIGHTS).is_file():
        return lambda text: len(tokens(text))
    from transformers import AutoTokenizer

    from tastemaker.models.backbones.opening import source_of
    from tastemaker.models.loading import quiet_transformers

    source = source_of(backbone)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(source)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # a hub, a file system and dozens of tokenizers: any error of theirs is a failed load
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise ModelError(f"the tokenizer of {backbone!r} cannot be opened: {reason}. Give a model folder.") from error
    backend.no_truncation()
    backend.no_padding()
    return lambda text: len(backend.encode(text))
