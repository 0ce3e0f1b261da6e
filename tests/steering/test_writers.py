"""Another engine writes with the policy's weights: `steer --writer`."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from nano import nano

from tastemaker.errors import ModelError, UsageError
from tastemaker.gpt import Colocated, Sampling
from tastemaker.rl import GRPO, PPO, Limits, Steered, Steering, steer
from tastemaker.rl.text.elsewhere import mismatch_of
from tests.shell import fails
from tests.vllm_engine import LLM, engine
from tests.vllm_server import VLLM, serving

UPDATE = [
    "/pause",
    "/start_weight_update",
    "/update_weights",
    "/finish_weight_update",
    "/resume",
]


@pytest.fixture
def server() -> Iterator[VLLM]:
    """A server that begins with other weights than the policy."""
    with serving(nano(seed=9)) as state:
        yield state


def share(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """The share of the letter e."""
    return [text.count("e") / max(len(text), 1) for text in texts]


def steered(writer: Any, algorithm: Any, **settings: Any) -> Steered:
    return steer(
        nano(),
        share,
        ["A", "The film"],
        algorithm=algorithm,
        sampling=Sampling(max_tokens=5, temperature=0.8),
        steering=Steering(steps=3, batch=16, measured=8, windows=3),
        limits=Limits(kl=1e9, distinct=0.0, pairs=0.0, held_out=1e9),
        writer=writer,
        **settings,
    )


@pytest.mark.parametrize("algorithm", [GRPO(lr=1e-2), PPO(lr=1e-2)])
def test_a_server_writes_with_the_policys_weights(
    server: VLLM, tmp_path: Path, algorithm: Any
) -> None:
    result = steered(server.address, algorithm, out=tmp_path / "steered")
    assert result.figures["settings"]["writer"] == server.address
    lines = (tmp_path / "steered/run/metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 3
    for row in rows:
        # the same numbers: the weights had arrived each time, and the temperature is the same
        assert row["mismatch"] < 1e-5
        assert abs(row["mismatch_kl"]) < 1e-5
        assert row["mismatch_cut"] == 0
        assert math.isfinite(row.get("explained_variance", 0.0))
    # weights are sent before all that is written: before, in three steps, and after
    calls = [path for path in server.calls if path != "/v1/completions"]
    first = calls.index("/pause")
    assert set(calls[:first]) == {
        "/get_world_size",
        "/init_weight_transfer_engine",
    }
    updates = [path for path in calls[first:] if path != "/v1/models"]
    assert int(server.version) >= 5
    assert updates == UPDATE * int(server.version)
    assert not server.is_paused
    for name, weight in result.policy.module.named_parameters():
        held = dict(server.policy.module.named_parameters())[name]
        assert torch.equal(weight, held), name


class OnCpu(Colocated):
    """A colocated writer that takes the weights of a policy on a CPU."""

    def take(self, module: Any) -> None:
        self._weights = module


def test_an_engine_in_this_process_writes_with_the_policys_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", engine())
    steered(OnCpu(memory=0.4), GRPO(lr=1e-2), out=tmp_path / "steered")
    lines = (tmp_path / "steered/run/metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 3
    for row in rows:
        assert row["mismatch"] < 1e-5
    first = ["apply_model", "wake_up kv_cache", "generate", "sleep"]
    turn = ["wake_up weights", *first]
    turns = (len(LLM.calls) - len(first)) // len(turn)
    assert turns >= 4
    assert LLM.calls == first + turn * turns
    assert LLM.settings["gpu_memory_utilization"] == 0.4
    assert LLM.settings["logprobs_mode"] == "processed_logprobs"
    assert LLM.settings["enable_sleep_mode"] is True


@pytest.mark.parametrize("missing", ["logprobs_mode", "apply_model"])
def test_an_engine_of_another_version_is_one_line(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Older(LLM):
        def __init__(self, model: str, **settings: Any) -> None:
            if missing in settings:
                raise TypeError(f"got an unexpected keyword argument {missing!r}")
            super().__init__(model, **settings)

        def __getattribute__(self, name: str) -> Any:
            if name == missing:
                raise AttributeError(f"'LLM' object has no attribute {name!r}")
            return super().__getattribute__(name)

    module = engine()
    module.LLM = Older  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    with pytest.raises(ModelError, match=f"{missing}.*vLLM 0.33"):
        steered(OnCpu(), GRPO(lr=1e-2))


def test_the_seeds_of_prompts_are_no_neighbours(server: VLLM) -> None:
    """vLLM adds a sample's number to the seed."""
    steered(server.address, GRPO(lr=1e-2))
    seeds = {body["seed"] for body in server.bodies if body and "seed" in body}
    ordered = sorted(seeds)
    assert len(ordered) > 4
    assert min(b - a for a, b in pairwise(ordered)) > 1000


def test_another_probability_is_measured_and_cut(server: VLLM, tmp_path: Path) -> None:
    server.off = -1.0  # the writer says a third of the policy's probability
    steered(server.address, GRPO(lr=1e-2), out=tmp_path / "steered")
    lines = (tmp_path / "steered/run/metrics.jsonl").read_text().splitlines()
    row = json.loads(lines[0])
    assert row["mismatch"] == pytest.approx(1.0, abs=1e-4)
    assert row["mismatch_cut"] == 1.0


def test_ratios_by_hand() -> None:
    policy = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, 0.0, 0.0]])
    writer = torch.tensor([[-1.0, -3.0, 9.0], [-0.4, 0.0, 0.0]])
    is_action = torch.tensor([[True, True, False], [True, False, False]])
    mismatch = mismatch_of(policy, writer, is_action, 2.0)
    expected = torch.tensor([[1.0, 2.0, 1.0], [math.exp(-0.1), 1.0, 1.0]])
    assert torch.allclose(mismatch.ratios, expected)
    assert mismatch.metrics["mismatch"] == pytest.approx(1.1 / 3)
    assert mismatch.metrics["mismatch_cut"] == pytest.approx(1 / 3)
    # k3 of log(writer / policy): e^d − 1 − d of d = log policy − log writer
    kl = (0 + math.e - 2 + math.exp(-0.1) - 1 + 0.1) / 3
    assert mismatch.metrics["mismatch_kl"] == pytest.approx(kl)


def test_servers_that_cannot_write(
    server: VLLM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., tuple[int, str, str]],
) -> None:
    nano().save(tmp_path / "gpt")
    (tmp_path / "reward.py").write_text(
        "def share(prompts, texts):\n    return [t.count('e') for t in texts]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = ("steer", "gpt", "--quiet", "--reward", "reward:share", "--writer")
    out = ("--out", "steered")
    server.missing = {"/get_world_size"}
    fails(run(*asked, server.address, *out), "has no /get_world_size", "vLLM 0.33")
    server.missing = set()
    server.token = "secret"
    fails(run(*asked, server.address, *out), "refused", "401")
    fails(run(*asked, "http://127.0.0.1:9", *out), "did not answer /get_world_size")
    fails(run(*asked, "ftp://a", *out), "own, vllm, or the address")
    fails(run(*asked, "vllm", *out), "GPU")
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    server.missing = {"/v1/completions"}
    fails(run(*asked, server.address, *out), "has no /v1/completions")
    with pytest.raises(UsageError, match=r"write it as http"):
        steered("http://", GRPO())
    server.missing = {"/update_weights"}
    with pytest.raises(ModelError, match="update_weights"):
        steered(server.address, GRPO())
