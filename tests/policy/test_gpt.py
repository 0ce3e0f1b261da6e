"""A new GPT and its tokenizer: the same bits again, and a folder that other tools open."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from tastemaker.errors import DataError, UsageError
from tastemaker.gpt import (
    BEGIN,
    SIZES,
    Policy,
    Sampling,
    Size,
    make_gpt,
    make_tokenizer,
    parameters_of,
    size_named,
)

TEXTS = ["The film is warm and clever.", "这部电影很好看。"] * 20


@pytest.fixture(scope="module")
def saved(policy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "gpt"
    policy.save(folder)
    return folder


@pytest.fixture(scope="module")
def opened(saved) -> tuple[Any, Any]:
    """The folder as transformers opens it."""
    return AutoModelForCausalLM.from_pretrained(saved), AutoTokenizer.from_pretrained(
        saved
    )


def small(tokenizer: Any, seed: int) -> Any:
    return make_gpt(Size(32, 1, 2, 16, 300, 1e-3, 64), tokenizer, seed=seed)


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_alone(tokenizer):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (small(tokenizer, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(
        first["gpt_neox.embed_in.weight"], other["gpt_neox.embed_in.weight"]
    )


def test_an_untrained_gpt_passes_on_what_it_is_given(tokenizer):
    """What writes into the residual stream begins at zero, so the logits are those of the
    embeddings alone.
    """
    module = small(tokenizer, 0).eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        network = module.gpt_neox
        x = network.final_layer_norm(network.embed_in(ids))
        assert torch.allclose(module(ids).logits, module.lm_head(x), atol=1e-6)
        assert torch.equal(module.lm_head.weight, network.embed_in.weight), (
            "so a token at first foresees its likes"
        )
    # 0.68 / √32 is 0.1202; of 300 · 32 weights the spread is known within 1 in 140
    assert network.embed_in.weight.std().item() == pytest.approx(0.1202, rel=0.03)


def test_how_many_numbers_a_gpt_learns_by_hand(tokenizer):
    """Embeddings and output layer, 300 · 32 each. A layer: two norms of 64, attention 32 · 96 + 96
    and 32 · 32 + 32, the inner layer 32 · 128 + 128 and 128 · 32 + 32. The last norm 2 · 32."""
    layer = 4 * 32 + 32 * 96 + 96 + 32 * 32 + 32 + 32 * 128 + 128 + 128 * 32 + 32
    assert (
        parameters_of(small(tokenizer, 0)) == 2 * len(tokenizer) * 32 + layer + 2 * 32
    )


def test_sizes_are_found_by_name_and_grow():
    assert [size_named(name) for name in SIZES] == list(SIZES.values())
    for smaller, larger in zip(
        list(SIZES.values())[:-1], list(SIZES.values())[1:], strict=True
    ):
        assert smaller.width < larger.width
        assert smaller.vocabulary < larger.vocabulary
    assert all(size.width % size.heads == 0 for size in SIZES.values())
    with pytest.raises(UsageError, match=r"'huge'.*\btiny, small, medium, large\b"):
        size_named("huge")


def test_a_tokenizer_has_a_token_for_every_byte_and_no_more_than_asked(tokenizer):
    assert len(tokenizer) == 300
    assert tokenizer.model_max_length == 32
    ids = tokenizer("Ωμέγα 🙂")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Ωμέγα 🙂"
    again = make_tokenizer(TEXTS, vocabulary=280, context=8)
    assert (
        again.get_vocab()
        == make_tokenizer(iter(TEXTS), vocabulary=280, context=8).get_vocab()
    )
    assert len(again) == 280


def test_what_no_tokenizer_can_be_made_of_is_one_line():
    with pytest.raises(
        UsageError,
        match=r"\b258\b.*\b256 bytes\b.*\b3 special\b",
    ):
        make_tokenizer(TEXTS, vocabulary=258, context=8)
    with pytest.raises(UsageError, match="4 special"):
        make_tokenizer(TEXTS, vocabulary=259, context=8, chats=True)
    for texts in ([], [""], ["a"]):
        with pytest.raises(DataError, match="too little text"):
            make_tokenizer(texts, vocabulary=300, context=8)


def test_a_saved_folder_gives_the_same_logits_in_transformers(policy, opened):
    module, _ = opened
    ids = torch.tensor(policy.reader.prompts(["The film is"]))
    with torch.inference_mode():
        assert torch.equal(module(ids).logits, policy.module(ids).logits)


@pytest.mark.parametrize(
    "prompt", ["The film", "这部电影很好看", "", "  two  spaces\n"]
)
def test_the_saved_tokenizer_reads_prompts_as_we_do(policy, opened, prompt):
    assert opened[1](prompt)["input_ids"] == policy.reader.prompts([prompt])[0]


def test_transformers_writes_from_the_folder_what_we_write(policy, opened):
    module, tokenizer = opened
    assert module.generation_config.eos_token_id == policy.reader.end
    ours = policy.complete("The film", sampling=Sampling(top_k=1, max_tokens=8))[0]
    generated = module.generate(
        **tokenizer("The film", return_tensors="pt"), max_new_tokens=8, do_sample=False
    )
    assert generated[0].tolist() == [*policy.reader.prompts(["The film"])[0], *ours.ids]


def test_the_pipeline_of_transformers_writes_from_the_folder(policy, opened):
    module, tokenizer = opened
    write = pipeline("text-generation", model=module, tokenizer=tokenizer)
    text = write("The film", max_new_tokens=8, do_sample=False, max_length=None)[0][
        "generated_text"
    ]
    assert (
        text
        == "The film"
        + policy.complete("The film", sampling=Sampling(top_k=1, max_tokens=8))[0].text
    )


def test_a_chat_tokenizer_keeps_its_template(chat_policy, tmp_path):
    chat_policy.save(tmp_path / "chat")
    again = Policy.load(tmp_path / "chat")
    assert again.tokenizer.chat_template == chat_policy.tokenizer.chat_template
    assert (
        again.tokenizer.all_special_tokens == chat_policy.tokenizer.all_special_tokens
    )
    assert again.tokenizer.all_special_tokens[0] == BEGIN
