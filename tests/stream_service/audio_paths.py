"""A call's audio path for tests of the pump: two links, and the routes between them that rewrap what passes."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from both_codecs import under_test
from pump_peers import GENEROUS, PATIENCE, Ears, Peer, Scene, running_pump
from tls_peers import Vendor

from stream_service.pump import Limits
from stream_service.wire import frames

KEPT = 800  # bytes of mu-law
DELTA = b'{"type":"response.output_audio.delta","response_id":"%s","item_id":"i1","delta":"%s"}'


def media(number: int, size: int = 160) -> bytes:
    """What Twilio sends; the number can be read again with `number_in`."""
    return b'{"event":"media","media":{"payload":"%s"}}' % _numbered(number, size)


def delta(number: int, size: int = 160, response: bytes = b"r1") -> bytes:
    """What the model sends."""
    return DELTA % (response, _numbered(number, size))


def _numbered(number: int, size: int) -> bytes:
    return base64.b64encode(number.to_bytes(4, "big") * (size // 4))


def appended(number: int, size: int = 160) -> bytes:
    """What the vendor gets for it."""
    return b"<%s>" % _numbered(number, size)


def played(number: int, size: int = 160) -> bytes:
    """What Twilio gets for it."""
    return b"[%s]" % _numbered(number, size)


def number_in(message: bytes) -> int:
    return int.from_bytes(base64.b64decode(message[1:-1])[:4], "big")


def text(message: bytes, *, masked: bool) -> bytes:
    """Its frame."""
    return frames.python_encode(frames.TEXT_FRAME, message, masked)


class AudioPath:
    """Both links of a call. `told` is all that Python heard of, in order, with the place in the audio where it came.

    What the model says of the response `marked` has a mark behind each piece; of `dropped` nothing is to be heard; what
    begins with `mine` is taken, what begins with `fail` fails, as does what is said of the response `fail`.
    `before` comes with the vendor's handshake; with `pieces` what it sends comes so many bytes at a time, when it has
    a certificate.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        certificate: Path | None = None,
        carrier_limits: Limits = GENEROUS,
        vendor_limits: Limits = GENEROUS,
        small_buffers: bool = False,
        before: bytes = b"",
        pieces: int | None = None,
    ) -> None:
        self.told: list[tuple[str, bytes, int]] = []
        self.pieces: list[int] = []  # of the model's audio: their sizes
        self.ears, self.vendor_ears = Ears(), Ears()
        self.uplink = under_test.Uplink(b"<", b">", False, KEPT, KEPT, self._other)
        self.downlink = under_test.Downlink(b"[", b"]", b"(", b")", 0, self._passes, self._event)
        self.carrier, self.caller, _ = scene.link(
            name="carrier", limits=carrier_limits, route=self.uplink, ears=self.ears, small_buffers=small_buffers
        )
        if certificate is None:
            self.vendor, self.model, _ = scene.link(
                name="vendor", server=False, limits=vendor_limits, route=self.downlink, ears=self.vendor_ears,
                held=True, small_buffers=small_buffers, initial=before,
            )  # fmt: skip
        else:
            vendor = Vendor(
                scene, certificate, limits=vendor_limits, route=self.downlink, ears=self.vendor_ears, held=True,
                small_buffers=small_buffers, before=before, pieces=pieces,
            )  # fmt: skip
            self.vendor, self.model = vendor.link, vendor.peer
        wait_for(lambda: self.carrier.lane.live and self.vendor.lane.live)
        self.downlink.attach(*self.carrier.inlet)
        self.uplink.attach(*self.vendor.inlet)
        self.vendor.release()

    def _other(self, message: bytes) -> bool:
        if message.startswith(b"fail"):
            raise LookupError(message)
        self.told.append(("caller", message, self.uplink.position))
        return message.startswith(b"mine")

    def _event(self, message: bytes) -> bool:
        if message.startswith(b"fail"):
            raise LookupError(message)
        self.told.append(("model", message, len(self.pieces)))
        return message.startswith(b"mine")

    def _passes(self, size: int, item: str, response: str) -> bytes | None:
        if response == "fail":
            raise LookupError(item)
        self.pieces.append(size)
        if response == "dropped":
            return None
        return b"m%d" % len(self.pieces) if response == "marked" else b""


def wait_for(condition: Callable[[], object]) -> None:
    """Until the pump has come so far, where nobody is told. AssertionError when it does not."""
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.002)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with running_pump() as running:
        yield running


@pytest.fixture(params=["plain", "tls"])
def secret(request: pytest.FixtureRequest, certificate: Path) -> Path | None:
    """The vendor's certificate, when it has one."""
    return certificate if request.param == "tls" else None


def assert_flows(path: AudioPath) -> None:
    """It does, both ways."""
    path.caller.send_raw(text(media(7_000), masked=True))
    path.model.send_raw(text(delta(7_001), masked=False))
    assert path.model.next_data() == appended(7_000)
    assert path.caller.next_data() == played(7_001)


def numbers(peer: Peer, last: int) -> list[int]:
    """Of the audio that comes, up to one of them; marks and the like are passed over."""
    got: list[int] = []
    while not got or got[-1] != last:
        message = peer.next_data()
        if message[:1] in b"<[":
            got.append(number_in(message))
    return got
