"""Texts end to end give the scores that they give one by one."""

import numpy as np
import pytest
import torch

from tastemaker.models.backbones.packed import encode_packed
from tastemaker.models.backbones.parts import parts_of


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "distilbert"])
@torch.inference_mode()
def test_packed_scores_equal_the_own_forward(make_module, family):
    module, random = make_module(family), np.random.default_rng(1)
    texts = [random.integers(5, 300, size=n).astype(np.int32) for n in (40, 20, 20, 20, 7, 1, 1)]
    alone = torch.cat([module(torch.tensor([ids.tolist()])).logits[:, 0] for ids in texts])
    assert alone.std() > 1e-3
    encoder = parts_of(module)
    assert encoder is not None
    torch.testing.assert_close(encode_packed(encoder, texts)[:, 0], alone, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(encode_packed(encoder, texts[::-1])[:, 0], alone.flip(0), atol=1e-6, rtol=1e-6)
