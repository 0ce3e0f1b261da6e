"""Tables of Chinese texts whose columns and values have Chinese names."""

from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Comparison, Grade, Label, Rating, ReadAs

GOOD = "这部电影的故事很感人，演员的表演也非常自然。"
BAD = "剧情拖沓，看到一半就想离开，不值得花时间。"
QUESTION = "请评价一下这部电影。"

VOTES: list[tuple[str, str, str, tuple[str, str, str]]] = [
    ("回答A", "回答B", "偏好", ("A", "B", "平局")),
    ("回答A", "回答B", "偏好", ("回答A", "回答B", "一样好")),
    ("回答1", "回答2", "更好的回答", ("回答1", "回答2", "平")),
    ("回复甲", "回复乙", "胜者", ("甲", "乙", "平手")),
    ("回答甲", "回答乙", "结果", ("甲更好", "乙更好", "都差")),
    ("左边", "右边", "哪个更好", ("左", "右", "差不多")),
    ("輸出A", "輸出B", "偏好", ("A较好", "B较好", "持平")),
    ("response_a", "response_b", "preference", ("A is better", "B is better", "tie")),
    ("response_a", "response_b", "verdict", ("A", "slightly B", "tie")),
]


@pytest.mark.parametrize(("first", "second", "vote", "values"), VOTES)
def test_votes_are_read(
    first: str, second: str, vote: str, values: tuple[str, str, str]
) -> None:
    rows = [
        {"问题": QUESTION, first: GOOD, second: BAD, vote: values[0]},
        {"问题": QUESTION, first: BAD, second: GOOD, vote: values[1]},
        {"问题": QUESTION, first: BAD, second: GOOD, vote: values[2]},
    ]
    judgements = tm.read(rows)
    assert [type(each) for each in judgements] == [Comparison] * 3
    assert {each.prompt for each in judgements} == {QUESTION}
    pairs = [(each.chosen, each.rejected) for each in judgements[:2]]  # type: ignore[attr-defined]
    assert pairs == [(GOOD, BAD), (GOOD, BAD)]
    assert [each.tie for each in judgements] == [False, False, True]  # type: ignore[attr-defined]


NEGATED = [
    ("A不好", "B不好"),
    ("不是A", "不是B"),
    ("A更差", "B更差"),
    ("A不如B", "B不如A"),
    ("A比B更好", "B比A更好"),
    ("response_a is not better", "response_b is not better"),
    ("better than A", "better than B"),
]


@pytest.mark.parametrize("values", NEGATED)
def test_a_value_with_a_negation_is_asked_about(values: tuple[str, str]) -> None:
    rows = [
        {"回答A": GOOD, "回答B": BAD, "偏好": values[0]},
        {"回答A": BAD, "回答B": GOOD, "偏好": values[1]},
    ]
    with pytest.raises(tm.DataError, match=r"--(first|better)"):
        tm.read(rows)


ASKED: list[dict[str, tuple[Any, Any]]] = [
    {"回答A毒性分数": (5, 1), "回答B毒性分数": (1, 5)},
    {"回答A比回答B更好": (1, 0)},
    {"甲未选中": (1, 0)},
    {"最差的回答": ("A", "B")},
    {"未被选中的回答": ("A", "B")},
    {"不偏好的回答": ("A", "B")},
    {"标注": ("不如A", "不如B")},
    {"偏好": ("最差的是A", "最差的是B")},
    {"偏好": ("回答A优于回答B", "回答B优于回答A")},
]


@pytest.mark.parametrize("votes", ASKED)
def test_a_name_or_value_that_is_known_in_part_is_asked_about(
    votes: dict[str, tuple[Any, Any]],
) -> None:
    rows = []
    for number in range(2):
        row: dict[str, Any] = {"问题": QUESTION, "回答A": GOOD, "回答B": BAD}
        rows.append(row | {name: values[number] for name, values in votes.items()})
    with pytest.raises(tm.DataError, match=r"--(first|better)"):
        tm.read(rows)


def test_two_columns_of_one_meaning_are_asked_about() -> None:
    for names in (("response", "响应"), ("响应", "response")):
        with pytest.raises(tm.DataError, match="--text-column"):
            tm.read([{names[0]: GOOD, names[1]: BAD, "评分": 3.5}])
    rows = [{"回复": GOOD, "响应": BAD, "评分": 3.5}]
    with pytest.raises(tm.DataError, match="--text-column"):
        tm.read(rows)
    (rating,) = tm.read(rows, text="响应")
    assert rating.texts == (BAD,)
    (other,) = tm.read([{"答案": BAD, "回答": GOOD, "评分": 3.5}])
    assert other.texts == (GOOD,), "a reference is not what was rated"


def test_levels_and_yes_or_no_are_votes() -> None:
    values = ("A更好", "A较好", "一样", "B较好", "B更好")
    rows = [{"回答A": GOOD, "回答B": BAD, "偏好": value} for value in values]
    judgements = tm.read(rows)
    chosen = [each.chosen for each in judgements if not each.tie]  # type: ignore[attr-defined]
    assert chosen == [GOOD, GOOD, BAD, BAD]
    asked = [
        {"回答A": GOOD, "回答B": BAD, "回答A是否更好": "是"},
        {"回答A": BAD, "回答B": GOOD, "回答A是否更好": "否"},
    ]
    assert [each.chosen for each in tm.read(asked)] == [GOOD, GOOD]  # type: ignore[attr-defined]


