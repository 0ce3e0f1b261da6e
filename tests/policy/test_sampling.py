"""Choosing the next token: against transformers' filters, and small distributions by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tastemaker.errors import UsageError
from tastemaker.gpt import Sampling, choose, filtered, penalised, uniforms

LARGEST = 1 - 2**-53  # the largest uniform number there is
HALF_QUARTER = torch.tensor([[0.125, 0.5, 0.125, 0.25]]).log()
UNLIKE = st.lists(st.integers(-40, 40), min_size=1, max_size=50, unique=True)
ALIKE = st.lists(st.integers(-3, 3), min_size=1, max_size=50)


def transformers_keep(
    logits: Tensor, before: Sequence[int], sampling: Sampling
) -> Tensor:
    """The probabilities that are left by transformers' processors, in their order."""
    ids = torch.tensor([list(before)], dtype=torch.long)
    scores = (
        RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)(ids, logits)
        if before
        else logits
    )
    scores = TemperatureLogitsWarper(sampling.temperature)(ids, scores)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(ids, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(ids, scores)
    if sampling.min_p > 0:
        scores = MinPLogitsWarper(sampling.min_p)(ids, scores)
    return torch.softmax(scores, -1)


def we_keep(logits: Tensor, before: Sequence[int], sampling: Sampling) -> Tensor:
    stands = torch.zeros(logits.shape, dtype=torch.bool)
    stands[:1, list(before)] = True
    scaled = (
        penalised(logits, stands, sampling.repetition_penalty) / sampling.temperature
    )
    return torch.softmax(filtered(torch.log_softmax(scaled, -1), sampling), -1)


def is_on_a_border(logits: Tensor, sampling: Sampling) -> bool:
    """Whether rounding alone decides which side of top_p or min_p a token is on."""
    likely = (
        torch.softmax(logits.double()[0] / sampling.temperature, -1)
        .sort(descending=True)
        .values
    )
    likely = likely[: sampling.top_k or None]
    likely = likely / likely.sum()
    near_p = (
        (likely.cumsum(0) - sampling.top_p).abs() < 1e-5
    ).any() and sampling.top_p < 1
    return bool(near_p or ((likely / likely[0] - sampling.min_p).abs() < 1e-5).any())


@given(
    UNLIKE,
    st.lists(st.integers(0, 49), max_size=5),
    st.floats(0.2, 3),
    st.integers(0, 60),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.sampled_from([0.5, 1.0, 1.3, 2.0]),
)
@example(
    [8.0, 0.0, 4.0, -3.0], [], 1.0, 0, 1.0, 0.1, 1.0
)  # min_p alone has a way of its own
def test_filters_leave_what_those_of_transformers_leave(
    values, ids, temperature, top_k, top_p, min_p, penalty
):
    logits = torch.tensor([values]) / 8
    before = [i % len(values) for i in ids]
    sampling = Sampling(temperature, top_k, top_p, min_p, penalty)
    stands = torch.zeros(logits.shape, dtype=torch.bool)
    stands[0, before] = True
    after = penalised(logits, stands, penalty)
    assume(len(set(after[0].tolist())) == len(values))  # ties have a test of their own
    assume(not is_on_a_border(after, sampling))
    ours, theirs = (
        we_keep(logits, before, sampling),
        transformers_keep(logits, before, sampling),
    )
    assert torch.equal(ours > 0, theirs > 0)
    assert torch.allclose(ours, theirs, atol=1e-6)


@given(ALIKE, st.floats(0.2, 3), st.floats(0.01, 1), st.floats(0, 1))
def test_among_tokens_that_are_as_likely_shares_keep_as_many_as_transformers(
    values, temperature, top_p, min_p
):
    logits = torch.tensor([values]) / 2
    sampling = Sampling(temperature, top_p=top_p, min_p=min_p)
    assume(not is_on_a_border(logits, sampling))
    ours, theirs = (
        we_keep(logits, (), sampling),
        transformers_keep(logits, (), sampling),
    )
    assert torch.allclose(ours.sort().values, theirs.sort().values, atol=1e-6)


@given(ALIKE, st.integers(1, 60))
def test_top_k_keeps_k_also_where_tokens_are_as_likely(values, top_k):
    """transformers keeps every token as likely as the k-th, so that its top 1 may be several; ours
    is one.
    """
    logits = torch.tensor([values]) / 2
    ours = we_keep(logits, (), Sampling(top_k=top_k))[0] > 0
    theirs = transformers_keep(logits, (), Sampling(top_k=top_k))[0] > 0
    assert int(ours.sum()) == min(top_k, len(values))
    assert not (ours & ~theirs).any()
    assert (logits[0][theirs & ~ours] == logits[0][ours].min()).all()


@pytest.mark.parametrize(
    ("sampling", "left"),
    [
        (Sampling(), [1 / 8, 1 / 2, 1 / 8, 1 / 4]),
        (Sampling(top_k=2), [0, 2 / 3, 0, 1 / 3]),
        (Sampling(top_k=1), [0, 1, 0, 0]),
        (Sampling(top_p=0.4), [0, 1, 0, 0]),  # the likeliest alone holds 0.5
        (
            Sampling(top_p=0.7),
            [0, 2 / 3, 0, 1 / 3],
        ),  # 0.5 is too little, 0.5 + 0.25 is enough
        (Sampling(min_p=0.5), [0, 2 / 3, 0, 1 / 3]),  # at least 0.5 · 0.5
        (Sampling(min_p=0.2), [1 / 8, 1 / 2, 1 / 8, 1 / 4]),
        (
            Sampling(top_k=2, top_p=0.6),
            [0, 1, 0, 0],
        ),  # of the two that are left the likelier holds 2/3
    ],
)
def test_filters_by_hand(sampling, left):
    assert torch.allclose(
        we_keep(HALF_QUARTER, (), sampling),
        torch.tensor([left], dtype=torch.float32),
        atol=1e-6,
    )


def test_a_penalty_divides_what_is_positive_and_multiplies_what_is_negative():
    logits = torch.tensor([[3.0, -3.0, 0.0, 3.0]])
    is_repeated = torch.tensor([[True, True, True, False]])
    assert penalised(logits, is_repeated, 1.5).tolist() == [[2.0, -4.5, 0.0, 3.0]]


def test_the_token_is_where_the_cumulative_distribution_passes_the_number():
    # cumulative: 1/8, 5/8, 6/8, 1; all of them are exact in binary
    logits = torch.tensor([[0.125, 0.5, 0.125, 0.25]]).log().repeat(6, 1)
    numbers = torch.tensor([0.0, 0.12, 0.13, 0.62, 0.63, LARGEST], dtype=torch.float64)
    tokens, log_probs = choose(logits, numbers, Sampling())
    assert tokens.tolist() == [0, 0, 1, 1, 2, 3]
    assert log_probs.exp().tolist() == pytest.approx(
        [0.125, 0.125, 0.5, 0.5, 0.125, 0.25]
    )


def test_log_probs_are_those_at_the_temperature_filters_and_penalty_left_out():
    # at temperature 0.5 probabilities are squared: 1/64, 16/64, 1/64, 4/64, which sum to 22/64
    is_repeated = torch.tensor([[False, True, False, False]])
    sampling = Sampling(temperature=0.5, top_k=1, repetition_penalty=1.1)
    token, log_prob = choose(
        HALF_QUARTER, torch.tensor([0.3], dtype=torch.float64), sampling, is_repeated
    )
    assert token.tolist() == [1]
    assert log_prob.item() == pytest.approx(math.log(16 / 22), abs=1e-6)


@given(
    UNLIKE,
    st.sampled_from([0.0, 2**-53, 0.5, LARGEST]),
    st.integers(1, 5),
    st.sampled_from([0.3, 1.0]),
)
def test_what_a_filter_leaves_out_is_never_chosen(values, number, top_k, temperature):
    logits = torch.tensor([values]) / 2
    sampling = Sampling(temperature, top_k=top_k)
    token, _ = choose(logits, torch.tensor([number], dtype=torch.float64), sampling)
    assert int(token) in logits[0].topk(min(top_k, len(values))).indices.tolist()


@pytest.mark.parametrize("number", [0.0, LARGEST])
@pytest.mark.parametrize("likely", [0, 2, 4])
def test_a_token_without_probability_is_never_chosen(number, likely):
    logits = torch.full((1, 5), float("-inf"))
    logits[0, likely] = -7.0
    token, log_prob = choose(
        logits, torch.tensor([number], dtype=torch.float64), Sampling()
    )
    assert (int(token), float(log_prob)) == (likely, 0.0)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(temperature=0.7), Sampling(top_p=0.8), Sampling(top_k=3)],
)
def test_tokens_come_as_often_as_they_are_likely(sampling):
    logits = torch.tensor([[0.3, -1.0, 1.2, 0.0, -0.4]])
    numbers = uniforms(5, [(0, sample) for sample in range(20_000)], 1)[:, 0]
    tokens, _ = choose(logits.repeat(20_000, 1), numbers, sampling)
    expected = we_keep(logits, (), sampling)[0].double().numpy()
    counts = np.bincount(tokens, minlength=5)
    left = expected > 0
    assert counts[~left].sum() == 0
    assert (
        chisquare(counts[left], 20_000 * expected[left] / expected.sum()).pvalue > 1e-3
    )


