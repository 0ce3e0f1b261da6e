"""Copy the documents into build/site-source, which MkDocs reads: it takes one folder of sources.

The paths stay, so that links work on the site as they do in the repository.
"""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["*.md", "LICENSE", "docs", "lessons", "examples", "benchmarks"]
SOURCES += ["deploy", "integrations"]


def main() -> None:
    """Copy what is under version control."""
    target = ROOT / "build" / "site-source"
    shutil.rmtree(target, ignore_errors=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--", *SOURCES],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if name.startswith("."):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)


if __name__ == "__main__":
    main()
