"""`tastemaker fit`: judgements → reward model."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
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


Given = dict[str, Any]
"""Options by name, those that were given."""


@dataclass(frozen=True)
class Learning:
    """How a backbone reads and how a network is trained; what is left out is the backbone's recipe."""

    epochs: Annotated[
        int | None, typer.Option(help="Passes over the texts; default: the backbone's recipe.")
    ] = None
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of AdamW.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Texts a step.")] = None
    batch_tokens: Annotated[
        int | None, typer.Option(help="Most tokens through the network at once.")
    ] = None
    evaluations: Annotated[int | None, typer.Option(help="Held-out evaluations in the run.")] = None
    patience: Annotated[
        int | None, typer.Option(help="Evaluations without a gain that end the run.")
    ] = None
    max_length: Annotated[int | None, typer.Option(help="Tokens that are read of a text.")] = None
    cut: Annotated[
        Literal["left", "right"] | None,
        typer.Option(help="Cut long texts on the left (keep the end) or right."),
    ] = None
    dropout: Annotated[
        float | None, typer.Option(help="Dropout of the network while it trains.")
    ] = None
    template: Annotated[
        str | None,
        typer.Option(
            help="How prompt and text are joined: '{prompt} {text}', or chat for the tokenizer's."
        ),
    ] = None

    repeats: Annotated[
        bool | None,
        typer.Option("--repeats", help="linear: what a text says again counts apart; to steer by."),
    ] = None

    @property
    def training(self) -> Given:
        """The settings of the training loop that were given."""
        return self._given("epochs", "lr", "batch_size", "batch_tokens", "evaluations", "patience")

    def settings(self, backbone: str) -> Any:
        """Return the backbone's settings, completed. Raises UsageError for an option that means nothing to it."""
        from tastemaker.errors import UsageError
        from tastemaker.reward.backbones import Linear, choose_backbone

        chosen = self._given("max_length", "cut", "dropout", "template", "repeats")
        found = choose_backbone(backbone).settings
        known = {f.name for f in fields(found)}
        ignored = [name for name in chosen if name not in known]
        if isinstance(found, Linear):
            ignored += list(self.training)
        if ignored:
            option = "--" + ignored[0].replace("_", "-")
            raise UsageError(
                f"{option} has no meaning for the backbone {backbone!r}. Leave it out."
            )
        return replace(found, **chosen)

    def _given(self, *names: str) -> Given:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True)
class Believing:
    """How judgements are believed: the options behind `Likelihood`."""

    weight: Annotated[
        list[str] | None,
        typer.Option(help="What the judgements of a kind count: comparison=2. May be repeated."),
    ] = None
    judges: Annotated[
        bool | None,
        typer.Option(
            help="Learn how reliable each judge is; default: where two or more are named."
        ),
    ] = None
    ties: Annotated[
        bool, typer.Option("--ties/--no-ties", help="Whether two texts can be equally good.")
    ] = True
    ranking: Annotated[
        Literal["plackett-luce", "pairs"],
        typer.Option(help="How rankings are believed; pairs: as InstructGPT does."),
    ] = "plackett-luce"
    rating_loss: Annotated[
        Literal["normal", "huber"], typer.Option(help="huber: outliers pull less.")
    ] = "normal"
    margin: Annotated[
        float, typer.Option(help="Log-odds by which a margin of 1 asks the better to lead.")
    ] = 1.0
    label_smoothing: Annotated[
        float, typer.Option(help="Share of labels and comparisons taken for slips.")
    ] = 0.0
    centring: Annotated[
        float, typer.Option(help="Pull of the mean score of texts judged together to 0.")
    ] = 0.0
    length_control: Annotated[
        bool,
        typer.Option(
            "--length-control", help="Fit the score so that it does not carry the texts' length."
        ),
    ] = False

    @property
    def likelihood(self) -> Any:
        """The likelihood's settings. Raises UsageError for a value that cannot be."""
        from tastemaker.kinds.base import Likelihood

        return Likelihood(
            weights=_weights(self.weight or []),
            judges=self.judges,
            ties=self.ties,
            ranking=self.ranking,
            rating=self.rating_loss,
            margin=self.margin,
            smoothing=self.label_smoothing,
            centring=self.centring,
            length_control=self.length_control,
        )


