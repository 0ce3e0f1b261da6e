"""The short way gives the numbers and gradients of transformers' own forward pass."""

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from tastemaker.fast import Batch, collate, parts_of, scores, supports

ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert")
DECODERS = ("gpt2", "llama")


def _sequences(*lengths: int) -> list[list[int]]:
    random = np.random.default_rng(1)
    return [random.integers(5, 300, size=n).tolist() for n in lengths]


def _of_module(module, batch: Batch) -> torch.Tensor:
    return module(input_ids=batch.ids, attention_mask=batch.is_text.long()).logits[:, 0]


@pytest.mark.parametrize("lengths", [(20, 13, 2), (7, 7), (1,), (60, 1)])
@pytest.mark.parametrize("family", ENCODERS)
def test_scores_equal_the_own_forward(make_module, family, lengths):
    module, batch = make_module(family), collate(_sequences(*lengths), 0)
    expected = _of_module(module, batch)
    assert supports(module)
    assert len(lengths) == 1 or expected.std() > 1e-3
    torch.testing.assert_close(
        scores(module, batch)[:, 0], expected, atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("family", ENCODERS)
def test_gradients_equal_the_own_forward(make_module, family):
    module, batch = make_module(family).train(), collate(_sequences(20, 13, 2), 0)
    weights = torch.tensor([1.0, -2.0, 0.5])
    expected = torch.autograd.grad(
        (_of_module(module, batch) * weights).sum(), list(module.parameters())
    )
    slopes = torch.autograd.grad(
        (scores(module, batch)[:, 0] * weights).sum(), list(module.parameters())
    )
    for (name, _), a, b in zip(
        module.named_parameters(), slopes, expected, strict=True
    ):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("family", ENCODERS)
def test_padding_on_the_left_changes_nothing(make_module, family):
    module, sequences = make_module(family), _sequences(20, 13, 2)
    right, left = (
        scores(module, collate(sequences, 0, side))[:, 0] for side in ("right", "left")
    )
    torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", DECODERS)
def test_decoders_take_their_own_forward_with_padding_on_either_side(
    make_module, family
):
    module, sequences = make_module(family), _sequences(20, 13, 2)
    alone = torch.cat([module(torch.tensor([s])).logits[:, 0] for s in sequences])
    assert alone.std() > 1e-3
    for side in ("right", "left"):
        torch.testing.assert_close(
            scores(module, collate(sequences, 0, side))[:, 0],
            alone,
            atol=2e-6,
            rtol=1e-5,
        )


@pytest.mark.parametrize("family", ENCODERS)
def test_dropout_in_training_takes_the_own_forward(make_module, family):
    module, batch = (
        make_module(family, dropout=0.5).train(),
        collate(_sequences(20, 13), 0),
    )
    torch.manual_seed(0)
    expected = _of_module(module, batch)
    torch.manual_seed(0)
    assert torch.equal(scores(module, batch)[:, 0], expected)
    module.eval()
    assert (scores(module, batch)[:, 0] - expected).abs().max() > 1e-3


def test_gradient_checkpointing_takes_the_own_forward(make_module):
    module = make_module("bert").train()
    assert supports(module)
    module.bert.encoder.layer[0].gradient_checkpointing = True
    assert not supports(module)


def test_unknown_architectures_have_no_parts(make_module):
    class Custom(BertForSequenceClassification):
        """Somebody's own forward pass."""

    assert parts_of(make_module("gpt2")) is None
    bert = make_module("bert")
    assert parts_of(Custom(bert.config)) is None
    assert parts_of(bert) is not None
    bert.config.is_decoder = True
    assert parts_of(bert) is None


def test_scores_are_float32_under_autocast(make_module):
    module, batch = make_module("bert"), collate(_sequences(20, 13), 0)
    with torch.autocast("cpu", torch.bfloat16):
        rough = scores(module, batch)[:, 0]
    assert rough.dtype == torch.float32
    assert 0 < (rough - scores(module, batch)[:, 0]).abs().max() < 0.1
