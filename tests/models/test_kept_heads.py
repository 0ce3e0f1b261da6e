"""A fit that goes on from a trained head reads texts as the head has learned to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

import tastemaker as tm
from tests.models.test_adopted import (
    STARS,
    TEXTS,
    classifier,
    judged,
    labels_file,
    reward_model,
)

EXAMPLES = [
    tm.Example(TEXTS[0]),
    tm.Example("Fine.", prompt="How was it?"),
    tm.Example("In Rome.", prompt=(tm.Message("user", "Where is it?"),)),
    tm.Example("It ends " + "and it goes on " * 300),
    tm.Example("It ends " + "and it goes on " * 300, prompt="How was it?"),
]


def with_tokenizer(folder: Path, **settings: Any) -> Path:
    """Change the settings of a folder's tokenizer."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def chat_model(folder: Path) -> Path:
    """Return a reward model of chats that reads 1,024 tokens, and the start of longer texts."""
    reward_model(folder, max_position_embeddings=1024)
    return with_tokenizer(folder, model_max_length=1024, truncation_side="right")


def pair_model(folder: Path) -> Path:
    """Return a cross-encoder that marks the second text of a pair by token types."""
    classifier(folder, ["0"])
    return with_tokenizer(
        folder, model_input_names=["input_ids", "token_type_ids", "attention_mask"]
    )


def fitted_model(folder: Path) -> Path:
    """Return a model of ours with a template, a length and a side of the cut of its own."""
    reward_model(folder / "base")
    settings: dict[str, Any] = {"template": "{prompt} | {text}", "max_length": 24}
    encoder = tm.Encoder(str(folder / "base"), **settings, cut="right", new_head=True)
    tm.fit(judged(), backbone=encoder, epochs=1, out=folder / "out")
    return folder / "out"


def prompted() -> list[tm.Judgement]:
    """Return labels of texts that answer prompts."""
    return [
        tm.Label(f"{text} {n}", positive=n % 2 == 0, prompt=f"Question {n}?")
        for n in range(12)
        for text in TEXTS
    ]


def scores(model: tm.RewardModel) -> Any:
    return pytest.approx(model.score(EXAMPLES), abs=1e-4)


