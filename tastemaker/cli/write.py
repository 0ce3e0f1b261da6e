"""`tastemaker write`: a policy continues prompts."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli import options as o

EXAMPLE = """Let a GPT write, drawing as its folder recommends (generation_config.json) where no option says otherwise.

Examples:

  tastemaker write gpt -n 3

  tastemaker write gpt "The acting was" -n 4 --temperature 0.8 --max-tokens 40

  tastemaker write gpt "The acting was" --best-of 16 --reward taste

  tastemaker write gpt --file prompts.txt --out written.jsonl --stop "."
"""


@dataclass(frozen=True)
class Drawing:
    """How text is drawn: the options behind `Sampling`. What is not said is as the model's makers recommend."""

    temperature: Annotated[
        float | None, typer.Option(help="Divides the logits: below 1 safer, above 1 wilder.")
    ] = None
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest tokens; 0: all.")] = None
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest tokens that hold this share; 1: all.")
    ] = None
    min_p: Annotated[
        float | None,
        typer.Option(help="Only tokens at least this share as likely as the likeliest; 0: all."),
    ] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1: tokens that stand there already come less.")
    ] = None
    max_tokens: Annotated[int, typer.Option(help="The most tokens that are written.")] = 200
    stop: Annotated[
        list[str] | None, typer.Option(help="A text that ends a completion. May be repeated.")
    ] = None

    def sampling(self, policy: Any) -> Any:
        """Return how to draw from a policy. Raises UsageError for a value that cannot be."""
        said = {name: value for name, value in vars(self).items() if value is not None}
        return replace(policy.sampling, **said | {"stop": tuple(self.stop or ())})


