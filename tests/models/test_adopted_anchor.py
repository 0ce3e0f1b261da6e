"""Published models with a scale from reference texts, and models of ours on the hub."""

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import tastemaker as tm
from tests.models.test_adopted import STARS, TEXTS, classifier, judged, reward_model
from tests.models.test_kept_heads import EXAMPLES, fitted_model, prompted
from tests.shell import fails

REFERENCES = [f"{text} {number}" for number in range(4) for text in TEXTS]
SENTIMENT = ["NEGATIVE", "POSITIVE"]


def test_reference_texts_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    """A head with a bias, and a function of several classes, take off the mean too."""
    for name, classes in (("one", ["0"]), ("two", SENTIMENT), ("stars", STARS)):
        folder = classifier(tmp_path / name, classes)
        plain = tm.load(folder)
        model = tm.load(folder, anchor=REFERENCES)
        raw = np.array(plain.score(REFERENCES))
        scores = np.array(model.score(REFERENCES))
        assert scores.mean() == pytest.approx(0, abs=1e-5)
        assert scores.std() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(scores, (raw - raw.mean()) / raw.std(), atol=1e-4)
        anchor = model.contract.anchor
        assert anchor is not None
        assert (anchor.texts, anchor.centred) == (len(REFERENCES), True)
        assert anchor.mean == pytest.approx(raw.mean(), abs=1e-5)
        assert plain.contract.anchor is None
        if classes == SENTIMENT:
            assert model.probability(TEXTS) == pytest.approx(
                plain.probability(TEXTS), abs=1e-5
            )
        if classes == STARS:
            assert model.rating(TEXTS) == pytest.approx(plain.rating(TEXTS), abs=1e-5)
        saved = tmp_path / f"{name}-saved"
        model.save(saved)
        again = tm.load(saved)
        assert again.score(TEXTS) == pytest.approx(model.score(TEXTS), abs=1e-5)
        assert again.contract.anchor == model.contract.anchor


def test_a_head_without_a_bias_keeps_its_mean_over_the_deviation(
    tmp_path: Path,
) -> None:
    folder = reward_model(tmp_path / "rm")
    raw = np.array(tm.load(folder).score(REFERENCES))
    for dtype in ("float32", "bfloat16"):
        model = tm.load(folder, anchor=REFERENCES, dtype=dtype)  # type: ignore[arg-type]
        scores = np.array(model.score(REFERENCES))
        assert scores.std() == pytest.approx(1, abs=1e-3)
        assert scores.mean() == pytest.approx(raw.mean() / raw.std(), rel=0.05)
        assert model.contract.anchor is not None
        assert not model.contract.anchor.centred
        slope = model.contract.links["comparison"]["slope"]
        assert slope == pytest.approx(raw.std(), rel=0.05)


def test_score_takes_reference_texts(tmp_path: Path, run: Any) -> None:
    folder = classifier(tmp_path / "rm", ["0"])
    data = tmp_path / "references.jsonl"
    data.write_text("".join(json.dumps({"text": t}) + "\n" for t in REFERENCES))
    code, out, err = run("score", folder, *TEXTS, "--anchor", data, "--json")
    assert code == 0, err
    expected = tm.load(folder, anchor=REFERENCES).score(TEXTS)
    assert json.loads(out)["scores"] == pytest.approx(expected, abs=1e-5)
    assert json.loads(out)["scores"] != pytest.approx(tm.load(folder).score(TEXTS))
    code, _, err = run("score", folder, TEXTS[0], "--anchor", data)
    assert code == 0
    assert "text" in err


def test_an_anchor_that_gives_no_scale_is_one_line(tmp_path: Path, run: Any) -> None:
    folder = classifier(tmp_path / "rm", ["0"])
    data, ours = tmp_path / "one.jsonl", tmp_path / "ours"
    data.write_text(json.dumps({"text": TEXTS[0]}) + "\n")
    fails(run("score", folder, "A.", "--anchor", data), str(folder), "do not differ")
    with pytest.raises(tm.DataError, match="the 0 reference texts"):
        tm.load(folder, anchor=[])
    tm.fit(judged(), out=ours)
    for model in (ours, "http://127.0.0.1:9"):
        fails(run("score", model, "A.", "--anchor", data), str(model), "--anchor")


