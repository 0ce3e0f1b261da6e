"""What a run costs: time by stage, processor time, memory; and the command that repeats it.

    with measured() as cost:
        with stage("reading"):
            ...
        count(texts=120)
    cost.write(folder)

A stage inside a stage is not counted twice. `cost.json` holds the result. A run that goes on adds
to what it cost before. With `kept_in` the file is kept up while the block runs, so that a killed
process counts too.
"""

import json
import math
import platform
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tastemaker.errors import StorageError
from tastemaker.files import writing_file

COST_FILE = "cost.json"
_MEGABYTE = 1e6
_MINUTE = 60.0
_KEPT_EVERY = 1.0  # seconds
_LIBRARIES = (
    "tastemaker",
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "scikit-learn",
)


@dataclass
class Cost:
    """What a run cost so far.

    seconds: by the clock. processor_seconds: of all threads together. peak_bytes: the most memory
    of the process up to the end; device_bytes: of the GPU. stages: seconds by name, in the order
    in which they began. counts: what was processed, such as texts. command: None for a run from
    Python.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_bytes: int = 0
    device_bytes: int = 0
    device: str = "cpu"
    stages: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    command: str | None = None
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def figures(self) -> list[str]:
        """Return time, processor time, most memory and device, in words."""
        memory = _in_words(self.peak_bytes)
        if self.device_bytes:
            memory += f", {_in_words(self.device_bytes)} ({self.device})"
        return [
            _time(self.seconds),
            _time(self.processor_seconds),
            memory,
            self.device,
        ]

    def counts_in_words(self) -> list[str]:
        """Return what was processed, in words."""
        words = []
        for name, number in self.counts.items():
            words.append(f"{number:,} {name.replace('_', ' ')}")
        return words

    def shares(self) -> Iterator[list[str]]:
        """Yield the stages of the run: name, time and share of the whole, the rest last."""
        rest = self.seconds - sum(self.stages.values())
        stages = {**self.stages, "the rest": max(0.0, rest)}
        whole = max(self.seconds, sum(stages.values()), 1e-9)
        for name, seconds in stages.items():
            yield [name, _time(seconds), f"{seconds / whole:.0%}"]

    def write(self, folder: Path) -> None:
        """Write `cost.json` into a folder."""
        with writing_file(folder / COST_FILE) as temporary:
            text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
            temporary.write_text(f"{text}\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> "Cost | None":
        """Return the cost that a folder tells; None where it tells none, or is damaged."""
        try:
            text = (folder / COST_FILE).read_text(encoding="utf-8")
            return cost_of(json.loads(text))
        except (OSError, ValueError, RecursionError):
            return None


_NAMES = {each.name for each in fields(Cost)}


def cost_of(values: Any) -> Cost:
    """Return the cost that JSON holds. Raises ValueError for another layout."""
    if not isinstance(values, Mapping):
        raise ValueError("not a JSON object")
    cost = Cost()
    for name, value in values.items():
        if name not in _NAMES:
            raise ValueError(f"a cost has no {name!r}")
        if not _is_like(name, getattr(cost, name), value):
            raise ValueError(f"{name} cannot be {value!r}")
        setattr(cost, name, value)
    return cost


def _is_like(name: str, default: Any, value: Any) -> bool:
    """Return whether a value may stand in the place of a cost's default."""
    if isinstance(default, dict):
        if not isinstance(value, dict):
            return False
        holds_numbers = name in ("stages", "counts")
        is_right = _is_amount if holds_numbers else _is_text
        return all(is_right(each) for each in value.values())
    if default is None:
        is_right = _is_amount if name == "seed" else _is_text
        return value is None or is_right(value)
    return _is_text(value) if isinstance(default, str) else _is_amount(value)


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


class _Meter:
    """Measures one block. The cost is that of the block and of what went before it."""

    def __init__(self, cost: Cost, began: tuple[float, float]) -> None:
        self.cost = cost
        self.open: list[str] = []  # stages, the innermost last
        self.whole: dict[str, int] = {}  # what this process counted whole
        self._settled = began[0]  # up to here the stages have their seconds
        self._began = began
        self._before = cost.seconds, cost.processor_seconds

    def update(self) -> Cost:
        """Return the cost up to now, stages that have not ended included."""
        self.settle()
        self._measure(self.cost)
        return self.cost

    def copy(self) -> Cost:
        """Return a copy of the cost up to now, which another thread may write."""
        cost = self.cost
        stages = self._stages_at(time.monotonic())
        copied = replace(cost, stages=stages, counts=dict(cost.counts))
        self._measure(copied)
        return copied

    def settle(self) -> None:
        """Give the innermost stage the seconds since the last time."""
        now = time.monotonic()
        self.cost.stages.update(self._stages_at(now))
        self._settled = now

    def _stages_at(self, now: float) -> dict[str, float]:
        """Return the seconds of all stages, with those of the innermost up to now."""
        # another thread asks too: a stage may be opened between the two lines
        innermost = self.open[-1:]
        stages = dict(self.cost.stages)
        for name in innermost:
            seconds = stages.get(name, 0.0) + now - self._settled
            stages[name] = round(seconds, 3)
        return stages

    def _measure(self, cost: Cost) -> None:
        seconds = time.monotonic() - self._began[0]
        processor = time.process_time() - self._began[1]
        cost.seconds = round(self._before[0] + seconds, 3)
        cost.processor_seconds = round(self._before[1] + processor, 3)
        cost.peak_bytes = max(cost.peak_bytes, _peak_bytes())
        cost.device_bytes = max(cost.device_bytes, _device_bytes())


