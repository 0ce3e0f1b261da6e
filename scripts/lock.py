"""Write requirements.lock: install pyproject's ranges into a fresh environment, and freeze it.

The extras that tests use are installed too. torch goes first and by its exact version: its plain
name may bring gigabytes of CUDA packages.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"
HEADER = "# Exact versions for `make install`. Written by `make lock`; do not edit by hand.\n"


def main() -> None:
    """Resolve and freeze."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", TORCH], check=True)
        subprocess.run(
            [*pip, "install", f"{ROOT}[hub,minilm,pictures,postgres,serve,dev]"],
            check=True,
        )
        frozen = subprocess.run(
            [*pip, "freeze", "--exclude", "tastemaker"],
            check=True,
            capture_output=True,
            text=True,
        )
    lines = [
        TORCH if line.startswith("torch==") else line
        for line in frozen.stdout.splitlines()
    ]
    (ROOT / "requirements.lock").write_text(
        HEADER + "\n".join(lines) + "\n", encoding="utf-8"
    )
    sys.stdout.write(f"{len(lines)} packages locked\n")


if __name__ == "__main__":
    main()
