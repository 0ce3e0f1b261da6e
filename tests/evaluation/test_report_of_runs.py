"""One report of several runs: its first screen, its languages, its parts, and what it refuses."""

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from courses import curve, steered
from pages import HOSTILE, Page

import tastemaker as tm
import tastemaker.report as report_package
from tastemaker.data import Comparison, Label, fingerprints
from tastemaker.errors import ModelError, TastemakerError, UsageError
from tastemaker.evaluate import evaluate
from tastemaker.kinds import ComparisonLink, LabelLink
from tastemaker.report import report_runs, write_report


def html(path: Path) -> str:
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("fit") / "taste"
    labels = [
        Label(f"{word} film number {n}", word == "good", judge=f"j{n % 2}")
        for n in range(60)
        for word in ("good", "bad")
    ]
    tm.fit(labels, out=folder)
    return folder


def order_world(wrong: int, n: int = 100) -> tuple[Any, list[Comparison]]:
    """Return scores, and n comparisons of which so many are the other way round."""
    scores = {f"better {i}": 1.0 for i in range(n)}
    scores |= {f"worse {i}": -1.0 for i in range(n)}
    judgements = []
    for i in range(n):
        better, worse = f"better {i}", f"worse {i}"
        pair = (worse, better) if i < wrong else (better, worse)
        judgements.append(Comparison(*pair))
    return scores, judgements


@pytest.fixture
def report_of(table_model: Any, tmp_path: Path) -> Callable[..., str]:
    """Write the report of an evaluation of 100 comparisons, and return its text."""

    def write(wrong: int, **settings: Any) -> str:
        scores, judgements = order_world(wrong)
        model = table_model({Comparison: ComparisonLink()}, scores)
        write_report(evaluate(model, judgements), tmp_path / "report", **settings)
        return Page(html(tmp_path / "report" / "report.html")).text

    return write


def test_the_first_screen_says_what_to_rely_on_and_what_to_do(
    report_of: Callable[..., str],
) -> None:
    text = report_of(wrong=10)
    first = text[: text.index("Against simple baselines")]
    assert "usable" in first
    assert "the one that people prefer about 90 times in 100" in first
    assert "about 10 of 100 pairs are in the wrong order" in first
    assert "only the 200 texts of this test" in first
    assert "use the model to rank or filter" in first


def test_a_model_like_a_coin_is_not_to_be_relied_on(
    report_of: Callable[..., str],
) -> None:
    text = report_of(wrong=50)
    assert "not usable" in text
    assert "no better than a coin" in text
    assert "tastemaker doctor" in text
    assert "use the model to rank" not in text


def test_the_first_screen_in_chinese(report_of: Callable[..., str]) -> None:
    text = report_of(wrong=10, language="zh")
    for words in ("可以相信什么", "100 次里约有 90 次得分更高", "下一步做什么"):
        assert words in text
    assert "What you can rely on" not in text


def test_an_unknown_language_is_refused(report_of: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="no language 'xx'"):
        report_of(wrong=10, language="xx")


def test_tested_texts_of_the_training_data_come_first(
    table_model: Any, tmp_path: Path
) -> None:
    scores = {f"t{i}": float(i % 2) for i in range(40)}
    labels = [Label(text, score > 0) for text, score in scores.items()]
    evaluation = evaluate(
        table_model({Label: LabelLink(4.0, -2.0)}, scores),
        labels,
        training_fingerprints=np.sort(fingerprints(list(scores)[:5])),
    )
    write_report(evaluation, tmp_path)
    text = Page(html(tmp_path / "report.html")).text
    assert "was trained on 5 of the tested texts" in text


def test_figures_have_their_numbers_in_a_table(report_of: Callable[..., str]) -> None:
    text = report_of(wrong=10)
    assert "The numbers of this figure" in text
    # of the bars of accuracy: the model's, and the coin's
    assert "0.9 model" in text
    assert "0.5 coin" in text


def test_all_runs_are_on_one_page(taste: Path, tmp_path: Path) -> None:
    model = tm.load(taste)
    test = [
        Label(f"{w} film {n}", w == "good") for n in range(40) for w in ("good", "bad")
    ]
    write_report(tm.evaluate(model, test), tmp_path / "evaluated")
    tm.write_doctor_page(tm.doctor(test), tmp_path / "data")
    run = steered(tmp_path / "ppo", gold=5 + curve(2, 0.1))
    folders = [tmp_path / "evaluated", tmp_path / "data", taste, run]
    page = Page(html(report_runs(folders, tmp_path / "out")))
    order = [
        page.text.index(heading)
        for heading in ("How good the scores are", "The steered GPT", "The data")
    ]
    assert order == sorted(order)
    assert "Can you trust this reward model, and the GPT" in page.text
    assert "The GPT of the run “ppo" in page.text
    assert "j0" in page.text, "the judges of the model"
    assert f"tastemaker write {run}" in page.text
    # the summary of the model would say the same as its evaluation
    assert page.text.count("What you can rely on") == 1


