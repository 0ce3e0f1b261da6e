"""Every end that a model's makers name ends a completion, and stays in the saved folder."""

import json
from pathlib import Path
from typing import Any

import torch
from architectures import ENDS, llama

from tastemaker.gpt import Policy, Sampling, make_tokenizer


def policy_of(folder: Path, ends: Any, template: str | None = None) -> Policy:
    """Return a Llama whose generation_config.json names several ends."""
    texts = ["a warm and clever film", "a dull and grey film"] * 4
    tokenizer = make_tokenizer(texts, vocabulary=280, context=24)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    if template is not None:
        tokenizer.chat_template = template
    size = {
        **ENDS,
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
    }
    module = llama(**size, max_position_embeddings=24)
    module.generation_config.eos_token_id = ends(tokenizer)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Policy.load(folder)


def test_each_end_of_the_generation_config_ends_a_completion(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path / "gpt", lambda t: [t.eos_token_id, t.convert_tokens_to_ids("<turn>")]
    )
    turn = policy.tokenizer.convert_tokens_to_ids("<turn>")
    assert policy.reader.ends == {policy.reader.end, turn}
    with torch.no_grad():
        policy.module.lm_head.weight.zero_()
        policy.module.lm_head.weight[turn] = policy.module.model.norm.weight
    greedy = Sampling(temperature=0, max_tokens=5)
    assert greedy.top_k == 1
    written = [policy.complete(p, sampling=greedy)[0] for p in ("warm", "dull", "a")]
    for completion in written:
        if turn in completion.ids:
            assert completion.ids[-1] == turn
            assert completion.ended == "end"
    assert any(turn in completion.ids for completion in written)
    policy.save(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "generation_config.json").read_text())
    assert set(config["eos_token_id"]) == {policy.reader.end, turn}


def test_the_end_of_an_answer_is_what_the_template_writes(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.role ~ ':' ~ m.content ~ '<turn>\n' }}{% endfor %}"
    )
    policy = policy_of(tmp_path / "gpt", lambda t: t.eos_token_id, template)
    turn = policy.tokenizer.convert_tokens_to_ids("<turn>")
    assert policy.reader.turn_end == turn
    assert policy.reader.ends == {policy.reader.end}
    policy.end_at(policy.reader.turn_end)
    assert policy.reader.ends == {policy.reader.end, turn}
    policy.save(tmp_path / "again")
    assert Policy.load(tmp_path / "again").reader.ends == {policy.reader.end, turn}
