"""`pretrain`, `write` and `evaluate` of a policy in the shell: output for scripts, clear errors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nano import NANO, films
from shell import fails
from transformers import AutoTokenizer, GPT2Config, GPT2ForSequenceClassification

import tastemaker as tm
from tastemaker.gpt import SIZES, Sampling
from tastemaker.readable import visible

SHORT = Sampling(min_p=0.03, max_tokens=5)
"""As a GPT made here recommends."""


@pytest.fixture(autouse=True)
def _nano(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny GPT is trained in a second."""
    monkeypatch.setitem(SIZES, "tiny", NANO)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file with a review a line."""
    path: Path = tmp_path_factory.mktemp("texts") / "films.txt"
    path.write_text("\n".join(films(120)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def gpt(texts: Path) -> Path:
    """A folder with a policy."""
    folder = texts.parent / "gpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "nano", NANO)
        settings: dict[str, Any] = {
            "size": "nano",
            "training": {"epochs": 3, "held_out": 0.1},
        }
        tm.pretrain(films(120), out=folder, **settings)
    return folder


@pytest.fixture(scope="module")
def taste(texts: Path) -> Path:
    """A linear reward model that likes what is warm."""
    judged = [tm.Label(text, k % 6 < 3) for k, text in enumerate(films(120))]
    tm.fit(judged, out=texts.parent / "taste")
    return texts.parent / "taste"


# --- pretrain


def test_pretrain_prints_one_json_object(run: Any, texts: Path, tmp_path: Path) -> None:
    command = (
        "pretrain",
        texts,
        "--each",
        "line",
        "--held-out",
        0.1,
        "--out",
        tmp_path / "gpt",
        "--json",
    )
    code, out, err = run(*command, "--quiet")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert set(printed) == {
        "model",
        "parameters",
        "tokens",
        "perplexity",
        "ngram_perplexity",
        "seconds",
        "read_as",
    }
    assert printed["read_as"][0]["roles"] == {"text": "each line"}
    policy = tm.Policy.load(printed["model"])
    assert (printed["model"], printed["parameters"]) == (
        str(tmp_path / "gpt"),
        policy.parameters,
    )
    assert printed["perplexity"] == policy.figures["perplexity"] > 1
    code, out, err = run(*command, "--resume")
    assert json.loads(out) == printed, "a finished run is opened again"
    code, out, err = run(*command[:-1], "--overwrite", "--limit", 100)
    assert code == 0
    assert "tastemaker write" in out
    assert "held-out perplexity" in err
    assert (
        sum(
            side["documents"]
            for side in tm.Policy.load(tmp_path / "gpt").figures["corpus"].values()
        )
        == 100
    )


def test_pretrain_goes_on_with_a_model_and_leaves_bad_rows_out(
    run: Any, gpt: Path, tmp_path: Path
) -> None:
    rows = [
        json.dumps({"prompt": f"Film {k}?", "completion": "Fine."}) for k in range(40)
    ]
    source = tmp_path / "chats.jsonl"
    source.write_text(
        "\n".join([*rows, '{"prompt": "Film 41?", "completion": ""}']) + "\n"
    )
    command = (
        "pretrain",
        source,
        "--from",
        gpt,
        "--held-out",
        0.2,
        "--out",
        tmp_path / "tuned",
    )
    fails(run(*command, "--quiet"), "chats.jsonl:41")
    assert not (tmp_path / "tuned").exists()
    code, out, err = run(*command, "--skip-bad", "--json")
    assert (code, len(json.loads(out))) == (0, 7)
    (read_as,) = json.loads(out)["read_as"]
    assert read_as["roles"] == {"prompt": "prompt", "text": "completion"}
    assert "left out: chats.jsonl:41" in err
    assert (tm.Policy.load(tmp_path / "tuned").figures["settings"]["start"]) == str(gpt)


def test_pretrain_refuses_what_cannot_be(
    run: Any, gpt: Path, texts: Path, taste: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "new", "--quiet")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("A film, a film.")
    fails(run("pretrain", texts), "--out")
    fails(run("pretrain", tmp_path / "empty.txt", *out), "empty.txt", "no text")
    fails(run("pretrain", tmp_path / "short.txt", *out), "less than one context of 32")
    fails(run("pretrain", tmp_path / "nowhere.txt", *out), "nowhere.txt")
    lines = (texts, "--each", "line", *out)
    fails(
        run("pretrain", *lines, "--vocabulary", 50_000),
        "50,000 tokens",
        "more than this corpus supports",
    )
    fails(run("pretrain", *lines, "--vocabulary", 100), "no room for 256 bytes")
    fails(run("pretrain", *lines, "--size", "huge"), "huge")
    fails(run("pretrain", *lines, "--lr", 0), "lr 0")
    fails(run("pretrain", *lines, "--epochs", -1), "epochs -1")
    fails(run("pretrain", *lines, "--context", 4), "context 4")
    fails(run("pretrain", *lines, "--limit", 0), "limit 0")
    fails(run("pretrain", *lines, "--from", taste), str(taste))
    fails(run("pretrain", *lines, "--from", tmp_path / "nowhere"), "no such folder")
    fails(
        run("pretrain", *lines, "--from", _classifier(tmp_path / "cls")),
        "GPT2ForSequenceClassification",
        "cannot write",
    )
    fails(run("pretrain", *lines, "--from", gpt, "--context", 64), "reads 32 tokens")
    fails(
        run("pretrain", *lines, "--from", gpt, "--vocabulary", 300),
        "keeps its tokenizer",
    )
    fails(run("pretrain", *lines, "--from", gpt, "--size", "tiny"), "--size and --from")
    fails(
        run("pretrain", texts, "--from", gpt, "--out", gpt, "--overwrite"),
        "would be replaced",
    )
    fails(run("pretrain", texts, "--out", gpt), "--overwrite")
    assert not (tmp_path / "new").exists()


def _classifier(folder: Path) -> Path:
    config = GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=40, pad_token_id=0)
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    return folder


# --- write


def test_what_is_streamed_is_what_json_holds(run: Any, gpt: Path) -> None:
    options = ("--max-tokens", 12, "--seed", 3)
    for prompt in ("A warm", ""):
        code, out, _ = run("write", gpt, prompt, *options, "--json", "--quiet")
        printed = json.loads(out)
        assert code == 0
        assert set(printed) == {"completions", "log_probs", "ended", "decoder"}
        assert printed["decoder"] == "ours"
        [expected] = tm.Policy.load(gpt).complete(
            prompt, sampling=replace(SHORT, max_tokens=12), seed=3
        )
        assert printed["completions"] == [expected.text]
        assert printed["log_probs"] == [pytest.approx(expected.log_prob, rel=1e-5)]
        code, out, err = run("write", gpt, prompt, *options, "--quiet")
        assert (code, out, err) == (0, f"{prompt}{visible(expected.text)}\n", "")


def test_several_of_several(run: Any, gpt: Path) -> None:
    _, out, err = run(
        "write", gpt, "A warm", "A grey", "-n", 3, "--max-tokens", 5, "--json"
    )
    printed = json.loads(out)
    assert [len(printed[name]) for name in ("completions", "log_probs", "ended")] == [
        6,
        6,
        6,
    ]
    cut = printed["ended"].count("length")
    assert cut > 0
    assert f"{cut} of 6 were cut" in err
    assert len(set(printed["completions"][:3])) > 1
    _, out, _ = run(
        "write", gpt, "A warm", "A grey", "-n", 3, "--max-tokens", 5, "--quiet"
    )
    starts = ["A warm"] * 3 + ["A grey"] * 3
    assert out == "".join(
        f"{a}{b}\n\n" for a, b in zip(starts, printed["completions"], strict=True)
    )


def test_a_stop_text_ends_a_completion(run: Any, gpt: Path) -> None:
    _, out, _ = run(
        "write",
        gpt,
        "A",
        "-n",
        8,
        "--stop",
        ",",
        "--stop",
        ".",
        "--json",
        "--max-tokens",
        25,
        "--quiet",
    )
    printed = json.loads(out)
    assert "stop" in printed["ended"]
    assert not any(mark in text for text in printed["completions"] for mark in ",.")


def test_the_best_of_several_by_a_reward(run: Any, gpt: Path, taste: Path) -> None:
    options = ("--max-tokens", 6, "--seed", 2, "--json", "--quiet")
    code, out, _ = run(
        "write", gpt, "A", "-n", 2, "--best-of", 4, "--reward", taste, *options
    )
    printed = json.loads(out)
    assert (code, len(printed["completions"])) == (0, 2)
    written = tm.Policy.load(gpt).complete(
        ["A", "A"], samples=4, sampling=replace(SHORT, max_tokens=6), seed=2
    )
    scores = tm.load(taste).score([f"A{c.text}" for c in written])
    assert printed["scores"] == pytest.approx(
        [max(scores[:4]), max(scores[4:])], rel=1e-5
    )
    chosen = [
        written[scores.index(max(scores[:4]))].text,
        written[4 + scores[4:].index(max(scores[4:]))].text,
    ]
    assert printed["completions"] == chosen


def test_a_completion_without_a_word_has_no_score(
    run: Any, gpt: Path, taste: Path
) -> None:
    """Every review begins with A, and what stands before the stop text is all there is to score."""
    best = ("--best-of", 1, "--reward", taste)
    code, out, _ = run(
        "write",
        gpt,
        "-n",
        8,
        "--stop",
        "A",
        "--max-tokens",
        4,
        *best,
        "--json",
        "--quiet",
    )
    printed = json.loads(out)
    assert code == 0
    assert [score is None for score in printed["scores"]] == [
        not text.strip() for text in printed["completions"]
    ]
    assert None in printed["scores"]


def test_a_file_of_prompts_is_not_written_over(
    run: Any, gpt: Path, tmp_path: Path
) -> None:
    source = tmp_path / "prompts.jsonl"
    source.write_text('{"prompt": "A warm"}\n')
    fails(run("write", gpt, "--file", source, "--out", source), "file that is read")
    assert source.read_text() == '{"prompt": "A warm"}\n'


def test_a_file_of_prompts(run: Any, gpt: Path, tmp_path: Path) -> None:
    source = tmp_path / "prompts.jsonl"
    source.write_text(
        "".join(
            json.dumps({"id": k, "prompt": f"A {w}"}) + "\n"
            for k, w in enumerate(["warm", "grey"])
        )
    )
    out = tmp_path / "written.jsonl"
    command = (
        "write",
        gpt,
        "--file",
        source,
        "--out",
        out,
        "-n",
        2,
        "--max-tokens",
        5,
        "--seed",
        1,
    )
    code, out_text, _ = run(*command, "--json", "--quiet")
    printed = json.loads(out_text)
    assert (code, printed["out"], printed["completions"]) == (0, str(out), 4)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    expected = tm.Policy.load(gpt).complete(
        ["A warm", "A grey"], samples=2, sampling=SHORT, seed=1
    )
    assert [(row["id"], row["completion"]) for row in rows] == [
        (k // 2, c.text) for k, c in enumerate(expected)
    ]
    assert sum(printed["ended"].values()) == 4
    assert printed["decoder"] == "ours"
    assert printed["read_as"][0]["roles"] == {"prompt": "prompt"}
    assert printed["read_as"][0]["unused"] == ["id"]
    (tmp_path / "prompts.txt").write_text("A warm\nA grey\n")
    code, out_text, _ = run(
        "write",
        gpt,
        "--file",
        tmp_path / "prompts.txt",
        "--out",
        tmp_path / "w.csv",
        "--quiet",
    )
    assert (code, out_text) == (0, f"2 completions written into {tmp_path / 'w.csv'}\n")


def test_write_refuses_what_cannot_be(
    run: Any, gpt: Path, taste: Path, texts: Path, tmp_path: Path
) -> None:
    fails(
        run("write", gpt, "zqxjkvbpyw" * 4), "prompt 1 is 41 tokens long", "32 together"
    )
    fails(run("write", gpt, "--temperature", -1), "temperature -1", "likeliest")
    fails(run("write", gpt, "--top-p", 0), "top_p 0")
    fails(run("write", gpt, "--max-tokens", 0), "max_tokens 0")
    fails(run("write", gpt, "--stop", ""), "stop text is empty")
    best = ("--best-of", 2, "--reward", taste)
    for n in (0, -1):
        fails(run("write", gpt, "A", "-n", n), f"-n {n}")
        fails(run("write", gpt, "A", "B", "-n", n, *best), f"-n {n}")
    fails(run("write", gpt, "A", "--best-of", 0, "--reward", taste), "best of 0")
    fails(run("write", gpt, "A", "--best-of", 2), "--reward")
    fails(run("write", gpt, "A", "--chat"), "no chat template")
    fails(
        run("write", gpt, "A", "--file", texts, "--out", tmp_path / "o.jsonl"), "--file"
    )
    fails(run("write", gpt, "--file", texts), "--out")
    fails(
        run("write", gpt, "--file", texts, "--out", tmp_path / "o.parquet"), "o.parquet"
    )
    fails(run("write", tmp_path / "nowhere", "A"), "no such folder")
    fails(run("write", taste, "A"), str(taste))
    fails(run("write", _classifier(tmp_path / "cls"), "A"), "cannot write")


# --- evaluate


def test_evaluate_says_the_perplexity_of_a_text(
    run: Any, gpt: Path, texts: Path, tmp_path: Path
) -> None:
    expected = tm.perplexity(tm.Policy.load(gpt), tm.Documents([texts]))
    code, out, err = run("evaluate", gpt, texts, "--json")
    printed = json.loads(out)
    assert [one["format"] for one in printed.pop("read_as")] == ["text"]
    assert printed.pop("verdict") == expected.verdict()
    assert (code, printed, err) == (0, expected.as_dict(), "")
    code, out, _ = run("evaluate", gpt, texts)
    assert (code, out) == (0, f"{expected.verdict()}\n\n{expected}\n")
    (tmp_path / "empty.txt").write_text("")
    fails(run("evaluate", gpt, tmp_path / "empty.txt"), "no text")
    fails(run("evaluate", gpt, tmp_path / "nowhere.txt"), "nowhere.txt")
    fails(run("evaluate", gpt, texts, "--report", tmp_path / "r"), "--report")


def test_a_tokenizer_without_an_end_token_is_said(
    run: Any, gpt: Path, texts: Path, tmp_path: Path
) -> None:
    for file in (f for f in gpt.iterdir() if f.is_file()):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    for command in (
        ("evaluate", tmp_path, texts),
        ("write", tmp_path, "A", "--max-tokens", 2),
    ):
        code, _, err = run(*command)
        assert code == 0
        assert "the tokenizer has no end token" in err
        assert run(*command, "--quiet")[2] == ""
