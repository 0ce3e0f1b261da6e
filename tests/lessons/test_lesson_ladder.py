"""The lessons: each file stands alone, is short, and names its small change of the one before."""

import ast
import difflib
import re
import sys

import pytest
from lesson_files import LADDER, code_of, text_of

LONGEST = 185
# lines taken away and lines added, at most: a changed line counts in both
STEPS = {
    ("lesson1_reinforce", "lesson2_reward_to_go"): (4, 7),
    ("lesson2_reward_to_go", "lesson3_baseline"): (9, 15),
    ("lesson3_baseline", "lesson4_actor_critic"): (32, 53),
    ("lesson4_actor_critic", "lesson5_trpo"): (17, 44),
    ("lesson5_trpo", "lesson6_ppo"): (46, 24),
}


def definitions(name: str) -> dict[str, str]:
    """Return what stands at a lesson's top level, by name: functions, classes, settings; docstrings
    left out.
    """
    parts = {}
    for node in ast.parse(text_of(name)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.body = [
                part
                for part in node.body
                if not isinstance(part, ast.Expr) or not is_text(part.value)
            ]
            parts[node.name] = ast.dump(node)
        elif isinstance(node, ast.Assign):
            parts[ast.unparse(node.targets[0])] = ast.dump(node.value)
    # a class of records is told apart by its fields, and a field's shape is a comment
    return parts


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def changed(before: str, after: str) -> set[str]:
    """Return the names that were added, changed or taken away."""
    old, new = definitions(before), definitions(after)
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def named(name: str) -> set[str]:
    """Return the names that a lesson's header says are changed, new or gone."""
    header = ast.get_docstring(ast.parse(text_of(name)))
    assert header is not None
    block = re.search(r"^Changed: (.*?)^Why:", header, flags=re.DOTALL | re.MULTILINE)
    assert block is not None, f"{name} does not say what it changed"
    return set(re.findall(r"`(\w+)`", block[1]))


@pytest.mark.parametrize("name", LADDER)
def test_a_lesson_is_short(name: str) -> None:
    assert len(text_of(name).splitlines()) <= LONGEST


@pytest.mark.parametrize("name", LADDER)
def test_a_lesson_stands_alone(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse(text_of(name))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    assert imported - set(sys.stdlib_module_names) <= {"torch", "gymnasium", "numpy"}


@pytest.mark.parametrize("name", LADDER)
def test_a_header_has_its_parts(name: str) -> None:
    header = ast.get_docstring(ast.parse(text_of(name)))
    assert header is not None
    for part in ("Paper: ", "Look at: ", "Try: "):
        assert f"\n{part}" in header


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_a_step_is_small(before: str, after: str) -> None:
    lines = list(
        difflib.unified_diff(code_of(before), code_of(after), n=0, lineterm="")
    )[2:]
    taken, added = (sum(line.startswith(sign) for line in lines) for sign in "-+")
    assert taken <= STEPS[before, after][0]
    assert added <= STEPS[before, after][1]


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_a_header_names_what_changed(before: str, after: str) -> None:
    assert named(after) == changed(before, after)