PAIRS = [("选中", "拒绝"), ("优选", "落选")]


@pytest.mark.parametrize(("chosen", "rejected"), PAIRS)
def test_chosen_and_rejected_answers_are_read(chosen: str, rejected: str) -> None:
    (judgement,) = tm.read([{"问题": QUESTION, chosen: GOOD, rejected: BAD}])
    assert isinstance(judgement, Comparison)
    assert (judgement.prompt, judgement.chosen) == (QUESTION, GOOD)
    assert judgement.rejected == BAD


LABELS = [
    ("评论", "情感", "正面", "负面"),
    ("影评", "标签", "好评", "差评"),
    ("用户评论", "情感倾向", "积极", "消极"),
]


@pytest.mark.parametrize(("text", "label", "good", "bad"), LABELS)
def test_labels_are_read(text: str, label: str, good: str, bad: str) -> None:
    judgements = tm.read([{text: GOOD, label: good}, {text: BAD, label: bad}])
    assert all(isinstance(each, Label) for each in judgements)
    assert [each.positive for each in judgements] == [True, False]  # type: ignore[attr-defined]


def test_grades_ratings_judges_and_times_are_read() -> None:
    rows: list[dict[str, Any]] = [
        {"评论内容": GOOD, "星级": 5, "评审": "张", "标注时间": "2026-03-01"},
        {"评论内容": BAD, "星级": 1, "评审": "李", "标注时间": "2026-03-02"},
    ]
    grades = tm.read(rows)
    assert all(isinstance(each, Grade) for each in grades)
    assert [each.judge for each in grades] == ["张", "李"]
    assert all(each.time is not None for each in grades)
    ratings = tm.read([{"文本": GOOD, "评分": 8.5}, {"文本": BAD, "评分": 2.25}])
    assert all(isinstance(each, Rating) for each in ratings)


def test_the_line_names_the_columns_as_the_table_does() -> None:
    report: list[ReadAs] = []
    rows = [
        {"问题": QUESTION, "回答A": GOOD, "回答B": BAD, "偏好": "A", "备注": "无"},
        {"问题": QUESTION, "回答A": BAD, "回答B": GOOD, "偏好": "B", "备注": "无"},
    ]
    tm.read(rows, report=report)
    line = str(report[0])
    assert "prompt=问题" in line
    assert "回答A" in line
    assert "偏好" in line
    assert "not used: 备注" in line
    named = tm.read(rows, answers=("回答A", "回答B"), better="偏好")
    assert named == tm.read(rows)


def test_a_column_of_chinese_prose_that_is_not_used_is_pointed_out() -> None:
    report: list[ReadAs] = []
    rows = [
        {"文本": GOOD, "评分": 8.5, "另一段": BAD + GOOD},
        {"文本": BAD, "评分": 2.25, "另一段": GOOD + BAD},
    ]
    tm.read(rows, report=report)
    assert any("'另一段'" in note for note in report[0].notes)


def test_the_line_names_columns_of_a_published_layout_as_the_table_does() -> None:
    report: list[ReadAs] = []
    tm.read([{"问题": QUESTION, "选中": GOOD, "拒绝": BAD}], report=report)
    assert report[0].roles == {"prompt": "问题", "chosen": "选中", "rejected": "拒绝"}
    report.clear()
    tm.read([{"Prompt": QUESTION, "Chosen": GOOD, "Rejected": BAD}], report=report)
    assert report[0].roles["chosen"] == "Chosen"


def test_texts_without_spaces_are_texts_not_single_words() -> None:
    """The answers need no prompt beside them, and a system prompt may be one sentence."""
    rows = [
        {"model_a": GOOD, "model_b": BAD, "winner": "model_a"},
        {"model_a": BAD, "model_b": GOOD, "winner": "model_b"},
    ]
    assert [each.chosen for each in tm.read(rows)] == [GOOD, GOOD]  # type: ignore[attr-defined]
    (asked,) = tm.read(
        [{"system": "你是一位影评人。", "prompt": QUESTION, "text": GOOD, "score": 3.5}]
    )
    assert asked.prompt is not None
    assert not isinstance(asked.prompt, str)
    assert [turn.role for turn in asked.prompt] == ["system", "user"]


def test_names_of_answers_that_are_words_of_praise_are_read() -> None:
    rows = [
        {"answer_best": GOOD, "answer_second": BAD, "winner": "best"},
        {"answer_best": BAD, "answer_second": GOOD, "winner": "second"},
    ]
    assert [each.chosen for each in tm.read(rows)] == [GOOD, GOOD]  # type: ignore[attr-defined]


def test_an_error_names_the_column_as_the_table_does() -> None:
    good = {"问题": QUESTION, "选中": GOOD, "拒绝": BAD}
    with pytest.raises(tm.DataError, match="column '拒绝'"):
        tm.read([good, good | {"拒绝": None}])
