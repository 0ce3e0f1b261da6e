"""From a CSV file of answers to the first judgement: one command, less than ten seconds."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from rank.conftest import Page
from rank.test_page import ask

import tastemaker as tm


def test_the_first_judgement_of_a_newcomer(tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    lines = [f"Question {n}?,Answer {n},Another answer {n}\n" for n in range(200)]
    answers.write_text("prompt,answer_a,answer_b\n" + "".join(lines))
    store = tmp_path / "judgements.db"
    command = [sys.executable, "-m", "tastemaker", "rank", store, "--items", answers]
    begun = time.monotonic()
    process = subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    link = ""
    while not link:
        match = re.fullmatch(r"judge: (http://\S+)\n", process.stdout.readline())
        link = "" if match is None else match[1]
    page = Page(process, store)  # type: ignore[arg-type]
    _, text, _ = ask(page, link)
    view = re.search(r'data-view="(\d+)"', text)
    assert view is not None
    body = {
        "view": int(view[1]),
        "key": "the first key",
        "answer": {"tiers": [[0], [1]]},
    }
    assert ask(page, link + "answer", body)[0] == 200
    seconds = time.monotonic() - begun
    used = processor_seconds(process.pid)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=90)
    assert len(tm.read(store)) == 1
    # on an idle machine these are the seconds that a person waits, and less than those
    assert used < 10, used
    assert seconds < 100, seconds


def processor_seconds(process: int) -> float:
    """Return the seconds of processor that a running process has used."""
    # its name, which stands in brackets, may hold spaces
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
