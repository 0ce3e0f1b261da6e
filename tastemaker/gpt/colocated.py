"""vLLM in this process: it writes on the same GPU that the policy learns on.

One engine for each process that `torchrun` started, on its own GPU (`external_launcher`). While the
policy learns, the engine sleeps and its memory is free.
"""

import os
import tempfile
from typing import Any

from tastemaker.errors import MissingExtra, ModelError, UsageError
from tastemaker.gpt.writers import names_of, request_of, row_of
from tastemaker.gpt.writing import Row, Writing

_LAUNCHED = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29511",
}
"""What `torchrun` sets; a process that was started without it is the only one."""


class Colocated:
    """vLLM's engine beside the policy. memory: its share of the GPU while it writes."""

    name = "vllm"

    def __init__(self, memory: float = 0.3) -> None:
        self.memory = memory
        self._engine: Any = None
        self._weights: Any = None

    def take(self, module: Any) -> None:
        """Keep the weights; the engine loads them when it writes next."""
        if module.device.type == "cpu":
            raise UsageError(
                "--writer vllm runs on a GPU: choose --writer own, or the address of a server."
            )
        self._weights = module

    def write(self, task: Writing) -> list[Row]:
        """Wake, load the weights, write, and sleep."""
        vllm = _imported()
        engine = self._woken(vllm, task)
        prompts = [{"prompt_token_ids": list(ids)} for ids in task.prompts]
        wanted = []
        for number in range(len(prompts)):
            settings = request_of(task, number)
            wanted.append(vllm.SamplingParams(**settings))
        outputs = engine.generate(prompts, wanted, use_tqdm=False)
        engine.sleep(level=2)
        rows = []
        for number, output in enumerate(outputs):
            for sample in sorted(output.outputs, key=lambda one: one.index):
                ids = list(sample.token_ids)
                chosen = zip(ids, sample.logprobs, strict=True)
                row = row_of(
                    task,
                    (task.first + number, sample.index),
                    ids,
                    [step[token].logprob for token, step in chosen],
                    is_cut=sample.finish_reason == "length",
                )
                rows.append(row)
        return rows

    def _woken(self, vllm: Any, task: Writing) -> Any:
        """Return the engine with the newest weights."""
        if self._engine is None:
            self._engine = self._started(vllm, task)
        else:
            self._engine.wake_up(tags=["weights"])
        weights = list(names_of(self._weights or task.module).items())
        # after the sleep the engine's own weights are gone
        try:
            self._engine.apply_model(lambda model: _load(model, weights))
            self._engine.wake_up(tags=["kv_cache"])
        except (AttributeError, TypeError) as error:
            raise _not_opened(error) from error
        return self._engine

    def _started(self, vllm: Any, task: Writing) -> Any:
        for name, value in _LAUNCHED.items():
            os.environ.setdefault(name, value)
        with tempfile.TemporaryDirectory() as folder:
            task.module.save_pretrained(folder)
            task.reader.tokenizer.save_pretrained(folder)
            return self._opened(vllm, folder, task.room)

    def _opened(self, vllm: Any, folder: str, room: int) -> Any:
        try:
            return vllm.LLM(
                model=folder,
                distributed_executor_backend="external_launcher",
                logprobs_mode="processed_logprobs",
                enable_sleep_mode=True,
                gpu_memory_utilization=self.memory,
                max_model_len=room,
                generation_config="vllm",
            )
        except (ValueError, RuntimeError, OSError, TypeError) as error:
            raise _not_opened(error) from error


def _not_opened(error: Exception) -> ModelError:
    """Return the error of an engine that refuses the policy, or is of another version."""
    line = " ".join(str(error).split())[:300]
    return ModelError(
        f"vLLM does not open this policy: {line} (this is written for vLLM 0.33)"
    )


def _load(model: Any, weights: list[tuple[str, Any]]) -> None:
    model.load_weights(weights)


def _imported() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise MissingExtra("`--writer vllm`", "vllm") from error
    return vllm
