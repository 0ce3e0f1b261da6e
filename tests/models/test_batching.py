"""Batches lose nothing, repeat nothing, keep to their budget and hold almost no padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.errors import UsageError
from tastemaker.fast import Batch, by_length, collate, training_steps, whole_units

LENGTHS = st.lists(st.integers(1, 600), max_size=200)


def test_collate_pads_on_the_right():
    batch = collate([[5, 6, 7], [8]], pad_id=9)
    assert batch.ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.is_text.tolist() == [[True, True, True], [True, False, False]]
    assert (batch.ids.dtype, batch.is_text.dtype) == (torch.int64, torch.bool)
    assert batch.padding == pytest.approx(2 / 6)
    assert not batch.is_full


def test_collate_pads_on_the_left_and_counts_positions_from_the_first_token():
    batch = collate([[5, 6, 7], [8]], pad_id=9, side="left")
    assert batch.ids.tolist() == [[5, 6, 7], [9, 9, 8]]
    assert batch.is_text.tolist() == [[True, True, True], [False, False, True]]
    assert batch.positions.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_a_full_batch_has_no_padding():
    batch = collate([np.array([1, 2], dtype=np.int32), [3, 4]], pad_id=0)
    assert batch.is_full
    assert batch.padding == 0


def test_a_pad_id_inside_a_text_is_text():
    assert collate([[0, 0], [0]], pad_id=0).is_text.tolist() == [
        [True, True],
        [True, False],
    ]


def test_to_keeps_everything():
    batch = collate([[1, 2], [3]], pad_id=0, side="left")
    moved = batch.to("cpu")
    assert isinstance(moved, Batch)
    assert torch.equal(moved.ids, batch.ids)
    assert (moved.lengths, moved.side) == ((2, 1), "left")


def test_by_length_by_hand():
    # sorted: 9 (3), 5 (0), 4 (2), 4 (4), 1 (1); budget 10: 9 alone; 5+5; 4 and 1 share rows of 4 (2
    # × 4 ≤ 10)
    assert by_length([5, 1, 4, 9, 4], batch_tokens=10) == [[3], [0, 2], [4, 1]]


@given(LENGTHS, st.integers(1, 2000))
def test_by_length_loses_nothing_and_keeps_to_the_budget(lengths, budget):
    batches = by_length(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    assert [lengths[i] for batch in batches for i in batch] == sorted(
        lengths, reverse=True
    )


def test_a_budget_without_room_is_refused():
    with pytest.raises(UsageError, match="batch_tokens is 0"):
        by_length([3], 0)


@given(
    LENGTHS, st.integers(1, 9), st.integers(0, 99), st.integers(0, 3), st.integers(1, 7)
)
def test_an_epoch_holds_every_text_once(lengths, batch_size, seed, epoch, pool):
    steps = training_steps(
        lengths, batch_size=batch_size, seed=seed, epoch=epoch, pool=pool
    )
    assert sorted(i for step in steps for i in step) == list(range(len(lengths)))
    assert len(steps) == -(-len(lengths) // batch_size)
    assert sum(len(step) != batch_size for step in steps) <= 1
    assert steps == training_steps(
        lengths, batch_size=batch_size, seed=seed, epoch=epoch, pool=pool
    )


def test_epochs_and_seeds_differ():
    def steps(seed: int, epoch: int) -> list[list[int]]:
        return training_steps(range(1, 101), batch_size=4, seed=seed, epoch=epoch)

    assert steps(0, 0) != steps(0, 1)
    assert steps(0, 0) != steps(1, 0)
    assert steps(0, 1) != steps(1, 0)


def test_the_steps_of_a_pool_are_not_in_order_of_length():
    lengths = list(range(1, 201))
    means = [
        np.mean([lengths[i] for i in step])
        for step in training_steps(lengths, batch_size=10, seed=0, epoch=0)
    ]
    assert means != sorted(means)
    assert (
        max(
            np.ptp([lengths[i] for i in step])
            for step in training_steps(lengths, batch_size=10, seed=0, epoch=0)
        )
        == 9
    )


@given(LENGTHS.filter(bool), st.integers(1, 2000), st.randoms())
def test_parts_keep_the_order_of_whole_units_under_the_budget(tokens, budget, random):
    step = random.sample(range(len(tokens)), random.randint(1, len(tokens)))
    parts = whole_units(step, tokens, budget)
    assert [i for part in parts for i in part] == step
    for part in parts:
        assert len(part) == 1 or sum(tokens[i] for i in part) <= budget


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 20))
def test_steps_of_units_hold_every_unit_once_and_at_most_so_many_texts(
    sizes, batch_size
):
    lengths = [7 * size for size in sizes]
    steps = training_steps(lengths, batch_size=batch_size, seed=1, epoch=0, sizes=sizes)
    assert sorted(i for step in steps for i in step) == list(range(len(sizes)))
    assert all(
        len(step) == 1 or sum(sizes[i] for i in step) <= batch_size for step in steps
    )


@given(LENGTHS.filter(bool), st.integers(64, 5000))
def test_batches_of_much_unlike_lengths_are_cut_where_padding_grows(lengths, budget):
    batches = by_length(lengths, budget, most_padding=0.05)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        held = [lengths[i] for i in batch]
        assert len(batch) == 1 or len(batch) * max(held) <= budget
        before = held[
            :-1
        ]  # with its last text a batch may pass the share only while it is not worth a pass
        if before and sum(before) >= 1024:
            assert sum(held) >= 0.95 * len(held) * max(held)


def test_under_five_percent_of_training_on_imdb_is_padding(shared_data):
    # token lengths of IMDB reviews, approximated by characters / 4.4 and cut at 512, from the real
    # archive
    import tarfile

    lengths = []
    with tarfile.open(shared_data / "aclImdb.tar.gz") as archive:
        for member in archive:
            if (
                member.isfile()
                and member.name.endswith(".txt")
                and "/unsup/" not in member.name
            ):
                lengths.append(min(512, max(3, round(member.size / 4.4))))
            if len(lengths) == 5000:
                break
    places = texts = 0
    for step in training_steps(lengths, batch_size=32, seed=0, epoch=0):
        for part in by_length([lengths[i] for i in step], 8192, most_padding=0.05):
            places += len(part) * max(lengths[step[i]] for i in part)
            texts += sum(lengths[step[i]] for i in part)
    assert 0 < 1 - texts / places < 0.05