def test_reference_texts_are_scored_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = classifier(tmp_path / "rm", ["0"])
    network = type(tm.load(folder).backbone)
    move, score = network.to, network.score
    calls: list[Any] = []

    def moved(self: Any, device: Any) -> Any:
        calls.append(str(device))
        return move(self, device)

    def scored(self: Any, examples: Any) -> Any:
        calls.append(len(examples))
        return score(self, examples)

    monkeypatch.setattr(network, "to", moved)
    monkeypatch.setattr(network, "score", scored)
    tm.load(folder, anchor=REFERENCES, device="cpu")
    assert calls[:2] == ["cpu", len(REFERENCES)], "it is moved before it scores them"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub; the tests run offline."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def cached(hub: Path, name: str, model: Path) -> None:
    """Put a folder into the cache as the hub's client does after a download."""
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0123abcd" * 5)
    shutil.copytree(model, place / "snapshots" / ("0123abcd" * 5))


@pytest.mark.parametrize("backbone", ["linear", "tiny"])
def test_a_model_of_ours_on_the_hub_is_opened_by_its_contract(
    backbone: str, tmp_path: Path, hub: Path, run: Any
) -> None:
    folder = tmp_path / "taste"
    model = tm.fit(judged(), backbone=backbone, out=folder)
    cached(hub, "user/taste", folder)
    there = tm.load("user/taste")
    assert there.score(TEXTS) == pytest.approx(model.score(TEXTS), abs=1e-5)
    assert there.contract.provenance == "fitted"
    assert there.probability(TEXTS) == pytest.approx(model.probability(TEXTS), abs=1e-5)
    code, out, err = run("score", "user/taste", TEXTS[0], "--json")
    assert code == 0, err
    assert "provenance" not in json.loads(out) or "adopted" not in out


def test_a_published_model_on_the_hub_is_adopted_and_a_missing_one_is_one_line(
    tmp_path: Path, hub: Path, run: Any
) -> None:
    folder = classifier(tmp_path / "rm", ["0"])
    cached(hub, "user/classifier", folder)
    model = tm.load("user/classifier")
    assert model.contract.provenance == "adopted"
    assert model.score(TEXTS) == pytest.approx(tm.load(folder).score(TEXTS), abs=1e-6)
    fails(run("score", "user/nothing", "A text."), "user/nothing")


def test_a_model_of_ours_that_cannot_be_copied_is_not_adopted(
    tmp_path: Path, hub: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "taste"
    tm.fit(judged(), backbone="tiny", out=folder)
    cached(hub, "user/taste", folder)

    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(tm.ModelError, match=r"'user/taste' cannot be opened.*No space"):
        tm.load("user/taste")
    fails(run("score", "user/taste", "A text."), "user/taste", "No space left")


@pytest.fixture
def refusing_hub(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A hub that can be reached and answers every question as the list says: status, code."""
    answer: list[Any] = []

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, code = answer
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815  the server calls it so

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template
    )
    yield answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "refusal", [(401, "GatedRepo"), (403, "GatedRepo"), (404, "RepoNotFound")]
)
def test_a_copied_model_that_the_hub_refuses_now_is_opened(
    refusal: tuple[int, str], tmp_path: Path, hub: Path, refusing_hub: list[Any]
) -> None:
    folder = classifier(tmp_path / "rm", ["0"])
    cached(hub, "user/classifier", folder)
    refusing_hub += refusal
    model = tm.load("user/classifier")
    assert model.contract.provenance == "adopted"
    assert model.score(TEXTS) == pytest.approx(tm.load(folder).score(TEXTS), abs=1e-6)
    ours = fitted_model(tmp_path / "ours")
    cached(hub, "user/taste", ours)
    assert tm.load("user/taste").contract.provenance == "fitted"
    with pytest.raises(tm.ModelError, match="'user/nothing' cannot be opened"):
        tm.load("user/nothing")


def test_a_fit_goes_on_from_a_model_of_ours_on_the_hub(
    tmp_path: Path, hub: Path
) -> None:
    """Its contract is not what its tokenizer says: no chat template, and 24 of 512 tokens."""
    folder = fitted_model(tmp_path / "base")
    cached(hub, "user/taste", folder)
    before = tm.load(folder)
    out = tmp_path / "out"
    training = {"lr": 1e-12}
    tm.fit(prompted(), backbone="user/taste", training=training, epochs=1, out=out)
    after = tm.load(out)
    contract = after.contract
    assert contract.template == "{prompt} | {text}"
    assert (contract.max_length, contract.cut) == (24, "right")
    assert contract.settings["backbone"][1]["name"] == "user/taste"
    assert after.score(EXAMPLES) == pytest.approx(before.score(EXAMPLES), abs=1e-4)
