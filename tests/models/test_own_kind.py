"""A kind of judgement that a user defines in one file: docs/examples/own_judgement_kind.py."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import forked
import pytest

import tastemaker as tm
from tastemaker.data import Label
from tastemaker.errors import ModelError, UsageError
from tastemaker.kinds import LINKS, LabelLink, register

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_judgement_kind.py"


def test_the_example_reads_splits_fits_saves_loads_evaluates_and_diagnoses() -> None:
    process = forked.start_script(EXAMPLE)
    code, printed = process.wait(200), process.output()
    assert code == 0, printed
    assert "60 best_worsts" in printed
    assert "top-1           1.000" in printed
    assert "rows        240: 240 best_worsts" in printed
    good, bad = json.loads(printed.splitlines()[-1])
    assert good > bad


def test_a_name_belongs_to_one_record() -> None:
    @dataclass(frozen=True, slots=True)
    class OtherLabel(Label):
        kind: ClassVar[str] = "label"

    class OtherLink(LabelLink):
        record = OtherLabel

    with pytest.raises(UsageError, match=r"'label'.*Label"):
        register(OtherLink)
    assert OtherLabel not in LINKS


def test_a_model_of_a_kind_that_is_not_registered_is_refused(tmp_path: Path) -> None:
    labels = [
        Label(f"{'good' if i % 2 else 'bad'} film {i}", i % 2 == 1) for i in range(40)
    ]
    tm.fit(labels, out=tmp_path / "m")
    path = tmp_path / "m" / "tastemaker.json"
    contract = json.loads(path.read_text())
    contract["links"]["verdict"] = {"slope": 1.0}
    path.write_text(json.dumps(contract))
    with pytest.raises(ModelError, match="'verdict'"):
        tm.load(tmp_path / "m")
