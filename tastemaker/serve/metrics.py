"""What a server counts, in the text format of Prometheus."""

import threading
from collections import Counter

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
