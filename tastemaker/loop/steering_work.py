"""What the stages about a GPT do: open or pretrain it, steer, write, be judged, compare, report.

Imported when one of them runs.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tastemaker.data.judgements import Judgement, Prompt
from tastemaker.data.reading import read
from tastemaker.data.roles import Columns
from tastemaker.data.store.addresses import is_database
from tastemaker.errors import DataError, UsageError
from tastemaker.files import writing_file
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.pretraining import pretrain
from tastemaker.loop.arguments import (
    pretrain_arguments,
    steer_parts,
)
from tastemaker.loop.keys import grouped
from tastemaker.loop.loop import best_run
from tastemaker.loop.loop_file import bare, is_playground
from tastemaker.loop.stages import at_round
from tastemaker.loop.work import (
    TRAIN,
    Result,
    Work,
    json_lines,
    read_rows,
    write_json,
    write_rows,
)
from tastemaker.playground.judges import CAREFUL_JUDGES, Judge, troubled
from tastemaker.rank.asking import most_telling
from tastemaker.report.frontier_page import write_frontier
from tastemaker.report.kl_frontier import frontier
from tastemaker.report.runs import report_runs
from tastemaker.report.steered_runs import (
    BestOfCurve,
    best_of_curve,
    powers_of_two,
)
from tastemaker.reward.model import BASELINE
from tastemaker.rl.text.prompts import openings_from, prompts_from
from tastemaker.rl.text.steer import STEERING, compared, steer
from tastemaker.rl.text.steer_task import Steered

POLICY = "policy.json"
COMPLETIONS = "completions.jsonl"
_BEST_OF = "best_of.json"
_PROMPTS = 2000
_CANDIDATES = 3
"""Pairs that are written for each one that is to be judged."""
_POOL = 256
_SHOWN = 150


# --- the GPT ----------------------------------------------------------------------------------


def open_gpt(work: Work) -> Result:
    """Open a GPT that is there, so that the stages after it can."""
    policy = Policy.load(work.settings["policy"])
    work.say(f"{policy}")
    return {"policy": work.settings["policy"]}


def pretrain_gpt(work: Work) -> Result:
    """Train a GPT on the texts."""
    values = dict(work.settings)
    seed = values.pop("seed")
    arguments = pretrain_arguments(values)
    policy = pretrain(
        arguments.pop("texts"),
        seed=seed,
        out=work.out,
        resume=True,
        say=work.say,
        **arguments,
    )
    return {"perplexity": policy.figures["perplexity"]}


# --- steering ---------------------------------------------------------------------------------


def rewards_of(work: Work, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what steers, what watches, and the true score: arguments of `steer`."""
    model = work.result("fit")
    is_baseline = values.get("reward") == "baseline"
    steering = model / BASELINE if is_baseline else model
    rewards: dict[str, Any] = {
        "reward": [str(steering), *values.get("rewards", ())]
    }
    watcher = work.watcher()
    if watcher is not None:
        rewards["held_out"] = str(watcher)
    elif is_baseline:
        rewards["held_out"] = str(model)
    elif (model / BASELINE).is_dir():
        rewards["held_out"] = str(model / BASELINE)
    if work.settings["gold"] is not None:
        rewards["gold"] = work.settings["gold"]
    return rewards


def prompts_of(
    values: Mapping[str, Any], policy: str, seed: int
) -> list[Any] | None:
    """Return the prompts; None begins texts."""
    source = values.get("prompts")
    if source is None:
        return None
    limit = values.get("limit", _PROMPTS)
    if "opening" in values:
        opening = tuple(values["opening"])
        reader = Policy.load(policy).reader
        return list(
            openings_from(
                source,
                reader,
                (opening[0], opening[1]),
                limit=limit,
                seed=seed,
                split=values.get("split"),
            )
        )
    return list(
        prompts_from(
            Path(source),
            limit=limit,
            prompt_column=values.get("prompt_column"),
            chat=values.get("chat", False),
        )
    )


def start_of(work: Work) -> str:
    """Return the folder or the name of the policy that the round begins with."""
    if work.stage.round > 1:
        pointer = work.result("write") / POLICY
        name = json.loads(pointer.read_text(encoding="utf-8"))["policy"]
        return str(work.folder.stage(name))
    return work.folder.first_policy(work.file.top)


