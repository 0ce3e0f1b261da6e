"""Texts end to end give the scores that they give one by one."""

import numpy as np
import pytest
import torch

from tastemaker.fast import encode_packed, parts_of


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "distilbert"])
@torch.inference_mode()
def test_packed_scores_equal_the_own_forward(make_module, family):
    module, random = make_module(family), np.random.default_rng(1)
    texts = [
        random.integers(5, 300, size=n).astype(np.int32)
        for n in (40, 20, 20, 20, 7, 1, 1)
    ]
    alone = torch.cat(
        [module(torch.tensor([ids.tolist()])).logits[:, 0] for ids in texts]
    )
    assert alone.std() > 1e-3
    encoder = parts_of(module)
    assert encoder is not None
    torch.testing.assert_close(
        encode_packed(encoder, texts)[:, 0], alone, atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(
        encode_packed(encoder, texts[::-1])[:, 0], alone.flip(0), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "distilbert"])
def test_gradients_of_a_packed_pass_are_those_of_texts_one_by_one(make_module, family):
    module, random = make_module(family).train(), np.random.default_rng(1)
    texts = [random.integers(5, 300, size=n).astype(np.int32) for n in (30, 9, 9, 1)]
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0])
    alone = torch.cat(
        [module(torch.tensor([ids.tolist()])).logits[:, 0] for ids in texts]
    )
    expected = torch.autograd.grad((alone * weights).sum(), list(module.parameters()))
    encoder = parts_of(module)
    assert encoder is not None
    slopes = torch.autograd.grad(
        (encode_packed(encoder, texts)[:, 0] * weights).sum(), list(module.parameters())
    )
    for (name, _), a, b in zip(
        module.named_parameters(), slopes, expected, strict=True
    ):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4, msg=name)
