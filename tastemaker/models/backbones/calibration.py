"""What flows through an encoder: least, greatest and mean of every channel, watched while it reads calibration texts.

8-bit scoring needs it to fix the size of its rounding steps beforehand. The texts should be like those that will be
scored: training texts are. The ranges are saved beside the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tastemaker.models.backbones.parts import Encoder, FeedForward, Layer, Part

_PLACES = ("states", "mixed", "attended", "wide")


@dataclass(slots=True)
class Range:
    """What was seen at one place of the network: least, greatest and mean of every channel [d]."""

    low: Tensor = field(default_factory=lambda: torch.tensor(float("inf")))
    high: Tensor = field(default_factory=lambda: torch.tensor(-float("inf")))
    mean: Tensor = field(default_factory=lambda: torch.tensor(0.0))
    count: int = 0

    def see(self, values: Tensor) -> None:
        """Widen the range to hold values [.., d]."""
        seen = values.flatten(0, -2).float().cpu()
        self.low = torch.minimum(self.low, seen.amin(0))
        self.high = torch.maximum(self.high, seen.amax(0))
        self.count += len(seen)
        self.mean = self.mean + (seen.mean(0) - self.mean) * (len(seen) / self.count)

    @property
    def width(self) -> Tensor:
        """Greatest minus least of every channel [d]."""
        return self.high - self.low

    def of(self, channels: Tensor) -> "Range":
        """Return the range of some channels."""
        return Range(self.low[channels], self.high[channels], self.mean[channels], self.count)


@dataclass(frozen=True, slots=True)
class Ranges:
    """What flows into a layer's products: its input, the mixed values, the attended tokens, the widened ones."""

    states: Range = field(default_factory=Range)
    mixed: Range = field(default_factory=Range)
    attended: Range = field(default_factory=Range)
    wide: Range = field(default_factory=Range)


def watch(encoder: Encoder, read: Callable[[Encoder], object]) -> tuple[Ranges, ...]:
    """Return the ranges of every layer while `read` reads unpadded texts with the encoder that it is handed."""
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


def write_ranges(ranges: Sequence[Ranges], path: Path) -> None:
    """Write the ranges as safetensors."""
    seen = {f"{n}.{place}": getattr(layer, place) for n, layer in enumerate(ranges) for place in _PLACES}
    save_file({name: torch.stack([r.low, r.high, r.mean]).contiguous() for name, r in seen.items()}, path)


def read_ranges(path: Path) -> tuple[Ranges, ...]:
    """Return the ranges that `write_ranges` wrote."""
    found = load_file(path)
    layers = len(found) // len(_PLACES)
    return tuple(Ranges(*(_range(found[f"{n}.{place}"]) for place in _PLACES)) for n in range(layers))


def _range(rows: Tensor) -> Range:
    low, high, mean = rows
    return Range(low, high, mean, count=1)
