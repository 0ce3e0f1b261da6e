"""Causal language models: new ones, ones opened from a folder or the hub, copies, model cards.

A GPT of ours is transformers' own GPT-NeoX (Black et al. 2022), which every tool loads. It
resembles GPT-2, but it rotates queries and keys by their positions instead of adding position
vectors to tokens, and its output layer is not tied. Layer norms and GELU are single fast operations
on a CPU; gated units are not. The tokenizer is byte-level BPE, so it can represent any text.
"""

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)

from tastemaker.adapters import (
    WRITER,
    Lora,
    base_of,
    is_adapter,
    merge_saved_adapter,
    read_config,
)
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.gpt.sampling import Sampling
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
    set_dropout,
)
from tastemaker.readable import filled_in

BEGIN = "<|begin|>"
END = "<|end|>"
PAD = "<|pad|>"
TURN = "<|turn|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '"
    + TURN
    + "' + message['role'] + '\\n' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '"
    + TURN
    + "assistant\\n' }}{% endif %}"
)
"""How a GPT of ours reads dialogues: each turn ends as a text does."""

# fresh weights spread by this over the root of the width: 0.0245 at 768, where GPT-2 has 0.02
_GAIN = 0.68
# of the likeliest token: what is less likely is noise that a network of this size has not learned
# away
_MIN_P = 0.03
_SLOWEST = 10_000.0  # the slowest of the turns takes 2π times as many tokens
_TEMPLATE = Path(__file__).with_name("card.md.j2")


@dataclass(frozen=True)
class Size:
    """The architecture and the training defaults of one size.

    context: the most tokens it reads. vocabulary: the most tokens its tokenizer learns. lr: peak
    learning rate. batch_tokens: tokens a step. muon: how many times that rate Muon steps with along
    the matrices of a network that is trained from nothing; 0 where AdamW trains them too. grow_at:
    after which share of the tokens the second half of the layers joins; 0: all learn from the
    beginning.
    """

    width: int
    layers: int
    heads: int
    context: int
    vocabulary: int
    lr: float
    batch_tokens: int
    muon: float = 0.0
    grow_at: float = 0.0


SIZES = {
    "tiny": Size(128, 4, 2, 256, 2048, 1e-2, 1536, 2.0, 0.5),
    "small": Size(192, 4, 3, 512, 4096, 6e-3, 4096, 2.0),
    "medium": Size(512, 8, 8, 1024, 16384, 1e-3, 32768),
    "large": Size(768, 12, 12, 1024, 32768, 6e-4, 131072),
}


def size_named(name: str) -> Size:
    """Return the size of that name. Raises UsageError for another."""
    if name not in SIZES:
        raise UsageError(
            f"there is no size {name!r}: choose one of {', '.join(SIZES)}."
        )
    return SIZES[name]


def make_gpt(size: Size, tokenizer: Any, *, seed: int) -> Any:
    """Return an untrained GPT for a tokenizer, the same for the same seed.

    Weights are drawn from Normal(0, 0.68 / √width); those that write into the residual stream begin
    at zero, so that each layer passes on what it was given and learns what to add (Zhang et al.
    2019 begin likewise). The output layer begins as the embeddings and is then its own. Its
    generation_config.json advises whoever draws from it, transformers too, to leave out tokens that
    are hardly possible: a small network cannot tell them apart.
    """
    ids = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    config = gpt_config(size, len(tokenizer), ids)
    with drawn_from(seed), quiet_transformers():
        module = GPTNeoXForCausalLM(config)
    module.generation_config.do_sample = True
    module.generation_config.min_p = _MIN_P
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith(
                ("attention.dense.weight", "mlp.dense_4h_to_h.weight")
            ):
                weight.zero_()
        module.lm_head.weight.copy_(module.gpt_neox.embed_in.weight)
    return module


def gpt_config(
    size: Size, vocabulary: int, ids: tuple[int, int, int]
) -> GPTNeoXConfig:
    """Return the configuration of a GPT. ids: of the tokens that begin, end and pad a text."""
    spread = _GAIN * size.width**-0.5
    begin, end, pad = ids
    return GPTNeoXConfig(
        vocab_size=vocabulary,
        max_position_embeddings=size.context,
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        hidden_act="gelu",
        use_parallel_residual=False,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": _SLOWEST,
            "partial_rotary_factor": 1.0,
        },
        initializer_range=spread,
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=pad,
    )


