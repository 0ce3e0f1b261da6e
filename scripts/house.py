"""Measure the code: sizes, density, engine parts, modules behind one call.

    python scripts/house.py            # this checkout
    python scripts/house.py ../older   # another checkout, measured by the same rules

It prints a table and one JSON line. The other checkout is measured by its own code: this script
starts itself again with PYTHONPATH set to it. What a checkout cannot answer is shown as "-".
"""

import ast
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

MAX_LINE = 100
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
STEPS_OF_STEERING = re.compile(r"tastemaker/(learning/steering|rl/text)/")


def trees_of(folder: Path) -> dict[str, ast.Module]:
    """Return the syntax tree of every module below a folder, by dotted name."""
    trees = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


# ---- sizes and density ---------------------------------------------------------------------------


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines that docstrings stand on."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.value.value, str):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def code_lines(text: str, tree: ast.Module) -> int:
    """Return the number of lines with code on them: no comments, no docstrings, no empty lines."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(tree))


def nested_comprehensions(tree: ast.AST) -> list[int]:
    """Return the line numbers of comprehensions that stand inside a comprehension."""
    lines = []
    for outer in ast.walk(tree):
        if isinstance(outer, COMPREHENSIONS):
            inner = [n for n in ast.walk(outer) if n is not outer]
            lines += [n.lineno for n in inner if isinstance(n, COMPREHENSIONS)]
    return sorted(set(lines))


def sizes(folder: Path) -> dict[str, Any]:
    """Return lines, code lines, expressions, long lines and nested comprehensions of a folder."""
    total: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        total["modules"] += 1
        total["lines"] += text.count("\n")
        total["code_lines"] += code_lines(text, tree)
        total["expressions"] += sum(
            isinstance(node, ast.expr) for node in ast.walk(tree)
        )
        total["long_lines"] += sum(len(line) > MAX_LINE for line in text.split("\n"))
        total["nested_comprehensions"] += len(nested_comprehensions(tree))
    return {
        "modules": total["modules"],
        "lines": total["lines"],
        "code_lines": total["code_lines"],
        "expressions_per_code_line": round(
            total["expressions"] / max(1, total["code_lines"]), 2
        ),
        "long_lines_percent": round(
            100 * total["long_lines"] / max(1, total["lines"]), 1
        ),
        "nested_comprehensions": total["nested_comprehensions"],
    }


# ---- imports -------------------------------------------------------------------------------------


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything of ours that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "tastemaker")


def module_in(name: str, modules: set[str]) -> str:
    """Return the module that an imported name belongs to."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name


def single_importers(trees: dict[str, ast.Module]) -> list[str]:
    """Return the modules that exactly one other module imports."""
    importers: dict[str, set[str]] = defaultdict(set)
    for importer, tree in trees.items():
        for name in imported_names(tree):
            importers[module_in(name, set(trees))].add(importer)
    return sorted(m for m, users in importers.items() if len(users - {m}) == 1)


def inner_imports(tests: Path, modules: set[str]) -> list[str]:
    """Return the modules below a package that tests import: all that are neither `tastemaker` nor a
    face.
    """
    inner = set()
    for tree in trees_of(tests).values():
        for name in imported_names(tree):
            module = module_in(name, modules)
            if module.count(".") >= 2:
                inner.add(module)
    return sorted(inner)


def matched_messages(tests: Path) -> int:
    """Return how many `match=` arguments the tests have."""
    calls = [
        n
        for tree in trees_of(tests).values()
        for n in ast.walk(tree)
        if isinstance(n, ast.Call)
    ]
    return sum(keyword.arg == "match" for call in calls for keyword in call.keywords)


# ---- the engine ----------------------------------------------------------------------------------


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    """Yield every call inside a node."""
    yield from (child for child in ast.walk(node) if isinstance(child, ast.Call))


def saves_checkpoint(loop: ast.AST) -> bool:
    """Return whether a loop saves checkpoints: it calls `x.save(...checkpoint...)`."""
    for call in calls_in(loop):
        is_save = isinstance(call.func, ast.Attribute) and call.func.attr == "save"
        if is_save and any("checkpoint" in ast.unparse(a).lower() for a in call.args):
            return True
    return False


def training_loops(trees: dict[str, ast.Module]) -> list[str]:
    """Return the functions with a loop that saves checkpoints."""
    loops = set()
    for module, tree in trees.items():
        for function in ast.walk(tree):
            if not isinstance(function, FUNCTIONS):
                continue
            inner = [
                n for n in ast.walk(function) if isinstance(n, ast.While | ast.For)
            ]
            if any(saves_checkpoint(loop) for loop in inner):
                loops.add(f"{module}.{function.name}")
    return sorted(loops)


def step_implementations(trees: dict[str, ast.Module]) -> list[str]:
    """Return the modules that compute the gradients of an optimiser step.

    They call `loss.backward()` or `torch.autograd.grad`. Second-order methods are left out: L-BFGS,
    convex fits and TRPO.
    """
    steps = set()
    for module, tree in trees.items():
        text = ast.unparse(tree)
        if "LBFGS" in text or "conjugate" in text or "minimize(" in text:
            continue
        names = {ast.unparse(call.func) for call in calls_in(tree)}
        if any(
            name == "torch.autograd.grad" or name.endswith(".backward")
            for name in names
        ):
            steps.add(module)
    return sorted(steps)


