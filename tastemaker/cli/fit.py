"""`tastemaker fit`: judgements → reward model."""

import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tastemaker.cli import options as o

EXAMPLE = """Learn a reward model from judged texts.

Examples:

  tastemaker fit aclImdb.tar.gz --backbone linear --out taste

  tastemaker fit aclImdb.tar.gz --backbone minilm --out taste --resume

The classic recipe, DistilBERT on IMDB:

  tastemaker fit aclImdb.tar.gz --backbone distilbert-base-uncased --target label --batch-size 10 --lr 5e-5 --epochs 3
  --max-length 512 --dropout 0.1 --out taste
"""


def fit(
    sources: Annotated[
        list[str], typer.Argument(help="aclImdb folder or .tar.gz, JSONL, CSV, TSV, Parquet, hub name.")
    ],
    out: Annotated[Path, typer.Option(help="The folder that the reward model is saved in.")],
    backbone: Annotated[str, typer.Option(help="linear, tiny, minilm, a model folder or a hub name.")] = "linear",
    epochs: Annotated[int | None, typer.Option(help="Passes over the texts; default: the backbone's recipe.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of AdamW.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts a step.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(help="Most tokens through the network at once.")] = None,
    evaluations: Annotated[int | None, typer.Option(help="Held-out evaluations in the run.")] = None,
    patience: Annotated[int | None, typer.Option(help="Evaluations without a gain that end the run.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens that are read of a text.")] = None,
    cut: Annotated[
        Literal["left", "right"] | None, typer.Option(help="Cut long texts on the left (keep the end) or right.")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout of the network while it trains.")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of texts that only measure.")] = None,
    precision: Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Of the products.")] = "auto",
    weight: Annotated[
        list[str] | None, typer.Option(help="What the judgements of a kind count: comparison=2. May be repeated.")
    ] = None,
    judges: Annotated[
        bool | None, typer.Option(help="Learn how reliable each judge is; default: where two or more are named.")
    ] = None,
    ties: Annotated[bool, typer.Option("--ties/--no-ties", help="Whether two texts can be equally good.")] = True,
    ranking: Annotated[
        Literal["plackett-luce", "pairs"], typer.Option(help="How rankings are believed; pairs: as InstructGPT does.")
    ] = "plackett-luce",
    rating_loss: Annotated[Literal["normal", "huber"], typer.Option(help="huber: outliers pull less.")] = "normal",
    margin: Annotated[float, typer.Option(help="Units of score by which a margin of 1 asks the better to lead.")] = 1.0,
    label_smoothing: Annotated[float, typer.Option(help="Share of labels and comparisons taken for slips.")] = 0.0,
    centring: Annotated[float, typer.Option(help="Pull of the mean score of texts judged together to 0.")] = 0.0,
    length_control: Annotated[
        bool, typer.Option("--length-control", help="Fit the score so that it does not carry the texts' length.")
    ] = False,
    anchor: Annotated[
        str | None, typer.Option(help="A source of reference texts: their mean becomes 0, their deviation 1.")
    ] = None,
    members: Annotated[int, typer.Option(help="More than one make an ensemble, which knows what it is unsure of.")] = 1,
    shared: Annotated[
        bool, typer.Option("--shared", help="The members are heads of one network: much cheaper.")
    ] = False,
    template: Annotated[
        str | None, typer.Option(help="How prompt and text are joined: '{prompt} {text}', or chat for the tokenizer's.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a killed run, to the same bits.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what OUT holds.")] = False,
    split: o.Split = None,
    target: o.Target = None,
    limit: o.Limit = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    text_column: o.TextColumn = None,
    prompt_column: o.PromptColumn = None,
    label_column: o.LabelColumn = None,
    grade_column: o.GradeColumn = None,
    rating_column: o.RatingColumn = None,
    positive: o.Positive = None,
    scale: o.Scale = None,
    format: o.Format = None,
    skip_bad: o.SkipBad = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Learn a reward model from judged texts."""
    import tastemaker as tm

    started = time.monotonic()
    columns = o.columns_from(text_column, prompt_column, label_column, grade_column, rating_column, positive, scale)
    chosen = {"max_length": max_length, "cut": cut, "dropout": dropout, "template": template}
    given = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "batch_tokens": batch_tokens}
    given |= {"evaluations": evaluations, "patience": patience}
    settings = _settings(backbone, _set(chosen), _set(given))
    believing: dict[str, Any] = {
        "judges": judges,
        "ties": ties,
        "ranking": ranking,
        "rating": rating_loss,
        "margin": margin,
    }
    believing |= {"smoothing": label_smoothing, "centring": centring, "length_control": length_control}
    likelihood = tm.Likelihood(weights=_weights(weight or []), **believing)
    how: dict[str, Any] = {
        "split": split,
        "target": target,
        "limit": limit,
        "seed": seed,
        "columns": columns,
        "format": format,
    }
    judgements, bad = o.read_sources(sources, skip_bad=skip_bad, quiet=quiet, **how)
    reference = tm.read_examples(anchor, split=split, columns=columns) if anchor is not None else None
    where: dict[str, Any] = {"device": device, "precision": precision, "out": out}
    again: dict[str, Any] = {"resume": resume, "overwrite": overwrite}
    labels = {"positive": positive} if positive else None
    fitting: dict[str, Any] = {"training": _set(given), "held_out": held_out, "seed": seed, "labels": labels}
    fitting |= {"likelihood": likelihood, "anchor": reference, "members": members, "shared": shared}
    model = tm.fit(judgements, backbone=settings, **fitting, **where, **again)
    _report(model, out, time.monotonic() - started, json=json, skipped=len(bad) if skip_bad else None)


def _set(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def _settings(backbone: str, chosen: dict[str, Any], given: dict[str, Any]) -> Any:
    """Return the backbone's settings with the options put in. Raises UsageError for an option without meaning."""
    from tastemaker.errors import UsageError
    from tastemaker.models.backbones import Linear, choose_backbone

    found = choose_backbone(backbone)
    known = {f.name for f in fields(found.settings)}
    ignored = [name for name in chosen if name not in known]
    if isinstance(found.settings, Linear):
        ignored += list(given)
    if ignored:
        option = "--" + ignored[0].replace("_", "-")
        raise UsageError(f"{option} has no meaning for the backbone {backbone!r}. Leave it out.")
    return replace(found.settings, **chosen)


def _weights(given: list[str]) -> dict[str, float]:
    """Return what the options `kind=number` say. Raises UsageError where one does not."""
    from tastemaker.errors import UsageError

    weights = {}
    for text in given:
        kind, _, number = text.partition("=")
        try:
            weights[kind] = float(number)
        except ValueError:
            raise UsageError(f"--weight {text!r}: a kind and a number, such as comparison=2.") from None
    return weights


def _report(model: Any, out: Path, seconds: float, *, json: bool, skipped: int | None) -> None:
    contract = model.contract
    if json:
        values = {"model": str(out), "seconds": round(seconds, 3), "evaluation": contract.evaluation}
        values |= {"judges": contract.judges} if contract.judges else {}
        o.say_json(values | ({} if skipped is None else {"skipped": skipped}))
        return
    o.say(f"{model!r}")
    for name, judge in contract.judges.items():
        low, high = judge["interval"]
        o.say(f"  judge {name}: reliability {judge['reliability']:+.2f} [{low:+.2f}, {high:+.2f}]")
    control = contract.evaluation.get("length_control")
    if control:
        before, after = control["before"], contract.evaluation
        o.say("  length control: " + "; ".join(_before_and_after(before, after)))
    o.say(f'saved in {out} after {seconds:.0f} s. Score a text:  tastemaker score {out} "What a film!"')


def _before_and_after(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    names = {"accuracy": "accuracy", "pearson": "Pearson", "kendall_tau": "Kendall's τ"}
    for name, shown in (*names.items(), ("score_length_correlation", "correlation of score and length")):
        if before.get(name) is not None and after.get(name) is not None:
            yield f"{shown} {before[name]:.3f} → {after[name]:.3f}"


fit.__doc__ = EXAMPLE
