"""The reward model: a backbone, the links that give its score a meaning, and their contract."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from tastemaker.costs import stage, versions
from tastemaker.data.judgements import RECORDS, Example, Judgement
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.evaluate.findings import Evaluation
from tastemaker.fast.processor import (
    DeviceChoice,
    ScoringChoice,
    WeightsChoice,
    choose_device,
    choose_weights,
)
from tastemaker.files import filling_folder
from tastemaker.kinds.base import Link
from tastemaker.kinds.registry import LINKS
from tastemaker.near_copies import Sketches
from tastemaker.readable import notebook_html
from tastemaker.reward.backbones import Backbone, load_backbone, move
from tastemaker.reward.contract import (
    ADOPTED,
    Contract,
    digests_of,
    write_card,
)
from tastemaker.reward.roundtrip import check_roundtrip
from tastemaker.scores import Caution, Scores
from tastemaker.train.run import CONTRACT

TRAINING_TEXTS = "training_texts.safetensors"
BASELINE = "baseline"
_NOTEBOOK_FIGURES = ("accuracy", "ece", "pearson", "mae", "kendall_tau")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)
Scorable = str | Example


class RewardModel:
    """A fitted reward model. Make one with `fit`, open one with `RewardModel.load(folder)`.

    Scores are anchored: 0 is the mean of the reference texts, 1 their standard deviation. A
    decoder's head has no bias, so its mean is not 0: the contract's anchor holds it (`centred` is
    False).
    """

    def __init__(
        self,
        backbone: Backbone,
        links: dict[type[Judgement], Link],
        contract: Contract,
        *,
        baseline: "RewardModel | None" = None,
        training_fingerprints: NDArray[np.uint64] | None = None,
        training_sketches: Sketches | None = None,
    ) -> None:
        self.backbone, self.links, self.contract = backbone, links, contract
        self.baseline = baseline
        self.training_fingerprints = training_fingerprints
        self.training_sketches = training_sketches
        # after a fit only: a saved model holds its figures alone, in the contract
        self.held_out_evaluation: Evaluation | None = None
        # of a finished fit that was resumed: what its evaluation can be measured on again
        self.held_out_judgements: Sequence[Judgement] = ()

    @overload
    def score(  # type: ignore[overload-overlap]
        self,
        text: Scorable,
        *,
        precision: ScoringChoice = ...,
        caution: Caution = ...,
    ) -> float: ...
    @overload
    def score(
        self,
        text: Sequence[Scorable],
        *,
        precision: ScoringChoice = ...,
        caution: Caution = ...,
    ) -> list[float]: ...
    def score(
        self,
        text: Scorable | Sequence[Scorable],
        *,
        precision: ScoringChoice = "float32",
        caution: Caution = 0.0,
    ) -> float | list[float]:
        """Return the score of a text, or the scores of several, in order.

        precision: "float32" is what the roundtrip check holds for; "fast" is the quickest that this
        processor has. caution: of an ensemble, λ of mean − λ · standard deviation, "minimum",
        its lowest member, or "pessimistic=β" (see `Caution`). Raises DataError for an empty text
        and ModelError for a model that was never trained.
        """
        return self._answer(text, lambda values: values, precision, caution)

    @overload
    def uncertainty(  # type: ignore[overload-overlap]
        self, text: Scorable, *, precision: ScoringChoice = ...
    ) -> float: ...
    @overload
    def uncertainty(
        self, text: Sequence[Scorable], *, precision: ScoringChoice = ...
    ) -> list[float]: ...
    def uncertainty(
        self,
        text: Scorable | Sequence[Scorable],
        *,
        precision: ScoringChoice = "float32",
    ) -> float | list[float]:
        """Return the standard deviation of the scores of an ensemble's members.

        Raises UsageError for a single model.
        """
        one, texts = _as_list(text)
        uncertainty = self.score_all(texts, precision=precision).uncertainty
        if uncertainty is None:
            raise UsageError(
                "uncertainty needs an ensemble, and this is a single model. Fit one "
                "with --members 5."
            )
        values: list[float] = uncertainty.tolist()
        return values[0] if one else values

    @overload
    def probability(  # type: ignore[overload-overlap]
        self, text: Scorable, *, precision: ScoringChoice = ...
    ) -> float: ...
    @overload
    def probability(
        self, text: Sequence[Scorable], *, precision: ScoringChoice = ...
    ) -> list[float]: ...
    def probability(
        self,
        text: Scorable | Sequence[Scorable],
        *,
        precision: ScoringChoice = "float32",
    ) -> float | list[float]:
        """Return the probability that a judge labels the text positive.

        Raises ModelError for a model that learned from no labels.
        """
        link = self._link("probabilities", "labels")
        return self._answer(text, link.predict, precision)

    @overload
    def rating(  # type: ignore[overload-overlap]
        self, text: Scorable, *, precision: ScoringChoice = ...
    ) -> float: ...
    @overload
    def rating(
        self, text: Sequence[Scorable], *, precision: ScoringChoice = ...
    ) -> list[float]: ...
    def rating(
        self,
        text: Scorable | Sequence[Scorable],
        *,
        precision: ScoringChoice = "float32",
    ) -> float | list[float]:
        """Return the rating or grade that a judge gives on average, in the judges' unit.

        Raises ModelError for a model that learned from neither.
        """
        link = self._link("ratings", "ratings or grades")
        return self._answer(text, link.predict, precision)

    def score_all(
        self,
        examples: Sequence[Example],
        *,
        precision: ScoringChoice = "float32",
    ) -> Scores:
        """Return scores and truncation of examples, in order."""
        if not self.contract.is_trained:
            raise ModelError(
                "this reward model's head was never trained, so its scores mean "
                "nothing. Fit it first."
            )
        for number, example in enumerate(examples, 1):
            # an empty answer to a prompt can be scored
            if not example.text.strip() and example.prompt is None:
                raise DataError(
                    f"text {number} of {len(examples)} is empty: there is nothing to score."
                )
        return self.backbone.score(examples, precision=precision)

    @property
    def meaning_names(self) -> tuple[str, ...]:
        """The names of `meanings`, each once."""
        names = [link.predicts for link in self.links.values()]
        return tuple(name for name in dict.fromkeys(names) if name is not None)

    def meanings(self, scores: Scores) -> dict[str, list[float]]:
        """Return the mean judgements of texts with these scores: `probabilities`, `ratings`.

        Only what the model learned is in the result. Where it learned grades and ratings, ratings
        are those of its ratings.
        """
        values = torch.from_numpy(scores.values)
        meanings: dict[str, list[float]] = {}
        with torch.no_grad():
            for link in self.links.values():
                if link.predicts is not None:
                    meanings[link.predicts] = link.predict(values).tolist()
        return meanings

    @stage("saving and checking")
    def save(self, folder: str | Path) -> "RewardModel":
        """Save, reload through every loader, compare, and only then put the folder in its place.

        Returns this model with the roundtrip in its contract. Raises ModelError when a loader
        differs by more than the tolerance and StorageError when the disk is full. No partial folder
        is left.
        """
        with filling_folder(Path(folder), last=CONTRACT) as temporary:
            self.backbone.save(temporary)
            paths = temporary.rglob("*.safetensors")
            files = [path.relative_to(temporary).as_posix() for path in paths]
            weights = digests_of(temporary, files)
            if self.training_fingerprints is not None:
                tensors: dict[str, Any] = {
                    "fingerprints": self.training_fingerprints
                }
                if self.training_sketches is not None:
                    tensors["sketches"] = self.training_sketches
                (temporary / TRAINING_TEXTS).write_bytes(save(tensors))
            if self.baseline is not None:
                self.baseline.save(temporary / BASELINE)
            contract = replace(
                self.contract,
                weights=weights,
                versions=versions(),
                roundtrip=check_roundtrip(self.backbone, temporary),
            )
            write_card(temporary, contract, self.backbone.describe())
            contract.write(temporary)
        self.contract = contract
        return self

    @staticmethod
    def load(
        folder: str | Path,
        *,
        device: DeviceChoice = "cpu",
        dtype: WeightsChoice = "float32",
        trust_remote_code: bool = False,
        anchor: Sequence[Scorable] | None = None,
    ) -> "RewardModel":
        """Open a saved reward model, or a published one: see `load`."""
        folder = _local_copy(folder)
        if _is_published(folder):
            # a linear model must not wait for transformers to be imported
            from tastemaker.reward.adopting import adopt

            network, contract = adopt(
                folder,
                dtype=choose_weights(dtype),
                trust_remote_code=trust_remote_code,
                anchor=None if anchor is None else _as_list(anchor)[1],
                device=device,
            )
            links = _links_of(contract, folder)
            return RewardModel(network, links, contract).to(device)
        folder = Path(folder)
        contract = Contract.read(folder)
        if anchor is not None:
            raise UsageError(
                f"{folder}: an anchor is for a published model without a contract; "
                "this one has the scale of its contract. Leave it out, or fit again with --anchor."
            )
        backbone = load_backbone(folder, contract, dtype)
        links = _links_of(contract, folder)
        baseline = None
        training_texts: dict[str, Any] = {}
        if (folder / BASELINE).is_dir():
            baseline = RewardModel.load(folder / BASELINE)
        if (folder / TRAINING_TEXTS).is_file():
            training_texts = load_file(folder / TRAINING_TEXTS)
        return RewardModel(
            backbone,
            links,
            contract,
            baseline=baseline,
            training_fingerprints=training_texts.get("fingerprints"),
            training_sketches=training_texts.get("sketches"),
        ).to(device)

    def to(self, device: DeviceChoice) -> "RewardModel":
        """Move the networks to a device and return this model. auto: CUDA, else MPS, else the CPU.

        Raises UsageError for a device that this machine does not have.
        """
        chosen = choose_device(device)
        move(self.backbone, chosen)
        return self

    def _repr_html_(self) -> str:
        """Return what the model is and its verdict, for a notebook."""
        evaluation = self.contract.evaluation
        sentences = [repr(self)]
        if "verdict" in evaluation:
            sentences.append(str(evaluation["verdict"]))
        rows = [["figure", "held-out value"]]
        for name in _NOTEBOOK_FIGURES:
            if isinstance(evaluation.get(name), float):
                rows.append([name, f"{evaluation[name]:.3f}"])
        return notebook_html(sentences, *([rows] if len(rows) > 1 else []))

    def __repr__(self) -> str:
        counts = self.contract.data.get("judgements", {})
        kinds = [f"{count:,} {kind}s" for kind, count in counts.items()]
        if self.contract.provenance == ADOPTED:
            return f"RewardModel({self.backbone.describe()}; adopted as published)"
        words = f"{self.backbone.describe()}; fitted on "
        words += " + ".join(kinds) or "nothing"
        accuracy = self.contract.evaluation.get("accuracy")
        if accuracy is not None:
            words += f", held-out accuracy {accuracy:.3f}"
        return f"RewardModel({words})"

    def _link(self, predicts: str, kinds: str) -> Link:
        """Return the link that predicts this; of grades and ratings, the ratings'."""
        for link in reversed(self.links.values()):
            if link.predicts == predicts:
                return link
        learned = ", ".join(
            sorted(link.kind + "s" for link in self.links.values())
        )
        raise ModelError(
            f"this model learned from {learned}, not from {kinds}: it cannot answer "
            "that. Use `score`."
        )

    def _answer(
        self,
        text: Scorable | Sequence[Scorable],
        meaning: Callable[[torch.Tensor], torch.Tensor],
        precision: ScoringChoice,
        caution: Caution = 0.0,
    ) -> float | list[float]:
        one, texts = _as_list(text)
        scores = self.score_all(texts, precision=precision).cautious(caution)
        with torch.no_grad():
            values: list[float] = meaning(
                torch.from_numpy(scores.values)
            ).tolist()
        return values[0] if one else values


