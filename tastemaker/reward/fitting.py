"""The verb `fit`: judgements become a reward model.

Split, train, calibrate, anchor, evaluate, save. A `Learner` trains one backbone, or one for each
member of an ensemble or for each source of judgements. `finish` does what follows training.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from tastemaker import processes
from tastemaker.costs import count_whole, stage
from tastemaker.data.judgements import (
    Example,
    Judgement,
)
from tastemaker.data.source_names import told_apart
from tastemaker.fast.processor import (
    DeviceChoice,
    TrainingChoice,
    choose_device,
    choose_precision,
)
from tastemaker.kinds.base import Likelihood
from tastemaker.reward.backbones import (
    Backbone,
    Composition,
    Encoder,
    Linear,
    Tiny,
    Training,
    choose_backbone,
    chosen_training,
)
from tastemaker.reward.backbones.ensembles import Ensemble, Experts, fit_router
from tastemaker.reward.backbones.linear import LinearBackbone
from tastemaker.reward.corpus import Corpus
from tastemaker.reward.cross_fitting import (
    CrossFit,
    cross_fit,
    scores_for_calibration,
)
from tastemaker.reward.division import (
    Division,
    check_there_is_something,
    digest_of_items,
    divide,
)
from tastemaker.reward.finishing import finish
from tastemaker.reward.linear_fits import fit_linear
from tastemaker.reward.model import RewardModel
from tastemaker.reward.observation import (
    ObservationModel,
)
from tastemaker.reward.roundtrip import check_untrained
from tastemaker.scores import Scores
from tastemaker.settings import settings_from
from tastemaker.train.gradients import without_shard
from tastemaker.train.loop import train
from tastemaker.train.run import CONTRACT, Run, check_same, open_run


class _Member(NamedTuple):
    """A standardised backbone, the effects of features in units of its score, and its steps."""

    backbone: Backbone
    effects: Tensor | None
    steps: int


_TRIED = 16
"""Tokens that try whether a network computes in bfloat16."""
Learned = tuple[Backbone, ObservationModel, int]
"""A backbone, the observation model learned beside it, and how many steps that took."""


@dataclass(frozen=True)
class Learner:
    """Trains the backbones of a reward model. training: None for a linear backbone.

    estimates: judges and scales from cross-fitting.
    """

    settings: Linear | Encoder | Tiny
    division: Division
    training: Training | None
    device: DeviceChoice
    precision: TrainingChoice
    estimates: CrossFit

    def reward_model(
        self,
        run: Run,
        run_settings: Mapping[str, Any],
        seed: int,
        composition: Composition,
        anchor: Sequence[Example] | None,
    ) -> RewardModel:
        """Train the linear model and the network, if there is one; return the finished model."""
        self._check(run, seed)
        count_whole(texts=len(self.division.train))
        finishing: dict[str, Any] = {
            "estimates": self.estimates,
            "anchor": anchor,
            "unseen": self._unseen(seed),
        }
        baseline = None
        if not isinstance(self.settings, Linear):
            linear, model = self._linear(self.division.train, Linear(), seed)
            settings = {"backbone": ["Linear", asdict(Linear())]}
            baseline = finish(
                linear, model, self.division, settings, steps=1, **finishing
            )
        heads = composition.members if composition.shared else 1
        if composition.experts:
            learned, model, steps = self._experts(run, run_settings, seed)
        elif composition.members == heads:
            learned, model, steps = self._learn(
                self.division.train, run, seed, heads
            )
        else:
            learned, model, steps = self._ensemble(
                run, run_settings, seed, composition.members
            )
        return finish(
            learned,
            model,
            self.division,
            run_settings,
            steps=steps,
            baseline=baseline,
            **finishing,
        )

    @stage("cross-fitting")
    def _unseen(self, seed: int) -> Scores | None:
        """Return cross-fitted scores of the training texts, where no part is for validation."""
        if len(self.division.validation) or not self.division.orders_texts:
            return None
        # `fit` gives every other one a part
        assert isinstance(self.settings, Linear)
        return scores_for_calibration(
            self.division, self.estimates, self.settings, seed
        )

    def _ensemble(
        self,
        run: Run,
        run_settings: Mapping[str, Any],
        seed: int,
        members: int,
    ) -> Learned:
        """Learn the members separately, each from newly weighted judgements."""
        trained = []
        for number in range(members):
            corpus = self.division.train.resampled(seed + number)
            member_run = run.member(number, {**run_settings, "member": number})
            trained.append(
                self._standardised_member(corpus, member_run, seed + number)
            )
        backbones, model, steps = self._combined(trained)
        return Ensemble(backbones), model, steps

    def _experts(
        self, run: Run, run_settings: Mapping[str, Any], seed: int
    ) -> Learned:
        """Learn a backbone for each source, and the router that tells a prompt's source."""
        divisions = self.division.by_source()
        trained = []
        prompts = {}
        for number, (source, division) in enumerate(divisions.items()):
            member_run = run.member(number, {**run_settings, "expert": source})
            learner = replace(self, division=division)
            trained.append(
                learner._standardised_member(division.train, member_run, seed)
            )
            prompts[source] = [
                example.prompt for example in division.train.examples
            ]
        backbones, model, steps = self._combined(trained)
        return Experts(backbones, fit_router(prompts)), model, steps

    def _standardised_member(
        self, corpus: Corpus, run: Run, seed: int
    ) -> _Member:
        """Learn a backbone, rescaled by the mean and standard deviation of its held-out scores."""
        backbone, model, steps = self._learn(corpus, run, seed, 1)
        values = backbone.score(self.division.validation.examples).values
        sd = max(float(np.std(values)), 1e-8)
        backbone.rescale(float(np.mean(values)), sd)
        effects = None
        if model.control is not None:
            effects = model.control.effects.detach() / sd
        return _Member(backbone, effects, steps)

    def _combined(
        self, trained: Sequence[_Member]
    ) -> tuple[list[Backbone], ObservationModel, int]:
        """Return the backbones of members, their common observation model, and all their steps."""
        model = self._observation()
        effects = [
            member.effects for member in trained if member.effects is not None
        ]
        if model.control is not None:
            model.control.effects.data.copy_(torch.stack(effects).mean(0))
        backbones = [member.backbone for member in trained]
        return backbones, model, sum(member.steps for member in trained)

    def _observation(self) -> ObservationModel:
        return self.estimates.prepared(
            ObservationModel.untrained(self.division)
        )

    @stage("fitting the linear model")
    def _linear(
        self, corpus: Corpus, settings: Linear, seed: int
    ) -> tuple[Backbone, ObservationModel]:
        model = self._observation()
        if not self.division.orders_texts:
            return LinearBackbone.constant(settings), model
        return fit_linear(corpus, model, settings, seed=seed), model

    def _learn(
        self, corpus: Corpus, run: Run, seed: int, heads: int
    ) -> Learned:
        """Learn one backbone from a corpus."""
        if isinstance(self.settings, Linear):
            return *self._linear(corpus, self.settings, seed), 1
        # a linear fit must not wait for transformers to be imported
        from tastemaker.fast.encoder import takes_bfloat16
        from tastemaker.reward.fit_network import FitTask, open_network

        # `chosen_training` gives every network one
        assert self.training is not None
        network = open_network(self.settings, self.division, seed)
        model = self._observation()
        if heads > 1:
            network.widen(heads, seed)
        if isinstance(self.settings, Encoder) and self.settings.lora:
            lora = self.settings.adapters
            network.add_adapters(lora, self.settings.name, seed)
        if not self.division.orders_texts:
            # (s − 0)/∞: the head's weights become 0. This counts as a step, for a model of 0 steps
            # is refused.
            network.merge_adapters()
            network.rescale(0.0, math.inf)
            return network, model, 1
        device = choose_device(self.device)
        precision = choose_precision(device, self.precision)
        if precision == torch.bfloat16:
            # where it is trained, for kernels differ; a few tokens tell
            network.to(device)
            ids = network.encode(corpus.examples[:1]).ids[0]
            # the last one may be the end that an encoder-decoder reads the score at
            text = np.concatenate([ids[: _TRIED - 1], ids[_TRIED - 1 :][-1:]])
            if not takes_bfloat16(
                network.module, self.precision, text, network.pad_id
            ):
                precision = torch.float32
        task = FitTask(
            network,
            model,
            corpus,
            self.division.validation,
            self.training,
            device=device,
            precision=precision,
            seed=seed,
        )
        steps = train(task, run, seed=seed).step
        network.merge_adapters()
        network.round_weights()
        network.calibrate(corpus.examples)
        if heads > 1:
            self._standardise(network, model)
        return network, model.to(torch.device("cpu")), steps

    def _standardise(self, network: Any, model: ObservationModel) -> None:
        """Bring the heads to one scale on the held-out texts."""
        from tastemaker.reward.backbones.heads import standardise_heads

        by_head = network.score(self.division.validation.examples).members
        means, deviations = by_head.mean(1), by_head.std(1)
        standardise_heads(network.module, means.tolist(), deviations.tolist())
        if model.control is not None:
            model.control.effects.data.div_(
                max(float(deviations.mean()), 1e-8)
            )

    def _check(self, run: Run, seed: int) -> None:
        """Raise what would stop the trained model from being saved, before it is trained."""
        if run.folder is None or run.has_checkpoint:
            return
        if not isinstance(self.settings, Encoder):
            return
        from tastemaker.reward.fit_network import open_network

        # what is saved has full precision
        settings = replace(self.settings, quantize="none")
        network = open_network(settings, self.division, seed)
        check_untrained(network, self.division, run.folder.parent.resolve())


