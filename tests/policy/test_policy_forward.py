"""The pass with gradients over many texts: the same result as each text alone."""

from typing import Any

import numpy as np
import pytest
import torch
from architectures import V, gpt2, llama, neox
from torch import Tensor
from torch.nn import functional

from tastemaker.fast import Texts, forward, nats, network_of, padding
from tastemaker.fast import gpt_forward as passes

LENGTHS = (5, 1, 24, 17, 5, 9, 2)


MAKERS: dict[str, Any] = {
    "gpt2-exact": lambda: gpt2(activation_function="gelu"),
    "gpt2-tanh": lambda: gpt2(activation_function="gelu_new"),
    "gpt2-untied": lambda: gpt2(activation_function="gelu", tie_word_embeddings=False),
    "gpt2-relu": lambda: gpt2(activation_function="relu"),
    "neox-ours": lambda: neox(use_parallel_residual=False),
    "neox-parallel": lambda: neox(
        0.25, hidden_act="gelu_new", tie_word_embeddings=True
    ),
    "neox-biasless": lambda: neox(attention_bias=False),
    "llama": llama,
}
PLAIN = ("gpt2-exact", "gpt2-tanh", "gpt2-untied", "neox-ours", "neox-parallel")


@pytest.fixture(params=list(MAKERS))
def module(request: pytest.FixtureRequest, stirred: Any) -> Any:
    """A network in float64, every weight random."""
    return stirred(MAKERS[request.param]()).double()


@pytest.fixture(params=[0, 200, 10**9])
def any_groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every length a group of its own, some together, all together."""
    monkeypatch.setattr(passes, "_WORTH_A_GROUP", request.param)
    monkeypatch.setattr(passes, "_MOST_PADDING", 0.0 if request.param < 10**9 else 1.0)


def drawn(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(3, V, size=length).tolist() for length in lengths]


def alone(module: Any, sequences: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Logits and last hidden states of transformers' own pass of each text alone, end to end."""
    outs = [
        module(torch.tensor([ids]), use_cache=False, output_hidden_states=True)
        for ids in sequences
    ]
    return torch.cat([out.logits[0] for out in outs]), torch.cat(
        [out.hidden_states[-1][0] for out in outs]
    )


def gradients(module: Any, value: Tensor) -> dict[str, Tensor]:
    names, weights = zip(*module.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, weights), strict=True))


