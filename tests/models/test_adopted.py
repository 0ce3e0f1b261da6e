"""Published models without our contract: used as they are, with the numbers of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

import tastemaker as tm
from tastemaker.reward import make_tiny
from tests.nano import nano
from tests.shell import fails

TEXTS = [
    "A warm, bright film.",
    "Dull.",
    "It goes on and on, and then it ends at last.",
]
STARS = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
CHAT = (
    "{% for m in messages %}{{ '<' ~ m.role ~ '>' ~ m.content ~ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 512,
}


def classifier(folder: Path, names: list[str], **settings: Any) -> Path:
    """Save a small random BERT classifier with these classes."""
    tokenizer = make_tiny(TEXTS, vocabulary=300).tokenizer
    config = BertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        initializer_range=0.3,
        **SIZE,
    )
    for name, value in settings.items():
        setattr(config, name, value)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def reward_model(folder: Path, labels: int = 1, **settings: Any) -> Path:
    """Save a small random Llama with a scalar head and a chat template."""
    tokenizer = make_tiny(TEXTS, vocabulary=300).tokenizer
    tokenizer.chat_template = CHAT
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_labels=labels,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        **SIZE | settings,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def logits(folder: Path, *texts: Any) -> torch.Tensor:
    """Return what transformers gives, one text or pair at a time."""
    module = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    with torch.inference_mode():
        for text in texts:
            parts = text if isinstance(text, tuple) else (text,)
            rows.append(module(**tokenizer(*parts, return_tensors="pt")).logits[0])
    return torch.stack(rows)


def test_a_reward_model_scores_by_its_logit(tmp_path: Path, run: Any) -> None:
    folder = reward_model(tmp_path / "rm")
    model = tm.load(folder)
    assert model.score(TEXTS) == pytest.approx(
        logits(folder, *TEXTS)[:, 0].tolist(), abs=1e-5
    )
    rendered = "<user>How was it?\n<assistant>Fine.\n"
    answer = tm.Example("Fine.", prompt="How was it?")
    assert model.score(answer) == pytest.approx(
        float(logits(folder, rendered)[0, 0]), abs=1e-5
    )
    contract = model.contract
    assert (contract.provenance, contract.template) == ("adopted", "chat")
    assert contract.links["comparison"]["slope"] == 1
    assert max(contract.roundtrip["differences"].values()) < 1e-4
    code, out, _ = run("score", folder, TEXTS[0], "--json", "--device", "cpu")
    printed = json.loads(out)
    assert code == 0
    assert printed["scores"] == pytest.approx([model.score(TEXTS[0])])
    assert printed["provenance"] == "adopted"


@pytest.mark.parametrize(
    ("names", "positive", "negative"),
    [
        (["NEGATIVE", "POSITIVE"], 1, 0),
        (["LABEL_0", "LABEL_1"], 1, 0),
        (["positive", "neutral", "negative"], 0, 2),
    ],
)
def test_classes_of_sentiment_score_by_their_log_odds(
    tmp_path: Path, names: list[str], positive: int, negative: int
) -> None:
    folder = classifier(tmp_path / "sentiment", names)
    model = tm.load(folder)
    of_each = logits(folder, *TEXTS)
    expected = of_each[:, positive] - of_each[:, negative]
    assert model.score(TEXTS) == pytest.approx(expected.tolist(), abs=1e-5)
    assert model.probability(TEXTS) == pytest.approx(
        torch.sigmoid(expected).tolist(), abs=1e-5
    )


def test_stars_score_by_the_expected_number(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "stars", STARS)
    model = tm.load(folder)
    chances = logits(folder, *TEXTS).softmax(1)
    expected = chances @ torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert model.score(TEXTS) == pytest.approx(expected.tolist(), abs=1e-5)
    assert model.rating(TEXTS) == pytest.approx(expected.tolist(), abs=1e-5)
    saved = tmp_path / "saved"
    model.save(saved)
    again = tm.load(saved)
    assert again.score(TEXTS) == pytest.approx(model.score(TEXTS), abs=1e-6)
    assert (again.contract.provenance, again.contract.readout) == (
        "adopted",
        model.contract.readout,
    )


def test_a_cross_encoder_reads_prompt_and_text_as_a_pair(tmp_path: Path) -> None:
    activation = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    folder = classifier(tmp_path / "cross", ["0"], sentence_transformers=activation)
    model = tm.load(folder)
    assert model.contract.template == "pair"
    example = tm.Example("It is in Rome.", prompt="Where is it?")
    expected = float(logits(folder, (example.prompt, example.text))[0, 0])
    assert model.score(example) == pytest.approx(expected, abs=1e-5)
    chance = torch.sigmoid(torch.tensor(expected)).item()
    assert model.probability(example) == pytest.approx(chance, abs=1e-5)


def test_a_head_that_the_configuration_does_not_tell_of(tmp_path: Path) -> None:
    """OpenRLHF saves `value_head.weight` of one row beside a configuration of two labels."""
    folder = reward_model(tmp_path / "rm")
    expected = tm.load(folder).score(TEXTS)
    config = json.loads((folder / "config.json").read_text())
    del config["id2label"], config["label2id"]
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    weights["value_head.weight"] = weights.pop("score.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert tm.load(folder).score(TEXTS) == pytest.approx(expected, abs=1e-6)


def test_it_is_evaluated_and_is_a_reward(tmp_path: Path, run: Any) -> None:
    folder = reward_model(tmp_path / "rm")
    rows = [
        {"prompt": f"Question {n}?", "chosen": TEXTS[n % 3], "rejected": f"No. {n}"}
        for n in range(12)
    ]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run("evaluate", folder, pairs, "--json")
    assert code == 0, err
    figures = json.loads(out)["by_kind"]["comparison"]
    assert figures["n"] == 12
    assert 0 <= figures["accuracy"] <= 1


FOREIGN = """
from transformers import BertConfig, BertForSequenceClassification


