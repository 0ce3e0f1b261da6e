"""Sampling: how the next token is drawn, and the loop that writes many completions at once.

`choose` filters the distribution of the next token, then draws with one uniform number a row.
`Writing` reads prompts of similar length together and appends one token to each row in turn. A
critic's `ValueHead` may read the hidden states while they are there.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tastemaker.errors import ModelError, UsageError
from tastemaker.fast.gpt_decode import decoder_for
from tastemaker.gpt.tokenise import Reader
from tastemaker.settings import (
    POSITIVE,
    SHARE,
    Check,
    at_least,
    check,
    setting,
)

_NEVER = float("-inf")
_BELOW_ONE = 1 - 2.0**-50
_COLDEST = 1e-6  # logits over less are no longer finite in float32


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
    def is_filtered(self) -> bool:
        """Whether some tokens are never chosen."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


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
    numbers: Tensor,
    sampling: Sampling,
    is_used: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the next token of each row [b] and its log-probability [b] at the temperature.

    logits: [b, v]. numbers: uniform, float64 [b]. is_used: bool [b, v], whether a row holds a token
    already; needed where repetition is penalised. The token is where the cumulative distribution of
    what the filters leave passes the number. The log-probability is that of the policy at this
    temperature, without filters and penalty: log π(token).
    """
    scaled = (
        logits if sampling.temperature == 1 else logits / sampling.temperature
    )
    log_probs = torch.log_softmax(scaled, -1)
    to_filter = log_probs
    if is_used is not None and sampling.repetition_penalty != 1:
        lowered = penalised(logits, is_used, sampling.repetition_penalty)
        to_filter = torch.log_softmax(lowered / sampling.temperature, -1)
    weights = filtered(to_filter, sampling).exp()
    tokens = _inverse_cdf(weights, numbers.to(logits.device)[:, None])
    # Where the logits are not finite any token will do: its log-probability shows the fault.
    tokens.clamp_(max=logits.shape[-1] - 1)
    return tokens[:, 0], log_probs.gather(1, tokens)[:, 0]


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
    weights: Tensor, numbers: Tensor
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
        least = values[:, :1] + math.log(sampling.min_p)
        values = values.masked_fill(values < least, _NEVER)
    return torch.full_like(log_probs, _NEVER).scatter(-1, order, values)


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
    def load(folder: Path, width: int) -> "ValueHead | None":
        """Return the head in a folder, None if there is none.

        Raises ModelError for one of another width.
        """
        if not (folder / VALUE_HEAD).is_file():
            return None
        tensors = load_file(folder / VALUE_HEAD)
        saved_width = tensors.get("linear.weight", torch.zeros(1, 0)).shape[1]
        if saved_width != width:
            raise ModelError(
                f"{folder / VALUE_HEAD}: a value head for width {saved_width}, "
                f"and this network is {width} wide."
            )
        head = ValueHead(width)
        head.load_state_dict(tensors)
        return head


Ended = Literal["end", "stop", "length"]
"""How a completion ended: by the end token, by a stop text, or cut at the most tokens."""


class NoNumberError(ModelError):
    """A network's outputs are not finite, so no token can be chosen."""


MOST_ROWS = 256
_SEEDS = 2**64  # the seeds of the generator of uniform numbers are below it
_MOST_BYTES = 2**30  # of keys and values at once
_WORTH_A_GROUP = 64  # rows that use a processor well
_LIKE = 16  # tokens by which prompts of similar length differ at most
# Rows are moved together once fewer than this share of them still write.
_WORTH_MOVING = 0.85


@dataclass(slots=True)
class Row:
    """One completion while it is written, and when it is done.

    place: the numbers of its prompt and of its sample. log_probs: of each token, at the
    temperature. values: the critic's, before each token; empty without a critic.
    """

    place: tuple[int, int]
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    ended: Ended = "length"


