"""`python -m tests.bench.echo_server PORT`: a WebSocket echo server, for the Autobahn suite's fuzzing client.

    wstest -m fuzzingclient -s spec.json        # {"servers": [{"url": "ws://127.0.0.1:PORT"}], "cases": ["*"], ...}

The pump and the codec are the product's; the handshake is the least that RFC 6455, section 4.2.2 asks for. Compression
(cases 12 and 13) is never agreed on.
"""

import base64
import hashlib
import socket
import sys
from typing import Final

from stream_service.pump import Pump
from tests.bench.echo import LIMITS, Echo

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HANDSHAKE_SECONDS: Final = 5


def shake_hands(sock: socket.socket) -> bytes:
    """Answer the client's handshake; returns what it sent behind it. Raises OSError, or ValueError if there is none."""
    sock.settimeout(_HANDSHAKE_SECONDS)
    request = b""
    while b"\r\n\r\n" not in request:
        data = sock.recv(4096)
        if not data or len(request) > 16_384:
            raise ValueError("no handshake")
        request += data
    head, _, rest = request.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    fields = {name.strip().lower(): value.strip() for name, _, value in lines}
    if b"sec-websocket-key" not in fields:
        raise ValueError("no handshake")
    accept = hashlib.sha1(fields[b"sec-websocket-key"] + _GUID, usedforsecurity=False).digest()
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
    )
    return rest


def serve(listener: socket.socket, pump: Pump) -> None:
    """Echo to everybody who comes, until the listener is closed."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        try:
            rest = shake_hands(sock)
        except (OSError, ValueError):
            sock.close()
            continue
        echo = Echo()
        echo.link = pump.adopt(
            sock, name="echo", server=True, limits=LIMITS, initial=rest, held=True,
            on_message=echo.on_message, on_lost=echo.on_lost,
        )  # fmt: skip
        echo.link.release()


def main() -> None:
    pump = Pump()
    pump.start()
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        serve(listener, pump)


if __name__ == "__main__":
    main()
