"""Checks the values of a loop file by making the verbs' settings of them, before anything runs."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from tastemaker.errors import UsageError
from tastemaker.loop.arguments import (
    fit_arguments,
    pretrain_arguments,
    steer_parts,
)
from tastemaker.loop.keys import keys_of
from tastemaker.loop.loop_file import LoopFile, steer_values
from tastemaker.loop.yaml_lines import Problem


def value_problems(file: LoopFile) -> Iterator[Problem]:
    """Yield the values that the verbs refuse, each with its line."""
    for section in ("fit", "watcher"):
        if section in file.sections:
            make = partial(fit_arguments, section, seed=0)
            yield from _tried(file, (section,), make, file.section(section))
    if "texts" in file.section("pretrain"):
        values = file.section("pretrain")
        yield from _tried(file, ("pretrain",), pretrain_arguments, values)
    messages = set()
    for algorithm in file.algorithms:
        make = partial(steer_parts, algorithm)
        places = (f"steer {algorithm}", "steer")
        values = steer_values(file, algorithm)
        for problem in _tried(file, places, make, values):
            # a value of the section is refused once for all algorithms
            if problem not in messages:
                yield problem
            messages.add(problem)


def _tried(
    file: LoopFile,
    places: tuple[str, ...],
    make: Callable[[Mapping[str, Any]], Any],
    values: Mapping[str, Any],
) -> Iterator[Problem]:
    """Yield the problems that making settings of some values raises, at the lines of the values.

    A value that is refused is left out, and the rest is tried again. places: the sections that
    hold the values, the nearest first.
    """
    rest = dict(values)
    while True:
        try:
            make(rest)
        except UsageError as error:
            message = str(error)
        else:
            return
        place, key = _named(file, places, message, rest)
        yield Problem(file.lines.get((place, key), 0), message)
        # without it, other values would be refused that its name allows
        if key not in rest or key == "backbone":
            return
        del rest[key]


def _named(
    file: LoopFile,
    places: tuple[str, ...],
    message: str,
    values: Mapping[str, Any],
) -> tuple[str, str]:
    """Return the section and the key of the value that a message names, else the section alone.

    A name before the first colon is preferred.
    """
    subject, _, rest = message.partition(":")
    for part in (subject, rest):
        words = {word.strip("-,.'").replace("-", "_") for word in part.split()}
        for place in places:
            keys = keys_of(place.partition(" ")[0])
            for section, key in file.lines:
                if section != place or key not in values:
                    continue
                # a message has the name of the field, which may be another one
                if key in words or keys[key].field in words:
                    return section, key
    return "", places[-1]
