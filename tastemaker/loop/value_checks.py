"""Checks the values of a loop file by making the verbs' settings of them, before anything runs."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tastemaker.errors import UsageError
from tastemaker.loop.arguments import (
    fit_arguments,
    pretrain_arguments,
    steer_parts,
)
from tastemaker.loop.loop_file import LoopFile, steer_values
from tastemaker.loop.yaml_lines import Problem


def value_problems(file: LoopFile) -> Iterator[Problem]:
    """Yield the values that the verbs refuse, each with its line."""
    for section in ("fit", "watcher"):
        if section in file.sections:
            values = dict(file.section(section))
            make = partial(fit_arguments, section, values, 0)
            yield from _tried(file, (section,), make)
    if "pretrain" in file.sections:
        make = partial(pretrain_arguments, file.section("pretrain"))
        yield from _tried(file, ("pretrain",), make)
    messages = set()
    for algorithm in file.algorithms:
        values = steer_values(file, algorithm)
        make = partial(steer_parts, algorithm, values)
        places = (f"steer {algorithm}", "steer")
        for problem in _tried(file, places, make):
            # a value of the section is refused once for all algorithms
            if problem not in messages:
                yield problem
            messages.add(problem)


def _tried(
    file: LoopFile, places: tuple[str, ...], make: Callable[[], Any]
) -> Iterator[Problem]:
    """Yield the problem that making some settings raises, at the line of the value it names.

    places: the sections that hold the values, the nearest first.
    """
    try:
        make()
    except UsageError as error:
        message = str(error)
        words = set(message.replace("-", "_").replace(":", " ").split())
        for place in places:
            for (section, key), line in file.lines.items():
                if section == place and key in words:
                    yield Problem(line, message)
                    return
        yield Problem(file.lines.get(("", places[-1]), 0), message)
