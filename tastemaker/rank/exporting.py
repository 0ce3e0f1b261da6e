"""Judgements of a store as files that other trainers read.

| format | a row |
|---|---|
| `jsonl` | a judgement in our own format, as `tm.read` returns it |
| `csv` | a pair or a single text with its judge and time; `tm.read` reads it |
| `trl` | `prompt`, `chosen`, `rejected`; a chat prompt gives messages |
| `kto` | `prompt`, `completion`, `label`: the best answers against the others, and labels |
| `nemo` | `context` and `completions` with ranks, as NeMo-RL's preference data |
| `rewardbench` | `chosen` and `rejected` answers of one prompt, as RewardBench 2 |
| `full` | everything: the order shown, seconds, skips, flags, comments, withdrawn answers |
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tastemaker.data.formats.single import to_row
from tastemaker.data.judgements import Judgement, Label, Prompt
from tastemaker.data.store import schema as s
from tastemaker.data.store.addresses import shown_name
from tastemaker.data.store.engines import Database
from tastemaker.data.store.records import judgements
from tastemaker.data.tables import Row
from tastemaker.errors import DataError, UsageError

_BATCH = 1000
Say = Callable[[str], None]


def export(store: str | Path, target: Path, format: str, say: Say) -> int:
    """Write the judgements of a store and return how many rows. say: takes what was left out.

    Raises UsageError for an unknown format, and DataError where the format can hold nothing of the
    store.
    """
    from tastemaker.data.writers import writing_table  # imports pyarrow

    if format not in FORMATS:
        raise UsageError(f"--format {format!r}: choose {', '.join(FORMATS)}.")
    without: Counter[str] = Counter()
    rows = (
        _full(store)
        if format == "full"
        else _of_judgements(store, format, without)
    )
    first = next(rows, None)
    if first is None:
        raise DataError(
            f"{shown_name(store)}: no judgement that the format {format!r} can hold. "
            "Choose another format."
        )
    count = 0
    with writing_table(target, list(first), say=say) as write:
        batch = [first]
        for row in rows:
            if format == "csv" and row.keys() != first.keys():
                without["of another kind"] += 1
                continue
            batch.append(row)
            if len(batch) == _BATCH:
                write(batch)
                count += len(batch)
                batch = []
        write(batch)
    for reason, number in without.items():
        say(f"{number:,} judgements left out of {target.name}: {reason}")
    return count + len(batch)


def _of_judgements(
    store: str | Path, format: str, without: Counter[str]
) -> Iterator[Row]:
    make = FORMATS[format]
    for number, judgement in judgements(store):
        count = 0
        for row in make(judgement):
            identity = {"id": str(number)} if format == "rewardbench" else {}
            yield {**identity, **row}
            count += 1
        if not count:
            is_tie = bool(judgement.ranks)
            reason = "a tie of all answers" if is_tie else "of a single text"
            without[reason] += 1


def _pairs(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """Yield (better, worse) for each pair in a known order."""
    texts, ranks = judgement.texts, judgement.ranks
    for better, rank in zip(texts, ranks, strict=True):
        for worse, other in zip(texts, ranks, strict=True):
            if rank < other:
                yield better, worse


def _turns(prompt: Prompt | None) -> list[dict[str, str]]:
    if isinstance(prompt, tuple):
        return [turn._asdict() for turn in prompt]
    return [{"role": "user", "content": prompt or ""}]


def _reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _trl(judgement: Judgement) -> Iterator[Row]:
    prompt = judgement.prompt
    for better, worse in _pairs(judgement) if judgement.ranks else ():
        if isinstance(prompt, tuple):
            yield {
                "prompt": _turns(prompt),
                "chosen": _reply(better),
                "rejected": _reply(worse),
            }
        else:
            yield {"prompt": prompt or "", "chosen": better, "rejected": worse}


def _kto(judgement: Judgement) -> Iterator[Row]:
    prompt = judgement.prompt
    is_chat = isinstance(prompt, tuple)
    shown = _turns(prompt) if is_chat else prompt or ""
    if isinstance(judgement, Label):
        labels = [(judgement.text, judgement.positive)]
    else:
        best = set(judgement.best) if len(set(judgement.ranks)) > 1 else set()
        labels = [(text, text in best) for text in judgement.texts if best]
    for text, label in labels:
        completion = _reply(text) if is_chat else text
        yield {"prompt": shown, "completion": completion, "label": label}


def _nemo(judgement: Judgement) -> Iterator[Row]:
    if len(set(judgement.ranks)) < 2:
        return
    completions = []
    for text, rank in zip(judgement.texts, judgement.ranks, strict=True):
        completions.append({"rank": rank, "completion": _reply(text)})
    yield {"context": _turns(judgement.prompt), "completions": completions}


def _rewardbench(judgement: Judgement) -> Iterator[Row]:
    best = list(judgement.best)
    rest = [text for text in judgement.texts if text not in best]
    if judgement.ranks and rest:
        turns = _turns(judgement.prompt)
        yield {
            "prompt": turns[-1]["content"],
            "chosen": best,
            "rejected": rest,
            "num_correct": len(best),
            "num_rejected": len(rest),
            "total_completions": len(best) + len(rest),
            "models": [],
            "subset": "judged",
        }


def _csv(judgement: Judgement) -> Iterator[Row]:
    turns = judgement.prompt
    prompt: Any = turns
    if isinstance(turns, tuple):
        prompt = json.dumps(
            [turn._asdict() for turn in turns], ensure_ascii=False
        )
    time = judgement.time
    who = {
        "judge": judgement.judge,
        "time": None if time is None else time.isoformat(),
    }
    if not judgement.ranks:
        value = judgement.details[0]
        text = judgement.texts[0]
        yield {"prompt": prompt, "text": text, judgement.kind: value, **who}
    for better, worse in _pairs(judgement) if judgement.ranks else ():
        yield {"prompt": prompt, "chosen": better, "rejected": worse, **who}


def _jsonl(judgement: Judgement) -> Iterator[Row]:
    yield to_row(judgement)


FORMATS: dict[str, Callable[[Judgement], Iterator[Row]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "trl": _trl,
    "kto": _kto,
    "nemo": _nemo,
    "rewardbench": _rewardbench,
    "full": _jsonl,
}
"""How a judgement becomes rows, by format; `full` does not go through judgements."""


def _full(store: str | Path) -> Iterator[Row]:
    query = (
        select(s.judgements, s.views.c.shown, s.views.c.reason, s.views.c.arm)
        .add_columns(s.items.c.ask, s.items.c.prompt, s.items.c.texts)
        .add_columns(s.items.c.writers)
        .add_columns(s.judges.c.name, s.views.c.time.label("shown_at"))
        .join(s.views, s.views.c.id == s.judgements.c.view_id)
        .join(s.items, s.items.c.id == s.views.c.item_id)
        .join(s.judges, s.judges.c.id == s.views.c.judge_id)
        .order_by(s.judgements.c.id)
    )
    database = Database(store, must_exist=True)
    database.migrate()
    try:
        with database.reading() as connection:
            streamed = connection.execution_options(yield_per=1000)
            for row in streamed.execute(query):
                yield _everything(row)
    finally:
        database.close()


def _everything(row: Any) -> Row:
    texts = json.loads(row.texts)
    answer = json.loads(row.answer)
    shown = json.loads(row.shown)
    return {
        "id": row.id,
        "ask": row.ask,
        "prompt": None if row.prompt is None else json.loads(row.prompt),
        "texts": texts,
        "writers": None if row.writers is None else json.loads(row.writers),
        "shown": shown and [texts[number] for number in shown],
        "answer": answer,
        "judge": row.name,
        "reason": row.reason,
        "arm": row.arm,
        "seconds": row.seconds,
        "shown_at": _iso(row.shown_at),
        "time": _iso(row.time),
        "withdrawn": _iso(row.withdrawn),
    }


def _iso(time: float | None) -> str | None:
    return (
        None if time is None else datetime.fromtimestamp(time, UTC).isoformat()
    )
