"""The processor: threads, number formats, devices and attention.

Threads: passes run side by side, one thread each. Within a pass, threads wait for each other at
each operation, and small operations do not divide well. Two passes of half the rows on one thread
each take three quarters of the time of one pass on two threads.

Number formats: float32, bfloat16 or int8, chosen by the instructions that the processor reports.
Nothing is timed, so a machine always makes the same choice. PyTorch runs bfloat16 on any processor,
but many times slower than float32 where there are no instructions for it.

Memory: what a device has, and what keys and values take.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tastemaker import processes
from tastemaker.errors import UsageError

# ---- memory --------------------------------------------------------------------------------------


_LEAST_CACHE = 2**30
_CACHE_SHARE = 8  # keys and values take an eighth of a processor's memory
_GPU_CACHE_SHARE = 2  # and half of what is free on a GPU
_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_AVAILABLE = "MemAvailable:"


def total_bytes() -> int:
    """Return the memory of this machine, or of the container that limits it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _LIMITS:
        try:
            limit = int(Path(name).read_text(encoding="utf-8"))
        # no such file, or the word "max"
        except (OSError, ValueError):
            continue
        total = min(total, limit)
    return total


def free_bytes(device: torch.device) -> int:
    """Return how much memory of a device is free now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device)
        return int(free + held - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        most = torch.mps.recommended_max_memory()
        return int(most - torch.mps.driver_allocated_memory())
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return total_bytes()
    for line in lines:
        if line.startswith(_AVAILABLE):
            return min(total_bytes(), 1024 * int(line.split()[1]))
    return total_bytes()


def cache_budget(device: torch.device) -> int:
    """Return how many bytes of keys and values may be held at once.

    On a processor it depends on the machine alone, not on what is free: rows that are written
    together change the last digits of their numbers, and the same machine gives the same bits.
    """
    if device.type == "cpu":
        return max(_LEAST_CACHE, total_bytes() // _CACHE_SHARE)
    return max(_LEAST_CACHE, free_bytes(device) // _GPU_CACHE_SHARE)


def cache_bytes(config: Any, dtype: torch.dtype) -> int:
    """Return the bytes of a token's keys and values in all layers of a decoder.

    config: of the decoder, as transformers has it. A layer has as many heads of keys and values as
    its configuration says, often fewer than of queries.
    """
    config = config.get_text_config()
    layers = int(config.num_hidden_layers)
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    if getattr(config, "multi_query", False):
        new_form = getattr(config, "new_decoder_architecture", False)
        kv_heads = config.num_kv_heads if new_form else 1
    of_all = (
        sum(kv_heads)
        if isinstance(kv_heads, list | tuple)
        else layers * int(kv_heads)
    )
    most_heads = max(heads) if isinstance(heads, list | tuple) else heads
    width = getattr(config, "head_dim", None)
    width = width or config.hidden_size // most_heads
    key_width = getattr(config, "qk_head_dim", None) or width
    value_width = getattr(config, "v_head_dim", None) or width
    return int(of_all * (key_width + value_width) * dtype.itemsize)


# ---- threads, formats, devices -------------------------------------------------------------------


T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: small networks and sums lose more to a second one than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def side_by_side(
    calls: Sequence[Callable[[], T]], threads: int
) -> Iterator[T]:
    """Call functions, `threads` at a time, one thread each. Yield their results in order.

    With one thread, or one call, they run here one after the other, with all of torch's threads.
    Settings of the calling thread (autocast, gradients on or off) do not reach the other threads:
    the functions must set them.
    """
    if threads == 1 or len(calls) == 1:
        yield from (call() for call in calls)
        return
    before = torch.get_num_threads()
    # This sets the library under all threads, and the threads that begin meanwhile.
    torch.set_num_threads(1)
    try:
        for start in range(0, len(calls), threads):
            together = calls[start : start + threads]
            yield from _pool(threads).map(lambda call: call(), together)
    finally:
        torch.set_num_threads(before)


def like_parts(sizes: Tensor, most: int, threads: int) -> list[Tensor]:
    """Return row numbers in parts of about equal sums, each about `most` at most, large rows first.

    sizes: of the rows, int64 [n]. Rows are dealt out to the threads in turn, so parts that are
    computed at the same time hold similar rows. If there is one part only, its rows keep their
    order.
    """
    # of each thread
    parts = max(1, math.ceil(int(sizes.sum()) / (threads * most)))
    if parts * threads == 1:
        return [torch.arange(len(sizes))]
    order = torch.argsort(sizes, descending=True, stable=True)
    by_thread = [
        _cut(order[first::threads], sizes, parts) for first in range(threads)
    ]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*by_thread))
    return [part for part in in_turn if part is not None]


def _cut(rows: Tensor, sizes: Tensor, parts: int) -> list[Tensor]:
    """Cut rows, in their order, into parts of about equal sums. No part is empty.

    A row belongs to the part in which its middle lies.
    """
    row_sizes = sizes[rows]
    ends = row_sizes.cumsum(0)
    number = (2 * ends - row_sizes) * parts // (2 * ends[-1:])
    _, counts = torch.unique_consecutive(number, return_counts=True)
    return list(torch.split(rows, counts.tolist()))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "side-by-side")


TrainingChoice = Literal["auto", "float32", "bfloat16"]
ScoringChoice = Literal["float32", "fast", "bfloat16", "int8"]
ScoringPrecision = Literal["float32", "bfloat16", "int8"]
DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
WeightsChoice = Literal["auto", "float32", "bfloat16", "float16"]


def _check(what: str, choice: str, choices: tuple[str, ...]) -> None:
    if choice not in choices:
        raise UsageError(
            f"{what} {choice!r} does not exist: choose one of {', '.join(choices)}."
        )


def gains_by_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for products of bfloat16 matrices."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        cpu = torch.cpu
        return bool(
            cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
        )
    return False


def gains_by_int8(device: torch.device) -> bool:
    """Return whether the device is a CPU with instructions for sums of 8-bit products.

    These are the instructions AVX-512 VNNI.
    """
    return device.type == "cpu" and bool(torch.cpu._is_vnni_supported())


def choose_precision(
    device: torch.device, choice: TrainingChoice = "auto"
) -> torch.dtype:
    """Return the number format in which training computes products; weights stay float32.

    auto: bfloat16 exactly where the device has instructions for it. Raises UsageError for an
    unknown choice.
    """
    _check("the precision", choice, get_args(TrainingChoice))
    if choice == "auto":
        choice = "bfloat16" if gains_by_bfloat16(device) else "float32"
    return torch.bfloat16 if choice == "bfloat16" else torch.float32


def choose_scoring_precision(
    device: torch.device,
    choice: ScoringChoice = "float32",
    *,
    has_int8: bool = True,
) -> ScoringPrecision:
    """Return the number format of scoring.

    float32 keeps the score contract to the last digits. fast is bfloat16 on a GPU and on a CPU with
    AMX, else int8 where the CPU has instructions for it and the network has an 8-bit form, else
    bfloat16 where the CPU has instructions for it, else float32. Raises UsageError for an unknown
    choice, and for int8 without the instructions.
    """
    _check("the precision", choice, get_args(ScoringChoice))
    if choice == "int8" and not gains_by_int8(device):
        raise UsageError(
            f"the precision int8 needs a processor with AVX-512 VNNI, and {device} is none. "
            "Choose fast."
        )
    if choice != "fast":
        return choice
    has_matrix_unit = (
        device.type != "cpu" or torch.cpu._is_amx_tile_supported()
    )
    if has_int8 and gains_by_int8(device) and not has_matrix_unit:
        return "int8"
    return "bfloat16" if gains_by_bfloat16(device) else "float32"


def choose_weights(choice: WeightsChoice) -> torch.dtype | str:
    """Return the number format of weights in memory; "auto" is that of the saved ones.

    Raises UsageError for an unknown choice.
    """
    _check("the number format", choice, get_args(WeightsChoice))
    if choice == "auto":
        return choice
    dtype: torch.dtype = getattr(torch, choice)
    return dtype


def format_of(choice: TrainingChoice, saved: torch.dtype) -> torch.dtype:
    """Return the number format that a choice stands for; auto: that of the saved weights."""
    _check("the number format", choice, get_args(TrainingChoice))
    if choice == "auto":
        return saved
    return torch.bfloat16 if choice == "bfloat16" else torch.float32


def choose_device(choice: DeviceChoice = "auto") -> torch.device:
    """Return the device of that name; auto is CUDA, else MPS, else the CPU.

    Each of several processes on a machine has a GPU of its own; they cannot share an MPS device.
    Raises UsageError for a device that this machine does not have.
    """
    _check("the device", choice, get_args(DeviceChoice))
    devices: list[DeviceChoice] = ["cpu"]
    if torch.backends.mps.is_available() and processes.count() == 1:
        devices.insert(0, "mps")
    if torch.cuda.is_available():
        devices.insert(0, "cuda")
    if choice == "auto":
        choice = devices[0]
    if choice not in devices:
        raise UsageError(
            f"the device {choice!r} is not on this machine (here: {', '.join(devices)}). "
            "Leave it at auto."
        )
    if choice == "cuda" and processes.count() > 1:
        return torch.device("cuda", processes.local_rank())
    return torch.device(choice)


_LONGEST = 512
"""The longest text whose attention weights are all kept for the backward pass, in tokens."""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    is_key: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Return softmax(query · keyᵀ / √d) · value, [b, heads, q, d], in the inputs' number format.

    query [b, heads, q, d]; key and value [b, heads, k, d]; is_key [b, 1, 1, k]: True at keys to
    attend to; None: at all. is_causal: a query attends to the keys up to its own place; q = k, and
    no is_key.

    torch's fused kernel computes it, except for training in bfloat16 on a CPU: there its backward
    pass is several times slower than products written out, for which the CPU has instructions.
    """
    if not _gains_by_products(query, key):
        return scaled_dot_product_attention(
            query, key, value, attn_mask=is_key, is_causal=is_causal
        )
    scale = query.shape[-1] ** -0.5
    query, key, value = (x.contiguous() for x in (query * scale, key, value))
    logits = query @ key.transpose(-1, -2)
    if is_causal:
        size = key.shape[-2]
        is_key = torch.ones(
            size, size, dtype=torch.bool, device=key.device
        ).tril()
    if is_key is not None:
        bias = torch.zeros_like(is_key, dtype=logits.dtype)
        logits = logits + bias.masked_fill(~is_key, float("-inf"))
    return logits.softmax(-1).to(value.dtype) @ value


def _gains_by_products(query: Tensor, key: Tensor) -> bool:
    learns = torch.is_grad_enabled() and query.requires_grad
    return (
        learns
        and query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and key.shape[-2] <= _LONGEST
    )
