"""From the libraries' handshakes to the pump: getting hold of the socket behind an accepted or opened WebSocket.

Whether a handshake is acceptable is decided elsewhere, before; what the socket is used for, afterwards.
"""

import socket
from typing import Any

import websocket
from simple_websocket import Server
from simple_websocket.errors import ConnectionClosed


class NoReaderThread:
    """For `SOCK_SERVER_OPTIONS["thread_class"]`: keeps simple-websocket from reading the socket itself.

    simple-websocket 1.1 starts a thread in its constructor, behind the handshake; it only sets its name and starts it.
    """

    def __init__(self, *, target: object) -> None:  # noqa: ARG002 - simple-websocket passes it by this name
        self.name = ""

    def start(self) -> None:
        """Start nothing: the pump reads."""


def strip_extensions(environ: dict[str, Any]) -> None:
    """Before the handshake: forget the extensions the client offers, so that no compression is agreed on."""
    environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)


def take_over(ws: Server) -> socket.socket:
    """The socket of an accepted WebSocket, for `Pump.adopt`; `ws` is of no use any more, and closing it does nothing.

    It is a duplicate. The server (gunicorn, werkzeug) keeps its own and closes it when the route returns; would the
    pump close that one, gunicorn 27's gthread worker would count the connection as gone twice, and not wait for others
    when it stops. The two share one connection, so the route must not return before the link is lost.

    Raises:
        ConnectionClosed: the client is gone already.
    """
    if not ws.connected:
        raise ConnectionClosed(ws.close_reason, ws.close_message)
    ws.connected = False
    try:
        duplicate: socket.socket = ws.sock.dup()
    except OSError as error:
        raise ConnectionClosed from error
    return duplicate


def take_over_opened(ws: websocket.WebSocket) -> socket.socket:
    """The socket of a WebSocket that `websocket.create_connection` opened; `ws` is of no use any more.

    websocket-client 1.9 reads the answer to the handshake byte by byte, so all that follows it is still in the socket.
    """
    sock: socket.socket | None = ws.sock
    if sock is None:
        raise websocket.WebSocketConnectionClosedException("the connection is closed")
    ws.sock = None
    ws.connected = False
    return sock
