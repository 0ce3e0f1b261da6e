"""The verbs about reward models: `fit`, `score` and `evaluate`."""

import time
from pathlib import Path
from typing import Any

import click

from tastemaker import costs, processes
from tastemaker.cli import options as o
from tastemaker.cli import reading as r
from tastemaker.cli.gpt import evaluate_policy, is_policy
from tastemaker.cli.reports import (
    evaluation_folder,
    report_evaluation,
    report_fit,
    try_to_report_evaluation,
)
from tastemaker.cli.serving import (
    opened,
    part_of,
    ray_engine,
    say_part_done,
)
from tastemaker.cli.trust import (
    describe_fit,
    say_fit_memory,
    say_scored,
    score_standard_input,
    score_texts,
)
from tastemaker.progress import announced
from tastemaker.settings import caution_of

FIT = """Learn a reward model from judged texts.

Examples:

  tastemaker fit aclImdb.tar.gz --backbone linear --out taste

  tastemaker fit aclImdb.tar.gz --backbone minilm --out taste --resume

The classic recipe, DistilBERT on IMDB:

  tastemaker fit aclImdb.tar.gz --backbone distilbert-base-uncased --target label --batch-size 10
--lr 5e-5 --epochs 3 --max-length 512 --dropout 0.1 --out taste

A network on several GPUs, or machines (docs/scale.md):

  torchrun --nproc-per-node 2 -m tastemaker fit aclImdb.tar.gz --backbone minilm --out taste
"""

SCORE = """Score texts, lines of standard input, or a file.

Examples:

  tastemaker score taste "I was moved to tears, twice, and left the cinema grinning."

  head reviews.txt | tastemaker score taste -

  tastemaker score taste --file reviews.csv --out scored.parquet

  tastemaker score http://127.0.0.1:8000 --file reviews.csv --out scored.parquet

  tastemaker score taste --file reviews.parquet --out scored --part 1/4

An ensemble (`fit --members 5`) also tells how far its members disagree, and can be cautious:

  tastemaker score taste --uncertainty --caution 1 "Well."
"""

EVALUATE = """Measure a reward model on judged texts it did not learn from, or a GPT on any text.

Examples:

  tastemaker evaluate taste aclImdb.tar.gz --split test

  tastemaker evaluate taste aclImdb.tar.gz --split test --report report --json

Rows of RewardBench 2 are recognised and scored by its own rule:

  tastemaker evaluate taste reward-bench-2.parquet

The perplexity of a GPT on a text, per token and per byte:

  tastemaker evaluate gpt aclImdb.tar.gz --split test
"""


