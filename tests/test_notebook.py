"""What a notebook shows: short HTML that says the verdict, all texts escaped; figures; examples."""

import json
import re
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from courses import curve, steered
from matplotlib.figure import Figure
from nano import nano

import tastemaker as tm

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = "<script>alert(1)</script>"
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def taste_and_judgements() -> tuple[Any, list[Any]]:
    """A linear model of hostile texts, and its judgements."""
    judgements = []
    for number in range(120):
        word = "good" if number % 2 == 0 else "bad"
        text = f"A {word} {HOSTILE} film, number {number}."
        judgements.append(tm.Label(text, number % 2 == 0, judge=HOSTILE))
    return tm.fit(judgements, backbone="linear"), judgements


def _is_harmless(html: str) -> None:
    tags = set(re.findall(r"<\s*/?\s*(\w+)", html))
    assert tags <= {"div", "p", "table", "tr", "th", "td", "code"}, tags
    assert " on" not in "".join(re.findall(r"<[^>]*>", html))


def test_every_result_shows_itself_in_a_notebook(
    taste_and_judgements: tuple[Any, list[Any]], tmp_path: Path
) -> None:
    taste, judgements = taste_and_judgements
    evaluation = tm.evaluate(taste, judgements)
    html = evaluation._repr_html_()
    assert "<table>" in html
    _is_harmless(html)
    source = tmp_path / "labels.csv"
    rows = "".join(f'"{HOSTILE} {n}",{n % 2}\n' for n in range(40))
    source.write_text("text,label\n" + rows)
    explanation = tm.explain(taste, HOSTILE)
    for shown in (taste, tm.doctor(judgements), explanation, tm.inspect(source)):
        _is_harmless(shown._repr_html_())
    assert "script" in explanation._repr_html_()  # the words are shown, not run
    inspected = tm.inspect(source)
    assert "&lt;script&gt;" in inspected._repr_html_()
    assert "<td>label</td>" in inspected.read_as._repr_html_()


def test_a_learning_curve_shows_itself_in_a_notebook() -> None:
    Point = namedtuple("Point", ["judgements", "value", "margin"])
    points = tuple(Point(100 * 2**n, 0.7 + n / 100, None) for n in range(3))
    html = tm.LearningCurve("<i>accuracy</i>", points)._repr_html_()  # type: ignore[arg-type]
    assert "&lt;i&gt;accuracy" in html
    assert "<td>400</td><td>0.720</td>" in html
    _is_harmless(html)


def test_a_steered_policy_shows_itself_in_a_notebook() -> None:
    figures = {
        "score_before": 1.0,
        "score_after": 2.0,
        "kl": 3.0,
        "distinct": 1.0,
        "stopped_because": "all steps were taken",
    }
    samples = [{"prompt": HOSTILE, "before": "bad", "after": "<b>good</b>"}]
    html = tm.Steered(None, figures, samples)._repr_html_()  # type: ignore[arg-type]
    assert "score 1.00 → 2.00" in html
    assert "&lt;b&gt;good&lt;/b&gt;" in html
    _is_harmless(html)


def test_figures_are_matplotlibs_own(
    taste_and_judgements: tuple[Any, list[Any]],
) -> None:
    taste, judgements = taste_and_judgements
    figures = tm.figures(tm.evaluate(taste, judgements))
    assert figures
    for figure in figures.values():
        assert isinstance(figure, Figure)
        assert figure.axes[0].get_title(loc="left")
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_policies_and_what_is_measured_of_them_show_themselves() -> None:
    policy = nano(["A warm film.", "A dull film."])
    policy.figures = {"byte_perplexity": 2.5, "tokens": 9, "settings": {HOSTILE: 1.5}}
    html = policy._repr_html_()
    assert "Policy(" in html
    assert "byte perplexity: 2.5" in html
    _is_harmless(html)
    measured = tm.perplexity(policy, [tm.Example("A warm film.")])
    assert str(measured)[:20] in measured._repr_html_()
    best = tm.best_of_curve(
        policy,
        lambda prompts, completions: [float(len(each)) for each in completions],
        ns=(1, 2),
        completions=4,
        sampling=tm.Sampling(max_tokens=4),
    )
    assert "<th>n</th><th>kl</th><th>score</th>" in best._repr_html_()
    figures = {
        "return_interval": (1.0, 3.0),
        "mean_return": 2.0,
        "episodes": 5,
        "steps": 10,
        "seconds": 1.0,
        "steps_per_second": 10,
        "stopped_because": HOSTILE,
    }
    player = namedtuple("Player", "environment")("CartPole-v1")
    played = tm.Played(player, figures)  # type: ignore[arg-type]
    assert "return 2.0 (1.0 to 3.0)" in played._repr_html_()
    for shown in (measured, best, played):
        _is_harmless(shown._repr_html_())


