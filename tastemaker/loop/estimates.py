"""About how long a stage will take that never ran: from sizes, for two cores of a processor.

The figures are rough, right to a factor of two or three. After a first run `--dry-run` shows what
it took.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tastemaker.data.roles import described_source
from tastemaker.gpt.text_sources import PLAYGROUND_REVIEWS
from tastemaker.loop.loop_file import is_playground

_SECONDS = {
    "collect": 5.0,
    "check_data": 15.0,
    "fit_model": 30.0,
    "evaluate_model": 5.0,
    "open_gpt": 3.0,
    "choose_best": 15.0,
    "write_texts": 10.0,
    "judge_texts": 2.0,
    "compare_runs": 3.0,
    "write_report": 3.0,
}
"""For data and models as small as the playground's."""

_PARAMETERS = {"tiny": 1.3e6, "small": 3.3e6, "medium": 4.2e7, "large": 1.4e8}
_BYTES_A_WEIGHT = 4
_BYTES_A_TOKEN = 4
_BYTES_A_TEXT = 1300  # of a review of IMDB
_BYTES_OF_A_PLAYGROUND_TEXT = 300
_PACKED = {".gz", ".tgz", ".zip", ".parquet", ".zst"}
_UNPACKED = 3  # times the size of a packed file
_START = 5.0

# operations a second, with two cores (docs/benchmarks.md): a step of pretraining takes 6 operations
# a weight and token. Writing takes one token after another, and so most of the time of steering.
_PRETRAINING = 1.4e11
_STEERING = 3e10
_OF_A_TRAINED_TOKEN = 6
_OF_A_STEERED_TOKEN = 10
_WRITTEN = 0.5  # of the tokens that a completion may have
_STEPS, _BATCH, _MAX_TOKENS = 150, 128, 64


def estimated_seconds(
    task: str, settings: Mapping[str, Any], policy: Mapping[str, Any]
) -> float | None:
    """Return how long a stage may take, None where the size of its GPT or texts is not known here.

    task, settings: of the stage. policy: the settings of the stage that opens or trains the GPT.
    """
    weights = _weights(policy)
    if task == "pretrain_gpt" and weights:
        size = _corpus_bytes(settings)
        if size is None:
            return None
        tokens = size / _BYTES_A_TOKEN
        tokens *= float(settings.get("epochs", 1))
        work = weights * tokens * _OF_A_TRAINED_TOKEN
        return _START + work / _PRETRAINING
    if task == "steer_gpt" and weights:
        values = settings["values"]
        completions = values.get("steps", _STEPS) * values.get("batch", _BATCH)
        most = values.get("max_tokens", _MAX_TOKENS)
        tokens = completions * most * _WRITTEN
        work = weights * float(tokens) * _OF_A_STEERED_TOKEN
        return _START + work / _STEERING
    depends_on_gpt = task in ("pretrain_gpt", "steer_gpt")
    return None if depends_on_gpt else _SECONDS[task]


def _weights(policy: Mapping[str, Any]) -> float:
    """Return the number of weights of a GPT, 0 where nobody knows."""
    folder = policy.get("policy") or policy.get("from")
    if folder is None:
        return _PARAMETERS[policy.get("size", "tiny")]
    size = 0
    for file in Path(folder).glob("*.safetensors"):
        size += file.stat().st_size
    return size / _bytes_a_weight(Path(folder))


def _bytes_a_weight(folder: Path) -> int:
    """Return how many bytes a weight takes, by the configuration of a folder."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        name = str(config.get("dtype") or config.get("torch_dtype"))
    except (OSError, ValueError, AttributeError):
        return _BYTES_A_WEIGHT
    return 2 if name in ("bfloat16", "float16") else _BYTES_A_WEIGHT


def _corpus_bytes(settings: Mapping[str, Any]) -> float | None:
    """Return about how many bytes of text some sources hold; None for one that is not here."""
    sources: Sequence[str] = settings["texts"]
    total = 0.0
    for source in sources:
        if is_playground(source):
            numbers = [w for w in source.split(":") if w.isdecimal()]
            count = int(numbers[0]) if numbers else PLAYGROUND_REVIEWS
            total += count * _BYTES_OF_A_PLAYGROUND_TEXT
            continue
        path = Path(described_source(source)[0])
        if not path.exists():
            return None
        total += _bytes_of(path)
    if "limit" in settings:
        total = min(total, settings["limit"] * _BYTES_A_TEXT)
    return total


def _bytes_of(path: Path) -> float:
    if path.is_dir():
        files = [each for each in path.rglob("*") if each.is_file()]
        return float(sum(map(_bytes_of, files)))
    if not path.is_file():
        return 0.0
    times = _UNPACKED if path.suffix in _PACKED else 1
    return float(times * path.stat().st_size)
