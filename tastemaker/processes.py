"""Many processes that train one model: data parallel, through torch.distributed.

torchrun or accelerate launch starts them and tells each its number by environment variables. Each
process holds the whole model, or with `--shard` a share of it (`train/gradients.py`). The units of
a step are dealt out by size, each process computes the gradients of its own, and the gradients and
numbers are summed. So all processes take the same steps. Process 0 alone writes, logs and prints.
What it decides (early stop, the start of a resumed run) reaches the others by broadcast, and so do
errors.

Without these variables there is one process: nothing is imported, and each function here returns
at once.
"""

import copy
import heapq
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tastemaker.errors import LostProcess, TastemakerError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_TO_MEET = timedelta(minutes=10)
"""How long the first process waits for the others to start."""
_TO_ANSWER = timedelta(minutes=60)
"""How long a process waits for one that lives but does not answer: it may be saving a large model.

One that has died is noticed at once: its connections close.
"""
_TO_SPEAK = 5.0
"""Seconds in which the first process prints an error before another one does."""
_BUCKET = 2**24
"""Numbers of gradients that are summed at once."""
_REPORTED = "reported"
_OF_CONNECTIONS = ("gloo", "nccl", "distbackend", "connection")
"""Words in errors that another process caused by ending."""

_store: Any = None
"""Where processes leave their last words; None before `join`."""


