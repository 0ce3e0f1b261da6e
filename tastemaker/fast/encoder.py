"""A faster forward pass of BERT, RoBERTa and DistilBERT classifiers, with the same numbers.

The families differ in names, embedding and pooling. Their layers are the same post-norm transformer
layer, so one `EncoderParts` holds the parts of any of them. `int8.py` replaces some of them by
8-bit products; the network itself does not change.

The score depends on the first token alone, so the last layer is computed for that token only. Its
keys and values need all tokens. A batch without padding needs no attention mask.

`encode` reads a padded batch. `encode_packed` reads texts end to end in one row of tokens: linear
layers and norms see one long row, and attention sees texts of equal length together. A CPU trains
and scores in 8 bits this way. A GPU is faster with one padded call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.utils.checkpoint import checkpoint

from tastemaker.errors import UsageError
from tastemaker.fast.batching import Batch, by_length, collate
from tastemaker.fast.processor import attention
from tastemaker.fast.support import supports

Part = Callable[[Tensor], Tensor]
"""A map of the last dimension: a linear layer, a norm, an activation."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Multi-head attention: queries, keys and values → mixed values, heads side by side in the last
dimension.
"""


def same(values: Tensor) -> Tensor:
    """Return the values as they are."""
    return values


@dataclass(frozen=True, slots=True)
class FeedForward:
    """widen: d → 4d; activation; narrow: 4d → d."""

    widen: Part
    activation: Part
    narrow: Part

    def __call__(self, states: Tensor) -> Tensor:
        """Return narrow(activation(widen(states)))."""
        return self.narrow(self.activation(self.widen(states)))


@dataclass(frozen=True, slots=True)
class EncoderLayer:
    """One post-norm transformer layer of width d.

    query, key, value read what `enter` makes of the layer's input; out: d → d; feed_forward: d → d.
    """

    query: Part
    key: Part
    value: Part
    out: Part
    attention_norm: Part
    feed_forward: Part
    output_norm: Part
    enter: Part = same

    def __call__(
        self, states: Tensor, attend: Attend, pick: Part = same
    ) -> Tensor:
        """Return the layer's output for the tokens that `pick` selects. All are attended to."""
        entering = self.enter(states)
        mixed = attend(
            self.query(pick(entering)),
            self.key(entering),
            self.value(entering),
        )
        attended = self.attention_norm(self.out(mixed) + pick(states))
        output: Tensor = self.output_norm(
            self.feed_forward(attended) + attended
        )
        return output


@dataclass(frozen=True, slots=True)
class EncoderParts:
    """A stack of layers between an embedding and a head.

    embed: ids and positions (None: counted from the left), both [b, t] → [b, t, d].
    head: first tokens [b, 1, d] → [b, heads].
    """

    embed: Callable[[Tensor, Tensor | None], Tensor]
    layers: tuple[EncoderLayer, ...]
    heads: int
    head: Part


def _bert_layer(layer: Any) -> EncoderLayer:
    attention = layer.attention
    output = layer.output
    return EncoderLayer(
        query=attention.self.query,
        key=attention.self.key,
        value=attention.self.value,
        out=attention.output.dense,
        attention_norm=attention.output.LayerNorm,
        feed_forward=FeedForward(
            layer.intermediate.dense,
            layer.intermediate.intermediate_act_fn,
            output.dense,
        ),
        output_norm=output.LayerNorm,
    )


def _bert(module: Any) -> EncoderParts:
    base = module.bert
    return EncoderParts(
        embed=lambda ids, positions: base.embeddings(
            input_ids=ids, position_ids=positions
        ),
        layers=tuple(_bert_layer(layer) for layer in base.encoder.layer),
        heads=module.config.num_attention_heads,
        head=lambda first: module.classifier(base.pooler(first)),
    )


def _roberta(module: Any) -> EncoderParts:
    base = module.roberta

    def embed(ids: Tensor, positions: Tensor | None) -> Tensor:
        # RoBERTa counts from the padding id + 1. Given no positions it does so itself, on whichever
        # side the padding is.
        if positions is not None:
            positions = positions + base.embeddings.padding_idx + 1
        embedded: Tensor = base.embeddings(
            input_ids=ids, position_ids=positions
        )
        return embedded

    return EncoderParts(
        embed=embed,
        layers=tuple(_bert_layer(layer) for layer in base.encoder.layer),
        heads=module.config.num_attention_heads,
        head=module.classifier,
    )


