"""What axe-core finds on the page that a browser shows."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FIND = """
const [only, done] = arguments
// a colour that is still changing would be measured half-way
const style = document.createElement("style")
style.textContent = "* { transition: none !important }"
document.head.append(style)
axe.run(document, only).then((r) => done(r.violations.map((v) =>
  [v.id, v.impact, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120) + n.failureSummary)])))
"""


def axe_source() -> str:
    """Return axe-core; skip the test where it is not installed."""
    package = find_spec("axe_playwright_python")
    if package is None or package.submodule_search_locations is None:
        pytest.skip("no axe-core: the pages were not checked for accessibility")
    folder = Path(package.submodule_search_locations[0])
    return (folder / "axe.min.js").read_text(encoding="utf-8")


def barriers(browser: Any, *rules: str) -> list[Any]:
    """Return every violation on the present page: its rule, its impact, where.

    rules: the names of the only rules to check.
    """
    browser.execute_script(axe_source())
    only = {"runOnly": list(rules)} if rules else {}
    result: list[Any] = browser.execute_async_script(FIND, only)
    browser.get_log("browser")  # the style of the search is noted there
    return result
