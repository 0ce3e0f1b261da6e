"""Kill commands at many file-system moments, run them again, and compare with runs that were whole.

    python scripts/kills.py                            # 40 moments of every verb
    python scripts/kills.py --verbs score --moments 2

A moment is a file that is opened for writing, a rename, a removal or a new folder, below the
command's output. After each kill, nothing under a final name may be torn. After the same command
has run again, every file that is not a clock must be that of a whole run, and nothing else may be
left. It prints one line a verb and exits with 1 where a run differs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors import safe_open

CHILD = """
import os, signal, sys
root, at = sys.argv[1], int(sys.argv[2])
count = 0
def hook(event, details):
    global count
    if event == "open":
        path, _, flags = details
        if not flags or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        path = details[0]
    else:
        return
    if isinstance(path, int):
        return
    path = os.fsdecode(path)
    # shutil.rmtree gives names in an open folder
    if path.startswith(root) or (event == "os.remove" and not path.startswith("/")):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from tastemaker.cli import main
try:
    main(sys.argv[3:])
finally:
    sys.stderr.write(f"moments {count}\\n")
"""
CLOCKS = {"seconds", "texts_per_second", "tokens_per_second"}
ALMOST_NOTHING = ("--epochs", "1", "--context", "32", "--vocabulary", "300")


def run(root: Path, at: int, words: list[str]) -> tuple[int, int]:
    """Run a command and kill it at a moment; 0: never. Return its exit code and its moments."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(root), str(at), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    moments = 0
    for line in done.stderr.splitlines():
        if line.startswith("moments "):
            moments = int(line.split()[1])
    if done.returncode not in (0, -9):
        sys.stderr.write(done.stderr)
    return done.returncode, moments


def torn(root: Path) -> list[str]:
    """Return the files under a final name that cannot be read."""
    problems = []
    for path in files(root):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".safetensors":
                with safe_open(path, framework="numpy") as file:
                    list(file.keys())
            elif path.suffix == ".jsonl":
                lines = path.read_text(encoding="utf-8").splitlines()
                # a log grows: its last line is cut off by the next run
                for line in lines[:-1] if path.name == "metrics.jsonl" else lines:
                    json.loads(line)
        except Exception as error:
            problems.append(f"{path.relative_to(root)}: {error}")
    return problems


def files(root: Path) -> list[Path]:
    """Return the files below a folder whose names, and folders, are not hidden."""
    found = []
    for path in sorted(root.rglob("*")):
        names = path.relative_to(root).parts
        if path.is_file() and not any(name.startswith(".") for name in names):
            found.append(path)
    return found


def contents(root: Path) -> dict[str, Any]:
    """Return what is below a folder, without clocks; hidden files too."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        if not path.is_file() or "tensorboard" in path.parts:
            continue
        name = str(path.relative_to(root))
        if path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text(encoding="utf-8")))
        elif path.name == "metrics.jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            found[name] = [_timeless(json.loads(line)) for line in lines]
        else:
            found[name] = path.read_bytes()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in CLOCKS}
    return value


def commands(folder: Path) -> dict[str, tuple[list[list[str]], list[str]]]:
    """Return by verb what is to be done first, and the command without its --out."""
    rows = folder / "rows.jsonl"
    with rows.open("w", encoding="utf-8") as file:
        for number in range(300):
            is_good = number % 3 == 0
            text = f"Film {number} was {'brilliant' if is_good else 'awful'}."
            file.write(json.dumps({"text": text, "label": is_good}) + "\n")
    prompts = folder / "prompts.txt"
    prompts.write_text("The film\nThe acting\n" * 20, encoding="utf-8")
    taste, gpt = str(folder / "taste"), str(folder / "gpt")
    fit = ["fit", str(rows), "--quiet"]
    pretrain = ["pretrain", "playground:en:200", *ALMOST_NOTHING, "--quiet"]
    made = [[*fit, "--out", taste]]
    trained = [[*pretrain, "--out", gpt]]
    return {
        "score": (made, ["score", taste, "--file", str(rows)]),
        "fit": ([], [*fit, "--resume"]),
        "members": ([], [*fit, "--members", "2", "--resume"]),
        "pretrain": ([], [*pretrain, "--resume"]),
        "write": (
            trained,
            ["write", gpt, "--file", str(prompts), "--max-tokens", "5"],
        ),
    }


def campaign(verb: str, moments: int, folder: Path) -> list[str]:
    """Kill one verb at so many moments; return what was wrong."""
    first, command = commands(folder)[verb]
    for words in first:
        if not Path(words[-1]).exists():
            code, _ = run(folder, 0, words)
            assert code == 0, words
    name = {"score": "scored.csv", "write": "written.jsonl"}.get(verb, "out")
    whole = folder / "whole"
    code, count = run(whole, 0, [*command, "--out", str(whole / name)])
    assert code == 0, command
    expected = contents(whole)
    problems = []
    for number in range(moments):
        at = 1 + (number + 1) * count // (moments + 1)
        root = folder / f"killed-{at}"
        words = [*command, "--out", str(root / name)]
        code, _ = run(root, at, words)
        place = f"{verb}, moment {at} of {count}"
        problems += [f"{place}: torn: {each}" for each in torn(root)]
        code, _ = run(root, 0, words)
        after = contents(root)
        if code != 0:
            problems.append(f"{place}: the next run ends with {code}")
        for path in sorted(expected.keys() | after.keys()):
            if path not in after or path not in expected:
                problems.append(f"{place}: only one run has {path}")
            elif after[path] != expected[path]:
                problems.append(f"{place}: {path} differs")
        shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(whole, ignore_errors=True)
    print(f"{verb}: {moments} of {count} moments, {len(problems)} problems")
    return problems


def main() -> None:
    """Kill each verb, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["score", "fit", "members", "pretrain", "write"]
    parser.add_argument("--verbs", nargs="+", default=names, choices=names)
    parser.add_argument("--moments", type=int, default=40)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for verb in options.verbs:
            problems += campaign(verb, options.moments, Path(folder).resolve())
    for problem in problems:
        print(f"  {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
