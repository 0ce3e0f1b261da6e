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
from numpy.typing import NDArray

from tastemaker.data.judgements import (
    CHAT,
    PAIR,
    TEMPLATE,
    Example,
    Message,
)
from tastemaker.errors import DataError, ModelError, TastemakerError
from tastemaker.fast.batching import Batch, collate
from tastemaker.files import scratch_folder
from tastemaker.reward.backbones import Backbone
from tastemaker.reward.backbones.ensembles import Ensemble
from tastemaker.reward.backbones.linear import LinearBackbone
from tastemaker.reward.backbones.readout import Readout
from tastemaker.reward.division import Division

TOLERANCE = 1e-3
"""The largest difference that two loaders may show, in units of the score (1 = one sd of the
reference texts).
"""

_ROUNDINGS = 16.0
"""How many units in the last place of a short number format two ways may differ by."""

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
    if template in (CHAT, PAIR):
        examples += [Example(text, _CHAT) for text in SAMPLES]
    expected = backbone.score(examples, precision="float32").values
    module = getattr(backbone, "module", None)
    dtype = torch.float32 if module is None else module.dtype
    tolerance = tolerance_of(dtype, expected)
    if backbone.kind == "linear":
        ways = _linear_ways(folder, examples)
    else:
        ways = _network_ways(folder, examples, backbone)
    differences: dict[str, float | str] = {}
    for way, answer in ways.items():
        if isinstance(answer, str):
            differences[way] = answer
            continue
        reloaded = np.asarray(answer, dtype=np.float64)
        difference = float(np.abs(reloaded - expected).max())
        if not difference <= tolerance:
            raise ModelError(
                f"the saved model scores differently through {way}: by "
                f"{difference:.2g}, over the tolerance of "
                f"{tolerance:g}. Nothing was saved; please report the architecture and versions."
            )
        differences[way] = difference
    return {
        "tolerance": tolerance,
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
    folder: Path, examples: Sequence[Example], network: Any
) -> dict[str, Any]:
    """Score the samples through every loader of a network's folder, on the CPU.

    Weights have the number format that the network has in memory. One loader is open at a time.
    """
    from tastemaker.huggingface import quiet_transformers

    dtype = network.module.dtype
    with (
        quiet_transformers(),
        warnings.catch_warnings(),
        torch.inference_mode(),
    ):
        # the loaders' warnings are not about this model
        warnings.simplefilter("ignore")
        texts, reason, ways = _our_ways(folder, examples, network, dtype)
        ways |= _transformers_ways(folder, texts, network.readout, dtype)
        if reason is not None:
            return ways | {
                "pipeline": reason,
                "sentence_transformers.CrossEncoder": reason,
            }
        ways |= _pipeline_ways(folder, texts, dtype)
        return ways | {
            "sentence_transformers.CrossEncoder": _through_cross_encoder(
                folder, texts, dtype
            )
        }


def _our_ways(
    folder: Path,
    examples: Sequence[Example],
    network: Any,
    dtype: torch.dtype,
) -> tuple[list[Any], str | None, dict[str, Any]]:
    """Return the texts as a reloaded network reads them, why there is no pipeline, and scores."""
    from tastemaker.reward.backbones.network import Network

    reloaded = Network.load(
        folder,
        template=network.template,
        readout=network.readout,
        dtype=dtype,
    )
    texts = [reloaded.inputs(example) for example in examples]
    ids = reloaded.encode(examples).ids
    left_padded = collate(ids, reloaded.pad_id, "left")
    ways = {
        "tastemaker, batched": reloaded.score(examples).values,
        "tastemaker, alone": _alone(reloaded, examples),
        "tastemaker, left-padded": _left_padded_by_us(reloaded, left_padded),
    }
    return texts, _why_no_pipeline(reloaded), ways


