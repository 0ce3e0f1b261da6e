"""Which judgements the columns of a table hold, by a survey of their values.

A survey of a column says whether it holds labels, grades or ratings. Labels need a direction, and
classes an order: what the values do not say is asked for, never guessed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, NoReturn

from tastemaker.data.cells import (
    Cells,
    ClassCells,
    GradeCells,
    LabelCells,
    RatingCells,
    WordedCells,
    listed,
)
from tastemaker.data.read_as import Layout
from tastemaker.data.roles import Columns, plain_name
from tastemaker.data.survey import MOST_STEPS, UNLABELLED, Survey
from tastemaker.data.tables import Table
from tastemaker.data.values import (
    LABEL_PAIRS,
    Numbered,
    is_missing,
    parse_number,
    show,
    word_of,
)
from tastemaker.errors import DataError

Target = Literal["label", "rating"]

_FEWEST_CONFIDENCES = 3  # different ones: fewer may be ratings
_LEAST_AUROC = 0.75
"""A score column is read as a rating beside labels if its AUROC for them is at least this."""
_LEAST_OF_RATINGS = 0.5
"""Of another column of numbers beside labels an AUROC below this is said: they disagree."""
_AUROC_ROWS = 10_000
_FEWER_ROWS = 1_000
JUDGEMENTS = ("label", "grade", "rating")
OPTIONS = "--label-column, --grade-column or --rating-column"


@dataclass(frozen=True)
class JudgementColumns:
    """Decides how the judgement columns of a table are read, by a survey of what they hold.

    recognised: by kind, the column that was recognised by its name; used if no column is named.
    past_bad: rows that cannot be read are left out, and so are rows with a bad judgement.
    """

    table: Table
    columns: Columns
    surveys: dict[str, Survey]
    layout: Layout
    recognised: Mapping[str, str | None]
    past_bad: bool = False

    def for_target(
        self,
        target: Target | None,
    ) -> tuple[Cells, ...]:
        """Return how to read each judgement column that the target keeps."""
        columns = self.columns
        label, grade, rating = (columns.name_of(kind) for kind in JUDGEMENTS)
        is_named = bool(label or grade or rating)
        if not is_named:
            label, grade, rating = self._readable(target)
        cells: list[Cells] = []
        if label and self._is_kept(target, "label", label):
            cells.append(self._label_cells(label))
        if grade and not is_named and cells:
            grade = self._numbers_beside_labels(cells[0], grade)
        if rating and not is_named and cells:
            rating = self._numbers_beside_labels(cells[0], rating)
        if grade and target != "label":
            cells.append(self._grade_cells(grade))
        if rating and target != "label":
            cells.append(self._rating_cells(rating, is_named=is_named))
        if target == "label":
            cells = [each for each in cells if isinstance(each, LabelCells)]
        return tuple(map(self._with_unlabelled, cells))

    def _with_unlabelled(self, cells: Cells) -> Cells:
        """Return cells that pass over the values that mean that nobody judged."""
        survey = self.surveys[cells.column]
        unlabelled = survey.unlabelled
        if isinstance(cells, LabelCells | ClassCells):
            unlabelled -= {UNLABELLED}
        elif UNLABELLED in unlabelled:
            self.layout.notes.append(
                f"column {cells.column!r}: −1 means that nobody judged; "
                f"--scale -1,{max(math.ceil(survey.highest), 0)} reads it as a number."
            )
        return replace(cells, unlabelled=cells.unlabelled | unlabelled)

    def _is_kept(self, target: Target | None, kind: str, column: str) -> bool:
        """Return whether a target reads a column of some kind of judgements."""
        if target is None or (kind == "label") == (target == "label"):
            return True
        return kind == "label" and self._has_grades(column)

    def _readable(self, target: Target | None) -> list[str | None]:
        """Return the recognised columns, without numbers of which a cell is none.

        Nobody named them, so a bad cell stops a file only where no other column judges. Where
        rows with bad cells are left out, a column is read that the target asks for, or of which
        most cells are numbers.
        """
        problems: dict[str, str] = {}
        for kind in ("grade", "rating"):
            column = self.recognised[kind]
            problem = (
                self._problem(kind, self.surveys[column]) if column else None
            )
            if not column or not problem:
                continue
            is_wanted = self.past_bad and (
                target == "rating" or self._has_numbers(kind, column)
            )
            if not is_wanted:
                problems[kind] = (
                    f"column {column!r} is not used: {problem}. "
                    f"If it judges the texts, name it with --{kind}-column."
                )
        judging = set()
        for kind in JUDGEMENTS:
            column = self.recognised[kind]
            if column and self._is_kept(target, kind, column):
                judging.add(kind)
        if judging <= set(problems):
            problems = {}
        self.layout.notes += problems.values()
        return [
            None if kind in problems else self.recognised[kind]
            for kind in JUDGEMENTS
        ]

    def _has_numbers(self, kind: str, column: str) -> bool:
        """Return whether more than half of a column's cells are grades or ratings."""
        survey, scale = self.surveys[column], self.columns.scale
        lowest, highest = survey.lowest, survey.highest
        if kind == "grade" and not scale and highest - lowest >= MOST_STEPS:
            return False
        count = filled = 0
        for _, row in self.table.rows_past([]):
            cell = row.get(column)
            number = parse_number(cell)
            filled += not is_missing(cell)
            if number is not None and math.isfinite(number):
                count += kind == "rating" or number.is_integer()
        return 2 * count > filled

    def _problem(self, kind: str, survey: Survey) -> str | None:
        """Return why not every cell of a column is a grade or a rating; None where all are."""
        is_worded = survey.worded(is_scale=True) is not None
        if self.columns.order or is_worded or not survey.words:
            return None
        if survey.first_odd is not None:
            value, where = survey.first_odd
            return f"{where} holds {show(value)}, which is no number"
        is_scale = survey.has_few_steps(self.columns.scale)
        if kind == "grade" and not is_scale:
            lowest, highest = survey.lowest, survey.highest
            return f"{lowest:g} to {highest:g} is no scale of whole grades"
        return None

    def _has_grades(
        self,
        label: str,
    ) -> bool:
        survey = self.surveys[label]
        return (
            bool(self.columns.order)
            or survey.are_grades()
            or survey.worded() is not None
        )

    def _numbers_beside_labels(
        self,
        cells: Cells,
        column: str,
    ) -> str | None:
        """Return the column; None if it seems to hold how sure the labels are.

        A `score` must agree with the labels. Of another column that does not, it is noted.
        """
        if not isinstance(cells, LabelCells):
            return column
        is_score = plain_name(column) == "score"
        pairs = []
        rows = self.table.rows_past([])
        for _, row in islice(rows, _AUROC_ROWS if is_score else _FEWER_ROWS):
            meaning = cells.meanings.get(word_of(row.get(cells.column)) or "")
            number = parse_number(row.get(column))
            if meaning is None or number is None:
                continue
            if math.isfinite(number):
                pairs.append((number, meaning))
        numbers = [number for number, _ in pairs]
        are_whole = all(number.is_integer() for number in numbers)
        are_confidences = all(0.5 <= number <= 1 for number in numbers)
        are_several = len(set(numbers)) >= _FEWEST_CONFIDENCES
        if are_confidences and (is_score or (are_several and not are_whole)):
            self._leave_out(cells.column, column)
            return None
        auroc = _auroc(pairs)
        if is_score and auroc < _LEAST_AUROC:
            self._leave_out(cells.column, column)
            return None
        has_both = len({meaning for _, meaning in pairs}) > 1
        if not is_score and has_both and auroc < _LEAST_OF_RATINGS:
            role = self._kind_of(column)
            self.layout.notes.append(
                f"column {column!r} is lower where column {cells.column!r} is positive: they "
                f"disagree. Leave out the wrong one (--{role}-column none or --label-column none), "
                "or name the --positive label."
            )
        return column

    def _leave_out(self, label: str, column: str) -> None:
        """Note that a column of numbers is not used: it says how sure the labels are."""
        self.layout.notes.append(
            f"column {column!r} is not used: beside labels it seems to be how sure they are; "
            f"--label-column {label} --{self._kind_of(column)}-column {column} reads both."
        )

    def _kind_of(self, column: str) -> str:
        return "grade" if column == self.recognised["grade"] else "rating"

    def _label_cells(
        self,
        column: str,
    ) -> Cells:
        """Return how to read labels: two values, or more whole numbers, which are grades."""
        survey, positive = self.surveys[column], self.columns.positive
        words = list(survey.words)
        unlabelled: frozenset[str] = frozenset()
        is_pair = set(words) == {UNLABELLED, "1"}
        is_on_scale = self.columns.scale and self.columns.scale[0] < 0
        if UNLABELLED in words and not is_pair and not is_on_scale:
            unlabelled = frozenset([UNLABELLED])
            words.remove(UNLABELLED)
        if self.columns.order:
            return _ordered_cells(column, self.columns.order, unlabelled)
        if survey.are_grades(unlabelled) and positive is None:
            return self._numbered_cells(column, words, unlabelled)
        worded = survey.worded(unlabelled)
        if worded is not None and positive is None:
            return self._worded_cells(column, worded, unlabelled)
        where = f"{self.table.name}: column {column!r}"
        if len(words) > 2:
            self._refuse_classes(column, words)
        if positive is not None:
            word_for_positive = word_of(positive)
            if len(words) == 2 and word_for_positive not in words:
                raise DataError(
                    f"{where} never holds {positive!r}, the positive label. "
                    f"It holds {listed(words)}."
                )
            meanings = {word: word == word_for_positive for word in words}
            return LabelCells(column, meanings, unlabelled)
        for pair in LABEL_PAIRS:
            if set(words) <= set(pair):
                meanings = dict(zip(pair, (False, True), strict=True))
                return LabelCells(column, meanings, unlabelled)
        either = " or ".join(repr(word) for word in words)
        raise DataError(
            f"{self.table.name}: which label of column {column!r} is positive, {either}? "
            "Say so with --positive."
        )

    def _numbered_cells(
        self,
        column: str,
        words: list[str],
        unlabelled: frozenset[str],
    ) -> Cells:
        """Return how to read more than two whole numbers; refuse those that number classes."""
        numbers = sorted(int(word) for word in words)
        if numbers[0] >= 0 and not self.columns.scale:
            classes = [str(number) for number in numbers]
            order = ",".join(classes)
            raise DataError(
                f"{self.table.name}: column {column!r} holds {listed(classes)}: "
                "classes without an order, or grades? If the highest is the best, say "
                f"--grade-column {column}; for another order, the worst first, --order {order}."
            )
        scale = self.columns.scale or (numbers[0], numbers[-1])
        if scale[1] - scale[0] >= MOST_STEPS:
            return self._grade_cells(column)
        cells = GradeCells(column, *scale, unlabelled)
        self.layout.notes.append(
            f"column {column!r} is read as grades {cells.detail}, the highest the best; for "
            f"classes in another order say --order, the worst first."
        )
        return cells

    def _refuse_classes(
        self,
        column: str,
        words: list[str],
    ) -> NoReturn:
        """Raise DataError for more than two classes, of which nobody says the order."""
        survey = self.surveys[column]
        places = ", ".join(
            f"{word!r} ({survey.words[word]})" for word in words[:4]
        )
        order = ",".join(words[:4])
        raise DataError(
            f"{self.table.name}: column {column!r} holds more than two labels: {places}. "
            f"If they have an order, give it, the worst first (--order {order}). "
            f"Else keep two, or name another column with {OPTIONS}."
        )

    def _worded_cells(
        self,
        column: str,
        worded: Numbered,
        unlabelled: frozenset[str],
    ) -> Cells:
        """Return how to read classes whose names hold a number, such as "4 stars"."""
        scale = self.columns.scale
        if scale is None and worded.is_whole:
            scale = int(worded.lowest), int(worded.highest)
        cells: GradeCells | RatingCells = RatingCells(column)
        if scale and worded.is_whole and scale[1] - scale[0] < MOST_STEPS:
            cells = GradeCells(column, *scale)
        self.layout.notes.append(
            f"column {column!r} is read by the number in each class, the highest the best; for "
            "another order say --order, the worst first."
        )
        return WordedCells(cells, unlabelled)

    def _rating_cells(
        self,
        column: str,
        *,
        is_named: bool,
    ) -> Cells:
        """Return how to read ratings; on a scale of few steps they are grades, unless named."""
        survey, scale = self.surveys[column], self.columns.scale
        worded = survey.worded(is_scale=True)
        if worded is not None and is_named:
            return WordedCells(RatingCells(column, scale), frozenset())
        if worded is not None:
            return self._worded_cells(column, worded, frozenset())
        has_few_steps = survey.has_few_steps(scale, past_bad=self.past_bad)
        if has_few_steps and not is_named:
            return self._grade_cells(column)
        return RatingCells(column, scale)

    def _grade_cells(
        self,
        column: str,
    ) -> Cells:
        survey = self.surveys[column]
        if self.columns.order:
            return _ordered_cells(column, self.columns.order, frozenset())
        worded = survey.worded(is_scale=True)
        if worded is not None:
            return self._worded_cells(column, worded, frozenset())
        if self.columns.scale:
            return GradeCells(column, *self.columns.scale)
        # not one number: let the first row say so
        if not math.isfinite(survey.lowest):
            return GradeCells(column, 1, 10)
        lowest, highest = math.floor(survey.lowest), math.ceil(survey.highest)
        if highest - lowest >= MOST_STEPS:
            raise DataError(
                f"{self.table.name}: column {column!r} holds {lowest} to {highest}, more than "
                f"{MOST_STEPS} steps of a grade. Name it with --rating-column, or give the --scale."
            )
        return GradeCells(column, lowest, highest)


def _ordered_cells(
    column: str,
    order: Sequence[str],
    unlabelled: frozenset[str],
) -> Cells:
    """Return how to read classes in an order: two are labels, more are grades from 1."""
    words = [word_of(name) or "" for name in order]
    if len(words) == 2:
        meanings = {words[0]: False, words[1]: True}
        return LabelCells(column, meanings, unlabelled)
    steps = {word: step for step, word in enumerate(words, 1)}
    return ClassCells(column, steps, unlabelled)


def _auroc(
    pairs: Sequence[tuple[float, bool]],
) -> float:
    """Return the AUROC: how often a positive has a higher number than a negative."""
    numbers = sorted(pairs)
    below = ahead = 0.0
    positives = sum(is_positive for _, is_positive in pairs)
    negatives = len(pairs) - positives
    at = 0
    while at < len(numbers):
        end = at
        while end < len(numbers) and numbers[end][0] == numbers[at][0]:
            end += 1
        tied = sum(is_positive for _, is_positive in numbers[at:end])
        others = end - at - tied
        ahead += tied * (below + others / 2)
        below += others
        at = end
    return ahead / (positives * negatives) if positives * negatives else 0.0
