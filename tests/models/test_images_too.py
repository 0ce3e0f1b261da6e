"""Models of text and images: their text part is what counts (Gemma 3)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import tastemaker as tm
from tastemaker.gpt import Policy
from tastemaker.reward import make_tiny
from tests.models.test_adopted import CHAT, TEXTS, judged, labels_file, logits

CONTEXT = 96


def gemma3(folder: Path, kind: str) -> Path:
    """Save a small random Gemma 3 with eyes. All sizes of its text stand in `text_config`."""
    tokenizer = make_tiny(TEXTS, vocabulary=300).tokenizer
    tokenizer.chat_template = CHAT
    size = len(tokenizer)
    common: dict[str, Any] = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    text = {
        **common,
        "vocab_size": size + 3,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": CONTEXT,
        "sliding_window": 16,
        "initializer_range": 0.3,
        "pad_token_id": tokenizer.pad_token_id,
    }
    eyes = {**common, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14}
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config=eyes,
        mm_tokens_per_image=4,
        image_token_index=size,
        boi_token_index=size + 1,
        eoi_token_index=size + 2,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_published_reward_model_scores_and_goes_on(tmp_path: Path) -> None:
    folder = gemma3(tmp_path / "rm", "Gemma3ForSequenceClassification")
    model = tm.load(folder)
    expected = logits(folder, *TEXTS)[:, 0].tolist()
    assert model.score(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert (model.contract.max_length, model.contract.template) == (CONTEXT, "chat")
    assert "gemma3, 2 layers" in repr(model)
    out = tmp_path / "out"
    tm.fit(judged(), backbone=str(folder), training={"lr": 1e-12}, epochs=1, out=out)
    again = tm.load(out)
    assert again.contract.data["head"] == "kept"
    assert again.score(TEXTS) == pytest.approx(expected, abs=1e-4)


def test_a_language_model_gets_a_head(tmp_path: Path, run: Any) -> None:
    folder = gemma3(tmp_path / "lm", "Gemma3ForConditionalGeneration")
    out, rows = tmp_path / "out", labels_file(tmp_path)
    words = ("fit", rows, "--backbone", folder, "--out", out, "--epochs", 1, "--json")
    code, printed, err = run(*words, "--dry-run")
    assert code == 0, err
    planned = json.loads(printed)
    code, _, err = run(*words)
    assert code == 0, err
    model = tm.load(out)
    module = model.backbone.module  # type: ignore[attr-defined]
    assert planned["parameters"] == sum(w.numel() for w in module.parameters())
    assert (model.contract.max_length, model.contract.data["head"]) == (CONTEXT, "new")
    assert model.score(TEXTS) == pytest.approx(
        logits(out, *TEXTS)[:, 0].tolist(), abs=1e-5
    )


def test_it_writes_as_generate_does(tmp_path: Path) -> None:
    folder = gemma3(tmp_path / "lm", "Gemma3ForConditionalGeneration")
    policy = Policy.load(folder)
    assert policy.context == CONTEXT
    sampling = tm.Sampling(max_tokens=24, temperature=0)
    prompts = policy.reader.prompts(TEXTS)
    for prompt, completion in zip(
        prompts, policy.complete(TEXTS, sampling=sampling, seed=0), strict=True
    ):
        written = policy.module.generate(
            input_ids=torch.tensor([prompt]), do_sample=False, max_new_tokens=24
        )
        assert [*completion.ids] == written[0, len(prompt) :].tolist()
