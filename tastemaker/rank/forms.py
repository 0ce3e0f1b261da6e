"""What is asked beside the ranking, from a small YAML file.

instructions: Which answer would you rather get?
scale: [1, 7]                  # of grades
labels: [Yes, No]              # of labels: what is positive, what is negative
grade_each: true               # each answer of a ranking gets a grade of the scale as well
label_each: true               # and a label
strength: true                 # of two answers: slightly, clearly or much better
flags: [unsafe, off topic]     # may be ticked
comment: true                  # a text field
reasons: [I cannot decide]     # why an item is skipped, 1 to 9 of them
markdown: true                 # texts are shown as Markdown
"""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from tastemaker.errors import UsageError
from tastemaker.settings import nearest

_MOST = 9
_LONGEST = 200


class _Loader(yaml.SafeLoader):
    """Reads true and false as YAML 1.2 does: Yes, No, On and Off are words, such as labels."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {}
for _first, _pairs in yaml.SafeLoader.yaml_implicit_resolvers.items():
    _Loader.yaml_implicit_resolvers[_first] = [
        pair for pair in _pairs if pair[0] != _BOOL
    ]
_Loader.add_implicit_resolver(
    _BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


@dataclass(frozen=True)
class Form:
    """The questions of a page. Raises UsageError for a value that cannot be."""

    instructions: str = ""
    scale: tuple[int, int] = (1, 7)
    labels: tuple[str, ...] = ()
    grade_each: bool = False
    label_each: bool = False
    strength: bool = False
    flags: tuple[str, ...] = ()
    comment: bool = False
    reasons: tuple[str, ...] = ()
    markdown: bool = False

    def __post_init__(self) -> None:
        for name, kind in (
            ("instructions", str),
            ("grade_each", bool),
            ("label_each", bool),
            ("strength", bool),
            ("comment", bool),
            ("markdown", bool),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                wanted = "true or false" if kind is bool else "a text"
                raise UsageError(f"form: {name} {value!r}: write {wanted}.")
        for name in ("labels", "flags", "reasons"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        if len(self.labels) not in (0, 2):
            raise UsageError(
                "form: labels are two: the positive one, then the negative one."
            )
        object.__setattr__(self, "scale", _scale(self.scale))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, list | tuple) and len(value) <= _MOST
    if not is_list or not all(
        isinstance(each, str | bool | int) for each in value
    ):
        raise UsageError(
            f"form: {name} {value!r}: a list of at most {_MOST} texts."
        )
    words = {True: "true", False: "false"}
    texts = tuple(
        words[each] if isinstance(each, bool) else str(each) for each in value
    )
    if any(not text.strip() or len(text) > _LONGEST for text in texts):
        raise UsageError(
            f"form: {name}: a text has 1 to {_LONGEST} characters."
        )
    return texts


def _scale(value: Any) -> tuple[int, int]:
    match value:
        case [int(low), int(high)] if 0 <= low < high <= _MOST:
            return low, high
    raise UsageError(
        f"form: scale {value!r}: two whole numbers from 0 to 9, such as [1, 7]."
    )


def read_form(path: Path) -> Form:
    """Return the form of a YAML file. Raises UsageError for an unknown key or value."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = " ".join(str(error).split())
        raise UsageError(
            f"{path}: cannot be read as YAML ({message})."
        ) from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: must hold `question: value` lines.")
    names = [field.name for field in fields(Form)]
    for key in values:
        if key not in names:
            raise UsageError(
                f"{path}: unknown key {key!r}: {nearest(str(key), names)}."
            )
    return Form(**values)
