"""Ask a running `tastemaker serve` for scores, with the standard library alone."""

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

WORTH_RETRYING = frozenset({408, 429, 500, 502, 503, 504})
RETRIES = 6
SECONDS = 60.0


def scores(inputs: Sequence[Any]) -> list[float]:
    """Return the score of each input, in order.

    inputs: texts, or {"prompt", "completion"}; a prompt is a text or a list of messages. A request
    that is refused for overload, or not answered, is repeated. Raises RuntimeError at last.
    """
    address = os.environ.get("TASTEMAKER_URL", "http://127.0.0.1:8000")
    token = os.environ.get("TASTEMAKER_TOKEN")
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps({"inputs": list(inputs)}).encode()
    url = address.rstrip("/") + "/score"
    request = urllib.request.Request(url, body, headers)
    problem = ""
    for attempt in range(RETRIES):
        pause = 0.0
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                values: list[float] = json.load(answer)["scores"]
            return values
        except urllib.error.HTTPError as error:
            with error:
                problem = (
                    f"status {error.code}: {error.read(500).decode(errors='replace')}"
                )
            if error.code not in WORTH_RETRYING:
                break
            pause = float(error.headers.get("Retry-After") or 0)
        except (OSError, ValueError, KeyError) as error:
            problem = str(error)
        # jitter keeps workers that were refused together apart
        time.sleep(max(pause, 0.2 * 2**attempt * random.uniform(0.5, 1)))
    raise RuntimeError(f"{address} gave no scores ({problem})")
