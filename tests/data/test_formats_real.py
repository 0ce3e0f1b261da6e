"""The published data itself: how many rows, which of them are bad, and one row of each by hand."""

import gzip
import json
from collections import Counter
from pathlib import Path

from tastemaker.data import Comparison, Judgement, Ranking, read
from tastemaker.errors import DataError


def both(path: Path) -> tuple[list[Judgement], list[str]]:
    """The judgements, and where the rows stand that teach nothing or cannot be read.

    Without a list for them the first that cannot be read is raised, and the others are left out.
    """
    skipped: list[DataError] = []
    judgements = read(path, skip_bad=skipped)
    try:
        whole = read(path)
    except DataError as error:
        whole = judgements
        message = str(error)
    else:
        message = ""
    assert whole == judgements
    # --skip-bad is named only where it is not given
    message = message.replace("; --skip-bad leaves such rows out", "")
    assert message in ["", *map(str, skipped)]
    return judgements, [str(error).split(": ")[0] for error in skipped]


def test_hh_helpful(shared_data: Path) -> None:
    judgements, bad = both(shared_data / "hh-rlhf/helpful-base.jsonl.gz")
    assert len(judgements) == 2354 - 2
    assert bad == [
        "helpful-base.jsonl.gz:722",
        "helpful-base.jsonl.gz:2169",
    ]  # "You’re welcome!" on both sides
    first = judgements[0]
    assert isinstance(first, Comparison)
    assert first.prompt == (
        "\n\nHuman: Do you know why turkeys became the official food of thanksgiving?\n\nAssistant:"
    )
    assert first.chosen.startswith("To be honest, I don’t know anything about that.")
    assert first.rejected.startswith("I know that the American Indians were the first")


def test_hh_harmless(shared_data: Path) -> None:
    path = shared_data / "hh-rlhf/harmless-base.jsonl.gz"
    judgements, bad = both(path)
    assert (len(judgements), bad) == (2312, [])
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for judgement, line in zip(judgements, lines, strict=True):
            row = json.loads(line)
            assert isinstance(judgement, Comparison)
            for text, whole in (
                (judgement.chosen, row["chosen"]),
                (judgement.rejected, row["rejected"]),
            ):
                assert whole in (
                    f"{judgement.prompt}{text}",
                    f"{judgement.prompt} {text}",
                )


def test_pandalm(shared_data: Path) -> None:
    judgements, bad = both(shared_data / "pandalm/testset-v1.json")
    assert bad == [
        f"testset-v1.json:{number}" for number in (158, 159, 160, 162, 163, 165)
    ]
    assert Counter(judgement.judge for judgement in judgements) == {
        f"annotator{number}": 993 for number in (1, 2, 3)
    }
    assert (
        sum(
            isinstance(judgement, Comparison) and judgement.tie
            for judgement in judgements
        )
        == 322
    )
    first = judgements[0]
    assert isinstance(first, Comparison)
    assert first.chosen == "If you have any questions, please let me know."
    assert (
        first.rejected == "If you have any questions about my rate, please let me know."
    )
    assert isinstance(first.prompt, str)
    instruction, given = first.prompt.split("\n\n")
    assert instruction.endswith("eliminate unnecessary words.")
    assert given.startswith(
        "If you have any questions about my rate or if you find it necessary to increase"
    )


def test_mqm_ted(shared_data: Path) -> None:
    judgements, bad = both(shared_data / "wmt-mqm/ted_zhen_listwise.jsonl.gz")
    assert len(judgements) == 529 - 2
    assert bad == [
        "ted_zhen_listwise.jsonl.gz:44",
        "ted_zhen_listwise.jsonl.gz:510",
    ]  # one translation from all systems


def test_mqm_news(shared_data: Path) -> None:
    path = shared_data / "wmt-mqm/gmt2023_zhen_listwise.jsonl.gz"
    judgements, bad = both(path)
    assert (len(judgements), bad) == (377, [])
    first = judgements[0]
    assert isinstance(first, Ranking)
    assert first.prompt == "欧盟峰会为难民政策争论，欧盟官员：接收过程步步瓶颈-中新网"
    # 2.6667, then one text with 2.6667 and 4.0 beside one with 3.3333
    assert [tier[0][:30] for tier in first.tiers[:2]] == [
        "EU Summit Argues Over Refugee ",
        "EU summit debates on refugee p",
    ]
    assert len(first.tiers[1]) == 2


def test_openassistant(shared_data: Path) -> None:
    judgements, bad = both(shared_data / "oasst-zh/oaast_rm_zh.json")
    assert len(judgements) == 775 - 6
    # an answer is listed twice in these
    assert bad == [
        f"oaast_rm_zh.json:{number}" for number in (145, 300, 312, 313, 592, 769)
    ]
    assert all(isinstance(judgement.prompt, tuple) for judgement in judgements)
    assert Counter(len(judgement.prompt or ()) for judgement in judgements).keys() == {
        1,
        3,
        5,
    }
    first = judgements[0]
    assert isinstance(first, Ranking)
    assert first.prompt == (("user", "布洛芬和对乙酰氨基酚的区别是？"),)
    assert first.tiers[0][0].startswith("根据维基百科，\n布洛芬")
    assert all(len(tier) == 1 for tier in first.tiers)
