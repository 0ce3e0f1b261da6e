"""The settings of the page and its form. The module imports no web library: `--help` is fast."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from tastemaker.errors import UsageError
from tastemaker.serve.settings import Serving
from tastemaker.settings import (
    PART,
    PORT,
    at_least,
    check,
    nearest,
    setting,
    settings_class,
)

# ---- the form ------------------------------------------------------------------------------------


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
    """The questions beside the ranking, read from a small YAML file such as this one.

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

    Raises UsageError for an invalid value.
    """

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


# ---- the server ----------------------------------------------------------------------------------


@settings_class
@dataclass(frozen=True)
class Judging:
    """Where the page is, and how many judgements are wanted."""

    group: ClassVar[str] = "Options"

    host: str = setting(
        "127.0.0.1",
        "Address to listen on. Any other than this machine's own demands --token.",
    )
    port: int = setting(8010, "Port to listen on; 0 takes a free one.", PORT)
    token: str | None = setting(
        None,
        "Secret part of the lead's link. At least 16 letters, digits, - or _. A command line is "
        "visible to other users; TASTEMAKER_TOKEN is not.",
        shown="TASTEMAKER_TOKEN, or drawn",
    )
    judges_per_item: int = setting(
        1, "Judges that each new item is shown to.", at_least(1)
    )
    ask: Literal["random", "disagreement", "optimal"] = setting(
        "optimal",
        "Order of the items. optimal: those that teach a model of the judgements so far the most "
        "(D-optimal). 15 % are random in any case.",
    )
    refit_after: int = setting(
        40,
        "Judgements after which the order of the items is computed again.",
        at_least(5),
    )
    repeats: float = setting(
        0.05,
        "Share of the views that show a judge an earlier item again, to measure consistency.",
        PART,
    )
    calibration_share: float = setting(
        0.1, "Share of the views that show an item of --calibration.", PART
    )

    def __post_init__(self) -> None:
        check(self)
        # the same rules as those of a server of scores
        Serving(host=self.host, port=self.port, token=self.token)
        if self.judges_per_item > 1000:
            raise UsageError(
                f"--judges-per-item {self.judges_per_item}: at most 1000."
            )
