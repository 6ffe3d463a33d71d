"""The model's audio on its way to the caller: put into Twilio's messages, with a mark behind some of it.

It is a link's `route`, so it runs on the pump's thread for everything the model says; its methods are called from any
thread. `Downlink` is the compiled one where it has been built (`wire.build_codec`), `PythonDownlink` says what it does.
"""

import threading
from collections.abc import Callable

from stream_service.outbox import Outbox
from stream_service.wire import frames
from stream_service.wire.realtime import audio_delta, kind
from stream_service.wire.realtime_words import is_words

MOST_WORDS = 500  # messages that wait together; more than a response has


class PythonDownlink:
    """A callable that takes the model's audio deltas, and its words while somebody gathers them; the rest is `other`'s.

    `passes` is told how much audio there was as mu-law, of which item and response; it gives the name of the mark to
    send behind it, empty for none, or None when this response is not to be heard. It is told at once of an item's first
    piece and of the first after anything else has come; of what follows, when `most_unmarked` bytes have come since the
    item's last mark, or something else comes. Names need no escaping in JSON.

    Events of the kinds in `no_news` are `other`'s only while there is audio behind which no mark stands: whatever comes
    behind it, but words, says that this was all for now, and `other` sees to the mark.
    """

    def __init__(
        self,
        media_prefix: bytes,
        media_suffix: bytes,
        mark_prefix: bytes,
        mark_suffix: bytes,
        most_unmarked: int,
        passes: Callable[[int, str, str], bytes | None],
        other: Callable[[bytes], bool],
        no_news: frozenset[bytes] = frozenset(),
    ) -> None:
        self._media = media_prefix, media_suffix
        self._mark = mark_prefix, mark_suffix
        self._most_unmarked = most_unmarked
        self._passes = passes
        self._other = other
        self._no_news = no_news
        self._lock = threading.Lock()  # between the pump's thread and the rest
        self._outbox: Outbox | None = None
        self._masked = False
        self._flush: Callable[[], None] | None = None
        self._words: list[bytes] | None = None
        self._of = ("", "")  # the item and the response of the last audio
        self._untold = self._unmarked = 0  # of that item: not told of; told of since its last mark
        self._asks = True  # `passes` is told of the next piece, however small
        self._silent = False  # this response is not to be heard

    def attach(self, outbox: Outbox, masked: bool, flush: Callable[[], None], /) -> None:
        """Have the audio go into `outbox`. `flush` is called when that has been empty before."""
        self._outbox, self._masked, self._flush = outbox, masked, flush

    def gather(self, words: list[bytes], /) -> None:
        """Have the messages with the model's next words added to a list, instead of told; only so many."""
        with self._lock:
            self._words = words

    def replace(self, words: list[bytes], message: bytes, /) -> bool:
        """Have a message that says the same stand for what was gathered in this list; False if nobody gathers in it."""
        with self._lock:
            if self._words is not words:
                return False
            words[:] = [message]
            self._words = None
            return True

    def let_go(self, words: list[bytes] | None, /) -> None:
        """Add nothing any more to this list, or to whichever it is."""
        with self._lock:
            if words is None or self._words is words:
                self._words = None

    def tell(self) -> None:
        """Have `passes` know of all audio so far, and be told of the next piece."""
        with self._lock:
            self._asks = True
            untold = self._untold
        if untold:
            self._send_mark(self._told(0))

    def __call__(self, message: bytes, /) -> bool:
        if self._gathered(message):
            return True
        found = audio_delta(message)
        if found is None:
            return self._tells_nothing(message) or self._told_other(message)
        payload, item, response = found
        if (item, response) != self._of:
            self.tell()
            self._of, self._unmarked = (item, response), 0
        self._take(payload)
        return True

    def _tells_nothing(self, message: bytes) -> bool:
        with self._lock:
            if self._untold or self._unmarked or kind(message) not in self._no_news:
                return False
            self._asks = True
            return True

    def _told_other(self, message: bytes) -> bool:
        self.tell()
        taken = self._other(message)
        if not is_words(message):
            self._unmarked = 0
        return taken

    def _take(self, payload: bytes) -> None:
        size, mark = len(payload) * 3 // 4 - payload[-2:].count(b"="), None
        if self._asks or self._unmarked + self._untold + size >= self._most_unmarked:
            self._asks = False
            mark = self._told(size)
            self._silent = mark is None
        else:
            with self._lock:
                self._untold += size
        if self._outbox is not None and not self._silent:
            self._send(self._outbox.put_audio, self._media, payload)
            self._send_mark(mark)

    def _told(self, more: int) -> bytes | None:
        with self._lock:
            size, self._untold = self._untold + more, 0
            self._unmarked += size
        mark = self._passes(size, *self._of)
        if mark:
            self._unmarked = 0
        return mark

    def _send_mark(self, mark: bytes | None) -> None:
        if mark and self._outbox is not None:
            # Who has too much control waiting is found out by the connection, which looks.
            self._send(self._outbox.put_control, self._mark, mark)

    def _send(self, put: Callable[[bytes], bool], around: tuple[bytes, bytes], what: bytes) -> None:
        was_empty = self._outbox is not None and not self._outbox.size
        put(frames.encode(frames.TEXT_FRAME, around[0] + what + around[1], self._masked))
        if was_empty and self._flush is not None and self._outbox is not None and self._outbox.size:
            self._flush()

    def _gathered(self, message: bytes) -> bool:
        with self._lock:
            gathers = self._words is not None and len(self._words) < MOST_WORDS and is_words(message)
            if gathers and self._words is not None:
                self._words.append(message)
            return gathers


try:
    from stream_service.wire._codec import Downlink as Downlink
except ImportError:  # it has not been built
    Downlink = PythonDownlink  # type: ignore[misc, assignment]  # all of its interface that is used
