"""The verbs about GPTs: `pretrain` and `write`."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from tastemaker import processes
from tastemaker.cli import options as o
from tastemaker.cli import reading as r
from tastemaker.readable import visible

PRETRAIN = """Train a GPT on text, from nothing or from a given model.

Examples:

  tastemaker pretrain playground --out gpt

  tastemaker pretrain aclImdb.tar.gz --size small --out gpt

  tastemaker pretrain novels/ notes.txt --each paragraph --out gpt

Supervised fine-tuning: go on with a model, on prompts with answers or on chats. Only the answers
are learned:

  tastemaker pretrain chats.jsonl --from gpt2 --epochs 3 --out tuned
"""

WRITE = """Let a GPT write. Options that are not set come from its folder (generation_config.json).

Examples:

  tastemaker write gpt -n 3

  tastemaker write gpt "The acting was" -n 4 --temperature 0.8 --max-tokens 40

  tastemaker write gpt "The acting was" --best-of 16 --reward taste

  tastemaker write gpt --file prompts.txt --out written.jsonl --stop "."
"""

_FIGURES = (
    "parameters",
    "tokens",
    "perplexity",
    "ngram_perplexity",
    "seconds",
)


@o.verb(PRETRAIN)
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    help=f"{o.SOURCES} Also text files, or playground.",
)
@o.option("--out", type=o.PATH, required=True, help="Folder for the GPT.")
@o.option(
    "--size",
    type=click.Choice(["tiny", "small", "medium", "large"]),
    help="Size of a new GPT; the other settings follow from it.",
    shown="tiny, or that of --from",
)
@o.option(
    "start", "--from", help="Go on with this folder or hub name instead."
)
@o.settings("training", "pretraining")
@o.seed
@o.option(
    "--each",
    type=click.Choice(["file", "paragraph", "line"]),
    default="file",
    help="One document of a text file.",
    panel=o.DATA,
)
@o.option(
    "--limit",
    type=int,
    help="Number of first documents to read.",
    panel=o.DATA,
)
@o.split
@o.format
@o.text_column
@o.prompt_column
@o.skip_bad
@o.training_precision
@o.device
@o.dry_run
@o.resuming
@o.output
def pretrain(
    sources: tuple[str, ...],
    out: Path,
    each: Any,
    limit: int | None,
    split: str | None,
    format: str | None,
    text_column: str | None,
    prompt_column: str | None,
    skip_bad: bool,
    dry_run: bool,
    json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train a GPT on text. settings: those of `tm.pretrain`, by its names."""
    import tastemaker as tm
    from tastemaker.errors import UsageError

    if settings["size"] is not None and settings["start"] is not None:
        raise UsageError(
            "--size and --from: a given model has a size already. Choose one of the two."
        )
    if dry_run:
        from tastemaker.gpt.memory import pretrain_memory

        names = ("start", "size", "training", "device", "precision")
        memory = pretrain_memory(**{name: settings[name] for name in names})
        o.say_memory(memory, json=json)
        return
    columns = tm.Columns(text=text_column, prompt=prompt_column)
    documents = tm.Documents(
        sources,
        split,
        columns if text_column or prompt_column else None,
        format,
        each=each,
        leave_out_bad=skip_bad,
        limit=limit,
        say_read_as=r.sayer(sources, json=json, quiet=quiet),
    )
    policy = tm.pretrain(
        documents,
        out=out,
        say=lambda line: o.note(line, quiet=quiet),
        **settings,
    )
    if not processes.is_first():
        return
    o.note_skipped(documents.bad, quiet=quiet)
    if json:
        o.say_json(
            {"model": str(out)}
            | {name: policy.figures[name] for name in _FIGURES}
            | {"read_as": r.as_list(documents.first_read_as())}
        )
    else:
        o.say(f"{policy}")
        o.say(f"Let it write:  tastemaker write {out} -n 3")


