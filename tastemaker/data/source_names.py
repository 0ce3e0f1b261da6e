"""Names of several sources, so that two files of one name are told apart."""

import os.path
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tastemaker.data.judgements import Judgement
from tastemaker.data.roles import described_source


def is_several(source: Any) -> bool:
    """Return whether this is a list of paths and names, not one source."""
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(one, str | Path) for one in source)
    )


def absolute_path(source: Any) -> str:
    """Return the whole path of a file or folder; "" for anything else."""
    if not isinstance(source, str | Path) or not Path(source).exists():
        return ""
    # a link keeps its name
    return os.path.abspath(source)  # noqa: PTH100


def distinct_names(sources: Sequence[Any]) -> dict[Any, str]:
    """Return names for the paths that share theirs with another: the shortest ends that differ.

    helpful/train.jsonl and harmless/train.jsonl are named so. Paths of different names, and names
    of the hub, keep theirs.
    """
    paths = {}
    for source in sources:
        path = absolute_path(described_source(source)[0])
        if path:
            paths[source] = path
    ends = _unlike_ends(set(paths.values()))
    names = {}
    for source, path in paths.items():
        if ends[path] != Path(path).name:
            names[source] = ends[path]
    return names


def told_apart(
    *parts: Sequence[Judgement],
) -> tuple[Sequence[Judgement], ...]:
    """Return lists of judgements in which no two paths have one name for their source.

    Such sources are called by the shortest ends of their paths that differ, in `source` and in
    `where`. Other judgements, and lists without such sources, stay as they are.
    """
    paths: dict[str, set[str]] = {}
    for part in parts:
        for judgement in part:
            paths.setdefault(judgement.source, set()).add(judgement.path)
    names = {}
    for source, several in paths.items():
        for path, end in _unlike_ends(several - {""}).items():
            if len(several) > 1:
                names[source, path] = end
    if not names:
        return parts
    renamed = []
    for part in parts:
        renamed.append([_renamed(each, names) for each in part])
    return tuple(renamed)


def _renamed(
    judgement: Judgement,
    names: dict[tuple[str, str], str],
) -> Judgement:
    """Return a judgement under the new name of its source. names: (name, path) → new name."""
    name = names.get((judgement.source, judgement.path))
    if name is None:
        return judgement
    where = judgement.where
    if where.startswith(f"{judgement.source}:"):
        where = name + where.removeprefix(judgement.source)
    return replace(judgement, source=name, where=where)


def _unlike_ends(paths: Collection[str]) -> dict[str, str]:
    """Return the shortest end of each path that is the end of no other one."""
    ends: dict[str, str] = {}
    parts = {path: Path(path).parts for path in paths}
    alike = list(paths)
    count = 1
    while alike:
        by_end: dict[tuple[str, ...], list[str]] = {}
        for path in alike:
            by_end.setdefault(parts[path][-count:], []).append(path)
        alike = []
        for end, group in by_end.items():
            # two spellings of one path stay alike
            is_whole = all(len(parts[path]) <= count for path in group)
            if len(group) > 1 and not is_whole:
                alike += group
            else:
                ends |= dict.fromkeys(group, "/".join(end))
        count += 1
    return ends
