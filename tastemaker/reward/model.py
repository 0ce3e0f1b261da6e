"""The reward model: a backbone, the links that give its score a meaning, and their contract.

Saving checks the roundtrip. The model in memory scores sample texts (short, long, too long, odd
characters). The saved folder is then opened in every way that users have, and the contract records
the largest difference of each way. A way that an architecture does not support (left padding where
the score is read at the first place) is recorded with the reason. A model that reloads to other
scores is not saved.
"""

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from tastemaker.data.judgements import RECORDS, Example, Judgement
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.fast.batching import collate
from tastemaker.fast.processor import ScoringChoice
from tastemaker.files import filling_folder
from tastemaker.kinds.base import Link
from tastemaker.kinds.registry import LINKS
from tastemaker.near_copies import Sketches
from tastemaker.reward.backbones import Backbone, load_backbone
from tastemaker.reward.backbones.ensembles import Ensemble
from tastemaker.reward.backbones.linear import LinearBackbone
from tastemaker.reward.contract import Contract, digests_of, write_card
from tastemaker.reward.observation import LengthEffect
from tastemaker.scores import Caution, Scores
from tastemaker.train.run import CONTRACT, versions

TOLERANCE = 1e-3
"""The largest difference that two loaders may show, in units of the score (1 = one sd of the
reference texts).
"""

SAMPLES = (
    "Wonderful.",
    "I walked out after twenty minutes; my aunt stayed, and regrets it.",
    "The acting is fine, but the story goes nowhere <br /> and the ending is worse.",
    "剧情很精彩，但是结尾让人失望。",
    "5/10 — not bad… not good, either!!! 🙂 \t ñandú",
    "A film about a lighthouse. " * 12,
    "It starts slowly and badly. " * 150
    + "And then it turns into the best film of the year.",
)


def check_roundtrip(backbone: Backbone, folder: Path) -> dict[str, Any]:
    """Reload `folder` in every way and return the largest difference of each.

    Raises ModelError for a difference over the tolerance.
    """
    if isinstance(backbone, Ensemble):
        return _check_members(backbone, folder)
    examples = [Example(text) for text in SAMPLES]
    expected = backbone.score(examples, precision="float32").values
    if backbone.kind == "linear":
        ways = _linear_ways(folder, examples)
    else:
        ways = _network_ways(folder, examples)
    differences: dict[str, float | str] = {}
    for way, answer in ways.items():
        if isinstance(answer, str):
            differences[way] = answer
            continue
        reloaded = np.asarray(answer, dtype=np.float64)
        difference = float(np.abs(reloaded - expected).max())
        if not difference <= TOLERANCE:
            raise ModelError(
                f"the saved model scores differently through {way}: by "
                f"{difference:.2g}, over the tolerance of "
                f"{TOLERANCE:g}. Nothing was saved; please report the architecture and versions."
            )
        differences[way] = difference
    return {"tolerance": TOLERANCE, "texts": len(SAMPLES), "differences": differences}


def _check_members(ensemble: Ensemble, folder: Path) -> dict[str, Any]:
    """Check each member on its own; return the largest difference of each way."""
    roundtrips = []
    folders = ensemble.folders(folder)
    for member, member_folder in zip(ensemble.members, folders, strict=True):
        roundtrips.append(check_roundtrip(member, member_folder))
    worst: dict[str, float | str] = {}
    for way in roundtrips[0]["differences"]:
        differences = [roundtrip["differences"][way] for roundtrip in roundtrips]
        numbers = [number for number in differences if not isinstance(number, str)]
        worst[way] = max(numbers) if numbers else differences[0]
    return {**roundtrips[0], "members": len(roundtrips), "differences": worst}


def _linear_ways(folder: Path, examples: Sequence[Example]) -> dict[str, Any]:
    reloaded = LinearBackbone.load(folder)
    return {
        "tastemaker, batched": reloaded.score(examples).values,
        "tastemaker, alone": _alone(reloaded, examples),
    }


def _alone(backbone: Backbone, examples: Sequence[Example]) -> list[float]:
    """Score each example in a call of its own."""
    scores = []
    for example in examples:
        scores.append(float(backbone.score([example]).values[0]))
    return scores


