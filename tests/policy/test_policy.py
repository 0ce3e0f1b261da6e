"""A policy: log-probabilities, completions, its critic, its reference, and streaming."""

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from tastemaker.data import Message, as_prompts
from tastemaker.errors import ModelError, UsageError
from tastemaker.gpt import (
    VALUE_HEAD,
    Policy,
    Row,
    Sampling,
    ValueHead,
    shown_so_far,
)

PROMPTS = ["The film", "", "这部电影很好看，", "warm"]
ANSWERS = [" is warm", "The end", "很精彩。", ""]
TRAINING = {  # what the model card tells of the training
    "corpus": {"train": {"documents": 5}, "held_out": {"tokens": 7}},
    **{"tokens": 9, "steps": 3, "measured_tokens": 7},
    **{
        "perplexity": 2.5,
        "byte_perplexity": 1.5,
        "ngram_perplexity": 3.0,
        "ngram_byte_perplexity": 1.75,
    },
}


def test_a_uniform_gpt_finds_every_token_as_likely(uniform):
    size = len(uniform.tokenizer)
    for answer, log_probs in zip(
        ANSWERS, uniform.log_probs(PROMPTS, ANSWERS), strict=True
    ):
        assert len(log_probs) == len(
            uniform.reader.completions([answer], ended=True)[0]
        )
        assert log_probs.dtype == np.float32
        assert log_probs.tolist() == pytest.approx(
            [-math.log(size)] * len(log_probs), abs=1e-5
        )


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_log_probs_are_a_softmax_of_each_places_logits(policy, temperature):
    log_probs = policy.log_probs(PROMPTS, ANSWERS, temperature=temperature)
    prompts = policy.reader.prompts(PROMPTS)
    for prompt, answer, values in zip(
        prompts, policy.reader.completions(ANSWERS, ended=True), log_probs, strict=True
    ):
        with torch.inference_mode():
            logits = (
                policy.module(torch.tensor([[*prompt, *answer]])).logits[0].double()
                / temperature
            )
        every = torch.log_softmax(logits, -1)
        expected = [
            float(every[len(prompt) - 1 + place, token])
            for place, token in enumerate(answer)
        ]
        assert values.tolist() == pytest.approx(expected, abs=1e-4)


def test_log_probs_do_not_depend_on_company_or_order(policy):
    together = policy.log_probs(PROMPTS, ANSWERS)
    backwards = policy.log_probs(PROMPTS[::-1], ANSWERS[::-1])[::-1]
    for number, values in enumerate(together):
        alone = policy.log_probs([PROMPTS[number]], [ANSWERS[number]])[0]
        assert values.tolist() == pytest.approx(alone.tolist(), abs=1e-5)
        assert values.tolist() == pytest.approx(backwards[number].tolist(), abs=1e-5)


def test_a_text_without_its_end_lacks_one_token(policy):
    whole, cut = (
        policy.log_probs(PROMPTS, ANSWERS, ended=ended) for ended in (True, False)
    )
    for ended, without in zip(whole, cut, strict=True):
        assert ended[:-1].tolist() == pytest.approx(without.tolist(), abs=1e-5)
    assert cut[3].shape == (0,)  # of no text at all there is nothing to say
    assert policy.log_probs([], []) == []


def test_the_log_probs_of_a_batch_can_be_learned_from(fresh):
    ids = fresh.reader.prompts(PROMPTS)
    log_probs = fresh.batch_log_probs(ids)
    assert log_probs.shape == (4, max(map(len, ids)) - 1)
    log_probs.sum().backward()
    assert all(p.grad is not None for p in fresh.module.parameters())


def test_padding_brings_no_advice_of_transformers(
    letters, monkeypatch, caplog, request
):
    """It recommends a mask where the pad token stands, once in a process: here again."""
    # a test before may have left it silent
    verbosity = transformers_logging.get_verbosity()
    request.addfinalizer(lambda: transformers_logging.set_verbosity(verbosity))
    transformers_logging.set_verbosity_warning()
    transformers_logging.warning_once.cache_clear()
    monkeypatch.setattr(letters.module.config, "pad_token_id", letters.reader.pad)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    ids = [[0, 1, 2], [3]]
    letters.module(input_ids=torch.tensor([[0, 4]]))
    assert "attention_mask" in caplog.text  # or the test would not be one
    transformers_logging.warning_once.cache_clear()
    caplog.clear()
    letters.batch_log_probs(ids)
    assert caplog.text == ""


