"""Every loaded network has its weights where torch would put them, whatever the file's layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import tastemaker as tm
from tastemaker.data import Example
from tastemaker.gpt import Policy, Size, make_gpt, make_tokenizer, open_causal
from tastemaker.huggingface import align
from tastemaker.reward import Network, make_tiny, widen_head
from tests.architectures import gpt2
from tests.models.test_adopted import classifier
from tests.nano import nano

TEXTS = [
    "The film is warm and clever.",
    "这部电影很好看。",
    "Dull, grey and endless: 2/10!",
] * 10
HEADERS = range(0, 64, 8)
"""Bytes by which a file's header is longer: its tensors begin anywhere."""


def odd(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same values 4 bytes behind a multiple of 64."""
    space = torch.zeros(tensor.numel() + 1)
    space[1:] = tensor.flatten()
    return space[1:].view(tensor.shape)


def addresses(module: Any) -> set[int]:
    return {
        tensor.data_ptr() % 64 for tensor in (*module.parameters(), *module.buffers())
    }


def lengthen_header(folder: Path, by: int) -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt", "more": "x" * by})


def test_a_weight_at_an_odd_address_is_moved_with_its_ties() -> None:
    first, second = nn.Linear(5, 3), nn.Linear(5, 3)
    values = torch.randn(3, 5)
    second.weight = first.weight = nn.Parameter(odd(values))
    module = nn.Sequential(first, second, nn.BatchNorm1d(3))
    module[2].running_mean = odd(torch.tensor([1.0, 2.0, 3.0]))
    assert addresses(module) == {0, 4}
    align(module)
    assert addresses(module) == {0}
    assert second.weight is first.weight
    assert torch.equal(first.weight, values)
    assert first.weight.requires_grad
    assert module[2].running_mean.tolist() == [1, 2, 3]


@pytest.mark.parametrize("heads", [1, 3])
def test_a_reloaded_network_gives_the_same_bits_whatever_its_file_looks_like(
    heads: int, tmp_path: Path
) -> None:
    network = make_tiny(TEXTS, vocabulary=320, max_length=40)
    if heads > 1:
        widen_head(network.module, heads, seed=0)
    network.save(tmp_path)
    examples = [Example(text) for text in (*TEXTS[:3], "a" * 300)]
    before = network.score(examples)
    for by in HEADERS:
        lengthen_header(tmp_path, by)
        loaded = Network.load(tmp_path)
        assert addresses(loaded.module) == {0}
        np.testing.assert_array_equal(loaded.score(examples).values, before.values)
    assert addresses(Network.open(str(tmp_path)).module) == {0}


def test_a_reopened_policy_gives_the_same_bits_whatever_its_file_looks_like(
    tmp_path: Path,
) -> None:
    tokenizer = make_tokenizer(TEXTS, vocabulary=300, context=32)
    size = Size(
        width=24,
        layers=2,
        heads=4,
        context=32,
        vocabulary=300,
        lr=1e-3,
        batch_tokens=64,
    )
    policy = Policy(make_gpt(size, tokenizer, seed=0).eval(), tokenizer)
    policy.save(tmp_path)
    before = policy.module(torch.arange(30)[None]).logits
    for by in HEADERS:
        lengthen_header(tmp_path, by)
        opened = open_causal(tmp_path)
        assert addresses(opened.module) == {0}
        assert torch.equal(opened.module(torch.arange(30)[None]).logits, before)


def test_what_is_opened_and_made_leaves_random_numbers_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a GPU too: its seeds are counted here, for there may be none."""
    seeds: list[int] = []
    folder = classifier(tmp_path / "rm", ["0"])
    gpt2().save_pretrained(tmp_path / "gpt")
    make_tiny(TEXTS, vocabulary=300).tokenizer.save_pretrained(tmp_path / "gpt")
    monkeypatch.setattr("torch.cuda.manual_seed_all", seeds.append)
    before = torch.get_rng_state()
    network = Network.open(str(folder), new_head=True)
    network.widen(2, seed=1)
    make_tiny(TEXTS, vocabulary=300)
    nano(seed=1)
    tm.load(folder)
    policy = Policy.load(tmp_path / "gpt")
    assert policy.tokenizer.eos_token is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert not seeds
