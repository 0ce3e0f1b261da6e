"""What the stages about judgements and reward models do. Imported when one of them runs."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.formats.single import from_row, to_row
from tastemaker.data.judgements import Example, Judgement, fingerprint
from tastemaker.data.read_as import ReadAs
from tastemaker.data.reading import read, read_examples
from tastemaker.data.roles import Columns
from tastemaker.data.source_names import distinct_names
from tastemaker.data.splitting import split
from tastemaker.errors import DataError, UsageError
from tastemaker.files import writing_file
from tastemaker.loop.arguments import fit_arguments
from tastemaker.loop.keys import grouped
from tastemaker.loop.loop_file import LoopFile, is_playground
from tastemaker.loop.run_folder import RunFolder
from tastemaker.loop.stages import Stage, at_round
from tastemaker.playground.judges import (
    CAREFUL_JUDGES,
    KINDS,
    Judge,
    judgements,
    troubled,
)

Say = Callable[[str], None]
Result = dict[str, Any]
TRAIN, HELD_OUT = "train.jsonl", "held_out.jsonl"
_PLAYGROUND_JUDGEMENTS = 3000
_SHOWN_PROBLEMS = 2
_APART = 100
"""Between the seeds of the playground's sources; held-out ones and the watcher's lie between."""
_ANSWERS = re.compile(r"(\d+)-(\d+)", re.ASCII)


@dataclass(frozen=True)
class Work:
    """A stage that runs. out: the folder that it fills. say: takes a line of its result."""

    file: LoopFile
    folder: RunFolder
    stage: Stage
    out: Path
    say: Say

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the stage."""
        return self.stage.settings

    def result(self, name: str) -> Path:
        """Return the folder of a finished stage of the same round."""
        return self.folder.stage(at_round(name, self.stage.round))

    def watcher(self) -> Path | None:
        """Return the folder of the model that watches this round; None: no second model."""
        name = self.file.watcher_of(self.stage.round)
        return None if name is None else self.folder.stage(name)

    def train(self, *, until: int | None = None) -> list[Judgement]:
        """Return all judgements to learn from until a round, by default this one."""
        rows = read_rows(self.folder.stage("collect") / TRAIN)
        last = self.stage.round if until is None else until
        for number in range(2, last + 1):
            judged = self.folder.stage(at_round("judge", number))
            rows += read_rows(judged / TRAIN)
        return rows

    def held_out(self) -> list[Judgement]:
        """Return the judgements that only measure."""
        return read_rows(self.folder.stage("collect") / HELD_OUT)


