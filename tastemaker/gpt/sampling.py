"""Choosing the next token: what is left of the distribution, and one uniform number a row for the
choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tastemaker.errors import ModelError, UsageError
from tastemaker.settings import POSITIVE, SHARE, Check, at_least, check, setting

_NEVER = float("-inf")
_BELOW_ONE = 1 - 2.0**-50
_COLDEST = 1e-6  # logits over less are no longer finite in float32
_RECOMMENDED = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class Sampling:
    """How text is drawn from a policy. The filters act in the order of the fields, as transformers'
    do.

    Where tokens are equally likely top_k keeps k of them, where transformers keeps all, so top_k 1
    is one text.
    """

    group: ClassVar[str] = "Sampling"

    temperature: float = setting(
        1.0,
        "Divides the logits: below 1 safer, above 1 wilder.",
        Check(
            lambda value: _COLDEST <= value < math.inf,
            f"a number above 0, at least {_COLDEST:g}; for the likeliest text use top_k 1",
        ),
    )
    top_k: int = setting(
        0,
        "Only the k likeliest tokens; 0: all.",
        Check(lambda value: value >= 0, "at least 1, or 0 for all tokens"),
    )
    top_p: float = setting(
        1.0,
        "Only the likeliest tokens that hold this share of the probability "
        "(Holtzman et al. 2020); 1: all.",
        Check(
            lambda value: 0 < value <= 1,
            "above 0, at most 1; for the likeliest text use top_k 1",
        ),
    )
    min_p: float = setting(
        0.0,
        "Only tokens at least this share as likely as the likeliest (Nguyen et al. 2024); 0: all.",
        SHARE,
    )
    # acts before the temperature; negative logits are multiplied
    repetition_penalty: float = setting(
        1.0,
        "Divides the logits of tokens that the text or its prompt holds already "
        "(Keskar et al. 2019); 1: none.",
        POSITIVE,
    )
    max_tokens: int = setting(64, "Most tokens of a completion.", at_least(1))
    stop: Sequence[str] = setting(
        (), "A text that ends a completion and is not part of it. May be repeated."
    )

    def __post_init__(self) -> None:
        check(self)
        if isinstance(self.stop, str):
            raise UsageError(
                f"stop {self.stop!r}: must be a tuple of texts, such as ({self.stop!r},)."
            )
        if any(not text for text in self.stop):
            raise UsageError(
                "a stop text is empty: it would end every completion before it begins. Leave it out."
            )

    @property
    def is_filtered(self) -> bool:
        """Whether some tokens are never chosen."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


def recommended(config: Any) -> Sampling:
    """Return how the makers of a model say that text is drawn from it: its transformers
    GenerationConfig.

    Plain draws at temperature 1 where it does not sample or says nothing. Raises ModelError for
    values that cannot be.
    """
    said = (
        {name: getattr(config, name, None) for name in _RECOMMENDED}
        if config.do_sample
        else {}
    )
    try:
        return Sampling(
            **{name: value for name, value in said.items() if value is not None}
        )
    except UsageError as error:
        raise ModelError(
            f"generation_config.json: {error} Mend it, or remove it for plain draws."
        ) from error


def uniforms(seed: int, rows: Sequence[tuple[int, int]], tokens: int) -> Tensor:
    """Return the uniform numbers that choose the tokens of each row; float64 [rows, tokens] in [0,
    1).

    rows: which prompt and which of its samples a row is. A row's numbers depend on these and the
    seed alone, not on what stands beside it in the batch: Philox is a counter-based generator
    (Salmon et al. 2011).
    """
    found = np.empty((len(rows), tokens))
    for number, (prompt, sample) in enumerate(rows):
        key = np.array([seed, (prompt << 32) + sample], dtype=np.uint64)
        found[number] = np.random.Generator(np.random.Philox(key=key)).random(tokens)
    return torch.from_numpy(found)


def choose(
    logits: Tensor, numbers: Tensor, sampling: Sampling, seen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the next token of each row [b] and its log-probability [b] at the temperature.

    logits: [b, v]; numbers: uniform, float64 [b]; seen: bool [b, v], the tokens that stand in a row
    so far, wanted where repetition is penalised. The token is where the cumulative distribution of
    what the filters leave passes the number. The log-probability is that of the policy at this
    temperature, filters and penalty left out: log π(token).
    """
    scaled = logits if sampling.temperature == 1 else logits / sampling.temperature
    log_probs = torch.log_softmax(scaled, -1)
    kept = log_probs
    if seen is not None and sampling.repetition_penalty != 1:
        kept = torch.log_softmax(
            penalised(logits, seen, sampling.repetition_penalty) / sampling.temperature,
            -1,
        )
    tokens = _passed(filtered(kept, sampling).exp(), numbers.to(logits.device)[:, None])
    tokens.clamp_(
        max=logits.shape[-1] - 1
    )  # where the logits are no numbers, any token: its log-probability says so
    return tokens[:, 0], log_probs.gather(1, tokens)[:, 0]


def _passed(weights: Tensor, numbers: Tensor) -> Tensor:
    """Return where the running sum of weights [b, v] passes a share [b, 1] of its end; int64 [b,
    1].

    First among the sums of blocks, then within one: to sum v numbers one after the other in double
    precision costs more than all else that a choice does. A weight of 0 is never passed.
    """
    rows, size = weights.shape
    width = math.isqrt(size - 1) + 1
    blocks = functional.pad(weights, (0, -size % width)).view(rows, -1, width)
    sums = blocks.sum(-1, dtype=torch.float32).double()
    block, share = _passed_in(sums, numbers)
    inside = blocks.gather(1, block[:, :, None].expand(rows, 1, width))[:, 0].double()
    return block * width + _passed_in(inside, share)[0]


def _passed_in(weights: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the running sum passes a share of its end [b, 1], and which share of that weight
    it had passed.
    """
    running = weights.cumsum(-1)
    end = running[:, -1:]
    thresholds = torch.minimum(
        numbers * end, end * _BELOW_ONE
    )  # rounding must not reach the end
    found = torch.searchsorted(running, thresholds, right=True).clamp_(
        max=weights.shape[-1] - 1
    )
    weight = weights.gather(1, found)
    before = running.gather(1, found) - weight
    return found, ((thresholds - before) / weight).clamp_(0, 1)


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Return the logits [b, v] with those of tokens in `seen` made less likely by the penalty."""
    return torch.where(
        seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits
    )


def filtered(log_probs: Tensor, sampling: Sampling) -> Tensor:
    """Return log-probabilities [b, v] with −∞ where a filter leaves a token out; not normalised
    again.

    Each filter sees the distribution that the one before left, normalised. The likeliest token
    always stays.
    """
    if not sampling.is_filtered:
        return log_probs
    if not sampling.top_k and sampling.top_p == 1:  # what is left needs no order
        least = log_probs.amax(-1, keepdim=True) + math.log(sampling.min_p)
        return log_probs.masked_fill(log_probs < least, _NEVER)
    size = log_probs.shape[-1]
    top = min(sampling.top_k or size, size)
    values, order = (
        torch.topk(log_probs, top, -1)
        if top < size
        else log_probs.sort(-1, descending=True)
    )
    if sampling.top_p < 1:
        probabilities = torch.softmax(values, -1)
        before = probabilities.cumsum(-1) - probabilities
        values = values.masked_fill(before >= sampling.top_p, _NEVER)
    if sampling.min_p > 0:
        values = values.masked_fill(
            values < values[:, :1] + math.log(sampling.min_p), _NEVER
        )
    return torch.full_like(log_probs, _NEVER).scatter(-1, order, values)
