"""Generation: the value head of a critic, and the loop that writes tokens for many rows at once."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tastemaker.errors import ModelError, UsageError
from tastemaker.fast.gpt_decode import decoder_for
from tastemaker.gpt.sampling import Sampling, choose, uniforms
from tastemaker.gpt.tokenise import Reader

FILE = "value_head.safetensors"


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
        save_file(tensors, folder / FILE)

    @staticmethod
    def load(folder: Path, width: int) -> "ValueHead | None":
        """Return the head in a folder, None if there is none.

        Raises ModelError for one of another width.
        """
        if not (folder / FILE).is_file():
            return None
        tensors = load_file(folder / FILE)
        saved_width = tensors.get("linear.weight", torch.zeros(1, 0)).shape[1]
        if saved_width != width:
            raise ModelError(
                f"{folder / FILE}: a value head for width {saved_width}, "
                f"and this network is {width} wide."
            )
        head = ValueHead(width)
        head.load_state_dict(tensors)
        return head


Ended = Literal["end", "stop", "length"]
"""How a completion ended: by the end token, by a stop text, or cut at the most tokens."""


class NoNumberError(ModelError):
    """What a network computes is not finite, so nothing can be chosen."""


MOST_ROWS = 256
_SEEDS = 2**64  # what the generator of uniform numbers takes
_MOST_BYTES = 2**30  # of keys and values at once
_WORTH_A_GROUP = 64  # rows that use a processor well
_LIKE = 16  # tokens by which prompts of similar length differ at most
# Rows are moved together once fewer than this share of them still write.
_WORTH_MOVING = 0.85


@dataclass(slots=True)
class Row:
    """One completion while it is written, and when it is done.

    place: which prompt, and which of its samples. log_probs: of each token, at the temperature.
    values: what the critic expected before each token; none without a critic.
    """

    place: tuple[int, int]
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    ended: Ended = "length"


@dataclass(frozen=True, slots=True)
class Writing:
    """What is to be written.

    prompts: as tokens, none empty. samples: completions of each. room: the most tokens of a prompt
    and its completion, more than any prompt has. first: the number of the first prompt. most_rows:
    how many are written at once. critic: the value head that says what it expects before each
    token; None: none.
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
        """Yield after every token the rows that got one; a row's `ended` is final once it is no
        longer among them.

        Prompts of like length are written together, each read once for all of its samples. A row's
        text depends on the seed, its prompt's number and its sample's number, not on how rows are
        put together (but for rounding: products of more rows are summed in another order, and about
        one token in a million stands close enough to a border to change).
        """
        for group in self._groups():
            yield from self._together(group)

    def _groups(self) -> Iterator[list[tuple[int, range]]]:
        """Yield which samples of which prompts are written together: as many as fit in memory,
        of similar length.
        """
        most = self._rows_that_fit()
        group: list[tuple[int, range]] = []
        lengths = [len(prompt) for prompt in self.prompts]
        for prompt in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
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
    def _together(self, group: Sequence[tuple[int, range]]) -> Iterator[list[Row]]:
        """Write some samples of some prompts, all at once."""
        sampling = self.sampling
        places = [(prompt, sample) for prompt, samples in group for sample in samples]
        rows = [Row((self.first + prompt, sample)) for prompt, sample in places]
        limits = [
            min(sampling.max_tokens, self.room - len(self.prompts[prompt]))
            for prompt, _ in places
        ]
        numbers = uniforms(self.seed, [row.place for row in rows], max(limits))
        decoder = decoder_for(
            self.module, self.reader.pad, keeps_hidden=self.critic is not None
        )
        logits = decoder.read(
            [self.prompts[p] for p, _ in group], [len(s) for _, s in group], max(limits)
        )
        seen = self._seen(places, logits) if sampling.repetition_penalty != 1 else None
        stops, end = _Stops(self.reader, sampling.stop), self.reader.end
        writing = list(range(len(rows)))  # the rows that the decoder holds
        done = [False] * len(rows)  # it may still hold them
        for step in range(max(limits)):
            tokens, log_probs = choose(logits, numbers[writing, step], sampling, seen)
            if seen is not None:
                seen[torch.arange(len(writing), device=seen.device), tokens] = True
            chances: list[float] = log_probs.tolist()
            values: list[float] = []
            if self.critic is not None:
                values = self.critic(decoder.hidden.float()).tolist()
            if not math.isfinite(math.fsum(chances)):
                raise NoNumberError(
                    "the policy's logits are no numbers: its weights are damaged, "
                    "or a step went too far."
                )
            going = []
            for number, (place, token) in enumerate(
                zip(writing, tokens.tolist(), strict=True)
            ):
                if not done[place]:
                    row = rows[place]
                    row.ids.append(token)
                    row.log_probs.append(chances[number])
                    row.values += values[number : number + 1]
                    if token == end:
                        row.ended = "end"
                    elif stops.reached(row):
                        row.ended = "stop"
                    done[place] = row.ended != "length" or step + 1 == limits[place]
                    going.append(row)
            yield going
            left = [number for number, place in enumerate(writing) if not done[place]]
            if not left:
                return
            if len(left) < _WORTH_MOVING * len(writing):
                remaining = torch.tensor(left, device=logits.device)
                decoder.keep(remaining)
                tokens = tokens[remaining]
                writing = [writing[number] for number in left]
                seen = None if seen is None else seen[remaining]
            logits = decoder.step(tokens)

    def _rows_that_fit(self) -> int:
        """Return how many rows' keys and values fit into memory at once."""
        config = self.module.config.get_text_config()
        longest_prompt = max(map(len, self.prompts), default=0)
        longest = min(self.room, longest_prompt + self.sampling.max_tokens)
        per_row = longest * config.num_hidden_layers * config.hidden_size * 2 * 4
        return max(1, min(self.most_rows, _MOST_BYTES // int(per_row)))

    def _seen(self, places: Sequence[tuple[int, int]], logits: Tensor) -> Tensor:
        """Return which tokens each row's prompt holds: bool [rows, v]."""
        seen = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        for row, (prompt, _) in enumerate(places):
            seen[row, torch.tensor(self.prompts[prompt], device=logits.device)] = True
        return seen


class _Stops:
    """Looks for stop texts in what rows end with."""

    def __init__(self, reader: Reader, texts: Sequence[str]) -> None:
        self.reader, self.texts = reader, texts
        self.window = max((len(text.encode()) for text in texts), default=0) + 4

    def reached(self, row: Row) -> bool:
        """Return whether the newest token completed a stop text.

        A token is a byte or more, so only the last few of them have to be read.
        """
        if not self.texts:
            return False
        tail = self.reader.text(row.ids[-self.window :])
        return any(text in tail for text in self.texts)


def before_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first stop text in it."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
