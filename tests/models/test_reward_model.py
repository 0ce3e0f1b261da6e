"""A saved reward model: it reloads, refuses changed files, and answers in the judges' units."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import tastemaker as tm

TEXTS = [
    "A warm and clever film.",
    "Dull. Grey. Endless.",
    "It is a film.",
    "温暖的电影。",
    "x" * 3000,
]


def _judgements() -> list[Any]:
    words = ("warm", "clever", "bright", "dull", "grey", "empty")
    texts = [f"A {words[n % 6]} film, number {n}." for n in range(120)]
    labels = [tm.Label(text, n % 6 < 3) for n, text in enumerate(texts)]
    return labels + [tm.Rating(text, 9.0 - n % 6) for n, text in enumerate(texts)]


@pytest.fixture(scope="module", params=["linear", "tiny"])
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A fitted reward model of each kind, on disk."""
    out: Path = tmp_path_factory.mktemp("saved") / "taste"
    backbone = tm.Linear() if request.param == "linear" else tm.Tiny(max_length=32)
    training = None if request.param == "linear" else tm.Training(epochs=1)
    tm.fit(_judgements(), backbone=backbone, training=training, out=out)
    return out


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may harm."""
    import shutil

    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_reloaded_it_gives_the_same_number_in_any_company(saved: Path) -> None:
    model, again = tm.load(saved), tm.load(saved)
    together = model.score(TEXTS)
    assert together == pytest.approx([again.score(text) for text in TEXTS], abs=2e-4)
    assert together == pytest.approx(model.score(TEXTS[::-1])[::-1], abs=2e-4)
    assert model.score(tm.Example(TEXTS[0])) == pytest.approx(together[0], abs=2e-4)


def test_another_process_gives_the_same_number(saved: Path) -> None:
    # as many threads as here: one that has less to do sums in another order, and a head that
    # learned little shows it
    asked = (
        f"torch.set_num_threads({torch.get_num_threads()}); "
        f"print(repr(tm.load({str(saved)!r}).score({TEXTS[0]!r})))"
    )
    code = f"import torch, tastemaker as tm; {asked}"
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert float(process.stdout) == pytest.approx(
        tm.load(saved).score(TEXTS[0]), abs=1e-6
    )


def test_the_answers_are_in_the_judges_words(saved: Path) -> None:
    model = tm.load(saved)
    probability, rating = model.probability(TEXTS), model.rating(TEXTS)
    assert all(0 < p < 1 for p in probability)
    order = np.argsort(model.score(TEXTS))
    assert list(np.argsort(probability)) == list(order) == list(np.argsort(rating))
    meanings = model.meanings(model.score_all([tm.Example(t) for t in TEXTS]))
    assert meanings["probabilities"] == pytest.approx(probability)
    assert meanings["ratings"] == pytest.approx(rating)


def test_a_question_that_was_never_learned_is_refused() -> None:
    model = tm.fit([j for j in _judgements() if isinstance(j, tm.Label)])
    with pytest.raises(tm.ModelError, match="labels"):
        model.rating("A film.")


def test_an_empty_text_is_refused_by_its_place(saved: Path) -> None:
    with pytest.raises(tm.DataError, match="text 2 of 3"):
        tm.load(saved).score(["fine", "  \n", "fine"])
    with pytest.raises(tm.UsageError, match="int"):
        tm.load(saved).score([3])  # type: ignore[list-item]


def test_no_texts_give_no_scores(saved: Path) -> None:
    assert tm.load(saved).score([]) == []


def test_the_roundtrip_is_written_down(saved: Path) -> None:
    roundtrip = json.loads((saved / "tastemaker.json").read_text())["roundtrip"]
    numbers = {
        way: d for way, d in roundtrip["differences"].items() if not isinstance(d, str)
    }
    assert numbers
    assert all(0 <= d <= roundtrip["tolerance"] for d in numbers.values())
    if (saved / "config.json").is_file():
        assert {
            "transformers, alone",
            "pipeline, batched",
            "sentence_transformers.CrossEncoder",
        } <= set(numbers)


def test_other_loaders_give_the_same_number_and_no_sigmoid(saved: Path) -> None:
    if not (saved / "config.json").is_file():
        pytest.skip("the linear backbone is no transformers folder")
    from transformers import pipeline

    config = json.loads((saved / "config.json").read_text())
    assert config["problem_type"] == "regression"
    assert config["id2label"] == {"0": "score"}
    assert config["label2id"] == {"score": 0}
    assert config["pad_token_id"] is not None
    answers = pipeline("text-classification", model=str(saved))(
        TEXTS[:3], truncation=True
    )
    assert [a["score"] for a in answers] == pytest.approx(
        tm.load(saved).score(TEXTS[:3]), abs=1e-4
    )


def test_a_loader_that_disagrees_stops_the_save(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tm.load(saved)
    monkeypatch.setattr("tastemaker.reward.roundtrip.TOLERANCE", -1.0)
    with pytest.raises(tm.ModelError, match=r"differently.*-1\b"):
        model.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_changed_weights_are_refused(copied: Path) -> None:
    weights = next(copied.glob("*.safetensors"))
    weights = copied / next(
        iter(json.loads((copied / "tastemaker.json").read_text())["weights"])
    )
    tensors = load_file(weights)
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + np.ones_like(tensors[name])
    save_file(tensors, weights)
    with pytest.raises(tm.ModelError, match="digest"):
        tm.load(copied)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: (f / "tastemaker.json").unlink(), r"tastemaker\.json"),
        (lambda f: (f / "tastemaker.json").write_text("{"), r"tastemaker\.json"),
        (lambda f: (f / "tastemaker.json").write_text("[]"), r"tastemaker\.json"),
        (lambda f: _edit(f, trained_steps=0), "never trained"),
        (lambda f: _edit(f, format=99), "format 99"),
        (lambda f: _edit(f, nonsense=1), "nonsense"),
    ],
)
def test_a_folder_that_is_no_reward_model_is_refused_in_one_line(
    copied: Path, harm: Any, words: str
) -> None:
    harm(copied)
    with pytest.raises(tm.ModelError, match=words) as caught:
        tm.load(copied)
    assert "\n" not in str(caught.value)


def _edit(folder: Path, **values: Any) -> None:
    contract = json.loads((folder / "tastemaker.json").read_text())
    (folder / "tastemaker.json").write_text(json.dumps({**contract, **values}))


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(tm.ModelError, match="tastemaker fit"):
        tm.load(tmp_path / "nowhere")


def test_nothing_in_the_folder_is_a_pickle(saved: Path) -> None:
    for path in saved.rglob("*"):
        if path.is_file() and "tensorboard" not in path.parts:
            assert path.suffix in {".json", ".jsonl", ".safetensors", ".md"}, path


def test_its_repr_tells_what_it_is(saved: Path) -> None:
    model = tm.load(saved)
    counts = model.contract.data["judgements"]
    assert counts["label"] == counts["rating"] > 80
    assert f"fitted on {counts['label']} labels + {counts['rating']} ratings" in repr(
        model
    )


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(saved: Path, tmp_path: Path) -> None:
    """Save into file systems of growing size: each save is whole or fails with a reason."""
    import os
    import shutil

    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can be mounted by root alone")
    model, outcomes = tm.load(saved), []
    for kilobytes in (8, 64, 1024):
        small = tmp_path / f"disk{kilobytes}"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", small],
            check=False,
        )
        if mounted.returncode:
            pytest.skip("this machine does not mount file systems")
        try:
            model.save(small / "taste")
            outcomes.append("whole")
            assert tm.load(small / "taste").score(TEXTS[0]) == pytest.approx(
                model.score(TEXTS[0]), abs=1e-6
            )
        except tm.StorageError as error:
            outcomes.append("full")
            # either outcome is right, a half is not
            messages = ("disk is full", "No space left")
            assert any(message in str(error) for message in messages)  # noqa: PT017
            assert list(small.iterdir()) == []
        finally:
            subprocess.run(["umount", small], check=True)
    assert outcomes[0] == "full"


def test_a_model_of_grades_and_ratings_writes_one_column_of_ratings(
    tmp_path: Path,
) -> None:
    judged: list[tm.Judgement] = []
    for number in range(12):
        good, bad = f"A warm film, number {number}.", f"A dull film, number {number}."
        judged += [tm.Grade(good, 5), tm.Grade(bad, 1)]
        judged += [tm.Rating(f"{good} Yes.", 9.5), tm.Rating(f"{bad} No.", 0.5)]
    model = tm.fit(judged, backbone=tm.Linear(min_count=1), held_out=None)
    assert model.meaning_names == ("ratings",)
    source = tmp_path / "in.csv"
    source.write_text("text\nA warm film.\n")
    tm.score_file(model, source, tmp_path / "out.csv", has_meanings=True)
    header = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert header == "text,score,truncated,rating"
