"""Names of several sources, so that two files of one name are told apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tastemaker.data.roles import described_source


def is_several(source: Any) -> bool:
    """Return whether this is a list of paths and names, not one source."""
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(one, str | Path) for one in source)
    )


def distinct_names(sources: Sequence[Any]) -> dict[Any, str]:
    """Return names for the paths that share theirs with another: the shortest ends that differ.

    helpful/train.jsonl and harmless/train.jsonl are named so. Paths of different names, and names
    of the hub, keep theirs.
    """
    paths = {}
    for source in sources:
        path = Path(described_source(source)[0])
        if path.exists():
            paths[source] = path.absolute()
    names = {}
    for source, path in paths.items():
        others = {other for other in paths.values() if other != path}
        count = 1
        while any(_end(other, count) == _end(path, count) for other in others):
            count += 1
        if count > 1:
            names[source] = "/".join(_end(path, count))
    return names


def _end(path: Path, count: int) -> tuple[str, ...]:
    return path.parts[-count:]
