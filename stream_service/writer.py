"""Writes to the store, behind the call's back: a store that is slow or down never stops audio.

What waits is bounded, because a newer version of the same turn or field replaces the older one; it is tried again
until it is too old, and what could not be written is logged as lost.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from callbot import logs
from callbot.errors import StoreError

log = logging.getLogger(__name__)

MOST_WAITING = 5_000
KEEP_TRYING_SECONDS = 120.0
RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0)

Write = Callable[[], None]
Key = tuple[str, str]  # the call, and what of it


@dataclass(slots=True)
class _Waiting:
    write: Write
    since: float
    done: threading.Event
    tries: int = 0


class StoreWriter:
    """One thread that writes in order; `workers` of them, a call always on the same one."""

    def __init__(self, workers: int = 4, clock: Callable[[], float] = time.monotonic) -> None:
        self._lanes = [_Lane(f"store-writer-{n}", clock) for n in range(workers)]

    def put(self, call_sid: str, what: str, write: Write) -> threading.Event:
        """Write soon. `what` names the part of the record; the event is set once it has been written."""
        return self._lane(call_sid).put((call_sid, what), write)

    def is_down(self, call_sid: str) -> bool:
        """Whether the last write of this call's lane failed: what is written now is read by nobody soon."""
        return self._lane(call_sid).down

    def _lane(self, call_sid: str) -> "_Lane":
        return self._lanes[hash(call_sid) % len(self._lanes)]

    def stop(self, timeout: float) -> None:
        """Write what waits, for at most so many seconds in all; the rest is logged as lost."""
        deadline = time.monotonic() + timeout
        for lane in self._lanes:
            lane.finish()
        for lane in self._lanes:
            lane.join(max(0.0, deadline - time.monotonic()))


class _Lane:
    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.down = False
        self._clock = clock
        self._waiting: OrderedDict[Key, _Waiting] = OrderedDict()
        self._changed = threading.Condition()
        self._stopping = False
        self._over = False  # nobody writes any more
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, key: Key, write: Write) -> threading.Event:
        with self._changed:
            older = self._waiting.pop(key, None)
            entry = _Waiting(write, older.since if older else self._clock(), older.done if older else threading.Event())
            if self._over:
                _log_lost(key, "stopped")
                return entry.done
            if len(self._waiting) >= MOST_WAITING:
                lost, _ = self._waiting.popitem(last=False)
                _log_lost(lost, "too many waiting")
            self._waiting[key] = entry
            self._changed.notify()
            return entry.done

    def finish(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)
        with self._changed:
            self._over = True
            self._changed.notify()
            for key in self._waiting:
                _log_lost(key, "stopped")
            self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                key, entry = self._waiting.popitem(last=False)
            pause = self._try(key, entry)
            if pause:
                with self._changed:
                    self._changed.wait_for(lambda: self._over, timeout=pause)
                    if self._over:
                        return

    def _try(self, key: Key, entry: _Waiting) -> float:
        """Write once. How long to wait before anything else is tried: the store is down for all alike."""
        try:
            entry.write()
        except StoreError as error:
            self.down = error.retryable
            if not error.retryable or self._clock() - entry.since > KEEP_TRYING_SECONDS:
                _log_lost(key, "the store was down for too long" if error.retryable else "the store refused it")
                return 0.0
            self._put_back(key, entry)
            entry.tries += 1
            return RETRY_SECONDS[min(entry.tries, len(RETRY_SECONDS)) - 1]
        except Exception:  # the thread serves other calls too
            log.exception("a record could not be written", extra={"callSid": key[0]})
            return 0.0
        self.down = False
        entry.done.set()
        return 0.0

    def _put_back(self, key: Key, entry: _Waiting) -> None:
        with self._changed:
            if self._over:
                _log_lost(key, "stopped")
                return
            if key in self._waiting:  # a newer version came meanwhile
                self._waiting[key].since = entry.since
                return
            self._waiting[key] = entry
            self._waiting.move_to_end(key, last=False)


def _log_lost(key: Key, reason: str) -> None:
    logs.event(log, "store write lost", call_sid=key[0], severity="ERROR", what=key[1], reason=reason)
