"""Delivery of one call's status callbacks: in the background, in order, unless the faults say otherwise.

Source: Twilio, "Call resource", StatusCallback: nobody waits for the answer, whose body is ignored. What a callback
says is decided by who posts it.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass

from emulator.twilio.clock import Clock
from emulator.twilio.journal import Journal
from emulator.twilio.plan import Callback
from emulator.twilio.webhooks import FetchError, Webhooks

_MOST_PENDING = 1000
_EVENT_FIELDS = ("StreamEvent", "RecordingStatus", "AnsweredBy", "CallStatus")


@dataclass(frozen=True)
class _Parcel:
    callback: Callback
    params: list[tuple[str, str]]


class CallbackLane:
    """One call's outgoing callbacks. On a virtual clock they are delivered at once by who posts them."""

    def __init__(self, webhooks: Webhooks, journal: Journal, clock: Clock) -> None:
        self._webhooks = webhooks
        self._journal = journal
        self._clock = clock
        self._queue: queue.Queue[_Parcel | None] = queue.Queue(_MOST_PENDING)
        self._lock = threading.Lock()
        self._held: _Parcel | None = None
        self._worker: threading.Thread | None = None
        self._closed = False

    def post(self, callback: Callback | None, params: list[tuple[str, str]]) -> None:
        """Sends `params` to `callback` (None: nobody wants to know)."""
        if callback is None or self._lost(dict(params)):
            return
        parcel = _Parcel(callback, params)
        with self._lock:
            if self._closed:
                return
            if self._webhooks.faults.reorder_callbacks:
                if self._held is None:
                    self._held = parcel
                    return
                parcels, self._held = [parcel, self._held], None
            else:
                parcels = [parcel]
        for ready in parcels:
            self._send(ready)

    def close(self, timeout: float) -> None:
        """Delivers what is still waiting, at most `timeout` seconds, and accepts no more."""
        with self._lock:
            self._closed = True
            held, self._held = self._held, None
        if held:
            self._send(held)
        if self._worker:
            self._queue.put(None)
            self._worker.join(timeout)

    def _lost(self, params: dict[str, str]) -> bool:
        lost = self._webhooks.faults.lose_callbacks
        if callable(lost):
            return lost(params)
        return next((params[field] for field in _EVENT_FIELDS if field in params), "") in lost

    def _send(self, parcel: _Parcel) -> None:
        if self._clock.virtual:
            self._deliver(parcel)
            return
        with self._lock:
            if self._worker is None:
                self._worker = self._clock.spawn(self._work, "callbacks")
        try:
            self._queue.put_nowait(parcel)
        except queue.Full:
            self._journal.note("a status callback was dropped: too many were waiting")

    def _work(self) -> None:
        while parcel := self._queue.get():
            self._deliver(parcel)

    def _deliver(self, parcel: _Parcel) -> None:
        for _ in range(1 + self._webhooks.faults.repeat_callbacks):
            try:
                self._webhooks.request(self._journal, parcel.callback.method, parcel.callback.url, parcel.params)
            except FetchError as exc:
                self._journal.error(exc.code, f"status callback: {exc.message}")
