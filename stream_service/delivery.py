"""One peer's bytes, cut into messages and given to whom they are for, as far as the peer keeps to its budget.

The socket, the clock and what an end means are the connection's (`stream_service.connection`).
"""

from collections.abc import Callable
from typing import Final, Protocol

from stream_service.lane import Lane
from stream_service.watchdog import Verdict
from stream_service.wire import frames

# So many messages of one peer are delivered before the others have their turn.
_MESSAGES_AT_ONCE: Final = 100

Route = Callable[[bytes], bool]
OnMessage = Callable[[frames.Text | frames.Binary], None]


class Addressee(Protocol):
    """Who is told of everything but data messages."""

    def answer(self, control: frames.Message) -> None: ...
    def part(self, verdict: Verdict) -> None: ...
    def broken(self, error: frames.FrameError) -> None: ...
    def deliver_later(self) -> None: ...


class Delivery:
    """Delivers what is in a lane's decoder: first the lane's route is asked, then it is `on_message`'s.

    `others` are told of the rest. They are not kept, because they keep us.
    """

    __slots__ = ("_lane", "_on_message")

    def __init__(self, lane: Lane, on_message: OnMessage) -> None:
        self._lane = lane
        self._on_message = on_message

    def received(self, data: bytes, now: float, others: Addressee) -> None:
        """So much has come."""
        lane = self._lane
        lane.bytes_in += len(data)
        lane.bytes_left -= len(data)
        if lane.decoder is not None:
            lane.decoder.feed(data)
        self.go_on(now, others)

    def go_on(self, now: float, others: Addressee) -> None:
        """Something has come, and is in the decoder. When it was too much, that is the end."""
        lane = self._lane
        lane.heard_at = now
        if lane.bytes_left < 0 or lane.messages_left < 0:
            others.part(_flood("bytes" if lane.bytes_left < 0 else "messages"))
        else:
            self.deliver(others)

    def deliver(self, others: Addressee) -> None:
        """Deliver what is there, unless the lane is held."""
        lane = self._lane
        try:
            for _ in range(_MESSAGES_AT_ONCE):
                if lane.decoder is None or (lane.held and lane.open):
                    return
                pulled = lane.decoder.pull()
                if pulled is None:
                    return
                lane.messages_left -= 1
                if lane.messages_left < 0:
                    others.part(_flood("messages"))
                    return
                opcode, payload = pulled
                if opcode > frames.BINARY:
                    others.answer(frames.message(opcode, payload))
                elif lane.open:
                    lane.messages_in += 1
                    route, asked, lane.asked = lane.route, lane.asked, False
                    if asked or route is None or not route(payload):
                        self._on_message(frames.Text(payload) if opcode == frames.TEXT else frames.Binary(payload))
            if not lane.backlog:
                others.deliver_later()
        except frames.FrameError as error:
            others.broken(error)


def _flood(what: str) -> Verdict:
    return Verdict("flood", 1008, f"too many {what}")
