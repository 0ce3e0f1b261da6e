"""Policies so small that a test of thousands of texts takes a second."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tastemaker.gpt import END, Policy, Size, make_gpt, make_tokenizer

TEXTS = [
    "The film is warm and clever, and the end is warm.",
    "这部电影很好看，剧情很精彩。",
] * 20
CONTEXT = 32
SIZE = Size(
    width=32,
    layers=2,
    heads=4,
    context=CONTEXT,
    vocabulary=300,
    lr=1e-3,
    batch_tokens=64,
)


def _stirred(module: Any, seed: int, strength: float) -> Any:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * strength)
    return module.eval()


@pytest.fixture(scope="session")
def stirred() -> Callable[..., Any]:
    """A module with every weight made random: zeros and ones would hide a wrong path."""

    def stir(module: Any, seed: int = 0, strength: float = 0.15) -> Any:
        return _stirred(module, seed, strength)

    return stir


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A tokenizer without a chat template."""
    return make_tokenizer(TEXTS, vocabulary=300, context=CONTEXT)


@pytest.fixture(scope="session")
def chat_tokenizer() -> Any:
    """A tokenizer with a chat template."""
    return make_tokenizer(TEXTS, vocabulary=300, context=CONTEXT, chats=True)


@pytest.fixture(scope="session")
def policy(tokenizer: Any) -> Policy:
    """A GPT of ours with random weights. Never change it."""
    return Policy(_stirred(make_gpt(SIZE, tokenizer, seed=0), 0, 0.15), tokenizer)


@pytest.fixture(scope="session")
def chat_policy(chat_tokenizer: Any) -> Policy:
    """The same with a chat template."""
    return Policy(
        _stirred(make_gpt(SIZE, chat_tokenizer, seed=0), 0, 0.15), chat_tokenizer
    )


@pytest.fixture
def fresh(tokenizer: Any) -> Policy:
    """A policy that a test may change."""
    return Policy(_stirred(make_gpt(SIZE, tokenizer, seed=0), 1, 0.15), tokenizer)


@pytest.fixture(scope="session")
def uniform(tokenizer: Any) -> Policy:
    """A GPT whose every token is as likely as any other: all weights are 0, so all logits are."""
    module = make_gpt(SIZE, tokenizer, seed=0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
    return Policy(module, tokenizer)


@pytest.fixture(scope="session")
def letters() -> Policy:
    """A random GPT-2 that knows the letters a to d and the end: its texts of two tokens can be
    counted.
    """
    backend = Tokenizer(
        models.WordLevel({"a": 0, "b": 1, "c": 2, "d": 3, END: 4}, unk_token=END)
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END)
    config = GPT2Config(
        vocab_size=5,
        n_positions=8,
        n_embd=32,
        n_layer=1,
        n_head=2,
        eos_token_id=4,
        bos_token_id=4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = GPT2LMHeadModel(config)
    return Policy(_stirred(module, 2, 0.3), tokenizer)