@o.verb(FIT)
@click.argument("sources", nargs=-1, required=True, help=o.SOURCES)
@o.option(
    "--out", type=o.PATH, required=True, help="Folder for the reward model."
)
@o.option(
    "--backbone",
    default="linear",
    help="linear, tiny, minilm, a model folder or a hub name.",
)
@o.option(
    "--held-out",
    type=float,
    help="Share of the texts that only measures.",
    shown="0.1, at most 1,000 texts",
)
@r.reading
@o.settings("training")
@o.settings("backbone_settings", "backbone")
@o.settings("likelihood")
@o.option(
    "--anchor",
    help="Source of reference texts: their mean becomes 0, their standard deviation 1.",
    shown="the held-out texts",
    panel="Likelihood",
)
@o.option(
    "--members",
    type=int,
    default=1,
    help="Models of an ensemble, which tells what it is unsure of.",
    panel="Ensembles",
)
@o.flag(
    "--shared",
    "The members are heads of one network: much cheaper.",
    "Ensembles",
)
@o.flag(
    "--experts",
    "A model for each source, mixed by whose prompt a prompt seems to be.",
    "Ensembles",
)
@o.skip_bad
@o.training_precision
@o.device
@o.dry_run
@o.resuming
@o.page
@o.output
def fit(
    sources: tuple[str, ...],
    out: Path,
    backbone: str,
    reading: r.Reading,
    backbone_settings: o.Settings,
    likelihood: o.Settings,
    anchor: str | None,
    skip_bad: bool,
    dry_run: bool,
    report: bool,
    json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Learn a reward model from judged texts. settings: those of `tm.fit`, by its names."""
    import tastemaker as tm
    from tastemaker.reward.backbones import backbone_named, check_processes

    started = time.monotonic()
    settings["backbone"] = backbone_named(backbone, **backbone_settings)
    if dry_run:
        say_fit_memory(settings, json=json)
        return
    check_processes(settings["backbone"])
    settings["likelihood"] = tm.Likelihood(**likelihood)
    if reading.positive:
        settings["labels"] = {"positive": reading.positive}
    skipped: list[Any] = []
    judgements = reading.judgements(sources, skipped if skip_bad else None)
    if anchor is not None:
        settings["anchor"] = tm.read_examples(
            anchor,
            split=reading.split,
            columns=reading.columns,
            report=reading.read_as,
        )
    o.note_skipped(skipped, quiet=quiet)
    with announced(lambda: reading.say(json=json, quiet=quiet)):
        model = tm.fit(judgements, out=out, seed=reading.seed, **settings)
    if not processes.is_first():
        return
    seconds = time.monotonic() - started
    if report:
        report_fit(model, out, quiet=quiet or json)
    if not json:
        describe_fit(model, out, seconds)
        return
    contract = model.contract
    result: dict[str, Any] = {
        "model": str(out),
        "seconds": round(seconds, 3),
        "verdict": contract.evaluation.get("verdict"),
        "evaluation": contract.evaluation,
        "read_as": reading.as_list(),
    }
    for name in ("judges", "judge_model"):
        if value := getattr(contract, name):
            result[name] = value
    if skip_bad:
        result["skipped"] = len(skipped)
    o.say_json(result, with_remarks=True)


@o.verb(SCORE)
@click.argument(
    "model",
    metavar="DIR",
    help="A folder saved by `tastemaker fit`, a published classifier (folder or hub name), or the "
    "address of `tastemaker serve`.",
)
@click.argument(
    "texts", metavar="[TEXT]...", nargs=-1, help="Texts; `-` reads one a line."
)
@o.option(
    "--file",
    type=o.PATH,
    help="JSONL, CSV, TSV or Parquet file whose rows are scored, also as FILE:text=COLUMN.",
)
@o.option(
    "--out",
    type=o.PATH,
    help="Scores: a file with the columns of --file, or a folder for --part.",
)
@o.option(
    "--part",
    metavar="I/N",
    help="Score only part I of N of the rows of --file, into a file of its own in the folder "
    "--out. A part whose file is there is done.",
)
@o.option(
    "--engine",
    type=click.Choice(["own", "ray"]),
    default="own",
    help="ray: the rows of --file by --workers processes of Ray, here or on the cluster of "
    "RAY_ADDRESS.",
)
@o.option(
    "--workers",
    type=click.IntRange(1),
    default=2,
    help="Processes of --engine ray; with --device cuda each has a GPU.",
)
@o.option("--prompt", help="What the texts answer.")
@o.flag("--uncertainty", "Show how far the members of an ensemble disagree.")
@o.option(
    "--caution",
    type=caution_of,
    metavar="NUMBER|minimum|pessimistic=NUMBER",
    default="0",
    help="Of an ensemble: λ of mean − λ·standard deviation; minimum for its lowest member; or "
    "pessimistic=β for −β·ln E[exp(−score/β)] over its members.",
)
@o.option(
    "--precision",
    type=click.Choice(["float32", "fast", "bfloat16", "int8"]),
    default="float32",
    help="float32 is exact; fast is what this processor gains by.",
)
@o.text_column
@o.prompt_column
@o.system_column
@o.option(
    "--score-column",
    default="tastemaker_score",
    help="Name of the column that is added; those beside it begin with tastemaker_ or NAME_.",
    panel=o.DATA,
)
@o.option(
    "--anchor",
    help="Source of reference texts for a published model: the standard deviation of their scores "
    "becomes 1, and their mean 0 where the head has a bias.",
    shown="the scale of its makers",
)
@o.device
@o.dtype
@o.remote_code
@o.output
def score(
    model: str,
    texts: tuple[str, ...],
    file: Path | None,
    out: Path | None,
    part: str | None,
    engine: str,
    workers: int,
    prompt: str | None,
    uncertainty: bool,
    caution: Any,
    precision: Any,
    text_column: str | None,
    prompt_column: str | None,
    system_column: str | None,
    score_column: str,
    anchor: str | None,
    json: bool,
    quiet: bool,
    **loading: Any,
) -> None:
    """Score texts, lines of standard input, or a file."""
    import tastemaker as tm
    from tastemaker.data.roles import Columns, described_file
    from tastemaker.errors import UsageError
    from tastemaker.files import check_not_itself

    if (file is None) == (not texts):
        raise UsageError(
            "give either texts (or - for standard input) or --file, one of the two."
        )
    if (file is None) != (out is None):
        raise UsageError(
            "--file and --out belong together: rows in, rows and scores out."
        )
    if engine == "ray" and file is None:
        raise UsageError("--engine ray scores the rows of a --file.")
    columns = Columns(text_column, prompt_column, system=system_column)
    if file is not None:
        file, columns = described_file(file, columns)
    chosen = None
    if part is not None:
        chosen, out = part_of(part, file, out)
        if out.exists():
            say_part_done(out, json=json, quiet=quiet)
            return
    if file is not None and out is not None:
        check_not_itself(file, out)
    reading = r.Reading()
    if anchor is not None:
        loading["anchor"] = tm.read_examples(anchor, report=reading.read_as)
    taste = opened(model, **loading)
    reading.say(json=json, quiet=quiet)
    output = {"uncertainty": uncertainty, "json": json, "quiet": quiet}
    if file is not None and out is not None:
        counts = tm.score_file(
            taste,
            file,
            out,
            text_column=columns.text,
            prompt_column=columns.prompt,
            system_column=columns.system,
            score_column=score_column,
            uncertainty=uncertainty,
            has_meanings=True,
            precision=precision,
            caution=caution,
            part=chosen,
            engine=ray_engine(model, workers, precision, loading)
            if engine == "ray"
            else None,
            say=lambda line: o.note(line, quiet=quiet),
        )
        say_scored(taste, counts, out, reading, json=json, quiet=quiet)
        r.sayer([], json=json, quiet=quiet)(counts.read_as)
    elif texts == ("-",):
        score_standard_input(taste, reading, precision, caution, **output)
    else:
        examples = [tm.Example(text, prompt) for text in texts]
        score_texts(taste, examples, reading, precision, caution, **output)


@o.verb(EVALUATE)
@click.argument(
    "model",
    metavar="DIR",
    type=o.PATH,
    help="A folder saved by `fit` or `pretrain`.",
)
@click.argument("source", help=f"{o.SOURCES} For a GPT also text files.")
@o.option(
    "--report",
    type=o.PATH,
    help="Write report.html, report.png, evaluation.json there.",
    shown="DIR-evaluations/SOURCE, beside the model",
)
@o.option(
    " /--no-report",
    "page",
    default=True,
    envvar="TASTEMAKER_REPORT",
    help="Write no page, unless --report says where.",
    shown="",
)
@r.reading
@o.skip_bad
@o.device
@o.dtype
@o.remote_code
@o.output
def evaluate(
    model: Path,
    source: str,
    reading: r.Reading,
    report: Path | None,
    page: bool,
    skip_bad: bool,
    json: bool,
    quiet: bool,
    **loading: Any,
) -> None:
    """Measure a reward model on judged texts, or a GPT on any text."""
    import tastemaker as tm
    from tastemaker.evaluate.rewardbench import evaluate_rewardbench
    from tastemaker.fast.processor import choose_device

    if is_policy(model):
        evaluate_policy(
            model,
            source,
            reading,
            report,
            device=loading["device"],
            dtype=loading["dtype"],
            skip_bad=skip_bad,
            json=json,
            quiet=quiet,
        )
        return
    taste = tm.load(model, **loading)
    reading = r.as_trained(reading, taste.contract, source)
    items = r.rewardbench_items(source, reading)
    skipped: list[Any] = []
    if items is not None:
        measured: Any = evaluate_rewardbench(
            taste, items, taste.training_fingerprints
        )
        skip_bad = False
    else:
        with costs.measured(seed=reading.seed) as cost:
            judgements = reading.judgements(
                [source], skipped if skip_bad else None
            )
            o.note_skipped(skipped, quiet=quiet)
            with costs.stage("measuring"):
                measured = tm.evaluate(
                    taste,
                    judgements,
                    seed=reading.seed,
                    baseline=taste.baseline,
                    training_fingerprints=taste.training_fingerprints,
                    training_sketches=taste.training_sketches,
                )
            costs.count(judgements=len(judgements))
            if taste.contract.backbone != "linear":
                costs.on_device(str(choose_device(loading["device"])))
    reading.say(json=json, quiet=quiet)
    if items is not None and report is not None:
        o.note("RewardBench has no page: --report writes nothing", quiet=quiet)
    elif report is not None:
        report_evaluation(taste, measured, report, cost, quiet=quiet)
    elif items is None and page:
        place = evaluation_folder(model, source, reading.split)
        try_to_report_evaluation(taste, measured, place, cost, quiet=quiet)
    if not json:
        o.say(f"{measured.verdict()}\n")
        o.say(str(measured))
        return
    result = measured.as_dict()
    if reading.read_as:
        result["read_as"] = reading.as_list()
    if skip_bad:
        result["skipped"] = len(skipped)
    o.say_json(result, with_remarks=True)
