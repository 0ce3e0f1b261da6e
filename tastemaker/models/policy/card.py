"""The model card of a policy: what it is, what it was trained on, what it pays for held-out text, how to load it."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tastemaker.models.card import CARD, Markdown, escaped

_TEMPLATE = Path(__file__).with_name("card.md.j2")


def policy_card(kind: str, parameters: int, context: int, figures: dict[str, Any]) -> str:
    """Return the card. figures: `pretraining.json`; empty where nothing is known of the training."""
    environment = Environment(
        finalize=lambda value: value if isinstance(value, Markdown | int) else escaped(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    start = figures.get("settings", {}).get("start")
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        kind=kind,
        parameters=parameters,
        context=context,
        start=None if start is None else Path(start).name,
        figures=figures if "corpus" in figures else {},
        number=lambda value: Markdown(f"{value:.4g}"),
        count="{:,}".format,
    )


def write_policy_card(folder: Path, card: str) -> None:
    """Write the card into a folder."""
    (folder / CARD).write_text(card, encoding="utf-8")
