"""The pages of the site are there, their links lead somewhere, and their commands exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

import tastemaker as tm
from tastemaker.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "lessons").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
    ]
)
TAUGHT = sorted(
    [*(ROOT / "docs/tutorials").glob("*.md"), *(ROOT / "docs/zh").glob("*.md")]
)

ENGLISH_OF = {
    page: english
    for page in (ROOT / "docs/zh").glob("*.md")
    for english in (ROOT / "docs" / page.name, ROOT / "docs/tutorials" / page.name)
    if english.is_file()
}
"""Each Chinese page and the English one of its name; the quickstart has none."""


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _targets(nav: list[dict[str, Any]]) -> list[str]:
    """Return every page that a navigation names."""
    pages = []
    for entry in nav:
        for value in entry.values():
            pages += [value] if isinstance(value, str) else _targets(value)
    return pages


def _without_code(text: str) -> str:
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", without_blocks)


def _anchor(heading: str) -> str:
    """Return the fragment that GitHub gives a heading."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


def test_every_page_of_the_navigation_exists() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = _targets(settings["nav"])
    assert len(pages) > 15
    missing = {page for page in pages if not (ROOT / page).is_file()}
    assert missing == set()
    for page in (ROOT / "docs").rglob("*.md"):
        assert _name(page) in pages, f"mkdocs.yml's nav lacks {_name(page)}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = _without_code(page.read_text(encoding="utf-8"))
    lost = []
    for link in re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", text):
        if re.match(r"\w+:", link):
            continue
        path, _, fragment = unquote(link).partition("#")
        target = (page.parent / path) if path else page
        if not target.exists():
            lost.append(link)
        elif fragment and target.suffix == ".md":
            headings = re.findall(
                r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE
            )
            if fragment not in map(_anchor, headings):
                lost.append(link)
    assert lost == []


def _blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def _commands() -> list[list[str]]:
    commands = []
    for page in TAUGHT:
        text = "\n".join(_blocks(page, "console")).replace("\\\n", " ")
        for line in text.splitlines():
            if line.startswith("$ tastemaker"):
                commands.append(shlex.split(line[2:], comments=True))
    return commands


def test_options_of_the_tutorials_exist(capsys: pytest.CaptureFixture[str]) -> None:
    helps: dict[str, str] = {}
    commands = _commands()
    assert len(commands) > 30
    for command in commands:
        verb = command[1]
        if verb not in helps:
            with pytest.raises(SystemExit) as ended:
                main([verb, "--help"])
            assert ended.value.code == 0, verb
            helps[verb] = capsys.readouterr().out
        for word in command:
            if word.startswith("-"):
                assert word in helps[verb], (verb, word)


@pytest.mark.parametrize("page", TAUGHT, ids=_name)
def test_python_of_the_tutorials_names_what_exists(page: Path) -> None:
    for block in _blocks(page, "python"):
        compile(block, page.name, "exec")
        for name in re.findall(r"\btm\.(\w+)", block):
            assert hasattr(tm, name), name


def _code(page: Path) -> list[str]:
    """Return the lines of commands and Python without their comments."""
    lines = "".join(_blocks(page, "console") + _blocks(page, "python")).splitlines()
    without_comments = [re.sub(r"\s*(?<!\S)#.*", "", line) for line in lines]
    return [line.replace(" --language zh", "") for line in without_comments]


def test_pages_for_newcomers_are_there_in_chinese() -> None:
    pages = {page.stem for page in ENGLISH_OF}
    assert pages >= {"rank", "serve", "loop", "glossary"}
    assert pages >= {page.stem for page in (ROOT / "docs/tutorials").glob("*.md")}


@pytest.mark.parametrize("page", sorted(ENGLISH_OF), ids=_name)
def test_a_chinese_page_and_its_english_one_agree(page: Path) -> None:
    english = ENGLISH_OF[page]
    assert f"[English](../{english.relative_to(ROOT / 'docs')})" in page.read_text(
        "utf-8"
    )
    back = "zh" if english.parent.name == "docs" else "../zh"
    assert f"[中文]({back}/{page.name})" in english.read_text("utf-8")
    assert _code(page) == _code(english)
    settings, english_settings = (
        [set(yaml.safe_load(block)) for block in _blocks(each, "yaml")]
        for each in (page, english)
    )
    assert settings == english_settings
    assert len(_rows(page)) == len(_rows(english))


def _rows(page: Path) -> list[str]:
    """Return the rows of a page's tables."""
    return re.findall(r"^\|.*\|$", page.read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("language", ["playground:zh"])
def test_the_chinese_quickstart_names_a_playground_that_exists(language: str) -> None:
    assert len(list(tm.Documents([f"{language}:20"]))) == 20


def test_the_sources_of_the_site_are_copied_with_their_paths() -> None:
    subprocess.run([sys.executable, ROOT / "scripts/site.py"], check=True)
    copied = ROOT / "build/site-source/docs/glossary.md"
    assert copied.read_bytes() == (ROOT / "docs/glossary.md").read_bytes()
