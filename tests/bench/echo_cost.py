"""What one message costs on the product's pump, and on flask-sock as it comes: the part of the capacity of a relay that
can be measured with Python alone. Seconds of processor are compared and not of time, so that a busy machine will do.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import websocket

from emulator import processes
from emulator.processes import Supervised
from stream_service.handshake import take_over_opened
from stream_service.wire import frames
from tests.bench import machine
from tests.bench.relays import wait_for_port

CONNECTIONS: Final = 20
MESSAGE_BYTES: Final = 300  # about what 20 ms of audio are as Twilio sends them
SECONDS: Final = 1.0
_WARM_SECONDS: Final = 0.3
_ANSWER_SECONDS: Final = 10.0


def measure() -> list[dict[str, Any]]:
    """A row for the product's pump and one for flask-sock, with the ratio to it. Raises OSError, ProcessFailedError."""
    with _flask_sock() as (port, pid):
        installed = _row("flask-sock as installed", port, pid)
    with _pump() as (port, pid):
        ours = _row("callbot's pump", port, pid)
    ours["ratio"] = ours["cpu_us_per_message"] / max(1e-9, installed["cpu_us_per_message"])
    return [ours, installed]


def _row(server: str, port: int, pid: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_connected(port)) for _ in range(CONNECTIONS)]
        _echo(clients, _WARM_SECONDS)
        before = machine.usage(pid)
        messages = _echo(clients, SECONDS)
        cpu = machine.usage(pid).cpu - before.cpu
    return {"server": server, "messages": messages, "cpu_us_per_message": 1e6 * cpu / messages}


def _echo(clients: list[socket.socket], seconds: float) -> int:
    """Send to everybody and wait for every answer, again and again; how many messages came back."""
    payload = b"x" * MESSAGE_BYTES
    frame, answer_bytes = frames.encode_text(payload, True), len(frames.encode_text(payload, False))
    ends_at, echoed = time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        for client in clients:
            client.sendall(frame)
        for client in clients:
            left = answer_bytes
            while left:
                data = client.recv(left)
                if not data:
                    raise ConnectionError("the server has gone")
                left -= len(data)
        echoed += len(clients)
    return echoed


def _connected(port: int) -> socket.socket:
    ws = websocket.create_connection(f"ws://127.0.0.1:{port}/ws", timeout=_ANSWER_SECONDS)
    sock = take_over_opened(ws)
    sock.settimeout(_ANSWER_SECONDS)
    return sock


@contextlib.contextmanager
def _pump() -> Iterator[tuple[int, int]]:
    with processes.listen() as free:
        port = free.getsockname()[1]
    served = subprocess.Popen([sys.executable, "-m", "tests.bench.echo_server", str(port)])
    try:
        wait_for_port(port)
        yield port, served.pid
    finally:
        served.kill()
        served.wait()


@contextlib.contextmanager
def _flask_sock() -> Iterator[tuple[int, int]]:
    listener = processes.listen()
    command = processes.gunicorn(
        "tests.bench.echo_as_installed:app", listener,
        "--worker-class=gthread", f"--threads={CONNECTIONS + 4}", "--no-control-socket",
    )  # fmt: skip
    served = Supervised("echo", command, env=dict(os.environ), listener=listener)
    served.start()
    try:
        yield listener.getsockname()[1], served.pid
    finally:
        served.stop(1.0)
