"""The doctor's page: one file that needs nothing else, safe whatever the data holds."""

import json

from pages import HOSTILE, Page

from tastemaker.data.judgements import Comparison, Label
from tastemaker.errors import DataError
from tastemaker.evaluation.doctor import doctor
from tastemaker.evaluation.doctor_page import doctor_html, write_doctor_page


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
    assert page.tags == Page(doctor_html(diagnosed(harmless, "evil", "x"), title=harmless)).tags
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
    for words in ("odd rows", "leakage", "contradictions", "identical pairs", "longer text won", "alpha", "tokens"):
        assert words in page.text
    assert page.text.index("odd rows: they") < page.text.index("contradictions: texts")


def test_healthy_and_empty_data_have_a_page():
    for rows in ([], [Label("good", True), Label("bad", False)]):
        assert "No problems were found" in Page(doctor_html(doctor(rows), title="t")).text


def test_writing(tmp_path):
    diagnosis = diagnosed()
    write_doctor_page(diagnosis, tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"doctor.html", "doctor.json"}
    assert json.loads((tmp_path / "new" / "doctor.json").read_text("utf-8")) == diagnosis.as_dict()
