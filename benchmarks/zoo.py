"""Every family of a zoo through fit, save, score, write and steer: the table of docs/models.md.

    python benchmarks/zoo.py ZOO [FAMILY ...] [--rows rows.jsonl] [--write docs/models.md]

ZOO holds one folder of transformers for each family, small and random. A family is fitted on
labels, on pairs with prompts and on chats; each model is saved, opened again and compared with
transformers. A decoder also writes greedily, compared with `generate`, and takes one step of PPO,
GRPO and DPO. A cell is "yes", "refused" (the line goes to standard error), or what went wrong.

--rows: each family's row is added to this file when it is done. A later call skips the families
that are there, and its table has all of them. The last line is one JSON object.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging

import tastemaker as tm

GOOD = (
    "A warm, bright film.",
    "Clever, and well played.",
    "I loved every minute of it.",
)
BAD = ("Dull and grey.", "It goes nowhere at all.", "I left after ten minutes.")
PARITY = 2e-3
_BEGIN, _END = "<!-- zoo -->", "<!-- end of zoo -->"


def labels() -> list[tm.Judgement]:
    """Return labelled texts."""
    judgements: list[tm.Judgement] = []
    for number in range(6):
        for text in GOOD:
            judgements.append(tm.Label(f"{text} {number}", positive=True))
        for text in BAD:
            judgements.append(tm.Label(f"{text} {number}", positive=False))
    return judgements


def pairs(*, chat: bool) -> list[tm.Judgement]:
    """Return comparisons of two answers to a prompt, which is a text or a chat."""
    judgements: list[tm.Judgement] = []
    for number in range(18):
        question = f"How was film {number}?"
        prompt = (tm.Message("user", question),) if chat else question
        better, worse = GOOD[number % 3], BAD[number // 3 % 3]
        judgements.append(tm.Comparison(better, worse, prompt=prompt))
    return judgements


def fits(folder: Path, judgements: Sequence[tm.Judgement]) -> str:
    """Fit, save and open a reward model; compare its scores with those of transformers."""
    backbone = tm.Encoder(str(folder), max_length=48)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "model"
        tm.fit(judgements, backbone=backbone, epochs=1, out=out, device="cpu")
        model = tm.load(out)
        scores = model.score(list(GOOD))
        module = AutoModelForSequenceClassification.from_pretrained(
            out, dtype=torch.float32
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(out)
        encoded = tokenizer(
            list(GOOD), padding=True, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            expected = module(**encoded).logits[:, 0].tolist()
    difference = max(abs(a - b) for a, b in zip(scores, expected, strict=True))
    return "yes" if difference <= PARITY else f"scores differ by {difference:.2g}"


def writes(folder: Path) -> str:
    """Write greedily; compare with `generate` of transformers."""
    policy = tm.Policy.load(folder)
    greedy = tm.Sampling(top_k=1, max_tokens=12)
    ours = policy.complete("The film was", sampling=greedy)[0]
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt = policy.reader.prompts(["The film was"])[0]
    with torch.inference_mode():
        ids = module.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=12,
            repetition_penalty=1.0,
        )
    theirs = ids[0, len(prompt) :].tolist()
    return "yes" if list(ours.ids) == theirs else f"{list(ours.ids)} ≠ {theirs}"


def steers(folder: Path, algorithm: Any) -> str:
    """Take one step of an algorithm; a step without a pair to learn from is none."""

    def reward(prompts: Any, completions: Sequence[str]) -> list[float]:
        return [float(len(set(text))) for text in completions]

    steered = tm.steer(
        folder,
        reward=reward,
        prompts=["The film was", "I think"],
        algorithm=algorithm,
        sampling=tm.Sampling(max_tokens=6),
        steering={"steps": 1, "batch": 16, "measured": 8, "windows": 1},
        device="cpu",
    )
    taken = steered.figures["steps"]
    return "yes" if taken == 1 else f"took {taken} steps"


CHECKS: dict[str, Callable[[Path], str]] = {
    "labels": lambda folder: fits(folder, labels()),
    "pairs with prompts": lambda folder: fits(folder, pairs(chat=False)),
    "chats": lambda folder: fits(folder, pairs(chat=True)),
    "writes as generate": writes,
    "PPO": lambda folder: steers(folder, tm.PPO()),
    "GRPO": lambda folder: steers(folder, tm.GRPO()),
    "DPO": lambda folder: steers(folder, tm.DPO()),
}
OF_DECODERS = ("writes as generate", "PPO", "GRPO", "DPO")


def check_family(folder: Path, names: Sequence[str] = tuple(CHECKS)) -> dict[str, str]:
    """Return what each check of a family gives: "yes", "–", "refused", or what went wrong."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    cells = {}
    for name in names:
        if name in OF_DECODERS and not is_decoder(folder):
            cells[name] = "–"
            continue
        try:
            cells[name] = CHECKS[name](folder)
        except tm.TastemakerError as error:
            sys.stderr.write(f"{folder.name}, {name}: {error}\n")
            cells[name] = "refused"
        except Exception as error:  # a family that is not refused but breaks
            traceback.print_exc()
            cells[name] = f"BROKEN: {type(error).__name__}: {error}".splitlines()[0]
    return cells


def is_decoder(folder: Path) -> bool:
    """Return whether a family writes."""
    names = AutoConfig.from_pretrained(folder).architectures or [""]
    return names[0].endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))


def table(rows: dict[str, dict[str, str]]) -> str:
    """Return the rows as Markdown."""
    lines = [f"| family | {' | '.join(CHECKS)} |", "|---" * (len(CHECKS) + 1) + "|"]
    for family, cells in rows.items():
        values = [cells[name].replace("|", "/") for name in CHECKS]
        lines.append(f"| {family} | {' | '.join(values)} |")
    return "\n".join(lines)


def rows_in(file: Path | None) -> dict[str, dict[str, str]]:
    """Return the rows of families that earlier calls have done."""
    rows = {}
    if file is not None and file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows[row["family"]] = row["cells"]
    return rows


def write_table(page: Path, text: str) -> None:
    """Replace the table in a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}", encoding="utf-8")


def main() -> None:
    """Check families and print, or write, the table. Exit code 1 where one breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    names = arguments.families or sorted(p.name for p in arguments.zoo.iterdir())
    rows = rows_in(arguments.rows)
    for name in names:
        if name in rows:
            continue
        began = time.monotonic()
        rows[name] = check_family(arguments.zoo / name)
        row = {
            "family": name,
            "cells": rows[name],
            "seconds": round(time.monotonic() - began),
        }
        sys.stderr.write(f"{json.dumps(row)}\n")
        if arguments.rows is not None:
            with arguments.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    text = table(dict(sorted(rows.items())))
    if arguments.write is None:
        sys.stdout.write(text + "\n")
    else:
        write_table(arguments.write, text)
    cells = [cell for row in rows.values() for cell in row.values()]
    fine = sum(cell in ("yes", "–", "refused") for cell in cells)
    result = {"benchmark": "zoo", "families": len(rows), "broken": len(cells) - fine}
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(1 if fine < len(cells) else 0)


if __name__ == "__main__":
    main()
