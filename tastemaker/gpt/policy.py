"""Policy: a causal language model that writes text and gives the log-probability of text.

| method | takes | returns |
|---|---|---|
| `complete` | prompts, samples, Sampling, seed | one Completion for each sample of each prompt |
| `log_probs` | prompts, completions | log π of each token of each completion |
| `with_value_head` | | the same policy with a critic |
| `frozen_copy` | | a reference that shares memory until either is changed |
| `trainable_copy` | | a copy to train |
| `add_adapters` | `Lora` | low-rank adapters, which learn in place of the weights |
| `without_adapters` | | the same policy with its adapters off: their reference |
| `save`, `load` | a folder | a plain Hugging Face folder, value head and adapters beside it |
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tastemaker.adapters import FOLDER as ADAPTER_FOLDER
from tastemaker.adapters import (
    WRITER,
    Adapter,
    Lora,
    adapter_of,
    adapters_off,
    add_adapters,
    merge_adapters,
    merged_twin,
    merges_exactly,
)
from tastemaker.data.chats import as_prompts
from tastemaker.data.judgements import Prompt
from tastemaker.errors import UsageError
from tastemaker.fast.batching import by_length, collate
from tastemaker.fast.gpt_decode import decoder_name
from tastemaker.fast.gpt_layers import most_tokens
from tastemaker.fast.processor import (
    DeviceChoice,
    WeightsChoice,
    choose_device,
    choose_weights,
)
from tastemaker.files import filling_folder
from tastemaker.gpt.networks import (
    ends_of,
    name_ends,
    open_causal,
    parameters_of,
    policy_card,
    recommended,
    sharing_copy,
)
from tastemaker.gpt.sampling import (
    VALUE_HEAD,
    Sampling,
    ValueHead,
    before_stop,
    check_temperature,
    hidden_width,
)
from tastemaker.gpt.tokenise import Reader
from tastemaker.gpt.writing import (
    MOST_ROWS,
    Completion,
    Row,
    Writing,
    check_room,
)
from tastemaker.huggingface import (
    quiet_transformers,
    round_weights,
    save_weights,
)
from tastemaker.readable import notebook_html, write_as_card
from tastemaker.settings import settings_from
from tastemaker.train.gradients import Sharded

FIGURES = "pretraining.json"
"""The file of the training's figures: tokens, steps, held-out loss."""
_BATCH_TOKENS = 8192


