"""The division of judgements into a training corpus and a held-out corpus."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tastemaker.data.judgements import Example, Judgement, fingerprint
from tastemaker.data.splitting import split, split_for_a_fit
from tastemaker.errors import DataError
from tastemaker.kinds.base import Likelihood
from tastemaker.kinds.registry import links_from
from tastemaker.reward.corpus import Corpus
from tastemaker.reward.observation import ObservationModel

MOST_HELD_OUT = 1000
_ENOUGH_FOR_AN_EXPERT = 50  # judgements
# judgements on average; with fewer, reliabilities are mostly their prior
_ENOUGH_OF_A_JUDGE = 20


@dataclass(frozen=True)
class Division:
    """Two corpora with the same links and judges, and a digest of all judgements."""

    train: Corpus
    held_out: Corpus
    train_judgements: Sequence[Judgement]
    held_out_judgements: Sequence[Judgement]
    likelihood: Likelihood
    digest: str

    def fresh_model(self) -> ObservationModel:
        """Return an untrained observation model of the training judgements."""
        return ObservationModel(
            links_from(self.train_judgements, self.likelihood),
            self.likelihood,
            self.train,
        )

    def by_source(self) -> "dict[str, Division]":
        """Return a division for each source of judgements, by name; judges are those of all.

        Raises DataError where there are fewer than two, no prompt, or too few judgements of a
        source.
        """
        by_source: dict[str, list[Judgement]] = {}
        for judgement in self.train_judgements:
            by_source.setdefault(judgement.source, []).append(judgement)
        what = ""
        if len(by_source) < 2:
            what = "all judgements are of one source"
        elif all(example.prompt is None for example in self.train.examples):
            what = "no judgement has a prompt"
        if what:
            raise DataError(
                f"experts: {what}, so nothing tells their tastes apart. Leave experts out."
            )
        divisions = {}
        for source in sorted(by_source):
            of_source = by_source[source]
            if len(of_source) < _ENOUGH_FOR_AN_EXPERT:
                raise DataError(
                    f"experts: {source or 'the source without a name'} has "
                    f"{len(of_source)} judgements to learn "
                    f"from, and an expert needs {_ENOUGH_FOR_AN_EXPERT}. Put them "
                    "into the file of another source."
                )
            links = links_from(of_source, self.likelihood)
            learned = [j for j in self.held_out_judgements if type(j) in links]
            measured = [j for j in learned if j.source == source] or learned
            train = Corpus.of(of_source, links, self.train.judges)
            held_out = Corpus.of(measured, links, self.train.judges)
            divisions[source] = Division(
                train, held_out, of_source, measured, self.likelihood, self.digest
            )
        return divisions


def divide(
    judgements: Sequence[Judgement],
    held_out: float | Sequence[Judgement] | None,
    likelihood: Likelihood,
    seed: int,
) -> Division:
    """Split by text and prompt, unless the held-out judgements are given, and read both sides with
    the same links.

    held_out: the judgements that only measure, or how many as `split` counts them; None: a tenth of
    the texts, at most 1,000. Given ones of a kind that is not learned are left out. Raises
    DataError where chats and plain prompts are mixed, and where judges are to be learned and none
    is named; UsageError for a share that cannot be.
    """
    _check_prompts(judgements)
    if held_out is None:
        texts = len({fingerprint(text) for j in judgements for text in j.texts})
        groups = len(
            {j.prompt if j.prompt is not None else j.texts for j in judgements}
        )
        train, measured = split_for_a_fit(
            judgements, most=min(MOST_HELD_OUT, texts // 10, groups // 5), seed=seed
        )
    elif isinstance(held_out, float | int):
        train, measured = split(judgements, held_out=held_out, seed=seed)
    else:
        train, measured = list(judgements), list(held_out)
    links = links_from(train, likelihood)
    measured = [j for j in measured if type(j) in links]
    judges = _judges(train, likelihood)
    corpus = Corpus.of(train, links, judges)
    held_out_corpus = Corpus.of(measured, links, judges)
    digest = digest_of_said([*train, None, *measured])
    return Division(corpus, held_out_corpus, train, measured, likelihood, digest)


def digest_of_said(items: Iterable[Judgement | Example | None]) -> str:
    """Return 32 hex digits that depend on the items and their order. None separates two sides."""
    text = repr([*items]).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _judges(judgements: Sequence[Judgement], likelihood: Likelihood) -> list[str]:
    """Return the judges whose reliability is learned: all named ones, or none.

    They are learned if the likelihood says so, or by default if there are enough judgements.
    """
    counts = Counter(j.judge for j in judgements if j.judge is not None)
    if likelihood.judges is None:
        enough = _ENOUGH_OF_A_JUDGE * len(counts)
        is_learned = len(counts) > 1 and counts.total() >= enough
    else:
        is_learned = likelihood.judges
    if is_learned and not counts:
        raise DataError(
            "the reliability of judges was asked for, but no judgement names its judge."
        )
    return sorted(counts) if is_learned else []


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
