"""The model's audio on its way to the caller: put into Twilio's messages, each piece followed by a mark.

It is a link's `route`, so it runs on the pump's thread for everything the model says; `gather`, `let_go` and `attach`
are called from any thread. `Downlink` is the compiled one where it has been built (`wire.build_codec`),
`PythonDownlink` says what it does.
"""

import threading
from collections.abc import Callable

from stream_service.outbox import Outbox
from stream_service.wire import frames
from stream_service.wire.realtime import audio_delta
from stream_service.wire.realtime_words import is_words

MOST_WORDS = 500  # messages that wait together; more than a response has


class PythonDownlink:
    """A callable that takes the model's audio deltas, and its words while somebody gathers them; the rest is `other`'s.

    Of each delta `passes` is told the size as mu-law, the item and the response; it gives the name of the mark to send
    behind it, empty for none, or None when this audio is not to be heard. Names need no escaping in JSON.
    """

    def __init__(
        self,
        media_prefix: bytes,
        media_suffix: bytes,
        mark_prefix: bytes,
        mark_suffix: bytes,
        passes: Callable[[int, str, str], bytes | None],
        other: Callable[[bytes], bool],
    ) -> None:
        self._media = media_prefix, media_suffix
        self._mark = mark_prefix, mark_suffix
        self._passes = passes
        self._other = other
        self._lock = threading.Lock()  # between the pump's thread and the rest
        self._outbox: Outbox | None = None
        self._masked = False
        self._flush: Callable[[], None] | None = None
        self._words: list[bytes] | None = None

    def attach(self, outbox: Outbox, masked: bool, flush: Callable[[], None], /) -> None:
        """Have the audio go into `outbox`. `flush` is called when that has been empty before."""
        self._outbox, self._masked, self._flush = outbox, masked, flush

    def gather(self, words: list[bytes], /) -> None:
        """Have the messages with the model's next words added to a list, instead of told; only so many."""
        with self._lock:
            self._words = words

    def let_go(self, words: list[bytes] | None, /) -> None:
        """Add nothing any more to this list, or to whichever it is."""
        with self._lock:
            if words is None or self._words is words:
                self._words = None

    def __call__(self, message: bytes, /) -> bool:
        if self._gathered(message):
            return True
        found = audio_delta(message)
        if found is None:
            return self._other(message)
        payload, item, response = found
        mark = self._passes(len(payload) * 3 // 4 - payload[-2:].count(b"="), item, response)
        if mark is not None and self._outbox is not None and self._flush is not None:
            was_empty = not self._outbox.size
            self._outbox.put_audio(self._frame(self._media, payload))
            if mark:  # who has too much control waiting is found out by the connection, which looks
                self._outbox.put_control(self._frame(self._mark, mark))
            if was_empty and self._outbox.size:
                self._flush()
        return True

    def _gathered(self, message: bytes) -> bool:
        with self._lock:
            gathers = self._words is not None and len(self._words) < MOST_WORDS and is_words(message)
            if gathers and self._words is not None:
                self._words.append(message)
            return gathers

    def _frame(self, around: tuple[bytes, bytes], what: bytes) -> bytes:
        return frames.encode(frames.TEXT_FRAME, around[0] + what + around[1], self._masked)


try:
    from stream_service.wire._codec import Downlink as Downlink
except ImportError:  # it has not been built
    Downlink = PythonDownlink  # type: ignore[misc, assignment]  # all of its interface that is used
