"""WMT's MQM lists: translations of one segment, each with the penalty that experts gave it; lower is better."""

import math

from tastemaker.data.formats.base import Format, records_of, tiers_of
from tastemaker.data.judgements import Judgement, Ranking
from tastemaker.data.metadata import Metadata
from tastemaker.data.tables import Row
from tastemaker.data.values import answer_of, number_of, show, text_of
from tastemaker.errors import DataError

# Penalties are means over raters of multiples of 0.1, published with four digits. The fourth of a mean of such means is
# an accident ((2.6667 + 4) / 2 against 3.3333), so ties are looked for in three.
_DIGITS = 3


def _mqm(row: Row, metadata: Metadata) -> list[Judgement]:
    """Systems that wrote the same text are one answer, with the mean of their penalties."""
    where = metadata["where"]
    penalties: dict[str, list[float]] = {}
    for candidate in records_of(row["candidates"], where, "candidates"):
        text = answer_of(candidate.get("text"), where, "text")
        penalties.setdefault(text, []).append(
            number_of(candidate.get("mqm_penalty"), where, "mqm_penalty")
        )
    if len(penalties) == 1:
        raise DataError(
            f"{where}: all candidates are one text ({show(next(iter(penalties)))}). Remove the row."
        )
    means = [
        (round(math.fsum(given) / len(given), _DIGITS), text) for text, given in penalties.items()
    ]
    return [Ranking(tiers_of(means), prompt=text_of(row["source"], where, "source"), **metadata)]


MQM = Format("mqm", ("source", "candidates"), _mqm, (Ranking,))
