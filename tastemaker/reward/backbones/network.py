"""Backbones that are networks: a Hugging Face encoder or decoder; text → tokens → score."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tastemaker.adapters import FOLDER as ADAPTER_FOLDER
from tastemaker.adapters import Adapter, Lora, add_adapters, merge_adapters
from tastemaker.data.judgements import (
    CHAT,
    PAIR,
    TEMPLATE,
    Example,
    joined,
    plain,
)
from tastemaker.errors import StorageError, UsageError
from tastemaker.fast.batching import Batch, by_length, collate
from tastemaker.fast.encoder import (
    EncoderParts,
    TokenIds,
    encode_packed,
    parts_of,
    scores,
    scores_together,
    takes_bfloat16,
)
from tastemaker.fast.encoder import encode as encode_parts
from tastemaker.fast.int8 import (
    Ranges,
    in_int8,
    read_ranges,
    watch,
    write_ranges,
)
from tastemaker.fast.processor import (
    ScoringChoice,
    TrainingChoice,
    choose_scoring_precision,
    format_of,
    gains_by_int8,
)
from tastemaker.huggingface import align, quiet_transformers
from tastemaker.reward.backbones.heads import (
    fingerprint_of,
    head_of,
    one_head,
    put_heads,
    rescale_head,
    round_body,
    save_module,
    saved_dtype_of,
    share_weights,
    widen_head,
)
from tastemaker.reward.backbones.opening import (
    Cut,
    Encoded,
    choose_max_length,
    encode_texts,
    open_parts,
    read_parts,
    rendered,
    set_cut,
    source_of,
)
from tastemaker.reward.backbones.reading import (
    OF_NEW_HEADS,
    Reading,
    reading_of,
    tells_pairs,
    token_types,
)
from tastemaker.reward.backbones.readout import Readout
from tastemaker.scores import Scores
from tastemaker.train.gradients import Sharded

# on a processor, what stays in its caches; a GPU is filled
_SCORING_TOKENS = {"cpu": 2048}
_SCORING_TOKENS_ELSEWHERE = 32768
# texts: enough to sort by length, few enough to keep memory constant
_SCORED_AT_ONCE = 4096
_CALIBRATION_TEXTS = 64
_RANGES = "int8.safetensors"
_HEADS = "heads.safetensors"
_ScoreTexts = Callable[[list[TokenIds]], Tensor]
"""Token ids of n texts of like length → scores [n, heads]."""


class Network:
    """A transformers sequence classifier, whose outputs make one score, and its tokenizer.

    module: float32 weights, or a frozen body in another format. max_length: tokens it reads,
    special tokens included. cut: the side of an over-long text that is cut off. template: how
    prompt and text are joined. readout: how the logits of several classes become the score; None:
    the logit is the score. has_new_head: the head was drawn when it was opened. saved_as: the
    number format of the saved body; the head keeps float32.
    """

    kind = "network"

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        *,
        max_length: int,
        cut: Cut,
        template: str = TEMPLATE,
        readout: Readout | None = None,
        has_new_head: bool = True,
        saved_as: torch.dtype = torch.float32,
    ) -> None:
        set_cut(tokenizer, cut, max_length)
        self.module = module
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.cut = cut
        self.template = template
        self.readout = readout
        self.has_new_head = has_new_head
        self.saved_as = saved_as
        self.adapter: Adapter | None = None
        self.sharded: Sharded | None = None
        self._wrapped: Any = None
        self._ranges: tuple[Ranges, ...] | None = None
        self._small: tuple[tuple[float, ...], EncoderParts] | None = None

    @classmethod
    def open(
        cls,
        name_or_path: str,
        *,
        max_length: int | None = None,
        cut: Cut | None = None,
        dropout: float = 0.0,
        seed: int = 0,
        new_head: bool = False,
        dtype: TrainingChoice = "auto",
        is_frozen: bool = False,
        lora: Lora | None = None,
    ) -> Self:
        """Return a network for training.

        Its head is the trained one of the folder, if that has one output; otherwise it is drawn
        from `seed`.

        name_or_path: a folder, a hub name or `minilm`. max_length: None is 512, or what the network
        has positions for. cut: None is left, which keeps the end of a text, where reviews give
        their verdict. A trained head reads as before where these are None. new_head: draw the head,
        even if the folder has one. dtype: of the saved body. is_frozen: the body does not learn and
        has that format in memory too. lora: adapters, which may leave it in 4 bits. Raises
        ModelError when nothing loads and for a head of several classes, MissingExtra without the
        package, UsageError for a setting that does not fit.
        """
        source = source_of(name_or_path)
        opened = open_parts(
            source,
            dropout=dropout,
            seed=seed,
            new_head=new_head,
            dtype=dtype if is_frozen else "float32",
            lora=lora,
        )
        parts = opened.module, opened.tokenizer
        is_new = opened.has_new_head
        reading = OF_NEW_HEADS if is_new else reading_of(source, *parts)
        length = choose_max_length(*parts, max_length or reading.max_length)
        return cls(
            *parts,
            max_length=length,
            cut=cut or reading.cut,
            template=reading.template,
            has_new_head=is_new,
            saved_as=format_of(dtype, opened.dtype),
        )

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        template: str = TEMPLATE,
        readout: Readout | None = None,
        dtype: torch.dtype | str = torch.float32,
    ) -> Self:
        """Return the network that `save` wrote. Raises ModelError when it does not load whole.

        dtype: of the weights in memory; "auto" is that of the saved ones.
        """
        folder = Path(folder)
        module, tokenizer = read_parts(folder, dtype)
        longest = tokenizer.model_max_length
        max_length = choose_max_length(module, tokenizer, longest)
        saved_as = getattr(torch, saved_dtype_of(folder))
        network = cls(
            module,
            tokenizer,
            max_length=max_length,
            cut=tokenizer.truncation_side,
            template=template,
            readout=readout,
            has_new_head=False,
            saved_as=saved_as,
        )
        ranges = folder / _RANGES
        if ranges.exists():
            network._ranges = read_ranges(ranges)
        heads = folder / _HEADS
        if heads.exists():
            put_heads(network.module, load_file(heads))
            align(network.module)
        return network

    def save(self, folder: Path | str) -> None:
        """Write what any Hugging Face tool loads: configuration, safetensors, tokenizer.

        The folder may exist. Its files are written in place: hand in the temporary folder of
        `files.writing_folder`. Raises StorageError.
        """
        folder = Path(folder)
        with quiet_transformers():
            try:
                # several classes are no members of an ensemble
                keeping = (
                    one_head(self.module)
                    if self.readout is None
                    else nullcontext()
                )
                with keeping as heads:
                    save_module(self.module, folder, self.saved_as)
                if heads is not None:
                    save_file(heads, folder / _HEADS)
                set_cut(self.tokenizer, self.cut, self.max_length)
                self.tokenizer.save_pretrained(folder)
                if self.adapter is not None:
                    self.adapter.save(folder / ADAPTER_FOLDER, self.module)
                    reading = Reading(self.template, self.max_length, self.cut)
                    reading.write(folder / ADAPTER_FOLDER)
                if self._ranges is not None:
                    write_ranges(self._ranges, folder / _RANGES)
                share_weights(folder)
            # of a full disk
            except SafetensorError as error:
                raise StorageError(
                    f"{folder}: cannot write the weights ({error}); nothing was kept."
                ) from error

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = self.module.device
        return device

    @property
    def pad_id(self) -> int:
        """The id of the padding token."""
        return int(self.tokenizer.pad_token_id)

    def add_adapters(self, lora: Lora, source: str, seed: int) -> None:
        """Let low-rank adapters of the body learn in place of its weights."""
        self._wrapped = add_adapters(
            self.module, lora, source=source_of(source), seed=seed
        )

    def merge_adapters(self) -> None:
        """Merge the adapters, if there are any, into the weights; `save` also writes them alone."""
        if self._wrapped is not None:
            self.adapter = merge_adapters(self._wrapped)
            self._wrapped = None

    def round_weights(self) -> None:
        """Round the weights to what is saved, so that what is measured is what is saved."""
        round_body(self.module, self.saved_as)

    def to(self, device: torch.device | str) -> Self:
        """Move the weights to another device and return this network."""
        self.module.to(device)
        return self

    def describe(self) -> str:
        """Return family, depth and size: "bert, 6 layers, 22.7M parameters"."""
        config = self.module.config
        millions = sum(p.numel() for p in self.module.parameters()) / 1e6
        layers = config.get_text_config().num_hidden_layers
        return (
            f"{config.model_type}, {layers} layers, {millions:.1f}M parameters"
        )

    @property
    def heads(self) -> int:
        """How many heads there are: more than one are an ensemble."""
        if self.readout is not None:
            return 1
        return head_of(self.module).out_features

    def widen(self, heads: int, seed: int) -> None:
        """Give the network fresh heads: members of an ensemble that share the body."""
        widen_head(self.module, heads, seed)
        self.has_new_head = True

    def use_template(
        self, template: str | None, *, wanted: bool = True
    ) -> None:
        """Choose how prompt and text are joined.

        template: a text with two places, "chat" for the tokenizer's own template, or None for the
        default. wanted: raise UsageError where the tokenizer has no chat template; otherwise the
        default takes its place.
        """
        if template == CHAT and self.tokenizer.chat_template is None:
            if wanted:
                raise UsageError(
                    f"the tokenizer of {self.describe()} has no chat template. "
                    "Choose another --template, such as "
                    f"{TEMPLATE!r}, or leave it out."
                )
            template = None
        self.template = template or TEMPLATE

    def join(self, example: Example) -> str:
        """Return the text that the network reads."""
        if self.template == CHAT:
            return rendered(self.tokenizer, example)
        if self.template == PAIR:
            return joined(example)
        return joined(example, self.template)

    def inputs(self, example: Example) -> str | tuple[str, str]:
        """Return what the tokenizer is given: a text, or a pair of prompt and text."""
        if self.template == PAIR:
            if example.prompt is None:
                return example.text
            return plain(example.prompt), example.text
        return self.join(example)

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Return the examples as token ids, cut to what the network reads."""
        # calls of the tokenizer by others reset its cut
        set_cut(self.tokenizer, self.cut, self.max_length)
        texts = [self.inputs(example) for example in examples]
        return encode_texts(self.tokenizer, texts)

    def forward(self, batch: Batch) -> Tensor:
        """Return the scores of a batch [b], float32, with their gradient: the mean over heads."""
        return self.forward_heads(batch).mean(1)

    def forward_heads(self, batch: Batch) -> Tensor:
        """Return the scores of a batch by every head [b, heads], float32, with their gradient."""
        logits = scores(self.module, batch, self._token_types(batch))
        return logits if self.readout is None else self.readout(logits)

    @property
    def marks_pairs(self) -> bool:
        """Whether the second text of a pair is told to the network by its token types."""
        return self.template == PAIR and tells_pairs(self.tokenizer)

    def _token_types(self, batch: Batch) -> Tensor | None:
        return token_types(self.tokenizer, batch) if self.marks_pairs else None

    def forward_texts(
        self, texts: Sequence[TokenIds], batch_tokens: int
    ) -> tuple[Tensor, int]:
        """Return the scores of texts by every head [n, heads], and the places computed."""
        return scores_together(
            self.module,
            texts,
            pad_id=self.pad_id,
            batch_tokens=batch_tokens,
            token_types=self._token_types if self.marks_pairs else None,
        )

    @torch.inference_mode()
    def calibrate(self, examples: Sequence[Example]) -> None:
        """Measure the ranges of 8-bit products on some examples, for `score(precision="fast")`.

        To be called after training, with texts like those to be scored. Families without an int8
        form ignore it.
        """
        was_training = self.module.training
        self.module.eval()
        encoder = None if self.marks_pairs else parts_of(self.module)
        if encoder is not None and examples:
            stride = -(-len(examples) // _CALIBRATION_TEXTS)
            encoded = self.encode(examples[::stride])
            batches = []
            for ids in encoded.ids:
                batches.append(collate([ids], self.pad_id).to(self.device))
            self._ranges = watch(
                encoder,
                lambda watched: [
                    encode_parts(watched, batch) for batch in batches
                ],
            )
            self._small = None
        self.module.train(was_training)

    def score(
        self,
        examples: Sequence[Example],
        *,
        precision: ScoringChoice = "float32",
        batch_tokens: int | None = None,
    ) -> Scores:
        """Return the scores of examples, in order.

        A score depends on its text alone, not on the texts beside it. precision: the score contract
        is checked in float32; fast is the fastest format of this processor
        (`choose_scoring_precision`), int8 only after `calibrate`. batch_tokens: the size of a
        batch, which changes memory and time alone; None: a size for the device. Raises UsageError
        for a precision that this processor or network does not have.
        """
        was_training = self.module.training
        self.module.eval()
        if not batch_tokens:
            kind = self.device.type
            batch_tokens = _SCORING_TOKENS.get(kind, _SCORING_TOKENS_ELSEWHERE)
        parts = []
        try:
            score_texts = self._scoring(precision)
            for start in range(0, len(examples), _SCORED_AT_ONCE):
                part = examples[start : start + _SCORED_AT_ONCE]
                parts.append(self._score(part, score_texts, batch_tokens))
        finally:
            self.module.train(was_training)
        return Scores.cat(parts)

    @torch.inference_mode()
    def _score(
        self,
        examples: Sequence[Example],
        score_texts: _ScoreTexts,
        batch_tokens: int,
    ) -> Scores:
        encoded = self.encode(examples)
        values = torch.empty(len(encoded), self.heads, device=self.device)
        for chosen in by_length(encoded.lengths, batch_tokens):
            values[chosen] = score_texts([encoded.ids[i] for i in chosen])
        by_head = values.cpu().double().numpy()
        if by_head.shape[1] == 1:
            return Scores(by_head[:, 0], encoded.truncated)
        return Scores(by_head.mean(1), encoded.truncated, by_head.T)

    def _scoring(self, precision: ScoringChoice) -> _ScoreTexts:
        """Return the function that scores texts in a precision."""
        encoder = self._in_int8() if precision in ("int8", "fast") else None
        chosen = choose_scoring_precision(
            self.device, precision, has_int8=encoder is not None
        )
        if chosen == "int8" and encoder is not None:
            return lambda texts: encode_packed(encoder, texts)
        if chosen == "int8":
            raise UsageError(
                f"{self.describe()}: was not calibrated for int8, or has no int8 form. Choose fast."
            )
        if chosen == "bfloat16":
            text = self.encode([Example("A film.")]).ids[0]
            if takes_bfloat16(self.module, precision, text, self.pad_id):
                return self._in_bfloat16
        return self._in_float32

    def _in_float32(self, texts: list[TokenIds]) -> Tensor:
        return self.forward_heads(collate(texts, self.pad_id).to(self.device))

    def _in_bfloat16(self, texts: list[TokenIds]) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16):
            return self._in_float32(texts)

    def _in_int8(self) -> EncoderParts | None:
        """Return the encoder with 8-bit products; it is converted again when weights change."""
        encoder = parts_of(self.module)
        if (
            encoder is None
            or self._ranges is None
            or not gains_by_int8(self.device)
        ):
            return None
        weights = fingerprint_of(self.module)
        if self._small is None or self._small[0] != weights:
            self._small = (weights, in_int8(encoder, self._ranges))
        return self._small[1]

    def rescale(self, offset: float, scale: float) -> float:
        """Fold (s − offset)/scale into the head, so that every loader gives the new score, or into
        the readout. Returns the offset folded: 0 where the head has no bias, as with decoders.
        """
        if self.readout is not None:
            self.readout = self.readout.rescaled(offset, scale)
            return offset
        return rescale_head(head_of(self.module), offset, scale)