def load(
    folder: str | Path,
    *,
    device: DeviceChoice = "cpu",
    dtype: WeightsChoice = "float32",
    trust_remote_code: bool = False,
    anchor: Sequence[Scorable] | None = None,
) -> RewardModel:
    """Open a reward model: a folder that `fit` saved, or a published classifier.

    A folder or hub name of transformers without our contract is used as it is: one label scores by
    its logit, classes of sentiment or stars by a function of theirs that the contract states. Its
    contract has the provenance "adopted".

    device: where it scores. dtype: the number format of a network's weights in memory; auto is that
    of the saved ones. trust_remote_code: run code that a published model brings along. anchor:
    reference texts of a published model: the standard deviation of their scores becomes 1, and
    their mean 0 where the head has a bias, which those of decoders lack. The hub is asked for our
    contract first: a model that was saved by `fit` is opened as from its folder.
    Raises ModelError for a missing or broken contract, and for what cannot score, DataError for
    reference texts whose scores do not differ, UsageError for an anchor of a model of ours.
    """
    return RewardModel.load(
        folder,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        anchor=anchor,
    )


def _local_copy(source: str | Path) -> str | Path:
    """Return the local copy of a hub name whose repository holds our contract, else the source.

    A repository that the hub refuses now is also opened from its local copy.
    """
    name = str(source)
    if Path(source).is_dir() or not _HUB_NAME.fullmatch(name):
        return source
    from tastemaker.huggingface import snapshot_with

    return snapshot_with(name, CONTRACT) or source