@pytest.mark.parametrize("spread", [0.0, 0.3, 4.0])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=20),
        Sampling(top_k=20, top_p=0.9, min_p=0.1),
        Sampling(top_p=0.3),
        Sampling(top_p=0.95),
        Sampling(min_p=0.05),
    ],
    ids=str,
)
def test_of_many_tokens_the_one_is_chosen_where_the_number_falls(sampling, spread):
    """In a flat distribution thousands of tokens are left, in a peaked one a few."""
    random = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(40, 3000, generator=random)
    logits += 1e-3 * torch.rand(40, 3000, generator=random)  # no two are equally likely
    numbers = torch.rand(40, dtype=torch.float64, generator=random)
    tokens, _ = choose(logits, numbers, sampling)
    left = we_keep(logits, (), sampling).double()
    running = left.cumsum(-1)
    end = running.gather(1, tokens[:, None])[:, 0] / running[:, -1]
    start = end - left.gather(1, tokens[:, None])[:, 0] / running[:, -1]
    assert bool((start <= numbers + 1e-5).all())
    assert bool((numbers <= end + 1e-5).all())
    assert bool((end > start).all())


def test_uniform_numbers_depend_on_seed_prompt_and_sample_alone():
    together = uniforms(3, [(0, 0), (7, 1), (1, 7), (0, 1)], 5)
    assert together.dtype == torch.float64
    assert len(set(together.flatten().tolist())) == 20
    for row, place in enumerate([(0, 0), (7, 1), (1, 7), (0, 1)]):
        assert torch.equal(uniforms(3, [place], 5)[0], together[row])
        assert torch.equal(uniforms(3, [place], 9)[0, :5], together[row])
        assert not torch.equal(uniforms(4, [place], 5)[0], together[row])


