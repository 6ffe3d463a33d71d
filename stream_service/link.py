"""What the rest of the service sees of one WebSocket on the pump: sending, steering, counters. Nothing here waits.

What happens on the pump's own thread is `stream_service.connection`.
"""

from collections.abc import Callable

from stream_service.connection import Connection
from stream_service.limits import LinkStats, Lost
from stream_service.outbox import Outbox
from stream_service.wire import frames


class Link(Connection):
    """A WebSocket that the pump moves. The methods below may be called from any thread; those inherited are the pump's.

    `route` may be replaced at any time. It is called first for every text or binary message and returns whether it took
    it; only what it did not take goes to `on_message`. Both run on the pump's thread and must be quick. `on_lost` is
    called exactly once, on the pump's thread, when the socket has been closed; no other callback follows it. What is
    sent to a link that is closing or lost is ignored.
    """

    __slots__ = ()

    @property
    def stats(self) -> LinkStats:
        """A snapshot of the counters."""
        box, lane = self._outbox, self.lane
        return LinkStats(lane.messages_in, lane.bytes_in, box.taken, lane.bytes_out, box.dropped, box.peak)

    def send_text(self, data: bytes | str) -> None:
        """Queue a text message that must arrive. Over the bound the link is lost ("overflow")."""
        self._send_control(frames.encode_text(data.encode() if isinstance(data, str) else data, self._mask))

    def send_binary(self, data: bytes) -> None:
        """Queue a binary message that must arrive. Over the bound the link is lost ("overflow")."""
        self._send_control(frames.encode_binary(data, self._mask))

    @property
    def inlet(self) -> tuple[Outbox, bool, Callable[[], None]]:
        """For who frames audio without us: where to put it, whether to mask it, what to call when it was the first."""
        return self._outbox, self._mask, self.lane

    def discard_audio(self) -> int:
        """Forget the audio messages of which nothing is written yet; how many they were."""
        return self._outbox.discard_audio()

    def hold(self) -> None:
        """Stop reading and delivering. What the peer sends stays with the kernel; silence and pings do not count."""
        self.lane.held = True
        self._loop.post(self, self._follow_hold)

    def release(self) -> None:
        """Go on after `hold`: first what was already read, in order, on the pump's thread."""
        self.lane.held = False
        self._loop.post(self, self._follow_hold)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send what is queued and a close frame, wait up to a second for the peer's, then close the socket.

        Messages that come meanwhile are not delivered.
        """
        self.lane.open = False
        if self._outbox.finish(frames.encode_close(code, reason, self._mask)):
            self._loop.post(self, lambda: self._start_closing(Lost(self.name, "closed", code, reason), code))

    def abort(self) -> None:
        """Close the socket at once, without a close frame."""
        self.lane.open = False
        self._outbox.finish()
        self._loop.post(self, lambda: self._end("closed", None, "aborted"))
