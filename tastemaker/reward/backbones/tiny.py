"""A network made from the texts at hand: any language, no download.

`make_tiny` makes a small encoder, and learns its tokenizer from the texts.
"""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tastemaker.errors import DataError
from tastemaker.reward.backbones.heads import draw_head, head_of
from tastemaker.reward.backbones.network import Network
from tastemaker.reward.backbones.opening import Cut, make_ready

_SPECIAL_NAMES = (
    "pad_token",
    "unk_token",
    "cls_token",
    "sep_token",
    "mask_token",
)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LAYERS, _WIDTH, _ATTENTION_HEADS = 2, 128, 4


def make_tiny(
    texts: Iterable[str],
    *,
    vocabulary: int = 8000,
    max_length: int = 512,
    cut: Cut = "left",
    dropout: float = 0.0,
    seed: int = 0,
) -> Network:
    """Return an untrained network of 2 layers, 128 wide, with a tokenizer learned from `texts`.

    vocabulary: the most tokens the tokenizer may have (at least the 256 bytes and 5 special
    tokens). The same texts and seed give the same network, bit by bit. Raises DataError when there
    are no texts.
    """
    tokenizer = _tokenizer(texts, vocabulary)
    if len(tokenizer) == len(_SPECIAL) + len(
        pre_tokenizers.ByteLevel.alphabet()
    ):
        raise DataError("there are no texts to make a tokenizer from.")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_ATTENTION_HEADS,
        intermediate_size=4 * _WIDTH,
        max_position_embeddings=max_length,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.num_labels = 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = BertForSequenceClassification(config)
        make_ready(module, tokenizer, "tiny")
        draw_head(head_of(module))
    return Network(module, tokenizer, max_length=max_length, cut=cut)


def _tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Return a byte-level BPE tokenizer: every text has tokens, and no token is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=ids,
    )
    names = dict(zip(_SPECIAL_NAMES, _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, **names
    )
