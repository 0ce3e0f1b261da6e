"""The part of a report about cost: time, processor, memory, and how to repeat the runs."""

import json
from collections.abc import Sequence
from typing import Any

from tastemaker.costs import Cost
from tastemaker.report.page import Part
from tastemaker.report.summary import Summary

Costs = Sequence[tuple[str, Cost]]
"""What runs cost, each with its name."""

_SHARES = ["run", "stage", "time", "share"]
_HEADING = [
    "run",
    "time",
    "processor time",
    "most memory",
    "device",
    "processed",
]


def cost_part(costs: Costs) -> Part:
    """Return the part about what some runs cost, or the stages of a loop."""
    rows = []
    for name, cost in costs:
        counts = cost.counts_in_words()
        figures = cost.figures()
        rows.append({"name": name, "cells": figures, "counts": counts})
    repeats: list[dict[str, Any]] = []
    shares = [_SHARES]
    for name, cost in costs:
        command = cost.command or ""
        versions = json.dumps(cost.versions, indent=2)
        repeat = {"command": command, "seed": cost.seed, "versions": versions}
        # the stages of a loop have one command
        same = [each for each in repeats if repeat.items() <= each.items()]
        if same and command:
            same[0]["name"] += f", {name}"
        else:
            repeats.append({"name": name, **repeat})
        if cost.stages:
            shares += [[name, *row] for row in cost.shares()]
    values = {
        "heading": _HEADING,
        "rows": rows,
        "shares": shares,
        "repeats": repeats,
    }
    return Part("cost", Summary("usable"), values)
