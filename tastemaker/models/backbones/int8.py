"""An encoder with 8-bit products: several times faster on processors with VNNI, and a little less exact.

Weights are rounded to 255 steps, each output channel with steps of its own. What flows into a product is rounded to 256
steps, fixed beforehand by watching the float32 encoder read calibration texts: steps chosen from the batch at hand would
make a text's score hang on its neighbours. Each input channel has a range of its own where the codes are made here; the
few wide channels of a feed-forward layer whose range would coarsen all the others stay in float32. Sums are exact
(int32); embeddings, attention, norms, residuals and the head stay float32 too. After Xiao et al. 2023 (SmoothQuant) and
Dettmers et al. 2022 (LLM.int8).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear
from transformers.activations import GELUActivation

from tastemaker.models.backbones.parts import Encoder, FeedForward, Layer, Part, same

_EXACT_UNITS = 32
"""Hidden units of a feed-forward layer that stay in float32: those with the widest ranges."""


@dataclass(slots=True)
class Range:
    """What was seen at one place of the network: least, greatest and mean of every channel [d]."""

    low: Tensor = field(default_factory=lambda: torch.tensor(float("inf")))
    high: Tensor = field(default_factory=lambda: torch.tensor(-float("inf")))
    total: Tensor = field(default_factory=lambda: torch.tensor(0.0))
    count: int = 0

    def see(self, values: Tensor) -> None:
        """Widen the range to hold values [.., d]."""
        flat = values.flatten(0, -2).float()
        self.low = torch.minimum(self.low, flat.amin(0))
        self.high = torch.maximum(self.high, flat.amax(0))
        self.total = self.total + flat.sum(0)
        self.count += len(flat)

    @property
    def mean(self) -> Tensor:
        """The mean of every channel [d]."""
        return self.total / self.count


@dataclass(frozen=True, slots=True)
class Ranges:
    """What flows into a layer's products: its input, the mixed values, the attended tokens, the widened ones."""

    states: Range = field(default_factory=Range)
    mixed: Range = field(default_factory=Range)
    attended: Range = field(default_factory=Range)
    wide: Range = field(default_factory=Range)


def watch(encoder: Encoder, read: Callable[[Encoder], object]) -> tuple[Ranges, ...]:
    """Return the ranges of every layer while `read` reads calibration texts, unpadded, with the encoder handed to it."""
    ranges = tuple(Ranges() for _ in encoder.layers)
    read(replace(encoder, layers=tuple(_watched(x, r) for x, r in zip(encoder.layers, ranges, strict=True))))
    return ranges


def _watched(layer: Layer, ranges: Ranges) -> Layer:
    def seeing(part: Part, seen: Range) -> Part:
        def watched(values: Tensor) -> Tensor:
            seen.see(values)
            return part(values)

        return watched

    wide = layer.feed_forward
    assert isinstance(wide, FeedForward)
    feed_forward = replace(wide, narrow=seeing(wide.narrow, ranges.wide))
    return replace(
        layer,
        enter=seeing(layer.enter, ranges.states),
        out=seeing(layer.out, ranges.mixed),
        feed_forward=seeing(feed_forward, ranges.attended),
    )


def in_int8(encoder: Encoder, ranges: Sequence[Ranges]) -> Encoder:
    """Return the encoder with 8-bit products, given what `watch` saw. For scoring only: it has no gradient."""
    return replace(encoder, layers=tuple(_small(x, r) for x, r in zip(encoder.layers, ranges, strict=True)))


def _small(layer: Layer, ranges: Ranges) -> Layer:
    reading = [_weights(part) for part in (layer.query, layer.key, layer.value)]
    enter = _Codes.of(ranges.states, torch.cat([weight for weight, _ in reading]))
    query, key, value = (_Product.of(weight, bias, enter, ranges.states.mean) for weight, bias in reading)
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
    return weight, torch.zeros(len(weight)) if part.bias is None else part.bias.detach().float()