def test_what_log_probs_refuse_is_one_line(policy):
    with pytest.raises(UsageError, match=r"\b2 prompts\b.*\b1 completions\b"):
        policy.log_probs(["a", "b"], ["c"])
    with pytest.raises(
        UsageError,
        match=r"^text 2\b.*\b34 tokens\b.*\b32\b",
    ):
        policy.log_probs(["a", "a" * 16], ["b", "b" * 16])  # 1 + 16 + 16 + 1
    assert len(policy.log_probs(["a" * 15], ["b" * 15])[0]) == 16  # 32 fit
    with pytest.raises(UsageError, match="temperature 0"):
        policy.log_probs(["a"], ["b"], temperature=0)


def test_completions_come_in_the_order_of_prompts_and_samples(policy):
    completions = policy.complete(PROMPTS, samples=2, sampling=Sampling(max_tokens=3))
    assert [c.prompt for c in completions] == [
        prompt for prompt in PROMPTS for _ in range(2)
    ]
    assert [str(c) for c in completions] == [c.text for c in completions]
    assert completions[0].log_prob == pytest.approx(sum(completions[0].log_probs))


def test_one_prompt_is_a_list_of_one():
    chat = (Message("user", "hi"), Message("assistant", "ho"))
    assert as_prompts("a") == ["a"]
    assert as_prompts(["a", chat]) == ["a", chat]
    assert as_prompts(chat) == [chat]
    assert as_prompts([]) == []


def test_a_chat_is_answered(chat_policy):
    chat = (Message("user", "好看吗?"),)
    completion = chat_policy.complete(chat, sampling=Sampling(max_tokens=3))[0]
    assert completion.prompt == chat
    again = chat_policy.log_probs([chat], [completion])[0]
    assert completion.log_probs == pytest.approx(again.tolist(), abs=1e-4)


# --- critic


def test_a_critic_expects_nothing_at_first_and_shares_the_network(policy):
    critic = policy.with_value_head()
    assert critic.module is policy.module
    assert policy.value_head is None
    assert critic.value_head is not None
    hidden = torch.randn(2, 3, 32)
    assert torch.equal(critic.value_head(hidden), torch.zeros(2, 3))
    assert critic.with_value_head().value_head is critic.value_head
    assert "with a value head" in repr(critic)


def test_a_critic_keeps_what_is_known_of_the_policy(fresh):
    fresh.figures, fresh.notes = TRAINING, ["a note"]
    critic = fresh.with_value_head()
    assert (critic.figures, critic.notes) == (TRAINING, ["a note"])


def test_a_value_is_a_weighted_sum_of_the_hidden_state():
    head = ValueHead(3)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
        head.linear.bias.fill_(0.25)
    assert head(torch.tensor([[[1.0, 1.0, 4.0]]])).tolist() == [
        [1.25]
    ]  # 1 − 2 + 2 + 0.25


def test_a_critic_is_saved_beside_the_network_and_loaded(fresh, tmp_path):
    critic = fresh.with_value_head()
    with torch.no_grad():
        critic.value_head.linear.weight.normal_()
    critic.figures = TRAINING
    critic.save(tmp_path / "gpt")
    again = Policy.load(tmp_path / "gpt")
    assert torch.equal(again.value_head.linear.weight, critic.value_head.linear.weight)
    assert again.figures == TRAINING
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path / "gpt"
    )  # other tools do not mind it
    ids = torch.tensor([[5, 6]])
    with torch.inference_mode():
        assert torch.equal(theirs(ids).logits, fresh.module(ids).logits)


def test_a_critic_of_another_width_is_refused(fresh, tmp_path):
    fresh.save(tmp_path / "gpt")
    ValueHead(16).save(tmp_path / "gpt")
    with pytest.raises(ModelError, match=r"value head.*\b16\b.*\b32\b"):
        Policy.load(tmp_path / "gpt")


def test_a_folder_saved_over_keeps_nothing_of_the_older_policy(fresh, tmp_path):
    older = fresh.with_value_head()
    older.figures = TRAINING
    older.save(tmp_path / "gpt")
    (tmp_path / "gpt" / "metrics.jsonl").write_text("{}\n")
    plain = Policy(fresh.module, fresh.tokenizer)
    plain.save(tmp_path / "gpt")
    again = Policy.load(tmp_path / "gpt")
    assert again.value_head is None
    assert again.figures == {}
    assert not (tmp_path / "gpt" / VALUE_HEAD).exists()
    assert (tmp_path / "gpt" / "metrics.jsonl").exists()  # files of others stay


# --- reference


def addresses(module: Any) -> dict[str, int]:
    """Where each tensor lies; asking by data_ptr would copy what is shared."""
    return {
        name: torch._C._data_address(tensor)
        for name, tensor in module.named_parameters()
    }


