"""Write the two locks: install pyproject's ranges into a fresh environment, and freeze it.

requirements.lock holds what the package, its servers and `make demo` need. requirements-dev.lock
holds the rest: what the other extras and the tests need. torch goes first and by its exact
version: its plain name may bring gigabytes of CUDA packages.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"
EXTRAS = "hub,minilm,pictures,postgres,onnx,serve,dev"
HEADER = "# Exact versions for {}. Written by `make lock`; do not edit by hand.\n"

# runs in the fresh environment: the names of all packages that the package and its servers need
NEEDED = """
import re
from importlib.metadata import PackageNotFoundError, distribution
from packaging.requirements import Requirement

names, open_requirements = set(), [("tastemaker[serve]", ())]
done = set()
while open_requirements:
    line, extras = open_requirements.pop()
    requirement = Requirement(line)
    marker = requirement.marker
    if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
        continue
    key = (requirement.name, frozenset(requirement.extras))
    if key in done:
        continue
    done.add(key)
    try:
        package = distribution(requirement.name)
    except PackageNotFoundError:
        continue
    names.add(re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower())
    open_requirements += [(each, tuple(requirement.extras)) for each in package.requires or []]
print("\\n".join(names))
"""


def name_of(line: str) -> str:
    """Return the name of a locked package, as the index compares names."""
    return re.sub(r"[-_.]+", "-", line.split("==", maxsplit=1)[0]).lower()


def main() -> None:
    """Resolve and freeze."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", TORCH], check=True)
        subprocess.run([*pip, "install", f"{ROOT}[{EXTRAS}]"], check=True)
        frozen = subprocess.run(
            [*pip, "freeze", "--exclude", "tastemaker"],
            check=True,
            capture_output=True,
            text=True,
        )
        needed = subprocess.run(
            [python, "-c", NEEDED], check=True, capture_output=True, text=True
        )
    lines = [
        TORCH if line.startswith("torch==") else line
        for line in frozen.stdout.splitlines()
    ]
    write_locks(lines, set(needed.stdout.split()))
    sys.stdout.write(f"{len(lines)} packages locked\n")


def write_locks(lines: list[str], needed: set[str]) -> None:
    """Write each package into the lock that it belongs to."""
    base = [line for line in lines if name_of(line) in needed]
    rest = [line for line in lines if name_of(line) not in needed]
    for name, purpose, part in (
        ("requirements.lock", "the package and `make demo`", base),
        ("requirements-dev.lock", "tests, tools and other extras", rest),
    ):
        text = HEADER.format(purpose) + "\n".join(part) + "\n"
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