class Policy:
    """A language model that writes. Make one with `pretrain`, or open one with `Policy.load`.

    saved_as: the number format of the saved weights. adapter: what was merged into the weights.
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        *,
        value_head: ValueHead | None = None,
        saved_as: torch.dtype = torch.float32,
    ) -> None:
        self.module = module.eval()
        self.tokenizer = tokenizer
        self.value_head = value_head
        self.saved_as = saved_as
        # peft's wrapper of the module while adapters learn, and whether they are off
        self.adapted: Any = None
        self.is_base = False
        self.adapter: Adapter | None = None
        self.sharded: Sharded | None = None
        self.reader = Reader(tokenizer, ends_of(module))
        self.notes: list[str] = []
        self.figures: dict[str, Any] = {}

    def end_at(self, token: int) -> None:
        """Let a token end what is written, beside those that do already; it is saved."""
        if token not in self.reader.ends:
            name_ends(self.module, self.reader.end, token)
            self.reader = Reader(self.tokenizer, ends_of(self.module))

    @property
    def context(self) -> int:
        """The most tokens that it reads and writes together."""
        return most_tokens(self.module)

    @property
    def parameters(self) -> int:
        """The number of its parameters."""
        return parameters_of(self.module)

    @property
    def decoder(self) -> str:
        """Whose pass computes new tokens: "ours", or "transformers" where ours does not fit."""
        return decoder_name(self._writer())

    @property
    def sampling(self) -> Sampling:
        """The sampling that its makers recommend. Raises ModelError for values out of range."""
        return recommended(self.module.generation_config)

    def complete(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        samples: int = 1,
        sampling: Sampling | Mapping[str, Any] | None = None,
        seed: int = 0,
        first: int = 0,
        most_rows: int = MOST_ROWS,
    ) -> list[Completion]:
        """Return `samples` completions of each prompt, all of the first one first.

        prompts: texts, which are continued, or chats (tuples of Message), which are answered; ""
        begins a text. sampling: of a mapping, what is not given is as the policy's makers
        recommend; a `Sampling` is taken as it is. Same seed, same text, whatever `most_rows` are
        written at once. first: the number of the first prompt, where these are a part of more:
        prompts of other numbers draw other texts.
        Raises UsageError for a prompt that leaves no room for a token, and for fewer than one
        sample.
        """
        all_prompts = as_prompts(prompts)
        if not isinstance(sampling, Sampling):
            sampling = settings_from(
                Sampling, sampling, "sampling", self.sampling
            )
        stream = self.stream(
            all_prompts,
            samples=samples,
            sampling=sampling,
            seed=seed,
            first=first,
            most_rows=most_rows,
        )
        written: dict[tuple[int, int], Row] = {}
        for new_rows in stream:
            for row in new_rows:
                if len(row.ids) == 1:
                    written[row.place] = row
        prompt_of_row = []
        rows = []
        for number, prompt in enumerate(all_prompts, first):
            for sample in range(samples):
                prompt_of_row.append(prompt)
                rows.append(written[number, sample])
        return self._completions(prompt_of_row, rows, sampling)

    def stream(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int,
        sampling: Sampling,
        seed: int,
        first: int = 0,
        most_rows: int = MOST_ROWS,
    ) -> Iterator[list[Row]]:
        """Yield after every token the rows that got one. Arguments and errors are those of
        `complete`.
        """
        ids = self.reader.prompts(prompts)
        check_room(ids, self.context)
        job = Writing(
            self._writer(),
            self.reader,
            ids,
            samples=samples,
            room=self.context,
            sampling=sampling,
            seed=seed,
            first=first,
            most_rows=most_rows,
            critic=self.value_head,
        )
        yield from job.steps()

    def completion(
        self, prompt: Prompt, row: Row, sampling: Sampling
    ) -> Completion:
        """Return a finished row as a completion."""
        return self._completions([prompt], [row], sampling)[0]

    def _completions(
        self,
        prompts: Sequence[Prompt],
        rows: Sequence[Row],
        sampling: Sampling,
    ) -> list[Completion]:
        texts = self.reader.texts([row.ids for row in rows])
        completions = []
        for prompt, text, row in zip(prompts, texts, rows, strict=True):
            completion = Completion(
                prompt=prompt,
                text=before_stop(text, sampling.stop),
                ids=tuple(row.ids),
                log_probs=tuple(row.log_probs),
                ended=row.ended,
                values=tuple(row.values),
            )
            completions.append(completion)
        return completions

    def log_probs(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[str | Completion],
        *,
        temperature: float = 1.0,
        ended: bool = True,
    ) -> list[NDArray[np.float32]]:
        """Return log π(token | all before it) of each completion's tokens, float32 [its tokens].

        completions: as `complete` returned them, whose tokens are taken as they are, or texts,
        which are tokenized. ended: whether a text is followed by the end token. temperature:
        divides the logits. Raises UsageError for lists of unlike length, and for a completion that
        does not fit behind its prompt.
        """
        check_temperature(temperature)
        if len(prompts) != len(completions):
            raise UsageError(
                f"{len(prompts)} prompts and {len(completions)} completions: give one for each."
            )
        texts = [c for c in completions if isinstance(c, str)]
        ids_of_texts = iter(self.reader.completions(texts, ended=ended))
        answers = [
            next(ids_of_texts) if isinstance(c, str) else list(c.ids)
            for c in completions
        ]
        prompt_ids = self.reader.prompts(prompts)
        return self.log_probs_of(prompt_ids, answers, temperature=temperature)

    @torch.inference_mode()
    def log_probs_of(
        self,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
    ) -> list[NDArray[np.float32]]:
        """Return log π of each answer's tokens behind its prompt's.

        Raises UsageError for a prompt and answer longer than the context.
        """
        lengths = [
            len(p) + len(a) for p, a in zip(prompts, answers, strict=True)
        ]
        for number, length in enumerate(lengths, 1):
            if length > self.context:
                raise UsageError(
                    f"text {number} is {length:,} tokens long with its prompt, "
                    f"and this policy reads {self.context:,}."
                )
        log_probs: list[Any] = [np.zeros(0, dtype=np.float32)] * len(lengths)
        for part in by_length(lengths, _BATCH_TOKENS, most_padding=0.05):
            sequences = [[*prompts[i], *answers[i]] for i in part]
            values = self.batch_log_probs(sequences, temperature).cpu().numpy()
            for row, i in enumerate(part):
                log_probs[i] = values[
                    row, len(prompts[i]) - 1 : lengths[i] - 1
                ]
        return log_probs

    def batch_log_probs(
        self, sequences: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> Tensor:
        """Return log π of each token but the first of each sequence, [b, t − 1].

        Values behind the end of a sequence are padding. Padding is on the right, where no token of
        a causal network attends to it, so no mask is needed.
        """
        batch = collate(sequences, self.reader.pad).to(self.module.device)
        # it recommends a mask where padding stands
        with quiet_transformers(), self.computing():
            out = self.module(input_ids=batch.ids, use_cache=False)
            logits = out.logits[:, :-1].float() / temperature
        return -functional.cross_entropy(
            logits.transpose(1, 2), batch.ids[:, 1:], reduction="none"
        )

    def add_adapters(self, lora: Lora, *, source: str, seed: int) -> "Policy":
        """Let low-rank adapters learn in place of the weights; return this policy.

        source: the folder or hub name of the base, for the folder of the adapters.
        """
        self.adapted = add_adapters(
            self.module, lora, source=source, seed=seed, use=WRITER
        )
        return self

    def without_adapters(self) -> "Policy":
        """Return the policy on the same weights with its adapters off: the reference of this one.

        It costs no memory. It computes alone: not while this policy does.
        """
        base = Policy(self.module, self.tokenizer)
        base.adapted = self.adapted
        base.is_base = True
        return base

    def computing(self) -> AbstractContextManager[Any]:
        """Return the context in which the module computes this policy."""
        return adapters_off(self.adapted) if self.is_base else nullcontext()

    def _writer(self) -> Any:
        """Return the network that writes: one with float32 adapters merged, for our own decoding.

        Other formats would round away what adapters have learned: there they stay as they are.
        """
        if self.adapted is None or not merges_exactly(self.module):
            return self.module
        return merged_twin(self.adapted)

    def merge_adapters(self) -> None:
        """Merge the adapters, if there are any, into the weights; `save` also writes them alone."""
        if self.adapted is not None:
            self.adapter = merge_adapters(self.adapted)
            self.adapted = None

    def round_weights(self) -> None:
        """Round the weights to what is saved, so that what is measured is what is saved."""
        if self.adapted is None:
            round_weights(self.module, self.saved_as)

    def to(self, device: DeviceChoice) -> "Policy":
        """Move to a device ("auto", "cpu", "cuda", "mps"); return this policy. Raises UsageError
        for an absent one.
        """
        chosen = choose_device(device)
        self.module.to(chosen)
        if self.value_head is not None:
            self.value_head.to(chosen)
        return self

    def with_value_head(self) -> "Policy":
        """Return this policy with a critic: a value head, zero at first, on the same network."""
        head = self.value_head or ValueHead(hidden_width(self.module))
        critic = Policy(
            self.module,
            self.tokenizer,
            value_head=head.to(self.module.device),
            saved_as=self.saved_as,
        )
        critic.adapted = self.adapted
        critic.notes = list(self.notes)
        critic.figures = dict(self.figures)
        return critic

    def frozen_copy(self) -> "Policy":
        """Return a copy that is never trained: the reference of a policy that will be.

        Its weights share memory with this policy's until either side is written to.
        """
        module = sharing_copy(self.module)
        module.requires_grad_(requires_grad=False)
        return Policy(module, self.tokenizer, saved_as=self.saved_as)

    def trainable_copy(self) -> "Policy":
        """Return a copy that trains the parameters that require gradients; all if none does."""
        # Much of it will change: sharing memory would save nothing.
        module = copy.deepcopy(self.module)
        if not any(weight.requires_grad for weight in module.parameters()):
            module.requires_grad_(requires_grad=True)
        return Policy(module, self.tokenizer, saved_as=self.saved_as)

    def save(self, folder: str | Path, *, card: str | None = None) -> "Policy":
        """Save as a plain Hugging Face folder, the value head beside it, and adapters in a
        subfolder. Raises StorageError when the disk is full.

        An older policy's value head and figures there are removed, other files stay. card: the text
        of its README, in place of one of its figures.
        """
        with (
            filling_folder(Path(folder), last="config.json") as temporary,
            quiet_transformers(),
        ):
            adapter = self.adapter
            module = self.module
            if self.adapted is not None:
                adapter = adapter_of(self.adapted)
                module = merged_twin(self.adapted)
            save_weights(module, temporary, self.saved_as)
            if adapter is not None:
                adapter.save(temporary / ADAPTER_FOLDER, module)
            self.tokenizer.save_pretrained(temporary)
            if self.value_head is not None:
                self.value_head.save(temporary)
            if card is None:
                kind = type(self.module).__name__
                card = policy_card(
                    kind, self.parameters, self.context, self.figures
                )
            write_as_card(temporary, card)
            if self.figures:
                (temporary / FIGURES).write_text(
                    json.dumps(self.figures, indent=2) + "\n", encoding="utf-8"
                )
            # config.json first: without it the folder is incomplete
            for name in ("config.json", VALUE_HEAD, FIGURES):
                (Path(folder) / name).unlink(missing_ok=True)
        return self

    @staticmethod
    def load(
        source: str | Path,
        *,
        dtype: WeightsChoice = "float32",
        lora: Lora | None = None,
    ) -> "Policy":
        """Open a folder or hub name; of a folder of adapters, the base with them merged.

        dtype: of the weights; "auto": as saved. lora: settings of adapters, with `quantize` for
        weights in 4 bits. Raises ModelError for what is no causal language model.
        """
        opened = open_causal(source, choose_weights(dtype), lora)
        policy = Policy(
            opened.module,
            opened.tokenizer,
            value_head=ValueHead.load(Path(source), opened.module),
            saved_as=opened.dtype,
        )
        policy.notes += opened.notes
        path = Path(source) / FIGURES
        if path.is_file():
            policy.figures = json.loads(path.read_text(encoding="utf-8"))
        return policy

    def __repr__(self) -> str:
        critic = ", with a value head" if self.value_head is not None else ""
        kind = type(self.module).__name__
        size = f"{self.parameters:,} parameters, reads {self.context:,} tokens"
        return f"Policy({kind}, {size}{critic})"

    def _repr_html_(self) -> str:
        """Return what the policy is and its figures, for a notebook."""
        sentences = [repr(self)]
        for name, value in self.figures.items():
            if isinstance(value, float):
                sentences.append(f"{name.replace('_', ' ')}: {value:,.4g}")
        return notebook_html(sentences)
