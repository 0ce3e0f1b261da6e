"""An encoder with 8-bit products: several times faster on CPUs with VNNI, and slightly less exact.

Weights are rounded to 255 steps; each output channel has its own step. Inputs of products are
rounded to 256 steps. These steps are fixed beforehand: steps chosen from the current batch would
make a text's score depend on its neighbours. Each input channel has its own range. The hidden units
of a feed-forward layer share their step with units of similar range. Sums are exact (int32).
Embeddings, attention, norms, residuals and the head stay float32. After Xiao et al. 2023
(SmoothQuant).

The ranges come from calibration: `watch` records the minimum, maximum and mean of each channel
while the encoder reads texts. These should resemble the texts to be scored, as training texts do.
The ranges are saved beside the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.activations import GELUActivation

from tastemaker.fast.encoder import (
    EncoderLayer,
    EncoderParts,
    FeedForward,
    Part,
)

_PLACES = ("states", "mixed", "attended", "wide")


@dataclass(slots=True)
class Range:
    """The minimum, maximum and mean of each channel [d] at one place of the network."""

    low: Tensor = field(default_factory=lambda: torch.tensor(float("inf")))
    high: Tensor = field(default_factory=lambda: torch.tensor(-float("inf")))
    mean: Tensor = field(default_factory=lambda: torch.tensor(0.0))
    count: int = 0

    def include(self, values: Tensor) -> None:
        """Widen the range to hold values [.., d]."""
        rows = values.flatten(0, -2).float().cpu()
        self.low = torch.minimum(self.low, rows.amin(0))
        self.high = torch.maximum(self.high, rows.amax(0))
        self.count += len(rows)
        share = len(rows) / self.count
        self.mean = self.mean + (rows.mean(0) - self.mean) * share

    @property
    def width(self) -> Tensor:
        """Maximum minus minimum of each channel [d]."""
        return self.high - self.low

    def of(self, channels: Tensor) -> "Range":
        """Return the range of some channels."""
        return Range(
            self.low[channels],
            self.high[channels],
            self.mean[channels],
            self.count,
        )


@dataclass(frozen=True, slots=True)
class Ranges:
    """The ranges of what a layer's products read.

    states: the layer's input. mixed: the values that attention mixed. attended: the input of the
    feed-forward layer. wide: its hidden units.
    """

    states: Range = field(default_factory=Range)
    mixed: Range = field(default_factory=Range)
    attended: Range = field(default_factory=Range)
    wide: Range = field(default_factory=Range)


def watch(
    encoder: EncoderParts, read: Callable[[EncoderParts], object]
) -> tuple[Ranges, ...]:
    """Return the ranges of each layer. `read` gets an encoder and reads unpadded texts with it."""
    ranges = tuple(Ranges() for _ in encoder.layers)
    pairs = zip(encoder.layers, ranges, strict=True)
    layers = tuple(_watched(layer, recorded) for layer, recorded in pairs)
    read(replace(encoder, layers=layers))
    return ranges


def _watched(layer: EncoderLayer, ranges: Ranges) -> EncoderLayer:
    def recording(part: Part, values_range: Range) -> Part:
        def recorded(values: Tensor) -> Tensor:
            values_range.include(values)
            return part(values)

        return recorded

    wide = layer.feed_forward
    assert isinstance(wide, FeedForward)
    feed_forward = replace(wide, narrow=recording(wide.narrow, ranges.wide))
    return replace(
        layer,
        enter=recording(layer.enter, ranges.states),
        out=recording(layer.out, ranges.mixed),
        feed_forward=recording(feed_forward, ranges.attended),
    )


def write_ranges(ranges: Sequence[Ranges], path: Path) -> None:
    """Write the ranges as safetensors."""
    tensors = {}
    for number, layer in enumerate(ranges):
        for place in _PLACES:
            r = getattr(layer, place)
            rows = torch.stack([r.low, r.high, r.mean])
            tensors[f"{number}.{place}"] = rows.contiguous()
    save_file(tensors, path)


def read_ranges(path: Path) -> tuple[Ranges, ...]:
    """Return the ranges that `write_ranges` wrote."""
    tensors = load_file(path)
    ranges = []
    for number in range(len(tensors) // len(_PLACES)):
        layer = {
            place: _range(tensors[f"{number}.{place}"]) for place in _PLACES
        }
        ranges.append(Ranges(**layer))
    return tuple(ranges)


def _range(rows: Tensor) -> Range:
    low, high, mean = rows
    return Range(low, high, mean, count=1)


_GROUPS = (384, 6, 3)
"""Hidden units that share their steps: the 384th of them with the widest ranges, then a 6th, a 3rd,
and the rest.
"""

_SHARE = 0.9
"""How much of the rounding the weights carry: 0 leaves all to the activations, 1 to the weights
(SmoothQuant's α).
"""


def in_int8(encoder: EncoderParts, ranges: Sequence[Ranges]) -> EncoderParts:
    """Return the encoder with 8-bit products, by the ranges that `watch` recorded.

    It has no gradient, so it is only for scoring. The last layer stays in float32: except for keys
    and values, it computes a single token.
    """
    *most, last = encoder.layers
    pairs = zip(most, ranges[:-1], strict=True)
    small = [_small(layer, recorded) for layer, recorded in pairs]
    return replace(encoder, layers=(*small, last))


def _small(layer: EncoderLayer, ranges: Ranges) -> EncoderLayer:
    reading = [
        _weights(part) for part in (layer.query, layer.key, layer.value)
    ]
    enter = _Codes.of(
        ranges.states, torch.cat([weight for weight, _ in reading])
    )
    query, key, value = (
        _Product.of(weight, bias, enter, ranges.states.mean)
        for weight, bias in reading
    )
    weight, bias = _weights(layer.out)
    mixed = _Codes.of(ranges.mixed, weight)
    out = _Product.of(weight, bias, mixed, ranges.mixed.mean)
    return replace(
        layer,
        enter=enter,
        query=query,
        key=key,
        value=value,
        out=lambda values: out(mixed(values)),
        feed_forward=_feed_forward(layer.feed_forward, ranges),
    )


def _weights(part: Part) -> tuple[Tensor, Tensor]:
    assert isinstance(part, nn.Linear)
    weight = part.weight.detach().float()
    bias: Tensor | None = part.bias
    if bias is None:
        return weight, torch.zeros(len(weight))
    return weight, bias.detach().float()


@dataclass(frozen=True, slots=True)
class _Codes:
    """float32 [.., d] → uint8 codes [.., d].

    A value x of channel j has the code x / steps[j] + zeros[j].
    """

    steps: Tensor
    zeros: Tensor

    @classmethod
    def of(cls, recorded: Range, weight: Tensor) -> "_Codes":
        """Share the rounding between a channel's values and its column of `weight` [out, d]."""
        widths = recorded.width.clamp(min=1e-6)
        largest_weights = weight.abs().amax(0).clamp(min=1e-6)
        steps = widths**_SHARE / largest_weights ** (1 - _SHARE)
        most_codes = (widths / steps).max()
        steps = steps * most_codes / 255
        middle = (recorded.high + recorded.low) / 2
        return cls(steps, 127.5 - middle / steps)

    @classmethod
    def alike(cls, recorded: Range) -> "_Codes":
        """Give each channel the same steps, from the least value to the greatest."""
        low = recorded.low.min()
        high = recorded.high.max()
        steps = ((high - low) / 255).clamp(min=1e-6).expand(len(recorded.low))
        return cls(steps, (-low / steps).round())

    def __call__(self, values: Tensor) -> Tensor:
        """Return the codes; what lies outside the range becomes its end."""
        codes = torch.addcmul(self.zeros + 0.5, values, 1 / self.steps)
        return codes.clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True, slots=True)
