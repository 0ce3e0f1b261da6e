"""Backbones: their settings, their names, and the protocol that they share.

A backbone maps a text to one number; a link gives the number a meaning. There are four kinds:
`linear` (word n-grams and a convex fit), `network` (any Hugging Face encoder or decoder),
`ensemble` (several of either) and `experts` (one of either for each source of judgements).
All other code uses only the protocol `Backbone`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch

from tastemaker import processes
from tastemaker.adapters import (
    LORA,
    LORA_LR,
    LORA_TARGETS,
    QUANTIZE,
    SAVED_DTYPE,
    Lora,
    Quantize,
)
from tastemaker.data.judgements import Example, Judgement
from tastemaker.errors import UsageError
from tastemaker.fast.processor import (
    ScoringChoice,
    TrainingChoice,
    WeightsChoice,
    choose_weights,
)
from tastemaker.reward.backbones.ensembles import Ensemble, Experts
from tastemaker.reward.backbones.linear import WEIGHTS as LINEAR_WEIGHTS
from tastemaker.reward.backbones.linear import Linear as Linear
from tastemaker.reward.backbones.linear import LinearBackbone
from tastemaker.reward.contract import Contract
from tastemaker.scores import Scores
from tastemaker.settings import (
    MAIN,
    NOT_NEGATIVE,
    PART,
    POSITIVE,
    Check,
    at_least,
    check,
    setting,
    settings_by_name,
    settings_class,
    settings_from,
)
from tastemaker.train.gradients import RECOMPUTE, SHARD, check_shard

Cut = Literal["left", "right"]


class Backbone(Protocol):
    """Maps a text to one number."""

    @property
    def kind(self) -> str:
        """`linear`, `network`, `ensemble` or `experts`; the contract holds it."""

    def score(
        self,
        examples: Sequence[Example],
        *,
        precision: ScoringChoice = "float32",
    ) -> Scores:
        """Return the scores of examples, in order, whatever is scored beside them."""

    def rescale(self, offset: float, scale: float) -> float:
        """Fold s ← (s − offset)/scale into the weights; return the offset that was folded."""

    def save(self, folder: Path) -> None:
        """Write everything that reading text needs into a folder."""

    def describe(self) -> str:
        """Return one line about the backbone."""


_CUT = (
    "Side of a longer text that is cut off: left, but a trained head keeps its own. Left keeps the "
    "end of a text, where reviews give a verdict."
)
_TOKENS = "Tokens that are read of a text, special tokens included."
# the default is 0, for one or two passes do not overfit
_DROPOUT = "Dropout of the network while it trains."


@settings_class
@dataclass(frozen=True)
class Encoder:
    """A Hugging Face encoder or decoder with one output, by folder, hub name or `minilm`."""

    name: str
    max_length: int | None = setting(
        None,
        _TOKENS,
        at_least(8),
        shown="what the network can read, at most 512; its own for a trained head",
    )
    cut: Cut | None = setting(
        None, _CUT, shown="left; its own for a trained head"
    )
    dropout: float = setting(0.0, _DROPOUT, PART)
    new_head: bool = setting(
        False,
        "Draw a new head, also where the backbone has a trained one or tells classes apart.",
    )
    lora: int = setting(0, LORA, at_least(0))
    lora_targets: str = setting("all", LORA_TARGETS)
    quantize: Quantize = setting("none", QUANTIZE)
    dtype: TrainingChoice = setting("auto", SAVED_DTYPE)
    template: str | None = setting(
        None,
        "How a prompt and the text that answers it are joined: '{prompt} {text}', or chat for the "
        "tokenizer's chat template.",
        shown="chat for chats, an empty line between otherwise; its own for a trained head",
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def adapters(self) -> Lora:
        """The adapters that are put into the network."""
        return Lora(self.lora, self.lora_targets, self.quantize)


@settings_class
@dataclass(frozen=True)
class Tiny:
    """A small encoder with a byte-level tokenizer, both made from the texts at hand."""

    vocabulary: int = setting(
        8000,
        "Tokens of the tokenizer.",
        Check(
            lambda value: value >= 300,
            "at least 300 (256 bytes and special tokens)",
        ),
    )
    max_length: int | None = setting(256, _TOKENS, at_least(8))
    cut: Cut = setting("left", _CUT)
    dropout: float = setting(0.0, _DROPOUT, PART)

    def __post_init__(self) -> None:
        check(self)


RECIPE = "the backbone's recipe"


@settings_class
@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    group: ClassVar[str] = "Network training"

    epochs: int = setting(
        2,
        "Epochs over the training texts.",
        at_least(1),
        group=MAIN,
        shown=RECIPE,
    )
    lr: float = setting(
        5e-5, "Peak learning rate of AdamW.", POSITIVE, shown=RECIPE
    )
    batch_size: int = setting(32, "Texts a step.", at_least(1), shown=RECIPE)
    batch_tokens: int = setting(
        8192,
        "Most tokens through the network at once, padding included.",
        at_least(1),
    )
    gradient_checkpointing: bool = setting(False, RECOMPUTE)
    warmup: float = setting(
        0.06, "Share of the steps in which the learning rate rises.", PART
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", NOT_NEGATIVE)
    clip: float = setting(
        1.0, "Largest gradient norm.", POSITIVE, option="--gradient-clip"
    )
    head_lr: float = setting(
        10.0, "Learning rate of the head, as a multiple of --lr.", POSITIVE
    )
    evaluations: int = setting(
        5, "Held-out evaluations in the run.", at_least(1)
    )
    patience: int = setting(
        3, "Evaluations without a gain that end the run.", at_least(1)
    )
    shard: bool = setting(False, SHARD)

    def __post_init__(self) -> None:
        check(self)


_MOST_EPOCHS = 10
_MOST_MEMBERS = 64
# judgements; with more, a part of them calibrates well enough
_MOST_CROSS_FITTED = 10_000


@dataclass(frozen=True)
class Recipe:
    """How a backbone is usually trained; every value has its option.

    least_steps: where `epochs` makes fewer steps than this, there are more epochs, at most ten.
    """

    epochs: int = 2
    lr: float = 5e-5
    batch_size: int = 32
    least_steps: int = 150

    def epochs_for(self, texts: int, batch_size: int) -> int:
        """Return the epochs over this number of texts, in batches of `batch_size`."""
        return max(
            self.epochs,
            min(
                _MOST_EPOCHS,
                -(-self.least_steps * batch_size // max(texts, 1)),
            ),
        )


@dataclass(frozen=True)
class ChosenBackbone:
    """A backbone's settings and its usual recipe."""

    settings: Linear | Encoder | Tiny
    recipe: Recipe = field(default_factory=Recipe)