def matrices_of(module: Any) -> dict[int, list[Any]]:
    """Return the weight matrices [out, in] of a GPT's layers, by the number of interleaved heads.

    0: a weight is one matrix. Otherwise it is three, of queries, keys and values, whose rows are
    interleaved by head. Embeddings and the output layer are left out: no text moves all of their
    directions.
    """
    single = []
    joint = []
    for layer in module.gpt_neox.layers:
        attention = layer.attention
        mlp = layer.mlp
        joint.append(attention.query_key_value.weight)
        single.append(attention.dense.weight)
        single.append(mlp.dense_h_to_4h.weight)
        single.append(mlp.dense_4h_to_h.weight)
    return {module.config.num_attention_heads: joint, 0: single}


def make_tokenizer(
    texts: Iterable[str], *, vocabulary: int, context: int, chats: bool = False
) -> Any:
    """Return a byte-level BPE tokenizer (Sennrich et al. 2016) learned from texts.

    vocabulary: its most tokens. It puts its begin token before a text; end and padding have tokens
    of their own. chats: whether it has a chat template. Raises DataError for too little text, and
    UsageError for a vocabulary that cannot hold the 256 bytes and the special tokens.
    """
    special = [BEGIN, END, PAD, *([TURN] if chats else [])]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary < len(alphabet) + len(special):
        raise UsageError(
            f"a vocabulary of {vocabulary} has no room for {len(alphabet)} bytes "
            f"and {len(special)} special tokens."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == len(alphabet) + len(special):
        raise DataError(
            "there is too little text to make a tokenizer from: "
            "no two characters stand together twice."
        )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))],
    )
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
    )
    if chats:
        made.add_special_tokens({"additional_special_tokens": [TURN]})
        made.chat_template = CHAT_TEMPLATE
    return made


def parameters_of(module: Any) -> int:
    """Return how many numbers a network learns, shared ones counted once."""
    return sum(p.numel() for p in module.parameters())


@dataclass(frozen=True)
class Opened:
    """A causal language model as opened.

    dtype: of the saved weights. notes: the changes made to it, one sentence each.
    """

    module: Any
    tokenizer: Any
    dtype: torch.dtype = torch.float32
    notes: list[str] = field(default_factory=list)


def open_causal(
    source: str | Path,
    dtype: torch.dtype | str = torch.float32,
    lora: Lora | None = None,
) -> Opened:
    """Return the causal language model of a folder or hub name, dropout off.

    A folder of adapters gives the base that it names, with them merged. dtype: of the weights in
    memory; "auto" is that of the saved ones. lora: settings of adapters, with `quantize` for
    weights in 4 bits. A tokenizer without an end token is given one, with a row of its own in the
    embeddings: `notes` say so. Raises ModelError for a folder that is not there, holds another kind
    of model, or lacks weights.
    """
    name = str(source)
    if is_path(name) and not Path(name).is_dir():
        raise ModelError(
            f"{name}: there is no such folder. "
            "Give a folder that `pretrain --out` wrote, or a hub name."
        )
    with quiet_transformers(), one_line_errors(name, "policy"):
        folder = Path(name) if is_adapter(Path(name)) else None
        base = name if folder is None else base_of(folder)
        check_files(base)
        config = AutoConfig.from_pretrained(base, **NO_CODE)
        _check_causal(config, base)
        check_quantised(config, base)
        has_tokenizer = (Path(name) / "tokenizer.json").is_file()
        tokenizer = open_tokenizer(name if has_tokenizer else base)
        if not tokenizer.is_fast:
            raise ModelError(
                f"the policy {name!r} has no fast tokenizer (tokenizer.json): convert it first."
            )
        saved_as = config.dtype or torch.float32
        set_dropout(config, 0.0)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            base,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            **NO_CODE,
            **(lora.loading(name, dtype) if lora else {}),
        )
        module, report = loaded
        _check_whole(module, sorted(report["missing_keys"]), base)
        if folder is not None:
            module = merge_saved_adapter(module, folder)
    align(module)
    forget_code(module, tokenizer)
    opened = Opened(module.eval(), tokenizer, saved_as)
    _give_end_token(opened)
    return opened


def _check_whole(module: Any, missing: list[str], source: str) -> None:
    """Raise ModelError for missing or damaged weights, and for a network that keeps a state."""
    if missing:
        raise ModelError(
            f"{source}: the weights lack {', '.join(missing[:3])}, "
            "so it is no whole language model."
        )
    check_finite(module, source)
    if getattr(module, "_is_stateful", False):
        raise ModelError(
            f"{source}: a {module.config.model_type} keeps a state in place of keys and values, "
            "which writing here cannot continue. Give a model with attention."
        )


