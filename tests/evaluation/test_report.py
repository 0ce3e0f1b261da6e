"""The report: one page that needs nothing else, safe whatever the texts hold."""

import base64
import errno
import json
import re
from xml.etree import ElementTree as ET

import pytest
from pages import HOSTILE, MARK, Page, marks

from tastemaker.data import Comparison, Grade, Label, Ranking, Rating, fingerprints
from tastemaker.errors import StorageError
from tastemaker.evaluate import evaluate
from tastemaker.kinds import ComparisonLink, LabelLink, RankingLink
from tastemaker.plotting import panel_svg
from tastemaker.report import html_of, overview_png, panels, write_report


@pytest.fixture
def mistaken(table_model):
    """A model that is wrong about one text in either direction."""
    scores = {"fine": 1.0, "bad": -1.0, HOSTILE: 3.0, "a good one": -2.0}
    judgements = [
        Label("fine", True),
        Label("bad", False),
        Label(HOSTILE, False, where="<i>evil</i>.csv:4"),
        Label("a good one", True),
    ]
    return table_model({Label: LabelLink(1.0, 0.0)}, scores), judgements


@pytest.fixture
def one_figure(monkeypatch):
    """Draw the first figure of a report alone, for tests of what stands around figures."""
    module = "tastemaker.report.report_page"
    monkeypatch.setattr(f"{module}.panels", lambda evaluation: panels(evaluation)[:1])


@pytest.mark.parametrize(
    "kinds",
    [(Label,), (Grade,), (Rating,)],
)
def test_the_report_is_written_whole(world, tmp_path, kinds):
    evaluation = world(*kinds).evaluated(
        training_fingerprints=fingerprints(["unrelated"])
    )
    write_report(evaluation, tmp_path / "new" / "report")
    folder = tmp_path / "new" / "report"
    assert sorted(p.name for p in folder.iterdir()) == [
        "evaluation.json",
        "report.html",
        "report.json",
        "report.png",
    ]
    assert (
        json.loads((folder / "evaluation.json").read_text("utf-8"))
        == evaluation.as_dict()
    )
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    page = Page((folder / "report.html").read_text("utf-8"))
    for verdict in evaluation.verdicts():
        assert verdict in page.text
    drawn = panels(evaluation)
    assert page.tags.count("img") == len(drawn) == 4 * len(kinds)
    assert drawn[3].name == "slices"
    for panel in drawn:
        assert "nan" not in panel.title
        assert len(panel.caption) > 80


def test_the_page_fetches_and_runs_nothing(world):
    page = Page(html_of(world(Label).evaluated(), title="A report"))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for _, name, value in page.attributes if name in {"src", "href"}]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    policy = [
        value
        for tag, name, value in page.attributes
        if tag == "meta" and name == "content"
    ]
    assert any("default-src 'none'" in value for value in policy)


@pytest.mark.usefixtures("one_figure")
def test_hostile_texts_are_escaped(mistaken):
    model, judgements = mistaken
    html = html_of(
        evaluate(model, judgements, training_fingerprints=fingerprints([HOSTILE])),
        title="<b>bold</b> & title",
    )
    page = Page(html)
    assert not {"script", "i", "body script"} & set(page.tags)
    assert not [name for name in page.named if name.startswith("on")]
    assert "&lt;script&gt;alert" in html
    assert (
        page.text.count("<script>alert('owned')</script>") == 2
    )  # as a mistake and as a duplicate
    assert "<i>evil</i>.csv:4" in page.text
    assert "<b>bold</b> & title" in page.text


@pytest.mark.usefixtures("one_figure")
def test_titles_are_text_in_head_and_heading(table_model):
    model = table_model({Label: LabelLink(1.0, 0.0)}, {"good": 1.0, "bad": -1.0})
    assert (
        marks(
            html_of(
                evaluate(model, [Label("good", True), Label("bad", False)]), title=MARK
            )
        )
        == 2
    )


@pytest.mark.usefixtures("one_figure")
def test_the_wrongest_texts_come_first_and_only_wrong_ones(table_model):
    scores = {f"wrong {i}": float(i) for i in range(1, 9)} | {"right": 9.0}
    judgements = [Label(text, text == "right") for text in scores]
    page = Page(
        html_of(
            evaluate(table_model({Label: LabelLink(1.0, 0.0)}, scores), judgements),
            title="t",
        )
    )
    assert re.findall(r"wrong \d", page.text) == [
        "wrong 8",
        "wrong 7",
        "wrong 6",
        "wrong 5",
        "wrong 4",
    ]
    assert "predicted most too high" in page.text
    assert "predicted most too low" not in page.text


