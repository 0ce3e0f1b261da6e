"""Judges: how far they agree, who stands out, and whether what was said varies at all."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.doctor.catalogue import NOBODY, Catalogue, Ints, Verdicts
from tastemaker.doctor.problems import Problem, Severity
from tastemaker.maths.judge_agreement import (
    Level,
    PairwiseAgreement,
    distances_to_others,
    expected_distance,
    krippendorff_alpha,
    pairwise_agreement,
)

_TENTATIVE = 0.667  # Krippendorff (2004): below it, not even tentative conclusions
_LOW = 0.333
_FEWEST_UNITS = 10
_FEWEST_OF_JUDGE = 5
_UNLIKELY = math.log(1e-3)
_SHARED = 30  # verdicts shared with others, from which on not being better than chance is said
_RARE = 0.1  # share of the rarer label


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far named judges agree on one kind. A unit is a text or a pair, under its prompt.

    alpha: Krippendorff's α at `level`, NaN where nothing varies. pairwise: how often two judges say the same.
    """

    level: Level
    alpha: float
    judges: int
    pairwise: PairwiseAgreement

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "alpha": None if math.isnan(self.alpha) else self.alpha,
            "level": self.level,
            "judges": self.judges,
            "units": self.pairwise.units,
            "pairs": self.pairwise.pairs,
            "pairwise_agreement": self.pairwise.share,
            "pairwise_interval": [self.pairwise.low, self.pairwise.high],
        }


def one_each(said: Verdicts) -> Ints:
    """Return which verdicts stand for what each named judge says of each unit: of several, the middle one."""
    order = np.lexsort((said.value, said.judge, said.unit))
    order = np.asarray(order[said.judge[order] != NOBODY], dtype=np.intp)
    if not len(order):
        return order
    unit, judge = said.unit[order], said.judge[order]
    starts = np.flatnonzero(
        np.concatenate([[True], (unit[1:] != unit[:-1]) | (judge[1:] != judge[:-1])])
    )
    sizes = np.diff(np.append(starts, len(order)))
    middle: Ints = order[starts + (sizes - 1) // 2]
    return middle


def agreements(catalogue: Catalogue) -> dict[str, Agreement]:
    """Return the agreement on each kind of which two named judges saw the same unit."""
    found = {}
    for kind, said in catalogue.verdicts.items():
        rows = one_each(said)
        value, unit = said.value[rows], said.unit[rows]
        pairwise = pairwise_agreement(value, unit)
        if pairwise.units:
            is_shared = np.bincount(unit)[unit] > 1
            judges = len(np.unique(said.judge[rows][is_shared]))
            level = catalogue.example_of[kind].level
            found[kind] = Agreement(level, krippendorff_alpha(value, unit, level), judges, pairwise)
    return found


def judge_problems(catalogue: Catalogue, found: dict[str, Agreement]) -> Iterator[Problem]:
    """Yield low agreement, and judges who stand out."""
    for kind, agreement in found.items():
        if agreement.alpha < _TENTATIVE and agreement.pairwise.units >= _FEWEST_UNITS:
            yield Problem(
                f"low_agreement_{kind}",
                f"low agreement between judges on {kind}s: Krippendorff's alpha is {agreement.alpha:.2f}",
                agreement.pairwise.units,
                "warning" if agreement.alpha < _LOW else "note",
                "No model can agree with judges better than they do with each other; learn judges' reliability.",
            )
    yield from _at_chance(catalogue)
    yield from _monotonous(catalogue)
    yield from _busy_and_idle(catalogue)


def _at_chance(catalogue: Catalogue) -> Iterator[Problem]:
    suspects: set[int] = set()
    for kind, said in catalogue.verdicts.items():
        rows = one_each(said)
        value, unit, judge = said.value[rows], said.unit[rows], said.judge[rows]
        level = catalogue.example_of[kind].level
        distance = distances_to_others(value, unit, level)
        expected = expected_distance(value, unit, level)
        shared = ~np.isnan(distance)
        if not expected > 0:
            continue
        n = np.maximum(np.bincount(judge[shared], minlength=len(catalogue.judges)), 1)
        total = np.bincount(judge[shared], distance[shared], minlength=len(n))
        squares = np.bincount(judge[shared], distance[shared] ** 2, minlength=len(n))
        error = 1.96 * np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0) / n)
        is_suspect = (n >= _FEWEST_UNITS) & (total / n >= expected)
        is_suspect |= (n >= _SHARED) & (total / n + error >= expected)
        suspects |= set(np.flatnonzero(is_suspect).tolist())
    if suspects:
        yield _about_judges(
            catalogue,
            sorted(suspects),
            "judges_at_chance",
            what="judges whose agreement with the others cannot be told from chance, or is worse",
            severity="warning",
            advice="Read some of their judgements; learn judges' reliability, or leave them out.",
        )


