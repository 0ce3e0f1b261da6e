"""Model folders of others: their code is never run, and what they lack is said in one line."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.cli import main
from tests.architectures import gpt2
from tests.models.test_adopted import STARS, TEXTS, classifier, reward_model
from tests.nano import nano
from tests.shell import fails

CODE = """
import pathlib
pathlib.Path(__file__).with_name("ran").write_text("yes")
from transformers import PretrainedConfig
class Config(PretrainedConfig):
    model_type = "foreign"
"""


class Terminal(io.StringIO):
    """Answers yes to every question."""

    def readline(self, size: int = -1, /) -> str:
        return "y\n"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A GPT-2 of 40 tokens without a tokenizer."""
    gpt2().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def shell(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Runs a command line on a terminal that says yes; returns code, stdout and stderr."""
    rows = [json.dumps({"text": f"a {n}", "label": n % 2}) for n in range(12)]
    (tmp_path / "r.jsonl").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(sys, "stdin", Terminal())

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def commands(folder: Path) -> list[tuple[object, ...]]:
    rows, out = folder.parent / "r.jsonl", folder.parent / "out"
    return [
        ("doctor", rows, "--backbone", folder, "--max-length", 8),
        ("fit", rows, "--backbone", folder, "--out", out),
        ("pretrain", rows, "--from", folder, "--out", out),
        ("write", folder, "The"),
    ]


def test_a_folder_without_a_tokenizer_is_said(folder: Path, shell: Any) -> None:
    for words in commands(folder):
        fails(shell(*words), "tokenizer")


@pytest.mark.parametrize("name", ["foreign", "gpt2"])
def test_code_of_a_folder_is_never_run(folder: Path, shell: Any, name: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = name
    config["auto_map"] = {
        "AutoConfig": "code.Config",
        "AutoModelForCausalLM": "code.Config",
        "AutoModelForSequenceClassification": "code.Config",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(CODE)
    for words in commands(folder):
        result = shell(*words)
        fails(result)
        if name == "foreign":
            assert "auto_map" in result[2] or "tokenizer" in result[2]
    assert not (folder / "ran").exists()


def with_code(folder: Path, **settings: Any) -> Path:
    """Let a folder of a type that transformers has name code of its own for every class."""
    path = folder / "config.json"
    names = ("AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification")
    code = {"AutoConfig": "code.Config"} | dict.fromkeys(names, "code.Model")
    config = json.loads(path.read_text()) | {"auto_map": code, **settings}
    path.write_text(json.dumps(config))
    (folder / "code.py").write_text(CODE)
    return folder


def test_a_type_that_transformers_has_is_opened_without_the_code_of_its_folder(
    tmp_path: Path, shell: Any
) -> None:
    folder = classifier(tmp_path / "rm", ["0"])
    expected = tm.load(folder).score(TEXTS[0])
    with_code(folder)
    code, out, err = shell("score", folder, TEXTS[0], "--json")
    assert code == 0, err
    assert json.loads(out)["scores"] == pytest.approx([expected], abs=1e-6)
    nano().save(tmp_path / "gpt")
    gpt = with_code(tmp_path / "gpt")
    assert shell("write", gpt, "The", "--max-tokens", 4)[0] == 0
    rows, fitted, steered = (tmp_path / name for name in ("r.jsonl", "fit", "steered"))
    code, _, err = shell("fit", rows, "--backbone", folder, "--out", fitted)
    assert code == 0, err
    steps = ("--steps", 1, "--batch", 4, "--measured", 4, "--max-tokens", 4)
    code, _, err = shell("steer", gpt, "--reward", folder, "--out", steered, *steps)
    assert code == 0, err
    stars = tmp_path / "stars-saved"
    tm.load(with_code(classifier(tmp_path / "stars", STARS))).save(stars)
    for saved in (fitted, steered, stars):
        assert "auto_map" not in (saved / "config.json").read_text()
    assert not [*tmp_path.rglob("ran")]


def test_a_score_of_a_class_of_its_own_is_refused_though_the_type_is_known(
    tmp_path: Path, shell: Any
) -> None:
    """The same weights may become another score there, so that of a Llama would be a guess."""
    folder = with_code(
        reward_model(tmp_path / "rm"), architectures=["LlamaForGatedRewards"]
    )
    result = shell("score", folder, TEXTS[0])
    fails(result, "LlamaForGatedRewards", "auto_map", "--trust-remote-code")
    assert not (folder / "ran").exists()
