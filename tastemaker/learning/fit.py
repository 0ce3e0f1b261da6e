"""Judgements → reward model: split, learn, calibrate, anchor, evaluate, save."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tastemaker.data.fingerprints import fingerprint, fingerprints
from tastemaker.data.judgements import Judgement
from tastemaker.data.split import split
from tastemaker.errors import DataError, StorageError
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.learning.calibration import anchor_of, calibrated
from tastemaker.learning.convex import fit_linear
from tastemaker.learning.corpus import Corpus, Links
from tastemaker.learning.run import RUN, Run, check_same
from tastemaker.learning.training import Training
from tastemaker.models.backbones import Backbone, Encoder, Linear, Recipe, Tiny, choose_backbone
from tastemaker.models.contract import CONTRACT, Contract
from tastemaker.models.links import Link, links_from
from tastemaker.models.precision import DeviceWish, TrainingWish, choose_device, choose_precision
from tastemaker.models.reward_model import RewardModel, link_values
from tastemaker.models.template import TEMPLATE, joined

Backbones: TypeAlias = str | Linear | Encoder | Tiny
MOST_HELD_OUT = 1000


@dataclass(frozen=True)
class Division:
    """The judgements that teach and those that only measure, as corpora with one set of links."""

    train: Corpus
    held_out: Corpus
    held_out_judgements: Sequence[Judgement]
    links: dict[type[Judgement], Link]
    digest: str


def fit(
    judgements: Sequence[Judgement],
    *,
    backbone: Backbones = "linear",
    training: Training | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    held_out: float | Sequence[Judgement] | None = None,
    seed: int = 0,
    device: DeviceWish = "auto",
    precision: TrainingWish = "auto",
    labels: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> RewardModel:
    """Learn a reward model from any mixture of judgements.

    backbone: linear, tiny, minilm, a model folder, a hub name, or its settings (`Linear`, `Encoder`, `Tiny`).
    training: how a network is trained, whole, or some settings on top of the backbone's recipe. epochs: one of them.
    held_out: judgements that only measure, or their share; None: a tenth, at most 1,000 texts. Texts and prompts never
        stand on both sides. labels: what the data calls positive, kept in the contract.
    out: where to save; None keeps the model in memory. resume: go on with a killed run.
    Raises DataError for judgements that cannot teach, UsageError for settings that cannot be, TrainingError for a run
    that failed, StorageError for a folder that cannot be written.
    """
    chosen = choose_backbone(backbone)
    if not judgements:
        raise DataError("no judgements to learn from: the source is empty.")
    division = _divide(judgements, held_out, seed)
    folder = Path(out) if out is not None else None
    asked = {
        "backbone": [type(chosen.settings).__name__, asdict(chosen.settings)],
        "seed": seed,
        "data": division.digest,
    }
    if not isinstance(chosen.settings, Linear):
        training = _training(chosen.recipe, training, epochs, texts=len(division.train))
        asked |= {"training": asdict(training), "device": device, "precision": precision}
    if folder is not None:
        _prepare(folder, resume=resume, overwrite=overwrite)
    run = Run(folder / RUN if folder is not None else None, asked, resume=resume)
    if folder is not None and resume and (folder / CONTRACT).is_file():
        finished = RewardModel.load(folder)
        check_same(finished.contract.settings, asked)
        return finished
    if isinstance(chosen.settings, Linear):
        learned: Backbone = fit_linear(division.train, division.links, chosen.settings, seed=seed)
        model = _finish(learned, division, asked, steps=1)
    else:
        baseline = _linear_baseline(division, seed)
        assert isinstance(training, Training)  # made above: a network has a training
        learned, steps = _descend(chosen.settings, division, training, (device, precision, seed), run)
        model = _finish(learned, division, asked, steps=steps, baseline=baseline)
    model.contract = replace(model.contract, labels=dict(labels or {}))
    if folder is not None:
        model.save(folder)
    run.finish()
    return model


def _prepare(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that the output folder may be written; clear it where that was asked for."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder}: is a file, and a model is a folder. Choose another --out.")
    holds_model = (folder / CONTRACT).is_file()
    if holds_model and not (resume or overwrite):
        raise StorageError(f"{folder}: holds a reward model already. Choose another --out, or add --overwrite.")
    if overwrite and not resume and (holds_model or (folder / RUN).is_dir()):
        import shutil

        shutil.rmtree(folder)


def _divide(judgements: Sequence[Judgement], held_out: float | Sequence[Judgement] | None, seed: int) -> Division:
    """Split by text and prompt, and make fresh links from the training side."""
    if held_out is None:
        texts = len({fingerprint(j.text) for j in judgements})
        train, measured = split(judgements, held_out=max(1, min(MOST_HELD_OUT, texts // 10)), seed=seed)
    elif isinstance(held_out, float | int):
        train, measured = split(judgements, held_out=held_out, seed=seed)
    else:
        train, measured = list(judgements), list(held_out)
    links = links_from(train)
    known = [j for j in measured if type(j) in links]
    digest = hashlib.blake2b(repr([*train, None, *known]).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Division(Corpus.of(train, links), Corpus.of(known, links), known, links, digest)


def _training(
    recipe: Recipe, given: Training | Mapping[str, Any] | None, epochs: int | None, *, texts: int
) -> Training:
    """Return the training that was asked for, completed by the backbone's recipe."""
    if isinstance(given, Training):
        return given if epochs is None else replace(given, epochs=epochs)
    chosen = {"lr": recipe.lr, "batch_size": recipe.batch_size, **(given or {})}
    if epochs is not None:
        chosen["epochs"] = epochs
    chosen.setdefault("epochs", recipe.passes(texts, chosen["batch_size"]))
    return Training(**chosen)


