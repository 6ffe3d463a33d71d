"""TLS with the vendors: whom to trust, and a socket behind it for websocket-client to open and the pump to move.

OpenSSL is asked directly where the codec was compiled with it (`wire/_codec_tls.h`), because for each frame Python's
own `ssl` costs as much again; elsewhere Python's does the same. Which it is, nobody else has to know.
"""

import functools
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

try:
    from stream_service.wire._codec import TlsClient
except ImportError:  # the codec has not been built, or not with OpenSSL
    TlsClient = None  # type: ignore[misc, assignment]  # asked for below

_Got = TypeVar("_Got")


class Tls(Protocol):
    """What does the TLS of one socket. Raises ssl.SSLWantReadError and ssl.SSLWantWriteError when it has to wait."""

    def read(self, most: int, /) -> bytes: ...
    def write(self, data: bytes | memoryview, /) -> int: ...
    def pending(self) -> int: ...


class TlsSocket(socket.socket):
    """A connected socket, and from here on TLS on it as the client of `host`; blocking, with the socket's timeout.

    It has of a socket what websocket-client asks of one. `sock` is taken over.

    Raises:
        ssl.SSLCertVerificationError: the peer cannot show that it is `host`.
        ssl.SSLError: it does not speak TLS as we do.
        TimeoutError: it took longer than the socket's timeout.
        OSError: the connection broke.
    """

    def __init__(self, client: "TlsClient", sock: socket.socket, host: str) -> None:
        timeout = sock.gettimeout()
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.settimeout(timeout)
        self.tls: Final = client.connect(self.fileno(), host)
        try:
            self._until_done(self.tls.handshake)
        except BaseException:
            self.close()
            raise

    def recv(self, size: int, flags: int = 0, /) -> bytes:  # noqa: ARG002 - there are none in TLS
        """Like a socket's; empty at the peer's end."""
        return self._until_done(functools.partial(self.tls.read, size))

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:  # type: ignore[override]  # noqa: ARG002
        """Like a socket's."""
        return self._until_done(functools.partial(self.tls.write, data))

    def close(self) -> None:
        """Close the socket; its number may be another's soon, so TLS lets go of it first."""
        self.tls.close()
        super().close()

    def _until_done(self, step: Callable[[], _Got]) -> _Got:
        timeout = self.gettimeout()
        if timeout == 0:
            return step()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, deadline)

    def _wait(self, event: int, deadline: float | None) -> None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.poll()
        ready.register(self, event)
        if not ready.poll(None if left is None else left * 1000):
            raise TimeoutError("timed out")


class Authorities:
    """Whom a vendor's certificate must be signed by; one for the process, because reading them takes 20 ms and 0.8 MiB.

    The system's, or those of SSL_CERT_FILE and SSL_CERT_DIR. Made for `sslopt["context"]` of websocket-client.
    """

    def __init__(self) -> None:
        if TlsClient is not None:
            trusted = ssl.get_default_verify_paths()
            self._secure: Callable[[socket.socket, str], socket.socket] = functools.partial(
                TlsSocket, TlsClient(trusted.cafile, trusted.capath)
            )
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            self._secure = lambda sock, host: context.wrap_socket(sock, server_hostname=host)

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str, **_: object) -> socket.socket:
        """The socket with TLS on it, after the handshake. Raises as `TlsSocket` does."""
        return self._secure(sock, server_hostname)


def tls_of(sock: socket.socket) -> Tls | None:
    """What does the TLS on a socket; None when it is a plain one."""
    if isinstance(sock, TlsSocket):
        return sock.tls
    if isinstance(sock, ssl.SSLSocket):
        # What its recv and send come to after three checks that are the pump's anyway; they cost more than the call.
        inner: Tls = getattr(sock, "_sslobj", None) or sock
        return inner
    return None
