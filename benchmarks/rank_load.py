"""Many judges at once, a server that is killed, and a store that must hold every judgement once.

    python benchmarks/rank_load.py                     # 16 judges, 2,000 judgements, 3 kills
    python benchmarks/rank_load.py --store postgresql://USER@HOST/NAME
    python benchmarks/rank_load.py --next 100000       # the time of the next item in a large store

A judge keeps its connection, loads its page, waits for nothing, and posts a ranking with a key;
without a reply it posts the same again. Afterwards each acknowledged key must be in the store,
once. Ends in one JSON line.
"""

import argparse
import contextlib
import http.client
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, insert, select

from tastemaker.data.store import Item, Store
from tastemaker.data.store import schema as s
from tastemaker.rank import overview
from tastemaker.rank.pages import judge_feedback

LONGEST = 3600.0
"""Seconds until judges that still judge count as hanging."""


class Server:
    """`tastemaker rank` on one port, that can be killed and started again."""

    def __init__(self, store: str, judges: int, port: int) -> None:
        self.store, self.judges, self.port = store, judges, port
        self.links: dict[str, str] = {}
        self.process: Any = None

    @property
    def options(self) -> list[str]:
        """The options of the command line."""
        options = ["--port", str(self.port), "--repeats", "0"]
        for number in range(self.judges):
            options += ["--judge", f"judge {number}"]
        return options

    def start(self) -> None:
        """Start, and wait until the links are printed."""
        command = [sys.executable, "-m", "tastemaker", "rank", self.store]
        self.process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            match = re.fullmatch(r"(.+): (http://\S+)\n", line)
            if match:
                self.links[match[1]] = match[2]
            if len(self.links) > self.judges:
                return
        sys.exit("the server did not start")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Judge(threading.Thread):
    """One simulated judge. acknowledged: the keys for which a reply came."""

    def __init__(self, link: str, seed: int, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self.link, self.done = urlsplit(link), done
        self.draws = random.Random(seed)
        self.acknowledged: list[str] = []
        self.pages: list[float] = []
        self.posts: list[float] = []
        self.problems: Counter[str] = Counter()
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", self.link.port, timeout=20
        )

    def ask(self, path: str, body: Any = None) -> tuple[int, str]:
        """Return status and text; waits and asks again while the server is away."""
        while not self.done.is_set():
            try:
                address = self.link.path + path
                if body is None:
                    self.connection.request("GET", address)
                else:
                    kind = {"Content-Type": "application/json"}
                    text = json.dumps(body)
                    self.connection.request("POST", address, text, kind)
                reply = self.connection.getresponse()
                return reply.status, reply.read().decode()
            except (OSError, http.client.HTTPException):
                self.connection.close()  # the next request opens it again
                time.sleep(0.05)
        return 0, ""

    def run(self) -> None:
        """Judge until everything is judged."""
        with contextlib.closing(self.connection):
            self.judge()

    def judge(self) -> None:
        """Answer one item after another."""
        while not self.done.is_set():
            begun = time.monotonic()
            status, page = self.ask("")
            view = re.search(r'data-view="(\d+)"', page)
            count = re.search(r'data-count="(\d+)"', page)
            if status == 200 and 'data-testid="done"' in page:
                return
            if view is None or count is None:
                self.problems[f"page {status}"] += 1
                time.sleep(0.2)
                continue
            self.pages.append(time.monotonic() - begun)
            places = list(range(int(count[1])))
            self.draws.shuffle(places)
            key = f"{self.draws.getrandbits(128):032x}"
            answer = {"tiers": [[place] for place in places]}
            begun = time.monotonic()
            body = {"view": int(view[1]), "key": key, "answer": answer}
            status, text = self.ask("answer", body)
            if status == 200:
                self.posts.append(time.monotonic() - begun)
                self.acknowledged.append(key)
            elif status:
                self.problems[f"answer {status}: {text[:80]}"] += 1
                time.sleep(0.2)


def items_of(number: int) -> list[Item]:
    """Return items of four answers."""
    made = []
    for n in range(number):
        texts = tuple(f"Answer {letter} to question {n}" for letter in "abcd")
        made.append(Item(texts, f"Question {n}?"))
    return made


