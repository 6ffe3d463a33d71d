"""What the two ways of moving one connection's bytes share: the pump's own, in Python, and the compiled short cut.

`Lane` is the compiled one where it has been built (`wire.build_codec`). Then the poller is compiled too, and moves what
needs no thought by itself: whatever is said here of a lane, it goes by. `PythonLane` only keeps it.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from stream_service.outbox import Outbox
from stream_service.wire.frame_decoder import Decoder


class PythonLane:
    """The state of one connection. Only `held` and `open` are set from other threads than the pump's.

    `live`: the pump has it. `open`: messages are delivered. `held`: nothing is read. `backlog`: there may be more to
    deliver, and until then nothing is read. `interest`: what to ask the poller for besides reading. `blocked`: the
    socket takes no more for now; `unwritten` is the rest of what it did not take. `heard_at`: when something last came,
    by the pump's clock. `bytes_left` and `messages_left`: what the peer may send just now; below zero is a flood, and
    above `enough_bytes` and `enough_messages` nobody need care. `decoder`: None when the peer's bytes mean nothing any
    more. `failed`: the error that ended the short cut. `asked`: the route has been asked about the next message, and
    has not taken it.

    To call it is to have the connection written soon, from any thread. `receive` and `send` are those of TLS.
    """

    __slots__ = (
        "_flush", "asked", "backlog", "blocked", "bytes_in", "bytes_left", "bytes_out", "decoder", "enough_bytes",
        "enough_messages", "failed", "fd", "heard_at", "held", "interest", "live", "messages_in", "messages_left",
        "open", "outbox", "patience", "route", "unwritten",
    )  # fmt: skip

    def __init__(
        self,
        fd: int,
        decoder: Decoder | None,
        outbox: Outbox,
        flush: Callable[[], None],
        receive: Callable[[int], bytes] | None = None,  # noqa: ARG002 - the compiled lane's
        send: Callable[[bytes], int] | None = None,  # noqa: ARG002
    ) -> None:
        self.fd = fd
        self.decoder = decoder
        self.outbox = outbox
        self._flush: Callable[[], None] | None = flush
        self.route: Any = None
        self.live = self.held = self.backlog = self.blocked = self.asked = False
        self.open = True
        self.interest = 0
        self.bytes_in = self.messages_in = self.bytes_out = 0
        self.heard_at = self.bytes_left = self.messages_left = self.enough_bytes = self.enough_messages = 0.0
        self.patience = inf
        self.unwritten: bytes | memoryview | None = None
        self.failed: Exception | None = None

    def __call__(self) -> None:
        if self._flush is not None:
            self._flush()

    def at_ease(self, now: float) -> bool:
        """Whether nobody need look at the clock for it: heard, far from a flood, and taking what we send.

        `patience` is for how many seconds it may be silent. This is asked of every connection, over and over.
        """
        return (
            self.open
            and not (self.blocked or self.held or self.backlog)
            and now - self.heard_at < self.patience
            and self.bytes_left > self.enough_bytes
            and self.messages_left > self.enough_messages
        )

    def retire(self) -> None:
        """It is over. What refers back to us is let go, so that it need not wait for the collector."""
        self.live = self.open = False
        self.route = self.decoder = self._flush = None


try:
    from stream_service.wire._codec import Lane as Lane
except ImportError:  # it has not been built
    Lane = PythonLane  # type: ignore[misc, assignment]  # all of its interface that is used
