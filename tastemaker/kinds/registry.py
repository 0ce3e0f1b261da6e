"""The registry of links. A new kind of judgement is one module and one entry here."""

from collections.abc import Sequence

from tastemaker.data.judgements import RECORDS, Judgement
from tastemaker.errors import UsageError
from tastemaker.kinds.base import NO_AIDS, Likelihood, Link
from tastemaker.kinds.comparison import ComparisonLink
from tastemaker.kinds.grade import GradeLink
from tastemaker.kinds.label import LabelLink
from tastemaker.kinds.ranking import RankingLink
from tastemaker.kinds.rating import RatingLink

LINKS: dict[type[Judgement], type[Link]] = {
    link.record: link
    for link in (LabelLink, GradeLink, RatingLink, ComparisonLink, RankingLink)
}
"""The link of each kind of judgement."""


def register(link: type[Link]) -> None:
    """Register a kind of judgement, before rows of it are read or a model of it is loaded.

    link: `link.record` is the kind's record. Raises UsageError for a name that another record has.
    """
    registered = RECORDS.setdefault(link.record.kind, link.record)
    if registered is not link.record:
        raise UsageError(
            f"the kind {link.record.kind!r} has a record already: {registered.__name__}."
        )
    LINKS[link.record] = link


def links_from(
    judgements: Sequence[Judgement], likelihood: Likelihood = NO_AIDS
) -> dict[type[Judgement], Link]:
    """Return a fresh link for each kind among the judgements, in the order of `LINKS`.

    The first link's slope is fixed at 1: it sets the unit of the score while the backbone learns.
    Otherwise slopes could grow while weights shrink, and a penalty on weights would mean nothing.
    """
    links: dict[type[Judgement], Link] = {}
    for record, link_class in LINKS.items():
        of_kind = [
            judgement for judgement in judgements if type(judgement) is record
        ]
        if not of_kind:
            continue
        link = link_class.from_judgements(of_kind, likelihood)
        link.aids = likelihood
        if not links:
            link.slope.requires_grad_(False)
        links[record] = link
    return links


def why_no_order(
    judgements: Sequence[Judgement],
) -> dict[type[Judgement], str]:
    """Return a sentence for each kind whose judgements are all alike and cannot order texts."""
    by_kind: dict[type[Judgement], list[Judgement]] = {}
    for judgement in judgements:
        by_kind.setdefault(type(judgement), []).append(judgement)
    reasons = {}
    for record, of_kind in by_kind.items():
        reason = LINKS[record].why_no_order(of_kind)
        if reason:
            reasons[record] = reason
    return reasons
