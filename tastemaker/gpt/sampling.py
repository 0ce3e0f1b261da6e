"""Sampling: how the next token is drawn.

`choose` filters the distribution of the next token, then draws with one uniform number a row. A
critic's `ValueHead` may read the hidden states while they are there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tastemaker.errors import ModelError, UsageError
from tastemaker.huggingface import quiet_transformers
from tastemaker.settings import (
    POSITIVE,
    SHARE,
    Check,
    at_least,
    check,
    setting,
    settings_class,
)

_NEVER = float("-inf")
_BELOW_ONE = 1 - 2.0**-50
# tokens among which the share of `top_p` is looked for first
_FIRST_TRIED = 64
# tokens whose order costs less than the sum over all
_FEW = 1024
_COLDEST = 1e-6  # logits over less are no longer finite in float32


@settings_class
@dataclass(frozen=True)
class Sampling:
    """How text is drawn from a policy.

    The filters act in the order of the fields, as in transformers. If tokens are equally likely,
    top_k keeps k of them, where transformers keeps all. So top_k 1 always gives the same text.
    Temperature 0 is top_k 1 at temperature 1, of which the log-probabilities are.
    """

    group: ClassVar[str] = "Sampling"

    temperature: float = setting(
        1.0,
        "Divides the logits: below 1 safer, above 1 wilder; 0: the likeliest text.",
        Check(
            lambda value: value == 0 or _COLDEST <= value < math.inf,
            f"a number of {_COLDEST:g} or more, or 0 for the likeliest text",
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
        (),
        "A text that ends a completion and is not part of it. May be repeated.",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.temperature == 0:
            object.__setattr__(self, "temperature", 1.0)
            object.__setattr__(self, "top_k", 1)
        if isinstance(self.stop, str):
            raise UsageError(
                f"stop {self.stop!r}: must be a tuple of texts, such as ({self.stop!r},)."
            )
        if any(not text for text in self.stop):
            raise UsageError(
                "a stop text is empty: it would end every completion before it begins. "
                "Leave it out."
            )

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always chosen."""
        return self.top_k == 1

    @property
    def is_filtered(self) -> bool:
        """Whether some tokens are never chosen."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


def check_temperature(temperature: float) -> None:
    """Raise UsageError for a temperature that cannot divide logits."""
    if temperature == 0:
        raise UsageError(
            "temperature 0 divides by nothing: use 1 for the policy's own probabilities."
        )
    Sampling(temperature=temperature)  # raises for any other


def uniforms(
    seed: int, rows: Sequence[tuple[int, int]], tokens: int
) -> Tensor:
    """Return the uniform numbers, float64 [rows, tokens] in [0, 1), that choose each row's tokens.

    rows: the number of each row's prompt and of its sample. A row's numbers depend on these and the
    seed alone, not on the other rows: Philox is a counter-based generator (Salmon et al. 2011).
    """
    numbers = np.empty((len(rows), tokens))
    for row, (prompt, sample) in enumerate(rows):
        key = np.array([seed, (prompt << 32) + sample], dtype=np.uint64)
        random = np.random.Generator(np.random.Philox(key=key))
        numbers[row] = random.random(tokens)
    return torch.from_numpy(numbers)


def choose(
    logits: Tensor,
    numbers: Tensor | None,
    sampling: Sampling,
    is_used: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the next token of each row [b] and its log-probability [b] at the temperature.

    logits: [b, v]. numbers: uniform, float64 [b]; not needed for the likeliest token. is_used: bool
    [b, v], whether a row holds a token already; needed where repetition is penalised. The token is
    where the cumulative distribution of what the filters leave passes the number, or that of the
    largest logit, as in transformers. The log-probability is that of the policy at this
    temperature, without filters and penalty: log π(token).
    """
    scaled = (
        logits if sampling.temperature == 1 else logits / sampling.temperature
    )
    log_probs = torch.log_softmax(scaled, -1)
    is_penalised = is_used is not None and sampling.repetition_penalty != 1
    if is_used is not None and is_penalised:
        lowered = penalised(logits, is_used, sampling.repetition_penalty)
        scaled = lowered / sampling.temperature
    if sampling.is_greedy:
        # as argmax does, in a third of its time on a CPU
        tokens = scaled.max(-1, keepdim=True).indices
    else:
        assert numbers is not None
        to_filter = (
            torch.log_softmax(scaled, -1) if is_penalised else log_probs
        )
        tokens = _drawn(to_filter, numbers.to(logits.device), sampling)
    # Where the logits are not finite any token will do: its log-probability shows the fault.
    tokens.clamp_(max=logits.shape[-1] - 1)
    return tokens[:, 0], log_probs.gather(1, tokens)[:, 0]


def _drawn(
    log_probs: Tensor,
    numbers: Tensor,
    sampling: Sampling,
) -> Tensor:
    """Return the tokens [b, 1] that uniform numbers [b] choose of what the filters leave."""
    numbers = numbers[:, None]
    if sampling.top_k or sampling.top_p < 1:
        values, order = _likeliest(log_probs, sampling)
        if values.shape[1] <= _FEW:
            # the same tokens as in the order of the vocabulary, without the many of weight 0
            order, places = order.sort(-1)
            weights = values.gather(1, places).exp().double()
            place, _ = _inverse_cdf_and_rest(weights, numbers)
            return order.gather(1, place)
    weights = log_probs.exp()
    if sampling.is_filtered:
        # the exponential of −∞ is slow
        is_out = filtered(log_probs, sampling) == _NEVER
        weights.masked_fill_(is_out, 0)
    return _inverse_cdf(weights, numbers)