def steer_gpt(work: Work) -> Result:
    """Steer the policy of the round by one algorithm."""
    values = dict(work.settings["values"])
    name, seed = work.settings["algorithm"], work.settings["seed"]
    parts = steer_parts(name, values)
    start = start_of(work)
    rewards = rewards_of(work, values)
    judged: list[Judgement] | None = None
    if hasattr(parts["algorithm"], "beta"):
        judged = _comparing(work.train(), name)
    more = {key: values[key] for key in ("caution", "device") if key in values}
    steered = steer(
        start,
        rewards.pop("reward"),
        prompts_of(values, start, seed),
        judgements=judged,
        seed=seed,
        out=work.out,
        resume=True,
        say=work.say,
        **parts,
        **rewards,
        **more,
    )
    work.say(f"{steered}")
    sample = steered.samples[0]
    for when in ("before", "after"):
        text = " ".join(f"{sample['prompt']}{sample[when]}".split())
        work.say(f"{when + ':':8}{text[:_SHOWN]}")
    figures = {}
    for key, value in steered.figures.items():
        is_figure = isinstance(value, int | float) and not isinstance(
            value, bool
        )
        if is_figure or key == "stopped_because":
            figures[key] = value
    if work.stage.round > 1:
        figures |= _from_first(work, steered, parts, rewards_of(work, values))
    return figures


def _from_first(
    work: Work,
    steered: Steered,
    parts: Mapping[str, Any],
    rewards: Mapping[str, Any],
) -> Result:
    """Measure the GPT of a further round beside the one before any steering, the reference.

    `steer` measures from the policy of the round before. Returns what replaces its figures, and
    adds a note to `steering.json`.
    """
    reference = work.folder.first_policy(work.file.top)
    values, seed = work.settings["values"], work.settings["seed"]
    prompts = prompts_of(values, reference, seed) or [""]
    figures = compared(
        Policy.load(reference),
        steered.policy,
        prompts,
        rewards,
        sampling=parts["sampling"],
        count=parts["steering"].measured,
        seed=seed,
        caution=steered.figures["settings"]["caution"],
    )
    change = (
        f"score {figures['score_before']:.2f} → {figures['score_after']:.2f} "
        f"at {figures['kl']:.1f} nats"
    )
    work.say(f"from the GPT before all rounds: {change}")
    name = work.stage.name.rpartition("/")[2]
    note = f"{name}: from the GPT before all rounds, {change}."
    path = work.out / STEERING
    content = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**content, "note": note})
    return figures


def _comparing(train: Sequence[Judgement], name: str) -> list[Judgement]:
    """Return the comparisons and rankings. Raises DataError for none."""
    judged = [each for each in train if each.ranks]
    if not judged:
        raise DataError(
            f"{name} learns from comparisons and rankings, and the judgements hold none. "
            "Leave it out of algorithms."
        )
    return judged


