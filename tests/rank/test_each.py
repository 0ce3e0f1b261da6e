"""Grades and labels beside a ranking: by key, pointer and screen reader; in the store and out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rank_pages import answered, at_size, element_of, press, tap, texts_shown

import tastemaker as tm
from tastemaker.data.store import Item, Store
from tastemaker.rank import overview

FORM = """scale: [1, 5]
labels: [Safe, Unsafe]
grade_each: true
label_each: true
comment: true
flags: [odd]
"""
ROWS = [
    {"prompt": f"Question {n}?", "answers": ["one", "two", "three"][: 2 + n % 2]}
    for n in range(4)
]


@pytest.fixture(scope="module")
def page(started: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page that asks for grades and labels, with a judge for each way to give them."""
    form = tmp_path_factory.mktemp("each") / "form.yaml"
    form.write_text(FORM)
    names = ("keys", "finger", "mouse")
    invited = [word for name in names for word in ("--judge", name)]
    return started(ROWS, *invited, "--judges-per-item", 3, "--form", form)


def until_mode(browser: Any, mode: str) -> list[str]:
    """Skip items until one of this mode is shown; return its texts."""
    while element_of(browser, "item").get_attribute("data-mode") != mode:
        press(browser, "s")
        answered(browser, lambda: press(browser, "1"))
    return texts_shown(browser)


def judged_by(page: Any, judge: str) -> list[tm.Judgement]:
    """Return the judgements of a judge."""
    return [each for each in tm.read(page.store) if each.judge == judge]


def checked(browser: Any) -> list[str]:
    """Return the names of the grades and labels that are given."""
    script = "return [...document.querySelectorAll('.each :checked')].map(e => e.dataset.testid)"
    names: list[str] = browser.execute_script(script)
    return names


def test_grades_and_labels_by_keyboard_alone(chromium: Any, page: Any) -> None:
    at_size(chromium, 1200, 900)
    chromium.get(page.links["keys"])
    shown = until_mode(chromium, "rank")
    # 3 gets a 5 and is safe, 1 a 2 that becomes a 4, 2 an unsafe that is taken back
    press(chromium, "3", "g", "5", "l", "1", "1", "g", "2", "g", "ARROW_RIGHT")
    press(chromium, "ARROW_RIGHT", "TAB", "TAB", "2", "l", "2", "u", "1", "t")
    assert element_of(chromium, "live").text.startswith("Answer 1 is equal")
    assert checked(chromium) == ["grades-1-4", "grades-3-5", "labels-3-yes"]
    chromium.refresh()  # nothing is lost
    assert checked(chromium) == ["grades-1-4", "grades-3-5", "labels-3-yes"]
    press(chromium, "2", "g", "1", "g", "BACKSPACE")  # given and taken away
    assert element_of(chromium, "live").text == "Answer 2: taken away."
    element_of(chromium, "comment").send_keys("close")
    element_of(chromium, "flag-1").click()
    answered(chromium, lambda: press(chromium, "ENTER"))
    ranking, first, second, label = judged_by(page, "keys")
    assert isinstance(ranking, tm.Ranking)
    assert ranking.tiers == ((shown[2], shown[0]), (shown[1],))
    shared = {"prompt": ranking.prompt, "judge": "keys", "time": ranking.time}
    grades = [
        tm.Grade(shown[2], 5, 1, 5, **shared),
        tm.Grade(shown[0], 4, 1, 5, **shared),
    ]
    assert sorted(grades, key=shown_text) == sorted([first, second], key=shown_text)
    assert label == tm.Label(shown[2], True, **shared)
    # taken back, all of it is there again
    answered(chromium, lambda: press(chromium, "u"))
    assert checked(chromium) == ["grades-1-4", "grades-3-5", "labels-3-yes"]
    assert element_of(chromium, "comment").get_attribute("value") == "close"
    assert element_of(chromium, "flag-1").is_selected()
    with pytest.raises(tm.DataError, match="nobody has judged"):
        tm.read(page.store)


