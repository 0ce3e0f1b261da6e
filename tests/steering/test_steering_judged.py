"""Texts that people compared as what a policy learns from: what is read, what each row is, and a
whole run of it.
"""

import json
import math
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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
from tastemaker.errors import DataError, RewardError, UsageError
from tastemaker.gpt import Policy, Sampling
from tastemaker.rl import (
    AGREE,
    DPO,
    KL,
    PPO,
    Judged,
    JudgedTexts,
    Limits,
    Scale,
    Scaling,
    Steered,
    Steering,
    SteerTask,
    TextWorld,
    Watch,
    check_compares,
    read_judged,
    steer,
)

SHORT = Sampling(max_tokens=5)
NEVER = Limits(kl=1e9, distinct=0.0, pairs=0.0, held_out=1e9)
QUICK = Steering(steps=6, batch=12, measured=8, windows=3)
METRICS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
CLOCK = {"seconds", "gathering_seconds", "learning_seconds"}


class Killed(BaseException):
    """What ends a run from outside."""


def compared(count: int = 40) -> list[Judgement]:
    """Comparisons and rankings of short texts, several under each of ten prompts."""
    found: list[Judgement] = []
    for k in range(count):
        prompt, words = (
            f"Film {k % 10}:",
            (f" warm{k} film", f" dull{k}", f" grey{k}, grey"),
        )
        whole: Judgement = (
            Ranking(words, prompt=prompt)
            if k % 4 == 0
            else Comparison(*words[:2], prompt=prompt)
        )
        found.append(whole)
    return found


def world(policy: Policy | None = None, batch: int = 12) -> TextWorld:
    learner, reference = policy or drawn(nano(), 1), drawn(nano(), 2)
    how: dict[str, Any] = {
        "prompts": ["A"],
        "sampling": SHORT,
        "kl": KL(0.0),
        "scale": Scale(Scaling()),
    }
    return TextWorld(learner, reference, None, batch=batch, samples=1, seed=0, **how)


def taught(
    judgements: list[Judgement], held_out: list[Judgement] | None = None, **how: Any
) -> JudgedTexts:
    own = world(**how)
    sides = [
        read_judged(j, own.policy.reader, 32)[0]
        for j in (judgements, held_out or judgements)
    ]
    return JudgedTexts.of(own, *sides, at_once=8192)


def log_ratio(teacher: JudgedTexts, prompt: str, text: str) -> float:
    """log π − log ref of a text with its end token, by the policy's own words."""
    found = [
        p.log_probs([prompt], [text])[0].sum()
        for p in (teacher.world.policy, teacher.world.reference)
    ]
    return float(found[0] - found[1])


# --- what is read ---


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
    said = [
        Ranking((("a",), ("b", "c"), (long,))),
        Comparison("a", long),
        Comparison("a", "b", tie=True),
        Comparison("a", "b", weight=0.0),
        Comparison("a", "b"),
    ]
    found, left = read_judged(said, nano().reader, 32)
    assert [(judged.tiers, judged.pairs) for judged in found] == [
        ([0, 1, 1], 2),
        ([0, 1], 1),
    ]
    assert left == {
        "of weight 0": 1,
        "texts longer than the 32 tokens that the policy reads": 2,
        "pairs that nobody ordered (ties)": 2,
    }


def test_a_source_that_compares_nothing_is_named() -> None:
    words = r"^here\.csv: 2 labels, 1 grades, .*no pairs"
    with pytest.raises(DataError, match=words):
        check_compares([Label("a", True), Label("b", False), Grade("a", 3)], "here.csv")
    check_compares([Label("a", True), Comparison("a", "b", tie=True)], "here.csv")


# --- what a step is ---


