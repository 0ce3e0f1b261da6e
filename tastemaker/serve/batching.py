"""The queue between connections and the model.

Texts of all connections wait in the order in which they came. One thread takes the oldest ones, up
to four batches' worth, sorts them by length and cuts them into batches of a padded budget. There is
no timer: a lone text is scored at once, and while a batch is scored, the next ones gather.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np

from tastemaker.data.judgements import Example
from tastemaker.errors import TastemakerError
from tastemaker.fast.batching import by_length
from tastemaker.scores import Scores
from tastemaker.serve.requests import Refusal
from tastemaker.serve.served import Served
from tastemaker.serve.settings import Serving

# ---- metrics -------------------------------------------------------------------------------------


_SECONDS = tuple(0.001 * 2**power for power in range(16))
_TEXTS = tuple(2**power for power in range(10))


class Histogram:
    """Counts of values up to each bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * len(bounds)
        self.total, self.sum = 0, 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.total += 1
        self.sum += value
        for place, bound in enumerate(self.bounds):
            if value <= bound:
                self.counts[place] += 1

    def lines(self, name: str) -> list[str]:
        """Return the histogram's lines."""
        lines = [f"# TYPE {name} histogram"]
        for bound, count in zip(self.bounds, self.counts, strict=True):
            lines.append(f'{name}_bucket{{le="{bound}"}} {count}')
        lines.append(f'{name}_bucket{{le="+Inf"}} {self.total}')
        lines.append(f"{name}_sum {self.sum:.6f}")
        lines.append(f"{name}_count {self.total}")
        return lines


