"""The smallest GPTs that can be trained, and a uniform one."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from tastemaker.gpt import Policy, Size, make_gpt, make_tokenizer

NANO = Size(
    width=32, layers=1, heads=1, context=32, vocabulary=320, lr=5e-3, batch_tokens=256
)


def films(n: int) -> list[str]:
    """Return n short reviews, all different."""
    words = ("warm", "clever", "bright", "dull", "grey", "empty")
    return [f"A {words[k % 6]} film, number {k}." for k in range(n)]


def nano(
    texts: Sequence[str] | None = None,
    *,
    chats: bool = False,
    seed: int = 0,
    layers: int = 1,
) -> Policy:
    """Return an untrained GPT that reads 32 tokens, with a tokenizer learned from texts."""
    tokenizer = make_tokenizer(
        texts or films(60),
        vocabulary=NANO.vocabulary,
        context=NANO.context,
        chats=chats,
    )
    return Policy(
        make_gpt(replace(NANO, layers=layers), tokenizer, seed=seed), tokenizer
    )


def drawn(policy: Policy, seed: int = 1) -> Policy:
    """Draw all weights at random: a fresh GPT's last layers are zero, and would hide what attention
    does.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.module.parameters():
            weight.normal_(0, 0.3, generator=generator)
    return policy


def uniform(policy: Policy) -> Policy:
    """Set all weights to 0, and so all logits: every token is as likely as any other."""
    with torch.no_grad():
        for weight in policy.module.parameters():
            weight.zero_()
    return policy
