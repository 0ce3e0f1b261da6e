"""`tastemaker fit`: judgements → reward model."""

import time
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
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Learn a reward model from judged texts."""
    import tastemaker as tm

    started = time.monotonic()
    columns = o.columns_from(text_column, prompt_column, label_column, grade_column, rating_column, positive, scale)
    chosen = {"max_length": max_length, "cut": cut, "dropout": dropout}
    given = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "batch_tokens": batch_tokens}
    given |= {"evaluations": evaluations, "patience": patience}
    settings = _settings(backbone, _set(chosen), _set(given))
    judgements = [
        j for s in sources for j in tm.read(s, split=split, target=target, limit=limit, seed=seed, columns=columns)
    ]
    where: dict[str, Any] = {"device": device, "precision": precision, "out": out}
    again: dict[str, Any] = {"resume": resume, "overwrite": overwrite}
    labels = {"positive": positive} if positive else None
    fitting: dict[str, Any] = {"training": _set(given), "held_out": held_out, "seed": seed, "labels": labels}
    model = tm.fit(judgements, backbone=settings, **fitting, **where, **again)
    _report(model, out, time.monotonic() - started, json=json)


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


def _report(model: Any, out: Path, seconds: float, *, json: bool) -> None:
    if json:
        o.say_json({"model": str(out), "seconds": round(seconds, 3), "evaluation": model.contract.evaluation})
        return
    o.say(f"{model!r}")
    o.say(f'saved in {out} after {seconds:.0f} s. Score a text:  tastemaker score {out} "What a film!"')


fit.__doc__ = EXAMPLE
