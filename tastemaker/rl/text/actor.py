"""A language model as algorithms use it: log-probabilities and values of tokens.

Index t always means token t of a completion. The shift by one, from the place that foresees a token
to the token, is made in `Answers` and nowhere else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Self

import torch
from torch import Tensor, nn

from tastemaker.fast.gpt_forward import Pass, Texts, forward
from tastemaker.fast.gpt_layers import passes_at_once
from tastemaker.fast.processor import like_parts, side_by_side
from tastemaker.gpt.policy import Policy
from tastemaker.rl.algorithms.base import Evaluation

_AT_ONCE = 8192  # tokens through the network at once, where no gradients are kept


@dataclass(frozen=True)
class Answers:
    """Prompts and the completions behind them, as tokens."""

    prompts: tuple[tuple[int, ...], ...]
    tokens: tuple[tuple[int, ...], ...]

    def select(self, rows: Tensor) -> Self:
        """Return some of them."""
        chosen = rows.tolist()
        return type(self)(
            tuple(self.prompts[i] for i in chosen),
            tuple(self.tokens[i] for i in chosen),
        )

    def sizes(self) -> Tensor:
        """Return the tokens of each row."""
        return torch.tensor(
            [len(p) + len(t) for p, t in zip(self.prompts, self.tokens, strict=True)]
        )

    def apart(self, is_action: Tensor) -> None:
        """Return None: a token is chosen by all that stand before it, so a row is one whole."""

    @cached_property
    def texts(self) -> list[list[int]]:
        """What is read to foresee every token: all but the last."""
        return [[*p, *t[:-1]] for p, t in zip(self.prompts, self.tokens, strict=True)]

    @cached_property
    def places(self) -> Tensor:
        """Where in the texts, end to end, each token of the completions is foreseen, int64 [n]."""
        places, start = [], 0
        for prompt, tokens in zip(self.prompts, self.tokens, strict=True):
            first = start + len(prompt) - 1
            places.append(torch.arange(first, first + len(tokens)))
            start += len(prompt) + len(tokens) - 1
        return torch.cat(places)

    @cached_property
    def chosen(self) -> Tensor:
        """The tokens of the completions, end to end, int64 [n]."""
        return torch.tensor([token for tokens in self.tokens for token in tokens])


class TextActor:
    """A policy that writes, as an algorithm sees it.

    temperature: divides the logits, as where the text was written. Dropout is off, but within
    `dropping_out`: with it, the ratio to the policy that acted is not 1 on the first pass.
    """

    def __init__(self, policy: Policy, *, temperature: float = 1.0) -> None:
        self.policy, self.temperature = policy, temperature

    @property
    def has_critic(self) -> bool:
        """Whether the policy has a value head."""
        return self.policy.value_head is not None

    @property
    def threads(self) -> int:
        """The number of parallel passes; 1 with dropout, whose random numbers all threads share."""
        return 1 if self.policy.module.training else passes_at_once(self.policy.module)

    def evaluate(self, did: Answers, is_action: Tensor) -> Evaluation:
        """Return log-probabilities, entropies and values of the tokens [b, T], with gradients."""
        outputs = self._foreseeing(did)
        logits = outputs.logits.float() / self.temperature
        vocabulary = torch.log_softmax(logits, -1)  # [n, V]
        chosen = did.chosen.to(vocabulary.device)
        log_probs = vocabulary.gather(1, chosen[:, None])[:, 0]
        entropy = -(vocabulary.exp() * vocabulary).sum(-1)
        head = self.policy.value_head
        values = (
            torch.zeros_like(log_probs)
            if head is None
            else head(outputs.hidden.float())
        )
        return Evaluation(*(spread(x, is_action) for x in (log_probs, entropy, values)))

    def log_probs(self, did: Answers, is_action: Tensor) -> Tensor:
        """Return the log-probabilities of the tokens [b, T]; of a reference, say. No gradients."""

        def log_probs(part: Answers) -> Tensor:
            logits = self._foreseeing(part).logits.float() / self.temperature
            return -nn.functional.cross_entropy(
                logits, part.chosen.to(logits.device), reduction="none"
            )

        return self._in_parts(log_probs, did, is_action)

    def _in_parts(
        self, compute: Callable[[Answers], Tensor], did: Answers, is_action: Tensor
    ) -> Tensor:
        """Return a number of each token [b, T], computed in parts without gradients."""

        @torch.no_grad()
        def compute_rows(rows: Tensor) -> Tensor:
            return spread(compute(did.select(rows)), is_action[rows])

        parts = like_parts(did.sizes(), _AT_ONCE, self.threads)
        values = list(
            side_by_side([partial(compute_rows, rows) for rows in parts], self.threads)
        )
        return torch.cat(values)[torch.argsort(torch.cat(parts))]

    def _foreseeing(self, did: Answers) -> Pass:
        """Return what the network found where each token of the completions is foreseen."""
        module, device = self.policy.module, self.policy.module.device
        return forward(module, Texts.of(did.texts, device), did.places.to(device))

    def policy_parameters(self) -> list[nn.Parameter]:
        """Return the network's."""
        return [p for p in self.policy.module.parameters() if p.requires_grad]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the value head's."""
        head = self.policy.value_head
        return [] if head is None else list(head.parameters())


@contextmanager
def dropping_out(policy: Policy, seed: int) -> Iterator[None]:
    """Switch the policy's dropout on, drawn by a seed, until the block ends."""
    device = policy.module.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        policy.module.train()
        try:
            yield
        finally:
            policy.module.eval()


def spread(values: Tensor, is_action: Tensor) -> Tensor:
    """Return numbers that stand end to end [n] in their places [B, T], 0 elsewhere."""
    return torch.zeros(
        is_action.shape, dtype=values.dtype, device=values.device
    ).masked_scatter(is_action, values)
