"""Lines in, scores out, as they arrive: standard input of the verb `score`."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from tastemaker.bulk import Scorer, uncertainty_of
from tastemaker.data.judgements import Example
from tastemaker.errors import DataError
from tastemaker.fast.processor import ScoringChoice
from tastemaker.scores import Caution


class LineScore(NamedTuple):
    """A line and its score. truncated: the line was longer than the model reads.

    uncertainty: the standard deviation of an ensemble's members, where it was requested.
    """

    text: str
    score: float
    truncated: bool
    uncertainty: float | None = None


def score_lines(
    model: Scorer,
    lines: Iterable[str],
    *,
    precision: ScoringChoice = "float32",
    caution: Caution = 0.0,
    uncertainty: bool = False,
    chunk: int = 256,
) -> Iterator[LineScore]:
    """Yield the score of every line, in order. Each line is one text.

    chunk: how many lines are read before their scores come. caution, uncertainty: as in
    `score_file`. Raises DataError, with the line, for a line that is empty or not UTF-8; the scores
    of the lines before it come first.
    """
    texts = _texts(lines)
    error: DataError | None = None
    while error is None:
        examples: list[Example] = []
        try:
            for text in islice(texts, chunk):
                examples.append(Example(text))
        except DataError as bad_line:
            error = bad_line
        if not examples:
            break
        scores = model.score_all(examples, precision=precision).cautious(
            caution
        )
        deviations = (
            uncertainty_of(scores).tolist()
            if uncertainty
            else [None] * len(scores)
        )
        is_cut = scores.truncated.tolist()
        for place, value in enumerate(scores.as_list()):
            yield LineScore(
                examples[place].text, value, is_cut[place], deviations[place]
            )
    if error is not None:
        raise error


def _texts(lines: Iterable[str]) -> Iterator[str]:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            yield _text(line, number)
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input: not UTF-8 after line {number}. Convert it to UTF-8."
        ) from error


def _text(line: str, number: int) -> str:
    text = line.rstrip("\r\n")
    if not text.strip():
        raise DataError(
            f"standard input:{number}: the line is empty. Give one text a line."
        )
    try:
        text.encode()
    except (
        UnicodeEncodeError
    ) as error:  # Python may read stray bytes as half surrogate pairs
        raise DataError(
            f"standard input:{number}: not UTF-8. Convert it to UTF-8."
        ) from error
    return text
