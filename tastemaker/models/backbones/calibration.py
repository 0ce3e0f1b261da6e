"""Texts that an encoder reads once before it scores in 8 bits, so that the size of each rounding step is known.

They are the same for every user and every call: a score must not hang on what else is being scored. Random tokens reach
the ranges that words of any language reach; a few plain sentences add what only sentences do.
"""

from typing import Any

import numpy as np
import torch

from tastemaker.models.backbones.forward import encode
from tastemaker.models.backbones.int8 import in_int8, watch
from tastemaker.models.backbones.parts import Encoder
from tastemaker.models.batching import collate

_SENTENCES = (
    "Wonderful.",
    "I walked out after twenty minutes; my aunt stayed, and regrets it.",
    "The acting is fine, but the story goes nowhere <br /> and the ending is worse.",
    "5/10 — not bad… not good, either!!! 🙂",
    "剧情很精彩，但是结尾让人失望。",
    "A film about a lighthouse. " * 12,
    "It starts slowly and badly. " * 40 + "And then it turns into the best film of the year.",
)
_RANDOM_TEXTS = 32


@torch.inference_mode()
def small_encoder(encoder: Encoder, tokenizer: Any, max_length: int) -> Encoder:
    """Return the encoder with 8-bit products.

    tokenizer: cuts at `max_length` and puts one token before a text and one after it.
    """
    pad_id = int(tokenizer.pad_token_id)

    def read(watched: Encoder) -> None:
        for ids in _token_ids(tokenizer, max_length):
            encode(watched, collate([ids], pad_id))

    return in_int8(encoder, watch(encoder, read))


def _token_ids(tokenizer: Any, max_length: int) -> list[list[int]]:
    backend = tokenizer.backend_tokenizer
    sentences = [found.ids for found in backend.encode_batch_fast(list(_SENTENCES))]
    first, last = sentences[0][:1], sentences[0][-1:]
    random = np.random.default_rng(0)
    lengths = np.linspace(1, max(1, max_length - 2), _RANDOM_TEXTS).astype(int)
    drawn = [first + random.integers(len(tokenizer), size=n).tolist() + last for n in lengths]
    return [ids[:max_length] for ids in sentences + drawn]
