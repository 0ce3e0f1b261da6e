"""How a trained head reads: how prompt and text are joined, and what is cut off a longer text.

The contract of a model of ours says it, and a file beside adapters, which hold no contract. A
published model reads as its tokenizer says.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tastemaker.data.judgements import CHAT, PAIR, TEMPLATE
from tastemaker.errors import ModelError
from tastemaker.fast.batching import Batch
from tastemaker.huggingface import file_in
from tastemaker.reward.backbones.opening import Cut, most_tokens
from tastemaker.train.run import CONTRACT

_BESIDE_ADAPTERS = "tastemaker_reading.json"


@dataclass(frozen=True)
class Reading:
    """How a network reads.

    template: how prompt and text are joined. max_length: the tokens that it reads, special tokens
    included; None: 512, or its positions if fewer. cut: the side of a longer text that is cut
    off.
    """

    template: str
    max_length: int | None
    cut: Cut

    def write(self, folder: Path) -> None:
        """Write it beside adapters."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        path = folder / _BESIDE_ADAPTERS
        path.write_text(text + "\n", encoding="utf-8")


OF_NEW_HEADS = Reading(TEMPLATE, None, "left")
"""How the networks read whose heads have learned nothing before."""


def reading_of(source: str, module: Any, tokenizer: Any) -> Reading:
    """Return how the trained head of a folder or hub name reads.

    Raises ModelError for a damaged file.
    """
    return saved_reading(source) or Reading(
        template=_template_of(module, tokenizer),
        max_length=most_tokens(module, tokenizer),
        cut=tokenizer.truncation_side,
    )


def saved_reading(source: str) -> Reading | None:
    """Return the reading that a folder or a hub repository holds; None where there is none."""
    for name in (CONTRACT, _BESIDE_ADAPTERS):
        path = file_in(source, name)
        if path is not None:
            return _parse(path)
    return None


def _parse(path: Path) -> Reading:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Reading(
            template=str(values["template"]),
            max_length=int(values["max_length"]),
            cut=values["cut"],
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path}: does not say how texts are read ({error}). Copy the folder whole again."
        ) from error


def _template_of(module: Any, tokenizer: Any) -> str:
    """Return how prompt and text are joined: by the chat template, or as a pair of an encoder."""
    if tokenizer.chat_template is not None:
        return CHAT
    is_decoder = hasattr(module, "score")
    return TEMPLATE if is_decoder else PAIR


def tells_pairs(tokenizer: Any) -> bool:
    """Return whether the tokenizer marks the second text of a pair by a token type."""
    if "token_type_ids" not in tokenizer.model_input_names:
        return False
    return 1 in tokenizer.backend_tokenizer.encode("a", "b").type_ids


def token_types(tokenizer: Any, batch: Batch) -> Tensor:
    """Return 1 at the tokens of a pair's second text, 0 elsewhere [b, t]."""
    ends = (batch.ids == tokenizer.sep_token_id) & batch.is_text
    second: Tensor = batch.is_text & (ends.cumsum(1) > ends.long())
    return second.long()
