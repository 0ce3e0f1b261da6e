"""The card of a policy says what is known, and shows hostile names letter by letter."""

from typing import Any

import pytest

from tastemaker.models.policy.card import policy_card

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
    assert "| documents | 12 |" in card
    assert "| tokens learned | 2,800 in 7 steps |" in card
    assert "| this model | 12.35 | 1.5 |" in card
    assert "of the same tokens | 20 | 1.75 |" in card
    assert "gpt. It reads" in card
    assert "models" not in card, "where things lie on this disk is nobody's business"
    assert "<b>" not in card


@pytest.mark.parametrize("figures", [{}, {"settings": {"start": None}, "tokens": 5}])
def test_a_policy_of_unknown_training_has_a_card_without_figures(figures: dict[str, Any]) -> None:
    card = policy_card("LlamaForCausalLM", 10, 64, figures)
    assert "held-out" not in card
    assert "AutoModelForCausalLM" in card
