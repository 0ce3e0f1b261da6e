"""A saved network as an ONNX file in its own folder, for ONNX Runtime.

`onnx/model.onnx` has the inputs `input_ids` and `attention_mask` and the output `logits`. It is
written only when ONNX Runtime answers with the model's scores. `onnx/source.json` names the weights
that it was made from, so that a file of other weights is noticed.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.errors import MissingExtra, ModelError, UsageError
from tastemaker.fast.batching import by_length, collate
from tastemaker.files import filling_folder
from tastemaker.reward.backbones.network import Network
from tastemaker.reward.model import RewardModel
from tastemaker.reward.roundtrip import SAMPLES
from tastemaker.scores import Scores

ONNX_TOLERANCE = 1e-4
"""The largest difference from the model's own score, in units of the score."""

_FOLDER = "onnx"
_MODEL = "model.onnx"
_SOURCE = "source.json"
_INPUTS = ["input_ids", "attention_mask"]
_OUTPUT = "logits"
_BATCH_TOKENS = 2048
_BATCHES = (1, 2, 4, 8)


class _Logits(torch.nn.Module):
    """A classifier whose only output is its logits."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        output = self.module(
            input_ids=input_ids,
            attention_mask=attention_mask,
        )
        logits: torch.Tensor = output.logits
        return logits


class OnnxScorer:
    """A network's scores by ONNX Runtime. path: of an exported file.

    Raises ModelError for a file that it cannot open.
    """

    def __init__(self, network: Network, path: Path) -> None:
        runtime = _runtime("the engine onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.network = network
        try:
            self.session = runtime.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
            )
        # its exceptions share no other base
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ModelError(
                f"{path}: ONNX Runtime cannot open it ({reason:.200}). Write the file again with "
                f"`tastemaker export {path.parents[1]} --onnx`."
            ) from error

    def score(self, examples: Sequence[Example]) -> Scores:
        """Return the scores of examples, in order."""
        network = self.network
        encoded = network.encode(examples)
        values = np.empty(len(encoded))
        for chosen in by_length(encoded.lengths, _BATCH_TOKENS):
            ids = [encoded.ids[place] for place in chosen]
            batch = collate(ids, network.pad_id)
            mask = batch.is_text.long()
            inputs = {
                "input_ids": batch.ids.numpy(),
                "attention_mask": mask.numpy(),
            }
            outputs = self.session.run([_OUTPUT], inputs)
            values[chosen] = outputs[0][:, 0]
        return Scores(values, encoded.truncated)


def export_onnx(folder: Path | str) -> tuple[Path, float]:
    """Write `onnx/model.onnx` into a model's folder; return its path and the largest difference.

    Raises UsageError for a model that is not one network, ModelError where ONNX Runtime answers
    another score, and MissingExtra without the extra `onnx`.
    """
    folder = Path(folder)
    _runtime("`tastemaker export --onnx`")
    model = RewardModel.load(folder)
    network = exportable(model)
    with filling_folder(folder / _FOLDER, last=_SOURCE) as temporary:
        path = temporary / _MODEL
        _write(network, path)
        scorer = OnnxScorer(network, path)
        # NaN counts as the largest: `max` would pass over it
        difference = float(np.max([*differences_of(model, scorer).values()]))
        if not difference <= ONNX_TOLERANCE:
            raise ModelError(
                f"{folder}: ONNX Runtime answers another score: by {difference:.2g}, over "
                f"{ONNX_TOLERANCE:g}. Nothing was written; please report the architecture."
            )
        source = {
            "weights": model.contract.weights,
            "difference": difference,
        }
        text = json.dumps(source, indent=2) + "\n"
        (temporary / _SOURCE).write_text(text, encoding="utf-8")
    return folder / _FOLDER / _MODEL, difference


def exported(folder: Path, model: RewardModel) -> Path | None:
    """Return the ONNX file of a model's folder; None where there is none of these weights."""
    path = folder / _FOLDER / _MODEL
    try:
        text = (folder / _FOLDER / _SOURCE).read_text(encoding="utf-8")
        source = json.loads(text)
        is_current = source["weights"] == model.contract.weights
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if is_current and path.is_file() else None


def in_8_bits(path: Path, target: Path) -> None:
    """Write an ONNX file again with the weights of its products in 8 bits."""
    _runtime("the engine onnx-int8")
    from onnxruntime import quantization

    with _quiet():
        quantization.quantize_dynamic(
            str(path),
            str(target),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )


def differences_of(model: RewardModel, scorer: OnnxScorer) -> dict[str, float]:
    """Return the largest difference from the model's scores by size of the batch and padding."""
    examples = [Example(text) for text in SAMPLES]
    expected = model.score_all(examples).values
    differences = {}
    for size in _BATCHES:
        parts = []
        for start in range(0, len(examples), size):
            parts.append(scorer.score(examples[start : start + size]).values)
        way = "alone" if size == 1 else f"in batches of {size}"
        differences[way] = _largest(np.concatenate(parts), expected)
    # padded to the longest one
    padded = [scorer.score([e, examples[-1]]).values[0] for e in examples]
    differences["beside the longest text"] = _largest(padded, expected)
    reverse = scorer.score([*examples[::-1], *examples]).values
    differences["in another order"] = _largest(
        reverse[len(examples) :], expected
    )
    return differences


def _largest(scores: Any, expected: NDArray[np.float64]) -> float:
    return float(np.abs(np.asarray(scores) - expected).max())


def exportable(model: RewardModel) -> Network:
    """Return the network of a model. Raises UsageError for any other backbone."""
    network = model.backbone
    if not isinstance(network, Network) or network.heads != 1:
        raise UsageError(
            f"{network.describe()}: only a single network can be an ONNX file."
        )
    return network


def _runtime(feature: str) -> Any:
    """Return onnxruntime. Raises MissingExtra."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(feature, "onnx") from error
    return onnxruntime


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters print and warn of."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _write(network: Network, path: Path) -> None:
    module = network.module.eval()
    attention = module.config._attn_implementation
    ids = torch.full((2, 8), network.pad_id)
    ids[0, :] = 1
    ids[1, :5] = 1
    mask = (torch.arange(8) < torch.tensor([[8], [5]])).long()
    batch = torch.export.Dim("batch", min=1, max=65536)
    length = torch.export.Dim("length", min=2, max=network.max_length)
    shape = {0: batch, 1: length}
    try:
        # the only form that every exporter writes
        module.set_attn_implementation("eager")
        with _quiet():
            torch.onnx.export(
                _Logits(module),
                (ids, mask),
                str(path),
                input_names=_INPUTS,
                output_names=[_OUTPUT],
                dynamic_shapes=dict.fromkeys(_INPUTS, shape),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except ImportError as error:
        raise MissingExtra("`tastemaker export --onnx`", "onnx") from error
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{network.describe()}: torch cannot export it ({reason:.200}). Serve it with "
            "--engine torch."
        ) from error
    finally:
        module.set_attn_implementation(attention)
