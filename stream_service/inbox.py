"""What happens to a call, in order, and for what of it the call's thread is woken. Nothing here knows what it means."""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from stream_service.engines.port import FromVendor
from stream_service.events import AgentAudioStarted, Event, PlaybackReached
from stream_service.limits import Lost
from stream_service.session import CallSession
from stream_service.wire.frames import Binary, Text

TICK_SECONDS = 0.2
# Waking its thread is what a call that only passes audio costs most. Whatever has a deadline says so; this is for the
# rest: a session that has lived long enough, a sign of life for `/call-flow`, what was not worth waking for.
CALM_TICK_SECONDS = 8.0
INBOX_LIMIT = 5_000  # events; a call that is so far behind is lost

InboxItem = FromVendor | Event | Text | Binary | Lost


class Inbox:
    """Everything that happens to a call, in order, and when it came. Any thread may put; only the call's own takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._items: deque[tuple[float, InboxItem]] = deque()
        self._waiting = False
        self._attentive = False
        self._wake = threading.Lock()  # held, except to end a wait
        self._wake.acquire()

    def put(self, item: InboxItem) -> None:
        """Raises queue.Full when the call is too far behind; on the pump's thread that ends its link."""
        if len(self._items) >= INBOX_LIMIT:
            raise queue.Full
        self._items.append((self._clock(), item))
        if self._waiting and (self._attentive or is_urgent(item)):
            self._waiting = False
            with contextlib.suppress(RuntimeError):  # somebody else has ended this wait
                self._wake.release()

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
        for _ in range(len(self._items)):
            yield self._items.popleft()


def is_urgent(item: InboxItem) -> bool:
    """Whether the call's thread has to be woken for it. What is not takes deadlines away at most, and sets none."""
    if isinstance(item, FromVendor):
        return item.urgent
    return not isinstance(item, AgentAudioStarted | PlaybackReached)


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