def _transformers_ways(
    folder: Path, texts: list[Any], readout: Readout | None, dtype: torch.dtype
) -> dict[str, Any]:
    """Score texts through transformers' own classes."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    module = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=dtype
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {
        **_direct(module, tokenizer, texts, readout),
        "transformers, left-padded": _left_padded(module, tokenizer, texts),
    }


def _pipeline_ways(
    folder: Path, texts: list[Any], dtype: torch.dtype
) -> dict[str, Any]:
    """Score texts through transformers' pipeline."""
    from transformers import pipeline

    classify = pipeline(
        "text-classification", model=str(folder), device="cpu", dtype=dtype
    )
    return {
        "pipeline, alone": _through_pipeline(classify, texts),
        "pipeline, batched": _through_pipeline(
            classify, texts, batch_size=len(texts)
        ),
    }


def _why_no_pipeline(network: Any) -> str | None:
    """Return why loaders that choose their own way of reading do not score; None where they do."""
    if network.readout is not None or network.template == PAIR:
        return "not possible: it gives no score of a single text"
    config = network.module.config
    if config.get_text_config() is not config:
        return (
            "not possible: it reads images too, and wants a processor of them"
        )
    return None


def direct_scores(
    network: Any, examples: Sequence[Example]
) -> dict[str, list[float]]:
    """Score with the network's module as transformers itself does: alone, and padded."""
    texts = [network.inputs(example) for example in examples]
    return _direct(network.module, network.tokenizer, texts, network.readout)


def tolerance_of(dtype: torch.dtype, scores: NDArray[np.float64]) -> float:
    """Return the largest difference that two ways to scores of a number format may show."""
    if dtype == torch.float32:
        return TOLERANCE
    size = max(1.0, float(np.abs(scores).max()))
    return float(torch.finfo(dtype).eps) * _ROUNDINGS * size


def _direct(
    module: Any, tokenizer: Any, texts: list[Any], readout: Readout | None
) -> dict[str, list[float]]:
    """Score texts and pairs through transformers, one by one and in batches padded right."""
    one_by_one: list[float] = []
    padded: list[float] = []
    for text in texts:
        one_by_one += _through(module, tokenizer, [text], "right", readout)
    for kind in (str, tuple):
        batch = [text for text in texts if isinstance(text, kind)]
        if batch:
            padded += _through(module, tokenizer, batch, "right", readout)
    return {
        "transformers, alone": one_by_one,
        "transformers, right-padded": padded,
    }


def _through_pipeline(
    classify: Any, texts: Sequence[Any], **options: Any
) -> list[float]:
    answers = classify(texts, truncation=True, **options)
    return [answer["score"] for answer in answers]


def _through(
    module: Any,
    tokenizer: Any,
    texts: Sequence[Any],
    side: str,
    readout: Readout | None = None,
    **more: torch.Tensor,
) -> list[float]:
    encoded = tokenizer(
        texts,
        truncation=True,
        padding=True,
        padding_side=side,
        return_tensors="pt",
    )
    logits = module(**encoded.to(module.device), **more).logits
    if readout is not None:
        logits = readout(logits)
    scores: list[float] = logits[:, 0].float().tolist()
    return scores


def _left_padded_by_us(network: Any, batch: Batch) -> list[float] | str:
    """Score a left-padded batch by our pass, which finds each text's first token."""
    # a linear fit must not wait for transformers to be imported
    from tastemaker.fast.encoder import parts_of

    is_located = parts_of(network.module) is not None
    if network.marks_pairs or not is_located:
        reason = _why_not_left(network.module)
        if reason is not None:
            return reason
    scores: list[float] = network.forward(batch).tolist()
    return scores


def _why_not_left(module: Any) -> str | None:
    """Return why transformers' own pass cannot read left-padded texts; None where it can."""
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
    return None


def _left_padded(
    module: Any, tokenizer: Any, texts: Sequence[Any]
) -> list[float] | str:
    """Score left-padded texts; positions count from the first real token."""
    reason = _why_not_left(module)
    if reason is not None:
        return reason
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
    folder: Path, texts: Sequence[Any], dtype: torch.dtype
) -> list[float] | str:
    """Score texts with CrossEncoder's tokenizer, network and activation.

    Its `predict` takes pairs only.
    """
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(
        str(folder), device="cpu", model_kwargs={"dtype": dtype}
    )
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