def _distilbert_layer(layer: Any) -> EncoderLayer:
    return EncoderLayer(
        query=layer.attention.q_lin,
        key=layer.attention.k_lin,
        value=layer.attention.v_lin,
        out=layer.attention.out_lin,
        attention_norm=layer.sa_layer_norm,
        feed_forward=FeedForward(
            layer.ffn.lin1, layer.ffn.activation, layer.ffn.lin2
        ),
        output_norm=layer.output_layer_norm,
    )


def _distilbert(module: Any) -> EncoderParts:
    base = module.distilbert
    return EncoderParts(
        embed=lambda ids, positions: base.embeddings(
            ids, position_ids=positions
        ),
        layers=tuple(
            _distilbert_layer(layer) for layer in base.transformer.layer
        ),
        heads=module.config.n_heads,
        head=lambda first: module.classifier(
            relu(module.pre_classifier(first[:, 0]))
        ),
    )


_FAMILIES: dict[str, Callable[[Any], EncoderParts]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "distilbert": _distilbert,
}


def parts_of(module: Any) -> EncoderParts | None:
    """Return the parts of a sequence classifier; None for one that our passes do not support."""
    family = _FAMILIES.get(module.config.model_type)
    return family(module) if family is not None and supports(module) else None


def scores(
    module: nn.Module, batch: Batch, token_types: Tensor | None = None
) -> Tensor:
    """Return `module(input_ids, attention_mask).logits`, float32 [b, heads], with gradients.

    Values agree to the last digits. module: a transformers sequence classifier. The padding may be
    on either side: the first token of each text is located, while transformers' encoders always
    read column 0. token_types: [b, t], of a model that reads pairs; None: all are 0.
    """
    encoder = parts_of(module) if token_types is None else None
    return (
        _own_forward(module, batch, token_types)
        if encoder is None
        else encode(encoder, batch)
    )


def encode(encoder: EncoderParts, batch: Batch) -> Tensor:
    """Return the scores of a batch [b, heads], float32, computed from an encoder's parts."""
    is_key = None if batch.is_full else batch.is_text[:, None, None, :]

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (
            x.view(*x.shape[:2], encoder.heads, -1).transpose(1, 2)
            for x in (query, key, value)
        )
        return attention(q, k, v, is_key=is_key).transpose(1, 2).flatten(2)

    states = encoder.embed(
        batch.ids, None if batch.side == "right" else batch.positions
    )
    for layer in encoder.layers[:-1]:
        states = layer(states, attend)
    first = encoder.layers[-1](
        states, attend, lambda x: _first_tokens(batch, x)
    )
    return encoder.head(first).float()


def _first_tokens(batch: Batch, states: Tensor) -> Tensor:
    """Return the states of the texts' first tokens [b, 1, d], wherever the padding stands."""
    if batch.side == "right" or batch.is_full:
        return states[:, :1]
    starts = batch.is_text.int().argmax(1)
    return states[
        torch.arange(len(starts), device=starts.device), starts
    ].unsqueeze(1)


def _own_forward(
    module: nn.Module, batch: Batch, token_types: Tensor | None = None
) -> Tensor:
    more = {} if batch.side == "right" else {"position_ids": batch.positions}
    if token_types is not None:
        more["token_type_ids"] = token_types
    logits: Tensor = module(
        input_ids=batch.ids, attention_mask=batch.is_text.long(), **more
    ).logits
    return logits.float()


TokenIds = Sequence[int] | NDArray[np.int32]


def encode_packed(encoder: EncoderParts, texts: Sequence[TokenIds]) -> Tensor:
    """Return the scores [n, heads], float32, of n texts as token ids.

    Texts of equal length should be neighbours: they are attended to together.
    """
    lengths = [len(ids) for ids in texts]
    ids = torch.from_numpy(
        np.concatenate([np.asarray(ids, dtype=np.int64) for ids in texts])
    )
    starts = torch.tensor([0, *lengths[:-1]]).cumsum(0)
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    positions = torch.cat(
        [torch.arange(length).repeat(count) for length, count in runs]
    )

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return _attend(encoder.heads, runs, query, key, value)

    states = encoder.embed(ids[None], positions[None])
    for layer in encoder.layers[:-1]:
        states = layer(states, attend)
    first = encoder.layers[-1](states, attend, lambda x: x[:, starts])
    return encoder.head(first.transpose(0, 1)).float()


