"""The compiled short cut by itself, on the test's own thread: one lane on a mover, and the peer's end of its socket."""

import base64
import socket
from collections.abc import Callable, Iterator
from math import inf
from types import TracebackType
from typing import Any

import pytest
from both_codecs import Codec, compiled_codec

from stream_service.poller import DELIVER, READ
from stream_service.wire import frames

AUDIO = base64.b64encode(bytes(160))
MEDIA = frames.python_encode(frames.TEXT_FRAME, b'{"event":"media","media":{"payload":"%s"}}' % AUDIO, True)
OTHER = frames.python_encode(frames.TEXT_FRAME, b'{"event":"mark"}', True)


class ShortCut:
    """What a route takes without Python, and in `passed` what it left, as a connection would have pulled it.

    `flushes` counts how often Python was told to write. Time is `now`.
    """

    def __init__(self, codec: Codec, route: Any = None, *, masked: bool = True, limit: int = 100_000) -> None:
        if codec.Mover is None:
            pytest.skip("there is no epoll here")
        self.ours, self.theirs = socket.socketpair()
        self.decoder = codec.Decoder(masked, limit)
        self.outbox = codec.Outbox(1_000_000, 100_000)
        self.flushes = 0
        self.now = 1.0
        self.lane = codec.Lane(self.ours.fileno(), self.decoder, self.outbox, self.flush)
        self.lane.route = route
        self.lane.live = True
        self.lane.bytes_left = self.lane.messages_left = inf
        self.mover = codec.Mover(self._clock)
        self.mover.register(self.ours.fileno(), READ, self.lane)
        self.passed: list[tuple[int, bytes]] = []
        self.events: list[int] = []  # all that was reported
        self._sent = 0

    def flush(self) -> None:
        self.flushes += 1

    def _clock(self) -> float:
        return self.now

    def comes(self, data: bytes) -> list[int]:
        """The peer sends this: what is reported of it. Raises what the decoder refuses it with."""
        self.theirs.sendall(data)
        self._sent += len(data)
        reported: list[int] = []
        while self.lane.bytes_in < self._sent and not any(event != DELIVER for event in reported):
            reported += self.poll()
        return reported

    def poll(self) -> list[int]:
        """One turn; whatever is to be delivered is."""
        reported = [events for _, events in self.mover.poll(0)]
        self.events += reported
        for events in reported:
            if events == DELIVER:
                self.deliver()
        return reported

    def deliver(self) -> None:
        """As a connection does it."""
        route: Callable[[bytes], bool] | None = self.lane.route
        while (pulled := self.decoder.pull()) is not None:
            asked, self.lane.asked = self.lane.asked, False
            if asked or route is None or not route(pulled[1]):
                self.passed.append(pulled)

    def __enter__(self) -> "ShortCut":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.mover.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return compiled_codec()


@pytest.fixture
def uplink(codec: Codec) -> Any:
    return codec.Uplink(b"<", b">", False, 100_000, 100_000)


@pytest.fixture
def cut(codec: Codec, uplink: Any) -> Iterator[ShortCut]:
    """The caller's lane; an uplink is its route."""
    with ShortCut(codec, uplink) as made:
        yield made


@pytest.fixture
def vendor(codec: Codec, uplink: Any) -> Iterator[ShortCut]:
    """Where the uplink's audio goes: on a mover that is not polled, until it is joined with another."""
    with ShortCut(codec, masked=False) as made:
        uplink.attach(made.outbox, True, made.lane)
        yield made


def join(cut: ShortCut, vendor: ShortCut) -> None:
    """Have both lanes on one mover."""
    cut.mover.register(vendor.ours.fileno(), READ, vendor.lane)


def take_socket(cut: ShortCut, codec: Codec, sock: socket.socket, *, receive: Any = None, send: Any = None) -> Any:
    """Another lane on the same mover."""
    lane = codec.Lane(
        sock.fileno(), codec.Decoder(True, 100_000), codec.Outbox(100_000, 1000), cut.flush, receive, send
    )
    lane.route, lane.live = cut.lane.route, True
    lane.bytes_left = lane.messages_left = 1e9
    if sock is cut.ours:
        cut.mover.unregister(sock.fileno())
    cut.mover.register(sock.fileno(), READ, lane)
    return lane


def give(what: object) -> Callable[..., Any]:
    """In the place of TLS: gives this, or raises it."""

    def act(_: object) -> object:
        if isinstance(what, BaseException):
            raise what
        return what

    return act
