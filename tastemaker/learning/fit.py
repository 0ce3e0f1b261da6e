"""Judgements → reward model: split, learn, calibrate, anchor, evaluate, save."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

from tastemaker.data.judgements import Example, Judgement
from tastemaker.errors import DataError
from tastemaker.learning.crossfit import cross_fit
from tastemaker.learning.division import digest_of_said, divide
from tastemaker.learning.folder import model_folder
from tastemaker.learning.learner import Learner, Several, chosen_training
from tastemaker.learning.run import RUN, Run, check_same
from tastemaker.learning.training import Training
from tastemaker.models.backbones import Encoder, Linear, Tiny, choose_backbone
from tastemaker.models.contract import CONTRACT
from tastemaker.models.links.likelihood import Likelihood
from tastemaker.models.precision import DeviceWish, TrainingWish
from tastemaker.models.reward_model import RewardModel

Backbones: TypeAlias = str | Linear | Encoder | Tiny


def fit(
    judgements: Sequence[Judgement],
    *,
    backbone: Backbones = "linear",
    training: Training | Mapping[str, Any] | None = None,
    likelihood: Likelihood | None = None,
    epochs: int | None = None,
    held_out: float | Sequence[Judgement] | None = None,
    anchor: Sequence[Example] | None = None,
    members: int = 1,
    shared: bool = False,
    experts: bool = False,
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
    likelihood: how judgements are believed. held_out: judgements that only measure, or their share; None: a tenth, at
        most 1,000 texts. Texts and prompts never stand on both sides. anchor: the reference texts whose mean score
        becomes 0 and standard deviation 1; None: the held-out texts. members: more than one make an ensemble, each from
        judgements weighted anew (Bayesian bootstrap, Rubin 1981); shared: its members are heads of one network.
    experts: a backbone for each source of judgements, mixed by whose prompt it is, as far as the prompt tells.
    labels: what the data calls positive, kept in the contract. out: where to save; None keeps the model in memory.
        resume: go on with a killed run. overwrite: replace what is there, when there is a model to replace it with.
    Raises DataError for judgements that cannot teach, UsageError for settings that cannot be, TrainingError for a run
    that failed, StorageError for a folder that cannot be written.
    """
    chosen = choose_backbone(backbone)
    several = Several(members, shared, experts)
    several.check(chosen.settings)
    _check_there_is_something(judgements, anchor)
    division = divide(judgements, held_out, likelihood := likelihood or Likelihood(), seed)
    folder = Path(out) if out is not None else None
    training = chosen_training(chosen, training, epochs, texts=len(division.train))
    asked = {
        "backbone": [type(chosen.settings).__name__, asdict(chosen.settings)],
        "likelihood": asdict(likelihood),
        "seed": seed,
        "data": division.digest,
    }
    asked |= {"training": asdict(training), "device": device, "precision": precision} if training else {}
    asked |= several.asked(judgements) | _asked_beside(anchor, labels)
    with model_folder(folder, whole=CONTRACT, resume=resume, overwrite=overwrite) as is_finished:
        if folder is not None and is_finished:
            return _finished(folder, asked)
        run = Run(folder / RUN if folder is not None else None, asked, resume=resume)
        learner = Learner(chosen.settings, division, training, device, precision, cross_fit(division, seed))
        model = learner.reward_model(run, asked, seed=seed, several=several, anchor=anchor)
        model.contract = replace(model.contract, labels=dict(labels or {}))
        if folder is not None:
            model.save(folder)
        run.finish()
    return model


def _check_there_is_something(judgements: Sequence[Judgement], anchor: Sequence[Example] | None) -> None:
    """Raise DataError where there is nothing to learn from, or an anchor without texts."""
    if not judgements:
        raise DataError("no judgements to learn from: the source is empty.")
    if anchor is not None and not anchor:
        raise DataError("the anchor holds no texts, and their mean score is to be 0. Give some, or leave it out.")


def _asked_beside(anchor: Sequence[Example] | None, labels: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what a resumed run must ask for again, where it was asked for at all."""
    found: dict[str, Any] = {"anchor": digest_of_said(anchor)} if anchor is not None else {}
    return found | ({"labels": dict(labels)} if labels else {})


def _finished(folder: Path, asked: Mapping[str, Any]) -> RewardModel:
    """Return the model that a run has saved already. Raises UsageError for other settings."""
    model = RewardModel.load(folder)
    check_same(model.contract.settings, asked)
    return model