def _inverse_cdf(weights: Tensor, numbers: Tensor) -> Tensor:
    """Return where the running sum of weights [b, v] passes a share of the total: int64 [b, 1].

    numbers: the shares, float64 [b, 1].

    First a block is found by the sums of blocks, then a place within it: summing v numbers one
    after the other in double precision would cost more than all else here. A place of weight 0 is
    never returned.
    """
    rows, size = weights.shape
    width = math.isqrt(size - 1) + 1
    blocks = functional.pad(weights, (0, -size % width)).view(rows, -1, width)
    sums = blocks.sum(-1, dtype=torch.float32).double()
    block, share = _inverse_cdf_and_rest(sums, numbers)
    inside = blocks.gather(1, block[:, :, None].expand(rows, 1, width))[
        :, 0
    ].double()
    place, _ = _inverse_cdf_and_rest(inside, share)
    return block * width + place


def _inverse_cdf_and_rest(
    weights: Tensor,
    numbers: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return where the running sum passes a share of the total, and how far into that weight.

    Both are [b, 1]; the second is a share of the weight, 0 … 1.
    """
    running = weights.cumsum(-1)
    end = running[:, -1:]
    # rounding must not reach the end
    thresholds = torch.minimum(numbers * end, end * _BELOW_ONE)
    places = torch.searchsorted(running, thresholds, right=True)
    places.clamp_(max=weights.shape[-1] - 1)
    weight = weights.gather(1, places)
    before = running.gather(1, places) - weight
    return places, ((thresholds - before) / weight).clamp_(0, 1)


def penalised(logits: Tensor, is_used: Tensor, penalty: float) -> Tensor:
    """Return the logits [b, v]; those of used tokens are made less likely by the penalty."""
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(is_used, lowered, logits)


def filtered(log_probs: Tensor, sampling: Sampling) -> Tensor:
    """Return log-probabilities [b, v], −∞ where a filter leaves a token out; not normalised again.

    Each filter sees the distribution that the one before left, normalised. The likeliest token
    always stays.
    """
    if not sampling.is_filtered:
        return log_probs
    # what is left needs no order
    if not sampling.top_k and sampling.top_p == 1:
        least = log_probs.amax(-1, keepdim=True) + math.log(sampling.min_p)
        return log_probs.masked_fill(log_probs < least, _NEVER)
    values, order = _likeliest(log_probs, sampling)
    return torch.full_like(log_probs, _NEVER).scatter(-1, order, values)


def _likeliest(log_probs: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return the likeliest tokens, and before them their log-probabilities [b, k], best first.

    These are −∞ where a filter leaves a token out. All tokens that are not among the k are left
    out.
    """
    size = log_probs.shape[-1]
    if sampling.top_k:
        top = min(sampling.top_k, size)
        values, order = torch.topk(log_probs, top, -1)
        probabilities = torch.softmax(values, -1)
    else:
        # a few hold the share, as a rule: sorting all would cost more than the network
        top = _FIRST_TRIED
        values, order = _largest(log_probs, top)
        while top < size and _hold_less(values, sampling.top_p):
            top *= 8
            values, order = _largest(log_probs, top)
        probabilities = values.exp()
    if sampling.top_p < 1:
        before = probabilities.cumsum(-1) - probabilities
        values = values.masked_fill(before >= sampling.top_p, _NEVER)
    if sampling.min_p > 0:
        least = values[:, :1] + math.log(sampling.min_p)
        values = values.masked_fill(values < least, _NEVER)
    return values, order


def _hold_less(log_probs: Tensor, share: float) -> bool:
    """Return whether some row's probabilities sum to less than a share."""
    held = log_probs.exp().sum(-1).min()
    return float(held) < share


def _largest(
    log_probs: Tensor,
    top: int,
) -> tuple[Tensor, Tensor]:
    """Return the largest values of each row [b, v], best first, and their places."""
    if top >= log_probs.shape[-1]:
        values, order = log_probs.sort(-1, descending=True)
    else:
        values, order = torch.topk(log_probs, top, -1)
    return values, order


VALUE_HEAD = "value_head.safetensors"
"""The file of a policy's folder that holds its value head."""


class ValueHead(nn.Module):
    """A linear map from hidden states [b, t, d] to values [b, t]. It starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the values [b, t] of hidden states [b, t, d]."""
        values: Tensor = self.linear(hidden)[..., 0]
        return values

    def save(self, folder: Path) -> None:
        """Write the head beside the network, which other tools load without it."""
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.state_dict().items()
        }
        save_file(tensors, folder / VALUE_HEAD)

    @staticmethod
    def load(folder: Path, module: Any) -> "ValueHead | None":
        """Return the head in a folder, None if there is none.

        Raises ModelError for one of another width than the network's hidden states.
        """
        if not (folder / VALUE_HEAD).is_file():
            return None
        tensors = load_file(folder / VALUE_HEAD)
        width = hidden_width(module)
        saved_width = tensors.get("linear.weight", torch.zeros(1, 0)).shape[1]
        if saved_width != width:
            raise ModelError(
                f"{folder / VALUE_HEAD}: a value head for width {saved_width}, "
                f"and this network is {width} wide."
            )
        head = ValueHead(width)
        head.load_state_dict(tensors)
        return head


@torch.no_grad()
def hidden_width(module: Any) -> int:
    """Return the width of the last hidden states, for a head on them.

    One token is computed to see it: the configuration may say another width. OPT-350m projects its
    hidden states onto the narrower width of its embeddings.
    """
    token = torch.zeros(1, 1, dtype=torch.long, device=module.device)
    with quiet_transformers():
        out = module(
            input_ids=token, use_cache=False, output_hidden_states=True
        )
    return int(out.hidden_states[-1].shape[-1])


def before_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first stop text in it."""
    # −1 for a stop text that is not there
    starts = [text.find(stop) for stop in stops]
    return text[
        : min((start for start in starts if start >= 0), default=len(text))
    ]
