"""`tastemaker pretrain`: text → a GPT that writes."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tastemaker.cli import options as o

EXAMPLE = """Train a GPT on text, from nothing or from a given model.

Examples:

  tastemaker pretrain playground --out gpt

  tastemaker pretrain aclImdb.tar.gz --size small --out gpt

  tastemaker pretrain novels/ notes.txt --each paragraph --out gpt

Supervised fine-tuning: go on with a model, on prompts with answers or on chats; only the answers are learned:

  tastemaker pretrain chats.jsonl --from gpt2 --epochs 3 --out tuned
"""


@dataclass(frozen=True)
class Learning:
    """How the GPT is trained; what is left out is the size's."""

    epochs: Annotated[float, typer.Option(help="Passes over the corpus, parts of one too.")] = 1.0
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of AdamW.")] = None
    batch_tokens: Annotated[int | None, typer.Option(help="Tokens a step.")] = None
    context: Annotated[int | None, typer.Option(help="Most tokens that are read at once.")] = None
    vocabulary: Annotated[int | None, typer.Option(help="Tokens of a new tokenizer.")] = None
    grow_at: Annotated[
        float | None,
        typer.Option(
            help="Share of the tokens after which half of a new network's layers join; 0: at once."
        ),
    ] = None
    held_out: Annotated[float, typer.Option(help="Share of the corpus that only measures.")] = 0.02
    evaluations: Annotated[
        int, typer.Option(help="Held-out evaluations in the run, with samples.")
    ] = 4


@o.gathers(learning=Learning)
def pretrain(
    sources: Annotated[
        list[str],
        typer.Argument(help="What fit reads, text files, folders of them, or playground."),
    ],
    out: Annotated[Path, typer.Option(help="The folder that the GPT is saved in.")],
    learning: Learning,
    size: Annotated[
        Literal["tiny", "small", "medium", "large"] | None,
        typer.Option(help="All else follows; default: tiny, or what --from has."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Go on with this folder or hub name instead.")
    ] = None,
    each: Annotated[
        Literal["file", "paragraph", "line"],
        typer.Option(help="What is one document of a text file."),
    ] = "file",
    split: o.Split = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many documents.")] = None,
    text_column: o.TextColumn = None,
    prompt_column: o.PromptColumn = None,
    format: o.Format = None,
    skip_bad: o.SkipBad = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Of the products.")
    ] = "auto",
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Train a GPT on text, from nothing or from a given model."""
    import tastemaker as tm
    from tastemaker.errors import UsageError

    if size is not None and start is not None:
        raise UsageError(
            "--size and --from: a given model has the size that it has. Choose one of the two."
        )
    columns = o.Reading(text_column=text_column, prompt_column=prompt_column).columns
    named = columns if text_column or prompt_column else None
    reading: dict[str, Any] = {
        "split": split,
        "columns": named,
        "format": format,
        "each": each,
        "limit": limit,
    }
    documents = tm.Documents(sources, leave_out_bad=skip_bad, **reading)
    policy = tm.pretrain(
        documents,
        size=size,
        start=start,
        training={f.name: getattr(learning, f.name) for f in fields(learning)},
        seed=seed,
        device=device,
        precision=precision,
        out=out,
        resume=resume,
        overwrite=overwrite,
        say=lambda line: o.note(line, quiet=quiet),
    )
    o.note_skipped(documents.bad, quiet=quiet)
    found = policy.figures
    if json:
        names = ("parameters", "tokens", "perplexity", "ngram_perplexity", "seconds")
        o.say_json({"model": str(out)} | {name: found[name] for name in names})
    else:
        o.say(f"{policy}")
        o.say(f"Let it write:  tastemaker write {out} -n 3")


pretrain.__doc__ = EXAMPLE
