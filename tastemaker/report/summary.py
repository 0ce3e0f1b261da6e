"""The first screen of the report: what to rely on, what not, and what to do next.

Each part of a report has a summary. It stores names of sentences and their values (`words.py`), so
that the same part is shown in any language.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tastemaker.doctor.diagnosis import Diagnosis
from tastemaker.errors import ModelError
from tastemaker.evaluate.estimates import NAMES, Estimate, shown
from tastemaker.evaluate.findings import (
    UNKNOWN,
    USABLE,
    USELESS,
    WEAK,
    Evaluation,
    KindFindings,
    level_of,
    ordering_of,
)
from tastemaker.kinds.metrics import amount
from tastemaker.report.kl_frontier import Course, Frontier
from tastemaker.report.words import Sentence, kind_zh

_NAMES_OF_LEVELS = {
    USABLE: "usable",
    WEAK: "weak",
    USELESS: "useless",
    UNKNOWN: "unknown",
}
_LOOKS = {
    "usable": "good",
    "weak": "warning",
    "useless": "error",
    "unknown": "warning",
    "gpt_learned": "good",
    "gpt_weak": "warning",
    "data_good": "good",
    "data_warnings": "warning",
    "data_errors": "error",
    "gain_real": "good",
    "gain_partly_real": "warning",
    "gain_not_real": "error",
    "gain_unknown": "warning",
}
_MOST_TILES = 5
_FIRST = 10**12  # more than there are judgements
_WRONG = {"right_labels": "wrong_labels", "right_pairs": "wrong_pairs"}
_CLEAR_LENGTH = 0.3  # Spearman's correlation of score and length
_SHOWN_PROBLEMS = 2
_SHOWN_ADVICE = 2

Tile = tuple[str, str, str]
"""Name, value and remark of a figure."""


@dataclass(frozen=True)
class Summary:
    """What one part of a report says first.

    level: the name of its verdict. tiles: the figures that carry it.
    """

    level: str
    trust: Sequence[Sentence] = ()
    caution: Sequence[Sentence] = ()
    next: Sequence[Sentence] = ()
    tiles: Sequence[Tile] = field(default=(), repr=False)

    @property
    def look(self) -> str:
        """The colour of the verdict: good, warning or error."""
        return _LOOKS[self.level]

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "level": self.level,
            "trust": [sentence.as_dict() for sentence in self.trust],
            "caution": [sentence.as_dict() for sentence in self.caution],
            "next": [sentence.as_dict() for sentence in self.next],
            "tiles": [list(tile) for tile in self.tiles],
        }

    @classmethod
    def from_dict(cls, values: Any) -> "Summary":
        """Return the summary that `as_dict` described. Raises ModelError for another layout."""
        try:
            lists = {}
            for name in ("trust", "caution", "next"):
                lists[name] = [
                    Sentence(str(row["name"]), dict(row["values"]))
                    for row in values[name]
                ]
            tiles = [
                (str(name), str(value), str(remark))
                for name, value, remark in values["tiles"]
            ]
            summary = cls(str(values["level"]), **lists, tiles=tiles)
            assert summary.look
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"a report's summary is damaged ({error!r})."
            ) from error
        return summary


# --- an evaluation ----------------------------------------------------------------------------


def summary_of_evaluation(evaluation: Evaluation) -> Summary:
    """Return what an evaluation says first."""
    levels: dict[str, list[KindFindings]] = {}
    for findings in evaluation.kinds:
        level = _NAMES_OF_LEVELS[level_of(evaluation, findings)]
        levels.setdefault(level, []).append(findings)
    level = next(name for name in _NAMES_OF_LEVELS.values() if name in levels)
    reliable = levels.get("usable") or levels.get("weak") or []
    trust = _trust(evaluation, reliable)
    if not trust:
        trust = _no_trust(level, evaluation)
    return Summary(
        level,
        trust=trust,
        caution=list(_caution(evaluation, levels, reliable)),
        next=list(_next(evaluation, level)),
        tiles=_plain_tiles(evaluation),
    )


def _trust(
    evaluation: Evaluation, reliable: Sequence[KindFindings]
) -> list[Sentence]:
    """Return what can be relied on: an order of texts, and a guess of grades or ratings."""
    accuracies: list[tuple[int, Sentence]] = []
    errors: list[tuple[int, Sentence]] = []
    for findings in reliable:
        name, estimate = ordering_of(evaluation, findings)
        if name == "accuracy":
            accuracies.append((_rank(findings), _right(findings, estimate)))
        error = findings.measured.model.get("mae")
        if error is not None and not math.isnan(error.value):
            errors.append((findings.n, _error(findings, error)))
    sentences = []
    # of several kinds that say the same, the one with the most judgements
    for of_sort in (accuracies, errors):
        if of_sort:
            sentences.append(max(of_sort, key=_number)[1])
    return sentences


def _plain_tiles(evaluation: Evaluation) -> list[Tile]:
    """Return the figures that need no statistics: shares of right answers, and average errors."""
    tiles: list[Tile] = []
    # the kinds that the sentences are about come first
    kinds = sorted(evaluation.kinds, key=_rank, reverse=True)
    for findings in kinds:
        model = findings.measured.model
        accuracy, error = model.get("accuracy"), model.get("mae")
        if accuracy is not None and not math.isnan(accuracy.value):
            interval = ""
            if accuracy.has_interval:
                low, high = _of_100(accuracy.low), _of_100(accuracy.high)
                interval = f"{low}–{high} %"
            share = f"{_of_100(accuracy.value)} %"
            tiles.append((f"right_{findings.kind}", share, interval))
        if error is not None and not math.isnan(error.value):
            low, high = _range_of(findings)
            title = f"error_{findings.kind}"
            tiles.append((title, amount(error.value), f"{low} … {high}"))
    return tiles[:_MOST_TILES]


def _rank(findings: KindFindings) -> int:
    """Return the number of judgements; comparisons come first, because the picture shows them."""
    rank = findings.n
    if findings.kind_metrics.drawn_as == "pair":
        rank += _FIRST
    return rank


def _range_of(findings: KindFindings) -> tuple[str, str]:
    """Return the scale of grades, or the lowest and the highest rating."""
    scale = getattr(findings.judged.judgements[0], "scale", None)
    if scale is None:
        answers = findings.answers
        scale = float(answers.min()), float(answers.max())
    return f"{scale[0]:g}", f"{scale[1]:g}"


def _number(counted: tuple[int, Sentence]) -> int:
    return counted[0]


def _right(findings: KindFindings, accuracy: Estimate) -> Sentence:
    """Return how many of 100 texts or pairs the model gets right."""
    name = (
        "right_labels" if findings.kind_metrics.of_one_text else "right_pairs"
    )
    values = {
        "n": _of_100(accuracy.value),
        "low": _of_100(accuracy.low),
        "high": _of_100(accuracy.high),
    }
    return Sentence(name, values)


def _error(findings: KindFindings, error: Estimate) -> Sentence:
    """Return how far predicted grades or ratings are from the given ones."""
    low, high = _range_of(findings)
    values = {
        "kind": findings.kind,
        "kind_zh": kind_zh(findings.kind),
        "error": amount(error.value),
        "low": low,
        "high": high,
    }
    return Sentence("error_numbers", values)


def _no_trust(level: str, evaluation: Evaluation) -> list[Sentence]:
    if level == "unknown":
        groups = max(findings.clusters for findings in evaluation.kinds)
        return [Sentence("no_trust_few", {"groups": groups})]
    return [Sentence("no_trust")]


def _caution(
    evaluation: Evaluation,
    levels: dict[str, list[KindFindings]],
    reliable: Sequence[KindFindings],
) -> Iterator[Sentence]:
    """Yield what cannot be relied on."""
    for sentence in _trust(evaluation, reliable):
        if sentence.name in _WRONG and sentence.values["n"] != "?":
            wrong = 100 - int(sentence.values["n"])
            yield Sentence(_WRONG[sentence.name], {"n": wrong})
    for level, name in (
        ("useless", "weak_kind"),
        ("unknown", "few_of_kind"),
    ):
        for findings in levels.get(level, []) if reliable else []:
            values = {
                "kind": findings.kind,
                "kind_zh": kind_zh(findings.kind),
                "groups": findings.clusters,
            }
            yield Sentence(name, values)
    yield from _on_percentages(evaluation)
    correlation = evaluation.score_length_correlation
    if abs(correlation) >= _CLEAR_LENGTH:
        is_longer = correlation > 0
        values = {
            "which": "longer" if is_longer else "shorter",
            "which_zh": "长" if is_longer else "短",
        }
        yield Sentence("likes_length", values)
    yield Sentence("other_texts", {"texts": f"{len(evaluation.examples):,}"})


def _on_percentages(evaluation: Evaluation) -> Iterator[Sentence]:
    """Yield whether probabilities are too sure or too cautious, once."""
    for findings in evaluation.kinds:
        slope = findings.measured.model.get("calibration_slope")
        if slope is None or not slope.has_interval:
            continue
        if slope.high < 1:
            yield Sentence("too_sure")
            return
        if slope.low > 1:
            yield Sentence("too_cautious")
            return


def _next(evaluation: Evaluation, level: str) -> Iterator[Sentence]:
    """Yield what to do next, the most urgent first."""
    if evaluation.duplicates.texts:
        count = f"{evaluation.duplicates.texts:,}"
        yield Sentence("do_duplicates", {"n": count})
    if _is_no_better_than_linear(evaluation):
        yield Sentence("do_linear")
    if level == "usable":
        yield Sentence("do_use")
    elif level == "useless":
        yield Sentence("do_check_data")
    else:
        yield Sentence("do_more")


def _is_no_better_than_linear(evaluation: Evaluation) -> bool:
    """Return whether a network was compared with a linear model and is better at nothing."""
    compared = False
    for findings in evaluation.kinds:
        differences = findings.measured.difference
        if differences is None:
            continue
        compared = True
        difference = differences[findings.kind_metrics.headline]
        if difference.differs and difference.value > 0:
            return False
    return compared


def _of_100(share: float) -> str:
    """Return a share as a number of 100 cases."""
    return "?" if math.isnan(share) else f"{100 * share:.0f}"


# --- a steered run ----------------------------------------------------------------------------

_REAL = ("real gain", "steered by truth")
_NOT_REAL = ("over-optimised", "collapsed", "not real")
_TRUTHS_ZH = {
    "held_out": "第二个模型的评分",
    "gold": "真实评分（由固定规则给出）",
}
_TRUTHS = {
    "held_out": "the score of a second model",
    "gold": "the true score (gold, which a fixed rule gives)",
}


def summary_of_frontier(frontier: Frontier, tiles: Sequence[Tile]) -> Summary:
    """Return what one or several steered runs say first."""
    trust: list[Sentence] = []
    caution: list[Sentence] = []
    courses = sorted(frontier.courses, key=_gain, reverse=True)
    for course in courses:
        if not _is_real(course):
            caution.append(_on_course(course))
        elif not trust:  # the best one; the others are in the table
            trust.append(_on_course(course))
    is_any_real = bool(trust)
    is_unknown = all(
        course.verdict.name in ("unknown", "too short") for course in courses
    )
    if is_any_real:
        level = "gain_real"
    elif is_unknown:
        level = "gain_unknown"
    else:
        level = "gain_not_real"
    if is_any_real and len(courses) > len([c for c in courses if _is_real(c)]):
        level = "gain_partly_real"
    return Summary(
        level,
        trust=trust,
        caution=caution,
        next=[_after_steering(courses, level)],
        tiles=tiles[:_MOST_TILES],
    )


def _gain(course: Course) -> float:
    """Return what the saved policy gained in what stands for the truth."""
    run = course.run
    name = run.truth or "score"
    return run.after.get(name, 0.0) - run.before.get(name, 0.0)


def _is_real(course: Course) -> bool:
    return course.verdict.name in _REAL


def _on_course(course: Course) -> Sentence:
    """Return the sentence about one run."""
    run, verdict = course.run, course.verdict
    truth = run.truth
    if truth is None:
        return Sentence("gpt_unchecked", {"run": course.label})
    if verdict.name == "too short":
        values = {"run": course.label, "steps": len(run.steps)}
        return Sentence("gpt_too_short", values)
    values = {
        "run": course.label,
        "truth": _TRUTHS[truth],
        "truth_zh": _TRUTHS_ZH[truth],
        "before": f"{run.before[truth]:.2f}",
        "after": f"{run.after.get(truth, math.nan):.2f}",
        "verdict": verdict.name,
    }
    if _is_real(course):
        return Sentence("gpt_better", values)
    if verdict.name in _NOT_REAL:
        return Sentence("gpt_not_better", values)
    return Sentence("gpt_no_change", values)


def _after_steering(courses: Sequence[Course], level: str) -> Sentence:
    if level in ("gain_real", "gain_partly_real"):
        best = next(course for course in courses if _is_real(course))
        return Sentence("do_write", {"folder": str(best.run.folder)})
    if level == "gain_unknown":
        is_short = any(c.verdict.name == "too short" for c in courses)
        return Sentence("do_more_steps" if is_short else "do_measure")
    if any(course.verdict.name in _NOT_REAL for course in courses):
        return Sentence("do_steer_less")
    return Sentence("do_steer_more")


# --- the data ---------------------------------------------------------------------------------


def summary_of_diagnosis(
    diagnosis: Diagnosis, tiles: Sequence[Tile]
) -> Summary:
    """Return what the doctor says first."""
    serious = [p for p in diagnosis.problems if p.severity != "note"]
    # copies are often meant, and neither split nor fit is misled by them: they come last
    serious.sort(key=lambda problem: problem.name == "near_copies")
    level = "data_good"
    if serious:
        is_error = any(p.severity == "error" for p in serious)
        level = "data_errors" if is_error else "data_warnings"
    caution = []
    advice = []
    for problem in serious[:_SHOWN_PROBLEMS]:
        caution.append(Sentence("data_problem", {"problem": problem.what}))
        advice.append(Sentence("do_fix_data", {"advice": problem.advice}))
    if not serious:
        advice.append(Sentence("do_fit"))
    return Summary(
        level,
        trust=[] if serious else [Sentence("data_trust")],
        caution=caution,
        next=advice[:_SHOWN_ADVICE],
        tiles=tiles[:_MOST_TILES],
    )


# --- a GPT -------------------------------------------------------------------------------------


def summary_of_gpt(figures: Mapping[str, Any]) -> Summary:
    """Return what the figures of pretraining say first: is it better than counting?"""
    gpt, ngrams = figures.get("perplexity"), figures.get("ngram_perplexity")
    if not isinstance(gpt, float) or not isinstance(ngrams, float):
        return Summary("unknown", caution=[Sentence("gpt_not_judged")])
    values = {"gpt": f"{gpt:.3g}", "ngrams": f"{ngrams:.3g}"}
    tiles = [
        ("perplexity", values["gpt"], ""),
        ("ngram perplexity", values["ngrams"], ""),
        ("parameters", f"{figures.get('parameters', 0):,}", ""),
    ]
    unmeasured = Sentence("gpt_not_judged")
    if gpt < ngrams:
        return Summary(
            "gpt_learned",
            trust=[Sentence("gpt_beats_counting", values)],
            caution=[unmeasured],
            next=[Sentence("do_steer")],
            tiles=tiles,
        )
    return Summary(
        "gpt_weak",
        caution=[Sentence("gpt_no_better_than_counting", values), unmeasured],
        next=[Sentence("do_pretrain_more")],
        tiles=tiles,
    )


# --- a model without the evaluation's predictions ---------------------------------------------


def tiles_of_figures(figures: dict[str, Any]) -> list[Tile]:
    """Return the tiles of the evaluation that a model's contract holds."""
    tiles = []
    for name in ("accuracy", "auroc", "pearson", "mae", "kendall_tau"):
        value = figures.get(name)
        if value is None:
            continue
        low, high = figures.get(f"{name}_interval") or (math.nan, math.nan)
        figure, _, interval = shown(
            name, Estimate(value, low or math.nan, high or math.nan)
        ).partition(" ")
        tiles.append((NAMES[name], figure, interval))
    return tiles[:_MOST_TILES]
