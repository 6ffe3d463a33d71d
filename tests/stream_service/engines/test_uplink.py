"""The caller's audio on its way: in the vendor's form, kept for the next session, without a gap and nothing twice."""

import base64
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from both_codecs import Codec, codec, compiled_codec, under_test
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_service.wire import frames
from stream_service.wire.frame_decoder import PythonDecoder, messages

__all__ = ["codec"]  # every test here runs with both

FRAME = 160
IDLE, MOST = 8_000, 80_000


def media(ulaw: bytes) -> bytes:
    return b'{"event":"media","media":{"track":"inbound","payload":"%s"}}' % base64.b64encode(ulaw)


def numbered(number: int) -> bytes:
    return number.to_bytes(4, "big") * (FRAME // 4)


class Vendor:
    """Who gets the audio; `heard` is all of it, `flushes` how often somebody was told to write."""

    def __init__(self, how: Codec, limit: int = 1_000_000) -> None:
        self.outbox = how.Outbox(limit, 1000)
        self.flushes = 0
        self._decoder = PythonDecoder(True, 1_000_000)

    def flush(self) -> None:
        self.flushes += 1

    def attach(self, uplink: Any) -> int:
        start: int = uplink.attach(self.outbox, True, self.flush)
        return start

    def heard(self) -> list[bytes]:
        self._decoder.feed(self.outbox.take(10_000_000))
        return [message.data for message in messages(self._decoder) if isinstance(message, frames.Text | frames.Binary)]


def recogniser(**how: Any) -> Any:
    return under_test.Uplink(b"p", b"", True, IDLE, MOST, **how)


def model() -> Any:
    return under_test.Uplink(b"<", b">", False, IDLE, MOST)


def test_audio_is_passed_on_in_the_vendors_form() -> None:
    for uplink, expected in (
        (recogniser(), b"p" + numbered(1)),
        (model(), b"<" + base64.b64encode(numbered(1)) + b">"),
    ):
        vendor = Vendor(under_test)
        assert vendor.attach(uplink) == 0
        assert uplink(media(numbered(1)))
        assert vendor.heard() == [expected]
        assert uplink.position == FRAME


def test_the_first_to_wait_has_it_written() -> None:
    uplink, vendor = model(), Vendor(under_test)
    vendor.attach(uplink)
    for number in range(3):
        uplink(media(numbered(number)))
    assert vendor.flushes == 1
    vendor.heard()
    uplink(media(numbered(3)))
    assert vendor.flushes == 2


def test_what_was_said_before_comes_first() -> None:
    uplink, vendor = recogniser(), Vendor(under_test)
    uplink.need_from(0)
    for number in range(100):
        uplink(media(numbered(number)))
    assert not uplink.attached
    assert vendor.attach(uplink) == 0
    assert uplink.attached
    uplink(media(numbered(100)))
    assert b"".join(heard[1:] for heard in vendor.heard()) == b"".join(map(numbered, range(101)))


def test_a_lost_session_is_followed_from_what_was_not_understood() -> None:
    uplink, first, second = model(), Vendor(under_test), Vendor(under_test)
    first.attach(uplink)
    for number in range(100):
        uplink(media(numbered(number)))
    uplink.settled(40 * FRAME)
    uplink.detach()
    uplink(media(numbered(100)))
    assert len(first.heard()) == 100
    start = second.attach(uplink)
    assert start == (101 - IDLE // FRAME) * FRAME
    assert second.heard()[0] == b"<" + base64.b64encode(numbered(start // FRAME)) + b">"


def test_an_utterance_that_begins_where_the_last_one_ended_is_still_needed() -> None:
    uplink, vendor = model(), Vendor(under_test)
    uplink.need_from(40 * FRAME)
    for number in range(40):
        uplink(media(numbered(number)))
    uplink.settled(40 * FRAME)
    for number in range(40, 200):
        uplink(media(numbered(number)))
    assert vendor.attach(uplink) == 40 * FRAME


@pytest.mark.parametrize("payload", [b"", b"=", b"A", b"AB=", b"ABC", b"ABCDE", b"=="])
def test_damaged_audio_is_one_frame_less(payload: bytes) -> None:
    uplink, vendor = recogniser(), Vendor(under_test)
    vendor.attach(uplink)
    assert uplink(b'{"event":"media","media":{"payload":"%s"}}' % payload)
    assert (vendor.heard(), uplink.position) == ([], 0)


def test_other_messages_are_others_business() -> None:
    asked: list[bytes] = []

    def other(message: bytes) -> bool:
        asked.append(message)
        return message == b"mine"

    assert not recogniser()(b"mine")
    uplink = recogniser(other=other)
    assert uplink(b"mine")
    assert not uplink(b"not mine")
    assert uplink(media(b"audio"))
    assert asked == [b"mine", b"not mine"]


def test_a_vendor_that_takes_no_more_is_asked_for_nothing() -> None:
    uplink, vendor = model(), Vendor(under_test)
    vendor.attach(uplink)
    vendor.outbox.finish()
    assert uplink(media(numbered(1)))
    assert vendor.flushes == 0


@pytest.mark.parametrize(
    ("message", "limit", "close_code"),
    [
        (b'{"event":"media","media":{"payload":"AAAA"},"streamSid":"\xff"}', 1000, 1007),
        (b'{"event":"media","media":{"payload":"AAAA"},"streamSid":"\xe3\x81', 1000, 1007),
        (media(bytes(100)), 100, 1009),
    ],
)
def test_what_breaks_the_protocol_is_left_to_the_decoder(message: bytes, limit: int, close_code: int) -> None:
    compiled = compiled_codec()
    uplink, decoder = compiled.Uplink(b"", b"", True, IDLE, MOST), compiled.Decoder(False, limit)
    decoder.feed(frames.python_encode(frames.TEXT_FRAME, message, False))
    assert uplink.drain(decoder) == 0
    with pytest.raises(frames.FrameError) as caught:
        decoder.pull()
    assert caught.value.close_code == close_code


@contextlib.contextmanager
def talking(uplink: Any) -> Iterator[None]:
    """The pump's thread, with a caller who never stops."""
    stop = threading.Event()

    def talk() -> None:
        number = 0
        while not stop.is_set():
            uplink(media(numbered(number)))
            number += 1

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def test_nothing_is_lost_or_repeated_between_what_was_kept_and_what_comes() -> None:
    uplink = model()
    with talking(uplink):
        for _ in range(200):
            vendor = Vendor(under_test, limit=100_000_000)
            start = vendor.attach(uplink)
            uplink.detach()
            numbers = [int.from_bytes(base64.b64decode(heard[1:-1])[:4], "big") for heard in vendor.heard()]
            assert numbers == list(range(start // FRAME, start // FRAME + len(numbers)))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.integers(0, 700)),
        st.tuples(st.just("odd"), st.sampled_from([b'{"event":"mark"}', b'{"event":"media"}', b"\xff", b"x" * 5000])),
        st.tuples(st.just("need"), st.integers(-100, 3000)),
        st.tuples(st.just("settled"), st.integers(-100, 3000)),
        st.tuples(st.just("attach"), st.integers(200, 3000)),
        st.tuples(st.just("detach"), st.just(0)),
        st.tuples(st.just("write"), st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.booleans(), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_taking_it_straight_from_the_decoder_is_the_same(
    script: list[tuple[str, Any]], binary: bool, at_once: int
) -> None:
    """The compiled uplink with its decoder, and the one in Python asked message by message."""
    compiled = compiled_codec()
    ours, theirs = (how.Uplink(b"p", b"q", binary, 900, 2000) for how in (Codec(), compiled))
    our_vendor, their_vendor = Vendor(Codec()), Vendor(compiled)
    decoder = compiled.Decoder(True, 10_000)
    queued: list[bytes] = []

    def deliver() -> None:
        decoder.feed(b"".join(frames.python_encode(frames.TEXT_FRAME, message, True) for message in queued))
        left = [message for message in queued if not outcome(ours, message)]
        queued.clear()
        passed: list[bytes] = []
        with contextlib.suppress(frames.FrameError):
            while True:
                theirs.drain(decoder)
                pulled = decoder.pull()
                if pulled is None:
                    break
                if not theirs(pulled[1]):
                    passed.append(pulled[1])
        assert passed == [message for message in left if is_text(message)]

    def outcome(uplink: Any, message: bytes) -> bool:
        return bool(uplink(message)) if is_text(message) else False

    for action, value in script:
        if action in ("hear", "odd"):
            queued.append(media(bytes([value % 251]) * value) if action == "hear" else value)
            if len(queued) >= at_once or value == b"\xff":
                deliver()
            if value == b"\xff":
                return  # the stream is broken here
            continue
        deliver()
        match action:
            case "need":
                ours.need_from(value), theirs.need_from(value)
            case "settled":
                ours.settled(value), theirs.settled(value)
            case "attach":
                our_vendor, their_vendor = Vendor(Codec(), value), Vendor(compiled, value)
                assert our_vendor.attach(ours) == their_vendor.attach(theirs)
            case "detach":
                ours.detach(), theirs.detach()
        assert (ours.position, ours.attached) == (theirs.position, theirs.attached)
        assert our_vendor.outbox.size == their_vendor.outbox.size
        assert our_vendor.outbox.dropped == their_vendor.outbox.dropped
        assert our_vendor.heard() == their_vendor.heard()


def is_text(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