def shown_text(judgement: tm.Judgement) -> str:
    return judgement.texts[0]


def test_grades_and_labels_by_tap(chromium: Any, page: Any) -> None:
    at_size(chromium, 390, 844)
    chromium.get(page.links["finger"])
    shown = until_mode(chromium, "pair")
    width = chromium.execute_script("return document.documentElement.scrollWidth")
    assert width == 390
    tap(
        chromium,
        "grades-1-3",
        "grades-2-4",
        "labels-1-no",
        "labels-2-no",
        "labels-2-no",
    )
    assert checked(chromium) == ["grades-1-3", "labels-1-no", "grades-2-4"]
    answered(chromium, lambda: tap(chromium, "better-2"))
    comparison, *beside = judged_by(page, "finger")
    assert isinstance(comparison, tm.Comparison)
    assert (comparison.chosen, comparison.rejected) == (shown[1], shown[0])
    values = {(each.kind, each.texts[0]): each.details[0] for each in beside}
    assert values == {
        ("grade", shown[0]): 3,
        ("grade", shown[1]): 4,
        ("label", shown[0]): False,
    }


def test_after_a_click_on_a_grade_digits_rank(chromium: Any, page: Any) -> None:
    at_size(chromium, 1200, 900)
    chromium.get(page.links["mouse"])
    until_mode(chromium, "rank")
    element_of(chromium, "grades-1-5").click()
    press(chromium, "2")
    assert checked(chromium) == ["grades-1-5"]
    assert element_of(chromium, "live").text.startswith("Answer 2 is number 1")


def test_enter_that_ends_a_word_of_an_input_method_submits_nothing(
    chromium: Any, page: Any
) -> None:
    chromium.get(page.links["mouse"])
    until_mode(chromium, "rank")
    press(chromium, "1", "2", "3")
    comment = element_of(chromium, "comment")
    before = element_of(chromium, "live").text
    script = (
        "arguments[0].dispatchEvent(new KeyboardEvent('keydown', {"
        "key: 'Enter', bubbles: true, isComposing: arguments[1]}))"
    )
    chromium.execute_script(script, comment, True)
    assert element_of(chromium, "live").text == before
    answered(chromium, lambda: chromium.execute_script(script, comment, False))
    answered(chromium, lambda: press(chromium, "u"))


def test_a_screen_reader_hears_what_each_control_is(chromium: Any, page: Any) -> None:
    chromium.get(page.links["keys"])
    until_mode(chromium, "rank")
    press(chromium, "l")
    tree = chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(n["role"]["value"], n.get("name", {}).get("value")) for n in tree]
    assert ("group", "Grade Answer 1") in named
    assert ("group", "Label Answer 3") in named
    assert ("radio", "Unsafe") in named
    assert ("listbox", "Your ranking best first") in named


# --- the store


def test_grades_and_labels_are_those_of_the_texts(address: str) -> None:
    store = Store(address)
    store.add([Item(("a", "b", "c"), "Hi")])
    store.set("scale", [1, 5])
    ann = store.judge("ann")
    view = store.next_view(ann)
    assert view is not None
    grades = [5, None, 1]
    answer = {"tiers": [[0], [1]], "grades": grades, "labels": [None, True, None]}
    store.answer(ann, view.id, "the key", answer)
    store.set("scale", [1, 9])  # of later grades
    ranking, first, last, label = tm.read(address)
    assert isinstance(ranking, tm.Ranking)
    assert {j.texts[0]: (j.value, j.scale) for j in (first, last)} == {
        view.texts[0]: (5, (1, 5)),
        view.texts[2]: (1, (1, 5)),
    }
    assert label == tm.Label(
        view.texts[1], True, prompt="Hi", judge="ann", time=label.time
    )
    assert store.undo(ann)
    again = store.next_view(ann)
    assert again is not None
    assert again.answer is not None
    assert (again.texts, again.answer["grades"]) == (view.texts, grades)
    assert again.answer["labels"] == [None, True, None]
    store.close()


