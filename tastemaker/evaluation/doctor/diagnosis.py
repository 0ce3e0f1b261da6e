"""What the doctor found: counts, figures and ranked problems; for people and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tastemaker.evaluation.doctor.judges import Agreement
from tastemaker.evaluation.doctor.lengths import LengthBias, Lengths
from tastemaker.evaluation.doctor.problems import Problem

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
            judges["anonymous" if name is None else name] = judges.get(name or "anonymous", 0) + count
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
        kinds = ", ".join(f"{count:,} {kind}s" for kind, count in self.kinds.items()) or "no judgements"
        ties = f", of which {self.ties:,} ties" if self.ties else ""
        yield f"rows        {self.rows:,}: {kinds}{ties}" + (f", {self.odd_rows:,} odd rows" if self.odd_rows else "")
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
        known = sorted(((n, name) for name, n in self.judges.items() if name is not None), key=lambda j: (-j[0], j[1]))
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