@o.gathers(drawing=Drawing)
def write(
    model: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="A folder saved by `pretrain`, any other, or a hub name."
        ),
    ],
    drawing: Drawing,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROMPT]...", help="What is continued; none: begin a text."),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--samples", help="Completions of each prompt.")] = 1,
    file: Annotated[
        Path | None, typer.Option(help="Prompts: a text file, one a line, or a table …")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="… their completions: JSONL, CSV or TSV, columns kept.")
    ] = None,
    prompt_column: o.PromptColumn = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="The prompts are what a user says, to be answered.")
    ] = False,
    best_of: Annotated[
        int | None, typer.Option(help="Write so many for each one, keep what --reward likes best.")
    ] = None,
    reward: Annotated[
        Path | None, typer.Option(help="A reward model, saved by `tastemaker fit`.")
    ] = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Let a GPT write."""
    import tastemaker as tm
    from tastemaker.bulk import complete_file
    from tastemaker.data.prompts import as_chat
    from tastemaker.errors import UsageError

    if (best_of is None) != (reward is None):
        raise UsageError(
            "--best-of and --reward belong together: how many to choose from, and by what."
        )
    if (file is None) != (out is None):
        raise UsageError("--file and --out belong together: prompts in, completions out.")
    if file is not None and prompts:
        raise UsageError("give either prompts or --file, one of the two.")
    if n < 1:
        raise UsageError(f"-n {n}: ask for 1 completion of each prompt, or more.")
    policy = tm.Policy.load(model).to(device)
    for line in policy.notes:
        o.note(line, quiet=quiet)
    sampling = drawing.sampling(policy)
    writer = _Writer(policy, sampling, n, best_of, tm.load(reward) if reward else None, seed)
    if file is not None and out is not None:
        done = complete_file(
            writer.for_file,
            file,
            out,
            prompt_column=prompt_column,
            chat=chat,
            is_scored=best_of is not None,
        )
        counts = {name: sum(d.ended == name for d in done) for name in ("end", "stop", "length")}
        found = {"out": str(out), "completions": len(done), "ended": counts}
        o.say_json(found) if json else o.say(f"{len(done):,} completions written into {out}")
        _note_unended([d.ended for d in done], sampling, quiet=quiet)
        return
    asked = [as_chat(prompt) if chat else prompt for prompt in prompts or [""]]
    if not json and best_of is None and len(asked) * n == 1:
        _stream(policy, asked, sampling, seed, quiet=quiet)
        return
    _say_all(
        [written for all_of in writer.complete(asked, 0) for written in all_of],
        sampling,
        json=json,
        quiet=quiet,
    )


@dataclass(frozen=True)
class _Writer:
    """A policy with everything that it was told about writing."""

    policy: Any
    sampling: Any
    n: int
    best_of: int | None
    reward: Any
    seed: int

    def complete(self, prompts: Sequence[Any], first: int) -> list[list[tuple[Any, float | None]]]:
        """Return the n completions of each prompt, with scores where a reward chose them."""
        from tastemaker.gpt.best_of import best_of_n

        how: dict[str, Any] = {"sampling": self.sampling, "seed": self.seed}
        repeated = [prompt for prompt in prompts for _ in range(self.n)]
        if self.best_of is not None:
            best = best_of_n(
                self.policy, self.reward, repeated, n=self.best_of, first=first * self.n, **how
            )
            found: list[tuple[Any, float | None]] = [(b.completion, b.score) for b in best]
        else:
            found = [
                (c, None) for c in self.policy.complete(prompts, samples=self.n, first=first, **how)
            ]
        return [found[start : start + self.n] for start in range(0, len(found), self.n)]

    def for_file(self, prompts: Sequence[Any], first: int) -> list[list[Any]]:
        """Return the same as a file holds it."""
        from tastemaker.bulk import Written

        return [
            [Written(c.text, c.ended, c.log_prob, score) for c, score in all_of]
            for all_of in self.complete(prompts, first)
        ]


def _say_all(
    found: Sequence[tuple[Any, float | None]], sampling: Any, *, json: bool, quiet: bool
) -> None:
    """Print completions, with their scores where there are any."""
    if json:
        scores = [
            score if math.isfinite(score) else None for _, score in found if score is not None
        ]  # no word, no score
        texts = {
            "completions": [c.text for c, _ in found],
            "log_probs": [c.log_prob for c, _ in found],
        }
        o.say_json(
            texts | {"ended": [c.ended for c, _ in found]} | ({"scores": scores} if scores else {})
        )
    else:
        for completion, score in found:
            before = completion.prompt if isinstance(completion.prompt, str) else ""
            o.say(("" if score is None else f"{score:+.3f}  ") + before + completion.text + "\n")
    _note_unended([c.ended for c, _ in found], sampling, quiet=quiet)


def _stream(policy: Any, asked: Sequence[Any], sampling: Any, seed: int, *, quiet: bool) -> None:
    """Write one completion to the terminal as it comes, the prompt before it."""
    from tastemaker.gpt.policy import shown_so_far

    before = (
        asked[0] if isinstance(asked[0], str) else ""
    )  # shown with the first token: until then it may be refused
    shown, row = "", None
    for rows in policy.stream(asked, samples=1, sampling=sampling, seed=seed):
        row = rows[0]
        text = before + shown_so_far(policy, row, sampling)
        sys.stdout.write(text[len(shown) :])
        sys.stdout.flush()
        shown = text
    text = before + policy.completion(asked[0], row, sampling).text
    sys.stdout.write(text[len(shown) :] + "\n")
    _note_unended([row.ended] if row is not None else [], sampling, quiet=quiet)


def _note_unended(ended: Sequence[str], sampling: Any, *, quiet: bool) -> None:
    """Say how many completions were cut at the most tokens."""
    cut = sum(how == "length" for how in ended)
    if cut:
        reason = "no stop text and no end came" if sampling.stop else "no end came"
        o.note(
            f"{cut:,} of {len(ended):,} were cut at their most tokens: {reason}. See --max-tokens.",
            quiet=quiet,
        )


write.__doc__ = EXAMPLE
