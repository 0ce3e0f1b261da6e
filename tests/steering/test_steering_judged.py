"""Judgements that a policy learns from: what is read, and what a step is."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from judged_texts import SHORT, compared
from nano import drawn, nano

from tastemaker.data import (
    Comparison,
    Grade,
    Judgement,
    Label,
    Message,
    Ranking,
    Rating,
)
from tastemaker.errors import DataError
from tastemaker.gpt import Policy
from tastemaker.rl import (
    DPO,
    KL,
    PREFERENCE_AIM,
    JudgedPairs,
    JudgedTexts,
    Limits,
    Scale,
    Scaling,
    TextWorld,
    Watch,
    check_compares,
    read_judged,
)


def world(policy: Policy | None = None, batch: int = 12) -> TextWorld:
    learner, reference = policy or drawn(nano(), 1), drawn(nano(), 2)
    settings: dict[str, Any] = {
        "prompts": ["A"],
        "sampling": SHORT,
        "kl": KL(0.0),
        "scale": Scale(Scaling()),
        "batch": batch,
    }
    return TextWorld(learner, reference, None, samples=1, seed=0, **settings)


def taught(
    judgements: list[Judgement],
    held_out: list[Judgement] | None = None,
    **settings: Any,
) -> JudgedTexts:
    text_world = world(**settings)
    sides = [
        read_judged(j, text_world.policy.reader, 32)[0]
        for j in (judgements, held_out or judgements)
    ]
    return JudgedTexts.of(text_world, *sides, at_once=8192)


def log_ratio(teacher: JudgedTexts, prompt: str, text: str) -> float:
    """log π − log ref of a text with its end token, by the policy's own words."""
    policy, reference = (
        p.log_probs([prompt], [text])[0].sum()
        for p in (teacher.world.policy, teacher.world.reference)
    )
    return float(policy - reference)


# --- what is read


def test_tiers() -> None:
    assert Comparison("a", "b").ranks == (0, 1)
    assert Comparison("a", "b", tie=True).ranks == (0, 0)
    assert Ranking((("a",), ("b", "c")), ("d",)).ranks == (0, 1, 1, 2)
    assert [j.ranks for j in (Label("a", True), Grade("a", 3), Rating("a", 0.5))] == [
        (),
        (),
        (),
    ]


def test_what_a_judgement_is_as_tokens() -> None:
    """The prompt's tokens as steering writes behind it, the text's with its end; no prompt begins a
    text.
    """
    policy = nano()
    reader = policy.reader
    (one, two), left = read_judged(
        [Comparison(" b", " c", prompt="A"), Comparison("b", "c", weight=2.0)],
        reader,
        32,
    )
    assert one.prompt == reader.prompts(["A"])[0]
    assert two.prompt == reader.prompts([""])[0] == reader.start
    assert [list(t) for t in one.texts] == reader.completions([" b", " c"], ended=True)
    assert (one.tiers, one.weight, two.weight) == ([0, 1], 1.0, 2.0)
    assert left == {}
    chats = nano(chats=True).reader
    turns = (Message("user", "A"),)
    assert (
        read_judged([Comparison("b", "c", prompt=turns)], chats, 64)[0][0].prompt
        == chats.prompts([turns])[0]
    )


def test_what_is_left_out_is_counted() -> None:
    """Of a ranking's four texts the long one goes, then of three pairs one is a tie; a comparison
    with a long text goes whole, and so does a tie."""
    long = "A warm and a dull film. " * 9
    judgements = [
        Ranking((("a",), ("b", "c"), (long,))),
        Comparison("a", long),
        Comparison("a", "b", tie=True),
        Comparison("a", "b", weight=0.0),
        Comparison("a", "b"),
    ]
    read, left = read_judged(judgements, nano().reader, 32)
    assert [(judged.tiers, judged.pairs) for judged in read] == [
        ([0, 1, 1], 2),
        ([0, 1], 1),
    ]
    assert left == {
        "of weight 0": 1,
        "texts longer than the 32 tokens that the policy reads": 2,
        "pairs that nobody ordered (ties)": 2,
    }


def test_a_source_that_compares_nothing_is_named() -> None:
    words = r"^here\.csv: 2 labels, 1 grades\b"
    with pytest.raises(DataError, match=words):
        check_compares([Label("a", True), Label("b", False), Grade("a", 3)], "here.csv")
    check_compares([Label("a", True), Comparison("a", "b", tie=True)], "here.csv")


# --- what a step is


def test_a_step_holds_judgements_with_all_their_texts() -> None:
    """12 texts a step at (10·3 + 30·2)/40 = 2.25 texts a judgement are 5.33, so 5 judgements."""
    teacher = taught(compared())
    assert teacher.count == 5
    rollout = teacher.gather(0, 0.0)
    sizes = torch.bincount(rollout.groups).tolist()
    assert len(sizes) == 5
    assert set(sizes) == {2, 3}
    assert [rollout.tiers[rollout.groups == g].tolist() for g in range(5)] == [
        list(range(n)) for n in sizes
    ]
    assert rollout.is_action.sum(1).tolist() == [
        len(t) for t in rollout.trajectories.tokens
    ]
    torch.testing.assert_close(rollout.weights, rollout.is_action / 5)
    again = teacher.gather(0, 0.0)
    assert (
        again.trajectories
        == rollout.trajectories
        != teacher.gather(1, 0.0).trajectories
    )
    times = Counter(
        text
        for step in range(8)
        for text in teacher.gather(step, 0.0).trajectories.tokens
    )
    assert set(times.values()) == {1}
    assert sum(times.values()) == 90, "once around is every text once"


