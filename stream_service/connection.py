"""One peer's WebSocket after its handshake, seen by the pump: delivery, pings, the close handshake, and its end.

The pump (`stream_service.pump`) says when to read, write and look at the clock; `stream_service.link` is what everybody
else sees. The socket is in `channel`, what waits to be written in `outbox`, frames in `wire`.
"""

import logging
import socket
import traceback
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from stream_service.channel import Channel
from stream_service.limits import Limits, Lost, Reason
from stream_service.outbox import Outbox
from stream_service.poller import HANG_UP, READ, WRITE
from stream_service.watchdog import Verdict, Watchdog
from stream_service.wire import frames
from stream_service.wire.frame_decoder import Decoder, receive

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 1.0
# So many messages of one peer are delivered before the others have their turn.
_MESSAGES_AT_ONCE: Final = 100

Receive = Callable[[int, Decoder], int | None]
Route = Callable[[bytes], bool]
OnMessage = Callable[[frames.Text | frames.Binary], None]
OnLost = Callable[[Lost], None]


class Loop(Protocol):
    """What a link needs from the pump. `post` and `flush_soon` work from any thread."""

    now: float
    to_flush: "deque[Connection]"  # on the loop's own thread; from others `flush_soon`

    def post(self, connection: "Connection", action: Callable[[], None], /) -> None: ...
    def flush_soon(self, connection: "Connection", /) -> None: ...
    def watch(self, fd: int, interest: int, /) -> None: ...
    def forget(self, connection: "Connection", /) -> None: ...


