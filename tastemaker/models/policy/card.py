"""The model card of a policy: what it is, what it was trained on, what it pays for held-out text, how to load it."""

from pathlib import Path
from typing import Any

from tastemaker.models.card import filled_in, write_as_card

_TEMPLATE = Path(__file__).with_name("card.md.j2")


def policy_card(kind: str, parameters: int, context: int, figures: dict[str, Any]) -> str:
    """Return the card. figures: `pretraining.json`; empty where nothing is known of the training."""
    start = figures.get("settings", {}).get("start")
    return filled_in(
        _TEMPLATE,
        kind=kind,
        parameters=parameters,
        context=context,
        start=None if start is None else Path(start).name,
        figures=figures if "corpus" in figures else {},
    )


def write_policy_card(folder: Path, card: str) -> None:
    """Write the card into a folder. Raises StorageError for a full disk or an unwritable folder."""
    write_as_card(folder, card)
