"""The division of judgements: what is learned from, what calibrates, what measures."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tastemaker.data.judgements import Example, Judgement, fingerprint
from tastemaker.data.splitting import Related, related, split, split_for_a_fit
from tastemaker.errors import DataError
from tastemaker.kinds.base import Likelihood
from tastemaker.kinds.registry import links_from, why_no_order
from tastemaker.near_copies import STORED, Sketches
from tastemaker.reward.corpus import Corpus

MOST_HELD_OUT = 1000
_FEWEST_TO_VALIDATE = 20  # texts or prompts
_FEW_VALIDATE = 100  # texts
_ENOUGH_FOR_AN_EXPERT = 50  # judgements
# judgements on average; with fewer, reliabilities are mostly their prior
_ENOUGH_OF_A_JUDGE = 20


@dataclass(frozen=True)
class Division:
    """Three corpora with the same links and judges, and a digest of all judgements.

    train: what is learned from. validation: what chooses the best weights of a network and
    calibrates links; empty where links are calibrated by cross-fitting. held_out: what the
    evaluation of the finished model measures, and nothing else makes use of its judgements.
    relatives: the near-copies and shared beginnings that are on one side; their numbers are 0 where
    the held-out judgements were given. not_learned: what the judgements could not teach, a sentence
    each. orders_texts: whether the training judgements tell texts apart; if not, every text gets
    the same score.
    """

    train: Corpus
    validation: Corpus
    held_out: Corpus
    train_judgements: Sequence[Judgement]
    validation_judgements: Sequence[Judgement]
    held_out_judgements: Sequence[Judgement]
    likelihood: Likelihood
    digest: str
    relatives: Related
    not_learned: tuple[str, ...] = ()
    orders_texts: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return how many texts and judgements each part has, and the digest."""
        judgements = {}
        for kind, evidence in self.train.evidence.items():
            judgements[kind.kind] = len(evidence)
        return {
            "texts": len(self.train),
            "judgements": judgements,
            "validation": len(self.validation),
            "held_out": len(self.held_out),
            "near_copies": self.relatives.near_copies,
            "shared_beginnings": self.relatives.beginnings,
            "digest": self.digest,
            "not_learned": list(self.not_learned),
        }

    @property
    def training_sketches(self) -> Sketches:
        """The sketches of the training texts, which find their near-copies."""
        texts = {example.text for example in self.train.examples}
        return self.relatives.sketches_of(texts)[:, :STORED]

    def by_source(self) -> "dict[str, Division]":
        """Return a division for each source of judgements, by name; judges are those of all.

        Raises DataError where there are fewer than two, no prompt, or too few judgements of a
        source.
        """
        by_source: dict[str, list[Judgement]] = {}
        for judgement in self.train_judgements:
            by_source.setdefault(judgement.source, []).append(judgement)
        reason = ""
        if len(by_source) < 2:
            (name,) = by_source
            reason = (
                f"all judgements are of one source, {name!r} (files of one name are told apart "
                "where they are read together, as a list)"
            )
        elif all(example.prompt is None for example in self.train.examples):
            reason = "no judgement has a prompt"
        if reason:
            raise DataError(
                f"experts: {reason}, so nothing tells their tastes apart. Leave experts out."
            )
        divisions = {}
        for source in sorted(by_source):
            of_source: Sequence[Judgement] = by_source[source]
            if len(of_source) < _ENOUGH_FOR_AN_EXPERT:
                raise DataError(
                    f"experts: {source or 'the source without a name'} has "
                    f"{len(of_source)} judgements to learn "
                    f"from, and an expert needs {_ENOUGH_FOR_AN_EXPERT}. Put them "
                    "into the file of another source."
                )
            of_source, _, orders_texts = _that_can_teach(of_source)
            links = links_from(of_source, self.likelihood)
            learned = [j for j in self.held_out_judgements if type(j) in links]
            measured = [j for j in learned if j.source == source] or learned
            train = Corpus.of(of_source, links, self.train.judges)
            held_out = Corpus.of(measured, links, self.train.judges)
            validated = [
                j for j in self.validation_judgements if type(j) in links
            ]
            validated = [
                j for j in validated if j.source == source
            ] or validated
            divisions[source] = replace(
                self,
                train=train,
                validation=Corpus.of(validated, links, self.train.judges),
                held_out=held_out,
                train_judgements=of_source,
                validation_judgements=validated,
                held_out_judgements=measured,
                orders_texts=orders_texts,
            )
        return divisions