class _Product:
    """A linear layer on codes: uint8 [.., d] → float32 [.., out], or the codes of its GELU."""

    packed: Tensor
    steps: Tensor
    bias: Tensor

    @classmethod
    def of(
        cls, weight: Tensor, bias: Tensor, entering: _Codes, mean: Tensor
    ) -> "_Product":
        """Round the weights. The bias corrects what zeros and rounding add to the mean input."""
        stretched = weight * entering.steps
        steps = stretched.abs().amax(1).clamp(min=1e-12) / 127
        rounded = (stretched / steps[:, None]).round()
        back = rounded * steps[:, None]
        lost = (stretched - back) @ (mean / entering.steps)
        bias = bias - back @ entering.zeros + lost
        packed = torch.ops.onednn.qlinear_prepack(rounded.to(torch.int8), None)
        return cls(packed, steps, bias)

    def __call__(self, codes: Tensor) -> Tensor:
        return self._run(codes, (1.0, 0, torch.float32, "none", [], ""))

    def gelu_codes(self, codes: Tensor, leaving: _Codes) -> Tensor:
        """Return the codes of GELU(product), all with the same step."""
        step = leaving.steps[0].item()
        zero = int(leaving.zeros[0])
        return self._run(codes, (step, zero, torch.uint8, "gelu", [], "none"))

    def _run(self, codes: Tensor, leaving: tuple[object, ...]) -> Tensor:
        """Return the product. leaving: its step, zero and type, and what precedes its rounding."""
        zeros = torch.zeros(len(self.steps), dtype=torch.int64)
        weights = (self.packed, self.steps, zeros, self.bias)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 0, *weights, *leaving
        )
        return product