@o.verb(WRITE)
@click.argument(
    "model",
    metavar="DIR",
    help="A folder saved by `pretrain`, any other, or a hub name.",
)
@click.argument(
    "prompts",
    metavar="[PROMPT]...",
    nargs=-1,
    help="What is continued; none: begin a text.",
)
@o.option(
    "n",
    "-n",
    "--samples",
    type=int,
    default=1,
    help="Completions of each prompt.",
)
@o.option(
    "--file",
    type=o.PATH,
    help="Prompts: a text file with one a line, or a table.",
)
@o.option(
    "--out",
    type=o.PATH,
    help="Completions: a JSONL, CSV or TSV file with the columns of --file.",
)
@o.option(
    "--best-of",
    type=int,
    help="Number to write for each prompt; the one that --reward scores highest is kept.",
)
@o.option(
    "--reward", type=o.PATH, help="A reward model, saved by `tastemaker fit`."
)
@o.seed
@o.settings(
    "sampling", shown="as the folder recommends", defaults={"max_tokens": 200}
)
@o.prompt_column
@o.chat
@o.device
@o.dtype
@o.output
def write(
    model: str,
    prompts: tuple[str, ...],
    n: int,
    file: Path | None,
    out: Path | None,
    best_of: int | None,
    reward: Path | None,
    seed: int,
    sampling: o.Settings,
    prompt_column: str | None,
    chat: bool,
    device: Any,
    dtype: Any,
    json: bool,
    quiet: bool,
) -> None:
    """Let a GPT write."""
    import tastemaker as tm
    from tastemaker.bulk import complete_file
    from tastemaker.data.roles import Columns, described_file
    from tastemaker.data.texts import as_chat
    from tastemaker.errors import UsageError
    from tastemaker.files import check_not_itself

    if (best_of is None) != (reward is None):
        raise UsageError(
            "--best-of and --reward belong together: how many to choose from, and by what."
        )
    if (file is None) != (out is None):
        raise UsageError(
            "--file and --out belong together: prompts in, completions out."
        )
    if file is not None and prompts:
        raise UsageError("give either prompts or --file, one of the two.")
    if file is not None and out is not None:
        path, _ = described_file(file, Columns())
        check_not_itself(path, out)
    if n < 1:
        raise UsageError(
            f"-n {n}: ask for 1 completion of each prompt, or more."
        )
    policy = tm.Policy.load(model, dtype=dtype).to(device)
    for line in policy.notes:
        o.note(line, quiet=quiet)
    draw = replace(policy.sampling, **{"stop": (), **sampling})
    taste = None
    if reward is not None:
        taste = tm.load(reward, device=device, dtype=dtype)
    writer = _Writer(policy, draw, n, best_of, taste, seed)
    if file is not None and out is not None:
        read_as: list[Any] = []
        rows = complete_file(
            writer.for_file,
            file,
            out,
            prompt_column=prompt_column,
            chat=chat,
            is_scored=best_of is not None,
            say=lambda line: o.note(line, quiet=quiet),
            say_read_as=r.collector(read_as, json=json, quiet=quiet),
        )
        endings = [row.ended for row in rows]
        if json:
            _print_file(out, endings, policy.decoder, r.as_list(read_as))
        else:
            o.say(f"{len(endings):,} completions written into {out}")
        _note_unended(endings, draw, quiet=quiet)
        return
    texts: list[Any] = list(prompts) or [""]
    if chat:
        texts = [as_chat(text) for text in texts]
    if not json and best_of is None and len(texts) * n == 1:
        _stream(policy, texts[0], draw, seed, quiet=quiet)
        return
    completions = [one for group in writer.complete(texts, 0) for one in group]
    _print_all(completions, policy.decoder, json=json)
    _note_unended(
        [completion.ended for completion, _ in completions], draw, quiet=quiet
    )


Scored = tuple[Any, float | None]
"""A completion, and its score where a reward chose it."""


@dataclass(frozen=True)
class _Writer:
    """Completes prompts as the command line asks."""

    policy: Any
    sampling: Any
    n: int
    best_of: int | None
    reward: Any
    seed: int

    def complete(
        self, prompts: Sequence[Any], first: int
    ) -> list[list[Scored]]:
        """Return the n completions of each prompt. first: number of the first prompt."""
        from tastemaker.gpt.best import best_of_n

        completions: list[Scored]
        if self.best_of is None:
            drawn = self.policy.complete(
                prompts,
                samples=self.n,
                first=first,
                sampling=self.sampling,
                seed=self.seed,
            )
            completions = [(completion, None) for completion in drawn]
        else:
            best = best_of_n(
                self.policy,
                self.reward,
                [prompt for prompt in prompts for _ in range(self.n)],
                n=self.best_of,
                first=first * self.n,
                sampling=self.sampling,
                seed=self.seed,
            )
            completions = [(one.completion, one.score) for one in best]
        starts = range(0, len(completions), self.n)
        return [completions[start : start + self.n] for start in starts]

    def for_file(self, prompts: Sequence[Any], first: int) -> list[list[Any]]:
        """Return the completions as a file holds them."""
        from tastemaker.bulk import Written

        return [
            [Written(c.text, c.ended, c.log_prob, score) for c, score in group]
            for group in self.complete(prompts, first)
        ]