class Metrics:
    """Requests, texts, tokens, queue, batch sizes and latencies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = Counter[tuple[str, int]]()
        self.seconds = Histogram(_SECONDS)
        self.batch_texts = Histogram(_TEXTS)
        self.batch_seconds = Histogram(_SECONDS)
        self.texts = 0
        self.tokens = 0
        self.gone = 0
        self.queue_texts = 0
        self.queue_tokens = 0

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        with self._lock:
            self.requests[path, status] += 1
            self.seconds.add(seconds)

    def batch(self, texts: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        with self._lock:
            self.texts += texts
            self.tokens += tokens
            self.batch_texts.add(texts)
            self.batch_seconds.add(seconds)

    def client_gone(self) -> None:
        """Count a client that went away before its answer."""
        with self._lock:
            self.gone += 1

    def __str__(self) -> str:
        with self._lock:
            lines = ["# TYPE tastemaker_requests_total counter"]
            for (path, status), count in sorted(self.requests.items()):
                labels = f'path="{path}",status="{status}"'
                lines.append(f"tastemaker_requests_total{{{labels}}} {count}")
            for name in ("texts", "tokens", "gone"):
                lines.append(f"# TYPE tastemaker_{name}_total counter")
                value = getattr(self, name)
                lines.append(f"tastemaker_{name}_total {value}")
            for name in ("queue_texts", "queue_tokens"):
                lines.append(f"# TYPE tastemaker_{name} gauge")
                lines.append(f"tastemaker_{name} {getattr(self, name)}")
            lines += self.seconds.lines("tastemaker_request_seconds")
            lines += self.batch_texts.lines("tastemaker_batch_texts")
            lines += self.batch_seconds.lines("tastemaker_batch_seconds")
        return "\n".join(lines) + "\n"


# ---- the queue -----------------------------------------------------------------------------------


_BATCHES_AT_ONCE = 4
_MOST_SECONDS = 60


class _Job:
    """The texts of one request, and the scores computed so far."""

    def __init__(self, served: Served, examples: Sequence[Example]) -> None:
        self.served, self.examples = served, list(examples)
        self.lengths = [served.estimated_tokens(e) for e in examples]
        self.parts: list[Scores | None] = [None] * len(self.examples)
        self.missing = len(self.examples)
        self.future: Future[Scores] = Future()

    @property
    def is_wanted(self) -> bool:
        """False when the client went away or the job has failed."""
        return not self.future.done()

    def put(self, place: int, scores: Scores) -> None:
        """Store the score of one text. After the last one, complete the future."""
        self.parts[place] = scores
        self.missing -= 1
        if self.missing == 0 and self.future.set_running_or_notify_cancel():
            parts = [part for part in self.parts if part is not None]
            self.future.set_result(Scores.cat(parts))

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        if self.is_wanted and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


_Item = tuple[_Job, int]


class ScoringQueue:
    """Texts that wait to be scored, bounded in texts and in estimated tokens."""

    def __init__(self, settings: Serving, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._waiting: deque[_Item] = deque()
        self._tokens = 0
        self._tokens_a_second = 10_000.0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._work, name="scoring", daemon=True
        )
        self._thread.start()

    def submit(
        self, served: Served, examples: Sequence[Example]
    ) -> Future[Scores]:
        """Queue the texts of a request. Raises Refusal where there is no room.

        A request that is larger than the queue is accepted when nothing waits.
        """
        job = _Job(served, examples)
        tokens = sum(job.lengths)
        with self._changed:
            texts = len(self._waiting) + len(job.examples)
            seconds = (self._tokens + tokens) / self._tokens_a_second
            is_full = (
                texts > self._settings.queue
                or self._tokens + tokens > self._settings.queue_tokens
                or seconds > self._settings.queue_seconds
            )
            if is_full and self._waiting:
                raise Refusal(
                    429,
                    "too many texts are waiting: try again later.",
                    retry_after=self._seconds_left(),
                )
            self._waiting.extend((job, i) for i in range(len(job.examples)))
            self._tokens += tokens
            self._measure()
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Score what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _seconds_left(self) -> int:
        seconds = self._tokens / self._tokens_a_second
        return max(1, min(_MOST_SECONDS, round(seconds)))

    def _measure(self) -> None:
        self._metrics.queue_texts = len(self._waiting)
        self._metrics.queue_tokens = self._tokens

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                items = self._oldest()
                self._measure()
            if not items:
                continue
            lengths = [job.lengths[place] for job, place in items]
            budget = self._settings.max_batch_tokens
            for batch in by_length(lengths, budget):
                self._score([items[i] for i in batch])

    def _oldest(self) -> list[_Item]:
        """Remove the oldest texts of one model and return them, without those of ended requests."""
        items: list[_Item] = []
        tokens = 0
        most = _BATCHES_AT_ONCE * self._settings.max_batch_tokens
        while self._waiting:
            job, place = self._waiting[0]
            if items and (
                job.served is not items[0][0].served or tokens >= most
            ):
                break
            self._waiting.popleft()
            self._tokens -= job.lengths[place]
            if job.is_wanted:
                items.append((job, place))
                tokens += job.lengths[place]
        return items

    def _score(self, items: list[_Item]) -> None:
        items = [(job, place) for job, place in items if job.is_wanted]
        if not items:
            return
        started = time.monotonic()
        served = items[0][0].served
        try:
            scores = served.score([job.examples[i] for job, i in items])
        except Exception as error:
            self._score_apart(items, error)
            return
        for row, (job, place) in enumerate(items):
            job.put(place, _row(scores, row))
        seconds = max(1e-6, time.monotonic() - started)
        tokens = sum(job.lengths[place] for job, place in items)
        # a small batch is slow for its tokens: it tells little of a full one
        rate = tokens / seconds
        is_large = 4 * tokens >= self._settings.max_batch_tokens
        if is_large or rate > self._tokens_a_second:
            self._tokens_a_second += 0.2 * (rate - self._tokens_a_second)
        self._metrics.batch(len(items), tokens, seconds)

    def _score_apart(self, items: list[_Item], error: Exception) -> None:
        """Score each request apart, so that a text that cannot be scored fails only its request."""
        jobs = list(dict.fromkeys(job for job, _ in items))
        if len(jobs) > 1:
            for one in jobs:
                self._score([item for item in items if item[0] is one])
            return
        if isinstance(error, TastemakerError):
            # the model's message may quote the text
            refusal = Refusal(422, "the model cannot score this request.")
        else:
            refusal = Refusal(424, "the model failed.")
        refusal.__cause__ = error
        jobs[0].fail(refusal)


def _row(scores: Scores, row: int) -> Scores:
    members = scores.members
    return Scores(
        np.array([scores.values[row]]),
        np.array([scores.truncated[row]]),
        None if members is None else members[:, row : row + 1],
    )
