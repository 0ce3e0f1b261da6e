"""The arguments of the verbs, from the values of a file's sections. This imports torch."""

from collections.abc import Mapping
from typing import Any

from tastemaker.data.roles import Columns
from tastemaker.gpt.pretrain_task import Pretraining
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.text_sources import Documents
from tastemaker.kinds.base import Likelihood
from tastemaker.loop.keys import grouped, keys_of
from tastemaker.reward.backbones import Training, backbone_named
from tastemaker.rl.algorithms import algorithm_named, setting_names
from tastemaker.rl.text.kl import KL
from tastemaker.rl.text.scaling import Scaling
from tastemaker.rl.text.settings import Limits, Steering
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