def test_a_step_holds_judgements_with_all_their_texts() -> None:
    """12 texts a step at (10·3 + 30·2)/40 = 2.25 texts a judgement are 5.33, so 5 judgements."""
    teacher = taught(compared())
    assert teacher.count == 5
    told = teacher.gather(0, 0.0)
    sizes = torch.bincount(told.groups).tolist()
    assert len(sizes) == 5
    assert set(sizes) == {2, 3}
    assert [told.tiers[told.groups == g].tolist() for g in range(5)] == [
        list(range(n)) for n in sizes
    ]
    assert told.is_action.sum(1).tolist() == [len(t) for t in told.trajectories.tokens]
    torch.testing.assert_close(told.weights, told.is_action / 5)
    again = teacher.gather(0, 0.0)
    assert (
        again.trajectories == told.trajectories != teacher.gather(1, 0.0).trajectories
    )
    seen = Counter(
        prompt
        for step in range(8)
        for prompt in teacher.gather(step, 0.0).trajectories.tokens
    )
    assert set(seen.values()) == {1}
    assert sum(seen.values()) == 90, "once around is every text once"


def test_weights_are_one_on_average() -> None:
    teacher = taught([Comparison("a", "b"), Comparison("c", "d", weight=3.0)], batch=4)
    assert sorted(judged.weight for judged in teacher.train) == [0.5, 1.5]
    told = teacher.gather(0, 0.0)
    assert sorted(told.weights.amax(1).tolist()) == [0.25, 0.25, 0.75, 0.75]


@pytest.mark.parametrize("at_once", [8192, 20, 1])
def test_the_reference_reads_each_text_once_and_alike(at_once: int) -> None:
    own = world()
    judged = read_judged(compared(), own.policy.reader, 32)[0]
    teacher = JudgedTexts.of(own, judged, judged[:1], at_once=at_once)
    told = teacher.gather(3, 0.0)
    prompts, texts = zip(
        *((j.prompt, t.tolist()) for j in judged for t in j.texts), strict=True
    )
    expected = dict(
        zip(map(tuple, texts), own.reference.log_probs_of(prompts, texts), strict=True)
    )
    for row, tokens in enumerate(told.trajectories.tokens):
        found = told.reference[row, : len(tokens)].numpy()
        np.testing.assert_allclose(found, expected[tokens], atol=1e-4, rtol=1e-4)
    assert told.reference[~told.is_action].abs().sum() == 0