_NAMED: dict[str, ChosenBackbone] = {
    "linear": ChosenBackbone(Linear()),
    "tiny": ChosenBackbone(Tiny(), Recipe(epochs=8, lr=1e-3)),
    "minilm": ChosenBackbone(
        Encoder("minilm", max_length=256), Recipe(epochs=1, lr=1e-4)
    ),
}


def choose_backbone(
    backbone: "str | Linear | Encoder | Tiny",
) -> ChosenBackbone:
    """Return the settings that a name stands for: linear, tiny, minilm, a folder or a hub name."""
    if isinstance(backbone, str):
        if not backbone.strip():
            raise UsageError(
                "an empty backbone name: use linear, tiny, minilm, a model folder or a hub name."
            )
        return _NAMED.get(backbone) or ChosenBackbone(Encoder(backbone))
    if not isinstance(backbone, Linear | Encoder | Tiny):
        raise UsageError(
            f"backbone {backbone!r}: must be a name such as 'linear', a model folder, or settings "
            "such as Linear()."
        )
    recipe = Recipe()
    if isinstance(backbone, Tiny):
        recipe = _NAMED["tiny"].recipe
    elif isinstance(backbone, Encoder) and backbone.lora:
        recipe = Recipe(lr=LORA_LR)
    elif backbone == _NAMED["minilm"].settings:
        recipe = _NAMED["minilm"].recipe
    return ChosenBackbone(backbone, recipe)


def check_processes(settings: Linear | Encoder | Tiny) -> None:
    """Raise UsageError for a linear backbone in many processes."""
    if isinstance(settings, Linear):
        processes.refuse(
            "a linear backbone", "Start one, or choose a network (--backbone)."
        )


