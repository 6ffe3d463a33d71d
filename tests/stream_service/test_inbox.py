"""What happens to a call, in order: who is woken for it, who is not, and when time itself wakes the call."""

import queue
import threading
import time
from types import SimpleNamespace

import pytest

from stream_service.engines.port import FromVendor, Several
from stream_service.events import Tick
from stream_service.relay import CALM_TICK_SECONDS, INBOX_LIMIT, TICK_SECONDS, Inbox, InboxItem, patience
from stream_service.wire.frames import Text

LONG = 10.0


def words(number: int = 0) -> FromVendor:
    return FromVendor(number, Several([b"words"]), urgent=False)


def test_everything_comes_in_the_order_it_was_put() -> None:
    inbox = Inbox()
    items: list[InboxItem] = [Text(b"first"), words(), Tick(), words(1)]
    for item in items:
        inbox.put(item)
    assert [inbox.take(LONG) for _ in items] == items
    assert inbox.take(0.001) is None


def test_who_waits_is_woken() -> None:
    inbox = Inbox()
    timer = threading.Timer(0.05, inbox.put, [Text(b"news")])
    timer.start()
    began = time.monotonic()
    item = None
    while item is None:  # a wait may end for nothing
        item = inbox.take(LONG)
    assert item == Text(b"news")
    assert time.monotonic() - began < LONG / 2
    timer.join()


def test_what_is_in_no_hurry_wakes_nobody_but_is_there_when_they_wake() -> None:
    inbox = Inbox()
    timer = threading.Timer(0.02, inbox.put, [words()])
    timer.start()
    began = time.monotonic()
    assert inbox.take(0.3) == words()
    assert time.monotonic() - began >= 0.3
    timer.join()


def test_what_is_urgent_brings_along_what_was_not() -> None:
    inbox = Inbox()

    def put() -> None:
        inbox.put(words())
        inbox.put(Text(b"urgent"))

    timer = threading.Timer(0.02, put)
    timer.start()
    assert inbox.take(LONG) == words()
    assert inbox.take(LONG) == Text(b"urgent")
    timer.join()


def test_a_call_too_far_behind_is_lost() -> None:
    inbox = Inbox()
    for _ in range(INBOX_LIMIT):
        inbox.put(words())
    with pytest.raises(queue.Full):
        inbox.put(Tick())


def test_nobody_sleeps_through_anything_however_many_put() -> None:
    inbox = Inbox()
    count, putters = INBOX_LIMIT // 5, 4

    def put(putter: int) -> None:
        for number in range(count):
            inbox.put(FromVendor(putter, Text(b"%d" % number)))

    threads = [threading.Thread(target=put, args=(putter,)) for putter in range(putters)]
    for thread in threads:
        thread.start()
    seen: dict[int, list[bytes]] = {putter: [] for putter in range(putters)}
    deadline = time.monotonic() + LONG
    while sum(map(len, seen.values())) < count * putters:
        item = inbox.take(1.0)
        assert time.monotonic() < deadline
        if isinstance(item, FromVendor) and isinstance(item.news, Text):
            seen[item.epoch].append(item.news.data)
    for thread in threads:
        thread.join(LONG)
    assert all(numbers == [b"%d" % number for number in range(count)] for numbers in seen.values())


@pytest.mark.parametrize(
    ("patient", "calm", "due_in", "seconds"),
    [
        (False, True, None, TICK_SECONDS),
        (True, False, None, TICK_SECONDS),
        (True, True, None, CALM_TICK_SECONDS),
        (True, True, 0.7, 0.7),
        (True, True, 30.0, CALM_TICK_SECONDS),
        (True, True, -0.1, TICK_SECONDS),  # what was due could not be done, and is looked at again
        (False, True, 0.05, 0.05),
        (False, True, 30.0, TICK_SECONDS),
    ],
)
def test_a_call_wakes_for_what_is_due(patient: bool, calm: bool, due_in: float | None, seconds: float) -> None:
    now = 100.0
    session = SimpleNamespace(patient=patient, due_at=None if due_in is None else now + due_in)
    assert patience(session, calm, now) == pytest.approx(seconds)  # type: ignore[arg-type]  # all of it that is used
