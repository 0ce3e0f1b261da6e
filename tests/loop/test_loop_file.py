"""A loop file with mistakes: all of them at once, each with its line, before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nano import drawn, nano

import tastemaker as tm
from tastemaker.demo import loop_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Write a loop file beside a file of judgements; return its path."""

    def write(text: str) -> Path:
        (tmp_path / "reviews.csv").write_text("text,label\ngood,1\nbad,0\n")
        path = tmp_path / "loop.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(run: Run, path: Path) -> list[str]:
    """Return the lines on stderr of a loop that cannot be, without what they begin with."""
    out = path.parent / "run"
    code, stdout, stderr = run("loop", path, "--out", out)
    assert (code, stdout) == (2, ""), stderr
    assert not out.exists()
    return [line.removeprefix(f"tastemaker: {path}") for line in stderr.splitlines()]


def test_all_mistakes_are_listed_with_their_lines(run: Run, written: Any) -> None:
    path = written(
        "judgements: lost.csv\n"
        "hold_out: 0.2\n"
        "fit:\n"
        "  strengh: 3\n"
        "  epochs: two\n"
        "policy: gpt2\n"
        "steer:\n"
        "  algorithms: {poo: , rloo: {clipp: 1}}\n"
        "  opening: [2, 8]\n"
    )
    listed = problems(run, path)
    lines = [line.partition(":")[0] for line in listed]
    assert lines == [f", line {n}" for n in (1, 2, 4, 5, 8, 8, 9)]
    for line, words in zip(
        listed,
        (
            "lost.csv",
            "'hold_out': did you mean held_out?",
            "'strengh': did you mean strength?",
            "epochs 'two': must be a whole number",
            "'poo'",
            "'clipp': did you mean clip?",
            "opening is about prompts",
        ),
        strict=True,
    ):
        assert words in line


def test_data_are_always_checked(run: Run, written: Any) -> None:
    for value in ("false", "{}"):
        path = written(f"judgements: reviews.csv\ndoctor: {value}\n")
        (line,) = problems(run, path)
        assert line.startswith(", line 2: a loop file has no key 'doctor'"), line


def test_values_that_the_verbs_refuse_are_listed_before_anything_runs(
    run: Run, written: Any
) -> None:
    path = written(
        "judgements: reviews.csv\n"
        "fit: {strength: -3}\n"
        "policy: gpt2\n"
        "steer:\n"
        "  steps: 0\n"
        "  algorithms:\n"
        "    rloo: {lr: 1e-4}\n"
        "    ppo:\n"
        "      lr: -1\n"
    )
    code, _, stderr = run("loop", path, "--out", path.parent / "run")
    assert code == 2
    first, second, third = stderr.splitlines()
    assert ", line 2: " in first
    assert "strength -3" in first
    assert ", line 5: " in second
    assert "steps 0" in second
    assert ", line 9: " in third
    assert "lr -1" in third


def test_wrong_keys_and_all_wrong_values_are_listed_together(
    run: Run, written: Any
) -> None:
    path = written(
        "judgements: reviews.csv\n"
        "fit:\n"
        "  strength: -3\n"
        "  min_count: 0\n"
        "  strengh: 2\n"
        "policy: gpt2\n"
        "steer:\n"
        "  gradient_clip: 0\n"
        "  steps: 0\n"
        "  stepps: 3\n"
    )
    listed = problems(run, path)
    lines = [line.partition(":")[0] for line in listed]
    assert lines == [f", line {n}" for n in (3, 4, 5, 8, 9, 10)], listed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fit: {}\n", "judgements are missing"),
        ("judgements: reviews.csv\nsteer: {}\n", "steer needs a GPT"),
        ("judgements: reviews.csv\nbest_of: 4\n", "best_of needs a GPT"),
        ("judgements: reviews.csv\npolicy: gpt2\npretrain: {texts: a/b}\n", "one of"),
        ("judgements: reviews.csv\npretrain: {size: tiny}\n", "name the texts"),
        ("judgements: reviews.csv\nheld_out: 2\n", "held_out 2: must be a share"),
        ("judgements: &a [*a]\n", "line 1: the alias *a is not read here"),
        ("judgements: " + 3000 * "[" + "\n", "nested too deeply"),
        ("judgements: reviews.csv\nfit: linear\n", "must hold `key: value` lines"),
        ("judgements: reviews.csv\nseed: 1\nseed: 2\n", "again, after line 2"),
        ("judgements: reviews.csv\nrounds: {number: 2}\n", "rounds need a GPT"),
        (
            "judgements: reviews.csv\npolicy: gpt2\nrounds: {number: 2}\n",
            "name the judges",
        ),
        (
            "judgements: reviews.csv\npolicy: gpt2\nrounds: {judges: some/data}\n",
            "judges some/data: a data set of the hub holds no judgements",
        ),
        (
            "judgements: reviews.csv\npolicy: gpt2\nsteer: {reward: baseline}\n",
            "only a network has",
        ),
        (
            "judgements: reviews.csv\npolicy: gpt2\nrounds: {answers: 1}\n",
            "answers 1: a judge compares 2 texts",
        ),
        ("judgements: [a\n", "cannot be read as YAML"),
    ],
)
def test_what_contradicts_or_is_missing(
    run: Run, written: Any, text: str, words: str
) -> None:
    assert words in " ".join(problems(run, written(text)))


