"""Where the libraries' handshakes end and the pump begins: real servers, a real client, real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

import pytest
import websocket
from handshake_app import create_app
from pump_peers import GENEROUS, PATIENCE, Ears, running_pump
from simple_websocket.errors import ConnectionClosed
from werkzeug.serving import make_server

from stream_service.handshake import NoReaderThread, strip_extensions, take_over, take_over_opened
from stream_service.wire import frames


@pytest.fixture
def werkzeug() -> Iterator[str]:
    app = create_app()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(PATIENCE)
    server.server_close()
    app.extensions["pump"].stop(2)


@pytest.fixture
def gunicorn() -> Iterator[str]:
    here = Path(__file__).parent
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "8"]
        command += ["--bind", f"fd://{listener.fileno()}", "--no-control-socket", "handshake_app:create_app()"]
        process = subprocess.Popen(
            command, cwd=here, pass_fds=[listener.fileno()], env=_python_path(here), stderr=subprocess.DEVNULL
        )
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@pytest.fixture(params=["werkzeug", "gunicorn"])
def server(request: pytest.FixtureRequest) -> str:
    address: str = request.getfixturevalue(request.param)
    return address


def dial(address: str, **how: object) -> websocket.WebSocket:
    return websocket.create_connection(f"ws://{address}/ws", timeout=PATIENCE, **how)


def state(address: str) -> dict[str, list[str]]:
    with urllib.request.urlopen(f"http://{address}/state", timeout=PATIENCE) as answer:
        told: dict[str, list[str]] = json.load(answer)
        return told


def wait_for_connections(address: str, expected: int) -> None:
    """gunicorn counts when it gets round to it, but must never count too few."""
    deadline = time.monotonic() + PATIENCE
    while (connections := state(address)["connections"]) != [expected]:
        assert connections[0] > expected
        assert time.monotonic() < deadline


def test_the_pump_speaks_where_the_library_shook_hands(server: str) -> None:
    ws = dial(server, header=["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"])
    assert "sec-websocket-extensions" not in ws.getheaders()
    assert ws.recv() == "hello"
    ws.send("もしもし")
    assert ws.recv() == "もしもし"
    threads = state(server)["threads"]
    assert not [name for name in threads if "simple_websocket" in name]
    ws.close(timeout=PATIENCE)


@pytest.mark.parametrize("how", ["peer closes", "we close", "we abort", "peer drops"])
def test_the_socket_ends_once_and_with_one_close_frame(server: str, how: str) -> None:
    ws = dial(server)
    assert ws.recv() == "hello"
    sock = ws.sock
    if how == "peer drops":
        sock.close()
    elif how == "peer closes":
        sock.sendall(frames.encode_close(1000, "", mask=True))
        assert _until_end(sock) == frames.encode_close(1000, "", mask=False)
    elif how == "we close":
        ws.send("close")
        frame = sock.recv(100)
        assert frame == frames.encode_close(1000, "", mask=False)
        sock.sendall(frames.encode_close(1000, "", mask=True))
        assert _until_end(sock) == b""
    else:
        ws.send("abort")
        assert _until_end(sock) == b""
    again = dial(server)
    assert again.recv() == "hello"
    again.close(timeout=PATIENCE)


def test_gunicorn_counts_each_connection_once(gunicorn: str) -> None:
    """With its own socket closed under it, gunicorn's worker counts a connection as gone twice, and the count is wrong
    for ever: at its end it would not wait for the calls that are left."""
    for order in ["close", "abort"] * 3:
        ws = dial(gunicorn)
        assert ws.recv() == "hello"
        ws.send(order)
        ws.close(timeout=PATIENCE)
    wait_for_connections(gunicorn, 1)  # the one that asks
    standing = dial(gunicorn)
    assert standing.recv() == "hello"
    wait_for_connections(gunicorn, 2)
    standing.close(timeout=PATIENCE)


class Accepted:
    """What simple-websocket's Server is after its handshake, as far as we use it."""

    def __init__(self, sock: socket.socket, *, connected: bool = True) -> None:
        self.sock = sock
        self.connected = connected
        self.close_reason, self.close_message = 1006, ""


def test_a_client_that_is_gone_already_cannot_be_taken_over() -> None:
    left, right = socket.socketpair()
    with right, pytest.raises(ConnectionClosed):
        take_over(Accepted(left, connected=False))
    left.close()
    with pytest.raises(ConnectionClosed):
        take_over(Accepted(left))


def test_the_library_keeps_its_own_end_of_the_socket() -> None:
    left, right = socket.socketpair()
    accepted = Accepted(left)
    with left, right, take_over(accepted) as ours:
        assert ours.fileno() != left.fileno()
        assert not accepted.connected
        ours.send(b"x")
        assert right.recv(1) == b"x"


def test_the_thread_that_does_not_read() -> None:
    thread = NoReaderThread(target=print)
    thread.name = thread.name.replace("(_thread)", "")
    thread.start()


def test_only_the_extensions_are_forgotten() -> None:
    environ = {"HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate", "HTTP_HOST": "h"}
    strip_extensions(environ)
    strip_extensions(environ)
    assert environ == {"HTTP_HOST": "h"}


def test_what_a_vendor_sends_behind_its_handshake_is_still_in_the_socket() -> None:
    first = frames.encode_text(b"session.created", mask=False)
    with socket.create_server(("127.0.0.1", 0)) as listener, running_pump() as scene:

        def vendor() -> None:
            sock, _ = listener.accept()
            with sock:
                request = sock.recv(4096)
                key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
                accept = _accept_key(key.partition(b":")[2].strip())
                head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                sock.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + first * 3)
                sock.recv(1)

        thread = threading.Thread(target=vendor)
        thread.start()
        ws = websocket.create_connection(f"ws://127.0.0.1:{listener.getsockname()[1]}/", timeout=PATIENCE)
        ears = Ears()
        link = scene.pump.adopt(
            take_over_opened(ws), name="vendor", server=False, limits=GENEROUS,
            on_message=ears.on_message, on_lost=ears.on_lost,
        )  # fmt: skip
        ws.close()  # does nothing now
        assert ears.wait_for_messages(3) == [b"session.created"] * 3
        link.abort()
        ears.wait_until_lost()
        thread.join(PATIENCE)
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            take_over_opened(ws)


def _accept_key(key: bytes) -> bytes:
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest())


def _until_end(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(4096):
        received += data
    return received


def _python_path(here: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
