"""What the doctor found: counts, figures and ranked problems; for people and as JSON.

What is wrong with a data set, before a model is trained on it.

Every check takes the judgements as tables of numbers (`catalogue`), costs O(n log n), and yields problems: `copies`,
`contradictions`, `lengths`, `judges`. Here they are called one after the other.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Judgement
from tastemaker.doctor.catalogue import Catalogue, catalogue_of
from tastemaker.doctor.copies import contradictions, copies, cycles, excerpt, leaks
from tastemaker.doctor.judges import (
    Agreement,
    agreements,
    balance,
    balance_problems,
    judge_problems,
)
from tastemaker.doctor.lengths import (
    LengthBias,
    Lengths,
    length_bias,
    length_correlations,
    length_problems,
    lengths_of,
)
from tastemaker.doctor.problems import Problem, ranked
from tastemaker.errors import DataError, UsageError

_SHOWN_JUDGES = 8
_SHOWN_PLACES = 5


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with a data set, and what it is made of.

    rows: judgements and unreadable rows. kinds: judgements of each kind. judges: judgements of each judge, None for
    those that name nobody. ties: comparisons that say equal; tied_rankings: rankings with a tie. texts, prompts: how
    many different ones. length_bias: None where no pair was decided. length_correlations: Spearman's, by kind.
    balance: how the answers are spread, by kind. agreements: by kind, where judges share texts. problems: worst first.
    """

    rows: int
    odd_rows: int
    kinds: dict[str, int]
    judges: dict[str | None, int]
    ties: int
    tied_rankings: int
    texts: int
    prompts: int
    lengths: Lengths
    length_bias: LengthBias | None
    length_correlations: dict[str, float]
    balance: dict[str, Any]
    agreements: dict[str, Agreement]
    problems: list[Problem]

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem worse than a note."""
        return all(problem.severity == "note" for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON; judgements that name no judge are under `anonymous`."""
        judges: dict[str, int] = {}
        for name, count in self.judges.items():
            judges["anonymous" if name is None else name] = (
                judges.get(name or "anonymous", 0) + count
            )
        return {
            "rows": self.rows,
            "judgements": self.rows - self.odd_rows,
            "odd_rows": self.odd_rows,
            "kinds": dict(self.kinds),
            "judges": judges,
            "ties": self.ties,
            "tied_rankings": self.tied_rankings,
            "texts": self.texts,
            "prompts": self.prompts,
            "problems": [problem.as_dict() for problem in self.problems],
            "length_bias": None if self.length_bias is None else self.length_bias.as_dict(),
            "length_correlations": dict(self.length_correlations),
            "lengths": self.lengths.as_dict(),
            "balance": dict(self.balance),
            "agreement": {kind: found.as_dict() for kind, found in self.agreements.items()},
        }

    def table(self) -> str:
        """Return the diagnosis as text for people."""
        return "\n".join([*self._facts(), "", *self._problem_lines()])

    def __str__(self) -> str:
        return self.table()

    def _facts(self) -> Iterator[str]:
        kinds = (
            ", ".join(f"{count:,} {kind}s" for kind, count in self.kinds.items()) or "no judgements"
        )
        ties = f", of which {self.ties:,} ties" if self.ties else ""
        yield f"rows        {self.rows:,}: {kinds}{ties}" + (
            f", {self.odd_rows:,} odd rows" if self.odd_rows else ""
        )
        yield f"texts       {self.texts:,} different ones" + (
            f" under {self.prompts:,} prompts" if self.prompts else ""
        )
        yield f"judges      {self._judges()}"
        median, most, longest = (self.lengths.quantiles[share] for share in ("0.5", "0.95", "1"))
        unit = self.lengths.unit
        yield f"lengths     {unit}: median {median:,.0f}, 95 % up to {most:,.0f}, the longest {longest:,.0f}"
        if self.lengths.cut is not None:
            yield f"            {self.lengths.cut:,} texts are longer than {self.lengths.limit} tokens"
        if (bias := self.length_bias) is not None:
            yield f"length      the longer text won {bias.share:.1%} [{bias.low:.1%}, {bias.high:.1%}]: {bias.meaning}"
        for kind, value in self.length_correlations.items():
            yield f"            correlation with {kind}s {value:+.2f}"
        for kind, found in self.agreements.items():
            pairwise = found.pairwise
            yield (
                f"agreement   {kind}s: alpha {found.alpha:.3f} ({found.level}), two judges say the same "
                f"{pairwise.share:.1%} [{pairwise.low:.1%}, {pairwise.high:.1%}] on {pairwise.units:,} units"
            )

    def _judges(self) -> str:
        known = sorted(
            ((n, name) for name, n in self.judges.items() if name is not None),
            key=lambda j: (-j[0], j[1]),
        )
        shown = [f"{_one_line(name)} {count:,}" for count, name in known[:_SHOWN_JUDGES]]
        shown += [f"{len(known) - _SHOWN_JUDGES:,} more"] if len(known) > _SHOWN_JUDGES else []
        shown += [f"nobody named {self.judges[None]:,}"] if None in self.judges else []
        return ", ".join(shown) or "none"

    def _problem_lines(self) -> Iterator[str]:
        if not self.problems:
            yield "No problems found."
            return
        yield "Problems, worst first:"
        for problem in self.problems:
            yield f"  {problem.severity:<8} {problem.count:>7,}  {problem.what}"
            if problem.where:
                shown = ", ".join(_one_line(place) for place in problem.where[:_SHOWN_PLACES])
                yield f"{'':19}at {shown}{' …' if len(problem.where) > _SHOWN_PLACES else ''}"
            for example in problem.examples[:_SHOWN_PLACES]:
                yield f"{'':19}· {_one_line(example)}"
            yield f"{'':19}{problem.advice}"


