"""The doctor's page: one file that needs nothing else, safe whatever the data holds."""

import json
import re
from dataclasses import replace

from pages import HOSTILE, MARK, Page, marks

from tastemaker.data import Comparison, Label
from tastemaker.doctor import Problem, doctor
from tastemaker.errors import DataError
from tastemaker.report import doctor_html, write_doctor_page

PLAIN = [Label("good", True, judge="a"), Label("bad", False, judge="b")]


def diagnosed(text=HOSTILE, file="<i>evil</i>", odd_file="<b>x</b>"):
    rows = [
        Comparison(text, text + " ", prompt=text, judge=text, where=f"{text}:1"),
        Comparison("A", "BB", judge=text, where=f"{file}.csv:2"),
        Comparison("BB", "A", judge=text, where=f"{file}.csv:3"),
        Comparison("A", "BB", judge="b"),
        Label(text, True),
    ]
    odd = [DataError(f"{odd_file}.csv:9: {text}")]
    return doctor(rows, test=rows, odd_rows=odd, max_length=2, count_tokens=len)


def test_hostile_texts_and_names_are_only_text():
    page = Page(doctor_html(diagnosed(), title=HOSTILE))
    harmless = HOSTILE.translate(str.maketrans("<>&'\"", "....."))
    assert (
        page.tags
        == Page(doctor_html(diagnosed(harmless, "evil", "x"), title=harmless)).tags
    )
    assert not {"script", "img", "iframe"} & set(page.tags)
    assert "onerror" not in page.named
    assert "<script>alert('owned')</script>" in page.text
    assert "<i>evil</i>.csv:2" in page.text
    assert "<b>x</b>.csv:9" in page.text


def test_the_page_needs_and_runs_nothing():
    html = doctor_html(diagnosed(), title="t")
    assert "default-src 'none'" in html
    assert not Page(html).named & {"src", "href", "onclick"}


def test_it_says_what_was_found():
    page = Page(doctor_html(diagnosed(), title="Health"))
    for words in (
        "odd rows",
        "leakage",
        "contradictions",
        "identical pairs",
        "longer text won",
        "alpha",
        "tokens",
    ):
        assert words in page.text
    assert page.text.index("odd rows: they") < page.text.index("contradictions: texts")


def test_healthy_and_empty_data_have_a_page():
    for rows in ([], [Label("good", True), Label("bad", False)]):
        assert (
            "No problems were found" in Page(doctor_html(doctor(rows), title="t")).text
        )


def test_writing(tmp_path):
    diagnosis = diagnosed()
    write_doctor_page(diagnosis, tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "doctor.html",
        "doctor.json",
        "report.json",
    }
    assert (
        json.loads((tmp_path / "new" / "doctor.json").read_text("utf-8"))
        == diagnosis.as_dict()
    )


def test_titles_are_text_in_head_and_heading():
    assert marks(doctor_html(doctor(PLAIN), title=MARK)) == 2


def test_every_part_of_a_problem_is_text():
    problem = Problem("name", MARK, 1, "note", MARK, [MARK], [MARK, MARK])
    diagnosis = replace(doctor(PLAIN), problems=[problem])
    assert (
        marks(doctor_html(diagnosis, title="t")) == 5
    )  # what, advice, one place, two examples


def test_names_of_kinds_judges_and_figures_are_text():
    diagnosis = doctor(PLAIN)
    named = replace(
        diagnosis,
        judges={MARK: 1, None: 1},
        kinds={MARK: 2},
        length_correlations={MARK: 0.5},
        lengths=replace(diagnosis.lengths, unit=MARK),
    )
    assert marks(doctor_html(named, title="t")) == 4


def test_half_a_character_stops_no_page(tmp_path):
    # a lone surrogate is no UTF-8: the page shows a replacement, the numbers too, and both are
    # written
    rows = [
        Label("half \ud83d of a smile", True, judge="j \ud83d"),
        Label("...", False, judge="b"),
    ]
    write_doctor_page(doctor(rows), tmp_path, title="t \ud83d")
    assert "t ?" in (tmp_path / "doctor.html").read_text("utf-8")
    assert json.loads((tmp_path / "doctor.json").read_text("utf-8"))["texts"] == 2


def test_the_busiest_judges_have_bars_and_the_others_one_together():
    # judge i said i + 1 things: of 23, the busiest twenty said 23 … 4, the others 3 + 2 + 1;
    # nobody named said 46
    rows = [
        Label(f"{i} {k}", k % 2 == 0, judge=f"j{i:02d}")
        for i in range(23)
        for k in range(i + 1)
    ]
    rows += [Label(f"nobody {k}", k % 2 == 0) for k in range(46)]
    html = doctor_html(doctor(rows), title="t")
    bar = (
        r'<span dir="auto">([^<]*)</span><span><span class="bar" style="width: ([0-9.]+)%">'
        r"</span></span><b>(\d+)</b>"
    )
    kinds, *judges = re.findall(bar, html)
    assert kinds == ("labels", "100.0", "322")
    assert judges[:2] == [("j22", "50.0", "23"), ("j21", "47.8", "22")]
    assert judges[19:] == [
        ("j03", "8.7", "4"),
        ("3 other judges", "13.0", "6"),
        ("without a name", "100.0", "46"),
    ]
