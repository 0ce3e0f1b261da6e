"""The part of a report about cost: time, processor, memory, and how to repeat the runs."""

import json
from collections.abc import Sequence

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


def cost_part(costs: Costs, stages: Costs = ()) -> Part:
    """Return the part about what some runs cost.

    stages: the stages of a loop, where the runs are loops: they have rows of their own.
    """
    rows = []
    for name, cost in (*stages, *costs):
        counts = cost.counts_in_words()
        figures = cost.figures()
        rows.append({"name": name, "cells": figures, "counts": counts})
    repeats = []
    shares = [_SHARES]
    for name, cost in costs or stages:
        command = cost.command or ""
        versions = json.dumps(cost.versions, indent=2)
        repeat = {"name": name, "command": command, "seed": cost.seed}
        repeats.append({**repeat, "versions": versions})
        if cost.stages:
            shares += [[name, *row] for row in cost.shares()]
    values = {
        "heading": _HEADING,
        "rows": rows,
        "shares": shares,
        "repeats": repeats,
    }
    return Part("cost", Summary("usable"), values)
