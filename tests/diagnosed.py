"""What the doctor says of a few judgements, for the tests that ask."""

from tastemaker.doctor import Diagnosis, Problem


def problems_by_name(diagnosis: Diagnosis) -> dict[str, Problem]:
    """Return name → problem; every name once."""
    names = [problem.name for problem in diagnosis.problems]
    assert len(names) == len(set(names))
    return {problem.name: problem for problem in diagnosis.problems}


def counts(diagnosis: Diagnosis) -> dict[str, int]:
    """Return name → how often."""
    return {
        name: problem.count for name, problem in problems_by_name(diagnosis).items()
    }


def text(i: int) -> str:
    """Return a text whose length has nothing to do with its number."""
    return f"text {i:04d} " + "x" * (i * 7919 % 97)
