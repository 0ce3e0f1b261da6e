"""A client that loads an HTTP server, in a process of its own: HTTP/1.1 on plain sockets."""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answers:
    """What a client saw. seconds: of the answers of status 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    broken: int = 0
    wall: float = 0.0
    without_retry_after: int = 0


class Connection:
    """One HTTP/1.1 connection that is opened when it is needed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes, bytes]:
        """Return status, head and body of an answer."""
        if self.writer is None:
            opened = await asyncio.open_connection("127.0.0.1", self.port)
            self.reader, self.writer = opened
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        answered = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", answered)
        text = await self.reader.readexactly(int(length[1]) if length else 0)
        if b"connection: close" in answered.lower():
            self.close()
        return int(answered[9:12]), answered, text

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def ask_once(
    connection: Connection, path: str, body: bytes, answers: Answers
) -> bool:
    """Ask and count; return whether there was an answer."""
    began = time.perf_counter()
    try:
        status, head, _ = await connection.ask(path, body)
    except (OSError, asyncio.IncompleteReadError):
        answers.broken += 1
        connection.close()
        return False
    answers.statuses[status] += 1
    if status == 200:
        answers.seconds.append(time.perf_counter() - began)
    elif b"retry-after" not in head.lower():
        answers.without_retry_after += 1
    return True


async def closed_loop(
    port: int, path: str, bodies: Sequence[bytes], count: int, seconds: float
) -> Answers:
    """Each connection asks again as soon as it is answered."""
    answers = Answers()
    turns = itertools.cycle(bodies)
    began = time.perf_counter()

    async def one() -> None:
        connection = Connection(port)
        while time.perf_counter() - began < seconds:
            if not await ask_once(connection, path, next(turns), answers):
                break
        connection.close()

    await asyncio.gather(*(one() for _ in range(count)))
    answers.wall = time.perf_counter() - began
    return answers


async def open_loop(
    port: int, path: str, bodies: Sequence[bytes], rate: float, seconds: float
) -> Answers:
    """Requests start at a fixed rate, whether others are answered or not."""
    answers = Answers()
    free: list[Connection] = []
    running: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one(body: bytes) -> None:
        connection = free.pop() if free else Connection(port)
        if await ask_once(connection, path, body, answers):
            free.append(connection)

    for number, body in enumerate(itertools.cycle(bodies)):
        due = began + number / rate
        if due > began + seconds:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(body))
        running.add(task)
        task.add_done_callback(running.discard)
    answers.wall = time.perf_counter() - began
    await asyncio.gather(*running)
    return answers


def client(kind: str, *arguments: Any) -> Answers:
    """Run one of the two loops; called in the client's process."""
    loop = closed_loop if kind == "closed" else open_loop
    return asyncio.run(loop(*arguments))
