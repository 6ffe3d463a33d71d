"""The relays that are measured: the whole product as it is deployed, and the floor. All run on the relays' core.

A relay is started with the port of the vendors, and gives for each call what Twilio would know of its stream.
"""

import http.client
import json
import os
import secrets
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlencode
from xml.etree import ElementTree

from emulator import processes
from emulator.processes import Supervised
from emulator.twilio import signing
from tests.bench.desk import Desk
from tests.bench.rig_process import ANONYMOUS, RELAY_CORE, RIG_CORE, Ticketed, built, pinned

Engine = Literal["realtime", "amivoice"]
_PATHS: Mapping[Engine, str] = {"realtime": "/incoming-call", "amivoice": "/twiml"}
_FUNCTIONS_URL, _STREAM_URL = "https://functions.callbot.example", "wss://stream.callbot.example/ws"
_START_SECONDS = 30.0
_STOP_SECONDS = 0.0  # the calls are over, and nothing is kept: no time to leave in order


class Relay(Protocol):
    """What the bench measures. `name` is that of the tables."""

    name: str
    target: str
    port: int

    def start(self, vendor_port: int, certificate: Path | None) -> None: ...
    @property
    def pid(self) -> int: ...
    def ticketed(self, number: int) -> Ticketed: ...
    def stop(self) -> None: ...


class Floor:
    """The program that only rewraps frames (`rig/floor_relay.c`)."""

    name = "floor"
    target = "/"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with processes.listen() as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, vendor_port: int, certificate: Path | None) -> None:
        command = [*pinned(RELAY_CORE, real_time=("-r", "1")), str(built("floor_relay")), str(self.port)]
        self._process = subprocess.Popen(
            [*command, str(vendor_port), self._engine, *([str(certificate)] if certificate else [])]
        )
        wait_for_port(self.port)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ticketed(self, number: int) -> Ticketed:  # noqa: ARG002 - the floor asks nobody for a ticket
        return ANONYMOUS

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class AsInstalled:
    """flask-sock and websocket-client under gunicorn, nothing of them replaced (`as_installed.py`)."""

    name = "as installed"
    target = "/ws"

    def __init__(self, engine: Engine, calls: int) -> None:
        self._path = "v1/realtime" if engine == "realtime" else "v1/nolog/"
        self._calls = calls
        self._listener = processes.listen()
        self.port: int = self._listener.getsockname()[1]

    def start(self, vendor_port: int, certificate: Path | None) -> None:
        """Raises ProcessFailedError."""
        url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{vendor_port}/{self._path}"
        env = {**os.environ, "VENDOR_URL": url, **({"SSL_CERT_FILE": str(certificate)} if certificate else {})}
        command = processes.gunicorn(
            "tests.bench.as_installed:app", self._listener,
            "--worker-class=gthread", f"--threads={self._calls + 8}", "--no-control-socket",
        )  # fmt: skip
        self._process = Supervised(
            "as installed", [*pinned(RELAY_CORE, real_time=("-r", "1")), *command], env=env, listener=self._listener
        )
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ticketed(self, number: int) -> Ticketed:  # noqa: ARG002 - it knows no calls
        return ANONYMOUS

    def stop(self) -> None:
        self._process.stop(_STOP_SECONDS)


