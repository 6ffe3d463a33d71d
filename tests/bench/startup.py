"""`python -m tests.bench.startup`: from a process's start to its first 200, on one core.

    python -m tests.bench.startup --tries 5 --json startup.json

Each function as functions-framework serves it, with its store in SQLite and, where its emulator is installed, in
Firestore; and the stream service under gunicorn. Byte code is compiled, as in the images. Who asks, and the store's
emulator, are on another core where there is one. The least of several tries is told: everything else a machine does can
only make a start slower. Beside them, what the frameworks need for themselves on this machine: the same servers with
nothing in them.
"""

import argparse
import compileall
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.bench import machine
from tests.bench.firestore import firestore
from tests.bench.table import Column, table
from tests.functions.scenes import ACCOUNT, CALLER, ENVIRONMENT, FUNCTIONS_URL, KEY, OUR_NUMBER, signature

ROOT = Path(__file__).parents[2]
GIVE_UP_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.002
COLUMNS = (
    Column("process", "process"), Column("store", "store"),
    Column("least ms", "least_ms"), Column("median ms", "median_ms"), Column("processor ms", "cpu_ms"),
    Column("× framework alone", "ratio", 1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """The first request, and the status that says that it was served."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str = ""
    status: int = 200


# What is asked in the try of this number.
Asking = Callable[[int], Asked]


def _webhook(path: str, query: str = "", *, call: str, **fields: str) -> Asked:
    form = {"CallSid": call, "AccountSid": ACCOUNT, "From": CALLER, "To": OUR_NUMBER, **fields}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": signature(FUNCTIONS_URL + path + query, form),
    }
    return Asked("POST", "/" + query, headers, urlencode(form))


def _ringing(path: str, prefix: str) -> Asking:
    """A call that nobody has heard of yet."""
    return lambda number: _webhook(path, call=_call(prefix, number), CallStatus="ringing", Direction="inbound")


def _call(prefix: str, number: int) -> str:
    return f"CA{24 * prefix}{number:08x}"


_BEGUN = _call("a", 0)
_KEY = {"Authorization": f"Bearer {KEY}"}
FUNCTIONS: Mapping[str, Asking] = {
    "twiml": _ringing("/twiml", "a"),
    "incoming_call": _ringing("/incoming-call", "b"),
    "call_flow": lambda _: _webhook("/call-flow", "?step=idle&prompts=0", call=_BEGUN),
    "call_events": lambda _: replace(_webhook("/call-events", call=_BEGUN, CallStatus="completed"), status=204),
    "calls": lambda _: Asked("GET", "/calls", _KEY),
    # Nothing is dialled: what is asked for is wrong, which is found out before Twilio would be asked.
    "outgoing_call": lambda _: Asked("POST", "/", {**_KEY, "Content-Type": "application/json"}, "{}", 400),
}

_SERVE = "from functions_framework._cli import _cli; _cli()"
# What the frameworks are given to serve when they are alone.
_BARE_FUNCTION = "def bare(request):\n    return 'ok'\n"
_BARE_APP = (
    "import flask, flask_sock\n\napp = flask.Flask(__name__)\nflask_sock.Sock(app)\napp.get('/health')(lambda: 'ok')\n"
)
Row = dict[str, Any]


def with_sqlite(tries: int) -> list[Row]:
    """Rows of the functions and of the stream service with their store in SQLite, and of their frameworks alone."""
    _compile()
    with tempfile.TemporaryDirectory(prefix="callbot-startup-") as folder:
        store = f"sqlite:{folder}/calls.db"
        framework = _framework_alone(tries, Path(folder))
        rows = _functions(tries, "sqlite", store)
        service_alone, service = _service_alone(tries, Path(folder)), _stream_service(tries, store)
    _compare(rows, framework)
    _compare([service], service_alone)
    return [framework, *rows, service_alone, service]


def with_firestore(tries: int) -> list[Row]:
    """Rows of the functions with their store in Firestore, whose emulator must be running."""
    _compile()
    with tempfile.TemporaryDirectory(prefix="callbot-startup-") as folder:
        framework = _framework_alone(tries, Path(folder))
    rows = _functions(tries, "firestore", "firestore:bench")
    _compare(rows, framework)
    return rows


def _compile() -> None:
    for folder in ("functions", "stream_service"):
        compileall.compile_dir(ROOT / folder, quiet=1)


def _compare(rows: Sequence[Row], alone: Row) -> None:
    """By time of processor: others cannot lengthen that."""
    for row in rows:
        row["ratio"] = row["cpu_ms"] / max(1, alone["cpu_ms"])


def _functions(tries: int, store: str, address: str) -> list[Row]:
    rows = []
    for target, asking in FUNCTIONS.items():
        # As in Cloud Run functions: PORT, FUNCTION_TARGET and the source's folder.
        env = {**os.environ, **ENVIRONMENT, "CALL_STORE": address, "FUNCTION_TARGET": target}
        command = [sys.executable, "-c", _SERVE, "--source", "main.py", "--target", target]
        rows.append(_row(target, store, tries, command, env, asking, ROOT / "functions"))
    return rows


def _framework_alone(tries: int, folder: Path) -> Row:
    (folder / "main.py").write_text(_BARE_FUNCTION)
    compileall.compile_dir(folder, quiet=1)
    env = {**os.environ, "FUNCTION_TARGET": "bare"}
    command = [sys.executable, "-c", _SERVE, "--source", "main.py", "--target", "bare"]
    return _row("functions-framework alone", "-", tries, command, env, lambda _: Asked("GET", "/", {}), folder)


def _service_alone(tries: int, folder: Path) -> Row:
    (folder / "bare.py").write_text(_BARE_APP)
    compileall.compile_dir(folder, quiet=1)
    command = [sys.executable, "-m", "gunicorn", "--worker-class=gthread", "--threads=8", "bare:app"]
    return _row("gunicorn and flask-sock alone", "-", tries, command, os.environ, _health, folder)


def _stream_service(tries: int, store: str) -> Row:
    env = {**os.environ, **ENVIRONMENT, "CALL_STORE": store, "OPENAI_API_KEY": "-" * 8, "AMIVOICE_API_KEY": "-" * 8}
    config = "--config=python:stream_service.gunicorn_conf"
    command = [sys.executable, "-m", "gunicorn", config, "stream_service.app:create_app()"]
    return _row("stream service", "sqlite", tries, command, env, _health, ROOT)


def _health(_number: int) -> Asked:
    return Asked("GET", "/health", {})


def _row(
    process: str, store: str, tries: int, command: list[str], env: Mapping[str, str], asking: Asking, folder: Path
) -> Row:
    with machine.confined(machine.SECOND_CORE):  # who asks
        took = [_first_answer(command, env, asking(number), folder) for number in range(tries)]
    least, median = min(took)[0], statistics.median(seconds for seconds, _ in took)
    cpu = min(cpu for _, cpu in took)
    shown = {"least_ms": least, "median_ms": median, "cpu_ms": cpu}
    return {"process": process, "store": store, **{name: round(1000 * value) for name, value in shown.items()}}


def _first_answer(command: list[str], env: Mapping[str, str], asked: Asked, folder: Path) -> tuple[float, float]:
    """From the start of the process to the last byte of its first answer: seconds, and seconds of processor."""
    port = _free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**env, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {machine.FIRST_CORE}),
    )
    try:
        while time.monotonic() - began < GIVE_UP_SECONDS:
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended: {(process.stderr or sys.stdin).read()[-2000:]!r}")
            status = _ask(port, asked)
            if status == asked.status:
                return time.monotonic() - began, machine.usage(process.pid).cpu
            if status is not None:
                raise RuntimeError(f"{command} answered {status} to {asked.path}")
            time.sleep(LOOK_AGAIN_SECONDS)
        raise RuntimeError(f"{command} did not answer in {GIVE_UP_SECONDS:g} s")
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def _ask(port: int, asked: Asked) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_SECONDS)
    try:
        connection.request(asked.method, asked.path, asked.body, dict(asked.headers))
        answer = connection.getresponse()
        answer.read()
    except ConnectionError:
        return None
    finally:
        connection.close()
    return answer.status


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(arguments)
    rows = with_sqlite(asked.tries)
    with tempfile.TemporaryDirectory(prefix="callbot-startup-") as folder, firestore(Path(folder)) as there:
        if there:
            rows += with_firestore(asked.tries)
        else:
            sys.stderr.write("without the Firestore emulator: its rows are missing\n")
    figures = {"machine": machine.description(), "rows": rows}
    sys.stdout.write(table(COLUMNS, rows) + f"\nmachine: {figures['machine']}\n")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
