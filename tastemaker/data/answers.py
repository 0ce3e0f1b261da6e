"""Tables of answers that are compared: columns of texts, and a column that says which is better.

Such a table is described (`Columns(answers=…, better=…)`), or recognised by columns whose names
differ in a number or letter. What a value of the other column means is taken from the names of the
answers. Where it could be either way round, it is asked for and never guessed.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tastemaker.data.cells import listed
from tastemaker.data.chats import (
    completion_from,
    divided,
    joined_prompt,
    messages_of,
    with_chat,
)
from tastemaker.data.columns import (
    RECOGNISED,
    check_named,
    recognised,
)
from tastemaker.data.first_rows import HEAD, telling_rows
from tastemaker.data.judgements import (
    Comparison,
    Example,
    Judgement,
    Prompt,
    Ranking,
)
from tastemaker.data.metadata import MetadataColumns, metadata_columns
from tastemaker.data.prompts import (
    PromptColumns,
    may_prompt,
    prompt_columns,
    without_prompt,
)
from tastemaker.data.read_as import Layout
from tastemaker.data.roles import TOGETHER, Columns, plain_name
from tastemaker.data.tables import Metadata, Row, Table
from tastemaker.data.values import (
    bad_cell,
    is_missing,
    number_of,
    word_count,
    word_of,
)
from tastemaker.data.vote_values import Votes, VotesReader
from tastemaker.data.votes import (
    answers_of_votes,
    are_counts,
    as_number,
    better_column,
    has_verdicts,
    may_vote,
    number_columns,
    numbered_answers,
    paired_answers,
)
from tastemaker.errors import DataError


@dataclass(frozen=True)
class Answers:
    """How to read a table of answers. votes: None where the columns are in order, best first.

    scores: the columns of the answers' own numbers; the higher is better. Columns of ranks are the
    exception: the lower is better.
    """

    table: Table
    answers: tuple[str, ...]
    votes: Votes | None
    scores: tuple[str, ...]
    prompts: PromptColumns
    metadata: MetadataColumns
    layout: Layout

    def judgements(
        self,
        skipped: list[DataError] | None = None,
    ) -> Iterator[Judgement]:
        """Yield the judgements of every row; see `columns.ColumnPlan.judgements`."""
        return self.table.read_rows(
            self._row, skipped, self.layout.rows_left_out
        )

    def examples(self) -> Iterator[Example]:
        """Yield the answers of every row, judged or not."""
        for number, row in self.table.rows():
            prompt, texts = self._texts(row, self.table.place(number))
            for text in texts:
                yield Example(text, prompt)

    def _texts(
        self,
        row: Row,
        where: str,
    ) -> tuple[Prompt | None, list[str]]:
        """Return the prompt and the answers, without those that a ranking lacks."""
        prompt = self.prompts.read(row, where) if self.prompts.names else None
        cells = {name: with_chat(row.get(name)) for name in self.answers}
        if len(cells) == 2 and all(
            isinstance(cell, list) and len(cell) > 1 for cell in cells.values()
        ):
            one, other = (
                messages_of(cell, where, name) for name, cell in cells.items()
            )
            shared, first, second = divided(one, other, where)
            both = "both answers begin"
            return joined_prompt(prompt, shared, where, both), [first, second]
        if len(cells) > 2:
            cells = {
                name: cell
                for name, cell in cells.items()
                if not is_missing(cell)
            }
        texts = [
            completion_from(cell, where, name) for name, cell in cells.items()
        ]
        return prompt, without_prompt(prompt, texts)

    def _row(
        self,
        number: int,
        row: Row,
    ) -> list[Judgement]:
        where = self.table.place(number)
        metadata = self.metadata.read(
            row, self.table, number, self.layout.left_out
        )
        votes = self.votes
        if votes is not None:
            value = row.get(votes.column)
            if is_missing(value) or word_of(value) in votes.unjudged:
                self.layout.unlabelled[votes.column] += 1
                return []
        prompt, texts = self._texts(row, where)
        if self.scores:
            return self._scored(row, texts, prompt, metadata)
        if votes is not None:
            return [self._voted(votes, value, texts, prompt, metadata)]
        if len(texts) == 2:
            chosen, rejected = texts
            return [Comparison(chosen, rejected, prompt=prompt, **metadata)]
        tiers = tuple((text,) for text in texts)
        return [Ranking(tiers, prompt=prompt, **metadata)]

    def _voted(
        self,
        votes: Votes,
        value: Any,
        texts: list[str],
        prompt: Prompt | None,
        metadata: Metadata,
    ) -> Judgement:
        """Return what a vote says of the answers of a row."""
        where = metadata["where"]
        best = votes.wins.get(word_of(value) or "")
        if best is None and votes.lead_sign:
            lead = votes.lead(number_of(value, where, votes.column))
            return _comparison_from_lead(texts, lead, prompt, metadata)
        if best is None:
            values = listed(votes.wins)
            raise bad_cell(
                value, where, votes.column, f"; the values are {values}."
            )
        if len(self.answers) == 2:
            sign = {0: 1, 1: -1, -1: 0}[best]
            return _comparison_from_lead(
                texts, sign, prompt, metadata, has_margin=False
            )
        if best < 0:
            return Ranking((tuple(texts),), prompt=prompt, **metadata)
        rest = tuple(texts[:best] + texts[best + 1 :])
        shown = tuple(texts)
        tiers = ((texts[best],),)
        return Ranking(tiers, rest, shown=shown, prompt=prompt, **metadata)

    def _scored(
        self,
        row: Row,
        texts: Sequence[str],
        prompt: Prompt | None,
        metadata: Metadata,
    ) -> list[Judgement]:
        where = metadata["where"]
        sign = -1 if _are_ranks(self.scores) else 1
        numbers = []
        for answer, name in zip(self.answers, self.scores, strict=True):
            is_lacking = len(self.answers) > 2 and is_missing(row.get(answer))
            if is_lacking:
                continue
            if is_missing(row.get(name)):
                self.layout.unlabelled[name] += 1
                return []
            number = number_of(as_number(row[name]), where, name)
            numbers.append(sign * number)
        if len(self.answers) == 2:
            lead = numbers[0] - numbers[1]
            has_margin = not are_counts(self.scores)
            return [
                _comparison_from_lead(
                    texts, lead, prompt, metadata, has_margin=has_margin
                )
            ]
        by_number: dict[float, list[str]] = {}
        for text, score in zip(texts, numbers, strict=True):
            by_number.setdefault(-score, []).append(text)
        tiers = tuple(tuple(by_number[one]) for one in sorted(by_number))
        return [Ranking(tiers, prompt=prompt, **metadata)]


def _are_ranks(names: Sequence[str]) -> bool:
    """Return whether all columns are called ranks: rank1, answer_a_rank."""
    words = [set(re.findall("[a-z]+", plain_name(name))) for name in names]
    return all({"rank", "ranks", "ranking"} & one for one in words)


def _comparison_from_lead(
    texts: Sequence[str],
    lead: float,
    prompt: Prompt | None,
    metadata: Metadata,
    *,
    has_margin: bool = True,
) -> Judgement:
    """Return a comparison of two texts. lead: of the first; negative if the second is better."""
    first, second = texts
    is_first = lead >= 0
    return Comparison(
        first if is_first else second,
        second if is_first else first,
        abs(lead) if has_margin else 0.0,
        lead == 0,
        chosen_first=is_first,
        prompt=prompt,
        **metadata,
    )


def answers_plan(
    table: Table,
    columns: Columns,
    *,
    past_bad: bool = False,
) -> Answers | None:
    """Return how to read a table of answers; None for another table.

    Raises DataError where columns of answers are there, but not which is better, or not in a form
    that can be read only one way.
    """
    errors: list[DataError] | None = [] if past_bad else None
    head = [row for _, row in islice(table.rows_past(errors), HEAD)]
    names = _names(head)
    given = columns
    columns = given.with_table_spelling(names)
    recognised_answers: tuple[str, ...] = ()
    if not columns.answers:
        recognised_answers = _recognised_answers(names, columns, head)
        if not recognised_answers:
            return None
    numbered = telling_rows(
        table.rows_past(errors), _may_matter, columns.named()
    )
    head = [row for _, row in numbered]
    names = _names(head)
    columns = given.with_table_spelling(names)
    check_named(table, columns, names)
    answers = columns.answers or recognised_answers
    used = {*answers, *columns.named()}
    prompts = prompt_columns(names, used, head, columns)
    used |= set(prompts.all)
    better = (columns.better or "").split(TOGETHER) if columns.better else []
    if not columns.answers:
        numbers = number_columns(answers, names, head, used)
        left = [name for name in names if name not in (*used, *numbers)]
        if numbers and not has_verdicts(answers, left, head):
            better = list(numbers)
        else:
            used |= set(numbers)
            better = [better_column(table, answers, names, head, used)]
    metadata = metadata_columns(
        tuple(names), frozenset(used | set(better)), columns
    )
    votes, scores = None, tuple[str, ...]()
    if len(better) == 1:
        reading = VotesReader(table, answers, better[0], columns)
        votes = reading.votes(is_named=bool(columns.answers))
    elif len(better) == len(answers):
        scores = tuple(better)
    elif better:
        raise DataError(
            f"{table.name}: {len(answers)} answers, but {len(better)} columns of --better. "
            "Name one column, or one for each answer."
        )
    layout = _layout(table, names, head, answers, votes)
    _add_roles(layout, prompts, metadata, better)
    return Answers(table, answers, votes, scores, prompts, metadata, layout)


def _recognised_answers(
    names: Collection[str],
    columns: Columns,
    head: Sequence[Row],
) -> tuple[str, ...]:
    """Return the columns of answers that nobody named; () for a table of single texts."""
    if columns.is_off("text"):
        text = None
    elif columns.text:
        return ()
    else:
        text = recognised("text", names, columns.named())
        has_text = _has_text(names, columns.named(), head)
        text = text if has_text else None
    prompts = [name for name in names if may_prompt(name)]
    used = [*columns.named(), *prompts]
    if text is not None:
        return answers_of_votes(names, head, used, among=text)
    return (
        numbered_answers(names, head)
        or paired_answers(names, head)
        or answers_of_votes(names, head, used)
    )


def _names(head: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in head for name in row))


def _may_matter(name: str) -> bool:
    """Return whether a column may hold a prompt or say which answer is better, by its name."""
    return may_prompt(name) or may_vote(name)


def _has_text(
    names: Collection[str],
    used: Collection[str],
    head: Sequence[Row],
) -> bool:
    """Return whether a column holds the text of a row.

    A column whose name only resembles one (`response_model`) must hold several words somewhere.
    """
    column = recognised("text", names, used)
    if column is None or plain_name(column) in RECOGNISED["text"]:
        return column is not None
    cells = [row.get(column) for row in head]
    return any(word_count(str(cell)) > 1 for cell in cells)


def _layout(
    table: Table,
    names: Collection[str],
    head: Sequence[Row],
    answers: tuple[str, ...],
    votes: Votes | None,
) -> Layout:
    layout = Layout("answers", names=dict.fromkeys(names), head=head)
    layout.roles["answers"] = TOGETHER.join(answers)
    layout.used = frozenset(answers)
    if votes is None:
        layout.details["answers"] = "best first"
    else:
        layout.details["better"] = votes.meaning(answers)
    return layout


def _add_roles(
    layout: Layout,
    prompts: PromptColumns,
    metadata: MetadataColumns,
    better: Sequence[str],
) -> None:
    roles = {}
    if prompts.names:
        roles["prompt"] = str(prompts)
    roles.update(prompts.roles)
    roles |= layout.roles
    if better:
        roles["better"] = TOGETHER.join(better)
        if len(better) > 1:
            side = "lower" if _are_ranks(better) else "higher"
            layout.details["better"] = f"the {side} number"
            layout.details.pop("answers", None)
    layout.roles = roles | metadata.roles
    layout.used |= {*prompts.all, *better, *metadata.roles.values()}
