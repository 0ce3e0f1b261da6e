"""A loop runs once: afterwards only what changed, and a killed one goes on."""

import fcntl
import itertools
import json
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
from nano import drawn, nano

import tastemaker as tm
from tastemaker.data.store import Store, import_judgements

Run = Callable[..., tuple[int, str, str]]

LOOP = """
judgements: reviews.jsonl
held_out: 0.2
fit: {backbone: linear, min_count: 1}
policy: gpt
gold: gold
evaluate: {show: [A warm film.]}
steer:
  algorithms: {rloo: , dpo: {steps: 1}}
  steps: 2
  batch: 8
  measured: 8
  max_tokens: 8
best_of: 2
"""
STAGES = ["collect", "doctor", "fit", "evaluate", "gpt"]
STAGES += ["steer-rloo", "steer-dpo", "best-of", "compare", "report"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a loop file, what it needs, and its finished run."""
    folder = tmp_path_factory.mktemp("loop")
    rows = []
    for number in range(40):
        good, bad = f"A warm film, number {number}.", f"A dull film, number {number}."
        rows.append({"chosen": good, "rejected": bad, "prompt": f"{number}:"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "reviews.jsonl").write_text(lines)
    (folder / "loop.yaml").write_text(LOOP)
    drawn(nano()).save(folder / "gpt")
    tm.Loop(folder / "loop.yaml").run(folder / "run")
    return folder


@pytest.fixture
def loop(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished loop, that a test may change."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def again(run: Run, folder: Path, *more: object) -> dict[str, Any]:
    """Run the loop of a folder; return what it prints."""
    code, out, err = run(
        "loop", folder / "loop.yaml", "--out", folder / "run", *more, "--json"
    )
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


def computed(result: dict[str, Any]) -> list[str]:
    """Return the names of the stages that were not cached."""
    return [stage["name"] for stage in result["stages"] if not stage["cached"]]


def seconds_of_children() -> float:
    """Return the processor time of all processes that this one has started and awaited."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_the_run_folder_holds_each_stage_and_a_report(finished: Path) -> None:
    run_folder = finished / "run"
    for name in STAGES:
        assert (run_folder / name / "stage.json").is_file(), name
    assert tm.load(run_folder / "fit").score("A warm film.") > 0
    assert "steer-rloo" in (run_folder / "report.html").read_text(encoding="utf-8")
    lines = json.loads((run_folder / "evaluate" / "stage.json").read_text())["lines"]
    assert any("A warm film." in line for line in lines)


def test_a_second_call_computes_nothing_in_seconds_and_needs_no_torch(
    loop: Path,
) -> None:
    report = loop / "run" / "report.html"
    before = report.read_bytes()
    code = (
        "import sys\n"
        "from tastemaker.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    assert 'torch' not in sys.modules\n"
    )
    # the copied files have the same content, and other times and folders
    command = [sys.executable, "-c", code, "loop", str(loop / "loop.yaml")]
    command += ["--out", str(loop / "run"), "--json"]
    spent = -seconds_of_children()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    spent += seconds_of_children()
    assert done.returncode == 0, done.stderr
    assert spent < 5  # 0.3 on an idle machine
    assert report.read_bytes() == before
    result = json.loads(done.stdout)
    assert set(result) >= {"report", "stages", "score_before", "score_after", "kl"}
    assert [stage["name"] for stage in result["stages"]] == STAGES
    assert computed(result) == []
    assert result["report"] == str(report)


def test_a_change_computes_what_depends_on_it(run: Run, loop: Path) -> None:
    changed = LOOP.replace("rloo: ,", "rloo: {lr: 2e-3},")
    (loop / "loop.yaml").write_text(changed)
    code, out, _ = run("loop", loop / "loop.yaml", "--out", loop / "run", "--dry-run")
    assert code == 0
    assert "steer-rloo  would run: its settings changed; about" in out
    assert "3 of 10 stages would run" in out
    assert computed(again(run, loop)) == ["steer-rloo", "compare", "report"]
    assert computed(again(run, loop)) == []
    page = (loop / "run" / "report.html").read_text("utf-8")
    cost = page[page.rindex("What it cost, and how to repeat it") :]
    assert f"tastemaker loop {loop / 'loop.yaml'} --out {loop / 'run'} --json" in cost
    for name in STAGES[:-1]:
        assert f'dir="auto">{name}</th>' in cost, name
    assert "texts written" in cost
    table = cost[: cost.index("</table>")]
    for name in STAGES[:-1]:
        assert table.count(f'dir="auto">{name}</th>') == 1, name
    record = json.loads((loop / "run" / "steer-rloo" / "stage.json").read_text())
    # what the command took before belongs to no stage
    assert "starting and reading" not in record["cost"]["stages"]


def test_a_changed_input_and_a_removed_stage_are_computed_again(
    run: Run, loop: Path
) -> None:
    (loop / "run" / "best-of" / "best_of.json").unlink()
    # with the same seed it has the same result, so what follows stays
    assert computed(again(run, loop)) == ["best-of"]
    with (loop / "reviews.jsonl").open("a") as file:
        row = {"chosen": "A warm film.", "rejected": "A grey film.", "prompt": "new"}
        file.write(json.dumps(row) + "\n")
    plan = tm.Loop(loop / "loop.yaml").plan(loop / "run")
    missing = {each.stage.name: each.reason for each in plan if not each.is_cached}
    assert set(missing) == set(STAGES) - {"gpt"}
    assert missing["collect"] == "its input changed"
    assert missing["fit"] == "follows from collect"


def test_an_input_that_vanished_is_said_and_nothing_is_lost(
    run: Run, loop: Path
) -> None:
    whole = tm.Loop(loop / "loop.yaml")
    (loop / "reviews.jsonl").unlink()
    with pytest.raises(tm.DataError, match=r"line 2, judgements: .*reviews.jsonl"):
        whole.run(loop / "run")
    code, _, err = run("loop", loop / "loop.yaml", "--out", loop / "run")
    assert code == 2
    assert "line 2: judgements reviews.jsonl: there is no such file" in err
    assert (loop / "run" / "fit" / "stage.json").is_file()


def test_a_folder_in_use_is_said(run: Run, loop: Path) -> None:
    with (loop / "run" / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, out, err = run("loop", loop / "loop.yaml", "--out", loop / "run")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "another loop is running in this folder" in err


def test_a_full_disk_is_said_and_the_next_call_goes_on(
    run: Run, loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(loop / "run" / "compare")
    shutil.rmtree(loop / "run" / "best-of")
    replace = Path.replace

    def full(path: Path, target: Any) -> Any:
        if "compare" in str(path):
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    code, _, err = run("loop", loop / "loop.yaml", "--out", loop / "run", "--quiet")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "disk" in err
    monkeypatch.undo()
    assert computed(again(run, loop)) == ["compare"]


def test_what_a_killed_process_left_of_a_finished_stage_is_removed(
    run: Run, loop: Path
) -> None:
    left = loop / "run" / ".work" / "steer-rloo"
    left.mkdir(parents=True)
    stage = json.loads((loop / "run" / "steer-rloo" / "stage.json").read_text())
    (left / "key").write_text(stage["key"])
    assert computed(again(run, loop)) == []
    assert not left.exists()


def test_another_round_judges_what_the_steered_policy_wrote(
    run: Run, loop: Path
) -> None:
    text = LOOP.replace("dpo: {steps: 1}", "")
    text += "rounds: {judges: playground, judgements: 12}\n"
    (loop / "loop.yaml").write_text(text)
    result = again(run, loop, "--rounds", 2)
    for name in ("write", "judge", "fit", "evaluate", "steer-2-rloo"):
        assert f"round-2/{name}" in computed(result)
    assert "fit" not in computed(result)
    assert result["policy"].endswith("round-2/steer-2-rloo")
    judged = tm.read(loop / "run" / "round-2" / "judge" / "train.jsonl")
    assert len(judged) == 12
    write = json.loads((loop / "run/round-2/write/stage.json").read_text())["result"]
    # 15 % of 12 are random; 36 pairs were written, all but equal ones are candidates
    assert (write["optimal"], write["random"]) == (10, 2)
    assert 12 < write["candidates"] <= 36
    learned = json.loads((loop / "run/round-2/fit/tastemaker.json").read_text())
    before = json.loads((loop / "run/fit/tastemaker.json").read_text())
    assert learned["data"]["texts"] > before["data"]["texts"]


def test_a_further_round_ranks_groups_of_texts_beside_a_watcher_that_stays(
    run: Run, loop: Path
) -> None:
    text = LOOP.replace("dpo: {steps: 1}", "")
    text += "watcher: {min_count: 1, judgements: reviews.jsonl}\n"
    text += "rounds: {number: 2, judges: playground, judgements: 6, answers: 4}\n"
    (loop / "loop.yaml").write_text(text)
    result = again(run, loop)
    judged = tm.read(loop / "run" / "round-2" / "judge" / "train.jsonl")
    assert len(judged) == 6
    sizes = [len(each.texts) for each in judged]
    assert max(sizes) == 4
    assert min(sizes) >= 2
    write = json.loads((loop / "run/round-2/write/stage.json").read_text())["result"]
    assert write["texts"] == sum(sizes)
    assert "watcher" in computed(result)
    assert not (loop / "run" / "round-2" / "watcher").exists()
    steered = json.loads((loop / "run/round-2/steer-2-rloo/stage.json").read_text())[
        "result"
    ]
    assert steered["held_out_after"] is not None


def test_a_further_round_is_measured_from_the_first_gpt(run: Run, loop: Path) -> None:
    text = LOOP.replace("rloo: , dpo: {steps: 1}", "rloo: {lr: 0.05}")
    text = text.replace("min_count: 1", "min_count: 1, members: 2")
    text = text.replace("steer:", "steer:\n  caution: 2")
    text += "rounds: {number: 2, judges: playground, judgements: 12}\n"
    (loop / "loop.yaml").write_text(text)
    result = again(run, loop)
    assert result["reference"] == str(loop / "gpt")
    # the same texts of the GPT, scored by the model of the second round
    model = tm.load(loop / "run" / "round-2" / "fit")

    def cautious(texts: list[str]) -> list[float]:
        examples = [tm.Example(text) for text in texts]
        scores: list[float] = model.score_all(examples).cautious(2).values.tolist()
        return scores

    first = tm.Policy.load(loop / "gpt")
    final = tm.Policy.load(loop / "run" / "round-2" / "steer-2-rloo")
    sampling = tm.Sampling(max_tokens=8)
    written = first.complete([""] * 8, sampling=sampling, seed=0)
    scores = cautious([each.text for each in written])
    assert result["score_before"] == pytest.approx(sum(scores) / 8)
    written = final.complete([""] * 8, sampling=sampling, seed=0)
    scores = cautious([each.text for each in written])
    assert result["score_after"] == pytest.approx(sum(scores) / 8)
    kl = 0.0
    for each, log_probs in zip(
        written, first.log_probs([""] * 8, written), strict=True
    ):
        kl += (sum(each.log_probs) - float(log_probs.sum())) / 8
    assert result["kl"] == pytest.approx(kl)
    page = (loop / "run" / "report.html").read_text("utf-8")
    assert "steer-2-rloo: from the GPT before all rounds, score " in page


@pytest.mark.usefixtures("own_modules")
def test_rewards_see_the_columns_of_prompts_in_each_round_and_in_best_of(
    run: Run, loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (loop / "answered.py").write_text(
        "def right(completions, answer):\n"
        "    return [len(text) % 7 + 100.0 * int(a) for text, a in zip(completions, answer)]\n"
    )
    rows = [{"prompt": f"{number}:", "answer": f"{number}"} for number in (1, 3)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (loop / "prompts.jsonl").write_text(lines)
    monkeypatch.chdir(loop)
    monkeypatch.syspath_prepend(loop)
    text = LOOP.replace("dpo: {steps: 1}", "").replace("gold: gold\n", "")
    text = text.replace(
        "steer:", "steer:\n  prompts: prompts.jsonl\n  rewards: [answered:right]"
    )
    text += "rounds: {number: 2, judges: playground, judgements: 8}\n"
    (loop / "loop.yaml").write_text(text)
    result = again(run, loop)
    assert "best-of" in computed(result)
    # 8 completions, by turns of the answers 1 and 3
    assert 195 < result["score_before"] < 215
    assert 195 < result["score_after"] < 215


def test_people_judge_a_round_in_a_store_that_comes_into_being(
    run: Run, loop: Path
) -> None:
    text = LOOP.replace("dpo: {steps: 1}", "")
    text += "rounds: {judges: people.db, judgements: 8}\n"
    (loop / "loop.yaml").write_text(text)
    words = ["loop", loop / "loop.yaml", "--out", loop / "run", "--rounds", 2]
    code, _, err = run(*words, "--quiet")
    assert code == 2
    written = loop / "run" / "round-2" / "write" / "completions.jsonl"
    assert f"tastemaker rank {loop / 'people.db'} --items {written}" in err
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    with sqlite3.connect(loop / "people.db") as other:
        other.execute("CREATE TABLE notes (note TEXT)")
    other.close()
    lines = (loop / "loop.yaml").read_text().splitlines()
    number = 1 + lines.index("rounds: {judges: people.db, judgements: 8}")
    code, _, err = run(*words, "--quiet")
    assert code == 2
    assert f"loop.yaml, line {number}, judges: " in err
    assert "no store of judgements" in err
    (loop / "people.db").unlink()
    store = Store(loop / "people.db")
    import_judgements(store, [tm.Comparison("of another", "project")])
    code, _, err = run(*words, "--quiet")
    assert code == 2
    assert "1 new judgements, and none is of texts that this round wrote" in err
    judged = [tm.Comparison(*row["completions"], prompt=row["prompt"]) for row in rows]
    import_judgements(store, judged)
    store.close()
    result = again(run, loop, "--rounds", 2)
    assert "round-2/judge" in computed(result)
    assert "round-2/write" not in computed(result)
    taken = tm.read(loop / "run" / "round-2" / "judge" / "train.jsonl")
    assert {j.chosen for j in taken} == {row["completions"][0] for row in rows}
    # what the second round has taken is not new to a third one
    words[-1] = 3
    code, _, err = run(*words, "--quiet")
    assert code == 2
    # the one of another project alone
    assert "holds 1 new judgements" in err


def measured(run_folder: Path) -> tuple[dict[str, Any], str]:
    """Return what all stages measured; the report without pictures, folder and cost."""
    results = {}
    for path in sorted(run_folder.glob("*/stage.json")):
        result = json.loads(path.read_text(encoding="utf-8"))["result"]
        for name in ("seconds", "policy"):
            result.pop(name, None)
        results[path.parent.name] = result
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    page = page.replace(str(run_folder), "RUN")
    page = page[: page.rindex("What it cost, and how to repeat it")]
    return results, re.sub(r'src="data:[^"]*"', "", page)


def _stages(folder: Path) -> int:
    """Return how many stages of a loop's run are finished."""
    return len(list((folder / "run").glob("*/stage.json")))


def _loop_until(folder: Path, stages: int, changes: int, *words: str) -> None:
    """Run a loop in a process that dies some changes of files after a number of stages."""
    left = itertools.count(changes, -1)
    forked.die_when(lambda: _stages(folder) >= stages and next(left) == 0)
    forked.command(*words)


@pytest.mark.slow
def test_a_loop_killed_again_and_again_ends_in_the_same_report(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("run"))
    words = ["loop", str(folder / "loop.yaml"), "--out", str(folder / "run"), "--quiet"]
    code, kills = -signal.SIGKILL, -1
    while code == -signal.SIGKILL:
        kills += 1
        changes = (0, 4, 16, 32)[kills % 4]  # into the next stage
        process = forked.start_call(
            _loop_until, folder, _stages(folder) + 1, changes, *words
        )
        code = process.wait(600)
    assert code == 0, process.output()
    assert kills >= 5
    assert measured(folder / "run") == measured(finished / "run")


def cost_of_steering(folder: Path) -> dict[str, Any]:
    """Return what the stage cost that steers by RLOO."""
    record = (folder / "run" / "steer-rloo" / "stage.json").read_text()
    cost: dict[str, Any] = json.loads(record)["cost"]
    return cost


def test_the_cost_of_a_stage_is_that_of_all_its_processes(run: Run, loop: Path) -> None:
    (loop / "loop.yaml").write_text(LOOP.replace("rloo: ,", "rloo: {steps: 200},"))
    kept = loop / "run" / ".work" / "steer-rloo" / "cost.json"
    process = forked.start("loop", loop / "loop.yaml", "--out", loop / "run", "--quiet")
    until = time.monotonic() + 100
    while not kept.is_file() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert kept.is_file(), process.output()
    cost = json.loads(kept.read_text())
    assert cost["seconds"] > 0.9
    # as if 50 minutes had passed before it was killed
    cost["seconds"] += 3000
    kept.write_text(json.dumps(cost))
    # with other settings it is another stage, which begins anew
    changed = loop.with_name("changed")
    shutil.copytree(loop, changed)
    (changed / "loop.yaml").write_text(LOOP.replace("rloo: ,", "rloo: {steps: 3},"))
    assert "steer-rloo" in computed(again(run, changed))
    assert cost_of_steering(changed)["seconds"] < 1000
    assert computed(again(run, loop)) == ["steer-rloo", "compare", "report"]
    total = cost_of_steering(loop)
    assert 3000 < total["seconds"] < 4000
    assert total["processor_seconds"] > cost["processor_seconds"]
    report = (loop / "run" / "report.html").read_text("utf-8")
    assert re.search(r"\b5\d min", report)


def test_held_out_texts_of_the_training_data_are_left_out(
    run: Run, tmp_path: Path
) -> None:
    def rows(numbers: range) -> str:
        lines = []
        for number in numbers:
            good = number % 2 == 0
            text = f"A {'warm' if good else 'dull'} film, number {number}."
            lines.append(json.dumps({"text": text, "label": int(good)}) + "\n")
        return "".join(lines)

    (tmp_path / "train.jsonl").write_text(rows(range(40)))
    (tmp_path / "test.jsonl").write_text(rows(range(35, 60)))
    (tmp_path / "loop.yaml").write_text(
        "judgements: train.jsonl\nheld_out: test.jsonl\nfit: {min_count: 1}\n"
    )
    words = (tmp_path / "loop.yaml", "--out", tmp_path / "run")
    code, out, err = run("loop", *words)
    assert code == 0, err
    assert "5 held-out judgements are of texts in the training data" in out + err
    held_out = (tmp_path / "run" / "collect" / "held_out.jsonl").read_text()
    assert len(held_out.splitlines()) == 20


def test_a_store_is_a_source(tmp_path: Path, run: Run) -> None:
    """What is judged on the page after a run is part of the next one."""
    rows = []
    for number in range(40):
        good, bad = f"A warm film, number {number}.", f"A dull film, number {number}."
        rows.append(tm.Comparison(good, bad, prompt=f"{number}:", judge="ann"))
    store = Store(tmp_path / "judgements.db")  # open, as a running page has it
    import_judgements(store, rows, wanted=2)
    (tmp_path / "loop.yaml").write_text("judgements: judgements.db\nheld_out: 0.2\n")
    first = again(run, tmp_path)
    assert computed(first)[0] == "collect"
    assert computed(again(run, tmp_path)) == []
    bo = store.judge("bo")
    view = store.next_view(bo)
    assert view is not None
    store.answer(bo, view.id, "the key", {"tiers": [[0], [1]]})
    assert computed(again(run, tmp_path))[0] == "collect"
    collected = tmp_path / "run" / "collect"
    names = ("train.jsonl", "held_out.jsonl")
    count = sum(len(tm.read(collected / name)) for name in names)
    assert count == len(rows) + 1
    store.close()
