"""The doctor's page: one file that needs nothing else, safe whatever the data holds."""

import json
from html.parser import HTMLParser

from tastemaker.data.judgements import Comparison, Label
from tastemaker.errors import DataError
from tastemaker.evaluation.doctor import doctor
from tastemaker.evaluation.doctor_page import doctor_html, write_doctor_page

HOSTILE = "<script>alert('owned')</script> & \"quoted\" <img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Collects tags, the names of attributes and text; checks that tags are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], set(), set(), []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def diagnosed():
    rows = [
        Comparison(HOSTILE, HOSTILE + " ", prompt=HOSTILE, judge=HOSTILE, where=f"{HOSTILE}:1"),
        Comparison("A", "BB", judge=HOSTILE, where="<i>evil</i>.csv:2"),
        Comparison("BB", "A", judge=HOSTILE, where="<i>evil</i>.csv:3"),
        Comparison("A", "BB", judge="b"),
        Label(HOSTILE, True),
    ]
    odd = [DataError(f"<b>x</b>.csv:9: {HOSTILE}")]
    return doctor(rows, test=rows, odd_rows=odd, max_length=2, count_tokens=len)


def test_hostile_texts_and_names_are_only_text():
    page = Page(doctor_html(diagnosed(), title=HOSTILE))
    assert not page.tags & {"script", "img", "i" * 2, "iframe"}
    assert "onerror" not in page.attributes
    assert "<script>alert('owned')</script>" in page.text
    assert "<i>evil</i>.csv:2" in page.text
    assert "<b>x</b>.csv:9" in page.text


def test_the_page_needs_and_runs_nothing():
    html = doctor_html(diagnosed(), title="t")
    assert "default-src 'none'" in html
    assert not Page(html).attributes & {"src", "href", "onclick"}


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