def _linear_baseline(division: Division, seed: int) -> RewardModel:
    """Fit the linear model on the same judgements: the figure that every report prints beside the network's."""
    links = {kind: type(link).from_dict(link.as_dict()) for kind, link in division.links.items()}
    apart = replace(division, links=links)
    return _finish(
        fit_linear(apart.train, links, Linear(), seed=seed), apart, {"backbone": ["Linear", asdict(Linear())]}, steps=1
    )


def _descend(
    settings: Encoder | Tiny,
    division: Division,
    training: Training,
    where: tuple[DeviceWish, TrainingWish, int],
    run: Run,
) -> tuple[Backbone, int]:
    """Open the network and train it; return it and the number of steps."""
    from tastemaker.learning.descent import Descent
    from tastemaker.models.backbones.network import Network
    from tastemaker.models.backbones.opening import DEFAULT_MAX_LENGTH
    from tastemaker.models.backbones.tiny import make_tiny

    device_name, precision, seed = where
    device = choose_device(device_name)
    if isinstance(settings, Tiny):
        texts = [joined(example) for example in division.train.examples]
        options: Mapping[str, Any] = {"vocabulary": settings.vocabulary, "dropout": settings.dropout, "seed": seed}
        network = make_tiny(texts, max_length=settings.max_length or DEFAULT_MAX_LENGTH, cut=settings.cut, **options)
    else:
        limits: Mapping[str, Any] = {
            "max_length": settings.max_length,
            "cut": settings.cut,
            "dropout": settings.dropout,
        }
        network = Network.open(settings.name, seed=seed, **limits)
    descent = Descent(
        network,
        division.links,
        division.train,
        division.held_out,
        training,
        device=device,
        precision=choose_precision(device, precision),
        seed=seed,
        run=run,
    )
    steps = descent.run().step
    network.calibrate(division.train.examples)
    return network, steps


def _finish(
    backbone: Backbone,
    division: Division,
    asked: Mapping[str, Any],
    *,
    steps: int,
    baseline: RewardModel | None = None,
) -> RewardModel:
    """Calibrate the links, anchor the score, measure the held-out judgements and write it all into the contract."""
    scores = backbone.score(division.held_out.examples)
    if not np.isfinite(scores.values).all():
        raise DataError("the fitted model gives scores that are not finite; nothing was saved. Lower --lr.")
    links: Links = calibrated(division.links, scores, division.held_out.evidence)
    anchor = anchor_of(scores)
    folded = backbone.rescale(anchor.mean, anchor.sd)
    links = {kind: link.rescaled(folded, anchor.sd) for kind, link in links.items()}
    counts = {link.kind: len(division.train.evidence[kind].index) for kind, link in links.items()}
    contract = Contract(
        backbone=backbone.kind,
        template=TEMPLATE,
        links=link_values(dict(links)),
        max_length=getattr(backbone, "max_length", None),
        cut=getattr(backbone, "cut", None),
        pooling=getattr(backbone, "pooling", None),
        anchor=anchor,
        data={
            "texts": len(division.train),
            "judgements": counts,
            "held_out": len(division.held_out),
            "digest": division.digest,
        },
        settings=dict(asked),
        trained_steps=steps,
    )
    seen = np.unique(fingerprints(e.text for e in division.train.examples))
    model = RewardModel(backbone, dict(links), contract, baseline=baseline, training_fingerprints=seen)
    measured = evaluate(model, division.held_out_judgements, baseline=baseline, training_fingerprints=seen)
    model.contract = replace(contract, evaluation=measured.as_dict())
    return model