def test_a_setting_of_another_backbone_is_refused_at_its_line(
    run: Run, written: Any
) -> None:
    text = "judgements: reviews.csv\nfit:\n  backbone: tiny\n  lora: 8\n  epochs: -1\n"
    listed = problems(run, written(text))
    lines = [line.partition(":")[0] for line in listed]
    assert lines == [", line 4", ", line 5"], listed
    assert "lora" in listed[0]


@pytest.mark.parametrize("reward", [":short", ".", "a..b:c", "1x:short"])
def test_a_reward_that_is_none_is_one_line(run: Run, written: Any, reward: str) -> None:
    drawn(nano()).save(written("").parent / "gpt")
    text = "judgements: reviews.csv\npolicy: gpt\n"
    path = written(f"{text}steer: {{rewards: ['{reward}']}}\n")
    code, _, err = run("loop", path, "--out", path.parent / "run", "--dry-run")
    assert (code, err) == (0, "")


def test_a_folder_does_not_shadow_a_built_in_name(written: Any) -> None:
    path = written(
        "judgements: reviews.csv\npolicy: gpt2\ngold: gold\nfit: {backbone: tiny}\n"
        "steer: {rewards: [length=2, ./repetition, taste]}\n"
    )
    for name in ("gold", "tiny", "length", "repetition", "taste"):
        (path.parent / name).mkdir()
    file = tm.Loop(path).file
    assert file.top["gold"] == "gold"
    assert file.section("fit")["backbone"] == "tiny"
    folder = path.parent
    assert file.section("steer")["rewards"] == (
        "length=2",
        f"{folder / 'repetition'}",
        f"{folder / 'taste'}",
    )


def test_a_mapping_is_checked_like_a_file() -> None:
    with pytest.raises(tm.UsageError, match=r"the loop: .*'fits': did you mean fit"):
        tm.Loop({"judgements": "playground:en:50", "fits": {}})


def test_judges_in_a_folder_beside_the_file_are_no_hub_name(
    run: Run, written: Any
) -> None:
    text = "judgements: reviews.csv\npolicy: gpt2\nrounds: {judges: people/new}\n"
    path = written(text)
    (path.parent / "people").mkdir()
    code, _, err = run("loop", path, "--dry-run")
    assert code == 0, err


def test_a_hub_name_may_hold_a_dot(written: Any) -> None:
    path = written("judgements: reviews.csv\npolicy: Qwen/Qwen2.5-0.5B\n")
    assert tm.Loop(path).file.top["policy"] == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("name", ["loop.yaml", "small.yaml"])
def test_the_example_on_imdb_is_a_loop(name: str, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "imdb" / name
    (tmp_path / "aclImdb_v1.tar.gz").touch()
    path = tmp_path / name
    path.write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    file = tm.Loop(path).file
    assert file.has_gpt
    assert file.algorithms


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_demo_is_a_loop(language: Any) -> None:
    loop = tm.Loop(loop_of(language, texts=2000))
    assert loop.file.judgements[0].startswith(f"playground:{language}:1500:ranking")


def test_a_word_of_the_playground_that_is_none_is_said(tmp_path: Path) -> None:
    loop = tm.Loop({"judgements": "playground:en:50:rankin"})
    with pytest.raises(tm.UsageError, match="'rankin' is no language, number, kind"):
        loop.run(tmp_path / "run")
