"""Text → policy: a tokenizer and a GPT from nothing, or a given model that learns on."""

import hashlib
import heapq
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoTokenizer

from tastemaker.data.judgements import Example, lot, plain
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.fast.processor import DeviceWish, TrainingWish, choose_device, choose_precision
from tastemaker.files import writing_folder
from tastemaker.gpt.corpus import HELD_OUT, TRAIN, TokenFile, tokenized
from tastemaker.gpt.language_loss import held_out_loss, ngram_loss
from tastemaker.gpt.networks import Size, make_gpt, make_tokenizer, size_named
from tastemaker.gpt.policy import FIGURES, Policy
from tastemaker.gpt.pretrain_loop import Pretraining, TextDescent
from tastemaker.gpt.text_sources import Documents
from tastemaker.settings import settings_from
from tastemaker.train.run import RUN, Run, check_same, model_folder, versions

_TOKENIZER_CHARACTERS = 2**25
"""Characters that a tokenizer is learned from at most."""
_TOKENS = "tokens"
_SIZE = "tiny"
_CONTINUED = Size(0, 0, 0, 1024, 0, 5e-5, 8192)
"""What a given model is trained with where nothing else is said."""


def _silent(line: str) -> None:
    """Say nothing."""


def pretrain(
    texts: Iterable[str | Example],
    *,
    size: str | None = None,
    start: Policy | str | Path | None = None,
    training: Pretraining | Mapping[str, Any] | None = None,
    seed: int = 0,
    device: DeviceWish = "auto",
    precision: TrainingWish = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = _silent,
) -> Policy:
    """Learn to write from texts.

    texts: anything that can be read more than once (a list, `Documents`); an Example with a prompt teaches only its
        text, behind the prompt. size: tiny (if nothing is said), small, medium, large: all else follows. start: a
        policy, folder or hub name to go on with instead (supervised fine-tuning). training: settings, whole, or some on
        top of the size's.
    out: where to save; None keeps the policy in memory and the tokens in a temporary folder. resume: go on with a
        killed run, to the same bits. overwrite: replace what is there, when there is a policy to replace it with.
        say: gets a line now and then on how it goes.
    Returns the policy; `figures` holds its held-out perplexity beside that of an interpolated n-gram model.
    Raises DataError for a corpus that cannot teach, UsageError for settings that cannot be, ModelError for a start that
    cannot write, TrainingError for a run that failed, StorageError for a folder that cannot be written.
    """
    training = _settings(training)
    if iter(texts) is texts:
        raise UsageError(
            "texts: an iterator can be read only once. Hand in a list, or `Documents` of a source."
        )
    if start is None:
        size = size or _SIZE
    elif size is not None:
        raise UsageError(
            "size and start: a given model has the size that it has. Choose one of the two."
        )
    asked = _asked(
        texts,
        size=size,
        start=start,
        training=training,
        seed=seed,
        device=device,
        precision=precision,
    )
    folder = Path(out) if out is not None else None
    _check_start(start, training, folder)
    chosen = _CONTINUED if size is None else size_named(size)
    with model_folder(folder, whole=FIGURES, resume=resume, overwrite=overwrite) as is_finished:
        if folder is not None and is_finished:
            return _finished(folder, asked)
        run = Run(folder / RUN if folder is not None else None, asked, resume=resume)
        return _learned(texts, chosen, asked, run, folder, start=start, training=training, say=say)


def _learned(
    texts: Iterable[str | Example],
    chosen: Size,
    asked: dict[str, Any],
    run: Run,
    folder: Path | None,
    *,
    start: Policy | str | Path | None,
    training: Pretraining,
    say: Callable[[str], None],
) -> Policy:
    """Return the policy that was learned, saved if there is a folder."""
    began, seed = time.monotonic(), asked["seed"]
    with _tokens_folder(folder, asked) as tokens:
        policy = _fresh(texts, chosen, training, seed, tokens) if start is None else _opened(start)
        context = _context(policy, chosen, training)
        corpora = tokenized(
            _examples(texts),
            policy.reader,
            tokens / "pieces",
            context=context,
            held_out=training.held_out,
            seed=seed,
        )
        _say_corpus(corpora, policy, say)
        where = choose_device(asked["device"])
        how: dict[str, Any] = {"lr": training.lr or chosen.lr, "seed": seed, "run": run, "say": say}
        how |= {"device": where, "precision": choose_precision(where, asked["precision"])}
        how |= {
            "batch_tokens": max(training.batch_tokens or chosen.batch_tokens, context),
            "muon": chosen.muon,
        }
        how["grow_at"] = chosen.grow_at if training.grow_at is None else training.grow_at
        standing = TextDescent(policy, corpora, training, **how).run()
        policy.figures = {"tokens": standing.tokens, "steps": standing.step} | _figures(
            policy, corpora, seed
        )
        policy.figures |= {
            "seconds": round(time.monotonic() - began, 1),
            "settings": asked,
            "versions": versions(),
        }
        say(_verdict(policy.figures))
        if folder is not None:
            policy.save(folder)
    run.finish()
    return policy