def assert_same(gradients: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, gradient in expected.items():
        torch.testing.assert_close(
            gradients[name], gradient, rtol=1e-9, atol=1e-10, msg=name
        )


def weighing(logits: Tensor, hidden: Tensor) -> Tensor:
    """One number that depends on everything."""
    generator = torch.Generator().manual_seed(1)
    by = [
        torch.randn(x.shape, generator=generator, dtype=x.dtype)
        for x in (logits, hidden)
    ]
    return (logits.sin() * by[0]).sum() + (hidden * by[1]).sum()


@pytest.mark.usefixtures("any_groups")
def test_each_text_gets_what_the_network_gives_it_alone(module: Any) -> None:
    sequences = drawn()
    out = forward(module, Texts.of(sequences, "cpu"))
    logits, hidden = alone(module, sequences)
    torch.testing.assert_close(out.logits, logits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out.hidden, hidden, rtol=1e-10, atol=1e-10)
    assert_same(
        gradients(module, weighing(*out)), gradients(module, weighing(logits, hidden))
    )


def test_in_float32_too(module: Any) -> None:
    module = module.float()
    sequences = drawn()
    with torch.no_grad():
        out = forward(module, Texts.of(sequences, "cpu"))
        torch.testing.assert_close(
            out.logits, alone(module, sequences)[0], rtol=0, atol=1e-5
        )


def test_places_are_rows_of_all(module: Any) -> None:
    texts = Texts.of(drawn(), "cpu")
    places = torch.tensor([62, 0, 30, 30, 7])
    some, everything = forward(module, texts, places), forward(module, texts)
    for one, other in zip(some, everything, strict=True):
        torch.testing.assert_close(one, other[places], rtol=1e-12, atol=1e-12)
    expected = gradients(module, weighing(*(x[places] for x in everything)))
    assert_same(gradients(module, weighing(*some)), expected)


def test_order_and_company_change_nothing(module: Any) -> None:
    sequences = drawn()
    order = [3, 6, 0, 5, 2, 1, 4]
    others = drawn((11, 24, 3), seed=1)
    first = forward(module, Texts.of(sequences, "cpu")).logits.split(LENGTHS)
    company = Texts.of([*others, *(sequences[i] for i in order)], "cpu")
    mixed = forward(module, company).logits.split(company.lengths)[3:]
    for place, i in enumerate(order):
        torch.testing.assert_close(mixed[place], first[i], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_nats_are_the_cross_entropy_of_the_logits(
    module: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "_HEAD_ROWS", rows)
    texts = Texts.of(drawn(), "cpu")
    places = torch.tensor([0, 3, 6, 20, 21, 40, 61])
    targets = torch.tensor([5, 5, 9, 39, 3, 17, 8])
    expected = functional.cross_entropy(
        forward(module, texts, places).logits, targets, reduction="sum"
    )
    cost = nats(module, texts, places, targets)
    torch.testing.assert_close(cost, expected, rtol=1e-12, atol=0)
    assert_same(gradients(module, cost * 0.25), gradients(module, expected * 0.25))
    with torch.no_grad():
        torch.testing.assert_close(
            nats(module, texts, places, targets), expected, rtol=1e-12, atol=0
        )


def test_the_first_layers_alone_are_the_network_without_the_others(module: Any) -> None:
    if network_of(module) is None:
        pytest.skip("this architecture runs its own pass, whole")
    texts, places, targets = (
        Texts.of(drawn(), "cpu"),
        torch.tensor([0, 6, 40]),
        torch.tensor([5, 9, 17]),
    )
    whole = nats(module, texts, places, targets)
    torch.testing.assert_close(
        nats(module, texts, places, targets, layers=2), whole, rtol=0, atol=0
    )
    first = nats(module, texts, places, targets, layers=1)
    assert first != whole
    body = (
        module.transformer.h
        if hasattr(module, "transformer")
        else module.gpt_neox.layers
    )
    del body[1:]
    torch.testing.assert_close(
        first, nats(module, texts, places, targets), rtol=0, atol=0
    )


def test_an_all_but_impossible_token_costs_its_nats(stirred: Any) -> None:
    """Logits of ± 300 make a token's probability 0 in float32; its −log π stays the difference of
    the logits.
    """
    module = stirred(gpt2(activation_function="gelu", tie_word_embeddings=False))
    texts, place = Texts.of([[3, 4]], "cpu"), torch.tensor([0])
    with torch.no_grad():
        module.lm_head.weight.mul_(
            300 / forward(module, texts, place).logits.abs().max()
        )
        logits = forward(module, texts, place).logits[0]
        cost = float(nats(module, texts, place, logits.argmin()[None]))
    assert cost > 120
    assert cost == pytest.approx(float(logits.max() - logits.min()), rel=1e-3)


@pytest.mark.parametrize("family", ["gpt2-exact", "neox-ours", "llama"])
def test_autocast_computes_in_bfloat16_and_sums_in_float32(
    family: str, stirred: Any
) -> None:
    module = stirred(MAKERS[family]())
    texts = Texts.of(drawn(), "cpu")
    places, targets = torch.arange(0, 60, 3), torch.arange(3, 23)
    whole = nats(module, texts, places, targets)
    with torch.autocast("cpu", torch.bfloat16):
        cost, out = (
            nats(module, texts, places, targets),
            forward(module, texts, places),
        )
    assert (cost.dtype, out.logits.dtype) == (torch.float32, torch.bfloat16)
    assert float(cost.detach()) == pytest.approx(float(whole.detach()), rel=0.02)
    slopes = gradients(module, cost)
    for name, expected in gradients(module, whole).items():
        assert (
            functional.cosine_similarity(slopes[name].ravel(), expected.ravel(), dim=0)
            > 0.98
        ), name


def test_our_own_pass_is_for_what_it_knows_whole() -> None:
    assert [
        name for name, make in MAKERS.items() if network_of(make()) is not None
    ] == list(PLAIN)
    assert (
        network_of(
            gpt2(activation_function="gelu", scale_attn_by_inverse_layer_idx=True)
        )
        is None
    )
    assert network_of(neox(hidden_act="relu")) is None
    slower = neox()
    slower.gpt_neox.rotary_emb.rope_type = "linear"
    assert network_of(slower) is None


def test_attention_alone_is_padded_where_that_is_cheaper_than_a_group() -> None:
    """Texts of 100 and 60 waste 40 · 100 pairs of places, less than a group is worth; 100 and 50
    waste more.
    """
    module = gpt2(activation_function="gelu")
    together, apart = (
        Texts.of(drawn((100, 60)), "cpu"),
        Texts.of(drawn((50, 100)), "cpu"),
    )
    assert padding(module, together) == pytest.approx(1 - 160 / 200)
    assert padding(module, apart) == 0
    assert padding(MAKERS["llama"](), apart) == pytest.approx(1 - 150 / 200), (
        "a pass is worth more than 1,024 tokens"
    )


def test_texts_know_where_they_begin_and_where_each_token_stands() -> None:
    texts = Texts.of([[7, 8, 9], [5], [6, 4]], "cpu")
    assert texts.ids.tolist() == [7, 8, 9, 5, 6, 4]
    assert (texts.lengths, texts.starts) == ((3, 1, 2), (0, 3, 4))
    assert texts.positions.tolist() == [0, 1, 2, 0, 0, 1]
