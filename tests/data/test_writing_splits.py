"""What `tastemaker split` writes: no row is lost, and cells that look like formulas are said."""

import json
from pathlib import Path
from typing import Any

from tastemaker.data import Judgement, read


def message(
    name: str,
    parent: str | None,
    rank: int | None,
    text: str,
) -> dict[str, Any]:
    role = "prompter" if parent is None else "assistant"
    return {
        "message_id": name,
        "parent_id": parent,
        "role": role,
        "rank": rank,
        "text": text,
    }


def plain(judgements: list[Judgement]) -> list[str]:
    return sorted(f"{one.prompt} {one.texts}" for one in judgements)


def test_a_split_of_single_messages_keeps_every_ranking(
    run: Any, tmp_path: Path
) -> None:
    """A row of such an export is one message, so rows alone would lose the answers."""
    rows = []
    for number in range(6):
        root = f"root {number}"
        rows.append(message(root, None, None, f"question {number}"))
        rows.append(message(f"{number} a", root, 0, f"good {number}"))
        rows.append(message(f"{number} b", root, 1, f"bad {number}"))
    source = tmp_path / "oasst_messages.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "parts"
    code, _, _ = run("split", source, "--held-out", 0.34, "--out", out)
    assert code == 0
    train, test = read(out / "train.jsonl"), read(out / "test.jsonl")
    assert len(test) >= 1
    assert plain(train + test) == plain(read(source))


def test_a_split_says_which_cells_look_like_formulas(run: Any, tmp_path: Path) -> None:
    source = tmp_path / "r.csv"
    lines = ["text,label,=note"]
    lines += [f"=film {number},{number % 2},plain" for number in range(9)]
    source.write_text("\n".join(lines) + "\n")
    code, _, err = run("split", source, "--held-out", 0.34, "--out", tmp_path / "d")
    assert code == 0
    # 9 texts in two parts, each of which has the header too
    counts = [
        int(line.split()[1]) for line in err.splitlines() if "cells begin" in line
    ]
    assert len(counts) == 2
    assert sum(counts) == 9 + 2
    _, _, err = run("split", source, "--out", tmp_path / "d", "--quiet")
    assert err == ""
