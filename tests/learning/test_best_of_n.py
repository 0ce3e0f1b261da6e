"""The best of n by a scorer whose every score is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tastemaker.data import Example, Message
from tastemaker.errors import UsageError
from tastemaker.gpt import Completion, Policy, Sampling, best_of_n, to_be_scored
from tastemaker.scores import Scores

TWO = Sampling(max_tokens=2)


@dataclass
class Scored:
    """A reward by a formula; it remembers what it was asked."""

    score: Callable[[str], float]
    asked: list[Example] = field(default_factory=list)

    def score_all(self, examples: Sequence[Example]) -> Scores:
        self.asked += examples
        values = np.array([self.score(example.text) for example in examples])
        return Scores(values, np.zeros(len(values), dtype=bool))


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Writes a, b, c, or ends: each as likely, whatever stands before."""
    backend = Tokenizer(
        models.WordLevel({"a": 0, "b": 1, "c": 2, "<end>": 3}, unk_token="a")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    config = GPT2Config(
        vocab_size=4,
        n_positions=8,
        n_embd=8,
        n_layer=1,
        n_head=1,
        eos_token_id=3,
        bos_token_id=3,
    )
    module = GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
    return Policy(module, tokenizer)


def letters(text: str) -> float:
    """Every b is worth 1, every c 10."""
    return text.count("b") + 10.0 * text.count("c")


def test_the_best_of_each_prompt_is_the_one_that_scores_most(policy):
    reward = Scored(letters)
    winners = best_of_n(policy, reward, ["a", "b"], n=6, sampling=TWO, seed=1)
    written = policy.complete(["a", "b"], samples=6, sampling=TWO, seed=1)
    assert len(winners) == 2
    for number, best in enumerate(winners):
        all_of = written[6 * number : 6 * number + 6]
        expected = [
            letters(c.prompt + c.text) if c.text else float("-inf") for c in all_of
        ]
        assert list(best.scores) == expected
        assert best.score == max(expected)
        assert best.completion == all_of[expected.index(max(expected))]
    assert len(set(winners[0].scores)) > 2  # or the test would not be one


def test_an_empty_completion_is_never_the_best_however_good_its_prompt(policy):
    """Where every letter costs, a prompt with nothing behind it would win."""
    reward = Scored(lambda text: -float(len(text)))
    winners = best_of_n(policy, reward, ["b b"] * 20, n=4, sampling=TWO)
    assert any(float("-inf") in best.scores for best in winners)
    for best in winners:
        assert best.completion.text or set(best.scores) == {float("-inf")}
        assert all(score <= -4 for score in best.scores)
    assert "b b" not in {example.text for example in reward.asked}


def test_the_best_of_one_is_that_one(policy):
    winners = best_of_n(policy, Scored(letters), "a", n=1, sampling=TWO, seed=3)
    assert [best.completion for best in winners] == policy.complete(
        "a", sampling=TWO, seed=3
    )
    assert winners[0].scores == (winners[0].score,)


def test_where_all_are_empty_the_first_is_kept_and_nothing_is_scored(policy):
    reward = Scored(letters)
    sampling = Sampling(stop=("a", "b", "c"))
    winners = best_of_n(policy, reward, "a", n=3, sampling=sampling)
    assert winners[0].scores == (float("-inf"),) * 3
    assert (
        winners[0].completion == policy.complete("a", samples=3, sampling=sampling)[0]
    )
    assert reward.asked == []


def test_parts_of_a_list_write_what_the_whole_does(policy):
    whole = best_of_n(
        policy, Scored(letters), ["a", "b", "c"], n=3, sampling=TWO, seed=2
    )
    assert (
        best_of_n(
            policy, Scored(letters), ["b", "c"], n=3, sampling=TWO, seed=2, first=1
        )
        == whole[1:]
    )


def test_the_mean_of_the_best_is_the_mean_of_a_maximum(policy):
    """One letter or none, worth 0, 1, 10 or −∞, 1/4 each. Best of 2: P(10) = 1 − (3/4)² = 7/16."""
    winners = best_of_n(
        policy, Scored(letters), [""] * 4000, n=2, sampling=Sampling(max_tokens=1)
    )
    shares = {
        value: sum(best.score == value for best in winners) / 4000
        for value in (10.0, 1.0, 0.0, float("-inf"))
    }
    # the spread of a share is at most √(1/4 / 4000) = 0.008
    assert shares == pytest.approx(
        {10.0: 7 / 16, 1.0: 5 / 16, 0.0: 3 / 16, float("-inf"): 1 / 16}, abs=0.032
    )


@pytest.mark.parametrize("n", [0, -1])
def test_the_best_of_none_is_one_line(policy, n):
    with pytest.raises(UsageError, match=rf"^best of {n}: "):
        best_of_n(policy, Scored(letters), "a", n=n)


def test_a_reward_reads_what_a_reader_sees():
    def of(prompt: str | tuple[Message, ...]) -> Example:
        return to_be_scored(Completion(prompt, " fine ", (), (), "end"))

    user, system = Message("user", "Good?"), Message("system", "Be kind.")
    assert of("All is") == Example("All is fine ")
    assert of((user,)) == Example("fine", "Good?")
    assert of((system, user)) == Example("fine", (system, user))
