"""Each verb on an idle machine and beside one busy process a core.

    python benchmarks/busy_machine.py
    python benchmarks/busy_machine.py --verbs steer play --size 0.25 --repeats 1
    python benchmarks/busy_machine.py --verbs steer --spin 30000

A verb does a fixed piece of work in a process of its own, which times it after a warm-up. Threads
wait for each other in one of two ways. "default" is what `import tastemaker` sets: a short spin,
then sleep; --spin tries another length. "spinning" is the long spin of libgomp and libomp without
it. The two take turns, and take turns at being first.

Reported are the medians over repeats: seconds, `ratio` (busy ÷ idle seconds, "default") and
`idle_speed` (idle seconds, "spinning" ÷ "default": 1 is as fast, above 1 is faster). Nothing else
may run meanwhile. The last line, the only one on stdout, is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What decides how long a thread spins. The default is measured without them, so that the package
# sets its own.
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "spinning": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"},
}


def fit(size: float) -> None:
    """Train a `tiny` reward model on rated reviews."""
    _fit("tiny", max(40, int(800 * size)))


def fit_minilm(size: float) -> None:
    """Train MiniLM on rated reviews."""
    _fit("minilm", max(40, int(160 * size)))


def _fit(backbone: str, count: int) -> None:
    import tastemaker as tm
    from tastemaker.playground import gold_score, reviews

    ratings = [tm.Rating(text, gold_score(text)) for text in reviews(count)]
    tm.fit(ratings, backbone=backbone, epochs=1)


def pretrain(size: float) -> None:
    """Train a `tiny` GPT on reviews."""
    import tastemaker as tm
    from tastemaker.playground import reviews

    tm.pretrain(reviews(max(60, int(2000 * size))), size="tiny")


def steer(size: float) -> None:
    """Take steps of PPO with an untrained `tiny` GPT: what they cost, not what they teach."""
    import tastemaker as tm
    from tastemaker.gpt import SIZES, make_gpt, make_tokenizer
    from tastemaker.playground import reviews

    tiny = SIZES["tiny"]
    tokenizer = make_tokenizer(
        reviews(500), vocabulary=tiny.vocabulary, context=tiny.context
    )
    policy = tm.Policy(make_gpt(tiny, tokenizer, seed=0), tokenizer)
    tm.steer(
        policy,
        lambda prompts, texts: [float(len(text)) for text in texts],
        sampling=tm.Sampling(max_tokens=64),
        steering=tm.Steering(steps=max(1, int(8 * size)), windows=1, measured=2),
    )


def play(size: float) -> None:
    """Learn CartPole for a while."""
    import tastemaker as tm

    tm.play("CartPole-v1", steps=max(1000, int(20_000 * size)), episodes=1)


VERBS: dict[str, Callable[[float], None]] = {
    "fit": fit,
    "fit-minilm": fit_minilm,
    "pretrain": pretrain,
    "steer": steer,
    "play": play,
}


def seconds_of(verb: str, size: float, variables: dict[str, str]) -> float:
    """Return the seconds of a verb's work in a process of its own."""
    command = [sys.executable, __file__, "--work", verb, "--size", str(size)]
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    done = subprocess.run(
        command,
        env=environment | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def work(verb: str, size: float) -> None:
    """Do a verb's work and print its seconds."""
    VERBS[verb](0.0)  # imports, and what a first call prepares
    started = time.perf_counter()
    VERBS[verb](size)
    sys.stdout.write(f"{time.perf_counter() - started}\n")


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep one process a core busy."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(len(os.sched_getaffinity(0)))]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def measured(verb: str, size: float, repeats: int, spin: int | None) -> dict[str, Any]:
    """Return the medians of a verb's seconds, and their ratios."""
    seconds: dict[str, list[float]] = {}
    settings = dict(SETTINGS)
    if spin is not None:
        settings["default"] = {"GOMP_SPINCOUNT": str(spin)}
    for _ in range(repeats):
        settings = dict(reversed(settings.items()))
        for name, variables in settings.items():
            seconds.setdefault(f"idle_{name}", []).append(
                seconds_of(verb, size, variables)
            )
        with busy_cores():
            for name, variables in settings.items():
                seconds.setdefault(f"busy_{name}", []).append(
                    seconds_of(verb, size, variables)
                )
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    figures: dict[str, Any] = {
        name: round(median, 3) for name, median in medians.items()
    }
    figures["ratio"] = round(medians["busy_default"] / medians["idle_default"], 3)
    figures["idle_speed"] = round(medians["idle_spinning"] / medians["idle_default"], 3)
    sys.stderr.write(f"{verb}: {figures}\n")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--verbs", nargs="+", choices=list(VERBS), default=list(VERBS))
    parser.add_argument(
        "--size", type=float, default=1.0, help="of the work; 1 is 5 to 60 s a run"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--spin", type=int, help="GOMP_SPINCOUNT instead of the default"
    )
    parser.add_argument("--work", choices=list(VERBS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work, given.size)
        return
    verbs = {}
    for verb in given.verbs:
        verbs[verb] = measured(verb, given.size, given.repeats, given.spin)
    cores = len(os.sched_getaffinity(0))
    figures = {"benchmark": "busy_machine", "cores": cores, "verbs": verbs}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
