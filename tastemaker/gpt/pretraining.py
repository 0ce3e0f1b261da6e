"""The verb `pretrain`: learn a tokenizer and a GPT from texts, or train a given model further."""

import hashlib
import heapq
import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoTokenizer

from tastemaker import processes
from tastemaker.adapters import check_peft
from tastemaker.costs import stage, versions
from tastemaker.data.judgements import Example, lot, plain
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.fast.processor import (
    DeviceChoice,
    TrainingChoice,
    choose_device,
    choose_precision,
    format_of,
)
from tastemaker.files import writing_folder
from tastemaker.gpt.language_loss import held_out_loss, ngram_loss
from tastemaker.gpt.networks import Size, make_gpt, make_tokenizer, size_named
from tastemaker.gpt.policy import FIGURES, Policy
from tastemaker.gpt.pretrain_task import Pretraining, PretrainTask
from tastemaker.gpt.text_sources import Documents
from tastemaker.gpt.tokenise import HELD_OUT, TRAIN, TokenFile, tokenized
from tastemaker.settings import settings_from
from tastemaker.train.gradients import check_shard, without_shard
from tastemaker.train.loop import train
from tastemaker.train.run import (
    RUN,
    Run,
    Say,
    check_same,
    of_first,
    open_run,
    silent,
)

_TOKENIZER_CHARACTERS = 2**25
"""Characters that a tokenizer is learned from at most."""
_TOKENS = "tokens"
_SIZE = "tiny"
_CONTINUED = Size(0, 0, 0, 1024, 0, 5e-5, 8192)
"""The defaults for a given model: context, learning rate, tokens a step."""


