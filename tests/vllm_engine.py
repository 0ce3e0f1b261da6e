"""A module of the calls of vLLM 0.33 that a colocated writer makes; our own loop writes.

The arguments are those of `vllm.LLM`, `LLM.generate`, `sleep`, `wake_up` and `apply_model`.
"""

from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import torch

from tastemaker.gpt import Policy
from tests.vllm_server import VLLM


class LLM:
    """An engine on a CPU. calls: what it was asked to do, in order."""

    calls: ClassVar[list[str]] = []
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, model: str, **settings: Any) -> None:
        LLM.calls, LLM.settings = [], settings
        self.policy = Policy.load(model)
        self.server = VLLM(self.policy)

    def load_weights(self, weights: list[tuple[str, torch.Tensor]]) -> None:
        """Take weights by their names."""
        own = dict(self.policy.module.named_parameters())
        assert {name for name, _ in weights} == set(own)
        with torch.no_grad():
            for name, weight in weights:
                own[name].copy_(weight)

    def apply_model(self, function: Any) -> None:
        """Call a function with the model."""
        LLM.calls.append("apply_model")
        function(self)

    def wake_up(self, tags: list[str]) -> None:
        """Take memory again."""
        LLM.calls.append(f"wake_up {tags[0]}")

    def sleep(self, level: int) -> None:
        """Give the memory away; level 2 forgets the weights."""
        LLM.calls.append("sleep")
        assert level == 2
        with torch.no_grad():
            for weight in self.policy.module.parameters():
                weight.zero_()

    def generate(self, prompts: Any, wanted: Any, *, use_tqdm: bool) -> list[Any]:
        """Write samples of each prompt, those that end first before the others."""
        assert not use_tqdm
        LLM.calls.append("generate")
        outputs = []
        for prompt, settings in zip(prompts, wanted, strict=True):
            body = {"model": "gpt", "return_token_ids": True, **vars(settings)}
            answer = self.server.complete(body | {"prompt": prompt["prompt_token_ids"]})
            outputs.append(
                SimpleNamespace(outputs=[_sample(c) for c in answer["choices"]])
            )
        return outputs


def _sample(choice: dict[str, Any]) -> SimpleNamespace:
    """Return a sample as vLLM has it: of each token, the log-probabilities of some tokens."""
    ids = choice["token_ids"]
    values = choice["logprobs"]["token_logprobs"]
    steps = []
    for token, value in zip(ids, values, strict=True):
        steps.append({token: SimpleNamespace(logprob=value)})
    return SimpleNamespace(
        index=choice["index"],
        token_ids=tuple(ids),
        logprobs=steps,
        finish_reason=choice["finish_reason"],
    )


def engine() -> ModuleType:
    """Return the module that `import vllm` would give."""
    module = ModuleType("vllm")
    module.LLM = LLM  # type: ignore[attr-defined]
    module.SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    return module
