"""QLoRA: adapters learn beside weights of 4 bits; what is saved has full precision.

bitsandbytes is an extra that the lock does not hold: without it most of these tests skip.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import tastemaker as tm
from tastemaker.adapters import Lora, is_quantised
from tastemaker.fast import supports
from tastemaker.gpt import Policy
from tastemaker.reward import Network, fit_memory
from tests.models.test_adopted import TEXTS, judged, labels_file, reward_model
from tests.shell import fails

pytest.importorskip("peft")
RANK = 2
FOUR = Lora(RANK, quantize="4bit")
needs = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="the extra `qlora` is not installed"
)
# of bitsandbytes and of transformers
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama with a trained head; wide enough for blocks of 64 weights."""
    folder = tmp_path_factory.mktemp("qlora") / "base"
    return reward_model(folder, hidden_size=64, intermediate_size=128)


@pytest.fixture(scope="module")
def gpt(base: Path) -> Path:
    """The body of the same Llama as a language model."""
    folder = base.with_name("without-end")
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_pretrained(base)
    module.save_pretrained(folder)
    Network.open(str(base), max_length=32).tokenizer.save_pretrained(folder)
    Policy.load(folder).save(base.with_name("gpt"))  # with a token that ends texts
    return base.with_name("gpt")


@pytest.mark.skipif(
    find_spec("bitsandbytes") is not None, reason="the extra `qlora` is installed"
)
def test_without_the_package_it_is_one_line(
    base: Path, gpt: Path, tmp_path: Path, run: Any
) -> None:
    four = ("--lora", RANK, "--quantize", "4bit", "--quiet", "--out", tmp_path / "out")
    data = labels_file(tmp_path)
    for words in (
        ("fit", data, "--backbone", base),
        ("fit", data, "--backbone", base, "--dry-run"),
        ("pretrain", data, "--from", gpt),
        ("steer", gpt, "--reward", "length"),
    ):
        fails(run(*words, *four), "pip install '.[qlora]'")
        assert not (tmp_path / "out" / "config.json").exists()


def test_4_bits_without_adapters_are_one_line(
    base: Path, tmp_path: Path, run: Any
) -> None:
    words = (
        "fit",
        labels_file(tmp_path),
        "--backbone",
        base,
        "--out",
        tmp_path / "out",
    )
    fails(run(*words, "--quantize", "4bit", "--quiet"), "do not learn", "--lora 16")


@needs
def test_a_fit_is_saved_in_full_precision(base: Path, tmp_path: Path) -> None:
    encoder = tm.Encoder(
        str(base), max_length=32, cut="right", lora=RANK, quantize="4bit"
    )
    out = tmp_path / "out"
    model = tm.fit(judged(), backbone=encoder, training={"lr": 1e-2}, epochs=1, out=out)
    before, after = (load_file(f / "model.safetensors") for f in (base, out))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        change = after[name] - weight
        if "proj" in name:
            assert 1 <= torch.linalg.matrix_rank(change, tol=1e-5) <= RANK, name
        elif "score" not in name:
            assert not change.any(), name
    assert not is_quantised(model.backbone.module)
    scores = tm.load(out).score(TEXTS)
    assert scores == pytest.approx(model.score(TEXTS), abs=1e-5)
    assert tm.load(out / "adapter").score(TEXTS) == pytest.approx(scores, abs=1e-4)


@needs
def test_the_network_goes_its_own_way_and_learns_little(base: Path) -> None:
    network = Network.open(str(base), is_frozen=True, lora=FOUR, max_length=32)
    network.add_adapters(FOUR, str(base), 0)
    assert is_quantised(network.module)
    assert not supports(network.module)
    four = network.score([tm.Example(text) for text in TEXTS]).values
    network.merge_adapters()
    full = network.score([tm.Example(text) for text in TEXTS]).values
    # adapters are 0 at first: the difference is what 4 bits round away
    assert 0 < abs(four - full).max() < 0.3
    expected = Network.open(str(base), max_length=32)
    assert full == pytest.approx(
        expected.score([tm.Example(text) for text in TEXTS]).values, abs=1e-6
    )


@needs
def test_the_memory_of_4_bits_is_computed(base: Path) -> None:
    encoder = tm.Encoder(str(base), max_length=32, lora=RANK, quantize="4bit")
    network = Network.open(str(base), is_frozen=True, lora=FOUR, max_length=32)
    network.add_adapters(FOUR, str(base), 0)
    held = 0
    for tensor in (*network.module.parameters(), *network.module.buffers()):
        held += tensor.numel() * tensor.element_size()
    for part in network.module.modules():
        state = getattr(getattr(part, "weight", None), "quant_state", None)
        if state is not None and hasattr(part, "quant_state"):
            held += state.absmax.numel() + 4 * state.state2.absmax.numel()
    planned = fit_memory(encoder, device="cpu", precision="float32").parts
    assert planned["weights"] == pytest.approx(held, rel=0.02)
    network.merge_adapters()
    full = 0
    for name, weight in network.module.named_parameters():
        full += weight.numel() * weight.element_size() if "_proj" in name else 0
    assert planned["full precision at the end"] == full


@needs
def test_the_memory_of_steering_beside_4_bits_has_no_merged_copy(
    gpt: Path, tmp_path: Path, run: Any
) -> None:
    words = ("steer", gpt, "--reward", "length", "--out", tmp_path / "out")
    words += ("--lora", RANK, "--device", "cpu", "--dry-run", "--json")
    parts = []
    for more in ((), ("--quantize", "4bit")):
        code, out, err = run(*words, *more)
        assert code == 0, err
        parts.append(json.loads(out)["bytes"])
    # the same layers: with 4 bits they come at the end, else a copy has the adapters merged
    merged = parts[0]["merged copy to write"]
    assert parts[1]["full precision at the end"] == merged
    assert "merged copy to write" not in parts[1]
    assert "full precision at the end" not in parts[0]


@needs
def test_pretrain_and_steer_learn_beside_4_bits(
    gpt: Path, tmp_path: Path, run: Any
) -> None:
    corpus = tmp_path / "texts.jsonl"
    lines = [json.dumps({"text": f"A warm film, number {n}."}) for n in range(60)]
    corpus.write_text("\n".join(lines))
    four = ("--lora", RANK, "--quantize", "4bit", "--quiet", "--device", "cpu")
    code, _, err = run(
        *("pretrain", corpus, "--from", gpt, "--out", tmp_path / "more"),
        *(*four, "--held-out", 0.2, "--context", 32),
    )
    assert code == 0, err
    steered = tm.steer(
        gpt,
        reward=lambda prompts, texts: [float(len(set(text))) for text in texts],
        prompts=["A", "The"],
        algorithm=tm.GRPO(lr=1e-2),
        sampling=tm.Sampling(max_tokens=6),
        steering={
            **{"steps": 2, "batch": 8, "measured": 4, "windows": 1},
            **{"lora": RANK, "quantize": "4bit"},
        },
        out=tmp_path / "steered",
        device="cpu",
    )
    assert steered.figures["kl_before"] == 0.0
    assert steered.figures["steps"] == 2
    for folder in (tmp_path / "more", tmp_path / "steered"):
        merged, alone = Policy.load(folder), Policy.load(folder / "adapter")
        assert not is_quantised(merged.module)
        texts = ([""], ["A warm film."])
        torch.testing.assert_close(
            merged.log_probs(*texts), alone.log_probs(*texts), atol=1e-5, rtol=0
        )
        before = Policy.load(gpt).log_probs(*texts)
        assert (merged.log_probs(*texts)[0] != before[0]).any()
