"""Whatever a caller and a model send, in whatever pieces: it comes out as the rules say, and Python hears what it must.

The rules are those of a list: message by message, as if there were no sockets, no pieces and no short cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from audio_paths import AudioPath, delta, media, text, wait_for
from both_codecs import way
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pump_peers import Peer, Scene, running_pump
from wsproto.frame_protocol import Opcode

from stream_service.pump import Link
from stream_service.wire import frames

__all__ = ["way"]  # every test here runs both ways

END = b"mine, the end"


@pytest.fixture(scope="module")
def scene(way: str) -> Iterator[Scene]:
    with running_pump() as running:
        yield running


@dataclass
class Side:
    """What one side sends, and what has to come of it."""

    masked: bool
    wire: bytes = b""
    out: list[bytes] = field(default_factory=list)  # at the other end
    told: list[tuple[bytes, int]] = field(default_factory=list)  # to the routes, and where in the audio
    passed: list[frames.Text | frames.Binary] = field(default_factory=list)  # to on_message
    pongs: list[bytes] = field(default_factory=list)
    pieces: int = 0

    def sends(self, kind: str, number: int) -> None:
        """The next message on its way."""
        match kind:
            case "ping":
                self.pongs.append(b"%d" % number)
                self._frame(0x89, self.pongs[-1])
            case "audio" | "long audio" | "audio in binary" | "audio in fragments":
                size = 12_400 if kind == "long audio" else 4 * (1 + number % 50)
                self._audio(kind, media(number, size) if self.masked else delta(number, size), size)
            case "marked" | "dropped" if not self.masked:
                self._audio(kind, delta(number, 160, kind.encode()), 160)
            case _:
                message = b"mine %d" % number if kind == "mine" else b"%s %d" % (kind.encode(), number)
                self.told.append((message, self._place()))
                if kind != "mine":
                    self.passed.append(frames.Binary(message) if kind == "binary" else frames.Text(message))
                self._frame(0x82 if kind == "binary" else 0x81, message)

    def _audio(self, kind: str, message: bytes, size: int) -> None:
        payload = message[message.rindex(b":") + 2 : message.rindex(b'"')]
        self.pieces += 1 if not self.masked else size
        if kind != "dropped":
            self.out.append((b"<%s>" if self.masked else b"[%s]") % payload)
        if kind == "marked":
            self.out.append(b"(m%d)" % self.pieces)
        if kind == "audio in fragments":
            half = len(message) // 2
            self._frame(0x01, message[:half])
            self._frame(0x80, message[half:])
        else:
            self._frame(0x82 if kind == "audio in binary" else 0x81, message)

    def _place(self) -> int:
        return self.pieces

    def _frame(self, first: int, payload: bytes) -> None:
        self.wire += frames.python_encode(first, payload, self.masked)


kinds = st.sampled_from(
    ["audio"] * 6 + ["marked", "dropped", "mine", "word", "binary", "ping", "long audio", "audio in binary"]
    + ["audio in fragments"]
)  # fmt: skip
steps = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(kinds, max_size=8),
        st.sampled_from([1, 2, 3, 10, 100, 1000, 10_000, 100_000]),
        st.sampled_from(["", "", "", "hold", "release"]),
    ),
    max_size=8,
)


@given(steps)
@example([(masked, ["audio", "mine", "audio", "word", "ping", "audio"], 50, "") for masked in (True, False)])
@example([(False, ["marked", "dropped", "audio", "long audio"] * 2, 100_000, "hold"), (True, ["audio"], 1, "release")])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_traffic(scene: Scene, script: list[tuple[bool, list[str], int, str]]) -> None:
    path = AudioPath(scene)
    sides = {True: Side(masked=True), False: Side(masked=False)}
    number = 0
    for masked, messages, at_once, steer in script:
        side, peer = sides[masked], path.caller if masked else path.model
        link = path.carrier if masked else path.vendor
        start = len(side.wire)
        for kind in messages:
            number += 1
            side.sends(kind, number)
        if steer:
            (link.hold if steer == "hold" else link.release)()
        send_in_pieces(peer, side.wire[start:], at_once)
    for masked, peer, link in ((True, path.caller, path.carrier), (False, path.model, path.vendor)):
        link.release()
        peer.send_raw(text(END, masked=masked))
    for name, masked, ears in (("caller", True, path.ears), ("model", False, path.vendor_ears)):
        side = sides[masked]
        ended = (name, END, side.pieces)
        wait_for(lambda: ended in path.told or ears.lost)  # noqa: B023 - called at once
        assert [one[1:] for one in path.told if one[0] == name] == [*side.told, ended[1:]]
        assert ears.messages == side.passed
    assert everything(path.model, path.vendor) == (sides[True].out, sides[False].pongs)
    assert everything(path.caller, path.carrier) == (sides[False].out, sides[True].pongs)
    for link, peer, ears in ((path.carrier, path.caller, path.ears), (path.vendor, path.model, path.vendor_ears)):
        link.abort()
        ears.wait_until_lost()
        peer.close()
        scene.peers.remove(peer)


def send_in_pieces(peer: Peer, data: bytes, size: int) -> None:
    """Few bytes at a time only for the first: the rest would take long and show nothing more."""
    for start in range(0, min(len(data), 30 * size), size):
        peer.send_raw(data[start : start + size])
    peer.send_raw(data[30 * size :])


def everything(peer: Peer, link: Link) -> tuple[list[bytes], list[bytes]]:
    """All that has been sent to a peer: messages, and answers to its pings."""
    link.send_text(END)
    data: list[bytes] = []
    pongs: list[bytes] = []
    while True:
        opcode, payload = peer.next()
        if payload == END:
            return data, pongs
        (pongs if opcode is Opcode.PONG else data).append(payload)
