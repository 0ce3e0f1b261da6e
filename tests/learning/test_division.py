"""The division: what teaches, what measures, and what cannot be learned together."""

import pytest

from tastemaker.data import Comparison, Judgement, Label, Message, Ranking, Rating
from tastemaker.errors import DataError
from tastemaker.kinds import Likelihood
from tastemaker.reward import MOST_HELD_OUT, ObservationModel, divide

LABELS: list[Judgement] = [Label(f"film {i}", i % 2 == 0) for i in range(100)]
CHAT = (Message("user", "Which film?"),)


def test_mixed_chat_and_plain_prompts_are_refused() -> None:
    mixed = [
        *LABELS,
        Label("a", True, prompt="Which film?", where="plain.jsonl:3"),
        Label("b", True, prompt="Which film?", where="plain.jsonl:4"),
        Comparison("c", "d", prompt=CHAT, where="chats.jsonl:7"),
    ]
    with pytest.raises(
        DataError,
        match=r"^chats\.jsonl:7: .*\bchat\b.*\bplain\.jsonl:3\b",
    ) as error:
        divide(mixed, None, Likelihood(), 0)
    assert str(error.value).endswith(
        " Give all prompts as chats (lists of messages with a role and a content) or all as texts."
    )
    with pytest.raises(
        DataError,
        match=r"^a comparison: .*\bchat\b.*\banother judgement\b",
    ):
        divide(
            [Label("a", True, prompt="p"), Comparison("c", "d", prompt=CHAT)],
            None,
            Likelihood(),
            0,
        )


@pytest.mark.parametrize("prompt", [CHAT, "Which film?", None])
def test_one_kind_of_prompt_beside_none_is_fine(prompt: object) -> None:
    divided = divide([*LABELS, Label("a", True, prompt=prompt)], None, Likelihood(), 0)
    assert len(divided.train_judgements) + len(divided.held_out_judgements) == 101


def test_both_sides_are_read_with_the_same_links() -> None:
    judgements = [*LABELS, *(Rating(f"film {i}", float(i)) for i in range(100))]
    divided = divide(judgements, 0.1, Likelihood(), 0)
    assert len(divided.held_out_judgements) == 20
    ratings = [j.rating for j in divided.train_judgements if isinstance(j, Rating)]
    held_out = [j.rating for j in divided.held_out_judgements if isinstance(j, Rating)]
    centre = sum(ratings) / len(ratings)
    spread = (sum((r - centre) ** 2 for r in ratings) / len(ratings)) ** 0.5
    expected = [(r - centre) / spread for r in held_out]
    assert divided.held_out.evidence[Rating].targets.tolist() == pytest.approx(
        expected, abs=1e-5
    )
    assert not {e.text for e in divided.train.examples} & {
        e.text for e in divided.held_out.examples
    }


def test_how_many_are_held_out() -> None:
    # a tenth of the texts; of the prompts at most a fifth; never more than a thousand; one at least
    assert len(divide(LABELS, None, Likelihood(), 0).held_out_judgements) == 10
    assert len(divide(LABELS, 0.3, Likelihood(), 0).held_out_judgements) == 30
    assert len(divide(LABELS, 7, Likelihood(), 0).held_out_judgements) == 7
    assert len(divide(LABELS[:6], None, Likelihood(), 0).held_out_judgements) == 1
    many: list[Judgement] = [
        Label(f"film {i}", i % 2 == 0) for i in range(10 * MOST_HELD_OUT + 500)
    ]
    assert len(divide(many, None, Likelihood(), 0).held_out_judgements) == MOST_HELD_OUT
    lists: list[Judgement] = [
        Ranking([f"{i} {k}" for k in range(9)], prompt=f"p{i}") for i in range(20)
    ]
    assert (
        len(divide(lists, None, Likelihood(), 0).held_out_judgements) == 4
    )  # not 18 of the 20 prompts


def test_given_judgements_are_measured_and_only_kinds_that_were_learned() -> None:
    measured = [Label("x", True), Comparison("x", "y")]
    divided = divide(LABELS, measured, Likelihood(), 0)
    assert divided.train_judgements == LABELS
    assert divided.held_out_judgements == measured[:1]
    assert list(divided.held_out.evidence) == [Label]


def test_the_digest_knows_every_judgement_and_side() -> None:
    digest = divide(LABELS, [Label("x", True)], Likelihood(), 0).digest
    assert (
        divide(LABELS, [Label("x", True, where="other.csv:1")], Likelihood(), 0).digest
        == digest
    )
    assert divide(LABELS, [Label("x", False)], Likelihood(), 0).digest != digest
    assert divide([*LABELS, Label("x", True)], [], Likelihood(), 0).digest != digest
    assert divide(LABELS[::-1], [Label("x", True)], Likelihood(), 0).digest != digest


def test_every_fresh_model_starts_alike() -> None:
    divided = divide(LABELS, None, Likelihood(control="length"), 0)
    first = ObservationModel.untrained(divided)
    second = ObservationModel.untrained(divided)
    assert first.control is not None
    assert first.judges is None
    assert [p.tolist() for p in first.parameters()] == [
        p.tolist() for p in second.parameters()
    ]
    assert first.links[Label] is not second.links[Label]


def test_the_seed_decides_what_is_held_out() -> None:
    for held_out in (None, 0.2, 20):
        first, again, other = (
            divide(LABELS, held_out, Likelihood(), seed) for seed in (0, 0, 1)
        )
        assert first.held_out_judgements == again.held_out_judgements
        assert first.held_out_judgements != other.held_out_judgements
        assert first.digest == again.digest != other.digest


def test_judges_of_the_held_out_alone_are_nobody_known() -> None:
    judgements = [
        Label(f"film {i}", i % 2 == 0, judge=("ann", "bob")[i // 2 % 2])
        for i in range(80)
    ]
    measured = [
        Label("x", True, judge="cleo"),
        Label("y", True, judge="bob"),
        Label("z", False),
    ]
    divided = divide(judgements, measured, Likelihood(), 0)
    assert divided.train.judges == divided.held_out.judges == ("ann", "bob")
    assert divided.held_out.evidence[Label].judge.tolist() == [-1, 1, -1]


def test_a_judge_who_is_held_out_whole_is_not_learned() -> None:
    # all that dora said is of one film; where the seed holds that film out, nothing of her is left
    # to learn from
    judgements = [
        Label(f"film {i}", i % 2 == 0, judge=("ann", "bob")[i // 2 % 2])
        for i in range(80)
    ]
    hers = [Label("the one film", i % 2 == 0, judge="dora") for i in range(40)]
    is_learned = set()
    for seed in range(30):
        divided = divide([*judgements, *hers], 0.3, Likelihood(judges=True), seed)
        taught = {j.judge for j in divided.train_judgements}
        assert set(divided.train.judges) == taught
        is_learned.add("dora" in taught)
    assert is_learned == {True, False}
