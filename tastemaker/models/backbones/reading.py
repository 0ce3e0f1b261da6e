"""How a network reads: a text is tokenized and cut to what it can hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example, Message
from tastemaker.errors import UsageError

Cut = Literal["left", "right"]
"""The side of an over-long text that is cut off."""

_AT_ONCE = 1024  # texts: the tokenizer's own records of them are many times larger than the ids
_LEFTOVERS = ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "is_local", "local_files_only")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as token ids, in the order they were given.

    ids: n int32 arrays, special tokens included, none longer than the limit and none empty.
    truncated: bool [n], True where the text was longer than the limit.
    """

    ids: list[NDArray[np.int32]]
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.ids]


def set_cut(tokenizer: Any, cut: Cut, max_length: int) -> None:
    """Tell a tokenizer, and whoever loads it after saving, how long a text may be and which side is cut off."""
    if cut not in ("left", "right"):
        raise UsageError(f"cut is {cut!r}: choose left (keep the end of a text) or right (keep its beginning).")
    tokenizer.padding_side, tokenizer.truncation_side = "right", cut
    tokenizer.model_max_length = max_length
    for leftover in _LEFTOVERS:  # what an older file said of padding and cutting would be saved again beside ours
        tokenizer.init_kwargs.pop(leftover, None)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(max_length, stride=0, strategy="longest_first", direction=cut)


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> Encoded:
    """Return texts as token ids: what `tokenizer(text, truncation=True)` gives after `set_cut`.

    A text without any token (an empty one, for tokenizers that add no special tokens) becomes one filler token.
    """
    ids: list[NDArray[np.int32]] = []
    truncated: list[bool] = []
    for start in range(0, len(texts), _AT_ONCE):
        for found in tokenizer.backend_tokenizer.encode_batch_fast(list(texts[start : start + _AT_ONCE])):
            ids.append(np.asarray(found.ids or [_filler(tokenizer)], dtype=np.int32))
            truncated.append(bool(found.overflowing))
    return Encoded(ids, np.array(truncated, dtype=bool))


def _filler(tokenizer: Any) -> int:
    """Return a token that is not padding, to stand for a text without tokens."""
    candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id)
    return next((i for i in candidates if i is not None), 0)


def rendered(tokenizer: Any, example: Example) -> str:
    """Return a chat as the tokenizer's template writes it, the text as the assistant's last turn.

    A text without a prompt is no chat and stays as it is. A start of text that the template writes and the tokenizer
    adds once more is taken away: a model should see one.
    """
    if example.prompt is None:
        return example.text
    turns = (Message("user", example.prompt),) if isinstance(example.prompt, str) else example.prompt
    messages = [{"role": role, "content": content} for role, content in (*turns, Message("assistant", example.text))]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False)
    start = tokenizer.bos_token
    adds_start = start is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return text.removeprefix(start) if adds_start else text