def is_causal(folder: Path) -> bool:
    """Return whether a folder says that it holds a causal language model, or adapters of one.

    Opens no weights, and no code that the folder brings along.
    """
    if is_adapter(folder):
        return read_config(folder).get("task_type") == WRITER
    path = folder / "config.json"
    if not path.is_file():
        return False
    with one_line_errors(str(folder), "model"):
        config = json.loads(path.read_text(encoding="utf-8"))
        model_type, architectures = (
            config.get("model_type"),
            config.get("architectures"),
        )
    return _is_causal(model_type, architectures)


def _is_causal(
    model_type: str | None, architectures: list[str] | None
) -> bool:
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type or "")
    return causal is not None and (
        not architectures or architectures[0] == causal
    )


def _check_causal(config: Any, source: str) -> None:
    architectures = getattr(config, "architectures", None)
    if not _is_causal(config.model_type, architectures):
        names = architectures or [config.model_type]
        raise ModelError(
            f"{source}: holds {', '.join(names)}, "
            f"which is no causal language model and cannot write. "
            f"Give a folder that `pretrain --out` wrote, or a model such as gpt2."
        )


def _give_end_token(opened: Opened) -> None:
    """Add an end token if there is none: a policy without one always writes to its limit."""
    module = opened.module
    tokenizer = opened.tokenizer
    if tokenizer.eos_token is None:
        tokenizer.add_special_tokens({"eos_token": END})
        if len(tokenizer) > module.get_input_embeddings().num_embeddings:
            # the new row is random: with one seed, a base opened again for its adapters equals
            # the one that they were trained on
            with drawn_from(0):
                module.resize_token_embeddings(
                    len(tokenizer), mean_resizing=False
                )
        opened.notes.append(
            f"the tokenizer has no end token, so {END} was added; "
            "the model has to learn it before its texts end."
        )
    end = tokenizer.eos_token_id
    others = ends_of(module) - {end}
    module.config.get_text_config().eos_token_id = end
    module.generation_config.eos_token_id = end
    for other in sorted(others):
        name_ends(module, end, other)


def name_ends(module: Any, end: int, other: int) -> None:
    """Let two tokens end a text by the model's generation_config.json, beside those that do."""
    others = sorted(ends_of(module) | {other})
    ends = [end]
    for token in others:
        if token != end:
            ends.append(token)
    module.generation_config.eos_token_id = ends


def ends_of(module: Any) -> frozenset[int]:
    """Return the tokens that end a text by the model's generation_config.json."""
    ends = module.generation_config.eos_token_id
    if ends is None:
        return frozenset()
    if isinstance(ends, int):
        return frozenset((ends,))
    return frozenset(ends)


def sharing_copy(module: nn.Module) -> Any:
    """Return a copy of a module whose weights share memory until either is written to.

    This is copy on write: the copy costs the memory of what training changes.
    """
    copies: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype == torch.uint8:
            # weights of 4 bits, which are more than their bytes and never learn
            copies[id(tensor)] = tensor
            continue
        lazy = _lazily(tensor)
        if isinstance(tensor, nn.Parameter):
            lazy = nn.Parameter(lazy)
        copies[id(tensor)] = lazy
    return copy.deepcopy(module, copies)


def _lazily(tensor: Tensor) -> Tensor:
    """Return a copy that shares memory until it is written to.

    Memory that PyTorch did not allocate, such as a mapped file, cannot be shared so: the tensor
    first gets memory of its own.
    """
    try:
        return torch._lazy_clone(tensor.detach())
    except RuntimeError:
        tensor.data = tensor.data.clone()
        return torch._lazy_clone(tensor.detach())


def policy_card(
    kind: str, parameters: int, context: int, figures: dict[str, Any]
) -> str:
    """Return the model card. figures: `pretraining.json`; empty if the training is unknown."""
    start = figures.get("settings", {}).get("start")
    return filled_in(
        _TEMPLATE,
        kind=kind,
        parameters=parameters,
        context=context,
        start=None if start is None else Path(start).name,
        figures=figures if "corpus" in figures else {},
    )


_RECOMMENDED = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def recommended(config: Any) -> Sampling:
    """Return the sampling that a model's transformers GenerationConfig recommends.

    Draws are plain, at temperature 1, if it recommends nothing or does not sample. Raises
    ModelError for values that are out of range.
    """
    settings = {}
    if config.do_sample:
        for name in _RECOMMENDED:
            value = getattr(config, name, None)
            if value is not None:
                settings[name] = value
    try:
        return Sampling(**settings)
    except UsageError as error:
        raise ModelError(
            f"generation_config.json: {error} Mend it, or remove it for plain draws."
        ) from error
