"""Using a published model as it is: a folder or hub name of transformers without our contract.

A sequence classifier with one label scores by its logit: reward models, cross-encoders. One with
several classes scores by a function of its logits that their names decide (`readout.py`). The model
gets a contract of the provenance "adopted", and is proven like ours: the same score alone, in a
batch and padded, and the same as transformers gives. No code of the model is run unless it is
allowed by name, and no weights are read from pickles.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoConfig

from tastemaker.adapters import CONFIG as ADAPTER_CONFIG
from tastemaker.adapters import (
    base_of,
    merge_saved_adapter,
    names_in,
)
from tastemaker.costs import versions
from tastemaker.data.judgements import RECORDS, TEMPLATE, Example, Message
from tastemaker.errors import DataError, ModelError
from tastemaker.fast.processor import DeviceChoice, choose_device
from tastemaker.huggingface import (
    NO_OWN_CODE,
    OWN_CODE,
    align,
    check_files,
    check_finite,
    check_quantised,
    code_allowed,
    forget_code,
    is_path,
    one_line_errors,
    open_tokenizer,
    quiet_transformers,
)
from tastemaker.kinds.registry import LINKS
from tastemaker.reward.backbones.heads import head_of, keep_exact
from tastemaker.reward.backbones.network import Network
from tastemaker.reward.backbones.opening import (
    HEAD_NAMES,
    as_regression,
    choose_max_length,
    keep_padding,
)
from tastemaker.reward.backbones.reading import reading_of
from tastemaker.reward.backbones.readout import (
    Links,
    identity_links,
    readout_of,
)
from tastemaker.reward.contract import (
    ADOPTED,
    Anchor,
    Contract,
    anchored,
    digests_of,
)
from tastemaker.reward.division import digest_of_items
from tastemaker.reward.roundtrip import SAMPLES, direct_scores, tolerance_of

_SAME = 1e-8
"""The largest deviation of scores that are one score."""
_PROVEN = 6  # sample texts; the last of `SAMPLES` is long
_TURNS = (Message("user", "How was the film?"),)


def adopt(
    source: str | Path,
    *,
    trust_remote_code: bool = False,
    dtype: torch.dtype | str = torch.float32,
    anchor: Sequence[Example] | None = None,
    device: DeviceChoice = "cpu",
) -> tuple[Network, Contract]:
    """Open a published classifier by folder or hub name, and prove its scores.

    dtype: of the weights in memory; "auto" is that of the checkpoint. anchor: the reference texts
    that give its score the unit of ours, scored on the device. Raises ModelError for what is no
    classifier, or lacks a tokenizer or weights, or scores differently in a batch, and DataError for
    reference texts that give no unit.
    """
    name = str(source)
    code = code_allowed(trust_remote_code)
    with quiet_transformers(), one_line_errors(name, "reward model"):
        _check_files(name)
        base, folder = name, Path(name)
        is_adapter = (folder / ADAPTER_CONFIG).is_file()
        if is_adapter:
            base = base_of(folder)
        has_tokenizer = (folder / "tokenizer.json").is_file()
        tokenizer = open_tokenizer(name if has_tokenizer else base, **code)
        if not tokenizer.is_fast:
            raise ModelError(
                f"{name}: there is no fast tokenizer (tokenizer.json): convert it first."
            )
        check_files(base)
        config = AutoConfig.from_pretrained(base, **code)
        check_quantised(config, base)
        if not trust_remote_code:
            _check_class(config, name)
        saved_as = config.dtype or torch.float32
        module = _open_classifier(base, dtype, code, folder)
        check_finite(module, name)
    align(module)
    module.eval()
    keep_padding(module, tokenizer)
    forget_code(module, tokenizer)
    activation = getattr(module.config, "sentence_transformers", None)
    is_probability = "Sigmoid" in str(activation)
    if module.config.num_labels > 1:
        if module.config.problem_type == "multi_label_classification":
            raise ModelError(
                f"{name}: several of its {module.config.num_labels} classes may hold at once "
                "(multi_label_classification), so they do not order texts."
            )
        readout = readout_of(module.config.id2label, name)
    else:
        readout = None
        as_regression(module.config)
    reading = reading_of(name, module, tokenizer)
    network = Network(
        module,
        tokenizer,
        max_length=choose_max_length(module, tokenizer, reading.max_length),
        cut=reading.cut,
        template=reading.template,
        readout=readout,
        has_new_head=False,
        saved_as=saved_as,
    )
    links = identity_links(readout, is_probability=is_probability)
    reference = None
    if anchor is not None:
        network.to(choose_device(device))
        reference, links = _anchored(network, links, anchor, name)
        network.to("cpu")
    contract = _contract_of(network, links, name, _proven(network, name))
    if anchor is None:
        return network, contract
    settings = {**contract.settings, "anchor": digest_of_items(anchor)}
    return network, replace(contract, anchor=reference, settings=settings)


def _anchored(
    network: Network, links: Links, texts: Sequence[Example], name: str
) -> tuple[Anchor, Links]:
    """Fold the unit of the score into a network; return the anchor, and the links in that unit."""
    scores = network.score(texts) if texts else None
    if scores is None or not scores.values.std() > _SAME:
        raise DataError(
            f"{name}: the {len(texts):,} reference texts of the anchor give no unit, for their "
            "scores do not differ. Give more texts, unlike each other."
        )
    if network.readout is None:
        # behind a body of another format
        keep_exact(head_of(network.module))
    anchor, folded = anchored(network, scores)
    rescaled: Links = {}
    for kind, values in links.items():
        link = LINKS[RECORDS[kind]].from_dict(values)
        rescaled[kind] = link.rescaled(folded, anchor.sd).as_dict()
    return anchor, rescaled


def _check_files(name: str) -> None:
    """Raise ModelError for a folder that holds another format than transformers' own."""
    folder = Path(name)
    if (folder / ADAPTER_CONFIG).is_file():
        return
    if not folder.is_dir():
        if is_path(name) or name.count("/") != 1:
            raise ModelError(
                f"{name}: no such model folder. Make one with `tastemaker fit "
                f"SOURCE --out {name}`."
            )
        return
    check_files(name)


