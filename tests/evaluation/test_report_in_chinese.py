"""The report in Chinese: no English is left but names, commands and technical terms."""

import ast
import base64
import itertools
import json
import re
import string
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from courses import best_of, curve, steered

import tastemaker as tm
from tastemaker.data import Comparison, Grade, Judgement, Label, Ranking, Rating
from tastemaker.errors import DataError
from tastemaker.evaluate import Evaluation, evaluate
from tastemaker.kinds import (
    ComparisonLink,
    GradeLink,
    LabelLink,
    RankingLink,
    RatingLink,
)
from tastemaker.report import (
    evaluation_part,
    phrases,
    report_runs,
    translated,
    write_doctor_page,
)
from tastemaker.rl import ADVICE

_ENGLISH = re.compile(r"[A-Za-z’']{2,}(?:[\s,;:.]+[A-Za-z’']{2,}){2,}")
"""Three English words or more in a row."""
_CODE = {"pre", "code", "style"}


class Words(HTMLParser):
    """Collects what a reader sees of a page, figures included, code left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _CODE:
            self.inside.append(tag)
        for name, value in attrs:
            if name in ("alt", "title", "aria-label"):
                self.words.append(value or "")
            elif name == "src":
                svg = base64.b64decode(str(value).partition(",")[2]).decode()
                self.words += re.findall(r"<text[^>]*>([^<]+)</text>", svg)

    def handle_endtag(self, tag: str) -> None:
        if tag in _CODE:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.words.append(" ".join(data.split()))

    @property
    def english(self) -> list[str]:
        """The texts that hold three English words in a row."""
        return sorted({word for word in self.words if _ENGLISH.search(word)})


def in_chinese(folders: list[Path], out: Path, **settings: Any) -> Words:
    page = report_runs(folders, out, language="zh", **settings)
    return Words(page.read_text("utf-8"))


def _evaluation(table_model: Any) -> tuple[Evaluation, list[Judgement]]:
    """Evaluate 48 Chinese texts, each judged in every kind, with ties, margins and judges."""
    generator = np.random.default_rng(3)
    texts = [f"影评{i}" + "字" * int(generator.integers(3, 90)) for i in range(48)]
    gold = generator.normal(size=48)
    scores = dict(zip(texts, gold + 0.7 * generator.normal(size=48), strict=True))
    plain = dict(zip(texts, gold + 1.5 * generator.normal(size=48), strict=True))
    judged: list[Judgement] = []
    for i, text in enumerate(texts):
        judge = "甲乙丙"[i % 3]
        judged += [
            Label(text, gold[i] > 0.2, judge=judge),
            Grade(text, int(np.clip(round(5 + 2 * gold[i]), 1, 10)), judge=judge),
            Rating(text, float(7 + gold[i])),
        ]
    for i in range(47):
        order = np.argsort(-gold[i : i + 4]) + i
        better, worse = texts[order[0]], texts[order[-1]]
        margin = float(np.ceil(gold[order[0]] - gold[order[-1]]))
        common: dict[str, Any] = {"prompt": f"提示{i}", "source": "旧新"[i % 2]}
        for judge in "甲乙":
            is_tie = i % 9 == 0 and judge == "乙"
            margins = 0.0 if is_tie else margin
            judged.append(
                Comparison(better, worse, margins, is_tie, judge=judge, **common)
            )
        if i < 44:
            judged.append(Ranking([texts[j] for j in order], **common))
    links = {
        Label: LabelLink(2.0, 0.0),
        Grade: GradeLink(1, 10, 2.0, np.linspace(-3, 3, 9).tolist()),
        Rating: RatingLink(7.0, 1.0),
        Comparison: ComparisonLink(1.0, -1.0),
        Ranking: RankingLink(),
    }
    evaluation = evaluate(
        table_model(links, scores, limit=60),
        judged,
        baseline=table_model(links, plain),
        resamples=40,
    )
    return evaluation, judged


@pytest.fixture(scope="module")
def folders(
    table_model: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Write a run folder for each kind of part, all their texts in Chinese."""
    tmp_path = tmp_path_factory.mktemp("runs")
    evaluation, judged = _evaluation(table_model)
    stored = evaluation_part(evaluation).as_dict()
    (tmp_path / "report.json").write_text(json.dumps(stored), "utf-8")
    repeated = [*judged, *judged[:40], Label("！！", True), Label("字" * 9000, False)]
    turned = [
        Comparison(j.rejected, j.chosen, prompt=j.prompt, judge=j.judge)
        for j in judged
        if isinstance(j, Comparison) and not j.tie
    ]
    diagnosis = tm.doctor(
        [*repeated, *turned[:9]],
        test=judged[:20],
        odd_rows=[DataError("行")],
        max_length=50,
        count_tokens=len,
        judges={"甲": {"interval": [-1, -0.5]}, "乙": {"interval": [0, 0.1]}},
    )
    write_doctor_page(diagnosis, tmp_path / "data")
    model = tmp_path / "taste"
    model.mkdir()
    judges = {"甲": {"judgements": 9, "reliability": 1.0, "interval": [0.9, 1.1]}}
    contract = {
        "backbone": "linear",
        "data": {
            "judgements": {"label": 80, "comparison": 9},
            "texts": 80,
            "validation": 8,
            "held_out": 9,
            "near_copies": 1,
            "digest": "0f",
            "not_learned": [
                "all judgements are by one judge, 甲: how judges differ "
                "could not be learned."
            ],
        },
        "judges": judges,
        "evaluation": {"verdict": evaluation.verdict()},
    }
    (model / "tastemaker.json").write_text(json.dumps(contract))
    gpt = tmp_path / "gpt"
    gpt.mkdir()
    figures = {"tokens": 9, "ngram_byte_perplexity": 1.5, "measured_tokens": 3}
    (gpt / "pretraining.json").write_text(json.dumps(figures))
    (model / "run").mkdir()
    cost = {
        "seconds": 130.0,
        "stages": {"training": 90.0},
        "counts": {"texts": 5, "training_tokens": 7, "tokens_written": 9},
        "peak_bytes": 5_000_000,
    }
    (model / "run" / "cost.json").write_text(json.dumps(cost))
    return {
        "evaluation": tmp_path,
        "data": tmp_path / "data",
        "model": model,
        "gpt": gpt,
        "gain": steered(tmp_path / "a", gold=5 + curve(2, 0.1), text="影片"),
        "fooled": steered(
            tmp_path / "b",
            held_out=5 - curve(2, 0.1),
            text="影片",
            settings={"start": 1},
        ),
        "unchecked": steered(tmp_path / "c", text="影片"),
    }