@pytest.mark.parametrize(
    ("make", "judgements"),
    [
        (chat_model, judged),
        (chat_model, prompted),
        (pair_model, prompted),
        (fitted_model, prompted),
    ],
)
def test_scores_before_and_after_a_fit_of_no_rate_agree(
    tmp_path: Path,
    make: Callable[[Path], Path],
    judgements: Callable[[], list[tm.Judgement]],
) -> None:
    folder = make(tmp_path / "base")
    before = tm.load(folder)
    out = tmp_path / "out"
    training = {"lr": 1e-12}
    tm.fit(judgements(), backbone=str(folder), training=training, epochs=1, out=out)
    after = tm.load(out)
    assert after.contract.data["head"] == "kept"
    assert after.score(EXAMPLES) == scores(before)
    for name in ("template", "max_length", "cut"):
        assert getattr(after.contract, name) == getattr(before.contract, name), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fit_that_goes_on_keeps_scale_and_number_format(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    folder = reward_model(tmp_path / "rm")
    module = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    module.save_pretrained(folder)
    before = tm.load(folder)
    model = tm.fit(
        judged(),
        backbone=str(folder),
        training={"lr": 1e-12},
        epochs=1,
        out=tmp_path / "out",
    )
    after = tm.load(tmp_path / "out")
    assert after.score(TEXTS) == pytest.approx(before.score(TEXTS), abs=1e-4)
    assert (model.contract.data["head"], model.contract.anchor) == ("kept", None)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == str(dtype).removeprefix("torch.")
    sizes = [
        f.joinpath("model.safetensors").stat().st_size
        for f in (folder, tmp_path / "out")
    ]
    assert sizes[1] < sizes[0] * 1.1


def test_what_the_user_names_is_read(tmp_path: Path) -> None:
    folder = chat_model(tmp_path / "base")
    encoder = tm.Encoder(
        str(folder), template="{prompt} {text}", max_length=32, cut="left"
    )
    model = tm.fit(prompted(), backbone=encoder, epochs=1)
    contract = model.contract
    assert (contract.template, contract.max_length, contract.cut) == (
        "{prompt} {text}",
        32,
        "left",
    )


def test_a_pair_learns_with_its_token_types(tmp_path: Path) -> None:
    """The gradient of the embedding of type 1 is 0 where no text is told to be the second."""
    folder = pair_model(tmp_path / "base")
    before = tm.load(folder).backbone.module  # type: ignore[attr-defined]
    model = tm.fit(prompted(), backbone=str(folder), training={"lr": 1e-2}, epochs=1)
    after = model.backbone.module  # type: ignore[attr-defined]
    name = "bert.embeddings.token_type_embeddings.weight"
    change = after.state_dict()[name] - before.state_dict()[name]
    assert change[1].abs().max() > 1e-4
    fast = model.score(EXAMPLES, precision="fast")
    assert fast == pytest.approx(model.score(EXAMPLES), abs=0.1)


@pytest.mark.parametrize("make", [chat_model, pair_model])
def test_an_adapter_alone_reads_as_the_merged_model(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    pytest.importorskip("peft")
    base = make(tmp_path / "base")
    out = tmp_path / "out"
    encoder = tm.Encoder(
        str(base), template="{prompt} | {text}", max_length=24, cut="left", lora=2
    )
    tm.fit(prompted(), backbone=encoder, training={"lr": 1e-2}, epochs=1, out=out)
    merged = tm.load(out)
    assert tm.load(out / "adapter").score(EXAMPLES) == scores(merged)
    tm.fit(
        prompted(),
        backbone=str(out / "adapter"),
        training={"lr": 1e-12},
        epochs=1,
        out=tmp_path / "next",
    )
    assert tm.load(tmp_path / "next").score(EXAMPLES) == scores(merged)


def test_fresh_heads_of_an_ensemble_do_not_read_as_a_trained_one(
    tmp_path: Path,
) -> None:
    chat_model(tmp_path / "rm")
    fits = []
    for name, new_head in (("kept", False), ("new", True)):
        encoder = tm.Encoder(str(tmp_path / "rm"), new_head=new_head)
        model = tm.fit(
            judged(),
            backbone=encoder,
            members=2,
            shared=True,
            training=tm.Training(epochs=1),
            out=tmp_path / name,
        )
        fits.append(model)
    kept, new = fits
    for name in ("template", "max_length", "cut"):
        values = [getattr(model.backbone, name) for model in fits]
        assert values[0] == values[1], name
    assert kept.score(TEXTS) == pytest.approx(new.score(TEXTS), abs=1e-6)


def test_that_heads_are_fresh_is_decided_once(tmp_path: Path, run: Any) -> None:
    """The memory, the check before the training and the training open one network."""
    base = fitted_model(tmp_path / "base")
    plan = ("fit", "none.csv", "--backbone", base, "--dry-run", "--json")
    plan += ("--out", tmp_path / "out")
    needed = []
    for more in ((), ("--members", 2, "--shared")):
        code, printed, err = run(*plan, *more)
        assert code == 0, err
        needed.append(json.loads(printed)["bytes"]["activations, about"])
    assert needed[1] > 4 * needed[0], "512 tokens, and not the 24 of the trained head"
    (base / "tastemaker.json").write_text(
        "{}"
    )  # the trained head says no more how it reads
    fit = {"backbone": str(base), "training": {"epochs": 1}}
    with pytest.raises(tm.ModelError, match="how texts are read"):
        tm.fit(judged(), out=tmp_path / "one", **fit)
    shared = tm.fit(judged(), members=2, shared=True, out=tmp_path / "two", **fit)
    assert len(shared.backbone.score(EXAMPLES[:1]).members) == 2


def language_model(folder: Path) -> Path:
    """Return a model without a head that scores."""
    config = reward_model(folder).joinpath("config.json")
    module = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config))
    module.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("make", "options", "line"),
    [
        (reward_model, (), "the head goes on from the trained one"),
        (reward_model, ("--new-head",), "the head is new"),
        (language_model, (), "the head is new"),
        (lambda folder: classifier(folder, STARS), ("--new-head",), "the head is new"),
    ],
)
def test_a_fit_says_whether_its_head_is_new(
    make: Callable[[Path], Path],
    options: tuple[str, ...],
    line: str,
    tmp_path: Path,
    run: Any,
) -> None:
    backbone, out = make(tmp_path / "base"), tmp_path / "out"
    rows = labels_file(tmp_path)
    words = ("fit", rows, "--backbone", backbone, "--out", out, "--epochs", 1)
    code, printed, err = run(*words, *options)
    assert code == 0, err
    lines = [text for text in printed.splitlines() if "the head" in text]
    assert len(lines) == 1, printed
    assert line in lines[0]