def test_the_lead_sees_how_far_grades_and_labels_beside_a_ranking_agree(
    address: str,
) -> None:
    store = Store(address)
    store.set("seed", 7)
    store.add([Item((f"good {n}", f"bad {n}")) for n in range(10)], wanted=2)
    store.set("scale", [1, 5])
    # bo's grades are one higher than ann's, the labels are equal
    for name, higher in (("ann", 0), ("bo", 1)):
        judge = store.judge(name)
        for number in range(10):
            view = store.next_view(judge)
            assert view is not None
            is_good = [text.startswith("good") for text in view.texts]
            answer = {
                "tiers": [[is_good.index(True)], [is_good.index(False)]],
                "grades": [(4 if good else 1) + higher for good in is_good],
                "labels": is_good,
            }
            store.answer(judge, view.id, f"key of {name} {number}", answer)
    figures = overview(store).statistics
    assert set(figures.agreement) == {"comparison", "grade", "label"}
    assert figures.agreement["label"].alpha == 1
    assert figures.agreement["label"].pairs == 20
    grade = figures.agreement["grade"]
    assert (grade.share, grade.pairs) == (0, 20)
    assert 0.5 < grade.alpha < 1
    for line in overview(store).judges:
        assert line.leniency is not None
        mean = 1 if line.judge.name == "bo" else -1
        assert vars(line.leniency) == {"mean": mean, "n": 10, "interval": (mean, mean)}
    store.close()


@pytest.mark.parametrize(
    ("beside", "problem"),
    [
        ({"grades": [8, 1]}, "from 1 to 7"),
        ({"grades": [1]}, "list of 2"),
        ({"grades": {"0": 1}}, "list of 2"),
        ({"labels": ["yes", None]}, "yes or no"),
    ],
)
def test_grades_and_labels_that_cannot_be(
    tmp_path: Path, beside: dict[str, Any], problem: str
) -> None:
    store = Store(tmp_path / "judgements.db")
    store.add([Item(("a", "b"))])
    ann = store.judge("ann")
    view = store.next_view(ann)
    assert view is not None
    with pytest.raises(tm.UsageError, match=problem):
        store.answer(ann, view.id, "the key", {"tiers": [[0], [1]], **beside})
    assert store.counts().judgements == 0
    store.close()


def test_they_are_exported_and_imported(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    path = tmp_path / "judgements.db"
    store = Store(path)
    store.add([Item(("a", "b"), "Hi")])
    ann = store.judge("ann")
    view = store.next_view(ann)
    assert view is not None
    answer = {"tiers": [[0], [1]], "grades": [6, 2], "labels": [True, False]}
    store.answer(ann, view.id, "the key", answer)
    store.close()
    judgements = tm.read(path)
    assert [j.kind for j in judgements] == ["comparison"] + ["grade"] * 2 + [
        "label"
    ] * 2
    target = tmp_path / "out.jsonl"
    assert run("rank", path, "--export", target)[0] == 0
    assert tm.read(target) == judgements
    other = tmp_path / "other.db"
    assert run("rank", other, "--import", target)[0] == 0
    assert tm.read(other) == judgements
    assert run("rank", path, "--export", target, "--format", "kto")[0] == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    labels = [(row["completion"], row["label"]) for row in rows]
    assert sorted(labels) == sorted([(view.texts[0], True), (view.texts[1], False)] * 2)
    assert run("rank", path, "--export", target, "--format", "full")[0] == 0
    full = json.loads(target.read_text())
    by_text = dict(zip(full["texts"], full["answer"]["grades"], strict=True))
    assert by_text == {view.texts[0]: 6, view.texts[1]: 2}
