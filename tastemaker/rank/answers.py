"""Answers that policies write on the spot, as items to be judged.

Each policy writes its share of the answers of every prompt. An item holds who wrote which answer;
judges never see it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tastemaker.data.judgements import Prompt
from tastemaker.data.store import Item
from tastemaker.errors import UsageError
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.progress import Advance, progress
from tastemaker.settings import settings_from

MOST = 9
_BATCH = 64
"""Prompts that are written for together."""
_ATTEMPTS = 3
_APART = 1_000_003
"""Between the seeds of attempts, and of policies."""

Say = Callable[[str], None]


def write_items(
    policies: Mapping[str, Policy],
    prompts: Sequence[Prompt],
    *,
    answers: int = 4,
    sampling: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = lambda line: None,
) -> list[Item]:
    """Return an item for each prompt, with answers that the policies wrote.

    policies: by the name that is stored. answers: of each prompt, 2 to 9, divided evenly. sampling:
    settings of `Sampling` that replace what each policy recommends. say: takes a line about what
    was left out. Same seed, same answers. An answer that is empty or was there already is drawn
    again, up to three times.
    """
    if not 2 <= answers <= MOST or answers < len(policies):
        few = max(2, len(policies))
        raise UsageError(
            f"--answers {answers}: {few} to {MOST} answers of a prompt, "
            "and at least one of each policy."
        )
    texts: list[dict[str, str]] = [{} for _ in prompts]
    with progress("writing answers", answers * len(prompts)) as advance:
        for number, (name, policy) in enumerate(policies.items()):
            wanted = answers // len(policies)
            wanted += number < answers % len(policies)
            draw = settings_from(
                Sampling,
                {"stop": (), **(sampling or {})},
                "sampling",
                policy.sampling,
            )
            _write(
                _Task(policy, name, wanted, draw, seed + number * _APART),
                prompts,
                texts,
                _with_note(advance, name),
            )
    return _items(prompts, texts, answers, list(policies), say)


def _with_note(advance: Advance, note: str) -> Callable[[int], None]:
    """Return a function of an amount of work that shows the note beside it."""

    def go_on(amount: int) -> None:
        advance(amount, note)

    return go_on


class _Task:
    """What one policy writes. wanted: answers of each prompt."""

    def __init__(
        self,
        policy: Policy,
        name: str,
        wanted: int,
        sampling: Sampling,
        seed: int,
    ) -> None:
        self.policy, self.name, self.wanted = policy, name, wanted
        self.sampling, self.seed = sampling, seed


def _write(
    task: _Task,
    prompts: Sequence[Prompt],
    texts: list[dict[str, str]],
    advance: Callable[[int], None],
) -> None:
    """Add a policy's answers to `texts`: of each prompt, who wrote which text."""
    missing = dict.fromkeys(range(len(prompts)), task.wanted)
    for attempt in range(_ATTEMPTS):
        numbers = [number for number, count in missing.items() if count]
        seed = task.seed + attempt * _APART * _APART
        for start in range(0, len(numbers), _BATCH):
            part = numbers[start : start + _BATCH]
            drawn = task.policy.complete(
                [prompts[number] for number in part],
                samples=task.wanted,
                sampling=task.sampling,
                seed=seed,
                first=start,
            )
            for place, completion in enumerate(drawn):
                number = part[place // task.wanted]
                text = completion.text
                is_new = text.strip() and text not in texts[number]
                if missing[number] and is_new:
                    texts[number][text] = task.name
                    missing[number] -= 1
            if attempt == 0:
                advance(len(part) * task.wanted)


def _items(
    prompts: Sequence[Prompt],
    texts: Sequence[dict[str, str]],
    answers: int,
    names: Sequence[str],
    say: Say,
) -> list[Item]:
    items: dict[str, Item] = {}
    few = short = 0
    for prompt, by in zip(prompts, texts, strict=True):
        few += len(by) < 2
        short += 2 <= len(by) < answers
        if len(by) >= 2:
            item = Item(
                tuple(by),
                prompt or None,
                source=", ".join(names),
                writers=tuple(by.values()),
            )
            items.setdefault(item.digest, item)
    if few:
        say(f"{few:,} prompts were left out: fewer than two different answers")
    if short:
        say(
            f"{short:,} prompts have fewer than {answers} answers: others were empty or came twice"
        )
    if not items:
        raise UsageError(
            "the policies wrote no two different answers of any prompt. "
            "Raise --temperature or --max-tokens."
        )
    return list(items.values())