class Connection:
    """The pump's side of a link: everything here happens on the pump's thread, but for what `Link` adds."""

    __slots__ = (
        "_backlog", "_bytes_in", "_channel", "_close_deadline", "_closed", "_decoder", "_drain", "_ending",
        "_flush_wanted", "_held", "_loop", "_mask", "_messages_in", "_on_lost", "_on_message", "_open", "_outbox",
        "_peer_done", "_route", "_watchdog", "_watched", "fd", "name",
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
        self.route = route
        self._loop = loop
        self._mask = not server  # RFC 6455, section 5.1: a client masks, a server does not
        self._on_message = on_message
        self._on_lost = on_lost
        self._channel = Channel(sock)
        self.fd = self._channel.fd
        self._outbox = Outbox(limits.audio_bytes, limits.control_bytes)
        # None when the peer's bytes mean nothing any more; they are read all the same, to end politely.
        self._decoder: Decoder | None = Decoder(masked_expected=server, max_message=limits.max_message)
        self._held = held
        self._backlog = False  # there may be more to deliver; until then nothing is read
        self._open = True  # messages are delivered; false from the first cause of the end on
        self._ending: Lost | None = None  # the first cause, reported once the socket is closed
        self._peer_done = False  # the peer has sent its close frame
        self._close_deadline: float | None = None
        self._closed = False
        self._watched = 0  # what the poller was last asked for
        self._flush_wanted = True  # what is sent before `begin` waits for it
        self._watchdog = Watchdog(limits)
        self._messages_in = self._bytes_in = 0

    @property
    def route(self) -> Route | None:
        """Who is asked first about every data message."""
        return self._route

    @route.setter
    def route(self, route: Route | None) -> None:
        self._route = route
        # A compiled route takes all it can out of a compiled decoder by itself.
        self._drain: Callable[[Decoder], int] | None = getattr(route, "drain", None)

    def begin(self, initial: bytes) -> None:
        """Start, with the bytes that came behind the handshake."""
        self._watchdog.begin(self._loop.now)
        if initial:
            self._received(bytes(initial))
        self._read_pending()
        self._watch()
        self._loop.flush_soon(self)

    def ready(self, events: int) -> None:
        """Do what the poller says can be done."""
        channel = self._channel
        if events == READ and not channel.interest and not self._held and not self._backlog:  # nearly always
            if channel.tls or receive is None or self._decoder is None:
                self._read()
            else:
                self._read_straight(self._decoder, receive)
            if channel.tls:
                if channel.has_pending():
                    self._read_pending()
                if channel.interest:
                    self._watch()
            return
        if channel.interest:
            # Whatever the event: TLS may have to read before it can write, and the other way round.
            self._write()
            events |= READ
        if events & ~WRITE and not self._closed:
            if self._reading():
                self._read()
                self._read_pending()
            elif events & HANG_UP and not self._backlog:
                self._end("reset", None, "hung up while held")
        if channel.interest != self._watched & WRITE:
            self._watch()

    def flush(self) -> None:
        """Write what is queued, as far as the socket takes it."""
        self._flush_wanted = False
        channel = self._channel
        if not channel.blocked and not self._closed:
            try:
                channel.write(self._outbox, self._loop.now)
            except OSError as error:
                self._cannot_write(error)
                return
            if channel.blocked:
                self._watch()
            elif self._outbox.finished:
                self._all_is_said()

    def tick(self, now: float) -> None:
        """Look at the clock."""
        channel = self._channel
        stuck_since = channel.stuck_since if channel.blocked else None
        verdict = self._watchdog.look(now, listening=self._reading(), stuck_since=stuck_since)
        if self._close_deadline is not None:
            if now >= self._close_deadline:
                self._end("closed", None, "close handshake not finished")
        elif verdict is not None:
            self._part(verdict)
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
        self._part(Verdict("protocol", 1011, f"callback failed: {type(error).__name__}"))

    # Our own.

    def _reading(self) -> bool:
        return not self._backlog and (not self._held or not self._open)

    def _watch(self) -> None:
        interest = self._channel.interest | (READ if self._reading() else 0)
        if interest != self._watched and not self._closed:
            self._watched = interest
            self._loop.watch(self.fd, interest)

    def _send_control(self, frame: bytes) -> None:
        if not self._outbox.put_control(frame):
            self._open = False
            self._loop.post(self, lambda: self._end("overflow", None, "the peer does not take what it must"))
        else:
            self._flush_later()

    def _flush_later(self) -> None:
        if not self._flush_wanted:
            self._flush_wanted = True
            self._loop.flush_soon(self)

    def _follow_hold(self) -> None:
        if self._closed:
            return
        if self._reading():
            self._deliver()
            self._read_pending()
        self._watch()

    def _go_on(self) -> None:
        self._backlog = False
        self._follow_hold()

    def _read(self) -> None:
        try:
            data = self._channel.read()
        except OSError as error:
            self._end("reset", None, str(error))
            return
        if data:
            self._received(data)
        elif data is not None:
            self._end("reset", None, "ended without a close frame")

    def _read_straight(self, decoder: Decoder, receive: Receive) -> None:
        try:
            size = receive(self.fd, decoder)
        except OSError as error:
            self._end("reset", None, str(error))
            return
        if size:
            if self._affords(size):
                self._deliver()
        elif size is not None:
            self._end("reset", None, "ended without a close frame")

    def _read_pending(self) -> None:
        while not self._closed and self._reading() and self._channel.has_pending():
            self._read()

    def _received(self, data: bytes) -> None:
        if self._affords(len(data)) and self._decoder is not None:
            self._decoder.feed(data)
            self._deliver()

    def _affords(self, size: int) -> bool:
        """Count what has come. False when it was too much, and the end."""
        watchdog = self._watchdog
        self._bytes_in += size
        watchdog.bytes_left -= size
        watchdog.heard_at, watchdog.ping_at = self._loop.now, None
        if watchdog.bytes_left < 0:
            self._part(Verdict("flood", 1008, "too many bytes"))
            return False
        return True

    def _deliver(self) -> None:
        watchdog = self._watchdog
        try:
            for _ in range(_MESSAGES_AT_ONCE):
                if self._decoder is None or (self._held and self._open):
                    return
                if self._drain is not None and self._open:
                    taken = self._drain(self._decoder)
                    watchdog.messages_left -= taken
                    self._messages_in += taken
                pulled = self._decoder.pull()
                if pulled is None:
                    return
                watchdog.messages_left -= 1
                if watchdog.messages_left < 0:
                    self._part(Verdict("flood", 1008, "too many messages"))
                    return
                opcode, payload = pulled
                if opcode > frames.BINARY:
                    self._answer(frames.message(opcode, payload))
                elif self._open:
                    self._messages_in += 1
                    route = self._route
                    if route is None or not route(payload):
                        self._on_message(frames.Text(payload) if opcode == frames.TEXT else frames.Binary(payload))
            if not self._backlog:
                self._backlog = True
                self._loop.post(self, self._go_on)
        except frames.FrameError as error:
            self._decoder = None
            self._start_closing(Lost(self.name, "protocol", error.close_code, str(error)), error.close_code)

    def _answer(self, control: frames.Message) -> None:
        match control:
            case frames.Ping(data):
                self._send_control(frames.encode_control(frames.PONG, data, self._mask))
            case frames.Close(code, reason):
                self._decoder = None
                self._peer_done = True
                self._start_closing(Lost(self.name, "closed", code, reason), code)

    def _write(self) -> None:
        try:
            self._channel.write(self._outbox, self._loop.now)
        except OSError as error:
            self._cannot_write(error)
        else:
            if self._outbox.finished and not self._channel.blocked:
                self._all_is_said()

    def _cannot_write(self, error: OSError) -> None:
        # The peer's close frame may be waiting in front of the reset that failed us: it says more.
        if self._reading():
            self._read()
        self._end("reset", None, str(error))

    def _all_is_said(self) -> None:
        if self._peer_done:
            self._end("closed", None, "")
        elif self._decoder is None:
            self._channel.end_writing()

    def _start_closing(self, lost: Lost, code: int) -> None:
        """Our close frame goes out behind what is queued; then the peer has a second at most."""
        if self._closed:
            return
        self._open = False
        self._outbox.finish(frames.encode_close(code, "", self._mask))
        self._ending = self._ending or lost
        self._close_deadline = self._close_deadline or self._loop.now + CLOSE_SECONDS
        self._deliver()
        self._watch()
        self._loop.flush_soon(self)

    def _part(self, verdict: Verdict) -> None:
        """End now, with a close frame if the socket takes it at once."""
        told = self._outbox.finish(frames.encode_close(verdict.code, "", self._mask)) and not self._channel.blocked
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
        self._open = False
        self._outbox.finish()
        self._loop.forget(self)
        self._channel.close()
        try:
            self._on_lost(self._ending or Lost(self.name, reason, code, detail))
        except Exception as error:
            log.error("on_lost failed", extra={"link": self.name, "error": type(error).__name__})
            log.debug("on_lost failed", exc_info=error)
