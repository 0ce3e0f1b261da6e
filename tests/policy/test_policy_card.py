"""The card of a policy says what is known, and shows hostile names letter by letter."""

import re
from typing import Any

import pytest
from cards import HOSTILE, front_matter, html_of, rows_of

from tastemaker.gpt import policy_card

SIDE = {"documents": 12, "pieces": 13, "tokens": 1400, "bytes": 5000}
FIGURES = {
    "tokens": 2800,
    "steps": 7,
    "measured_tokens": 150,
    "perplexity": 12.3456,
    "byte_perplexity": 1.5,
    "ngram_perplexity": 20.0,
    "ngram_byte_perplexity": 1.75,
    "corpus": {"train": SIDE, "held_out": SIDE | {"tokens": 150}},
    "settings": {"start": "models/<b>gpt"},
}


def test_a_trained_policys_card_holds_its_figures() -> None:
    card = policy_card("GPT2LMHeadModel", 957184, 256, FIGURES)
    assert "GPT2LMHeadModel, 957,184 parameters" in card
    assert "reads and writes 256 tokens" in card
    assert rows_of(card, "## What it was trained on")[2:4] == [
        ["documents", "12"],
        ["tokens learned", "2,800 in 7 steps"],
    ]
    this, ngrams = rows_of(card, "## How well it foresees")[2:]
    assert this == ["this model", "12.35", "1.5"]
    assert ngrams[1:] == ["20", "1.75"]
    assert "gpt. It reads" in card
    assert "models" not in card, "where things lie on this disk is nobody's business"
    assert "<b>" not in card


@pytest.mark.parametrize("figures", [{}, {"settings": {"start": None}, "tokens": 5}])
def test_a_policy_of_unknown_training_has_a_card_without_figures(
    figures: dict[str, Any],
) -> None:
    card = policy_card("LlamaForCausalLM", 10, 64, figures)
    assert "held-out" not in card
    assert "AutoModelForCausalLM" in card


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_changes_nothing_but_itself(name: str) -> None:
    """A network's class and the folder that it began from are anyone's words."""
    start = name.rpartition("/")[2]
    hostile = policy_card(name, 957184, 256, FIGURES | {"settings": {"start": start}})
    plain = policy_card(
        "GPT2LMHeadModel", 957184, 256, FIGURES | {"settings": {"start": "gpt"}}
    )
    assert front_matter(hostile) == front_matter(plain)
    tags = re.compile(r"<[^>]*>")
    assert tags.findall(html_of(hostile)) == tags.findall(html_of(plain))
    assert hostile.count("\n") == plain.count("\n")
