"""How a policy draws when nobody says how: as the folder's generation_config.json recommends."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, GenerationConfig

from tastemaker.errors import ModelError
from tastemaker.gpt import Policy, Sampling, recommended

PLAIN = Sampling()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {
                "do_sample": True,
                "temperature": 0.7,
                "top_k": 20,
                "top_p": 0.8,
                "repetition_penalty": 1.05,
            },
            None,
        ),
        ({"do_sample": True}, PLAIN),
        ({"do_sample": False}, PLAIN),
        ({}, PLAIN),
    ],
)
def test_a_model_is_drawn_from_as_its_makers_say(
    config: dict[str, Any], expected: Sampling | None
) -> None:
    whole = Sampling(temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.05)
    assert recommended(GenerationConfig(**config)) == (expected or whole)


def test_a_model_that_does_not_draw_recommends_nothing() -> None:
    """Left-over values count only where the folder says that it samples, as in transformers."""
    config = GenerationConfig(do_sample=False)
    config.temperature = 0.7
    assert recommended(config) == PLAIN


def test_a_recommendation_that_cannot_be_is_named_with_its_file() -> None:
    config = GenerationConfig(do_sample=True)
    config.min_p = 3.0
    with pytest.raises(ModelError, match=r"^generation_config\.json: min_p 3\b"):
        recommended(config)


def test_a_given_sampling_is_taken_whatever_is_recommended(fresh: Policy) -> None:
    fresh.module.generation_config.min_p = 3.0
    with pytest.raises(ModelError, match=r"^generation_config\.json: min_p 3\b"):
        fresh.complete("A")
    [completion] = fresh.complete("A", sampling=Sampling(max_tokens=2))
    assert len(completion.ids) == 2


def test_a_gpt_made_here_recommends_to_leave_out_what_is_hardly_possible(
    fresh: Policy, tmp_path: Path
) -> None:
    fresh.save(tmp_path)
    assert (
        json.loads((tmp_path / "generation_config.json").read_text())["min_p"] == 0.03
    )
    assert AutoModelForCausalLM.from_pretrained(tmp_path).generation_config.do_sample
    assert Policy.load(tmp_path).sampling == Sampling(min_p=0.03)


def test_complete_and_write_follow_it_unless_told_otherwise(
    fresh: Policy, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """A GPT that knows nothing yet finds hundreds of tokens alike; top_k 1 in its folder leaves
    one.
    """
    fresh.module.generation_config.top_k = 1
    fresh.save(tmp_path)
    policy = Policy.load(tmp_path)
    likeliest = replace(policy.sampling, max_tokens=8)
    assert likeliest.top_k == 1
    assert {c.ids for c in policy.complete("a", samples=4)} == {
        policy.complete("a")[0].ids
    }
    asked = ("write", str(tmp_path), "a", "-n", "4", "--max-tokens", "8", "--json")
    followed = json.loads(run(*asked)[1])["completions"]
    assert followed == [policy.complete("a", sampling=likeliest)[0].text] * 4
    assert (
        len(
            set(
                json.loads(run(*asked, "--top-k", "0", "--min-p", "0")[1])[
                    "completions"
                ]
            )
        )
        == 4
    )
