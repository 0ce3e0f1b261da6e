"""The exercises: a right solution passes; an empty or wrong one gets a reason."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from lesson_files import load

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = Path(__file__).parent / "solutions"
EXERCISES = (
    "returns",
    "gae",
    "log_prob",
    "clipped_objective",
    "kl",
    "group_advantages",
)

WRONG = [
    (
        "returns",
        ("r[:, t] + gamma * R_next", "r.sum(dim=1)"),
        "nothing is discounted: returns(r=[[1, 1, 1]], gamma=1)",
    ),
    ("returns", ("gamma * R_next", "R_next"), "when rewards are discounted"),
    ("returns", ("return R", "return R[0]"), "shape [1, 3], yours has [3]"),
    ("gae", (" * ~terminated", " * ~ended"), "an episode is cut in the middle"),
    ("gae", (" * ~ended[:, t]", ""), "an episode terminates in the middle"),
    ("gae", ("gamma * lam * A_next", "gamma * A_next"), "when lam is 0"),
    (
        "log_prob",
        ("return log_pi", "return log_pi.exp()"),
        "is [-0.6931], yours is [0.5]",
    ),
    (
        "log_prob",
        ("below - below.exp()", "logits - logits.exp()"),
        "e^1000 is infinite",
    ),
    ("clipped_objective", ("torch.minimum(ratio * A, ", "("), "still be pulled back"),
    (
        "clipped_objective",
        ("log_pi - log_pi_old", "log_pi_old - log_pi"),
        "a good action is already twice as likely",
    ),
    ("kl", ("log_pi - log_ref", "log_ref - log_pi"), "is [0.6931], yours is [-0.6931]"),
    (
        "kl",
        ("log_ref - log_pi\n", "log_pi - log_ref\n"),
        "when π(a) = 1/2, ref(a) = 1/4: k3(",
    ),
    (
        "group_advantages",
        ("R.shape[1] - 1", "R.shape[1]"),
        "two prompts of three answers",
    ),
    (
        "group_advantages",
        (
            "torch.where(deviation > 0, centred / deviation.clamp(min=1e-12), 0.0)",
            "centred / deviation",
        ),
        "group_standardised(R=[[2, 2]]) is [[0, 0]], yours is [[nan, nan]]",
    ),
]
"""Exercise, a mistake (what is right in the solution, what is wrong), and the reason."""


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program lessons/check.py."""
    return load(ROOT / "lessons" / "check.py")


@pytest.fixture(scope="module")
def grade(program: ModuleType) -> object:
    """The function that the command line calls."""
    return program.grade


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_solution_passes(name: str, grade: object) -> None:
    assert grade(name, SOLUTIONS / f"solved_{name}.py") is None


@pytest.mark.parametrize("name", EXERCISES)
def test_an_empty_exercise_does_not(name: str, grade: object) -> None:
    line = grade(name, ROOT / "lessons" / "exercises" / f"{name}.py")
    assert line.endswith(" is not filled in yet")


@pytest.mark.parametrize(("name", "mistake", "reason"), WRONG)
def test_a_wrong_solution_is_told_why(
    name: str, mistake: tuple[str, str], reason: str, grade: object, tmp_path: Path
) -> None:
    text = (SOLUTIONS / f"solved_{name}.py").read_text(encoding="utf-8")
    right, _ = mistake
    assert right in text
    (tmp_path / "mine.py").write_text(text.replace(*mistake), encoding="utf-8")
    line = grade(name, tmp_path / "mine.py")
    assert reason in line
    assert "\n" not in line


def test_a_mistake_that_raises_is_told_too(grade: object, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def returns(r, gamma):\n    return r + undefined\n"
    )
    line = grade("returns", tmp_path / "mine.py")
    assert (
        "returns(r=[[1, 1, 1]], gamma=1) raised NameError: name 'undefined' is not defined"
        in line
    )


def test_the_command_line(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def check(*words: str) -> tuple[int, str]:
        """Return the exit code and the last line."""
        monkeypatch.setattr(sys, "argv", ["check.py", *words])
        code = program.main()
        shown = capsys.readouterr()
        assert shown.err == ""
        return code, shown.out.strip().splitlines()[-1]

    assert check("gae", str(SOLUTIONS / "solved_gae.py")) == (0, "gae: right")
    assert check("gae") == (1, "gae: gae is not filled in yet")
    code, line = check("gae", str(tmp_path / "absent.py"))
    assert code == 1
    assert "absent.py cannot be read" in line


def test_the_listing_names_every_file() -> None:
    command = [sys.executable, str(ROOT / "lessons" / "check.py")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    files = [
        *(ROOT / "lessons" / "exercises").glob("*.py"),
        *(ROOT / "lessons" / "bugs").glob("*.py"),
    ]
    assert len(files) == 9
    assert [
        path.name for path in files if path.relative_to(ROOT).as_posix() not in listed
    ] == []
