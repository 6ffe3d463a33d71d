"""`python -m tests.bench.webhooks`: how long a warm webhook takes at 50 requests a second.

    python -m tests.bench.webhooks --rate 50 --seconds 10 --json webhooks.json

Signed webhooks of calls as they go (a call is answered, comes back for more, and ends) against the functions under one
gunicorn worker on one core, with the store in SQLite and, where its emulator is installed, in Firestore. Requests leave
when they are due, whether or not those before have been answered; time spent waiting to be sent is counted.
"""

import argparse
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from emulator import processes
from tests.bench import machine
from tests.bench.firestore import firestore
from tests.bench.table import Column, table
from tests.functions.scenes import ACCOUNT, CALLER, ENVIRONMENT, FUNCTIONS_URL, OUR_NUMBER, signature

RATE = 50.0  # requests a second
SENDERS = 32
ANSWER_SECONDS = 15.0  # Twilio's patience
START_SECONDS = 30.0
WARM_REQUESTS, WARM_RATE = 100, 200.0  # first requests are `startup`'s subject
COLUMNS = (
    Column("store", "store"), Column("webhook", "webhook"), Column("n", "n"),
    Column("p50 ms", "p50", 1), Column("p99 ms", "p99", 1), Column("max ms", "max", 1), Column("failed", "failed"),
)  # fmt: skip

Request = tuple[str, str, dict[str, str]]  # path, query, form


def requests() -> Iterator[Request]:
    """What Twilio sends, call after call."""
    for number in itertools.count():
        sid = f"CA{number:032x}"
        ringing = {"CallSid": sid, "From": CALLER, "To": OUR_NUMBER, "CallStatus": "ringing", "Direction": "inbound"}
        yield "/twiml", "", ringing
        for prompts in range(2):
            yield "/call-flow", f"?step=idle&prompts={prompts}", {"CallSid": sid, "CallStatus": "in-progress"}
        yield "/call-events", "", {"CallSid": sid, "CallStatus": "completed", "SequenceNumber": "3"}


class Load:
    """Requests at a steady rate, and how long each took. One connection for each thread, kept open as Twilio does."""

    def __init__(self, address: str) -> None:
        self._address = address.removeprefix("http://")
        self._own = threading.local()
        self._lock = threading.Lock()
        self.milliseconds: dict[str, list[float]] = defaultdict(list)
        self.failed: dict[str, int] = defaultdict(int)

    def run(self, rate: float, count: int) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as senders:
            for number, request in enumerate(itertools.islice(requests(), count)):
                due = began + number / rate
                time.sleep(max(0.0, due - time.monotonic()))
                senders.submit(self._send, request, due)

    def _send(self, request: Request, due: float) -> None:
        path, query, form = request
        form = {"AccountSid": ACCOUNT, **form}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": signature(FUNCTIONS_URL + path + query, form),
        }
        good = self._post(path + query, urlencode(form), headers) in (200, 204)
        took = 1000 * (time.monotonic() - due)
        with self._lock:
            self.milliseconds[path].append(took)
            self.failed[path] += not good

    def _post(self, target: str, body: str, headers: Mapping[str, str]) -> int:
        """The status; 0 without an answer. A connection that the server has given up meanwhile is made anew."""
        for connection in (getattr(self._own, "connection", None), self._connection()):
            if connection is None:
                continue
            try:
                connection.request("POST", target, body, dict(headers))
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            self._own.connection = connection
            return int(answer.status)
        return 0

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address, timeout=ANSWER_SECONDS)


def _measure(store: str, address: str, rate: float, seconds: float) -> list[dict[str, Any]]:
    """A row for each webhook, with the store at `address`."""
    listener = processes.listen()
    env = {**os.environ, **ENVIRONMENT, "CALL_STORE": address, "FUNCTION_TARGET": "bench", "LOG_LEVEL": "info"}
    app = "emulator.local_app:create_functions_app()"
    options = ("--worker-class=gthread", "--threads=8", "--no-control-socket", "--log-level=warning")
    command = processes.gunicorn(app, listener, *options)
    served = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.DEVNULL,
        pass_fds=(listener.fileno(),),
        preexec_fn=lambda: os.sched_setaffinity(0, {machine.FIRST_CORE}),
    )
    try:
        _wait_until_healthy(processes.address(listener))
        load = Load(processes.address(listener))
        with machine.confined(machine.SECOND_CORE):
            Load(processes.address(listener)).run(WARM_RATE, WARM_REQUESTS)
            load.run(rate, round(rate * seconds))
    finally:
        served.terminate()
        served.wait(10)
        listener.close()
    return [_row(store, path, taken, load.failed[path]) for path, taken in sorted(load.milliseconds.items())]


def with_sqlite(rate: float, seconds: float) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="callbot-webhooks-") as folder:
        return _measure("sqlite", f"sqlite:{folder}/calls.db", rate, seconds)


def with_firestore(rate: float, seconds: float) -> list[dict[str, Any]]:
    """The emulator must be running."""
    return _measure("firestore", "firestore:bench", rate, seconds)


def _wait_until_healthy(url: str) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while not processes.is_healthy(url):
        if time.monotonic() > ends_at:
            raise RuntimeError("the functions did not start")
        time.sleep(0.05)


def _row(store: str, path: str, taken: Sequence[float], failed: int) -> dict[str, Any]:
    ordered = sorted(taken)
    shown = {"p50": statistics.median(ordered), "p99": ordered[int(0.99 * len(ordered))], "max": ordered[-1]}
    return {"store": store, "webhook": path, "n": len(ordered), "failed": failed, **shown}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(arguments)
    rows = with_sqlite(asked.rate, asked.seconds)
    with tempfile.TemporaryDirectory(prefix="callbot-webhooks-") as folder, firestore(Path(folder)) as there:
        if there:
            rows += with_firestore(asked.rate, asked.seconds)
        else:
            sys.stderr.write("without the Firestore emulator: its rows are missing\n")
    figures = {"machine": machine.description(), "rate": asked.rate, "rows": rows}
    sys.stdout.write(table(COLUMNS, rows) + f"\nmachine: {figures['machine']}\n")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
