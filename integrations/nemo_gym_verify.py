"""NeMo-Gym's `POST /verify`: the reward of a response is the score of `tastemaker serve`.

    python integrations/nemo_gym_verify.py 8100

A request holds `responses_create_params` (whose `input` is a text or a list of messages) and
`response` (whose `output` holds messages of parts with `text`). The reply is the request with
`reward` added, as NeMo-Gym's resources servers answer.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from scores import scores

MOST_BYTES = 4_194_304


def text_of(content: Any) -> str:
    """Return the text of a message's content: a text, or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if "text" in part)


def question(body: dict[str, Any]) -> Any:
    """Return a request as an input of the server."""
    given = body["responses_create_params"]["input"]
    prompt: Any = given
    if not isinstance(given, str):
        prompt = []
        for turn in given:
            if "role" in turn:
                content = text_of(turn["content"])
                prompt.append({"role": turn["role"], "content": content})
    texts = []
    for item in body["response"]["output"]:
        if item.get("type", "message") == "message":
            texts.append(text_of(item["content"]))
    return {"prompt": prompt, "completion": "".join(texts)}


class Verify(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_POST(self) -> None:
        """Answer `/verify`."""
        try:
            length = int(self.headers.get("Content-Length", 0))
            if self.path != "/verify" or not 0 < length <= MOST_BYTES:
                self.answer(404, {"error": "POST /verify with a body"})
                return
            body = json.loads(self.rfile.read(length))
            asked = question(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.answer(422, {"error": f"not a request of NeMo-Gym ({error!r:.80})"})
            return
        try:
            (reward,) = scores([asked])
        except RuntimeError as error:
            self.answer(502, {"error": str(error)})
            return
        self.answer(200, {**body, "reward": reward})

    def answer(self, status: int, value: Any) -> None:
        """Send JSON."""
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests hold texts."""


def main() -> None:
    """Serve on loopback."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8100
    with ThreadingHTTPServer(("127.0.0.1", port), Verify) as server:
        print(f"serving on http://127.0.0.1:{server.server_port}/verify", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