def _network_ways(folder: Path, examples: Sequence[Example]) -> dict[str, Any]:
    """Score the samples through every loader of a network's folder, on the CPU in float32."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    from tastemaker.huggingface import quiet_transformers
    from tastemaker.reward.backbones.network import Network

    with quiet_transformers(), warnings.catch_warnings(), torch.inference_mode():
        # the loaders' warnings are not about this model
        warnings.simplefilter("ignore")
        reloaded = Network.load(folder)
        texts = [reloaded.join(example) for example in examples]
        module = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = reloaded.encode(examples).ids
        left_padded = collate(ids, reloaded.pad_id, "left")
        one_by_one = []
        for text in texts:
            one_by_one += _through(module, tokenizer, [text], "right")
        classify = pipeline("text-classification", model=str(folder), device="cpu")
        return {
            "tastemaker, batched": reloaded.score(examples).values,
            "tastemaker, alone": _alone(reloaded, examples),
            "tastemaker, left-padded": reloaded.forward(left_padded).tolist(),
            "transformers, alone": one_by_one,
            "transformers, right-padded": _through(module, tokenizer, texts, "right"),
            "transformers, left-padded": _left_padded(module, tokenizer, texts),
            "pipeline, alone": _through_pipeline(classify, texts),
            "pipeline, batched": _through_pipeline(
                classify, texts, batch_size=len(texts)
            ),
            "sentence_transformers.CrossEncoder": _through_cross_encoder(folder, texts),
        }


def _through_pipeline(classify: Any, texts: list[str], **options: Any) -> list[float]:
    answers = classify(texts, truncation=True, **options)
    return [answer["score"] for answer in answers]


def _through(
    module: Any, tokenizer: Any, texts: list[str], side: str, **more: torch.Tensor
) -> list[float]:
    encoded = tokenizer(
        texts, truncation=True, padding=True, padding_side=side, return_tensors="pt"
    )
    scores: list[float] = module(**encoded, **more).logits[:, 0].tolist()
    return scores


def _left_padded(module: Any, tokenizer: Any, texts: list[str]) -> list[float] | str:
    """Score left-padded texts; positions count from the first real token."""
    # `score` is the head of a decoder; an encoder reads its score at the first place
    if not hasattr(module, "score"):
        return (
            "not possible: transformers reads this encoder's score at the first "
            "place, which would be padding"
        )
    if "position_ids" not in inspect.signature(module.forward).parameters:
        return (
            "not possible: this architecture counts positions from the left and "
            "takes none; pad right"
        )
    encoded = tokenizer(
        texts, padding=True, truncation=True, padding_side="left", return_tensors="pt"
    )
    positions = (encoded["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return _through(module, tokenizer, texts, "left", position_ids=positions)


def _through_cross_encoder(folder: Path, texts: list[str]) -> list[float] | str:
    """Score texts with CrossEncoder's tokenizer, network and activation.

    Its `predict` takes pairs only.
    """
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(str(folder), device="cpu")
    if encoder.tokenizer.chat_template is not None:
        return (
            "not possible: it puts plain texts through the chat template; render the "
            "chat and use transformers"
        )
    scores = encoder.activation_fn(encoder(encoder.preprocess(texts))["scores"])
    values: list[float] = scores.reshape(len(texts)).float().tolist()
    return values


TRAINING_TEXTS = "training_texts.safetensors"
BASELINE = "baseline"
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

    @overload
    def score(  # type: ignore[overload-overlap]
        self, text: Scorable, *, precision: ScoringChoice = ..., caution: Caution = ...
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
    def rating(self, text: Scorable, *, precision: ScoringChoice = ...) -> float: ...  # type: ignore[overload-overlap]
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
        self, examples: Sequence[Example], *, precision: ScoringChoice = "float32"
    ) -> Scores:
        """Return scores and truncation of examples, in order."""
        if self.contract.trained_steps < 1:
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

    def meanings(self, scores: Scores) -> dict[str, list[float]]:
        """Return the mean judgements of texts with these scores: `probabilities`, `ratings`.

        Only what the model learned is in the result.
        """
        values = torch.from_numpy(scores.values)
        meanings: dict[str, list[float]] = {}
        with torch.no_grad():
            for link in self.links.values():
                if link.predicts is not None:
                    meanings[link.predicts] = link.predict(values).tolist()
        return meanings

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
                tensors: dict[str, Any] = {"fingerprints": self.training_fingerprints}
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
    def load(folder: str | Path) -> "RewardModel":
        """Open a saved reward model. Raises ModelError for a missing or broken contract."""
        folder = Path(folder)
        contract = Contract.read(folder)
        backbone = load_backbone(folder, contract)
        links: dict[type[Judgement], Link] = {}
        for kind, values in contract.links.items():
            if kind not in RECORDS:
                raise ModelError(
                    f"{folder}: it learned from judgements of the kind {kind!r}, which is not "
                    "registered. Import the module that defines it first."
                )
            links[RECORDS[kind]] = LINKS[RECORDS[kind]].from_dict(values)
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
        )

    def __repr__(self) -> str:
        counts = self.contract.data.get("judgements", {})
        kinds = [f"{count:,} {kind}s" for kind, count in counts.items()]
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
        learned = ", ".join(sorted(link.kind + "s" for link in self.links.values()))
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
            values: list[float] = meaning(torch.from_numpy(scores.values)).tolist()
        return values[0] if one else values


def load(folder: str | Path) -> RewardModel:
    """Open a saved reward model. Raises ModelError for a missing or broken contract."""
    return RewardModel.load(folder)


def _as_list(text: Scorable | Sequence[Scorable]) -> tuple[bool, list[Example]]:
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


def link_values(links: dict[type[Judgement], Link]) -> dict[str, dict[str, object]]:
    """Return the links as the contract stores them."""
    return {link.kind: link.as_dict() for link in links.values()}


class WithLength:
    """A model before length control: the length effect is added back to its score."""

    def __init__(self, model: RewardModel, length: LengthEffect, unit: float) -> None:
        self.model, self.length, self.links = model, length, model.links
        self.effect = float(length.effect.detach()) / unit

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Score the examples, in their order."""
        scores = self.model.score_all(examples)
        lengths = torch.tensor(
            [len(e.text) for e in examples], dtype=torch.float64
        ).log1p()
        more = self.effect * self.length.standardised(lengths).numpy()
        return Scores(scores.values + more, scores.truncated)
