"""`python -m tests.bench.cold_start`: what callers notice of a stream service that needs three seconds to start.

    python -m tests.bench.cold_start --json cold.json

Behind a door that opens three seconds after the first connection and holds all of them until then, as Cloud Run does
for an instance that starts. Somebody is rung up and picks up after four seconds: with the service woken when the call
was dialled, and without (at an address that only the emulated Twilio can find).
"""

import argparse
import contextlib
import json
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emulator import processes
from emulator.deployment import Deployment
from emulator.twilio import Caller, HangUp, Listen, Speak, Step
from emulator.twilio.events import Answered, BotSpeaks, CallerFinished, Event, StreamOpened
from tests.bench import machine
from tests.bench.table import Column, table

START_SECONDS = 3.0
RING_SECONDS = 4.0
CALL_SECONDS = 40.0
CALLEE = "+819033334444"
COLUMNS = (
    Column("engine", "engine"), Column("woken", "woken"), Column("answer → stream ms", "stream_ms"),
    Column("answer → first sound ms", "sound_ms"), Column("question → answer ms", "answer_ms"),
)  # fmt: skip


class Moments:
    """When what happened first in a call (monotonic seconds)."""

    def __init__(self) -> None:
        self.answered = self.stream = self.sound = self.asked = self.reply = 0.0

    def take(self, event: Event) -> None:
        now = time.monotonic()
        match event:
            case Answered():
                self.answered = now
            case StreamOpened():
                self.stream = self.stream or now
            case BotSpeaks() if self.asked:
                self.reply = self.reply or now
            case BotSpeaks():
                self.sound = self.sound or now
            case CallerFinished():
                self.asked = self.asked or now


class LateDoor:
    """A port whose connections reach the service behind it, but none before it has started."""

    def __init__(self) -> None:
        self._listener = processes.listen()
        self.address = processes.address(self._listener)
        self.port = self._listener.getsockname()[1]
        self._opens_at: float | None = None

    def lead_to(self, url: str) -> None:
        port = urlsplit(url).port
        threading.Thread(target=self._serve, args=(port,), daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self, port: int) -> None:
        while True:
            try:
                outside, _ = self._listener.accept()
            except OSError:
                return
            self._opens_at = self._opens_at or time.monotonic() + START_SECONDS
            threading.Thread(target=self._let_in, args=(outside, port, self._opens_at), daemon=True).start()

    def _let_in(self, outside: socket.socket, port: int, opens_at: float) -> None:
        time.sleep(max(0.0, opens_at - time.monotonic()))
        inside = socket.create_connection(("127.0.0.1", port))
        for a, b in ((outside, inside), (inside, outside)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_carry, args=(a, b), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def measure(engine: str, *, woken: bool) -> dict[str, Any]:
    """One call whose stream service does not run yet."""
    moments, door = Moments(), LateDoor()
    host = f"localhost:{door.port}" if woken else "door.callbot.localhost"
    with (
        tempfile.TemporaryDirectory(prefix="callbot-cold-") as folder,
        Deployment(Path(folder), settings={"STREAM_URL": f"wss://{host}/ws"}) as system,
    ):
        door.lead_to(system.stream.url)
        system.carrier.tunnels[host] = door.address
        recording = system.vendors.library["price"]
        script: list[Step] = [Listen(0.3), Speak(recording.ulaw, recording.text), Listen(0.3, 8), HangUp()]
        system.carrier.callees = {CALLEE: Caller(script, max_seconds=CALL_SECONDS, ring_seconds=RING_SECONDS)}
        call = system.carrier.calls[_dial(system, engine)]
        call.subscribe(moments.take)
        call.wait(CALL_SECONDS)
        door.close()
    spans = {
        "stream_ms": moments.stream - moments.answered,
        "sound_ms": moments.sound - moments.answered,
        "answer_ms": moments.reply - moments.asked,
    }
    return {"engine": engine, "woken": woken, **{name: round(1000 * seconds) for name, seconds in spans.items()}}


def _dial(system: Deployment, engine: str) -> str:
    body = json.dumps({"phoneNumber": CALLEE, "engine": engine}).encode()
    headers = {"Authorization": f"Bearer {system.trigger_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{system.functions.url}/outgoing-call", body, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(json.load(answer)["callSid"])


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(arguments)
    rows = [measure(engine, woken=woken) for engine in ("amivoice", "realtime") for woken in (True, False)]
    figures = {"machine": machine.description(), "rows": rows}
    sys.stdout.write(table(COLUMNS, rows) + f"\nmachine: {figures['machine']}\n")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
