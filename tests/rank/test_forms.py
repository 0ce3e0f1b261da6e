"""The file of a form: which words are texts, and which are true or false."""

from pathlib import Path

import pytest

from tastemaker.rank import read_form


@pytest.mark.parametrize("words", ["Yes, No", "On, Off", '"Yes", "No"', "是, 否"])
def test_labels_are_the_words_of_the_file(tmp_path: Path, words: str) -> None:
    path = tmp_path / "form.yaml"
    path.write_text(f"labels: [{words}]\ncomment: true\n", encoding="utf-8")
    form = read_form(path)
    assert form.labels == tuple(words.replace('"', "").split(", "))
    assert form.comment is True
