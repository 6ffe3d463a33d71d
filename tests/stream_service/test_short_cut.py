"""What the compiled mover reads by itself, what it leaves to Python, and how it says so. One thread, no pump."""

import base64
import gc
import socket
import ssl
import struct
import weakref
from typing import Any

import pytest
from both_codecs import Codec
from short_cut import MEDIA, OTHER, ShortCut, codec, cut, give, take_socket, uplink

from stream_service.poller import DELIVER, ENDED, FAILED, READ, WRITE
from stream_service.wire import frames
from stream_service.wire.frame_decoder import PythonDecoder

__all__ = ["codec", "cut", "uplink"]


def test_audio_is_taken_without_a_word_and_counted(cut: ShortCut, uplink: Any) -> None:
    cut.lane.bytes_left, cut.lane.messages_left = 10_000.0, 10.0
    cut.now = 77.5
    assert cut.comes(MEDIA * 3) == []
    assert uplink.position == 3 * 160
    lane = cut.lane
    assert (lane.bytes_in, lane.messages_in, lane.heard_at) == (3 * len(MEDIA), 3, 77.5)
    assert (lane.bytes_left, lane.messages_left) == (10_000 - 3 * len(MEDIA), 7)


@pytest.mark.parametrize(
    ("behind", "passed"),
    [
        (OTHER, [(1, b'{"event":"mark"}')]),
        (OTHER + MEDIA, [(1, b'{"event":"mark"}')]),
        (frames.python_encode(0x82, b"bytes", True), [(2, b"bytes")]),
        (frames.python_encode(0x89, b"ping", True), [(9, b"ping")]),
        (b"\x01\x81\0\0\0\0a" + b"\x80\x81\0\0\0\0b", [(1, b"ab")]),
        (frames.python_encode(0x81, b"x" * 20_000, True), [(1, b"x" * 20_000)]),
        (b"\x81\xff" + (70_000).to_bytes(8, "big") + bytes(4 + 70_000), [(1, bytes(70_000))]),
        (MEDIA[:1], []),
        (MEDIA[:30], []),
        (MEDIA[:-1], []),
    ],
    ids=["other", "other and audio", "bytes", "ping", "fragments", "long", "longer", "byte", "start", "almost"],
)
def test_what_is_no_whole_audio_is_left_and_what_is_before_it_taken(
    cut: ShortCut, uplink: Any, behind: bytes, passed: list[tuple[int, bytes]]
) -> None:
    assert DELIVER in cut.comes(MEDIA + behind)
    assert cut.passed == passed
    assert uplink.position == 160 * (2 if behind.endswith(MEDIA) else 1)
    if behind == MEDIA[: len(behind)]:
        cut.comes(MEDIA[len(behind) :])
        assert uplink.position == 320
    assert cut.comes(MEDIA) == []  # and the short cut goes on


def test_too_long_for_the_short_cut_is_not_too_long(codec: Codec, uplink: Any) -> None:
    big = b'{"event":"media","media":{"payload":"%s"}}' % base64.b64encode(bytes(15_000))
    with ShortCut(codec, uplink, masked=False) as cut:
        assert DELIVER in cut.comes(frames.python_encode(0x81, big, False))
        assert uplink.position == 15_000


def test_a_route_that_is_pythons_is_asked_by_python(cut: ShortCut) -> None:
    for route in (None, lambda _: False, print):
        cut.lane.route = route
        assert cut.comes(OTHER) == [DELIVER]
    assert len(cut.passed) == 3


