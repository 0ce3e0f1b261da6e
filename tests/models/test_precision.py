"""What a processor says it can do decides, and nothing is measured."""

import pytest
import torch

from tastemaker.errors import UsageError
from tastemaker.fast import choose_device, choose_precision, choose_scoring_precision

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch):
    """Make the processor say what it has."""

    def says(*, bf16: bool = False, amx: bool = False, vnni: bool = False) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)

    return says


@pytest.mark.parametrize(
    ("has", "expected"),
    [({}, "float32"), ({"bf16": True}, "bfloat16"), ({"amx": True}, "bfloat16")],
)
def test_training_takes_bfloat16_only_where_the_processor_has_it(
    processor, has, expected
):
    processor(vnni=True, **has)
    assert choose_precision(CPU) == getattr(torch, expected)


def test_a_wish_is_kept(processor):
    processor(bf16=True)
    assert choose_precision(CPU, "float32") == torch.float32
    processor()
    assert choose_precision(CPU, "bfloat16") == torch.bfloat16


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({}, "float32"),
        ({"vnni": True}, "int8"),
        ({"vnni": True, "amx": True}, "bfloat16"),
        ({"bf16": True}, "bfloat16"),
        (
            {"vnni": True, "bf16": True},
            "int8",
        ),  # measured: 56 texts a second against 41
    ],
)
def test_fast_scoring_takes_what_the_processor_has(processor, has, expected):
    processor(**has)
    assert choose_scoring_precision(CPU, "fast") == expected
    assert choose_scoring_precision(CPU) == "float32"


def test_fast_scoring_of_a_network_without_an_8_bit_form(processor):
    processor(vnni=True, bf16=True)
    assert choose_scoring_precision(CPU, "fast", has_int8=False) == "bfloat16"
    processor(vnni=True)
    assert choose_scoring_precision(CPU, "fast", has_int8=False) == "float32"


def test_int8_without_its_instructions_is_refused(processor):
    processor()  # PyTorch would run it, hundreds of times slower
    with pytest.raises(UsageError, match="AVX-512 VNNI"):
        choose_scoring_precision(CPU, "int8")


def test_apple_graphics_stay_in_float32():
    assert choose_precision(torch.device("mps")) == torch.float32
    assert choose_scoring_precision(torch.device("mps"), "fast") == "float32"


def test_unknown_names_are_refused():
    with pytest.raises(
        UsageError,
        match=r"'float16'.*\bauto, float32, bfloat16\b",
    ):
        choose_precision(CPU, "float16")
    with pytest.raises(UsageError, match="'slow'"):
        choose_scoring_precision(CPU, "slow")
    with pytest.raises(
        UsageError,
        match=r"'tpu'.*\bauto, cpu, cuda, mps\b",
    ):
        choose_device("tpu")


def test_an_absent_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"'cuda'.*\bcpu\b"):
        choose_device("cuda")
    assert choose_device("auto") == CPU
    assert choose_device("cpu") == CPU


def test_auto_prefers_cuda_to_mps(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device().type == "cuda"
