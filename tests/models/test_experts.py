"""Experts: a backbone for each source of judgements, mixed by whose the prompt is."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ensembles import Member

import tastemaker as tm
from tastemaker.reward import Experts, Router, fit_router

WORDS = ["lamp", "river", "stone", "cloud", "garden", "paper", "window", "bread"]
ASKED = {"long": "please explain the {}", "short": "name one {}"}
"""Whose judges want which length, and how their prompts begin."""


def compared(source: str, count: int, seed: int) -> list[tm.Comparison]:
    """Comparisons of a long answer and a short one of the same words, which each source prefers as
    it is named.
    """
    draw = random.Random(f"{source} {seed}")
    comparisons = []
    for number in range(count):
        prompt = f"{ASKED[source].format(draw.choice(WORDS))} number {number} {seed}"
        word = draw.choice(WORDS)
        long, short = f"it is a {word} and so on and so on", f"a {word}"
        better, worse = (long, short) if source == "long" else (short, long)
        comparisons.append(tm.Comparison(better, worse, prompt=prompt, source=source))
    return comparisons


def both(count: int, seed: int) -> list[tm.Comparison]:
    return [*compared("long", count, seed), *compared("short", count, seed)]


def right(model: tm.RewardModel, judged: list[tm.Comparison]) -> float:
    better, worse = (model.score([j.examples[k] for j in judged]) for k in (0, 1))
    return sum(a > b for a, b in zip(better, worse, strict=True)) / len(judged)


@pytest.fixture(scope="module")
def router() -> Router:
    return fit_router(
        {name: [j.prompt for j in compared(name, 60, 0)] for name in ASKED}
    )


def test_shares_are_probabilities_and_know_whose_a_prompt_is(router: Router) -> None:
    prompts = [
        "please explain the moon",
        "name one animal",
        None,
        "please explain the moon",
        "zzz",
    ]
    shares = router.shares(prompts)
    assert router.sources == ("long", "short")
    np.testing.assert_allclose(shares.sum(1), 1)
    assert shares[0, 0] > 0.9
    assert shares[1, 1] > 0.9
    np.testing.assert_array_equal(shares[0], shares[3])
    usual = np.exp(router.intercepts) / np.exp(router.intercepts).sum()
    np.testing.assert_allclose(
        shares[[2, 4]], [usual, usual], rtol=1e-6
    )  # where no word is known
    assert router.shares([]).shape == (0, 2)


def test_three_sources() -> None:
    prompts = {
        name: [f"{name} {word} {n}" for n, word in enumerate(WORDS)]
        for name in ("red", "green", "blue")
    }
    shares = fit_router(prompts).shares(["green apple", "blue sea", "red rose"])
    assert shares.argmax(1).tolist() == [1, 2, 0]
    np.testing.assert_allclose(shares.sum(1), 1)


def test_the_score_is_the_mean_weighed_by_the_shares(router: Router) -> None:
    examples = [
        tm.Example("a", "please explain the moon"),
        tm.Example("long", "name one animal"),
        tm.Example("b"),
    ]
    shares = router.shares([example.prompt for example in examples])
    members: list[Any] = [Member(1.0), Member(5.0)]
    experts = Experts(members, router)
    scored = experts.score(examples)
    assert scored.values.tolist() == pytest.approx(
        [1 * a + 5 * b for a, b in shares.tolist()]
    )
    assert scored.truncated.tolist() == [False, True, False]
    assert scored.uncertainty is None, "unlike tastes are no doubt"
    assert experts.rescale(2.0, 4.0) == 2.0
    assert [member.scaled for member in members] == [[(2.0, 4.0)]] * 2
    assert experts.describe() == "2 experts (long, short), each a table"


def test_sources_that_want_opposite_things_are_both_served(tmp_path: Path) -> None:
    """One linear model cannot: whatever speaks for length in one source speaks against it in the
    other.
    """
    train, unseen = both(150, 0), both(60, 1)
    plain = tm.fit(train, backbone="linear")
    experts = tm.fit(train, backbone="linear", experts=True, out=tmp_path / "taste")
    assert right(plain, unseen) < 0.7
    assert right(experts, unseen) > 0.95
    again = tm.load(tmp_path / "taste")
    examples = [example for j in unseen for example in j.examples]
    np.testing.assert_array_equal(again.score(examples), experts.score(examples))
    assert again.contract.backbone == "experts"
    assert again.contract.settings["experts"] == {"long": 150, "short": 150}
    assert (
        "2 experts (long, short), each linear"
        in (tmp_path / "taste" / "README.md").read_text()
    )
    finished = tm.fit(
        train, backbone="linear", experts=True, out=tmp_path / "taste", resume=True
    )
    np.testing.assert_array_equal(finished.score(examples), experts.score(examples))
    with pytest.raises(tm.UsageError):
        tm.fit(train, backbone="linear", out=tmp_path / "taste", resume=True)


def test_each_expert_is_a_network_that_transformers_opens(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    tiny, quick = (
        tm.Tiny(vocabulary=400, max_length=48),
        tm.Training(epochs=1, lr=1e-3, evaluations=2),
    )
    model = tm.fit(
        both(80, 0), backbone=tiny, training=quick, experts=True, out=tmp_path / "taste"
    )
    for number in range(2):
        AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "taste" / f"member-{number}"
        )
    answer = tm.Example("a lamp", "name one lamp")
    assert tm.load(tmp_path / "taste").score(answer) == pytest.approx(
        model.score(answer), abs=1e-4
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: compared("long", 100, 0), "one source"),
        (
            lambda: [*compared("long", 100, 0), *compared("short", 20, 0)],
            r"\bshort\b.*\b50\b",
        ),
        (
            lambda: [tm.Comparison(*j.texts, source=j.source) for j in both(100, 0)],
            "prompt",
        ),
    ],
)
def test_what_cannot_teach_experts(
    wrong: Callable[[], list[tm.Comparison]], message: str
) -> None:
    with pytest.raises(tm.DataError, match=message):
        tm.fit(wrong(), backbone="linear", experts=True)


def test_experts_have_no_members() -> None:
    with pytest.raises(tm.UsageError, match=r"experts.*members.*3"):
        tm.fit(both(60, 0), backbone="linear", experts=True, members=3)


def test_a_damaged_router_is_named(tmp_path: Path) -> None:
    tm.fit(both(80, 0), backbone="linear", experts=True, out=tmp_path / "taste")
    (tmp_path / "taste" / "router.safetensors").write_bytes(b"changed")
    with pytest.raises(tm.ModelError, match=r"router\.safetensors"):
        tm.load(tmp_path / "taste")


def test_in_the_shell(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    files = []
    for source in ASKED:
        rows = [
            f'{{"prompt": "{j.prompt}", "chosen": "{j.texts[0]}", "rejected": "{j.texts[1]}"}}'
            for j in compared(source, 80, 0)
        ]
        files.append(tmp_path / f"{source}.jsonl")
        files[-1].write_text("\n".join(rows) + "\n")
    code, out, err = run(
        "fit", *files, "--experts", "--out", tmp_path / "taste", "--quiet"
    )
    assert code == 0, err
    assert "2 experts (long.jsonl, short.jsonl)" in out