def test_a_reference_shares_memory_until_training_changes_a_tensor(fresh):
    before = {
        name: tensor.clone() for name, tensor in fresh.module.state_dict().items()
    }
    reference = fresh.frozen_copy()
    assert addresses(reference.module) == addresses(fresh.module)
    assert not any(p.requires_grad for p in reference.module.parameters())
    fresh.module.requires_grad_(requires_grad=False)
    trained = [p.requires_grad_() for p in fresh.module.gpt_neox.layers[1].parameters()]
    expected = reference.log_probs(PROMPTS, ANSWERS)
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        fresh.batch_log_probs(fresh.reader.prompts(PROMPTS)).sum().backward()
        optimizer.step()
    ours, theirs = addresses(fresh.module), addresses(reference.module)
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert changed == {name for name in ours if name.startswith("gpt_neox.layers.1.")}
    assert all(
        torch.equal(tensor, before[name])
        for name, tensor in reference.module.state_dict().items()
    )
    inner = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    assert not torch.equal(fresh.module.state_dict()[inner], before[inner])
    for log_probs, old in zip(
        reference.log_probs(PROMPTS, ANSWERS), expected, strict=True
    ):
        assert log_probs.tolist() == old.tolist()


def test_a_reference_of_one_weight_in_two_places_has_it_in_two_places(letters):
    reference = letters.frozen_copy()
    assert reference.module.lm_head.weight is reference.module.transformer.wte.weight
    assert addresses(reference.module) == addresses(letters.module)


def test_a_policy_that_was_opened_has_a_reference_too(fresh, tmp_path):
    """What is opened lies in a mapped file, and what numpy saw in memory that it watches: neither
    is PyTorch's own.
    """
    fresh.save(tmp_path)
    opened = Policy.load(tmp_path)
    opened.module.gpt_neox.embed_in.weight.detach().numpy()
    reference = opened.frozen_copy()
    again = reference.frozen_copy()
    assert (
        addresses(reference.module)
        == addresses(opened.module)
        == addresses(again.module)
    )
    expected = fresh.log_probs(PROMPTS, ANSWERS)
    with torch.no_grad():
        opened.module.gpt_neox.embed_in.weight.add_(1.0)
    for copy in (reference, again):
        for log_probs, there in zip(
            copy.log_probs(PROMPTS, ANSWERS), expected, strict=True
        ):
            np.testing.assert_array_equal(log_probs, there)


def test_the_policy_can_be_trained_after_a_reference_was_made(fresh):
    fresh.frozen_copy()
    assert all(p.requires_grad for p in fresh.module.parameters())


# --- streaming


@pytest.mark.parametrize(
    "stop", [(), (". ",), ("鑫看", "the end"), ("aab", "ab"), ("看",)]
)
@given(text=st.text("aab 鑫看é🙂.\ntheend", max_size=30))
def test_what_is_shown_is_never_taken_back(
    policy: Any, stop: tuple[str, ...], text: str
):
    sampling = Sampling(stop=stop)
    ids = [*policy.reader.completions([text], ended=True)[0]]
    row, shown = Row((0, 0)), ""
    for token in ids:
        row.ids.append(token)
        reached = any(s in policy.reader.text(row.ids) for s in stop)
        row.ended = (
            "end" if token == policy.reader.end else "stop" if reached else "length"
        )
        now = shown_so_far(policy, row, sampling)
        assert now.startswith(shown)
        shown = now
        if reached:
            break
    assert policy.completion("", row, sampling).text == shown


@given(ids=st.lists(st.integers(4, 299), max_size=20))
def test_bytes_that_are_no_characters_are_not_taken_back_either(
    policy: Any, ids: list[int]
):
    row, shown = Row((0, 0)), ""
    for token in ids:
        row.ids.append(token)
        now = shown_so_far(policy, row, Sampling())
        assert now.startswith(shown)
        shown = now
    assert policy.completion("", row, Sampling()).text.startswith(shown)


def test_streaming_yields_every_token_of_every_row(policy):
    sampling = Sampling(max_tokens=5)
    lengths: dict[tuple[int, int], int] = {}
    for rows in policy.stream(
        PROMPTS, samples=2, sampling=sampling, seed=0, most_rows=3
    ):
        for row in rows:
            lengths[row.place] = lengths.get(row.place, 0) + 1
            assert len(row.ids) == lengths[row.place]
    whole = policy.complete(PROMPTS, samples=2, sampling=sampling, seed=0)
    assert [lengths[number // 2, number % 2] for number in range(8)] == [
        len(c.ids) for c in whole
    ]