def test_several_evaluations_are_told_apart_by_their_folders(
    table_model: Any, tmp_path: Path
) -> None:
    folders = []
    for name, wrong in (("first-round", 50), ("second-round", 5)):
        scores, judgements = order_world(wrong)
        model = table_model({Comparison: ComparisonLink()}, scores)
        write_report(evaluate(model, judgements), tmp_path / name)
        folders.append(tmp_path / name)
    text = Page(html(report_runs(folders, tmp_path / "out"))).text
    first = text[: text.index("What you can rely on")]
    places = [first.index(name) for name in ("first-round", "second-round")]
    assert places[0] < first.index("not usable") < places[1]


def test_a_model_alone_shows_the_figures_of_its_contract(
    taste: Path, tmp_path: Path
) -> None:
    text = Page(html(report_runs([taste], tmp_path))).text
    assert tm.load(taste).contract.evaluation["verdict"] in text
    assert "texts that only measured" in text


def test_a_gain_that_is_not_real_is_under_what_not_to_rely_on(tmp_path: Path) -> None:
    run = steered(tmp_path / "ppo", gold=5 - curve(2, 0.1))
    text = Page(html(report_runs([run], tmp_path / "out"))).text
    assert "Does the GPT write better?" in text
    start = text.index("What you cannot rely on")
    assert "The GPT learned to fool the reward" in text[start:]
    assert "Steer again with a lower --most-kl" in text


