"""The primer in docs/learn: equal in both languages, numbers measured, excerpts verbatim."""

import contextlib
import io
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from lesson_files import LADDER, LESSONS, load

from tastemaker.cli import main

ROOT = LESSONS.parent
LEARN = ROOT / "docs" / "learn"
PAGES = ("README.md", "zh.md")
# decimals that are quoted from elsewhere, and what they are a part of there
QUOTED = {"4.42": "gold 4.42 of its plain texts"}
LAST = "lesson7_from_cartpole_to_text"
FIGURES = json.loads((LEARN / "figures.json").read_text(encoding="utf-8"))

both = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    return (LEARN / page).read_text(encoding="utf-8")


def sections(page: str) -> list[str]:
    """Return what stands before the first heading, and each section with its heading."""
    return re.split(r"^(?=## )", text_of(page), flags=re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the fenced blocks: language and text."""
    return re.findall(
        r"^```(\w+)\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE
    )


def commands(page: str) -> list[list[str]]:
    lines = [
        line
        for language, text in blocks(page)
        if language == "console"
        for line in text.splitlines()
    ]
    assert [line for line in lines if not line.startswith("$ ")] == []
    return [shlex.split(line[2:]) for line in lines]


def formulas(text: str) -> list[str]:
    return re.findall(
        r"\$\$?([^$\n]+?)\$\$?",
        re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE),
    )


def prose(text: str) -> str:
    """Return a text without comments, code, formulas and the addresses of links."""
    for pattern in (
        r"<!--.*?-->",
        r"^```.*?^```$",
        r"`[^`\n]*`",
        r"\$\$?[^$\n]+?\$\$?",
        r"\]\([^)]*\)",
    ):
        text = re.sub(pattern, " ", text, flags=re.DOTALL | re.MULTILINE)
    return text


def measured(text: str) -> dict[str, str]:
    """Return the numbers that a text says are from figures.json: path → as quoted."""
    numbers = {}
    for block in re.findall(r"<!-- figures\.json\n(.*?)-->", text, flags=re.DOTALL):
        for line in block.splitlines():
            path, quoted = line.split(" = ")
            assert path not in numbers
            numbers[path] = quoted.replace("−", "-")
    return numbers


def at(path: str) -> Any:
    """Return what stands in figures.json at a path."""
    value = FIGURES
    for key in path.split("/"):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def decimals(text: str) -> set[str]:
    """Return the numbers in a text that have a decimal point, and signed ones, without a plus."""
    return {
        x.replace("−", "-")
        for x in re.findall(r"(?<![\w/.])−?\d+\.\d+(?![\d.])", text.replace("+", ""))
    }


def test_both_languages_say_the_same() -> None:
    assert len(sections("README.md")) == len(sections("zh.md")) == 8
    assert blocks("README.md") == blocks("zh.md")
    for here, there in zip(sections("README.md"), sections("zh.md"), strict=True):
        for pattern in (
            r"^!\[.*\]\((.*)\)",
            r"^<!-- from .*",
            r"^[|-] ?(?=[^|-])",
            r"^<[\w/]+>$",
            r"^\$\$",
            r"\*\*",
        ):
            assert re.findall(pattern, here, flags=re.MULTILINE) == re.findall(
                pattern, there, flags=re.MULTILINE
            )
        assert sorted(formulas(here)) == sorted(formulas(there))
        assert measured(here) == measured(there)


@both
def test_letters_are_those_of_the_code(page: str) -> None:
    code = "\n".join(
        (LESSONS / f"{name}.py").read_text(encoding="utf-8") for name in (*LADDER, LAST)
    )
    rows = re.findall(
        r"^\| [^|`]+ \| (`[^|]+) \|", sections(page)[0], flags=re.MULTILINE
    )
    assert len(rows) == 12
    for name in re.findall(r"`([^`]+)`", " ".join(rows)):
        assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", code), name


@both
def test_every_section_is_run_and_asked(page: str) -> None:
    for section in sections(page)[1:]:
        _, after = re.split(
            r"^\*\*(?:See it run\.|动手看看。)\*\*", section, flags=re.MULTILINE
        )
        assert after.count("```console") == 1
        assert (
            after.count("<details>")
            == after.count("<summary>")
            == after.count("</details>")
            == 1
        )


@both
def test_links_and_pictures_exist(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)", text_of(page))
    assert [target for target in targets if not (LEARN / target).exists()] == []
    drawn = {path.stem for path in (LEARN / "images").iterdir()}
    assert (
        drawn
        == set(FIGURES)
        == {Path(target).stem for target in targets if target.endswith(".png")}
    )
    paths = re.findall(r"`([\w/]+\.(?:py|md))`", text_of(page))
    assert [
        path
        for path in paths
        if not (ROOT / path).exists() and not (LEARN / path).exists()
    ] == []


@both
def test_numbers_are_the_measured_ones(page: str) -> None:
    for section in sections(page):
        quoted, text = measured(section), prose(section).replace("−", "-")
        for path, number in quoted.items():
            digits = len(number.partition(".")[2])
            assert f"{at(path):.{digits}f}" == number.lstrip("+"), path
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d]|\.\d)", text), (
                path,
                number,
            )
        allowed = {number.lstrip("+") for number in quoted.values()} | set(QUOTED)
        assert decimals(prose(section)) - allowed == set()
    experiments = (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8")
    assert [words for words in QUOTED.values() if words not in experiments] == []


@both
def test_excerpts_are_verbatim(page: str) -> None:
    quote = r"^<!-- from (\S+) -->\n```\w+\n(.*?)^```$"
    quotes = re.findall(quote, text_of(page), flags=re.DOTALL | re.MULTILINE)
    languages = [language for language, _ in blocks(page)]
    assert len(quotes) == len(languages) - languages.count("console") == 7
    for path, excerpt in quotes:
        text = (ROOT / path).read_text(encoding="utf-8")
        in_a_function = textwrap.indent(excerpt, "    ")
        assert "\n" + excerpt in text or "\n" + in_a_function in text, (path, excerpt)


def help_of(command: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main([command, "--help"])
    return printed.getvalue()


def test_commands_exist() -> None:
    steering = help_of("steer")
    for program, *words in commands("README.md"):
        options = {word for word in words if word.startswith("--")}
        if program == "tastemaker":
            text = help_of(words[0])
        elif program == "diff":
            assert all((ROOT / word).is_file() for word in words)
            continue
        else:
            assert program == "python"
            text = (ROOT / words[0]).read_text(encoding="utf-8")
            if words[0].endswith("check.py"):
                assert any(
                    (LESSONS / folder / f"{words[1]}.py").is_file()
                    for folder in ("exercises", "bugs")
                )
        assert [option for option in options if option not in text] == []
    for option in re.findall(r"`(--[\w-]+)`", text_of("README.md")):
        assert option in steering or option == "--lesson6"


def test_the_measurements_say_what_the_text_says() -> None:
    estimators = FIGURES["variance"]["estimators"]
    order = ["whole", "to_go", "baseline", "gae_0.99", "gae_0.95"]
    for noisier, quieter in pairwise(order):
        assert (
            estimators[noisier]["noise"]["low"] > estimators[quieter]["noise"]["high"]
        )
        assert (
            estimators[noisier]["cosine"]["value"]
            < estimators[quieter]["cosine"]["value"]
        )
    # without bias where the text says so; with the critic believed in everything, with it
    for name in ("whole", "to_go", "baseline"):
        assert estimators[name]["aim"]["value"] == pytest.approx(1, abs=0.02)
    assert estimators["gae_0.0"]["aim"]["high"] < estimators["gae_0.95"]["aim"]["low"]
    assert (
        estimators["gae_0.0"]["cosine"]["value"]
        < estimators["gae_0.95"]["cosine"]["value"]
    )
    two = FIGURES["kl"]["bandit"]
    assert (round(two["0.5"]["likely"], 4), round(two["2.0"]["likely"], 4)) == (
        0.8808,
        0.6225,
    )
    assert all(abs(x["learned"] - x["likely"]) < 0.01 for x in two.values())
    fooled = FIGURES["kl"]["fooled"]
    rewards = [x["reward"] for x in fooled["curve"]]
    assert rewards == sorted(rewards)
    assert fooled["last"]["gold"] < 0 < fooled["peak"]["gold"]


@pytest.fixture(scope="module")
def drawing() -> Iterator[ModuleType]:
    """figures.py as it is run: with its neighbours on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(LEARN))
        yield load(LEARN / "figures.py")
    for name in ("measuring", "pictures", "worlds"):
        sys.modules.pop(name, None)


