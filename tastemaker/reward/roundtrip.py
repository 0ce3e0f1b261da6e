"""The roundtrip: does a saved model give the same scores, however it is opened?

The model in memory scores sample texts (short, long, too long, odd characters). The saved folder is
then opened in every way that users have, and the contract records the largest difference of each
way. A way that an architecture does not support (left padding where the score is read at the first
place) is recorded with the reason. A model that reloads to other scores is not saved. The same
check runs on the untrained network, before the hours that training may take.
"""

import inspect
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tastemaker.data.judgements import (
    CHAT,
    TEMPLATE,
    Example,
    Message,
)
from tastemaker.errors import DataError, ModelError, TastemakerError
from tastemaker.fast.batching import collate
from tastemaker.files import scratch_folder
from tastemaker.reward.backbones import Backbone
from tastemaker.reward.backbones.ensembles import Ensemble
from tastemaker.reward.backbones.linear import LinearBackbone
from tastemaker.reward.division import Division

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

_CHAT = (Message("user", "How was the film?"),)


def check_untrained(network: Any, division: Division, folder: Path) -> None:
    """Check before training what would stop the trained network from being saved.

    division: its judgements; a chat template may refuse some of their chats. folder: where the
    model will be; a temporary folder beside it is written and removed. Raises DataError, naming the
    row, for such a chat, and ModelError as `check_roundtrip` does.
    """
    if network.template == CHAT:
        parts = (
            division.train_judgements,
            division.validation_judgements,
            division.held_out_judgements,
        )
        for judgement in chain(*parts):
            try:
                network.join(judgement.examples[0])
            except DataError as error:
                raise judgement.wrong(str(error)) from error
    # transformers draws random numbers while it loads
    with torch.random.fork_rng(devices=[]), scratch_folder(folder) as scratch:
        network.save(scratch)
        try:
            check_roundtrip(network, scratch)
        except TastemakerError:
            raise
        # dozens of model classes: any error of theirs says that they do not fit
        except Exception as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise ModelError(
                f"{network.describe()}: cannot score texts ({reason}). Choose another backbone."
            ) from error


def check_roundtrip(backbone: Backbone, folder: Path) -> dict[str, Any]:
    """Reload `folder` in every way and return the largest difference of each.

    Raises ModelError for a difference over the tolerance.
    """
    if isinstance(backbone, Ensemble):
        return _check_members(backbone, folder)
    examples = [Example(text) for text in SAMPLES]
    template = getattr(backbone, "template", TEMPLATE)
    if template == CHAT:
        examples += [Example(text, _CHAT) for text in SAMPLES]
    expected = backbone.score(examples, precision="float32").values
    if backbone.kind == "linear":
        ways = _linear_ways(folder, examples)
    else:
        ways = _network_ways(folder, examples, template)
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
    return {
        "tolerance": TOLERANCE,
        "texts": len(examples),
        "differences": differences,
    }


def _check_members(ensemble: Ensemble, folder: Path) -> dict[str, Any]:
    """Check each member on its own; return the largest difference of each way."""
    roundtrips = []
    folders = ensemble.folders(folder)
    for member, member_folder in zip(ensemble.members, folders, strict=True):
        roundtrips.append(check_roundtrip(member, member_folder))
    worst: dict[str, float | str] = {}
    for way in roundtrips[0]["differences"]:
        differences = [
            roundtrip["differences"][way] for roundtrip in roundtrips
        ]
        numbers = [
            number for number in differences if not isinstance(number, str)
        ]
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


def _network_ways(
    folder: Path, examples: Sequence[Example], template: str
) -> dict[str, Any]:
    """Score the samples through every loader of a network's folder, on the CPU in float32."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        pipeline,
    )

    from tastemaker.huggingface import quiet_transformers
    from tastemaker.reward.backbones.network import Network

    with (
        quiet_transformers(),
        warnings.catch_warnings(),
        torch.inference_mode(),
    ):
        # the loaders' warnings are not about this model
        warnings.simplefilter("ignore")
        reloaded = Network.load(folder, template=template)
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
        classify = pipeline(
            "text-classification", model=str(folder), device="cpu"
        )
        return {
            "tastemaker, batched": reloaded.score(examples).values,
            "tastemaker, alone": _alone(reloaded, examples),
            "tastemaker, left-padded": reloaded.forward(left_padded).tolist(),
            "transformers, alone": one_by_one,
            "transformers, right-padded": _through(
                module, tokenizer, texts, "right"
            ),
            "transformers, left-padded": _left_padded(
                module, tokenizer, texts
            ),
            "pipeline, alone": _through_pipeline(classify, texts),
            "pipeline, batched": _through_pipeline(
                classify, texts, batch_size=len(texts)
            ),
            "sentence_transformers.CrossEncoder": _through_cross_encoder(
                folder, texts
            ),
        }


def _through_pipeline(
    classify: Any, texts: list[str], **options: Any
) -> list[float]:
    answers = classify(texts, truncation=True, **options)
    return [answer["score"] for answer in answers]


def _through(
    module: Any,
    tokenizer: Any,
    texts: list[str],
    side: str,
    **more: torch.Tensor,
) -> list[float]:
    encoded = tokenizer(
        texts,
        truncation=True,
        padding=True,
        padding_side=side,
        return_tensors="pt",
    )
    scores: list[float] = module(**encoded, **more).logits[:, 0].tolist()
    return scores


def _left_padded(
    module: Any, tokenizer: Any, texts: list[str]
) -> list[float] | str:
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
        texts,
        padding=True,
        truncation=True,
        padding_side="left",
        return_tensors="pt",
    )
    positions = (encoded["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return _through(module, tokenizer, texts, "left", position_ids=positions)


def _through_cross_encoder(
    folder: Path, texts: list[str]
) -> list[float] | str:
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
    scores = encoder.activation_fn(
        encoder(encoder.preprocess(texts))["scores"]
    )
    values: list[float] = scores.reshape(len(texts)).float().tolist()
    return values