def test_a_fit_writes_its_report(run: Any, tmp_path: Path) -> None:
    rows = [
        {"text": f"{w} film {n}", "label": int(w == "good")}
        for n in range(40)
        for w in ("good", "bad")
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = run("fit", path, "--out", tmp_path / "taste", "--report")
    assert code == 0
    page = tmp_path / "taste" / "report" / "report.html"
    assert f"report: {page}" in err
    assert "How far to trust" in Page(html(page)).text
    assert "what made it" in Page(html(page)).text
    code, out, _ = run(
        "report", tmp_path / "taste", "--out", tmp_path / "out", "--json"
    )
    assert code == 0
    assert json.loads(out)["report"] == str(tmp_path / "out" / "report.html")
    again = Page(html(tmp_path / "out" / "report.html"))
    assert "Against simple baselines" in again.text
    assert again.tags.count("img") > 2
    code, _, _ = run("fit", path, "--out", tmp_path / "plain", "--no-report")
    assert not (tmp_path / "plain" / "report").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", "not json"),
        ("report.json", "[1]"),
        ("report.json", '{"format": 1, "kind": "evaluation", "values": {}}'),
        ("report.json", '{"format": 99, "kind": "evaluation", "values": {}}'),
        ("report.json", '{"format": 1, "kind": "../page", "values": {}}'),
        ("tastemaker.json", "{"),
        ("notes.txt", "hello"),
    ],
)
def test_a_folder_that_is_no_run_is_one_line(
    name: str, content: str, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(TastemakerError) as caught:
        report_runs([folder], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_values_of_a_stored_part_that_do_not_fit_are_one_line(
    report_of: Callable[..., str], tmp_path: Path
) -> None:
    report_of(wrong=10)
    path = tmp_path / "report" / "report.json"
    stored = json.loads(path.read_text("utf-8"))
    stored["values"].pop("slices")
    path.write_text(json.dumps(stored), "utf-8")
    with pytest.raises(ModelError, match="damaged"):
        report_runs([tmp_path / "report"], tmp_path / "out")
    stored["summary"]["trust"][0]["name"] = "no_such_sentence"
    path.write_text(json.dumps(stored), "utf-8")
    with pytest.raises(ModelError, match="damaged"):
        report_runs([tmp_path / "report"], tmp_path / "out")


@pytest.mark.parametrize("panels", [[5], "x", None, [{}]])
def test_stored_figures_that_are_none_are_one_line(
    report_of: Callable[..., str], tmp_path: Path, panels: Any
) -> None:
    report_of(wrong=10)
    path = tmp_path / "report" / "report.json"
    stored = json.loads(path.read_text("utf-8"))
    stored["values"]["panels"] = panels
    path.write_text(json.dumps(stored), "utf-8")
    with pytest.raises(ModelError, match="damaged"):
        report_runs([tmp_path / "report"], tmp_path / "out")


def test_a_stored_part_is_not_trusted(
    report_of: Callable[..., str], tmp_path: Path
) -> None:
    report_of(wrong=10)
    path = tmp_path / "report" / "report.json"
    stored = json.loads(path.read_text("utf-8"))
    stored["values"]["verdict"] = HOSTILE
    stored["summary"]["tiles"][0][0] = HOSTILE
    stored["values"]["panels"][0]["data"] = '"><script>alert(1)</script>'
    path.write_text(json.dumps(stored), "utf-8")
    page = Page(html(report_runs([tmp_path / "report"], tmp_path / "out")))
    assert "script" not in page.tags


def test_every_sentence_takes_the_same_values_in_both_languages() -> None:
    path = Path(report_package.__file__).with_name("words.json")
    sentences = json.loads(path.read_text("utf-8"))["sentences"]
    for name, words in sentences.items():
        names = {
            language: {
                name.removesuffix("_zh")
                for _, name, _, _ in string.Formatter().parse(text)
                if name
            }
            for language, text in words.items()
        }
        assert names["zh"] <= names["en"], name


def test_words_that_moved_the_score_are_marked(taste: Path, tmp_path: Path) -> None:
    run = steered(
        tmp_path / "ppo", gold=5 + curve(2, 0.1), settings={"reward": str(taste)}
    )
    path = run / "steering.json"
    results = json.loads(path.read_text())
    sample: dict[str, Any] = {"prompt": ""}
    for side, text in (
        ("before", "bad film number 1"),
        ("after", "good film number 1"),
    ):
        score = float(tm.load(taste).score_all([tm.Example(text)]).values[0])
        sample |= {side: text, f"score_{side}": score}
    path.write_text(json.dumps(results | {"samples": [sample]}))
    page = html(report_runs([run], tmp_path / "out"))
    assert '<mark class="down">bad </mark>' in page
    assert '<mark class="up">good </mark>' in page
    # the model was fitted anew: its effects are not those of the run
    sample["score_after"] += 1
    path.write_text(json.dumps(results | {"samples": [sample]}))
    page = html(report_runs([run], tmp_path / "out"))
    assert '<mark class="new">good </mark>' in page
    assert 'class="up">good' not in page


def pretrained(folder: Path, perplexity: float) -> Path:
    """Write the figures of a GPT whose n-grams have a perplexity of 30."""
    folder.mkdir()
    figures = {"perplexity": perplexity, "ngram_perplexity": 30.0, "parameters": 870144}
    (folder / "pretraining.json").write_text(json.dumps(figures))
    return folder


def test_a_page_about_a_gpt_says_whether_it_learned(tmp_path: Path) -> None:
    learned = pretrained(tmp_path / "gpt", 12.5)
    page = Page(html(report_runs([learned], tmp_path / "out"))).text
    assert "What this GPT has learned" in page
    assert "chose among 12.5" in page
    assert "tastemaker steer" in page
    little = pretrained(tmp_path / "little", 30.5)
    page = Page(html(report_runs([little], tmp_path / "out"))).text
    assert "has learned little" in page
    assert "no better than a count" in page
    page = Page(html(report_runs([little], tmp_path / "out", language="zh"))).text
    assert "这个 GPT 学到了什么" in page
    assert "学到的很少" in page


def test_a_gpt_beside_a_model_is_not_on_the_first_screen(
    taste: Path, tmp_path: Path
) -> None:
    folders = [taste, pretrained(tmp_path / "gpt", 30.5)]
    page = Page(html(report_runs(folders, tmp_path / "out"))).text
    assert "How far to trust this reward model" in page
    assert "has learned little" not in page


def test_data_without_a_problem_can_be_fitted(tmp_path: Path) -> None:
    words = np.random.default_rng(0).permutation(6000).reshape(60, 2, 50)
    pairs = [[" ".join(map(str, text)) for text in pair] for pair in words]
    diagnosis = tm.doctor([Comparison(*pair) for pair in pairs])
    assert [p.what for p in diagnosis.problems if p.severity != "note"] == []
    tm.write_doctor_page(diagnosis, tmp_path / "data")
    page = Page(html(report_runs([tmp_path / "data"], tmp_path / "out"))).text
    assert "Nothing wrong was found in these judgements" in page
    assert "tastemaker fit" in page
