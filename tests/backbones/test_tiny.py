"""A small network made from the texts at hand: any language, the same bits for the same seed."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tastemaker.data import Example
from tastemaker.errors import DataError
from tastemaker.reward import Network, make_tiny

TEXTS = [
    "The film is warm and clever.",
    "这部电影很好看。",
    "Dull, grey and endless: 2/10!",
    "剧情让人失望。",
] * 10
SAMPLES = [
    Example(text)
    for text in (
        "warm",
        "很好看 🙂",
        "ñandú ½",
        "never seen: Ωμέγα",
        "   ",
        "a" * 10_000,
    )
]


def test_the_same_seed_gives_the_same_bits():
    first, again = (make_tiny(TEXTS, vocabulary=320, seed=3) for _ in range(2))
    assert first.tokenizer.get_vocab() == again.tokenizer.get_vocab()
    for a, b in zip(first.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(a, b)
    other = make_tiny(TEXTS, vocabulary=320, seed=4)
    assert not np.array_equal(first.score(SAMPLES).values, other.score(SAMPLES).values)


@pytest.mark.slow
def test_another_process_gives_the_same_bits():
    code = (
        "from tastemaker.data import Example; from tastemaker.reward import "
        "make_tiny;"
        f"n = make_tiny({TEXTS!r}, vocabulary=320); print(n.score([Example('warm "
        "很好看')]).values[0].hex())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    here = (
        make_tiny(TEXTS, vocabulary=320).score([Example("warm 很好看")]).values[0].hex()
    )
    assert there.stdout == here + "\n"


def test_every_text_has_tokens_and_none_is_unknown():
    network = make_tiny(TEXTS, vocabulary=320)
    tokenizer = network.tokenizer
    for example, ids in zip(SAMPLES[:4], network.encode(SAMPLES[:4]).ids, strict=True):
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == example.text


def test_words_of_the_texts_become_tokens_in_any_language():
    network = make_tiny(TEXTS, vocabulary=400)
    long, short = (
        len(network.encode([Example(text)]).ids[0]) for text in ("Ωμέγα", "电影很好看")
    )
    assert short < 2 + 15  # 5 characters of 3 bytes each, of which some were merged
    assert long == 2 + 11  # never seen: a space and 10 bytes


def test_saving_keeps_network_and_tokenizer(tmp_path):
    network = make_tiny(TEXTS, vocabulary=320, max_length=40)
    network.save(tmp_path)
    loaded = Network.load(tmp_path)
    before, after = network.score(SAMPLES), loaded.score(SAMPLES)
    assert np.array_equal(before.values, after.values)
    assert before.truncated.tolist() == [False] * 5 + [True]
    assert loaded.max_length == 40


def test_its_size():
    network = make_tiny(TEXTS, vocabulary=320)
    assert network.describe().startswith("bert, 2 layers, 0.5M")
    assert len(network.tokenizer) <= 320


def test_it_learns(tmp_path):
    texts = [f"{word} film number {n}" for n in range(8) for word in ("warm", "dull")]
    network = make_tiny(texts, vocabulary=300, max_length=16)
    ids = network.encode([Example(text) for text in texts]).ids
    from tastemaker.fast import collate

    batch, target = collate(ids, network.pad_id), torch.tensor([1.0, 0.0] * 8)
    optimizer = torch.optim.AdamW(network.module.parameters(), lr=1e-3)
    for _ in range(40):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            network.forward(batch), target
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_no_texts_are_refused():
    with pytest.raises(DataError, match="no texts"):
        make_tiny([])