def _print_file(
    out: Path,
    endings: Sequence[str],
    decoder: str,
    read_as: list[dict[str, Any]],
) -> None:
    """Print as JSON what a file of completions holds, and what its prompts were read as."""
    counts = {name: endings.count(name) for name in ("end", "stop", "length")}
    o.say_json(
        {
            "out": str(out),
            "completions": len(endings),
            "ended": counts,
            "decoder": decoder,
            "read_as": read_as,
        }
    )


def _print_all(
    completions: Sequence[Scored], decoder: str, *, json: bool
) -> None:
    """Print completions, with their scores where there are any; with --json the decoder too."""
    if not json:
        for completion, score in completions:
            start = "" if score is None else f"{score:+.3f}  "
            prompt = (
                completion.prompt if isinstance(completion.prompt, str) else ""
            )
            o.say(f"{start}{prompt}{completion.text}\n")
        return
    result = {
        "completions": [completion.text for completion, _ in completions],
        "log_probs": [completion.log_prob for completion, _ in completions],
        "ended": [completion.ended for completion, _ in completions],
        "decoder": decoder,
    }
    scores = [score for _, score in completions if score is not None]
    if scores:
        # a completion without a word has no score
        result["scores"] = [
            score if math.isfinite(score) else None for score in scores
        ]
    o.say_json(result)


def _stream(
    policy: Any, prompt: Any, sampling: Any, seed: int, *, quiet: bool
) -> None:
    """Write the prompt and one completion to the terminal, while the completion is sampled."""
    from tastemaker.gpt.best import shown_so_far

    # shown with the first token: until then the prompt may be refused
    start = prompt if isinstance(prompt, str) else ""
    before, row = "", None
    for rows in policy.stream(
        [prompt], samples=1, sampling=sampling, seed=seed
    ):
        row = rows[0]
        text = start + shown_so_far(policy, row, sampling)
        sys.stdout.write(visible(text[len(before) :]))
        sys.stdout.flush()
        before = text
    text = start + policy.completion(prompt, row, sampling).text
    sys.stdout.write(visible(text[len(before) :]) + "\n")
    _note_unended(
        [row.ended] if row is not None else [], sampling, quiet=quiet
    )


def _note_unended(
    endings: Sequence[str], sampling: Any, *, quiet: bool
) -> None:
    """Note how many completions were cut at the most tokens."""
    cut = endings.count("length")
    if cut:
        reason = (
            "no stop text and no end came" if sampling.stop else "no end came"
        )
        o.note(
            f"{cut:,} of {len(endings):,} were cut at their most tokens: {reason}. "
            "See --max-tokens.",
            quiet=quiet,
        )


def is_policy(folder: Path) -> bool:
    """Return whether a folder holds a language model that is not a reward model."""
    names = ("config.json", "adapter_config.json")
    is_model = any((folder / name).is_file() for name in names)
    if not is_model or (folder / "tastemaker.json").is_file():
        return False
    from tastemaker.gpt.networks import is_causal

    return is_causal(folder)


def evaluate_policy(
    model: Path,
    source: str,
    reading: r.Reading,
    report: Path | None,
    *,
    device: Any,
    dtype: Any,
    skip_bad: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Print the perplexity of a GPT."""
    import tastemaker as tm
    from tastemaker.errors import UsageError

    if report is not None:
        raise UsageError(
            "--report is for a reward model; a GPT has one figure. Leave it out."
        )
    has_columns = reading.text_column or reading.prompt_column
    documents = tm.Documents(
        [source],
        reading.split,
        reading.columns if has_columns else None,
        reading.format,
        leave_out_bad=skip_bad,
        limit=reading.limit,
    )
    policy = tm.Policy.load(model, dtype=dtype).to(device)
    for line in policy.notes:
        o.note(line, quiet=quiet)
    measured = tm.perplexity(policy, documents)
    o.note_skipped(documents.bad, quiet=quiet)
    # with the result: an error is one line
    say_one = r.sayer([source], json=json, quiet=quiet)
    for each in documents.read_as:
        say_one(each)
    if json:
        o.say_json(
            measured.as_dict()
            | {"verdict": measured.verdict()}
            | {"read_as": r.as_list(documents.read_as)},
            with_remarks=True,
        )
    else:
        o.say(f"{measured.verdict()}\n")
        o.say(str(measured))
