"""The rooms and their order: ARCHITECTURE.md says which module may import which, and this reads both and compares."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tastemaker"
LONGEST_FILE = 300
LONGEST_FUNCTION = 60
ENTRY = re.compile(r"- `(tastemaker[\w.]*)` \S.*")


def listed() -> list[str]:
    """The modules of ARCHITECTURE.md, from the ground up."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = text.split("<!-- modules:begin -->")[1].split("<!-- modules:end -->")[0]
    entries = [ENTRY.fullmatch(line) for line in block.strip().splitlines()]
    assert all(entries), f"a line of the list is not '- `tastemaker.x.y` description':\n{block}"
    return [entry[1] for entry in entries if entry]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def texts() -> dict[str, str]:
    """The text of every module of the package."""
    return {module_of(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every module of the package."""
    return {module: ast.parse(text) for module, text in texts().items()}


def is_empty_package(name: str) -> bool:
    """Whether the module is an __init__.py with nothing in it but a docstring."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() and all(
        isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in trees()[name].body
    )


def imports(tree: ast.Module, module: str, is_package: bool, known: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for every import of this package, wherever it stands, also by `import_module("…")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*above, *filter(None, [node.module])])
            # `from package import name` reads the module package.name where there is one, the package otherwise
            found = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            found = [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.split(".")[0] == "tastemaker")


def wrong_arrows(order: list[str], sources: dict[str, ast.Module], packages: frozenset[str]) -> list[str]:
    """Every import of a module that does not stand above the one that imports it."""
    place = {name: number for number, name in enumerate(order)}
    arrows = {
        (module, line, name)
        for module in order  # one that is not listed has no place to be wrong about; another test names it
        if module in sources
        for line, name in imports(sources[module], module, module in packages, frozenset(sources))
    }
    wrong = [arrow for arrow in sorted(arrows) if place.get(arrow[2], len(order)) >= place[arrow[0]]]
    return [f"{module}, line {line}: imports {name}, which does not stand above it" for module, line, name in wrong]


def foreign(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) for everything imported, and for every call of a dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_every_module_is_listed_once() -> None:
    order = listed()
    assert len(order) == len(set(order)), "a module is listed twice"
    missing = [name for name in trees() if name not in order and not is_empty_package(name)]
    assert not missing, f"not in ARCHITECTURE.md: {missing}"


def test_every_listed_module_is_there() -> None:
    gone = [name for name in listed() if name not in trees()]
    assert not gone, f"in ARCHITECTURE.md without a file: {gone}"


def test_imports_point_up() -> None:
    packages = frozenset(name for name in trees() if ROOT.joinpath(*name.split(".")).is_dir())
    wrong = wrong_arrows(listed(), trees(), packages)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "import tastemaker.low",
        "import tastemaker.high",
        "from tastemaker import high",
        "from tastemaker import low as other",
        "from tastemaker.high import name",
        "from . import high",
        "from .high import name",
        "from tastemaker import name",
        "import tastemaker.unlisted",
        "def f():\n    import tastemaker.high",
        "if TYPE_CHECKING:\n    from tastemaker.high import Name",
        "importlib.import_module('tastemaker.high')",
        "__import__('tastemaker.high')",
    ],
)
def test_a_wrong_arrow_is_found(line: str) -> None:
    order = ["tastemaker.ground", "tastemaker.low", "tastemaker.high", "tastemaker"]
    sources = {name: ast.parse("") for name in [*order, "tastemaker.unlisted"]} | {"tastemaker.low": ast.parse(line)}
    assert len(wrong_arrows(order, sources, frozenset(["tastemaker"]))) == 1


@pytest.mark.parametrize(
    "line", ["from tastemaker import ground", "from tastemaker.ground import x", "from .ground import x"]
)
def test_a_right_arrow_is_not(line: str) -> None:
    order = ["tastemaker.ground", "tastemaker.low", "tastemaker"]
    sources = {name: ast.parse("") for name in order} | {"tastemaker.low": ast.parse(line)}
    assert wrong_arrows(order, sources, frozenset(["tastemaker"])) == []


def test_reading_data_needs_no_torch() -> None:
    used = [
        f"{module}, line {line}: {name}"
        for module, tree in trees().items()
        if module.startswith("tastemaker.data")
        for line, name in foreign(tree)
        if name.split(".")[0] in {"torch", "transformers"}
    ]
    assert not used, used


def test_nothing_is_pickled() -> None:
    roots = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    used = [
        f"{module}, line {line}: {name}"
        for module, tree in trees().items()
        for line, name in foreign(tree)
        if name.split(".")[0] in roots or name in {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle"}
    ]
    assert not used, used


def test_only_the_shell_prints() -> None:
    printed = [
        f"{module}, line {line}"
        for module, tree in trees().items()
        if not module.startswith("tastemaker.cli")
        for line, name in foreign(tree)
        if name == "print"
    ]
    assert not printed, printed


def test_files_and_functions_stay_short() -> None:
    long = []
    for module, text in texts().items():
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            long.append(f"{module}: {lines} lines")
        for node in ast.walk(trees()[module]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{module}: {node.name} has {lines} lines")
    assert not long, "\n".join(long)


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, tree in trees().items() if tree.body and not ast.get_docstring(tree)]
    assert not silent, silent