def test_weights_are_one_on_average() -> None:
    teacher = taught([Comparison("a", "b"), Comparison("c", "d", weight=3.0)], batch=4)
    assert sorted(judged.weight for judged in teacher.train) == [0.5, 1.5]
    rollout = teacher.gather(0, 0.0)
    assert sorted(rollout.weights.amax(1).tolist()) == [0.25, 0.25, 0.75, 0.75]


@pytest.mark.parametrize("at_once", [8192, 20, 1])
def test_the_reference_reads_each_text_once_and_alike(at_once: int) -> None:
    text_world = world()
    judged = read_judged(compared(), text_world.policy.reader, 32)[0]
    teacher = JudgedTexts.of(text_world, judged, judged[:1], at_once=at_once)
    rollout = teacher.gather(3, 0.0)
    prompts, texts = zip(
        *((j.prompt, t.tolist()) for j in judged for t in j.texts), strict=True
    )
    log_probs = text_world.reference.log_probs_of(prompts, texts)
    expected = dict(zip(map(tuple, texts), log_probs, strict=True))
    for row, tokens in enumerate(rollout.trajectories.tokens):
        of_text = rollout.reference[row, : len(tokens)].numpy()
        np.testing.assert_allclose(of_text, expected[tokens], atol=1e-4, rtol=1e-4)
    assert rollout.reference[~rollout.is_action].abs().sum() == 0


def test_held_out_figures_by_hand() -> None:
    """A ranking's pairs count like one comparison, a judgement of weight 3 like three; β 0.5."""
    judgements = [
        Ranking((" warm", " dull", " grey"), prompt="A"),
        Comparison(" b", " c", prompt="The", weight=3.0),
        Comparison(" warm film", " d"),
    ]
    for batch in (2, 20):
        teacher = taught(compared(), list(judgements), batch=batch)
        ratios = [
            [log_ratio(teacher, j.prompt or "", t) for t in j.texts] for j in judgements
        ]
        margins = [
            [r[a] - r[b] for a in range(len(r)) for b in range(a + 1, len(r))]
            for r in ratios
        ]
        weights = [j.weight for j in judgements]

        def mean(of: Any, margins: Any = margins, weights: Any = weights) -> float:
            each = [sum(map(of, pairs)) / len(pairs) for pairs in margins]
            return sum(w * x for w, x in zip(weights, each, strict=True)) / sum(weights)

        assert teacher.held_out(DPO(beta=0.5)) == {
            "held_out_preference_loss": pytest.approx(
                mean(lambda m: math.log1p(math.exp(-0.5 * m))), rel=1e-3
            ),
            "held_out_preference_accuracy": pytest.approx(mean(lambda m: m > 0)),
            "held_out_preference_margin": pytest.approx(
                mean(lambda m: 0.5 * m), abs=1e-3
            ),
        }


def test_a_policy_at_its_reference_pays_ln_2() -> None:
    teacher = taught(compared(), policy=drawn(nano(), 2))
    held_out = teacher.held_out(DPO())
    assert held_out["held_out_preference_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert held_out["held_out_preference_margin"] == pytest.approx(0, abs=1e-4)


def test_the_policy_writes_at_a_windows_end_alone() -> None:
    teacher = taught(compared())
    rollout = teacher.gather(0, 0.0)
    assert teacher.to_measure(rollout, is_last=False) is None
    shown = teacher.to_measure(rollout, is_last=True)
    assert shown is not None
    assert (len(shown.texts), shown.scores) == (12, [])


def test_a_loss_that_rises_where_nothing_is_learned() -> None:
    """By 0.16 nats from its lowest while it fell where the policy learns; 0.14, or rising in both,
    is none.
    """
    fine = {"kl": 1.0, "distinct": 1.0, "pairs": 0.5}

    def window(learned: float, held_out: float) -> dict[str, float]:
        return fine | {"preference_loss": learned, "held_out_preference_loss": held_out}

    for last, is_stopped in (
        (window(0.3, 0.66), True),
        (window(0.3, 0.64), False),
        (window(0.6, 0.66), False),
    ):
        looks = Watch(Limits(patience=1), PREFERENCE_AIM)
        looks.begin([], pairs=0.5)
        assert [looks.judge(window(0.69, 0.69)), looks.judge(window(0.5, 0.5))] == [
            None,
            None,
        ]
        assert looks.best == 1
        reason = looks.judge(last)
        assert (reason is not None) == is_stopped
        if reason is not None:
            assert reason.startswith(
                "the held-out preference loss has risen from 0.500 to 0.660 while it fell"
            )


def test_a_judgement_is_read_as_what_it_is() -> None:
    """Pairs of a ranking of three tiers, one of two texts: 1·2 + 1·1 + 2·1."""
    assert JudgedPairs([1], [], [0, 1, 1, 2], 1.0).pairs == 5
