"""Several heads on one network, by hand: drawn from a seed, rescaled, put back, averaged."""

import pytest
import torch
from torch import nn

from tastemaker.errors import ModelError
from tastemaker.reward import (
    head_of,
    one_head,
    put_heads,
    standardise_heads,
    widen_head,
)


def network(bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=bias))


def two_heads(bias: bool = True) -> nn.Module:
    """Heads of weights (1, 0) and (0, 2) and biases 1 and 3."""
    module = network(bias)
    heads = {"weight": torch.tensor([[1.0, 0.0], [0.0, 2.0]])}
    put_heads(module, heads | ({"bias": torch.tensor([1.0, 3.0])} if bias else {}))
    return module


def test_heads_are_drawn_from_their_seed_and_from_nothing_else() -> None:
    drawn = []
    for seed, before in ((1, 5), (1, 6), (2, 5)):
        module = network()
        torch.manual_seed(before)
        widen_head(module, 4, seed)
        drawn.append(head_of(module).weight.detach())
        after = torch.rand(1)
        torch.manual_seed(before)
        assert torch.rand(1) == after  # nobody else's luck was used up
        assert head_of(module).out_features == 4
        assert head_of(module).bias.tolist() == [0, 0, 0, 0]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert len({tuple(row) for row in drawn[0].tolist()}) == 4


def test_heads_come_to_one_scale() -> None:
    # (s − 2)/2 and (s − 1)/4
    module = two_heads()
    standardise_heads(module, [2.0, 1.0], [2.0, 4.0])
    head = head_of(module)
    assert head.weight.tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert head.bias.tolist() == [-0.5, 0.5]


def test_a_head_without_a_bias_keeps_its_mean() -> None:
    module = two_heads(bias=False)
    standardise_heads(module, [2.0, 1.0], [2.0, 4.0])
    assert head_of(module).weight.tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert head_of(module).bias is None


def test_a_head_that_always_says_the_same_stays_finite() -> None:
    module = two_heads()
    standardise_heads(module, [1.0, 3.0], [0.0, 1.0])
    assert all(bool(p.isfinite().all()) for p in head_of(module).parameters())


def test_their_mean_stands_in_as_long_as_it_is_asked() -> None:
    module = two_heads()
    with one_head(module) as heads:
        assert heads is not None
        assert heads["weight"].tolist() == [[1, 0], [0, 2]]
        assert head_of(module).weight.tolist() == [[0.5, 1.0]]
        assert head_of(module).bias.tolist() == [2.0]
        assert head_of(module).out_features == 1
    assert head_of(module).weight.tolist() == [[1, 0], [0, 2]]
    assert head_of(module).bias.tolist() == [1, 3]
    assert head_of(module).out_features == 2
    with pytest.raises(KeyboardInterrupt), one_head(module):
        raise KeyboardInterrupt
    assert head_of(module).out_features == 2
    with one_head(network()) as heads:
        assert heads is None


@pytest.mark.parametrize(
    "heads",
    [
        {"weight": torch.zeros(4, 3), "bias": torch.zeros(4)},  # of a wider network
        {"weight": torch.zeros(4, 2)},  # the bias is missing
    ],
)
def test_heads_that_do_not_fit(heads: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError, match="saved heads"):
        put_heads(network(), heads)
