"""Memory: what a device has, and what keys and values take."""

import os
from pathlib import Path
from typing import Any

import torch

_LEAST_CACHE = 2**30
_CACHE_SHARE = 8  # of a processor's memory, its share for keys and values is one part in so many
_GPU_CACHE_SHARE = 2  # and of what is free on a GPU
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