def write_rows(path: Path, rows: Sequence[Judgement]) -> None:
    """Write judgements as JSON lines."""
    with (
        writing_file(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for judgement in rows:
            row = json.dumps(to_row(judgement), ensure_ascii=False)
            file.write(f"{row}\n")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, complete or not at all."""
    with writing_file(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")


def read_rows(path: Path) -> list[Judgement]:
    """Return the judgements that `write_rows` wrote."""
    rows = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if line:
            rows.append(from_row(json.loads(line), f"{path}:{number}"))
    return rows


# --- collect, doctor --------------------------------------------------------------------------


def collect(work: Work) -> Result:
    """Read all judgements, and set some of them apart."""
    settings = work.settings
    seed = settings["seed"]
    lines: list[str] = []
    judged = list(
        _read_all(settings["judgements"], settings["read"], seed, work, lines)
    )
    held_out = settings["held_out"]
    if isinstance(held_out, float):
        train, measured = split(judged, held_out=held_out, seed=seed)
    else:
        train = judged
        measured = _unseen(
            list(
                _read_all(
                    held_out, settings["read"], seed, work, lines, apart=1
                )
            ),
            train,
            work,
        )
    write_rows(work.out / TRAIN, train)
    write_rows(work.out / HELD_OUT, measured)
    counts = Counter(judgement.kind for judgement in train)
    kinds = ", ".join(f"{count:,} {kind}s" for kind, count in counts.items())
    judges = {judgement.judge for judgement in train} - {None}
    by_judges = f" by {len(judges)} judges" if judges else ""
    work.say(f"{kinds}{by_judges}; {len(measured):,} judgements held out")
    return {
        "judgements": dict(counts),
        "held_out": len(measured),
        "judges": len(judges),
        "read_as": lines,
    }


def _unseen(
    measured: Sequence[Judgement], train: Sequence[Judgement], work: Work
) -> list[Judgement]:
    """Return the held-out judgements of texts that are not in the training data; say how many."""
    learned = {fingerprint(text) for j in train for text in j.texts}
    unseen = []
    for judgement in measured:
        if not any(fingerprint(text) in learned for text in judgement.texts):
            unseen.append(judgement)
    left_out = len(measured) - len(unseen)
    if left_out:
        work.say(
            f"{left_out:,} held-out judgements are of texts in the training data and are left out"
        )
    return unseen


def _read_all(
    sources: Sequence[str],
    values: Mapping[str, Any],
    seed: int,
    work: Work,
    lines: list[str],
    *,
    apart: int = 0,
) -> Iterator[Judgement]:
    """Yield the judgements of all sources.

    lines: takes what each source was read as, and its notes. apart: added to the
    seed of the playground's reviews, so that they are others; its judges stay.
    """
    groups = grouped("read", values)
    options = dict(groups[None])
    skips = options.pop("skip_bad", False)
    skipped: list[DataError] | None = [] if skips else None
    names = distinct_names(list(sources))
    report: list[ReadAs] = []
    for number, source in enumerate(sources):
        if is_playground(source):
            place = apart + _APART * number
            yield from playground_judgements(source, seed, apart=place)
            continue
        yield from read(
            source,
            seed=seed,
            columns=Columns(**groups["columns"]),
            skip_bad=skipped,
            name=names.get(source),
            report=report,
            **options,
        )
    for shown in report:
        for line in shown.lines():
            work.say(line)
            lines.append(line)
    if skipped:
        work.say(f"{len(skipped):,} rows were left out, such as {skipped[0]}")


def playground_judgements(
    source: str, seed: int, *, apart: int = 0
) -> list[Judgement]:
    """Return the judgements of a name such as `playground:en:3000:ranking:8-12:troubled`.

    apart: added to the seed of the reviews, not to that of the judges. Raises UsageError for a name
    that is not made like that.
    """
    options: dict[str, Any] = {"language": "en", "kind": "mixed"}
    count = _PLAYGROUND_JUDGEMENTS
    judges: tuple[Judge, ...] = CAREFUL_JUDGES
    for word in source.split(":")[1:]:
        answers = _ANSWERS.fullmatch(word)
        if word in ("en", "zh"):
            options["language"] = word
        elif word in (*KINDS, "mixed"):
            options["kind"] = word
        elif word == "troubled":
            judges = troubled(n=10, seed=seed)
        elif word.isdecimal():
            count = int(word)
        elif answers:
            options["answers"] = (int(answers[1]), int(answers[2]))
        else:
            raise UsageError(
                f"{source}: {word!r} is no language, number, kind of judgement, range of answers "
                "or troubled. Write it as playground:en:3000:ranking:3-6:troubled."
            )
    return judgements(count, judges=judges, seed=seed + apart, **options)


def check_data(work: Work) -> Result:
    """Look for problems in the judgements, and write the doctor page."""
    from tastemaker.doctor.diagnosis import doctor
    from tastemaker.report.data_part import write_doctor_page
    from tastemaker.reward.cross_fitting import check_judges

    train = work.train()
    diagnosis = doctor(
        train,
        test=work.held_out(),
        judges=check_judges(train, seed=work.settings["seed"]),
    )
    collected = work.folder.record("collect")
    lines = [] if collected is None else collected.result.get("read_as", [])
    write_doctor_page(diagnosis, work.out, read_as=lines)
    for problem in _worst(diagnosis.problems):
        work.say(problem)
    if diagnosis.is_healthy:
        work.say("no problem in the data")
    return {"problems": [problem.name for problem in diagnosis.problems]}


def _worst(problems: Sequence[Any]) -> list[str]:
    """Return the problems of judges, with their names, then the worst other ones."""
    lines = []
    for problem in problems:
        if problem.name.endswith("_judges"):
            names = ", ".join(sorted(problem.examples))
            lines.append(f"{problem.what} ({names})")
    for problem in problems[:_SHOWN_PROBLEMS]:
        if not problem.name.endswith("_judges"):
            lines.append(problem.what)
    return lines


# --- fit, evaluate ----------------------------------------------------------------------------


def fit_model(work: Work) -> Result:
    """Fit a reward model, and say what it is worth."""
    from tastemaker.reward.fitting import fit

    values = dict(work.settings)
    section, seed = values.pop("section"), values.pop("seed")
    values.pop("read", None)
    positive = values.pop("positive", None)
    arguments = fit_arguments(section, values, seed)
    if positive is not None:
        arguments["labels"] = {"positive": positive}
    if "anchor" in arguments:
        arguments["anchor"] = read_examples(arguments["anchor"])
    sources = arguments.pop("judgements", None)
    train = work.train()
    if sources is not None:
        reading = work.settings["read"]
        train = list(_read_all(sources, reading, seed, work, [], apart=2))
    model = fit(train, out=work.out, resume=True, **arguments)
    contract = model.contract
    if "verdict" in contract.evaluation:
        work.say(contract.evaluation["verdict"])
    for line in contract.judges_in_words():
        work.say(line)
    return {
        "model": repr(model),
        "evaluation": contract.evaluation,
        "judges": contract.judges,
    }


def evaluate_model(work: Work) -> Result:
    """Measure the model of a round on the held-out judgements, and write its report."""
    from tastemaker.evaluate.evaluation import evaluate
    from tastemaker.report.report_page import write_report
    from tastemaker.reward.explain import explain
    from tastemaker.reward.model import RewardModel

    held_out = work.held_out()
    model = RewardModel.load(work.result("fit"))
    measured = evaluate(
        model,
        held_out,
        baseline=model.baseline,
        training_fingerprints=model.training_fingerprints,
        training_sketches=model.training_sketches,
        seed=work.settings["seed"],
    )
    explained = [explain(model, example) for example in measured.extremes(2)]
    write_report(measured, work.out, explanations=explained)
    work.say(measured.verdict())
    models = {"model": model}
    if model.baseline is not None:
        models["linear baseline"] = model.baseline
    watcher = work.watcher()
    if watcher is not None:
        models["watcher"] = RewardModel.load(watcher)
    result: Result = {"evaluation": measured.as_dict()}
    if work.settings["gold"] is not None:
        result["tau_with_gold"] = _against_gold(models, held_out, work)
    _show(models, work)
    return result


def _gold(work: Work, texts: Sequence[str]) -> list[float]:
    """Return the true scores of texts."""
    from tastemaker.gpt.writing import Completion
    from tastemaker.rl.text.rewards import checked, reward_of

    written = [Completion("", text, (), (), "end") for text in texts]
    return list(checked(reward_of(work.settings["gold"]), written))


def _against_gold(
    models: Mapping[str, Any], held_out: Sequence[Judgement], work: Work
) -> dict[str, float]:
    """Return Kendall's τ of each model with the true score, on the held-out texts."""
    from tastemaker.maths.statistics import kendall

    examples: list[Example] = []
    for judgement in held_out:
        examples += judgement.examples
    gold = np.array(_gold(work, [example.text for example in examples]))
    taus = {}
    for name, model in models.items():
        scores = model.score_all(examples).values
        taus[name] = float(kendall(scores, gold))
        work.say(
            f"{name}: Kendall's τ with the gold score of held-out texts is {taus[name]:.3f}"
        )
    return taus


def _show(models: Mapping[str, Any], work: Work) -> None:
    """Say the scores of the sentences that the file names."""
    sentences = list(work.settings.get("show", ()))
    if not sentences:
        return
    columns = {name: model.score(sentences) for name, model in models.items()}
    if work.settings["gold"] is not None:
        columns["gold"] = _gold(work, sentences)
    widths = {name: max(len(name), 8) + 2 for name in columns}
    heading = "".join(f"{name:>{widths[name]}}" for name in columns)
    work.say(f"{heading}   scores of a few sentences")
    for number, sentence in enumerate(sentences):
        cells = []
        for name, values in columns.items():
            cells.append(f"{values[number]:{widths[name]}.2f}")
        work.say(f"{''.join(cells)}   {sentence}")


def json_lines(path: Path) -> Iterator[Any]:
    """Yield the rows of a file of JSON lines. A text may hold Unicode's other ends of lines."""
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            yield json.loads(line)
