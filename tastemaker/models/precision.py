"""float32, bfloat16 or int8: which one this processor gains by.

The choice reads what the processor says it can do and never measures anything, so the same machine always chooses the
same. PyTorch runs bfloat16 on any processor, but without instructions for it many times slower than float32.
"""

from typing import Literal, get_args

import torch

from tastemaker.errors import UsageError

TrainingWish = Literal["auto", "float32", "bfloat16"]
ScoringWish = Literal["float32", "fast", "bfloat16", "int8"]
ScoringPrecision = Literal["float32", "bfloat16", "int8"]
DeviceWish = Literal["auto", "cpu", "cuda", "mps"]


def _check(what: str, wish: str, known: tuple[str, ...]) -> None:
    if wish not in known:
        raise UsageError(f"{what} {wish!r} does not exist: choose one of {', '.join(known)}.")


def gains_by_bfloat16(device: torch.device) -> bool:
    """Say whether the device has instructions for products of bfloat16 matrices."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        cpu = torch.cpu
        return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())
    return False


def gains_by_int8(device: torch.device) -> bool:
    """Say whether the device is a processor with instructions for sums of 8-bit products (AVX-512 VNNI)."""
    return device.type == "cpu" and bool(torch.cpu._is_vnni_supported())


def choose_precision(device: torch.device, wish: TrainingWish = "auto") -> torch.dtype:
    """Return the number format of training: the weights stay float32, bfloat16 means that products are taken in it.

    auto: bfloat16 exactly where the device has instructions for it. Raises UsageError for an unknown wish.
    """
    _check("the precision", wish, get_args(TrainingWish))
    wants_bfloat16 = wish == "bfloat16" or (wish == "auto" and gains_by_bfloat16(device))
    return torch.bfloat16 if wants_bfloat16 else torch.float32


def choose_scoring_precision(
    device: torch.device, wish: ScoringWish = "float32", *, has_int8: bool = True
) -> ScoringPrecision:
    """Return the number format of scoring.

    float32 keeps the score contract to the last digits; fast is bfloat16 where products of its matrices are in hardware
    (a GPU, AMX), else int8 where the processor has its instructions and the network an 8-bit form, else bfloat16 where
    there are instructions for its sums, else float32. Raises UsageError for an unknown wish, and for int8 where nothing
    computes it.
    """
    _check("the precision", wish, get_args(ScoringWish))
    if wish == "int8" and not gains_by_int8(device):
        raise UsageError(f"the precision int8 needs a processor with AVX-512 VNNI, and {device} is none. Choose fast.")
    if wish != "fast":
        return wish
    multiplies_matrices = device.type != "cpu" or bool(torch.cpu._is_amx_tile_supported())
    if has_int8 and gains_by_int8(device) and not multiplies_matrices:
        return "int8"
    return "bfloat16" if gains_by_bfloat16(device) else "float32"


def choose_device(wish: DeviceWish = "auto") -> torch.device:
    """Return the device of that name; auto is CUDA, else MPS, else the CPU. Raises UsageError for an absent one."""
    _check("the device", wish, get_args(DeviceWish))
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        return torch.device(next(name for name, here in present.items() if here))
    if not present[wish]:
        here = ", ".join(name for name, is_here in present.items() if is_here)
        raise UsageError(f"the device {wish!r} is not on this machine (here: {here}). Leave it at auto.")
    return torch.device(wish)
