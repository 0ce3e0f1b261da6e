"""What a saved score means: `tastemaker.json`, beside the weights.

The contract says how a text becomes one number (template, length limit, side that is cut, pooling),
what the number means (links, anchor), where it comes from (data, settings, evaluation) and the
check of it (roundtrip: differences after reloading, digests of the weights). A folder without it,
or with other weights than it names, is not a reward model.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tastemaker.errors import ModelError
from tastemaker.train.run import CONTRACT

FORMAT = 1


@dataclass(frozen=True)
class Anchor:
    """What became 0 and 1: the mean and the standard deviation of the raw scores of `texts`
    reference texts.

    centred: the mean did become 0. A head without a bias, as decoders have, cannot take it off:
    there the standard deviation became 1 and the reference texts score mean/sd on average.
    """

    mean: float
    sd: float
    texts: int
    centred: bool = True


@dataclass(frozen=True)
class Contract:
    """Everything about a score that the weights do not say. See the head of this file."""

    backbone: str
    template: str
    links: dict[str, dict[str, Any]]
    max_length: int | None = None
    cut: str | None = None
    pooling: str | None = None
    anchor: Anchor | None = None
    labels: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    judges: dict[str, dict[str, Any]] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    roundtrip: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    trained_steps: int = 0
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write `tastemaker.json` into a folder that is being made."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / CONTRACT).write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> "Contract":
        """Read a folder's contract and check its weights. Raises ModelError where they do not fit."""
        path = folder / CONTRACT
        if not folder.is_dir():
            raise ModelError(
                f"{folder}: no such model folder. Make one with `tastemaker fit SOURCE --out {folder}`."
            )
        if not path.is_file():
            raise ModelError(
                f"{folder}: no {CONTRACT}, so nothing says what its scores mean. "
                f"Only folders saved by `tastemaker fit` can score; fit one with `--backbone {folder}`."
            )
        contract = _parse(path)
        for name, digest in contract.weights.items():
            if not (folder / name).is_file():
                raise ModelError(
                    f"{folder / name}: the contract names this file and it is missing. Copy it whole again."
                )
            if digest_of(folder / name) != digest:
                raise ModelError(
                    f"{folder / name}: changed since it was saved (its digest is not the contract's). "
                    f"Fit again, or restore the file."
                )
        if contract.trained_steps < 1:
            raise ModelError(
                f"{folder}: its head was never trained, so its scores mean nothing. Fit it first."
            )
        return contract


def _parse(path: Path) -> Contract:
    """Return the contract that a file holds. Raises ModelError when it is not one that this version
    reads.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("format") != FORMAT:
            raise ModelError(
                f"{path}: contract format {values.get('format')!r}; this version reads {FORMAT}."
            )
        anchor = values.pop("anchor")
        return Contract(anchor=Anchor(**anchor) if anchor else None, **values)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(
            f"{path}: not a contract of Tastemaker ({error}). Restore it or fit again."
        ) from error


def digest_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of the named files of a folder."""
    return {name: digest_of(folder / name) for name in sorted(names)}
