"""Write docs/reference.md from the docstrings and signatures of the public names.

python scripts/reference.py           # writes it
python scripts/reference.py --check   # fails if it is stale
"""

import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tastemaker as tm

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference.md"
HEAD = """# Reference

Every public name of `import tastemaker as tm`, with its docstring. The settings of each class are
in the [tables of options](guide.md#all-options). `python scripts/reference.py` writes this page;
do not edit it by hand.
"""


def _docstring(value: Any) -> str:
    text = inspect.getdoc(value) or ""
    return text.replace("\r", "").strip()


def _parameters(value: Any) -> str:
    """Return the names of a function's parameters; an optional one is followed by =…"""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    words = []
    for parameter in parameters:
        if parameter.name == "self":
            continue
        has_default = parameter.default is not inspect.Parameter.empty
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        name = stars.get(parameter.kind, "") + parameter.name
        words.append(f"{name}=…" if has_default else name)
    return ", ".join(words)


def _block(text: str) -> Iterator[str]:
    """Yield a docstring as it is written: as code, so that no sign of it is read as Markdown."""
    yield "```text"
    yield text
    yield "```"


def _methods(kind: type) -> Iterator[str]:
    for name, value in vars(kind).items():
        is_public = not name.startswith("_") and callable(getattr(kind, name))
        if is_public and _docstring(value):
            first = " ".join(_docstring(value).split("\n\n")[0].split())
            call = f"{name}({_parameters(getattr(kind, name))})"
            line = f"{call}: {first}"
            yield textwrap.fill(line, 100, subsequent_indent="    ")


def _sections() -> Iterator[str]:
    for name in sorted(tm.__all__, key=str.lower):
        value = getattr(tm, name)
        if not callable(value):
            continue
        is_class = inspect.isclass(value)
        yield f"\n## {name}\n"
        if not is_class:
            yield f"`tm.{name}({_parameters(value)})`\n"
        lines = [_docstring(value)]
        if is_class:
            methods = list(_methods(value))
            lines += ["", *methods] if methods else []
        yield from _block("\n".join(lines))


def main() -> None:
    """Write the page, or check it."""
    text = "\n".join([HEAD.rstrip("\n"), *_sections()]) + "\n"
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("docs/reference.md is stale: run python scripts/reference.py")


if __name__ == "__main__":
    main()
