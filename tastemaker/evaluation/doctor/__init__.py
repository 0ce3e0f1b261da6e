"""What is wrong with a data set, before a model is trained on it.

Every check takes the judgements as tables of numbers (`catalogue`), costs O(n log n), and yields problems: `copies`,
`contradictions`, `lengths`, `judges`. Here they are called one after the other.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from tastemaker.data.judgements import Comparison, Grade, Judgement, Ranking
from tastemaker.errors import DataError, UsageError
from tastemaker.evaluation.doctor.catalogue import Catalogue, catalogue_of
from tastemaker.evaluation.doctor.contradictions import contradictions, cycles
from tastemaker.evaluation.doctor.copies import copies, excerpt, leaks
from tastemaker.evaluation.doctor.diagnosis import Diagnosis as Diagnosis
from tastemaker.evaluation.doctor.judges import agreements, balance, balance_problems, judge_problems
from tastemaker.evaluation.doctor.lengths import length_bias, length_correlations, length_problems, lengths_of
from tastemaker.evaluation.doctor.problems import Problem as Problem
from tastemaker.evaluation.doctor.problems import ranked

_PLACE = re.compile(r"^(.+?:\d+)(?:: |$)")
_MOST_PLACES = 1000  # of unreadable rows: whoever mends the file needs them all
_SHOWN_MESSAGES = 10


def doctor(
    judgements: Sequence[Judgement],
    *,
    test: Sequence[Judgement] = (),
    odd_rows: Sequence[DataError] = (),
    max_length: int | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Diagnosis:
    """Return what is wrong with the judgements, the worst first, and what they are made of.

    test: judgements of another split, which should share no text or prompt with these. odd_rows: the errors of rows
    that could not be read. max_length, count_tokens: how many tokens will be read of a text, and what counts them; a
    prompt counts too. Raises UsageError for a max_length below 1.
    """
    if max_length is not None and max_length < 1:
        raise UsageError(f"max_length {max_length}: it is a number of tokens, 1 or more.")
    catalogue = catalogue_of(judgements)
    bias, lengths = length_bias(catalogue), lengths_of(catalogue, max_length, count_tokens)
    agreed = agreements(catalogue)
    problems = [
        *_unreadable(odd_rows),
        *_mixtures(catalogue),
        *copies(catalogue),
        *contradictions(catalogue),
        *cycles(catalogue),
        *(leaks(catalogue, test) if test else ()),
        *length_problems(catalogue, bias, lengths),
        *balance_problems(catalogue),
        *judge_problems(catalogue, agreed),
    ]
    judges = Counter(judgement.judge for judgement in judgements)
    return Diagnosis(
        rows=len(judgements) + len(odd_rows),
        odd_rows=len(odd_rows),
        kinds=catalogue.kinds,
        judges={name: judges[name] for name in sorted(judges, key=lambda name: (name is None, name or ""))},
        ties=sum(isinstance(j, Comparison) and j.tie for j in judgements),
        tied_rankings=sum(isinstance(j, Ranking) and any(len(tier) > 1 for tier in j.tiers) for j in judgements),
        texts=len(catalogue.texts),
        prompts=len(catalogue.prompts),
        lengths=lengths,
        length_bias=bias,
        length_correlations=length_correlations(catalogue),
        balance=balance(catalogue),
        agreements=agreed,
        problems=ranked(problems),
    )


def _unreadable(odd_rows: Sequence[DataError]) -> Iterator[Problem]:
    messages = [str(error) for error in odd_rows]
    itself = [text for text in messages if "compares a text with itself" in text or "holds an answer twice" in text]
    others = [text for text in messages if text not in set(itself)]
    for name, what, found in (
        ("odd_rows", "odd rows: they cannot be read as judgements", others),
        ("self_comparisons", "identical pairs: rows that compare a text with itself", itself),
    ):
        if found:
            places = list(dict.fromkeys(place[1] for text in found if (place := _PLACE.match(text))))
            advice = "Mend or remove them; --skip-bad trains without them."
            shown = [excerpt(text) for text in found[:_SHOWN_MESSAGES]]
            yield Problem(name, what, len(found), "error", advice, places[:_MOST_PLACES], shown)


def _mixtures(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what does not go together in one fit: grades on several scales, chats beside plain prompts."""
    scales: dict[tuple[int, int], int] = {}
    forms: dict[type, int] = {}
    for row, judgement in enumerate(catalogue.judgements):
        if isinstance(judgement, Grade):
            scales.setdefault((judgement.lowest, judgement.highest), row)
        if judgement.prompt is not None:
            forms.setdefault(type(judgement.prompt), row)
    if len(scales) > 1:
        shown = " and ".join(f"{low}–{high}" for low, high in sorted(scales)[:5])
        what, advice = f"grades on several scales: {shown}", "Fit them apart, or bring them to one scale."
        yield Problem("mixed_scales", what, len(scales), "error", advice, catalogue.places(scales.values()))
    if len(forms) > 1:
        what, advice = "mixed prompts: chats of messages beside plain texts", "Write all prompts in one form."
        yield Problem("mixed_prompts", what, len(forms), "error", advice, catalogue.places(forms.values()))
