"""What happens to a call, in order, and for what of it the call's thread is woken. Nothing here knows what it means."""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from math import inf

from stream_service.engines.port import FromVendor, Urgency
from stream_service.events import AgentAudioStarted, Event, PlaybackReached
from stream_service.guess import STABLE_SECONDS
from stream_service.limits import Lost
from stream_service.session import CallSession
from stream_service.wire.frames import Binary, Text

TICK_SECONDS = 0.2
# Waking its thread is what a call that only passes audio costs most. Whatever has a deadline says so; this is for the
# rest: a session that has lived long enough, a sign of life for `/call-flow`, what was not worth waking for.
CALM_TICK_SECONDS = 10.0
# What the caller has said is answered within a second, and nobody need wake because it was said. If it is not, there is
# time left to do something: the session gives the model 2.1 s from here.
ANSWERED_SECONDS = 1.5
# When what the caller is saying has stood for so long, something can be made of it.
UNLESS_MORE_SECONDS = STABLE_SECONDS
# How long the record may be without a response that was made. Its end is most often behind it by then.
SOON_SECONDS = 2.0
INBOX_LIMIT = 5_000  # events; a call that is so far behind is lost

InboxItem = FromVendor | Event | Text | Binary | Lost


class Inbox:
    """Everything that happens to a call, in order, and when it came. Any thread may put; only the call's own takes.

    `call_at` is how to have something done at a time of this clock, by any thread.
    """

    def __init__(
        self, call_at: Callable[[float, Callable[[], None]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._call_at = call_at
        self._clock = clock
        self._items: deque[tuple[float, InboxItem]] = deque()
        self._waiting = False
        self._attentive = False
        self._wake = threading.Lock()  # held, except to end a wait
        self._wake.acquire()
        self._stable_due = self._answered_due = self._soon_due = self._rings_at = inf

    def put(self, item: InboxItem) -> None:
        """Raises queue.Full when the call is too far behind; on the pump's thread that ends its link."""
        if len(self._items) >= INBOX_LIMIT:
            raise queue.Full
        now = self._clock()
        self._items.append((now, item))
        how_soon = urgency(item)
        if self._attentive or how_soon is Urgency.AT_ONCE:
            self._end_the_wait()
        elif how_soon is Urgency.UNLESS_MORE:
            self._stable_due = now + UNLESS_MORE_SECONDS
            self._ring_at(self._stable_due)
        elif how_soon is Urgency.ANSWERED:
            self._answered_due = now + ANSWERED_SECONDS
            self._ring_at(self._answered_due)
        elif how_soon is Urgency.SOON:
            self._soon_due = min(self._soon_due, now + SOON_SECONDS)
            self._ring_at(self._soon_due)
        elif isinstance(item, AgentAudioStarted):
            self._answered_due = inf

    def wait(self, timeout: float, attentive: bool = False) -> None:
        """Until there is something urgent, or anything when `attentive`, or for `timeout` seconds; sometimes less."""
        self._attentive = attentive
        if not self._items:
            self._waiting = True
            if not self._items:  # what was put before this line woke nobody
                self._wake.acquire(timeout=timeout)
            self._waiting = False

    def taken(self) -> Iterator[tuple[float, InboxItem]]:
        """Take what has come until now: when it came, and what it is. What is not asked for stays."""
        # What comes from here on is found before the next wait.
        self._stable_due = self._answered_due = self._soon_due = inf
        for _ in range(len(self._items)):
            yield self._items.popleft()

    def _end_the_wait(self) -> None:
        if self._waiting:
            self._waiting = False
            with contextlib.suppress(RuntimeError):  # somebody else has ended this wait
                self._wake.release()

    def _ring_at(self, due: float) -> None:
        if due < self._rings_at:
            self._rings_at = due
            self._call_at(due, self._ring)

    def _ring(self) -> None:
        """End the wait if something has waited for as long as it may; what was due may have been settled by now."""
        self._rings_at = inf
        due = min(self._stable_due, self._answered_due, self._soon_due)
        if due <= self._clock():
            self._end_the_wait()
        elif due < inf:
            self._ring_at(due)


def urgency(item: InboxItem) -> Urgency:
    """How soon the call's thread has to see it."""
    if isinstance(item, FromVendor):
        return item.urgency
    return Urgency.WHENEVER if isinstance(item, AgentAudioStarted | PlaybackReached) else Urgency.AT_ONCE


def patience(session: CallSession, calm: bool, now: float) -> float:
    """How many seconds to wait for something to happen, before time itself is what happened.

    `calm`: nobody else but the session has anything due soon.
    """
    longest = CALM_TICK_SECONDS if calm and session.patient else TICK_SECONDS
    due_at = session.due_at
    if due_at is None:
        return longest
    left = due_at - now
    return min(left, longest) if left > 0 else TICK_SECONDS  # what could not be done when it was due can wait
