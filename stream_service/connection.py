"""One peer's WebSocket after its handshake, seen by the pump: delivery, pings, the close handshake, and its end.

The pump (`stream_service.pump`) says when to read, write and look at the clock; `stream_service.link` is what everybody
else sees. The socket is in `channel`, what waits to be written in `outbox`, frames in `wire`.
"""

import logging
import socket
import traceback
from collections.abc import Callable
from functools import partial
from typing import Final

from stream_service.channel import Channel
from stream_service.delivery import Delivery, OnMessage, Route
from stream_service.lane import Lane
from stream_service.limits import Limits, Lost, Reason
from stream_service.loop import Loop
from stream_service.outbox import Outbox
from stream_service.poller import DELIVER, ENDED, FAILED, FLUSH, HANG_UP, READ, WRITE
from stream_service.watchdog import Verdict, Watchdog
from stream_service.wire import frames
from stream_service.wire.frame_decoder import Decoder

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 1.0

OnLost = Callable[[Lost], None]


class Connection:
    """The pump's side of a link: everything here happens on the pump's thread, but for what `Link` adds."""

    __slots__ = (
        "_channel", "_close_deadline", "_closed", "_delivery", "_ending", "_loop", "_mask",
        "_on_lost", "_outbox", "_peer_done", "_watchdog", "_watched", "fd", "lane", "name",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        name: str,
        server: bool,
        limits: Limits,
        on_message: OnMessage,
        on_lost: OnLost,
        route: Route | None,
        held: bool,
    ) -> None:
        self.name = name
        self._loop = loop
        self._mask = not server  # RFC 6455, section 5.1: a client masks, a server does not
        self._on_lost = on_lost
        self._channel = Channel(sock)
        self.fd = self._channel.fd
        self._outbox = Outbox(limits.audio_bytes, limits.control_bytes)
        decoder = Decoder(masked_expected=server, max_message=limits.max_message)
        flush = partial(loop.flush_soon, self)
        self.lane = Lane(self.fd, decoder, self._outbox, flush, *(self._channel.tls or ()))
        self.lane.held, self.lane.route = held, route
        self._channel.follow(self.lane)
        self._ending: Lost | None = None  # the first cause, reported once the socket is closed
        self._peer_done = False  # the peer has sent its close frame
        self._close_deadline: float | None = None
        self._closed = False
        self._watched = 0  # what the poller was last asked for
        self._watchdog = Watchdog(limits, self.lane)
        self._delivery = Delivery(self.lane, on_message)

    @property
    def route(self) -> Route | None:
        """Who is asked first about every data message."""
        route: Route | None = self.lane.route
        return route

    @route.setter
    def route(self, route: Route | None) -> None:
        self.lane.route = route

    def begin(self, initial: bytes) -> None:
        """Start, with the bytes that came behind the handshake."""
        self._watchdog.begin(self._loop.now)
        if initial:
            self._delivery.received(bytes(initial), self._loop.now, self)
        self._read_pending()
        self._watch()
        self.lane.live = not self._closed
        self._loop.flush_soon(self)

    def ready(self, events: int) -> None:
        """Do what the poller says can be done, or what it has begun and cannot go on with."""
        lane = self.lane
        if events & DELIVER:
            self._delivery.go_on(self._loop.now, self)
            self._read_pending()
        elif events & (ENDED | FAILED):
            self._short_cut_ends()
        elif events == FLUSH:
            self.flush()
        else:
            if lane.interest:
                # Whatever the event: TLS may have to read before it can write, and the other way round.
                self._write()
                events |= READ
            if events & ~WRITE and not self._closed:
                if self._reading():
                    self._read()
                    self._read_pending()
                elif events & HANG_UP and not lane.backlog:
                    self._end("reset", None, "hung up while held")
        if lane.interest != self._watched & WRITE:
            self._watch()

    def flush(self) -> None:
        """Write what is queued, as far as the socket takes it."""
        if not self.lane.live:
            return  # `begin` does it, or it is over
        if not self.lane.blocked:
            try:
                self._channel.write(self._loop.now)
            except OSError as error:
                self._cannot_write(error)
                return
            if self.lane.blocked:
                self._watch()
            elif self._outbox.finished:
                self._all_is_said()

    def tick(self, now: float) -> None:
        """Look at the clock."""
        stuck_since = self._channel.stuck_since if self.lane.blocked else None
        verdict = self._watchdog.look(now, listening=self._reading(), stuck_since=stuck_since)
        if self._close_deadline is not None:
            if now >= self._close_deadline:
                self._end("closed", None, "close handshake not finished")
        elif self._outbox.overflowed:
            self._end("overflow", None, "the peer does not take what it must")
        elif verdict is not None:
            self.part(verdict)
        elif self._watchdog.wants_ping(now):
            self._send_control(frames.encode_control(frames.PING, b"", self._mask))

    def stop(self) -> None:
        """Close because the pump stops."""
        self._start_closing(Lost(self.name, "stopped", 1001, ""), 1001)

    def stop_now(self) -> None:
        """The pump can wait no longer."""
        self._end("stopped", None, "")

    def failed(self, error: Exception) -> None:
        """A callback (or this code) raised. Only its kind and place are logged: its text may hold a caller's words."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}:{place.lineno}"
        log.error("link callback failed", extra={"link": self.name, "error": type(error).__name__, "where": where})
        log.debug("link callback failed", exc_info=error)
        self.part(Verdict("protocol", 1011, f"callback failed: {type(error).__name__}"))

    # Our own.

    def _reading(self) -> bool:
        lane = self.lane
        return not lane.backlog and (not lane.held or not lane.open)

    def _watch(self) -> None:
        interest = self.lane.interest | (READ if self._reading() else 0)
        if interest != self._watched and not self._closed:
            self._watched = interest
            self._loop.watch(self.fd, interest)

    def _send_control(self, frame: bytes) -> None:
        if not self._outbox.put_control(frame):
            self.lane.open = False
            self._loop.post(self, lambda: self._end("overflow", None, "the peer does not take what it must"))
        else:
            self.lane()

    def _follow_hold(self) -> None:
        if self._closed:
            return
        if self._reading():
            self._delivery.deliver(self)
            self._read_pending()
        self._watch()

    def _read(self) -> None:
        try:
            data = self._channel.read()
        except OSError as error:
            self._end("reset", None, str(error))
            return
        if data:
            self._delivery.received(data, self._loop.now, self)
        elif data is not None:
            self._end("reset", None, "ended without a close frame")

    def _short_cut_ends(self) -> None:
        """Nothing more comes: the peer has gone, or something failed that Python did not see."""
        error, self.lane.failed = self.lane.failed, None
        if error is None:
            self._end("reset", None, "ended without a close frame")
        elif isinstance(error, OSError):
            self._end("reset", None, str(error))
        else:
            raise error

    def _read_pending(self) -> None:
        while not self._closed and self._reading() and self._channel.has_pending():
            self._read()

    # For the delivery.

    def answer(self, control: frames.Message) -> None:
        """A ping or a close frame has come."""
        match control:
            case frames.Ping(data):
                self._send_control(frames.encode_control(frames.PONG, data, self._mask))
            case frames.Close(code, reason):
                self.lane.decoder = None
                self._peer_done = True
                self._start_closing(Lost(self.name, "closed", code, reason), code)

    def broken(self, error: frames.FrameError) -> None:
        """The peer's bytes cannot be understood any more."""
        self.lane.decoder = None
        self._start_closing(Lost(self.name, "protocol", error.close_code, str(error)), error.close_code)

    def deliver_later(self) -> None:
        """There may be more, but the others have their turn first."""
        self.lane.backlog = True
        self._loop.post(self, self._deliver_rest)

    def _deliver_rest(self) -> None:
        self.lane.backlog = False
        self._follow_hold()

    def _write(self) -> None:
        try:
            self._channel.write(self._loop.now)
        except OSError as error:
            self._cannot_write(error)
        else:
            if self._outbox.finished and not self.lane.blocked:
                self._all_is_said()

    def _cannot_write(self, error: OSError) -> None:
        # The peer's close frame may be waiting in front of the reset that failed us: it says more.
        if self._reading():
            self._read()
        self._end("reset", None, str(error))

    def _all_is_said(self) -> None:
        if self._outbox.overflowed:
            self._end("overflow", None, "the peer does not take what it must")
        elif self._peer_done:
            self._end("closed", None, "")
        elif self.lane.decoder is None:
            self._channel.end_writing()

    def _start_closing(self, lost: Lost, code: int) -> None:
        """Our close frame goes out behind what is queued; then the peer has a second at most."""
        if self._closed:
            return
        self.lane.open = False
        self._outbox.finish(frames.encode_close(code, "", self._mask))
        self._ending = self._ending or lost
        self._close_deadline = self._close_deadline or self._loop.now + CLOSE_SECONDS
        self._delivery.deliver(self)
        self._watch()
        self._loop.flush_soon(self)

    def part(self, verdict: Verdict) -> None:
        """End now, with a close frame if the socket takes it at once."""
        told = self._outbox.finish(frames.encode_close(verdict.code, "", self._mask)) and not self.lane.blocked
        if self._ending is None:
            self._ending = Lost(self.name, verdict.reason, verdict.code if told else None, verdict.detail)
        if told:
            self._write()
        self._end(verdict.reason, None, verdict.detail)

    def _end(self, reason: Reason, code: int | None, detail: str) -> None:
        """Close the socket and tell; what first led here is what is told."""
        if self._closed:
            return
        self._closed = True
        self.lane.retire()
        self._outbox.finish()
        self._loop.forget(self)
        self._channel.close()
        try:
            self._on_lost(self._ending or Lost(self.name, reason, code, detail))
        except Exception as error:
            log.error("on_lost failed", extra={"link": self.name, "error": type(error).__name__})
            log.debug("on_lost failed", exc_info=error)
