"""Which judgements the bootstrap draws together."""

import numpy as np

from tastemaker.data import Comparison, Label, Message, Ranking, Rating
from tastemaker.evaluate import clusters


def alike(judgements):
    """The clusters as lists of row numbers."""
    names = clusters(judgements)
    return sorted(np.flatnonzero(names == name).tolist() for name in np.unique(names))


def test_one_prompt_is_a_cluster_whatever_the_texts_are():
    judged = [
        Comparison("a", "b", prompt="p"),
        Ranking(["c", "d", "e"], prompt="p"),
        Comparison("a", "b", prompt="q"),
        Comparison("a", "b"),
    ]
    assert alike(judged) == [[0, 1], [2], [3]]


def test_a_chat_is_a_prompt():
    chat = (Message("user", "Who?"), Message("assistant", "Me."))
    judged = [
        Comparison("a", "b", prompt=chat),
        Comparison("c", "d", prompt=chat),
        Label("e", True),
        Label("f", True),
    ]
    assert alike(judged) == [[0, 1], [2], [3]]


def test_without_a_prompt_connected_texts_are_a_cluster():
    judged = [
        Comparison("a", "b"),
        Comparison("c", "d"),
        Comparison("b ", "e"),
        Comparison("f", "g"),
        Label("d", True),
    ]
    assert alike(judged) == [
        [0, 2],
        [1, 4],
        [3],
    ]  # white space around a text makes no other text of it


def test_judgements_about_one_text_are_clusters_by_text():
    judged = [Rating("a", 1.0), Rating("b", 1.0), Rating("a", 2.0), Rating("c", 1.0)]
    assert alike(judged) == [[0, 2], [1], [3]]


def test_a_tournament_falls_into_its_pairs():
    judged = [
        Comparison("a", "b"),
        Comparison("b", "c"),
        Comparison("c", "d"),
        Comparison("d", "a"),
        Comparison("b", "a"),
    ]
    assert alike(judged) == [[0, 4], [1], [2], [3]]


def test_one_prompt_for_all_falls_into_connected_texts():
    texts = ["a", "b", "c", "d"]
    judged = [Label(text, True, prompt="Write a review.") for text in [*texts, "a"]]
    assert alike(judged) == [[0, 4], [1], [2], [3]]


def test_the_order_of_the_judgements_does_not_matter():
    judged = [
        Comparison("a", "b"),
        Comparison("c", "d"),
        Comparison("b", "e"),
        Comparison("g", "h", prompt="p"),
    ]
    names = clusters(judged)
    np.testing.assert_array_equal(clusters(judged[::-1]), names[::-1])


def test_no_judgements_have_no_clusters():
    assert clusters([]).shape == (0,)
