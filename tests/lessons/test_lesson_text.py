"""Lesson 7 steers a GPT, and the library's pieces give the numbers that lesson 6's give."""

import sys

import pytest
import torch
from lesson_files import LESSONS

import tastemaker as tm


@pytest.fixture
def lesson(monkeypatch):
    monkeypatch.syspath_prepend(str(LESSONS))
    import lesson7_from_cartpole_to_text as lesson7

    yield lesson7
    for name in ("lesson6_ppo", "lesson7_from_cartpole_to_text"):
        sys.modules.pop(name, None)


def test_advantages_are_equal(lesson):
    """Rows of 3, 1 and 4 tokens; γ = λ = 1: A_t is what is still to come, less V_t."""
    is_action = torch.arange(4) < torch.tensor([[3], [1], [4]])
    r, V = (
        torch.randn(3, 4, generator=torch.Generator().manual_seed(s)) * is_action
        for s in (0, 1)
    )
    one, other = (lesson.advantages(r, V, is_action, lesson6=x) for x in (True, False))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one[1, 0], r[1, 0] - V[1, 0])
    torch.testing.assert_close(one[0, 1], r[0, 1] + r[0, 2] - V[0, 1])
    assert (one[~is_action] == 0).all()


def test_costs_are_equal(lesson):
    now, before, A = (
        torch.randn(50, generator=torch.Generator().manual_seed(s)) for s in (0, 1, 2)
    )
    torch.testing.assert_close(
        *(lesson.cost(now, before, A, lesson6=x) for x in (True, False))
    )


def test_a_run_with_lesson_6_is_the_same_run(lesson):
    of_lesson6, of_library = (
        lesson.train(0, lesson6=choice, reviews=300, rollouts=3)
        for choice in (True, False)
    )
    assert of_lesson6 == pytest.approx(of_library, rel=1e-4)
    assert of_lesson6["kl"] > 0.1, "it has moved"


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """The folder of a GPT that has learned from fewer reviews than the lesson's."""
    folder = tmp_path_factory.mktemp("writer") / "gpt"
    tm.pretrain(tm.Documents(["playground:en:2000"]), out=folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_it_learns_to_write_well(lesson, writer, monkeypatch, seed):
    """From a GPT that is there already, in a third of the rollouts."""
    monkeypatch.setattr(tm, "pretrain", lambda *_, **__: tm.Policy.load(writer))
    result = lesson.train(seed, lesson6=False, rollouts=10)
    assert result["score_after"] > result["score_before"] + 0.25
