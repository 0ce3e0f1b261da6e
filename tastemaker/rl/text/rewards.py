"""Rewards: anything that maps completions to numbers.

| spec | what it is |
|---|---|
| `taste/` | a reward model's folder |
| `rules:short` | a function of your own, `module:name(prompts, completions) -> scores`; TRL's too |
| `http://host` | a server of ours, OpenRLHF's, TEI's or vLLM's, by what it answers |
| `http://host/path` | the same; where it shows none of these, it is asked as OpenRLHF's is: |
| | takes `{"query", "prompts", "labels"}`, returns `{"rewards"}` |
| `length` | how many tokens |
| `repetition` | the share of word triples that occur earlier in the text |
| `missing-end` | 1 for a completion without an end |
| `gold` | the playground's true score |

The token of a server is in the variable TASTEMAKER_TOKEN. `=` and a number after a spec are its
weight: `repetition=-2`. Several rewards are added up.
"""

import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from tastemaker import processes
from tastemaker.data.judgements import Example
from tastemaker.errors import RewardError, UsageError
from tastemaker.fast.processor import DeviceChoice, choose_device
from tastemaker.gpt.best import Scorer, to_be_scored
from tastemaker.gpt.writing import Completion
from tastemaker.playground.gold import gold_score
from tastemaker.reward.model import RewardModel
from tastemaker.rl.own_modules import own_module
from tastemaker.rl.text.reward_calls import called, check_call
from tastemaker.scores import Caution
from tastemaker.serve.asking import asked, request_of
from tastemaker.serve.client import (
    OPENRLHF,
    OWN,
    RemoteReward,
    base_of,
    check_address,
    remote_reward,
    shown_address,
    token_of_server,
    wire_at,
    wire_by_path,
)

_WORST = -3.0
"""The score of a completion without a word: 3 standard deviations below the reference texts."""
_ADDRESS = ("http://", "https://")
_SECRET = re.compile("token|key|secret|password|auth|signature", re.IGNORECASE)
"""Names in a query whose values may change while the reward is the same."""
_LABEL_COLUMNS = ("label", "labels", "ground_truth", "answer", "solution")
"""Columns of the prompts' file that OpenRLHF's wire gets as `labels`; the first that is there."""


_T = TypeVar("_T")


def _within(
    seconds: float, call: Callable[[], _T]
) -> tuple[list[_T], BaseException | None]:
    """Return ([result], error) of a call; ([], None) where it takes longer than the limit.

    A call that takes longer goes on in a daemon thread, which does not keep the process alive.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    error = errors[0] if errors else None
    return results[:], error


class Reward(Protocol):
    """Anything that scores completions."""

    @property
    def name(self) -> str:
        """The name in messages."""
        ...

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return one number for each completion, in order."""
        ...


@dataclass(frozen=True)
class ModelReward:
    """A reward model's score. caution: of an ensemble, see `Scores.cautious`."""

    model: Scorer
    name: str = "the reward model"
    caution: Caution = 0.0

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return the scores; a completion without a word gets −3."""
        places = [i for i, c in enumerate(completions) if c.text.strip()]
        scores = [_WORST] * len(completions)
        if not places:
            return scores
        texts = [to_be_scored(completions[i]) for i in places]
        model_scores = (
            self.model.score_all(texts).cautious(self.caution).as_list()
        )
        for i, score in zip(places, model_scores, strict=True):
            scores[i] = score
        return scores


@dataclass(frozen=True)
class FunctionReward:
    """A function (prompts, completions) -> scores of lists of texts. seconds: its time limit.

    `reward_calls` says which functions are called by keyword, as TRL does. None counts as 0.
    """

    function: Callable[..., Any]
    name: str = "the reward function"
    seconds: float = 600.0

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return what the function returns.

        Raises RewardError where it raises or takes too long.
        """
        results, error = _within(
            self.seconds,
            lambda: called(self.function, completions, self.name),
        )
        if isinstance(error, RewardError):
            raise error
        if error is not None:
            message = " ".join(str(error).split())
            raise RewardError(
                f"{self.name} raised {type(error).__name__}: {message}"
            ) from error
        if not results:
            raise RewardError(
                f"{self.name} did not answer within {self.seconds:g} seconds."
            )
        return results[0]


@dataclass(frozen=True)
class HttpReward:
    """An address of OpenRLHF's wire. It gets a column of the prompts' file as labels.

    seconds: the time limit of a whole answer. retries: how often a request is repeated that was
    refused for overload or not answered; the waits double, with jitter. token: of the server.
    """

    address: str
    seconds: float = 60.0
    retries: int = 4
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_address(self.address)

    @property
    def name(self) -> str:
        """The address without what may hold a token: a query, and a path that is no wire's."""
        return shown_address(self.address)

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return the rewards of the answer.

        Raises RewardError for no answer, or one without rewards.
        """
        body = OPENRLHF.body([Example(c.text, c.prompt) for c in completions])
        labels = _labels(completions)
        if labels:
            body["labels"] = labels
        headers = (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        # a cell of a table may be a date
        content = json.dumps(body, default=str, allow_nan=False).encode()
        request = request_of(self.address, headers, content)
        reply = asked(request, self.seconds, self.retries)
        if reply.status != 200 or reply.problem:
            raise RewardError(f"{self.name} {reply}")
        rewards = OPENRLHF.scores(reply.value, len(completions))
        if rewards is None:
            raise RewardError(
                f"{self.name} answered without {len(completions)} rewards: "
                'expected {"rewards": [numbers]}.'
            )
        return rewards


def _labels(completions: Sequence[Completion]) -> list[Any]:
    """Return what each prompt's row says is right; none where no row has such a column."""
    names: set[str] = set()
    for completion in completions:
        names.update(completion.columns)
    for name in _LABEL_COLUMNS:
        if name in names:
            return [_label(c.columns.get(name)) for c in completions]
    return []