def load(store: str, judges: int, judgements: int, kills: int) -> dict[str, Any]:
    """Let judges judge everything while the server is killed; return what the store holds."""
    opened = Store(store)
    opened.add(items_of(judgements))
    opened.close()
    server = Server(store, judges, 0)
    server.start()
    server.port = urlsplit(next(iter(server.links.values()))).port or 0
    done = threading.Event()
    people = []
    for number in range(judges):
        link = server.links[f"judge {number}"]
        people.append(Judge(link, number, done))
    begun = time.monotonic()
    for judge in people:
        judge.start()
    for kill in range(1, kills + 1):
        while sum(len(j.acknowledged) for j in people) < judgements * kill / (
            kills + 1
        ):
            time.sleep(0.01)
        server.kill()
        server.start()
    for judge in people:
        judge.join(max(0.0, begun + LONGEST - time.monotonic()))
    if any(judge.is_alive() for judge in people):
        sys.exit(f"the judges are not ready after {LONGEST:.0f} s")
    seconds = time.monotonic() - begun
    done.set()
    server.kill()
    opened = Store(store)
    with opened.database.reading() as connection:
        keys = Counter(connection.scalars(select(s.judgements.c.key)))
        views = select(func.count()).select_from(s.views).where(~s.views.c.is_open)
        closed = connection.scalar(views)
    left = opened.left()
    opened.close()
    acknowledged = [key for judge in people for key in judge.acknowledged]
    pages = sorted(second for judge in people for second in judge.pages)
    posts = sorted(second for judge in people for second in judge.posts)
    problems: Counter[str] = Counter()
    for judge in people:
        problems.update(judge.problems)
    return {
        "judges": judges,
        "kills": kills,
        "acknowledged": len(acknowledged),
        "lost": sum(key not in keys for key in acknowledged),
        "twice": sum(count > 1 for count in keys.values()),
        "in_the_store": len(keys),
        "answered_views": closed,
        "left": left,
        "seconds": round(seconds, 1),
        "judgements_per_second": round(len(acknowledged) / seconds, 1),
        "page_ms_median": round(1000 * statistics.median(pages), 1),
        "answer_ms_median": round(1000 * statistics.median(posts), 1),
        "problems": dict(problems),
    }


def next_item(store: str, items: int, judgements: int, asked: int) -> dict[str, Any]:
    """Measure the next item in a store of many items and judgements."""
    opened = Store(store)
    opened.add(items_of(items), wanted=1 + -(-judgements // items))
    judges = [opened.judge(f"judge {number}") for number in range(20)]
    _fill(opened, items, judgements, [judge.id for judge in judges])
    opened.set("plan", {"repeats": 0.05, "ask": "random"})
    fresh = opened.judge("fresh")
    seconds = []
    for judge in (fresh, judges[0]):
        for number in range(asked):
            begun = time.perf_counter()
            view = opened.next_view(judge)
            opened.left()
            judge_feedback(opened, judge)
            seconds.append(time.perf_counter() - begun)
            assert view is not None
            order = {"tiers": [[0], [1], [2], [3]]}
            opened.answer(judge, view.id, f"{judge.id}-key-{number}", order)
    seconds.sort()
    begun = time.perf_counter()
    overview(opened)
    lead = time.perf_counter() - begun
    opened.close()
    return {
        "items": items,
        "judgements": judgements,
        "asked": len(seconds),
        "next_ms_median": round(1000 * statistics.median(seconds), 2),
        "next_ms_p95": round(1000 * seconds[int(0.95 * len(seconds))], 2),
        "next_ms_largest": round(1000 * seconds[-1], 2),
        "lead_ms": round(1000 * lead),
    }


def _fill(opened: Store, items: int, judgements: int, judges: list[int]) -> None:
    """Write judgements as if they had been made."""
    answer = json.dumps({"tiers": [[0], [1], [2], [3]]})
    each = -(-judgements // items)
    with opened.database.writing() as connection:
        for start in range(0, judgements, 5000):
            views, answers = [], []
            for number in range(start, min(judgements, start + 5000)):
                view = {"id": number + 1, "item_id": number // each + 1}
                view |= {
                    "judge_id": judges[number % len(judges)],
                    "shown": "[0, 1, 2, 3]",
                }
                view |= {
                    "is_open": False,
                    "time": 0.0,
                    "reason": "new",
                    "arm": "random",
                }
                views.append(view)
                row = {
                    "view_id": number + 1,
                    "key": f"filled {number}",
                    "answer": answer,
                }
                row |= {"is_skip": False, "seconds": 1.0, "time": 0.0}
                answers.append(row)
            connection.execute(insert(s.views), views)
            connection.execute(insert(s.judgements), answers)
        connection.execute(s.items.update().values(judged=each))
        count = s.counts.update().where(s.counts.c.name == "judgements")
        connection.execute(count.values(value=judgements))


def main() -> None:
    """Run one of the two measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", help="a new file, or a PostgreSQL address")
    parser.add_argument("--judges", type=int, default=16)
    parser.add_argument("--judgements", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--next", type=int, default=0, metavar="ITEMS")
    parser.add_argument("--filled", type=int, default=1_000_000, metavar="JUDGEMENTS")
    parser.add_argument("--asked", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or str(Path(folder) / "judgements.db")
        if given.next:
            figures = next_item(store, given.next, given.filled, given.asked)
        else:
            figures = load(store, given.judges, given.judgements, given.kills)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