@pytest.mark.usefixtures("one_figure")
def test_equally_certain_mistakes_are_ordered_by_score(table_model):
    # both promise a probability of 1 − 0 in float64
    scores = {"text at 200": 200.0, "text at 100": 100.0, "no": -1.0}
    judgements = [
        Label("text at 100", False),
        Label("text at 200", False),
        Label("no", True),
    ]
    page = Page(
        html_of(
            evaluate(table_model({Label: LabelLink(1.0, 0.0)}, scores), judgements),
            title="t",
        )
    )
    assert page.text.index("text at 200") < page.text.index("text at 100")


@pytest.mark.usefixtures("one_figure")
def test_a_long_text_is_shortened_and_control_characters_are_shown_as_such(table_model):
    text = "前言 \x00\x1b[31m " + "好" * 5000
    scores = {text: 3.0, "b": -1.0}
    judgements = [Label(text, False), Label("b", True)]
    html = html_of(
        evaluate(table_model({Label: LabelLink(1.0, 0.0)}, scores), judgements),
        title="t",
    )
    assert "\x00" not in html
    assert "\x1b" not in html
    assert "前言 \ufffd\ufffd[31m 好好" in html
    assert "好 …" in html
    assert html.count("好") < 400


@pytest.mark.usefixtures("one_figure")
def test_a_text_that_is_not_unicode_does_not_stop_the_report(table_model, tmp_path):
    text = "half a pair \ud83d"
    model = table_model({Label: LabelLink(1.0, 0.0)}, {text: 3.0, "b": -1.0})
    write_report(
        evaluate(model, [Label(text, False, where="\udcff.csv:1"), Label("b", True)]),
        tmp_path,
    )
    assert "half a pair" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.usefixtures("one_figure")
def test_a_prompt_is_shown_before_its_completion(table_model):
    model = table_model({Label: LabelLink(1.0, 0.0)}, {"Paris": 3.0, "b": -1.0})
    judgements = [
        Label("Paris", False, prompt="The capital of Peru?"),
        Label("b", True),
    ]
    assert "The capital of Peru? → Paris" in html_of(
        evaluate(model, judgements), title="t"
    )


