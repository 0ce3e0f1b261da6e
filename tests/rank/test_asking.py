"""What to ask next: the items that teach a model of the judgements most."""

import tracemalloc
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

import tastemaker as tm
from tastemaker.data.store import Item, Store
from tastemaker.rank import Asker, most_telling

SAME = [f"The film number {n} is" for n in range(60)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with 60 judgements of one question, and open items: that question, and two others."""
    opened = Store(tmp_path / "judgements.db")
    opened.set("seed", 7)
    opened.add([Item((f"{start} good", f"{start} bad")) for start in SAME])
    ann = opened.judge("ann")
    for number in range(len(SAME)):
        view = opened.next_view(ann)
        assert view is not None
        best = next(i for i, text in enumerate(view.texts) if "good" in text)
        tiers = [[best], [1 - best]]
        opened.answer(ann, view.id, f"key {number}", {"tiers": tiers})
    opened.add([Item((f"{start} good today", f"{start} bad today")) for start in SAME])
    opened.add([Item(("warm jokes", "grey music")), Item(("long cast", "loud plot"))])
    yield opened
    opened.close()


@pytest.mark.parametrize("ask", ["optimal", "disagreement"])
def test_new_questions_are_asked_before_a_known_one(store: Store, ask: str) -> None:
    Asker(store, ask, 5).refit()
    store.set("plan", {"ask": ask})
    bo = store.judge("bo")
    first = []
    for number in range(12):
        view = store.next_view(bo)
        assert view is not None
        first += view.texts
        store.answer(bo, view.id, f"a {number}", {"tiers": [[0], [1]]})
    assert {"warm jokes", "long cast"} <= set(first)


def test_the_arms_are_measured_on_judgements_that_neither_fitted(store: Store) -> None:
    Asker(store, "optimal", 5).refit()
    (point,) = store.setting("curve", [])
    assert point["answers"] == len(SAME)
    share, low, high = point["all"]
    assert low <= share <= high
    assert share > 0.9


def test_answers_that_lost_together_are_no_ties() -> None:
    answers = [f"answer {word}" for word in ("a", "b", "c", "d", "e", "f", "g", "h")]
    best, rest = answers[0], answers[1:]
    items = list(combinations(answers, 2))
    won = tm.Ranking(((best,),), rest=tuple(rest))
    pairs = [tm.Comparison(best, other) for other in rest]
    asked = most_telling([won] * 40, items, 8, seed=0)
    assert asked == most_telling(pairs * 40, items, 8, seed=0)


def test_a_ranking_of_a_thousand_answers_is_fitted_to_some_of_its_pairs() -> None:
    items = [(f"bright story {n}", f"grey music {n}") for n in range(30)]
    long = tm.Ranking(tuple((f"answer {n}",) for n in range(1000)))
    tracemalloc.start()
    telling, _ = most_telling([long], items, 20, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(telling) == 17
    assert peak < 800 * 2**20


def test_pairs_that_say_something_new_are_chosen_with_a_random_share() -> None:
    often_judged = ("a warm film", "a dull film")
    judged = [tm.Comparison(*often_judged) for _ in range(50)]
    new = [(f"bright story {n}", f"grey music {n}") for n in range(3)]
    items = [*[often_judged] * 40, *new]
    telling, at_random = most_telling(judged, items, 3, seed=0)
    # 15 % of 3 are none
    assert (sorted(telling), at_random) == ([40, 41, 42], [])
    telling, at_random = most_telling(judged, items, 20, seed=0)
    assert (len(telling), len(at_random)) == (17, 3)
    assert len({*telling, *at_random}) == 20
    assert most_telling(judged, items, 20, seed=0) == (telling, at_random)
    assert most_telling(judged, items, 20, seed=1)[1] != at_random
    telling, at_random = most_telling([], new, 9, seed=0)
    assert sorted([*telling, *at_random]) == [0, 1, 2]
