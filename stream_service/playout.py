"""What of the bot's audio the caller has heard, item by item. No I/O; the pump writes it, the call's thread reads it.

Twilio buffers what it gets and plays it in real time, so bytes sent are not bytes heard. Two things bound the truth:
the clock (audio plays one after the other from the moment it was sent) and the marks (sent behind some of the pieces
and behind the last, they come back when that has been played, and set the clock right where it ran ahead). After a
`clear` all pending marks come back at once and mean nothing, so each mark names the number of clears before it.
"""

from dataclasses import dataclass, field

BYTES_PER_MS = 8
_MARK = "a"  # what our marks' names begin with
MARK_EVERY_MS = 2000  # of audio; a mark is a message each way, and the clock is right in between
LATE_MARK_SECONDS = 2.0  # a mark so late is not coming: the carrier lost it


@dataclass(slots=True)
class _Item:
    response: str
    sent_at: float  # when its first byte is played at the earliest, by the clock
    starts_at: float  # and when it is, by the newest mark
    sent_ms: float = 0.0
    reached_ms: float = 0.0  # by the marks
    marks_ms: list[float] = field(default_factory=list)  # of the marks sent, ascending
    cut_ms: int | None = None  # what had been heard when the rest was cleared away; it stays at that


class Playout:
    """The carrier's playback buffer as seen from here. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self._open: dict[str, tuple[str, float]] = {}  # mark -> item, ms
        self._ends_at = 0.0
        self._clears = 0
        self._marks = 0
        self._unmarked = ""  # the item of which audio was sent that no mark stands behind

    def sent(self, item_id: str, response: str, size: int, now: float) -> tuple[str, bool]:
        """Note `size` bytes of mu-law sent for an item. The mark to send behind them, if any; whether it is its first.

        Whoever knows that no more comes for now asks for `last_mark`.
        """
        item = self._items.get(item_id)
        first = item is None
        if item is None:
            begins = max(now, self._ends_at)
            item = self._items[item_id] = _Item(response, begins, begins)
        seconds = size / BYTES_PER_MS / 1000
        self._ends_at = max(now, self._ends_at) + seconds
        item.sent_ms += size / BYTES_PER_MS
        self._unmarked = item_id
        due = item.sent_ms - (item.marks_ms[-1] if item.marks_ms else 0.0) >= MARK_EVERY_MS
        return self.last_mark() if due else "", first

    def last_mark(self) -> str:
        """The mark to send behind all that was sent; empty when there is one."""
        item_id, self._unmarked = self._unmarked, ""
        if not item_id:
            return ""
        item = self._items[item_id]
        item.marks_ms.append(item.sent_ms)
        self._marks += 1
        mark = f"{_MARK}{self._clears}-{self._marks}"
        self._open[mark] = (item_id, item.sent_ms)
        return mark

    def owns(self, mark: str) -> bool:
        """Whether this mark was sent behind a piece of audio, be it cleared away by now."""
        return mark.startswith(_MARK)

    def reached(self, mark: str, now: float) -> bool:
        """A mark came back. True when it was the last that was waited for: everything has been played."""
        item_id, ms = self._open.pop(mark, ("", 0.0))
        if mark.startswith(f"{_MARK}{self._clears}-") and (item := self._items.get(item_id)):
            item.reached_ms = max(item.reached_ms, ms)
            item.starts_at = max(item.sent_at, now - ms / 1000)
        return bool(item_id) and self.all_played

    @property
    def all_played(self) -> bool:
        """Whether no mark is waited for, and none is missing behind anything that was sent."""
        return not self._open and not self._unmarked

    def audible(self, now: float) -> bool:
        """Whether the caller may still be hearing something."""
        return bool(self._open or self._unmarked) and now < self._ends_at + LATE_MARK_SECONDS

    def sent_ms(self, item_id: str) -> int:
        item = self._items.get(item_id)
        return int(item.sent_ms) if item else 0

    def heard_ms(self, item_id: str, now: float) -> int:
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

    def clear(self, now: float) -> list[tuple[str, int]]:
        """The buffer is dropped: `(item, heard ms)` of every item that is cut by it, each told once."""
        cut = []
        for item_id, item in self._items.items():
            if item.cut_ms is None and (heard := self.heard_ms(item_id, now)) < int(item.sent_ms):
                item.cut_ms = heard
                cut.append((item_id, heard))
        self._open.clear()
        self._unmarked = ""
        self._clears += 1
        self._ends_at = now
        return cut
