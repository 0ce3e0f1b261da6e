"""The verb `fit`: judgements become a reward model.

Split, train, calibrate, anchor, evaluate, save. A `Learner` trains one backbone, or one for each
member of an ensemble or for each source of judgements.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from tastemaker.data.judgements import Example, Judgement, joined
from tastemaker.errors import DataError, UsageError
from tastemaker.fast.processor import (
    DeviceWish,
    TrainingWish,
    choose_device,
    choose_precision,
)
from tastemaker.kinds.base import Likelihood
from tastemaker.reward.backbones import (
    Backbone,
    Chosen,
    Encoder,
    Linear,
    Tiny,
    Training,
    choose_backbone,
)
from tastemaker.reward.backbones.ensembles import Ensemble, Experts
from tastemaker.reward.convex import fit_linear
from tastemaker.reward.corpus import Corpus
from tastemaker.reward.crossfit import CrossFit, cross_fit, fit_router
from tastemaker.reward.division import Division, digest_of_said, divide
from tastemaker.reward.finish import finish
from tastemaker.reward.model import RewardModel
from tastemaker.reward.observation import ObservationModel
from tastemaker.settings import settings_from
from tastemaker.train.loop import train
from tastemaker.train.run import CONTRACT, Run, check_same, open_run

_MOST_MEMBERS = 64


class _Apart(NamedTuple):
    """A backbone that was trained alone, its length effect in its units, and its steps."""

    backbone: Backbone
    length_effect: float
    steps: int


Learned = tuple[Backbone, ObservationModel, int]
"""A backbone, the observation model learned beside it, and how many steps that took."""


@dataclass(frozen=True)
class Several:
    """How many backbones make a model.

    members: of an ensemble; shared: as heads of one network. experts: one for each source of
    judgements.
    """

    members: int = 1
    shared: bool = False
    experts: bool = False

    def check(self, settings: Linear | Encoder | Tiny) -> None:
        """Raise UsageError for invalid or contradictory settings."""
        if not 1 <= self.members <= _MOST_MEMBERS:
            raise UsageError(
                f"members {self.members}: must be 1 to {_MOST_MEMBERS}; 5 is usual."
            )
        if self.shared and (self.members == 1 or isinstance(settings, Linear)):
            what = (
                "one member"
                if self.members == 1
                else "the backbone 'linear', which is no network,"
            )
            raise UsageError(f"shared has no meaning for {what}. Leave it out.")
        if self.experts and self.members > 1:
            raise UsageError(
                f"experts have no members, and members is {self.members}. Leave one of the two out."
            )

    def settings(self, judgements: Sequence[Judgement]) -> dict[str, Any]:
        """Return the run settings that only some runs have."""
        settings: dict[str, Any] = {}
        if self.members > 1:
            settings["members"], settings["shared"] = self.members, self.shared
        if self.experts:
            sources = Counter(judgement.source for judgement in judgements)
            settings["experts"] = dict(sorted(sources.items()))
        return settings


def chosen_training(
    chosen: Chosen,
    given: Training | Mapping[str, Any] | None,
    epochs: int | None,
    *,
    texts: int,
) -> Training | None:
    """Return the training settings, completed by the recipe; None for a linear backbone."""
    if isinstance(chosen.settings, Linear):
        names = list(given) if isinstance(given, Mapping) else []
        if epochs is not None:
            names.append("epochs")
        if names:
            option = "--" + names[0].replace("_", "-")
            raise UsageError(
                f"{option}: the backbone 'linear' is fitted to the end, without steps or epochs. "
                "Leave it out."
            )
        return None
    if isinstance(given, Training):
        return given if epochs is None else replace(given, epochs=epochs)
    recipe = chosen.recipe
    settings = {"lr": recipe.lr, "batch_size": recipe.batch_size, **(given or {})}
    if epochs is not None:
        settings["epochs"] = epochs
    settings.setdefault("epochs", recipe.passes(texts, settings["batch_size"]))
    return settings_from(Training, settings, "training")


@dataclass(frozen=True)
class Learner:
    """Trains the backbones of a reward model. training: None for a linear backbone.

    estimates: judges and scales from cross-fitting.
    """

    settings: Linear | Encoder | Tiny
    division: Division
    training: Training | None
    device: DeviceWish
    precision: TrainingWish
    estimates: CrossFit

    def reward_model(
        self,
        run: Run,
        run_settings: Mapping[str, Any],
        *,
        seed: int,
        several: Several,
        anchor: Sequence[Example] | None,
    ) -> RewardModel:
        """Train the linear model and the network, if there is one; return the finished model."""
        judges = self.estimates.judges
        finishing: dict[str, Any] = {
            "judges": judges.as_dict() if judges else None,
            "anchor": anchor,
        }
        baseline = None
        if not isinstance(self.settings, Linear):
            linear, model = self._linear(self.division.train, Linear(), seed)
            settings = {"backbone": ["Linear", asdict(Linear())]}
            baseline = finish(
                linear, model, self.division, settings, steps=1, **finishing
            )
        heads = several.members if several.shared else 1
        if several.experts:
            learned, model, steps = self._experts(run, run_settings, seed)
        elif several.members == heads:
            learned, model, steps = self._learn(self.division.train, run, seed, heads)
        else:
            learned, model, steps = self._ensemble(
                run, run_settings, seed, several.members
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

    def _ensemble(
        self, run: Run, run_settings: Mapping[str, Any], seed: int, members: int
    ) -> Learned:
        """Learn the members separately, each from newly weighted judgements."""
        trained = []
        for number in range(members):
            corpus = self.division.train.resampled(seed + number)
            member_run = run.member(number, {**run_settings, "member": number})
            trained.append(self._in_own_units(corpus, member_run, seed + number))
        backbones, model, steps = self._together(trained)
        return Ensemble(backbones), model, steps

    def _experts(self, run: Run, run_settings: Mapping[str, Any], seed: int) -> Learned:
        """Learn a backbone for each source, and the router that tells a prompt's source."""
        divisions = self.division.by_source()
        trained = []
        prompts = {}
        for number, (source, division) in enumerate(divisions.items()):
            member_run = run.member(number, {**run_settings, "expert": source})
            learner = replace(self, division=division)
            trained.append(learner._in_own_units(division.train, member_run, seed))
            prompts[source] = [example.prompt for example in division.train.examples]
        backbones, model, steps = self._together(trained)
        return Experts(backbones, fit_router(prompts)), model, steps

    def _in_own_units(self, corpus: Corpus, run: Run, seed: int) -> _Apart:
        """Learn a backbone, in units of its own standard deviation on the held-out texts."""
        backbone, model, steps = self._learn(corpus, run, seed, 1)
        values = backbone.score(self.division.held_out.examples).values
        sd = max(float(np.std(values)), 1e-8)
        backbone.rescale(float(np.mean(values)), sd)
        effect = 0.0
        if model.length is not None:
            effect = float(model.length.effect) / sd
        return _Apart(backbone, effect, steps)

    def _together(
        self, trained: Sequence[_Apart]
    ) -> tuple[list[Backbone], ObservationModel, int]:
        """Return backbones that were trained alone, their common observation model and steps."""
        model = self._observation()
        if model.length is not None:
            effects = [apart.length_effect for apart in trained]
            model.length.effect.data.fill_(float(np.mean(effects)))
        backbones = [apart.backbone for apart in trained]
        return backbones, model, sum(apart.steps for apart in trained)

    def _observation(self) -> ObservationModel:
        return self.estimates.prepared(self.division.fresh_model())

    def _linear(
        self, corpus: Corpus, settings: Linear, seed: int
    ) -> tuple[Backbone, ObservationModel]:
        model = self._observation()
        return fit_linear(corpus, model, settings, seed=seed), model

    def _learn(self, corpus: Corpus, run: Run, seed: int, heads: int) -> Learned:
        """Learn one backbone from a corpus."""
        if isinstance(self.settings, Linear):
            return *self._linear(corpus, self.settings, seed), 1
        # a linear fit must not wait for transformers to be imported
        from tastemaker.reward.fit_network import FitTask

        assert self.training is not None  # `chosen_training` gives every network one
        network = self._network(self.settings, seed)
        model = self._observation()
        if heads > 1:
            network.widen(heads, seed)
        device = choose_device(self.device)
        task = FitTask(
            network,
            model,
            corpus,
            self.division.held_out,
            self.training,
            device=device,
            precision=choose_precision(device, self.precision),
            seed=seed,
        )
        steps = train(task, run, seed=seed).step
        network.calibrate(corpus.examples)
        if heads > 1:
            self._standardise(network, model)
        return network, model.to(torch.device("cpu")), steps

    def _standardise(self, network: Any, model: ObservationModel) -> None:
        """Bring the heads to one scale on the held-out texts."""
        from tastemaker.reward.backbones.opening import standardise_heads

        by_head = network.score(self.division.held_out.examples).members
        standardise_heads(
            network.module, by_head.mean(1).tolist(), by_head.std(1).tolist()
        )
        if model.length is not None:
            model.length.effect.data.div_(max(float(by_head.std(1).mean()), 1e-8))

    def _network(self, settings: Encoder | Tiny, seed: int) -> Any:
        """Open the network that is to be trained, or make it."""
        from tastemaker.reward.backbones.network import Network
        from tastemaker.reward.backbones.opening import DEFAULT_MAX_LENGTH
        from tastemaker.reward.backbones.tiny import make_tiny

        limits: dict[str, Any] = {
            "cut": settings.cut,
            "dropout": settings.dropout,
            "seed": seed,
        }
        examples = self.division.train.examples
        if isinstance(settings, Tiny):
            texts = [joined(example) for example in examples]
            length = settings.max_length or DEFAULT_MAX_LENGTH
            return make_tiny(
                texts, vocabulary=settings.vocabulary, max_length=length, **limits
            )
        is_chat = any(isinstance(example.prompt, tuple) for example in examples)
        template = settings.template or ("chat" if is_chat else None)
        network = Network.open(settings.name, max_length=settings.max_length, **limits)
        network.use_template(template, wanted=settings.template is not None)
        return network


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

    backbone: linear, tiny, minilm, a model folder, a hub name, or settings such as `Linear`.
    training: all settings of network training, or some that replace those of the recipe.
    epochs: one of these settings.
    likelihood: how judgements count as evidence.
    held_out: judgements that only measure, or their share; None: a tenth, at most 1,000 texts.
    anchor: texts whose mean score becomes 0 and standard deviation 1; None: the held-out ones.
    members: more than one make an ensemble, each learned from newly weighted judgements (Bayesian
        bootstrap, Rubin 1981). shared: the members are heads of one network.
    experts: a backbone for each source of judgements, mixed by the likely source of the prompt.
    labels: the names of the label values, for the contract.
    out: where to save; None keeps the model in memory.
    resume: continue an interrupted run. overwrite: replace a model once the new one is complete.

    Raises DataError for judgements that cannot teach, UsageError for invalid settings,
    TrainingError for a run that failed, StorageError for a folder that cannot be written.
    """
    chosen = choose_backbone(backbone)
    several = Several(members, shared, experts)
    several.check(chosen.settings)
    _check_there_is_something(judgements, anchor)
    likelihood = likelihood or Likelihood()
    division = divide(judgements, held_out, likelihood, seed)
    training = chosen_training(chosen, training, epochs, texts=len(division.train))
    run_settings = {
        "backbone": [type(chosen.settings).__name__, asdict(chosen.settings)],
        "likelihood": asdict(likelihood),
        "seed": seed,
        "data": division.digest,
    }
    if training:
        run_settings["training"] = asdict(training)
        run_settings["device"] = device
        run_settings["precision"] = precision
    run_settings.update(several.settings(judgements))
    run_settings.update(_optional_settings(anchor, labels))
    with open_run(
        out, run_settings, whole=CONTRACT, resume=resume, overwrite=overwrite
    ) as run:
        if out is not None and run.is_finished:
            model = RewardModel.load(out)
            check_same(model.contract.settings, run_settings)
            return model
        learner = Learner(
            chosen.settings,
            division,
            training,
            device,
            precision,
            cross_fit(division, seed),
        )
        model = learner.reward_model(
            run, run_settings, seed=seed, several=several, anchor=anchor
        )
        model.contract = replace(model.contract, labels=dict(labels or {}))
        if out is not None:
            model.save(Path(out))
    return model


def _check_there_is_something(
    judgements: Sequence[Judgement], anchor: Sequence[Example] | None
) -> None:
    """Raise DataError where there is nothing to learn from, or an anchor without texts."""
    if not judgements:
        raise DataError("no judgements to learn from: the source is empty.")
    if anchor is not None and not anchor:
        raise DataError("the anchor holds no texts. Give some, or leave it out.")


def _optional_settings(
    anchor: Sequence[Example] | None, labels: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return the run settings that only some runs have."""
    settings: dict[str, Any] = {}
    if anchor is not None:
        settings["anchor"] = digest_of_said(anchor)
    if labels:
        settings["labels"] = dict(labels)
    return settings
