"""The engines of `tastemaker serve`, and `tastemaker export --onnx`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import tastemaker as tm
from tastemaker.playground import gold_score, reviews
from tests.serving import Server, start, stop, tiny_taste
from tests.shell import fails

pytest.importorskip("uvicorn")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TEXTS = ["A warm and clever film.", "Dull, and too long. " * 30, "剧情很精彩 🙂"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network."""
    folder = tmp_path_factory.mktemp("models") / "taste"
    model = tiny_taste()
    model.save(folder)
    return folder


def asks_by_tokens(server: Server, taste: Path, expected: list[float]) -> None:
    """vLLM's clients may send token ids: the score is that of the text."""
    tokenizer = AutoTokenizer.from_pretrained(taste)
    body: dict[str, Any] = {"input": tokenizer(TEXTS[:1])["input_ids"]}
    for ids in (body["input"], body["input"][0]):
        (row,) = server.ask("/classify", {"input": ids})[1]["data"]
        assert row["probs"] == pytest.approx(expected[:1], abs=1e-4)
    for ids in ([10**6], [0, 0], [], [[]], [[1], "a"]):
        status, reply, _ = server.ask("/classify", {"input": ids})
        assert (status, reply["error"]["param"]) == (400, "input")
    count = len(body["input"][0])
    for most, status in ((count, 200), (count - 1, 400), (64, 200), (0, 400)):
        cut = {"input": TEXTS[0], "truncate_prompt_tokens": most}
        assert server.ask("/classify", cut)[0] == status


WAYS = {
    "alone",
    "in batches of 2",
    "in batches of 4",
    "in batches of 8",
    "beside the longest text",
    "in another order",
}
SAMPLE = ["Wonderful."]
"""The first of the texts with which the start measures."""


def takes_the_faster(taste: Path, engines: set[str]) -> None:
    """Check what `auto` takes of the engines that are within 1e-4."""
    server = start(taste, "--port", 0)
    (model,) = server.ask("/info")[1]["models"]
    seconds = model["engine_seconds"]
    if engines == {"torch"}:
        assert (model["engine"], seconds) == ("torch", {})
    else:
        assert set(seconds) == engines
        assert model["engine"] == min(seconds, key=seconds.__getitem__)
    reply = server.ask("/score", {"inputs": TEXTS})[1]
    assert reply["scores"] == pytest.approx(tm.load(taste).score(TEXTS), abs=1e-4)
    assert stop(server) == ""


def damage(path: Path) -> None:
    """Add 0.01 to the score that an ONNX file gives."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(path)
    (bias,) = [
        one
        for one in model.graph.initializer
        if one.name.endswith("classifier.bias") and list(one.dims) == [1]
    ]
    values = onnx.numpy_helper.to_array(bias) + 0.01
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, path)


@pytest.mark.slow
def test_the_engines(taste: Path, run: Run) -> None:
    fails(run("serve", taste, "--engine", "onnx"), "no ONNX file", "export")
    fails(run("export", taste), "--onnx")
    code, out, err = run("export", taste, "--onnx")
    assert code == 0, err
    assert "onnx/model.onnx" in out
    expected = tm.load(taste).score(TEXTS)
    for engine, tolerance in (("onnx", 1e-4), ("onnx-int8", 0.5)):
        server = start(taste, "--port", 0, "--engine", engine)
        reply = server.ask("/score", {"inputs": TEXTS})[1]
        assert reply["scores"] == pytest.approx(expected, abs=tolerance)
        if engine == "onnx":
            asks_by_tokens(server, taste, expected)
        (model,) = server.ask("/info")[1]["models"]
        assert model["engine"] == engine
        assert 0 <= model["engine_difference"] < tolerance
        differences = model["engine_differences"]
        assert set(differences) == WAYS
        assert max(differences.values()) == model["engine_difference"]
        if engine == "onnx-int8":
            # 8 bits are never exact, and what is shown is true
            assert differences["alone"] > 0
            alone = server.ask("/score", {"inputs": SAMPLE})[1]["scores"][0]
            exact = tm.load(taste).score(SAMPLE[0])
            assert abs(alone - exact) <= differences["alone"] + 1e-6
        assert stop(server) == ""
    takes_the_faster(taste, {"torch", "onnx"})
    path = taste / "onnx" / "model.onnx"
    written = path.read_bytes()
    damage(path)
    fails(run("serve", taste, "--engine", "onnx"), "differs by 0.01,", "over 0.0001")
    takes_the_faster(taste, {"torch"})
    path.write_bytes(b"no such graph")
    fails(run("serve", taste, "--engine", "onnx"), "cannot open it", "export")
    takes_the_faster(taste, {"torch"})
    path.write_bytes(written)
    # a file of other weights is not taken
    source = taste / "onnx" / "source.json"
    values = json.loads(source.read_text())
    values["weights"] = {"model.safetensors": "0"}
    source.write_text(json.dumps(values))
    fails(run("serve", taste, "--engine", "onnx"), "no ONNX file")


def test_what_no_engine_does(tmp_path: Path, run: Run) -> None:
    judgements = [tm.Label(text, gold_score(text) > 5) for text in reviews(24)]
    tm.fit(judgements, backbone="linear", out=tmp_path / "linear")
    fails(run("export", tmp_path / "linear", "--onnx"), "only a single network")
    fails(run("serve", tmp_path / "linear", "--engine", "onnx"), "single network")
    fails(run("serve", tmp_path / "linear", "--device", "tpu"), "device")
    fails(run("serve", tmp_path / "linear", "--engine", "tensorflow"), "engine")


@pytest.mark.slow
def test_weights_in_bfloat16_are_served_in_float32(
    taste: Path, tmp_path: Path, run: Run
) -> None:
    """No engine computes in bfloat16: a score would depend on the texts beside it."""
    folder = tmp_path / "short"
    judgements = [tm.Label(text, gold_score(text) > 5) for text in reviews(24)]
    encoder = tm.Encoder(str(taste), max_length=64, dtype="bfloat16")
    training = tm.Training(epochs=1, lr=3e-3)
    model = tm.fit(judgements, backbone=encoder, training=training)
    model.backbone.rescale(0.0, 40.0)  # as in `taste`
    model.save(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    server = start(folder, "--port", 0)
    info = server.ask("/info")[1]
    assert info["model_dtype"] == "float32"
    assert max(info["models"][0]["differences"].values()) <= 1e-4
    expected = tm.load(folder).score(TEXTS)
    reply = server.ask("/score", {"inputs": TEXTS})[1]
    assert reply["scores"] == pytest.approx(expected, abs=1e-5)
    assert stop(server) == ""
    fails(run("serve", folder, "--dtype", "bfloat16"), "--dtype")
