"""A loop file: what is to be judged, fitted, steered and compared. All its problems at once."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tastemaker.data.roles import described_source
from tastemaker.errors import UsageError
from tastemaker.loop.keys import (
    algorithm_entries,
    checked_values,
    keys_of,
    sections,
    values_of,
)
from tastemaker.loop.yaml_lines import (
    Entry,
    Problem,
    entries_of,
    read_entries,
)

PLAYGROUND = "playground"
BUILT_IN_REWARDS = ("length", "repetition", "missing-end", "gold")
BUILT_IN_BACKBONES = ("linear", "tiny", "minilm")
_HUB = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_ENDING = re.compile(r"\.[A-Za-z]\w*", re.ASCII)
_DEFAULT_HELD_OUT = 0.1
_DEFAULT_ROUND = 300  # comparisons of a round


@dataclass(frozen=True)
class LoopFile:
    """The checked settings of a loop.

    name: of the file, in messages. top: values outside sections. sections: the values of each
    section that is named. algorithms: the values of each algorithm. lines: of each value, by
    (section, key). folder: what paths are relative to.
    """

    name: str
    folder: Path
    top: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]]
    algorithms: Mapping[str, Mapping[str, Any]]
    lines: Mapping[tuple[str, str], int]

    @property
    def seed(self) -> int:
        """The seed of all stages."""
        return int(self.top.get("seed", 0))

    @property
    def has_gpt(self) -> bool:
        """Whether a GPT is opened or pretrained."""
        return "policy" in self.top or "pretrain" in self.sections

    @property
    def judgements(self) -> tuple[str, ...]:
        """The sources of judgements to learn from."""
        return tuple(self.top["judgements"])

    @property
    def held_out(self) -> float | tuple[str, ...]:
        """The share of the judgements that only measures, or its sources."""
        held_out: float | tuple[str, ...] = self.top.get(
            "held_out", _DEFAULT_HELD_OUT
        )
        return held_out

    @property
    def rounds(self) -> int:
        """How often the policy is steered."""
        return int(self.section("rounds").get("number", 1))

    @property
    def judged_a_round(self) -> int:
        """Comparisons or rankings that judges give in each further round."""
        return int(self.section("rounds").get("judgements", _DEFAULT_ROUND))

    @property
    def answers_a_judgement(self) -> int:
        """Texts of each judgement of a further round: 2 are compared, more are ranked."""
        return int(self.section("rounds").get("answers", 2))

    def watcher_of(self, number: int) -> str | None:
        """Return the stage whose model watches a round; None: no second model.

        A watcher with judgements of its own learns once. Another one is fitted again in each
        round, as `fit` is.
        """
        if "watcher" not in self.sections:
            return None
        has_own = "judgements" in self.section("watcher")
        return (
            "watcher" if number == 1 or has_own else f"round-{number}/watcher"
        )

    def section(self, name: str) -> Mapping[str, Any]:
        """Return the values of a section, none where it is not named."""
        return self.sections.get(name, {})

    def place(self, section: str, key: str) -> str:
        """Return the name and the line of a value, for messages."""
        line = self.lines.get((section, key), 0)
        return f"{self.name}, line {line}" if line else self.name


def read_loop(
    source: str | Path | Mapping[str, Any],
    *,
    rounds: int | None = None,
    seed: int | None = None,
) -> tuple[LoopFile, list[Problem]]:
    """Return the settings of a file, or of a mapping with the same keys, and what is wrong.

    rounds, seed: instead of the file's. Wrong values are left out of the settings. What only the
    verbs know to be wrong is not listed. Raises UsageError for a file that is no YAML.
    """
    problems: list[Problem] = []
    if isinstance(source, Mapping):
        name, folder = "the loop", Path()
        entry = entries_of(dict(source))
    else:
        name, folder = str(source), Path(source).parent
        entry, problems = read_entries(Path(source))
    top = dict(values_of("", entry, problems))
    by_section = {}
    lines = {
        ("", key.replace("-", "_")): e.line for key, e in entry.entries.items()
    }
    for section in sections(entry):
        of_section = _named(entry, section)
        by_section[section] = values_of(section, of_section, problems)
        for key, each in of_section.entries.items():
            lines[section, key.replace("-", "_")] = each.line
    algorithms = {}
    if (
        "steer" in by_section
        or rounds
        or "policy" in top
        or "pretrain" in by_section
    ):
        algorithms = _algorithms(_named(entry, "steer"), problems, lines)
    if seed is not None:
        top["seed"] = seed
    if rounds is not None:
        by_section.setdefault("rounds", {})["number"] = rounds
    _resolve(top, by_section, folder, lines, problems)
    _resolve_models(top, by_section, folder)
    file = LoopFile(name, folder, top, by_section, algorithms, lines)
    problems += _contradictions(file)
    return file, problems


def _named(entry: Entry, name: str) -> Entry:
    """Return the entry of a section, an empty one where it is not named."""
    for written, each in entry.entries.items():
        if written.replace("-", "_") == name:
            return each
    return Entry({})


def _algorithms(
    steer: Entry,
    problems: list[Problem],
    lines: dict[tuple[str, str], int],
) -> dict[str, dict[str, Any]]:
    """Return the values of each algorithm: those of `steer`, and its own above them."""
    keys = {
        name: key
        for name, key in keys_of("steer").items()
        if key.table is not None
    }
    by_name = {}
    for name, entry in algorithm_entries(steer, problems).items():
        by_name[name] = checked_values(f"steer {name}", keys, entry, problems)
        for key, each in entry.entries.items():
            lines[f"steer {name}", key.replace("-", "_")] = each.line
    return by_name


# --- paths ------------------------------------------------------------------------------------

_MAY_BE_HUB_WORDS = {("", "policy"), ("pretrain", "from")}
"""Keys whose value may be a hub name without a slash, such as gpt2."""
_JUDGES = ("rounds", "judges")
_PATHS = {
    ("", "judgements"),
    ("", "held_out"),
    ("", "policy"),
    ("pretrain", "texts"),
    ("pretrain", "from"),
    ("fit", "anchor"),
    ("watcher", "anchor"),
    ("watcher", "judgements"),
    ("steer", "prompts"),
    _JUDGES,
}


def _resolve(
    top: dict[str, Any],
    by_section: Mapping[str, dict[str, Any]],
    folder: Path,
    lines: Mapping[tuple[str, str], int],
    problems: list[Problem],
) -> None:
    """Make paths relative to the file's folder; name those that are missing."""
    for section, key in sorted(_PATHS):
        values = top if not section else by_section.get(section, {})
        value = values.get(key)
        if value is None or isinstance(value, float):
            continue
        several = (value,) if isinstance(value, str) else value
        resolved = []
        for source in several:
            # people judge once there are texts, so their store may come later
            may_come = (section, key) == _JUDGES
            path = resolved_source(source, folder, may_come=may_come)
            is_word = Path(source).name == source and not has_ending(source)
            if (section, key) in _MAY_BE_HUB_WORDS and is_word:
                path = path if Path(path).exists() else source
                resolved.append(path)
                continue
            resolved.append(path)
            problem = _problem_of(path, may_come=may_come)
            if problem:
                line = lines.get((section, key), 0)
                problems.append(Problem(line, f"{key} {source}: {problem}"))
        values[key] = (
            resolved[0] if isinstance(value, str) else tuple(resolved)
        )