def _settings(training: Pretraining | Mapping[str, Any] | None) -> Pretraining:
    """Return the settings, whole. Raises UsageError for one that does not exist."""
    if isinstance(training, Pretraining):
        return training
    return settings_from(Pretraining, training or {}, "training")


def _asked(
    texts: Iterable[str | Example], *, start: Policy | str | Path | None, **settings: Any
) -> dict[str, Any]:
    """Return what was asked for: a resumed run must ask for the same."""
    training = asdict(settings.pop("training"))
    given = (
        f"{start!r} {weights_digest(start)}" if isinstance(start, Policy) else start and str(start)
    )
    data = texts.describe() if isinstance(texts, Documents) else _digest(texts)
    return settings | {"training": training, "start": given, "data": data}


def _digest(texts: Iterable[str | Example]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for example in _examples(texts):
        found.update(repr((example.prompt, example.text)).encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def weights_digest(policy: Policy) -> str:
    """Return a digest of what a policy has learned and how it reads: two that only look alike have two."""
    found = hashlib.blake2b(policy.tokenizer.backend_tokenizer.to_str().encode(), digest_size=16)
    for name, tensor in policy.module.state_dict().items():
        copied = tensor.to(
            "cpu", copy=True
        )  # looked at where it is, memory shared with a reference would be copied
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(copied.contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _examples(texts: Iterable[str | Example]) -> Iterator[Example]:
    return (Example(text) if isinstance(text, str) else text for text in texts)


def _check_start(
    start: Policy | str | Path | None, training: Pretraining, folder: Path | None
) -> None:
    """Check what belongs to a given model. Raises UsageError for what only a new one has, and for replacing it."""
    if start is None:
        return
    if training.vocabulary is not None:
        raise UsageError(
            "a given model keeps its tokenizer: choose either a vocabulary or a model to go on with."
        )
    if training.grow_at:
        raise UsageError(
            "a given model has learned with all of its layers: only a new one can grow. Leave grow_at out."
        )
    if (
        folder is not None
        and not isinstance(start, Policy)
        and folder.resolve() == Path(start).resolve()
    ):
        raise UsageError(
            f"{folder}: is the model to go on with, and would be replaced by it. Choose another --out."
        )


def _finished(folder: Path, asked: Mapping[str, Any]) -> Policy:
    """Return the policy that a run has saved already. Raises UsageError for other settings."""
    policy = Policy.load(folder)
    check_same(policy.figures.get("settings", {}), asked)
    return policy


@contextmanager
def _tokens_folder(folder: Path | None, asked: Mapping[str, Any]) -> Iterator[Path]:
    """Yield where the corpus lies as tokens: in the run folder, gone when the run is done, kept when it is killed.

    Its name says what was asked for, so that no run takes what another left. What cannot be used leaves nothing.
    """
    if folder is None:
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    tokens, is_new = folder / RUN / _TOKENS, not folder.exists()
    name = hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()
    try:
        yield tokens / name
    except (DataError, ModelError, UsageError):
        shutil.rmtree(folder if is_new else tokens, ignore_errors=True)
        raise
    shutil.rmtree(tokens, ignore_errors=True)


def _fresh(
    texts: Iterable[str | Example], size: Size, training: Pretraining, seed: int, folder: Path
) -> Policy:
    """Return an untrained GPT with a tokenizer learned from the texts; `folder` keeps it for a resumed run."""
    size = replace(size, context=training.context or size.context)
    kept = folder / "tokenizer"
    if kept.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(kept, local_files_only=True)
    else:
        sample, chats = _sample(_examples(texts), seed)
        wanted = training.vocabulary or size.vocabulary
        tokenizer = make_tokenizer(sample, vocabulary=wanted, context=size.context, chats=chats)
        if training.vocabulary is not None and len(tokenizer) < wanted:
            raise DataError(
                f"a vocabulary of {wanted:,} tokens is more than this corpus supports, which gives {len(tokenizer):,}. "
                f"Give more text, or --vocabulary {len(tokenizer)}."
            )
        with writing_folder(kept) as temporary:
            tokenizer.save_pretrained(temporary)
    return Policy(make_gpt(size, tokenizer, seed=seed), tokenizer)


def _sample(examples: Iterable[Example], seed: int) -> tuple[list[str], bool]:
    """Return texts that a tokenizer is learned from, drawn at random up to a size, and whether any has a prompt."""
    drawn: list[tuple[int, str]] = []  # a heap of lots, negated: the largest lot first
    characters, chats, seen = 0, False, False
    for example in examples:
        seen, chats = True, chats or example.prompt is not None
        parts = [example.text] if example.prompt is None else [plain(example.prompt), example.text]
        for text in parts:
            heapq.heappush(drawn, (-lot(seed, "tokenizer", text), text))
            characters += len(text)
        while characters > _TOKENIZER_CHARACTERS and len(drawn) > 1:
            characters -= len(heapq.heappop(drawn)[1])
    if not seen:
        raise DataError("the corpus holds no text. Give a source with documents in it.")
    return [text for _, text in sorted(drawn, reverse=True)], chats


def _opened(start: Policy | str | Path) -> Policy:
    """Return the policy to go on with; a policy that was handed in is copied, and stays as it is."""
    return start.trainable_copy() if isinstance(start, Policy) else Policy.load(start)


def _context(policy: Policy, size: Size, training: Pretraining) -> int:
    """Return the most tokens that are read at once. Raises UsageError for more than the network reads."""
    wanted = training.context or min(size.context, policy.context)
    if wanted > policy.context:
        raise UsageError(
            f"context {wanted:,}: this network reads {policy.context:,} tokens. Choose fewer."
        )
    return wanted


def _figures(policy: Policy, corpora: tuple[TokenFile, TokenFile], seed: int) -> dict[str, Any]:
    """Return held-out perplexity, per token and per byte, beside that of n-grams of the same training pieces."""
    train, held_out = corpora
    ours = held_out_loss(policy, held_out, seed=seed)
    theirs = ngram_loss(train, held_out, len(policy.tokenizer), seed=seed)
    per_byte = held_out.counts.tokens / max(1, held_out.counts.bytes)
    found: dict[str, Any] = {"parameters": policy.parameters}
    for name, nats in (("", ours.mean()), ("ngram_", theirs.mean())):
        found |= {
            f"{name}perplexity": math.exp(nats),
            f"{name}byte_perplexity": math.exp(nats * per_byte),
        }
    sides = {name: asdict(corpus.counts) for name, corpus in ((TRAIN, train), (HELD_OUT, held_out))}
    return found | {"measured_tokens": len(ours), "corpus": sides}


def _say_corpus(
    corpora: tuple[TokenFile, TokenFile], policy: Policy, say: Callable[[str], None]
) -> None:
    for note in policy.notes:
        say(note)
    train, held_out = (corpus.counts for corpus in corpora)
    say(
        f"{train.documents:,} documents of {train.tokens:,} tokens to learn from, {held_out.tokens:,} tokens held out; "
        f"{len(policy.tokenizer):,} tokens in the vocabulary, {policy.parameters:,} parameters"
    )


def _verdict(figures: Mapping[str, Any]) -> str:
    better = figures["perplexity"] < figures["ngram_perplexity"]
    return (
        f"held-out perplexity {figures['perplexity']:.2f} per token and {figures['byte_perplexity']:.3f} per byte, "
        f"{'below' if better else 'NOT below'} the {figures['ngram_perplexity']:.2f} of n-grams; "
        f"{figures['tokens']:,} tokens in {figures['seconds']:.0f} s"
    )