def pretrain(
    texts: Iterable[str | Example],
    *,
    size: str | None = None,
    start: Policy | str | Path | None = None,
    training: Pretraining | Mapping[str, Any] | None = None,
    seed: int = 0,
    device: DeviceChoice = "auto",
    precision: TrainingChoice = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> Policy:
    """Train a GPT on texts.

    texts: anything that can be read more than once (a list, `Documents`). An Example with a prompt
        teaches its text only, which follows the prompt. size: tiny (the default), small, medium,
        large. start: a policy, folder or hub name to train further (supervised fine-tuning).
        training: all settings, or some that replace the size's.
    out: where to save; None keeps the policy in memory and the tokens in a temporary folder.
        resume: continue a killed run, to the same bits. overwrite: replace the policy that is in
        `out`. say: gets a line for each evaluation.
    Returns the policy; `figures` holds its held-out perplexity beside that of an interpolated
    n-gram model. Raises DataError for a corpus that cannot teach, UsageError for settings that
    cannot be, ModelError for a start that cannot write, TrainingError for a run that failed,
    StorageError for a folder that cannot be written.
    """
    say = of_first(say)
    training = settings_from(Pretraining, training, "training")
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
    settings = _run_settings(
        texts,
        size=size,
        start=start,
        training=training,
        seed=seed,
        device=device,
        precision=precision,
    )
    folder = None if out is None else Path(out)
    check_shard(shard=training.shard, lora=training.lora)
    _check_start(start, training, folder)
    defaults = _CONTINUED if size is None else size_named(size)
    with open_run(
        out, settings, whole=FIGURES, resume=resume, overwrite=overwrite
    ) as run:
        if folder is not None and run.is_finished:
            policy = Policy.load(folder)
            check_same(policy.figures.get("settings", {}), settings)
            # it may have been killed before it dropped them
            shutil.rmtree(folder / RUN / _TOKENS, ignore_errors=True)
            return policy
        return _trained(
            texts,
            defaults,
            run,
            folder,
            start=start,
            training=training,
            say=say,
        )


def _trained(
    texts: Iterable[str | Example],
    size: Size,
    run: Run,
    folder: Path | None,
    *,
    start: Policy | str | Path | None,
    training: Pretraining,
    say: Say,
) -> Policy:
    """Return the trained policy, saved if there is a folder."""
    began = time.monotonic()
    settings = run.settings
    seed = settings["seed"]
    with _tokens_folder(folder, settings) as tokens:
        policy = (
            _fresh(texts, size, training, seed, tokens)
            if start is None
            else _opened(start, training, seed)
        )
        _check_growth(training, size)
        context = _context(policy, size, training)
        with stage("tokenizing"):
            corpora = tokenized(
                _examples(texts),
                policy.reader,
                tokens / "pieces",
                context=context,
                held_out=training.held_out,
                seed=seed,
            )
        _let_others_read(tokens, corpora)
        _say_corpus(corpora, policy, say)
        device = choose_device(settings["device"])
        batch_tokens = max(training.batch_tokens or size.batch_tokens, context)
        task = PretrainTask(
            policy,
            corpora,
            replace(training, batch_tokens=batch_tokens),
            size,
            device=device,
            precision=choose_precision(device, settings["precision"]),
            seed=seed,
            run=run,
            say=say,
        )
        progress = train(task, run, seed=seed)
        policy.merge_adapters()
        policy.round_weights()
        policy.figures = {"tokens": task.tokens, "steps": progress.step}
        policy.figures |= _figures(policy, corpora, seed)
        policy.figures["seconds"] = round(time.monotonic() - began, 1)
        policy.figures["settings"] = settings
        policy.figures["versions"] = versions()
        say(_verdict(policy.figures))
        if folder is not None and processes.is_first():
            policy.save(folder)
    return policy


def _let_others_read(
    tokens: Path, corpora: tuple[TokenFile, TokenFile]
) -> None:
    """Let the other processes go on, which read the first one's tokens in `_others_tokens`."""
    if processes.count() == 1:
        return
    if processes.is_first():
        processes.from_first(str(tokens))
    counts = [asdict(corpus.counts) for corpus in corpora]
    processes.check_alike({"the tokenized corpus": counts})


def _run_settings(
    texts: Iterable[str | Example],
    *,
    start: Policy | str | Path | None,
    **settings: Any,
) -> dict[str, Any]:
    """Return the run's settings, JSON-ready; a resumed run must have the same."""
    settings["training"] = without_shard(settings["training"])
    if isinstance(start, Policy):
        settings["start"] = f"{start!r} {weights_digest(start)}"
    else:
        settings["start"] = None if start is None else str(start)
    settings["data"] = (
        texts.describe() if isinstance(texts, Documents) else _digest(texts)
    )
    return settings


def _digest(texts: Iterable[str | Example]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for example in _examples(texts):
        content = repr((example.prompt, example.text))
        digest.update(content.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def weights_digest(policy: Policy) -> str:
    """Return a digest of a policy's weights and tokenizer."""
    tokenizer = policy.tokenizer.backend_tokenizer.to_str()
    digest = hashlib.blake2b(tokenizer.encode(), digest_size=16)
    for name, tensor in policy.module.state_dict().items():
        # a view of the tensor itself would end the sharing of memory with a reference
        copied = tensor.to("cpu", copy=True).contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(copied.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _examples(texts: Iterable[str | Example]) -> Iterator[Example]:
    return (Example(text) if isinstance(text, str) else text for text in texts)


def _check_start(
    start: Policy | str | Path | None,
    training: Pretraining,
    folder: Path | None,
) -> None:
    """Raise UsageError for settings of new models, and for replacing the given one."""
    training.adapters.check()
    if training.lora:
        check_peft()
    if training.quantize != "none" and not isinstance(start, str | Path):
        raise UsageError(
            "quantize: only a folder or hub name is read in 4 bits. Give one by --from."
        )
    if start is None:
        if training.lora:
            raise UsageError(
                "lora: adapters learn beside the weights of a given model. Give one to start "
                "from (--from), or leave it out."
            )
        return
    if training.vocabulary is not None:
        raise UsageError(
            "a given model keeps its tokenizer: choose a vocabulary or a model, not both."
        )
    if training.grow_at:
        raise UsageError(
            "grow_at: a given model has all of its layers, only a new one grows. Leave it out."
        )
    if folder is None or isinstance(start, Policy):
        return
    if folder.resolve() == Path(start).resolve():
        raise UsageError(
            f"{folder}: is the model to start from, and would be replaced. Choose another --out."
        )


def _check_growth(training: Pretraining, size: Size) -> None:
    """Raise UsageError where layers that join later would be computed from the beginning."""
    grow_at = size.grow_at if training.grow_at is None else training.grow_at
    if training.gradient_checkpointing and grow_at:
        raise UsageError(
            "gradient_checkpointing: a network that grows is computed by our own pass, which "
            "holds all layers. Add --grow-at 0, or leave it out."
        )
    if training.shard and grow_at:
        raise UsageError(
            "shard: a network that grows is computed by our own pass, which needs whole weights. "
            "Add --grow-at 0, or leave it out."
        )


@contextmanager
def _tokens_folder(
    folder: Path | None, settings: Mapping[str, Any]
) -> Iterator[Path]:
    """Yield the folder of the tokenized corpus.

    It is in the run folder; it is removed when the run is done, and kept when it is killed. Its
    name is a digest of the settings, so that no run takes the tokens of another. A corpus that
    cannot be used leaves nothing behind. Of several processes the first one makes it.
    """
    if not processes.is_first():
        with _others_tokens() as tokens_of_first:
            yield tokens_of_first
        return
    if folder is None:
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    tokens = folder / RUN / _TOKENS
    is_new = not folder.exists()
    content = json.dumps(settings, sort_keys=True).encode()
    try:
        yield tokens / hashlib.blake2b(content, digest_size=8).hexdigest()
    except (DataError, ModelError, UsageError):
        shutil.rmtree(folder if is_new else tokens, ignore_errors=True)
        raise
    shutil.rmtree(tokens, ignore_errors=True)


@contextmanager
def _others_tokens() -> Iterator[Path]:
    """Wait for the first process's tokens, and yield their folder.

    On a machine that does not see it, it is a temporary folder, to be filled once more.
    """
    tokens = Path(processes.from_first(""))
    if tokens.is_dir():
        yield tokens
        return
    with TemporaryDirectory() as temporary:
        yield Path(temporary)


@stage("learning the tokenizer")
def _fresh(
    texts: Iterable[str | Example],
    size: Size,
    training: Pretraining,
    seed: int,
    folder: Path,
) -> Policy:
    """Return a new GPT and tokenizer; the tokenizer is saved in `folder` for a resumed run."""
    size = replace(size, context=training.context or size.context)
    saved = folder / "tokenizer"
    if not saved.is_dir():
        sample, chats = _sample(_examples(texts), seed)
        vocabulary = training.vocabulary or size.vocabulary
        tokenizer = make_tokenizer(
            sample, vocabulary=vocabulary, context=size.context, chats=chats
        )
        if training.vocabulary is not None and len(tokenizer) < vocabulary:
            raise DataError(
                f"a vocabulary of {vocabulary:,} tokens is more than this corpus supports, "
                f"which gives {len(tokenizer):,}. "
                f"Give more text, or --vocabulary {len(tokenizer)}."
            )
        with writing_folder(saved) as temporary:
            tokenizer.save_pretrained(temporary)
    # loaded in a new run as in a resumed one, so that both save the same files
    tokenizer = AutoTokenizer.from_pretrained(saved, local_files_only=True)
    for name in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(name, None)
    saved_as = format_of(training.dtype, torch.float32)
    module = make_gpt(size, tokenizer, seed=seed)
    return Policy(module, tokenizer, saved_as=saved_as)


def _sample(examples: Iterable[Example], seed: int) -> tuple[list[str], bool]:
    """Return random texts to learn a tokenizer from, and whether any has a prompt."""
    drawn: list[
        tuple[int, str]
    ] = []  # a heap of lots, negated: the largest lot first
    characters = 0
    has_prompts = False
    for example in examples:
        texts = [example.text]
        if example.prompt is not None:
            has_prompts = True
            texts.insert(0, plain(example.prompt))
        for text in texts:
            heapq.heappush(drawn, (-lot(seed, "tokenizer", text), text))
            characters += len(text)
        while characters > _TOKENIZER_CHARACTERS and len(drawn) > 1:
            characters -= len(heapq.heappop(drawn)[1])
    if not drawn:
        raise DataError(
            "the corpus holds no text. Give a source with documents in it."
        )
    return [text for _, text in sorted(drawn, reverse=True)], has_prompts


def _opened(
    start: Policy | str | Path, training: Pretraining, seed: int
) -> Policy:
    """Return the policy to train further: a copy, or a loaded one, with adapters where they learn.

    It ends at the end of an answer that its chat template writes, for that is what it learns.
    """
    if not isinstance(start, Policy):
        memory = training.dtype if training.lora else "float32"
        policy = Policy.load(start, dtype=memory, lora=training.adapters)
    elif training.lora:
        policy = start.frozen_copy()
    else:
        policy = start.trainable_copy()
    policy.saved_as = format_of(training.dtype, policy.saved_as)
    if training.lora:
        lora = training.adapters
        policy.add_adapters(lora, source=str(start), seed=seed)
    policy.end_at(policy.reader.turn_end)
    return policy


def _context(policy: Policy, size: Size, training: Pretraining) -> int:
    """Return the context. Raises UsageError for more than the network reads."""
    context = training.context or min(size.context, policy.context)
    if context > policy.context:
        raise UsageError(
            f"context {context:,}: this network reads {policy.context:,} tokens. Choose fewer."
        )
    return context


@stage("measuring")
def _figures(
    policy: Policy, corpora: tuple[TokenFile, TokenFile], seed: int
) -> dict[str, Any]:
    """Return held-out perplexity, per token and per byte, of the policy and of n-grams."""
    train, held_out = corpora
    losses = held_out_loss(policy, held_out, seed=seed)
    ngram_losses = ngram_loss(
        train, held_out, len(policy.tokenizer), seed=seed
    )
    tokens_per_byte = held_out.counts.tokens / max(1, held_out.counts.bytes)
    figures: dict[str, Any] = {"parameters": policy.parameters}
    for prefix, nats in (("", losses.mean()), ("ngram_", ngram_losses.mean())):
        figures[f"{prefix}perplexity"] = math.exp(nats)
        figures[f"{prefix}byte_perplexity"] = math.exp(nats * tokens_per_byte)
    figures["measured_tokens"] = len(losses)
    figures["corpus"] = {
        TRAIN: asdict(train.counts),
        HELD_OUT: asdict(held_out.counts),
    }
    return figures


def _say_corpus(
    corpora: tuple[TokenFile, TokenFile], policy: Policy, say: Say
) -> None:
    for note in policy.notes:
        say(note)
    train, held_out = (corpus.counts for corpus in corpora)
    say(
        f"{train.documents:,} documents of {train.tokens:,} tokens to learn from, "
        f"{held_out.tokens:,} tokens held out; {len(policy.tokenizer):,} tokens "
        f"in the vocabulary, {policy.parameters:,} parameters"
    )


def _verdict(figures: Mapping[str, Any]) -> str:
    perplexity = figures["perplexity"]
    ngrams = figures["ngram_perplexity"]
    comparison = "below" if perplexity < ngrams else "NOT below"
    return (
        f"held-out perplexity {perplexity:.2f} per token "
        f"and {figures['byte_perplexity']:.3f} per byte, "
        f"{comparison} the {ngrams:.2f} of n-grams; "
        f"{figures['tokens']:,} tokens in {figures['seconds']:.0f} s"
    )
