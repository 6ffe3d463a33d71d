"""Bytes to and from one non-blocking socket, plain or TLS. When to do so, and what they mean, is the link's matter."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from stream_service.lane import Lane
from stream_service.poller import WRITE
from stream_service.tls import tls_of

# One TLS record. More at a time would let one peer's burst keep the others waiting.
_READ_BYTES: Final = 16_384
# What is being written cannot be forgotten any more, so no more than this at a time.
_WRITE_BYTES: Final = 16_384


class Channel:
    """A connected socket, owned from here on. Only the pump's thread may use it: TLS is not safe for two.

    What the compiled short cut has to know of it is in its `lane`. `stuck_since` is when a socket that takes no more
    last took something, on the clock given to `write`.
    """

    __slots__ = ("_lane", "_recv", "_send", "_sock", "_tls", "stuck_since")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._recv: Callable[[int], bytes] = sock.recv
        self._send: Callable[[bytes | memoryview], int] = sock.send
        self._tls = tls_of(sock)
        if self._tls is not None:
            self._recv, self._send = self._tls.read, self._tls.write
        self.stuck_since = 0.0
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # a Unix socket has no Nagle to switch off
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def fd(self) -> int:
        """The number of the socket; negative once it is closed."""
        return self._sock.fileno()

    @property
    def tls(self) -> tuple[Callable[[int], bytes], Callable[[bytes], int]] | None:
        """How to read and write when that is not the kernel's business alone."""
        return (self._recv, self._send) if self._tls is not None else None

    def follow(self, lane: Lane) -> None:
        """Keep what others have to know in `lane`, from now on."""
        self._lane = lane

    def read(self) -> bytes | None:
        """What has come: empty when the peer has ended, None when there is nothing now. Raises OSError."""
        lane = self._lane
        try:
            data: bytes | None = self._recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            data = None
        except ssl.SSLWantWriteError:
            lane.interest = WRITE
            return None
        if lane.interest and not lane.blocked:
            lane.interest = 0
        return data

    def has_pending(self) -> bool:
        """Whether TLS has bytes ready that the poller cannot see, because they have left the kernel."""
        return self._tls is not None and self._tls.pending() > 0

    def write(self, now: float) -> None:
        """Write what waits, as far as the socket takes it. Raises OSError."""
        lane = self._lane
        outbox = lane.outbox
        data = lane.unwritten or outbox.take(_WRITE_BYTES)
        while data:
            try:
                sent = self._send(data)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                sent = 0
            lane.bytes_out += sent
            if sent < len(data):
                if sent or not lane.blocked:
                    self.stuck_since = now
                # TLS wants the very same bytes again, so they are kept apart from what may still be dropped.
                lane.unwritten = memoryview(data)[sent:] if sent else data
                lane.blocked = True
                lane.interest = WRITE
                return
            data = outbox.take(_WRITE_BYTES) if outbox.size else b""
        lane.unwritten = None
        if lane.blocked:
            lane.blocked = False
            lane.interest = 0

    def end_writing(self) -> None:
        """Tell the peer that nothing more will come. What it still says is no TLS to us from here on."""
        self._recv, self._send = self._sock.recv, self._sock.send
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End both ways. Others may hold duplicates of the socket, so the connection is shut down, not only let go."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._sock.close()
