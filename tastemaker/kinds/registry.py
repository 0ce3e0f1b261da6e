"""Links: from a score to what people said. To add a kind of judgement: a record, a likelihood, a link, a row here."""

from collections.abc import Sequence

from tastemaker.data.judgements import Comparison, Grade, Judgement, Label, Ranking, Rating
from tastemaker.kinds.base import NO_AIDS, Likelihood, Link
from tastemaker.kinds.several import ComparisonLink, RankingLink
from tastemaker.kinds.single import GradeLink, LabelLink, RatingLink

__all__ = [
    "LINKS",
    "ComparisonLink",
    "GradeLink",
    "LabelLink",
    "Link",
    "RankingLink",
    "RatingLink",
    "links_from",
]

LINKS: dict[type[Judgement], type[Link]] = {
    Label: LabelLink,
    Grade: GradeLink,
    Rating: RatingLink,
    Comparison: ComparisonLink,
    Ranking: RankingLink,
}
"""Which link each kind of judgement has: the one place to add a row for a new kind."""


def links_from(
    judgements: Sequence[Judgement], likelihood: Likelihood = NO_AIDS
) -> dict[type[Judgement], Link]:
    """Return a fresh link for every kind among the judgements, in the order of `LINKS`.

    The first link's slope is fixed at 1: it says how large a score of 1 is while the backbone learns, or else slopes
    could grow while weights shrink and no penalty on the weights would mean anything.
    """
    by_kind = {kind: [j for j in judgements if type(j) is kind] for kind in LINKS}
    links = {
        kind: LINKS[kind].from_judgements(found, likelihood)
        for kind, found in by_kind.items()
        if found
    }
    for link in links.values():
        link.aids = likelihood
    for first in list(links.values())[:1]:
        first.slope.requires_grad_(False)
    return links