@dataclass(frozen=True)
class Composition:
    """The backbones that make a model: one, or several.

    members: how many an ensemble has. shared: they are heads of one network. experts: there is one
    for each source of judgements.
    """

    members: int = 1
    shared: bool = False
    experts: bool = False

    def check(self, settings: Linear | Encoder | Tiny) -> None:
        """Raise UsageError for invalid or contradictory settings."""
        check_processes(settings)
        if not 1 <= self.members <= _MOST_MEMBERS:
            raise UsageError(
                f"members {self.members}: must be 1 to {_MOST_MEMBERS}; 5 is usual."
            )
        if self.shared and (self.members == 1 or isinstance(settings, Linear)):
            configuration = "the backbone 'linear', which is no network,"
            if self.members == 1:
                configuration = "one member"
            raise UsageError(
                f"shared has no meaning for {configuration}. Leave it out."
            )
        if self.experts and self.members > 1:
            raise UsageError(
                f"experts have no members, and members is {self.members}. Leave one of the two out."
            )

    def opening(
        self, settings: Linear | Encoder | Tiny
    ) -> Linear | Encoder | Tiny:
        """Return the settings by which the network is opened.

        Heads that share a network are drawn. No trained head is kept, so its template and length
        are not either.
        """
        is_shared = self.shared and self.members > 1
        if is_shared and isinstance(settings, Encoder):
            return replace(settings, new_head=True)
        return settings

    def check_shard(
        self, settings: Linear | Encoder | Tiny, training: Training | None
    ) -> None:
        """Raise UsageError for `--shard` where weights cannot be divided, or in some processes."""
        if training is None:
            return
        check_shard(shard=training.shard, lora=getattr(settings, "lora", 0))
        parts = "members" if self.members > 1 else "experts"
        is_several = self.experts or (self.members > 1 and not self.shared)
        if training.shard and is_several:
            raise UsageError(
                f"--shard and --{parts}: each would be whole beside the others. "
                "Leave one of the two out."
            )

    def needs_validation(
        self, settings: Linear | Encoder | Tiny, judgements: int
    ) -> bool:
        """Return whether a part of the texts calibrates; other fits are cross-fitted."""
        is_one_linear = isinstance(settings, Linear) and self.members == 1
        is_small = judgements <= _MOST_CROSS_FITTED
        return self.experts or not (is_one_linear and is_small)

    def settings(self, judgements: Sequence[Judgement]) -> dict[str, Any]:
        """Return the run settings of a model of several backbones; nothing for one backbone."""
        settings: dict[str, Any] = {}
        if self.members > 1:
            settings["members"], settings["shared"] = self.members, self.shared
        if self.experts:
            sources = Counter(judgement.source for judgement in judgements)
            settings["experts"] = dict(sorted(sources.items()))
        return settings


_KINDS: dict[str, type[Any]] = {
    "linear": Linear,
    "tiny": Tiny,
    "a network": Encoder,
}


def backbone_named(name: str, **settings: Any) -> Linear | Encoder | Tiny:
    """Return the settings that a name stands for, some replaced. Raises UsageError."""
    defaults = choose_backbone(name).settings
    for key in settings:
        owners = [
            other for other, kind in _KINDS.items() if hasattr(kind, key)
        ]
        if owners and not hasattr(defaults, key):
            option = "--" + key.replace("_", "-")
            raise UsageError(
                f"{option}: the backbone {name!r} has no such setting. {', '.join(owners)} has it."
            )
    return settings_from(type(defaults), {**vars(defaults), **settings}, name)


def load_backbone(
    folder: Path, contract: Contract, dtype: WeightsChoice = "float32"
) -> Backbone:
    """Open the backbone of a saved reward model. dtype: of a network's weights in memory."""
    load_member = partial(
        _load_one,
        template=contract.template,
        readout=contract.readout,
        dtype=dtype,
    )
    if contract.backbone == Experts.kind:
        return Experts.open(folder, load_member)
    if contract.backbone == Ensemble.kind:
        return Ensemble.load(
            folder, int(contract.settings["members"]), load_member
        )
    return load_member(folder)


def _load_one(
    folder: Path,
    template: str,
    readout: Mapping[str, Any],
    dtype: WeightsChoice,
) -> Backbone:
    if (folder / LINEAR_WEIGHTS).is_file():
        return LinearBackbone.load(folder)
    from tastemaker.reward.backbones.network import Network
    from tastemaker.reward.backbones.readout import Readout

    network: Backbone = Network.load(
        folder,
        template=template,
        readout=Readout.from_dict(readout),
        dtype=choose_weights(dtype),
    )
    return network


def move(backbone: Backbone, device: torch.device) -> None:
    """Move the networks of a backbone to a device; a linear one stays on the CPU."""
    for member in getattr(backbone, "members", [backbone]):
        if member.kind == "network":
            member.to(device)


def chosen_training(
    chosen: ChosenBackbone,
    training: Training | Mapping[str, Any] | None,
    epochs: int | None,
    *,
    texts: int,
) -> Training | None:
    """Return the training settings, completed by the recipe; None for a linear backbone."""
    is_object = isinstance(training, Training)
    given = (
        {} if is_object else settings_by_name(Training, training, "training")
    )
    if isinstance(chosen.settings, Linear):
        settings_from(
            Training, given, "training"
        )  # a mistyped one is told first
        names = list(given)
        if epochs is not None:
            names.append("epochs")
        if names:
            option = "--" + names[0].replace("_", "-")
            raise UsageError(
                f"{option}: the backbone 'linear' is fitted to the end, without steps or epochs. "
                "Leave it out."
            )
        return None
    if isinstance(training, Training):
        return training if epochs is None else replace(training, epochs=epochs)
    recipe = chosen.recipe
    settings = {
        "lr": recipe.lr,
        "batch_size": recipe.batch_size,
        **given,
    }
    if epochs is not None:
        settings["epochs"] = epochs
    settings.setdefault(
        "epochs", recipe.epochs_for(texts, settings["batch_size"])
    )
    return settings_from(Training, settings, "training")
