"""The stages of a loop: what each depends on, and which of them must run.

The key of a stage is the digest of its settings, its input files, the keys of the stages before it
and the code that it runs. So a change makes only those stages run again that depend on it.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from tastemaker.data.store.addresses import is_database, is_store
from tastemaker.errors import DataError
from tastemaker.loop.estimates import estimated_seconds
from tastemaker.loop.keys import keys_of
from tastemaker.loop.loop_file import (
    BUILT_IN_BACKBONES,
    BUILT_IN_REWARDS,
    PLAYGROUND,
    LoopFile,
    bare,
    has_ending,
    is_playground,
    steer_values,
    weighted,
)
from tastemaker.loop.run_folder import (
    Record,
    RunFolder,
    digest_of,
)

_SHARED = ("loop", "files", "settings", "scores", "near_copies", "readable")
_DATA = (*_SHARED, "data", "playground", "maths")
_LEARN = (*_DATA, "processes", "huggingface", "adapters", "fast", "train")
_MODELS = (*_LEARN, "kinds", "evaluate", "reward")
_GPT = (*_LEARN, "gpt")
_STEERED = (*_MODELS, "gpt", "rl", "serve", "bulk")
_PAGES = ("report", "evaluate", "doctor", "plotting", "readable")

JUDGES = "judge_texts"
"""The task of the stage that takes new judgements; its source may come into being meanwhile."""


@dataclass(frozen=True)
class Stage:
    """A step of a loop. name: of its folder too.

    task: the function that does it, by name. settings: JSON-ready. sources: input files, each with
    who names it. after: the stages whose results it takes. round: from 1. code: what it runs.
    """

    name: str
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[tuple[str, str], ...] = ()
    after: tuple[str, ...] = ()
    round: int = 1
    code: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """A stage, its key, its record if it need not run, and why it must run otherwise.

    about: how many seconds it took last time, where it `was_run`, else an estimate from sizes;
    None: nobody knows.
    """

    stage: Stage
    key: str
    parts: Mapping[str, Any]
    record: Record | None
    reason: str
    about: float | None
    was_run: bool

    @property
    def is_cached(self) -> bool:
        """Whether the result on disk is that of the same inputs, settings and code."""
        return self.record is not None


# --- the stages of a file ---------------------------------------------------------------------


def stages_of(file: LoopFile) -> list[Stage]:
    """Return all stages, each after those that it depends on."""
    stages = [_collect(file), _doctor(file), *_models(file, 1)]
    if file.has_gpt:
        stages.append(_gpt(file))
        stages += _steering(file, 1)
        for number in range(2, file.rounds + 1):
            stages += _written_and_judged(file, number)
            stages += _models(file, number)
            stages += _steering(file, number)
        stages.append(_compare(stages))
    stages.append(_report(file, stages))
    return stages


def at_round(name: str, number: int) -> str:
    """Return the name of a stage in a round."""
    return name if number == 1 else f"round-{number}/{name}"


def steered_at(algorithm: str, number: int) -> str:
    """Return the name of a stage that steers; its folder's name differs from that of any round."""
    if number == 1:
        return f"steer-{algorithm}"
    return f"round-{number}/steer-{number}-{algorithm}"


def _placed(
    file: LoopFile, section: str, key: str, sources: Any
) -> tuple[tuple[str, str], ...]:
    """Return those sources that are files or folders here, each with who names it."""
    place = f"{file.place(section, key)}, {key}"
    several = (sources,) if isinstance(sources, str) else sources
    placed = []
    for source in several:
        is_here = not is_playground(source) and "://" not in source
        if is_here or is_database(source):
            placed.append((source, place))
    return tuple(placed)


def _of_rewards(
    file: LoopFile, section: str, key: str, rewards: Any
) -> tuple[tuple[str, str], ...]:
    """Return the folders and modules of rewards, each with who names it."""
    place = f"{file.place(section, key)}, {key}"
    several = (rewards,) if isinstance(rewards, str) else rewards or ()
    placed = []
    for reward in several:
        name = weighted(reward)[0]
        if name in BUILT_IN_REWARDS:
            continue
        if Path(name).is_dir():
            placed.append((name, place))
        elif ":" in name and "://" not in name:
            for path in _module_files(name.partition(":")[0]):
                placed.append((path, place))
    return tuple(placed)


def _module_files(name: str) -> Iterator[str]:
    """Yield the files of a module and of the packages around it; nothing is imported."""
    here = Path.cwd()
    places: list[str] | None = [str(here), *sys.path]
    for part in name.split("."):
        spec = PathFinder.find_spec(part, places) if part else None
        if spec is None:
            return
        if spec.has_location and spec.origin:
            path = Path(spec.origin)
            is_here = path.is_relative_to(here)
            yield str(path.relative_to(here) if is_here else path)
        places = spec.submodule_search_locations
        if places is None:
            return


def _of_gold(file: LoopFile) -> tuple[tuple[str, str], ...]:
    return _of_rewards(file, "", "gold", file.top.get("gold"))


