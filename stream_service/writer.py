"""Writes to the store, behind the call's back: a store that is slow or down never stops audio.

What nobody waits for is kept back a little: its newer versions replace it, and what is due by then, of all calls, goes
to the store in one go, which costs little more than one write does. When a store did not take several, each is tried by
itself: none is lost for another's sake. What waits is bounded, because a newer version of the same part replaces the
older one; it is tried again until it is too old, and what could not be written is logged as lost.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from callbot import logs
from callbot.errors import StoreError
from callbot.store import MOST_TOGETHER, CallStore, Write

log = logging.getLogger(__name__)

MOST_WAITING = 5_000
KEEP_TRYING_SECONDS = 120.0
RETRY_SECONDS = (0.1, 0.3, 1.0, 3.0)
# What is kept back leaves together with what is due so soon before it: a lane wakes so often, whatever its calls.
# Half of what most may wait: more would leave too early to be replaced by its newer version.
TOGETHER_SECONDS = 0.5

Key = tuple[str, str]  # the call, and what of it


@dataclass(slots=True)
class _Waiting:
    write: Write
    since: float
    done: threading.Event
    tries: int = 0


_Batch = list[tuple[Key, _Waiting]]  # what goes to the store in one go, in this order


@dataclass(slots=True)
class _KeptBack:
    """What may wait of one call, in the order in which it came; all of it leaves when the first of it is due."""

    due: float
    entries: dict[Key, _Waiting] = field(default_factory=dict)


class StoreWriter:
    """Threads that write in order, each as much at once as it can; a call is always on the same one of them."""

    # Each lane more means smaller goes, and a second is enough for the others when one waits for an answer.
    def __init__(self, store: CallStore, workers: int = 2, clock: Callable[[], float] = time.monotonic) -> None:
        self._lanes = [_Lane(f"store-writer-{n}", store, clock) for n in range(workers)]

    def put(self, what: str, write: Write, within: float = 0.0) -> threading.Event:
        """Write soon. `what` names the part of the call's record; the event is set once it has been written.

        With `within`, it may wait for so many seconds, so that a newer version can take its place. Nothing of a call is
        written before what was put earlier of the same call, so what cannot wait takes everything else along.
        """
        return self._lane(write.sid).put((write.sid, what), write, within)

    def hurry(self, call_sid: str) -> None:
        """Write what waits of this call now."""
        self._lane(call_sid).hurry(call_sid)

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
    def __init__(self, name: str, store: CallStore, clock: Callable[[], float]) -> None:
        self.down = False
        self._store = store
        self._clock = clock
        self._waiting: OrderedDict[Key, _Waiting] = OrderedDict()  # to be written now, one after the other
        self._kept_back: dict[str, _KeptBack] = {}  # call -> what of it may still wait
        self._due = inf  # nothing that is kept back is due before
        self._changed = threading.Condition()
        self._stopping = False
        self._over = False  # nobody writes any more
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, key: Key, write: Write, within: float) -> threading.Event:
        with self._changed:
            now = self._clock()
            older = self._waiting.get(key) or self._find_kept_back(key)
            entry = _Waiting(write, older.since if older else now, older.done if older else threading.Event())
            if self._over:
                _log_lost(key, "stopped")
            elif within > 0 and key not in self._waiting:
                self._keep_back(key, entry, now + within)
            else:
                self._let_go(key[0])
                self._enqueue(key, entry)
                self._changed.notify()
            return entry.done

    def hurry(self, call_sid: str) -> None:
        with self._changed:
            self._let_go(call_sid)
            self._changed.notify()

    def finish(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)
        with self._changed:
            self._over = True
            self._changed.notify()
            self._let_go_until(inf)
            for key in self._waiting:
                _log_lost(key, "stopped")
            self._waiting.clear()

    # --- under the lock ---

    def _find_kept_back(self, key: Key) -> _Waiting | None:
        kept_back = self._kept_back.get(key[0])
        return kept_back.entries.get(key) if kept_back else None

    def _keep_back(self, key: Key, entry: _Waiting, due: float) -> None:
        kept_back = self._kept_back.setdefault(key[0], _KeptBack(due))
        kept_back.due = min(kept_back.due, due)
        kept_back.entries.pop(key, None)
        kept_back.entries[key] = entry
        if kept_back.due < self._due:
            self._due = kept_back.due
            self._changed.notify()

    def _let_go(self, call_sid: str) -> None:
        """What was kept back of this call waits no longer."""
        if kept_back := self._kept_back.pop(call_sid, None):
            for key, entry in kept_back.entries.items():
                self._enqueue(key, entry)

    def _let_go_until(self, due: float) -> None:
        for call_sid in [call_sid for call_sid, kept_back in self._kept_back.items() if kept_back.due <= due]:
            self._let_go(call_sid)
        self._due = min((kept_back.due for kept_back in self._kept_back.values()), default=inf)

    def _enqueue(self, key: Key, entry: _Waiting) -> None:
        self._waiting.pop(key, None)
        if len(self._waiting) >= MOST_WAITING:
            lost, _ = self._waiting.popitem(last=False)
            _log_lost(lost, "too many waiting")
        self._waiting[key] = entry

    def _next(self) -> _Batch:
        """What is to be written now, as soon as there is something; empty when there will be nothing more."""
        while True:
            now = self._clock()
            if self._stopping:
                self._let_go_until(inf)
            elif now >= self._due:
                self._let_go_until(now + TOGETHER_SECONDS)
            if self._waiting or self._stopping:
                return self._take()
            self._changed.wait(None if self._due == inf else max(0.0, self._due - now))

    def _take(self) -> _Batch:
        first = next(iter(self._waiting.values()), None)
        most = 1 if first and first.tries else MOST_TOGETHER  # what has failed was put back in front of everything else
        return [self._waiting.popitem(last=False) for _ in range(min(most, len(self._waiting)))]

    def _put_back(self, key: Key, entry: _Waiting) -> None:
        if self._over:
            _log_lost(key, "stopped")
        elif newer := self._waiting.get(key) or self._find_kept_back(key):  # it came meanwhile
            newer.since = entry.since
        else:
            self._waiting[key] = entry
            self._waiting.move_to_end(key, last=False)

    # --- on the lane's thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                batch = self._next()
            if not batch:
                return
            pause = self._try(batch)
            if pause:
                with self._changed:
                    self._changed.wait_for(lambda: self._over, timeout=pause)
                    if self._over:
                        return

    def _try(self, batch: _Batch) -> float:
        """Write once. How long to wait before anything else is tried: the store is down for all alike."""
        try:
            self._store.write_all([entry.write for _, entry in batch])
        except StoreError as error:
            self.down = error.retryable
            if len(batch) == 1 and (lost := self._why_lost(batch[0][1], error)):
                _log_lost(batch[0][0], lost)
                return 0.0
            self._try_again(batch)
            return RETRY_SECONDS[min(batch[0][1].tries, len(RETRY_SECONDS)) - 1] if error.retryable else 0.0
        except Exception:  # the thread serves other calls too
            if len(batch) == 1:
                log.exception("a record could not be written", extra={"callSid": batch[0][0][0]})
            else:
                self._try_again(batch)
            return 0.0
        self.down = False
        for _, entry in batch:
            entry.done.set()
        return 0.0

    def _try_again(self, batch: _Batch) -> None:
        """Each by itself from now on: one that the store does not take must not cost the others."""
        with self._changed:
            for key, entry in reversed(batch):
                entry.tries += 1
                self._put_back(key, entry)

    def _why_lost(self, entry: _Waiting, error: StoreError) -> str:
        if not error.retryable:
            return "the store refused it"
        return "the store was down for too long" if self._clock() - entry.since > KEEP_TRYING_SECONDS else ""


def _log_lost(key: Key, reason: str) -> None:
    logs.event(log, "store write lost", call_sid=key[0], severity="ERROR", what=key[1], reason=reason)
