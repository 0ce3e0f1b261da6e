"""An encoder by its parts: what BERT, RoBERTa and DistilBERT have in common, whatever they call it.

The families differ in names and in how they embed and pool; between the two stands the same post-norm transformer
layer. Whoever wants to compute it another way (less work in `forward.py`, 8-bit products in `int8.py`) reads the parts
here and keeps the network as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import relu

Part = Callable[[Tensor], Tensor]
"""A map of the last dimension: a linear layer, a norm, an activation."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Multi-head attention: queries, keys and values → mixed values, heads side by side in the last dimension."""


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
class Layer:
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

    def __call__(self, states: Tensor, attend: Attend, pick: Part = same) -> Tensor:
        """Return the layer's output for the tokens that `pick` takes of `states`; all are attended to."""
        entering = self.enter(states)
        mixed = attend(self.query(pick(entering)), self.key(entering), self.value(entering))
        attended = self.attention_norm(self.out(mixed) + pick(states))
        output: Tensor = self.output_norm(self.feed_forward(attended) + attended)
        return output


@dataclass(frozen=True, slots=True)
class Encoder:
    """A stack of layers between an embedding and a head.

    embed: ids and positions (None: counted from the left), both [b, t] → [b, t, d].
    head: first tokens [b, 1, d] → [b, heads].
    """

    embed: Callable[[Tensor, Tensor | None], Tensor]
    layers: tuple[Layer, ...]
    heads: int
    head: Part


def _bert_layer(layer: Any) -> Layer:
    attention, output = layer.attention, layer.output
    return Layer(
        query=attention.self.query,
        key=attention.self.key,
        value=attention.self.value,
        out=attention.output.dense,
        attention_norm=attention.output.LayerNorm,
        feed_forward=FeedForward(layer.intermediate.dense, layer.intermediate.intermediate_act_fn, output.dense),
        output_norm=output.LayerNorm,
    )


def _bert(module: Any) -> Encoder:
    base = module.bert
    return Encoder(
        embed=lambda ids, positions: base.embeddings(input_ids=ids, position_ids=positions),
        layers=tuple(_bert_layer(layer) for layer in base.encoder.layer),
        heads=module.config.num_attention_heads,
        head=lambda first: module.classifier(base.pooler(first)),
    )


def _roberta(module: Any) -> Encoder:
    base = module.roberta
    return Encoder(
        embed=lambda ids, positions: base.embeddings(
            input_ids=ids,
            # RoBERTa counts from the padding id + 1; left to itself it does so too, wherever the padding stands
            position_ids=None if positions is None else positions + base.embeddings.padding_idx + 1,
        ),
        layers=tuple(_bert_layer(layer) for layer in base.encoder.layer),
        heads=module.config.num_attention_heads,
        head=module.classifier,
    )


def _distilbert_layer(layer: Any) -> Layer:
    return Layer(
        query=layer.attention.q_lin,
        key=layer.attention.k_lin,
        value=layer.attention.v_lin,
        out=layer.attention.out_lin,
        attention_norm=layer.sa_layer_norm,
        feed_forward=FeedForward(layer.ffn.lin1, layer.ffn.activation, layer.ffn.lin2),
        output_norm=layer.output_layer_norm,
    )


def _distilbert(module: Any) -> Encoder:
    base = module.distilbert
    return Encoder(
        embed=lambda ids, positions: base.embeddings(ids, position_ids=positions),
        layers=tuple(_distilbert_layer(layer) for layer in base.transformer.layer),
        heads=module.config.n_heads,
        head=lambda first: module.classifier(relu(module.pre_classifier(first[:, 0]))),
    )


_FAMILIES: dict[str, Callable[[nn.Module], Encoder]] = {
    "transformers.models.bert.modeling_bert.BertForSequenceClassification": _bert,
    "transformers.models.roberta.modeling_roberta.RobertaForSequenceClassification": _roberta,
    "transformers.models.xlm_roberta.modeling_xlm_roberta.XLMRobertaForSequenceClassification": _roberta,
    "transformers.models.distilbert.modeling_distilbert.DistilBertForSequenceClassification": _distilbert,
}
"""By the class's full name: to know a family must not cost the import of all the others."""


def parts_of(module: nn.Module) -> Encoder | None:
    """Return the parts of a sequence classifier, or None for a family that is not known here."""
    family = _FAMILIES.get(f"{type(module).__module__}.{type(module).__qualname__}")
    if family is None or getattr(module.config, "is_decoder", False):
        return None
    return family(module)
