"""The one thread of the process that moves audio between sockets. It knows links and time; not calls, not frames.

Everything the rest of the service needs from the audio path is importable from here.
"""

import contextlib
import heapq
import itertools
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

from stream_service.connection import Connection, OnLost
from stream_service.delivery import OnMessage, Route
from stream_service.limits import Limits, LinkStats, Lost
from stream_service.link import Link
from stream_service.poller import READ, Poller, new_poller

__all__ = ["Limits", "Link", "LinkStats", "Lost", "Pump", "PumpStoppedError"]

log = logging.getLogger(__name__)

# How often each link looks at the clock. Deadlines are met this much late at most.
TICK_SECONDS: Final = 0.2
# The poller has room made for so many with each call; who is left out comes first the next time.
_EVENTS_AT_ONCE: Final = 64


class PumpStoppedError(Exception):
    """The pump is not running (any more), so it takes no socket."""


class Pump:
    """One thread and one poller for all sockets of the process.

    Start it after the process has forked. Callbacks of its links run on its thread, and while one runs nothing else
    moves. `clock` gives seconds and never goes back; it decides about limits, but the poller waits in real time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.now = clock()
        self._links: dict[int, Connection] = {}
        self._actions: deque[tuple[Connection, Callable[[], None]]] = deque()
        self.to_flush: deque[Connection] = deque()
        self._next_tick = self.now + TICK_SECONDS
        self._due: list[tuple[float, int, Callable[[], None]]] = []  # a heap; the number is only for the order
        self._numbers = itertools.count()
        self._gate = threading.Lock()  # nothing is adopted once stopping is set, nothing posted once the thread is over
        self._running = False
        self._stopping = False
        self._stop_deadline = 0.0
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)
        self._ident: int | None = None
        self._awake = False  # it will look for what there is to do before it waits again
        self._woken = False

    def start(self) -> None:
        """Open the poller and start the thread. A pump starts once."""
        self._poller: Poller = new_poller(self._clock)
        self._wake_receiver, self._wake_sender = socket.socketpair()
        for end in (self._wake_receiver, self._wake_sender):
            end.setblocking(False)
        self._wake_fd = self._wake_receiver.fileno()
        self._poller.register(self._wake_fd, READ)
        self._running = True
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Close every link (1001), wait up to `timeout` seconds until they are closed, end the thread.

        May be called more than once, and from a callback (then it does not wait).
        """
        with self._gate:
            if not self._running:
                return
            if not self._stopping:
                self._stopping = True
                self._stop_deadline = time.monotonic() + timeout
        self._wake()
        if threading.get_ident() != self._ident:
            self._thread.join(timeout + 1)

    def adopt(
        self,
        sock: socket.socket,
        *,
        name: str,
        server: bool,
        limits: Limits,
        on_message: OnMessage,
        on_lost: OnLost,
        route: Route | None = None,
        held: bool = False,
        initial: bytes = b"",
    ) -> Link:
        """Own a connected socket from now on, and speak WebSocket on it. The handshake is over.

        `server`: we are the server of this connection. `initial`: what came behind the handshake and was already read.
        `held`: as if `hold` had been called at once. `name` is for logs and reports. Callbacks: see `Link`.

        Raises:
            PumpStoppedError: the pump is not running. The socket is closed.
            OSError: the socket is no good. It is closed.
        """
        try:
            link = Link(
                self, sock, name=name, server=server, limits=limits,
                on_message=on_message, on_lost=on_lost, route=route, held=held,
            )  # fmt: skip
            with self._gate:
                if self._stopping or not self._running:
                    raise PumpStoppedError(name)
                self._actions.append((link, lambda: self._admit(link, initial)))
        except (OSError, PumpStoppedError):
            sock.close()
            raise
        self._wake()
        return link

    def call_at(self, at: float, action: Callable[[], None]) -> None:
        """Have the pump's thread do something when its clock says `at`.

        Only while there are links; whoever has one can do without, should the pump be stopped.
        """
        with self._gate:
            heapq.heappush(self._due, (at, next(self._numbers), action))
            is_next = self._due[0][0] == at
        if is_next:
            self._wake()  # it may be waiting for something later

    # For links.

    def post(self, connection: Connection, action: Callable[[], None], /) -> None:
        """Have the pump's thread do something soon; if that fails, it is the connection that suffers."""
        with self._gate:
            if not self._running:
                return
            self._actions.append((connection, action))
        self._wake()

    def flush_soon(self, connection: Connection, /) -> None:
        """Have a connection written once the event that is being handled is done with."""
        self.to_flush.append(connection)
        if not self._awake:
            self._wake()

    def watch(self, fd: int, interest: int, /) -> None:
        """Change what the poller is asked for."""
        self._poller.modify(fd, interest)

    def forget(self, connection: Connection, /) -> None:
        """It has ended; its socket is about to be closed."""
        if self._links.pop(connection.fd, None) is not None:
            # Others may hold duplicates of the socket, so closing it would not take it out of the poller.
            with contextlib.suppress(OSError):
                self._poller.unregister(connection.fd)

    # The thread.

    def _run(self) -> None:
        self._ident = threading.get_ident()
        try:
            while not self._stopping:
                self._pass()
            # Whoever was to be adopted before the stop is among the actions, and is so before it is told to close.
            self._act()
            for link in list(self._links.values()):
                self._try(link, link.stop)
            while self._links and time.monotonic() < self._stop_deadline:
                self._pass()
        except Exception:
            log.critical("pump failed", exc_info=True)
        finally:
            self._shut_down()

    def _pass(self) -> None:
        """Wait for something to do, and do all of it."""
        links, to_flush = self._links, self.to_flush
        self._awake = False  # and only then look: whoever has something to do for us looks here after saying so
        events = self._poller.poll(self._patience(), _EVENTS_AT_ONCE)
        self._awake = True
        self.now = self._clock()
        for fd, mask in events:
            link = links.get(fd)
            if link is not None:
                try:
                    link.ready(mask)
                except Exception as error:
                    link.failed(error)
                # At once and not after all events: the frames of one read leave together, and wait for nobody else's.
                while to_flush:
                    link = to_flush.popleft()
                    try:
                        link.flush()
                    except Exception as error:
                        link.failed(error)
            elif fd == self._wake_fd:
                with contextlib.suppress(BlockingIOError):
                    self._wake_receiver.recv(4096)
                self._woken = False
        # Only now, so that a socket adopted under the number of one just closed is not taken for it.
        if self._actions or to_flush:
            self._act()
        if self.now >= self._next_tick:
            self._next_tick = self.now + TICK_SECONDS
            for fd in self._poller.uneasy(self.now):
                if (link := links.get(fd)) is not None:
                    self._try(link, partial(link.tick, self.now))
            self._flush()
        if self._due and self._due[0][0] <= self.now:
            self._do_what_is_due()

    def _do_what_is_due(self) -> None:
        while self._due and self._due[0][0] <= self.now:
            with self._gate:
                _, _, action = heapq.heappop(self._due)
            try:
                action()
            except Exception:  # of nobody's link
                log.exception("what was due could not be done")

    def _patience(self) -> float | None:
        if self._actions or self.to_flush:
            return 0.0
        if self._stopping:
            return max(0.0, min(TICK_SECONDS, self._stop_deadline - time.monotonic()))
        if not self._links:
            return None
        next_due = self._due[0][0] if self._due else inf
        return max(0.0, min(self._next_tick, next_due) - self.now)

    def _act(self) -> None:
        for _ in range(len(self._actions)):
            self._try(*self._actions.popleft())
        self._flush()

    def _flush(self) -> None:
        while self.to_flush:
            connection = self.to_flush.popleft()
            try:
                connection.flush()
            except Exception as error:
                connection.failed(error)

    def _try(self, connection: Connection, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            connection.failed(error)

    def _admit(self, link: Link, initial: bytes) -> None:
        self._poller.register(link.fd, 0, link.lane)
        self._links[link.fd] = link
        link.begin(initial)

    def _wake(self) -> None:
        # Waking once is enough for everything that is appended before the pump has taken the byte.
        if not self._awake and not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):
                self._wake_sender.send(b"\0")

    def _shut_down(self) -> None:
        with self._gate:
            self._running = False
        self._act()
        for link in list(self._links.values()):
            link.stop_now()
        self._poller.close()
        self._wake_receiver.close()
        self._wake_sender.close()
