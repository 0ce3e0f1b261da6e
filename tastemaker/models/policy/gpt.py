"""A GPT and its tokenizer made from nothing: one dial for size, any language.

The network is transformers' own GPT-2 architecture, which every tool loads: layer norms and GELU are single fast
operations on a processor, which rotary positions and gated units are not. GELU is the exact one, five times faster here
than GPT-2's own approximation by tanh. The tokenizer is byte-level BPE, so every text has tokens and every token one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tastemaker.errors import DataError, UsageError
from tastemaker.models.loading import quiet_transformers

BEGIN, END, PAD, TURN = "<|begin|>", "<|end|>", "<|pad|>", "<|turn|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '" + TURN + "' + message['role'] + '\\n' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '" + TURN + "assistant\\n' }}{% endif %}"
)
"""How a GPT of ours reads dialogues: each turn ends as a text does."""

_GAIN = 0.68  # fresh weights spread by this over the root of the width: 0.0245 at 768, where GPT-2 has 0.02
_MIN_P = 0.03  # of the likeliest token: what is less likely is noise that a network of this size has not learned away
_POSITIONS = 0.1  # positions spread by this much of what tokens do: large ones drown what the tokens say at first


@dataclass(frozen=True)
class Size:
    """What follows from the one dial.

    context: the most tokens it reads. vocabulary: the most tokens its tokenizer learns. lr: peak learning rate.
    batch_tokens: tokens a step. muon: how many times that rate Muon steps with along the matrices of a network that is
    trained from nothing; 0 where AdamW trains them too. tied: whether the output layer is the embeddings; one of its
    own costs memory, no time, and lets a small network learn more from each token.
    """

    width: int
    layers: int
    heads: int
    context: int
    vocabulary: int
    lr: float
    batch_tokens: int
    muon: float = 0.0
    tied: bool = True


SIZES = {
    "tiny": Size(128, 4, 2, 256, 2048, 1e-2, 1536, 2.0),
    "small": Size(192, 4, 3, 512, 4096, 6e-3, 4096, 2.0, tied=False),
    "medium": Size(512, 8, 8, 1024, 16384, 1e-3, 32768),
    "large": Size(768, 12, 12, 1024, 32768, 6e-4, 131072),
}


def size_named(name: str) -> Size:
    """Return the size of that name. Raises UsageError for another."""
    if name not in SIZES:
        raise UsageError(f"there is no size {name!r}: choose one of {', '.join(SIZES)}.")
    return SIZES[name]


def make_gpt(size: Size, tokenizer: Any, *, seed: int) -> Any:
    """Return an untrained GPT for a tokenizer, the same for the same seed.

    Weights are drawn from Normal(0, 0.68 / √width); those that write into the residual stream begin at zero, so that
    each layer passes on what it was given and learns what to add (Zhang et al. 2019 begin likewise). Positions begin at
    a tenth of the others. The output layer is the embeddings, or begins as they do. Its generation_config.json advises
    whoever draws from it, transformers too, to leave out tokens that are hardly possible: a small network cannot tell
    them apart.
    """
    spread = _GAIN * size.width**-0.5
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=size.context,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=spread,
        tie_word_embeddings=size.tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        module = GPT2LMHeadModel(config)
    module.generation_config.do_sample, module.generation_config.min_p = True, _MIN_P
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("c_proj.weight"):
                weight.zero_()
        module.transformer.wpe.weight.mul_(_POSITIONS)
        module.lm_head.weight.copy_(module.transformer.wte.weight)
    return module


def matrices_of(module: Any) -> dict[int, list[Any]]:
    """Return the weights [in, out] between a GPT's layers, by how many matrices stand side by side in each.

    Query, key and value are three. Embeddings are none: no text moves all of their directions.
    """
    blocks = module.transformer.h
    single = [w for b in blocks for w in (b.attn.c_proj.weight, b.mlp.c_fc.weight, b.mlp.c_proj.weight)]
    return {3: [block.attn.c_attn.weight for block in blocks], 1: single}


def make_tokenizer(texts: Iterable[str], *, vocabulary: int, context: int, chats: bool = False) -> Any:
    """Return a byte-level BPE tokenizer (Sennrich et al. 2016) of at most `vocabulary` tokens, learned from texts.

    It reads a text as its begin token and the text's own; end and padding have tokens of their own. chats: whether it
    has a chat template. Raises DataError when there are no texts and UsageError for a vocabulary that cannot hold the
    256 bytes and the special tokens.
    """
    special = [BEGIN, END, PAD, *([TURN] if chats else [])]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary < len(alphabet) + len(special):
        raise UsageError(
            f"a vocabulary of {vocabulary} has no room for {len(alphabet)} bytes and {len(special)} special tokens."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == len(alphabet) + len(special):
        raise DataError("there is too little text to make a tokenizer from: no two characters stand together twice.")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD, model_max_length=context
    )
    if chats:
        made.add_special_tokens({"additional_special_tokens": [TURN]})
        made.chat_template = CHAT_TEMPLATE
    return made


def parameters_of(module: Any) -> int:
    """Return how many numbers a network learns, shared ones counted once."""
    return sum(p.numel() for p in module.parameters())
