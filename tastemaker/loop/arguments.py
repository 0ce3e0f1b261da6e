"""The arguments of the verbs, from the values of a file's sections. This imports torch.

The values of a whole file are checked by making these arguments, before anything runs.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from tastemaker.data.roles import Columns
from tastemaker.errors import UsageError
from tastemaker.gpt.pretrain_task import Pretraining
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.text_sources import Documents
from tastemaker.kinds.base import Likelihood
from tastemaker.loop.keys import grouped, keys_of
from tastemaker.loop.loop_file import LoopFile, steer_values
from tastemaker.loop.yaml_lines import Problem
from tastemaker.reward.backbones import Training, backbone_named
from tastemaker.rl.algorithms import algorithm_named, setting_names
from tastemaker.rl.text.settings import Limits, Steering
from tastemaker.rl.text.shaping import KL, Scaling
from tastemaker.settings import settings_from


def fit_arguments(
    section: str, values: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return the arguments of `fit` for the values of a section. Raises UsageError."""

    groups = grouped(section, values)
    arguments = dict(groups[None])
    name = arguments.pop("backbone", "linear")
    arguments["backbone"] = backbone_named(name, **groups["backbone"])
    arguments["likelihood"] = settings_from(
        Likelihood, groups["likelihood"], "likelihood"
    )
    if groups["training"]:
        settings_from(Training, groups["training"], "training")
        arguments["training"] = groups["training"]
    arguments["seed"] = seed
    return arguments


def pretrain_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `pretrain` for the values of its section. Raises UsageError."""

    groups = grouped("pretrain", values)
    given = dict(groups[None])
    settings_from(Pretraining, groups["pretraining"], "pretrain")
    columns = {}
    for role in ("text", "prompt"):
        name = given.pop(f"{role}_column", None)
        if name is not None:
            columns[role] = name
    arguments: dict[str, Any] = {"training": groups["pretraining"]}
    arguments["texts"] = Documents(
        given.pop("texts"),
        given.pop("split", None),
        Columns(**columns) if columns else None,
        given.pop("format", None),
        each=given.pop("each", "file"),
        leave_out_bad=given.pop("skip_bad", False),
        limit=given.pop("limit", None),
    )
    if "from" in given:
        arguments["start"] = given.pop("from")
    return arguments | given


def steer_parts(algorithm: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings objects of `steer` for the values of its section. Raises UsageError.

    Settings of algorithms that this one has not are left out: they stand for the others.
    """
    fitting = {}
    has = set(setting_names(algorithm))
    keys = keys_of("steer")
    for name, value in values.items():
        if keys[name].table != "algorithm" or keys[name].field in has:
            fitting[name] = value
    groups = grouped("steer", fitting)
    parts: dict[str, Any] = {
        "algorithm": algorithm_named(algorithm, **groups["algorithm"]),
        "steering": settings_from(Steering, groups["steering"], "steer"),
        "limits": settings_from(Limits, groups["limits"], "limits"),
        "sampling": settings_from(Sampling, groups["sampling"], "sampling"),
    }
    kl = dict(groups["kl"])
    if kl.get("where") == "loss":
        # the one whose gradient in the loss is that of the KL
        kl.setdefault("estimator", "k2")
    if kl:
        parts["kl"] = settings_from(KL, kl, "kl")
    if groups["scaling"]:
        parts["scaling"] = settings_from(Scaling, groups["scaling"], "scaling")
    return parts


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