def count() -> int:
    """Return how many processes train together; 1 unless torchrun or the like started this one."""
    if not all(name in os.environ for name in _VARIABLES):
        return 1
    return int(os.environ["WORLD_SIZE"])


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def local_rank() -> int:
    """Return the number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if count() > 1 else 0


def local_count() -> int:
    """Return how many of the processes run on this machine."""
    return (
        int(os.environ.get("LOCAL_WORLD_SIZE", count())) if count() > 1 else 1
    )


def is_first() -> bool:
    """Return whether this process writes, logs and prints."""
    return rank() == 0


def join() -> None:
    """Meet the other processes; return at once where there are none, or after the first time.

    Gloo carries what is on the CPU, NCCL what is on a GPU. Raises LostProcess where they do not
    come.
    """
    global _store  # noqa: PLW0603  one group a process
    if count() == 1:
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if dist.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(local_rank())
    try:
        handler = rendezvous("env://", timeout=_TO_MEET)
        store, number, size = next(iter(handler))
        dist.init_process_group(
            backend,
            store=torch.distributed.distributed_c10d.PrefixStore(
                "tastemaker", store
            ),
            rank=number,
            world_size=size,
            timeout=_TO_ANSWER,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LostProcess(
            f"the {count()} processes do not meet ({reason}). Start all of them by one torchrun, "
            "and on several machines with the same --rdzv-endpoint."
        ) from error
    _store = store


def refuse(what: str, advice: str) -> None:
    """Raise UsageError where there are several processes."""
    if count() > 1:
        raise UsageError(
            f"{what} works in one process, and {count()} were started. {advice}"
        )


# --- sharing work


def share(sizes: Sequence[int]) -> list[int]:
    """Return the places of the units that this process computes, in their order.

    sizes: how much work each unit is. The largest units are dealt first, each to the process with
    the least work so far.
    """
    if count() == 1:
        return list(range(len(sizes)))
    loads = [(0, number) for number in range(count())]
    places: list[list[int]] = [[] for _ in loads]
    for place in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        load, number = heapq.heappop(loads)
        places[number].append(place)
        heapq.heappush(loads, (load + int(sizes[place]), number))
    return sorted(places[rank()])


def stretch(size: int) -> range:
    """Return the places of this process's part of a list: one stretch, about as long as others."""
    first = size * rank() // count()
    return range(first, size * (rank() + 1) // count())


def check_enough(units: int, name: str) -> None:
    """Raise UsageError where a step has fewer units than there are processes. name: of the units"""
    if units < count():
        raise UsageError(
            f"a step has {units:,} {name}, which {count():,} processes cannot share. "
            "Start fewer processes, or choose a larger batch."
        )


def own_seed(seed: int) -> int:
    """Return a seed for what this process draws by itself: another one for each process."""
    return seed * count() + rank()


# --- what one process tells the others


@contextmanager
def answering() -> Iterator[None]:
    """Raise LostProcess where another process does not answer."""
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's, also for a time limit
        raise _lost() from error


@contextmanager
def answering_while_computing() -> Iterator[None]:
    """Raise LostProcess where another process does not answer; errors of computing stay."""
    try:
        yield
    except RuntimeError as error:
        words = f"{type(error).__name__} {error}".lower()
        if not any(word in words for word in _OF_CONNECTIONS):
            raise
        raise _lost() from error


def _lost() -> LostProcess:
    """Return the error that ends this process, with the last words of the one that ended before."""
    for number in range(count()):
        words = _last_words_of(number)
        if words is not None:
            code, lines = words
            error = LostProcess(_of_process(number, " ".join(lines)))
            error.exit_code = code
            return error
    return LostProcess(
        f"one of the {count()} processes has ended without a word: it was killed, or it ran out of "
        "memory. Go on with the same command and --resume."
    )


def _of_process(number: int, line: str) -> str:
    """Return an error's line with the number of its process."""
    return line if line.startswith("process ") else f"process {number}: {line}"


def _last_words_of(number: int) -> tuple[int, list[str]] | None:
    try:
        if _store is None or not _store.check([f"ended.{number}"]):
            return None
        code, lines = json.loads(_store.get(f"ended.{number}"))
    except RuntimeError:  # the store ended with its process
        return None
    return code, lines


def gathered(work: Callable[[], T]) -> list[T]:
    """Do some work in every process; return the results of all, in the processes' order.

    Every process raises the error of the first one that failed.
    """
    if count() == 1:
        return [work()]
    import torch.distributed as dist

    outcomes: list[Any] = [None] * count()
    mine, cause = _outcome(work)
    with answering():
        dist.all_gather_object(outcomes, mine)
    return [_result(outcome, cause) for outcome in outcomes]


def on_first(work: Callable[[], T]) -> T:
    """Do some work in the first process; return its result, or raise its error, in every one."""
    if count() == 1:
        return work()
    import torch
    import torch.distributed as dist

    outcome: tuple[Any, TastemakerError | None] = (None, None)
    cause: Exception | None = None
    if is_first():
        outcome, cause = _outcome(work)
    box = [outcome]
    with answering():
        dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
    result: T = _result(box[0], cause)
    return result


def from_first(value: T) -> T:
    """Return the first process's value of what every process has."""
    return value if count() == 1 else on_first(lambda: value)


def _outcome(
    work: Callable[[], Any],
) -> tuple[tuple[Any, TastemakerError | None], Exception | None]:
    """Return (result, error to send) of some work, and the error itself."""
    try:
        return (work(), None), None
    except Exception as error:
        return (None, _to_send(error)), error


def _to_send(error: Exception) -> TastemakerError:
    """Return an error that another process can raise."""
    if isinstance(error, TastemakerError):
        try:
            copy.copy(error)  # as it is sent
            return error
        except TypeError:  # its arguments are not those of its class
            pass
    message = " ".join(str(error).split())
    return LostProcess(
        _of_process(rank(), f"{type(error).__name__}: {message}")
    )


def _result(
    outcome: tuple[Any, TastemakerError | None], cause: Exception | None
) -> Any:
    """Return the result of an outcome. cause: this process's own error, which tells more."""
    result, error = outcome
    if error is None:
        return result
    if cause is not None:
        raise cause
    raise error


def any_of(is_true: bool) -> bool:
    """Return whether something is true in any process."""
    if count() == 1:
        return is_true
    import torch

    return bool(summed(torch.tensor([float(is_true)])) > 0)


def summed(tensor: "Tensor") -> "Tensor":
    """Add the other processes' tensors of the same shape to a tensor, in place; return it."""
    if count() > 1:
        import torch.distributed as dist

        with answering():
            dist.all_reduce(tensor)
    return tensor


def tensors_from_first(tensors: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Return the first process's tensors, by name. tensors: what this process has, on the CPU."""
    if count() == 1:
        return dict(tensors)
    import torch
    import torch.distributed as dist

    forms = {name: (t.shape, t.dtype) for name, t in tensors.items()}
    received = {}
    for name, (shape, dtype) in from_first(forms).items():
        tensor = torch.empty(shape, dtype=dtype)
        if is_first():
            tensor = tensors[name].contiguous()
        received[name] = tensor
        if not tensor.numel():
            continue
        with answering():
            # as bytes: gloo does not carry every number format
            dist.broadcast(tensor.reshape(-1).view(torch.uint8), 0)
    return received


def sum_gradients(parameters: Sequence["Tensor"]) -> None:
    """Add the other processes' gradients to `.grad`, which every process then has alike.

    A parameter that has a gradient nowhere stays without one.
    """
    import torch

    has_gradient = torch.tensor(
        [float(parameter.grad is not None) for parameter in parameters]
    )
    summed(has_gradient)
    bucket: list[Tensor] = []
    size = 0
    for parameter, processes in zip(
        parameters, has_gradient.tolist(), strict=True
    ):
        if not processes:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradient = parameter.grad
        is_unlike = bucket and (
            bucket[0].dtype != gradient.dtype
            or bucket[0].device != gradient.device
        )
        if is_unlike or size >= _BUCKET:
            _sum_bucket(bucket)
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        _sum_bucket(bucket)


def _sum_bucket(gradients: Sequence["Tensor"]) -> None:
    """Add the other processes' gradients to some of one number format, in place."""
    import torch

    flat = summed(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    sizes = [gradient.numel() for gradient in gradients]
    parts = torch.split(flat, sizes)
    for gradient, total in zip(gradients, parts, strict=True):
        gradient.copy_(total.view_as(gradient))


# --- shares of weights


def is_divided(module: Any) -> bool:
    """Return whether this process has only shares of a network's weights."""
    if "torch.distributed.fsdp" not in sys.modules:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)


# --- the same work


def check_alike(values: Mapping[str, Any]) -> None:
    """Raise UsageError for the first value that another process has otherwise.

    values: JSON-ready: settings, digests of data, versions.
    """
    if count() == 1:
        return
    join()
    texts = {key: json.dumps(value) for key, value in values.items()}
    of_all = gathered(lambda: texts)
    first = of_all[0]
    for number, other in enumerate(of_all[1:], 1):
        for key in [*first, *(key for key in other if key not in first)]:
            here, there = first.get(key), other.get(key)
            if here != there:
                raise UsageError(
                    f"the processes are unlike: {key} is {_short(here)} in process 0 "
                    f"and {_short(there)} in process {number}. "
                    "Give all of them the same command, data and version."
                )


def _short(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= 200 else f"{text[:200]} …"


# --- the end


def leave() -> None:
    """End the connections, where there are any."""
    if count() == 1 or _store is None:
        return
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def last_words(code: int, lines: Sequence[str]) -> list[str]:
    """Leave the group of processes; return the lines that this process must print.

    code: the exit code of this process. lines: its errors. One process prints: the first one if it
    lives, otherwise the process that noticed the error first.
    """
    if code == 0:
        leave()
        return []
    if _store is None:  # they have not met: all raise the same
        if not is_first():
            # torchrun ends the others once one has failed
            time.sleep(_TO_SPEAK / 2)
        return list(lines) if is_first() else []
    try:
        _store.set(f"ended.{rank()}", json.dumps([code, list(lines)]))
        # what the others wait for fails now
        leave()
        if not is_first():
            _wait_for_report()
        if _store.add(_REPORTED, 1) > 1:
            return []
        if is_first() and not _has_agent():
            _wait_for_others()
    except RuntimeError:  # the store ended with its process
        pass
    if is_first():
        return list(lines)
    return [_of_process(rank(), line) for line in lines]


def _has_agent() -> bool:
    """Return whether torchrun holds the store, so that it outlives the first process."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)


def _wait_for_others() -> None:
    """Wait some seconds at most until all others have asked who prints: the store ends with us."""
    end = time.monotonic() + _TO_SPEAK
    names = [f"ended.{number}" for number in range(count())]
    while time.monotonic() < end and not _store.check(names):
        time.sleep(0.05)
    time.sleep(_TO_SPEAK / 5)


def _wait_for_report() -> None:
    """Wait some seconds at most until another process has printed the error."""
    end = time.monotonic() + _TO_SPEAK
    try:
        while time.monotonic() < end and not _store.check([_REPORTED]):
            time.sleep(0.05)
    except KeyboardInterrupt:  # it is now or never
        return
