"""Writing: the loop that appends one token to each of many completions in turn.

Prompts of similar length are read together. Rows that ended give their places to the next prompts,
so that the network always works on many rows.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from tastemaker.data.judgements import Prompt
from tastemaker.errors import ModelError, UsageError
from tastemaker.fast.gpt_decode import Decoder, decoder_for
from tastemaker.fast.processor import cache_budget, cache_bytes
from tastemaker.gpt.sampling import Sampling, ValueHead, choose, uniforms
from tastemaker.gpt.tokenise import Reader
from tastemaker.readable import notebook_html

Ended = Literal["end", "stop", "length"]
"""How a completion ended: by the end token, by a stop text, or cut at the most tokens."""


class NoNumberError(ModelError):
    """A network's outputs are not finite, so no token can be chosen."""


MOST_ROWS = 256
_SEEDS = 2**64  # the seeds of the generator of uniform numbers are below it
_WORTH_A_GROUP = 64  # rows that use a processor well
_LIKE = 16  # tokens by which prompts of similar length differ at most
# Rows are moved together once fewer than this share of them still write.
_WORTH_MOVING = 0.85


_Group = list[tuple[int, range]]
"""Prompts by number, and the samples of each that are written together."""


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
class Completion:
    """A text that a policy wrote.

    text: without stop text and special tokens. ids: its tokens, the end token included. log_probs:
    of each token, at the sampling's temperature, without filters. ended: by the end token, by a
    stop text, or by the limit of tokens. values: the critic's value before each token; empty if the
    policy has no value head. columns: what the prompt's row holds beside it, for a reward.
    """

    prompt: Prompt
    text: str
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    ended: Ended
    values: tuple[float, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def log_prob(self) -> float:
        """The log-probability of the whole completion."""
        return sum(self.log_probs)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        """Return the text and its figures, for a notebook."""
        figures = (
            f"{len(self.ids):,} tokens, log-probability {self.log_prob:.2f}, "
            f"ended by: {self.ended}"
        )
        prompt = [f"prompt: {self.prompt}"] if self.prompt else []
        return notebook_html([*prompt, self.text, figures])


def check_room(prompts: Sequence[Sequence[int]], context: int) -> None:
    """Raise UsageError for a prompt of tokens that leaves no room for a token of its completion."""
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) >= context:
            raise UsageError(
                f"prompt {number} is {len(prompt):,} tokens long, "
                f"and this policy reads and writes {context:,} together. "
                f"Shorten it to {context - 1:,} or fewer."
            )


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
        waiting = deque(self._groups())
        while waiting:
            yield from self._together(waiting)

    def _groups(self) -> Iterator[_Group]:
        """Yield the samples that are written together: of similar prompts, as many as fit."""
        most = self._rows_that_fit()
        group: _Group = []
        lengths = [len(prompt) for prompt in self.prompts]
        for prompt in sorted(
            range(len(lengths)), key=lambda i: (lengths[i], i)
        ):
            for start in range(0, self.samples, most):
                samples = range(start, min(start + most, self.samples))
                rows = _rows_of(group)
                longer = lengths[prompt] - lengths[group[0][0]] if group else 0
                is_too_many = rows + len(samples) > most
                if is_too_many or (rows >= _WORTH_A_GROUP and longer > _LIKE):
                    yield group
                    group = []
                group.append((prompt, samples))
        if group:
            yield group

    @torch.inference_mode()
    def _together(self, waiting: deque[_Group]) -> Iterator[list[Row]]:
        """Write the first group that waits, and others in the places of rows that ended."""
        decoder = decoder_for(
            self.module,
            self.reader.pad,
            keeps_hidden=self.critic is not None,
        )
        group = waiting.popleft()
        most = _rows_of(group)
        held = self._started(group)
        stops = None
        if self.sampling.stop:
            stops = _Stops(self.reader, self.sampling.stop)
        logits = decoder.read(*self._to_read(group), held.most_left)
        if self.sampling.repetition_penalty != 1:
            held.is_used = self._used_by_prompts(group, logits)
        while True:
            tokens = self._appended(held, logits, decoder, stops)
            yield held.written
            rows = held.unfinished()
            if not rows:
                return
            if len(rows) >= _WORTH_MOVING * len(held.places):
                logits = decoder.step(tokens)
                continue
            remaining = torch.tensor(rows, device=logits.device)
            decoder.keep(remaining)
            held = held.only(rows)
            logits = decoder.step(tokens[remaining])
            group = []
            if decoder.can_add:
                longest = _LIKE + held.longest
                group = self._next(
                    waiting,
                    places=most - len(rows),
                    longest=longest,
                )
            if group:
                new = self._started(group)
                left = max(held.most_left, new.most_left)
                new_logits = decoder.add(*self._to_read(group), left)
                if self.sampling.repetition_penalty != 1:
                    new.is_used = self._used_by_prompts(group, new_logits)
                held = held.with_more(new)
                logits = torch.cat((logits, new_logits))

    def _started(self, group: _Group) -> "_Held":
        """Return the empty rows of some samples."""
        places = []
        for prompt, samples in group:
            size = len(self.prompts[prompt])
            limit = min(self.sampling.max_tokens, self.room - size)
            for sample in samples:
                row = Row((self.first + prompt, sample))
                places.append(_Place(row, size, limit))
        keys = [place.row.place for place in places]
        most = min(self.sampling.max_tokens, self.room)
        return _Held(places, uniforms(self.seed, keys, most))

    def _to_read(self, group: _Group) -> tuple[list[Sequence[int]], list[int]]:
        """Return the prompts of a group, and how many samples of each are written."""
        prompts = [self.prompts[prompt] for prompt, _ in group]
        return prompts, [len(samples) for _, samples in group]

    def _next(
        self,
        waiting: deque[_Group],
        places: int,
        longest: int,
    ) -> _Group:
        """Take samples for `places` free places from the groups that wait.

        longest: the most tokens of a prompt; a longer one waits for rows of its length.
        """
        taken: _Group = []
        while waiting and places:
            prompt, samples = waiting[0][0]
            if len(self.prompts[prompt]) > longest:
                break
            now = samples[:places]
            later = samples[places:]
            taken.append((prompt, now))
            places -= len(now)
            if later:
                waiting[0][0] = prompt, later
            else:
                del waiting[0][0]
            if not waiting[0]:
                waiting.popleft()
        return taken

    def _appended(
        self,
        held: "_Held",
        logits: Tensor,
        decoder: Decoder,
        stops: "_Stops | None",
    ) -> Tensor:
        """Choose a token for each row, append it to those that still write; return all [rows]."""
        numbers = None if self.sampling.is_greedy else held.next_numbers()
        tokens, chosen_log_probs = choose(
            logits, numbers, self.sampling, held.is_used
        )
        if held.is_used is not None:
            rows = torch.arange(len(tokens), device=tokens.device)
            held.is_used[rows, tokens] = True
        log_probs: list[float] = chosen_log_probs.tolist()
        values: list[float] = []
        if self.critic is not None:
            values = self.critic(decoder.hidden.float()).tolist()
        if not math.isfinite(math.fsum(log_probs)):
            raise NoNumberError(
                "the policy's logits are no numbers: its weights are damaged, "
                "or a step went too far."
            )
        ends = self.reader.ends
        held.written = []
        for index, token in enumerate(tokens.tolist()):
            place = held.places[index]
            if place.is_done:
                continue
            row = place.row
            row.ids.append(token)
            row.log_probs.append(log_probs[index])
            if values:
                row.values.append(values[index])
            if token in ends:
                row.ended = "end"
            elif stops is not None and stops.reached(row):
                row.ended = "stop"
            is_last = len(row.ids) == place.limit
            place.is_done = is_last or row.ended != "length"
            held.written.append(row)
        return tokens

    def _rows_that_fit(self) -> int:
        """Return how many rows' keys and values fit into memory at once."""
        longest_prompt = max(map(len, self.prompts), default=0)
        most_new = self.sampling.max_tokens
        longest = min(self.room, longest_prompt + most_new)
        per_token = cache_bytes(self.module.config, self.module.dtype)
        budget = cache_budget(self.module.device)
        rows = len(self.prompts) * self.samples
        plain = min(self.most_rows, budget // (longest * per_token))
        if rows <= plain:
            return rows or 1
        # new rows join the oldest ones, and then have all their tokens to write
        longest += min(most_new, self.room)
        fit = budget // (longest * per_token)
        return max(1, min(self.most_rows, fit))

    def _used_by_prompts(self, group: _Group, logits: Tensor) -> Tensor:
        """Return which tokens each row's prompt holds: bool [rows, v]."""
        is_used = torch.zeros(
            logits.shape,
            dtype=torch.bool,
            device=logits.device,
        )
        row = 0
        for prompt, samples in group:
            ids = torch.tensor(self.prompts[prompt], device=logits.device)
            is_used[row : row + len(samples), ids] = True
            row += len(samples)
        return is_used


@dataclass(slots=True)
class _Place:
    """A row in a decoder. size: of its prompt. limit: its most tokens. is_done: it has ended."""

    row: Row
    size: int
    limit: int
    is_done: bool = False


@dataclass
class _Held:
    """The rows that a decoder holds.

    numbers: uniform, that choose the tokens [rows, most tokens]. is_used: bool [rows, v], where
    repetition is penalised. written: the rows that the last step appended to.
    """

    places: list[_Place]
    numbers: Tensor
    is_used: Tensor | None = None
    written: list[Row] = field(default_factory=list)

    @property
    def most_left(self) -> int:
        """The most tokens that a row may still get."""
        return max(place.limit - len(place.row.ids) for place in self.places)

    @property
    def longest(self) -> int:
        """The tokens of the longest row, its prompt included."""
        return max(place.size + len(place.row.ids) for place in self.places)

    def next_numbers(self) -> Tensor:
        """Return the uniform numbers of the next tokens [rows]."""
        steps = torch.tensor([len(place.row.ids) for place in self.places])
        # a row that is done at its limit has none left
        steps.clamp_(max=self.numbers.shape[1] - 1)
        return self.numbers.gather(1, steps[:, None])[:, 0]

    def unfinished(self) -> list[int]:
        """Return the numbers of the rows that still write."""
        return [i for i, place in enumerate(self.places) if not place.is_done]

    def only(self, rows: list[int]) -> "_Held":
        """Return some of the rows."""
        places = [self.places[i] for i in rows]
        is_used = None if self.is_used is None else self.is_used[rows]
        return _Held(places, self.numbers[rows], is_used)

    def with_more(self, others: "_Held") -> "_Held":
        """Return these rows with others behind them."""
        is_used = None
        if self.is_used is not None and others.is_used is not None:
            is_used = torch.cat((self.is_used, others.is_used))
        numbers = torch.cat((self.numbers, others.numbers))
        return _Held(
            self.places + others.places,
            numbers,
            is_used,
        )


class _Stops:
    """Looks for stop texts at the ends of rows."""

    def __init__(self, reader: Reader, texts: Sequence[str]) -> None:
        self.reader = reader
        self.texts = texts
        self.window = max(len(text.encode()) for text in texts) + 4

    def reached(self, row: Row) -> bool:
        """Return whether the newest token completed a stop text.

        A token is at least one byte, so reading the last few tokens is enough.
        """
        tail = self.reader.text(row.ids[-self.window :])
        return any(text in tail for text in self.texts)


def _rows_of(group: _Group) -> int:
    """Return how many rows a group has."""
    return sum(len(samples) for _, samples in group)