def divide(
    judgements: Sequence[Judgement],
    held_out: float | Sequence[Judgement] | None,
    likelihood: Likelihood,
    seed: int,
    *,
    validates: bool = False,
) -> Division:
    """Split by text and prompt, unless the held-out judgements are given, and read all parts with
    the same links.

    validates: whether a part chooses weights and calibrates links: a tenth of the texts, up to a
    fifth of few, at most 1,000. Where fewer than 20 texts or prompts remain, the held-out part does
    that too.

    held_out: the judgements that only measure, or how many as `split` counts them; None: a tenth of
    the texts, at most 1,000. Given ones of a kind that is not learned are left out. Raises
    DataError where chats and plain prompts are mixed, and where judges are to be learned and none
    is named; UsageError for an invalid share.
    """
    _check_prompts(judgements)
    train: Sequence[Judgement]
    measured: Sequence[Judgement]
    relatives = related(judgements)
    if held_out is None:
        texts = len(
            {fingerprint(text) for j in judgements for text in j.texts}
        )
        groups = len(
            {j.texts if j.prompt is None else j.prompt for j in judgements}
        )
        most = min(MOST_HELD_OUT, texts // 10, groups // 5)
        train, measured = split_for_a_fit(
            judgements, most=most, seed=seed, relatives=relatives
        )
    elif isinstance(held_out, float | int):
        train, measured = split(
            judgements, held_out=held_out, seed=seed, relatives=relatives
        )
    else:
        train, measured = list(judgements), list(held_out)
        relatives = replace(relatives, near_copies=0, beginnings=0)
    validated: Sequence[Judgement] = []
    if validates:
        train, validated = _validation(train, measured, seed, relatives)
    train, not_learned, orders_texts = _that_can_teach(train)
    links = links_from(train, likelihood)
    measured = [j for j in measured if type(j) in links]
    validated = [j for j in validated if type(j) in links]
    judges, why_none = _judges(train, likelihood)
    if not orders_texts:
        judges = []
    elif why_none:
        not_learned.append(why_none)
    corpus = replace(Corpus.of(train, links, judges), groups=relatives.names)
    digest = digest_of_items([*train, None, *validated, None, *measured])
    return Division(
        train=corpus,
        validation=Corpus.of(validated, links, judges),
        held_out=Corpus.of(measured, links, judges),
        train_judgements=train,
        validation_judgements=validated,
        held_out_judgements=measured,
        likelihood=likelihood,
        digest=digest,
        relatives=relatives,
        not_learned=tuple(not_learned),
        orders_texts=orders_texts,
    )


def _that_can_teach(
    judgements: Sequence[Judgement],
) -> tuple[Sequence[Judgement], list[str], bool]:
    """Return the judgements of kinds that teach, a sentence about each other kind, and whether any
    kind teaches.

    A kind whose judgements are all alike (labels of one class, ties alone) teaches nothing. It is
    left out, unless that is true of every kind: then the model knows base rates alone.
    """
    reasons = why_no_order(judgements)
    rest = [j for j in judgements if type(j) not in reasons]
    if rest or not reasons:
        return (
            rest,
            [f"{why} They were left out." for why in reasons.values()],
            True,
        )
    sentences = [*reasons.values(), "Every text gets the same score, 0."]
    return judgements, sentences, False


def _validation(
    train: Sequence[Judgement],
    measured: Sequence[Judgement],
    seed: int,
    relatives: Related,
) -> tuple[Sequence[Judgement], Sequence[Judgement]]:
    """Return the training judgements without a validation part, and that part."""
    texts = len({fingerprint(text) for j in train for text in j.texts})
    groups = len({j.texts if j.prompt is None else j.prompt for j in train})
    if groups < _FEWEST_TO_VALIDATE:
        return train, measured
    most = min(MOST_HELD_OUT, max(texts // 10, min(_FEW_VALIDATE, texts // 5)))
    return split_for_a_fit(
        train, most=most, seed=seed + 1, relatives=relatives
    )


def digest_of_items(items: Iterable[Judgement | Example | None]) -> str:
    """Return 32 hex digits that depend on the items and their order. None separates two sides."""
    text = repr([*items]).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _judges(
    judgements: Sequence[Judgement], likelihood: Likelihood
) -> tuple[list[str], str]:
    """Return the judges who are told apart, all named ones or none, and why there are none.

    They are told apart if `likelihood.judges` is set, or by default from enough judgements. The
    reason is empty where nobody is named, or where it was asked for.
    """
    counts = Counter(j.judge for j in judgements if j.judge is not None)
    if likelihood.judges is not None:
        if likelihood.judges and not counts:
            raise DataError(
                "the reliability of judges was asked for, but no judgement names its judge."
            )
        return (sorted(counts) if likelihood.judges else []), ""
    if len(counts) == 1:
        return [], (
            f"all judgements are by one judge, {next(iter(counts))}: "
            "how judges differ could not be learned."
        )
    mean = counts.total() / max(1, len(counts))
    if counts and mean < _ENOUGH_OF_A_JUDGE:
        return [], (
            f"{len(counts):,} judges have {mean:.1f} judgements each on average: how they differ "
            f"could not be learned, for that takes about {_ENOUGH_OF_A_JUDGE}. "
            "All are treated alike (--judges learns the differences in any case)."
        )
    return sorted(counts), ""


def _check_prompts(judgements: Sequence[Judgement]) -> None:
    """Raise DataError for chats beside plain prompts: no template reads both alike."""
    first: dict[bool, Judgement] = {}
    for judgement in judgements:
        if judgement.prompt is not None:
            first.setdefault(isinstance(judgement.prompt, tuple), judgement)
    if len(first) == 2:
        chat, text = first[True], first[False]
        raise chat.wrong(
            f"answers a chat, but {text.where or 'another judgement'} answers a plain text. "
            "Give all prompts as chats (lists of messages with a role and a content) "
            "or all as texts."
        )


def check_there_is_something(
    judgements: Sequence[Judgement], anchor: Sequence[Example] | None
) -> None:
    """Raise DataError where there is nothing to learn from, or an anchor without texts."""
    if not judgements:
        raise DataError("no judgements to learn from: the source is empty.")
    if anchor is not None and not anchor:
        raise DataError(
            "the anchor holds no texts. Give some, or leave it out."
        )
