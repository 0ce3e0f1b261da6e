"""The sampling loop: exact distributions, independence of the batch, stops, the context's end."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from architectures import gpt2, llama, mistral, qwen2, qwen3
from scipy.stats import chisquare
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tastemaker.errors import UsageError
from tastemaker.gpt import Completion, Policy, Reader, Sampling, before_stop, uniforms

PROMPTS = ["The film", "", "这部电影很好看，", "warm and clever, and the end"]
SHORT = Sampling(max_tokens=6)


def exact(policy: Policy, temperature: float) -> dict[tuple[int, ...], float]:
    """The probability of each text of at most two tokens behind the end token, by full passes."""
    end = policy.reader.end
    probabilities = {}
    with torch.inference_mode():
        one = torch.softmax(
            policy.module(torch.tensor([[end]])).logits[0, -1].double() / temperature,
            -1,
        )
        for first in range(5):
            if first == end:
                probabilities[(end,)] = float(one[end])
                continue
            two = torch.softmax(
                policy.module(torch.tensor([[end, first]])).logits[0, -1].double()
                / temperature,
                -1,
            )
            probabilities |= {
                (first, second): float(one[first] * two[second]) for second in range(5)
            }
    return probabilities


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_whole_texts_come_as_often_as_they_are_likely(letters, temperature):
    expected = exact(letters, temperature)
    assert sum(expected.values()) == pytest.approx(1)
    sampling = Sampling(temperature, max_tokens=2)
    written = letters.complete(
        "", samples=20_000, sampling=sampling, seed=11, most_rows=4096
    )
    counts = dict.fromkeys(expected, 0)
    for completion in written:
        counts[completion.ids] += 1
        assert completion.log_prob == pytest.approx(
            np.log(expected[completion.ids]), abs=1e-4
        )
    likely = np.array(list(expected.values())) * len(written)
    assert likely.min() > 5  # or the test would not be one
    assert (
        chisquare(list(counts.values()), likely * len(written) / likely.sum()).pvalue
        > 1e-3
    )


def test_a_uniform_gpt_writes_the_token_where_its_number_falls(uniform):
    size = len(uniform.tokenizer)
    numbers = uniforms(4, [(0, 0), (0, 1), (1, 0), (1, 1)], 5).numpy()
    for row, c in enumerate(
        uniform.complete(
            ["a", "the"], samples=2, seed=4, sampling=Sampling(max_tokens=5)
        )
    ):
        expected = np.floor(numbers[row] * size).astype(int).tolist()
        assert list(c.ids) == expected[: len(c.ids)]
        assert len(c.ids) == 5 or c.ids[-1] == uniform.reader.end


@pytest.mark.parametrize(
    "sampling",
    [SHORT, Sampling(0.6, top_k=20, top_p=0.9, repetition_penalty=1.2, max_tokens=6)],
)
def test_log_probs_are_those_that_a_full_pass_gives(policy, sampling):
    written = policy.complete(PROMPTS, samples=3, sampling=sampling, seed=1)
    again = policy.log_probs(
        [c.prompt for c in written], written, temperature=sampling.temperature
    )
    for completion, log_probs in zip(written, again, strict=True):
        assert completion.log_probs == pytest.approx(log_probs.tolist(), abs=1e-4)


def full_values(policy: Policy, completion: Completion) -> list[float]:
    """What the critic expects before each token, from a pass over the text alone."""
    (prompt,), ids = policy.reader.prompts([completion.prompt]), list(completion.ids)
    out = policy.module(torch.tensor([[*prompt, *ids]]), output_hidden_states=True)
    values = policy.value_head(out.hidden_states[-1][0])
    return values[len(prompt) - 1 : -1].tolist()


@torch.no_grad()
@pytest.mark.parametrize("family", ["ours", "llama"])
def test_values_are_what_the_critic_expects_of_a_full_pass(
    family, policy, tokenizer, stirred
):
    module = (
        policy.module if family == "ours" else stirred(llama(vocab_size=len(tokenizer)))
    )
    plain = Policy(module, tokenizer)
    critic = plain.with_value_head()
    torch.nn.init.normal_(
        critic.value_head.linear.weight, generator=torch.Generator().manual_seed(0)
    )
    sampling = Sampling(0.7, max_tokens=12, top_k=50, stop=("e",))
    whole = critic.complete(PROMPTS, samples=3, sampling=sampling, seed=1)
    assert len({len(c.ids) for c in whole}) > 1, "rows that end early are moved out"
    for completion in whole:
        assert completion.values == pytest.approx(
            full_values(critic, completion), abs=1e-4
        )
    some = critic.complete(PROMPTS, samples=3, sampling=sampling, seed=1, most_rows=2)
    assert [c.values for c in some] == [
        pytest.approx(c.values, abs=1e-4) for c in whole
    ]
    without = plain.complete(PROMPTS, samples=3, sampling=sampling, seed=1)
    assert [c.ids for c in without] == [c.ids for c in whole]
    assert {c.values for c in without} == {()}


def test_text_does_not_depend_on_how_rows_are_put_together(policy):
    whole = policy.complete(PROMPTS, samples=3, sampling=SHORT, seed=5)
    assert [c.prompt for c in whole] == [p for p in PROMPTS for _ in range(3)]
    for most_rows in (1, 3, 4):
        some = policy.complete(
            PROMPTS, samples=3, sampling=SHORT, seed=5, most_rows=most_rows
        )
        assert [c.ids for c in some] == [c.ids for c in whole]
    for number, prompt in enumerate(PROMPTS):
        part = policy.complete(
            [prompt], samples=3, sampling=SHORT, seed=5, first=number
        )
        assert [c.ids for c in part] == [
            c.ids for c in whole[3 * number : 3 * number + 3]
        ]
    assert (
        policy.complete(PROMPTS, samples=3, sampling=SHORT, seed=6)[0].ids
        != whole[0].ids
    )


def test_the_same_prompt_twice_draws_two_texts(policy):
    first, second = policy.complete(["The film", "The film"], sampling=SHORT)
    assert first.ids != second.ids


def test_more_samples_go_on_where_fewer_ended(policy):
    few = policy.complete(PROMPTS, samples=2, sampling=SHORT)
    many = policy.complete(PROMPTS, samples=5, sampling=SHORT)
    for number in range(len(PROMPTS)):
        assert [c.ids for c in few[2 * number : 2 * number + 2]] == [
            c.ids for c in many[5 * number : 5 * number + 2]
        ]


def test_more_tokens_go_on_where_fewer_ended(policy):
    few = policy.complete(PROMPTS, sampling=Sampling(max_tokens=3))
    many = policy.complete(PROMPTS, sampling=Sampling(max_tokens=9))
    assert [c.ids for c in few] == [c.ids[:3] for c in many]


def test_rows_that_are_done_leave_the_batch(letters, stirred):
    config = LlamaConfig(
        vocab_size=5,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    config.bos_token_id = config.eos_token_id = 4
    module = stirred(LlamaForCausalLM(config))
    counts: list[int] = []
    hook = module.register_forward_pre_hook(
        lambda _module, _args, kwargs: counts.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    written = Policy(module, letters.tokenizer).complete(
        "", samples=64, sampling=Sampling(max_tokens=30), seed=3
    )
    hook.remove()
    assert counts[0] == 1  # the prompt is read once for all of its samples
    for step, rows in enumerate(counts[1:], 1):
        still_write = sum(len(c.ids) > step for c in written)
        assert still_write <= rows <= still_write / 0.85 + 1
    assert len(counts) == max(len(c.ids) for c in written)


def rows_at_a_time(policy: Policy, prompts: list[str], sampling: Sampling) -> list[int]:
    """How many rows got a token at each step, eight at once."""
    steps = policy.stream(prompts, samples=1, sampling=sampling, seed=0, most_rows=8)
    return [len(rows) for rows in steps]


@pytest.mark.parametrize("family", ["ours", "llama", "relu"])
def test_rows_that_ended_give_their_places_to_the_next_prompts(
    family, policy, tokenizer, stirred
):
    """ "relu" is a network that runs its own pass."""
    module = policy.module
    if family != "ours":
        settings = {"hidden_act": "relu"} if family == "relu" else {}
        module = stirred(llama(vocab_size=len(tokenizer), **settings))
    many = Policy(module, tokenizer)
    prompts = [("The film is warm and clever." * 2)[: 1 + i] for i in range(24)]
    # a text ends at a stop text after a few tokens, or at the limit
    sampling = Sampling(max_tokens=16, stop=("e", "a"), repetition_penalty=1.1)
    counts = rows_at_a_time(many, prompts, sampling)
    together = many.complete(prompts, sampling=sampling, most_rows=8)
    assert len({len(c.ids) for c in together}) > 3
    # one row in seven may have ended before its place is taken
    full = counts[: -sampling.max_tokens]
    assert full
    assert min(full) >= 6
    alone = many.complete(prompts, sampling=sampling, most_rows=1)
    assert [c.ids for c in together] == [c.ids for c in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


@pytest.mark.parametrize("make", [gpt2, llama, mistral, qwen2, qwen3])
def test_top_1_of_many_prompts_is_what_transformers_writes(make, tokenizer, stirred):
    greedy = Policy(stirred(make(vocab_size=len(tokenizer))), tokenizer)
    prompts = ["The film", "", "warm", "the end is warm", "a", "cl"]
    written = greedy.complete(
        prompts, sampling=Sampling(top_k=1, max_tokens=10), most_rows=3
    )
    for prompt, ours in zip(prompts, written, strict=True):
        ids = torch.tensor(greedy.reader.prompts([prompt]))
        theirs = greedy.module.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=10,
            do_sample=False,
            eos_token_id=greedy.reader.end,
            pad_token_id=greedy.reader.pad,
        )
        assert list(ours.ids) == theirs[0, ids.shape[1] :].tolist()


@pytest.fixture(scope="module")
def reciting(tokenizer) -> Callable[[str], Policy]:
    """A policy that recites a text: its state at place t is the t-th unit vector, which only the
    t-th token answers.
    """

    def make(text: str) -> Policy:
        ids = Reader(tokenizer).completions([text], ended=True)[0]
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=32, n_embd=32, n_layer=1, n_head=1
        )
        config.tie_word_embeddings = False
        module = GPT2LMHeadModel(config)
        with torch.no_grad():
            for weight in module.parameters():
                weight.zero_()
            module.transformer.ln_f.weight.fill_(1)
            for place, token in enumerate(ids):
                module.transformer.wpe.weight[place, place] = 1
                module.lm_head.weight[token, place] = 100
        return Policy(module, tokenizer)

    return make


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("The film is warm", ("il",), "The f"),  # within a token
        ("The film is warm", ("m is w",), "The fil"),  # across tokens
        ("The film is warm", ("warm", "is"), "The film "),  # the first that comes
        ("The film is warm", ("The",), ""),
        ("很好看，剧情", ("，",), "很好看"),
        ("好鑫看", ("鑫",), "好"),  # three tokens, none of them a character
        ("好鑫看", ("鑫看",), "好"),
    ],
)
def test_a_stop_text_ends_a_completion_and_is_no_part_of_it(reciting, text, stop, left):
    completion = reciting(text).complete("", sampling=Sampling(stop=stop))[0]
    assert (completion.text, completion.ended) == (left, "stop")
    assert len(completion.ids) == len(completion.log_probs)
    shown = reciting(text).reader.text(completion.ids)
    assert any(s in shown for s in stop)  # the tokens hold it ...
    assert not any(
        s in reciting(text).reader.text(completion.ids[:-1]) for s in stop
    )  # ... and nothing was written after it


def test_a_completion_ends_with_the_end_token_or_at_its_most_tokens(reciting):
    policy = reciting("The film is warm")
    ended = policy.complete("", sampling=Sampling(stop=("never",)))[0]
    assert (ended.text, ended.ended, ended.ids[-1]) == (
        "The film is warm",
        "end",
        policy.reader.end,
    )
    cut = policy.complete("", sampling=Sampling(max_tokens=2, stop=("never",)))[0]
    assert (cut.ended, cut.ids) == ("length", ended.ids[:2])
    last = policy.complete("", sampling=Sampling(max_tokens=len(ended.ids) - 1))[0]
    assert (last.text, last.ended) == ("The film is warm", "length")


@pytest.mark.parametrize(
    ("text", "left"), [("a. b! c", "a"), ("b! c. a", "b"), ("none", "none"), ("", "")]
)
def test_the_first_stop_text_counts(text, left):
    assert before_stop(text, (".", "!")) == left


def test_prompt_and_completion_are_never_longer_than_the_context(policy):
    prompts = ["a" * 30, "a" * 10, "a" * 29, ""]
    lengths = [len(ids) for ids in policy.reader.prompts(prompts)]
    assert lengths == [31, 11, 30, 1]
    sampling = Sampling(max_tokens=100)
    together = policy.complete(prompts, samples=3, sampling=sampling, seed=2)
    for number, completion in enumerate(together):
        room = 32 - lengths[number // 3]
        assert len(completion.ids) <= room
        assert len(completion.ids) == room or completion.ended == "end"
    assert any(len(c.ids) > 1 and c.ended == "length" for c in together)
    one_by_one = policy.complete(
        prompts, samples=3, sampling=sampling, seed=2, most_rows=1
    )
    assert [c.ids for c in together] == [c.ids for c in one_by_one]


def test_a_prompt_that_leaves_no_room_is_named_with_the_limit(policy):
    with pytest.raises(
        UsageError,
        match=r"^prompt 2\b.*\b32 tokens\b.*\b31\b",
    ):
        policy.complete(["a", "a" * 31])


def test_an_empty_prompt_begins_a_text(policy):
    assert policy.reader.prompts([""]) == [[policy.tokenizer.bos_token_id]]
    assert policy.complete("", sampling=SHORT)[0].prompt == ""


def test_no_prompts_are_no_completions(policy):
    assert policy.complete([]) == []


@pytest.mark.parametrize("prompt", PROMPTS)
def test_top_1_is_what_transformers_writes_without_drawing(policy, prompt):
    ids = torch.tensor(policy.reader.prompts([prompt]))
    theirs = policy.module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=policy.reader.pad,
    )
    for seed in (0, 1):
        ours = policy.complete(
            prompt, sampling=Sampling(top_k=1, max_tokens=8), seed=seed
        )[0]
        assert list(ours.ids) == theirs[0, ids.shape[1] :].tolist()


def test_a_penalty_sees_the_prompt_and_what_was_written(uniform):
    """With so great a penalty a token comes at most once, and none of the prompt's: a uniform GPT
    has logits of 0, so a bias makes them positive."""
    policy = uniform.frozen_copy()
    with torch.no_grad():
        policy.module.gpt_neox.final_layer_norm.bias.fill_(1)
        policy.module.lm_head.weight.fill_(1)  # every logit is 32, of a seen token 0.32
    prompt = "abcdef"
    for written in policy.complete(
        prompt, samples=20, sampling=Sampling(repetition_penalty=100, max_tokens=24)
    ):
        assert len(set(written.ids)) == len(written.ids)
        assert not set(written.ids) & set(policy.reader.prompts([prompt])[0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"samples": 0}, "0 samples"),
        ({"most_rows": 0}, "most_rows 0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_what_cannot_be_written_is_one_line(policy, wrong, words):
    with pytest.raises(UsageError, match=words):
        policy.complete("a", **wrong)