@contextmanager
def _kept_up(meter: _Meter, folder: Path) -> Iterator[None]:
    """Write the cost into a folder, where it is there, every second of a block and at its end."""
    has_ended = threading.Event()

    def write() -> None:
        # a full disk stops what is measured, which says so better
        with suppress(StorageError):
            if folder.is_dir():
                meter.copy().write(folder)

    def write_again_and_again() -> None:
        while not has_ended.wait(_KEPT_EVERY):
            write()

    thread = threading.Thread(target=write_again_and_again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
        write()


_meters: list[_Meter] = []
"""Of the blocks that are being measured, the innermost last."""
_READING = "starting and reading"


@dataclass
class _Command:
    """A command line that runs. began: None once a measured block counts its seconds."""

    words: str
    began: tuple[float, float] | None


_commands: list[_Command] = []


def _now() -> tuple[float, float]:
    """Return the seconds of the clock and of the processor."""
    return time.monotonic(), time.process_time()


@contextmanager
def measured(
    *,
    before: Cost | None = None,
    seed: int | None = None,
    kept_in: Path | None = None,
) -> Iterator[Cost]:
    """Measure a block; the cost is whole when it ends. before: what the same run cost before.

    kept_in: the folder whose `cost.json` is written every second while the block runs.

    The first block of a command line counts what the command did before it, too.
    """
    cost = before or Cost()
    cost.seed = seed
    cost.versions = versions()
    began = _now()
    if _commands:
        command = _commands[-1]
        cost.command = cost.command or command.words
        if command.began is not None:
            reading = cost.stages.get(_READING, 0.0)
            reading += began[0] - command.began[0]
            cost.stages[_READING] = round(reading, 3)
            began, command.began = command.began, None
    meter = _Meter(cost, began)
    _meters.append(meter)
    keeping = nullcontext() if kept_in is None else _kept_up(meter, kept_in)
    try:
        with keeping:
            yield cost
    finally:
        _meters.remove(meter)
        meter.update()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the seconds of a block to a stage of everything that is being measured."""
    meters = list(_meters)
    for meter in meters:
        meter.settle()
        meter.cost.stages.setdefault(name, 0.0)
        meter.open.append(name)
    try:
        yield
    finally:
        for meter in meters:
            meter.settle()
            meter.open.pop()


def count(**numbers: int) -> None:
    """Add to what was processed, such as texts or tokens."""
    for meter in _meters:
        counts = meter.cost.counts
        for name, number in numbers.items():
            counts[name] = counts.get(name, 0) + int(number)


def count_whole(**numbers: int) -> None:
    """Add to what was processed, once for a run that goes on and counts the same again."""
    for meter in _meters:
        counts = meter.cost.counts
        for name, number in numbers.items():
            meter.whole[name] = meter.whole.get(name, 0) + number
            counts[name] = max(counts.get(name, 0), meter.whole[name])


def on_device(name: str) -> None:
    """Say on which device the run computes."""
    for meter in _meters:
        meter.cost.device = name


def cost_now() -> Cost | None:
    """Return what the innermost block has cost so far; None where nothing is measured."""
    return _meters[-1].update() if _meters else None


@contextmanager
def running(command: str) -> Iterator[None]:
    """Name the command line that a block carries out."""
    _commands.append(_Command(command, _now()))
    try:
        yield
    finally:
        _commands.pop()


def _time(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), int(_MINUTE))
    return f"{minutes:,} min {rest} s"


def _in_words(size: int) -> str:
    return f"{size / _MEGABYTE:,.0f} MB" if size else "–"


def _peak_bytes() -> int:
    """Return the most memory that this process has had; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # in kilobytes, on macOS in bytes
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_bytes() -> int:
    """Return the most memory that tensors have had on a GPU; torch is not imported for it."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.max_memory_allocated())


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), **libraries}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
