"""YAML with the line of every key and value, so that each problem of a file names its line."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tastemaker.errors import UsageError


@dataclass(frozen=True)
class Entry:
    """A value of a file. line: where it stands, from 1; 0 for a value that no file holds.

    entries: the values of a mapping, by key.
    """

    value: Any
    line: int = 0
    entries: "dict[str, Entry]" = field(default_factory=dict)

    @property
    def is_section(self) -> bool:
        """Whether this is a mapping, or nothing, which stands for an empty one."""
        return self.value is None or isinstance(self.value, dict)


@dataclass(frozen=True)
class Problem:
    """What is wrong at a line; 0: at no line of a file."""

    line: int
    text: str

    def at(self, name: str) -> str:
        """Return the problem as one line. name: of the file."""
        place = f"{name}, line {self.line}" if self.line else name
        return f"{place}: {self.text}"


def read_entries(path: Path) -> tuple[Entry, list[Problem]]:
    """Return the values of a YAML file, and keys that it has twice.

    Raises UsageError for a file that cannot be read as YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_no_aliases(path, text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        problems = list(_repeated_keys(node))
        return _entry(loader, node), problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(
            f"{path}{line}: cannot be read as YAML ({error.problem})."
        ) from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply to be read.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{path}: cannot be read as YAML ({reason})."
        ) from error


def _check_no_aliases(path: Path, text: str) -> None:
    """Raise UsageError for an alias: one may hold itself, or grow without bound."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):
            line = token.start_mark.line + 1
            raise UsageError(
                f"{path}, line {line}: the alias *{token.value} is not read here; "
                "write its value again."
            )


def entries_of(value: Any) -> Entry:
    """Return the values of an object that was made in Python; they have no lines."""
    if not isinstance(value, dict):
        return Entry(value)
    entries = {str(key): entries_of(each) for key, each in value.items()}
    return Entry(value, 0, entries)


def _entry(loader: yaml.SafeLoader, node: yaml.Node | None) -> Entry:
    if node is None:
        return Entry({})
    line = node.start_mark.line + 1
    value = loader.construct_object(node, deep=True)
    entries: dict[str, Entry] = {}
    if isinstance(node, yaml.MappingNode):
        for key, of_key in node.value:
            name = str(loader.construct_object(key, deep=True))
            entry = _entry(loader, of_key)
            # a section is at the line of its name
            entries[name] = Entry(
                entry.value, key.start_mark.line + 1, entry.entries
            )
    return Entry(value, line, entries)


def _repeated_keys(node: yaml.Node | None) -> Iterator[Problem]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[Any, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in lines and isinstance(key, yaml.ScalarNode):
            first = lines[key.value]
            yield Problem(
                line, f"{key.value} stands here again, after line {first}."
            )
        if isinstance(key, yaml.ScalarNode):
            lines.setdefault(key.value, line)
        yield from _repeated_keys(value)
