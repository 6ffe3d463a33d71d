"""What the compiled mover writes by itself, and what it keeps for Python when it cannot. One thread, no pump."""

import errno
import socket
import ssl
from typing import Any

import pytest
from both_codecs import Codec
from short_cut import AUDIO, MEDIA, ShortCut, codec, cut, give, join, take_socket, uplink, vendor

from stream_service.poller import FLUSH, WRITE
from stream_service.wire.frame_decoder import PythonDecoder

__all__ = ["codec", "cut", "uplink", "vendor"]


def test_what_is_written_in_the_same_turn_needs_nobody(cut: ShortCut, vendor: ShortCut) -> None:
    join(cut, vendor)
    assert cut.comes(MEDIA * 2) == []
    assert (vendor.flushes, vendor.outbox.size) == (0, 0)
    decoder = PythonDecoder(True, 1000)
    sent = vendor.theirs.recv(10_000)
    assert vendor.lane.bytes_out == len(sent)
    decoder.feed(sent)
    assert [decoder.pull(), decoder.pull(), decoder.pull()] == [(1, b"<%s>" % AUDIO)] * 2 + [None]


@pytest.mark.parametrize(
    ("taken", "left"),
    [(3, slice(3, None)), (ssl.SSLWantWriteError(), slice(None)), (ssl.SSLWantReadError(), slice(None)),
     (OSError(errno.EPIPE, "gone"), slice(None)), (0, slice(None)), ("text", slice(None))],
)  # fmt: skip
def test_what_tls_does_not_take_is_kept_for_python(
    codec: Codec, cut: ShortCut, uplink: Any, taken: object, left: slice
) -> None:
    with ShortCut(codec, masked=False) as vendor:
        given: list[bytes] = []

        def send(data: bytes) -> Any:
            given.append(data)
            return give(taken)(data)

        lane = take_socket(cut, codec, vendor.ours, send=send)
        uplink.attach(lane.outbox, True, lane)
        assert cut.comes(MEDIA) == [FLUSH]
        assert lane.unwritten == given[0][left]
        assert lane.bytes_out == (3 if taken == 3 else 0)
        if lane.bytes_out == 0:
            assert lane.unwritten is given[0]  # the very same bytes again
        assert cut.comes(MEDIA) == []  # until Python is done with them, nothing overtakes them
        assert len(given) == 1
        assert lane.outbox.size > 0


def test_what_the_socket_does_not_take_is_kept_whole_and_in_order(cut: ShortCut, vendor: ShortCut) -> None:
    join(cut, vendor)
    vendor.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reported: list[int] = []
    count = 0
    while not reported:
        reported = cut.comes(MEDIA)
        count += 1
    assert reported == [FLUSH]
    cut.comes(MEDIA * 5)
    received, sent = b"", vendor.lane.bytes_out
    while len(received) < sent:
        received += vendor.theirs.recv(100_000)
    decoder = PythonDecoder(True, 1000)
    decoder.feed(received + bytes(vendor.lane.unwritten) + vendor.outbox.take(1_000_000))
    assert [decoder.pull() for _ in range(count + 6)] == [(1, b"<%s>" % AUDIO)] * (count + 5) + [None]


def test_a_peer_that_is_gone_is_for_python_to_find_out(cut: ShortCut, vendor: ShortCut) -> None:
    join(cut, vendor)
    vendor.theirs.close()
    cut.mover.modify(vendor.ours.fileno(), 0)
    assert FLUSH in cut.comes(MEDIA)
    assert vendor.lane.unwritten


def test_the_last_frame_is_told(cut: ShortCut, vendor: ShortCut, uplink: Any) -> None:
    join(cut, vendor)

    def finish() -> None:
        vendor.outbox.finish(b"the last frame")
        vendor.lane()

    uplink.attach(vendor.outbox, True, finish)
    assert cut.comes(MEDIA) == [FLUSH]
    assert vendor.theirs.recv(10_000).endswith(b"the last frame")
    assert (vendor.lane.unwritten, vendor.flushes) == (None, 0)


def test_out_of_turn_or_off_the_mover_it_is_python_that_writes(cut: ShortCut, vendor: ShortCut) -> None:
    assert cut.comes(MEDIA) == []  # the vendor is on a mover that does nothing now
    assert (vendor.flushes, vendor.outbox.size > 0) == (1, True)
    vendor.outbox.take(100_000)
    join(cut, vendor)
    vendor.lane()
    assert vendor.flushes == 2
    vendor.lane.live = False
    assert cut.comes(MEDIA) == []
    assert (vendor.flushes, vendor.outbox.size > 0) == (3, True)
    vendor.outbox.take(100_000)
    vendor.lane.live = True
    cut.mover.unregister(vendor.ours.fileno())
    assert cut.comes(MEDIA) == []
    assert (vendor.flushes, vendor.outbox.size > 0) == (4, True)


def test_who_ends_before_it_is_written_is_not(cut: ShortCut, vendor: ShortCut, uplink: Any) -> None:
    join(cut, vendor)

    def end() -> None:
        vendor.lane()
        vendor.lane.live = False

    uplink.attach(vendor.outbox, True, end)
    assert cut.comes(MEDIA) == []
    assert (vendor.lane.bytes_out, vendor.outbox.size > 0) == (0, True)


def test_what_python_has_begun_to_write_python_ends(cut: ShortCut, vendor: ShortCut) -> None:
    join(cut, vendor)
    vendor.outbox.put_control(b"waits")
    assert cut.comes(MEDIA) == []  # somebody was told of what waits, and will write all of it
    assert vendor.flushes == 0
    for name, value, none in (("blocked", True, False), ("interest", WRITE, 0), ("unwritten", b"rest", None)):
        vendor.outbox.take(100_000)
        setattr(vendor.lane, name, value)
        assert cut.comes(MEDIA) == []
        assert vendor.outbox.size > 0
        setattr(vendor.lane, name, none)
    assert vendor.lane.bytes_out == 0
