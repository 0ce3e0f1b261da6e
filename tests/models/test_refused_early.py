"""Networks of other shapes are fitted and saved, or refused before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
import transformers
from test_chat_limits import make_tokenizer

import tastemaker as tm
from tastemaker.errors import TastemakerError

SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
}
BOTH: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 128,
    "pad_token_id": 1,
    "eos_token_id": 1,
    "bos_token_id": 0,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": None,
}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "Bart": ("BartForConditionalGeneration", BOTH),
    "MBart": ("MBartForConditionalGeneration", BOTH),
    "LED": (
        "LEDForConditionalGeneration",
        {
            **BOTH,
            "max_encoder_position_embeddings": 128,
            "max_decoder_position_embeddings": 128,
            "attention_window": 16,
        },
    ),
    "XLNet": (
        "XLNetLMHeadModel",
        {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
    ),
    "Mamba": (
        "MambaForCausalLM",
        {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    ),
    "BigBird": (
        "BigBirdForMaskedLM",
        {**SIZE, "block_size": 4, "num_random_blocks": 1},
    ),
    "Longformer": ("LongformerForMaskedLM", {**SIZE, "attention_window": [8, 8]}),
    "Bloom": ("BloomForCausalLM", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "OPT": (
        "OPTForCausalLM",
        {**SIZE, "ffn_dim": 32, "word_embed_proj_dim": 16, "pad_token_id": 1},
    ),
    "Whisper": (
        "WhisperForConditionalGeneration",
        {**BOTH, "max_source_positions": 16, "max_target_positions": 16},
    ),
    "few tokens": ("LlamaForCausalLM", {**SIZE, "vocab_size": 20}),
    "few positions": ("LlamaForCausalLM", {**SIZE, "max_position_embeddings": 4}),
}
# what the refusal says; None for a network that is fitted and saved
REFUSALS = {
    "Bart": "at least one <eos> token",
    "MBart": "at least one <eos> token",
    "LED": "LEDConfig",
    "XLNet": "cannot score texts",
    "Mamba": "MambaConfig",
    "BigBird": "blocks that are drawn at random",
    "Longformer": "cannot score texts",
    "Bloom": None,
    "OPT": None,
    "Whisper": "WhisperConfig",
    "few tokens": None,
    "few positions": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_is_saved_or_refused_at_once(shape: str, tmp_path: Path) -> None:
    kind, settings = SHAPES[shape]
    tokenizer = make_tokenizer(adds_start=False)
    model_class = getattr(transformers, kind)
    config = model_class.config_class(
        **{"vocab_size": len(tokenizer), "pad_token_id": 1, **settings}
    )
    base, out = tmp_path / "base", tmp_path / "out"
    model_class(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    rows = [tm.Label(f"a good film {n}", positive=n % 2 == 0) for n in range(12)]
    encoder = tm.Encoder(str(base))
    refusal = REFUSALS[shape]
    if refusal is not None:
        with pytest.raises(TastemakerError, match=refusal) as caught:
            tm.fit(rows, backbone=encoder, epochs=1, out=out)
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.rglob("metrics.jsonl"))
        assert not (out / "config.json").exists()
        return
    model = tm.fit(rows, backbone=encoder, epochs=1, out=out)
    texts = ["a good film", "a bad film with a long end " * 40]
    assert tm.load(out).score(texts) == pytest.approx(model.score(texts), abs=1e-3)
