"""`tastemaker serve` with models of further kinds: over HTTP they score as in the library."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.serve import Serving, serve
from tests.models.test_adopted import FOREIGN, classifier
from tests.serving import start, stop
from tests.shell import fails

pytest.importorskip("uvicorn")

WORDS = ["lamp", "river", "stone", "cloud", "garden", "paper", "window", "bread"]


def compared(source: str, asked: str, *, longer: bool) -> list[tm.Comparison]:
    """Comparisons of a long and a short answer, as the judges of one source prefer them."""
    draw = random.Random(source)
    comparisons = []
    for number in range(100):
        prompt = f"{asked} the {draw.choice(WORDS)} {number}"
        word = draw.choice(WORDS)
        answers = [f"it is a {word} and so on and so on", f"a {word}"]
        if not longer:
            answers.reverse()
        comparisons.append(tm.Comparison(*answers, prompt=prompt, source=source))
    return comparisons


@pytest.mark.parametrize("backbone", ["linear", "tiny"])
def test_experts_score_over_http_as_in_the_library(
    backbone: str, tmp_path: Path
) -> None:
    folder = tmp_path / "experts"
    judged = compared("long", "please explain", longer=True)
    judged += compared("short", "name one of", longer=False)
    model = tm.fit(judged, backbone=backbone, experts=True, out=folder)
    examples = [tm.Example(text) for text in ("a lamp", "it is a lamp and so on")]
    for prompt in ("please explain the lamp", "name one of the lamp"):
        examples += [tm.Example(example.text, prompt) for example in examples[:2]]
    expected = model.score(examples)
    inputs: list[Any] = [example.text for example in examples[:2]]
    for example in examples[2:]:
        inputs.append({"prompt": example.prompt, "completion": example.text})
    server = start(folder, "--port", 0, "--device", "cpu")
    try:
        status, reply, _ = server.ask("/score", {"inputs": inputs})
        assert status == 200
        assert reply["scores"] == pytest.approx(expected, abs=1e-5)
        assert "uncertainty" not in reply
        for text, score in zip(inputs, expected, strict=True):
            alone = server.ask("/score", {"inputs": [text]})[1]["scores"]
            assert alone == pytest.approx([score], abs=1e-5)
        info = server.ask("/info")[1]["models"][0]
        assert "2 experts (long, short)" in info["backbone"]
    finally:
        stop(server)


class _Proven(Exception):
    """The line that says that a model's scores are the same through every wire."""


def _end(line: str) -> None:
    raise _Proven(line)


def test_code_of_a_served_model_runs_where_it_is_allowed_by_name(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = classifier(tmp_path / "rm", ["0"])
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "foreign"
    names = {"AutoConfig": "Config", "AutoModelForSequenceClassification": "Model"}
    config["auto_map"] = {auto: f"code.{name}" for auto, name in names.items()}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(FOREIGN)
    fails(run("serve", folder, "--port", 0), "--trust-remote-code")
    cache = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", cache)
    settings = Serving(port=0, device="cpu", trust_remote_code=True)
    with pytest.raises(_Proven, match=r"^rm: the same scores alone and in 1\d other"):
        serve([folder], settings, say=_end)