class Product:
    """Functions and stream service in processes of their own, with a store in a file, records, logs and tickets.

    `settings` are further settings of the stream service.
    """

    name = "callbot"
    target = "/ws"

    def __init__(self, engine: Engine, folder: Path, calls: int, settings: Mapping[str, str] | None = None) -> None:
        self._path = _PATHS[engine]
        self._folder = folder
        self._listener, self._functions_listener = processes.listen(), processes.listen()
        self.port: int = self._listener.getsockname()[1]
        self._account, self._token = "AC" + secrets.token_hex(16), secrets.token_hex(16)
        self._signature = signing.sign(self._token, _STREAM_URL)
        self._more = {"STREAM_CONCURRENCY": str(calls + 8), **(settings or {})}
        self._desk = Desk()
        self._webhooks = http.client.HTTPConnection("127.0.0.1", self._functions_listener.getsockname()[1], timeout=10)
        self.log_events: Counter[str] = Counter()
        self.log_reasons: dict[str, Counter[str]] = defaultdict(Counter)  # of each call, by its sid
        self.webhook_seconds: list[float] = []

    def start(self, vendor_port: int, certificate: Path | None) -> None:
        """Raises ProcessFailedError."""
        scheme = "wss" if certificate else "ws"
        env = {
            **os.environ,
            "TWILIO_ACCOUNT_SID": self._account,
            "TWILIO_AUTH_TOKEN": self._token,
            "TWILIO_PHONE_NUMBER": "+815010000001",
            "OPENAI_API_KEY": "sk-bench",
            "AMIVOICE_API_KEY": "bench",
            "FUNCTIONS_URL": _FUNCTIONS_URL,
            "STREAM_URL": _STREAM_URL,
            "STREAM_TICKET_SECRET": secrets.token_hex(16),
            "STREAM_SIGNATURE": "required",
            "CALL_STORE": f"sqlite:{self._folder / 'calls.db'}",
            "TWILIO_API_URL": self._desk.url,
            "OPENAI_BASE_URL": f"{self._desk.url}/v1",
            "OPENAI_REALTIME_URL": f"{scheme}://127.0.0.1:{vendor_port}/v1/realtime",
            "AMIVOICE_URL": f"{scheme}://127.0.0.1:{vendor_port}/v1/nolog/",
            **({"SSL_CERT_FILE": str(certificate)} if certificate else {}),
            **self._more,
        }
        functions = processes.gunicorn(
            "emulator.local_app:create_functions_app()", self._functions_listener,
            "--worker-class=gthread", "--threads=16", "--no-control-socket",
        )  # fmt: skip
        stream = processes.gunicorn(
            "stream_service.app:create_app()", self._listener, "--config=python:stream_service.gunicorn_conf"
        )
        self._functions = Supervised(
            "functions", [*pinned(RIG_CORE), *functions], env=env, listener=self._functions_listener
        )
        self._stream = Supervised(
            "stream", [*pinned(RELAY_CORE, real_time=("-r", "1")), *stream], env=env, listener=self._listener,
            output=self._count,
        )  # fmt: skip
        with ThreadPoolExecutor(2) as both:
            for begun in [both.submit(process.start) for process in (self._functions, self._stream)]:
                begun.result()

    @property
    def pid(self) -> int:
        return self._stream.pid

    @property
    def updates(self) -> int:
        """How often Twilio was told to do something else with a call."""
        return self._desk.updates

    def reasons(self, number: int) -> Counter[str]:
        """What the stream service gave as reasons while this call lasted: `event: reason`, and how often."""
        return self.log_reasons[_sid(number)]

    def ticketed(self, number: int) -> Ticketed:
        """Have the webhook answer a call, as Twilio would, and read what its TwiML says of the stream."""
        sid = _sid(number)
        form = {
            "AccountSid": self._account, "CallSid": sid, "From": "+819012345678", "To": "+815010000001",
            "Direction": "inbound", "CallStatus": "ringing", "ApiVersion": "2010-04-01",
        }  # fmt: skip
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            signing.HEADER: signing.sign(self._token, _FUNCTIONS_URL + self._path, form.items()),
        }
        began = time.monotonic()
        self._webhooks.request("POST", self._path, urlencode(form), headers)
        answer = self._webhooks.getresponse()
        document = ElementTree.fromstring(answer.read())  # noqa: S314 - of our own making
        self.webhook_seconds.append(time.monotonic() - began)
        self._webhooks.close()  # the next call may come when the server has long given this connection up
        stream = document.find(".//Stream")
        assert answer.status == 200
        assert stream is not None
        assert stream.get("url") == _STREAM_URL
        parameters = {p.get("name", ""): p.get("value", "") for p in stream.findall("Parameter")}
        return Ticketed(self._signature, self._account, sid, parameters)

    def stop(self) -> None:
        for process in (getattr(self, "_stream", None), getattr(self, "_functions", None)):
            if process is not None:
                process.stop(_STOP_SECONDS)
        self._webhooks.close()
        self._desk.close()

    def _count(self, line: str) -> None:
        """Of what the service logs, only how much of it there was, and what it gave as reasons."""
        try:
            said = json.loads(line)
        except ValueError:
            said = {"event": "other"}
        self.log_events[said.get("event", said.get("message", ""))[:40]] += 1
        if "reason" in said:
            self.log_reasons[said.get("callSid", "")][f"{said.get('event')}: {said['reason']}"] += 1


def _sid(number: int) -> str:
    return f"CA{number:032d}"


def wait_for_port(port: int) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + _START_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.connect()
        except OSError:
            pause.wait(0.05)
        else:
            return
        finally:
            connection.close()
    raise TimeoutError(f"nothing listens on port {port}")