def _problem_of(path: str, *, may_come: bool) -> str:
    """Return what is wrong with a source; "" for nothing. may_come: it may be made later."""
    if may_come and Path(bare(path)).parent.is_dir():
        return ""
    if may_come and _is_hub_name(path):
        return (
            "a data set of the hub holds no judgements of texts that are still to be written. "
            "Name a store, a file or a folder here, where people add theirs."
        )
    if is_missing(path):
        return f"there is no such file or folder{_beside(path)}."
    return ""


def _resolve_models(
    top: dict[str, Any],
    by_section: Mapping[str, dict[str, Any]],
    folder: Path,
) -> None:
    """Make those rewards and backbones relative to the file's folder that are folders there.

    A folder of a built-in name is meant by `./gold`.
    """

    def resolved(name: str, built_in: Collection[str]) -> str:
        bare_name, weight = weighted(name)
        if bare_name in built_in:
            return name
        beside = folder / bare_name
        if not beside.is_dir():
            return name
        # a folder here of a built-in name, which `./` told apart
        start = "./" if str(beside) in built_in else ""
        return f"{start}{beside}{weight}"

    if "gold" in top:
        top["gold"] = resolved(top["gold"], BUILT_IN_REWARDS)
    for section in ("fit", "watcher"):
        values = by_section.get(section, {})
        if "backbone" in values:
            backbone = resolved(values["backbone"], BUILT_IN_BACKBONES)
            values["backbone"] = backbone
    steer = by_section.get("steer", {})
    if "rewards" in steer:
        rewards = [
            resolved(each, BUILT_IN_REWARDS) for each in steer["rewards"]
        ]
        steer["rewards"] = tuple(rewards)


def weighted(reward: str) -> tuple[str, str]:
    """Return a reward without its weight, and "=" with the weight, such as `repetition=-2`."""
    name, mark, number = reward.rpartition("=")
    try:
        float(number)
    except ValueError:
        return reward, ""
    return (name, f"{mark}{number}") if mark else (reward, "")


def _beside(path: str) -> str:
    """Return where a missing path was looked for, if that is no plain repetition."""
    folder = Path(bare(path)).parent
    return "" if folder == Path() else f" in {folder}"


def bare(source: str) -> str:
    """Return the path of a source, without the columns that may follow."""
    return str(described_source(source)[0])


def has_ending(source: str) -> bool:
    """Return whether a name ends like that of a file; "Qwen2.5-0.5B" does not."""
    return _ENDING.fullmatch(Path(source).suffix) is not None


def is_playground(source: str) -> bool:
    """Return whether a source is the invented world."""
    is_named = source.split(":", maxsplit=1)[0] == PLAYGROUND
    return is_named and not Path(source).exists()


