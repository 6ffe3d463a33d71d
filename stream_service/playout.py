"""What of the bot's audio the caller has heard, item by item, and what is not to be heard. No I/O.

Twilio buffers what it gets and plays it in real time, so bytes sent are not bytes heard. Two things bound the truth:
the clock (audio plays one after the other from the moment it was sent) and the marks (sent behind some of the pieces
and behind the last, they come back when that has been played, and set the clock right where it ran ahead). After a
`clear` all pending marks come back at once and mean nothing, so each mark names the number of clears before it.

It is told on the pump's thread; the call's asks what was heard. `Playout` is the compiled one where it has been built
(`wire.build_codec`), `PythonPlayout` says what it does.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stream_service.wire.twilio_media import returned_mark

BYTES_PER_MS = 8
_MARK = "a"  # what our marks' names begin with
MARK_EVERY_MS = 2000  # of audio; a mark is a message each way, and the clock is right in between
LATE_MARK_SECONDS = 2.0  # a mark so late is not coming: the carrier lost it


@dataclass(slots=True)
class _Item:
    sent_at: float  # when its first byte is played at the earliest, by the clock
    starts_at: float  # and when it is, by the newest mark
    sent_ms: float = 0.0
    reached_ms: float = 0.0  # by the marks
    marks_ms: list[float] = field(default_factory=list)  # of the marks sent, ascending
    cut_ms: int | None = None  # what had been heard when the rest was cleared away; it stays at that


class PythonPlayout:
    """The carrier's playback buffer as seen from here. Times are seconds of `clock`."""

    def __init__(self, mark_every_ms: int = MARK_EVERY_MS, clock: Callable[[], float] = time.monotonic) -> None:
        self._mark_every_ms = mark_every_ms
        self._clock = clock
        self._lock = threading.Lock()  # what is sent and its last mark: mostly of the pump's thread
        self._on_first: Callable[[str, str], object] | None = None
        self._on_last: Callable[[str], object] | None = None
        self._items: dict[str, _Item] = {}
        self._open: dict[str, tuple[str, float]] = {}  # mark -> item, ms
        self._clears = 0
        self._marks = 0
        self._unmarked = ""  # the item of which audio was sent that no mark stands behind
        self._dropped: set[str] = set()
        self.ends_at = 0.0  # when all that was sent has been played, by the clock
        self.sounding = ""  # the response whose audio was sent last
        self.just_sounded = False  # set by each piece of audio; unset by whoever sees something else come

    def tell(self, on_first: Callable[[str, str], object], on_last: Callable[[str], object], /) -> None:
        """Have `passes` tell of an item's first piece (item, response), and `mark_returns` of the last mark."""
        self._on_first, self._on_last = on_first, on_last

    # --- what comes and goes ---

    def passes(self, size: int, item_id: str, response: str, /) -> bytes | None:
        """So many bytes of mu-law come: the mark to send behind them, if any; None when they are not to be heard."""
        if response in self._dropped:
            return None
        self.sounding, self.just_sounded = response, True
        mark, first = self.sent(item_id, size, self._clock())
        if first and self._on_first is not None:
            self._on_first(item_id, response)
        return mark.encode()

    def drop(self, response: str, /) -> None:
        """No more of this response is to be heard."""
        self._dropped.add(response)

    def forget(self, response: str, /) -> None:
        """No more comes of this response."""
        self._dropped.discard(response)

    def mark_returns(self, message: bytes, /) -> bool:
        """Note a mark behind the bot's audio, in a message of the carrier's; whether it was one."""
        mark = returned_mark(message)
        if mark is None or not mark.startswith(_MARK):
            return False
        if self.reached(mark, self._clock()) and self._on_last is not None:
            self._on_last(mark)
        return True

    def sent(self, item_id: str, size: int, now: float, /) -> tuple[str, bool]:
        """Note `size` bytes of mu-law sent for an item. The mark to send behind them, if any; whether it is its first.

        Whoever knows that no more comes for now asks for `last_mark`.
        """
        with self._lock:
            item = self._items.get(item_id)
            first = item is None
            if item is None:
                begins = max(now, self.ends_at)
                item = self._items[item_id] = _Item(begins, begins)
            self.ends_at = max(now, self.ends_at) + size / BYTES_PER_MS / 1000
            item.sent_ms += size / BYTES_PER_MS
            self._unmarked = item_id
            due = item.sent_ms - (item.marks_ms[-1] if item.marks_ms else 0.0) >= self._mark_every_ms
            return self._next_mark() if due else "", first

    def last_mark(self) -> str:
        """The mark to send behind all that was sent; empty when there is one."""
        with self._lock:
            return self._next_mark()

    def _next_mark(self) -> str:
        item_id, self._unmarked = self._unmarked, ""
        if not item_id:
            return ""
        item = self._items[item_id]
        item.marks_ms.append(item.sent_ms)
        self._marks += 1
        mark = f"{_MARK}{self._clears}-{self._marks}"
        self._open[mark] = (item_id, item.sent_ms)
        return mark

    def reached(self, mark: str, now: float, /) -> bool:
        """A mark came back. True when it was the last that was waited for: everything has been played."""
        waited_for = self._open.pop(mark, None)
        if waited_for is None:
            return False
        item_id, ms = waited_for
        item = self._items[item_id]
        item.reached_ms = max(item.reached_ms, ms)
        item.starts_at = max(item.sent_at, now - ms / 1000)
        return self.all_played

    def clear(self, now: float, /) -> list[tuple[str, int]]:
        """The buffer is dropped: `(item, heard ms)` of every item that is cut by it, each told once."""
        cut = []
        with self._lock:
            for item_id, item in self._items.items():
                if item.cut_ms is None and (heard := self.heard_ms(item_id, now)) < int(item.sent_ms):
                    item.cut_ms = heard
                    cut.append((item_id, heard))
            self._open.clear()
            self._unmarked = ""
            self._clears += 1
            self.ends_at = now
        return cut

    # --- what was heard ---

    @property
    def all_played(self) -> bool:
        """Whether no mark is waited for, and none is missing behind anything that was sent."""
        return not self._open and not self._unmarked

    def audible(self, now: float, /) -> bool:
        """Whether the caller may still be hearing something."""
        return not self.all_played and now < self.ends_at + LATE_MARK_SECONDS

    def sent_ms(self, item_id: str, /) -> int:
        item = self._items.get(item_id)
        return int(item.sent_ms) if item else 0

    def heard_ms(self, item_id: str, now: float, /) -> int:
        """How much of an item has been heard: at least to the last mark that came back, at most to the next one.

        It grows, but for a mark that says that the clock ran ahead: more was sent after a pause, or played late.
        """
        item = self._items.get(item_id)
        if item is None:
            return 0
        if item.cut_ms is not None:
            return item.cut_ms
        by_clock = max(0.0, (now - item.starts_at) * 1000)
        next_mark = next((ms for ms in item.marks_ms if ms > item.reached_ms), item.sent_ms)
        return int(min(max(by_clock, item.reached_ms), next_mark))


try:
    from stream_service.wire._codec import Playout as Playout
except ImportError:  # it has not been built
    Playout = PythonPlayout  # type: ignore[misc, assignment]  # all of its interface that is used