@pytest.mark.parametrize(
    "state",
    [
        {"live": False}, {"open": False}, {"held": True}, {"backlog": True}, {"interest": WRITE}, {"decoder": None},
        {"decoder": PythonDecoder(True, 1000)},
    ],
)  # fmt: skip
def test_who_is_not_simply_open_is_pythons(cut: ShortCut, uplink: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(cut.lane, name, value)
    cut.theirs.sendall(MEDIA)
    assert cut.mover.poll(0) == [(cut.ours.fileno(), READ)]
    assert (cut.lane.bytes_in, uplink.position) == (0, 0)


def test_who_wants_to_be_written_and_can_be_read_is_pythons(cut: ShortCut) -> None:
    cut.mover.modify(cut.ours.fileno(), READ | WRITE)
    cut.theirs.sendall(MEDIA)
    assert cut.mover.poll(0) == [(cut.ours.fileno(), READ | WRITE)]


@pytest.mark.parametrize(("budget", "taken"), [({"bytes_left": 100.0}, 0), ({"messages_left": 2.0}, 3)])
def test_too_much_is_for_python_to_judge(cut: ShortCut, uplink: Any, budget: dict[str, float], taken: int) -> None:
    for name, value in budget.items():
        setattr(cut.lane, name, value)
    cut.theirs.sendall(MEDIA * 3)
    assert cut.mover.poll(0) == [(cut.ours.fileno(), DELIVER)]
    assert uplink.position == taken * 160
    assert min(cut.lane.bytes_left, cut.lane.messages_left) < 0


def test_the_end_is_told_once_all_is_taken(codec: Codec, uplink: Any) -> None:
    ours, theirs = tcp()
    with ShortCut(codec, uplink) as cut:
        take_socket(cut, codec, ours)
        theirs.sendall(MEDIA * 2)
        theirs.shutdown(socket.SHUT_WR)
        reported: list[tuple[int, int]] = []
        while not reported:
            reported = cut.mover.poll(1)
        assert reported == [(ours.fileno(), ENDED)]
        assert uplink.position == 320
    ours.close()
    theirs.close()


def test_a_reset_is_an_error_or_a_hang_up(codec: Codec, uplink: Any) -> None:
    ours, theirs = tcp()
    with ShortCut(codec, uplink) as cut:
        lane = take_socket(cut, codec, ours)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        ((_, events),) = cut.mover.poll(1)
        if events == FAILED:
            assert isinstance(lane.failed, ConnectionResetError)
        else:
            assert events & ~READ  # epoll says so itself
    ours.close()


def test_only_its_own_socket_has_a_lane(cut: ShortCut, codec: Codec) -> None:
    other = codec.Lane(cut.theirs.fileno(), codec.Decoder(True, 100), cut.outbox, cut.flush)
    with pytest.raises(ValueError, match="another socket"):
        cut.mover.register(cut.ours.fileno(), READ, other)
    with pytest.raises(TypeError):
        cut.mover.register(cut.theirs.fileno(), READ, Codec().Lane(0, None, cut.outbox, cut.flush))
    with pytest.raises(OSError, match="Bad file"):
        cut.mover.register(1_000_000, READ)
    with pytest.raises(OSError, match="Bad file"):
        cut.mover.modify(1_000_000, READ)


class Failing:
    """A downlink whose questions are not answered."""

    def __init__(self, codec: Codec) -> None:
        self.downlink = codec.Downlink(b"[", b"]", b"(", b")", 0, self.fail, lambda _: False)

    def fail(self, *_: object) -> bytes:
        raise LookupError("nobody knows")


def test_an_error_on_the_way_is_the_lanes(codec: Codec) -> None:
    delta = b'{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}'
    with ShortCut(codec, Failing(codec).downlink, masked=False) as cut:
        cut.theirs.sendall(frames.python_encode(0x81, delta, False))
        assert cut.mover.poll(0) == [(cut.ours.fileno(), FAILED)]
        assert isinstance(cut.lane.failed, LookupError)
        assert cut.lane.failed.__traceback__ is not None


def test_what_the_model_says_through_masks_is_pythons(codec: Codec) -> None:
    delta = b'{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}'
    asked: list[object] = []
    downlink = codec.Downlink(b"[", b"]", b"(", b")", 0, lambda *piece: asked.append(piece), lambda _: False)
    with ShortCut(codec, downlink) as cut:
        assert cut.comes(frames.python_encode(0x81, delta, True) * 2) == [DELIVER]
    assert asked == [(3, "i", "r")] * 2


@pytest.mark.parametrize(
    ("comes", "reported"),
    [
        (MEDIA, []),
        (ssl.SSLWantReadError(), []),
        (ssl.SSLWantWriteError(), [READ]),
        (b"", [ENDED]),
        (OTHER, [DELIVER]),
        ("text", [FAILED]),
        (ssl.SSLError("bad record"), [FAILED]),
        (MemoryError(), [FAILED]),
    ],
    ids=["audio", "nothing yet", "python's", "end", "other", "no bytes", "error", "memory"],
)
def test_what_tls_gives(codec: Codec, uplink: Any, comes: object, reported: list[int]) -> None:
    with ShortCut(codec, uplink) as cut:
        lane = take_socket(cut, codec, cut.ours, receive=give(comes))
        cut.theirs.sendall(b"something that only TLS understands")
        assert [events for _, events in cut.mover.poll(0)] == reported
        assert (lane.failed is not None) is (reported == [FAILED])
        assert uplink.position == (160 if comes == MEDIA else 0)


def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    return ours, theirs


def test_whoever_leaves_is_forgotten(codec: Codec) -> None:
    cut = ShortCut(codec)
    gone = weakref.ref(cut)
    cut.mover.unregister(cut.ours.fileno())
    with pytest.raises(OSError, match="No such file"):
        cut.mover.unregister(cut.ours.fileno())
    cut.mover.register(cut.ours.fileno(), READ)
    cut.theirs.sendall(MEDIA)
    assert cut.mover.poll(0) == [(cut.ours.fileno(), READ)]
    cut.mover.close()
    cut.mover.close()
    with pytest.raises(OSError, match="Bad file"):
        cut.mover.poll(0)
    cut.ours.close()
    cut.theirs.close()
    del cut
    gc.collect()
    assert gone() is None
