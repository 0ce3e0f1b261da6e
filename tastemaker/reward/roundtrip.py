"""A saved model reloads to the same number everywhere, or it is not saved.

Sample texts (short, long, too long, odd characters) are scored by the model in memory; the saved
folder is then opened as its users will open it, and the largest difference of each way is written
down. Ways that an architecture cannot take (left padding where the score is read at the first
place) are named with the reason instead of a number.
"""

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tastemaker.data.judgements import Example
from tastemaker.errors import ModelError
from tastemaker.fast.batching import collate
from tastemaker.reward.backbones import Backbone
from tastemaker.reward.backbones.ensembles import Ensemble
from tastemaker.reward.backbones.linear import LinearBackbone

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
    """Reload `folder` in every way and return the largest difference of each; raise ModelError over
    the tolerance.
    """
    if isinstance(backbone, Ensemble):
        return _check_members(backbone, folder)
    examples = [Example(text) for text in SAMPLES]
    expected = backbone.score(examples, precision="float32").values
    ways = (
        _linear_ways(folder, examples)
        if backbone.kind == "linear"
        else _network_ways(folder, examples)
    )
    differences: dict[str, float | str] = {}
    for way, answer in ways.items():
        if isinstance(answer, str):
            differences[way] = answer
            continue
        difference = float(
            np.abs(np.asarray(answer, dtype=np.float64) - expected).max()
        )
        if not difference <= TOLERANCE:
            raise ModelError(
                f"the saved model scores differently through {way}: by {difference:.2g}, over the tolerance of "
                f"{TOLERANCE:g}. Nothing was saved; please report the architecture and versions."
            )
        differences[way] = difference
    return {"tolerance": TOLERANCE, "texts": len(SAMPLES), "differences": differences}


def _check_members(ensemble: Ensemble, folder: Path) -> dict[str, Any]:
    """Check each member on its own; return the largest difference of each way."""
    roundtrips = [
        check_roundtrip(member, own)
        for member, own in zip(ensemble.members, ensemble.folders(folder), strict=True)
    ]
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
        "tastemaker, alone": [
            reloaded.score([example]).values[0] for example in examples
        ],
    }


def _network_ways(folder: Path, examples: Sequence[Example]) -> dict[str, Any]:
    """Score the samples through every loader of a network's folder, on the CPU in float32."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    from tastemaker.huggingface import quiet_transformers
    from tastemaker.reward.backbones.network import Network

    with quiet_transformers(), warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter(
            "ignore"
        )  # what the loaders say among themselves is not about this model
        reloaded = Network.load(folder)
        texts = [reloaded.join(example) for example in examples]
        module = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = reloaded.encode(examples).ids
        classify = pipeline("text-classification", model=str(folder), device="cpu")
        return {
            "tastemaker, batched": reloaded.score(examples).values,
            "tastemaker, alone": [
                reloaded.score([example]).values[0] for example in examples
            ],
            "tastemaker, left-padded": reloaded.forward(
                collate(ids, reloaded.pad_id, "left")
            ).tolist(),
            "transformers, alone": [
                _through(module, tokenizer, [text], "right")[0] for text in texts
            ],
            "transformers, right-padded": _through(module, tokenizer, texts, "right"),
            "transformers, left-padded": _left_padded(module, tokenizer, texts),
            "pipeline, alone": [
                answer["score"] for answer in classify(texts, truncation=True)
            ],
            "pipeline, batched": [
                answer["score"]
                for answer in classify(texts, truncation=True, batch_size=len(texts))
            ],
            "sentence_transformers.CrossEncoder": _through_cross_encoder(folder, texts),
        }


def _through(
    module: Any, tokenizer: Any, texts: list[str], side: str, **more: torch.Tensor
) -> list[float]:
    encoded = tokenizer(
        texts, truncation=True, padding=True, padding_side=side, return_tensors="pt"
    )
    scores: list[float] = module(**encoded, **more).logits[:, 0].tolist()
    return scores


def _left_padded(module: Any, tokenizer: Any, texts: list[str]) -> list[float] | str:
    """Score left-padded texts with the positions that generation gives them: counted from the first
    real token.
    """
    if not hasattr(
        module, "score"
    ):  # the head of every decoder; an encoder reads its score at the first place
        return "not possible: transformers reads this encoder's score at the first place, which would be padding"
    if "position_ids" not in inspect.signature(module.forward).parameters:
        return "not possible: this architecture counts positions from the left and takes none; pad right"
    encoded = tokenizer(
        texts, padding=True, truncation=True, padding_side="left", return_tensors="pt"
    )
    positions = (encoded["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return _through(module, tokenizer, texts, "left", position_ids=positions)


def _through_cross_encoder(folder: Path, texts: list[str]) -> list[float] | str:
    """Score single texts with CrossEncoder's own reading, network and activation (its `predict`
    insists on pairs).
    """
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(str(folder), device="cpu")
    if encoder.tokenizer.chat_template is not None:
        return "not possible: it puts plain texts through the chat template; render the chat and use transformers"
    scores = encoder.activation_fn(encoder(encoder.preprocess(texts))["scores"])
    values: list[float] = scores.reshape(len(texts)).float().tolist()
    return values