def test_a_finished_loop_shows_its_stages(tmp_path: Path) -> None:
    done = tm.Loop({"judgements": "playground:en:120:label", "seed": 3}).run(tmp_path)
    html = done._repr_html_()
    assert f"report: {tmp_path / 'report.html'}" in html
    for name in ("collect", "fit", "evaluate", "report"):
        assert f"<td>{name}</td>" in html
    _is_harmless(html)


def test_a_loop_shows_its_stages_before_it_runs() -> None:
    html = tm.Loop({"judgements": "playground:en:120:label"})._repr_html_()
    assert "<tr><td>evaluate</td><td>collect, fit</td></tr>" in html
    _is_harmless(html)


def test_a_player_shows_what_it_plays() -> None:
    player = tm.play("CartPole-v1", steps=64, envs=2).policy
    player.figures = {"mean_return": 9.5, HOSTILE: 2}
    player.options = {HOSTILE: 1}
    html = player._repr_html_()
    assert "Player: CartPole-v1" in html
    assert "<p>mean return: 9.5</p>" in html
    assert html.count("&lt;script&gt;") == 2
    _is_harmless(html)


def test_a_remote_reward_shows_its_server_and_no_secret() -> None:
    remote = tm.RemoteReward(
        "http://127.0.0.1:9?key=hidden", token="secret", model=HOSTILE
    )
    html = remote._repr_html_()
    assert "http://127.0.0.1:9" in html
    assert "&lt;script&gt;" in html
    assert "secret" not in html
    assert "hidden" not in html
    _is_harmless(html)


def test_a_completion_shows_prompt_text_and_figures() -> None:
    written = tm.Completion(HOSTILE, "<b>fine</b>", (5, 6), (-1.0, -0.25), "stop")
    html = written._repr_html_()
    assert "<p>prompt: &lt;script&gt;" in html
    assert "<p>&lt;b&gt;fine&lt;/b&gt;</p>" in html
    assert "2 tokens, log-probability -1.25, ended by: stop" in html
    _is_harmless(html)


def test_the_figures_of_steered_runs_are_matplotlibs_own(tmp_path: Path) -> None:
    run = steered(tmp_path / "run", gold=5 + curve(2, 0.1))
    figures = tm.figures(tm.frontier([run]))
    assert "score" in figures
    for figure in figures.values():
        assert isinstance(figure, Figure)


def _code(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_saved_without_outputs(notebook: Path) -> None:
    document = json.loads(notebook.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    for cell in document["cells"]:
        assert cell["id"]
        assert cell["cell_type"] in {"markdown", "code"}
        assert cell.get("outputs", []) == []
    assert sum(map(len, _code(notebook))) > 100


def _executed(notebook: Path, folder: Path) -> Any:
    """Run a notebook in a real kernel in a folder; return it with its outputs."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    folder.mkdir()
    document = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(
        document,
        timeout=500,  # of a cell
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()  # an error in a cell is raised
    return document


def _last_output(document: Any) -> dict[str, str]:
    """Return what the last cell of code shows, by format."""
    cells = [cell for cell in document.cells if cell.cell_type == "code"]
    shown: dict[str, str] = cells[-1].outputs[-1].get("data", {})
    return shown


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_the_three_notebooks_run_in_a_jupyter_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    first, second, third = (
        _executed(notebook, tmp_path / notebook.stem) for notebook in NOTEBOOKS
    )
    # a result shows itself as HTML, a figure as a picture
    assert "<table>" in _last_output(first)["text/html"]
    assert "<div>" in _last_output(third)["text/html"]
    kinds = [set(output.get("data", {})) for output in _outputs(first)]
    assert any("image/png" in kind for kind in kinds)
    texts = [
        output.text for output in _outputs(second) if output.get("name") == "stdout"
    ]
    assert re.search(r"^[+-]\d\.\d\d  ", texts[-1])


def _outputs(document: Any) -> list[Any]:
    return [output for cell in document.cells for output in cell.get("outputs", [])]
