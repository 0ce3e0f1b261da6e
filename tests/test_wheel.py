"""A wheel holds every file of the package, and works where there is no repository."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEVELOPMENT_ONLY = {"tastemaker/ruff.toml"}

REPORT = """
from pathlib import Path

import tastemaker as tm

assert "unpacked" in tm.__file__, tm.__file__
judgements = []
for number in range(80):
    word = "good" if number % 2 == 0 else "bad"
    judgements.append(tm.Label(f"A {word} film, number {number}.", number % 2 == 0))
train, held_out = tm.split(judgements, held_out=0.3, seed=0)
taste = tm.fit(train, backbone="linear", out="taste")
tm.write_report(tm.evaluate(taste, held_out), Path("page"))
"""


def _package_files() -> set[str]:
    """Return every file of the package that is under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "tastemaker"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(listing.stdout.split("\0")) - {""} - DEVELOPMENT_ONLY


def output_of(
    words: Sequence[object], folder: Path, environment: dict[str, str]
) -> str:
    """Run a command in a folder; return what it prints."""
    completed = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True)
    (built,) = folder.glob("tastemaker-*.whl")
    return built


@pytest.mark.slow
def test_a_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert _package_files() - names == set()
    assert {name for name in names if name in DEVELOPMENT_ONLY} == set()


@pytest.mark.slow
def test_a_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    empty = tmp_path / "empty"
    empty.mkdir()
    # -I leaves the environment's paths out: the wheel's path comes first by the code itself
    first = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
    shell = "from tastemaker.cli import main; main(['--help'])"
    environment = {**os.environ, "TASTEMAKER_REPORT": "0"}

    def python(code: str) -> str:
        words = (sys.executable, "-I", "-c", first + code)
        return output_of(words, empty, environment)

    assert "steer" in python(shell)
    python(REPORT)
    page = (empty / "page" / "report.html").read_text(encoding="utf-8")
    assert "data:image/svg+xml" in page


@pytest.mark.slow
def test_an_installed_wheel_has_the_command(wheel: Path, tmp_path: Path) -> None:
    """The wheel is installed into an environment of its own; what it requires is borrowed.

    Only the libraries come from the development environment, by a path file. A real fresh
    installation, from the network, is in CONTRIBUTING.md.
    """
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-index", "--no-deps", wheel]
    subprocess.run(command, check=True)
    packages = next((venv / "lib").glob("python*/site-packages"))
    # path files of a folder that is named in a path file are not read: no editable install
    (packages / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {
        key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ
    }

    def called(*words: object) -> str:
        return output_of(words, empty, environment)

    place = called(python, "-c", "import tastemaker; print(tastemaker.__file__)")
    assert Path(place.strip()).is_relative_to(packages)
    planned = called(venv / "bin" / "tastemaker", "demo", "--out", "demo", "--dry-run")
    assert "steer-grpo  would run: to do" in planned