def test_every_part_is_in_chinese(folders: Mapping[str, Path], tmp_path: Path) -> None:
    shown = in_chinese(list(folders.values()), tmp_path / "out", best_of=best_of())
    assert shown.english == []
    text = " ".join(shown.words)
    assert "模型优于“" in text, "a sentence of the evaluation"
    assert "人给出的等级" in text, "a label within a figure"
    assert "重复评判" in text, "a problem of the data"
    assert "过度优化" in text, "the verdict on a run"
    assert "可靠程度" in text
    assert "困惑度" in text
    assert "2 分 10 秒" in text, "what the run cost"


def test_names_and_texts_of_the_user_stay(tmp_path: Path) -> None:
    shown = in_chinese([steered(tmp_path / "model", text="no progress")], tmp_path)
    assert shown.english == []
    assert any(words.startswith("model (") for words in shown.words)
    assert "no progress" in "".join(shown.words)


def test_every_phrase_takes_the_same_values_in_both_languages() -> None:
    def names(text: str) -> set[str]:
        parsed = string.Formatter().parse(text)
        return {name for _, name, _, _ in parsed if name}

    for group in phrases().values():
        for english, chinese in group.items():
            assert names(english) == names(chinese), english
            assert chinese.strip()


def _written(node: ast.expr) -> Iterator[str]:
    """Yield what a literal string may look like, with any of some values in its places."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if not isinstance(node, ast.JoinedStr):
        return
    values = ("7", "label", "longer", "positive", "ties", "2 groups of texts", "grade")
    pieces = [
        [str(piece.value)] if isinstance(piece, ast.Constant) else values
        for piece in node.values
    ]
    yield from map("".join, itertools.product(*pieces))


def _problem_sentences() -> Iterator[list[str]]:
    """Yield each sentence and each advice of the doctor's code, in all its possible looks."""
    for path in (Path(tm.__file__).parent / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            sentences = [k.value for k in node.keywords if k.arg in ("what", "advice")]
            if node.func.id == "Problem" and len(node.args) > 4:
                sentences += [node.args[1], node.args[4]]
            yield from (looks for s in sentences if (looks := list(_written(s))))


def test_every_problem_and_every_advice_has_its_chinese() -> None:
    sentences = list(_problem_sentences())
    assert len(sentences) > 40
    missing = [
        looks[0]
        for looks in sentences
        if all(translated(look) == look for look in looks)
    ]
    assert missing == []
    for advice in ADVICE.values():
        english = advice.format(value=0.5, limit=3, times=2, reason="inf")
        assert translated(english) != english, advice


def test_a_sentence_that_is_not_ours_stays_as_it_is() -> None:
    for text in ("", "A film of its own.", "Labels: " * 900, "model; film."):
        assert translated(text) == text
    assert translated("model") == "模型"