def test_held_out_figures_by_hand() -> None:
    """A ranking's pairs count like one comparison, a judgement of weight 3 like three; β 0.5."""
    said = [
        Ranking((" warm", " dull", " grey"), prompt="A"),
        Comparison(" b", " c", prompt="The", weight=3.0),
        Comparison(" warm film", " d"),
    ]
    for batch in (2, 20):
        teacher = taught(compared(), list(said), batch=batch)
        ratios = [
            [log_ratio(teacher, j.prompt or "", t) for t in j.texts] for j in said
        ]
        margins = [
            [r[a] - r[b] for a in range(len(r)) for b in range(a + 1, len(r))]
            for r in ratios
        ]
        weights = [j.weight for j in said]

        def mean(of: Any, margins: Any = margins, weights: Any = weights) -> float:
            each = [sum(map(of, own)) / len(own) for own in margins]
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
    found = teacher.held_out(DPO())
    assert found["held_out_preference_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert found["held_out_preference_margin"] == pytest.approx(0, abs=1e-4)


def test_the_policy_writes_at_a_windows_end_alone() -> None:
    teacher = taught(compared())
    told = teacher.gather(0, 0.0)
    assert teacher.to_measure(told, is_last=False) is None
    shown = teacher.to_measure(told, is_last=True)
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
        looks = Watch(Limits(patience=1), AGREE)
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


# --- a whole run ---


def steered(judgements: Any = None, **how: Any) -> Steered:
    settings: dict[str, Any] = {
        "algorithm": DPO(lr=1e-2),
        "sampling": SHORT,
        "steering": QUICK,
        "limits": NEVER,
    }
    return steer(
        nano(),
        judgements=compared() if judgements is None else judgements,
        **settings | how,
    )


def weights(policy: Policy) -> bytes:
    return b"".join(t.numpy().tobytes() for t in policy.module.state_dict().values())


def metrics(folder: Path) -> list[dict[str, float]]:
    rows = [
        json.loads(line)
        for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


def figures(found: Steered) -> dict[str, Any]:
    return {k: v for k, v in found.figures.items() if k not in CLOCK}


def test_a_run_from_judgements_alone(tmp_path: Path) -> None:
    lines: list[str] = []
    found = steered(out=tmp_path / "run", say=lines.append)
    assert [row["step"] for row in metrics(tmp_path / "run")] == [2, 4, 6], (
        "a line a window"
    )
    steered(out=tmp_path / "each", steering=replace(QUICK, windows=6))
    told, each = (
        [row["pairs_told"] for row in metrics(tmp_path / name)]
        for name in ("run", "each")
    )
    assert told == [(a + b) / 2 for a, b in zip(each[::2], each[1::2], strict=True)], (
        "means over its steps alone"
    )
    names = {
        "preference_loss",
        "preference_accuracy",
        "preference_margin",
        "pairs_told",
        "kl",
        "distinct",
        "entropy",
    }
    names |= {f"held_out_preference_{x}" for x in ("loss", "accuracy", "margin")}
    for row in metrics(tmp_path / "run"):
        assert names <= row.keys()
        assert not {"score", "reward", "held_out"} & row.keys()
    defined = set(re.findall(r"`([a-z_0-9]+)`", METRICS.read_text(encoding="utf-8")))
    assert {name for row in metrics(tmp_path / "run") for name in row} <= defined
    kept = json.loads((tmp_path / "run" / "steering.json").read_text())
    assert {
        kept[f"{n}_{w}"] for n in ("score", "held_out") for w in ("before", "after")
    } == {None}
    assert kept["held_out_preference_loss_before"] == pytest.approx(
        math.log(2), abs=1e-5
    )
    assert kept["held_out_preference_loss_after"] < 0.6
    assert kept["held_out_preference_accuracy_after"] > 0.9
    assert set(kept["samples"][0]) == {"prompt", "before", "after"}
    assert kept["samples"][0]["prompt"].startswith("Film ")
    assert weights(Policy.load(tmp_path / "run")) == weights(found.policy)
    assert weights(Policy.load(tmp_path / "run" / "last")) != weights(found.policy)
    assert "held-out loss 0.693 → " in str(found)
    assert "pairs of 36 judgements to learn from, " in lines[0]
    assert lines[0].endswith(" pairs of 4 judgements to measure; left out: nothing")
    assert lines[1] == "6 steps of 5 judgements: 0.8 epochs"


def test_a_reward_beside_judgements_only_watches(tmp_path: Path) -> None:
    plain = steered()
    found = steered(reward="length", held_out="repetition", out=tmp_path / "run")
    assert weights(found.policy) == weights(plain.policy)
    row = metrics(tmp_path / "run")[0]
    assert row["score"] == row["length"]
    assert {"held_out", "held_out_preference_loss"} <= row.keys()
    assert found.figures["score_after"] == found.figures["length_after"]
    assert {
        1 <= sample[f"score_{when}"] <= 5
        for sample in found.samples
        for when in ("before", "after")
    } == {True}


@pytest.mark.parametrize("line", ["step    2", "step    4"])
def test_a_run_that_was_broken_off_ends_in_the_same_bits(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(said: str) -> None:
        if said.startswith(line):
            raise Killed

    expected = steered(out=tmp_path / "whole")
    monkeypatch.setattr(SteerTask, "checkpoint_seconds", 0.0)
    with pytest.raises(Killed):
        steered(out=tmp_path / "torn", say=kill)
    found = steered(out=tmp_path / "torn", resume=True)
    assert weights(found.policy) == weights(expected.policy)
    assert metrics(tmp_path / "torn") == metrics(tmp_path / "whole")
    assert figures(found) == figures(expected)
    assert figures(steered(out=tmp_path / "torn", resume=True)) == figures(expected), (
        "a finished run is read back"
    )
    with pytest.raises(
        UsageError, match=r"^--resume needs the same command: judgements was"
    ):
        steered(compared(41), out=tmp_path / "torn", resume=True)


def test_a_reward_that_fails_keeps_the_finished_steps(tmp_path: Path) -> None:
    """Asked before, at steps 2, 4 and 6, and after: the third time three steps are finished."""
    asked: list[int] = []

    def failing(prompts: Any, texts: Any) -> list[float]:
        asked.append(1)
        return [0.0] * len(texts) if len(asked) != 3 else [math.nan] * len(texts)

    with pytest.raises(RewardError, match="returned nan"):
        steered(reward=failing, out=tmp_path / "torn")
    assert (tmp_path / "torn" / "run" / "checkpoint-00000003").is_dir()
    found = steered(reward=failing, out=tmp_path / "torn", resume=True)
    assert weights(found.policy) == weights(steered().policy)


def test_the_best_window_is_by_what_was_held_out() -> None:
    """Coin flips about random strings can only be learned by heart: what is held out gets worse."""
    draw = random.Random(0)
    coins: list[Judgement] = [
        Comparison(*("".join(draw.choices("abcdef", k=6)) for _ in "ab"))
        for _ in range(40)
    ]
    how = {
        "steering": Steering(steps=40, batch=72, measured=4, windows=20),
        "algorithm": DPO(lr=3e-2, beta=1.0),
    }
    found = steered(coins, limits=Limits(kl=1e9, distinct=0.0, pairs=0.0), **how)
    assert found.stopped_because.startswith(
        "the held-out preference loss has risen from "
    )
    assert found.figures["best_step"] < found.figures["steps"] < 40


def test_parts_that_contradict_are_refused() -> None:
    def fails(error: type[Exception], words: str, **how: Any) -> None:
        with pytest.raises(error, match=words):
            steered(**how)

    fails(
        UsageError,
        r"^ppo learns from what it writes, not from judgements\. Choose one that can \(dpo\)",
        algorithm=PPO(),
    )
    fails(UsageError, "KL is not paid: leave them out", kl=KL(0.1))
    fails(UsageError, "none to scale", scaling=Scaling("none"))
    fails(UsageError, r"held_out_share 1\.0", steering={"held_out_share": 1.0})
    fails(
        DataError,
        r"^the judgements: no judgements, and nothing that compares",
        judgements=[],
    )
    fails(
        DataError,
        r"^the judgements: 3 labels, and nothing",
        judgements=[Label(f"film {k}", True) for k in range(3)],
    )
    fails(DataError, "one side would be empty", judgements=[Comparison("a", "b")])
    long = [Comparison(f"{k} " * 40, "b", prompt=str(k)) for k in range(20)]
    fails(
        DataError,
        r"no pair is left .* 20 texts longer than the 32 tokens",
        judgements=long,
    )
    with pytest.raises(
        UsageError, match=r"^nothing to learn from: give a reward, or judgements"
    ):
        steer(nano())


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_to_write_the_letter_that_people_prefer(seed: int) -> None:
    """Of two strings of six letters the one with more a's was preferred; the strings were not
    written by the policy.

    Few steps: with many more, DPO makes strings that nobody judged likelier than either.
    """
    draw = random.Random(seed)
    strings = ["".join(draw.choices("abcd", k=6)) for _ in range(400)]
    pairs = [
        sorted(pair, key=lambda s: -s.count("a"))
        for pair in zip(strings[::2], strings[1::2], strict=True)
    ]
    said = [Comparison(a, b) for a, b in pairs if a.count("a") > b.count("a")]
    how = {
        "steering": Steering(steps=8, batch=64, measured=64, windows=4),
        "sampling": Sampling(max_tokens=6),
    }
    found = steer(
        nano(seed=seed), lambda p, t: [x.count("a") / max(len(x), 1) for x in t],
        judgements=said, seed=seed, algorithm=DPO(lr=1e-2), limits=NEVER, **how,
    )  # fmt: skip
    assert found.figures["score_before"] < 0.1
    assert found.figures["score_after"] > 0.2
    assert found.figures["held_out_preference_accuracy_after"] > 0.9


def test_a_judgement_is_read_as_what_it_is() -> None:
    """Pairs of a ranking of three tiers, one of two texts: 1·2 + 1·1 + 2·1."""
    assert Judged([1], [], [0, 1, 1, 2], 1.0).pairs == 5