def resolved_source(
    source: str, folder: Path, *, may_come: bool = False
) -> str:
    """Return a source relative to a folder, where it is a path.

    may_come: it is one where its folder is there, whether it is there itself or not.
    """
    if is_playground(source) or "://" in source:
        return source
    expanded = Path(source).expanduser()
    if expanded.is_absolute():
        return str(expanded)
    beside = folder / expanded
    is_here = beside.parent.is_dir() if may_come else beside.exists()
    if _is_hub_name(source) and not is_here:
        return source
    return str(beside)


def _is_hub_name(source: str) -> bool:
    return bool(_HUB.fullmatch(source)) and not has_ending(source)


def is_missing(source: str) -> bool:
    """Return whether a source is a path where nothing is."""
    if is_playground(source) or "://" in source:
        return False
    try:
        path = Path(bare(source))
    except UsageError:
        return False  # wrong columns: the reader says which
    return not path.exists() and not _is_hub_name(source)


# --- contradictions ---------------------------------------------------------------------------


def _contradictions(file: LoopFile) -> Iterator[Problem]:
    """Yield what contradicts, or is missing, in settings that are well formed each."""

    def at(section: str, key: str) -> int:
        return file.lines.get((section, key), 0)

    top, pretrain = file.top, file.section("pretrain")
    if "judgements" not in top and ("", "judgements") not in file.lines:
        yield Problem(
            0,
            "judgements are missing: name a file, a folder or playground:en:3000.",
        )
    if "policy" in top and "pretrain" in file.sections:
        yield Problem(
            at("", "pretrain"),
            "policy and pretrain: open a GPT or train one, one of the two.",
        )
    if "pretrain" in file.sections and ("pretrain", "texts") not in file.lines:
        yield Problem(
            at("", "pretrain"), "pretrain: name the texts to learn from."
        )
    if "size" in pretrain and "from" in pretrain:
        yield Problem(
            at("pretrain", "size"),
            "size and from: a given model has a size already. Choose one of the two.",
        )
    needs_a_gpt = {"steer": at("", "steer"), "best_of": at("", "best_of")}
    for name, line in needs_a_gpt.items():
        if line and not file.has_gpt and not at("", "pretrain"):
            yield Problem(
                line,
                f"{name} needs a GPT: name a policy, or texts to pretrain on.",
            )
    if "best_of" in top and top["best_of"] < 2:
        yield Problem(
            at("", "best_of"), f"best_of {top['best_of']}: must be at least 2."
        )
    yield from _of_steering(file, at)
    yield from _of_rounds(file, at)


def _of_steering(file: LoopFile, at: Any) -> Iterator[Problem]:
    steer = file.section("steer")
    if "opening" in steer and "prompts" not in steer:
        yield Problem(
            at("steer", "opening"), "opening is about prompts: name a source."
        )
    if "opening" in steer and len(steer["opening"]) != 2:
        yield Problem(
            at("steer", "opening"),
            "opening: two whole numbers, such as [2, 8].",
        )
    for key in ("chat", "prompt_column"):
        if key in steer and "prompts" not in steer:
            yield Problem(
                at("steer", key), f"{key} is about prompts: name a source."
            )
        elif key in steer and "opening" in steer:
            yield Problem(
                at("steer", key),
                f"{key}: an opening is continued; leave it out.",
            )
    backbone = file.section("fit").get("backbone", "linear")
    if steer.get("reward") == "baseline" and backbone == "linear":
        yield Problem(
            at("steer", "reward"),
            "reward baseline: only a network has a linear baseline; the fit is linear.",
        )
    if steer.get("reward") == "baseline" and "watcher" in file.sections:
        yield Problem(
            at("", "watcher"),
            "watcher: with reward baseline the network watches; leave one of them out.",
        )


def _of_rounds(file: LoopFile, at: Any) -> Iterator[Problem]:
    rounds = file.section("rounds")
    number = rounds.get("number", 1)
    if number < 1:
        yield Problem(
            at("rounds", "number"), f"number {number}: must be at least 1."
        )
    if number > 1 and not file.has_gpt:
        yield Problem(
            at("rounds", "number"),
            "rounds need a GPT: name a policy, or texts to pretrain on.",
        )
    on_playground = all(map(is_playground, file.top.get("judgements", ())))
    if number > 1 and "judges" not in rounds and not on_playground:
        yield Problem(
            at("", "rounds"),
            "rounds: name the judges, a store or file of judgements, or playground.",
        )
    if rounds.get("judgements", 1) < 1:
        yield Problem(
            at("rounds", "judgements"), "judgements: must be at least 1."
        )
    answers = rounds.get("answers", 2)
    if answers < 2:
        yield Problem(
            at("rounds", "answers"),
            f"answers {answers}: a judge compares 2 texts, or ranks more.",
        )


def steer_values(file: LoopFile, algorithm: str) -> dict[str, Any]:
    """Return the values by which an algorithm steers: its own stand above the section's."""
    values = dict(file.section("steer"))
    values.pop("algorithms", None)
    return values | dict(file.algorithms[algorithm])