def test_uniform_numbers_are_uniform_within_rows_and_between_them():
    numbers = uniforms(
        0, [(prompt, sample) for prompt in range(50) for sample in range(20)], 20
    ).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for some in (numbers.ravel(), numbers[:, 0]):
        counts, _ = np.histogram(some, 20, (0, 1))
        assert chisquare(counts).pvalue > 1e-3
    # neighbours are independent: the correlation of 19,000 pairs is within 4 / √19,000 of 0
    assert abs(np.corrcoef(numbers[1:].ravel(), numbers[:-1].ravel())[0, 1]) < 0.03
    assert (
        abs(np.corrcoef(numbers[:, 1:].ravel(), numbers[:, :-1].ravel())[0, 1]) < 0.03
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": 1e-40},  # logits over it are infinite in float32
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"min_p": math.nan},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": math.nan},
        {"repetition_penalty": math.inf},
        {"max_tokens": 0},
        {"stop": ("fine", "")},
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(settings):
    with pytest.raises(UsageError) as caught:
        Sampling(**settings)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    name = next(iter(settings))
    assert name in str(caught.value)


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_the_likeliest_token_has_the_largest_logit_and_is_the_first_of_equal_ones(
    penalty,
):
    """The log-probabilities of 5 and 2,000 are equal: a 32-bit number near −8 has steps of 1e-6."""
    logits = torch.zeros(2, 3000)
    logits[0, 5], logits[0, 2000] = 0.001, 0.001 + 1e-8
    logits[1, 7], logits[1, 9] = 0.5, 0.5
    assert logits[0, 5] < logits[0, 2000]
    assert torch.log_softmax(logits, -1)[0, 5] == torch.log_softmax(logits, -1)[0, 2000]
    sampling = Sampling(top_k=1, repetition_penalty=penalty)
    is_used = torch.zeros(2, 3000, dtype=torch.bool)
    tokens, log_probs = choose(logits, None, sampling, is_used)
    assert tokens.tolist() == [2000, 7]
    assert log_probs[1] == torch.log_softmax(logits, -1)[1, 7]
