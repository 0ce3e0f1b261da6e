"""The files for other trainers, executed against a real server; the deployment files, read."""

import asyncio
import configparser
import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

import tastemaker as tm
from tastemaker.playground import gold_score, reviews
from tests.serving import Server, start, stop

pytest.importorskip("uvicorn")

ROOT = Path(__file__).resolve().parents[1]
INTEGRATIONS, DEPLOY = ROOT / "integrations", ROOT / "deploy"
TOKEN = "0123456789abcdefSECRET"
PROMPT = "How was it?"
TEXTS = ["A warm and clever film.", "Dull, and too long."]


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "taste"
    judgements = [tm.Label(text, gold_score(text) > 5) for text in reviews(60)]
    tm.fit(judgements, backbone="linear", out=folder)
    return folder


@pytest.fixture(scope="module")
def served(taste: Path) -> Iterator[Server]:
    running = start(taste, "--port", 0, token=TOKEN)
    yield running
    assert stop(running) == ""


@pytest.fixture
def server(served: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("TASTEMAKER_URL", served.address)
    monkeypatch.setenv("TASTEMAKER_TOKEN", TOKEN)
    return served


@pytest.fixture
def expected(taste: Path) -> list[float]:
    return tm.load(taste).score([tm.Example(text, PROMPT) for text in TEXTS])


def loaded(name: str) -> ModuleType:
    """Load a file by its path, as the trainers do."""
    spec = importlib.util.spec_from_file_location(name, INTEGRATIONS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_verls_reward_function(server: Server, expected: list[float]) -> None:
    compute_score = loaded("verl_reward").compute_score

    async def both() -> list[dict[str, float]]:
        calls = []
        for text in TEXTS:
            call = compute_score(
                data_source="films",
                solution_str=text,
                ground_truth=None,
                extra_info={"prompt": PROMPT, "index": 3},
                reward_router_address=None,
            )
            calls.append(call)
        return await asyncio.gather(*calls)

    results = asyncio.run(both())
    assert [one["score"] for one in results] == pytest.approx(expected)


def test_trls_reward_function(server: Server, expected: list[float]) -> None:
    reward = loaded("trl_reward").tastemaker_reward
    prompts = [PROMPT] * 2
    columns = {"completion_ids": [[1], [2]], "trainer_state": None}
    scores = reward(prompts=prompts, completions=TEXTS, **columns)
    assert scores == pytest.approx(expected)
    chats = [[{"role": "assistant", "content": text}] for text in TEXTS]
    asked = [[{"role": "user", "content": PROMPT}]] * 2
    assert reward(prompts=asked, completions=chats) == pytest.approx(expected)


def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded("trl_reward")
    monkeypatch.setattr(sys.modules["scores"], "RETRIES", 2)
    monkeypatch.setenv("TASTEMAKER_URL", "http://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="gave no scores"):
        module.tastemaker_reward(prompts=[""], completions=["a"])


def test_nemo_gyms_verify(server: Server, expected: list[float]) -> None:
    process = subprocess.Popen(
        [sys.executable, INTEGRATIONS / "nemo_gym_verify.py", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()[-1]
        part = {"type": "output_text", "text": TEXTS[0], "annotations": []}
        message = {"type": "message", "role": "assistant", "content": [part]}
        thought = {"type": "reasoning", "summary": []}
        body: dict[str, Any] = {
            "responses_create_params": {"input": [{"role": "user", "content": PROMPT}]},
            "response": {"id": "1", "output": [thought, message]},
        }
        request = urllib.request.Request(address, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            reply = json.load(answer)
        assert reply.pop("reward") == pytest.approx(expected[0])
        assert reply == body
        wrong = urllib.request.Request(address, b'{"response": 1}')
        with pytest.raises(urllib.error.HTTPError, match="422"):
            urllib.request.urlopen(wrong, timeout=20)
    finally:
        process.kill()
        process.communicate()


def part_of(package: str, path: str) -> ModuleType:
    """Load one file of an installed package, without what its other files import."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    folder = Path(spec.submodule_search_locations[0])
    *packages, name = [package, *path.removesuffix(".py").split("/")]
    for depth in range(len(packages)):
        parent = ModuleType(".".join(packages[: depth + 1]))
        parent.__path__ = [str(folder.joinpath(*packages[1 : depth + 1]))]
        sys.modules.setdefault(parent.__name__, parent)
    return importlib.import_module(".".join([*packages, name]))


@pytest.mark.peers
def test_verls_own_loader(server: Server, expected: list[float]) -> None:
    load = part_of("verl", "utils/import_utils.py").load_extern_object
    compute_score = load(str(INTEGRATIONS / "verl_reward.py"), "compute_score")
    extra = {"prompt": PROMPT}
    call = compute_score("films", TEXTS[0], None, extra)
    assert asyncio.run(call)["score"] == pytest.approx(expected[0])


@pytest.mark.peers
def test_openrlhfs_own_client(server: Server, taste: Path) -> None:
    """Its executor asks for the text that its engine has written, special tokens included."""
    pytest.importorskip("aiohttp")
    from tastemaker.gpt import make_tokenizer

    tokenizer = make_tokenizer(list(reviews(50)), vocabulary=300, context=64)
    written = tokenizer(TEXTS[0])["input_ids"]

    class Engine:
        async def generate(self, *asked: Any, **more: Any) -> Any:
            output = SimpleNamespace(
                token_ids=written, finish_reason="stop", logprobs=None
            )
            return SimpleNamespace(outputs=[output])

    agent = part_of("openrlhf", "utils/agent.py")
    executor = agent.SingleTurnAgentExecutor(f"{server.address}/{TOKEN}/get_reward")
    asked = SimpleNamespace(max_tokens=32, logprobs=None)
    run = executor.execute(PROMPT, "", asked, 128, tokenizer, Engine())
    result = asyncio.run(run)
    text = tokenizer.decode(result["observation_tokens"], skip_special_tokens=False)
    assert text.startswith(PROMPT)
    score = tm.load(taste).score(text)
    reward = result["reward"]
    assert (reward[0] if isinstance(reward, list) else reward) == pytest.approx(score)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")  # TRL's own, about its settings
def test_trls_trainer_with_a_tiny_gpt(
    server: Server, taste: Path, tmp_path: Path
) -> None:
    """GRPOTrainer itself asks the server; its rewards are the library's."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from tastemaker.gpt import Size, make_gpt, make_tokenizer

    sizes = Size(
        width=32,
        layers=1,
        heads=2,
        context=64,
        vocabulary=300,
        lr=1e-3,
        batch_tokens=256,
    )
    tokenizer = make_tokenizer(list(reviews(50)), vocabulary=300, context=64)
    reward = loaded("trl_reward").tastemaker_reward
    asked: list[tuple[str, float]] = []

    def watched(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        values: list[float] = reward(prompts, completions, **columns)
        for prompt, text, value in zip(prompts, completions, values, strict=True):
            asked.append((tm.Example(text, prompt), value))
        return values

    trainer = trl.GRPOTrainer(
        make_gpt(sizes, tokenizer, seed=0),
        reward_funcs=[watched],
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_dict({"prompt": ["The film"] * 8}),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            num_generations=2,
            per_device_train_batch_size=2,
            max_completion_length=8,
            use_cpu=True,
            report_to=[],
        ),
    )
    trainer.train()
    assert asked
    examples = [example for example, _ in asked]
    values = [value for _, value in asked]
    assert values == pytest.approx(tm.load(taste).score(examples), abs=1e-6)


def test_parts_of_an_indexed_job_begin_at_one() -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes_parts.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    shell, flag, line = container["command"]
    numbers = []
    for index in (0, job["spec"]["completions"] - 1):
        done = subprocess.run(
            [shell, flag, line.replace("tastemaker", "echo", 1)],
            env={"JOB_COMPLETION_INDEX": str(index), "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=True,
        )
        numbers.append(done.stdout.split()[-1])
    assert numbers == ["1/64", "64/64"]


def test_the_deployment_files() -> None:
    manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert [one["kind"] for one in manifests] == ["Secret", "Deployment", "Service"]
    pod = manifests[1]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8000}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "tastemaker.service")
    assert unit["Service"]["KillSignal"] == "SIGTERM"
    image = (DEPLOY / "Containerfile").read_text()
    command = re.search(r"^CMD (\[.*\])$", image, re.MULTILINE)
    assert command is not None
    for words in (
        json.loads(command[1]),
        container["args"],
        unit["Service"]["ExecStart"].split(),
    ):
        assert words[0].endswith("tastemaker")
        assert words[1] == "serve"
    readme = (DEPLOY / "README.md").read_text()
    for path in DEPLOY.iterdir():
        if path.name != "README.md":
            assert re.search(rf"`{path.name}` \|.*\| (un)?tried", readme), path.name
            assert path.read_text().startswith("# Untried")
