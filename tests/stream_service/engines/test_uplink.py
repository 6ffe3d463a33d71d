"""The caller's audio on its way: in the vendor's form, kept for the next session, without a gap and nothing twice."""

import base64
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from both_codecs import codec, under_test

from engines.callers_and_vendors import FRAME, IDLE, MOST, Vendor, media, numbered

__all__ = ["codec"]  # every test here runs with both


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
