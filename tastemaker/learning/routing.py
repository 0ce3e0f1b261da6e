"""How a router of experts is learned: which source a prompt is of, from its words."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from tastemaker.data.judgements import Prompt
from tastemaker.errors import DataError
from tastemaker.learning.convex import inverse_document_frequencies
from tastemaker.models.backbones.experts import READING, Router, read_prompt
from tastemaker.models.backbones.linear import features
from tastemaker.models.backbones.ngrams import TokenNames, chunks, counts, vocabulary

_SURENESS = 10.0  # scikit-learn's C
_MOST_ITERATIONS = 1000


def fit_router(prompts: Mapping[str, Sequence[Prompt | None]]) -> Router:
    """Return a router that knows the prompts of each source by name; two sources or more.

    A prompt counts once for each source that it comes from. Raises DataError where no two prompts share a word.
    """
    sources = list(prompts)
    said = [(k, prompt) for k, source in enumerate(sources) for prompt in dict.fromkeys(prompts[source])]
    read = [TokenNames.of(chunk) for chunk in chunks([read_prompt(prompt) for _, prompt in said])]
    names = vocabulary(read, READING.ngrams, READING.min_count)
    occurrences = sp.vstack([counts(chunk, READING.ngrams, names) for chunk in read], format="csr")
    if not len(names):
        raise DataError("experts: no two prompts share a word, so nothing tells the sources apart. Leave experts out.")
    idf = inverse_document_frequencies(occurrences)
    found = LogisticRegression(C=_SURENESS, max_iter=_MOST_ITERATIONS)
    found.fit(features(occurrences, READING, idf), [k for k, _ in said])
    weights, intercepts = found.coef_.T, found.intercept_
    if len(sources) == 2:  # scikit-learn gives the second one's log-odds alone
        weights, intercepts = (np.concatenate([np.zeros_like(x), x], axis=-1) for x in (weights, intercepts))
    return Router(sources, names, *(x.astype(np.float32) for x in (idf, weights, intercepts)))