class Config(BertConfig):
    model_type = "foreign"


class Model(BertForSequenceClassification):
    config_class = Config
"""


@pytest.mark.parametrize("verb", ["score", "explain", "evaluate", "steer", "held-out"])
def test_code_of_a_model_runs_where_it_is_allowed_by_name(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    cache = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", cache)
    folder = classifier(tmp_path / "rm", ["0"])
    expected = tm.load(folder).score(TEXTS[0])
    _with_code(folder)
    (folder / "code.py").write_text(FOREIGN)
    rows = [f"Question {n}?,Fine {n},Dull {n}\n" for n in range(6)]
    data = tmp_path / "rows.csv"
    data.write_text("prompt,chosen,rejected\n" + "".join(rows))
    gpt, out = tmp_path / "gpt", tmp_path / "out"
    if verb in ("steer", "held-out"):
        nano().save(gpt)
    steer: tuple[Any, ...] = ("steer", gpt, "--out", out, "--steps", 1, "--json")
    steer += ("--batch", 4, "--measured", 4, "--max-tokens", 4)
    words = {
        "score": ("score", folder, TEXTS[0], "--json"),
        "explain": ("explain", folder, TEXTS[0], "--json"),
        "evaluate": ("evaluate", folder, data, "--json"),
        "steer": (*steer, "--reward", folder),
        "held-out": (*steer, "--reward", "length", "--held-out", folder),
    }[verb]
    fails(run(*words, "--quiet"), "--trust-remote-code")
    code, printed, err = run(*words, "--quiet", "--trust-remote-code")
    assert code == 0, err
    result = json.loads(printed)
    if verb == "score":
        assert result["scores"] == pytest.approx([expected], abs=1e-5)
    if verb == "explain":
        assert result["score"] == pytest.approx(expected, abs=1e-5)


def _without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _with_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _without_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _gguf(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "model.gguf").write_bytes(b"GGUF")


def _of_unknown_classes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "anger", "1": "joy"}
    config["label2id"] = {"anger": 0, "joy": 1}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"] = weights["score.weight"].repeat(2, 1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _of_several_labels(folder: Path) -> None:
    _of_unknown_classes(folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "negative", "1": "positive"}
    config["label2id"] = {"negative": 0, "positive": 1}
    config["problem_type"] = "multi_label_classification"
    (folder / "config.json").write_text(json.dumps(config))


def _with_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "foreign"
    config["auto_map"] = {
        "AutoConfig": "code.Config",
        "AutoModelForSequenceClassification": "code.Model",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('it ran')")


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (_without_tokenizer, "tokenizer"),
        (_with_nan, "NaN"),
        (_without_head, "score.weight"),
        (_without_weights, "no weights"),
        (_gguf, "GGUF"),
        (_of_unknown_classes, "'anger', 'joy'"),
        (_of_several_labels, "may hold at once"),
        (_with_code, "--trust-remote-code"),
    ],
)
def test_what_cannot_score_is_refused_in_one_line(
    tmp_path: Path, run: Any, harm: Any, word: str
) -> None:
    folder = reward_model(tmp_path / "rm")
    harm(folder)
    fails(run("score", folder, "A text."), word)


def test_a_language_model_is_no_reward_model(tmp_path: Path, run: Any) -> None:
    folder = classifier(tmp_path / "bert", ["0"])
    config = BertConfig.from_pretrained(folder)
    BertForMaskedLM(config).save_pretrained(folder)
    fails(run("score", folder, "A text."), "classifier", "--backbone")


def test_weights_keep_the_number_format_that_is_asked_for(tmp_path: Path) -> None:
    folder = reward_model(tmp_path / "rm")
    exact = tm.load(folder).score(TEXTS)
    short = tm.load(folder, dtype="bfloat16")
    assert short.backbone.module.dtype == torch.bfloat16  # type: ignore[attr-defined]
    assert short.score(TEXTS) == pytest.approx(exact, abs=0.1)
    assert short.score(TEXTS) != exact
    with pytest.raises(tm.UsageError, match="float8"):
        tm.load(folder, dtype="float8")  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [reward_model, lambda f: classifier(f, STARS)])
def test_a_model_in_bfloat16_is_saved_as_large_as_it_came(
    tmp_path: Path, make: Any
) -> None:
    folder, out = make(tmp_path / "rm"), tmp_path / "out"
    module = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.bfloat16
    )
    module.save_pretrained(folder)
    model = tm.load(folder)
    model.save(out)
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    sizes = [f.joinpath("model.safetensors").stat().st_size for f in (folder, out)]
    assert sizes[1] < sizes[0] * 1.1
    assert tm.load(out).score(TEXTS) == pytest.approx(model.score(TEXTS), abs=1e-6)


def judged() -> list[tm.Judgement]:
    """Return labels of a few texts."""
    return [
        tm.Label(f"{text} {n}", positive=n % 2 == 0)
        for n in range(12)
        for text in TEXTS
    ]


def labels_file(folder: Path) -> Path:
    """Write labels of twenty texts into a file."""
    path = folder / "rows.csv"
    lines = [f"text {number},{number % 2}\n" for number in range(20)]
    path.write_text("text,label\n" + "".join(lines))
    return path


def test_a_head_of_several_classes_is_not_dropped_in_silence(tmp_path: Path) -> None:
    folder = str(classifier(tmp_path / "stars", STARS))
    with pytest.raises(tm.ModelError, match=r"5 classes.*--new-head"):
        tm.fit(judged(), backbone=folder)
    model = tm.fit(
        judged(), backbone=tm.Encoder(folder, max_length=32, new_head=True), epochs=1
    )
    assert model.contract.data["head"] == "new"
