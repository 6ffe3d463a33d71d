"""The vendors that are asked by HTTP, as one small server: Twilio's REST API takes every update, the model answers.

Only as much as the bench needs, and nothing it measures; the real thing's manners are in `emulator`.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

# A sentence in as many pieces as a model would write.
PIECES: Final = ("はい、", "朝", "九時", "から", "開いて", "おります。")
_LOOK_SECONDS: Final = 0.05  # how often it looks whether it is to close


class Desk:
    """A server on a free port of 127.0.0.1, until it is closed."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(_LOOK_SECONDS,), name="desk", daemon=True).start()

    @property
    def updates(self) -> int:
        """How many updates of calls there were."""
        return self._server.updates

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    updates = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # the base class finds it by this name
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/chat/completions"):
            self._answer("text/event-stream", "".join(f"data: {chunk}\n\n" for chunk in (*_chunks(), "[DONE]")))
        else:
            self.server.updates += 1
            sid = self.path.rpartition("/")[2].removesuffix(".json")
            self._answer("application/json", json.dumps({"sid": sid, "status": "in-progress"}))

    def do_GET(self) -> None:  # the base class finds it by this name
        self._answer("application/json", "{}")

    def log_message(self, *_: Any) -> None:
        """Say nothing: it would be a line a request."""

    def _answer(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _chunks() -> list[str]:
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [
        ({"role": "assistant", "content": ""}, None),
        *(({"content": piece}, None) for piece in PIECES),
        ({}, "stop"),
    ]
    chunks = [{**common, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    usage = {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312}
    return [json.dumps(chunk) for chunk in (*chunks, {**common, "choices": [], "usage": usage})]
