"""What happens to a call, in order: who is woken for it, who is not, and when time itself wakes the call."""

import queue
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from stream_service.engines.port import FromVendor, Several, Urgency
from stream_service.events import AgentAudioStarted, PlaybackReached, ResponseStarted, Tick
from stream_service.inbox import CALM_TICK_SECONDS, INBOX_LIMIT, TICK_SECONDS, Inbox, InboxItem, patience
from stream_service.wire.frames import Text

LONG = 10.0


def nobody_calls(_at: float, _action: Callable[[], None]) -> None:
    """In these tests nothing has a time."""


def taken(inbox: Inbox) -> list[InboxItem]:
    return [item for _, item in inbox.taken()]


def words(number: int = 0) -> FromVendor:
    return FromVendor(number, Several([b"words"]), Urgency.WHENEVER)


def waited(inbox: Inbox, put: list[InboxItem], timeout: float, *, attentive: bool = False) -> float:
    """How many seconds it was waited, while all that is `put` came soon after the beginning."""
    timer = threading.Timer(0.02, lambda: [inbox.put(item) for item in put])
    began = time.monotonic()
    timer.start()
    until = began + timeout
    while not inbox._items and (left := until - time.monotonic()) > 0:  # a wait may end for nothing
        inbox.wait(left, attentive)
    timer.join()
    return time.monotonic() - began


def test_everything_comes_in_the_order_it_was_put_and_with_the_time() -> None:
    times = iter([1.0, 2.0, 4.0, 5.0])
    inbox = Inbox(nobody_calls, lambda: next(times))
    items: list[InboxItem] = [Text(b"first"), words(), Tick(), words(1)]
    for item in items:
        inbox.put(item)
    assert list(inbox.taken()) == list(zip([1.0, 2.0, 4.0, 5.0], items, strict=True))
    assert taken(inbox) == []


def test_what_is_not_asked_for_stays() -> None:
    inbox = Inbox(nobody_calls)
    for number in range(3):
        inbox.put(words(number))
    assert next(inbox.taken())[1] == words(0)
    assert taken(inbox) == [words(1), words(2)]


def test_what_comes_while_others_are_seen_to_is_for_the_next_time() -> None:
    inbox = Inbox(nobody_calls)
    inbox.put(words(0))
    for _, item in inbox.taken():
        assert item == words(0)
        inbox.put(words(1))
    assert taken(inbox) == [words(1)]


def test_nobody_waits_while_there_is_something() -> None:
    inbox = Inbox(nobody_calls)
    inbox.put(words())
    began = time.monotonic()
    inbox.wait(LONG)
    assert time.monotonic() - began < LONG / 2


@pytest.mark.parametrize("item", [Text(b"news"), FromVendor(0, Text(b"news")), ResponseStarted("r1"), Tick()])
def test_who_waits_is_woken(item: InboxItem) -> None:
    inbox = Inbox(nobody_calls)
    assert waited(inbox, [item], LONG) < LONG / 2
    assert taken(inbox) == [item]


@pytest.mark.parametrize(
    "item",
    [words(), FromVendor(0, Text(b"again"), Urgency.WHENEVER), AgentAudioStarted("r1", "i1"), PlaybackReached("a0-1")],
)
def test_what_is_in_no_hurry_wakes_nobody_but_the_attentive(item: InboxItem) -> None:
    inbox = Inbox(nobody_calls)
    assert waited(inbox, [item], 0.3) >= 0.3
    assert taken(inbox) == [item]
    assert waited(inbox, [item], LONG, attentive=True) < LONG / 2
    assert taken(inbox) == [item]


def test_what_is_urgent_brings_along_what_was_not() -> None:
    inbox = Inbox(nobody_calls)
    assert waited(inbox, [words(), Text(b"urgent")], LONG) < LONG / 2
    assert taken(inbox) == [words(), Text(b"urgent")]


def test_a_call_too_far_behind_is_lost() -> None:
    inbox = Inbox(nobody_calls)
    for _ in range(INBOX_LIMIT):
        inbox.put(words())
    with pytest.raises(queue.Full):
        inbox.put(Tick())


def test_nobody_sleeps_through_anything_however_many_put() -> None:
    inbox = Inbox(nobody_calls)
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
        inbox.wait(1.0)
        assert time.monotonic() < deadline
        for item in taken(inbox):
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
