"""Two architectures in one shape: what lies where, and what turning by places keeps."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tastemaker.fast import GptWeights, network_of, rotate
from tastemaker.fast.gpt_layers import _order
from tastemaker.gpt import Policy

HEADS, WIDTH = 4, 32


@pytest.fixture(scope="module")
def network(policy: Policy) -> GptWeights:
    """A GPT of ours: all eight numbers of each head are turned."""
    gpt = network_of(policy.module)
    assert gpt is not None
    return gpt


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("turned", [8, 4])
def test_what_turns_together_stands_together(turned: int) -> None:
    """Of heads of eight numbers: i and i + r/2 are a pair, and each head's query lies before its
    key and its value.
    """
    order = _order(HEADS, WIDTH, turned)
    assert sorted(order.tolist()) == list(range(3 * WIDTH))
    first = [0, 4, 1, 5, 2, 6, 3, 7] if turned == 8 else [0, 2, 1, 3, 4, 5, 6, 7]
    assert order[:8].tolist() == first
    assert order[8:16].tolist() == [24 + i for i in first], "the second head's query"
    assert order[WIDTH : WIDTH + 8].tolist() == [8 + i for i in first], (
        "the first head's key"
    )
    assert order[-8:].tolist() == list(range(88, 96)), "values stay as they were"


def test_parts_are_a_view_of_what_was_projected(network: GptWeights) -> None:
    projected = drawn(5, 3 * WIDTH)
    parts = network.parts(projected)
    assert parts.shape == (3, 5, HEADS, WIDTH // HEADS)
    assert torch.equal(parts[2, 1, 3], projected[1, -8:])
    parts.zero_()
    assert not projected.any()


@given(place=st.integers(0, 400), apart=st.integers(0, 100))
def test_what_a_query_sees_in_a_key_hangs_on_how_far_apart_they_stand(
    network: GptWeights, place: int, apart: int
) -> None:
    """q turned by i times k turned by j is a function of i − j (Su et al. 2021, equation 11); and
    values stay.
    """
    parts = drawn(3, 2, HEADS, WIDTH // HEADS).double()
    products = []
    for start in (place, 0):
        turned = parts.clone()
        rotate(turned, network.rotations(torch.tensor([start + apart, start])))
        assert torch.equal(turned[2], parts[2])
        products.append((turned[0, 0] * turned[1, 1]).sum(-1))
    torch.testing.assert_close(products[0], products[1], atol=2e-3, rtol=0)


def test_a_turn_moves_and_its_opposite_undoes_it(network: GptWeights) -> None:
    parts = drawn(3, 6, HEADS, WIDTH // HEADS)
    turns = network.rotations(torch.arange(6))
    assert turns is not None
    turned = parts.clone()
    rotate(turned, turns)
    assert torch.equal(turned[:, 0], parts[:, 0]), "the first place is not turned"
    assert (turned[:2, 1:] - parts[:2, 1:]).abs().max() > 0.5
    rotate(turned, turns.conj())
    torch.testing.assert_close(turned, parts, atol=1e-6, rtol=0)


def test_places_turn_by_hand(network: GptWeights) -> None:
    """Two numbers a head, one radian a place: (1, 0) at place 2 becomes (cos 2, sin 2)."""
    alone = replace(network, frequencies=torch.ones(1))
    parts = torch.zeros(3, 1, 1, 2)
    parts[..., 0] = 1
    rotate(parts, alone.rotations(torch.tensor([2])))
    expected: Any = [-0.4161468, 0.9092974]
    assert parts[0].flatten().tolist() == pytest.approx(expected)
    assert parts[1].flatten().tolist() == pytest.approx(expected)
    assert parts[2].flatten().tolist() == [1, 0]


def test_numbers_of_16_bits_turn_as_those_of_32_do(network: GptWeights) -> None:
    exact = drawn(3, 6, HEADS, WIDTH // HEADS).bfloat16()
    parts, turns = exact.float(), network.rotations(torch.arange(6))
    rotate(parts, turns)
    rotate(exact, turns)
    torch.testing.assert_close(exact.float(), parts, atol=0.02, rtol=0)
    assert torch.equal(exact, parts.bfloat16())
