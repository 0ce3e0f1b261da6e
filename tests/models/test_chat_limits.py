"""Chats and the length limit, and what is refused before it is trained.

A start of text is added by the tokenizer, by the chat template, by both or by neither.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from nano import nano
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

import tastemaker as tm
from tastemaker.data import Example, Message
from tastemaker.errors import DataError, ModelError
from tastemaker.reward import Network
from tests.shell import fails

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
START = "{{ bos_token }}"
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}"
    "{% endif %}"
)
ASKED = (Message("user", "How was it?"),)
LIMIT = 100
CORPUS = [f"a {word} film with a {word} end" for word in ("good", "bad", "long")]


def make_tokenizer(*, adds_start: bool) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    if adds_start:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
        )
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **ends)


def make_model(folder: Path, *, adds_start: bool, template: str) -> str:
    """Write a Llama of two layers; return its folder."""
    tokenizer = make_tokenizer(adds_start=adds_start)
    tokenizer.chat_template = template
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


TRAITS = pytest.mark.parametrize("adds_start", [True, False])
TEMPLATES = pytest.mark.parametrize("template", [START + TURNS, TURNS])


@TRAITS
@TEMPLATES
def test_a_chat_is_cut_at_the_limit(
    adds_start: bool, template: str, tmp_path: Path
) -> None:
    source = make_model(tmp_path, adds_start=adds_start, template=template)
    network = Network.open(source, max_length=LIMIT)
    network.use_template("chat")
    long, short = Example("good film " * 200, ASKED), Example("good", ASKED)
    encoded = network.encode([short, long, short])
    assert encoded.truncated.tolist() == [False, True, False]
    assert encoded.lengths[1] == LIMIT
    has_start = adds_start or template.startswith(START)
    assert encoded.ids[0].tolist().count(0) == int(has_start)
    assert network.tokenizer.backend_tokenizer.truncation["max_length"] == LIMIT


GEMMA = (
    "{{ bos_token }}{% set first = '' %}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content %}{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{% if loop.first %}{{ first }}{% endif %}"
    "{{ m.content | trim }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
DATED = START + "{{ strftime_now('%d %b %Y') }}" + TURNS
TOOLS = START + "{% if tools is defined and tools %}{{ tools }}{% endif %}" + TURNS
NAMED = [
    {"name": "default", "template": START + TURNS},
    {"name": "tool_use", "template": TURNS},
]


def ends_are_added(tokenizer: PreTrainedTokenizerFast) -> None:
    both = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ENDS
    )
    tokenizer.backend_tokenizer.post_processor = both


def only_an_end_is_added(tokenizer: PreTrainedTokenizerFast) -> None:
    end = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=ENDS
    )
    tokenizer.backend_tokenizer.post_processor = end


def was_saved_with_a_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.backend_tokenizer.enable_truncation(12)
    tokenizer.backend_tokenizer.enable_padding(length=200)


def cuts_on_the_right(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.truncation_side = "right"
    tokenizer.model_max_length = 110


def has_no_filler(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.pad_token = None


ENDS = [("<s>", 0), ("</s>", 1)]
TEN: dict[str, tuple[Any, Any, int]] = {
    "start and end": (START + TURNS, ends_are_added, 1),
    "an end alone": (TURNS, only_an_end_is_added, 0),
    "saved with a cut": (START + TURNS, was_saved_with_a_cut, 1),
    "cuts on the right": (START + TURNS, cuts_on_the_right, 1),
    "no filler": (START + TURNS, has_no_filler, 1),
    "Gemma": (GEMMA, None, 1),
    "a date": (DATED, None, 1),
    "tools": (TOOLS, None, 1),
    "several templates": (NAMED, None, 1),
    "text between turns": ("Chat:\n" + TURNS, None, 1),
}


@pytest.mark.parametrize("case", TEN)
def test_ten_more_tokenizers_keep_the_limit(case: str, tmp_path: Path) -> None:
    template, change, starts = TEN[case]
    adds_start = change is not only_an_end_is_added
    tokenizer = make_tokenizer(adds_start=adds_start)
    tokenizer.chat_template = template
    if change is not None:
        change(tokenizer)
    source = make_model(tmp_path, adds_start=True, template=TURNS)
    tokenizer.save_pretrained(source)
    network = Network.open(source, max_length=LIMIT)
    network.use_template("chat")
    limit = network.max_length
    turns = (Message("system", "Be brief."), *ASKED)
    long, short = Example("good film " * 200, turns), Example("good", ASKED)
    encoded = network.encode([short, long, short])
    assert encoded.truncated.tolist() == [False, True, False]
    assert encoded.lengths[1] == limit <= LIMIT
    assert encoded.ids[0].tolist().count(0) == starts
    assert encoded.ids[0].tolist() == encoded.ids[2].tolist()
    # the end of a text is kept, alone as in a batch
    alone = network.encode([long])
    assert alone.ids[0].tolist() == encoded.ids[1].tolist()
    end = network.tokenizer.decode(alone.ids[0][-20:])
    assert "good film good film" in end


def test_a_gpt_of_chats_keeps_the_limit(tmp_path: Path) -> None:
    chats = ["good film", "bad film"] * 20
    nano(chats, chats=True).save(tmp_path / "gpt")
    network = Network.open(str(tmp_path / "gpt"), max_length=20)
    network.use_template("chat")
    encoded = network.encode([Example("good film " * 50, ASKED)])
    assert encoded.lengths[0] == 20
    assert encoded.truncated.tolist() == [True]


@TRAITS
@TEMPLATES
def test_a_model_of_chats_is_saved_and_scores_the_same(
    adds_start: bool, template: str, tmp_path: Path
) -> None:
    source = make_model(tmp_path / "base", adds_start=adds_start, template=template)
    chats = comparisons(12)
    model = tm.fit(chats, backbone=source, epochs=1, out=tmp_path / "model")
    texts = [Example("good film " * 200, ASKED), Example("bad", ASKED)]
    again = tm.load(tmp_path / "model")
    assert again.backbone.template == "chat"
    expected = model.backbone.score(texts).values
    assert again.backbone.score(texts).values == pytest.approx(expected, abs=1e-4)


def comparisons(count: int, *turns: Message) -> list[Any]:
    return [
        tm.Comparison(
            f"good film {number}", f"bad film {number}", prompt=(*turns, *ASKED)
        )
        for number in range(count)
    ]


def test_a_chat_that_the_template_refuses_is_one_line(tmp_path: Path) -> None:
    template = NO_SYSTEM + TURNS
    source = make_model(tmp_path / "base", adds_start=True, template=template)
    chats = comparisons(8, Message("system", "Be brief."))
    with pytest.raises(DataError, match=r"system, user.*no system turns") as refused:
        tm.fit(chats, backbone=source, epochs=1, out=tmp_path / "model")
    assert "Be brief." in str(refused.value)


def test_a_refused_role_is_one_line_of_the_shell(tmp_path: Path, run: Any) -> None:
    source = make_model(tmp_path / "base", adds_start=True, template=NO_SYSTEM + TURNS)
    system = {"role": "system", "content": "Be brief."}
    lines = []
    for number in range(12):
        chat = [system, {"role": "user", "content": f"Film {number}?"}]
        row = {"prompt": chat, "chosen": f"good {number}", "rejected": f"bad {number}"}
        lines.append(json.dumps(row) + "\n")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(lines))
    out = tmp_path / "model"
    fails(
        run("fit", rows, "--backbone", source, "--out", out, "--quiet"),
        *("the chat template refuses", "system, user", "no system turns"),
    )
    assert not (out / "config.json").exists()


def encoder_decoder(folder: Path, *, adds_end: bool) -> str:
    """Save a drawn T5. adds_end: whether its tokenizer writes the end that the head reads."""
    tokenizer = make_tokenizer(adds_start=False)
    if adds_end:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
        )
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_what_cannot_be_saved_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    source = encoder_decoder(tmp_path / "base", adds_end=False)
    out = tmp_path / "model"
    with pytest.raises(ModelError, match="cannot score texts"):
        tm.fit(comparisons(12), backbone=source, epochs=1, out=out)
    assert not list(tmp_path.rglob("metrics.jsonl"))
    assert [path.name for path in tmp_path.iterdir() if path.name != "model"] == [
        "base"
    ]


def test_an_encoder_decoder_whose_texts_end_is_fitted(tmp_path: Path) -> None:
    source = encoder_decoder(tmp_path / "base", adds_end=True)
    out = tmp_path / "model"
    model = tm.fit(comparisons(12), backbone=source, epochs=1, out=out)
    assert tm.load(out).score("good film") == pytest.approx(model.score("good film"))