def _attend(
    heads: int,
    runs: list[tuple[int, int]],
    query: Tensor,
    key: Tensor,
    value: Tensor,
) -> Tensor:
    """Attend within each text. runs: length and number of the texts. query: of all tokens, or of
    the first ones.
    """
    counts = [count for _, count in runs]
    tokens = [length * count for length, count in runs]
    asking = tokens if query.shape[1] == key.shape[1] else counts
    parts = (
        torch.split(x[0], sizes)
        for x, sizes in ((query, asking), (key, tokens), (value, tokens))
    )
    mixed = []
    for count, *run in zip(counts, *parts, strict=True):
        q, k, v = (
            x.view(count, -1, heads, x.shape[-1] // heads).transpose(1, 2)
            for x in run
        )
        mixed.append(
            attention(q, k, v).transpose(1, 2).reshape(-1, query.shape[-1])
        )
    return torch.cat(mixed)[None]


_MOST_PADDING = 0.05


def scores_together(
    module: Any,
    texts: Sequence[TokenIds],
    *,
    pad_id: int,
    batch_tokens: int,
    token_types: Callable[[Batch], Tensor | None] | None = None,
) -> tuple[Tensor, int]:
    """Return the scores of texts [n, heads] and the number of tokens computed, padding included.

    The scores are float32 and have gradients. module: a transformers sequence classifier. On a CPU
    all texts are one pass, end to end, so the fixed cost of a pass, such as the gradient of all
    embeddings, is paid once. On a GPU, and for a module that needs its own forward pass, they are
    batches of similar length, of `batch_tokens` at most. token_types: gives those of a batch, for a
    model that reads pairs.

    Texts that are judged together may have more tokens than `batch_tokens`. Then gradients are
    cached (Gao et al. 2021): the parts are computed without a graph, and once more, one after the
    other, in the backward pass. The gradients are the same.
    """
    lengths = [len(ids) for ids in texts]
    is_packed = module.device.type == "cpu" and token_types is None
    encoder = parts_of(module) if is_packed else None
    is_too_large = torch.is_grad_enabled() and sum(lengths) > batch_tokens
    if encoder is not None and not is_too_large:
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        rows = encode_packed(encoder, [texts[i] for i in order])
        return _put_back(rows, order), sum(lengths)
    parts = []
    order = list[int]()
    places = 0
    for chosen in by_length(lengths, batch_tokens, most_padding=_MOST_PADDING):
        batch = collate([texts[i] for i in chosen], pad_id).to(module.device)
        types = None if token_types is None else token_types(batch)
        if is_too_large:
            rows = checkpoint(
                scores, module, batch, types, use_reentrant=False
            )
        else:
            rows = scores(module, batch, types)
        parts.append(rows)
        order += chosen
        places += batch.ids.numel()
    return _put_back(torch.cat(parts), order), places


def takes_bfloat16(
    module: Any, choice: str, text: TokenIds, pad_id: int
) -> bool:
    """Return whether a network can compute under autocast to bfloat16.

    DeBERTa (version 1) cannot: it fills scores of bfloat16 with the least number of float32.
    choice: the precision that the user chose. text: one that the network can read. Raises
    UsageError where the choice is bfloat16 and the network cannot.
    """
    if parts_of(module) is not None:
        return True
    batch = collate([text], pad_id).to(module.device)
    was_training = module.training
    module.eval()
    try:
        with (
            torch.no_grad(),
            torch.autocast(module.device.type, torch.bfloat16),
        ):
            _own_forward(module, batch)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if choice != "bfloat16":
            return False
        raise UsageError(
            f"{type(module).__name__} cannot compute in bfloat16 ({error}). Choose the precision "
            "float32."
        ) from error
    finally:
        module.train(was_training)
    return True


def _put_back(rows: Tensor, order: list[int]) -> Tensor:
    """Return the rows where they came from: row i of `rows` is that of number order[i]."""
    return rows[torch.tensor(order, device=rows.device).argsort()]
