"""The compiled codec keeps nothing that nobody needs: no object, no memory, no descriptor, and no circle of them."""

import base64
import contextlib
import gc
import socket
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from both_codecs import Codec, compiled_codec

from stream_service.wire import frames
from stream_service.wire.frames import FrameError

PYTHON = Codec()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return compiled_codec()


def test_nothing_is_kept_that_nobody_needs(codec: Codec) -> None:
    media = b'{"event":"media","media":{"payload":"%s"}}' % base64.b64encode(bytes(160))
    stream = (
        PYTHON.encode(frames.TEXT_FRAME, media, True)
        + PYTHON.encode(0x01, b"a", True)
        + PYTHON.encode(0x80, b"b", True)
    )
    other = PYTHON.encode(0x82, bytes(300), True)
    delta = b'{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}'
    words = b'{"type":"response.output_audio_transcript.delta","response_id":"r","item_id":"i","delta":"AAAA"}'
    mark = b'{"event":"mark","mark":{"name":"a0-12"}}'

    def scene() -> None:
        decoder, outbox = codec.Decoder(True, 1000), codec.Outbox(600, 600)
        uplink = codec.Uplink(b"p", b"", True, 800, 800, lambda _: True)
        keeper = [uplink]
        uplink.need_from(5)
        uplink.attach(outbox, True, lambda: keeper.append(outbox))  # a circle, which only the collector can open
        for _ in range(8):
            decoder.feed(stream[:50])
            decoder.feed(stream[50:] + other)
            while decoder.pull() is not None:
                pass
            uplink(media)
            uplink(b"other")
        uplink.settled(300)
        downlink = codec.Downlink(b"p", b"", b"m", b"", 0, lambda *_: keeper and b"mark", lambda _: bool(keeper))
        keeper.append(downlink)
        downlink.attach(outbox, False, lambda: keeper.append(outbox))
        for gathered in ([words], [downlink]):
            downlink.gather(gathered)
            for message in (delta, words, b"other"):
                downlink(message)
        repeats = codec.Repeats(b"o", keeper.append)
        keeper.append(repeats)
        for message in (other, other, words, mark):
            repeats(message)
        playout = codec.Playout(1, lambda: 5.0)
        playout.tell(lambda *first: keeper.append(first), lambda mark: keeper.append([mark, playout]))
        keeper.append(playout)
        for item in ("first", "second"):
            for _ in range(6):
                playout.passes(160, item, "r")
        for number in range(1, 12):
            playout.mark_returns(b'{"event":"mark","mark":{"name":"a0-%d"}}' % number)
        playout.mark_returns(mark)  # the last
        playout.drop("r2")
        playout.passes(160, "third", "r2")
        playout.clear(5.01)
        playout.sent("third", 80, 6.0)
        playout.reached(playout.last_mark(), 6.0)
        outbox.put_control(bytes(100))
        outbox.take(500)
        outbox.discard_audio()
        decoder.feed(b"\x83\x80")
        with contextlib.suppress(FrameError):
            decoder.pull()

    given_objects = (media, stream, other, delta, words, mark)
    counts = [sys.getrefcount(one) for one in given_objects]
    assert kept_by(scene) < 40_000  # bytes; the smallest object, lost in each scene, would be more than twice as much
    assert [sys.getrefcount(one) for one in given_objects] == counts


@pytest.mark.skipif(sys.platform != "linux", reason="it is made of epoll")
def test_no_circle_of_lanes_and_routes_and_movers_is_kept(codec: Codec) -> None:
    media = b'{"event":"media","media":{"payload":"%s"}}' % base64.b64encode(bytes(160))
    delta = b'{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"AAAA"}'
    wire = PYTHON.encode(frames.TEXT_FRAME, media, True)
    model_wire = PYTHON.encode(frames.TEXT_FRAME, delta, False) + PYTHON.encode(0x82, bytes(30), False)

    class Call:
        """Knows everybody, and everybody knows it."""

        def passes(self, *_: object) -> bytes:
            return b"mark"

        def other(self, _: bytes) -> bool:
            raise KeyError

        def now(self) -> float:
            return 1.0

    def scene() -> None:
        call = Call()
        uplink = codec.Uplink(b"p", b"", True, 800, 800, call.other)
        downlink = codec.Downlink(b"p", b"", b"m", b"", 0, call.passes, call.other)
        pairs = [socket.socketpair(), socket.socketpair()]
        mover = codec.Mover(call.now)
        lanes = []
        for (ours, _), route, masked in zip(pairs, (uplink, downlink), (True, False), strict=True):
            lane = codec.Lane(ours.fileno(), codec.Decoder(masked, 1000), codec.Outbox(600, 600), call.now, None, None)
            lane.route, lane.live, lane.bytes_left, lane.messages_left = route, True, 1e9, 1e9
            mover.register(ours.fileno(), 1, lane)
            lanes.append(lane)
        uplink.attach(lanes[1].outbox, True, lanes[1])
        downlink.attach(lanes[0].outbox, False, lanes[0])
        for _ in range(3):
            pairs[0][1].send(wire)
            pairs[1][1].send(model_wire)
            mover.poll(0)
        lanes[1].failed = KeyError(call)
        lanes[0].unwritten = b"left over"
        vars(call).update(lanes=lanes, mover=mover, uplink=uplink, downlink=downlink, pairs=pairs)
        for ours, theirs in pairs:
            ours.close()
            theirs.close()

    given_objects = (media, delta, wire, model_wire)
    counts = [sys.getrefcount(one) for one in given_objects]
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    assert kept_by(scene, rounds=200) < 20_000
    assert [sys.getrefcount(one) for one in given_objects] == counts
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def kept_by(scene: Callable[[], None], rounds: int = 400) -> int:
    """How many bytes so many scenes leave behind."""
    for _ in range(100):
        scene()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(50):
            scene()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(rounds):
            scene()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before