def _feed_forward(wide: Part, ranges: Ranges) -> Part:
    assert isinstance(wide, FeedForward)
    widen, widen_bias = _weights(wide.widen)
    narrow, narrow_bias = _weights(wide.narrow)
    attended = _Codes.of(ranges.attended, widen)
    if not isinstance(wide.activation, GELUActivation | nn.GELU):
        first = _Product.of(widen, widen_bias, attended, ranges.attended.mean)
        widened = _Codes.of(ranges.wide, narrow)
        second = _Product.of(narrow, narrow_bias, widened, ranges.wide.mean)
        return lambda values: second(
            widened(wide.activation(first(attended(values))))
        )
    groups = [
        _Units.of(wide, ranges, attended, units)
        for units in _groups(ranges.wide)
    ]

    def feed_forward(values: Tensor) -> Tensor:
        codes = attended(values)
        product = groups[0](codes).add_(narrow_bias)
        for units in groups[1:]:
            product.add_(units(codes))
        return product

    return feed_forward


@dataclass(frozen=True, slots=True)
class _Units:
    """Some hidden units of a feed-forward layer, of similar range.

    They map codes [.., d] to their share of the layer's result [.., d].
    """

    first: _Product
    leaving: _Codes
    second: _Product

    @classmethod
    def of(
        cls, wide: FeedForward, ranges: Ranges, attended: _Codes, units: Tensor
    ) -> "_Units":
        """Round the weights of `units`; the result's bias is left out."""
        widen, widen_bias = _weights(wide.widen)
        narrow, narrow_bias = _weights(wide.narrow)
        hidden = ranges.wide.of(units)
        leaving = _Codes.alike(hidden)
        first = _Product.of(
            widen[units], widen_bias[units], attended, ranges.attended.mean
        )
        second = _Product.of(
            narrow[:, units],
            torch.zeros_like(narrow_bias),
            leaving,
            hidden.mean,
        )
        return cls(first, leaving, second)

    def __call__(self, codes: Tensor) -> Tensor:
        return self.second(self.first.gelu_codes(codes, self.leaving))


def _groups(wide: Range) -> list[Tensor]:
    """Return the hidden units in groups that are alike in range, the widest first."""
    by_width = wide.width.argsort(descending=True, stable=True)
    counts = [max(1, len(by_width) // share) for share in _GROUPS]
    counts.append(len(by_width) - sum(counts))
    return [
        units.sort().values
        for units in torch.split(by_width, counts)
        if len(units)
    ]
