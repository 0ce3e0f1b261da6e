"""Families without a form of ours: fitted, saved, and opened again to the same scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

import tastemaker as tm
from tastemaker.errors import UsageError
from tastemaker.reward import make_tiny

TEXTS = [
    "A warm, bright film.",
    "Dull.",
    "It goes on and on, and then it ends at last.",
]
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 512,
}
GROUPED = {**SIZE, "num_key_value_heads": 1, "head_dim": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Deberta": (
        "DebertaForMaskedLM",
        {**SIZE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "DebertaV2": (
        "DebertaV2ForMaskedLM",
        {
            **SIZE,
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
            "pooler_hidden_size": 16,
        },
    ),
    "Electra": ("ElectraForPreTraining", {**SIZE, "embedding_size": 8}),
    "Albert": ("AlbertForMaskedLM", {**SIZE, "embedding_size": 8}),
    "MPNet": ("MPNetForMaskedLM", SIZE),
    "Mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": 8}),
    "Qwen3Moe": (
        "Qwen3MoeForCausalLM",
        {
            **GROUPED,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 8,
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_fitted_and_opened_again(family: str, tmp_path: Path) -> None:
    kind, settings = FAMILIES[family]
    tokenizer = make_tiny(TEXTS, vocabulary=300).tokenizer
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **settings
    )
    getattr(transformers, kind)(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    labels = [
        tm.Label(f"{text} {n}", positive=n % 2 == 0) for n in range(8) for text in TEXTS
    ]
    backbone = tm.Encoder(str(tmp_path / "base"), max_length=24)
    model = tm.fit(labels, backbone=backbone, epochs=1, out=tmp_path / "out")
    again = tm.load(tmp_path / "out")
    exact = model.score(TEXTS)
    assert again.score(TEXTS) == pytest.approx(exact, abs=1e-3)
    assert np.isfinite(again.score(TEXTS, precision="fast")).all()
    if family == "Deberta":  # its attention overflows in bfloat16
        with pytest.raises(UsageError, match="cannot compute in bfloat16"):
            again.score(TEXTS, precision="bfloat16")
        with pytest.raises(UsageError, match="cannot compute in bfloat16"):
            tm.fit(labels, backbone=backbone, precision="bfloat16")
    else:
        assert np.isfinite(again.score(TEXTS, precision="bfloat16")).all()
    ways = model.contract.roundtrip["differences"]
    numbers = [value for value in ways.values() if not isinstance(value, str)]
    assert len(numbers) >= 5
    assert max(numbers) <= 1e-3
