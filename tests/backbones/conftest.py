"""Small networks with random weights, large enough that a wrong path shows in the score."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from tastemaker.reward import make_tiny

TEXTS = [
    "I laughed, I cried, I left the cinema grinning.",
    "A film about a lighthouse; nothing happens, and it happens slowly.",
    "剧情很精彩，但是结尾让人失望。",
] * 5
ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert")
DECODERS = ("gpt2", "llama")

_BERT_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def _make(family: str, dropout: float, activation: str) -> Any:
    bert: dict[str, Any] = _BERT_SIZE | {
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "hidden_act": activation,
        "vocab_size": 300,
        "pad_token_id": 0,
    }
    if family == "bert":
        return BertForSequenceClassification(
            BertConfig(**bert, max_position_embeddings=64, num_labels=1)
        )
    if family == "roberta":
        return RobertaForSequenceClassification(
            RobertaConfig(**bert, max_position_embeddings=65, num_labels=1)
        )
    if family == "xlm-roberta":
        return XLMRobertaForSequenceClassification(
            XLMRobertaConfig(**bert, max_position_embeddings=65, num_labels=1)
        )
    if family == "distilbert":
        config = DistilBertConfig(
            vocab_size=300,
            dim=32,
            n_layers=3,
            n_heads=4,
            hidden_dim=64,
            max_position_embeddings=64,
            num_labels=1,
        )
        config.dropout = config.attention_dropout = config.seq_classif_dropout = dropout
        config.activation = activation
        return DistilBertForSequenceClassification(config)
    if family == "gpt2":
        small = GPT2Config(
            vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=64, num_labels=1
        )
        small.resid_pdrop = small.embd_pdrop = small.attn_pdrop = dropout
        small.pad_token_id, small.bos_token_id, small.eos_token_id = 0, 3, 3
        return GPT2ForSequenceClassification(small)
    llama = LlamaConfig(
        **_BERT_SIZE, vocab_size=300, max_position_embeddings=64, num_labels=1
    )
    llama.pad_token_id, llama.bos_token_id, llama.eos_token_id = 0, 3, 3
    return LlamaForSequenceClassification(llama)


@pytest.fixture(scope="session")
def make_module() -> Callable[..., Any]:
    """A sequence classifier of some family with one output and random weights, in eval mode."""

    def make(
        family: str, *, dropout: float = 0.0, seed: int = 0, activation: str = "gelu"
    ) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = _make(family, dropout, activation).eval()
            with torch.no_grad():
                for weight in module.parameters():
                    weight.add_(torch.randn_like(weight) * 0.15)
        return module

    return make


@pytest.fixture(scope="session")
def make_folder(
    tmp_path_factory: pytest.TempPathFactory, make_module: Callable[..., Any]
) -> Callable[[str], Path]:
    """A folder as people publish them: a family's module and a tokenizer; decoders come without a
    padding token.
    """

    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        tokenizer = make_tiny(TEXTS, vocabulary=300).tokenizer
        if family in DECODERS:
            tokenizer.pad_token = None
            tokenizer.eos_token = "[SEP]"
            tokenizer.backend_tokenizer.post_processor = None
        make_module(family).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