@dataclass(frozen=True, slots=True)
class Writing:
    """The task of writing completions.

    prompts: as tokens, none empty. samples: completions of each. room: the most tokens of a prompt
    and its completion, more than any prompt has. first: the number of the first prompt. most_rows:
    how many are written at once. critic: the value head that computes a value before each token, or
    None.
    """

    module: Any
    reader: Reader
    prompts: Sequence[Sequence[int]]
    samples: int
    room: int
    sampling: Sampling
    seed: int
    first: int = 0
    most_rows: int = MOST_ROWS
    critic: ValueHead | None = None

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError(
                f"{self.samples} samples were asked of each prompt: ask for 1 or more."
            )
        if self.most_rows < 1:
            raise UsageError(
                f"most_rows {self.most_rows}: at least one row has to be written at a time."
            )
        if not 0 <= self.seed < _SEEDS:
            raise UsageError(
                f"seed {self.seed}: must be a whole number, 0 to 2**64 - 1."
            )

    def steps(self) -> Iterator[list[Row]]:
        """Yield after every token the rows that got one.

        A row has ended once it is no longer among them. Prompts of similar length are written
        together, each read once for all of its samples. A row's text depends on the seed, its
        prompt's number and its sample's number, and not on the other rows, except by rounding:
        products of more rows are summed in another order, which changes about one token in a
        million.
        """
        for group in self._groups():
            yield from self._together(group)

    def _groups(self) -> Iterator[list[tuple[int, range]]]:
        """Yield the samples that are written together: of similar prompts, as many as fit."""
        most = self._rows_that_fit()
        group: list[tuple[int, range]] = []
        lengths = [len(prompt) for prompt in self.prompts]
        for prompt in sorted(
            range(len(lengths)), key=lambda i: (lengths[i], i)
        ):
            for start in range(0, self.samples, most):
                samples = range(start, min(start + most, self.samples))
                rows = sum(len(s) for _, s in group)
                longer = lengths[prompt] - lengths[group[0][0]] if group else 0
                is_too_many = rows + len(samples) > most
                if is_too_many or (rows >= _WORTH_A_GROUP and longer > _LIKE):
                    yield group
                    group = []
                group.append((prompt, samples))
        if group:
            yield group

    @torch.inference_mode()
    def _together(
        self, group: Sequence[tuple[int, range]]
    ) -> Iterator[list[Row]]:
        """Write some samples of some prompts, all at once."""
        sampling = self.sampling
        places = [
            (prompt, sample) for prompt, samples in group for sample in samples
        ]
        rows = [
            Row((self.first + prompt, sample)) for prompt, sample in places
        ]
        limits = [
            min(sampling.max_tokens, self.room - len(self.prompts[prompt]))
            for prompt, _ in places
        ]
        longest = max(limits)
        numbers = uniforms(self.seed, [row.place for row in rows], longest)
        decoder = decoder_for(
            self.module, self.reader.pad, keeps_hidden=self.critic is not None
        )
        logits = decoder.read(
            [self.prompts[prompt] for prompt, _ in group],
            [len(samples) for _, samples in group],
            longest,
        )
        is_used: Tensor | None = None
        if sampling.repetition_penalty != 1:
            is_used = self._used_by_prompts(places, logits)
        stops = _Stops(self.reader, sampling.stop)
        ends = self.reader.ends
        held = list(range(len(rows)))  # numbers of the rows in the decoder
        is_done = [False] * len(rows)  # the decoder may still hold them
        for step in range(longest):
            tokens, chosen_log_probs = choose(
                logits, numbers[held, step], sampling, is_used
            )
            if is_used is not None:
                is_used[
                    torch.arange(len(held), device=is_used.device), tokens
                ] = True
            log_probs: list[float] = chosen_log_probs.tolist()
            values: list[float] = []
            if self.critic is not None:
                values = self.critic(decoder.hidden.float()).tolist()
            if not math.isfinite(math.fsum(log_probs)):
                raise NoNumberError(
                    "the policy's logits are no numbers: its weights are damaged, "
                    "or a step went too far."
                )
            written = []
            pairs = zip(held, tokens.tolist(), strict=True)
            for index, (number, token) in enumerate(pairs):
                if is_done[number]:
                    continue
                row = rows[number]
                row.ids.append(token)
                row.log_probs.append(log_probs[index])
                row.values += values[index : index + 1]
                if token in ends:
                    row.ended = "end"
                elif stops.reached(row):
                    row.ended = "stop"
                is_last = step + 1 == limits[number]
                is_done[number] = is_last or row.ended != "length"
                written.append(row)
            yield written
            unfinished = [i for i, n in enumerate(held) if not is_done[n]]
            if not unfinished:
                return
            if len(unfinished) < _WORTH_MOVING * len(held):
                remaining = torch.tensor(unfinished, device=logits.device)
                decoder.keep(remaining)
                tokens = tokens[remaining]
                held = [held[index] for index in unfinished]
                is_used = None if is_used is None else is_used[remaining]
            logits = decoder.step(tokens)

    def _rows_that_fit(self) -> int:
        """Return how many rows' keys and values fit into memory at once."""
        config = self.module.config.get_text_config()
        longest_prompt = max(map(len, self.prompts), default=0)
        longest = min(self.room, longest_prompt + self.sampling.max_tokens)
        per_row = (
            longest * config.num_hidden_layers * config.hidden_size * 2 * 4
        )
        return max(1, min(self.most_rows, _MOST_BYTES // int(per_row)))

    def _used_by_prompts(
        self, places: Sequence[tuple[int, int]], logits: Tensor
    ) -> Tensor:
        """Return which tokens each row's prompt holds: bool [rows, v]."""
        is_used = torch.zeros(
            logits.shape, dtype=torch.bool, device=logits.device
        )
        for row, (prompt, _) in enumerate(places):
            ids = torch.tensor(self.prompts[prompt], device=logits.device)
            is_used[row, ids] = True
        return is_used


class _Stops:
    """Looks for stop texts at the ends of rows."""

    def __init__(self, reader: Reader, texts: Sequence[str]) -> None:
        self.reader = reader
        self.texts = texts
        self.window = (
            max((len(text.encode()) for text in texts), default=0) + 4
        )

    def reached(self, row: Row) -> bool:
        """Return whether the newest token completed a stop text.

        A token is at least one byte, so reading the last few tokens is enough.
        """
        if not self.texts:
            return False
        tail = self.reader.text(row.ids[-self.window :])
        return any(text in tail for text in self.texts)


def before_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first stop text in it."""
    # −1 for a stop text that is not there
    starts = [text.find(stop) for stop in stops]
    return text[
        : min((start for start in starts if start >= 0), default=len(text))
    ]
