"""Time for emulated calls: the wall's, or one that jumps to the next thing that happens.

Only waiting belongs here; nothing in this file knows about calls. Everything that waits in this package waits
through a clock, so that one verb runner serves both paces.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Wake:
    """What interrupts somebody's wait. Sticky: set before the wait begins, the wait ends at once.

    One `Wake` belongs to one waiting thread; anybody may set it.
    """

    def __init__(self, on_set: Callable[[Wake], None]) -> None:
        self._on_set = on_set

    def set(self) -> None:
        """Ends the owner's wait, now or the next one."""
        self._on_set(self)


class Clock(Protocol):
    """Seconds on an arbitrary scale, and waits that can be interrupted."""

    @property
    def virtual(self) -> bool:
        """Whether time passes by itself (False) or jumps when everybody waits (True)."""

    def now(self) -> float: ...

    def wake(self) -> Wake: ...

    def wait(self, seconds: float, wake: Wake) -> bool:
        """Waits; True when `wake` was set (and clears it), False when the time is over."""

    def spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        """Starts a daemon thread whose waits count on this clock."""


class RealClock:
    """The wall's time."""

    virtual = False

    def now(self) -> float:
        return time.monotonic()

    def wake(self) -> Wake:
        return _RealWake(threading.Event())

    def wait(self, seconds: float, wake: Wake) -> bool:
        if not isinstance(wake, _RealWake):
            raise TypeError("a wake of another clock")
        woken = wake.event.wait(min(max(0.0, seconds), threading.TIMEOUT_MAX))
        wake.event.clear()
        return woken

    def spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread


class _RealWake(Wake):
    def __init__(self, event: threading.Event) -> None:
        super().__init__(lambda _: event.set())
        self.event = event


class VirtualClock:
    """Time that stands still while anybody works and jumps to the earliest deadline once all wait.

    Threads started with `spawn` are counted; a thread from outside (a test, a REST request) may set wakes
    freely and is counted only while it waits here itself.
    """

    virtual = True

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._now = 0.0
        self._working = 0
        self._waiting: dict[Wake, float] = {}
        self._set: set[Wake] = set()
        self._own = threading.local()

    def now(self) -> float:
        with self._changed:
            return self._now

    def wake(self) -> Wake:
        return Wake(self._on_set)

    def wait(self, seconds: float, wake: Wake) -> bool:
        counted = getattr(self._own, "counted", False)
        with self._changed:
            if wake in self._set:
                self._set.discard(wake)
                return True
            self._waiting[wake] = self._now + max(0.0, seconds)
            if counted:
                self._working -= 1
            self._jump_if_idle()
            while wake in self._waiting:
                self._changed.wait()
            if not counted:
                self._working -= 1  # whoever woke us counted us as working
                self._jump_if_idle()
            woken = wake in self._set
            self._set.discard(wake)
            return woken

    def spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        def counted() -> None:
            self._own.counted = True
            try:
                target()
            finally:
                with self._changed:
                    self._working -= 1
                    self._jump_if_idle()

        with self._changed:
            self._working += 1  # before it runs, so that time cannot jump over its first step
        thread = threading.Thread(target=counted, name=name, daemon=True)
        thread.start()
        return thread

    def _on_set(self, wake: Wake) -> None:
        with self._changed:
            self._set.add(wake)
            self._resume(wake)

    def _resume(self, wake: Wake) -> None:
        if self._waiting.pop(wake, None) is not None:
            self._working += 1  # on its behalf: time must not jump before it has run
            self._changed.notify_all()

    def _jump_if_idle(self) -> None:
        if self._working or not self._waiting:
            return
        self._now = max(self._now, min(self._waiting.values()))
        for wake in [wake for wake, deadline in self._waiting.items() if deadline <= self._now]:
            self._resume(wake)
