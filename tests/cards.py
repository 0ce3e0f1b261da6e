"""Model cards for tests: the front matter, the tables, the HTML, and hostile names."""

import re
from typing import Any

import yaml
from markdown_it import MarkdownIt

HOSTILE = [
    "a\n---\nlibrary_name: evil\n---",
    "`rm` ``x``",
    "<script>alert(1)</script>",
    "x | y | z\n|---|",
    "[click](javascript:alert(1)) ![i](http://e.vil/i.png)",
    "{{ 7 * 7 }}{% raw %}",
    "# heading\r\n\r\n- *list* __bold__ ~~gone~~ $x$",
    "https://e.vil www.e.vil <!-- hidden",
    "\u202egnihtemos\x00\x1b[31m",
    "```python\nimport os",
    "&lt;b&gt; \\",
    '评审员 🙂 O\'Neil "quoted"',
]


def front_matter(text: str) -> dict[str, Any]:
    """Read the front matter as the model hub does: between the first two rules."""
    match = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
    assert match
    parsed: dict[str, Any] = yaml.safe_load(match[1])
    return parsed


def html_of(text: str) -> str:
    """Render the body with HTML allowed and tables on: what a careless page would do with it."""
    body = text.split("\n---\n", 1)[1]
    return (
        MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .render(body)
    )


def rows_of(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a line."""
    lines = text.split(heading, 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
