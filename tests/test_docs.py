"""The documents say what the code does: every metric is defined, every module has its line."""

import io
import json
import re
import shlex
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.cli import main

ROOT = Path(__file__).resolve().parents[1]
_CHINESE_PAGES = sorted(
    f"docs/zh/{page.name}" for page in (ROOT / "docs/zh").glob("*.md")
)


def _keys(values: Any) -> set[str]:
    """Return every key of nested JSON, the names of kinds left out."""
    if isinstance(values, dict):
        return set(values) | {key for value in values.values() for key in _keys(value)}
    if isinstance(values, list):
        return {key for value in values for key in _keys(value)}
    return set()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network fitted on labels, grades and nothing else."""
    out = tmp_path_factory.mktemp("docs") / "taste"
    words = ["good", "fine", "lovely", "bad", "poor", "awful"]
    judgements: list[Any] = []
    for number in range(48):
        word = words[number % 6]
        text = f"A {word} film, number {number}."
        judgements += [tm.Label(text, number % 6 < 3), tm.Grade(text, 10 - number % 6)]
        other = f"An empty film, number {number}."
        judgements += [
            tm.Comparison(text, other, prompt=str(number), judge="ann"),
            tm.Ranking([text, other]),
        ]
    tm.fit(judgements, backbone=tm.Tiny(max_length=32), epochs=1, out=out)
    return out


def _documented() -> set[str]:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"`([a-z_0-9]+)`", text))


def test_every_logged_metric_is_defined(fitted: Path) -> None:
    lines = (fitted / "run" / "metrics.jsonl").read_text().splitlines()
    assert _keys([json.loads(line) for line in lines]) - _documented() == set()


def test_every_evaluated_figure_is_defined(fitted: Path) -> None:
    evaluation = json.loads((fitted / "tastemaker.json").read_text())["evaluation"]
    assert (
        _keys(evaluation)
        - _documented()
        - {"label", "grade", "rating", "comparison", "ranking"}
        == set()
    )


def test_every_figure_of_pretraining_is_defined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nano import NANO, films

    from tastemaker.gpt import SIZES

    monkeypatch.setitem(SIZES, "nano", NANO)
    texts = films(60)
    policy = tm.pretrain(
        texts, size="nano", training={"held_out": 0.2}, out=tmp_path / "gpt"
    )
    lines = (tmp_path / "gpt" / "run" / "metrics.jsonl").read_text().splitlines()
    logged = _keys([json.loads(line) for line in lines])
    assert {
        "loss",
        "gradient_norm",
        "padding",
        "tokens_per_second",
        "held_out_perplexity",
    } <= logged
    figures = {
        k: v for k, v in policy.figures.items() if k not in ("settings", "versions")
    }
    measured = tm.perplexity(policy, [tm.Example(text) for text in texts]).as_dict()
    assert (
        logged | _keys(figures) | set(policy.figures) | set(measured)
    ) - _documented() == set()


def test_the_chinese_readme_has_the_same_commands_and_code() -> None:
    def code(page: str) -> list[str]:
        text = (ROOT / page).read_text(encoding="utf-8")
        blocks = re.findall(r"```\w+\n(.*?)```", text, flags=re.DOTALL)
        lines = "\n".join(blocks).splitlines()
        return [re.sub(r"\s*(?<!\S)#.*", "", line) for line in lines]

    def inline(page: str) -> list[str]:
        """Return the commands within sentences, such as those of `rank` and `loop`."""
        text = (ROOT / page).read_text(encoding="utf-8")
        return sorted(re.findall(r"`(tastemaker [^`]+)`", text))

    assert code("README.md") == code("README.zh.md")
    assert inline("README.md") == inline("README.zh.md") != []


def test_the_first_command_comes_soon() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme[: readme.index("$ make demo")].split()) <= 120


def test_excerpts_in_extend_are_verbatim() -> None:
    text = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    marked = r"^<!-- from (\S+) -->\n```\w+\n(.*?)^```$"
    excerpts = re.findall(marked, text, flags=re.DOTALL | re.MULTILINE)
    assert {path for path, _ in excerpts} == {
        f"docs/examples/own_{part}.py"
        for part in ("algorithm", "judgement_kind", "format")
    }
    for path, excerpt in excerpts:
        assert excerpt in (ROOT / path).read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/extend.md",
        "docs/guide.md",
        "README.zh.md",
        *_CHINESE_PAGES,
    ],
)
def test_linked_files_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_the_own_reward_of_extend_runs() -> None:
    text = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    (block,) = [
        b
        for b in re.findall(
            r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE
        )
        if "def short" in b
    ]
    names: dict[str, Any] = {}
    exec(block.split("\n\n\ntm.steer")[0], names)
    assert names["short"](["a"], ["ten chars."]) == [-0.1]


@pytest.fixture
def little_imdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of the README's name in the working folder: IMDB's own layout, playground reviews
    inside.
    """
    from tastemaker.playground import gold_score, reviews

    counts: Counter[tuple[str, str]] = Counter()
    with tarfile.open(tmp_path / "aclImdb_v1.tar.gz", "w:gz") as archive:
        for number, text in enumerate(reviews(400)):
            grade = round(gold_score(text))
            if grade in (0, 5, 6):
                continue
            place = (
                "test" if number % 4 == 0 else "train",
                "pos" if grade > 6 else "neg",
            )
            data = text.encode()
            member = tarfile.TarInfo(
                f"aclImdb/{place[0]}/{place[1]}/{counts[place]}_{grade}.txt"
            )
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            counts[place] += 1
    _write_judgements(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write_judgements(folder: Path) -> None:
    """Write the README's files of comparisons, rankings and labels from the playground."""
    from tastemaker.data import to_row
    from tastemaker.playground import judgements

    for name, kind, seed in (
        ("comparisons", "comparison", 0),
        ("rankings", "ranking", 1),
        ("unseen", "mixed", 2),
    ):
        rows = [to_row(j) for j in judgements(90, kind=kind, seed=seed)]  # type: ignore[arg-type]
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    labels = [
        j for j in judgements(100, kind="label", seed=3) if isinstance(j, tm.Label)
    ]
    lines = [f'"{j.text}",{str(j.positive).lower()}' for j in labels]
    (folder / "labels.csv").write_text("\n".join(["text,label", *lines]) + "\n")


def _blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def _commands(page: str = "README.md") -> list[list[str]]:
    """Return the `tastemaker` command lines of a page, as words."""
    lines = "\n".join(_blocks("console", page)).replace("\\\n", " ").splitlines()
    return [
        shlex.split(line[2:], comments=True)
        for line in lines
        if line.startswith("$ tastemaker")
    ]


_SHORTER = {
    "steer": ["--steps", "2", "--batch", "8", "--measured", "16"],
    "play": ["--steps", "2000"],
}
"""Options that make a command's run short."""


def test_the_readmes_python_runs(little_imdb: Path) -> None:
    tm.pretrain(
        tm.Documents(["playground:en:300"]), out="gpt"
    )  # as a command before it does, with more of it
    names: dict[str, Any] = {}
    tm.fit(tm.read("comparisons.jsonl"), out="judged")
    tm.fit(tm.read("labels.csv"), out="taste")
    quick = 'tm.KL(0.1), steering={"steps": 2, "batch": 8, "measured": 8},'
    for block in _blocks("python"):
        exec(compile(block.replace("tm.KL(0.1),", quick), "README.md", "exec"), names)
    assert names["steered"].figures["steps"] == 2


def test_the_readmes_commands_run(
    little_imdb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []
    for command in _commands():
        needs_network = command[1] == "fetch" or "distilbert-base-uncased" in command
        if needs_network or command[1] in ("rank", "serve"):
            continue  # servers have tests of their own; the options are checked below
        words = [
            "playground:en:300" if word == "playground" else word
            for word in command[1:]
        ]
        with pytest.raises(SystemExit) as ended:
            main([*words, *_SHORTER.get(command[1], ())])
        assert ended.value.code == 0, (command, capsys.readouterr().err)
        ran.append(command[1])
    steering = ["steer", "write", "steer", "frontier", "report", "play", "watch"]
    judging = [
        "fit",
        "score",
        "evaluate",
        "explain",
        "learning-curve",
        "inspect",
        "doctor",
        "fit",
        "fit",
        "fit",
        "score",
        "evaluate",
    ]
    assert ran == [
        *judging,
        "pretrain",
        "write",
        "write",
        "evaluate",
        "pretrain",
        *steering,
    ]
    assert (little_imdb / "frontier" / "frontier.html").is_file()
    assert (little_imdb / "checkup" / "doctor.html").is_file()
    assert (little_imdb / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    "command",
    [*_commands(), *(row for page in _CHINESE_PAGES for row in _commands(page))],
    ids=" ".join,
)
def test_the_readmes_options_exist(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command[1], "--help"])
    shown = capsys.readouterr().out
    assert [
        word for word in command if word.startswith("--") and word not in shown
    ] == []
