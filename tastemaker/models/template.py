"""How a prompt and the text that answers it become the one text that a backbone reads."""

from tastemaker.data.judgements import Example, plain
from tastemaker.errors import UsageError

TEMPLATE = "{prompt}\n\n{text}"
"""How they are joined, unless the model says otherwise."""

CHAT = "chat"
"""The template of a model that reads prompt and text as its tokenizer's chat template puts them."""


def joined(example: Example, template: str = TEMPLATE) -> str:
    """Return the one text that is read: the text alone, or prompt and text as `template` puts them.

    Raises UsageError for a template without its two places {prompt} and {text}.
    """
    if "{prompt}" not in template or "{text}" not in template:
        raise UsageError(f"template {template!r}: must hold {{prompt}} and {{text}}.")
    if example.prompt is None:
        return example.text
    prompt = plain(example.prompt)
    before, after = template.split("{prompt}", 1)  # not str.format: a template may hold other braces
    return before.replace("{text}", example.text) + prompt + after.replace("{text}", example.text)