def _is_published(folder: str | Path) -> bool:
    """Return whether this is a model of transformers that was not saved by `fit`."""
    path = Path(folder)
    if not path.is_dir():
        return bool(_HUB_NAME.fullmatch(str(folder)))
    if (path / CONTRACT).exists() or (path / TRAINING_TEXTS).exists():
        return False
    names = ("config.json", "adapter_config.json")
    has_one = any((path / name).exists() for name in names)
    return has_one or bool([*path.glob("*.gguf")])


def _links_of(
    contract: Contract, folder: str | Path
) -> dict[type[Judgement], Link]:
    """Return the links of a contract. Raises ModelError for a kind that is not registered."""
    links: dict[type[Judgement], Link] = {}
    for kind, values in contract.links.items():
        if kind not in RECORDS:
            raise ModelError(
                f"{folder}: it learned from judgements of the kind {kind!r}, which is not "
                "registered. Import the module that defines it first."
            )
        links[RECORDS[kind]] = LINKS[RECORDS[kind]].from_dict(values)
    return links


def _as_list(
    text: Scorable | Sequence[Scorable],
) -> tuple[bool, list[Example]]:
    """Return whether it is one text, and what to score as a list."""
    if isinstance(text, str | Example):
        return True, [_example(text)]
    return False, [_example(t) for t in text]


def _example(text: Scorable) -> Example:
    if isinstance(text, Example):
        return text
    if isinstance(text, str):
        return Example(text)
    raise UsageError(
        f"a text to score must be a string or an Example, not {type(text).__name__}: {text!r:.60}"
    )


def link_values(
    links: dict[type[Judgement], Link],
) -> dict[str, dict[str, object]]:
    """Return the links as the contract stores them."""
    return {link.kind: link.as_dict() for link in links.values()}