def run_states(trees: dict[str, ast.Module]) -> list[str]:
    """Return the classes that hold how far a run is: their names end in Standing or Progress."""
    return sorted(
        f"{module}.{node.name}"
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and node.name.endswith(("Standing", "Progress"))
    )


# ---- what runs -----------------------------------------------------------------------------------


def modules_entered(
    call: Callable[[], object], root: Path, within: Callable[[Any], bool]
) -> list[str]:
    """Return the modules of the package whose functions a call enters, while a function `within` is
    active.
    """
    entered: set[str] = set()
    depth = 0
    package = str(root / "tastemaker")

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal depth
        code = frame.f_code
        is_boundary = within(code)
        if event == "call" and is_boundary:
            depth += 1
        is_function = bool(code.co_flags & inspect.CO_OPTIMIZED)
        if depth and is_function and code.co_filename.startswith(package):
            entered.add(str(Path(code.co_filename).relative_to(root)))
        if event == "return" and is_boundary:
            depth -= 1

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return sorted(entered)


def is_steering_step(code: Any) -> bool:
    """Return whether a function is the one that takes one step of steering."""
    is_step = code.co_name in {"step", "_step"} and code.co_argcount == 1
    return is_step and STEPS_OF_STEERING.search(code.co_filename) is not None


def is_fit(code: Any) -> bool:
    """Return whether a function is the verb `fit`."""
    return bool(
        code.co_name == "fit"
        and re.search(r"tastemaker/(learning|reward)/", code.co_filename)
    )


def steer_once(folder: Path) -> None:
    """Take one PPO step with a tiny policy."""
    import tastemaker as tm

    gpt = tm.Policy.load(folder / "gpt")
    tm.steer(
        gpt,
        reward=lambda prompts, texts: [float(len(text)) for text in texts],
        prompts=["The film"],
        algorithm="ppo",
        steering={"steps": 1, "batch": 8, "measured": 8},
        sampling=tm.Sampling(max_tokens=8),
    )


def fit_once(folder: Path, name: str) -> None:
    """Fit a linear model to labels and save it."""
    import tastemaker as tm

    labels = [
        tm.Label(f"A {'good' if n % 2 else 'bad'} film, number {n}.", n % 2 == 1)
        for n in range(80)
    ]
    tm.fit(labels, backbone="linear", out=folder / name)


def running(root: Path) -> dict[str, Any]:
    """Return the modules entered by one PPO step and by one linear fit."""
    import tastemaker as tm

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        tm.pretrain(
            tm.Documents(["playground:en:200"]), size="tiny", out=folder / "gpt"
        )
        steer_once(folder)  # once unwatched, so that imports are not counted
        step = modules_entered(lambda: steer_once(folder), root, is_steering_step)
        fit_once(folder, "first")
        fit = modules_entered(lambda: fit_once(folder, "second"), root, is_fit)
    return {"ppo_step_modules": step, "linear_fit_modules": fit}


def options() -> dict[str, Any]:
    """Return the options of `fit` and `steer`: how many are shown, how many hidden, in how many
    groups.
    """
    from tastemaker.cli import app

    group: Any = app
    if not hasattr(group, "commands"):  # an older checkout has a typer app
        from typer.main import get_command

        group = get_command(app)
    counts: dict[str, Any] = {}
    for verb in ("fit", "steer"):
        command = group.get_command(None, verb)
        shown = [p for p in command.params if p.opts[0].startswith("-")]
        hidden = [p for p in shown if p.hidden]
        panels = {
            getattr(p, "panel", getattr(p, "rich_help_panel", None))
            for p in shown
            if not p.hidden
        }
        counts[f"{verb}_options"] = len(shown) - len(hidden)
        counts[f"{verb}_hidden_options"] = len(hidden)
        counts[f"{verb}_groups"] = len(panels)
    return counts


# ---- the table -----------------------------------------------------------------------------------


def measure(root: Path) -> dict[str, Any]:
    """Return every figure of a checkout; lists hold names."""
    trees = trees_of(root / "tastemaker")
    figures = sizes(root / "tastemaker")
    figures["single_importers"] = single_importers(trees)
    figures["training_loops"] = training_loops(trees)
    figures["step_implementations"] = step_implementations(trees)
    figures["run_states"] = run_states(trees)
    figures["matched_messages_in_tests"] = matched_messages(root / "tests")
    figures["inner_modules_in_tests"] = inner_imports(root / "tests", set(trees))
    for part in (lambda: running(root), options):
        try:
            figures |= part()
        except Exception as error:  # an older checkout may not know a name
            sys.stderr.write(f"not measured: {type(error).__name__}: {error}\n")
    return figures


def main(arguments: list[str]) -> None:
    """Measure a checkout, this one by default."""
    here = Path(__file__).resolve().parents[1]
    root = Path(arguments[0]).resolve() if arguments else here
    if os.environ.get("HOUSE_ROOT") != str(root):
        environment = os.environ | {"PYTHONPATH": str(root), "HOUSE_ROOT": str(root)}
        command = [sys.executable, __file__, str(root)]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    figures = measure(root)
    for name, value in figures.items():
        is_list = isinstance(value, list)
        print(f"{name:32} {len(value) if is_list else value}")
        if is_list and len(value) <= 40:
            print("".join(f"    {item}\n" for item in value), end="")
    print(
        json.dumps(
            {k: len(v) if isinstance(v, list) else v for k, v in figures.items()}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