@pytest.mark.usefixtures("one_figure")
def test_other_files_in_the_folder_stay(world, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("old")
    write_report(world(Label, n=40).evaluated(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.usefixtures("one_figure")
def test_a_full_disk_leaves_the_old_report(world, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(StorageError, match=r"report\.html: .*full"):
        write_report(world(Label, n=40).evaluated(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


@pytest.mark.slow
def test_the_same_evaluation_makes_the_same_files(world):
    evaluation = world(Label, n=60).evaluated()
    assert html_of(evaluation, title="t") == html_of(evaluation, title="t")
    assert overview_png(evaluation) == overview_png(evaluation)


@pytest.mark.parametrize("positives", [(True, True), (False, False)])
def test_one_class_and_two_texts_are_enough_for_a_report(table_model, positives):
    model = table_model({Label: LabelLink(1.0, 0.0)}, {"a": 1.0, "bc": -1.0})
    judgements = [
        Label(text, positive)
        for text, positive in zip(("a", "bc"), positives, strict=True)
    ]
    evaluation = evaluate(model, judgements)
    assert "roc" not in [panel.name for panel in panels(evaluation)]
    html_of(evaluation, title="t")


def test_figures_inside_the_page_are_the_panels(world):
    evaluation = world(Label, n=60).evaluated()
    page = Page(html_of(evaluation, title="t"))
    inside = [
        value.partition(",")[2]
        for tag, name, value in page.attributes
        if (tag, name) == ("img", "src")
    ]
    assert sorted(base64.b64decode(data) for data in inside) == sorted(
        panel_svg(panel) for panel in panels(evaluation)
    )
    assert ET.fromstring(base64.b64decode(inside[0])).tag.endswith("svg")


# --- comparisons and rankings


@pytest.mark.parametrize("kind", [Comparison, Ranking])
def test_the_report_of_orders_is_written_whole(order_world, tmp_path, kind):
    evaluation = order_world(kind, 40).evaluated(
        training_fingerprints=fingerprints(["unrelated"])
    )
    write_report(evaluation, tmp_path)
    assert (
        json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
        == evaluation.as_dict()
    )
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    for verdict in evaluation.verdicts():
        assert verdict in page.text
    names = [panel.name for panel in panels(evaluation)]
    assert page.tags.count("img") == len(names)
    expected = (
        {"reliability", "by_margin", "by_length_difference"}
        if kind is Comparison
        else {"lists", "by_distance"}
    )
    assert expected | {"baselines", "length"} == set(names)
    for panel in panels(evaluation):
        assert "nan" not in panel.title
        assert len(panel.caption) > 80
    for baseline in ("The longer text: ", "The coin "):
        assert baseline in page.text


@pytest.fixture
def surely_wrong(table_model):
    """A model that prefers a hostile text to the one that people chose."""
    scores = {"fine": 1.0, "bad": -1.0, HOSTILE: 3.0, "<i>chosen</i>": -2.0}
    common = {"prompt": "<b>which?</b>", "where": "<u>evil</u>.jsonl:4"}
    return table_model(
        {Comparison: ComparisonLink(), Ranking: RankingLink()}, scores
    ), common


@pytest.mark.usefixtures("one_figure")
def test_hostile_pairs_stand_side_by_side_escaped(surely_wrong):
    model, common = surely_wrong
    judgements = [
        Comparison("<i>chosen</i>", HOSTILE, **common),
        Comparison("fine", "bad"),
    ]
    html = html_of(evaluate(model, judgements), title="t")
    page = Page(html)
    assert not {"script", "i", "u"} & set(page.tags)
    assert "&lt;script&gt;alert" in html
    wrong = page.text[page.text.index("most confident mistakes") :]
    order = [
        "P(chosen)",
        "0.7%",
        "-2.00 / +3.00",
        "<b>which?</b>",
        "<i>chosen</i>",
        "<script>",
        "<u>evil</u>.jsonl:4",
    ]
    places = [wrong.index(piece) for piece in order]
    assert places == sorted(places)
    assert "fine" not in wrong


@pytest.mark.usefixtures("one_figure")
def test_hostile_lists_are_escaped(surely_wrong):
    model, common = surely_wrong
    judgements = [
        Ranking(["<i>chosen</i>", "fine", HOSTILE], **common),
        Ranking(["fine", "bad"]),
    ]
    page = Page(html_of(evaluate(model, judgements), title="t"))
    assert not {"script", "i", "u"} & set(page.tags)
    wrong = page.text[page.text.index("lowest Kendall's τ") :]
    assert "-1.00 3 of 3 <b>which?</b> <i>chosen</i> <script>" in wrong


@pytest.mark.usefixtures("one_figure")
def test_a_long_prompt_is_shown_from_its_end(table_model):
    model = table_model({Comparison: ComparisonLink()}, {"a": 0.0, "b": 1.0})
    prompt = "first words " + "x " * 900 + "\x00 the last question?"
    html = html_of(evaluate(model, [Comparison("a", "b", prompt=prompt)]), title="t")
    assert "the last question?" in html
    assert "first words" not in html
    assert "\x00" not in html


@pytest.mark.parametrize(
    "judgements",
    [
        [Comparison("a", "bc")],
        [Comparison("a", "bc", tie=True)],
        [Comparison("a", "b")],  # equally long
        [Ranking(["a", "bc"])],
        [Ranking([["a", "bc"]])],
        [Ranking(["bc"], rest=("a",))],
        [Ranking([str(i) for i in range(12)]), Comparison("a", "bc", 2.5)],
    ],
)
def test_one_order_is_enough_for_a_report(table_model, judgements):
    scores = {"a": 1.0, "b": 0.0, "bc": -1.0} | {
        str(i): float(i % 3) for i in range(12)
    }
    model = table_model({Comparison: ComparisonLink(), Ranking: RankingLink()}, scores)
    evaluation = evaluate(model, judgements, baseline=model, resamples=20)
    assert Page(html_of(evaluation, title="t")).tags.count("img") == len(
        panels(evaluation)
    )
    assert "nan" not in evaluation.table()


@pytest.mark.slow
def test_every_kind_fits_on_one_page(world, order_world):
    texts, pairs, lists = (
        world(Label, Rating, n=60),
        order_world(Comparison, 30),
        order_world(Ranking, 30),
    )
    everything = [texts, pairs, lists]
    model = type(texts.model)(
        {kind: link for w in everything for kind, link in w.model.links.items()},
        {text: score for w in everything for text, score in w.model.scores.items()},
    )
    evaluation = evaluate(
        model, [j for w in everything for j in w.judgements], resamples=50
    )
    page = Page(html_of(evaluation, title="t"))
    assert page.tags.count("img") == len(panels(evaluation))
    assert (
        "Measured on 60 labels, 60 ratings, 90 comparisons and 30 rankings" in page.text
    )
