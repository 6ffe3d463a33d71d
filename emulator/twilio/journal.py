"""The record that one call leaves behind while it runs: requests, errors, documents, notes, live events.

It remembers and tells listeners; it decides nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from emulator.twilio.events import CallEnded, Event, Listener, WebhookFetched

log = logging.getLogger(__name__)
_KEPT = 10_000  # entries of each sort; a call that makes more is a loop that other guards end


class Journal:
    """Thread-safe. `now` is the clock's time (kept, made relative to the answer later), `call_now` the call's."""

    def __init__(self, now: Callable[[], float], call_now: Callable[[], float]) -> None:
        self.webhooks: list[tuple[float, str, dict[str, str], int | None]] = []
        self.errors: list[tuple[int, str]] = []
        self.documents: list[str] = []
        self.notes: list[str] = []
        self._now = now
        self._call_now = call_now
        self._lock = threading.RLock()
        self._events: list[Event] = []
        self._listeners: list[Listener] = []

    def webhook(self, url: str, params: dict[str, str], status: int | None) -> None:
        with self._lock:
            if len(self.webhooks) < _KEPT:
                self.webhooks.append((self._now(), url, params, status))
        self.emit(WebhookFetched(self._call_now(), url, status))

    def error(self, code: int, message: str) -> None:
        """What Twilio's debugger would show."""
        with self._lock:
            if len(self.errors) < _KEPT:
                self.errors.append((code, message))

    def document(self, text: str) -> None:
        with self._lock:
            if len(self.documents) < _KEPT:
                self.documents.append(text)

    def note(self, text: str) -> None:
        with self._lock:
            if len(self.notes) < _KEPT:
                self.notes.append(text)

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener` with every event from the beginning of the call on, in order."""
        with self._lock:
            for event in self._events:
                self._tell(listener, event)
            self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        with self._lock:
            if len(self._events) < _KEPT or isinstance(event, CallEnded):
                self._events.append(event)
                for listener in self._listeners:
                    self._tell(listener, event)

    @staticmethod
    def _tell(listener: Listener, event: Event) -> None:
        try:
            listener(event)
        except Exception:  # a listener is a bystander; its fault must not end the call
            log.exception("a listener failed on %s", type(event).__name__)
