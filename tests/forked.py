"""Commands in processes of their own that start at once.

Each process is a fork of one that has imported everything, so a test that kills or asks many
processes does not wait for imports. They are real processes: they can be killed.
"""

import multiprocessing
import os
import random
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_forks = multiprocessing.get_context("forkserver")
# a name that is not installed is left out
_forks.set_forkserver_preload(
    [
        "sentence_transformers",  # opens what a fit saved
        "tastemaker.loop.steering_work",  # imports most others
        "tastemaker.serve.running",
        "tastemaker.rank.running",
        "uvicorn",
    ]
)


class Forked:
    """A process; named as those of `subprocess.Popen`. What it writes goes into a file."""

    def __init__(
        self,
        call: Callable[..., object],
        arguments: tuple[object, ...],
        environment: Mapping[str, str | None],
    ) -> None:
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._log = Path(folder) / "log"
        self._log.touch()
        self._read = 0
        variables = dict(os.environ)
        for name, value in environment.items():
            variables.pop(name, None)
            if value is not None:
                variables[name] = value
        self._process = _forks.Process(
            target=_run, args=(call, arguments, str(self._log), variables)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def output(self) -> str:
        """Return what it wrote since the last call, stdout and stderr together."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            written = file.read()
        self._read += len(written)
        return written.decode()

    def lines(self) -> Iterator[str]:
        """Yield the lines that it writes until it ends, each when it is complete."""
        rest = ""
        while True:
            has_ended = self.poll() is not None
            rest += self.output()
            *whole, rest = rest.split("\n")
            yield from whole
            if has_ended:
                break
            if not whole:
                time.sleep(0.005)
        if rest:
            yield rest


def start(
    *arguments: object, environment: Mapping[str, str | None] | None = None
) -> Forked:
    """Start the command `tastemaker` with these arguments.

    environment: variables to set, or to remove (None).
    """
    return Forked(command, tuple(map(str, arguments)), environment or {})


def start_call(
    call: Callable[..., object],
    *arguments: object,
    environment: Mapping[str, str | None] | None = None,
) -> Forked:
    """Start a process that calls a function of a module of the tests.

    environment: variables to set, or to remove (None).
    """
    return Forked(call, arguments, environment or {})


def start_script(script: Path, *arguments: str) -> Forked:
    """Start a Python script."""
    return Forked(_script, (str(script), *arguments), {})


def die_when(is_so: Callable[[], bool]) -> None:
    """Kill this process (−9) before the first change of a file at which something is so."""
    state = threading.local()  # what other threads do meanwhile is asked about too

    def hook(event: str, details: tuple[Any, ...]) -> None:
        del details
        if event not in ("open", "os.mkdir", "os.rename", "os.remove"):
            return
        if getattr(state, "is_asking", False):
            return
        state.is_asking = True
        if is_so():
            os.kill(os.getpid(), signal.SIGKILL)
        state.is_asking = False

    sys.addaudithook(hook)


def free_port() -> int:
    """Return a port that nobody has; none of those that the system gives to other sockets."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _script(script: str, *arguments: str) -> None:
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


def command(*words: str) -> None:
    """Be the command `tastemaker`."""
    from tastemaker.cli import main

    sys.argv = ["tastemaker", *words]
    main(list(words))


def _run(
    call: Callable[..., object],
    arguments: tuple[object, ...],
    log: str,
    environment: Mapping[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with Path(log).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    call(*arguments)