def _label(cell: Any) -> Any:
    """Return a cell of labels as JSON has it: no NaN and no infinity, also inside a list."""
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    if isinstance(cell, Mapping):
        return {key: _label(value) for key, value in cell.items()}
    return list(map(_label, cell)) if isinstance(cell, list | tuple) else cell


@dataclass(frozen=True)
class TextReward:
    """A count over one completion."""

    name: str
    count: Callable[[Completion], float]

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return the counts."""
        return [self.count(completion) for completion in completions]


@dataclass(frozen=True)
class SumReward:
    """Several rewards, each with a weight."""

    parts: tuple[tuple[float, Reward], ...]

    @property
    def name(self) -> str:
        """The weights and names of the parts."""
        return " + ".join(
            f"{weight:g} × {part.name}" for weight, part in self.parts
        )

    def score(self, completions: Sequence[Completion]) -> list[float]:
        """Return the weighted sums."""
        sums: list[float] = [0] * len(completions)
        for weight, part in self.parts:
            scores = checked(part, completions)
            sums = [
                total + weight * score
                for total, score in zip(sums, scores, strict=True)
            ]
        return sums


def checked(reward: Reward, completions: Sequence[Completion]) -> list[float]:
    """Return a reward's scores as floats.

    Raises RewardError for too few, for what is no number, and for NaN.
    """
    scores: Sequence[Any] = reward.score(completions)
    if len(scores) != len(completions):
        raise RewardError(
            f"{reward.name} returned {len(scores)} scores for {len(completions)} completions."
        )
    for number, value in enumerate(scores):
        # a tensor or array of one number
        is_scalar = getattr(value, "ndim", 1) == 0
        is_number = isinstance(value, Real) or is_scalar
        if not is_number:
            raise RewardError(
                f"{reward.name} returned {value!r} for a score: expected a number."
            )
        if not math.isfinite(value):
            text = completions[number].text[:80]
            raise RewardError(
                f"{reward.name} returned {float(value)} for the completion {text!r}."
            )
    return [float(value) for value in scores]


def check_calls(
    rewards: Iterable[Reward | None], columns: Sequence[Mapping[str, Any]]
) -> None:
    """Raise RewardError for a function that cannot be called, before anything is written.

    columns: what else the rows of the prompts hold.
    """
    names: dict[str, None] = {}
    for row in columns:
        names.update(dict.fromkeys(row))
    for reward in rewards:
        if isinstance(reward, SumReward):
            check_calls([part for _, part in reward.parts], columns)
        if isinstance(reward, FunctionReward):
            check_call(reward.function, names, reward.name)


def shared_scores(
    reward: Reward, completions: Sequence[Completion]
) -> list[float]:
    """Return `checked` scores; several processes share the work where each text counts by itself.

    The first process alone asks a function of the user's own and an address: they may look at all
    completions, or count their calls.
    """
    if not _is_by_text(reward):
        return processes.on_first(lambda: checked(reward, completions))
    part = processes.stretch(len(completions))
    by_process = processes.gathered(
        lambda: checked(reward, completions[part.start : part.stop])
    )
    return [score for scores in by_process for score in scores]


def _is_by_text(reward: Reward) -> bool:
    """Return whether a reward scores each text by itself, in any process."""
    if isinstance(reward, SumReward):
        return all(_is_by_text(part) for _, part in reward.parts)
    if isinstance(reward, ModelReward):
        return isinstance(reward.model, RewardModel)
    return isinstance(reward, TextReward)


def identity(reward: Reward) -> Any:
    """Return the identity of a reward, JSON-ready: its name and the digest of its weights."""
    if isinstance(reward, SumReward):
        return [[weight, identity(part)] for weight, part in reward.parts]
    if isinstance(reward, ModelReward) and isinstance(
        reward.model, RewardModel
    ):
        return [reward.name, reward.model.contract.weights]
    address = _address_of(reward)
    if address is None:
        return reward.name
    # two addresses may have one name
    parts = urlsplit(address)
    named = [
        pair for pair in parse_qsl(parts.query) if not _SECRET.search(pair[0])
    ]
    place = parts._replace(query=urlencode(named), fragment="").geturl()
    digest = hashlib.sha256(place.encode()).hexdigest()
    return [reward.name, digest[:16]]


def _address_of(reward: Reward) -> str | None:
    """Return the address that a reward asks; None for one that asks none."""
    if isinstance(reward, HttpReward):
        return reward.address
    model = reward.model if isinstance(reward, ModelReward) else None
    return model.address if isinstance(model, RemoteReward) else None


def repeated(completion: Completion) -> float:
    """Return the share of word triples that occur earlier in the text, 0 … 1."""
    words = completion.text.split()
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


_COUNTED: dict[str, Callable[[Completion], float]] = {
    "length": lambda completion: float(len(completion.ids)),
    "repetition": repeated,
    "missing-end": lambda completion: float(completion.ended == "length"),
    "gold": lambda completion: gold_score(completion.text),
}


def beside(
    device: DeviceChoice, *, trust_remote_code: bool = False
) -> dict[str, Any]:
    """Return how `reward_of` opens a model beside a policy: on its device.

    On a GPU, where memory is short, weights keep the number format in which they were saved. On a
    CPU the scores are those of `tm.load` without settings. Raises UsageError for a device that
    this machine does not have.
    """
    is_cpu = choose_device(device).type == "cpu"
    return {
        "device": device,
        "dtype": "float32" if is_cpu else "auto",
        "trust_remote_code": trust_remote_code,
    }


def reward_of(spec: Any, *, caution: Caution = 0.0, **loading: Any) -> Reward:
    """Return the reward of a spec, a list of specs, a reward model or a function.

    caution: for reward models that are ensembles. loading: where and how the model of a folder or
    hub name is opened, as `tm.load` has it. Raises UsageError for anything else.
    """
    if isinstance(spec, (list, tuple)):
        parts = [_weighted(part, caution, loading) for part in spec]
        if not parts:
            raise UsageError(
                "no reward: name a reward model's folder, a function or an address."
            )
        weight, part = parts[0]
        is_single = len(parts) == 1 and weight == 1
        return part if is_single else SumReward(tuple(parts))
    if isinstance(spec, (str, Path)):
        weight, part = _weighted(spec, caution, loading)
        return part if weight == 1 else SumReward(((weight, part),))
    if hasattr(spec, "score_all"):
        return ModelReward(spec, caution=caution)
    if hasattr(spec, "score"):
        reward: Reward = spec
        return reward
    if callable(spec):
        return FunctionReward(
            spec, getattr(spec, "__name__", "the reward function")
        )
    raise UsageError(
        f"{spec!r} is no reward: give a reward model, a function, an address or a list of these."
    )


def _weighted(
    spec: Any, caution: Caution, loading: dict[str, Any]
) -> tuple[float, Reward]:
    if not isinstance(spec, (str, Path)):
        return 1.0, reward_of(spec, caution=caution, **loading)
    text = str(spec)
    weight = 1.0
    if "=" in text and not Path(text).exists():
        before, _, number = text.rpartition("=")
        try:
            text = before
            weight = float(number)
            if not math.isfinite(weight):
                raise ValueError
        except ValueError:
            if not before.startswith(_ADDRESS):
                raise UsageError(
                    f"reward {spec}: {number!r} behind = must be a number, its weight."
                ) from None
            text, weight = str(spec), 1.0  # an address with a query of its own
    return weight, _named(text, caution, loading)


def _at(address: str, caution: Caution) -> Reward:
    """Return the reward of an address: OpenRLHF's wire takes labels too, so it has its own.

    An address with a path is asked as OpenRLHF's, as it is, where nothing there shows another wire.
    Raises RewardError where the server does not answer.
    """
    remote = remote_reward(address)
    has_path = urlsplit(address).path not in ("", "/")
    wire = wire_by_path(address)
    if wire in (None, OWN):
        base = base_of(address) if has_path else address
        wire = wire_at(base, shown_address(base), remote.look)
        if wire is None and has_path:
            wire = OPENRLHF
    if wire is OPENRLHF:
        url = address if has_path else OPENRLHF.url(address)
        return HttpReward(url, token=token_of_server())
    return ModelReward(remote, remote.name, caution)


def _named(text: str, caution: Caution, loading: dict[str, Any]) -> Reward:
    if text in _COUNTED:
        return TextReward(text, _COUNTED[text])
    if text.startswith(_ADDRESS):
        return _at(text, caution)
    is_hub_name = re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", text) is not None
    if Path(text).is_dir() or is_hub_name:
        return ModelReward(RewardModel.load(text, **loading), text, caution)
    module, _, name = text.partition(":")
    if not (module.replace(".", "").isidentifier() and name.isidentifier()):
        raise UsageError(
            f"reward {text}: no such folder. Give a reward model's folder, module:function, "
            f"an http address, or one of {', '.join(_COUNTED)}."
        )
    try:
        function = getattr(own_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"reward {text}: {error}.") from error
    except (Exception, SystemExit) as error:  # a module is anyone's code
        message = " ".join(str(error).split())
        raise UsageError(
            f"reward {text}: the module {module} cannot be imported "
            f"({type(error).__name__}: {message})."
        ) from error
    return FunctionReward(function, text)
