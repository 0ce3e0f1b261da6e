"""Kneser–Ney n-grams: by hand, against plain Python, and as probability distributions."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.errors import UsageError
from tastemaker.gpt import NGrams
from tastemaker.playground import reviews, units


def joined(documents):
    """Documents end to end, and where each begins."""
    tokens = [token for document in documents for token in document]
    return tokens, [
        place == 0 for document in documents for place in range(len(document))
    ]


def fitted(documents, vocabulary, order):
    return NGrams.fit(*joined(documents), vocabulary=vocabulary, order=order)


def probability(model, *document):
    """P(last token | those before it, from the start of the document)."""
    return float(np.exp(model.log_probs(*joined([document])))[-1])


# --- hand-worked


def test_bigrams_by_hand():
    # documents "a b" and "a c" of a, b, c = 0, 1, 2; | is the boundary.
    # bigrams: |a twice, ab and ac once: n1 = 2, n2 = 1, so D2 = 2 / (2 + 2) = 1/2
    # before a stands only |, before b and c only a: every unigram counts 1 of 3. n2 = 0, so D1 =
    # 1/2, and
    #   P1(w) = (1 − 1/2 + 1/2 · 3 · 1/3) / 3 = 1/3
    # P(a | |) = (2 − 1/2 + 1/2 · 1 · 1/3) / 2 = 5/6,  P(b | |) = (1/2 · 1/3) / 2 = 1/12
    # P(b | a) = (1 − 1/2 + 1/2 · 2 · 1/3) / 2 = 5/12,  P(a | a) = (1/2 · 2 · 1/3) / 2 = 1/6
    # b is no context: P(c | b) = P1(c) = 1/3
    model = fitted([[0, 1], [0, 2]], 3, 2)
    assert model.order == 2
    assert [level.discount for level in model.levels] == [0.5, 0.5]
    assert probability(model, 0) == pytest.approx(5 / 6)
    assert probability(model, 1) == pytest.approx(1 / 12)
    assert probability(model, 0, 1) == pytest.approx(5 / 12)
    assert probability(model, 0, 0) == pytest.approx(1 / 6)
    assert probability(model, 1, 2) == pytest.approx(1 / 3)


def test_a_word_with_one_neighbour_is_unlikely_elsewhere():
    # f and y both occur three times, f always behind s, y behind x, z and w: they count 1 and 3,
    # the others 1: 8
    # in all. D1 = 1/2 (nothing counts 2). y is no context: P(y | y) = (3 − 1/2 + 1/2 · 6 · 1/6) / 8
    # = 3/8, and
    # P(f | y) = (1 − 1/2 + 1/2 · 6 · 1/6) / 8 = 1/8
    s, f, x, y, z, w = range(6)
    model = fitted([[s, f], [s, f], [s, f], [x, y], [z, y], [w, y]], 6, 2)
    assert probability(model, y, y) == pytest.approx(3 / 8)
    assert probability(model, y, f) == pytest.approx(1 / 8)


def test_order_one_counts_and_mixes_with_uniform():
    # 0 three times, 1 twice, 2 and 3 once, 4 never: n1 = 2, n2 = 1, D = 2 / 4; four kinds of 7
    # tokens; what is taken
    # off, 1/2 · 4 / 7 = 2/7, is shared by five ids. In the one order there is, occurrences count,
    # not neighbours.
    model = fitted([[0, 1, 0, 2], [0, 1, 3]], 5, 1)
    probabilities = np.exp(model.log_probs([0, 1, 2, 3, 4], [True] * 5))
    assert probabilities == pytest.approx(
        np.array([2.5, 1.5, 0.5, 0.5, 0]) / 7 + 2 / 35
    )


def test_trigrams_at_a_start_count_occurrences():
    # documents "a b", "a b", "c b": nothing stands before the boundary, so |a counts 2 and |c 1 in
    # the middle order,
    # where ab and cb count their one neighbour | each: n1 = 3, n2 = 1, D2 = 3/5. Unigrams: a and c
    # 1, b 2 (a and c):
    # n1 = 2, n2 = 1, D1 = 1/2, P1(a) = (1 − 1/2 + 1/2 · 3 · 1/3) / 4 = 1/4.  P(a | |) = (2 − 3/5 +
    # 3/5 · 2 · 1/4) / 3
    model = fitted([[0, 1], [0, 1], [2, 1]], 3, 3)
    assert probability(model, 0) == pytest.approx((1.4 + 0.3) / 3)


# --- against plain Python


class Slow:
    """The same model, from its formulas, with tuples and dictionaries."""

    def __init__(self, documents, vocabulary, order):
        self.vocabulary, self.order, self.counts = vocabulary, order, {}
        occurrences, before = Counter(), defaultdict(set)
        for document in documents:
            symbols = ("|", *document)
            for end in range(2, len(symbols) + 1):
                for start in range(max(0, end - order), end):
                    occurrences[symbols[start:end]] += 1
                    if start:
                        before[symbols[start:end]].add(symbols[start - 1])
        for gram, count in occurrences.items():
            is_counted = len(gram) == order or gram[0] == "|"
            self.counts[gram] = count if is_counted else len(before[gram])
        self.following = defaultdict(dict)
        for gram, count in self.counts.items():
            self.following[gram[:-1]][gram[-1]] = count

    def discount(self, n):
        sizes = Counter(count for gram, count in self.counts.items() if len(gram) == n)
        return sizes[1] / (sizes[1] + 2 * sizes[2]) if sizes[1] and sizes[2] else 0.5

    def probability(self, context, token):
        context = context[-(self.order - 1) :] if self.order > 1 else ()
        lower = self.probability(context[1:], token) if context else 1 / self.vocabulary
        following = self.following.get(context)
        if not following:
            return lower
        d = self.discount(len(context) + 1)
        discounted = max(following.get(token, 0) - d, 0)
        return (discounted + d * len(following) * lower) / sum(following.values())


@st.composite
def corpora(draw):
    vocabulary = draw(st.integers(1, 5))
    documents = st.lists(
        st.lists(st.integers(0, vocabulary - 1), min_size=1, max_size=8), max_size=6
    )
    return (
        draw(documents),
        draw(documents.filter(len)),
        vocabulary,
        draw(st.integers(1, 5)),
    )


@given(corpora())
def test_the_same_numbers_as_plain_python(corpus):
    documents, asked, vocabulary, order = corpus
    model, slow = (
        fitted(documents, vocabulary, order),
        Slow(documents, vocabulary, order),
    )
    expected = [
        slow.probability(("|", *document[:place]), token)
        for document in asked
        for place, token in enumerate(document)
    ]
    assert np.exp(model.log_probs(*joined(asked))) == pytest.approx(
        np.array(expected), rel=1e-12
    )


@given(corpora())
def test_probabilities_of_all_tokens_add_up_to_one(corpus):
    documents, contexts, vocabulary, order = corpus
    model = fitted(documents, vocabulary, order)
    for context in [[], *contexts]:
        assert sum(
            probability(model, *context, token) for token in range(vocabulary)
        ) == pytest.approx(1)


@given(corpora())
def test_nothing_leaks_from_one_document_into_the_next(corpus):
    documents, asked, vocabulary, order = corpus
    model = fitted(documents, vocabulary, order)
    alone = np.concatenate([model.log_probs(*joined([document])) for document in asked])
    assert np.array_equal(model.log_probs(*joined(asked)), alone)
    turned = fitted(documents[::-1], vocabulary, order)
    assert np.array_equal(
        turned.log_probs(*joined(asked)), model.log_probs(*joined(asked))
    )


# --- limits


@pytest.mark.parametrize(
    ("vocabulary", "asked", "order"),
    [(65_535, 4, 4), (65_536, 4, 3), (10**6, 9, 3), (1, 99, 64)],
)
def test_the_order_shrinks_until_keys_fit(vocabulary, asked, order):
    last = vocabulary - 1
    model = fitted([[last] * 5, [0, last]], vocabulary, asked)
    assert model.order == order
    assert probability(model, *[last] * 5) == pytest.approx(
        Slow([[last] * 5, [0, last]], vocabulary, order).probability(
            ("|", *[last] * 4), last
        )
    )


def test_the_largest_keys_do_not_wrap():
    rng = np.random.default_rng(0)
    documents = (
        rng.integers(0, 4, (20, 12)) + 65_531
    ).tolist()  # the four largest ids of the largest vocabulary
    low = [[token - 65_531 for token in document] for document in documents]
    large, small = fitted(documents, 65_535, 4), fitted(low, 4, 4)
    for many, few in zip(large.levels, small.levels, strict=True):
        assert sorted(many.counts) == sorted(few.counts)
        assert many.discount == few.discount


def test_without_tokens_all_are_alike():
    assert np.exp(
        NGrams.fit([], [], vocabulary=8).log_probs([3, 5], [True, False])
    ) == pytest.approx(1 / 8)
    assert len(fitted([[1]], 2, 4).log_probs([], [])) == 0


def test_the_first_token_begins_a_document_said_or_not():
    tokens = [0, 1, 0]
    marked, unsaid = (
        NGrams.fit(tokens, [first, False, False], vocabulary=2)
        for first in (True, False)
    )
    assert np.array_equal(
        marked.log_probs(tokens, [True] * 3),
        unsaid.log_probs(tokens, [False, True, True]),
    )


@pytest.mark.parametrize(
    ("tokens", "starts", "settings", "reason"),
    [
        (
            [0, 5],
            [True, False],
            {"vocabulary": 5},
            "from 0 to 5; the vocabulary has 0 to 4",
        ),
        ([-1], [True], {"vocabulary": 5}, "from -1 to -1"),
        ([0, 1], [True], {"vocabulary": 5}, "lists of one length"),
        ([0], [True], {"vocabulary": 5, "order": 0}, "order 0"),
        ([0], [True], {"vocabulary": 0}, "over 0 token ids"),
    ],
)
def test_what_cannot_be_is_one_line(tokens, starts, settings, reason):
    with pytest.raises(UsageError) as caught:
        NGrams.fit(tokens, starts, **settings)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


# --- worth something


def test_context_helps_on_the_playground():
    texts = [units(text) for text in reviews(1200, seed=1)]
    names = {
        word: number
        for number, word in enumerate(sorted({word for text in texts for word in text}))
    }
    documents = [[names[word] for word in text] for text in texts]
    losses = [
        -fitted(documents[:1000], len(names), order)
        .log_probs(*joined(documents[1000:]))
        .mean()
        for order in (1, 2, 3, 4)
    ]
    assert losses[1] < 0.7 * losses[0]  # a grammar: the word before says a good deal
    assert losses[3] < losses[2] < losses[1]