def choose_best(work: Work) -> Result:
    """Measure best-of-n sampling, to compare with."""
    values = dict(work.settings["values"])
    policy = start_of(work)
    rewards = rewards_of(work, values)
    parts = steer_parts("ppo", values)
    prompts = prompts_of(values, policy, work.settings["seed"])
    n = work.settings["n"]
    several = None if prompts is None else prompts[: max(1, _POOL // n)]
    curve = best_of_curve(
        Policy.load(policy),
        rewards.pop("reward"),
        "" if several is None else several,
        ns=powers_of_two(n),
        completions=max(n, _POOL if several is None else n),
        sampling=parts["sampling"],
        seed=work.settings["seed"],
        **rewards,
    )
    write_json(work.out / _BEST_OF, curve.as_dict())
    ends = {}
    for name, series in curve.series.items():
        ends[name] = [float(series[0]), float(series[-1])]
    changes = [f"{name} {a:.2f} → {b:.2f}" for name, (a, b) in ends.items()]
    work.say(f"best of {n}: {', '.join(changes)} at {curve.kl[-1]:.1f} nats")
    return {"n": n, "series": ends, "kl": float(curve.kl[-1])}


def _read_best_of(path: Path) -> BestOfCurve:
    import numpy as np

    content = json.loads(path.read_text(encoding="utf-8"))
    points = content["points"]
    series = {}
    for name in points[0]:
        if name not in ("n", "kl"):
            series[name] = np.array([point[name] for point in points])
    ns = tuple(point["n"] for point in points)
    return BestOfCurve(ns, series, content["prompts"], content["completions"])


# --- another round ----------------------------------------------------------------------------


def write_texts(work: Work) -> Result:
    """Let the best steered policy write groups of texts; those that teach most are to be judged.

    They are chosen as `rank --ask optimal` chooses, with a random share.
    """
    before = work.stage.after
    figures = {}
    for name in before:
        record = work.folder.record(name)
        figures[name] = {} if record is None else record.result
    best = best_run(figures)
    folder = work.folder.stage(best)
    write_json(work.out / POLICY, {"policy": best})
    values = dict(work.settings["values"])
    seed = work.settings["seed"]
    policy = Policy.load(folder)
    prompts: list[Any] = prompts_of(values, str(folder), seed) or [""]
    plain = [_prompt_of(prompt) for prompt in prompts]
    random.Random(seed).shuffle(plain)
    count = work.settings["judgements"]
    asked = [plain[n % len(plain)] for n in range(_CANDIDATES * count)]
    sampling = steer_parts("ppo", values)["sampling"]
    answers = work.settings["answers"]
    written = policy.complete(
        asked, samples=answers, sampling=sampling, seed=seed
    )
    rows = _different_texts(asked, [each.text for each in written], answers)
    if not rows:
        raise DataError(
            f"{best} wrote {len(asked):,} times {answers} texts, and no two of them differ: there "
            "is nothing to judge. Steer less (a higher kl_coef, a lower most_kl), or raise the "
            "temperature."
        )
    groups = [row["completions"] for row in rows]
    judged = work.train(until=work.stage.round - 1)
    telling, at_random = most_telling(judged, groups, count, seed=seed)
    with (
        writing_file(work.out / COMPLETIONS) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for number in sorted([*telling, *at_random]):
            file.write(json.dumps(rows[number], ensure_ascii=False) + "\n")
    work.say(
        f"{best} wrote {len(rows):,} groups of up to {answers} texts; to be judged: the "
        f"{len(telling):,} that teach most and {len(at_random):,} random ones"
    )
    chosen = [groups[number] for number in (*telling, *at_random)]
    return {
        "run": best,
        "candidates": len(rows),
        "texts": sum(map(len, chosen)),
        "optimal": len(telling),
        "random": len(at_random),
    }


def _different_texts(
    asked: Sequence[Prompt], texts: Sequence[str], answers: int
) -> list[dict[str, Any]]:
    """Return the texts of each prompt that differ, with the prompt, as rows.

    texts: `answers` of each prompt. Empty texts, and prompts with fewer than two texts, are left
    out.
    """
    rows = []
    for number, prompt in enumerate(asked):
        written = texts[answers * number : answers * (number + 1)]
        different = [text for text in dict.fromkeys(written) if text.strip()]
        if len(different) > 1:
            row = {"prompt": _as_row(prompt), "completions": different}
            rows.append(row)
    return rows


def _prompt_of(prompt: Any) -> Any:
    return prompt["prompt"] if isinstance(prompt, Mapping) else prompt


def _as_row(prompt: Prompt) -> Any:
    if isinstance(prompt, str):
        return prompt
    return [turn._asdict() for turn in prompt]


def judge_texts(work: Work) -> Result:
    """Take what judges say about the texts: the playground's, or those of a file or store."""
    judges = work.settings["judges"]
    judged: list[Judgement]
    judged = (
        _simulated(work)
        if is_playground(judges)
        else _new_judgements(work, judges)
    )
    if not judged:
        place = work.result("write") / COMPLETIONS
        raise UsageError(
            f"{judges}: nobody has judged since. Judge the texts of {place} (for a store: "
            f"tastemaker rank {judges} --items {place}), and call the loop again; finished stages "
            "are kept."
        )
    write_rows(work.out / TRAIN, judged)
    work.say(f"{len(judged):,} new judgements")
    return {"judgements": len(judged)}


def _simulated(work: Work) -> list[Judgement]:
    """Return what the playground's judges say: those who judged the data before."""
    seed = work.settings["seed"]
    draw = random.Random(f"round {seed}")
    is_troubled = any(
        is_playground(source) and "troubled" in source
        for source in work.settings["collected"]
    )
    judges: tuple[Judge, ...] = CAREFUL_JUDGES
    if is_troubled:
        judges = troubled(n=10, seed=work.file.seed)
    judged: list[Judgement] = []
    for row in json_lines(work.result("write") / COMPLETIONS):
        texts, prompt = row["completions"], row["prompt"] or None
        judge = draw.choice(judges)
        if len(texts) == 2:
            first, second = texts
            judged.append(judge.comparison(first, second, draw, prompt))
        else:
            judged.append(judge.ranking(texts, draw, prompt))
    return judged


def _new_judgements(work: Work, judges: str) -> list[Judgement]:
    """Return the judgements of a source that no earlier stage has taken; none if it is missing."""
    if not is_database(judges) and not Path(bare(judges)).exists():
        return []
    groups = grouped("read", work.settings["read"])
    options = dict(groups[None])
    options.pop("skip_bad", None)
    rows = read(judges, columns=Columns(**groups["columns"]), **options)
    taken = set(map(_plain, read_rows(work.folder.stage("collect") / TRAIN)))
    taken |= set(map(_plain, work.held_out()))
    for number in range(2, work.stage.round):
        earlier = work.folder.stage(at_round("judge", number))
        taken |= set(map(_plain, read_rows(earlier / TRAIN)))
    new = [row for row in rows if _plain(row) not in taken]
    written = _written_texts(work)
    judged = [row for row in new if {*map(str.strip, row.texts)} <= written]
    if new and not judged:
        place = work.file.place("rounds", "judges")
        raise DataError(
            f"{place}, judges: {judges} holds {len(new):,} new judgements, and none is of texts "
            f"that this round wrote. Judge those of {work.result('write') / COMPLETIONS}."
        )
    others = len(new) - len(judged)
    if others:
        work.say(f"{others:,} judgements of other texts left out")
    return judged


def _written_texts(work: Work) -> set[str]:
    """Return the texts that a round wrote for judges."""
    written: set[str] = set()
    for row in json_lines(work.result("write") / COMPLETIONS):
        written.update(map(str.strip, row["completions"]))
    return written


def _plain(judgement: Judgement) -> str:
    """Return what a judgement says, without where it was read."""
    values = {
        field.name: getattr(judgement, field.name)
        for field in fields(judgement)
        if field.compare
    }
    return repr((judgement.kind, values))


# --- compare, report --------------------------------------------------------------------------


def compare_runs(work: Work) -> Result:
    """Write the KL–reward frontier of all steered runs."""
    runs = [name for name in work.stage.after if name != "best-of"]
    best_of = work.folder.stage("best-of") / _BEST_OF
    curve = _read_best_of(best_of) if "best-of" in work.stage.after else None
    page = frontier([work.folder.stage(name) for name in runs], best_of=curve)
    write_frontier(page, work.out)
    verdicts = {}
    for course in page.courses:
        verdicts[course.label] = f"{course.verdict}"
        work.say(f"{course.label}: {course.verdict}")
    return {"verdicts": verdicts}


def write_report(work: Work) -> Result:
    """Write the page that shows the whole loop."""
    folders = []
    for name in work.stage.after:
        is_policy = name == "gpt" and "pretrain" in work.file.sections
        task = name.rpartition("/")[2]
        is_shown = task in ("doctor", "fit", "evaluate") or "steer-" in task
        if is_policy or is_shown:
            folders.append(work.folder.stage(name))
    curve = None
    if "best-of" in work.stage.after:
        curve = _read_best_of(work.folder.stage("best-of") / _BEST_OF)
    costs = []
    for name in work.stage.after:
        record = work.folder.record(name)
        if record is not None:
            costs.append((name, record.cost))
    report_runs(
        folders,
        work.out,
        language=work.settings["language"],
        best_of=curve,
        stages=costs,
    )
    return {"report": "report.html"}
