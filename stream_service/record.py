"""What one stream writes of its call, and how soon. How it gets to the store is `writer.py`'s business.

Nobody waits for most of it, and beside a call's audio a write is dear (a hosted store bills it too): so what is in no
hurry waits a little and goes out with what comes next. A process that is killed takes the last second of it along; the
next stream then knows as little of it as of the words that were just being spoken, and says that the line was disturbed
either way. A stream that ends by itself leaves nothing behind.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from math import inf

from callbot.calls import Call, NextStep, Turn
from callbot.store import PutTurn, Update, Writer
from stream_service.services import wall_clock
from stream_service.writer import StoreWriter

# `/call-flow` takes a stream that was not seen for 25 s for dead, and leaves a caller in peace who was heard to speak
# in the last 8 s: it is told so every 6 s, and at once if what it knows would be older than that a second later.
ALIVE_EVERY_SECONDS = 10.0
ACTIVE_EVERY_SECONDS, ACTIVE_KNOWN_SECONDS = 6.0, 7.0
PATIENCE_SECONDS = 1.0
USAGE_PATIENCE_SECONDS = 10.0  # it is read when the call is over


class CallRecord:
    """The record of one call, as far as its stream writes it. Used on the call's thread only; times are its clock's."""

    def __init__(self, call: Call, writer: StoreWriter, now: float) -> None:
        self._sid = call.sid
        self._writer = writer
        # Engine amivoice: `/call-flow` goes on beside the stream, and by what the record says. Of engine realtime it
        # reads nothing before the stream has ended.
        self._is_read = call.engine == "amivoice"
        self._stream = call.stream
        self._fields: Mapping[str, object] = {}  # the newest of each that was ever given
        self._alive_at = now  # its opening was a sign of life
        self._active_at = -inf

    def is_down(self) -> bool:
        """Whether the store did not take the last write."""
        return self._writer.is_down(self._sid)

    def turn(self, turn: Turn) -> None:
        awaited = self._is_read and turn.role == "agent" and turn.sentences  # the carrier may be coming for the next
        within = 0.0 if awaited else PATIENCE_SECONDS
        self._writer.put(f"turn {turn.n}", PutTurn(self._sid, turn), within)

    def usage(self, usage: Mapping[str, int]) -> None:
        self._put(USAGE_PATIENCE_SECONDS, usage=usage)

    def ending(self, reason: str) -> None:
        """Why we end the call."""
        self._stream = replace(self._stream, ending=reason)
        self._put(0.0)

    def next_step(self, step: NextStep) -> threading.Event:
        """What `/call-flow` does when this stream has ended; the event is set when it can know."""
        return self._put(0.0, next_step=step)

    def caller_active(self, now: float) -> None:
        """The caller is speaking."""
        known = now - self._active_at
        if self._is_read and known >= ACTIVE_EVERY_SECONDS:
            self._active_at = now
            self._stream = replace(self._stream, caller_active_at=wall_clock())
            self._alive_at = now
            self._put(PATIENCE_SECONDS if known < ACTIVE_KNOWN_SECONDS else 0.0)

    def alive(self, now: float) -> None:
        """The stream lives at this moment."""
        if self._is_read and now - self._alive_at >= ALIVE_EVERY_SECONDS:
            self._alive_at = now
            self._put(PATIENCE_SECONDS)

    def hurry(self) -> None:
        """The call is about to leave this stream: whoever takes it on has to find what still waits."""
        self._writer.hurry(self._sid)

    def lost(self) -> None:
        """The stream is over."""
        self._stream = replace(self._stream, lost_at=wall_clock())
        self._put(0.0)

    def _put(self, within: float, **fields: object) -> threading.Event:
        self._stream = replace(self._stream, seen_at=wall_clock())
        self._fields = {**self._fields, **fields, "stream": self._stream}
        # All fields in one: what this replaces while it waits was for some of them.
        return self._writer.put("record", Update(self._sid, Writer.STREAM, self._fields), within)
