"""A Twilio REST API of a few lines: it notes each request and answers what the test wants."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from tests.functions.scenes import ACCOUNT, TOKEN


@dataclass
class FakeTwilio:
    """What Twilio was asked, and how it answers. `refuse` and `before_answer` are the test's to set."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    listed: list[tuple[str, datetime | None]] = field(default_factory=list)  # calls it knows besides
    refuse: list[tuple[int, int]] = field(default_factory=list)  # (HTTP status, code) of the next answers
    before_answer: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _count: int = 0

    @property
    def created(self) -> list[dict[str, list[str]]]:
        return [form for method, path, form in self.asked if method == "POST" and path.endswith("/Calls.json")]

    @property
    def updates(self) -> list[tuple[str, dict[str, list[str]]]]:
        return [
            (path.rpartition("/")[2].removesuffix(".json"), form)
            for method, path, form in self.asked
            if method == "POST" and "/Calls/" in path
        ]

    def answer(self, path: str) -> Response | tuple[Response, int]:
        with self._lock:
            self._count += 1
            sid = f"CA{self._count:032x}"
            self.asked.append((request.method, path, request.values.to_dict(flat=False)))
            refusal = self.refuse.pop(0) if self.refuse else None
        authorization = request.authorization
        if authorization is None or (authorization.username, authorization.password) != (ACCOUNT, TOKEN):
            refusal = (401, 20003)
        if refusal:
            status, code = refusal
            return jsonify(code=code, message=f"refused {request.values.get('To')}", status=status), status
        if path.endswith("/Calls.json") and request.method == "POST":
            self.listed.append((sid, None))
            self.before_answer()
            return jsonify(sid=sid, status="queued"), 201
        if path.endswith("/Calls.json"):
            return jsonify(calls=[_call(sid, at) for sid, at in self.listed], page_size=50)
        if path.endswith("/IncomingPhoneNumbers.json"):
            found = [number for number in self.numbers if number == request.args.get("PhoneNumber")]
            return jsonify(incoming_phone_numbers=[{"sid": "PN" + "1" * 32, "phone_number": n} for n in found])
        return jsonify(sid=path.rpartition("/")[2].removesuffix(".json"))


def _call(sid: str, at: datetime | None) -> dict[str, object]:
    return {"sid": sid, "date_created": format_datetime(at) if at else None, "start_time": None}


@contextmanager
def serving() -> Iterator[FakeTwilio]:
    """A fake Twilio on a port of its own."""
    twilio = FakeTwilio()
    app = Flask("fake-twilio")
    app.add_url_rule("/2010-04-01/<path:path>", view_func=twilio.answer, methods=["GET", "POST"])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    twilio.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield twilio
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
