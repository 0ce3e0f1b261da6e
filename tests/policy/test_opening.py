"""Opening models of others: one that cannot write is refused; a missing end token is added."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

import tastemaker as tm
from tastemaker.errors import ModelError
from tastemaker.fast import most_tokens
from tastemaker.gpt import END, Policy, Sampling, is_causal, make_tokenizer, open_causal

TEXTS = ["The film is warm and clever."] * 20


@pytest.fixture
def saved(policy, tmp_path) -> Path:
    policy.save(tmp_path / "gpt")
    return tmp_path / "gpt"


def refused(folder: Path | str) -> str:
    """The one line that is said."""
    with pytest.raises(ModelError) as caught:
        open_causal(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    assert (
        "there is no such folder. Give a folder that `pretrain --out` wrote"
        in refused(tmp_path / "nothing")
    )


def test_a_hub_name_that_cannot_be_reached():
    assert "cannot be opened" in refused("nobody/has-made-this")


def test_an_empty_folder(tmp_path):
    assert str(tmp_path) in refused(tmp_path)
    assert not is_causal(tmp_path)


def test_a_classifier_cannot_write(tmp_path, policy):
    config = BertConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    message = refused(tmp_path)
    assert (
        "holds BertForSequenceClassification, which is no causal language model and cannot write."
        in message
    )
    assert not is_causal(tmp_path)


def test_a_reward_model_of_a_decoder_cannot_write(saved):
    """Its architecture's family writes, but its head scores."""
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(
        json.dumps(config | {"architectures": ["GPT2ForSequenceClassification"]})
    )
    assert "holds GPT2ForSequenceClassification" in refused(saved)
    assert not is_causal(saved)


def test_a_reward_model_of_ours_cannot_write(tmp_path):
    judgements = [
        tm.Label(f"{'warm' if n % 2 else 'dull'} film number {n}", bool(n % 2))
        for n in range(60)
    ]
    tm.fit(judgements, backbone="linear", out=tmp_path / "taste")
    assert str(tmp_path / "taste") in refused(tmp_path / "taste")
    assert not is_causal(tmp_path / "taste")


def test_weights_that_are_missing_are_named(saved):
    assert is_causal(saved)
    tensors = load_file(saved / "model.safetensors")
    del tensors["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"]
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    assert "the weights lack gpt_neox.layers.1.mlp.dense_h_to_4h.weight" in refused(
        saved
    )


def test_weights_that_are_not_there_at_all(saved):
    (saved / "model.safetensors").unlink()
    assert str(saved) in refused(saved)


def test_a_damaged_config(saved):
    (saved / "config.json").write_text("{")
    assert str(saved) in refused(saved)


def test_dropout_is_off_whatever_the_folder_says(tmp_path, policy):
    config = GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=2, n_positions=16)
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.5
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    module = open_causal(tmp_path).module
    assert not module.training
    assert {m.p for m in module.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    module.train()  # as training does
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(module(ids).logits, module(ids).logits)


@pytest.fixture
def endless(tmp_path) -> Callable[[int], Path]:
    """A folder whose tokenizer cannot end a text, with room for so many tokens."""

    def make(room: int) -> Path:
        tokenizer = make_tokenizer(TEXTS, vocabulary=270, context=16)
        backend: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
        tokenizer.eos_token = None
        config = GPT2Config(
            vocab_size=room, n_embd=32, n_layer=1, n_head=2, n_positions=16
        )
        config.bos_token_id = config.eos_token_id = None
        GPT2LMHeadModel(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        # the end token of ours under a name that means nothing
        (tmp_path / "tokenizer.json").write_text(
            re.sub(r"<\|end\|>", "<|other|>", json.dumps(backend))
        )
        path = tmp_path / "tokenizer_config.json"
        path.write_text(re.sub(r"<\|end\|>", "<|other|>", path.read_text()))
        return tmp_path

    return make


def test_a_tokenizer_without_an_end_token_is_given_one(endless):
    folder = endless(270)
    before = load_file(folder / "model.safetensors")["transformer.wte.weight"]
    opened = open_causal(folder)
    assert opened.tokenizer.eos_token == END
    assert opened.tokenizer.eos_token_id == 270
    weights = opened.module.get_input_embeddings().weight
    assert weights.shape == (271, 32)
    assert opened.module.get_output_embeddings().weight.shape == (271, 32)
    assert torch.equal(weights[:270], before)
    assert len(opened.notes) == 1
    assert "no end token" in opened.notes[0]
    assert (
        opened.module.config.eos_token_id
        == opened.module.generation_config.eos_token_id
        == 270
    )
    policy = Policy.load(folder)
    assert policy.notes == opened.notes
    assert len(policy.complete("The", sampling=Sampling(max_tokens=4))[0].ids) <= 4


def test_embeddings_with_room_for_the_end_token_stay_as_they_are(endless):
    opened = open_causal(endless(288))
    assert opened.tokenizer.eos_token_id == 270
    assert opened.module.get_input_embeddings().weight.shape == (288, 32)


def test_a_whole_folder_needs_no_note(saved):
    assert open_causal(saved).notes == []


def test_how_many_tokens_there_is_room_for(policy):
    assert most_tokens(policy.module) == policy.context == 32
