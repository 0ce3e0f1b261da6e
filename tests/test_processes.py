"""Many processes train one model: the curve of one, one that writes, and what ends a run."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import forked
import processes_work
import pytest
from shell import fails

import tastemaker as tm

ROOT = Path(__file__).resolve().parents[1]
CLOCK = ("seconds", "per_second")


def variables(size: int = 2) -> Iterator[dict[str, str]]:
    """Yield torchrun's variables for each process, with a free port."""
    port = str(forked.free_port())
    for number in range(size):
        yield {
            "RANK": str(number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }


def started(
    *commands: Callable[[Mapping[str, str]], forked.Forked],
) -> list[forked.Forked]:
    """Start one process for each command."""
    pairs = zip(commands, variables(len(commands)), strict=True)
    return [command(environment) for command, environment in pairs]


def command(*words: object) -> Callable[[Mapping[str, str]], forked.Forked]:
    """Return what starts `tastemaker` with some words."""
    return lambda environment: forked.start(*words, environment=dict(environment))


def outcomes(processes: list[forked.Forked]) -> list[tuple[int, str]]:
    """Return the exit code and the output of each process."""
    return [(process.wait(600), process.output()) for process in processes]


def curve(folder: Path) -> list[dict[str, float]]:
    """Return the logged metrics, without those of the clock."""
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    rows = []
    for line in lines:
        row = json.loads(line)
        rows.append({k: v for k, v in row.items() if not k.endswith(CLOCK)})
    return rows


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What one process made, what two did, and what two with half of the weights each did.

    Each verb has a folder.
    """
    networks = processes_work.save_networks(tmp_path_factory.mktemp("networks"))
    names = [str(network) for network in networks]
    made = {name: tmp_path_factory.mktemp(name) for name in ("one", "two", "shard")}
    running = []
    for name, folder in made.items():
        for environment in [{}] if name == "one" else variables():
            running.append(
                forked.start_call(
                    processes_work.main_in,
                    str(folder),
                    names,
                    name == "shard",
                    environment=environment,
                )
            )
    for code, output in outcomes(running):
        assert code == 0, output
        assert "Warning" not in output
    return made


def results(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text()) for path in sorted(folder.glob("process-*.json"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "near"), [("two", 1e-6), ("shard", 1e-5)])
@pytest.mark.parametrize("verb", ["fit", "pretrain", "ppo", "dpo"])
def test_two_processes_learn_as_one(
    folders: dict[str, Path], verb: str, name: str, near: float
) -> None:
    one, two = folders["one"], folders[name]
    alone, together = curve(one / verb), curve(two / verb)
    assert len(alone) == len(together) >= 4
    for before, after in zip(alone[:20], together[:20], strict=True):
        assert before.keys() == after.keys()
        names = {"loss", "cost", "score", "preference_loss", "kl", "held_out_loss"}
        for metric in before.keys() & names:
            assert after[metric] == pytest.approx(before[metric], abs=near), (
                metric,
                before,
            )
    first, second = (result[verb] for result in results(two))
    assert first["weights"] == second["weights"]
    if verb in ("ppo", "dpo"):
        assert first["texts"] == second["texts"] == results(one)[0][verb]["texts"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "shard"])
def test_a_saved_model_scores_as_that_of_one_process(
    folders: dict[str, Path], name: str
) -> None:
    one, two = folders["one"], folders[name]
    texts = ["A warm film.", "A dull film, and long.", "Bright!"]
    expected = tm.load(one / "fit").score(texts)
    # scores are in standard deviations of few texts here, so they reach 4
    scores = tm.load(two / "fit").score(texts)
    assert scores == pytest.approx(expected, abs=1e-4, rel=5e-5)
    alone, (first, second) = results(one)[0]["fit"]["scores"], results(two)
    assert first["fit"]["scores"] == pytest.approx(alone, abs=1e-4)
    # the other process returns the same model
    assert second["fit"]["scores"] == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "shard"])
@pytest.mark.parametrize("network", ["minilm", "llama"])
def test_networks_of_folders_learn_as_in_one_process(
    folders: dict[str, Path], network: str, name: str
) -> None:
    alone = results(folders["one"])[0][network]
    first, second = (result[network] for result in results(folders[name]))
    assert first["weights"] == second["weights"]
    assert first["scores"] == pytest.approx(alone["scores"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "shard"])
def test_the_first_process_alone_asks_a_function(
    folders: dict[str, Path], name: str
) -> None:
    one, two = folders["one"], folders[name]
    first, second = results(two)
    assert second["calls"] == []
    assert first["calls"] == results(one)[0]["calls"]
    assert not list(two.glob("**/.*"))  # no lock, nothing temporary


def test_adapters_learn_in_two_processes_as_in_one(tmp_path: Path) -> None:
    _, llama = processes_work.save_networks(tmp_path / "networks")
    rows = tmp_path / "rows.jsonl"
    with rows.open("w") as file:
        for number in range(48):
            row = {"text": f"{'warm' if number % 2 else 'dull'} film {number}"}
            file.write(json.dumps(row | {"label": number % 2}) + "\n")
    words = ["fit", rows, "--backbone", llama, "--lora", 4, "--max-length", 32]
    words += ["--epochs", 2, "--batch-size", 8, "--lr", 1e-3, "--device", "cpu"]
    words += ["--precision", "float32", "--quiet", "--out"]
    one = forked.start(*words, tmp_path / "one")
    for code, output in outcomes([one]):
        assert code == 0, output
    for code, output in outcomes(started(*[command(*words, tmp_path / "two")] * 2)):
        assert code == 0, output
    alone, together = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(alone) == len(together) >= 4
    losses = [row["loss"] for row in alone]
    assert losses[-1] != losses[0]
    for before, after in zip(alone, together, strict=True):
        assert after["loss"] == pytest.approx(before["loss"], abs=1e-6)
    texts = ["warm film", "dull film 3"]
    expected = tm.load(tmp_path / "one").score(texts)
    assert tm.load(tmp_path / "two").score(texts) == pytest.approx(expected, abs=1e-4)
    assert (tmp_path / "two" / "adapter" / "adapter_config.json").is_file()


# --- what is refused, and what ends a run


FIT = (
    *("--backbone", "tiny", "--vocabulary", "320", "--max-length", "16"),
    *("--device", "cpu"),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled texts."""
    path: Path = tmp_path_factory.mktemp("source") / "films.jsonl"
    rows = []
    for number in range(80):
        word = "warm" if number % 2 else "dull"
        rows.append(
            json.dumps({"text": f"A {word} film, {number}.", "label": number % 2})
        )
    path.write_text("\n".join(rows))
    return path


def written_since(folder: Path, pattern: str, began: float) -> bool:
    """Return whether a file was written since a time."""
    return any(path.stat().st_mtime > began for path in folder.glob(pattern))


def refused(processes: list[forked.Forked], *words: str) -> None:
    """Assert that all processes end with 2, and that one line in all says why."""
    ends = outcomes(processes)
    assert [code for code, _ in ends] == [2] * len(ends), ends
    lines = "".join(output for _, output in ends).splitlines()
    lines = [line for line in lines if not line.startswith("read as: ")]
    assert len(lines) == 1, ends
    for word in words:
        assert word in lines[0]


def test_what_does_not_train_is_refused(source: Path, tmp_path: Path) -> None:
    score = command("score", "nowhere", "Warm.")
    refused(started(score, score), "`score` works in one process, and 2 were started")
    fit = command("fit", source, "--out", tmp_path / "taste")
    refused(started(fit, fit), "a linear backbone works in one process")
    assert not list(tmp_path.iterdir())


def test_unlike_commands_and_too_many_processes_are_refused(
    source: Path, tmp_path: Path
) -> None:
    words = ("fit", source, "--out", tmp_path / "taste", *FIT)
    # one group after another: a process waits for the others of its group some seconds only
    unlike = started(command(*words), command(*words, "--seed", "1"))
    refused(unlike, "the processes are unlike: ", " 0 in process 0 and ")
    half = started(command(*words, "--shard"), command(*words))
    refused(half, "the processes are unlike: shard is true in process 0 and false in")
    members = started(*[command(*words, "--shard", "--members", "2")] * 2)
    refused(members, "--shard and --members: each would be whole beside the others")
    many = started(*[command(*words, "--batch-size", "2")] * 3)
    refused(many, "a step has 2 judgements, which 3 processes cannot share")
    assert not list(tmp_path.iterdir())


def test_weights_of_one_process_are_not_divided(
    run: Callable[..., tuple[int, str, str]], source: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out", "--shard")
    texts = tmp_path / "texts.txt"
    texts.write_text("A warm film.\n" * 50)
    for words in (("fit", source, *FIT), ("pretrain", texts)):
        fails(run(*words, *out), "--shard divides the weights", "and there is one")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused(
    run: Callable[..., tuple[int, str, str]], source: Path, tmp_path: Path
) -> None:
    lock = tmp_path / ".taste.lock"
    with lock.open("w") as file:
        file.write("process 12 of here")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        result = run("fit", source, "--out", tmp_path / "taste")
    fails(result, "another process is training in this folder", "(process 12 of here)")
    # the process that held it has died
    assert run("fit", source, "--out", tmp_path / "taste")[0] == 0
    assert not lock.exists()


def test_a_killed_process_ends_the_others_and_the_run_resumes(
    run: Callable[..., tuple[int, str, str]], source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "taste"
    words = ("fit", source, "--out", out, *FIT, "--batch-size", "8", "--resume")
    words += ("--epochs", "20", "--evaluations", "20")
    for killed, moment, more in (
        (1, "metrics.jsonl", ()),
        (0, "checkpoint-*/state.json", ("--shard",)),
    ):
        kept = tmp_path / f"before-{killed}"
        if out.exists():
            shutil.copytree(out, kept)
        for _ in range(5):  # until a process is killed before it has ended by itself
            began = time.time()
            processes = started(*[command(*words, *more, "--quiet")] * 2)
            while not written_since(out / "run", moment, began):
                if any(process.poll() is not None for process in processes):
                    break
                time.sleep(0.001)
            processes[killed].kill()
            ends = outcomes(processes)
            code, output = ends[1 - killed]
            # torch's own thread may abort the process that lost the other one
            is_abort = code == -signal.SIGABRT and "c10d" in output
            if ends[killed][0] == -signal.SIGKILL and code != 0 and not is_abort:
                break
            shutil.rmtree(out, ignore_errors=True)
            if kept.exists():
                shutil.copytree(kept, out)
        assert code == 1, output
        assert len(output.splitlines()) == 1
        assert "has ended without a word" in output
        assert not (out / "tastemaker.json").exists()
    code, _, err = run(*words)
    assert code == 0, err
    assert "going on with 1 process instead of 2" in err
    steps = [row["step"] for row in curve(out)]
    assert steps == sorted(set(steps))
    assert len(tm.load(out).score(["A warm film."])) == 1


LAUNCHERS = {
    "torchrun": ("torch.distributed.run", "--nproc-per-node", "2", "--master-port"),
    "accelerate": (
        # it starts them by torchrun; with --cpu it leaves that to MPI, and starts one
        *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        "--main_process_port",
    ),
}
"""How two processes are started; the number of a port follows."""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_writes_one_model(
    launcher: str, source: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", *LAUNCHERS[launcher]]
    words += [next(variables())["MASTER_PORT"], "-m", "tastemaker"]
    words += ["fit", str(source), "--out", str(tmp_path / "taste"), *FIT, "--json"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    ) as launched:
        try:
            printed, notes = launched.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            os.killpg(launched.pid, signal.SIGTERM)  # it ends what it has started
            time.sleep(40)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(launched.pid, signal.SIGKILL)
    assert launched.returncode == 0, notes
    # one process writes, and it knows of the other
    assert json.loads(printed)["model"] == str(tmp_path / "taste")
    assert [path.name for path in tmp_path.iterdir()] == ["taste"]
    cost = json.loads((tmp_path / "taste" / "run" / "cost.json").read_text())
    assert "--nproc-per-node 2" in cost["command"]