def _one_line(text: str) -> str:
    """Return a name or place as one line that cannot steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))[:200]


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
    ties = Counter(judgement.kind for judgement in judgements if judgement.has_tie)
    return Diagnosis(
        rows=len(judgements) + len(odd_rows),
        odd_rows=len(odd_rows),
        kinds=catalogue.kinds,
        judges={
            name: judges[name]
            for name in sorted(judges, key=lambda name: (name is None, name or ""))
        },
        ties=ties["comparison"],
        tied_rankings=ties["ranking"],
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
    itself = [
        text
        for text in messages
        if "compares a text with itself" in text or "holds an answer twice" in text
    ]
    others = [text for text in messages if text not in set(itself)]
    for name, what, found in (
        ("odd_rows", "odd rows: they cannot be read as judgements", others),
        ("self_comparisons", "identical pairs: rows that compare a text with itself", itself),
    ):
        if found:
            places = list(
                dict.fromkeys(place[1] for text in found if (place := _PLACE.match(text)))
            )
            advice = "Mend or remove them; --skip-bad trains without them."
            shown = [excerpt(text) for text in found[:_SHOWN_MESSAGES]]
            yield Problem(name, what, len(found), "error", advice, places[:_MOST_PLACES], shown)


def _mixtures(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what does not go together in one fit: grades on several scales, chats beside plain prompts."""
    scales: dict[tuple[int, int], int] = {}
    forms: dict[type, int] = {}
    for row, judgement in enumerate(catalogue.judgements):
        if judgement.scale is not None:
            scales.setdefault(judgement.scale, row)
        if judgement.prompt is not None:
            forms.setdefault(type(judgement.prompt), row)
    if len(scales) > 1:
        shown = " and ".join(f"{low}–{high}" for low, high in sorted(scales)[:5])
        what, advice = (
            f"grades on several scales: {shown}",
            "Fit them apart, or bring them to one scale.",
        )
        yield Problem(
            "mixed_scales", what, len(scales), "error", advice, catalogue.places(scales.values())
        )
    if len(forms) > 1:
        what, advice = (
            "mixed prompts: chats of messages beside plain texts",
            "Write all prompts in one form.",
        )
        yield Problem(
            "mixed_prompts", what, len(forms), "error", advice, catalogue.places(forms.values())
        )