def _check_class(config: Any, name: str) -> None:
    """Raise ModelError where a class that transformers lacks computes the score."""
    classes = config.architectures or []
    if getattr(config, "auto_map", None) is None or not classes:
        return
    if not hasattr(transformers, classes[0]):
        raise ModelError(
            f"{name}: its score is computed by {classes[0]}, {OWN_CODE}.{NO_OWN_CODE}"
        )


def _open_classifier(
    name: str, dtype: Any, code: dict[str, Any], adapter: Path
) -> Any:
    """Return the classifier, with as many labels as its head has rows.

    adapter: a folder that may hold adapters of it, which are merged.
    """
    from transformers import AutoModelForSequenceClassification

    is_adapter = (adapter / ADAPTER_CONFIG).is_file()
    more: dict[str, Any] = {"num_labels": 1} if is_adapter else {}
    # OpenRLHF names the head in the configuration, and does not say that it has one row
    for _ in range(2):
        module, report = AutoModelForSequenceClassification.from_pretrained(
            name,
            dtype=dtype,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            key_mapping=HEAD_NAMES,
            **code,
            **more,
        )
        mismatched = sorted(report["mismatched_keys"])
        rows = {next(iter(saved)) for _, saved, _ in mismatched}
        if len(rows) != 1 or more:
            break
        more["num_labels"] = rows.pop()
    missing = sorted(report["missing_keys"])
    if is_adapter:
        missing = sorted(set(missing) - names_in(adapter))
        if not missing:
            return merge_saved_adapter(module, adapter)
    if mismatched:
        key, saved, expected = mismatched[0]
        raise ModelError(
            f"{name}: {key} is {tuple(saved)} in the weights and {tuple(expected)} by config.json. "
            "Copy the folder whole again."
        )
    if missing:
        raise ModelError(
            f"{name}: the weights lack {', '.join(missing[:3])}, so it has no trained score. "
            "Give a reward model or classifier, or fit one with "
            f"`tastemaker fit SOURCE --backbone {name}`."
        )
    return module


def _contract_of(
    network: Network,
    links: Links,
    name: str,
    roundtrip: dict[str, Any],
) -> Contract:
    folder = Path(name)
    weights = {}
    if folder.is_dir():
        files = [path.name for path in folder.glob("*.safetensors")]
        weights = digests_of(folder, files)
    readout = network.readout
    return Contract(
        backbone=network.kind,
        template=network.template,
        links=links,
        max_length=network.max_length,
        cut=network.cut,
        settings={"backbone": ["Encoder", {"name": name}]},
        roundtrip=roundtrip,
        weights=weights,
        versions=versions(),
        provenance=ADOPTED,
        readout=readout.as_dict() if readout else {},
    )


def _proven(network: Network, name: str) -> dict[str, Any]:
    """Return the largest difference between ways to the same score.

    Raises ModelError for one over the tolerance.
    """
    examples = [Example(text) for text in SAMPLES[:_PROVEN]]
    if network.template != TEMPLATE:
        examples += [Example(text, _TURNS) for text in SAMPLES[:2]]
    try:
        batched = network.score(examples).values
    except (
        DataError
    ) as error:  # a chat template that refuses a user and an assistant
        raise ModelError(f"{name}: {error}") from error
    if not np.isfinite(batched).all():
        raise ModelError(
            f"{name}: it gives scores that are not finite. Try --dtype float32."
        )
    ways = {"tastemaker, alone": _alone(network, examples)}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        ways |= direct_scores(network, examples)
    tolerance = tolerance_of(network.module.dtype, batched)
    differences = {}
    for way, scores in ways.items():
        difference = float(np.abs(np.asarray(scores) - batched).max())
        if not difference <= tolerance:
            raise ModelError(
                f"{name}: a text scores differently through {way}: by {difference:.2g}, over the "
                f"tolerance of {tolerance:.2g}. Please report the architecture and versions."
            )
        differences[way] = difference
    return {
        "tolerance": tolerance,
        "texts": len(examples),
        "differences": differences,
    }


def _alone(network: Network, examples: list[Example]) -> list[float]:
    return [float(network.score([e]).values[0]) for e in examples]