def _monotonous(catalogue: Catalogue) -> Iterator[Problem]:
    """Judges who always say the same, where that would happen by chance less than once in a thousand.

    Of comparisons and rankings only a tie of all texts is an answer that can be the same: which text stood first when
    they were shown is not kept (judgements hold the better one first), so a habit of taking it cannot be seen.
    """
    found: set[int] = set()
    for said in catalogue.verdicts.values():
        judge, value = _answers(said)
        is_answer = (value == 0) | (not said.is_of_pairs)
        named = np.flatnonzero(judge != NOBODY)
        if not len(named):
            continue
        _, number, count = np.unique(value, return_inverse=True, return_counts=True)
        share = count / len(value)
        order = named[np.argsort(judge[named], kind="stable")]
        for rows in np.split(order, np.flatnonzero(np.diff(judge[order])) + 1):
            is_same = is_answer[rows[0]] and (number[rows] == number[rows[0]]).all()
            if is_same and len(rows) * math.log(share[number[rows[0]]]) < _UNLIKELY:
                found.add(int(judge[rows[0]]))
    if found:
        yield _about_judges(
            catalogue,
            sorted(found),
            "monotonous_judges",
            what="judges who always give the same answer, where others vary",
            severity="warning",
            advice="Such judgements say nothing: leave them out, or learn judges' reliability.",
        )


def _answers(said: Verdicts) -> tuple[Ints, NDArray[np.float64]]:
    """Return who judged and what was said, once a judgement: a ranking's pairs are one answer, 0 where all of them tie.

    Other rankings are 1, comparisons what they are.
    """
    _, start, count = np.unique(said.row, return_index=True, return_counts=True)
    if (count == 1).all():
        return said.judge, said.value
    total = np.add.reduceat(np.abs(said.value), start)
    return said.judge[start], (total > 0).astype(np.float64)


def _busy_and_idle(catalogue: Catalogue) -> Iterator[Problem]:
    count = np.bincount(catalogue.judge[catalogue.judge != NOBODY], minlength=len(catalogue.judges))
    few = np.flatnonzero(count < _FEWEST_OF_JUDGE)
    if len(few) and len(count) > 1:
        yield _about_judges(
            catalogue,
            few.tolist(),
            "judges_with_few_judgements",
            what=f"judges with fewer than {_FEWEST_OF_JUDGE} judgements: too few to learn how reliable they are",
            severity="note",
            advice="Give them one name together, or gather more.",
        )


def _about_judges(
    catalogue: Catalogue,
    judges: list[int],
    name: str,
    *,
    what: str,
    severity: Severity,
    advice: str,
) -> Problem:
    rows = np.flatnonzero(np.isin(catalogue.judge, judges)).tolist()
    names = [" ".join(catalogue.judges[judge].split())[:80] for judge in judges[:10]]
    return Problem(name, what, len(judges), severity, advice, catalogue.places(rows), names)


def balance(catalogue: Catalogue) -> dict[str, Any]:
    """Return how the answers are spread, for each kind: see the keys."""
    return {
        kind: catalogue.example_of[kind].spread(table.value)
        for kind, table in catalogue.verdicts.items()
        if len(table)
    }


def balance_problems(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield kinds whose answers do not vary, and labels of which one is rare: where the rarer ones stand."""
    for kind, said in catalogue.verdicts.items():
        is_pair = said.is_of_pairs
        is_yes_or_no = not is_pair and catalogue.example_of[kind].level == "nominal"
        if len(said) < 2:
            continue
        if (said.value == 0).all() if is_pair else (said.value == said.value[0]).all():
            yield Problem(
                f"constant_{kind}s",
                f"all {kind}s are ties: nothing can be learned"
                if is_pair
                else f"all {kind}s are equal",
                len(said),
                "error",
                "Nothing can be learned from judgements that do not vary: see that the right column was read.",
                catalogue.places(said.row.tolist()),
            )
        elif is_yes_or_no and (share := min(said.value.mean(), 1 - said.value.mean())) < _RARE:
            rarer = said.row[said.value == float(said.value.mean() < 0.5)]
            yield Problem(
                f"unbalanced_{kind}s",
                f"unbalanced {kind}s: {'positive' if said.value.mean() < 0.5 else 'negative'} ones are {share:.1%}",
                len(rarer),
                "note",
                "Look at AUROC beside accuracy, which is high for always saying the same.",
                catalogue.places(rarer.tolist()),
            )