def _of_writing(
    file: LoopFile, values: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    """Return the inputs that stages share which write texts and score them."""
    sources: tuple[tuple[str, str], ...] = ()
    if "prompts" in values:
        sources = _placed(file, "steer", "prompts", values["prompts"])
    sources += _of_rewards(file, "steer", "rewards", values.get("rewards"))
    return sources + _of_gold(file)


def _collect(file: LoopFile) -> Stage:
    held_out = file.held_out
    settings = {
        "judgements": list(file.judgements),
        "held_out": held_out
        if isinstance(held_out, float)
        else list(held_out),
        "read": dict(file.section("read")),
        "seed": file.seed,
    }
    sources = _placed(file, "", "judgements", file.judgements)
    if not isinstance(held_out, float):
        sources += _placed(file, "", "held_out", held_out)
    return Stage("collect", "collect", settings, sources, code=_DATA)


def _doctor(file: LoopFile) -> Stage:
    return Stage(
        "doctor",
        "check_data",
        {"seed": file.seed},
        after=("collect",),
        code=(*_MODELS, "doctor", "report"),
    )


def _models(file: LoopFile, number: int) -> Iterator[Stage]:
    """Yield the fit, the watcher and the evaluation of a round."""
    after = ["collect"]
    for earlier in range(2, number + 1):
        after.append(at_round("judge", earlier))
    names = ["fit"]
    watcher = file.watcher_of(number)
    if watcher == at_round("watcher", number):
        names.append("watcher")
    for name in names:
        settings = {"seed": file.seed, **file.section(name)}
        sources: tuple[tuple[str, str], ...] = ()
        for key in ("anchor", "judgements"):
            if key in settings:
                sources += _placed(file, name, key, settings[key])
        backbone = settings.get("backbone", "linear")
        is_own = backbone not in BUILT_IN_BACKBONES
        if is_own and Path(backbone).is_dir():
            sources += _placed(file, name, "backbone", settings["backbone"])
        if "judgements" in settings:
            settings["judgements"] = list(settings["judgements"])
            settings["read"] = dict(file.section("read"))
        if "positive" in file.section("read"):
            settings["positive"] = file.section("read")["positive"]
        yield Stage(
            at_round(name, number),
            "fit_model",
            {"section": name, **settings},
            sources,
            tuple(after),
            number,
            _MODELS,
        )
    yield Stage(
        at_round("evaluate", number),
        "evaluate_model",
        {
            "seed": file.seed,
            "gold": file.top.get("gold"),
            **file.section("evaluate"),
        },
        _of_gold(file),
        ("collect", at_round("fit", number), *([watcher] if watcher else ())),
        number,
        (*_MODELS, *_PAGES),
    )


def _gpt(file: LoopFile) -> Stage:
    if "policy" in file.top:
        policy = file.top["policy"]
        return Stage(
            "gpt",
            "open_gpt",
            {"policy": policy},
            _placed(file, "", "policy", policy),
            code=_GPT,
        )
    pretrain = dict(file.section("pretrain"))
    sources = _placed(file, "pretrain", "texts", pretrain["texts"])
    if "from" in pretrain:
        sources += _placed(file, "pretrain", "from", pretrain["from"])
    pretrain["texts"] = list(pretrain["texts"])
    return Stage(
        "gpt",
        "pretrain_gpt",
        {"seed": file.seed, **pretrain},
        sources,
        code=_GPT,
    )


def _steering(file: LoopFile, number: int) -> Iterator[Stage]:
    """Yield a stage for each algorithm, and best of n."""
    models = [at_round("fit", number)]
    watcher = file.watcher_of(number)
    if watcher is not None:
        models.append(watcher)
    start = "gpt"
    if number > 1:
        start = at_round("write", number)
    for algorithm in file.algorithms:
        values = steer_values(file, algorithm)
        settings = {
            "algorithm": algorithm,
            "gold": file.top.get("gold"),
            "seed": file.seed,
            "values": values,
        }
        after = ["collect", start, *models]
        yield Stage(
            steered_at(algorithm, number),
            "steer_gpt",
            settings,
            _of_writing(file, values),
            tuple(after),
            number,
            _STEERED,
        )
    if number == 1 and "best_of" in file.top:
        yield _best_of(file, (start, *models))


_WRITING = ("prompts", "opening", "limit", "split", "prompt_column", "chat")
_REWARDING = ("reward", "rewards", "caution")


def _writing_values(file: LoopFile) -> dict[str, Any]:
    """Return those values of `steer` that decide what is written, and what scores it."""
    values = {}
    for name, value in file.section("steer").items():
        if name == "algorithms":
            continue
        is_sampling = keys_of("steer")[name].table == "sampling"
        if is_sampling or name in (*_WRITING, *_REWARDING):
            values[name] = value
    return values


def _best_of(file: LoopFile, after: tuple[str, ...]) -> Stage:
    values = _writing_values(file)
    settings = {
        "n": file.top["best_of"],
        "gold": file.top.get("gold"),
        "seed": file.seed,
        "values": values,
    }
    sources = _of_writing(file, values)
    return Stage(
        "best-of", "choose_best", settings, sources, after, code=_STEERED
    )


def _written_and_judged(file: LoopFile, number: int) -> Iterator[Stage]:
    steered = tuple(steered_at(name, number - 1) for name in file.algorithms)
    values = _writing_values(file)
    write = at_round("write", number)
    yield Stage(
        write,
        "write_texts",
        {
            "number": number,
            "judgements": file.judged_a_round,
            "answers": file.answers_a_judgement,
            "seed": file.seed + number,
            "values": values,
        },
        (),
        steered,
        number,
        (*_STEERED, "rank", "doctor"),
    )
    judges = file.section("rounds").get("judges", PLAYGROUND)
    settings = {
        "judges": judges,
        "read": dict(file.section("read")),
        "collected": list(file.judgements),
        "seed": file.seed + number,
    }
    yield Stage(
        at_round("judge", number),
        JUDGES,
        settings,
        _placed(file, "rounds", "judges", judges),
        (write,),
        number,
        _DATA,
    )


def steered_names(stages: list[Stage]) -> list[str]:
    """Return the names of the stages that steer."""
    return [stage.name for stage in stages if stage.task == "steer_gpt"]


def _compare(stages: list[Stage]) -> Stage:
    after = steered_names(stages)
    after += [stage.name for stage in stages if stage.task == "choose_best"]
    return Stage(
        "compare",
        "compare_runs",
        {},
        after=tuple(after),
        code=(*_STEERED, *_PAGES),
    )


def _report(file: LoopFile, stages: list[Stage]) -> Stage:
    after = tuple(stage.name for stage in stages)
    settings = {"language": file.top.get("language", "en")}
    code = ("loop", *_PAGES)
    return Stage("report", "write_report", settings, after=after, code=code)


# --- which of them must run -------------------------------------------------------------------


def _content_of(source: str, place: str) -> list[Any]:
    """Return what tells one state of a store of judgements from another. place: who names it."""
    # imports SQLAlchemy
    from tastemaker.data.store import content_of

    try:
        return content_of(source if is_database(source) else bare(source))
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def planned(file: LoopFile, folder: RunFolder) -> list[Planned]:
    """Return all stages with their keys, and which of them must run.

    Raises DataError for an input file that is not there.
    """
    plan: list[Planned] = []
    by_name: dict[str, Planned] = {}
    policy: Mapping[str, Any] = {}
    for stage in stages_of(file):
        digests = {}
        for source, place in stage.sources:
            path = Path(bare(source))
            if is_database(source) or is_store(bare(source)):
                digests[source] = digest_of(_content_of(source, place))
            elif stage.task == JUDGES and not path.exists():
                digests[source] = ""  # people judge once there are texts
            elif path.exists() or not _is_hub_name(source):
                digests[source] = folder.digest(path, place)
        before = {name: by_name[name].key for name in stage.after}
        parts = {
            "settings": _without_folder(dict(stage.settings), file.folder),
            "inputs": _without_folder(digests, file.folder),
            "after": before,
            "code": folder.code_version(stage.code),
        }
        key = digest_of([stage.name, stage.task, parts])
        folder.take_finished(stage.name, key)
        record = folder.record(stage.name)
        reason = _reason(record, key, parts, by_name)
        if stage.name == "gpt":
            policy = stage.settings
        if record is None:
            about = estimated_seconds(stage.task, stage.settings, policy)
        else:
            about = record.seconds
        was_run = record is not None
        if reason:
            record = None
        each = Planned(stage, key, parts, record, reason, about, was_run)
        plan.append(each)
        by_name[stage.name] = each
    return plan


def _without_folder(value: Any, folder: Path) -> Any:
    """Return nested values with paths relative to the file's folder, which may be moved."""
    if isinstance(value, Mapping):
        return {
            _without_folder(key, folder): _without_folder(each, folder)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_folder(each, folder) for each in value]
    if isinstance(value, str) and folder != Path():
        return value.removeprefix(f"{folder}/")
    return value


def _is_hub_name(source: str) -> bool:
    return not has_ending(bare(source)) and not Path(source).is_absolute()


def _reason(
    record: Record | None,
    key: str,
    parts: Mapping[str, Any],
    by_name: Mapping[str, Planned],
) -> str:
    """Return why a stage must run; "" where it need not."""
    again = [name for name in parts["after"] if by_name[name].reason]
    reason = ""
    if record is None:
        reason = "to do"
    elif record.key != key:
        reason = "the code changed"
        before = record.parts
        if digest_of(before.get("settings")) != digest_of(parts["settings"]):
            reason = "its settings changed"
        elif before.get("inputs") != parts["inputs"]:
            reason = "its input changed"
        elif again:
            reason = f"follows from {again[0]}"
        elif before.get("after") != parts["after"]:
            reason = "what it follows from changed"
    return reason
