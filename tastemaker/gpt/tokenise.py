"""How a policy reads: prompts and completions as token ids, always tokenized apart.

A prompt of text is continued; a prompt of messages (a chat) is answered, as the tokenizer's chat
template puts it. The prompt's tokens are the same in training, in writing and in scoring, because a
completion is never tokenized with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Example, Message, Prompt
from tastemaker.errors import DataError, ModelError

_BETWEEN = "\n\n"
"""Between a prompt and what answers it, where the tokenizer has no chat template."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A tokenizer as a policy uses it."""

    tokenizer: Any

    @property
    def start(self) -> list[int]:
        """The tokens that a text with nothing before it begins with: one, the tokenizer's own start
        or its end.
        """
        begin = self.tokenizer.bos_token_id
        return [self.end if begin is None else int(begin)]

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """What stands where nothing does; any token, since what is text is always kept apart."""
        found = self.tokenizer.pad_token_id
        return self.end if found is None else int(found)

    def prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens of prompts, none of them empty. Raises ModelError for a chat without a
        chat template.
        """
        texts = [p for p in prompts if isinstance(p, str)]
        added = self._adds_at_start()
        read = iter(self._plain(texts))
        return [
            (added + next(read) if isinstance(p, str) else self._chat(p)) or self.start
            for p in prompts
        ]

    def completions(self, texts: Sequence[str], *, ended: bool) -> list[list[int]]:
        """Return the tokens of completions; ended: with the end token behind them."""
        return [[*ids, self.end] if ended else ids for ids in self._plain(texts)]

    def examples(self, examples: Sequence[Example]) -> list[tuple[list[int], int]]:
        """Return for each text that is to be learned (its tokens with the prompt's, how many are
        the prompt's).

        A text without a prompt has one token before it, the start. A prompt of text is a user's
        message to a tokenizer that has a chat template.
        """
        prompts = self.prompts([self._before(example) for example in examples])
        texts = self.completions([example.text for example in examples], ended=True)
        return [
            (prompt + text, len(prompt))
            for prompt, text in zip(prompts, texts, strict=True)
        ]

    def text(self, ids: Sequence[int]) -> str:
        """Return what tokens say, special ones left out."""
        found: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return found

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return what each of some sequences of tokens says, as `text` does."""
        found: list[str] = self.tokenizer.backend_tokenizer.decode_batch(
            list(rows), skip_special_tokens=True
        )
        return found

    def _before(self, example: Example) -> Prompt:
        if example.prompt is None:
            return ""
        if isinstance(example.prompt, str):
            if self.tokenizer.chat_template is None:
                return example.prompt + _BETWEEN
            return (Message("user", example.prompt),)
        return example.prompt

    def _chat(self, messages: tuple[Message, ...]) -> list[int]:
        if self.tokenizer.chat_template is None:
            raise ModelError(
                "the prompt is a chat, and this policy's tokenizer has no chat template. Give the prompt as a text."
            )
        turns = [{"role": role, "content": content} for role, content in messages]
        self._check_free_of_special(messages)
        rendered: str = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        found: list[int] = self.tokenizer.backend_tokenizer.encode(
            rendered, add_special_tokens=False
        ).ids
        return found

    def _check_free_of_special(self, messages: tuple[Message, ...]) -> None:
        """Refuse a turn that spells one of the tokens that stand between turns: it could speak for
        another role.

        Many tokenizers have special tokens that no name (begin, end …) lists, so all that are added
        are asked.
        """
        special = [
            token.content
            for token in self.tokenizer.added_tokens_decoder.values()
            if token.special
        ]
        for role, content in messages:
            for token in special:
                if token in role or token in content:
                    raise DataError(
                        f"a message of {role!r} spells {token!r}, which stands between turns. Remove it."
                    )

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, in which nothing is special, whatever they spell.

        Raises DataError for a text that is not valid Unicode.
        """
        backend = self.tokenizer.backend_tokenizer
        try:
            with _special_as_text(backend):
                return [
                    e.ids
                    for e in backend.encode_batch_fast(
                        list(texts), add_special_tokens=False
                    )
                ]
        except TypeError as error:  # what the tokenizer says of half a surrogate pair
            raise DataError(
                "a text is not valid Unicode: it holds half a surrogate pair. Repair it."
            ) from error

    def _adds_at_start(self) -> list[int]:
        begin = self.tokenizer.bos_token_id
        ids: list[int] = self.tokenizer.backend_tokenizer.encode("").ids
        return [begin] if begin is not None and ids[:1] == [begin] else []


@contextmanager
def _special_as_text(backend: Any) -> Iterator[None]:
    """Read special tokens that a text spells as the characters they are."""
    before, backend.encode_special_tokens = backend.encode_special_tokens, True
    try:
        yield
    finally:
        backend.encode_special_tokens = before
