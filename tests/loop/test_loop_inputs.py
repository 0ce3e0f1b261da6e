"""Each input of a loop, and the code, decide which stages run anew: by content, to the byte."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm

ROOT = Path(__file__).parents[2]
LOOP = """
judgements: judged.jsonl
held_out: test.jsonl
gold: truth
policy: gpt
fit: {backbone: encoder, anchor: anchor.jsonl}
watcher: {backbone: linear, judgements: others.jsonl}
steer:
  algorithms: [rloo, dpo]
  prompts: prompts.txt
  rewards: [taste=0.5, rules:brief, repetition=-2]
best_of: 2
rounds: {number: 2, judges: people.jsonl}
"""
FILES = {
    "judged.jsonl",
    "test.jsonl",
    "truth/weights",
    "gpt/weights",
    "encoder/weights",
    "anchor.jsonl",
    "others.jsonl",
    "prompts.txt",
    "taste/weights",
    "rules.py",
    "people.jsonl",
}
ENDS = {"compare", "report"}
STEERED = {"steer-rloo", "steer-dpo"}
SECOND = {"write", "judge", "fit", "evaluate", "steer-2-rloo"}
SECOND |= {"steer-2-dpo"}
ROUND = {f"round-2/{name}" for name in SECOND}
ALL_STEERED = STEERED | ROUND | ENDS
WRITES = ALL_STEERED | {"best-of"}
MEASURED = WRITES | {"evaluate"}
DEPENDENT: Mapping[str, set[str]] = {
    "judged.jsonl": MEASURED | {"collect", "doctor", "fit", "watcher"},
    "test.jsonl": MEASURED | {"collect", "doctor", "fit", "watcher"},
    "truth/weights": MEASURED,
    "gpt/weights": WRITES | {"gpt"},
    "encoder/weights": MEASURED | {"fit"},
    "anchor.jsonl": MEASURED | {"fit"},
    "others.jsonl": MEASURED | {"watcher"},
    "prompts.txt": WRITES,
    "taste/weights": WRITES,
    "rules.py": WRITES,
    "people.jsonl": (ROUND - {"round-2/write"}) | ENDS,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loop file and all its inputs. A plan reads only their bytes."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("0" * 40)
    (tmp_path / "loop.yaml").write_text(LOOP)
    monkeypatch.chdir(tmp_path)  # where own modules are found
    return tmp_path


def keys(folder: Path) -> dict[str, str]:
    """Return what decides whether a stage runs anew, by stage."""
    plan = tm.Loop(folder / "loop.yaml").plan(folder / "run")
    return {each.stage.name: each.key for each in plan}


def changed(folder: Path, change: Callable[[], object]) -> set[str]:
    """Return the stages that run anew after a change."""
    before = keys(folder)
    change()
    after = keys(folder)
    return {name for name, key in after.items() if before[name] != key}


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_byte_of_an_input_decides_what_runs(folder: Path, name: str) -> None:
    path = folder / name
    times = path.stat()

    def change() -> None:
        # the size and the time that programs can set stay
        path.write_text("0" * 39 + "1")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert changed(folder, change) == DEPENDENT[name]


def test_a_folder_of_the_name_of_the_default_backbone_is_no_input(folder: Path) -> None:
    (folder / "linear").mkdir()
    without = LOOP.replace("fit: {backbone: encoder, ", "fit: {")
    (folder / "loop.yaml").write_text(without)
    assert "fit" in keys(folder)


@pytest.mark.parametrize("name", ["own/__init__.py", "own/rules.py", "elsewhere.py"])
def test_a_reward_of_a_package_or_of_the_python_path_is_an_input(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / name if name.startswith("own") else folder / "lib" / name
    for each in ("own/__init__.py", "own/rules.py", "lib/elsewhere.py"):
        (folder / each).parent.mkdir(exist_ok=True)
        (folder / each).write_text("0" * 40)
    monkeypatch.syspath_prepend(folder / "lib")
    rewards = "rewards: [own.rules:brief, elsewhere:brief]"
    loop = LOOP.replace("rewards: [taste=0.5, rules:brief, repetition=-2]", rewards)
    (folder / "loop.yaml").write_text(loop)
    assert changed(folder, lambda: path.write_text("1" * 40)) == WRITES


def test_an_old_file_that_was_changed_is_read_again(folder: Path) -> None:
    path = folder / "judged.jsonl"
    for each in FILES:
        os.utime(folder / each, (0, 0))
    assert changed(folder, lambda: None) == set()

    def change() -> None:
        path.write_text("0" * 39 + "1")
        os.utime(path, (0, 0))

    assert "collect" in changed(folder, change)


def test_the_same_bytes_at_another_time_change_nothing(folder: Path) -> None:
    def touch() -> None:
        for name in FILES:
            os.utime(folder / name, (0, 0))

    assert changed(folder, touch) == set()


@pytest.mark.parametrize(
    "module", ["loop/keys.py", "settings.py", "adapters.py", "rl/algorithms/ppo.py"]
)
def test_other_code_makes_stages_run_anew(
    folder: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def other(path: Path) -> bytes:
        text = read(path)
        return text + b"#" if path.as_posix().endswith(f"tastemaker/{module}") else text

    names = changed(folder, lambda: monkeypatch.setattr(Path, "read_bytes", other))
    if module in ("loop/keys.py", "settings.py"):
        assert names == set(keys(folder))
    elif module == "adapters.py":
        assert names == MEASURED | {"fit", "watcher", "gpt", "doctor"}
    else:
        assert names == WRITES


def test_a_first_run_is_estimated_from_sizes(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(
        "judgements: playground:en:200\n"
        "pretrain: {texts: playground:en:20000}\n"
        "steer: {algorithms: [ppo], steps: 90, batch: 96, max_tokens: 100}\n"
    )
    words = ("loop", path, "--out", tmp_path / "run", "--dry-run")
    code, out, err = run(*words)
    assert code == 0, err
    # 20,000 texts of 300 bytes are 1.5M tokens: 6 · 1.3M · 1.5M / 1.4e11, and 5 s to start
    assert "gpt        would run: to do; about 89 s (estimated from sizes)" in out
    # 90 · 96 · 50 tokens: 10 · 1.3M · 432,000 / 3e10, and 5 s to start
    assert "steer-ppo  would run: to do; about 192 s (estimated from sizes)" in out
    assert "unknown" not in out
    stages = json.loads(run(*words, "--json")[1])["stages"]
    assert all(stage["estimated"] and stage["seconds"] > 0 for stage in stages)


def test_a_corpus_of_the_playground_has_a_size_and_one_of_the_hub_has_none(
    tmp_path: Path,
) -> None:
    about = {}
    for texts in ("playground", "playground:en:40000", "user/corpus"):
        settings = {"judgements": "playground:en:200", "pretrain": {"texts": texts}}
        plan = tm.Loop(settings).plan(tmp_path / texts.replace("/", "-"))
        (about[texts],) = [each.about for each in plan if each.stage.name == "gpt"]
    assert about["playground"] == about["playground:en:40000"] > 100
    assert about["user/corpus"] is None


def test_a_given_gpt_is_estimated_by_its_weights(tmp_path: Path) -> None:
    (tmp_path / "gpt").mkdir()
    (tmp_path / "gpt" / "model.safetensors").write_bytes(b"0" * 400_000)
    steer = {"steps": 300, "batch": 100, "max_tokens": 20, "algorithms": ["ppo"]}
    settings = {"judgements": "playground:en:200", "steer": steer}
    given = tm.Loop({**settings, "policy": str(tmp_path / "gpt")})
    plan = {each.stage.name: each for each in given.plan(tmp_path / "run")}
    # 100,000 weights · 10 · 300,000 tokens / 3e10, and 5 s to start
    assert plan["steer-ppo"].about == pytest.approx(15.0)
    # half as many bytes a weight are twice as many weights
    (tmp_path / "gpt" / "config.json").write_text('{"dtype": "bfloat16"}')
    plan = {each.stage.name: each for each in given.plan(tmp_path / "run")}
    assert plan["steer-ppo"].about == pytest.approx(25.0)
    named = tm.Loop({**settings, "policy": "gpt2"})
    plan = {each.stage.name: each for each in named.plan(tmp_path / "other")}
    assert plan["steer-ppo"].about is None, "a model of a hub is not looked into"


def allowed() -> dict[str, set[str]]:
    """Return what each package may import, from the table in ARCHITECTURE.md."""
    table = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1].startswith("`"):
            for name in cells[1].strip("`").split(", "):
                table[name] = set(cells[2].split(", ")) - {"none", "all"}
    return table


def test_the_code_of_a_stage_is_all_that_it_may_import(folder: Path) -> None:
    table = allowed()
    # these change no result: messages, the progress line, what it costs, how figures look
    silent = {"errors", "progress", "costs", "plotting", "bulk_lines", "bulk_ray"}
    plan = tm.Loop(folder / "loop.yaml").plan(folder / "run")
    code: dict[str, set[str]] = {}
    for each in plan:
        stage: Any = each.stage
        # what an earlier stage runs decides its result, and so the key of this one
        covered = set(stage.code).union(*(code[name] for name in stage.after))
        code[stage.name] = covered
        for package in set(stage.code) - {"loop"}:
            needed = table[package] - silent
            if package == "report" and stage.task in ("check_data", "evaluate_model"):
                needed -= {"gpt", "rl"}  # these pages show no GPT
            assert needed <= covered, (stage.name, package)