def test_a_quick_run_draws_every_figure_and_the_same_twice(
    drawing: ModuleType, tmp_path: Path
) -> None:
    drawing.main(["--quick", "--out", str(tmp_path)])
    once = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        f"{name}.png" for name in FIGURES
    }
    assert drawing.rounded(drawing.measure(drawing.QUICK, 20)) == once
    # what is exact is exact in a quick run too
    for name in ("clip", "text"):
        assert once[name] == FIGURES[name]


def test_the_bootstrap_and_the_cosines_by_hand(drawing: ModuleType) -> None:
    """Four gradients (1, ±1) about (1, 0), reference (0, 2): squared deviations 1 each, times 2/(2
    − 1) for a half.
    """
    from measuring import judged

    g = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]).double()
    figures = judged(g, torch.tensor([[2.0, 2.0]] * 4).double(), resamples=5)
    assert figures["noise"]["value"] == pytest.approx(2.0)
    # (1, 1) points along (2, 2), (1, −1) at a right angle to it; their mean (1, 0) has cosine √½
    assert figures["cosine"]["value"] == pytest.approx(0.5)
    assert figures["aim"]["value"] == pytest.approx(0.5**0.5)


def test_the_tree_by_hand(drawing: ModuleType) -> None:
    from worlds import leaves

    values = FIGURES["text"]["V"]
    assert sum(x.likely for x in leaves()) == pytest.approx(1)
    # V of "not" is 0.3 of what "not bad." earns and 0.7 of what "not good." does
    r = {" ".join(x.words): x.r for x in leaves()}
    assert values["not"] == pytest.approx(
        0.3 * r["not bad."] + 0.7 * r["not good."], abs=1e-4
    )
