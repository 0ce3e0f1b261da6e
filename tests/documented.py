"""Documents read from a source, and the message when they cannot be read, for tests."""

import json
from pathlib import Path
from typing import Any

import pytest

from tastemaker.errors import DataError, TastemakerError
from tastemaker.gpt import documents


def files_of(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


def rows_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(source: str | Path, **settings: Any) -> list[str]:
    return [example.text for example in documents(source, **settings)]


def refused(
    source: str | Path, kind: type[TastemakerError] = DataError, **settings: Any
) -> str:
    with pytest.raises(kind) as caught:
        list(documents(source, **settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)
