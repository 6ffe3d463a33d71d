"""An engine at work: real sockets, a real pump, and the test's own thread in the place of the call's."""

import base64
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from callbot.settings import Settings
from stream_service.engines.port import Engine, FromVendor, Post
from stream_service.events import Event

PATIENCE = 15.0
FRAME = 160  # bytes: 20 ms
KEY = "right-key"

E = TypeVar("E")


def settings(**vendors: str) -> Settings:
    """Settings for a process whose vendors are where `vendors` says."""
    return Settings.read(
        {
            "TWILIO_ACCOUNT_SID": "AC1",
            "TWILIO_AUTH_TOKEN": "token",
            "OPENAI_API_KEY": KEY,
            "AMIVOICE_API_KEY": KEY,
            "STREAM_URL": "wss://stream.example/ws",
            "STREAM_TICKET_SECRET": "ticket-secret",
            **vendors,
        }
    )


def until(condition: Callable[[], object]) -> None:
    """Waits for what the emulators' threads do. AssertionError when they do not."""
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


class Desk:
    """Where an engine's news arrives and its clock ticks. `events` is all that the session would have heard."""

    def __init__(self) -> None:
        self.inbox: queue.Queue[FromVendor | Event] = queue.Queue()
        self.events: list[Event] = []
        self.engine: Engine | None = None

    @property
    def post(self) -> Post:
        return self.inbox.put

    def begin(self, engine: Engine) -> None:
        self.engine = engine
        engine.start()

    def work(self, seconds: float = 0.05) -> None:
        """One step of the call's thread."""
        assert self.engine is not None
        try:
            item = self.inbox.get(timeout=seconds)
        except queue.Empty:
            item = None
        now = time.monotonic()
        if isinstance(item, FromVendor):
            self.events += self.engine.receive(item, now)
        elif item is not None:
            self.events.append(item)
        self.events += self.engine.tick(now)

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.events
            self.work()

    def next(self, kind: type[E], count: int = 1) -> E:
        """The `count`th event of this kind, once it is there."""
        self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def hear(self, ulaw: bytes) -> None:
        """The caller's audio, as Twilio sends it."""
        assert self.engine is not None
        for start in range(0, len(ulaw), FRAME):
            payload = base64.b64encode(ulaw[start : start + FRAME])
            assert self.engine.uplink(b'{"event":"media","media":{"track":"inbound","payload":"' + payload + b'"}}')


class NoChat:
    """Writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def warm_up(self) -> None:
        self.asked.append("warm up")

    def ask(self, turn: int, messages: object, *_: object) -> None:
        self.asked.append((turn, messages))

    def cancel(self, turn: int) -> None:
        self.asked.append(turn)

    def close(self) -> None:
        self.asked.append("close")