@o.gathers(learning=Learning, believing=Believing, reading=o.Reading)
def fit(
    sources: Annotated[
        list[str],
        typer.Argument(help="aclImdb folder or .tar.gz, JSONL, CSV, TSV, Parquet, hub name."),
    ],
    out: Annotated[Path, typer.Option(help="The folder that the reward model is saved in.")],
    learning: Learning,
    believing: Believing,
    reading: o.Reading,
    backbone: Annotated[
        str, typer.Option(help="linear, tiny, minilm, a model folder or a hub name.")
    ] = "linear",
    held_out: Annotated[
        float | None, typer.Option(help="Share of texts that only measure.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(help="A source of reference texts: their mean becomes 0, their deviation 1."),
    ] = None,
    members: Annotated[
        int, typer.Option(help="More than one make an ensemble, which knows what it is unsure of.")
    ] = 1,
    shared: Annotated[
        bool, typer.Option("--shared", help="The members are heads of one network: much cheaper.")
    ] = False,
    experts: Annotated[
        bool,
        typer.Option(
            "--experts", help="A model for each source, mixed by whose prompt it seems to be."
        ),
    ] = False,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Of the products.")
    ] = "auto",
    device: o.Device = "auto",
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    skip_bad: o.SkipBad = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Learn a reward model from judged texts."""
    import tastemaker as tm

    started = time.monotonic()
    how: Given = {"backbone": learning.settings(backbone), "training": learning.training}
    how |= {
        "likelihood": believing.likelihood,
        "held_out": held_out,
        "members": members,
        "shared": shared,
    }
    how |= {"experts": experts}
    how |= {"device": device, "precision": precision, "seed": reading.seed}
    how |= {"labels": {"positive": reading.positive}} if reading.positive else {}
    skipped: list[Any] | None = [] if skip_bad else None
    judgements = reading.judgements(sources, skipped)
    o.note_skipped(skipped or [], quiet=quiet)
    if anchor is not None:
        how["anchor"] = tm.read_examples(anchor, split=reading.split, columns=reading.columns)
    model = tm.fit(judgements, out=out, resume=resume, overwrite=overwrite, **how)
    _report(
        model,
        out,
        time.monotonic() - started,
        json=json,
        skipped=None if skipped is None else len(skipped),
    )


def _weights(given: list[str]) -> dict[str, float]:
    """Return what the options `kind=number` say. Raises UsageError where one does not."""
    from tastemaker.errors import UsageError

    weights = {}
    for text in given:
        kind, _, number = text.partition("=")
        try:
            weights[kind] = float(number)
        except ValueError:
            raise UsageError(
                f"--weight {text!r}: a kind and a number, such as comparison=2."
            ) from None
    return weights


def _report(model: Any, out: Path, seconds: float, *, json: bool, skipped: int | None) -> None:
    contract = model.contract
    if json:
        values = {
            "model": str(out),
            "seconds": round(seconds, 3),
            "evaluation": contract.evaluation,
        }
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
    o.say(
        f'saved in {out} after {seconds:.0f} s. Score a text:  tastemaker score {out} "What a film!"'
    )


def _before_and_after(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    names = {"accuracy": "accuracy", "pearson": "Pearson", "kendall_tau": "Kendall's τ"}
    for name, shown in (
        *names.items(),
        ("score_length_correlation", "correlation of score and length"),
    ):
        if before.get(name) is not None and after.get(name) is not None:
            yield f"{shown} {before[name]:.3f} → {after[name]:.3f}"


fit.__doc__ = EXAMPLE
