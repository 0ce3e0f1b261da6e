"""`doctor` runs all checks of a data set and returns its `Diagnosis`.

Every check takes the judgements as tables of numbers (`catalogue`), costs O(n log n) and yields
problems. The checks are in `copies`, `texts`, `judges` and here.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemaker.data.judgements import Judgement
from tastemaker.data.source_names import told_apart
from tastemaker.doctor.catalogue import (
    Catalogue,
    Problem,
    catalogue_of,
    excerpt,
    ranked,
)
from tastemaker.doctor.copies import contradictions, copies, cycles, leaks
from tastemaker.doctor.judges import (
    Agreement,
    agreements,
    balance,
    balance_problems,
    judge_problems,
    unreliable_judges,
)
from tastemaker.doctor.texts import (
    LengthBias,
    Lengths,
    length_bias,
    length_correlations,
    length_problems,
    lengths_of,
    related_leaks,
    relatives,
)
from tastemaker.errors import DataError, UsageError
from tastemaker.maths.statistics import spearman
from tastemaker.readable import notebook_html

_FEWEST = 20
"""Texts with both; the correlation of fewer says little."""
_LEAST = 0.2
"""Spearman's correlation below which two columns do not say the same."""


def disagreements(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield pairs of kinds that judge the same texts, but not alike."""
    means = _means(catalogue)
    labels = means.get("label", {})
    for kind in ("grade", "rating"):
        others = means.get(kind, {})
        shared = sorted(labels.keys() & others.keys())
        if len(shared) < _FEWEST:
            continue
        first = np.array([labels[item] for item in shared])
        second = np.array([others[item] for item in shared])
        correlation = spearman(first, second)
        if not correlation < _LEAST:
            continue
        yield Problem(
            "columns_disagree",
            f"labels and {kind}s of the same {len(shared):,} texts do not agree: "
            f"Spearman correlation {correlation:+.2f}",
            len(shared),
            "warning",
            f"One of the two columns judges something else: leave it out (--{kind}-column none "
            "or --label-column none).",
            catalogue.places([catalogue.items[item] for item in shared]),
        )


def _means(catalogue: Catalogue) -> dict[str, dict[tuple[int, int], float]]:
    """Return by kind the mean judgement of each (prompt, text)."""
    values: dict[str, dict[tuple[int, int], list[float]]] = {}
    prompts = catalogue.prompt.tolist()
    for row, judgement in enumerate(catalogue.judgements):
        if judgement.ranks:
            continue
        item = (prompts[row], catalogue.texts_of[row][0])
        of_kind = values.setdefault(judgement.kind, {})
        of_kind.setdefault(item, []).append(judgement.value)
    means = {}
    for kind, of_kind in values.items():
        means[kind] = {
            item: sum(each) / len(each) for item, each in of_kind.items()
        }
    return means


_SHOWN_JUDGES = 8
_SHOWN_PLACES = 5
_SHOWN_MESSAGES = 10
_MOST_PLACES = 1000  # of unreadable rows: all of them must be fixed
_PLACE = re.compile(r"^(.+?:\d+)(?:: |$)")
_WITH_ITSELF = re.compile("compares a text with itself|holds an answer twice")
_INDENT = " " * 19


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with a data set, and what it consists of.

    rows: judgements and unreadable rows. odd_rows: the unreadable ones.
    kinds: judgements of each kind. judges: of each judge, None for those without a name.
    ties: tied comparisons. tied_rankings: rankings with a tie.
    texts, prompts: how many different ones.
    length_bias: None if no pair was decided. length_correlations: Spearman's, by kind.
    balance: the distribution of the answers, by kind.
    agreements: by kind, if judges share texts. problems: worst first.
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
        """Return everything for JSON; judgements without a judge are under `anonymous`."""
        judges: Counter[str] = Counter()
        for name, count in self.judges.items():
            judges["anonymous" if name is None else name] += count
        bias = None if self.length_bias is None else self.length_bias.as_dict()
        agreement = {}
        for kind, of_kind in self.agreements.items():
            agreement[kind] = of_kind.as_dict()
        return {
            "rows": self.rows,
            "judgements": self.rows - self.odd_rows,
            "odd_rows": self.odd_rows,
            "kinds": dict(self.kinds),
            "judges": dict(judges),
            "ties": self.ties,
            "tied_rankings": self.tied_rankings,
            "texts": self.texts,
            "prompts": self.prompts,
            "problems": [problem.as_dict() for problem in self.problems],
            "length_bias": bias,
            "length_correlations": dict(self.length_correlations),
            "lengths": self.lengths.as_dict(),
            "balance": dict(self.balance),
            "agreement": agreement,
        }

    def table(self) -> str:
        """Return the diagnosis as plain text."""
        return "\n".join([*self._facts(), "", *self._problem_lines()])

    __str__ = table

    def _repr_html_(self) -> str:
        """Return the problems, the worst first, for a notebook."""
        healthy = (
            "No problem was found."
            if self.is_healthy
            else "Look at these first."
        )
        rows = [["severity", "problem", "what to try"]]
        for problem in self.problems:
            rows.append([problem.severity, problem.what, problem.advice])
        sentences = [f"{self.rows:,} rows. {healthy}"]
        return notebook_html(sentences, *([rows] if self.problems else []))

    def _facts(self) -> Iterator[str]:
        yield f"rows        {self._rows()}"
        prompts = f" of {self.prompts:,} prompts" if self.prompts else ""
        yield f"texts       {self.texts:,} different ones{prompts}"
        yield f"judges      {self._judges()}"
        yield from self._length_lines()
        for kind, agreement in self.agreements.items():
            pairwise = agreement.pairwise
            yield (
                f"agreement   {kind}s: alpha {agreement.alpha:.3f} ({agreement.level}), "
                f"two judges agree {pairwise.share:.1%} "
                f"[{pairwise.low:.1%}, {pairwise.high:.1%}] on {pairwise.units:,} units"
            )

    def _rows(self) -> str:
        kinds = [f"{count:,} {kind}s" for kind, count in self.kinds.items()]
        line = f"{self.rows:,}: {', '.join(kinds) or 'no judgements'}"
        if self.ties:
            line += f", of which {self.ties:,} ties"
        if self.odd_rows:
            line += f", {self.odd_rows:,} unreadable rows"
        return line

    def _length_lines(self) -> Iterator[str]:
        lengths = self.lengths
        quantiles = lengths.quantiles
        yield (
            f"lengths     {lengths.unit}: median {quantiles['0.5']:,.0f}, "
            f"95 % up to {quantiles['0.95']:,.0f}, longest {quantiles['1']:,.0f}"
        )
        if lengths.cut is not None:
            yield f"            {lengths.cut:,} texts are longer than {lengths.limit} tokens"
        bias = self.length_bias
        if bias is not None:
            interval = f"[{bias.low:.1%}, {bias.high:.1%}]"
            yield f"length      the longer text won {bias.share:.1%} {interval}: {bias.meaning}"
        for kind, value in self.length_correlations.items():
            yield f"            correlation with {kind}s {value:+.2f}"

    def _judges(self) -> str:
        judges = []
        for name, count in self.judges.items():
            if name is not None:
                judges.append((name, count))
        judges.sort(key=lambda judge: (-judge[1], judge[0]))
        parts = []
        for name, count in judges[:_SHOWN_JUDGES]:
            parts.append(f"{_one_line(name)} {count:,}")
        if len(judges) > _SHOWN_JUDGES:
            parts.append(f"{len(judges) - _SHOWN_JUDGES:,} more")
        if None in self.judges:
            parts.append(f"without a name {self.judges[None]:,}")
        return ", ".join(parts) or "none"

    def _problem_lines(self) -> Iterator[str]:
        if not self.problems:
            yield "No problems found."
            return
        yield "Problems, worst first:"
        for problem in self.problems:
            yield f"  {problem.severity:<8} {problem.count:>7,}  {problem.what}"
            places = [
                _one_line(place) for place in problem.where[:_SHOWN_PLACES]
            ]
            if places:
                more = " …" if len(problem.where) > _SHOWN_PLACES else ""
                yield f"{_INDENT}at {', '.join(places)}{more}"
            for example in problem.examples[:_SHOWN_PLACES]:
                yield f"{_INDENT}· {_one_line(example)}"
            yield f"{_INDENT}{problem.advice}"


def _one_line(text: str) -> str:
    """Return a name or a place as one line that is safe in a terminal."""
    line = " ".join(text.split())[:200]
    return "".join(c if c.isprintable() else "\ufffd" for c in line)


def doctor(
    judgements: Sequence[Judgement],
    *,
    test: Sequence[Judgement] = (),
    odd_rows: Sequence[DataError] = (),
    max_length: int | None = None,
    count_tokens: Callable[[str], int] | None = None,
    judges: Mapping[str, Mapping[str, Any]] | None = None,
) -> Diagnosis:
    """Return what is wrong with the judgements, worst first, and what they consist of.

    test: judgements of another split, which should share no text or prompt with these.
    odd_rows: the errors of unreadable rows.
    max_length, count_tokens: the token limit of a text with its prompt, and what counts tokens.
    judges: by name, what a fit learned about the judges (`check_judges`, or a model's contract).
    Raises UsageError for a max_length below 1.
    """
    if max_length is not None and max_length < 1:
        raise UsageError(
            f"max_length {max_length}: it is a number of tokens, 1 or more."
        )
    judgements, test = told_apart(judgements, test)
    catalogue = catalogue_of(judgements)
    bias = length_bias(catalogue)
    lengths = lengths_of(catalogue, max_length, count_tokens)
    by_kind = agreements(catalogue)
    problems = [
        *_unreadable(odd_rows),
        *_mixtures(catalogue),
        *copies(catalogue),
        *contradictions(catalogue),
        *cycles(catalogue),
        *disagreements(catalogue),
        *relatives(catalogue),
        *(leaks(catalogue, test) if test else ()),
        *(related_leaks(catalogue, test) if test else ()),
        *length_problems(catalogue, bias, lengths),
        *balance_problems(catalogue),
        *judge_problems(catalogue, by_kind),
        *unreliable_judges(catalogue, judges or {}),
    ]
    by_judge = Counter(judgement.judge for judgement in judgements)
    names = sorted(by_judge, key=lambda name: (name is None, name or ""))
    ties = Counter(
        judgement.kind for judgement in judgements if judgement.has_tie
    )
    return Diagnosis(
        rows=len(judgements) + len(odd_rows),
        odd_rows=len(odd_rows),
        kinds=catalogue.kinds,
        judges={name: by_judge[name] for name in names},
        ties=ties["comparison"],
        tied_rankings=ties["ranking"],
        texts=len(catalogue.texts),
        prompts=len(catalogue.prompts),
        lengths=lengths,
        length_bias=bias,
        length_correlations=length_correlations(catalogue),
        balance=balance(catalogue),
        agreements=by_kind,
        problems=ranked(problems),
    )


def _unreadable(odd_rows: Sequence[DataError]) -> Iterator[Problem]:
    groups: dict[str, list[str]] = {"odd_rows": [], "self_comparisons": []}
    for error in odd_rows:
        message = str(error)
        name = (
            "self_comparisons" if _WITH_ITSELF.search(message) else "odd_rows"
        )
        groups[name].append(message)
    sentences = {
        "odd_rows": "odd rows: they cannot be read as judgements",
        "self_comparisons": "identical pairs: rows that compare a text with itself",
    }
    for name, messages in groups.items():
        if messages:
            matches = [_PLACE.match(message) for message in messages]
            places = list(
                dict.fromkeys(match[1] for match in matches if match)
            )
            yield Problem(
                name,
                sentences[name],
                len(messages),
                "error",
                "Fix or remove them; --skip-bad trains without them.",
                places[:_MOST_PLACES],
                [excerpt(message) for message in messages[:_SHOWN_MESSAGES]],
            )


def _mixtures(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what one fit cannot hold: several grade scales, chats beside plain prompts."""
    scales: dict[tuple[int, int], int] = {}
    forms: dict[type, int] = {}
    for row, judgement in enumerate(catalogue.judgements):
        if judgement.scale is not None:
            scales.setdefault(judgement.scale, row)
        if judgement.prompt is not None:
            forms.setdefault(type(judgement.prompt), row)
    if len(scales) > 1:
        shown = " and ".join(
            f"{low}–{high}" for low, high in sorted(scales)[:5]
        )
        yield Problem(
            "mixed_scales",
            f"grades on several scales: {shown}",
            len(scales),
            "error",
            "Fit them apart, or convert them to one scale.",
            catalogue.places(scales.values()),
        )
    if len(forms) > 1:
        yield Problem(
            "mixed_prompts",
            "mixed prompts: chats of messages beside plain texts",
            len(forms),
            "error",
            "Write all prompts in one form.",
            catalogue.places(forms.values()),
        )
