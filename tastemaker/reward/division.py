"""The judgements that teach and those that only measure."""

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
_ENOUGH_OF_A_JUDGE = (
    20  # judgements on average; with fewer, reliabilities are mostly their prior
)


@dataclass(frozen=True)
class Division:
    """Two corpora, read with the same links and judges, and a digest of all that was said."""

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
        said: dict[str, list[Judgement]] = {}
        for judgement in self.train_judgements:
            said.setdefault(judgement.source, []).append(judgement)
        if len(said) < 2 or not any(
            example.prompt is not None for example in self.train.examples
        ):
            what = (
                "all judgements are of one source"
                if len(said) < 2
                else "no judgement has a prompt"
            )
            raise DataError(
                f"experts: {what}, so nothing tells their tastes apart. Leave experts out."
            )
        found = {}
        for source in sorted(said):
            if len(said[source]) < _ENOUGH_FOR_AN_EXPERT:
                raise DataError(
                    f"experts: {source or 'the source without a name'} has "
                    f"{len(said[source])} judgements to learn "
                    f"from, and an expert needs {_ENOUGH_FOR_AN_EXPERT}. Put them "
                    "into the file of another source."
                )
            links = links_from(said[source], self.likelihood)
            same = [
                j
                for j in self.held_out_judgements
                if j.source == source and type(j) in links
            ]
            measured = same or [j for j in self.held_out_judgements if type(j) in links]
            train, held_out = (
                Corpus.of(part, links, self.train.judges)
                for part in (said[source], measured)
            )
            found[source] = Division(
                train, held_out, said[source], measured, self.likelihood, self.digest
            )
        return found


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
    known = [j for j in measured if type(j) in links]
    judges = _judges(train, likelihood)
    corpus = Corpus.of(train, links, judges)
    digest = digest_of_said([*train, None, *known])
    return Division(
        corpus, Corpus.of(known, links, judges), train, known, likelihood, digest
    )


def digest_of_said(said: Iterable[Judgement | Example | None]) -> str:
    """Return 32 hex digits that change with every judgement or text, and with their order; None
    parts two sides.
    """
    return hashlib.blake2b(
        repr([*said]).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()


def _judges(judgements: Sequence[Judgement], likelihood: Likelihood) -> list[str]:
    """Return the judges whose reliability is learned: all who are named, if that was asked for or
    there are enough.
    """
    counts = Counter(j.judge for j in judgements if j.judge is not None)
    if likelihood.judges is None:
        wanted = len(counts) > 1 and counts.total() >= _ENOUGH_OF_A_JUDGE * len(counts)
    else:
        wanted = likelihood.judges
    if wanted and not counts:
        raise DataError(
            "the reliability of judges was asked for, but no judgement names its judge."
        )
    return sorted(counts) if wanted else []


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