Backbones: TypeAlias = str | Linear | Encoder | Tiny


def fit(
    judgements: Sequence[Judgement],
    *,
    backbone: Backbones = "linear",
    training: Training | Mapping[str, Any] | None = None,
    likelihood: Likelihood | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    held_out: float | Sequence[Judgement] | None = None,
    anchor: Sequence[Example] | None = None,
    members: int = 1,
    shared: bool = False,
    experts: bool = False,
    seed: int = 0,
    device: DeviceChoice = "auto",
    precision: TrainingChoice = "auto",
    labels: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> RewardModel:
    """Learn a reward model from any mixture of judgements.

    backbone: linear, tiny, minilm, a model folder, a hub name, or settings such as `Linear`.
    training: all settings of network training, or some that replace those of the recipe.
    epochs: one of these settings. likelihood: how judgements count, or some settings by name.
    held_out: judgements that only measure, or their share; None: a tenth, at most 1,000 texts.
    anchor: texts of mean score 0 and standard deviation 1; None: held-out ones, or all if few.
    members: more than one make an ensemble, each learned from newly weighted judgements (Bayesian
        bootstrap, Rubin 1981). shared: they are heads of one network.
    experts: a backbone for each source of judgements, mixed by the likely source of the prompt.
    labels: names of the label values, for the contract. out: where to save; None: in memory only.
    resume: continue an interrupted run. overwrite: replace a model once the new one is complete.

    Raises DataError for judgements that cannot teach, UsageError for invalid settings,
    TrainingError for a run that failed, StorageError for a folder that cannot be written.
    """
    chosen = choose_backbone(backbone)
    composition = Composition(members, shared, experts)
    composition.check(chosen.settings)
    check_there_is_something(judgements, anchor)
    if held_out is None or isinstance(held_out, float | int):
        (judgements,) = told_apart(judgements)
    else:
        judgements, held_out = told_apart(judgements, held_out)
    likelihood = settings_from(Likelihood, likelihood, "likelihood")
    validates = composition.needs_validation(chosen.settings, len(judgements))
    division = divide(
        judgements, held_out, likelihood, seed, validates=validates
    )
    texts = len(division.train)
    training = chosen_training(chosen, training, epochs, texts=texts)
    composition.check_shard(chosen.settings, training)
    run_settings = {
        "backbone": [type(chosen.settings).__name__, asdict(chosen.settings)],
        "likelihood": asdict(likelihood),
        "seed": seed,
        "data": division.digest,
    }
    if training:
        run_settings["training"] = without_shard(training)
        run_settings |= {"device": device, "precision": precision}
    run_settings |= composition.settings(judgements)
    run_settings |= _optional_settings(anchor, labels)
    with open_run(
        out, run_settings, whole=CONTRACT, resume=resume, overwrite=overwrite
    ) as run:
        if out is not None and run.is_finished:
            return _finished(Path(out), run_settings, division)
        estimates = cross_fit(division, seed)
        opening = composition.opening(chosen.settings)
        learner = Learner(
            opening, division, training, device, precision, estimates
        )
        model = learner.reward_model(
            run, run_settings, seed, composition, anchor
        )
        model.contract = replace(model.contract, labels=dict(labels or {}))
        if out is not None and processes.is_first():
            model.save(Path(out))
    return model


def _finished(
    folder: Path, run_settings: dict[str, Any], division: Division
) -> RewardModel:
    """Return the model of a finished run. Raises UsageError for one of other settings."""
    model = RewardModel.load(folder)
    check_same(model.contract.settings, run_settings)
    model.held_out_judgements = division.held_out_judgements
    return model


def _optional_settings(
    anchor: Sequence[Example] | None, labels: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return the run settings of an anchor and of label names, where they are given."""
    settings: dict[str, Any] = {}
    if anchor is not None:
        settings["anchor"] = digest_of_items(anchor)
    if labels:
        settings["labels"] = dict(labels)
    return settings
