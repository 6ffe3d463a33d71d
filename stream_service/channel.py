"""Bytes to and from one non-blocking socket, plain or TLS. When to do so, and what they mean, is the link's matter."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from stream_service.outbox import Outbox
from stream_service.poller import WRITE

# One TLS record. More at a time would let one peer's burst keep the others waiting.
_READ_BYTES: Final = 16_384
# What is being written cannot be forgotten any more, so no more than this at a time.
_WRITE_BYTES: Final = 16_384


class Channel:
    """A connected socket, owned from here on. Only the pump's thread may use it: TLS is not safe for two.

    `interest` is what to ask the poller for besides reading. `blocked` says that the socket takes no more for now;
    `stuck_since` is when it last took something, on the clock given to `write`.
    """

    __slots__ = (
        "_recv",
        "_send",
        "_sock",
        "_unwritten",
        "blocked",
        "bytes_out",
        "fd",
        "interest",
        "stuck_since",
        "tls",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.fd = sock.fileno()
        self._sock = sock
        self.tls = isinstance(sock, ssl.SSLSocket)
        # What SSLSocket.recv and send would call after some checks of their own.
        self._recv: Callable[[int], bytes] = sock.read if isinstance(sock, ssl.SSLSocket) else sock.recv
        self._send: Callable[[bytes | memoryview], int] = sock.write if isinstance(sock, ssl.SSLSocket) else sock.send
        self._unwritten: bytes | memoryview = b""
        self.blocked = False
        self.stuck_since = 0.0
        self.interest = 0
        self.bytes_out = 0
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # a Unix socket has no Nagle to switch off
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> bytes | None:
        """What has come: empty when the peer has ended, None when there is nothing now. Raises OSError."""
        try:
            data: bytes | None = self._recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            data = None
        except ssl.SSLWantWriteError:
            self.interest = WRITE
            return None
        if self.interest and not self.blocked:
            self.interest = 0
        return data

    def has_pending(self) -> bool:
        """Whether TLS has bytes ready that the poller cannot see, because they have left the kernel."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def write(self, outbox: Outbox, now: float) -> None:
        """Write what waits, as far as the socket takes it. Raises OSError."""
        data = self._unwritten or outbox.take(_WRITE_BYTES)
        while data:
            try:
                sent = self._send(data)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                sent = 0
            self.bytes_out += sent
            if sent < len(data):
                if sent or not self.blocked:
                    self.stuck_since = now
                # TLS wants the very same bytes again, so they are kept apart from what may still be dropped.
                self._unwritten = memoryview(data)[sent:] if sent else data
                self.blocked = True
                self.interest = WRITE
                return
            if not outbox.size:
                break
            data = outbox.take(_WRITE_BYTES)
        if self.blocked:
            self._unwritten = b""
            self.blocked = False
            self.interest = 0

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
