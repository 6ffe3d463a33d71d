"""WebSocket servers for the emulators: one thread a connection, and every unkind way of ending one.

It knows sockets only. What is said on them is each vendor's own protocol.
"""

import contextlib
import enum
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Generic, TypeVar

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

Admitted = TypeVar("Admitted")

# Refused handshakes and dropped sockets are what the emulators are for: nobody wants a traceback for each.
_quiet = logging.getLogger("emulator.websockets")
_quiet.setLevel(logging.CRITICAL)

_STOP_SECONDS = 5.0
_CLOSE_SECONDS = 1.0


class Gone(Exception):  # noqa: N818 - it is an event as much as an error
    """The other side, or the network, has ended the connection; `code` is the WebSocket close code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"connection closed ({code})")
        self.code = code


class Refused(Exception):  # noqa: N818 - it is an answer, raised by `admit`
    """The upgrade request is answered with this status and JSON or plain body instead."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"upgrade refused with {status}")
        self.status = status
        self.body = body


class Ending(enum.Enum):
    """How a server ends a connection: politely, as a broken network does, or by just not being there any more."""

    CLOSE = "closed by the server"
    DROP = "dropped"
    FREEZE = "frozen"


class Peer:
    """One accepted connection. Used by the one thread that serves it."""

    def __init__(self, connection: ServerConnection, stopping: threading.Event) -> None:
        self._connection = connection
        self._stopping = stopping

    def receive(self, seconds: float) -> str | bytes | None:
        """The next message, or None when none came within that time. Raises Gone."""
        try:
            return self._connection.recv(timeout=max(0.0, seconds))
        except TimeoutError:
            return None
        except ConnectionClosed:
            raise Gone(self._connection.close_code or 1006) from None

    def send(self, text: str) -> None:
        """Sends a text message. Raises Gone."""
        try:
            self._connection.send(text)
        except ConnectionClosed:
            raise Gone(self._connection.close_code or 1006) from None

    def end(self, ending: Ending, code: int = 1000) -> None:
        """Ends the connection in that way; `code` is for a polite one. Freezing lasts until the server stops."""
        match ending:
            case Ending.CLOSE:
                self.close(code)
            case Ending.DROP:
                self._drop()
            case Ending.FREEZE:
                self._freeze()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends the connection politely."""
        self._connection.close(code, reason)

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.socket.shutdown(socket.SHUT_RDWR)

    def _freeze(self) -> None:
        # Reader, writer and keepalive of `websockets` all go through this lock: not even pongs leave any more.
        with self._connection.protocol_mutex:
            self._stopping.wait()


class SocketServer(Generic[Admitted]):
    """Accepts WebSockets on 127.0.0.1 and runs `serve_peer` in a thread for each.

    `admit` looks at the upgrade request and gives what the connection is to be served with, or raises Refused.
    """

    def __init__(
        self,
        serve_peer: Callable[[Peer, Admitted], None],
        admit: Callable[[Request], Admitted],
        *,
        port: int = 0,
        max_message_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._serve_peer = serve_peer
        self._admit = admit
        self._port = port
        self._max_message_bytes = max_message_bytes
        self._server: Server | None = None
        self._accepting = threading.Thread()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._admitted: dict[ServerConnection, Admitted] = {}
        self._open: dict[ServerConnection, threading.Thread] = {}

    @property
    def port(self) -> int:
        """The port listened on; chosen by the system when it was given as 0."""
        return self._port

    def start(self) -> None:
        """Begins to accept. Raises OSError when the port is taken."""
        self._server = serve(
            self._handle,
            "127.0.0.1",
            self._port,
            process_request=self._look,
            compression=None,
            max_size=self._max_message_bytes,
            close_timeout=_CLOSE_SECONDS,
            logger=_quiet,
        )
        self._port = self._server.socket.getsockname()[1]
        # A daemon, and so are the connections' threads, which inherit it: a forgotten stop() blocks no exit.
        self._accepting = threading.Thread(target=self._server.serve_forever, name="emulator-accept", daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        """Ends every connection without ceremony and waits, a few seconds at most, for their threads."""
        if self._server is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._accepting.join(_STOP_SECONDS)
        for pipe_end in (self._server.shutdown_watcher, self._server.shutdown_notifier):
            os.close(pipe_end)  # `websockets` leaves them open
        with self._lock:
            connections = dict(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in connections.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        self._server = None

    def _look(self, connection: ServerConnection, request: Request) -> Response | None:
        try:
            admitted = self._admit(request)
        except Refused as refused:
            response = connection.respond(HTTPStatus(refused.status), refused.body)
            if refused.body.startswith("{"):
                del response.headers["Content-Type"]
                response.headers["Content-Type"] = "application/json"
            return response
        with self._lock:
            self._admitted[connection] = admitted
        return None

    def _handle(self, connection: ServerConnection) -> None:
        with self._lock:
            self._open[connection] = threading.current_thread()
            admitted = self._admitted.pop(connection)
        try:
            if not self._stopping.is_set():
                self._serve_peer(Peer(connection, self._stopping), admitted)
        finally:
            with self._lock:
                self._open.pop(connection, None)
