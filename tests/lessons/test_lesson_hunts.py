"""The bug hunts: one bug each, which its probe detects and the answers' line repairs."""

import difflib
import re

import pytest
from lesson_files import LESSONS, code_of, load, text_of

# hunt, the lesson it is made from, what its probe says, how many lines differ (taken away, added)
HUNTS = [
    ("hunt1", "lesson6_ppo", "the critic says 0.50 and 0.50", (2, 2)),
    (
        "hunt2",
        "lesson4_actor_critic",
        "when an episode terminates in the middle: gae(",
        (2, 2),
    ),
    ("hunt3", "lesson6_ppo", "CLIP held nothing back", (3, 3)),
]


@pytest.mark.parametrize(("hunt", "name", "reason", "size"), HUNTS)
def test_a_hunt_is_a_lesson_with_one_bug(
    hunt: str, name: str, reason: str, size: tuple[int, int]
) -> None:
    lines = list(
        difflib.unified_diff(code_of(name), code_of(f"bugs/{hunt}"), n=0, lineterm="")
    )[2:]
    taken, added = (
        [line[1:] for line in lines if line.startswith(sign)] for sign in "-+"
    )
    assert (len(taken), len(added)) == size
    assert [line.split()[0] for line in (taken[0], added[0])] == [
        "MOST_STEPS",
        "MOST_STEPS",
    ]


@pytest.mark.parametrize(("hunt", "name", "reason", "size"), HUNTS)
def test_the_probe_finds_the_bug_and_passes_the_lesson(
    hunt: str, name: str, reason: str, size: tuple[int, int]
) -> None:
    grade = load(LESSONS / "check.py").grade
    line = grade(hunt, LESSONS / "bugs" / f"{hunt}.py")
    assert reason in line
    assert "\n" not in line
    assert grade(hunt, LESSONS / f"{name}.py") is None


@pytest.mark.parametrize(("hunt", "name", "reason", "size"), HUNTS)
def test_the_answers_quote_the_files(
    hunt: str, name: str, reason: str, size: tuple[int, int]
) -> None:
    answers = (LESSONS / "bugs" / "ANSWERS.md").read_text(encoding="utf-8")
    answer = answers.split(f"## {hunt}")[1].split("\n## ")[0]
    (wrong,) = re.findall(r"^ *(.*?)  # wrong", answer, flags=re.MULTILINE)
    (right,) = re.findall(r"^ *(.*?)  # right", answer, flags=re.MULTILINE)
    assert wrong in text_of(f"bugs/{hunt}")
    assert right in text_of(name)
    assert wrong not in text_of(name)
    assert right not in text_of(f"bugs/{hunt}")
